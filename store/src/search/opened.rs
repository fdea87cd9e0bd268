//! The index of one dataset, opened: as much of it as was needed so far.
//!
//! - In: the vector store, a query. Out: chunks that fit what its operators ask.
//! - Not here: words and meaning (`searcher`).

use super::filter::filter;
use super::language::Query;
use super::searcher::SEPARATOR;
use super::{FACT, SearchError};
use crate::query::Reader;
use crate::vectors::{Chunks, Facts, Hot, Vectors};
use arrow_array::RecordBatch;
use arrow_buffer::BooleanBuffer;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, DataFusionError};
use datafusion::functions::string::expr_fn::split_part;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::prelude::ident;
use jiff::tz::TimeZone;
use schemas::{Dataset, Operator, Search};
use std::collections::HashMap;
use tokio::sync::OnceCell;

/// So many words may stand beside operators within OR or NOT: each is looked for in all texts.
const MOST_MIXED: usize = 16;

/// Models whose vectors are in memory: the one that is asked first, and one for what it has not read.
const MODELS: usize = 2;

/// What a chunk says.
const TEXT: &str = "text";

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

    /// The chunks that fit what a query asks beside words; `None` if it asks nothing.
    pub(super) async fn fitting(
        &self,
        query: &Query,
        zone: &TimeZone,
        reader: &Reader,
    ) -> Result<Option<BooleanBuffer>, SearchError> {
        // What all rows of the dataset fit asks nothing of any: `in:` alone reads none.
        let asked = query.conditions();
        let asked: Vec<&Query> = asked
            .filter(|condition| condition.known_of(self.dataset) != Some(true))
            .collect();
        if asked.is_empty() {
            return Ok(None);
        }
        let mixed: usize = asked.iter().copied().map(count_words).sum();
        if mixed > MOST_MIXED {
            return Err(SearchError::TooMany(mixed, MOST_MIXED));
        }
        // To open the tables of others takes longer than most queries.
        let fields = self.search.fields.iter();
        let of_others = fields.filter(|field| asked.iter().any(|query| asks(query, field.operator)));
        let others: Vec<&str> = of_others.filter_map(|field| field.of).collect();
        let engine = match others.is_empty() {
            true => None,
            false => Some(
                reader
                    .session_now()
                    .await
                    .map_err(|error| DataFusionError::External(Box::new(error)))?,
            ),
        };
        let mut scans: HashMap<&str, LogicalPlan> = HashMap::new();
        for (other, engine) in others.iter().zip(engine.iter().cycle()) {
            let scan = engine.table(*other).await?.into_unoptimized_plan();
            scans.insert(other, scan);
        }
        let scan = |dataset: &'static Dataset| match scans.get(dataset.name) {
            Some(scan) => Ok(scan.clone()),
            None => Err(DataFusionError::Plan(format!(
                "`{}` is not at hand",
                dataset.name
            ))),
        };
        let Some(mut expr) = filter(query, self.dataset, zone, &scan)? else {
            return Ok(None);
        };
        for plan in subqueries(&expr)? {
            let Some(engine) = &engine else { break };
            let rows = engine.execute_logical_plan(plan.clone()).await?.collect().await?;
            let mut items = Vec::new();
            for row in rows.iter().filter_map(|batch| batch.columns().first()) {
                for at in 0..row.len() {
                    let item = datafusion::common::ScalarValue::try_from_array(row, at)?;
                    items.push(lit(item.cast_to(&arrow_schema::DataType::Utf8)?));
                }
            }
            expr = expr
                .transform_up(|expr| {
                    Ok(match expr {
                        Expr::InSubquery(asked) if *asked.subquery.subquery == plan => {
                            Transformed::yes(asked.expr.in_list(items.clone(), asked.negated))
                        }
                        other => Transformed::no(other),
                    })
                })?
                .data;
        }
        let expr = expr
            .transform_up(|expr| {
                Ok(match &expr {
                    Expr::Column(column) => Transformed::yes(self.column_of(column)),
                    // A list that is read is part of the text of a chunk.
                    Expr::ScalarFunction(call) if call.args.first() == Some(&ident(TEXT)) => {
                        Transformed::yes(ident(TEXT))
                    }
                    _ => Transformed::no(expr),
                })
            })?
            .data;
        let fitting = match mixed {
            0 => self.facts().await?.fitting(&expr)?,
            _ => self.load(&["title", TEXT]).await?.fitting(&expr)?,
        };
        Ok(Some(fitting))
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
            true => self.load(&["row_key", "title"]).await?.fitting(&expr.data)?,
            false => self.facts().await?.fitting(&expr.data)?,
        })
    }

    /// A column of the dataset as chunks have it. Of what is read a chunk has its own part.
    fn column_of(&self, column: &Column) -> Expr {
        let name = column.name.as_str();
        let asked = self.search.fields.iter().filter(|field| field.of.is_none());
        let is_fact = asked.flat_map(|field| field.columns).chain(self.search.date);
        match is_fact.chain(&["_source", "_item"]).any(|fact| *fact == name) {
            true => ident(format!("{FACT}{name}")),
            false if self.search.title.contains(&name) => ident("title"),
            false => ident(TEXT),
        }
    }
}

fn count_words(query: &Query) -> usize {
    match query {
        Query::All(queries) | Query::Any(queries) => queries.iter().map(count_words).sum(),
        Query::Not(query) => count_words(query),
        Query::Word(_) | Query::Phrase(_) => 1,
        Query::Where(_) => 0,
    }
}

/// Whether an operator stands anywhere in a query.
fn asks(query: &Query, operator: Operator) -> bool {
    match query {
        Query::All(queries) | Query::Any(queries) => queries.iter().any(|query| asks(query, operator)),
        Query::Not(query) => asks(query, operator),
        Query::Word(_) | Query::Phrase(_) => false,
        Query::Where(condition) => condition.operator() == operator,
    }
}

fn subqueries(expr: &Expr) -> Result<Vec<LogicalPlan>, DataFusionError> {
    let mut plans: Vec<LogicalPlan> = Vec::new();
    expr.apply(|expr| {
        if let Expr::InSubquery(asked) = expr {
            plans.push(asked.subquery.subquery.as_ref().clone());
        }
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })?;
    Ok(plans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Zoned;

    #[test]
    fn an_operator_is_seen_wherever_it_stands() {
        let asked = |text: &str| {
            let query = Query::parse(text, &Zoned::now()).unwrap();
            asks(&query, Operator::Filename)
        };
        assert!(asked("filename:a.pdf"));
        assert!(asked("invoice -(from:jane OR filename:a.pdf)"));
        assert!(!asked("filename from:jane in:emails after:2024"));
    }
}
