//! One table of a commit: a batch merged with the rows that are there, and what waits to become visible.
//!
//! - In: rows and removals of a batch, the live files of the table. Out: appended rows, positions to delete.
//! - Not here: which tables, when they become visible, the catalog (`commit`).

use super::Merged;
use crate::error::StoreError;
use crate::lake::catalog::{EndedFile, LiveFile, NewDeletes, TableChange};
use crate::lake::data_file::{self, DataFileWriter};
use crate::lake::index::{self, FileRows, UnitIndex};
use arrow::compute::filter_record_batch;
use arrow_array::{BooleanArray, RecordBatch};
use schemas::{Dataset, SourceName};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// A table as its committer knows it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) dataset: &'static Dataset,
    pub(super) directory: PathBuf,
    /// Units that were committed.
    pub(super) units: UnitIndex,
    /// Live files; absent when a commit may have changed them.
    pub(super) files: Option<Vec<LiveFile>>,
    pub(super) staged: Option<StagedRows>,
}

/// Rows of one table that are written, or marked as deleted, and not visible yet.
#[derive(Debug)]
pub(super) struct StagedRows {
    /// Units they belong to.
    pub(super) units: UnitIndex,
    file: Option<DataFileWriter>,
    /// By data file.
    deletes: BTreeMap<i64, FileRows>,
    /// Units whose rows they are.
    replaced: HashSet<String>,
    merged: Merged,
}

/// The upserts and removals of one table.
pub(super) struct TableMerge {
    pub(super) dataset: &'static Dataset,
    pub(super) batches: Vec<RecordBatch>,
    pub(super) removals: Vec<String>,
    pub(super) differ: bool,
}

/// The upserts and removals of each table, in the order of their names.
pub(super) fn by_table(
    upserts: Vec<(&'static Dataset, RecordBatch)>,
    removals: Vec<(&'static Dataset, Vec<String>)>,
    differ: bool,
) -> Vec<TableMerge> {
    let mut tables: BTreeMap<&str, TableMerge> = BTreeMap::new();
    let empty = |dataset| TableMerge {
        dataset,
        batches: Vec::new(),
        removals: Vec::new(),
        differ,
    };
    for (dataset, batch) in upserts {
        if batch.num_rows() > 0 {
            tables
                .entry(dataset.name)
                .or_insert_with(|| empty(dataset))
                .batches
                .push(batch);
        }
    }
    for (dataset, units) in removals {
        if !units.is_empty() {
            tables
                .entry(dataset.name)
                .or_insert_with(|| empty(dataset))
                .removals
                .extend(units);
        }
    }
    tables.into_values().collect()
}

/// Units that were there before, and how they compare with what comes.
#[derive(Default)]
struct Existing {
    units: HashSet<String>,
    unchanged: HashSet<String>,
    /// Rows of those that are not unchanged.
    rows: Vec<FileRows>,
}

impl Table {
    /// Merges a batch with what is committed, and writes what is new of it.
    pub(super) fn stage(&mut self, merge: TableMerge, source: &SourceName) -> Result<(), StoreError> {
        let dataset = self.dataset;
        let mut touched: HashSet<String> = HashSet::new();
        for batch in &merge.batches {
            let held = index::units(dataset, batch)?.filter(|unit| self.units.may_hold(unit));
            touched.extend(held.map(str::to_owned));
        }
        let removed = merge.removals.iter();
        touched.extend(removed.filter(|unit| self.units.may_hold(unit)).cloned());
        let existing = if merge.differ {
            Existing {
                rows: index::locate(dataset, self.files(), source, &touched)?,
                units: touched,
                unchanged: HashSet::new(),
            }
        } else {
            self.compare(&merge.batches, &touched, source)?
        };

        let staged = self.staged.get_or_insert_with(|| StagedRows {
            units: self.units.empty(),
            file: None,
            deletes: BTreeMap::new(),
            replaced: HashSet::new(),
            merged: Merged::default(),
        });
        staged.merged.unchanged += existing.unchanged.len() as u64;
        for batch in &merge.batches {
            for unit in index::units(dataset, batch)? {
                if existing.unchanged.contains(unit) || !staged.units.insert(unit) {
                    continue;
                }
                if existing.units.contains(unit) {
                    staged.merged.changed += 1;
                } else {
                    staged.merged.new += 1;
                }
            }
        }
        for unit in &merge.removals {
            if existing.units.contains(unit) && staged.units.insert(unit) {
                staged.merged.vanished += 1;
            }
        }
        let replaced = existing.units.difference(&existing.unchanged).cloned();
        staged.replaced.extend(replaced);
        for rows in existing.rows {
            staged
                .deletes
                .entry(rows.file.id)
                .and_modify(|before| before.positions.extend(&rows.positions))
                .or_insert(rows);
        }
        for batch in merge.batches {
            let batch = if existing.unchanged.is_empty() {
                batch
            } else {
                without(dataset, &batch, &existing.unchanged)?
            };
            if batch.num_rows() == 0 {
                continue;
            }
            if staged.file.is_none() {
                staged.file = Some(DataFileWriter::create(&self.directory, dataset)?);
            }
            if let Some(file) = &mut staged.file {
                file.write(&batch)?;
            }
        }
        Ok(())
    }

    /// Of units that may be there: those that are, and which of them come as they are.
    fn compare(
        &self,
        batches: &[RecordBatch],
        touched: &HashSet<String>,
        source: &SourceName,
    ) -> Result<Existing, StoreError> {
        let mut existing = Existing {
            rows: index::locate(self.dataset, self.files(), source, touched)?,
            ..Existing::default()
        };
        if existing.rows.is_empty() {
            return Ok(existing);
        }
        let new = index::rows_by_unit(self.dataset, batches, touched)?;
        let old = index::read_located(self.dataset, &existing.rows)?;
        for (unit, rows) in index::rows_by_unit(self.dataset, &old, touched)? {
            existing.units.insert(unit.to_owned());
            let is_unchanged = new.get(unit).is_some_and(|new| {
                new.len() == rows.len()
                    && new.iter().zip(&rows).all(|(&(nb, nr), &(ob, or))| {
                        match (batches.get(nb), old.get(ob)) {
                            (Some(new), Some(old)) => index::same_row(new, nr, old, or),
                            _ => false,
                        }
                    })
            });
            if is_unchanged {
                existing.unchanged.insert(unit.to_owned());
            }
        }
        if !existing.unchanged.is_empty() {
            let gone = existing.units.difference(&existing.unchanged).cloned().collect();
            existing.rows = index::locate(self.dataset, self.files(), source, &gone)?;
        }
        Ok(existing)
    }

    fn files(&self) -> &[LiveFile] {
        self.files.as_deref().unwrap_or_default()
    }
}

impl StagedRows {
    /// Compresses what is still held as open pages.
    pub(super) fn encode(&mut self) -> Result<(), StoreError> {
        self.file.as_mut().map_or(Ok(()), DataFileWriter::encode)
    }

    /// Ends and fsyncs the files, and the directory that names them.
    pub(super) fn finish(
        self,
        dataset: &'static Dataset,
        directory: PathBuf,
    ) -> Result<Finished, StoreError> {
        let added = match self.file {
            Some(file) => vec![file.finish()?],
            None => Vec::new(),
        };
        let (deletes, ended) = deletes_of(self.deletes.into_values().collect(), &directory)?;
        if !added.is_empty() {
            data_file::sync_directory(&directory)?;
        }
        Ok(Finished {
            change: TableChange {
                dataset,
                added,
                deletes,
                ended,
            },
            replaced: self.replaced,
            merged: self.merged,
            units: self.units,
        })
    }
}

/// A table whose files are written and not visible yet.
pub(super) struct Finished {
    pub(super) change: TableChange,
    /// Units whose rows it deletes.
    pub(super) replaced: HashSet<String>,
    pub(super) merged: Merged,
    /// Units that count as there once it is visible.
    pub(super) units: UnitIndex,
}

impl Finished {
    /// Whether nothing becomes of it.
    pub(super) fn is_empty(&self) -> bool {
        let change = &self.change;
        change.added.is_empty() && change.deletes.is_empty() && change.ended.is_empty()
    }
}

/// Delete files, fsynced, for rows that are there, with those of the delete files before; and the files of which no row
/// is left.
pub(super) fn deletes_of(
    found: Vec<FileRows>,
    directory: &Path,
) -> Result<(Vec<NewDeletes>, Vec<EndedFile>), StoreError> {
    let (mut deletes, mut ended) = (Vec::new(), Vec::new());
    for rows in found {
        let before = rows.file.deletes.as_ref().map(|(id, _)| *id);
        let mut positions = match &rows.file.deletes {
            Some((_, path)) => data_file::read_deletes(path)?,
            None => Vec::new(),
        };
        positions.extend(&rows.positions);
        positions.sort_unstable();
        positions.dedup();
        if positions.len() as i64 >= rows.file.rows {
            ended.push(EndedFile {
                data_file: rows.file.id,
                deletes: before,
            });
            continue;
        }
        let positions: Vec<i64> = positions.into_iter().map(|p| p as i64).collect();
        deletes.push(NewDeletes {
            data_file: rows.file.id,
            before,
            file: data_file::write_deletes(directory, &rows.file.path, &positions)?,
        });
    }
    if !deletes.is_empty() {
        data_file::sync_directory(directory)?;
    }
    Ok((deletes, ended))
}

/// The rows of a batch whose unit is not in `units`.
fn without(
    dataset: &Dataset,
    batch: &RecordBatch,
    units: &HashSet<String>,
) -> Result<RecordBatch, StoreError> {
    let keep: BooleanArray = index::units(dataset, batch)?
        .map(|unit| Some(!units.contains(unit)))
        .collect();
    Ok(filter_record_batch(batch, &keep)?)
}
