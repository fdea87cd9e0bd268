//! What the catalog keeps of each column of a file: counts, sizes, bounds. Readers skip files by them.

use super::column_ids;
use crate::lake::catalog::time_text;
use arrow_array::{Array, ArrayRef, RecordBatch};
use parquet::file::metadata::ParquetMetaData;
use schemas::{Column, Dataset, Kind};

/// Longer texts get no minimum and maximum: the catalog is for short values.
const STATISTIC_BYTES: usize = 64;

/// What the catalog keeps of one column of one file.
#[derive(Debug, Clone)]
pub struct ColumnStatistics {
    /// DuckLake column id.
    pub column_id: i64,
    /// Compressed bytes.
    pub size: i64,
    /// Values that are not null.
    pub values: i64,
    /// Nulls.
    pub nulls: i64,
    /// Smallest and largest value as DuckDB writes them as text; absent when unknown.
    pub bounds: Option<(String, String)>,
}

/// A smallest or largest value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Int(i64),
    Instant(i64),
    Text(String),
}

impl Bound {
    /// As DuckDB writes it; absent when it is too long or outside DuckDB's calendar.
    fn text(&self) -> Option<String> {
        match self {
            Self::Int(int) => Some(int.to_string()),
            Self::Instant(instant) => instant_text(*instant),
            // Postgres, where a catalog may be, has no U+0000 in a text.
            Self::Text(text) => (text.len() <= STATISTIC_BYTES && !text.contains('\0')).then(|| text.clone()),
        }
    }
}

/// Smallest and largest value so far.
type Bounds = Option<(Bound, Bound)>;

/// Counts nulls and keeps bounds of each column while rows pass.
pub(super) struct Tally {
    columns: Vec<(&'static Column, ColumnStatistics, Bounds)>,
}

impl Tally {
    pub(super) fn of(dataset: &'static Dataset) -> Self {
        let empty = |column_id| ColumnStatistics {
            column_id,
            size: 0,
            values: 0,
            nulls: 0,
            bounds: None,
        };
        let columns = column_ids(dataset)
            .into_iter()
            .filter(|(column, _)| column.kind != Kind::TextList)
            .map(|(column, id)| (column, empty(id), None))
            .collect();
        Self { columns }
    }

    pub(super) fn add(&mut self, batch: &RecordBatch) {
        for (column, statistics, bounds) in &mut self.columns {
            let Some(array) = batch.column_by_name(column.name) else {
                statistics.nulls += batch.num_rows() as i64;
                continue;
            };
            statistics.nulls += array.null_count() as i64;
            statistics.values += (array.len() - array.null_count()) as i64;
            if let Some((low, high)) = bounds_of(column.kind, array) {
                *bounds = Some(match bounds.take() {
                    Some((lowest, highest)) => (lowest.min(low), highest.max(high)),
                    None => (low, high),
                });
            }
        }
    }

    pub(super) fn finish(self, metadata: &ParquetMetaData) -> Vec<ColumnStatistics> {
        let chunks = || metadata.row_groups().iter().flat_map(|group| group.columns());
        self.columns
            .into_iter()
            .map(|(column, mut statistics, bounds)| {
                statistics.size = chunks()
                    .filter(|chunk| {
                        chunk
                            .column_path()
                            .parts()
                            .first()
                            .is_some_and(|p| p == column.name)
                    })
                    .map(|chunk| chunk.compressed_size())
                    .sum();
                statistics.bounds = bounds.and_then(|(low, high)| low.text().zip(high.text()));
                statistics
            })
            .collect()
    }
}

fn bounds_of(kind: Kind, array: &ArrayRef) -> Bounds {
    use arrow::compute::{max, max_string, min, min_string};
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Int64Type, TimestampMicrosecondType};
    match kind {
        Kind::Int => {
            let ints = array.as_primitive_opt::<Int64Type>()?;
            Some((Bound::Int(min(ints)?), Bound::Int(max(ints)?)))
        }
        Kind::Instant => {
            let instants = array.as_primitive_opt::<TimestampMicrosecondType>()?;
            Some((Bound::Instant(min(instants)?), Bound::Instant(max(instants)?)))
        }
        Kind::Text => {
            let texts = array.as_string_opt::<i32>()?;
            Some((
                Bound::Text(min_string(texts)?.to_owned()),
                Bound::Text(max_string(texts)?.to_owned()),
            ))
        }
        Kind::TextList | Kind::Float | Kind::Bool | Kind::Bytes => None,
    }
}

/// A moment as DuckDB writes a TIMESTAMPTZ; absent outside the years 1 to 9999.
fn instant_text(instant: schemas::Instant) -> Option<String> {
    let moment = jiff::Timestamp::from_microsecond(instant).ok()?;
    let year = moment.to_zoned(jiff::tz::TimeZone::UTC).year();
    (1..=9999).contains(&year).then(|| time_text(moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_duckdb_writes_it() {
        assert_eq!(
            instant_text(1_795_374_303_069_048).as_deref(),
            Some("2026-11-22 19:05:03.069048+00")
        );
        assert_eq!(instant_text(-1).as_deref(), Some("1969-12-31 23:59:59.999999+00"));
        assert_eq!(instant_text(i64::MIN), None);
    }
}
