//! Digests of the catalog's own content: each snapshot carries one of the rows it made and ended.
//!
//! SQLite keeps no checksum of its pages, so a bit that flips inside a number or a name goes unseen by it; Postgres keeps
//! them only where it was told to. Of the same rows both give the same texts, so that a catalog can move.
//! A digest is made in the transaction of its commit and travels in `commit_extra_info`; it is never made again
//! over older rows, so no later commit can approve of rot. See `docs/decisions/0005-catalog-digests.md`.

use super::{Catalog, CommitInfo};
use crate::database::{is_postgres, sql};
use crate::error::StoreError;
use schemas::Digest;
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, Row};

/// Who committed, as dkc writes it.
pub(super) const AUTHOR: &str = "dkc";

/// Tables that are changed in place. `data_path` is corrected whenever the lake is opened; the id of the data directory is in
/// Postgres alone, and put there when it is missing.
const SQLITE_STATE: &str = "
    SELECT json_array('table statistics', table_id, record_count, next_row_id, file_size_bytes)
    FROM ducklake_table_stats
    UNION ALL SELECT json_array('metadata', \"key\", \"value\", \"scope\", scope_id)
    FROM ducklake_metadata WHERE \"key\" NOT IN ('data_path', 'dkc_data_id')";

/// The same.
const POSTGRES_STATE: &str = "
    SELECT '[' || array_to_string(ARRAY['\"table statistics\"', CAST(table_id AS TEXT), CAST(record_count AS TEXT),
           CAST(next_row_id AS TEXT), CAST(file_size_bytes AS TEXT)], ',', 'null') || ']'
    FROM ducklake_table_stats
    UNION ALL SELECT '[' || array_to_string(ARRAY['\"metadata\"', CAST(to_json(\"key\") AS TEXT),
           CAST(to_json(\"value\") AS TEXT), CAST(to_json(\"scope\") AS TEXT), CAST(scope_id AS TEXT)], ',', 'null') || ']'
    FROM ducklake_metadata WHERE \"key\" NOT IN ('data_path', 'dkc_data_id')";

/// The shape of all tables. Where Postgres keeps it is its own business.
const SHAPE: &str = "SELECT json_array('shape', type, name, tbl_name, sql) FROM sqlite_master";

/// What a snapshot carries of its own content; SHA-256 in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Of the rows it made and ended, and of what travels with it.
    rows: String,
    /// Of what is changed in place, as it was then.
    state: String,
    /// Of the shape of the tables in SQLite; empty in Postgres. Absent in what an older dkc wrote, where `state` is of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shape: Option<String>,
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
    connection: &mut AnyConnection,
    range: (i64, i64),
    info: &CommitInfo,
    seal: &Seal,
) -> Result<String, sqlx::Error> {
    let rows_between = sql(
        connection,
        include_str!("seal.sql"),
        include_str!("seal_postgres.sql"),
    );
    let mut rows: Vec<String> = sqlx::query_scalar(rows_between)
        .bind(range.0)
        .bind(range.1)
        .fetch_all(connection)
        .await?;
    // Even the digest of a state that is long gone is held to what it was.
    let carried = Seal {
        rows: String::new(),
        ..seal.clone()
    };
    rows.push(text_of(&sealed(info, carried))?);
    Ok(digest(rows))
}

fn sealed(info: &CommitInfo, seal: Seal) -> CommitInfo {
    CommitInfo {
        seal: Some(seal),
        ..info.clone()
    }
}

/// What is changed in place, and the shape of the tables, as texts.
struct State {
    state: Vec<String>,
    /// Absent in Postgres.
    shape: Option<Vec<String>>,
}

impl State {
    async fn of(connection: &mut AnyConnection) -> Result<Self, sqlx::Error> {
        let state = sql(connection, SQLITE_STATE, POSTGRES_STATE);
        let state = sqlx::query_scalar(state).fetch_all(&mut *connection).await?;
        let shape = match is_postgres(connection) {
            true => None,
            false => Some(sqlx::query_scalar(SHAPE).fetch_all(connection).await?),
        };
        Ok(Self { state, shape })
    }

    /// A seal of it, without the digest of rows.
    fn seal(self) -> Seal {
        Seal {
            rows: String::new(),
            state: digest(self.state),
            shape: Some(self.shape.map(digest).unwrap_or_default()),
        }
    }

    /// Whether it is as a seal says, as far as can be told here: a catalog may have moved from the other database.
    fn is_as(&self, seal: &Seal) -> bool {
        let is_same = || seal.state == digest(self.state.clone());
        match (&seal.shape, &self.shape) {
            (Some(known), Some(shape)) if !known.is_empty() => *known == digest(shape.clone()) && is_same(),
            (Some(_), _) => is_same(),
            (None, Some(shape)) => seal.state == digest([self.state.as_slice(), shape.as_slice()].concat()),
            (None, None) => true,
        }
    }
}

/// Writes what travels with a snapshot, with the digest of what it and those between it and `previous` made:
/// to be called when all their rows are there, in the same transaction.
pub(super) async fn seal(
    connection: &mut AnyConnection,
    previous: Option<i64>,
    snapshot: i64,
    info: &CommitInfo,
) -> Result<(), sqlx::Error> {
    // What is older than the oldest snapshot counts as its own.
    let range = (previous.unwrap_or(i64::MIN), snapshot);
    let mut seal = State::of(connection).await?.seal();
    seal.rows = digest_of_rows(connection, range, info, &seal).await?;
    sqlx::query("UPDATE ducklake_snapshot_changes SET commit_extra_info = $2 WHERE snapshot_id = $1")
        .bind(snapshot)
        .bind(text_of(&sealed(info, seal))?)
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

/// Compares each snapshot up to one with the digest it carries, oldest first.
pub(super) async fn check(connection: &mut AnyConnection, last: i64) -> Result<Vec<Checked>, sqlx::Error> {
    let newest: i64 = sqlx::query_scalar("SELECT coalesce(max(snapshot_id), 0) FROM ducklake_snapshot")
        .fetch_one(&mut *connection)
        .await?;
    let rows = sqlx::query(
        "SELECT s.snapshot_id, c.author, c.commit_extra_info
         FROM ducklake_snapshot s LEFT JOIN ducklake_snapshot_changes c USING (snapshot_id)
         WHERE s.snapshot_id <= $1 ORDER BY s.snapshot_id",
    )
    .bind(last)
    .fetch_all(&mut *connection)
    .await?;
    let mut checked: Vec<Checked> = Vec::new();
    for row in &rows {
        let id: i64 = row.try_get(0)?;
        let author: Option<String> = row.try_get(1)?;
        let text: Option<String> = row.try_get(2)?;
        let previous = checked.last().map(|last| last.id);
        let info: Option<CommitInfo> = text.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let finding = match info.as_ref().and_then(|info| Some((info, info.seal.as_ref()?))) {
            None if author.as_deref() != Some(AUTHOR) => None,
            None => Some("has lost the digest of its content".to_owned()),
            Some((info, seal)) => {
                let is_newest = id == newest;
                // What is newer than the newest snapshot counts as its own.
                let end = if is_newest { i64::MAX } else { id };
                let range = (previous.unwrap_or(i64::MIN), end);
                let found = digest_of_rows(connection, range, info, seal).await;
                let state = State::of(connection).await;
                match (found, state) {
                    (Err(error), _) | (_, Err(error)) => Some(format!("cannot be read: {error}")),
                    _ if text_of(info).ok() != text => Some("carries more than it was given".to_owned()),
                    (Ok(found), _) if found != seal.rows => {
                        Some("is not as it was committed: its digest differs".to_owned())
                    }
                    (_, Ok(state)) if is_newest && !state.is_as(seal) => Some(
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
    /// [`StoreError`] when the database fails.
    pub async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let failed = self.failed();
        // One transaction: whoever commits meanwhile is not seen.
        let mut tx = self.database.begin_to_read().await?;
        let mut findings: Vec<String> = Vec::new();
        if !self.database.is_postgres() {
            findings = sqlx::query_scalar("PRAGMA integrity_check")
                .fetch_all(&mut *tx)
                .await
                .map_err(&failed)?;
            findings.retain(|line| line != "ok");
        }
        for checked in check(&mut tx, i64::MAX).await.map_err(&failed)? {
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
