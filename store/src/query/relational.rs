//! The tables whose rows are in the database and not in the lake, `runs` and `audit`: only what a query wants of them is
//! read.
//!
//! - In: the columns that are wanted, comparisons, a limit. Out: those rows.
//! - What compares a column with a value is left to the database (`condition`), which has indexes; all else is DataFusion's.
//! - A statement is read to its end before a row is passed on: a plan that names the table often, and waits for one part
//!   of it while it holds another, would else wait for a connection that it holds itself.
//! - Not here: what the rows are (`schemas`), who writes them (`crate::runs`, `crate::queue`, `crate::audit`), who may see
//!   them (`session`).

mod condition;

use crate::audit::AuditToRead;
use crate::database::Database;
use crate::error::StoreError;
use arrow::datatypes::SchemaRef;
use arrow_array::builder::{Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use condition::{Bound, Condition};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use schemas::to_arrow::arrow_schema;
use schemas::{Column, Dataset, Kind};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row as _};
use std::sync::Arc;

/// Texts that the database has as bytes, by dataset and column: a query sees their hexadecimal digits.
const IN_BYTES: &[(&str, &str)] = &[("audit", "hash")];

fn is_in_bytes(dataset: &Dataset, column: &Column) -> bool {
    IN_BYTES.contains(&(dataset.name, column.name))
}

/// Where the rows of a table are.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// In a database that is open.
    Open(Database),
    /// In the log of what was asked, which may not be there yet.
    Audit(AuditToRead),
}

impl Source {
    /// The database; `None` where there is none yet.
    async fn database(&self) -> std::result::Result<Option<Database>, StoreError> {
        match self {
            Self::Open(database) => Ok(Some(database.clone())),
            Self::Audit(audit) => audit.database().await,
        }
    }
}

/// A table. Its rows are looked for when they are wanted, not before.
#[derive(Debug)]
pub(super) struct Table {
    source: Source,
    dataset: &'static Dataset,
    schema: SchemaRef,
}

impl Table {
    /// A dataset as a table.
    pub(super) fn new(source: Source, dataset: &'static Dataset) -> Self {
        Self {
            source,
            dataset,
            schema: arrow_schema(dataset),
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        self.dataset.name
    }
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match Condition::of(self.dataset).push(filter) {
            Some(()) => TableProviderFilterPushDown::Exact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut condition = Condition::of(self.dataset);
        for filter in filters {
            condition.push(filter).ok_or_else(|| {
                DataFusionError::Internal(format!(
                    "`{}` was given a filter that it does not take: {filter}",
                    self.name()
                ))
            })?;
        }
        let (schema, columns): (SchemaRef, Vec<&'static Column>) = match projection {
            None => (Arc::clone(&self.schema), self.dataset.columns.iter().collect()),
            Some(places) => (
                Arc::new(self.schema.project(places)?),
                places
                    .iter()
                    .filter_map(|place| self.dataset.columns.get(*place))
                    .collect(),
            ),
        };
        let scan = Scan {
            source: self.source.clone(),
            schema: Arc::clone(&schema),
            columns,
            condition,
            limit,
        };
        let plan = StreamingTableExec::try_new(schema, vec![Arc::new(scan)], None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// What one part of a plan reads.
#[derive(Debug, Clone)]
struct Scan {
    source: Source,
    schema: SchemaRef,
    columns: Vec<&'static Column>,
    condition: Condition,
    limit: Option<usize>,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (scan, schema) = (self.clone(), Arc::clone(&self.schema));
        let rows_each = context.session_config().batch_size();
        let held = MemoryConsumer::new(scan.condition.dataset.name).register(context.memory_pool());
        // Nothing is read before somebody asks for the first row.
        let batches =
            stream::once(async move { Ok::<_, DataFusionError>((scan.read(rows_each, &held).await?, held)) })
                .map_ok(|(batches, held)| {
                    stream::iter(batches).map(move |batch| {
                        held.shrink(batch.get_array_memory_size());
                        Ok::<_, DataFusionError>(batch)
                    })
                })
                .try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

impl Scan {
    /// All that it is to read, in batches of so many rows.
    async fn read(&self, rows_each: usize, held: &MemoryReservation) -> Result<Vec<RecordBatch>> {
        let database = self.source.database().await;
        let Some(database) = database.map_err(|error| DataFusionError::External(Box::new(error)))? else {
            return Ok(Vec::new());
        };
        let tell = database.failed();
        let failed = |error: sqlx::Error| DataFusionError::External(Box::new(tell(error)));
        let sql = self.sql();
        let mut query: Query<'_, Any, AnyArguments> = sqlx::query(AssertSqlSafe(sql));
        for value in &self.condition.values {
            query = match value {
                Bound::Text(text) => query.bind(text.clone()),
                Bound::Int(int) => query.bind(*int),
            };
        }
        if self.columns.is_empty() {
            let row = query.fetch_one(database.pool()).await.map_err(failed)?;
            let rows: i64 = row.try_get(0).map_err(failed)?;
            return self.bare(usize::try_from(rows).unwrap_or(0), rows_each);
        }
        let mut cells: Vec<Cells> = self
            .columns
            .iter()
            .map(|column| Cells::of(self.condition.dataset, column))
            .collect::<Result<_>>()?;
        let (mut batches, mut taken) = (Vec::new(), 0);
        let mut rows = query.fetch(database.pool());
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            for (place, cells) in cells.iter_mut().enumerate() {
                cells.push(&row, place).map_err(failed)?;
            }
            taken += 1;
            if taken == rows_each {
                let batch = self.batch(&mut cells)?;
                held.try_grow(batch.get_array_memory_size())?;
                batches.push(batch);
                taken = 0;
            }
        }
        if taken > 0 {
            let batch = self.batch(&mut cells)?;
            held.try_grow(batch.get_array_memory_size())?;
            batches.push(batch);
        }
        Ok(batches)
    }

    /// The statement; where no column is wanted, one that counts rows. Names are those of the dataset, and values are
    /// bound.
    fn sql(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| quoted(column)).collect();
        let names = match names.as_slice() {
            [] => "1".to_owned(),
            names => names.join(", "),
        };
        let table = self.condition.dataset.name;
        let condition = match self.condition.texts.as_slice() {
            [] => String::new(),
            texts => format!(" WHERE {}", texts.join(" AND ")),
        };
        let limit = self.limit.map(|limit| format!(" LIMIT {limit}"));
        let rows = format!(
            "SELECT {names} FROM {table}{condition}{}",
            limit.unwrap_or_default()
        );
        match self.columns.is_empty() {
            true => format!("SELECT count(*) FROM ({rows}) AS counted"),
            false => rows,
        }
    }

    fn batch(&self, cells: &mut [Cells]) -> Result<RecordBatch> {
        let columns = cells.iter_mut().map(Cells::finish).collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// So many rows without a column.
    fn bare(&self, mut rows: usize, rows_each: usize) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while rows > 0 {
            let some = rows.min(rows_each.max(1));
            rows -= some;
            let options = RecordBatchOptions::new().with_row_count(Some(some));
            batches.push(RecordBatch::try_new_with_options(
                Arc::clone(&self.schema),
                Vec::new(),
                &options,
            )?);
        }
        Ok(batches)
    }
}

/// The name of a column: some are words of SQL.
fn quoted(column: &Column) -> String {
    format!("\"{}\"", column.name)
}

/// The cells of a column, as they come.
enum Cells {
    Text(StringBuilder),
    /// Of bytes, of which the digits are the text.
    Digits(StringBuilder),
    Int(Int64Builder),
    Instant(TimestampMicrosecondBuilder),
}

impl Cells {
    fn of(dataset: &Dataset, column: &Column) -> Result<Self> {
        Ok(match column.kind {
            Kind::Text if is_in_bytes(dataset, column) => Self::Digits(StringBuilder::new()),
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Int => Self::Int(Int64Builder::new()),
            Kind::Instant => Self::Instant(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            kind @ (Kind::TextList | Kind::Float | Kind::Bool | Kind::Bytes) => {
                let words = format!("`{}` of `{}` is of kind {kind:?}", column.name, dataset.name);
                return Err(DataFusionError::NotImplemented(words));
            }
        })
    }

    /// Appends what a row has at that place.
    fn push(&mut self, row: &AnyRow, place: usize) -> std::result::Result<(), sqlx::Error> {
        match self {
            Self::Text(cells) => cells.append_option(row.try_get::<Option<&str>, _>(place)?),
            Self::Digits(cells) => {
                let bytes: Option<Vec<u8>> = row.try_get(place)?;
                cells.append_option(bytes.map(hex::encode));
            }
            Self::Int(cells) => cells.append_option(row.try_get::<Option<i64>, _>(place)?),
            Self::Instant(cells) => cells.append_option(row.try_get::<Option<i64>, _>(place)?),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(cells) | Self::Digits(cells) => Arc::new(cells.finish()),
            Self::Int(cells) => Arc::new(cells.finish()),
            Self::Instant(cells) => Arc::new(cells.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Audit, Entry};
    use crate::database::Place;
    use crate::database::tests::{postgres, sqlite};
    use crate::runs::Runs;
    use arrow::util::display::array_value_to_string;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::{SessionContext, col, lit};
    use schemas::datasets::audit;
    use schemas::datasets::runs::{DATASET, Run, RunState, Trigger};
    use schemas::{Cursor, SourceName};

    async fn session(place: Place) -> SessionContext {
        let runs = Runs::open(place).await.unwrap();
        for (at, pipeline, state) in [
            (1, "mail", RunState::Failed),
            (2, "mail", RunState::Succeeded),
            (3, "photos", RunState::Succeeded),
            (4, "notes", RunState::Queued),
        ] {
            let run = Run {
                reason: Some(format!("it's {pipeline}")),
                state,
                attempt: at,
                ended_at: (state != RunState::Queued).then_some(i64::from(at) * 2_000_000),
                cursor_after: Some(Cursor(serde_json::json!({ "n": at }))),
                ..Run::new(
                    SourceName::new(pipeline).unwrap(),
                    Trigger::Schedule,
                    i64::from(at) * 1_000_000,
                )
            };
            runs.record(&run).await.unwrap();
        }
        let context = SessionContext::new();
        context.register_table("runs", Arc::new(table_of(&runs))).unwrap();
        context
    }

    fn table_of(runs: &Runs) -> Table {
        Table::new(Source::Open(runs.database().clone()), &DATASET)
    }

    fn log_of(place: &Place) -> Table {
        Table::new(Source::Audit(AuditToRead::of(place.clone())), &audit::DATASET)
    }

    async fn answer(context: &SessionContext, sql: &str) -> String {
        let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
        let mut lines = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let cells = batch.columns().iter();
                let cells: Vec<String> = cells
                    .map(|column| array_value_to_string(column, row).unwrap())
                    .collect();
                lines.push(cells.join(","));
            }
        }
        lines.join("|")
    }

    async fn story(place: Place) {
        let context = session(place).await;
        for (sql, rows) in [
            ("SELECT count(*) FROM runs", "4"),
            ("SELECT count(*) FROM (SELECT * FROM runs LIMIT 3)", "3"),
            ("SELECT count(*) FROM runs WHERE pipeline = 'mail'", "2"),
            ("SELECT count(*) FROM runs WHERE 'mail' <> pipeline", "2"),
            (
                "SELECT attempt FROM runs WHERE state IN ('failed', 'queued') ORDER BY 1",
                "1|4",
            ),
            (
                "SELECT attempt FROM runs WHERE state NOT IN ('succeeded', 'failed')",
                "4",
            ),
            ("SELECT attempt FROM runs WHERE reason = 'it''s photos'", "3"),
            (
                "SELECT attempt FROM runs WHERE started_at = '1970-01-01T00:00:02Z'",
                "2",
            ),
            (
                "SELECT attempt FROM runs WHERE started_at > '1970-01-01T00:00:01Z' AND 3 >= attempt ORDER BY 1",
                "2|3",
            ),
            (
                "SELECT attempt FROM runs WHERE pipeline = 'notes' OR (pipeline = 'mail' AND attempt < 2) ORDER BY 1",
                "1|4",
            ),
            // What the database is not asked.
            ("SELECT attempt FROM runs WHERE pipeline LIKE 'n%'", "4"),
            ("SELECT attempt FROM runs WHERE upper(pipeline) = 'NOTES'", "4"),
            ("SELECT attempt FROM runs WHERE ended_at IS NULL", "4"),
            // A column may be wanted twice, and in any order.
            (
                "SELECT cursor_after, ended_at, pipeline, ended_at AS again FROM runs WHERE attempt = 1",
                "{\"n\":1},1970-01-01T00:00:02Z,mail,1970-01-01T00:00:02Z",
            ),
            (
                "SELECT count(*) FROM runs a JOIN runs b ON a.pipeline = b.pipeline",
                "6",
            ),
        ] {
            assert_eq!(answer(&context, sql).await, rows, "{sql}");
        }
        // More parts of a plan than there are connections.
        let many = vec!["SELECT attempt FROM runs"; 20].join(" UNION ALL ");
        assert_eq!(
            answer(&context, &format!("SELECT count(*) FROM ({many})")).await,
            "80"
        );
        let values: Vec<String> = (0..5_000).map(|n| format!("'{n}'")).collect();
        let sql = format!(
            "SELECT count(*) FROM runs WHERE pipeline IN ({}, 'mail')",
            values.join(", ")
        );
        assert_eq!(answer(&context, &sql).await, "2");
        // All columns are there, in their order.
        let all = context.sql("SELECT * FROM runs").await.unwrap();
        let batches = all.collect().await.unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 4);
        assert_eq!(batches[0].schema().fields(), arrow_schema(&DATASET).fields());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_are_those_that_are_asked_for_in_sqlite() {
        let (_data, place) = sqlite();
        story(place).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_are_those_that_are_asked_for_in_postgres() {
        let (_data, place) = postgres();
        story(place).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_can_be_said_is_said_to_the_database() {
        let (_data, place) = sqlite();
        let context = session(place.clone()).await;
        for (sql, is_said) in [
            ("SELECT run FROM runs WHERE pipeline = 'mail'", true),
            (
                "SELECT run FROM runs WHERE state IN ('failed', 'skipped', 'queued', 'running')",
                true,
            ),
            (
                "SELECT run FROM runs WHERE started_at >= '2026-01-01T00:00:00Z'",
                true,
            ),
            ("SELECT run FROM runs WHERE pipeline > 'mail'", false),
            ("SELECT run FROM runs WHERE pipeline LIKE 'm%l'", false),
        ] {
            let plan = context
                .sql(sql)
                .await
                .unwrap()
                .create_physical_plan()
                .await
                .unwrap();
            let text = displayable(plan.as_ref()).indent(false).to_string();
            assert_eq!(!text.contains("FilterExec"), is_said, "{sql}: {text}");
        }
        // Postgres takes no text with NUL, so nobody is asked about one.
        let nul = col("reason").eq(lit("a\0b"));
        assert_eq!(Condition::of(&DATASET).push(&nul), None);
        // For a count no column is read, and for two of them no other.
        let table = table_of(&Runs::open(place).await.unwrap());
        let scan = Scan {
            source: table.source.clone(),
            schema: Arc::new(table.schema.project(&[]).unwrap()),
            columns: Vec::new(),
            condition: Condition::of(&DATASET),
            limit: Some(7),
        };
        assert_eq!(
            scan.sql(),
            "SELECT count(*) FROM (SELECT 1 FROM runs LIMIT 7) AS counted"
        );
        let rows: Vec<usize> = scan
            .bare(5, 2)
            .unwrap()
            .iter()
            .map(RecordBatch::num_rows)
            .collect();
        assert_eq!(rows, [2, 2, 1]);
        let scan = Scan {
            columns: DATASET.columns.iter().take(2).collect(),
            limit: None,
            ..scan
        };
        assert_eq!(scan.sql(), "SELECT \"run\", \"pipeline\" FROM runs");
    }

    async fn story_of_a_log(place: Place) {
        let context = SessionContext::new();
        context.register_table("audit", Arc::new(log_of(&place))).unwrap();
        // Nobody asked anything yet, and whoever looks makes nothing.
        assert_eq!(answer(&context, "SELECT count(*) FROM audit").await, "0");
        assert_eq!(answer(&context, "SELECT who, hash FROM audit").await, "");
        assert!(!place.data.join("audit.sqlite").exists());

        let log = Audit::open(&place).await.unwrap();
        let entry = |at: i64, who: &str, operation: &str| Entry {
            at: at * 1_000_000,
            who: who.to_owned(),
            role: "user".to_owned(),
            operation: operation.to_owned(),
            face: "rest".to_owned(),
            input: "00ff".to_owned(),
            rows: 10 * at,
            bytes: 100 * at,
            outcome: "ok".to_owned(),
            duration_us: 7,
            request: format!("r{at}"),
        };
        let entries = [
            entry(1, "ann", "run_sql"),
            entry(2, "bob", "run_sql"),
            entry(3, "ann", "search"),
        ];
        log.append(&entries).await.unwrap();
        let records = log.page(0, 9).await.unwrap();
        // The same table has them now, as the log itself tells them.
        let hashes: Vec<&str> = records.iter().map(|record| record.hash.as_str()).collect();
        assert_eq!(
            answer(&context, "SELECT hash FROM audit ORDER BY seq").await,
            hashes.join("|")
        );
        let whole = format!(
            "2,1970-01-01T00:00:02Z,bob,user,run_sql,rest,00ff,20,200,ok,7,r2,{}",
            hashes[1]
        );
        let by_hash = format!("SELECT * FROM audit WHERE hash = '{}'", hashes[1]);
        for (sql, rows) in [
            ("SELECT count(*) FROM audit", "3"),
            (
                "SELECT seq FROM audit WHERE who = 'ann' AND operation = 'run_sql'",
                "1",
            ),
            (
                "SELECT \"rows\" FROM audit WHERE \"rows\" >= 20 ORDER BY 1",
                "20|30",
            ),
            ("SELECT seq FROM audit WHERE \"at\" < '1970-01-01T00:00:02Z'", "1"),
            (by_hash.as_str(), whole.as_str()),
        ] {
            assert_eq!(answer(&context, sql).await, rows, "{sql}");
        }
        for (column, is_said) in [("who", true), ("operation", true), ("hash", false)] {
            let mut condition = Condition::of(&audit::DATASET);
            let filter = col(column).eq(lit("00"));
            assert_eq!(condition.push(&filter).is_some(), is_said, "{column}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_log_of_what_was_asked_is_a_table_in_sqlite() {
        let (_data, place) = sqlite();
        story_of_a_log(place).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_log_of_what_was_asked_is_a_table_in_postgres() {
        let (_data, place) = postgres();
        story_of_a_log(place).await;
    }
}
