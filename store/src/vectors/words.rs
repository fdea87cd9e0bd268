//! Which chunks have words, asked of their index itself.
//!
//! - In: the index of one version of a table, words. Out: chunks with their BM25.
//! - LanceDB has each query planned and optimised by DataFusion first, which takes longer than to answer one. Here the
//!   index that it keeps is asked as its own plan asks it (`MatchQueryExec` in lance 14). What else a plan is needed for,
//!   phrases and chunks that the index does not know yet, is left to it.

use super::chunks::{ADDRESS, Chunks, WORDS, WordHit};
use super::{INDEX_CACHE, VectorError, collect};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, UInt64Type};
use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::try_join_all;
use lance::dataset::Dataset;
use lance::index::prefilter::DatasetPreFilter;
use lance::index::{DatasetIndexExt as _, DatasetIndexInternalExt as _};
use lance_index::Index as _;
use lance_index::metrics::NoOpMetricsCollector;
use lance_index::prefilter::PreFilter;
use lance_index::scalar::inverted::InvertedIndex;
use lance_index::scalar::inverted::query::{FtsSearchParams, try_collect_query_tokens};
use lance_select::{RowAddrMask, RowAddrTreeMap};
use lancedb::index::scalar::{FtsQuery, FullTextSearchQuery, MultiMatchQuery};
use lancedb::query::{QueryBase as _, Select};
use std::collections::HashMap;
use std::sync::Arc;

/// So many chunks of one score more are asked for: of them those of the lowest addresses are told, whichever the index
/// came upon first.
const TIES: usize = 128;

/// The indexes of words of one version of a table, opened.
pub(super) struct Words {
    columns: HashMap<&'static str, Column>,
}

/// The only chunks that may be found.
#[derive(Debug, Clone)]
pub struct Among(Arc<RowAddrMask>);

impl Among {
    /// Those at these addresses.
    pub fn new(addresses: impl Iterator<Item = u64>) -> Self {
        Self(Arc::new(RowAddrMask::from_allowed(RowAddrTreeMap::from_iter(
            addresses,
        ))))
    }

    /// Whether the chunk at an address may be found.
    pub(super) fn has(&self, address: u64) -> bool {
        self.0.selected(address)
    }
}

#[async_trait]
impl PreFilter for Among {
    async fn wait_for_ready(&self) -> lance::Result<()> {
        Ok(())
    }

    fn is_empty(&self) -> bool {
        false
    }

    fn mask(&self) -> Arc<RowAddrMask> {
        Arc::clone(&self.0)
    }

    fn filter_row_ids<'a>(&self, addresses: Box<dyn Iterator<Item = &'a u64> + 'a>) -> Vec<u64> {
        self.0.selected_indices(addresses)
    }
}

struct Column {
    index: InvertedIndex,
    /// Its size in files.
    bytes: u64,
    /// The chunks that are there still.
    there: Arc<dyn PreFilter>,
}

impl Words {
    /// Opens the indexes of those columns whose index is of one piece and knows all chunks.
    pub(super) async fn open(dataset: &Arc<Dataset>) -> lance::Result<Self> {
        let mut columns = HashMap::new();
        let all = dataset.load_indices().await?;
        for name in WORDS {
            let Some(field) = dataset.schema().field(name) else {
                continue;
            };
            let mut segments = all.iter().filter(|segment| segment.fields == [field.id]);
            let (Some(segment), None) = (segments.next(), segments.next()) else {
                continue;
            };
            let knows = |fragment| {
                let known = segment.fragment_bitmap.as_ref();
                known.is_some_and(|known| u32::try_from(fragment).is_ok_and(|id| known.contains(id)))
            };
            if !dataset.fragments().iter().all(|fragment| knows(fragment.id)) {
                continue;
            }
            let index = dataset
                .open_scalar_index(name, &segment.uuid, &NoOpMetricsCollector)
                .await?;
            let Some(index) = index.as_any().downcast_ref::<InvertedIndex>().cloned() else {
                continue;
            };
            let mut there = DatasetPreFilter::new(dataset.clone(), std::slice::from_ref(segment), None);
            if !index.deleted_fragments().is_empty() {
                there.set_deleted_fragments(index.deleted_fragments().clone());
            }
            there.wait_for_ready().await?;
            let column = Column {
                index,
                bytes: segment.total_size_bytes().unwrap_or(u64::MAX),
                there: Arc::new(there),
            };
            columns.insert(name, column);
        }
        Ok(Self { columns })
    }

    /// Reads them into memory, if all have room in so many bytes.
    pub(super) async fn keep(&self, most: u64) -> lance::Result<()> {
        let sizes = self.columns.values().map(|column| column.bytes);
        if sizes.fold(0, u64::saturating_add) <= most {
            try_join_all(self.columns.values().map(|column| column.index.prewarm())).await?;
        }
        Ok(())
    }

    /// The chunks with words in any of some columns, best first, at most `most`, of those that are there if not `among`
    /// others; and whether these are all. `None` where a plan is needed.
    pub(super) async fn find(
        &self,
        query: &MultiMatchQuery,
        most: usize,
        among: Option<&Among>,
    ) -> lance::Result<Option<(Vec<WordHit>, bool)>> {
        let limit = most.saturating_add(TIES);
        let mut asked = Vec::new();
        for query in &query.match_queries {
            let column = query.column.as_deref().and_then(|name| self.columns.get(name));
            let Some(Column { index, there, .. }) = column.filter(|_| query.fuzziness == Some(0)) else {
                return Ok(None);
            };
            let tokens = try_collect_query_tokens(&query.terms, &mut index.tokenizer())?;
            let there = match among {
                Some(among) => Arc::new(among.clone()),
                None => Arc::clone(there),
            };
            // In a box each: what they hold is more than the compiler looks through where all of a search is to be sent.
            let asking = async move {
                let limit = FtsSearchParams::new().with_limit(Some(limit));
                let metrics = Arc::new(NoOpMetricsCollector);
                let found = index.bm25_search(
                    Arc::new(tokens),
                    Arc::new(limit),
                    query.operator,
                    there,
                    metrics,
                    None,
                );
                found.await.map(|found| (found, query.boost))
            };
            asked.push(asking.boxed());
        }
        let mut best: HashMap<u64, f32> = HashMap::new();
        let mut are_all = true;
        for ((addresses, scores), boost) in try_join_all(asked).await? {
            are_all &= addresses.len() < limit;
            for (address, score) in addresses.into_iter().zip(scores) {
                let known = best.entry(address).or_insert(f32::NEG_INFINITY);
                *known = known.max(score * boost);
            }
        }
        let found = best
            .into_iter()
            .map(|(address, score)| WordHit { address, score });
        let mut found: Vec<WordHit> = found.collect();
        let order = |a: &WordHit, b: &WordHit| b.score.total_cmp(&a.score).then(a.address.cmp(&b.address));
        found.sort_unstable_by(order);
        are_all &= found.len() <= most;
        found.truncate(most);
        Ok(Some((found, are_all)))
    }
}

impl Chunks {
    /// The chunks that fit a query of words, best first, at most `most`, of all or of those `among` others only; and whether
    /// these are all that fit.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read, or the query asks for a column that has no index.
    pub async fn find(
        &self,
        query: &FtsQuery,
        most: usize,
        among: Option<&Among>,
    ) -> Result<(Vec<WordHit>, bool), VectorError> {
        if let Some(found) = self.words_of_index(query, most, among).await? {
            return Ok(found);
        }
        let mut found = self.words_by_plan(query, most).await?;
        let are_all = found.len() < most;
        found.retain(|hit| among.is_none_or(|among| among.has(hit.address)));
        Ok((found, are_all))
    }

    async fn words_of_index(
        &self,
        query: &FtsQuery,
        most: usize,
        among: Option<&Among>,
    ) -> Result<Option<(Vec<WordHit>, bool)>, VectorError> {
        let FtsQuery::MultiMatch(query) = query else {
            return Ok(None);
        };
        let version = self.version().await?;
        let found = async { version.words().boxed().await?.find(query, most, among).await };
        found.await.map_err(|error| self.failed()(error.into()))
    }

    async fn words_by_plan(&self, query: &FtsQuery, most: usize) -> Result<Vec<WordHit>, VectorError> {
        let query = self
            .table
            .query()
            .full_text_search(FullTextSearchQuery::new_query(query.clone()))
            .select(Select::columns(&["_score"]))
            .with_row_id()
            .limit(most);
        let batches = collect(&self.table, &query).await?;
        let mut hits = Vec::new();
        for batch in &batches {
            let column = |name| batch.column_by_name(name);
            let (Some(addresses), Some(scores)) = (
                column(ADDRESS).and_then(|column| column.as_primitive_opt::<UInt64Type>()),
                column("_score").and_then(|column| column.as_primitive_opt::<Float32Type>()),
            ) else {
                continue;
            };
            let found = addresses.values().iter().zip(scores.values());
            hits.extend(found.map(|(&address, &score)| WordHit { address, score }));
        }
        Ok(hits)
    }

    /// Begins to read the indexes of words into memory, for whoever answers more than one query. A query that comes
    /// meanwhile reads what it needs.
    pub fn keep_words(&self) {
        let chunks = self.clone();
        tokio::spawn(async move {
            let kept = async {
                let version = chunks.version().await?;
                let kept = async { version.words().await?.keep(INDEX_CACHE as u64).await };
                kept.await.map_err(|error| chunks.failed()(error.into()))
            };
            if let Err(error) = kept.await {
                tracing::debug!(%error, "words are read when they are asked for");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::Vectors;
    use super::super::chunks::tests::{keys, saying};
    use super::*;
    use lancedb::index::scalar::Operator;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_index_says_of_words_what_a_plan_says() {
        let data = tempfile::tempdir().unwrap();
        let vectors = Vectors::open(data.path()).await.unwrap();
        let texts: Vec<String> = (0..200)
            .map(|n| format!("{n} {}", ["ash", "ash oak", "oak elm", "elm ash ash"][n % 4]))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let all = saying(&texts);
        let chunks = vectors.chunks_with("trees", all.schema()).await.unwrap();
        chunks.replace(&keys(&texts), &all).await.unwrap();
        chunks.optimize().await.unwrap();
        // Rows that are gone are in the index still.
        chunks.replace(&keys(&texts[..20]), &saying(&[])).await.unwrap();

        let hits = |found: Vec<WordHit>| {
            let found = found.into_iter().map(|hit| (hit.address, hit.score));
            let mut found: Vec<(u64, f32)> = found.collect();
            found.sort_by_key(|(address, _)| *address);
            found
        };
        for words in ["ash", "ash oak", "elm 7", "beech", "ash beech", ""] {
            for operator in [Operator::And, Operator::Or] {
                let query = MultiMatchQuery::try_new(words.to_owned(), vec!["text".to_owned()]);
                let query: FtsQuery = query.unwrap().with_operator(operator).into();
                let by_index = chunks.words_of_index(&query, 1_000, None).await.unwrap();
                let (by_index, are_all) = by_index.unwrap();
                assert!(are_all, "{words} {operator:?}");
                let all = by_index.len();
                for most in [all, all.saturating_sub(1), all / 2] {
                    let (found, are_all) = chunks.find(&query, most, None).await.unwrap();
                    assert_eq!(
                        (found.len(), are_all),
                        (most, most == all),
                        "{words} {operator:?}"
                    );
                }
                let by_plan = chunks.words_by_plan(&query, 1_000).await.unwrap();
                assert_eq!(hits(by_index.clone()), hits(by_plan), "{words} {operator:?}");
                let some: Vec<u64> = by_index.iter().map(|hit| hit.address).step_by(3).collect();
                let among = Among::new(some.iter().copied());
                let (among, are_all) = chunks.find(&query, some.len(), Some(&among)).await.unwrap();
                assert_eq!((among.len(), are_all), (some.len(), true), "{words} {operator:?}");
                assert!(
                    among.iter().all(|hit| by_index.contains(hit)),
                    "{words} {operator:?}"
                );
            }
        }
        // What the index does not know yet needs a plan.
        chunks.replace(&keys(&["yew"]), &saying(&["yew"])).await.unwrap();
        let query = MultiMatchQuery::try_new("yew".to_owned(), vec!["text".to_owned()]);
        let query: FtsQuery = query.unwrap().into();
        assert_eq!(chunks.words_of_index(&query, 10, None).await.unwrap(), None);
        for (most, are_all) in [(10, true), (1, false)] {
            let (found, all) = chunks.find(&query, most, None).await.unwrap();
            assert_eq!((found.len(), all), (1, are_all), "of a plan it is not known");
        }
    }
}
