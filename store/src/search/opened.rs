//! The index of one dataset, opened: as much of it as was needed so far.
//!
//! - In: the vector store, a query. Out: chunks that fit what its operators ask, rows that have its words.
//! - Not here: which of them are the best (`lists`).

use super::filter::{filter, of_another};
use super::language::Query;
use super::lists::texts;
use super::searcher::SEPARATOR;
use super::{FACT, SearchError, words};
use crate::query::Reader;
use crate::vectors::{Chunks, Facts, Hot, Vectors};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::functions::string::expr_fn::split_part;
use datafusion::logical_expr::utils::disjunction;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use datafusion::prelude::ident;
use futures::future::try_join_all;
use jiff::tz::TimeZone;
use lancedb::index::scalar::FtsQuery;
use schemas::{Dataset, Search};
use std::collections::{BTreeMap, HashSet};
use tokio::sync::OnceCell;

/// What comes before the number of a part of a query of which it is known already which chunks fit.
const KNOWN: &str = "known_";

/// Models whose vectors are in memory: the one that is asked first, and one for what it has not read.
const MODELS: usize = 2;

/// The index of a dataset.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) dataset: &'static Dataset,
    pub(super) search: &'static Search,
    pub(super) chunks: Chunks,
    facts: OnceCell<Facts>,
    hots: OnceCell<Vec<Hot>>,
}

impl Opened {
    /// Opens the chunks of a dataset, if there are any.
    pub(super) async fn open(
        vectors: &Vectors,
        dataset: &'static Dataset,
        search: &'static Search,
    ) -> Result<Option<Self>, SearchError> {
        let chunks = vectors.chunks(dataset.name).await?;
        Ok(chunks.map(|chunks| Self {
            dataset,
            search,
            chunks,
            facts: OnceCell::new(),
            hots: OnceCell::new(),
        }))
    }

    /// Whether what is known of the chunks is in memory.
    pub(super) fn is_in_memory(&self) -> bool {
        self.facts.get().is_some()
    }

    /// Reads what is known of the chunks into memory, and begins to read the indexes of their words.
    pub(super) async fn keep_in_memory(&self) -> Result<(), SearchError> {
        self.facts().await?;
        self.chunks.keep_words();
        Ok(())
    }

    /// Sees what was written since to the chunks that it opened.
    pub(super) async fn see_latest(&mut self, vectors: &Vectors) -> Result<(), SearchError> {
        let is_new = self.chunks.see_latest().await?;
        let Some(facts) = self.facts.get_mut() else {
            return Ok(());
        };
        if is_new {
            facts.refresh().await?;
            self.chunks.keep_words();
        }
        // Tables are opened to tell how many models there are.
        if let Some(opened) = self.hots.get().map(Vec::len).filter(|opened| *opened < MODELS)
            && opened < vectors.models(self.dataset.name).await?.len()
        {
            // Another model has read some of it: they are opened anew when next asked.
            self.hots.take();
        }
        for hot in self.hots.get_mut().into_iter().flatten() {
            hot.refresh(facts, is_new).await?;
        }
        Ok(())
    }

    /// What is known of the chunks.
    pub(super) async fn facts(&self) -> Result<&Facts, SearchError> {
        self.facts
            .get_or_try_init(async || self.load(&["row_key", "part", "date"]).await)
            .await
    }

    /// Some of what is known of the chunks at these addresses, as [`Self::facts`] has it. Whoever asks once and needs little
    /// of it does better to read that.
    pub(super) async fn known(
        &self,
        addresses: &[u64],
        columns: &[&str],
    ) -> Result<RecordBatch, SearchError> {
        Ok(match self.facts.get() {
            Some(facts) => facts.at(addresses, columns)?,
            None => self.chunks.at(addresses, columns).await?,
        })
    }

    async fn load(&self, columns: &[&str]) -> Result<Facts, SearchError> {
        let schema = self.chunks.columns().await?;
        let facts = schema.fields().iter().map(|field| field.name().as_str());
        let facts = facts.filter(|name| name.starts_with(FACT));
        let columns: Vec<&str> = columns.iter().copied().chain(facts).collect();
        Ok(Facts::load(self.chunks.clone(), &columns).await?)
    }

    /// The vectors, those of `model` first, then those of another for chunks that have none of it.
    pub(super) async fn hots(&self, vectors: &Vectors, model: &str) -> Result<&[Hot], SearchError> {
        let load = async || {
            let facts = self.facts().await?;
            let mut hots = Vec::new();
            for stamp in vectors.models(self.dataset.name).await? {
                if let Some(space) = vectors.space(self.dataset.name, &stamp).await? {
                    hots.push(Hot::load(facts, space).await?);
                }
            }
            hots.sort_by_key(|hot| (hot.space().model().name != model, usize::MAX - hot.with_vector()));
            hots.truncate(MODELS);
            Ok::<_, SearchError>(hots)
        };
        Ok(self.hots.get_or_try_init(load).await?)
    }

    /// The chunks of rows that fit what a query asks beside words; `None` if it asks nothing. What of it are words may stand
    /// in any chunk of a row.
    pub(super) async fn fitting(
        &self,
        query: &Query,
        zone: &TimeZone,
        reader: &Reader,
    ) -> Result<Option<BooleanBuffer>, SearchError> {
        // What all rows of the dataset fit asks nothing of any: `in:` alone reads none.
        if query
            .conditions()
            .all(|condition| condition.known_of(self.dataset) == Some(true))
        {
            return Ok(None);
        }
        let (mut words, mut of_others) = (Vec::new(), Vec::new());
        for condition in query.conditions() {
            self.gather(condition, &mut words, &mut of_others);
        }
        let facts = self.facts().await?;
        let mut known = self.with_words(facts, &words).await?;
        known.extend(self.of_others(facts, &of_others, reader).await?);
        let given: Vec<&Query> = words.into_iter().chain(of_others).collect();
        let known: Vec<(String, BooleanBuffer)> = known
            .into_iter()
            .enumerate()
            .map(|(at, fits)| (format!("{KNOWN}{at}"), fits))
            .collect();
        let given = |query: &Query| {
            let at = given.iter().position(|given| *given == query)?;
            Some(ident(format!("{KNOWN}{at}")))
        };
        let Some(expr) = filter(query, self.dataset, zone, &given)? else {
            return Ok(None);
        };
        let expr = expr
            .transform_up(|expr| {
                Ok(match &expr {
                    Expr::Column(column) if !column.name.starts_with(KNOWN) => {
                        Transformed::yes(ident(format!("{FACT}{}", column.name)))
                    }
                    _ => Transformed::no(expr),
                })
            })?
            .data;
        Ok(Some(facts.fitting(&expr, &known)?))
    }

    /// The chunks of rows that fit an expression over the columns of their key and `title`.
    pub(super) async fn chosen(&self, expr: &Expr) -> Result<BooleanBuffer, SearchError> {
        let by_title = expr.column_refs().iter().any(|column| column.name == "title");
        let of_key = |expr: &Expr| {
            let Expr::Column(column) = expr else { return None };
            let mut parts = (1_i64..).zip(self.dataset.key);
            let (at, _) = parts.find(|(_, name)| **name == column.name)?;
            Some(split_part(ident("row_key"), lit(SEPARATOR.to_string()), lit(at)))
        };
        let expr = expr.clone().transform_up(|expr| {
            let part = of_key(&expr);
            Ok(part.map_or_else(|| Transformed::no(expr), Transformed::yes))
        })?;
        Ok(match by_title {
            true => self.load(&["row_key", "title"]).await?.fitting(&expr.data, &[])?,
            false => self.facts().await?.fitting(&expr.data, &[])?,
        })
    }

    /// Parts of a query that no column of the dataset tells, each once: words, and what another dataset has.
    fn gather<'a>(&self, query: &'a Query, words: &mut Vec<&'a Query>, of_others: &mut Vec<&'a Query>) {
        if query.known_of(self.dataset).is_some() {
            return;
        }
        match query {
            Query::All(queries) | Query::Any(queries) => {
                for query in queries {
                    self.gather(query, words, of_others);
                }
            }
            Query::Not(query) => self.gather(query, words, of_others),
            Query::Word(_) | Query::Phrase(_) if !words.contains(&query) => words.push(query),
            Query::Where(condition)
                if of_another(self.search, condition).is_some() && !of_others.contains(&query) =>
            {
                of_others.push(query);
            }
            _ => {}
        }
    }

    /// The chunks of rows that have each of some words and phrases.
    async fn with_words(&self, facts: &Facts, words: &[&Query]) -> Result<Vec<BooleanBuffer>, SearchError> {
        let rows = try_join_all(words.iter().map(|word| self.rows_with(word))).await?;
        let keys = texts(facts.batch(), "row_key")?;
        let chunks = rows.into_iter().map(|rows| {
            let rows = rows.unwrap_or_default();
            BooleanBuffer::collect_bool(facts.len(), |chunk| rows.contains(keys.value(chunk)))
        });
        Ok(chunks.collect())
    }

    /// The chunks of rows of which other datasets have what each of some conditions asks. Each dataset is read once.
    async fn of_others(
        &self,
        facts: &Facts,
        conditions: &[&Query],
        reader: &Reader,
    ) -> Result<Vec<BooleanBuffer>, SearchError> {
        if conditions.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked: BTreeMap<&'static str, Vec<(usize, Expr)>> = BTreeMap::new();
        for (at, condition) in conditions.iter().enumerate() {
            if let Query::Where(condition) = condition
                && let Some((other, expr)) = of_another(self.search, condition)
            {
                asked.entry(other.name).or_default().push((at, expr));
            }
        }
        // To open the tables of others takes longer than most queries.
        let engine = reader
            .session_now()
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let mut items: Vec<HashSet<String>> = vec![HashSet::new(); conditions.len()];
        for (other, asked) in asked {
            let any = disjunction(asked.iter().map(|(_, expr)| expr.clone()));
            let columns = asked
                .iter()
                .map(|(at, expr)| expr.clone().alias(format!("{KNOWN}{at}")));
            let columns: Vec<Expr> = std::iter::once(ident("_item")).chain(columns).collect();
            let scan = engine.table(other).await?.into_unoptimized_plan();
            let plan = LogicalPlanBuilder::from(scan)
                .filter(any.unwrap_or_else(|| lit(false)))?
                .project(columns)?
                .build()?;
            for rows in engine.execute_logical_plan(plan).await?.collect().await? {
                let Some((of, fitting)) = rows.columns().split_first() else {
                    continue;
                };
                let of = arrow::compute::cast(of, &DataType::Utf8).map_err(DataFusionError::from)?;
                let of = of.as_string::<i32>();
                for ((at, _), fits) in asked.iter().zip(fitting) {
                    let (Some(items), Some(fits)) = (items.get_mut(*at), fits.as_boolean_opt()) else {
                        continue;
                    };
                    let found = of.iter().zip(fits).filter(|(_, fits)| *fits == Some(true));
                    items.extend(found.filter_map(|(item, _)| item.map(str::to_owned)));
                }
            }
        }
        let of = texts(facts.batch(), &format!("{FACT}_item"))?;
        let chunks = items
            .into_iter()
            .map(|items| BooleanBuffer::collect_bool(facts.len(), |chunk| items.contains(of.value(chunk))));
        Ok(chunks.collect())
    }

    /// All rows that have words or phrases, those of a group in whichever of their chunks; `None` if nothing of it can be
    /// looked for.
    pub(super) async fn rows_with(&self, query: &Query) -> Result<Option<HashSet<String>>, SearchError> {
        let mut terms = Vec::new();
        terms_of(query, &mut terms);
        let rows = try_join_all(terms.iter().map(|term| self.rows_with_term(term))).await?;
        Ok(put_together(query, &terms, &rows))
    }

    async fn rows_with_term(&self, term: &Query) -> Result<Option<HashSet<String>>, SearchError> {
        match words::all_of(std::iter::once(term)) {
            Some(words) => Ok(Some(self.rows_that_fit(&words).await?)),
            // Signs alone are no phrase.
            None => Ok(None),
        }
    }

    /// All rows with a chunk that fits a query of words.
    pub(super) async fn rows_that_fit(&self, words: &FtsQuery) -> Result<HashSet<String>, SearchError> {
        let most = self.chunks.count().await?.max(1);
        let (hits, _) = self.chunks.find(words, most, None).await?;
        let mut addresses: Vec<u64> = hits.iter().map(|hit| hit.address).collect();
        // Chunks of a row mostly follow each other.
        addresses.sort_unstable();
        let rows = self.known(&addresses, &["row_key"]).await?;
        let mut keys: Vec<&str> = texts(&rows, "row_key")?.iter().flatten().collect();
        keys.dedup();
        Ok(keys.into_iter().map(str::to_owned).collect())
    }
}

/// The words and phrases of a query, each once.
fn terms_of<'a>(query: &'a Query, terms: &mut Vec<&'a Query>) {
    match query {
        Query::All(queries) | Query::Any(queries) => {
            for query in queries {
                terms_of(query, terms);
            }
        }
        Query::Word(_) | Query::Phrase(_) if !terms.contains(&query) => terms.push(query),
        _ => {}
    }
}

/// The rows of a query, of those of its terms.
fn put_together(
    query: &Query,
    terms: &[&Query],
    rows: &[Option<HashSet<String>>],
) -> Option<HashSet<String>> {
    let of_each = |queries: &[Query]| -> Vec<HashSet<String>> {
        let of_each = queries.iter();
        of_each
            .filter_map(|query| put_together(query, terms, rows))
            .collect()
    };
    match query {
        Query::All(queries) => of_each(queries).into_iter().reduce(|mut all, more| {
            all.retain(|row| more.contains(row));
            all
        }),
        Query::Any(queries) => of_each(queries).into_iter().reduce(|mut any, more| {
            any.extend(more);
            any
        }),
        term => {
            let at = terms.iter().position(|known| *known == term)?;
            rows.get(at)?.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Zoned;

    fn read(text: &str) -> Query {
        Query::parse(text, &Zoned::now()).unwrap()
    }

    #[test]
    fn words_of_a_group_may_stand_in_several_chunks_of_a_row() {
        let rows = |rows: &[&str]| Some(rows.iter().map(|&row| row.to_owned()).collect::<HashSet<_>>());
        let Query::Not(query) = read("-(a b (c OR d OR a) \"...\")") else {
            panic!("it is a negation");
        };
        let mut terms = Vec::new();
        terms_of(&query, &mut terms);
        assert_eq!(terms.len(), 5, "each once: {terms:?}");
        let of_terms = [
            rows(&["1", "2", "3"]),
            rows(&["2", "3", "4"]),
            rows(&[]),
            rows(&["3"]),
            None,
        ];
        assert_eq!(put_together(&query, &terms, &of_terms), rows(&["2", "3"]));
        assert_eq!(put_together(&read("\"...\""), &terms, &of_terms), None);
    }
}
