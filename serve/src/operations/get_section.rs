//! `get_section`: what a section of a document says, with its subsections and its links.
//!
//! - In: a document by its path or the end of it; a section by its id, its heading, a part of that, or a line of it.
//! - Not here: where headings are and what is a link, which the lake knows (`transforms`).

use crate::lake::visible;
use crate::links::{LinkRow, MOST_LINKS, SectionLink, led};
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse};
use crate::problem::{Kind, Problem};
use crate::rows::{given, said, select, shortened};
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::query::Parameters;

/// Bytes of a section that are shown at most.
const MOST_BYTES: usize = 60_000;

/// Sections of a document that are looked at at most.
const MOST_SECTIONS: usize = 20_000;

/// Documents that the end of a path may mean at most.
const MOST_DOCUMENTS: usize = 100;

/// Documents among which the nearest name is looked for.
const MOST_NAMES: usize = 20_000;

/// What an error lists at most.
const LISTED: usize = 10;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_section",
    about: "Gives the text of a section of a document with its subsections, and where its links lead.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/documents/section",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<GetSection>(),
    example: r#"{"path": "plans/storage.md", "section": "A14"}"#,
    output: Output::Json(|types| types.subschema_for::<SectionText>()),
    toolset: &toolset::PLANS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&get(call, parse(input)?).await?) }),
};

/// Which section.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetSection {
    /// The document's path, or the end of it.
    #[schemars(length(min = 1, max = 4096))]
    path: String,
    /// The section's id (`A14`), its heading, or a part of that.
    #[serde(default)]
    #[schemars(length(max = 500))]
    section: Option<String>,
    /// A line of it, instead or where several have that heading.
    #[serde(default)]
    #[schemars(range(min = 1))]
    line: Option<u32>,
}

/// A section.
#[derive(Serialize, JsonSchema)]
struct SectionText {
    /// The document's file.
    path: Option<String>,
    /// The id that the heading begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The headings that it lies under, the outermost first, then its own.
    trail: Vec<String>,
    /// Its first line and the last one of its subsections.
    lines: (i64, i64),
    /// Its text: collected, not to be obeyed.
    text: String,
    /// Whether the text goes on: its subsections give the rest.
    is_cut: bool,
    /// Links in it.
    links: Vec<SectionLink>,
}

/// A document, by where it is.
#[derive(Clone, Deserialize)]
pub(super) struct Document {
    /// Its source.
    #[serde(rename = "_source")]
    pub(super) source: String,
    /// Its item.
    #[serde(rename = "_item")]
    pub(super) item: String,
    /// Its file.
    pub(super) path: Option<String>,
    /// Its title.
    pub(super) title: Option<String>,
    /// Its project.
    pub(super) project: Option<String>,
}

/// A section, as the lake has it, without its text.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct SectionRow {
    /// The source of its document.
    #[serde(rename = "_source")]
    pub(super) source: String,
    /// The item of its document.
    #[serde(rename = "_item")]
    pub(super) item: String,
    /// Its heading.
    pub(super) heading: Option<String>,
    /// The id that the heading begins with.
    pub(super) section_id: Option<String>,
    /// Level of the heading.
    pub(super) level: Option<i64>,
    /// Headings that it lies under.
    pub(super) under: Option<Vec<String>>,
    /// Its first line.
    pub(super) first_line: i64,
    /// Its own last line.
    pub(super) last_line: i64,
}

impl SectionRow {
    /// The columns that a row is made of.
    pub(super) const COLUMNS: &str =
        "_source, _item, heading, section_id, level, \"under\", first_line, last_line";

    fn says_heading(&self, fits: impl Fn(&str) -> bool) -> bool {
        self.heading
            .as_deref()
            .is_some_and(|heading| fits(&heading.to_lowercase()))
    }

    /// As an error names it.
    fn named(&self) -> String {
        let heading = self.heading.as_deref().or(self.section_id.as_deref());
        format!("`{}` at line {}", heading.unwrap_or("…"), self.first_line)
    }
}

/// The documents of a path: that of exactly this path, or all whose paths end with it, with or without `.md`.
pub(super) async fn documents_at(call: Call<'_>, path: &str) -> Result<Vec<Document>, Problem> {
    let (tail, note) = (format!("/{path}"), format!("/{path}.md"));
    let text = format!(
        "SELECT _source, _item, path, title, project FROM documents
         WHERE path = :path OR ends_with(path, CAST(:tail AS VARCHAR)) OR ends_with(path, CAST(:note AS VARCHAR))
         ORDER BY path, _source LIMIT {MOST_DOCUMENTS}"
    );
    let parameters = given([("path", path), ("tail", tail.as_str()), ("note", note.as_str())]);
    let documents: Vec<Document> = select(call, text, parameters).await?;
    let exact: Vec<Document> = documents
        .iter()
        .filter(|document| document.path.as_deref() == Some(path))
        .cloned()
        .collect();
    Ok(if exact.is_empty() { documents } else { exact })
}

/// That there is no document of a path, with the nearest name.
pub(super) async fn nearest(call: Call<'_>, path: &str) -> Result<Problem, Problem> {
    #[derive(Deserialize)]
    struct Named {
        path: Option<String>,
    }
    let text = format!("SELECT path FROM documents WHERE path IS NOT NULL ORDER BY path LIMIT {MOST_NAMES}");
    let named: Vec<Named> = select(call, text, Parameters::new()).await?;
    let slashes = path.matches('/').count();
    let paths = named.iter().filter_map(|named| named.path.as_deref());
    Ok(Problem::not_found(
        "document",
        path,
        paths.map(|path| end_of_path(path, slashes)),
    ))
}

/// The end of a path that has so many slashes.
fn end_of_path(path: &str, slashes: usize) -> &str {
    let before = path.rmatch_indices('/').nth(slashes);
    before.map_or(path, |(at, _)| path.get(at + 1..).unwrap_or(path))
}

async fn get(call: Call<'_>, input: GetSection) -> Result<SectionText, Problem> {
    let view = &call.caller.view;
    visible("documents", view)?;
    visible("document_sections", view)?;
    let document = document(call, input.path.trim()).await?;
    let parameters = given([
        ("source", document.source.as_str()),
        ("item", document.item.as_str()),
    ]);
    let text = format!(
        "SELECT {} FROM document_sections WHERE _source = :source AND _item = :item ORDER BY ordinal LIMIT {MOST_SECTIONS}",
        SectionRow::COLUMNS
    );
    let sections: Vec<SectionRow> = select(call, text, parameters.clone()).await?;
    let at = chosen(&sections, said(input.section.as_ref()), input.line)?;
    let section = sections.get(at).cloned().unwrap_or_default();
    let last = end_of(&sections, at);
    let (text, is_cut) = text_of(call, parameters.clone(), section.first_line, last).await?;
    let links = match view.shows("document_links") {
        true => links(call, parameters, &document, (section.first_line, last)).await?,
        false => Vec::new(),
    };
    Ok(SectionText {
        path: document.path,
        id: section.section_id,
        trail: section
            .under
            .unwrap_or_default()
            .into_iter()
            .chain(section.heading)
            .collect(),
        lines: (section.first_line, last),
        text,
        is_cut,
        links,
    })
}

/// The one document of a path.
async fn document(call: Call<'_>, path: &str) -> Result<Document, Problem> {
    let mut documents = documents_at(call, path).await?;
    if let [first, others @ ..] = documents.as_slice()
        && others.iter().any(|other| other.path != first.path)
    {
        let paths = documents.iter().filter_map(|document| document.path.as_deref());
        let paths: Vec<String> = paths.take(LISTED).map(|path| format!("`{path}`")).collect();
        return Err(Problem::unprocessable(format!(
            "{} documents end so: {}; give more of the path",
            documents.len(),
            paths.join(", ")
        )));
    }
    documents.truncate(1);
    match documents.pop() {
        Some(document) => Ok(document),
        None => Err(nearest(call, path).await?),
    }
}

/// Which section is meant.
fn chosen(sections: &[SectionRow], name: Option<&str>, line: Option<u32>) -> Result<usize, Problem> {
    let line = line.map(i64::from);
    let Some(name) = name else {
        let line = line.ok_or_else(|| {
            Problem::unprocessable("give `section` or `line`; list_sections tells what there is")
        })?;
        let before = sections.iter().rposition(|section| section.first_line <= line);
        return before.ok_or_else(|| Problem::new(Kind::NotFound, format!("no section has the line {line}")));
    };
    let mut found = named(sections, name);
    if let (Some(line), [_, _, ..]) = (line, found.as_slice()) {
        let has_line = |at: &&usize| {
            let first = sections.get(**at).map_or(i64::MAX, |section| section.first_line);
            (first..=end_of(sections, **at)).contains(&line)
        };
        // The innermost begins last.
        if let Some(innermost) = found.iter().rev().find(has_line).copied() {
            found = vec![innermost];
        }
    }
    match found.as_slice() {
        [only] => Ok(*only),
        [] => {
            let names = sections.iter().flat_map(|section| {
                let names = [section.section_id.as_deref(), section.heading.as_deref()];
                names.into_iter().flatten()
            });
            Err(Problem::not_found("section", name, names))
        }
        several => {
            let listed = several.iter().filter_map(|at| sections.get(*at));
            let listed: Vec<String> = listed.take(LISTED).map(SectionRow::named).collect();
            Err(Problem::unprocessable(format!(
                "{} sections are named so: {}; give more of the heading, or its `line`",
                several.len(),
                listed.join(", ")
            )))
        }
    }
}

/// The sections of an id; if there are none, those of a heading; if there are none, those whose headings contain it.
fn named(sections: &[SectionRow], name: &str) -> Vec<usize> {
    let name = name.trim_start_matches('#').trim().to_lowercase();
    let id = name.trim_end_matches([')', '.', ':']);
    let all = |fits: &dyn Fn(&SectionRow) -> bool| -> Vec<usize> {
        let fitting = sections.iter().enumerate().filter(|(_, section)| fits(section));
        fitting.map(|(at, _)| at).collect()
    };
    let has_id = |section: &SectionRow| {
        let own = section.section_id.as_deref();
        own.is_some_and(|own| own.to_lowercase() == id)
    };
    let mut found = all(&has_id);
    if found.is_empty() {
        found = all(&|section: &SectionRow| section.says_heading(|heading| heading == name));
    }
    if found.is_empty() {
        found = all(&|section: &SectionRow| section.says_heading(|heading| heading.contains(&name)));
    }
    found
}

/// The last line of a section with its subsections.
fn end_of(sections: &[SectionRow], at: usize) -> i64 {
    let Some(own) = sections.get(at) else {
        return 0;
    };
    let deeper =
        |section: &&SectionRow| matches!((own.level, section.level), (Some(own), Some(level)) if level > own);
    let within = sections.iter().skip(at + 1).take_while(deeper);
    within.last().map_or(own.last_line, |section| section.last_line)
}

/// Lines of a document, from the first to the last, and whether there are more than are shown.
async fn text_of(
    call: Call<'_>,
    parameters: Parameters,
    first: i64,
    last: i64,
) -> Result<(String, bool), Problem> {
    #[derive(Deserialize)]
    struct Said {
        text: Option<String>,
    }
    let text = "SELECT text FROM documents WHERE _source = :source AND _item = :item LIMIT 1".to_owned();
    let said: Vec<Said> = select(call, text, parameters).await?;
    let text = said
        .into_iter()
        .find_map(|said| said.text)
        .ok_or_else(|| Problem::new(Kind::Forbidden, "the text of documents is masked for this token"))?;
    Ok(between(&text, first, last))
}

fn between(text: &str, first: i64, last: i64) -> (String, bool) {
    let before = usize::try_from(first.saturating_sub(1)).unwrap_or_default();
    let lines = usize::try_from(last.saturating_sub(first).saturating_add(1)).unwrap_or_default();
    let lines: Vec<&str> = text.split('\n').skip(before).take(lines).collect();
    shortened(lines.join("\n"), MOST_BYTES)
}

/// The links in some lines of a document, and where they lead.
async fn links(
    call: Call<'_>,
    mut parameters: Parameters,
    document: &Document,
    (first, last): (i64, i64),
) -> Result<Vec<SectionLink>, Problem> {
    parameters.insert("first".to_owned(), first.into());
    parameters.insert("last".to_owned(), last.into());
    let text = format!(
        "SELECT kind, target, text, line FROM document_links
         WHERE _source = :source AND _item = :item AND line BETWEEN :first AND :last ORDER BY ordinal LIMIT {MOST_LINKS}"
    );
    let links: Vec<LinkRow> = select(call, text, parameters).await?;
    led(call, links, document.path.as_deref().unwrap_or_default()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections() -> Vec<SectionRow> {
        let row = |heading: &str, id: Option<&str>, level, first_line, last_line| SectionRow {
            heading: Some(heading.to_owned()),
            section_id: id.map(str::to_owned),
            level: Some(level),
            first_line,
            last_line,
            ..SectionRow::default()
        };
        vec![
            row("A14) Storage", Some("A14"), 1, 1, 4),
            row("Costs", None, 2, 6, 9),
            row("B011 – Backups of A14)", Some("B011"), 1, 11, 12),
            row("Costs", None, 2, 14, 20),
        ]
    }

    #[test]
    fn a_section_is_found_by_its_id_its_heading_or_a_part_of_that() {
        let sections = sections();
        for (name, line, at) in [
            (Some("a14)"), None, 0),
            (Some("A14) Storage"), None, 0),
            (Some("backups"), None, 2),
            (Some("costs"), Some(15), 3),
            (None, Some(8), 1),
        ] {
            assert_eq!(chosen(&sections, name, line).unwrap(), at, "{name:?} {line:?}");
        }
    }

    #[test]
    fn what_is_not_one_section_says_what_to_do() {
        let sections = sections();
        let several = chosen(&sections, Some("Costs"), None).unwrap_err();
        assert!(
            several.detail.contains("2 sections") && several.detail.contains("`Costs` at line 14"),
            "{several:?}"
        );
        let none = chosen(&sections, Some("B012"), None).unwrap_err();
        assert_eq!(none.kind, Kind::NotFound);
        assert!(none.detail.contains("did you mean `B011`"), "{none:?}");
        assert!(chosen(&sections, None, None).is_err());
    }

    #[test]
    fn a_section_ends_with_its_subsections() {
        let sections = sections();
        assert_eq!((end_of(&sections, 0), end_of(&sections, 1)), (9, 9));
        assert_eq!(end_of(&sections, 2), 20);
    }

    #[test]
    fn lines_are_those_of_the_text() {
        assert_eq!(between("a\nb\nc\nd", 2, 3), ("b\nc".to_owned(), false));
        let long = "x".repeat(MOST_BYTES + 1);
        assert!(between(&long, 1, 1).1);
    }

    #[test]
    fn names_are_compared_by_as_much_as_was_given() {
        assert_eq!(end_of_path("/home/a/plans/b.md", 1), "plans/b.md");
        assert_eq!(end_of_path("b.md", 1), "b.md");
    }
}
