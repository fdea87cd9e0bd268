//! Why a store was not moved.

use crate::error::StoreError;

/// Why a store was not moved. It is where it was.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Both places are of one kind.
    #[error(
        "a store moves between SQLite and Postgres; name the Postgres as `postgres` under `[store]` in the configuration"
    )]
    SameKind,
    /// There is nothing at the old place.
    #[error("there is no store in `{0}`")]
    NoStore(String),
    /// The catalog is not as it was written.
    #[error("the catalog is damaged, and would stay so: {}", .0.join("; "))]
    Damaged(Vec<String>),
    /// Somebody is at work.
    #[error("runs are at work ({}); wait for them to end, or cancel them, and stop `dkc serve`", .0.join(", "))]
    AtWork(Vec<String>),
    /// There is something at the new place.
    #[error("there is a store in `{0}` already; move it away first")]
    NotEmpty(String),
    /// One place has what the other cannot hold.
    #[error("the tables of both places differ, so something would be lost: {0}")]
    Differ(String),
    /// A text has a character that Postgres does not take.
    #[error(
        "column `{column}` of table `{table}` has a text with a character U+0000, which Postgres does not take; where it is the catalog, `dkc compact --expire-older-than 0s` makes it anew"
    )]
    Zero {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// What arrived is not what was sent.
    #[error("table `{0}` did not arrive as it was; this is a bug of dkc")]
    NotEqual(String),
    /// A database or a file refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}
