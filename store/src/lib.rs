//! The only crate that keeps anything. Reading order: [`Store`], `database`, `commit`, `lake`, `runs`, `queue`, `query`,
//! `search`, `snapshot`, `export`; for the gateway `tokens`, `audit`.
//!
//! - In: batches of rows with a cursor. Out: snapshots of a lake, answers to queries.
//! - Not here: where rows come from, what they mean, who may ask.

pub mod alerts;
pub mod approvals;
pub mod audit;
pub mod commit;
mod database;
mod directory;
pub mod embedder;
pub mod error;
pub mod events;
pub mod export;
mod identity;
pub mod inventory;
mod keys;
pub mod lake;
mod locations;
pub mod migrate;
pub mod page;
pub mod query;
pub mod queue;
pub mod relational;
pub mod run_log;
pub mod runs;
pub mod search;
pub mod snapshot;
pub mod tokens;
pub mod vectors;
pub mod watch;

pub use commit::{Commit, Committed, Committer, Items, Merged, SNAPSHOT_WAITS, Staged};
pub use database::Place;
pub use error::StoreError;

use arrow_array::RecordBatch;
use directory::{Lock, has_data_files, is_empty, make_private};
use lake::as_of::AsOf;
use lake::catalog::{Catalog, Claim, CommitInfo, On};
use lake::changed::Changed;
use lake::compact::Compacted;
use lake::verify::{Problem, Verified};
use lake::{data_file, index};
use query::{Limits, Reader};
use runs::Runs;
use schemas::{Cursor, Dataset, Home, Location, SourceName, datasets};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use tokio::sync::mpsc;

/// More data files in one table than this are worth merging: each costs a reader about 0.1 ms.
const WORN_FILES: i64 = 128;

/// An open store.
///
/// ```text
/// DATA/lake/catalog.sqlite     the DuckLake catalog, unless Postgres has it
/// DATA/lake/files/main/TABLE/  Parquet files
/// DATA/state.sqlite            runs, unless Postgres has them
/// DATA/data.id                 by which a Postgres knows the directory again
/// DATA/.lock                   held, together, by those who write
/// ```
#[derive(Debug)]
pub struct Store {
    place: Place,
    catalog: Catalog,
    runs: Runs,
    /// Of one that was opened for writing.
    lock: Option<Lock>,
}

impl Store {
    /// Opens a store for reading; it is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError::OtherDirectory`] when its Postgres keeps the lake of another data directory; else when it cannot be made
    /// or read.
    pub async fn open(place: impl Into<Place>) -> Result<Self, StoreError> {
        let place = place.into();
        place.check().await?;
        Self::open_locked(place, None).await
    }

    /// Opens a store for writing, beside others who write. Whoever is the first clears what a crash left.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another dkc has the data directory for itself, and keeps it; else as [`Store::open`].
    pub async fn open_writer(place: impl Into<Place>) -> Result<Self, StoreError> {
        let place = place.into();
        place.check().await?;
        make_private(&place.data)?;
        let lock = Lock::take(&place.data).await?;
        let store = Self::open_locked(place, Some(lock)).await?;
        if let Some(lock) = store.lock.as_ref().filter(|lock| lock.is_alone()) {
            // While nobody has files that are yet to be named, and no run is at work. In Postgres one may be, elsewhere.
            store.sweep().await?;
            if store.place.postgres.is_none() {
                store.runs.leave().await?;
            }
            lock.share().await?;
        }
        Ok(store)
    }

    /// Opens a store to write what no run may write beside: rows and cursors of any source. Nobody else writes until it is
    /// dropped.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another dkc writes there, or a service is at work; else as [`Store::open`].
    pub async fn open_alone(place: impl Into<Place>) -> Result<Self, StoreError> {
        let place = place.into();
        place.check().await?;
        make_private(&place.data)?;
        let lock = Lock::take(&place.data).await?;
        if !lock.is_alone() {
            return Err(StoreError::InUse { path: place.data });
        }
        let store = Self::open_locked(place, Some(lock)).await?;
        store.sweep().await?;
        Ok(store)
    }

    async fn open_locked(place: Place, lock: Option<Lock>) -> Result<Self, StoreError> {
        make_private(&place.data)?;
        let data = fs::canonicalize(&place.data).map_err(StoreError::io("read", &place.data))?;
        let place = Place { data, ..place };
        let lake = place.data.join("lake");
        let files = lake.join("files");
        // The file of an SQLite catalog is looked at before it is opened: the log of a new one, left beside one that is
        // restored from a backup, would spoil that.
        let connected = match &place.postgres {
            Some(_) => Some(Catalog::connect(&place).await?),
            None => None,
        };
        let is_new = match &connected {
            Some(catalog) => catalog.is_new().await?,
            None => is_empty(&lake.join("catalog.sqlite")) && is_empty(&lake.join("catalog.sqlite-wal")),
        };
        directory::make_lake(&place.data, &files, is_new)?;
        // Whose one in Postgres is was checked before, and is again when it is made.
        if is_new && connected.is_none() && has_data_files(&files)? {
            return Err(StoreError::CatalogLost {
                catalog: lake.join("catalog.sqlite"),
                data: place.data,
            });
        }
        let mut catalog = match connected {
            Some(catalog) => catalog,
            None => Catalog::connect(&place).await?,
        };
        catalog
            .bootstrap(if lock.is_some() { Claim::Make } else { Claim::Leave })
            .await?;
        let runs = Runs::open(&place).await?;
        Ok(Self {
            place,
            catalog,
            runs,
            lock,
        })
    }

    /// Where it is; its data directory is absolute.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The data directory, absolute.
    pub fn data(&self) -> &Path {
        &self.place.data
    }

    /// Whether nobody else wrote when it was opened for writing; since then others may have come. In Postgres others may
    /// write from elsewhere, so that is never known.
    pub fn is_alone(&self) -> bool {
        self.place.postgres.is_none() && self.lock.as_ref().is_some_and(Lock::is_alone)
    }

    /// Whether a file of this path lies, or would lie, in the data directory, where what is not the lake's own is
    /// swept.
    pub fn holds(&self, path: &Path) -> bool {
        let folders = path.ancestors().skip(1);
        let mut there = folders.filter_map(|folder| match folder.as_os_str().is_empty() {
            true => fs::canonicalize(".").ok(),
            false => fs::canonicalize(folder).ok(),
        });
        there
            .next()
            .is_some_and(|folder| folder.starts_with(&self.place.data))
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
            .commit(
                self.catalog.head().await?,
                On::Newest,
                &[],
                "set the cursor by hand",
                &info,
            )
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
        Reader::new(
            self.place.clone(),
            self.catalog.clone(),
            self.runs.clone(),
            limits,
        )
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
            place: self.runs.database().label().to_owned(),
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
