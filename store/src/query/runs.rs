//! The table `runs`, whose rows are in the state database: only what a query wants of them is read.
//!
//! - In: the columns that are wanted, comparisons, a limit. Out: those rows.
//! - What compares a column with a value is left to the database, which has indexes; all else is DataFusion's.
//! - A statement is read to its end before a row is passed on: a plan that names the table often, and waits for one part
//!   of it while it holds another, would else wait for a connection that it holds itself.
//! - Not here: what a run is (`schemas`), who writes it (`crate::runs`, `crate::queue`).

use crate::database::Database;
use crate::runs::Runs;
use arrow::datatypes::SchemaRef;
use arrow_array::builder::{Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use schemas::datasets::runs::DATASET;
use schemas::to_arrow::arrow_schema;
use schemas::{Column, Kind};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row as _};
use std::sync::Arc;

/// Values of one filter that are given to the database; it takes a limited number, and so deep an expression.
const MOST_VALUES: usize = 100;

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    database: Database,
    schema: SchemaRef,
}

impl Table {
    /// The history of runs as a table.
    pub(super) fn new(runs: &Runs) -> Self {
        Self {
            database: runs.database().clone(),
            schema: arrow_schema(&DATASET),
        }
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
        let support = |filter: &&Expr| match Condition::default().push(filter) {
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
        let mut condition = Condition::default();
        for filter in filters {
            condition.push(filter).ok_or_else(|| {
                DataFusionError::Internal(format!(
                    "`runs` was given a filter that it does not take: {filter}"
                ))
            })?;
        }
        let (schema, columns): (SchemaRef, Vec<&'static Column>) = match projection {
            None => (Arc::clone(&self.schema), DATASET.columns.iter().collect()),
            Some(places) => (
                Arc::new(self.schema.project(places)?),
                places
                    .iter()
                    .filter_map(|place| DATASET.columns.get(*place))
                    .collect(),
            ),
        };
        let scan = Scan {
            database: self.database.clone(),
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
    database: Database,
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
        // Nothing is read before somebody asks for the first row.
        let batches = stream::once(async move { scan.read(rows_each).await })
            .map_ok(|batches| stream::iter(batches).map(Ok::<_, DataFusionError>))
            .try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

impl Scan {
    /// All that it is to read, in batches of so many rows.
    async fn read(&self, rows_each: usize) -> Result<Vec<RecordBatch>> {
        let tell = self.database.failed();
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
            let row = query.fetch_one(self.database.pool()).await.map_err(failed)?;
            let rows: i64 = row.try_get(0).map_err(failed)?;
            return self.bare(usize::try_from(rows).unwrap_or(0), rows_each);
        }
        let mut cells: Vec<Cells> = self
            .columns
            .iter()
            .map(|column| Cells::of(column.kind))
            .collect::<Result<_>>()?;
        let (mut batches, mut held) = (Vec::new(), 0);
        let mut rows = query.fetch(self.database.pool());
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            for (place, cells) in cells.iter_mut().enumerate() {
                cells.push(&row, place).map_err(failed)?;
            }
            held += 1;
            if held == rows_each {
                batches.push(self.batch(&mut cells)?);
                held = 0;
            }
        }
        if held > 0 {
            batches.push(self.batch(&mut cells)?);
        }
        Ok(batches)
    }

    /// The statement; where no column is wanted, one that counts rows. Names are those of the dataset, and values are
    /// bound.
    fn sql(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        let names = match names.as_slice() {
            [] => "1".to_owned(),
            names => names.join(", "),
        };
        let condition = match self.condition.texts.as_slice() {
            [] => String::new(),
            texts => format!(" WHERE {}", texts.join(" AND ")),
        };
        let limit = self.limit.map(|limit| format!(" LIMIT {limit}"));
        let rows = format!("SELECT {names} FROM runs{condition}{}", limit.unwrap_or_default());
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

/// The cells of a column, as they come.
enum Cells {
    Text(StringBuilder),
    Int(Int64Builder),
    Instant(TimestampMicrosecondBuilder),
}

impl Cells {
    fn of(kind: Kind) -> Result<Self> {
        Ok(match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Int => Self::Int(Int64Builder::new()),
            Kind::Instant => Self::Instant(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Kind::TextList | Kind::Float | Kind::Bool | Kind::Bytes => {
                let words = format!("no column of `runs` is of kind {kind:?}");
                return Err(DataFusionError::NotImplemented(words));
            }
        })
    }

    /// Appends what a row has at that place.
    fn push(&mut self, row: &AnyRow, place: usize) -> std::result::Result<(), sqlx::Error> {
        match self {
            Self::Text(cells) => cells.append_option(row.try_get::<Option<&str>, _>(place)?),
            Self::Int(cells) => cells.append_option(row.try_get::<Option<i64>, _>(place)?),
            Self::Instant(cells) => cells.append_option(row.try_get::<Option<i64>, _>(place)?),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(cells) => Arc::new(cells.finish()),
            Self::Int(cells) => Arc::new(cells.finish()),
            Self::Instant(cells) => Arc::new(cells.finish()),
        }
    }
}

/// Which rows are wanted, in the words of the database.
#[derive(Debug, Clone, Default)]
struct Condition {
    /// All of them hold.
    texts: Vec<String>,
    /// What is `$1`, `$2` and so on.
    values: Vec<Bound>,
}

/// A value.
#[derive(Debug, Clone)]
enum Bound {
    Text(String),
    Int(i64),
}

impl Condition {
    /// Adds a filter, if the database says of each row what DataFusion would; else what it has is of no use any more.
    fn push(&mut self, filter: &Expr) -> Option<()> {
        let most = self.values.len() + MOST_VALUES;
        let text = self.said(filter, most)?;
        self.texts.push(text);
        Some(())
    }

    fn said(&mut self, expression: &Expr, most: usize) -> Option<String> {
        match expression {
            Expr::BinaryExpr(BinaryExpr { left, op, right })
                if matches!(op, Operator::And | Operator::Or) =>
            {
                let (left, right) = (self.said(left, most)?, self.said(right, most)?);
                let word = if *op == Operator::And { "AND" } else { "OR" };
                Some(format!("({left} {word} {right})"))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), Expr::Literal(value, _)) => {
                    self.compared(&column.name, *op, value, most)
                }
                (Expr::Literal(value, _), Expr::Column(column)) => {
                    self.compared(&column.name, op.swap()?, value, most)
                }
                _ => None,
            },
            Expr::InList(InList {
                expr,
                list,
                negated: false,
            }) => {
                let Expr::Column(column) = expr.as_ref() else {
                    return None;
                };
                let mut texts = Vec::new();
                for value in list {
                    let Expr::Literal(value, _) = value else {
                        return None;
                    };
                    texts.push(self.compared(&column.name, Operator::Eq, value, most)?);
                }
                (!texts.is_empty()).then(|| format!("({})", texts.join(" OR ")))
            }
            _ => None,
        }
    }

    /// The comparison of a column with a value that is not null.
    fn compared(
        &mut self,
        name: &str,
        operator: Operator,
        value: &ScalarValue,
        most: usize,
    ) -> Option<String> {
        let column = DATASET.columns.iter().find(|column| column.name == name)?;
        let value = match (column.kind, value) {
            // How texts are sorted is another matter in each database.
            (Kind::Text, value) if matches!(operator, Operator::Eq | Operator::NotEq) => {
                Bound::Text(value.try_as_str()??.to_owned())
            }
            (Kind::Int, ScalarValue::Int64(Some(value))) => Bound::Int(*value),
            (Kind::Instant, ScalarValue::TimestampMicrosecond(Some(value), _)) => Bound::Int(*value),
            _ => return None,
        };
        // Postgres takes no text with NUL.
        let is_taken = !matches!(&value, Bound::Text(text) if text.contains('\0'));
        if !is_taken || self.values.len() == most {
            return None;
        }
        let sign = match operator {
            Operator::Eq => "=",
            Operator::NotEq => "<>",
            Operator::Lt => "<",
            Operator::LtEq => "<=",
            Operator::Gt => ">",
            Operator::GtEq => ">=",
            _ => return None,
        };
        self.values.push(value);
        Some(format!("{} {sign} ${}", column.name, self.values.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Place;
    use crate::database::tests::{postgres, sqlite};
    use arrow::util::display::array_value_to_string;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::{SessionContext, col, lit};
    use schemas::datasets::runs::{Run, RunState, Trigger};
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
        context
            .register_table("runs", Arc::new(Table::new(&runs)))
            .unwrap();
        context
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
        assert_eq!(Condition::default().push(&nul), None);
        // For a count no column is read, and for two of them no other.
        let table = Table::new(&Runs::open(place).await.unwrap());
        let scan = Scan {
            database: table.database.clone(),
            schema: Arc::new(table.schema.project(&[]).unwrap()),
            columns: Vec::new(),
            condition: Condition::default(),
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
        assert_eq!(scan.sql(), "SELECT run, pipeline FROM runs");
    }
}
