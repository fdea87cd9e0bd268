//! What the catalog says about its own past: when snapshots were made, and which columns tables had.

use super::Catalog;
use crate::error::StoreError;
use crate::lake::as_of::AsOf;

impl Catalog {
    /// The id of the snapshot that a moment means.
    ///
    /// # Errors
    /// [`StoreError::NoSnapshot`] when it was forgotten or never was; else when the database fails.
    pub async fn resolve(&self, as_of: AsOf) -> Result<i64, StoreError> {
        as_of.among(&self.snapshot_times().await?)
    }

    /// Ids and times of all snapshots, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn snapshot_times(&self) -> Result<Vec<(i64, String)>, StoreError> {
        sqlx::query_as(self.database.sql(
            "SELECT snapshot_id, snapshot_time FROM ducklake_snapshot ORDER BY snapshot_id DESC",
            "SELECT snapshot_id, to_char(snapshot_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US\"+00\"')
             FROM ducklake_snapshot ORDER BY snapshot_id DESC",
        ))
        .fetch_all(self.database.pool())
        .await
        .map_err(self.failed())
    }

    /// All columns that tables have or had: table, column, the snapshot that brought it, and the one that took it away.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn column_lives(&self) -> Result<Vec<(String, String, i64, Option<i64>)>, StoreError> {
        sqlx::query_as(
            "SELECT t.table_name, c.column_name, c.begin_snapshot, c.end_snapshot
             FROM ducklake_column c JOIN ducklake_table t USING (table_id) WHERE c.parent_column IS NULL",
        )
        .fetch_all(self.database.pool())
        .await
        .map_err(self.failed())
    }
}
