//! What a query may learn about the tables themselves: `information_schema.tables` and `.columns`, which SHOW TABLES
//! and SHOW COLUMNS read, and plans without the places of files. No settings, no files.

use super::session::MAIN;
use arrow::error::ArrowError;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::error::Result as DataFusionResult;
use std::sync::Arc;

/// The schema of these tables.
pub(super) const INFORMATION_SCHEMA: &str = "information_schema";

const TABLES: &str = "tables";
const COLUMNS: &str = "columns";

/// Tables about the tables of a schema.
#[derive(Debug)]
pub(super) struct Information {
    about: Arc<dyn SchemaProvider>,
}

impl Information {
    pub(super) fn new(about: Arc<dyn SchemaProvider>) -> Self {
        Self { about }
    }

    async fn columns(&self) -> DataFusionResult<RecordBatch> {
        let mut rows: Vec<[String; 4]> = Vec::new();
        for name in self.names() {
            let Some(table) = self.about.table(&name).await? else {
                continue;
            };
            for field in table.schema().fields() {
                let nullable = if field.is_nullable() { "YES" } else { "NO" };
                let kind = field.data_type().to_string();
                rows.push([name.clone(), field.name().clone(), nullable.to_owned(), kind]);
            }
        }
        let column = |n: usize| texts(rows.iter().map(|row| row.get(n).map_or("", String::as_str)));
        let same = |text: &str| texts(rows.iter().map(|_| text));
        Ok(RecordBatch::try_from_iter([
            ("table_catalog", same("lake")),
            ("table_schema", same(MAIN)),
            ("table_name", column(0)),
            ("column_name", column(1)),
            ("is_nullable", column(2)),
            ("data_type", column(3)),
        ])?)
    }

    fn tables(&self) -> DataFusionResult<RecordBatch> {
        let names = self.names();
        let same = |text: &str| texts(names.iter().map(|_| text));
        Ok(RecordBatch::try_from_iter([
            ("table_catalog", same("lake")),
            ("table_schema", same(MAIN)),
            ("table_name", texts(names.iter().map(String::as_str))),
            ("table_type", same("BASE TABLE")),
        ])?)
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.about.table_names();
        names.sort();
        names
    }
}

#[async_trait]
impl SchemaProvider for Information {
    fn table_names(&self) -> Vec<String> {
        vec![TABLES.to_owned(), COLUMNS.to_owned()]
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        let batch = match name {
            TABLES => self.tables()?,
            COLUMNS => self.columns().await?,
            _ => return Ok(None),
        };
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        Ok(Some(Arc::new(table)))
    }

    fn table_exist(&self, name: &str) -> bool {
        [TABLES, COLUMNS].contains(&name)
    }
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

/// The texts of a batch without any of `secrets`.
pub(super) fn without(batch: &RecordBatch, secrets: &[String]) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .map(|column| match column.as_string_opt::<i32>() {
            Some(column) => {
                let clean = column.iter().map(|text| text.map(|text| hidden(text, secrets)));
                Arc::new(StringArray::from_iter(clean)) as ArrayRef
            }
            None => column.clone(),
        });
    RecordBatch::try_new(batch.schema(), columns.collect())
}

/// A text without any of `secrets`.
pub(super) fn hidden(text: &str, secrets: &[String]) -> String {
    secrets
        .iter()
        .fold(text.to_owned(), |text, secret| text.replace(secret, ""))
}
