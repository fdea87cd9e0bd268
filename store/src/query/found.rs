//! Search in FROM: `search('emails', 'from:jane invoice')` is a table of the rows that a search finds, by key.
//!
//! - In: a parsed statement. Out: the same with these calls replaced by names of tables, and the tables.
//! - The dataset, the query and the number of rows must stand there as they are, or as parameters: what is to be found
//!   is known before the statement is planned. Operators of the query reach the index, and so do conditions on the key
//!   and the title: the best rows are those of the rows that fit. The tables are small.
//! - The index is of the present, so a statement as of a moment has no searches.
//! - Not here: how rows are found (`search`).

use super::parameters::text_of;
use super::{QueryError, Reader};
use crate::error::with_causes;
use crate::search::language::Query;
use crate::search::{Hit, Mode, SearchError, Searcher};
use arrow::datatypes::SchemaRef;
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, MemTable, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, Session,
    TableProvider,
};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast::{
    self, Ident, ObjectName, ObjectNamePart, TableAlias, TableFactor, VisitMut, VisitorMut,
};
use jiff::Zoned;
use jiff::tz::TimeZone;
use schemas::{Dataset, datasets, near};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The functions, and how each searches.
pub(super) const FUNCTIONS: &[(&str, Mode)] = &[
    ("search", Mode::Best),
    ("text_search", Mode::Words),
    ("vector_search", Mode::Meaning),
];

/// The catalog of what was found.
pub(super) const CATALOG: &str = "found";

/// Rows that are found unless the call says how many, and at most.
const ROWS: (usize, usize) = (100, 10_000);

/// Searches in one statement at most: each opens the index.
const MOST_CALLS: usize = 8;

/// One call.
#[derive(Debug)]
struct Call {
    function: &'static str,
    mode: Mode,
    dataset: &'static Dataset,
    query: Query,
    most: usize,
}

/// Replaces the calls in a statement by tables. `None` if there are none.
pub(super) async fn rewrite(
    statement: &mut ast::Statement,
    reader: &Reader,
    asked: &super::Query,
) -> Result<Option<Arc<dyn CatalogProvider>>, QueryError> {
    let mut calls = Calls {
        asked,
        calls: Vec::new(),
    };
    if let ControlFlow::Break(error) = statement.visit(&mut calls) {
        return Err(error);
    }
    if calls.calls.is_empty() {
        return Ok(None);
    }
    let (place, models) = reader.index();
    let searcher = Searcher::open(place, models, reader.limits()).await;
    let searcher = Arc::new(searcher.map_err(|error| failed(&error))?);
    let tables = Arc::new(MemorySchemaProvider::new());
    for (number, call) in calls.calls.into_iter().enumerate() {
        let found = Found {
            schema: rows(call.dataset, &[])?.schema(),
            searcher: Arc::clone(&searcher),
            call,
        };
        tables.register_table(number.to_string(), Arc::new(found))?;
    }
    let catalog = Arc::new(MemoryCatalogProvider::new());
    catalog.register_schema(super::session::MAIN, tables)?;
    Ok(Some(catalog))
}

fn failed(error: &SearchError) -> QueryError {
    QueryError::Search(with_causes(error))
}

/// What a call finds. It searches when it is known which rows are wanted.
#[derive(Debug)]
struct Found {
    searcher: Arc<Searcher>,
    call: Call,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for Found {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// By key and title the searcher chooses. Scores and snippets are there only once something was found.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let is_known = |name: &str| name == "title" || self.call.dataset.key.contains(&name);
        let support = |filter: &&Expr| {
            let columns = filter.column_refs();
            match columns.iter().all(|column| is_known(&column.name)) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Unsupported,
            }
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let (call, zone) = (&self.call, TimeZone::system());
        let chosen = conjunction(filters.iter().cloned());
        let found = self
            .searcher
            .search_where(&call.query, call.mode, call.most, &zone, chosen.as_ref())
            .await
            .map_err(|error| failed(&error).within())?;
        let rows = rows(call.dataset, &found.hits).map_err(QueryError::within)?;
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        table.scan(state, projection, &[], limit).await
    }
}

struct Calls<'a> {
    asked: &'a super::Query,
    calls: Vec<Call>,
}

impl VisitorMut for Calls<'_> {
    type Break = QueryError;

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<QueryError> {
        match self.replaced(table) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(replaced)) => {
                *table = replaced;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Calls<'_> {
    fn replaced(&mut self, table: &TableFactor) -> Result<Option<TableFactor>, QueryError> {
        let TableFactor::Table {
            name,
            args: Some(arguments),
            alias,
            ..
        } = table
        else {
            return Ok(None);
        };
        let called = match name.0.as_slice() {
            [part] => part.as_ident().map(|ident| ident.value.as_str()),
            _ => None,
        };
        let Some((function, mode)) = FUNCTIONS
            .iter()
            .copied()
            .find(|(function, _)| called.is_some_and(|called| called.eq_ignore_ascii_case(function)))
        else {
            return Ok(None);
        };
        if self.asked.as_of.is_some() && !self.asked.is_newest {
            return Err(QueryError::Search(format!(
                "`{function}` answers from the present only, not as of a moment; ask without one, and join \
                 as_of('emails', MOMENT) for rows as they were"
            )));
        }
        let wrong = |what: String| {
            QueryError::Search(format!(
                "{what}; write {function}('emails', 'words and operators') or {function}('emails', 'words', ROWS)"
            ))
        };
        let arguments: Option<Vec<String>> = arguments
            .args
            .iter()
            .map(|argument| text_of(argument, &self.asked.parameters))
            .collect();
        let (name, text, most) = match arguments.as_deref() {
            Some([name, text]) => (name, text, ROWS.0),
            Some([name, text, most]) => {
                let most = most.parse().ok().filter(|most| (1..=ROWS.1).contains(most));
                let most = most.ok_or_else(|| wrong(format!("rows are a number from 1 to {}", ROWS.1)))?;
                (name, text, most)
            }
            _ => return Err(wrong(format!("`{table}` cannot be read"))),
        };
        let view = &self.asked.view;
        let dataset = datasets::by_name(name).filter(|dataset| view.shows(dataset.name));
        let dataset = dataset.ok_or_else(|| {
            let known = datasets::ALL.iter().filter(|dataset| view.searches(dataset));
            let known = known.map(|dataset| dataset.name);
            QueryError::NoSuch(near::no_such("dataset", name, known))
        })?;
        if let Some(why) = view.not_searched(dataset) {
            return Err(QueryError::Search(why));
        }
        let query = Query::parse_within(text, &Zoned::now(), view).map_err(QueryError::Search)?;
        if self.calls.len() >= MOST_CALLS {
            return Err(QueryError::TooLarge {
                what: format!("more than {MOST_CALLS} searches"),
                most: MOST_CALLS,
            });
        }
        let number = self.calls.len();
        self.calls.push(Call {
            function,
            mode,
            dataset,
            query: query.within(vec![dataset]),
            most,
        });
        Ok(Some(self.table(number, alias.clone())))
    }

    /// The name of a table of what was found.
    fn table(&self, number: usize, alias: Option<TableAlias>) -> TableFactor {
        let parts = [CATALOG, super::session::MAIN, &number.to_string()]
            .map(|part| ObjectNamePart::Identifier(Ident::with_quote('"', part)));
        let function = self.calls.get(number).map_or("search", |call| call.function);
        let alias = alias.unwrap_or_else(|| TableAlias {
            explicit: true,
            name: Ident::new(function),
            columns: Vec::new(),
            at: None,
        });
        TableFactor::Table {
            name: ObjectName(parts.to_vec()),
            alias: Some(alias),
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        }
    }
}

/// Rows as a table: the columns of the key, then `title`, `score`, `snippet`.
fn rows(dataset: &'static Dataset, hits: &[Hit]) -> Result<RecordBatch, QueryError> {
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for (at, name) in dataset.key.iter().enumerate() {
        let values = hits.iter().map(|hit| hit.key.get(at).cloned());
        columns.push((name, Arc::new(values.collect::<StringArray>())));
    }
    let titles: StringArray = hits.iter().map(|hit| hit.title.as_deref()).collect();
    let scores: Float64Array = hits.iter().map(|hit| hit.score).collect();
    let snippets = hits.iter().map(|hit| Some(hit.snippet.text.as_str()));
    let snippets: StringArray = snippets.collect();
    columns.push(("title", Arc::new(titles)));
    columns.push(("score", Arc::new(scores)));
    columns.push(("snippet", Arc::new(snippets)));
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .map_err(|error| QueryError::Engine(error.to_string()))
}
