//! Which units of a table exist, and where their rows lie: what a merge by key needs.
//!
//! A unit is the value of [`Dataset::unit`] within one source: an item, or a location. Hashes of all
//! live units are held (8 bytes each); where rows lie is read from the files when a hash is hit.

use crate::error::StoreError;
use crate::lake::catalog::{Catalog, LiveFile};
use crate::lake::data_file::{self, Select};
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, StringArray};
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use rayon::prelude::*;
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
            for_each_unit(dataset, file, source, |_, unit| {
                index.insert(unit);
            })?;
        }
        Ok(index)
    }

    /// Whether the unit may exist; false means that it does not.
    pub fn may_hold(&self, unit: &str) -> bool {
        let hash = self.hasher.hash_one(unit);
        self.hashes.find(hash, |held| *held == hash).is_some()
    }

    /// Notes a unit that was stored: whether it is the first of its hash.
    pub fn insert(&mut self, unit: &str) -> bool {
        self.insert_hash(self.hasher.hash_one(unit))
    }

    fn insert_hash(&mut self, hash: u64) -> bool {
        match self.hashes.entry(hash, |held| *held == hash, |held| *held) {
            Entry::Vacant(free) => {
                free.insert(hash);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// Notes the units of another index that [`empty`](Self::empty) made of this one.
    pub fn extend(&mut self, other: Self) {
        for hash in other.hashes {
            self.insert_hash(hash);
        }
    }

    /// An index of no units that can be added to this one.
    pub fn empty(&self) -> Self {
        Self {
            hashes: HashTable::new(),
            hasher: self.hasher.clone(),
        }
    }
}

/// The rows of one table and source that exist now, in no order: these columns, and `_source`.
///
/// # Errors
/// [`StoreError`] when catalog or files cannot be read.
pub async fn all_rows(
    catalog: &Catalog,
    dataset: &'static Dataset,
    source: &SourceName,
    columns: &[&'static str],
) -> Result<Vec<RecordBatch>, StoreError> {
    let head = catalog.head().await?;
    let files = catalog.files_at(dataset, head.id, Some(source)).await?;
    let source = source.clone();
    let columns = [columns, &["_source"]].concat();
    let read = move || -> Result<Vec<RecordBatch>, StoreError> {
        let batches = files
            .iter()
            .flat_map(|file| read_live_or_error(file, Some(&columns)));
        batches.map(|batch| of_source(batch?, &source)).collect()
    };
    tokio::task::spawn_blocking(read).await?
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
    /// Positions; ascending as [`locate`] finds them.
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
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let found: Vec<FileRows> = files
        .par_iter()
        .map(|file| {
            let mut positions = Vec::new();
            for_each_unit(dataset, file, source, |position, unit| {
                if units.contains(unit) {
                    positions.push(position);
                }
            })?;
            let file = file.clone();
            Ok(FileRows { file, positions })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(found
        .into_iter()
        .filter(|rows| !rows.positions.is_empty())
        .collect())
}

/// The rows that [`locate`] found.
///
/// # Errors
/// [`StoreError`] when a file cannot be read.
pub fn read_located(dataset: &Dataset, found: &[FileRows]) -> Result<Vec<RecordBatch>, StoreError> {
    let by_file: Vec<Vec<RecordBatch>> = found
        .par_iter()
        .map(|rows| {
            data_file::read(&rows.file.path, None, &Select::At(&rows.positions))?
                .map(|batch| data_file::to_dataset(dataset, &batch?))
                .collect()
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(by_file.into_iter().flatten().collect())
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

/// The rows in `batches` of each of `units`, as (batch, row), in order.
pub fn rows_by_unit<'a>(
    dataset: &Dataset,
    batches: &'a [RecordBatch],
    units: &HashSet<String>,
) -> Result<RowsByUnit<'a>, StoreError> {
    let mut by_unit: RowsByUnit<'a> = HashMap::new();
    for (number, batch) in batches.iter().enumerate() {
        for (row, unit) in self::units(dataset, batch)?.enumerate() {
            if units.contains(unit) {
                by_unit.entry(unit).or_default().push((number, row));
            }
        }
    }
    Ok(by_unit)
}

/// The unit of each row of a batch.
pub fn units<'a>(
    dataset: &Dataset,
    batch: &'a RecordBatch,
) -> Result<impl Iterator<Item = &'a str> + use<'a>, StoreError> {
    let units = texts(batch, dataset.unit).ok_or_else(|| StoreError::Unfit {
        reason: format!(
            "a batch of `{}` lacks the text column `{}`",
            dataset.name, dataset.unit
        ),
    })?;
    Ok((0..units.len()).map(|row| units.value(row)))
}

/// Columns that say when and by which run a row was made: rows that differ in nothing else are the same.
pub const NOT_COMPARED: [&str; 2] = ["_run", "fetched_at"];

/// Whether two rows are equal in all columns that both have, but for [`NOT_COMPARED`].
pub fn same_row(one: &RecordBatch, row: usize, other: &RecordBatch, other_row: usize) -> bool {
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

/// The rows of a source.
///
/// # Errors
/// [`StoreError`] when the batch has no column that says of which source its rows are.
pub fn of_source(batch: RecordBatch, source: &SourceName) -> Result<RecordBatch, StoreError> {
    let sources = texts(&batch, "_source").ok_or_else(|| StoreError::Unfit {
        reason: "a data file lacks `_source`".to_owned(),
    })?;
    if sources.iter().all(|name| name == Some(source.as_str())) {
        return Ok(batch);
    }
    let keep = sources
        .iter()
        .map(|name| Some(name == Some(source.as_str())))
        .collect();
    Ok(arrow::compute::filter_record_batch(&batch, &keep)?)
}
