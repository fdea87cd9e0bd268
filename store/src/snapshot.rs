//! Rows of the lake as they were at one snapshot, in an order that does not change: file by file, row by row.
//!
//! - In: a dataset, a snapshot. Out: its rows in batches, read as they are taken.
//! - Not here: SQL (`query`), which promises no order.

use crate::Store;
use crate::error::StoreError;
use crate::lake::as_of::AsOf;
use crate::lake::catalog::LiveFile;
use crate::lake::data_file::{self, Select};
use crate::lake::index::{self, of_source};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use jiff::Timestamp;
use schemas::{Dataset, SourceName};
use std::collections::HashSet;
use tokio::sync::mpsc;

/// Bytes of originals that are read at once, unless one alone has more.
const READ_BYTES: i64 = 32 << 20;

/// Rows that are read at once at most.
const READ_ROWS: i64 = 1_024;

/// A snapshot, and when it was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Its id.
    pub snapshot: i64,
    /// Its time.
    pub time: Timestamp,
}

impl Store {
    /// The snapshot that is meant; without a wish the newest.
    ///
    /// # Errors
    /// [`StoreError::NoSnapshot`] when it was forgotten or never was.
    pub async fn moment(&self, as_of: Option<AsOf>) -> Result<Moment, StoreError> {
        let snapshot = match as_of {
            Some(as_of) => self.resolve(as_of).await?,
            None => self.catalog.head().await?.id,
        };
        let snapshots = self.catalog.snapshots().await?;
        let time = snapshots.iter().find(|(id, ..)| *id == snapshot);
        let time = time.and_then(|(_, time, ..)| time.parse().ok());
        let time = time.ok_or_else(|| StoreError::Unfit {
            reason: format!("snapshot {snapshot} has no time"),
        })?;
        Ok(Moment { snapshot, time })
    }

    /// All rows of a lake dataset at a snapshot.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog cannot be read; a file that cannot be read comes through the stream.
    pub async fn rows_at(
        &self,
        dataset: &'static Dataset,
        snapshot: i64,
    ) -> Result<SendableRecordBatchStream, StoreError> {
        let files = self.catalog.files_at(dataset, snapshot, None).await?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            let batches = files
                .iter()
                .flat_map(|file| index::read_live_or_error(file, None));
            for batch in batches {
                let batch = batch.and_then(|batch| data_file::to_dataset(dataset, &batch));
                let batch = batch.map_err(|error| DataFusionError::External(Box::new(error)));
                // Whoever stopped taking has seen enough.
                if sender.blocking_send(batch).is_err() {
                    break;
                }
            }
        });
        let batches = futures::stream::unfold(receiver, |mut receiver| async {
            let batch = receiver.recv().await?;
            Some((batch, receiver))
        });
        let schema = schemas::to_arrow::arrow_schema(dataset);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    /// The rows of some units of a source at a snapshot. What is in memory at once is bounded by bytes where the
    /// dataset says how many a row has.
    ///
    /// # Errors
    /// As [`Store::rows_at`].
    pub async fn units_at(
        &self,
        dataset: &'static Dataset,
        snapshot: i64,
        source: &SourceName,
        units: HashSet<String>,
    ) -> Result<mpsc::Receiver<Result<RecordBatch, StoreError>>, StoreError> {
        let files = self.catalog.files_at(dataset, snapshot, Some(source)).await?;
        let source = source.clone();
        let (sender, receiver) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            for file in &files {
                let read = send_units(dataset, file, &source, &units, &sender);
                match read {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        let _ = sender.blocking_send(Err(error));
                        break;
                    }
                }
            }
        });
        Ok(receiver)
    }
}

/// Sends the live rows of some units in a file; whether there is still somebody who takes them.
fn send_units(
    dataset: &Dataset,
    file: &LiveFile,
    source: &SourceName,
    units: &HashSet<String>,
    to: &mpsc::Sender<Result<RecordBatch, StoreError>>,
) -> Result<bool, StoreError> {
    let found = index::locate(dataset, std::slice::from_ref(file), source, units)?;
    for rows in &found {
        let select = Select::At(&rows.positions);
        let mut largest = 1;
        for batch in data_file::read(&file.path, Some(&["size_bytes"]), &select)? {
            let batch = batch?;
            let sizes = batch.column_by_name("size_bytes");
            let sizes = sizes.and_then(|sizes| sizes.as_primitive_opt::<Int64Type>());
            largest = sizes.and_then(arrow::compute::max).unwrap_or(1).max(largest);
        }
        let rows_at_once = usize::try_from((READ_BYTES / largest).clamp(1, READ_ROWS)).unwrap_or(1);
        for batch in data_file::read_by(&file.path, None, &select, rows_at_once)? {
            let batch = data_file::to_dataset(dataset, &batch?).and_then(|batch| of_source(batch, source));
            if to.blocking_send(batch).is_err() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
