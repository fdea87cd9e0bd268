//! Digests of the catalog's own content: each snapshot carries one of the rows it made and ended.
//!
//! SQLite keeps no checksum of its pages, so a bit that flips inside a number or a name goes unseen by it.
//! A digest is made in the transaction of its commit and travels in `commit_extra_info`; it is never made again
//! over older rows, so no later commit can approve of rot. See `docs/decisions/0005-catalog-digests.md`.

use super::{Catalog, CommitInfo};
use crate::error::StoreError;
use schemas::Digest;
use serde::{Deserialize, Serialize};
use sqlx::{Row, SqliteConnection};

/// Who committed, as dkc writes it.
pub(super) const AUTHOR: &str = "dkc";

/// Tables that are changed in place, and the shape of all. `data_path` is corrected whenever the lake is opened.
const STATE: &str = "
    SELECT json_array('table statistics', table_id, record_count, next_row_id, file_size_bytes)
    FROM ducklake_table_stats
    UNION ALL SELECT json_array('metadata', \"key\", \"value\", \"scope\", scope_id)
    FROM ducklake_metadata WHERE \"key\" <> 'data_path'
    UNION ALL SELECT json_array('shape', type, name, tbl_name, sql) FROM sqlite_master";

/// What a snapshot carries of its own content; SHA-256 in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Of the rows it made and ended, and of what travels with it.
    rows: String,
    /// Of what is changed in place, as it was then.
    state: String,
}

/// SHA-256 of texts, in no order.
fn digest(mut texts: Vec<String>) -> String {
    texts.sort_unstable();
    Digest::of(texts.join("\n").as_bytes()).to_string()
}

fn text_of(info: &CommitInfo) -> Result<String, sqlx::Error> {
    serde_json::to_string(info).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// The digest of what the snapshots in `range` made and ended, with what travels with the last of them.
async fn digest_of_rows(
    connection: &mut SqliteConnection,
    range: (i64, i64),
    info: &CommitInfo,
    state: &str,
) -> Result<String, sqlx::Error> {
    let mut rows: Vec<String> = sqlx::query_scalar(include_str!("seal.sql"))
        .bind(range.0)
        .bind(range.1)
        .fetch_all(connection)
        .await?;
    // Even the digest of a state that is long gone is held to what it was.
    rows.push(text_of(&sealed(info, String::new(), state.to_owned()))?);
    Ok(digest(rows))
}

fn sealed(info: &CommitInfo, rows: String, state: String) -> CommitInfo {
    CommitInfo {
        seal: Some(Seal { rows, state }),
        ..info.clone()
    }
}

/// The digest of what is changed in place.
async fn digest_of_state(connection: &mut SqliteConnection) -> Result<String, sqlx::Error> {
    Ok(digest(sqlx::query_scalar(STATE).fetch_all(connection).await?))
}

/// Writes what travels with a snapshot, with the digest of what it and those between it and `previous` made:
/// to be called when all their rows are there, in the same transaction.
pub(super) async fn seal(
    connection: &mut SqliteConnection,
    previous: Option<i64>,
    snapshot: i64,
    info: &CommitInfo,
) -> Result<(), sqlx::Error> {
    // What is older than the oldest snapshot counts as its own.
    let range = (previous.unwrap_or(i64::MIN), snapshot);
    let state = digest_of_state(connection).await?;
    let rows = digest_of_rows(connection, range, info, &state).await?;
    sqlx::query("UPDATE ducklake_snapshot_changes SET commit_extra_info = $2 WHERE snapshot_id = $1")
        .bind(snapshot)
        .bind(text_of(&sealed(info, rows, state))?)
        .execute(connection)
        .await?;
    Ok(())
}

/// A snapshot, and how it stands with its digest.
pub(super) struct Checked {
    pub id: i64,
    pub previous: Option<i64>,
    /// As it was committed; absent when another program did.
    pub info: Option<CommitInfo>,
    /// What is not as it was committed.
    pub finding: Option<String>,
}

/// Compares each snapshot with the digest it carries, oldest first.
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<Vec<Checked>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT s.snapshot_id, c.author, c.commit_extra_info
         FROM ducklake_snapshot s LEFT JOIN ducklake_snapshot_changes c USING (snapshot_id)
         ORDER BY s.snapshot_id",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut checked: Vec<Checked> = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let id: i64 = row.try_get(0)?;
        let author: Option<String> = row.try_get(1)?;
        let text: Option<String> = row.try_get(2)?;
        let previous = checked.last().map(|last| last.id);
        let info: Option<CommitInfo> = text.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let finding = match info.as_ref().and_then(|info| Some((info, info.seal.as_ref()?))) {
            None if author.as_deref() != Some(AUTHOR) => None,
            None => Some("has lost the digest of its content".to_owned()),
            Some((info, seal)) => {
                let is_newest = number + 1 == rows.len();
                // What is newer than the newest snapshot counts as its own.
                let end = if is_newest { i64::MAX } else { id };
                let range = (previous.unwrap_or(i64::MIN), end);
                let found = digest_of_rows(connection, range, info, &seal.state).await;
                let state = digest_of_state(connection).await;
                match (found, state) {
                    (Err(error), _) | (_, Err(error)) => Some(format!("cannot be read: {error}")),
                    _ if text_of(info).ok() != text => Some("carries more than it was given".to_owned()),
                    (Ok(found), _) if found != seal.rows => {
                        Some("is not as it was committed: its digest differs".to_owned())
                    }
                    (_, Ok(state)) if is_newest && state != seal.state => Some(
                        "left tables or counts that are not as they were: their digest differs".to_owned(),
                    ),
                    _ => None,
                }
            }
        };
        checked.push(Checked {
            id,
            previous,
            info,
            finding,
        });
    }
    Ok(checked)
}

impl Catalog {
    /// What is wrong with the catalog's file or its content; empty when nothing.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite fails.
    pub async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let failed = self.failed();
        // One transaction: whoever commits meanwhile is not seen.
        let mut tx = self.pool.begin().await.map_err(&failed)?;
        let found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_all(&mut *tx)
            .await
            .map_err(&failed)?;
        let mut findings: Vec<String> = found.into_iter().filter(|line| line != "ok").collect();
        for checked in check(&mut tx).await.map_err(&failed)? {
            findings.extend(checked.finding.map(|finding| {
                format!(
                    "snapshot {} {finding}; restore the catalog from a backup",
                    checked.id
                )
            }));
        }
        Ok(findings)
    }
}
