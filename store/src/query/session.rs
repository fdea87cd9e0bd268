//! What a query sees: the tables of the lake at one snapshot, those that are not in it, and the allowed functions.
//!
//! - In: a place, snapshots. Out: a session with no writer and no way to name a file (F4).

use super::alike::bit_distance;
use super::files::{Files, Losses};
use super::functions::{PLANNED, is_allowed};
use super::information::{INFORMATION_SCHEMA, Information};
use super::moments::Moments;
use super::relational::{self, Source};
use super::scan::Table;
use super::{Limits, QueryError, past};
use crate::audit::AuditToRead;
use crate::database::Place;
use crate::error::StoreError;
use crate::lake::as_of::AsOf;
use crate::lake::catalog::Catalog;
use crate::runs::Runs;
use crate::search::Models;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::{ScalarValue, TableReference};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, GreedyMemoryPool, MemoryPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use datafusion::optimizer::{Analyzer, AnalyzerRule};
use datafusion::prelude::{SessionConfig, SessionContext, ident};
use datafusion_ducklake::DuckLakeCatalog;
use object_store::path::Path as ObjectPath;
use schemas::{View, datasets, near};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// The schema of all tables.
pub(super) const MAIN: &str = "main";

/// The catalog of the tables that a query names without one.
const LAKE: &str = "lake";

/// Bytes that sorts and joins may put into files. More fills the disk for everybody.
const SPILL_BYTES: u64 = 16 << 30;

/// How the parts of a plan share the memory of a query.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shares {
    /// Each may have as much as any other.
    Equal,
    /// Each takes what it needs, until there is no more.
    AsNeeded,
}

impl Shares {
    fn pool(self, bytes: usize) -> Arc<dyn MemoryPool> {
        match self {
            Self::Equal => Arc::new(FairSpillPool::new(bytes)),
            Self::AsNeeded => Arc::new(GreedyMemoryPool::new(bytes)),
        }
    }
}

/// Answers queries over one store, in this process.
#[derive(Debug, Clone)]
pub struct Reader {
    catalog: Catalog,
    /// The tables that are not in the lake.
    relational: Vec<Arc<relational::Table>>,
    limits: Limits,
    /// Where sorts and joins put what does not fit into memory.
    spill: PathBuf,
    place: Place,
    models: Models,
}

impl Reader {
    /// A reader of the lake, the history of runs and the log of what was asked of a store.
    pub fn new(place: Place, catalog: Catalog, runs: Runs, limits: Limits) -> Self {
        let runs = Source::Open(runs.database().clone());
        let audit = Source::Audit(AuditToRead::of(place.clone()));
        let relational = [
            relational::Table::new(runs, &datasets::runs::DATASET),
            relational::Table::new(audit, &datasets::audit::DATASET),
        ];
        Self {
            catalog,
            relational: relational.map(Arc::new).into(),
            limits,
            spill: std::env::temp_dir(),
            place,
            models: Models::default(),
        }
    }

    /// A reader of a store that is there, which holds no way to write to it.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn open(
        place: impl Into<Place>,
        limits: Limits,
        spill: PathBuf,
        models: Models,
    ) -> Result<Self, StoreError> {
        let place = place.into();
        let catalog = Catalog::open_to_read(&place).await?;
        let runs = Runs::open_to_read(&place).await?;
        Ok(Self {
            spill,
            models,
            ..Self::new(place, catalog, runs, limits)
        })
    }

    /// Where the index of search is, and which model it is asked by.
    pub(super) fn index(&self) -> (&Place, &Models) {
        (&self.place, &self.models)
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn threads(&self) -> usize {
        self.limits.threads
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The snapshot that is asked for.
    pub(super) async fn snapshot(&self, as_of: Option<AsOf>) -> Result<i64, QueryError> {
        let found = match as_of {
            Some(as_of) => self.catalog.resolve(as_of).await,
            None => self.catalog.head().await.map(|newest| newest.id),
        };
        found.map_err(QueryError::past)
    }

    /// The folder of the data files, in all ways that a plan or an error may write it.
    pub(super) fn places(&self) -> Vec<String> {
        let folder = self.catalog.files();
        let plain = folder.display().to_string();
        let name = ObjectPath::from(plain.as_str()).to_string();
        vec![
            format!("{plain}/"),
            format!("/{name}/"),
            format!("{}/", plain.trim_start_matches('/')),
            format!("{name}/"),
        ]
    }

    /// A session of the newest snapshot, for queries of dkc's own.
    pub(crate) async fn session_now(&self) -> Result<SessionContext, QueryError> {
        self.session(
            self.snapshot(None).await?,
            &BTreeSet::new(),
            &View::default(),
            self.threads(),
            Shares::Equal,
            &Losses::default(),
        )
    }

    /// A session whose tables are those of the snapshot `current`; those of the past have catalogs of their own. Data files
    /// that it cannot read are noted in `losses`.
    pub(super) fn session(
        &self,
        current: i64,
        past: &BTreeSet<i64>,
        view: &View,
        threads: usize,
        shares: Shares,
        losses: &Losses,
    ) -> Result<SessionContext, QueryError> {
        let config = SessionConfig::new()
            .with_default_catalog_and_schema(LAKE, MAIN)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false)
            .with_target_partitions(threads);
        let spill = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![self.spill.clone()]))
            .with_max_temp_directory_size(SPILL_BYTES);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(shares.pool(self.limits.memory_bytes))
            .with_disk_manager_builder(spill)
            .build_arc()?;
        let local = ObjectStoreUrl::local_filesystem();
        runtime.register_object_store(local.as_ref(), Arc::new(Files::of(self.catalog.files(), losses)));
        // Only what is named here exists: no file formats, no table functions, no way to make tables.
        let mut scalar = SessionStateDefaults::default_scalar_functions();
        scalar.retain(|function| is_allowed(function.name()));
        scalar.push(Arc::new(bit_distance()));
        let mut aggregate = SessionStateDefaults::default_aggregate_functions();
        aggregate.retain(|function| is_allowed(function.name()));
        let mut window = SessionStateDefaults::default_window_functions();
        window.retain(|function| is_allowed(function.name()));
        let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(Moments)];
        rules.extend(Analyzer::new().rules);
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_analyzer_rules(rules)
            .with_expr_planners(SessionStateDefaults::default_expr_planners())
            .with_scalar_functions(scalar)
            .with_aggregate_functions(aggregate)
            .with_window_functions(window)
            .build();
        let context = SessionContext::new_with_state(state);
        let provider = self.catalog.provider();
        let bound = |snapshot| {
            DuckLakeCatalog::with_snapshot(provider.clone(), snapshot)
                .map_err(|error| DataFusionError::External(Box::new(error)))
        };
        let lake = Tables {
            lake: bound(current)?,
            relational: self.relational.clone(),
            view: view.clone(),
        };
        context.register_catalog(LAKE, Arc::new(lake));
        for snapshot in past {
            let lake = Tables {
                lake: bound(*snapshot)?,
                relational: Vec::new(),
                view: view.clone(),
            };
            context.register_catalog(past::catalog_of(*snapshot), Arc::new(lake));
        }
        Ok(context)
    }
}

/// What is told where a statement cannot be planned that names `tables` and calls functions: that the first of them is not
/// there, with the names that its reader may know; else the planner's own words.
pub(super) fn unplanned(
    context: &SessionContext,
    tables: Vec<TableReference>,
    called: &[String],
    error: DataFusionError,
) -> QueryError {
    // Of no other kind is the error of what is not there: a database that is away answers with no table either.
    if !matches!(error.find_root(), DataFusionError::Plan(_)) {
        return error.into();
    }
    let table = tables.into_iter().find_map(|table| no_table(context, table));
    let told = table.or_else(|| no_function(context, called));
    told.map_or_else(|| error.into(), QueryError::NoSuch)
}

/// That a table is not there, with those that are: by their names alone, or with schema and catalog where it was written so.
fn no_table(context: &SessionContext, table: TableReference) -> Option<String> {
    let place = table.clone().resolve(LAKE, MAIN);
    let schema = context.catalog(&place.catalog);
    let schema = schema.and_then(|catalog| catalog.schema(&place.schema));
    let is_there = schema.is_some_and(|schema| schema.table_exist(&place.table));
    // Statements that show something name tables of that schema, which nobody wrote.
    if is_there || place.schema.as_ref() == INFORMATION_SCHEMA {
        return None;
    }
    let (name, within) = match table {
        _ if (place.catalog.as_ref(), place.schema.as_ref()) == (LAKE, MAIN) => {
            (place.table.to_string(), String::new())
        }
        TableReference::Full { .. } => (table.to_string(), format!("{LAKE}.{MAIN}.")),
        _ => (table.to_string(), format!("{MAIN}.")),
    };
    let known = context.catalog(LAKE)?.schema(MAIN)?.table_names();
    let known: Vec<String> = known.iter().map(|known| format!("{within}{known}")).collect();
    Some(near::no_such("table", &name, known.iter().map(String::as_str)))
}

/// That one of some functions is not there, with those that are.
fn no_function(context: &SessionContext, called: &[String]) -> Option<String> {
    let state = context.state();
    let known = state.scalar_functions().keys();
    let known = known.chain(state.aggregate_functions().keys());
    let known = known.chain(state.window_functions().keys()).map(String::as_str);
    let known: BTreeSet<&str> = known.chain(PLANNED.iter().copied()).collect();
    let missing = called.iter().find(|name| !known.contains(name.as_str()))?;
    Some(near::no_such("function", missing, known.iter().copied()))
}

/// The tables a reader sees: those of the lake, and those that are not in it, which have no past.
#[derive(Debug)]
struct Tables {
    lake: DuckLakeCatalog,
    relational: Vec<Arc<relational::Table>>,
    view: View,
}

impl CatalogProvider for Tables {
    fn schema_names(&self) -> Vec<String> {
        vec![MAIN.to_owned()]
    }
    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let tables = Arc::new(TablesOfSchema {
            lake: self.lake.schema(MAIN)?,
            relational: self.relational.clone(),
            view: self.view.clone(),
        });
        match name {
            MAIN => Some(tables),
            // Not the lake's own, which tells the paths of files, nor the engine's, which tells its settings.
            INFORMATION_SCHEMA => Some(Arc::new(Information::new(tables))),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct TablesOfSchema {
    lake: Arc<dyn SchemaProvider>,
    relational: Vec<Arc<relational::Table>>,
    view: View,
}

impl TablesOfSchema {
    /// The table without what its reader may not see: these columns are null.
    fn masked(&self, name: &str, table: Arc<dyn TableProvider>) -> DataFusionResult<Arc<dyn TableProvider>> {
        let dataset = datasets::by_name(name);
        let reads = |column: &str| {
            let column = dataset.and_then(|dataset| dataset.all_columns().find(|known| known.name == column));
            // One that no dataset has is of nobody's making: whoever may not see all does not see it.
            column.map_or(self.view.hidden.is_none(), |column| self.view.reads(column))
        };
        let schema = table.schema();
        if schema.fields().iter().all(|field| reads(field.name())) {
            return Ok(table);
        }
        let columns = schema.fields().iter().map(|field| match reads(field.name()) {
            true => Ok(ident(field.name().as_str())),
            false => Ok(lit(ScalarValue::try_new_null(field.data_type())?).alias(field.name().as_str())),
        });
        let columns = columns.collect::<DataFusionResult<Vec<Expr>>>()?;
        let plan = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?.project(columns)?;
        Ok(Arc::new(ViewTable::new(plan.build()?, None)))
    }
}

#[async_trait]
impl SchemaProvider for TablesOfSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.lake.table_names();
        names.extend(self.relational.iter().map(|table| table.name().to_owned()));
        names.retain(|name| self.view.shows(name));
        names
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        if !self.view.shows(name) {
            return Ok(None);
        }
        let relational = self.relational.iter().find(|table| table.name() == name);
        let table: Option<Arc<dyn TableProvider>> = match relational {
            Some(table) => Some(Arc::clone(table) as Arc<dyn TableProvider>),
            None => {
                let table = self.lake.table(name).await?;
                table.map(|table| Arc::new(Table(table)) as _)
            }
        };
        table.map(|table| self.masked(name, table)).transpose()
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|table| table == name)
    }
}
