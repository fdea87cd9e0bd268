//! What is known of a dataset's chunks, in memory: columns to filter by, one row a chunk.
//!
//! - In: chunks, names of columns. Out: which chunks fit an expression.
//! - Not here: texts, which stay on disk unless they are asked for; vectors (`hot`).

use super::VectorError;
use super::chunks::{ADDRESS, Chunks};
use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt64Type;
use arrow_array::{Array as _, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use arrow_schema::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

/// Columns of all chunks of a dataset, of one version of it.
#[derive(Clone)]
pub struct Facts {
    chunks: Chunks,
    columns: Vec<String>,
    /// The columns, then those that are for this module, in the order of addresses.
    batch: RecordBatch,
    addresses: UInt64Array,
    /// Of chunks of one row that follow each other, the first.
    firsts: UInt64Array,
    engine: SessionContext,
}

impl std::fmt::Debug for Facts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Facts")
            .field("columns", &self.columns)
            .field("chunks", &self.len())
            .finish_non_exhaustive()
    }
}

impl Facts {
    /// Reads columns of the chunks.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read.
    pub async fn load(chunks: Chunks, columns: &[&str]) -> Result<Self, VectorError> {
        let mut facts = Self {
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            batch: RecordBatch::new_empty(Schema::empty().into()),
            addresses: UInt64Array::new_null(0),
            firsts: UInt64Array::new_null(0),
            chunks,
            engine: SessionContext::new(),
        };
        facts.read().await?;
        Ok(facts)
    }

    /// Sees what was written since.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read.
    pub async fn refresh(&mut self) -> Result<(), VectorError> {
        self.chunks.see_latest().await?;
        self.read().await
    }

    async fn read(&mut self) -> Result<(), VectorError> {
        let columns = self.columns.iter().map(String::as_str);
        let columns: Vec<&str> = columns.chain(["digest"]).collect();
        self.batch = by_address(self.chunks.all(&columns, None).await?)?;
        self.addresses = addresses(&self.batch)
            .cloned()
            .unwrap_or_else(|| UInt64Array::new_null(0));
        self.firsts = firsts(&self.batch);
        Ok(())
    }

    /// The chunks, of the version that is in memory.
    pub fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// The columns, one row a chunk, and the digests of what models read.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// How many chunks there are.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The address of the chunk at a position.
    pub fn address(&self, chunk: usize) -> Option<u64> {
        self.addresses.values().get(chunk).copied()
    }

    /// The position of the chunk at an address.
    pub fn position(&self, address: u64) -> Option<usize> {
        self.addresses.values().binary_search(&address).ok()
    }

    /// Columns of the chunks at these addresses, in that order.
    ///
    /// # Errors
    /// [`VectorError::Outdated`] when there is no chunk at one of them in the version that is in memory.
    pub fn at(&self, addresses: &[u64], columns: &[&str]) -> Result<RecordBatch, VectorError> {
        let rows = addresses.iter().map(|&address| {
            let row = self.position(address).and_then(|row| u64::try_from(row).ok());
            row.ok_or_else(|| VectorError::Outdated {
                table: self.chunks.name().to_owned(),
                reason: "it was written meanwhile".to_owned(),
            })
        });
        let rows: UInt64Array = rows.collect::<Result<Vec<u64>, _>>()?.into();
        let schema = self.batch.schema();
        let columns = columns.iter().map(|name| schema.index_of(name));
        let columns = self.batch.project(&columns.collect::<Result<Vec<usize>, _>>()?)?;
        Ok(arrow::compute::take_record_batch(&columns, &rows)?)
    }

    /// Which chunks fit an expression over columns that all chunks of a row share, and over what is `known` of each chunk by
    /// a name. It is computed once for the chunks of a row that follow each other: a text is compared once.
    ///
    /// # Errors
    /// [`VectorError::Filter`] when it asks for other columns, or cannot be computed.
    pub fn fitting(
        &self,
        filter: &Expr,
        known: &[(String, BooleanBuffer)],
    ) -> Result<BooleanBuffer, VectorError> {
        let asked = filter.column_refs();
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        let mut add = |field: Arc<Field>, column: &ArrayRef| {
            columns.push(arrow::compute::take(column, &self.firsts, None)?);
            fields.push(field);
            Ok::<_, VectorError>(())
        };
        for (field, column) in self.batch.schema().fields().iter().zip(self.batch.columns()) {
            if asked.iter().any(|asked| asked.name == *field.name()) {
                add(field.clone(), column)?;
            }
        }
        for (name, fits) in known {
            let fits: ArrayRef = Arc::new(BooleanArray::new(fits.clone(), None));
            add(Arc::new(Field::new(name, DataType::Boolean, false)), &fits)?;
        }
        let rows = RecordBatchOptions::new().with_row_count(Some(self.firsts.len()));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)?;
        let schema = DFSchema::try_from(rows.schema())?;
        let filter = self.engine.create_physical_expr(filter.clone(), &schema)?;
        let fits = filter.evaluate(&rows)?.into_array(rows.num_rows())?;
        let fits = datafusion::common::cast::as_boolean_array(&fits)?;
        let fits = match fits.nulls() {
            Some(known) => fits.values() & known.inner(),
            None => fits.values().clone(),
        };
        let firsts = self.firsts.values();
        let ends = firsts.iter().skip(1).copied().chain([self.len() as u64]);
        let mut all = BooleanBufferBuilder::new(self.len());
        for ((first, end), fits) in firsts.iter().zip(ends).zip(fits.iter()) {
            all.append_n((end - first) as usize, fits);
        }
        Ok(all.finish())
    }
}

fn addresses(batch: &RecordBatch) -> Option<&UInt64Array> {
    let column = batch.column_by_name(ADDRESS);
    column.and_then(|column| column.as_primitive_opt::<UInt64Type>())
}

/// Of chunks of one row that follow each other, the first.
fn firsts(batch: &RecordBatch) -> UInt64Array {
    let keys = batch.column_by_name("row_key");
    let keys = keys.and_then(|keys| keys.as_string_opt::<i32>());
    let is_first = |chunk: &usize| match (keys, chunk.checked_sub(1)) {
        (Some(keys), Some(before)) => keys.value(*chunk) != keys.value(before),
        _ => true,
    };
    let firsts = (0..batch.num_rows()).filter(is_first);
    firsts.map(|first| first as u64).collect::<Vec<u64>>().into()
}

/// Rows in the order of their addresses.
fn by_address(batch: RecordBatch) -> Result<RecordBatch, VectorError> {
    match addresses(&batch) {
        Some(addresses) if !addresses.values().is_sorted() => {
            let order = arrow::compute::sort_to_indices(addresses, None, None)?;
            Ok(arrow::compute::take_record_batch(&batch, &order)?)
        }
        _ => Ok(batch),
    }
}
