//! What can go wrong with what search reads.

use crate::embedder::ModelStamp;
use std::io;
use std::path::{Path, PathBuf};

/// Why the vector store refused or failed. Whatever it holds can be made again from the lake.
#[derive(Debug, thiserror::Error)]
pub enum VectorError {
    /// A file or directory could not be made or deleted.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// LanceDB failed.
    #[error("{table} cannot be read or written; `dkc index build --anew` makes it again from the lake")]
    Lance {
        /// The table.
        table: String,
        /// The cause.
        #[source]
        source: Box<lancedb::Error>,
    },
    /// The table is not as this dkc makes it.
    #[error(
        "{table} was made by another dkc: {reason}; `dkc index build --anew` makes it again from the lake"
    )]
    Outdated {
        /// The table.
        table: String,
        /// How it differs.
        reason: String,
    },
    /// The vectors are of another model than the one that asks.
    #[error(
        "{table} has vectors of `{}` with {} numbers and digest {:.12}…, but the model at hand has {} and {:.12}…; \
         put the older model back, or let `dkc index build --anew` embed all texts with this one",
        there.name, there.dimension, there.digest, asked.dimension, asked.digest
    )]
    OtherModel {
        /// The table.
        table: String,
        /// The model that made the vectors.
        there: Box<ModelStamp>,
        /// The model at hand.
        asked: Box<ModelStamp>,
    },
    /// Rows in memory could not be computed with.
    #[error("cannot compute with chunks in memory")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A filter could not be computed.
    #[error("cannot tell which chunks fit")]
    Filter(#[from] datafusion::error::DataFusionError),
}

impl VectorError {
    /// Says what could not be done with which file or directory.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Says which table LanceDB failed on.
    pub(super) fn of(table: impl Into<String>) -> impl FnOnce(lancedb::Error) -> Self {
        let table = table.into();
        move |source| Self::Lance {
            table,
            source: Box::new(source),
        }
    }
}
