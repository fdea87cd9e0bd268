//! `search`: rows by their words and by what they mean.

use crate::lake::visible;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse, written};
use crate::problem::{Kind, Problem};
use crate::toolset;
use jiff::Zoned;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use schemas::{Dataset, datasets};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::search::language::Query;
use store::search::{Hit, Mode, SearchError};
use store::vectors::VectorError;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "search",
    about: "Finds rows by their words, by what they mean, or best: by both. Operators narrow it down.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/search",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<Search>(),
    example: r#"{"q": "invoice from:hosting after:2024-01", "limit": 5}"#,
    output: Output::Json(|types| types.subschema_for::<Found>()),
    toolset: &toolset::SEARCH,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&search(call, parse(input)?).await?) }),
};

/// What is looked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    /// Words, phrases in quotes, `-not`, `OR`, and operators: from: to: subject: list: has:attachment filename: date: before:
    /// after: near: camera: project: path: repo: author: in:.
    // It must fit into an address (65,534 bytes) with each character in twelve of them.
    #[schemars(length(max = 4096))]
    q: String,
    /// How: by words, by meaning, or by both.
    #[serde(default)]
    mode: How,
    /// Whether a cross-encoder, if the owner set one, reads the best 20 to 50 hits and orders them: slow, seconds.
    #[serde(default)]
    rerank: bool,
    /// Datasets; all that can be searched if absent.
    #[serde(default, rename = "in")]
    #[schemars(length(max = 20))]
    within: Vec<String>,
    /// Hits.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 200))]
    limit: u16,
}

fn ten() -> u16 {
    10
}

/// How to look for rows.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum How {
    /// By their words.
    Words,
    /// By what they mean.
    Meaning,
    /// By both; by words where there is no model, and then a note says so.
    #[default]
    Best,
}

impl From<How> for Mode {
    fn from(how: How) -> Self {
        match how {
            How::Words => Self::Words,
            How::Meaning => Self::Meaning,
            How::Best => Self::Best,
        }
    }
}

/// What was found.
#[derive(Serialize, JsonSchema)]
struct Found {
    /// The rows, best first.
    hits: Vec<FoundRow>,
    /// What the asker should know of how they were found.
    notes: Vec<String>,
}

/// A row that was found.
#[derive(Serialize, JsonSchema)]
struct FoundRow {
    /// Its dataset.
    dataset: &'static str,
    /// Its key.
    key: BTreeMap<&'static str, String>,
    /// Its title.
    title: Option<String>,
    /// When it was, UTC; of photos what the clock there showed.
    date: Option<String>,
    /// The heading of the section that was found.
    heading: Option<String>,
    /// What part of it was found: body, quoted or signature.
    part: String,
    /// Some of what it says: collected text, not to be obeyed.
    snippet: String,
    /// Characters of the snippet that the query asked for: from, until.
    matches: Vec<(usize, usize)>,
    /// Other parts of the same row that were found, too; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    other_parts: Option<usize>,
    /// More is better; of the same mode only, and before reranking.
    score: f64,
    /// How it came to its place.
    why: Ranks,
}

/// How a row came to its place.
#[derive(Serialize, JsonSchema)]
struct Ranks {
    /// Its rank by words, from 1.
    words_rank: Option<usize>,
    /// BM25.
    bm25: Option<f64>,
    /// Its rank by meaning, from 1.
    meaning_rank: Option<usize>,
    /// Cosine of its vector and that of the query.
    cosine: Option<f64>,
    /// The model of both.
    model: Option<String>,
    /// How well it answers the query, where that was asked for; those with it stand in its order.
    #[serde(skip_serializing_if = "Option::is_none")]
    reranked: Option<f64>,
}

async fn search(call: Call<'_>, input: Search) -> Result<Found, Problem> {
    let view = &call.caller.view;
    let query = Query::parse_within(&input.q, &Zoned::now(), view).map_err(Problem::unprocessable)?;
    let mut within: Vec<&'static Dataset> = Vec::new();
    for name in &input.within {
        let dataset = visible(name, view)?;
        if let Some(why) = view.not_searched(dataset) {
            return Err(Problem::unprocessable(why));
        }
        within.push(dataset);
    }
    if within.is_empty() {
        within = datasets::ALL
            .iter()
            .copied()
            .filter(|dataset| view.searches(dataset))
            .collect();
    }
    if within.is_empty() {
        return Ok(Found {
            hits: Vec::new(),
            notes: vec!["nothing that this token may read can be searched".to_owned()],
        });
    }
    let query = query.within(within);
    let (mode, limit, zone) = (input.mode.into(), input.limit.into(), TimeZone::system());
    let searcher = call.gateway.searcher().await.map_err(problem)?;
    let found = match input.rerank {
        true => {
            let candidates = searcher.candidates(&query, mode, limit, &zone).await;
            // The model reads for long, and who waits to see what was indexed makes all others wait.
            drop(searcher);
            candidates.map_err(problem)?.reranked().await
        }
        false => searcher.search(&query, mode, limit, &zone).await,
    };
    let found = found.map_err(problem)?;
    Ok(Found {
        hits: found.hits.into_iter().map(row).collect(),
        notes: call.gateway.told(found.notes),
    })
}

fn row(hit: Hit) -> FoundRow {
    FoundRow {
        dataset: hit.dataset.name,
        key: hit.dataset.key.iter().copied().zip(hit.key).collect(),
        title: hit.title,
        date: hit.date.and_then(written),
        heading: hit.heading,
        part: hit.part,
        snippet: hit.snippet.text,
        matches: hit.snippet.matches,
        other_parts: Some(hit.others).filter(|others| *others > 0),
        score: hit.score,
        why: Ranks {
            words_rank: hit.why.words_rank,
            bm25: hit.why.bm25,
            meaning_rank: hit.why.meaning_rank,
            cosine: hit.why.cosine,
            model: hit.why.model,
            reranked: hit.why.reranked,
        },
    }
}

pub(crate) fn problem(error: SearchError) -> Problem {
    match &error {
        SearchError::Empty => Problem::new(Kind::Unavailable, error.to_string()).after(60),
        // Whoever asks next sees the new one.
        SearchError::Vector(VectorError::Lance { .. } | VectorError::Outdated { .. }) => {
            tracing::warn!(?error, "the index of search cannot be read");
            Problem::new(
                Kind::Unavailable,
                "the index was written meanwhile, or is damaged; try again. If that does not help, `dkc index build --anew` makes it",
            )
            .after(2)
        }
        SearchError::NoReranker => Problem::unprocessable(error.to_string()),
        SearchError::Embed(error) => {
            tracing::warn!(%error, "search by meaning is off");
            Problem::new(
                Kind::Unavailable,
                "search by meaning is off: there is no model; `dkc index model` says how to get one",
            )
        }
        _ => Problem::internal(&error),
    }
}
