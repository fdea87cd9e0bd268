//! What can go wrong while configuring and while collecting.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A mistake in a `source` table.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// What is wrong, with the keys or values that would be right.
    pub message: String,
    /// Bytes of the configuration text it is about, when known.
    pub span: Option<std::ops::Range<usize>>,
}

impl From<toml_edit::de::Error> for ConfigError {
    fn from(error: toml_edit::de::Error) -> Self {
        Self {
            message: error.message().to_owned(),
            span: error.span(),
        }
    }
}

/// Why a collector stopped.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A path that must be there is not, or cannot be read.
    #[error("cannot read `{}`; check that it exists and that you may read it", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The server refused the user.
    #[error("`{host}` refused `{user}`: {reason}; check the user name and the password or token")]
    Refused {
        /// The server.
        host: String,
        /// The user.
        user: String,
        /// What the server said.
        reason: String,
    },
    /// The connection could not be made, or broke, and went on breaking.
    #[error("no connection to `{host}`")]
    Disconnected {
        /// The server.
        host: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server broke its protocol.
    #[error("`{host}` answered what its protocol does not allow: {reason}")]
    Protocol {
        /// The server.
        host: String,
        /// What it said.
        reason: String,
    },
    /// The server asked to come back later.
    #[error("`{host}` is busy; try again in {} s", after.as_secs())]
    Busy {
        /// The server.
        host: String,
        /// How long to wait.
        after: Duration,
    },
    /// What is stored of the source could not be looked up.
    #[error("cannot look up what is stored of this source")]
    Lake(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row does not fit its dataset: a mistake in dkc.
    #[error("a row of dkc's own making does not fit its dataset; please report it")]
    Misfit(#[from] schemas::Misfit),
    /// Arrow could not build a batch.
    #[error("cannot build rows")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// Whoever takes the batches has stopped; the cause is with them.
    #[error("stopped before the end")]
    Stopped,
}

impl CollectError {
    /// Whether the same call, later, can succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Disconnected { .. } | Self::Busy { .. })
    }
}
