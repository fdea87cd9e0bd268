//! The history of runs: one small table of the state database.

use crate::error::StoreError;
use crate::lake::catalog::{open_sqlite, open_sqlite_to_read};
use arrow_array::RecordBatch;
use schemas::datasets::runs::{Counts, DATASET, Run, RunState};
use schemas::{Cursor, Rows, RunId, SourceName, Value};
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use std::path::{Path, PathBuf};

/// The table `runs`.
#[derive(Debug, Clone)]
pub struct Runs {
    pool: SqlitePool,
    path: PathBuf,
}

impl Runs {
    /// Opens the state database at `path`, making it if it is new.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite refuses.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let pool = open_sqlite(path).await?;
        sqlx::raw_sql(include_str!("../migrations/0001_state.sql"))
            .execute(&pool)
            .await
            .map_err(StoreError::database(path))?;
        Ok(Self {
            pool,
            path: path.to_owned(),
        })
    }

    /// Opens one that is there, with no way to write to it.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite refuses.
    pub async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            pool: open_sqlite_to_read(path).await?,
            path: path.to_owned(),
        })
    }

    /// Writes a run, new or changed.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite refuses.
    pub async fn record(&self, run: &Run) -> Result<(), StoreError> {
        let counts = run.counts;
        sqlx::query("INSERT OR REPLACE INTO runs VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)")
            .bind(&run.run.0)
            .bind(run.pipeline.as_str())
            .bind(run.state.as_str())
            .bind(run.started_at)
            .bind(run.ended_at)
            .bind(counts.items_seen as i64)
            .bind(counts.items_stored as i64)
            .bind(counts.items_unchanged as i64)
            .bind(counts.items_rejected as i64)
            .bind(counts.items_vanished as i64)
            .bind(counts.bytes_stored as i64)
            .bind(counts.snapshots as i64)
            .bind(text_of(&run.cursor_before))
            .bind(text_of(&run.cursor_after))
            .bind(&run.error)
            .execute(&self.pool)
            .await
            .map_err(StoreError::database(&self.path))?;
        Ok(())
    }

    /// Marks runs that a crash left `running` as failed. The caller holds the writer's lock, so none is.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite refuses.
    pub async fn close_orphans(&self) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "UPDATE runs SET state = 'failed', error = 'ended without a word: killed, or the machine stopped'
             WHERE state = 'running'",
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database(&self.path))?;
        Ok(done.rows_affected())
    }

    /// The newest runs, newest first, of one pipeline or of all.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite refuses.
    pub async fn newest(&self, pipeline: Option<&SourceName>, limit: u32) -> Result<Vec<Run>, StoreError> {
        let failed = StoreError::database(&self.path);
        let rows = sqlx::query(
            "SELECT * FROM runs WHERE $1 IS NULL OR pipeline = $1 ORDER BY started_at DESC, run DESC LIMIT $2",
        )
        .bind(pipeline.map(SourceName::as_str))
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .map_err(&failed)?;
        rows.iter().map(run_of).collect::<Result<_, _>>().map_err(&failed)
    }

    /// The run of that id.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite refuses.
    pub async fn get(&self, run: &str) -> Result<Option<Run>, StoreError> {
        let failed = StoreError::database(&self.path);
        let row = sqlx::query("SELECT * FROM runs WHERE run = $1")
            .bind(run)
            .fetch_optional(&self.pool)
            .await
            .map_err(&failed)?;
        row.as_ref().map(run_of).transpose().map_err(&failed)
    }

    /// All runs as rows of the dataset, for SQL.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite refuses.
    pub async fn as_batch(&self) -> Result<RecordBatch, StoreError> {
        let mut rows = Rows::of_relational(&DATASET);
        for run in self.newest(None, u32::MAX).await? {
            let (before, after) = (text_of(&run.cursor_before), text_of(&run.cursor_after));
            let values = [
                Value::Text(&run.run.0),
                Value::Text(run.pipeline.as_str()),
                Value::Text(run.state.as_str()),
                Value::Instant(run.started_at),
                Value::instant(run.ended_at),
                Value::Int(run.counts.items_seen as i64),
                Value::Int(run.counts.items_stored as i64),
                Value::Int(run.counts.items_unchanged as i64),
                Value::Int(run.counts.items_rejected as i64),
                Value::Int(run.counts.items_vanished as i64),
                Value::Int(run.counts.bytes_stored as i64),
                Value::Int(run.counts.snapshots as i64),
                Value::text(before.as_deref()),
                Value::text(after.as_deref()),
                Value::text(run.error.as_deref()),
            ];
            rows.push_values(&run.run.0, &values)
                .map_err(|misfit| StoreError::Unfit {
                    reason: misfit.to_string(),
                })?;
        }
        Ok(rows.finish()?)
    }

    /// What is wrong with the database's file or its content; empty when nothing. SQLite keeps no checksum of what
    /// a row says, so only what cannot be read is found there.
    pub async fn integrity(&self) -> Vec<String> {
        let checked = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_all(&self.pool)
            .await;
        let mut findings: Vec<String> = checked.unwrap_or_else(|error| vec![error.to_string()]);
        findings.retain(|line| line != "ok");
        if findings.is_empty()
            && let Err(error) = self.newest(None, u32::MAX).await
        {
            findings.push(std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string));
        }
        for finding in &mut findings {
            finding.push_str(
                "; restore it from a backup, or move it away: it holds the history of runs and the tokens, no mail",
            );
        }
        findings
    }

    /// The connection pool.
    pub(crate) fn pool(&self) -> SqlitePool {
        self.pool.clone()
    }

    /// Ends all use of the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn text_of(cursor: &Option<Cursor>) -> Option<String> {
    cursor.as_ref().map(|cursor| cursor.0.to_string())
}

fn run_of(row: &SqliteRow) -> Result<Run, sqlx::Error> {
    let decode = |text: String, what: &str| sqlx::Error::Decode(format!("`{text}` is not a {what}").into());
    let count = |name: &str| row.try_get::<i64, _>(name).map(|count| count as u64);
    let cursor = |name: &str| -> Result<Option<Cursor>, sqlx::Error> {
        let text: Option<String> = row.try_get(name)?;
        text.map(|text| {
            serde_json::from_str(&text)
                .map(Cursor)
                .map_err(|_| decode(text, "cursor"))
        })
        .transpose()
    };
    let (pipeline, state): (String, String) = (row.try_get("pipeline")?, row.try_get("state")?);
    Ok(Run {
        run: RunId(row.try_get("run")?),
        pipeline: SourceName::new(pipeline.clone()).map_err(|_| decode(pipeline, "pipeline name"))?,
        state: serde_json::from_value::<RunState>(state.clone().into())
            .map_err(|_| decode(state, "state"))?,
        started_at: row.try_get("started_at")?,
        ended_at: row.try_get("ended_at")?,
        counts: Counts {
            items_seen: count("items_seen")?,
            items_stored: count("items_stored")?,
            items_unchanged: count("items_unchanged")?,
            items_rejected: count("items_rejected")?,
            items_vanished: count("items_vanished")?,
            bytes_stored: count("bytes_stored")?,
            snapshots: count("snapshots")?,
        },
        cursor_before: cursor("cursor_before")?,
        cursor_after: cursor("cursor_after")?,
        error: row.try_get("error")?,
    })
}
