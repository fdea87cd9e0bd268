//! SQL for readers: one statement, read-only, limited.
//!
//! - In: the text of a query. Out: a stream of batches, at the snapshot that was newest when it began (F13).
//! - [`Reader::run_user_sql`] is the only way in for SQL that a person or an agent wrote (F4).
//! - In `files`: which files it may read, and how.
//! - Not here: formats (`export`), who may ask.

mod changes;
mod files;
mod guard;

use crate::lake::catalog::Catalog;
use crate::runs::Runs;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, MemTable, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion_ducklake::{DuckLakeCatalog, MetadataProvider, SqliteMetadataProvider};
use files::Files;
use futures::StreamExt;
use guard::read_only_statement;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// What one query may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes for sorts, joins and aggregates.
    pub memory_bytes: usize,
    /// Time from the start to the last row.
    pub time: Duration,
    /// Threads.
    pub threads: usize,
}

/// Why a query was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// Not a single read-only statement.
    #[error("only one SELECT, VALUES, EXPLAIN or DESCRIBE is allowed here, and {found}")]
    NotReadOnly {
        /// What was found instead.
        found: String,
    },
    /// The text is too long or too deep.
    #[error("the query has {what}, and at most {most} are allowed; write it shorter")]
    TooLarge {
        /// What there is too much of.
        what: String,
        /// How much is allowed.
        most: usize,
    },
    /// It took longer than allowed.
    #[error("the query took longer than {} s; narrow it down, or raise `query_seconds` under [limits]", .0.as_secs())]
    TooSlow(Duration),
    /// A later snapshot was to be compared with an earlier one.
    #[error("snapshot {as_of} is older than {since}: nothing has changed in it since then")]
    Backwards {
        /// The one to compare with.
        since: i64,
        /// The one to look at.
        as_of: i64,
    },
    /// A dataset that lies outside the lake has no past.
    #[error("`{0}` has no snapshots: it is not in the lake")]
    NotInLake(&'static str),
    /// The engine's own words.
    #[error("{0}")]
    Engine(String),
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        Self::Engine(plain(&error))
    }
}

/// The innermost message: the prefixes say which part of the engine spoke, which helps nobody.
fn plain(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(message) => {
            format!("the query needs more memory than `query_memory_mb` under [limits] allows: {message}")
        }
        root => root.strip_backtrace(),
    }
}

/// Answers queries over one data directory.
#[derive(Debug, Clone)]
pub struct Reader {
    catalog: Catalog,
    runs: Runs,
    limits: Limits,
    /// The snapshot to read; the newest if absent.
    as_of: Option<i64>,
    /// An earlier one to compare it with.
    before: Option<i64>,
}

impl Reader {
    /// A reader of the lake and the history of runs.
    pub fn new(catalog: Catalog, runs: Runs, limits: Limits) -> Self {
        Self {
            catalog,
            runs,
            limits,
            as_of: None,
            before: None,
        }
    }

    /// The same for the lake as it was at a snapshot. The history of runs is always the whole.
    pub fn as_of(self, snapshot: Option<i64>) -> Self {
        Self {
            as_of: snapshot,
            ..self
        }
    }

    /// Runs one statement that somebody wrote.
    ///
    /// # Errors
    /// [`QueryError`] when it is not one read-only statement, or is refused by the planner. Errors while
    /// rows are made come through the stream.
    pub async fn run_user_sql(&self, text: &str) -> Result<SendableRecordBatchStream, QueryError> {
        let deadline = tokio::time::Instant::now() + self.limits.time;
        // On tasks of their own: what computes without a pause could not be timed from within.
        let (reader, text) = (self.clone(), text.to_owned());
        let mut planning = JoinSet::new();
        planning.spawn(async move { reader.begin(&text).await });
        let mut rows = match tokio::time::timeout_at(deadline, planning.join_next()).await {
            Ok(Some(begun)) => begun.map_err(|stopped| QueryError::Engine(stopped.to_string()))??,
            Ok(None) | Err(_) => return Err(QueryError::TooSlow(self.limits.time)),
        };
        let mut apart = RecordBatchReceiverStream::builder(rows.schema(), 1);
        let taken = apart.tx();
        apart.spawn(async move {
            while let Some(batch) = rows.next().await {
                if taken.send(batch).await.is_err() {
                    break;
                }
            }
            Ok(())
        });
        let rows = apart.build();
        let time = self.limits.time;
        let schema = rows.schema();
        let limited = futures::stream::unfold(Some(rows), move |rows| async move {
            let mut rows = rows?;
            match tokio::time::timeout_at(deadline, rows.next()).await {
                Ok(batch) => batch.map(|batch| (batch, Some(rows))),
                Err(_) => Some((
                    Err(DataFusionError::External(Box::new(QueryError::TooSlow(time)))),
                    None,
                )),
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, limited)))
    }

    /// Parses and plans a statement, and begins to run it.
    async fn begin(&self, text: &str) -> Result<SendableRecordBatchStream, QueryError> {
        let statement = read_only_statement(text)?;
        let context = self.session()?;
        let state = context.state();
        let plan = state.statement_to_plan(statement).await?;
        let options = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        options.verify_plan(&plan)?;
        Ok(context.execute_logical_plan(plan).await?.execute_stream().await?)
    }

    /// A session bound to one snapshot; it has no writer and no way to name a file (F4).
    fn session(&self) -> Result<SessionContext, QueryError> {
        let config = SessionConfig::new()
            .with_default_catalog_and_schema("lake", "main")
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false)
            .with_target_partitions(self.limits.threads);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(self.limits.memory_bytes)))
            .build_arc()?;
        let local = ObjectStoreUrl::local_filesystem();
        runtime.register_object_store(local.as_ref(), Arc::new(Files::default()));
        let context = SessionContext::new_with_config_rt(config, runtime);
        let provider = Arc::new(SqliteMetadataProvider::from_pool(self.catalog.pool()));
        let newest = provider.get_current_snapshot();
        let bound = |snapshot| DuckLakeCatalog::with_snapshot(provider.clone(), snapshot);
        let failed = |error| DataFusionError::External(Box::new(error));
        let lake = match self.as_of {
            Some(snapshot) => bound(snapshot),
            None => newest.and_then(bound),
        };
        context.register_catalog(
            "lake",
            Arc::new(Tables {
                lake: lake.map_err(failed)?,
                runs: self.runs.clone(),
            }),
        );
        if let Some(before) = self.before {
            context.register_catalog(changes::BEFORE, Arc::new(bound(before).map_err(failed)?));
        }
        Ok(context)
    }
}

/// The tables a reader sees: those of the lake, and `runs`.
#[derive(Debug)]
struct Tables {
    lake: DuckLakeCatalog,
    runs: Runs,
}

impl CatalogProvider for Tables {
    fn schema_names(&self) -> Vec<String> {
        self.lake.schema_names()
    }
    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let lake = self.lake.schema(name)?;
        Some(Arc::new(TablesOfSchema {
            lake,
            runs: (name == "main").then(|| self.runs.clone()),
        }))
    }
}

#[derive(Debug)]
struct TablesOfSchema {
    lake: Arc<dyn SchemaProvider>,
    runs: Option<Runs>,
}

#[async_trait]
impl SchemaProvider for TablesOfSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.lake.table_names();
        names.extend(
            self.runs
                .as_ref()
                .map(|_| schemas::datasets::runs::DATASET.name.to_owned()),
        );
        names
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        match &self.runs {
            Some(runs) if name == schemas::datasets::runs::DATASET.name => {
                let batch = runs
                    .as_batch()
                    .await
                    .map_err(|e| DataFusionError::External(Box::new(e)))?;
                Ok(Some(Arc::new(MemTable::try_new(
                    batch.schema(),
                    vec![vec![batch]],
                )?)))
            }
            _ => self.lake.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|table| table == name)
    }
}
