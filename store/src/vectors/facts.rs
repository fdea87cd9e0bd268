//! What is known of a dataset's chunks, in memory: columns to filter by, one row a chunk.
//!
//! - In: chunks, names of columns. Out: which chunks fit an expression.
//! - Not here: texts, which stay on disk unless they are asked for; vectors (`hot`).

use super::VectorError;
use super::chunks::{ADDRESS, Chunks};
use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt64Type;
use arrow_array::{Array as _, RecordBatch, UInt64Array};
use arrow_buffer::BooleanBuffer;
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;

/// Columns of all chunks of a dataset, of one version of it.
#[derive(Clone)]
pub struct Facts {
    chunks: Chunks,
    columns: Vec<String>,
    /// The columns, then those that are for this module, in the order of addresses.
    batch: RecordBatch,
    addresses: UInt64Array,
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
            batch: RecordBatch::new_empty(arrow_schema::Schema::empty().into()),
            addresses: UInt64Array::new_null(0),
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

    /// Which chunks fit an expression over the columns.
    ///
    /// # Errors
    /// [`VectorError::Filter`] when it asks for other columns, or cannot be computed.
    pub fn fitting(&self, filter: &Expr) -> Result<BooleanBuffer, VectorError> {
        let schema = DFSchema::try_from(self.batch.schema())?;
        let filter = self.engine.create_physical_expr(filter.clone(), &schema)?;
        let fits = filter.evaluate(&self.batch)?.into_array(self.len())?;
        let fits = datafusion::common::cast::as_boolean_array(&fits)?;
        Ok(match fits.nulls() {
            Some(known) => fits.values() & known.inner(),
            None => fits.values().clone(),
        })
    }
}

fn addresses(batch: &RecordBatch) -> Option<&UInt64Array> {
    let column = batch.column_by_name(ADDRESS);
    column.and_then(|column| column.as_primitive_opt::<UInt64Type>())
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
