//! Search: what was asked, what fits it, how good the answers are.
//!
//! - In: a query as a person writes it. Out: a tree; hits by words, by meaning, or both, best first; figures of judged
//!   answers.
//! - Reading order: `language` reads a query, [`Searcher`] answers it: `words` and `filter` say which part of it an index
//!   and which a column answers, `meaning` asks models, `ranking` puts lists together, `rerank` lets a model read the best,
//!   `snippet` shows why a hit is one. `evaluate` judges.
//! - Not here: what is indexed, and when (`pipelines::index`); chunks and vectors themselves (`vectors`).

mod answer;
mod error;
pub mod evaluate;
pub mod filter;
pub mod language;
mod lists;
mod meaning;
mod opened;
mod ranking;
mod rerank;
mod searcher;
mod snippet;
mod words;

pub use answer::{Answer, Hit, Mode, Models};
pub use error::SearchError;
pub use ranking::Why;
pub use rerank::Candidates;
pub use searcher::Searcher;
pub use snippet::Snippet;

/// What comes before the name of a column of the row itself among a chunk's columns: what a filter asks for.
pub const FACT: &str = "its_";
