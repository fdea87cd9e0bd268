//! How good ranked answers are, by the judgements of people.
//!
//! - In: topics and relevance judgements as TREC has them, and for each topic the documents that were found, the best
//!   first. Out: nDCG@10, recall@10 and the reciprocal rank, as trec_eval defines them.
//! - Not here: searching.

use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// Ranks that count for nDCG and recall.
pub const CUT: usize = 10;

/// A query that was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its id, as the judgements have it.
    pub id: String,
    /// What is searched for.
    pub query: String,
}

/// Why a file of topics or judgements cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgedError {
    /// A line of topics has not its form.
    #[error(
        "line {line}: a topic is its id, a tab and its query; or write them as TREC does, from <top> to </top>"
    )]
    Topic {
        /// The line, from 1.
        line: usize,
    },
    /// A topic of TREC's form has no number or no title.
    #[error("topic {topic}: it has no <{part}>; add it")]
    Part {
        /// Its place among the topics, from 1.
        topic: usize,
        /// What is missing.
        part: &'static str,
    },
    /// A line of judgements has not its form.
    #[error(
        "line {line}: a judgement is a topic, an iteration, a document and its relevance, a whole number, with blanks between them"
    )]
    Judgement {
        /// The line, from 1.
        line: usize,
    },
}

impl Topic {
    /// Reads topics: lines of an id, a tab and a query, or TREC's own form, of which the title is the query.
    ///
    /// # Errors
    /// [`JudgedError`] with the place of the mistake.
    pub fn read(text: &str) -> Result<Vec<Self>, JudgedError> {
        let topics: Vec<&str> = text.split("<top>").skip(1).collect();
        if !topics.is_empty() {
            let topics = topics.into_iter().enumerate();
            return topics.map(|(at, topic)| Self::read_trec(at + 1, topic)).collect();
        }
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        let topic = |(at, line): (usize, &str)| {
            let (id, query) = line.split_once('\t').ok_or(JudgedError::Topic { line: at + 1 })?;
            Ok(Self {
                id: id.trim().to_owned(),
                query: query.trim().to_owned(),
            })
        };
        lines.map(topic).collect()
    }

    fn read_trec(topic: usize, text: &str) -> Result<Self, JudgedError> {
        // A part ends where the next begins; TREC closes none but the last.
        let part = |name: &'static str, label: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            let value = rest.split('<').next()?.trim();
            let value = value.strip_prefix(label).unwrap_or(value).trim();
            let value: Vec<&str> = value.split_whitespace().collect();
            (!value.is_empty()).then(|| value.join(" "))
        };
        let needed = |name, label| part(name, label).ok_or(JudgedError::Part { topic, part: name });
        Ok(Self {
            id: needed("num", "Number:")?,
            query: needed("title", "Topic:")?,
        })
    }
}

/// How relevant documents are, by topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgements(BTreeMap<String, BTreeMap<String, i64>>);

/// How good an answer is; of many, their mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Discounted gain of the first ten by that of the best ten: 0 to 1. The gain of a document is its relevance.
    pub ndcg_at_10: f64,
    /// Part of the relevant documents that is among the first ten: 0 to 1.
    pub recall_at_10: f64,
    /// One by the rank of the first relevant document: 0 to 1.
    pub reciprocal_rank: f64,
}

impl Judgements {
    /// Reads judgements, one a line: topic, iteration (which says nothing), document, relevance. A Message-ID may stand in
    /// its angle brackets.
    ///
    /// # Errors
    /// [`JudgedError::Judgement`] with the line that is none.
    pub fn read(text: &str) -> Result<Self, JudgedError> {
        let mut judgements = Self::default();
        for (at, line) in text.lines().enumerate() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let wrong = JudgedError::Judgement { line: at + 1 };
            match fields.as_slice() {
                [] => {}
                [topic, _, document, relevance] => {
                    let relevance = relevance.parse().map_err(|_| wrong)?;
                    let of_topic = judgements.0.entry((*topic).to_owned()).or_default();
                    let bare = document.strip_prefix('<').and_then(|id| id.strip_suffix('>'));
                    of_topic.insert(bare.unwrap_or(document).to_owned(), relevance);
                }
                _ => return Err(wrong),
            }
        }
        Ok(judgements)
    }

    /// The topics that were judged.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The documents that were judged for a topic.
    pub fn documents(&self, topic: &str) -> impl Iterator<Item = &str> {
        let judged = self.0.get(topic).into_iter();
        judged.flat_map(|judged| judged.keys().map(String::as_str))
    }

    /// How good the documents found for a topic are, the best first. A document that comes again does not count.
    pub fn figures<'a>(&self, topic: &str, found: impl IntoIterator<Item = &'a str>) -> Figures {
        let Some(judged) = self.0.get(topic) else {
            return Figures::default();
        };
        let mut seen = HashSet::new();
        let found = found.into_iter().filter(|document| seen.insert(*document));
        let gains: Vec<i64> = found
            .map(|document| judged.get(document).copied().unwrap_or_default().max(0))
            .collect();
        let mut best: Vec<i64> = judged
            .values()
            .copied()
            .filter(|relevance| *relevance > 0)
            .collect();
        best.sort_unstable_by(|a, b| b.cmp(a));
        let relevant = gains.iter().take(CUT).filter(|gain| **gain > 0).count();
        let first = gains.iter().position(|gain| *gain > 0);
        Figures {
            ndcg_at_10: part(discounted(&gains), discounted(&best)),
            recall_at_10: part(relevant as f64, best.len() as f64),
            reciprocal_rank: first.map_or(0.0, |at| 1.0 / (at + 1) as f64),
        }
    }
}

/// The gain of the first ten, each divided by the logarithm of its rank and one.
fn discounted(gains: &[i64]) -> f64 {
    let ranked = gains.iter().take(CUT).enumerate();
    ranked
        .map(|(at, gain)| *gain as f64 / ((at + 2) as f64).log2())
        .sum()
}

fn part(of: f64, whole: f64) -> f64 {
    if whole > 0.0 { of / whole } else { 0.0 }
}

impl Figures {
    /// The mean of some; nothing of none.
    pub fn mean(figures: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| part(figures.iter().map(of).sum(), figures.len() as f64);
        Self {
            ndcg_at_10: mean(|figures| figures.ndcg_at_10),
            recall_at_10: mean(|figures| figures.recall_at_10),
            reciprocal_rank: mean(|figures| figures.reciprocal_rank),
        }
    }
}

#[cfg(test)]
mod tests;
