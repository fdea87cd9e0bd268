//! How batches become visible: merged by key, written as they come, committed with their cursor in one snapshot.
//!
//! - New unit: its rows are appended. Changed unit: its old rows are deleted by position and the new ones
//!   appended. Equal unit: nothing. Vanished unit: its rows are deleted.
//! - Some batches share a snapshot, and so a file of each table and the waits for the disk: small files are slow
//!   to read, and an fsync costs as much as a hundred mails.
//! - Nothing to write and no new cursor: no snapshot.
//! - Sources are committed side by side, by any number of processes. Of two committers of one source the slower is refused.

mod table;

use crate::error::StoreError;
use crate::lake::catalog::{Catalog, CommitInfo, On, Snapshot};
use crate::lake::index::{self, UnitIndex};
use arrow_array::RecordBatch;
use schemas::{Cursor, Dataset, RunId, SourceName};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use table::{Finished, Table, TableMerge, by_table};
use tokio::task::JoinSet;

/// Bytes of rows that share a snapshot. Fewer: more and smaller files. More: a crash repeats more work.
const SNAPSHOT_BYTES: usize = 32 << 20;

/// How long a batch may wait for others to share its snapshot, when they are slow to come.
pub const SNAPSHOT_WAITS: Duration = Duration::from_secs(2);

/// How often the rows that a commit deletes may be moved by others before it can say so.
const MOST_CONFLICTS: usize = 20;

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
#[derive(Debug)]
pub struct Staged {
    /// The batches before it: it changes what they brought, so they had to come first.
    pub before: Option<Committed>,
    /// It, with those that waited for it; nothing when it waits.
    ///
    /// An error when something could not be written: then neither it nor what waited becomes visible.
    pub with: Result<Option<Committed>, StoreError>,
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
    /// The newest snapshot of which it knows whether it is of this source.
    seen: i64,
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

impl Committer {
    /// A committer of one source.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog cannot be read.
    pub async fn new(catalog: Catalog, source: SourceName) -> Result<Self, StoreError> {
        let seen = catalog.head().await?.id;
        let last_cursor = catalog.cursor(&source).await?;
        Ok(Self {
            catalog,
            source,
            tables: HashMap::new(),
            waiting: None,
            last_cursor,
            seen,
        })
    }

    /// Commits one batch, wholly or not at all, with those that wait; of snapshots it had to make before, nothing
    /// is told.
    ///
    /// # Errors
    /// [`StoreError`] when something could not be written; nothing of the batch is visible then.
    pub async fn commit(&mut self, commit: Commit) -> Result<Committed, StoreError> {
        match self.stage(commit).await.with? {
            Some(committed) => Ok(committed),
            None => self.commit_staged().await,
        }
    }

    /// Writes a batch. It becomes visible, wholly or not at all, with a later one, or when it is asked for, or at
    /// once when there is enough to make a snapshot of.
    pub async fn stage(&mut self, commit: Commit) -> Staged {
        let mut before = None;
        let with = self.try_stage(commit, &mut before).await;
        if with.is_err() {
            self.tables.clear();
            self.waiting = None;
        }
        Staged { before, with }
    }

    /// Whether rows of one of these units wait.
    pub fn holds(&self, dataset: &Dataset, units: &HashSet<String>) -> bool {
        self.staged_units(dataset)
            .is_some_and(|staged| units.iter().any(|unit| staged.may_hold(unit)))
    }

    /// The units of a table whose rows wait; absent when none do.
    fn staged_units(&self, dataset: &Dataset) -> Option<&UnitIndex> {
        let table = self.tables.get(dataset.name)?;
        table.staged.as_ref().map(|staged| &staged.units)
    }

    async fn try_stage(
        &mut self,
        commit: Commit,
        before: &mut Option<Committed>,
    ) -> Result<Option<Committed>, StoreError> {
        let merges = by_table(commit.upserts, commit.removals, commit.differ);
        if self.holds_any_of(&merges)? {
            *before = Some(self.commit_staged().await?);
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
            return self.commit_staged().await.map(Some);
        }
        Ok(None)
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
                // Whatever comes of it: what is staged next is merged with what is there then.
                table.files = None;
                let (dataset, directory) = (table.dataset, table.directory.clone());
                finishing.spawn(async move {
                    let rows = on_a_core(move || rows.encode().map(|()| rows)).await??;
                    tokio::task::spawn_blocking(move || rows.finish(dataset, directory)).await?
                });
            }
        }
        let mut finished = Vec::new();
        while let Some(table) = finishing.join_next().await {
            let table: Finished = table??;
            committed.merged.insert(table.change.dataset.name, table.merged);
            finished.push(table);
        }
        finished.sort_unstable_by_key(|table| table.change.dataset.name);
        let new_cursor = waiting
            .cursor
            .filter(|cursor| Some(cursor) != self.last_cursor.as_ref());
        if new_cursor.is_none() && finished.iter().all(Finished::is_empty) {
            return Ok(committed);
        }
        // Also where it is as before, as in all of a run over files: by it others know that the source was committed.
        let cursor = new_cursor.or_else(|| self.last_cursor.clone());
        let info = CommitInfo {
            run: Some(waiting.run),
            cursors: BTreeMap::from([(self.source.to_string(), cursor.clone())]),
            ..CommitInfo::default()
        };
        let Items { new, gone } = waiting.items;
        let message = waiting
            .message
            .unwrap_or_else(|| format!("{}: {new} new, {gone} gone", self.source));
        let (catalog, base) = (&self.catalog, waiting.base);
        let on = On::NewestOf(&self.source, self.seen);
        let (snapshot, units) = on_top(catalog, &self.source, base, on, finished, &message, &info).await?;
        (self.seen, committed.snapshot) = (snapshot, Some(snapshot));
        // Only what is committed counts as there.
        for (dataset, units) in units {
            if let Some(table) = self.tables.get_mut(dataset) {
                table.units.extend(units);
            }
        }
        self.last_cursor = cursor;
        Ok(committed)
    }

    /// Whether rows of a unit that waits are to change again.
    fn holds_any_of(&self, merges: &[TableMerge]) -> Result<bool, StoreError> {
        for merge in merges {
            let Some(staged) = self.staged_units(merge.dataset) else {
                continue;
            };
            if merge.removals.iter().any(|unit| staged.may_hold(unit)) {
                return Ok(true);
            }
            for batch in &merge.batches {
                if index::units(merge.dataset, batch)?.any(|unit| staged.may_hold(unit)) {
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

/// Commits on top of what others committed meanwhile. Where they rearranged the files that rows are deleted from,
/// the rows are looked for where they are now: nobody else changes those of this source.
async fn on_top(
    catalog: &Catalog,
    source: &SourceName,
    base: Snapshot,
    on: On<'_>,
    finished: Vec<Finished>,
    message: &str,
    info: &CommitInfo,
) -> Result<(i64, Vec<(&'static str, UnitIndex)>), StoreError> {
    let mut base = base;
    let (mut changes, mut rest) = (Vec::new(), Vec::new());
    for table in finished {
        let Finished {
            change,
            replaced,
            units,
            ..
        } = table;
        rest.push((change.dataset, replaced, units));
        changes.push(change);
    }
    let mut tries = 0;
    let snapshot = loop {
        match catalog.commit(base, on, &changes, message, info).await {
            Err(StoreError::Conflict { .. }) if tries < MOST_CONFLICTS => tries += 1,
            done => break done?,
        }
        base = catalog.head().await?;
        for (change, (dataset, replaced, _)) in changes.iter_mut().zip(&rest) {
            if replaced.is_empty() {
                continue;
            }
            let files = catalog.files_at(dataset, base.id, Some(source)).await?;
            let (source, directory) = (source.clone(), catalog.directory(dataset));
            let (dataset, replaced) = (*dataset, replaced.clone());
            let found = on_a_core(move || {
                let found = index::locate(dataset, &files, &source, &replaced)?;
                table::deletes_of(found, &directory)
            });
            for stale in &change.deletes {
                let path = catalog.directory(dataset).join(&stale.file.name);
                std::fs::remove_file(&path).map_err(StoreError::io("delete", &path))?;
            }
            (change.deletes, change.ended) = found.await??;
        }
    };
    let units = rest.into_iter().map(|(dataset, _, units)| (dataset.name, units));
    Ok((snapshot, units.collect()))
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
