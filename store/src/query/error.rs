//! Why a query was refused or failed, in words for whoever wrote it. It passes from the process that answers to the
//! one that asked, so it is plain data.

use super::Limits;
use crate::error::StoreError;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use schemas::near;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::time::Duration;

/// Why a query was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum QueryError {
    /// Not a single read-only statement.
    #[error(
        "only one SELECT, VALUES, EXPLAIN, DESCRIBE, SHOW TABLES or SHOW COLUMNS is allowed here, and {found}"
    )]
    NotReadOnly {
        /// What was found instead.
        found: String,
    },
    /// It reads only, but may run for ever or tell what is nobody's business.
    #[error("{what} is not allowed here: {why}")]
    NotAllowed {
        /// What was written.
        what: String,
        /// Why not, and what to write instead.
        why: String,
    },
    /// The text is too long or too deep.
    #[error("the query has {what}, and at most {most} are allowed; write it shorter")]
    TooLarge {
        /// What there is too much of.
        what: String,
        /// How much is allowed.
        most: usize,
    },
    /// A parameter has no value, or one that no column can have.
    #[error("the parameter `{name}` has {what}")]
    Parameter {
        /// Its name, without the sign before it.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// It took longer than allowed.
    #[error("the query took longer than {} s; narrow it down, or raise `query_seconds` under [limits]", .0.as_secs_f64())]
    TooSlow(Duration),
    /// It needed more memory than allowed.
    #[error("the query needs more memory than `query_memory_mb` under [limits] allows: {0}")]
    TooMuchMemory(String),
    /// It answered more than its reader may have. What came before is not the whole answer.
    #[error(
        "the answer has more than {most} {what}, which is the most you may have; add a LIMIT, or narrow it down"
    )]
    TooMuch {
        /// `rows` or `bytes`.
        what: String,
        /// How many are allowed.
        most: u64,
    },
    /// The process that answered ended without a word.
    #[error(
        "the process that ran the query ended early ({how}); nothing else is harmed. Write the query more simply"
    )]
    WorkerDied {
        /// The signal or exit code, and its last words.
        how: String,
    },
    /// The process that was to answer could not be started or asked.
    #[error("cannot start a process for the query: {0}")]
    NoWorker(String),
    /// The database does not answer.
    #[error("{0}")]
    Away(String),
    /// The database does not let dkc in.
    #[error("{told}")]
    Refused {
        /// Which database, why, and what to do.
        told: String,
        /// The same without names of machines and users.
        plain: String,
    },
    /// A data file is not as the catalog names it.
    #[error(
        "the data file `{file}` {how}, so this has no answer; restore it from a backup (`dkc verify` lists all that is damaged), \
         or run `dkc rebuild` if it is of a dataset whose originals in `raw` are whole"
    )]
    Lost {
        /// The file, below the data directory.
        file: String,
        /// What is wrong with it.
        how: String,
    },
    /// A later snapshot was to be compared with an earlier one.
    #[error("snapshot {as_of} is older than {since}: nothing has changed in it since then")]
    Backwards {
        /// The one to compare with.
        since: i64,
        /// The one to look at.
        as_of: i64,
    },
    /// A dataset that lies outside the lake has no past.
    #[error("`{0}` has no snapshots: it is not in the lake")]
    NotInLake(String),
    /// `as_of` or `changes` was called with something else than a dataset and moments.
    #[error("{0}")]
    Past(String),
    /// A search in FROM cannot be read, or has no answer.
    #[error("{0}")]
    Search(String),
    /// It names a table, a column, a function or a dataset that is not there.
    #[error("{0}")]
    NoSuch(String),
    /// The engine's own words.
    #[error("{0}")]
    Engine(String),
}

impl QueryError {
    /// What the store says of the moment that is asked for; a database that is not to be had is no fault of the query.
    pub(super) fn past(error: StoreError) -> Self {
        match error {
            StoreError::Unreachable { .. } => Self::Away(error.to_string()),
            StoreError::Refused { ref why, .. } => Self::Refused {
                told: error.to_string(),
                plain: why.plain(),
            },
            error => Self::Past(error.to_string()),
        }
    }

    /// It as an error of the engine, as streams of rows carry it.
    pub(super) fn within(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }

    /// What ended a process: its own last words tell more than its signal.
    pub(super) fn died(status: std::process::ExitStatus, words: &str, limits: &Limits) -> Self {
        use rustix::process::Signal;
        use std::os::unix::process::ExitStatusExt;
        let line = words.lines().map(str::trim).find(|line| !line.is_empty());
        let signal = status.signal();
        if words.contains("memory allocation of") {
            return Self::TooMuchMemory("the process that ran it got no more".to_owned());
        }
        if signal == Some(Signal::XCPU.as_raw()) {
            return Self::TooSlow(limits.time);
        }
        let known = [
            (Signal::SEGV, "SIGSEGV"),
            (Signal::ABORT, "SIGABRT"),
            (Signal::BUS, "SIGBUS"),
            (Signal::KILL, "SIGKILL: perhaps the machine ran out of memory"),
            (Signal::TERM, "SIGTERM"),
        ];
        let name = signal.and_then(|signal| known.iter().find(|(known, _)| known.as_raw() == signal));
        let mut how = match (name, signal, status.code()) {
            (Some((_, name)), ..) => (*name).to_owned(),
            (None, Some(signal), _) => format!("signal {signal}"),
            (None, None, Some(code)) => format!("exit code {code}"),
            (None, None, None) => "no exit code".to_owned(),
        };
        if let Some(line) = line {
            how.push_str(": ");
            how.push_str(line.get(..line.floor_char_boundary(200)).unwrap_or(line));
        }
        Self::WorkerDied { how }
    }
}

/// A file that was read, and is as long as it was written.
fn damaged(error: &dyn Display) -> QueryError {
    QueryError::Engine(format!(
        "{error}; a data file may be damaged: `dkc verify` tells which"
    ))
}

/// A column that is not there, with those that are; with the names of their tables, where it was written so.
fn no_column(column: &Column, columns: &[Column]) -> QueryError {
    let known = columns.iter().map(|known| match column.relation {
        Some(_) => known.flat_name(),
        None => known.name.clone(),
    });
    let known: Vec<String> = known.collect();
    let known = known.iter().map(String::as_str);
    QueryError::NoSuch(near::no_such("column", &column.flat_name(), known))
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        // The innermost message: the prefixes say which part of the engine spoke, which helps nobody.
        match error.find_root() {
            DataFusionError::ResourcesExhausted(message) => Self::TooMuchMemory(message.clone()),
            DataFusionError::External(inner) => match inner.downcast_ref::<Self>() {
                Some(own) => own.clone(),
                None if inner.is::<ParquetError>() => damaged(inner),
                None => Self::Engine(inner.to_string()),
            },
            DataFusionError::ParquetError(inner) => damaged(inner),
            root @ DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
                SchemaError::FieldNotFound { field, valid_fields } => no_column(field, valid_fields),
                _ => Self::Engine(root.strip_backtrace()),
            },
            root => Self::Engine(root.strip_backtrace()),
        }
    }
}
