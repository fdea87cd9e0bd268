//! SQL for readers: one statement, read-only, limited, in a process apart.
//!
//! - In: a [`Query`]. Out: a stream of batches, at the snapshot that was newest when it began (F13).
//! - [`Workers::run_user_sql`] is the only way in for SQL that a person or an agent wrote (F4). It has processes for
//!   that, because a query can kill the one that runs it (F1), take memory that no pool counts (F2) and never yield (F3).
//! - Reading order: `apart` asks such a process, `worker` is what runs in it, [`Reader::answer`] plans and runs; on
//!   the way `guard` and `functions` say what is allowed, `past`, `found`, `moments` and `parameters` change the statement,
//!   `session` says what tables there are, `relational` reads those that are not in the lake, `files` says which files may be
//!   read. `text` is for those who write SQL.
//! - Not here: formats (`export`), who may ask.

mod alike;
mod apart;
mod error;
mod files;
mod found;
mod functions;
mod guard;
mod information;
mod moments;
mod parameters;
mod past;
mod relational;
mod scan;
mod session;
pub mod text;
pub mod worker;

pub use apart::{Spare, Workers};
pub use error::QueryError;
pub use functions::ALLOWED as FUNCTIONS;
pub use parameters::{Parameters, parameter};
pub use session::Reader;

use crate::lake::as_of::AsOf;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SQLOptions;
use datafusion::sql::parser::Statement;
use files::Losses;
use futures::StreamExt;
use schemas::View;
use serde::{Deserialize, Serialize};
use session::Shares;
use std::sync::Arc;
use std::time::Duration;

/// What one query may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes for sorts, joins and aggregates.
    pub memory_bytes: usize,
    /// How long all of the answer may be waited for.
    pub time: Duration,
    /// Threads.
    pub threads: usize,
    /// Rows of the answer; one more is an error.
    pub rows: Option<u64>,
    /// Bytes of the answer, as it lies in memory; one more is an error.
    pub bytes: Option<u64>,
}

/// What a reader asks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// One statement.
    pub text: String,
    /// Values of its parameters.
    pub parameters: Parameters,
    /// The lake as it was then; the newest snapshot if absent.
    pub as_of: Option<AsOf>,
    /// Whether nobody asked for that moment: it was the newest a moment ago, and is named to tell what the answer is of.
    /// What answers from the present only may then be asked.
    #[serde(default)]
    pub is_newest: bool,
    /// What of it may be seen.
    #[serde(default)]
    pub view: View,
}

impl From<&str> for Query {
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }
}

/// Whether a plan joins by comparing every row with every other. When memory gets short such a join begins anew, and
/// in DataFusion 54 several threads then give wrong rows or panic (apache/datafusion#22641, #24676): one does not.
fn loops(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<NestedLoopJoinExec>() || plan.children().into_iter().any(loops)
}

/// Whether a plan sorts all of some rows. Then its parts must get equal shares of memory: one that fills all of it leaves
/// the others none to merge with. A part that groups gives way, so that shares would only make it give way too early.
fn sorts(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let is_whole = |sort: &SortExec| sort.fetch().is_none();
    plan.downcast_ref::<SortExec>().is_some_and(is_whole) || plan.children().into_iter().any(sorts)
}

impl Reader {
    /// Plans and runs a query in this process: for the process that [`Workers`] starts, and for tests. It has no limit
    /// of time, and a hostile query may take this process with it.
    ///
    /// # Errors
    /// [`QueryError`] when it is not one read-only statement, or is refused by the planner. Errors while rows are made
    /// come through the stream.
    pub async fn answer(&self, query: &Query) -> Result<SendableRecordBatchStream, QueryError> {
        let losses = Losses::default();
        let begun = self.begin(query, &losses).await;
        let rows = begun.map_err(|error| losses.blame(error))?;
        let schema = rows.schema();
        let rows = rows.map(move |batch| batch.map_err(|error| losses.blame(error.into()).within()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    async fn begin(&self, query: &Query, losses: &Losses) -> Result<SendableRecordBatchStream, QueryError> {
        let mut statement = guard::read_only_statement(&query.text)?;
        let shows_plan = matches!(statement, Statement::Explain(_));
        let current = self.snapshot(query.as_of).await?;
        let (mut past, mut values, mut found, mut called) = Default::default();
        if let Statement::Statement(inner) = guard::innermost(&mut statement) {
            called = functions::called(inner);
            found = found::rewrite(inner, self, query).await?;
            past = past::rewrite(inner, self.catalog(), query, current).await?;
            moments::of_microseconds(inner, &query.parameters);
            values = parameters::bind(inner, &query.parameters)?;
        }
        let session = |threads, shares| {
            let context = self.session(current, &past, &query.view, threads, shares, losses)?;
            if let Some(found) = &found {
                context.register_catalog(found::CATALOG, Arc::clone(found));
            }
            Ok::<_, QueryError>(context)
        };
        let context = session(self.threads(), Shares::Equal)?;
        let state = context.state();
        let tables = state.resolve_table_references(&statement)?;
        let planned = state.statement_to_plan(statement).await;
        let mut plan = planned.map_err(|error| session::unplanned(&context, tables, &called, error))?;
        let options = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        options.verify_plan(&plan)?;
        if let Some(values) = values {
            plan = plan.with_param_values(values)?;
        }
        let mut physical = context.state().create_physical_plan(&plan).await?;
        let mut task = context.task_ctx();
        if self.threads() > 1 && loops(&physical) {
            let context = session(1, Shares::Equal)?;
            physical = context.state().create_physical_plan(&plan).await?;
            task = context.task_ctx();
        } else if !sorts(&physical) {
            task = session(self.threads(), Shares::AsNeeded)?.task_ctx();
        }
        let rows = execute_stream(physical, task)?;
        if !shows_plan {
            return Ok(rows);
        }
        let (schema, secrets) = (rows.schema(), self.places());
        let shown = rows.map(move |batch| Ok(information::without(&batch?, &secrets)?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, shown)))
    }
}
