//! How a batch becomes visible: merged by key, written durably, committed with its cursor in one snapshot.
//!
//! - New unit: its rows are appended. Changed unit: its old rows are deleted by position and the new ones
//!   appended. Equal unit: nothing. Vanished unit: its rows are deleted.
//! - Nothing to write and no new cursor: no snapshot.

use crate::error::StoreError;
use crate::lake::catalog::{Catalog, CommitInfo, LiveFile, NewDeletes, TableChange};
use crate::lake::data_file;
use crate::lake::index::{self, FileRows, UnitIndex};
use arrow::compute::filter_record_batch;
use arrow_array::{BooleanArray, RecordBatch};
use schemas::{Cursor, Dataset, RunId, SourceName};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What one batch of a run does to the lake.
#[derive(Debug)]
pub struct Commit {
    /// The run.
    pub run: RunId,
    /// The source; rows of other sources are not touched.
    pub source: SourceName,
    /// Rows that are as they should be now; a unit comes with all its rows.
    pub upserts: Vec<(&'static Dataset, RecordBatch)>,
    /// Units that should have no rows.
    pub removals: Vec<(&'static Dataset, Vec<String>)>,
    /// Where the source begins once this is stored.
    pub cursor: Option<Cursor>,
    /// One line for whoever reads the list of snapshots.
    pub message: String,
}

/// What a commit came to.
#[derive(Debug, Default)]
pub struct Committed {
    /// The snapshot; absent when there was nothing to commit.
    pub snapshot: Option<i64>,
    /// By dataset: how many units were new, changed, unchanged, vanished.
    pub merged: BTreeMap<&'static str, Merged>,
}

/// What merging came to, in units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Merged {
    /// Not there before.
    pub new: u64,
    /// There with other rows.
    pub changed: u64,
    /// There with the same rows.
    pub unchanged: u64,
    /// Removed.
    pub vanished: u64,
}

/// Merges and commits batches of one source; it remembers between batches which units exist.
#[derive(Debug)]
pub struct Committer {
    catalog: Catalog,
    source: SourceName,
    indexes: HashMap<&'static str, UnitIndex>,
    last_cursor: Option<Cursor>,
}

/// The upserts and removals of one table.
struct TableMerge {
    dataset: &'static Dataset,
    batches: Vec<RecordBatch>,
    removals: Vec<String>,
}

/// What is to be written for one table.
struct Plan {
    dataset: &'static Dataset,
    append: Vec<RecordBatch>,
    delete: Vec<FileRows>,
    merged: Merged,
    stored: Vec<String>,
}

impl Committer {
    /// A committer of one source.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog cannot be read.
    pub async fn new(catalog: Catalog, source: SourceName) -> Result<Self, StoreError> {
        let last_cursor = catalog.cursor(&source).await?;
        Ok(Self {
            catalog,
            source,
            indexes: HashMap::new(),
            last_cursor,
        })
    }

    /// Commits one batch, wholly or not at all.
    ///
    /// # Errors
    /// [`StoreError`] when something could not be written; nothing of the batch is visible then.
    pub async fn commit(&mut self, commit: Commit) -> Result<Committed, StoreError> {
        let base = self.catalog.head().await?;
        let mut merges: Vec<(TableMerge, Vec<LiveFile>, UnitIndex)> = Vec::new();
        for merge in by_table(commit.upserts, commit.removals) {
            let files = self
                .catalog
                .files_at(merge.dataset, base.id, Some(&self.source))
                .await?;
            let index = match self.indexes.remove(merge.dataset.name) {
                Some(index) => index,
                None => {
                    let (dataset, files, source) = (merge.dataset, files.clone(), self.source.clone());
                    tokio::task::spawn_blocking(move || UnitIndex::load(dataset, &files, &source)).await??
                }
            };
            merges.push((merge, files, index));
        }
        // A thread for each table: they wait for the disk, and must not hold up whoever computes meanwhile.
        let mut writing = tokio::task::JoinSet::new();
        for (merge, files, index) in merges {
            let (catalog, source) = (self.catalog.clone(), self.source.clone());
            writing.spawn_blocking(move || {
                let plan = plan(merge, &files, &source, &index)?;
                let change = write(&catalog, &plan)?;
                Ok::<_, StoreError>((plan, change, index))
            });
        }
        let mut written = Vec::new();
        while let Some(table) = writing.join_next().await {
            written.push(table?);
        }
        let mut written = written.into_iter().collect::<Result<Vec<_>, _>>()?;
        written.sort_unstable_by_key(|(plan, ..)| plan.dataset.name);

        let mut committed = Committed::default();
        let mut changes = Vec::new();
        let mut stored = Vec::new();
        for (plan, change, index) in written {
            committed.merged.insert(plan.dataset.name, plan.merged);
            self.indexes.insert(plan.dataset.name, index);
            stored.push((plan.dataset.name, plan.stored));
            if !(change.added.is_empty() && change.deletes.is_empty() && change.ended.is_empty()) {
                changes.push(change);
            }
        }
        let new_cursor = commit
            .cursor
            .filter(|cursor| Some(cursor) != self.last_cursor.as_ref());
        if changes.is_empty() && new_cursor.is_none() {
            return Ok(committed);
        }
        let mut info = CommitInfo {
            run: Some(commit.run),
            ..CommitInfo::default()
        };
        if let Some(cursor) = &new_cursor {
            info.cursors.insert(self.source.to_string(), Some(cursor.clone()));
        }
        committed.snapshot = Some(
            self.catalog
                .commit(base, &changes, &commit.message, &info)
                .await?,
        );
        // Only what is committed counts as there.
        for (dataset, units) in stored {
            if let Some(index) = self.indexes.get_mut(dataset) {
                units.iter().for_each(|unit| index.insert(unit));
            }
        }
        if new_cursor.is_some() {
            self.last_cursor = new_cursor;
        }
        Ok(committed)
    }
}

fn by_table(
    upserts: Vec<(&'static Dataset, RecordBatch)>,
    removals: Vec<(&'static Dataset, Vec<String>)>,
) -> Vec<TableMerge> {
    let mut tables: BTreeMap<&str, TableMerge> = BTreeMap::new();
    let empty = |dataset| TableMerge {
        dataset,
        batches: Vec::new(),
        removals: Vec::new(),
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

fn plan(
    merge: TableMerge,
    files: &[LiveFile],
    source: &SourceName,
    index: &UnitIndex,
) -> Result<Plan, StoreError> {
    let dataset = merge.dataset;
    let by_unit = index::rows_by_unit(dataset, &merge.batches)?;
    let mut merged = Merged::default();
    let touched: HashSet<String> = by_unit
        .keys()
        .copied()
        .chain(merge.removals.iter().map(String::as_str))
        .filter(|unit| index.may_hold(unit))
        .map(str::to_owned)
        .collect();
    let mut found = index::locate(dataset, files, source, &touched)?;
    let mut unchanged: HashSet<String> = HashSet::new();
    let mut existing: HashSet<String> = HashSet::new();
    if !found.is_empty() {
        let old = index::read_located(dataset, &found)?;
        for (unit, rows) in index::rows_by_unit(dataset, &old)? {
            existing.insert(unit.to_owned());
            if let Some(new) = by_unit.get(unit)
                && new.len() == rows.len()
                && new.iter().zip(&rows).all(|(&(nb, nr), &(ob, or))| {
                    match (merge.batches.get(nb), old.get(ob)) {
                        (Some(new), Some(old)) => index::same_row(new, nr, old, or),
                        _ => false,
                    }
                })
            {
                unchanged.insert(unit.to_owned());
            }
        }
        if !unchanged.is_empty() {
            let gone: HashSet<String> = existing.difference(&unchanged).cloned().collect();
            found = index::locate(dataset, files, source, &gone)?;
        }
    }
    merged.unchanged = unchanged.len() as u64;
    let mut stored = Vec::new();
    for unit in by_unit.keys() {
        if unchanged.contains(*unit) {
            continue;
        }
        if existing.contains(*unit) {
            merged.changed += 1;
        } else {
            merged.new += 1;
        }
        stored.push((*unit).to_owned());
    }
    merged.vanished = merge
        .removals
        .iter()
        .filter(|u| existing.contains(*u) && !by_unit.contains_key(u.as_str()))
        .count() as u64;
    drop(by_unit);
    let append = if unchanged.is_empty() {
        merge.batches
    } else {
        merge
            .batches
            .iter()
            .map(|batch| without(dataset, batch, &unchanged))
            .collect::<Result<_, _>>()?
    };
    Ok(Plan {
        dataset,
        append,
        delete: found,
        merged,
        stored,
    })
}

/// The rows of a batch whose unit is not in `units`.
fn without(
    dataset: &Dataset,
    batch: &RecordBatch,
    units: &HashSet<String>,
) -> Result<RecordBatch, StoreError> {
    let keep: BooleanArray = index::texts(batch, dataset.unit)
        .map(|column| {
            column
                .iter()
                .map(|unit| Some(unit.is_none_or(|unit| !units.contains(unit))))
                .collect()
        })
        .unwrap_or_else(|| BooleanArray::from(vec![true; batch.num_rows()]));
    Ok(filter_record_batch(batch, &keep)?)
}

/// Writes and fsyncs the files of a plan, and the directory that names them.
fn write(catalog: &Catalog, plan: &Plan) -> Result<TableChange, StoreError> {
    let directory = catalog.directory(plan.dataset);
    let mut change = TableChange {
        dataset: plan.dataset,
        added: Vec::new(),
        deletes: Vec::new(),
        ended: Vec::new(),
    };
    if plan.append.iter().any(|batch| batch.num_rows() > 0) {
        change.added.push(data_file::write_rows(
            &directory,
            plan.dataset,
            plan.append.iter().cloned().map(Ok),
        )?);
    }
    for rows in &plan.delete {
        let mut positions = match &rows.file.deletes {
            Some((_, path)) => data_file::read_deletes(path)?,
            None => Vec::new(),
        };
        positions.extend(&rows.positions);
        positions.sort_unstable();
        positions.dedup();
        if positions.len() as i64 >= rows.file.rows {
            change.ended.push(rows.file.id);
            continue;
        }
        let positions: Vec<i64> = positions.into_iter().map(|p| p as i64).collect();
        change.deletes.push(NewDeletes {
            data_file: rows.file.id,
            before: rows.file.deletes.as_ref().map(|(id, _)| *id),
            file: data_file::write_deletes(&directory, &rows.file.path, &positions)?,
        });
    }
    if !(change.added.is_empty() && change.deletes.is_empty()) {
        data_file::sync_directory(&directory)?;
    }
    Ok(change)
}
