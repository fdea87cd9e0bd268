//! What can go wrong while keeping and asking.

pub use crate::database::Refusal;

use crate::database::{absence, is_absent, refusal};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// Another dkc has the data directory for itself, and does not give it back.
    #[error("another dkc is at work on `{}`; wait for it to end, or stop it (`dkc daemon` and `dkc serve` are at work all the time)", path.display())]
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
    /// The lake was not moved to where the configuration says that its catalog is.
    #[error(
        "`{database}` holds no lake, but there are data files in `{}`; move the store there with `dkc migrate`, or choose another data directory",
        data.display()
    )]
    NotMoved {
        /// The database.
        database: String,
        /// The data directory.
        data: PathBuf,
    },
    /// The database keeps the lake of another data directory, or of a newer copy of this one.
    #[error(
        "`{database}` keeps the lake of another data directory than `{}`; use that one (it is known by its file `data.id`, wherever it was moved or restored to), or name another database as `postgres` under `[store]`",
        data.display()
    )]
    OtherDirectory {
        /// The database.
        database: String,
        /// The data directory.
        data: PathBuf,
    },
    /// The database keeps the lake of this data directory, and a catalog in it does, too.
    #[error(
        "`{database}` and `{}` are both catalogs of this data directory: it is a copy from before `dkc migrate`, or that was broken off; if the database is what counts, rename the file, else take `postgres` out of the configuration",
        file.display()
    )]
    TwoCatalogs {
        /// The database.
        database: String,
        /// The catalog in the directory.
        file: PathBuf,
    },
    /// Another program holds the database.
    #[error(
        "`{database}` is locked by another program; close it there and run again, or wait where it is another dkc"
    )]
    Locked {
        /// The database: a file, or a server and its database.
        database: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The server of the database does not answer.
    #[error("cannot reach `{database}`: {}", absence(source))]
    Unreachable {
        /// The server and its database.
        database: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The server of the database does not let dkc in, however long it is waited for.
    #[error("`{database}` refuses: {why}")]
    Refused {
        /// The server and its database.
        database: String,
        /// Why, and what to do.
        why: Refusal,
    },
    /// The tables are of a newer dkc.
    #[error("`{database}` was made by a newer dkc; use that one")]
    Newer {
        /// The database: a file, or a server and its database.
        database: String,
    },
    /// The database failed.
    #[error("the database `{database}` failed")]
    Database {
        /// The database: a file, or a server and its database.
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
    /// Another run has committed for the same source since this one began.
    #[error(
        "another run of `{source_name}` has stored what is new meanwhile; this one stopped and changed nothing more"
    )]
    TakenOver {
        /// The source.
        source_name: String,
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

    /// Wraps an error of a database of that name; a lock held elsewhere and a server that does not answer are told apart.
    pub(crate) fn database(name: Arc<str>, is_postgres: bool) -> impl Fn(sqlx::Error) -> Self + use<> {
        move |source| {
            let database = name.to_string();
            if Self::is_locked(&source, is_postgres) {
                Self::Locked { database, source }
            } else if is_postgres && let Some(why) = refusal(&source) {
                Self::Refused { database, why }
            } else if is_postgres && is_absent(&source) {
                Self::Unreachable { database, source }
            } else {
                Self::Database { database, source }
            }
        }
    }

    /// Whether a lock held elsewhere is the cause.
    pub(crate) fn is_locked(error: &sqlx::Error, is_postgres: bool) -> bool {
        let Some(code) = error.as_database_error().and_then(|error| error.code()) else {
            return false;
        };
        if is_postgres {
            // serialization_failure, deadlock_detected, lock_not_available
            return matches!(code.as_ref(), "40001" | "40P01" | "55P03");
        }
        // SQLITE_BUSY (5) and SQLITE_LOCKED (6), with their extended codes in the higher bytes.
        code.parse::<i64>().is_ok_and(|code| matches!(code & 0xff, 5 | 6))
    }
}

/// An error with its causes, in one sentence.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
