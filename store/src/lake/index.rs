//! Which units of a table exist, and where their rows lie: what a merge by key needs.
//!
//! A unit is the value of [`Dataset::unit`] within one source: an item, or a location. Hashes of all
//! live units are held (8 bytes each); where rows lie is read from the files when a hash is hit.

use crate::error::StoreError;
use crate::lake::catalog::LiveFile;
use crate::lake::data_file::{self, Select};
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, StringArray};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use schemas::{Dataset, SourceName};
use std::collections::HashSet;
use std::hash::BuildHasher;

/// The text column of that name; absent when it is missing or of another type.
pub fn texts<'a>(batch: &'a RecordBatch, column: &str) -> Option<&'a StringArray> {
    batch.column_by_name(column)?.as_string_opt::<i32>()
}

/// The units of one table and source that exist now.
#[derive(Debug, Default)]
pub struct UnitIndex {
    hashes: HashTable<u64>,
    hasher: DefaultHashBuilder,
}

impl UnitIndex {
    /// Reads the units of `source` from the live files of a table.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub fn load(dataset: &Dataset, files: &[LiveFile], source: &SourceName) -> Result<Self, StoreError> {
        let mut index = Self::default();
        for file in files {
            for_each_unit(dataset, file, source, |_, unit| index.insert(unit))?;
        }
        Ok(index)
    }

    /// Whether the unit may exist; false means that it does not.
    pub fn may_hold(&self, unit: &str) -> bool {
        let hash = self.hasher.hash_one(unit);
        self.hashes.find(hash, |held| *held == hash).is_some()
    }

    /// Notes a unit that was stored.
    pub fn insert(&mut self, unit: &str) {
        let hash = self.hasher.hash_one(unit);
        self.hashes
            .entry(hash, |held| *held == hash, |held| *held)
            .or_insert(hash);
    }
}

/// Calls `seen` with position and unit of each live row of a source in a file.
fn for_each_unit(
    dataset: &Dataset,
    file: &LiveFile,
    source: &SourceName,
    mut seen: impl FnMut(u64, &str),
) -> Result<(), StoreError> {
    let deleted = match &file.deletes {
        Some((_, path)) => data_file::read_deletes(path)?,
        None => Vec::new(),
    };
    let mut deleted = deleted.into_iter().peekable();
    let mut position = 0;
    for batch in data_file::read(&file.path, Some(&["_source", dataset.unit]), &Select::All)? {
        let batch = batch?;
        let (Some(sources), Some(units)) = (texts(&batch, "_source"), texts(&batch, dataset.unit)) else {
            return Err(StoreError::Unfit {
                reason: format!("`{}` lacks `_source` or `{}`", file.path.display(), dataset.unit),
            });
        };
        for row in 0..batch.num_rows() {
            if deleted.next_if_eq(&position).is_none() && sources.value(row) == source.as_str() {
                seen(position, units.value(row));
            }
            position += 1;
        }
    }
    Ok(())
}

/// Rows of some units within one data file.
#[derive(Debug)]
pub struct FileRows {
    /// The file.
    pub file: LiveFile,
    /// Positions, ascending.
    pub positions: Vec<u64>,
}

/// Where the live rows of `units` lie.
///
/// # Errors
/// [`StoreError`] when a file cannot be read.
pub fn locate(
    dataset: &Dataset,
    files: &[LiveFile],
    source: &SourceName,
    units: &HashSet<String>,
) -> Result<Vec<FileRows>, StoreError> {
    let mut found = Vec::new();
    if units.is_empty() {
        return Ok(found);
    }
    for file in files {
        let mut positions = Vec::new();
        for_each_unit(dataset, file, source, |position, unit| {
            if units.contains(unit) {
                positions.push(position);
            }
        })?;
        if !positions.is_empty() {
            found.push(FileRows {
                file: file.clone(),
                positions,
            });
        }
    }
    Ok(found)
}

/// The rows that [`locate`] found.
///
/// # Errors
/// [`StoreError`] when a file cannot be read.
pub fn read_located(dataset: &Dataset, found: &[FileRows]) -> Result<Vec<RecordBatch>, StoreError> {
    let mut batches = Vec::new();
    for rows in found {
        for batch in data_file::read(&rows.file.path, None, &Select::At(&rows.positions))? {
            batches.push(data_file::to_dataset(dataset, &batch?)?);
        }
    }
    Ok(batches)
}

/// All live rows of a file, in batches.
///
/// # Errors
/// [`StoreError`] when the file or its delete file cannot be read.
pub fn read_live(
    file: &LiveFile,
    columns: Option<&[&str]>,
) -> Result<impl Iterator<Item = Result<RecordBatch, StoreError>> + use<>, StoreError> {
    let deleted = match &file.deletes {
        Some((_, path)) => data_file::read_deletes(path)?,
        None => Vec::new(),
    };
    let select = if deleted.is_empty() {
        Select::All
    } else {
        Select::Except(&deleted)
    };
    Ok(data_file::read(&file.path, columns, &select)?.map(|batch| Ok(batch?)))
}

/// As [`read_live`], with the error of opening the file as its only item.
pub fn read_live_or_error(
    file: &LiveFile,
    columns: Option<&[&str]>,
) -> Box<dyn Iterator<Item = Result<RecordBatch, StoreError>>> {
    match read_live(file, columns) {
        Ok(batches) => Box::new(batches),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}

/// Of each unit its rows, as (batch, row).
pub type RowsByUnit<'a> = HashMap<&'a str, Vec<(usize, usize)>>;

/// The rows of each unit in `batches`, as (batch, row), in order.
pub fn rows_by_unit<'a>(dataset: &Dataset, batches: &'a [RecordBatch]) -> Result<RowsByUnit<'a>, StoreError> {
    let mut by_unit: HashMap<&str, Vec<(usize, usize)>> = HashMap::new();
    for (number, batch) in batches.iter().enumerate() {
        let units = texts(batch, dataset.unit).ok_or_else(|| StoreError::Unfit {
            reason: format!(
                "a batch of `{}` lacks the text column `{}`",
                dataset.name, dataset.unit
            ),
        })?;
        for row in 0..batch.num_rows() {
            by_unit.entry(units.value(row)).or_default().push((number, row));
        }
    }
    Ok(by_unit)
}

/// Whether two rows are equal in all columns that both have, but those that say when and by which run.
pub fn same_row(one: &RecordBatch, row: usize, other: &RecordBatch, other_row: usize) -> bool {
    const NOT_COMPARED: [&str; 2] = ["_run", "fetched_at"];
    one.schema_ref()
        .fields()
        .iter()
        .zip(one.columns())
        .all(|(field, column)| {
            NOT_COMPARED.contains(&field.name().as_str())
                || other
                    .column_by_name(field.name())
                    .is_some_and(|theirs| *column.slice(row, 1) == *theirs.slice(other_row, 1))
        })
}
