//! Whether anybody wrote to a database.
//!
//! - SQLite tells a connection when another one committed (`PRAGMA data_version`), from memory that they share: asking
//!   often costs little.
//! - Postgres is asked for the newest snapshot of the lake, and else which transactions are over: whoever commits is one
//!   of them. Those of its other tables are, too, and then this says yes once too often, never once too seldom.

use crate::database::{Database, Part};
use crate::error::StoreError;
use sqlx::AnyConnection;

const NEWEST_SNAPSHOT: &str = "SELECT CAST(coalesce(max(snapshot_id), 0) AS TEXT) FROM ducklake_snapshot";

const OVER: &str = "SELECT CAST(pg_current_snapshot() AS TEXT)";

/// A look at a database, again and again.
#[derive(Debug)]
pub struct Watch {
    database: Database,
    /// SQLite counts for each connection: this one is not lent to others.
    own: Option<AnyConnection>,
    seen: Option<String>,
}

impl Watch {
    pub(crate) async fn new(database: &Database) -> Result<Self, StoreError> {
        let own = if database.is_postgres() {
            None
        } else {
            let connection = database.pool().acquire().await;
            // Whoever closes the pool would wait for it.
            Some(connection.map_err(database.failed())?.detach())
        };
        Ok(Self {
            database: database.clone(),
            own,
            seen: None,
        })
    }

    /// Whether there was a commit since this was last asked; the first time it says yes.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn has_changed(&mut self) -> Result<bool, StoreError> {
        let now: Result<String, sqlx::Error> = match (&mut self.own, self.database.part()) {
            (Some(own), _) => sqlx::query_scalar("PRAGMA data_version")
                .fetch_one(own)
                .await
                .map(|version: i64| version.to_string()),
            (None, Part::Lake) => {
                sqlx::query_scalar(NEWEST_SNAPSHOT)
                    .fetch_one(self.database.pool())
                    .await
            }
            (None, Part::State | Part::Audit) => {
                sqlx::query_scalar(OVER).fetch_one(self.database.pool()).await
            }
        };
        let now = Some(now.map_err(self.database.failed())?);
        let has_changed = self.seen != now;
        self.seen = now;
        Ok(has_changed)
    }
}
