//! Reading a file by column and by row.

use super::fit;
use crate::error::StoreError;
use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use schemas::Dataset;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

/// Which rows of a file to read.
pub enum Select<'a> {
    /// All.
    All,
    /// Those at these positions, ascending.
    At(&'a [u64]),
    /// All but those at these positions, ascending.
    Except(&'a [u64]),
}

/// A batch as read from a file, with all columns of its dataset and without what only files have.
///
/// # Errors
/// [`StoreError::Arrow`] when a column has another type than its dataset says.
pub fn to_dataset(dataset: &Dataset, batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
    Ok(fit(&schemas::to_arrow::arrow_schema(dataset), batch)?)
}

/// A batch as read from a file, with these columns of its dataset in this order; what the file is too old to have is
/// null.
///
/// # Errors
/// As [`to_dataset`].
pub fn to_columns(
    dataset: &Dataset,
    columns: &[&str],
    batch: &RecordBatch,
) -> Result<RecordBatch, StoreError> {
    let schema = schemas::to_arrow::arrow_schema(dataset);
    let places = columns.iter().map(|name| schema.index_of(name));
    let schema = schema.project(&places.collect::<Result<Vec<_>, _>>()?)?;
    Ok(fit(&schema.into(), batch)?)
}

/// Rows in a batch, unless somebody knows better.
const BATCH_ROWS: usize = 4_096;

/// Reads columns of a dataset's file; a column that the file is too old to have is not in the batches.
///
/// # Errors
/// [`StoreError`] when the file is missing or damaged.
pub fn read(
    path: &Path,
    columns: Option<&[&str]>,
    select: &Select<'_>,
) -> Result<ParquetRecordBatchReader, StoreError> {
    read_by(path, columns, select, BATCH_ROWS)
}

/// As [`read`], with so many rows in a batch.
///
/// # Errors
/// As [`read`].
pub fn read_by(
    path: &Path,
    columns: Option<&[&str]>,
    select: &Select<'_>,
    batch_rows: usize,
) -> Result<ParquetRecordBatchReader, StoreError> {
    let file = File::open(path).map_err(StoreError::io("read", path))?;
    let failed = || StoreError::parquet("read", path);
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed())?;
    if let Some(columns) = columns {
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
    }
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
    builder = match select {
        Select::All => builder,
        Select::At(positions) => builder.with_row_selection(selection(positions, true, rows)),
        Select::Except(positions) => builder.with_row_selection(selection(positions, false, rows)),
    };
    builder.with_batch_size(batch_rows).build().map_err(failed())
}

/// The rows at `positions` (`take`) or all others.
fn selection(positions: &[u64], take: bool, rows: usize) -> RowSelection {
    let mut selectors = Vec::with_capacity(positions.len() * 2 + 1);
    let mut at = 0_usize;
    for range in ranges(positions) {
        let between = RowSelector {
            row_count: range.start.saturating_sub(at),
            skip: take,
        };
        let named = RowSelector {
            row_count: range.len(),
            skip: !take,
        };
        selectors.extend([between, named].into_iter().filter(|s| s.row_count > 0));
        at = range.end;
    }
    if rows > at {
        selectors.push(RowSelector {
            row_count: rows - at,
            skip: take,
        });
    }
    RowSelection::from(selectors)
}

/// Runs of neighbouring positions.
fn ranges(positions: &[u64]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for &position in positions {
        let position = position as usize;
        match ranges.last_mut() {
            Some(last) if last.end == position => last.end += 1,
            _ => ranges.push(position..position + 1),
        }
    }
    ranges
}

/// The positions that a delete file names, ascending.
///
/// # Errors
/// [`StoreError`] when the file is missing or damaged.
pub fn read_deletes(path: &Path) -> Result<Vec<u64>, StoreError> {
    use arrow_array::cast::AsArray;
    let mut positions = Vec::new();
    for batch in read(path, Some(&["pos"]), &Select::All)? {
        let batch = batch?;
        if let Some(column) = batch.column_by_name("pos") {
            positions.extend(
                column
                    .as_primitive::<arrow_array::types::Int64Type>()
                    .values()
                    .iter()
                    .map(|p| *p as u64),
            );
        }
    }
    positions.sort_unstable();
    positions.dedup();
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_takes_or_leaves_the_rows_it_names() {
        let counts = |s: RowSelection| s.iter().map(|r| (r.row_count, r.skip)).collect::<Vec<_>>();
        assert_eq!(
            counts(selection(&[0, 1, 5], true, 8)),
            [(2, false), (3, true), (1, false), (2, true)]
        );
        assert_eq!(
            counts(selection(&[0, 1, 5], false, 8)),
            [(2, true), (3, false), (1, true), (2, false)]
        );
    }
}
