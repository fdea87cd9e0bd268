//! How batches become visible: merged by key, written as they come, committed with their cursor in one snapshot.
//!
//! - New unit: its rows are appended. Changed unit: its old rows are deleted by position and the new ones
//!   appended. Equal unit: nothing. Vanished unit: its rows are deleted.
//! - Some batches share a snapshot, and so a file of each table and the waits for the disk: small files are slow
//!   to read, and an fsync costs as much as a hundred mails.
//! - Nothing to write and no new cursor: no snapshot.

use crate::error::StoreError;
use crate::lake::catalog::{Catalog, CommitInfo, LiveFile, NewDeletes, Snapshot, TableChange};
use crate::lake::data_file::{self, DataFileWriter};
use crate::lake::index::{self, FileRows, UnitIndex};
use arrow::compute::filter_record_batch;
use arrow_array::{BooleanArray, RecordBatch};
use schemas::{Cursor, Dataset, RunId, SourceName};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Bytes of rows that share a snapshot. Fewer: more and smaller files. More: a crash repeats more work.
const SNAPSHOT_BYTES: usize = 32 << 20;

/// How long a batch may wait for others to share its snapshot, when they are slow to come.
pub const SNAPSHOT_WAITS: Duration = Duration::from_secs(2);

/// What one batch of a run does to the lake.
#[derive(Debug)]
pub struct Commit {
    /// The run.
    pub run: RunId,
    /// The source; rows of other sources are not touched.
    pub source: SourceName,
    /// Rows that are as they should be now; a unit comes with all its rows.
    pub upserts: Vec<(&'static Dataset, RecordBatch)>,
    /// Whether rows are known to differ from those that are there: then they are not compared.
    pub differ: bool,
    /// Units that should have no rows.
    pub removals: Vec<(&'static Dataset, Vec<String>)>,
    /// Where the source begins once this is stored.
    pub cursor: Option<Cursor>,
    /// Items that it brings and that it removes, for whoever reads the list of snapshots.
    pub items: Items,
    /// What that reader is told instead.
    pub message: Option<String>,
}

/// How many items a snapshot brings and removes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Items {
    /// Brought.
    pub new: u64,
    /// Removed.
    pub gone: u64,
}

/// What a commit came to.
#[derive(Debug, Default)]
pub struct Committed {
    /// The snapshot; absent when there was nothing to commit.
    pub snapshot: Option<i64>,
    /// By dataset: how many units were new, changed, unchanged, vanished.
    pub merged: BTreeMap<&'static str, Merged>,
}

/// What became visible while a batch was staged.
#[derive(Debug, Default)]
pub struct Staged {
    /// The batches before it: it changes what they brought, so they had to come first.
    pub before: Option<Committed>,
    /// It, with those that waited for it; absent when it waits.
    pub with: Option<Committed>,
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
    tables: HashMap<&'static str, Table>,
    waiting: Option<Waiting>,
    last_cursor: Option<Cursor>,
}

/// What waits to become visible, beside the rows.
#[derive(Debug)]
struct Waiting {
    /// The snapshot that the rows were merged with.
    base: Snapshot,
    since: Instant,
    bytes: usize,
    run: RunId,
    cursor: Option<Cursor>,
    items: Items,
    message: Option<String>,
}

/// A table as its committer knows it.
#[derive(Debug)]
struct Table {
    dataset: &'static Dataset,
    directory: PathBuf,
    /// Units that were committed.
    units: UnitIndex,
    /// Live files; absent when a commit may have changed them.
    files: Option<Vec<LiveFile>>,
    staged: Option<StagedRows>,
}

/// Rows of one table that are written, or marked as deleted, and not visible yet.
#[derive(Debug)]
struct StagedRows {
    /// Units they belong to.
    units: UnitIndex,
    file: Option<DataFileWriter>,
    /// By data file.
    deletes: BTreeMap<i64, FileRows>,
    merged: Merged,
}

/// The upserts and removals of one table.
struct TableMerge {
    dataset: &'static Dataset,
    batches: Vec<RecordBatch>,
    removals: Vec<String>,
    differ: bool,
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
            tables: HashMap::new(),
            waiting: None,
            last_cursor,
        })
    }

    /// Commits one batch, wholly or not at all, with those that wait.
    ///
    /// # Errors
    /// [`StoreError`] when something could not be written; nothing of the batch is visible then.
    pub async fn commit(&mut self, commit: Commit) -> Result<Committed, StoreError> {
        match self.stage(commit).await?.with {
            Some(committed) => Ok(committed),
            None => self.commit_staged().await,
        }
    }

    /// Writes a batch. It becomes visible, wholly or not at all, with a later one, or when it is asked for, or at
    /// once when there is enough to make a snapshot of.
    ///
    /// # Errors
    /// [`StoreError`] when something could not be written. Nothing that waited becomes visible then.
    pub async fn stage(&mut self, commit: Commit) -> Result<Staged, StoreError> {
        let staged = self.try_stage(commit).await;
        if staged.is_err() {
            self.tables.clear();
            self.waiting = None;
        }
        staged
    }

    async fn try_stage(&mut self, commit: Commit) -> Result<Staged, StoreError> {
        let mut staged = Staged::default();
        let merges = by_table(commit.upserts, commit.removals, commit.differ);
        if self.holds_any_of(&merges)? {
            staged.before = Some(self.commit_staged().await?);
        }
        let waiting = match self.waiting.take() {
            Some(waiting) => waiting,
            None => Waiting {
                base: self.catalog.head().await?,
                since: Instant::now(),
                bytes: 0,
                run: commit.run.clone(),
                cursor: None,
                items: Items::default(),
                message: None,
            },
        };
        let bytes = merges
            .iter()
            .flat_map(|merge| &merge.batches)
            .map(RecordBatch::get_array_memory_size)
            .sum::<usize>();
        let mut writing = JoinSet::new();
        for merge in merges {
            let mut table = self.table(merge.dataset, waiting.base).await?;
            let source = self.source.clone();
            writing.spawn(on_a_core(move || table.stage(merge, &source).map(|()| table)));
        }
        while let Some(table) = writing.join_next().await {
            let table = table???;
            self.tables.insert(table.dataset.name, table);
        }
        let waiting = Waiting {
            bytes: waiting.bytes + bytes,
            run: commit.run,
            cursor: commit.cursor.or(waiting.cursor),
            items: Items {
                new: waiting.items.new + commit.items.new,
                gone: waiting.items.gone + commit.items.gone,
            },
            message: commit.message.or(waiting.message),
            ..waiting
        };
        let is_enough = waiting.bytes >= SNAPSHOT_BYTES || waiting.since.elapsed() >= SNAPSHOT_WAITS;
        self.waiting = Some(waiting);
        if is_enough {
            staged.with = Some(self.commit_staged().await?);
        }
        Ok(staged)
    }

    /// Makes visible what waits.
    ///
    /// # Errors
    /// [`StoreError`] when something could not be written; nothing that waited becomes visible then.
    pub async fn commit_staged(&mut self) -> Result<Committed, StoreError> {
        let mut committed = Committed::default();
        let Some(waiting) = self.waiting.take() else {
            return Ok(committed);
        };
        let mut finishing = JoinSet::new();
        for table in self.tables.values_mut() {
            if let Some(mut rows) = table.staged.take() {
                let (dataset, directory) = (table.dataset, table.directory.clone());
                finishing.spawn(async move {
                    let rows = on_a_core(move || rows.encode().map(|()| rows)).await??;
                    tokio::task::spawn_blocking(move || rows.finish(dataset, directory)).await?
                });
            }
        }
        let mut changes = Vec::new();
        let mut units = Vec::new();
        while let Some(finished) = finishing.join_next().await {
            let (change, merged, of_table) = finished??;
            committed.merged.insert(change.dataset.name, merged);
            units.push((change.dataset.name, of_table));
            if !(change.added.is_empty() && change.deletes.is_empty() && change.ended.is_empty()) {
                changes.push(change);
            }
        }
        changes.sort_unstable_by_key(|change| change.dataset.name);
        let new_cursor = waiting
            .cursor
            .filter(|cursor| Some(cursor) != self.last_cursor.as_ref());
        if changes.is_empty() && new_cursor.is_none() {
            return Ok(committed);
        }
        let mut info = CommitInfo {
            run: Some(waiting.run),
            ..CommitInfo::default()
        };
        if let Some(cursor) = &new_cursor {
            info.cursors.insert(self.source.to_string(), Some(cursor.clone()));
        }
        let Items { new, gone } = waiting.items;
        let message = waiting
            .message
            .unwrap_or_else(|| format!("{}: {new} new, {gone} gone", self.source));
        let snapshot = self
            .catalog
            .commit(waiting.base, &changes, &message, &info)
            .await?;
        committed.snapshot = Some(snapshot);
        // Only what is committed counts as there.
        for (dataset, units) in units {
            if let Some(table) = self.tables.get_mut(dataset) {
                table.units.extend(units);
                table.files = None;
            }
        }
        if new_cursor.is_some() {
            self.last_cursor = new_cursor;
        }
        Ok(committed)
    }

    /// Whether rows of a unit that waits are to change again.
    fn holds_any_of(&self, merges: &[TableMerge]) -> Result<bool, StoreError> {
        for merge in merges {
            let Some(staged) = self
                .tables
                .get(merge.dataset.name)
                .and_then(|table| table.staged.as_ref())
            else {
                continue;
            };
            if merge.removals.iter().any(|unit| staged.units.may_hold(unit)) {
                return Ok(true);
            }
            for batch in &merge.batches {
                if index::units(merge.dataset, batch)?.any(|unit| staged.units.may_hold(unit)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The table, taken from those that are known, with its live files.
    async fn table(&mut self, dataset: &'static Dataset, base: Snapshot) -> Result<Table, StoreError> {
        let known = match self.tables.remove(dataset.name) {
            Some(table) if table.files.is_some() => return Ok(table),
            known => known,
        };
        let files = self
            .catalog
            .files_at(dataset, base.id, Some(&self.source))
            .await?;
        let table = match known {
            Some(table) => table,
            None => {
                let (files, source) = (files.clone(), self.source.clone());
                let load = move || UnitIndex::load(dataset, &files, &source);
                Table {
                    dataset,
                    directory: self.catalog.directory(dataset),
                    units: tokio::task::spawn_blocking(load).await??,
                    files: None,
                    staged: None,
                }
            }
        };
        Ok(Table {
            files: Some(files),
            ..table
        })
    }
}

fn by_table(
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
    fn stage(&mut self, merge: TableMerge, source: &SourceName) -> Result<(), StoreError> {
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
        let mut existing = Existing::default();
        existing.rows = index::locate(self.dataset, self.files(), source, touched)?;
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

/// Computes on the threads that are there for it, one a core. On others each would keep the memory of its largest
/// batch, and there may be many of them.
async fn on_a_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    rayon::spawn(move || {
        // Without an answer the receiver knows. Nobody waits any more: then nobody needs it.
        if let Ok(done) = catch_unwind(AssertUnwindSafe(work)) {
            let _ = sender.send(done);
        }
    });
    receiver.await.map_err(|_| StoreError::Panicked)
}

impl StagedRows {
    /// Encodes what is still held as rows.
    fn encode(&mut self) -> Result<(), StoreError> {
        self.file.as_mut().map_or(Ok(()), DataFileWriter::encode)
    }

    /// Ends and fsyncs the files, and the directory that names them.
    fn finish(
        self,
        dataset: &'static Dataset,
        directory: PathBuf,
    ) -> Result<(TableChange, Merged, UnitIndex), StoreError> {
        let mut change = TableChange {
            dataset,
            added: Vec::new(),
            deletes: Vec::new(),
            ended: Vec::new(),
        };
        if let Some(file) = self.file {
            change.added.push(file.finish()?);
        }
        for rows in self.deletes.into_values() {
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
        Ok((change, self.merged, self.units))
    }
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
