//! How a search is asked for, and what it says.
//!
//! - In, out: plain values.
//! - Not here: how rows are found (`searcher`), how they are ordered (`ranking`, `rerank`).

use super::ranking::Why;
use super::snippet::Snippet;
use schemas::Dataset;
use std::path::PathBuf;

/// How to look for rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By their words.
    Words,
    /// By what they mean.
    Meaning,
    /// By both.
    #[default]
    Best,
}

/// A row that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its dataset.
    pub dataset: &'static Dataset,
    /// The values of its key columns.
    pub key: Vec<String>,
    /// Its title.
    pub title: Option<String>,
    /// When it was: microseconds since 1970, UTC, or as the clock there showed it where the dataset says so.
    pub date: Option<i64>,
    /// The heading of the section that was found.
    pub heading: Option<String>,
    /// What part of it was found: body, quoted, signature.
    pub part: String,
    /// Some of what it says.
    pub snippet: Snippet,
    /// Other parts of the same row that were found, too.
    pub others: usize,
    /// More is better; of the same mode only. Reranking leaves it as it is: its scores are in [`Why::reranked`].
    pub score: f64,
    /// How it came to its place.
    pub why: Why,
    /// The chunk that was found.
    pub(super) address: u64,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Rows, best first.
    pub hits: Vec<Hit>,
    /// What the asker should know of how it was found.
    pub notes: Vec<String>,
}

/// Which models are asked what texts mean and how well they answer, and where they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Models {
    /// The folder of models.
    pub folder: PathBuf,
    /// The one that is asked first what texts mean.
    pub first: String,
    /// The cross-encoder that reranks, if there is one.
    #[serde(default)]
    pub reranker: Option<String>,
}
