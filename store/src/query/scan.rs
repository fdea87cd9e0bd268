//! A table of the lake that says of itself what its catalog knows: rows, nulls and bounds of what is read.
//!
//! - datafusion-ducklake 0.7 tells this of each file, and of the scan of all of them nothing. With it `count(*)`,
//!   `min` and `max` need no file, and joins begin with the smaller table.
//! - A file with deleted rows is another kind of scan, of which nothing is known.

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

/// A table with statistics.
#[derive(Debug)]
pub(super) struct Table(pub(super) Arc<dyn TableProvider>);

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        self.0.table_type()
    }

    fn statistics(&self) -> Option<Statistics> {
        self.0.statistics()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.0.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.0.scan(state, projection, filters, limit).await?;
        Ok(plan.transform_up(with_statistics)?.data)
    }
}

fn with_statistics(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let scan = plan.downcast_ref::<DataSourceExec>();
    let Some((config, source)) = scan.and_then(DataSourceExec::downcast_to_file_source::<ParquetSource>)
    else {
        return Ok(Transformed::no(plan));
    };
    let files = config.file_groups.iter().flat_map(|group| group.iter());
    let known: Option<Vec<_>> = files.map(|file| file.statistics.as_deref()).collect();
    // With a limit it gives fewer rows than its files have.
    let Some(known) = known.filter(|_| config.limit.is_none()) else {
        return Ok(Transformed::no(plan));
    };
    let schema = source.table_schema().table_schema();
    let statistics = Statistics::try_merge_iter(known, schema)?;
    let config = FileScanConfigBuilder::from(config.clone()).with_statistics(statistics);
    Ok(Transformed::yes(DataSourceExec::from_data_source(config.build())))
}
