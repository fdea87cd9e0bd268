//! One snapshot: files of several tables and a cursor, in one transaction of the catalog.
//!
//! - Others commit meanwhile: what only adds, and what deletes from files that are still as they were, goes on top of
//!   theirs.

use super::seal::{AUTHOR, seal};
use super::{Catalog, CommitInfo, Snapshot, head};
use crate::error::StoreError;
use crate::lake::data_file::WrittenFile;
use schemas::{Dataset, SourceName};
use sqlx::{Any, Row, Transaction};
use std::collections::BTreeSet;

/// A delete file just written for a live data file, in place of the one before.
#[derive(Debug)]
pub struct NewDeletes {
    /// The data file.
    pub data_file: i64,
    /// The delete file before this one.
    pub before: Option<i64>,
    /// The new one: all positions, those of the one before too.
    pub file: WrittenFile,
}

/// What a commit does to one table.
#[derive(Debug)]
pub struct TableChange {
    /// The table.
    pub dataset: &'static Dataset,
    /// New data files.
    pub added: Vec<WrittenFile>,
    /// New delete files.
    pub deletes: Vec<NewDeletes>,
    /// Data files of which no row is left.
    pub ended: Vec<EndedFile>,
}

/// A data file of which no row is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedFile {
    /// The data file.
    pub data_file: i64,
    /// The delete file by which it was read.
    pub deletes: Option<i64>,
}

/// What a commit goes on top of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On<'a> {
    /// The snapshot it was built on, and no newer one: what travels with it holds for that one alone.
    Base,
    /// Whatever is newest, if the files that it changes are as they were.
    Newest,
    /// The same, if nobody else committed for this source after that snapshot: a run that was taken over, and does not
    /// know it yet, would store rows a second time and set the cursor back.
    NewestOf(&'a SourceName, i64),
}

impl Catalog {
    /// Commits changes of several tables, built on `base`, and what travels with them as one snapshot.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another program has committed since `base` what this commit cannot go on top of;
    /// [`StoreError::TakenOver`] when another run has committed for the source; else the database's refusal. Nothing of
    /// the commit is visible then.
    pub async fn commit(
        &self,
        base: Snapshot,
        on: On<'_>,
        tables: &[TableChange],
        message: &str,
        info: &CommitInfo,
    ) -> Result<i64, StoreError> {
        let failed = self.failed();
        let mut tx = self.begin().await?;
        let mut head = head(&mut tx).await.map_err(&failed)?;
        if head != base && (on == On::Base || !are_as_they_were(&mut tx, tables).await.map_err(&failed)?) {
            return Err(StoreError::Conflict {
                expected: base.id,
                found: head.id,
            });
        }
        if let On::NewestOf(source, seen) = on
            && was_committed(&mut tx, source, seen).await.map_err(&failed)?
        {
            return Err(StoreError::TakenOver {
                source_name: source.to_string(),
            });
        }
        let snapshot = head.id + 1;
        let mut changes = BTreeSet::new();
        for change in tables {
            apply(&mut tx, change, snapshot, &mut head.next_file_id, &mut changes)
                .await
                .map_err(&failed)?;
        }
        let changes = changes.into_iter().collect::<Vec<_>>().join(",");
        insert_snapshot(&mut tx, head, &changes, message, info)
            .await
            .map_err(&failed)?;
        tx.commit().await.map_err(&failed)?;
        Ok(snapshot)
    }
}

/// Whether a run committed for a source after a snapshot.
async fn was_committed(
    tx: &mut Transaction<'static, Any>,
    source: &SourceName,
    seen: i64,
) -> Result<bool, sqlx::Error> {
    let rows: Vec<Option<String>> =
        sqlx::query_scalar("SELECT commit_extra_info FROM ducklake_snapshot_changes WHERE snapshot_id > $1")
            .bind(seen)
            .fetch_all(&mut **tx)
            .await?;
    let infos = rows.into_iter().flatten();
    let mut infos = infos.filter_map(|info| serde_json::from_str::<CommitInfo>(&info).ok());
    Ok(infos.any(|info| !info.rearranged && info.cursors.contains_key(source.as_str())))
}

/// Whether the files that a commit changes are live, with the delete files that it knows.
async fn are_as_they_were(
    tx: &mut Transaction<'static, Any>,
    tables: &[TableChange],
) -> Result<bool, sqlx::Error> {
    for change in tables {
        let deletes = change
            .deletes
            .iter()
            .map(|deletes| (deletes.data_file, deletes.before));
        let ended = change.ended.iter().map(|ended| (ended.data_file, ended.deletes));
        for (file, known) in deletes.chain(ended) {
            let row = sqlx::query(
                "SELECT d.delete_file_id FROM ducklake_data_file f
                 LEFT JOIN ducklake_delete_file d ON d.data_file_id = f.data_file_id AND d.end_snapshot IS NULL
                 WHERE f.data_file_id = $1 AND f.end_snapshot IS NULL",
            )
            .bind(file)
            .fetch_optional(&mut **tx)
            .await?;
            let Some(row) = row else { return Ok(false) };
            if row.try_get::<Option<i64>, _>(0)? != known {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Inserts the snapshot after `head`, with the counters as they stand in it, when all its rows are there.
pub(super) async fn insert_snapshot(
    tx: &mut Transaction<'static, Any>,
    head: Snapshot,
    changes: &str,
    message: &str,
    info: &CommitInfo,
) -> Result<(), sqlx::Error> {
    let insert = crate::database::sql(
        tx,
        "INSERT INTO ducklake_snapshot VALUES ($1, $2, $3, $4, $5)",
        "INSERT INTO ducklake_snapshot VALUES ($1, CAST($2 AS TIMESTAMPTZ), $3, $4, $5)",
    );
    sqlx::query(insert)
        .bind(head.id + 1)
        .bind(super::now_text())
        .bind(head.schema_version)
        .bind(head.next_catalog_id)
        .bind(head.next_file_id)
        .execute(&mut **tx)
        .await?;
    sqlx::query("INSERT INTO ducklake_snapshot_changes VALUES ($1, $2, $3, $4, NULL)")
        .bind(head.id + 1)
        .bind(changes)
        .bind(AUTHOR)
        .bind(message)
        .execute(&mut **tx)
        .await?;
    seal(tx, Some(head.id), head.id + 1, info).await
}

async fn apply(
    tx: &mut Transaction<'static, Any>,
    change: &TableChange,
    snapshot: i64,
    next_file_id: &mut i64,
    changes: &mut BTreeSet<String>,
) -> Result<(), sqlx::Error> {
    let table_id: i64 = sqlx::query_scalar(
        "SELECT table_id FROM ducklake_table WHERE table_name = $1 AND end_snapshot IS NULL",
    )
    .bind(change.dataset.name)
    .fetch_one(&mut **tx)
    .await?;
    let mut take_id = || {
        let id = *next_file_id;
        *next_file_id += 1;
        id
    };
    for file in &change.added {
        changes.insert(format!("inserted_into_table:{table_id}"));
        let id = take_id();
        sqlx::query(
            "INSERT INTO ducklake_data_file
             SELECT $1, $2, $3, NULL, NULL, $4, TRUE, 'parquet', $5, $6, $7, next_row_id, NULL, NULL, NULL, NULL
             FROM ducklake_table_stats WHERE table_id = $2",
        )
        .bind(id)
        .bind(table_id)
        .bind(snapshot)
        .bind(&file.name)
        .bind(file.rows)
        .bind(file.size)
        .bind(file.footer_size)
        .execute(&mut **tx)
        .await?;
        sqlx::query(
            "UPDATE ducklake_table_stats SET record_count = record_count + $2,
             next_row_id = next_row_id + $2, file_size_bytes = file_size_bytes + $3 WHERE table_id = $1",
        )
        .bind(table_id)
        .bind(file.rows)
        .bind(file.size)
        .execute(&mut **tx)
        .await?;
        for column in &file.statistics {
            let (low, high) = column.bounds.clone().unzip();
            sqlx::query(
                "INSERT INTO ducklake_file_column_stats VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL, NULL)",
            )
            .bind(id)
            .bind(table_id)
            .bind(column.column_id)
            .bind(column.size)
            .bind(column.values)
            .bind(column.nulls)
            .bind(low)
            .bind(high)
            .execute(&mut **tx)
            .await?;
        }
    }
    for deletes in &change.deletes {
        changes.insert(format!("deleted_from_table:{table_id}"));
        sqlx::query("UPDATE ducklake_delete_file SET end_snapshot = $2 WHERE delete_file_id = $1")
            .bind(deletes.before)
            .bind(snapshot)
            .execute(&mut **tx)
            .await?;
        sqlx::query("INSERT INTO ducklake_delete_file VALUES ($1, $2, $3, NULL, $4, $5, TRUE, 'parquet', $6, $7, $8, NULL, NULL)")
            .bind(take_id())
            .bind(table_id)
            .bind(snapshot)
            .bind(deletes.data_file)
            .bind(&deletes.file.name)
            .bind(deletes.file.rows)
            .bind(deletes.file.size)
            .bind(deletes.file.footer_size)
            .execute(&mut **tx)
            .await?;
    }
    for file in change.ended.iter().map(|ended| ended.data_file) {
        changes.insert(format!("deleted_from_table:{table_id}"));
        for statement in [
            "UPDATE ducklake_table_stats AS t SET record_count = t.record_count - f.record_count,
                    file_size_bytes = t.file_size_bytes - f.file_size_bytes
             FROM ducklake_data_file f WHERE f.data_file_id = $1 AND t.table_id = f.table_id AND $2 > 0",
            "UPDATE ducklake_data_file SET end_snapshot = $2 WHERE data_file_id = $1",
            "UPDATE ducklake_delete_file SET end_snapshot = $2 WHERE data_file_id = $1 AND end_snapshot IS NULL",
        ] {
            sqlx::query(statement)
                .bind(file)
                .bind(snapshot)
                .execute(&mut **tx)
                .await?;
        }
    }
    Ok(())
}
