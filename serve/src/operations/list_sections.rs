//! `list_sections`: the outline of documents.
//!
//! - Not here: what a section says (`get_section`).

use super::get_section::{Document, documents_at, nearest};
use super::semantic_search::check_project;
use crate::lake::visible;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse};
use crate::problem::Problem;
use crate::rows::{said, select, several};
use crate::toolset;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::query::Parameters;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_sections",
    about: "Lists the sections of a document, or of the documents of a project: id, heading, level, lines.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/documents/sections",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListSections>(),
    example: r#"{"project": "website", "limit": 50}"#,
    output: Output::Json(|types| types.subschema_for::<Outlines>()),
    toolset: &toolset::PLANS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Of which documents.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListSections {
    /// The document's path, or the end of it.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    path: Option<String>,
    /// Only documents of this project.
    #[serde(default)]
    #[schemars(length(max = 200))]
    project: Option<String>,
    /// Sections.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 500))]
    limit: u16,
    /// The `next` of the page before.
    #[serde(default)]
    #[schemars(length(max = 16384))]
    after: Option<String>,
}

fn hundred() -> u16 {
    100
}

/// Outlines.
#[derive(Serialize, JsonSchema)]
struct Outlines {
    /// The documents, by path.
    documents: Vec<Outlined>,
    /// What to give as `after` for more; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A document with its sections.
#[derive(Serialize, JsonSchema)]
struct Outlined {
    /// Its file.
    path: Option<String>,
    /// Its title.
    title: Option<String>,
    /// Its project.
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    /// Its sections, in their order.
    sections: Vec<Section>,
}

/// A section.
#[derive(Serialize, JsonSchema)]
struct Section {
    /// The id that its heading begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Its heading.
    #[serde(skip_serializing_if = "Option::is_none")]
    heading: Option<String>,
    /// Level of the heading, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<i64>,
    /// Its own first and last line, without its subsections.
    lines: (i64, i64),
}

/// A section and its document.
#[derive(Deserialize)]
struct Line {
    #[serde(flatten)]
    document: Document,
    ordinal: i64,
    section_id: Option<String>,
    heading: Option<String>,
    level: Option<i64>,
    first_line: i64,
    last_line: i64,
}

/// Where a page ended: path, source, item, number of the section.
#[derive(Serialize, Deserialize)]
struct End(String, String, String, i64);

async fn list(call: Call<'_>, input: ListSections) -> Result<Outlines, Problem> {
    let view = &call.caller.view;
    visible("documents", view)?;
    visible("document_sections", view)?;
    let mut parameters = Parameters::new();
    let mut conditions = vec!["true".to_owned()];
    if let Some(path) = said(input.path.as_ref()) {
        let documents = documents_at(call, path).await?;
        if documents.is_empty() {
            return Err(nearest(call, path).await?);
        }
        let items = documents.iter().map(|document| document.item.as_str());
        let items = several("item", items, &mut parameters);
        conditions.push(format!("s._item IN ({items})"));
    }
    let project = said(input.project.as_ref());
    if let Some(project) = project {
        parameters.insert("project".to_owned(), project.into());
        conditions.push("contains(lower(d.project), lower(CAST(:project AS VARCHAR)))".to_owned());
    }
    if let Some(after) = said(input.after.as_ref()) {
        let End(path, source, item, ordinal) = end_of(after)?;
        for (name, value) in [("path", path), ("source", source), ("unit", item)] {
            parameters.insert(name.to_owned(), value.into());
        }
        parameters.insert("ordinal".to_owned(), ordinal.into());
        conditions.push(
            "(coalesce(d.path, '') > :path OR (coalesce(d.path, '') = :path AND (s._source > :source
              OR (s._source = :source AND (s._item > :unit OR (s._item = :unit AND s.ordinal > :ordinal))))))"
                .to_owned(),
        );
    }
    let limit = usize::from(input.limit);
    // One more tells whether there is another page.
    let text = format!(
        "SELECT d._source AS _source, d._item AS _item, d.path AS path, d.title AS title, d.project AS project,
         s.ordinal AS ordinal, s.section_id AS section_id, s.heading AS heading, s.level AS level,
         s.first_line AS first_line, s.last_line AS last_line
         FROM document_sections s JOIN documents d ON d._source = s._source AND d._item = s._item
         WHERE {} ORDER BY coalesce(d.path, ''), s._source, s._item, s.ordinal LIMIT {}",
        conditions.join(" AND "),
        limit + 1
    );
    let mut lines: Vec<Line> = select(call, text, parameters).await?;
    if let (Some(project), []) = (project, lines.as_slice()) {
        check_project(call, project).await?;
    }
    let is_last = lines.len() <= limit;
    lines.truncate(limit);
    let next = lines.last().filter(|_| !is_last).map(written);
    Ok(Outlines {
        documents: outlined(lines),
        next,
    })
}

fn written(line: &Line) -> String {
    let Document {
        source, item, path, ..
    } = &line.document;
    let path = path.clone().unwrap_or_default();
    let end = End(path, source.clone(), item.clone(), line.ordinal);
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&end).unwrap_or_default())
}

fn end_of(after: &str) -> Result<End, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(after).ok();
    let end = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    end.ok_or_else(|| {
        Problem::unprocessable("`after` does not come from the `next` of a page; begin again without it")
    })
}

/// Sections, put together by document.
fn outlined(lines: Vec<Line>) -> Vec<Outlined> {
    let mut outlined: Vec<Outlined> = Vec::new();
    let mut current: Option<(String, String)> = None;
    for line in lines {
        let place = (line.document.source, line.document.item);
        if current.as_ref() != Some(&place) {
            outlined.push(Outlined {
                path: line.document.path,
                title: line.document.title,
                project: line.document.project,
                sections: Vec::new(),
            });
            current = Some(place);
        }
        if let Some(last) = outlined.last_mut() {
            last.sections.push(Section {
                id: line.section_id,
                heading: line.heading,
                level: line.level,
                lines: (line.first_line, line.last_line),
            });
        }
    }
    outlined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(item: &str, ordinal: i64) -> Line {
        let row = serde_json::json!({
            "_source": "notes", "_item": item, "path": format!("/n/{item}.md"), "title": "T", "project": null,
            "ordinal": ordinal, "section_id": "A14", "heading": "A14) Winter", "level": 1,
            "first_line": ordinal, "last_line": ordinal + 1,
        });
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn sections_are_put_together_by_document() {
        let outlined = outlined(vec![line("a", 0), line("a", 1), line("b", 0)]);
        let counts: Vec<usize> = outlined.iter().map(|one| one.sections.len()).collect();
        assert_eq!(counts, [2, 1]);
        assert_eq!(outlined[1].path.as_deref(), Some("/n/b.md"));
    }

    #[test]
    fn a_page_ends_where_the_next_begins() {
        let End(path, source, item, ordinal) = end_of(&written(&line("a", 7))).unwrap();
        assert_eq!((&*path, &*source, &*item, ordinal), ("/n/a.md", "notes", "a", 7));
        assert!(end_of("bm90IGl0").is_err());
    }
}
