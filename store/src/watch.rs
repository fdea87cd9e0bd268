//! Whether anybody wrote to a database.
//!
//! - SQLite tells a connection when another one committed (`PRAGMA data_version`), from memory that they share: asking
//!   often costs little.

use crate::error::StoreError;
use sqlx::Sqlite;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqlitePool;
use std::path::PathBuf;

/// A look at a database, again and again.
#[derive(Debug)]
pub struct Watch {
    connection: PoolConnection<Sqlite>,
    path: PathBuf,
    version: i64,
}

impl Watch {
    pub(crate) async fn new(pool: &SqlitePool, path: PathBuf) -> Result<Self, StoreError> {
        let connection = pool.acquire().await.map_err(StoreError::database(&path))?;
        Ok(Self {
            connection,
            path,
            version: -1,
        })
    }

    /// Whether there was a commit since this was last asked; the first time it says yes.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn has_changed(&mut self) -> Result<bool, StoreError> {
        let version = sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut *self.connection)
            .await
            .map_err(StoreError::database(&self.path))?;
        let changed = self.version != version;
        self.version = version;
        Ok(changed)
    }
}
