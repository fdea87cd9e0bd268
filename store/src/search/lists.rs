//! The rows of one dataset that a query finds, as a list: by words, or the newest.
//!
//! - In: an open index, a query, which rows may be found. Out: chunks with a score.
//! - Not here: several lists as one (`ranking`).

use super::language::Query;
use super::opened::Opened;
use super::{SearchError, words};
use crate::vectors::VectorError;
use crate::vectors::chunks::BODY;
use crate::vectors::{Among, WordHit};
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array as _, RecordBatch, StringArray};
use arrow_buffer::BooleanBuffer;
use futures::future::try_join_all;
use lancedb::index::scalar::FtsQuery;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// What a word in a text that a mail repeats, or in a signature, is worth beside one of its own.
const REPEATED: f64 = 0.4;

/// So many more chunks than rows are asked for: a row has several, and some count less than they seem to.
pub(super) const CHUNKS_A_ROW: usize = 4;

/// Where not every chunk may be found, so many are looked at first; where they were too few, so many times more.
const FIRST_STEP: usize = 1_024;
pub(super) const LONGER_STEP: usize = 16;

/// A row of a list.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) place: Place,
    /// The chunk that was found.
    pub(super) address: u64,
    /// Those with all words before those with some.
    pub(super) tier: u8,
    pub(super) score: f64,
    /// Other chunks of the row that were found, too.
    pub(super) others: usize,
    /// How much it counts beside words; of words themselves nothing.
    pub(super) weight: f64,
    /// The model that found it.
    pub(super) model: Option<Arc<str>>,
}

/// Which row: number of the dataset among those that are open, key.
pub(super) type Place = (usize, Arc<str>);

/// A dataset, and which of its rows may be found.
pub(super) struct Scope<'a> {
    pub(super) at: usize,
    pub(super) opened: &'a Opened,
    pub(super) fitting: Option<BooleanBuffer>,
    /// The same, by address, once it is needed.
    pub(super) among: OnceCell<Among>,
    /// Rows that have what the query says must not be there.
    pub(super) refused: HashSet<String>,
    /// The only rows that have all phrases of the query, if it has any.
    pub(super) needed: Option<HashSet<String>>,
    pub(super) most: usize,
}

/// Rows that have what a query says must not be there.
pub(super) async fn refused(opened: &Opened, query: &Query) -> Result<HashSet<String>, SearchError> {
    let mut unwanted: Vec<&Query> = Vec::new();
    for query in query.unwanted() {
        match query {
            Query::Any(queries) => unwanted.extend(queries),
            query => unwanted.push(query),
        }
    }
    let (words, others): (Vec<&Query>, Vec<&Query>) =
        unwanted.into_iter().partition(|query| words::is_one(query));
    let mut refused = match words::any_of(words.into_iter()) {
        Some(any) => opened.rows_that_fit(&any).await?,
        None => HashSet::new(),
    };
    let others = distinct(others);
    let others = others.into_iter().map(|query| opened.rows_with(query));
    for rows in try_join_all(others).await? {
        refused.extend(rows.unwrap_or_default());
    }
    Ok(refused)
}

/// Rows that have each phrase of a query, if it has any.
pub(super) async fn needed(opened: &Opened, query: &Query) -> Result<Option<HashSet<String>>, SearchError> {
    let phrases = distinct(query.exact().collect());
    let phrases = phrases.into_iter().map(|phrase| opened.rows_with(phrase));
    // One without letters is no phrase.
    let rows = try_join_all(phrases).await?.into_iter().flatten();
    Ok(rows.reduce(|mut needed, rows| {
        needed.retain(|row| rows.contains(row));
        needed
    }))
}

fn distinct(queries: Vec<&Query>) -> Vec<&Query> {
    let mut distinct = Vec::with_capacity(queries.len());
    for query in queries {
        if !distinct.contains(&query) {
            distinct.push(query);
        }
    }
    distinct
}

impl Scope<'_> {
    /// Whether a row may be found, as far as words that must or must not be there tell.
    pub(super) fn allows(&self, row: &str) -> bool {
        !self.refused.contains(row) && self.needed.as_ref().is_none_or(|needed| needed.contains(row))
    }

    /// Rows with the words of a query: those with all of them, then, if these are too few, those with some.
    pub(super) async fn by_words(&self, query: &Query) -> Result<Vec<Found>, SearchError> {
        let asked = words::telling(query);
        let mut found = match words::all_of(asked.iter().copied()) {
            Some(all) => self.with(all, 0).await?,
            None => return Ok(Vec::new()),
        };
        let rows: HashSet<&str> = found.iter().map(|found| &*found.place.1).collect();
        let several = asked.len() > 1 || matches!(asked.first(), Some(Query::All(_)));
        if several
            && rows.len() < self.most
            && let Some(some) = words::any_of(asked.iter().copied())
        {
            found.extend(self.with(some, 1).await?);
        }
        Ok(found)
    }

    async fn with(&self, words: FtsQuery, tier: u8) -> Result<Vec<Found>, SearchError> {
        let wanted = self.most.saturating_mul(CHUNKS_A_ROW);
        let mut most = match self.refused.is_empty() && self.needed.is_none() {
            true => wanted,
            // Those that may not be found may all be better.
            false => wanted.max(FIRST_STEP),
        };
        let among = self.among().await?;
        loop {
            let (hits, are_all) = self.opened.chunks.find(&words, most, among).await?;
            let found = self.found(&hits, tier).await?;
            // One row may have more chunks with the words than are asked for.
            let rows: HashSet<&str> = found.iter().map(|found| &*found.place.1).collect();
            if are_all || rows.len() >= self.most {
                return Ok(found);
            }
            most = most.saturating_mul(LONGER_STEP);
        }
    }

    /// The chunks that fit, if not all do.
    async fn among(&self) -> Result<Option<&Among>, SearchError> {
        let Some(fitting) = &self.fitting else {
            return Ok(None);
        };
        let among = self.among.get_or_try_init(async || {
            let facts = self.opened.facts().await?;
            let addresses = fitting.set_indices().filter_map(|chunk| facts.address(chunk));
            Ok::<_, SearchError>(Among::new(addresses))
        });
        Ok(Some(among.await?))
    }

    /// The rows of chunks that have words, of those that may be found.
    async fn found(&self, hits: &[WordHit], tier: u8) -> Result<Vec<Found>, SearchError> {
        let addresses: Vec<u64> = hits.iter().map(|hit| hit.address).collect();
        let rows = self.opened.known(&addresses, &["row_key", "part"]).await?;
        let (keys, parts) = (texts(&rows, "row_key")?, texts(&rows, "part")?);
        let hits = hits.iter().zip(keys.iter().flatten()).zip(parts.iter().flatten());
        let hits = hits.filter(|((_, key), _)| self.allows(key));
        Ok(hits
            .map(|((hit, key), part)| Found {
                place: (self.at, key.into()),
                address: hit.address,
                tier,
                score: f64::from(hit.score) * if part == BODY { 1.0 } else { REPEATED },
                others: 0,
                weight: 0.0,
                model: None,
            })
            .collect())
    }

    /// Rows that fit, the newest first.
    pub(super) async fn newest(&self) -> Result<Vec<Found>, SearchError> {
        let facts = self.opened.facts().await?;
        let keys = texts(facts.batch(), "row_key")?;
        let dates = facts
            .batch()
            .column_by_name("date")
            .and_then(|dates| dates.as_primitive_opt::<TimestampMicrosecondType>());
        let fits = |chunk: &usize| self.fitting.as_ref().is_none_or(|fitting| fitting.value(*chunk));
        let date = |chunk| match dates.filter(|dates| dates.is_valid(chunk)) {
            Some(dates) => dates.value(chunk) as f64,
            None => f64::MIN,
        };
        let chunks = (0..facts.len()).filter(fits);
        let mut chunks: Vec<usize> = chunks.filter(|&chunk| self.allows(keys.value(chunk))).collect();
        chunks.sort_by(|&a, &b| date(b).total_cmp(&date(a)));
        chunks.dedup_by(|a, b| keys.value(*a) == keys.value(*b));
        chunks.truncate(self.most.saturating_mul(CHUNKS_A_ROW));
        let found = chunks.into_iter().filter_map(|chunk| {
            Some(Found {
                place: (self.at, keys.value(chunk).into()),
                address: facts.address(chunk)?,
                tier: 0,
                score: date(chunk),
                others: 0,
                weight: 0.0,
                model: None,
            })
        });
        Ok(found.collect())
    }
}

/// The best chunk of each row, best first. Where some rows have only some of the words, their scores are made smaller,
/// so that they are below those of rows with all.
pub(super) fn best_of_rows(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by(|a, b| {
        a.tier
            .cmp(&b.tier)
            .then_with(|| b.score.total_cmp(&a.score))
            .then_with(|| a.place.cmp(&b.place))
    });
    let mut chunks: HashMap<Place, HashSet<u64>> = HashMap::new();
    found.retain(|found| {
        let of_row = chunks.entry(found.place.clone()).or_default();
        // One with all words has some of them, too.
        of_row.insert(found.address) && of_row.len() == 1
    });
    for best in &mut found {
        best.others = chunks.get(&best.place).map_or(0, |chunks| chunks.len() - 1);
    }
    let with_all = found.iter().filter(|found| found.tier == 0);
    let lowest = with_all.map(|found| found.score).reduce(f64::min);
    let highest = found.iter().find(|found| found.tier > 0).map(|found| found.score);
    if let (Some(lowest), Some(highest)) = (lowest, highest)
        && lowest < highest
    {
        let part = lowest / highest;
        for some in found.iter_mut().filter(|found| found.tier > 0) {
            some.score *= part;
        }
    }
    found
}

pub(super) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, VectorError> {
    let column = batch
        .column_by_name(name)
        .and_then(|column| column.as_string_opt::<i32>());
    column.ok_or_else(|| VectorError::Outdated {
        table: "the index".to_owned(),
        reason: format!("it has no column `{name}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_told_once_with_its_best_chunk_and_how_many_others_there_are() {
        let found = |row: &str, address, tier, score| Found {
            place: (0, row.into()),
            address,
            tier,
            score,
            others: 0,
            weight: 0.0,
            model: None,
        };
        let best = best_of_rows(vec![
            found("a", 1, 1, 9.0),
            found("a", 2, 0, 3.0),
            found("b", 4, 0, 5.0),
            // The same chunk, once more: it has all words, and so some.
            found("a", 2, 1, 8.0),
            found("a", 3, 0, 2.0),
        ]);
        let told: Vec<_> = best
            .iter()
            .map(|found| (&*found.place.1, found.address, found.others))
            .collect();
        assert_eq!(told, [("b", 4, 0), ("a", 2, 2)]);
    }
}
