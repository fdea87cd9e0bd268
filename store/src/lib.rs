//! The only crate that keeps anything. Reading order: [`Store`], `commit`, `lake`, `runs`, `query`, `search`,
//! `snapshot`, `export`; for the gateway `tokens`, `audit`.
//!
//! - In: batches of rows with a cursor. Out: snapshots of a lake, answers to queries.
//! - Not here: where rows come from, what they mean, who may ask.

pub mod approvals;
pub mod audit;
pub mod commit;
pub mod embedder;
pub mod error;
pub mod events;
pub mod export;
pub mod inventory;
mod keys;
pub mod lake;
mod locations;
pub mod page;
pub mod query;
pub mod runs;
pub mod search;
pub mod snapshot;
pub mod tokens;
pub mod vectors;
pub mod watch;

pub use commit::{Commit, Committed, Committer, Items, Merged, SNAPSHOT_WAITS, Staged};
pub use error::StoreError;

use arrow_array::RecordBatch;
use lake::as_of::AsOf;
use lake::catalog::{Catalog, CommitInfo};
use lake::changed::Changed;
use lake::compact::Compacted;
use lake::verify::{Problem, Verified};
use lake::{data_file, index};
use query::{Limits, Reader};
use runs::Runs;
use schemas::{Cursor, Dataset, Home, Location, SourceName, datasets};
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// The state database, in the data directory.
const STATE: &str = "state.sqlite";

/// More data files in one table than this are worth merging: each costs a reader about 0.1 ms.
const WORN_FILES: i64 = 128;

/// An open data directory.
///
/// ```text
/// DATA/lake/catalog.sqlite     the DuckLake catalog
/// DATA/lake/files/main/TABLE/  Parquet files
/// DATA/state.sqlite            history of runs
/// DATA/.lock                   held by whoever writes
/// ```
#[derive(Debug)]
pub struct Store {
    data: PathBuf,
    catalog: Catalog,
    runs: Runs,
    _lock: Option<File>,
}

impl Store {
    /// Opens a data directory for reading; it is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be made or read.
    pub async fn open(data: &Path) -> Result<Self, StoreError> {
        Self::open_locked(data, None).await
    }

    /// Opens a data directory for writing: nobody else writes meanwhile, and what a crash left is cleared.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another dkc writes there; else as [`Store::open`].
    pub async fn open_writer(data: &Path) -> Result<Self, StoreError> {
        make_private(data)?;
        let path = data.join(".lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("create", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse {
                    path: data.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path)(error)),
        }
        let store = Self::open_locked(data, Some(lock)).await?;
        store.sweep().await?;
        store.runs.close_orphans().await?;
        Ok(store)
    }

    async fn open_locked(data: &Path, lock: Option<File>) -> Result<Self, StoreError> {
        make_private(data)?;
        let data = fs::canonicalize(data).map_err(StoreError::io("read", data))?;
        let lake = data.join("lake");
        let files = lake.join("files");
        let is_new = !lake.join("catalog.sqlite").exists();
        for dataset in datasets::ALL.iter().filter(|dataset| dataset.home == Home::Lake) {
            let directory = files.join("main").join(dataset.name);
            if is_new || !directory.is_dir() {
                fs::create_dir_all(&directory).map_err(StoreError::io("create", &directory))?;
                // A directory that a power cut undoes would take its fsynced files with it. One that is there
                // may be from a run that was killed before this.
                for made in directory.ancestors().take_while(|path| path.starts_with(&data)) {
                    data_file::sync_directory(made)?;
                }
            }
        }
        let catalog = lake.join("catalog.sqlite");
        if is_empty(&catalog) && is_empty(&lake.join("catalog.sqlite-wal")) && has_data_files(&files)? {
            return Err(StoreError::CatalogLost { catalog, data });
        }
        let catalog = Catalog::open(&catalog, &files).await?;
        let runs = Runs::open(&data.join(STATE)).await?;
        Ok(Self {
            data,
            catalog,
            runs,
            _lock: lock,
        })
    }

    /// The data directory, absolute.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Whether a file of this path lies, or would lie, in the data directory, where what is not the lake's own is
    /// swept.
    pub fn holds(&self, path: &Path) -> bool {
        let folders = path.ancestors().skip(1);
        let mut there = folders.filter_map(|folder| match folder.as_os_str().is_empty() {
            true => fs::canonicalize(".").ok(),
            false => fs::canonicalize(folder).ok(),
        });
        there.next().is_some_and(|folder| folder.starts_with(&self.data))
    }

    /// The history of runs.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// The catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Deletes files that no snapshot names: a crash left them between writing and committing.
    async fn sweep(&self) -> Result<(), StoreError> {
        let named = self.catalog.named_files().await?;
        for dataset in datasets::ALL.iter().filter(|dataset| dataset.home == Home::Lake) {
            for path in
                data_file::unnamed_files(&self.catalog.directory(dataset), |name| named.contains(name))?
            {
                fs::remove_file(&path).map_err(StoreError::io("delete", &path))?;
                tracing::info!(path = %path.display(), "deleted a file that a crash left");
            }
        }
        Ok(())
    }

    /// A committer of one source; the store must be open for writing.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog cannot be read.
    pub async fn committer(&self, source: &SourceName) -> Result<Committer, StoreError> {
        Committer::new(self.catalog.clone(), source.clone()).await
    }

    /// Where a source begins next.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog cannot be read.
    pub async fn cursor(&self, source: &SourceName) -> Result<Option<Cursor>, StoreError> {
        self.catalog.cursor(source).await
    }

    /// Sets or forgets where a source begins next, as a snapshot of its own.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog cannot be written.
    pub async fn set_cursor(&self, source: &SourceName, cursor: Option<Cursor>) -> Result<i64, StoreError> {
        let info = CommitInfo {
            cursors: BTreeMap::from([(source.to_string(), cursor)]),
            ..CommitInfo::default()
        };
        self.catalog
            .commit(self.catalog.head().await?, &[], "set the cursor by hand", &info)
            .await
    }

    /// Live rows of a lake dataset, of one source or all, batch by batch as they are taken.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog cannot be read; a file that cannot be read comes through the channel.
    pub async fn scan(
        &self,
        dataset: &'static Dataset,
        columns: Option<&'static [&'static str]>,
        source: Option<&SourceName>,
    ) -> Result<mpsc::Receiver<Result<RecordBatch, StoreError>>, StoreError> {
        let head = self.catalog.head().await?;
        let files = self.catalog.files_at(dataset, head.id, source).await?;
        let source = source.cloned();
        let (sender, receiver) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            let batches = files
                .iter()
                .flat_map(|file| index::read_live_or_error(file, columns));
            for batch in batches {
                let batch = batch.and_then(|batch| match &source {
                    Some(source) => index::of_source(batch, source),
                    None => Ok(batch),
                });
                // Whoever stopped taking has seen enough.
                if sender.blocking_send(batch).is_err() {
                    break;
                }
            }
        });
        Ok(receiver)
    }

    /// What became of a lake dataset since a snapshot, with these columns of the rows that came; without a snapshot, or
    /// with one that was forgotten, all rows come.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog or a file cannot be read; a file of rows that came tells through the channel.
    pub async fn changed(
        &self,
        dataset: &'static Dataset,
        columns: Vec<&'static str>,
        since: Option<i64>,
    ) -> Result<Changed, StoreError> {
        lake::changed::changed(&self.catalog, dataset, columns, since).await
    }

    /// The live rows of some units of a source, whole.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub async fn rows_of(
        &self,
        dataset: &'static Dataset,
        source: &SourceName,
        units: HashSet<String>,
    ) -> Result<Vec<RecordBatch>, StoreError> {
        let head = self.catalog.head().await?;
        let files = self.catalog.files_at(dataset, head.id, Some(source)).await?;
        let source = source.clone();
        tokio::task::spawn_blocking(move || {
            let found = index::locate(dataset, &files, &source, &units)?;
            index::read_located(dataset, &found)
        })
        .await?
    }

    /// All places where items of a source were seen.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub async fn locations(&self, source: &SourceName) -> Result<Vec<Location>, StoreError> {
        let mut batches = self
            .scan(&datasets::locations::DATASET, None, Some(source))
            .await?;
        let mut locations = Vec::new();
        while let Some(batch) = batches.recv().await {
            locations.extend(locations::of(&batch?)?);
        }
        Ok(locations)
    }

    /// The id of the snapshot that a moment of the past means.
    ///
    /// # Errors
    /// [`StoreError::NoSnapshot`] when it was forgotten or never was.
    pub async fn resolve(&self, as_of: AsOf) -> Result<i64, StoreError> {
        self.catalog.resolve(as_of).await
    }

    /// Answers queries.
    pub fn reader(&self, limits: Limits) -> Reader {
        Reader::new(&self.data, self.catalog.clone(), self.runs.clone(), limits)
    }

    /// Whether some table has so many files that reading it is slower than it need be.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog cannot be read.
    pub async fn is_worn(&self) -> Result<bool, StoreError> {
        Ok(self.catalog.most_files().await? > WORN_FILES)
    }

    /// Merges small files and forgets snapshots older than `expire_before`.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read or written.
    pub async fn compact(&self, expire_before: jiff::Timestamp) -> Result<Compacted, StoreError> {
        lake::compact::compact(&self.catalog, expire_before).await
    }

    /// Reads everything and reports what is not as it was written.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog cannot be read at all.
    pub async fn verify(&self) -> Result<Verified, StoreError> {
        let mut verified = lake::verify::verify(&self.catalog).await?;
        let findings = self.runs.integrity().await.into_iter();
        verified.problems.extend(findings.map(|problem| Problem {
            place: STATE.to_owned(),
            problem,
        }));
        Ok(verified)
    }

    /// Ends all use of the databases, so that what is in their logs moves into the files.
    pub async fn close(self) {
        self.catalog.close().await;
        self.runs.close().await;
    }
}

/// Makes a directory that only its owner may enter, and its name outlive a power cut.
fn make_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let Some(there) = path.ancestors().find(|ancestor| ancestor.is_dir()) else {
        return Err(StoreError::io("create", path)(io::ErrorKind::NotFound.into()));
    };
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(StoreError::io("create", path)(error));
        }
        _ => {}
    }
    let holders = path.ancestors().skip(1);
    for holder in holders.take_while(|holder| holder.starts_with(there)) {
        data_file::sync_directory(holder)?;
    }
    Ok(())
}

/// Whether there is nothing in a file, or no file.
fn is_empty(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.len() == 0) || !file.exists()
}

fn has_data_files(files: &Path) -> Result<bool, StoreError> {
    for dataset in datasets::ALL.iter().filter(|dataset| dataset.home == Home::Lake) {
        let directory = files.join("main").join(dataset.name);
        if !data_file::unnamed_files(&directory, |_| false)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
