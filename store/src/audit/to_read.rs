//! The audit's database for who may come to read it.
//!
//! - In: a place. Out: its database, with no way to write to it, once there is one.
//! - Not here: what is read of it (`query::relational`).

use crate::database::{Database, Part, Place};
use crate::error::StoreError;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The log of a place for who may come to read it: its database is opened when that is first asked for.
#[derive(Debug, Clone)]
pub(crate) struct AuditToRead {
    place: Place,
    database: Arc<OnceCell<Database>>,
}

impl AuditToRead {
    /// That of a place.
    pub(crate) fn of(place: Place) -> Self {
        Self {
            place,
            database: Arc::default(),
        }
    }

    /// The database, with no way to write to it; `None` while nobody has made the log.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub(crate) async fn database(&self) -> Result<Option<Database>, StoreError> {
        if let Some(database) = self.database.get() {
            return Ok(Some(database.clone()));
        }
        let is_in_files = self.place.postgres.is_none();
        if is_in_files && !self.place.data.join(Part::Audit.file()).is_file() {
            return Ok(None);
        }
        let database = Database::open_to_read(&self.place, Part::Audit).await?;
        // Whoever makes it may not be done, and in Postgres nothing was opened yet.
        let tables: i64 = sqlx::query_scalar(database.sql(
            "SELECT count(*) FROM sqlite_master WHERE name = 'audit'",
            "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'audit'",
        ))
        .fetch_one(database.pool())
        .await
        .map_err(database.failed())?;
        if tables == 0 {
            return Ok(None);
        }
        let kept = self.database.get_or_init(|| async move { database }).await;
        Ok(Some(kept.clone()))
    }
}
