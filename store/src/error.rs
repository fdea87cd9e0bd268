//! What can go wrong while keeping and asking.

use std::io;
use std::path::{Path, PathBuf};

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory of the data directory could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried: `write`, `read`, `create`, …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A Parquet file could not be written or read.
    #[error("cannot {action} the data file `{}`", path.display())]
    Parquet {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// Another dkc has the data directory open for writing.
    #[error("another dkc is writing to `{}`; wait for it to end, or end it", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// Data files are there that no catalog names: it was lost, and the next sweep would take them with it.
    #[error(
        "`{}` is missing or empty, but there are data files; restore it from a backup, or move `{}` away",
        catalog.display(),
        data.display()
    )]
    CatalogLost {
        /// The catalog's file.
        catalog: PathBuf,
        /// The data directory.
        data: PathBuf,
    },
    /// Another program holds the SQLite database.
    #[error("`{database}` is locked by another program; close it there and run again")]
    Locked {
        /// The database file.
        database: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// SQLite failed.
    #[error("the database `{database}` failed")]
    Database {
        /// The database file.
        database: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// Somebody else committed to the lake between reading and writing.
    #[error(
        "another program committed snapshot {found} to the lake while this one built on {expected}; run again"
    )]
    Conflict {
        /// The snapshot the commit was built on.
        expected: i64,
        /// The newest snapshot.
        found: i64,
    },
    /// The lake was made by a newer or a foreign program in a shape dkc does not write.
    #[error("the lake does not fit this dkc: {reason}")]
    Unfit {
        /// How it differs.
        reason: String,
    },
    /// A moment of the past was asked for that the lake does not hold.
    #[error("the lake has no {asked}; the oldest that is kept is {oldest} of {time}, the newest {newest}")]
    NoSnapshot {
        /// What was asked for.
        asked: String,
        /// Id of the oldest snapshot.
        oldest: i64,
        /// When it was made.
        time: String,
        /// Id of the newest snapshot.
        newest: i64,
    },
    /// Arrow could not build or change a batch.
    #[error("cannot build rows")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A worker thread ended early.
    #[error("a worker thread ended early")]
    Worker(#[from] tokio::task::JoinError),
    /// A computation panicked; its message is on standard error.
    #[error("a computation broke off; this is a bug of dkc")]
    Panicked,
}

impl StoreError {
    /// Wraps an I/O error with what was tried on which path.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Wraps a Parquet error with what was tried on which file; an I/O cause is told as such.
    pub(crate) fn parquet(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Parquet { action, path, source }
    }

    /// Wraps an SQLite error; a lock held elsewhere is told apart.
    pub(crate) fn database(database: &Path) -> impl Fn(sqlx::Error) -> Self + use<> {
        let database = database.display().to_string();
        move |source| {
            // SQLITE_BUSY (5) and SQLITE_LOCKED (6), with their extended codes in the higher bytes.
            let locked = source
                .as_database_error()
                .and_then(|e| e.code())
                .and_then(|code| code.parse::<i64>().ok())
                .is_some_and(|code| matches!(code & 0xff, 5 | 6));
            if locked {
                Self::Locked {
                    database: database.clone(),
                    source,
                }
            } else {
                Self::Database {
                    database: database.clone(),
                    source,
                }
            }
        }
    }
}
