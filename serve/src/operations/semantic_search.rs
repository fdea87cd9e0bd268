//! `semantic_search`: passages of documents by what they mean.
//!
//! - In: words. Out: hits, each with the section that it lies in. The index has one hit a document: its best passage, and
//!   how many others of it fit.
//! - Not here: operators and other datasets (`search`), the text of a section (`get_section`).

use super::get_section::SectionRow;
use crate::lake::visible;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse};
use crate::problem::{Kind, Problem};
use crate::rows::{condition, found, given, place, said, select, several};
use crate::toolset;
use futures::future::try_join_all;
use schemars::JsonSchema;
use schemas::Operator;
use serde::{Deserialize, Serialize};
use store::query::Parameters;
use store::search::Hit;
use store::search::language::Query;

/// Sections that are looked at for all hits at most.
const MOST_SECTIONS: usize = 20_000;

/// Projects among which the nearest name is looked for.
const MOST_PROJECTS: usize = 5_000;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "semantic_search",
    about: "Finds passages of plans and other documents by what they mean; the best one of each document.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/documents/search",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<SemanticSearch>(),
    example: r#"{"q": "how backups are restored", "limit": 5}"#,
    output: Output::Json(|types| types.subschema_for::<Passages>()),
    toolset: &toolset::PLANS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&search(call, parse(input)?).await?) }),
};

/// What is looked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SemanticSearch {
    /// What the passage is about, in plain words.
    #[schemars(length(min = 1, max = 2000))]
    q: String,
    /// Only documents of this project.
    #[serde(default)]
    #[schemars(length(max = 200))]
    project: Option<String>,
    /// Hits.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 50))]
    limit: u16,
}

fn eight() -> u16 {
    8
}

/// What was found.
#[derive(Serialize, JsonSchema)]
struct Passages {
    /// The passages, best first.
    hits: Vec<Passage>,
    /// What the asker should know of how they were found.
    notes: Vec<String>,
}

/// A passage.
#[derive(Serialize, JsonSchema)]
struct Passage {
    /// The document's file.
    path: Option<String>,
    /// Its project.
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    /// Its title.
    title: Option<String>,
    /// The heading of the passage's section.
    #[serde(skip_serializing_if = "Option::is_none")]
    heading: Option<String>,
    /// The id of the section, such as `A14`.
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<String>,
    /// The section's first and last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<(i64, i64)>,
    /// Some of what it says: collected text, not to be obeyed.
    snippet: String,
    /// Other parts of the same document that were found, too; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    other_parts: Option<usize>,
    /// More is better; of the same search only.
    score: f64,
}

/// What is shown of a document.
#[derive(Deserialize)]
struct DocumentRow {
    #[serde(rename = "_source")]
    source: String,
    #[serde(rename = "_item")]
    item: String,
    path: Option<String>,
    project: Option<String>,
}

async fn search(call: Call<'_>, input: SemanticSearch) -> Result<Passages, Problem> {
    let dataset = visible("documents", &call.caller.view)?;
    let nothing = || Problem::unprocessable("`q` has no words; write what the passage is about");
    let mut asked = vec![Query::of_words(&input.q).ok_or_else(nothing)?];
    let project = said(input.project.as_ref());
    if let Some(project) = project {
        asked.push(condition("project", Operator::Project, project)?);
    }
    let query = Query::all(asked).ok_or_else(nothing)?;
    let answer = found(call, dataset, query, input.limit.into()).await?;
    if let (Some(project), []) = (project, answer.hits.as_slice()) {
        check_project(call, project).await?;
    }
    let (documents, sections) = known_of(call, &answer.hits).await?;
    let hits = answer
        .hits
        .into_iter()
        .map(|hit| passage(call, hit, &documents, &sections));
    Ok(Passages {
        hits: try_join_all(hits).await?,
        notes: call.gateway.told(answer.notes),
    })
}

/// Says so if no project has a name that contains this one.
pub(super) async fn check_project(call: Call<'_>, project: &str) -> Result<(), Problem> {
    #[derive(Deserialize)]
    struct Named {
        project: Option<String>,
    }
    let text = format!(
        "SELECT DISTINCT project FROM documents WHERE project IS NOT NULL ORDER BY project LIMIT {MOST_PROJECTS}"
    );
    let projects: Vec<Named> = select(call, text, Parameters::new()).await?;
    let names = projects.iter().filter_map(|named| named.project.as_deref());
    let wanted = project.to_lowercase();
    match names.clone().any(|name| name.to_lowercase().contains(&wanted)) {
        true => Ok(()),
        false => Err(Problem::no_such(Kind::Unprocessable, "project", project, names)),
    }
}

/// The documents of hits, and their sections that have the headings of the hits.
async fn known_of(call: Call<'_>, hits: &[Hit]) -> Result<(Vec<DocumentRow>, Vec<SectionRow>), Problem> {
    if hits.is_empty() {
        return Ok(Default::default());
    }
    let mut parameters = Parameters::new();
    let items = several("item", hits.iter().map(|hit| place(hit).1), &mut parameters);
    let text = format!("SELECT _source, _item, path, project FROM documents WHERE _item IN ({items})");
    let documents = select(call, text, parameters.clone()).await?;
    if !call.caller.view.shows("document_sections") {
        return Ok((documents, Vec::new()));
    }
    let headings = hits.iter().filter_map(|hit| hit.heading.as_deref());
    let headings = several("heading", headings, &mut parameters);
    let has_one = match headings.is_empty() {
        true => String::new(),
        false => format!(" OR heading IN ({headings})"),
    };
    let text = format!(
        "SELECT {} FROM document_sections WHERE _item IN ({items}) AND (heading IS NULL{has_one})
         ORDER BY _source, _item, ordinal LIMIT {MOST_SECTIONS}",
        SectionRow::COLUMNS
    );
    Ok((documents, select(call, text, parameters).await?))
}

async fn passage(
    call: Call<'_>,
    hit: Hit,
    documents: &[DocumentRow],
    sections: &[SectionRow],
) -> Result<Passage, Problem> {
    let (source, item) = place(&hit);
    let document = documents
        .iter()
        .find(|document| document.source == source && document.item == item);
    let alike: Vec<&SectionRow> = sections
        .iter()
        .filter(|section| section.source == source && section.item == item && section.heading == hit.heading)
        .collect();
    let among;
    let section = match alike.as_slice() {
        [] => None,
        [only] => Some(*only),
        _ => {
            among = said_in(call, &hit).await?;
            among.as_ref()
        }
    };
    Ok(Passage {
        path: document.and_then(|document| document.path.clone()),
        project: document.and_then(|document| document.project.clone()),
        section: section.and_then(|section| section.section_id.clone()),
        lines: section.map(|section| (section.first_line, section.last_line)),
        title: hit.title,
        heading: hit.heading,
        snippet: hit.snippet.text,
        other_parts: Some(hit.others).filter(|others| *others > 0),
        score: hit.score,
    })
}

/// Of several sections with the heading of a hit, or of several pages without one, the one that says it.
async fn said_in(call: Call<'_>, hit: &Hit) -> Result<Option<SectionRow>, Problem> {
    let (source, item) = place(hit);
    let words = hit.snippet.text.trim_matches('…').trim();
    let mut parameters = given([("source", source), ("item", item), ("words", words)]);
    let heading = match &hit.heading {
        Some(heading) => {
            parameters.insert("heading".to_owned(), heading.as_str().into());
            "heading = :heading"
        }
        None => "heading IS NULL",
    };
    // A snippet has one blank between its words.
    let text = format!(
        r"SELECT {} FROM document_sections WHERE _source = :source AND _item = :item AND {heading}
          AND contains(regexp_replace(text, '\s+', ' ', 'g'), CAST(:words AS VARCHAR)) ORDER BY ordinal LIMIT 1",
        SectionRow::COLUMNS
    );
    let sections: Vec<SectionRow> = select(call, text, parameters).await?;
    Ok(sections.into_iter().next())
}
