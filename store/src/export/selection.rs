//! Which items a query chose.

use super::{ExportError, SendableRecordBatchStream};
use arrow::compute::cast;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::{DataType, Schema};
use futures::StreamExt;
use schemas::SourceName;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Items by source and `_item`; of each all attachments, or those at these positions.
#[derive(Debug, Default)]
pub struct Selection(pub BTreeMap<SourceName, HashMap<String, Option<BTreeSet<i64>>>>);

impl Selection {
    /// The items of the rows of a query, which must have `_source` and `_item`, and may have `ordinal`. Of a row some
    /// 150 bytes stay in memory.
    ///
    /// # Errors
    /// [`ExportError::Unnamed`] without these columns, or when the query breaks off.
    pub async fn of(mut rows: SendableRecordBatchStream) -> Result<Self, ExportError> {
        let mut selection = Self::default();
        let schema = rows.schema();
        let columns = Columns::of(&schema).ok_or(ExportError::Unnamed)?;
        while let Some(batch) = rows.next().await {
            columns.add(
                &batch.map_err(|error| ExportError::Query(error.into()))?,
                &mut selection,
            )?;
        }
        Ok(selection)
    }
}

/// Where in a batch they are.
struct Columns {
    source: usize,
    item: usize,
    ordinal: Option<usize>,
}

impl Columns {
    fn of(schema: &Schema) -> Option<Self> {
        Some(Self {
            source: schema.index_of("_source").ok()?,
            item: schema.index_of("_item").ok()?,
            ordinal: schema.index_of("ordinal").ok(),
        })
    }

    fn add(&self, batch: &RecordBatch, to: &mut Selection) -> Result<(), ExportError> {
        let texts = |column: usize| cast(batch.column(column), &DataType::Utf8);
        let (sources, items) = (texts(self.source)?, texts(self.item)?);
        let ordinals = self
            .ordinal
            .map(|column| cast(batch.column(column), &DataType::Int64));
        let ordinals = ordinals.transpose()?;
        let ordinals = ordinals.as_ref().map(|column| column.as_primitive::<Int64Type>());
        let rows = sources.as_string::<i32>().iter().zip(items.as_string::<i32>());
        for (row, (source, item)) in rows.enumerate() {
            // A row that an outer join made up names none.
            let (Some(source), Some(item)) = (source, item) else {
                continue;
            };
            let source = SourceName::new(source).map_err(|_| ExportError::Unnamed)?;
            let items = to.0.entry(source).or_default();
            match ordinals {
                Some(ordinals) => {
                    let chosen = items
                        .entry(item.to_owned())
                        .or_insert_with(|| Some(BTreeSet::new()));
                    if let Some(chosen) = chosen {
                        chosen.insert(ordinals.value(row));
                    }
                }
                None => {
                    items.insert(item.to_owned(), None);
                }
            }
        }
        Ok(())
    }
}
