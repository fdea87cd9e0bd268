//! Forgetting: old snapshots, the files only they used, and which files are still named.

use super::{Catalog, seal};
use crate::error::StoreError;
use sqlx::Row;
use std::collections::HashSet;
use std::path::PathBuf;

/// Snapshots that are forgotten in one transaction: nobody commits meanwhile.
const FORGOTTEN: i64 = 100;

impl Catalog {
    /// Names of all data and delete files that any snapshot, or the list of files to delete, still names.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn named_files(&self) -> Result<HashSet<String>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT path FROM ducklake_data_file UNION ALL SELECT path FROM ducklake_delete_file
             UNION ALL SELECT path FROM ducklake_files_scheduled_for_deletion",
        )
        .fetch_all(self.database.pool())
        .await
        .map_err(self.failed())?;
        // Scheduled files are named from the data path; only the last part is ours.
        Ok(names
            .into_iter()
            .map(|n| n.rsplit('/').next().unwrap_or_default().to_owned())
            .collect())
    }

    /// The number of live data files of the table that has most.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn most_files(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar(
            "SELECT coalesce(max(files), 0) FROM (SELECT count(*) AS files FROM ducklake_data_file
             WHERE end_snapshot IS NULL GROUP BY table_id) AS live",
        )
        .fetch_one(self.database.pool())
        .await
        .map_err(self.failed())
    }

    /// Forgets snapshots that are older than `before`, a moment, and than the snapshot `carrier`, with which the cursors
    /// that they carried travel; and what only they used. Files that nothing names any more are put on the list of
    /// [`Catalog::scheduled`]. Returns the number of snapshots: the oldest go, a few at once, and none when no more are
    /// to go.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn expire(&self, before: &str, carrier: i64) -> Result<u64, StoreError> {
        let failed = self.failed();
        let mut tx = self.begin().await?;
        let going: Vec<i64> = sqlx::query_scalar(self.database.sql(
            "SELECT snapshot_id FROM ducklake_snapshot
             WHERE snapshot_time < $1 AND snapshot_id < $2 ORDER BY snapshot_id LIMIT $3",
            "SELECT snapshot_id FROM ducklake_snapshot
             WHERE snapshot_time < CAST($1 AS TIMESTAMPTZ) AND snapshot_id < $2 ORDER BY snapshot_id LIMIT $3",
        ))
        .bind(before)
        .bind(carrier)
        .bind(FORGOTTEN)
        .fetch_all(&mut *tx)
        .await
        .map_err(&failed)?;
        let Some(last) = going.last().copied() else {
            return Ok(0);
        };
        // What they made becomes the next one's; those after it stay as they are.
        let heir: i64 =
            sqlx::query_scalar("SELECT min(snapshot_id) FROM ducklake_snapshot WHERE snapshot_id > $1")
                .bind(last)
                .fetch_one(&mut *tx)
                .await
                .map_err(&failed)?;
        let before_that = seal::check(&mut tx, heir).await.map_err(&failed)?;
        let expired = sqlx::query(self.database.sql(
            "DELETE FROM ducklake_snapshot WHERE snapshot_time < $1 AND snapshot_id <= $2",
            "DELETE FROM ducklake_snapshot WHERE snapshot_time < CAST($1 AS TIMESTAMPTZ) AND snapshot_id <= $2",
        ))
        .bind(before)
        .bind(last)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?
        .rows_affected();
        sqlx::query("DELETE FROM ducklake_snapshot_changes WHERE snapshot_id NOT IN (SELECT snapshot_id FROM ducklake_snapshot)")
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        for (table, id) in [
            ("ducklake_data_file", "data_file_id"),
            ("ducklake_delete_file", "delete_file_id"),
        ] {
            let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
                "SELECT f.{id}, t.table_name, f.path FROM {table} f JOIN ducklake_table t USING (table_id)
                 WHERE f.end_snapshot IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ducklake_snapshot s
                       WHERE s.snapshot_id >= f.begin_snapshot AND s.snapshot_id < f.end_snapshot)"
            )))
            .fetch_all(&mut *tx)
            .await
            .map_err(&failed)?;
            for row in rows {
                let (file, dataset, name): (i64, String, String) = (
                    row.try_get(0).map_err(&failed)?,
                    row.try_get(1).map_err(&failed)?,
                    row.try_get(2).map_err(&failed)?,
                );
                sqlx::query(self.database.sql(
                    "INSERT INTO ducklake_files_scheduled_for_deletion VALUES ($1, $2, TRUE, $3)",
                    "INSERT INTO ducklake_files_scheduled_for_deletion
                     VALUES ($1, $2, TRUE, CAST($3 AS TIMESTAMPTZ))",
                ))
                .bind(file)
                .bind(format!("main/{dataset}/{name}"))
                .bind(super::now_text())
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
                if table == "ducklake_data_file" {
                    for statement in [
                        "DELETE FROM ducklake_file_column_stats WHERE data_file_id = $1",
                        "DELETE FROM ducklake_data_file WHERE data_file_id = $1",
                    ] {
                        sqlx::query(statement)
                            .bind(file)
                            .execute(&mut *tx)
                            .await
                            .map_err(&failed)?;
                    }
                } else {
                    sqlx::query("DELETE FROM ducklake_delete_file WHERE delete_file_id = $1")
                        .bind(file)
                        .execute(&mut *tx)
                        .await
                        .map_err(&failed)?;
                }
            }
        }
        // What snapshots made that are gone now counts as the next one's. What was not whole stays so.
        let (mut previous, mut whole) = (None, true);
        for snapshot in before_that {
            let there: i64 =
                sqlx::query_scalar("SELECT count(*) FROM ducklake_snapshot WHERE snapshot_id = $1")
                    .bind(snapshot.id)
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(&failed)?;
            whole &= snapshot.finding.is_none();
            if there == 0 {
                continue;
            }
            if let Some(info) = snapshot
                .info
                .filter(|info| whole && info.seal.is_some() && snapshot.previous != previous)
            {
                seal::seal(&mut tx, previous, snapshot.id, &info)
                    .await
                    .map_err(&failed)?;
            }
            (previous, whole) = (Some(snapshot.id), true);
        }
        tx.commit().await.map_err(&failed)?;
        Ok(expired)
    }

    /// The files that are scheduled for deletion: their names in the list, and where they lie.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn scheduled(&self) -> Result<Vec<(String, PathBuf)>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar("SELECT path FROM ducklake_files_scheduled_for_deletion")
            .fetch_all(self.database.pool())
            .await
            .map_err(self.failed())?;
        let placed = names.into_iter().map(|name| {
            let path = self.files.join(&name);
            (name, path)
        });
        Ok(placed.collect())
    }

    /// Takes files off the list of those scheduled for deletion, once they are deleted. Others may have put more there.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn forget_scheduled(&self, deleted: &[String]) -> Result<(), StoreError> {
        if deleted.is_empty() {
            return Ok(());
        }
        // All at once: the list has no index, and may be long.
        sqlx::query(self.database.sql(
            "DELETE FROM ducklake_files_scheduled_for_deletion WHERE path IN (SELECT value FROM json_each($1))",
            "DELETE FROM ducklake_files_scheduled_for_deletion
             WHERE path IN (SELECT jsonb_array_elements_text(CAST($1 AS JSONB)))",
        ))
        .bind(serde_json::json!(deleted).to_string())
        .execute(self.database.pool())
        .await
        .map_err(self.failed())?;
        Ok(())
    }
}
