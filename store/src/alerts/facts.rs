//! What the history of runs says about how pipelines fare, asked so that it costs little however long the history is.

use super::AlertLog;
use crate::error::StoreError;
use schemas::Instant;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::HashMap;

/// How a pipeline stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The pipeline.
    pub pipeline: String,
    /// When it last ended well.
    pub collected_at: Option<Instant>,
    /// When it last failed.
    pub failed_at: Option<Instant>,
    /// When its newest run began.
    pub tried_at: Option<Instant>,
}

/// The last failure of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The run.
    pub run: String,
    /// Which try it was.
    pub attempt: i64,
    /// Why, with causes. It may quote a source.
    pub error: Option<String>,
    /// Whether another try waits or is at work.
    pub is_retried: bool,
}

/// A run that is at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtWork {
    /// When it began.
    pub started_at: Instant,
    /// Until when its worker is believed to live.
    pub lease_until: Option<Instant>,
}

/// A run that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The pipeline.
    pub pipeline: String,
    /// The run.
    pub run: String,
    /// Since when it could begin.
    pub since: Instant,
}

/// The newest run of a pipeline that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The run.
    pub run: String,
    /// When it began.
    pub started_at: Instant,
    /// When it ended; it is at work if absent.
    pub ended_at: Option<Instant>,
}

impl AlertLog {
    /// How pipelines stand by the runs that began since a moment.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn standings(&self, since: Instant) -> Result<Vec<Standing>, StoreError> {
        let standing = |row: &AnyRow| -> Result<Standing, sqlx::Error> {
            Ok(Standing {
                pipeline: row.try_get("pipeline")?,
                collected_at: row.try_get("collected_at")?,
                failed_at: row.try_get("failed_at")?,
                tried_at: row.try_get("tried_at")?,
            })
        };
        let failed = self.database.failed();
        // Grouped by an expression: by the column alone, SQLite would walk through all runs in its order.
        let rows = sqlx::query(
            "SELECT COALESCE(pipeline, '') AS pipeline,
                    MAX(CASE WHEN state IN ('succeeded', 'partly_succeeded') THEN ended_at END) AS collected_at,
                    MAX(CASE WHEN state = 'failed' THEN COALESCE(ended_at, started_at) END) AS failed_at,
                    MAX(started_at) AS tried_at
             FROM runs WHERE started_at >= $1 AND state NOT IN ('queued', 'skipped')
             GROUP BY COALESCE(pipeline, '')",
        )
        .bind(since)
        .fetch_all(self.database.pool())
        .await
        .map_err(&failed)?;
        rows.iter()
            .map(standing)
            .collect::<Result<_, _>>()
            .map_err(&failed)
    }

    /// The last failure of a pipeline.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn failure(&self, pipeline: &str) -> Result<Option<Failure>, StoreError> {
        let failed = self.database.failed();
        let row = sqlx::query(
            "SELECT run, attempt, error,
                    (SELECT COUNT(*) FROM runs AS r WHERE r.pipeline = f.pipeline AND r.started_at >= f.started_at
                     AND r.state IN ('queued', 'running') AND r.trigger = 'retry') AS retries
             FROM runs AS f WHERE f.pipeline = $1 AND f.state = 'failed'
             ORDER BY f.started_at DESC, f.run DESC LIMIT 1",
        )
        .bind(pipeline)
        .fetch_optional(self.database.pool())
        .await
        .map_err(&failed)?;
        let failure = |row: AnyRow| -> Result<Failure, sqlx::Error> {
            let retries: i64 = row.try_get("retries")?;
            Ok(Failure {
                run: row.try_get("run")?,
                attempt: row.try_get("attempt")?,
                error: row.try_get("error")?,
                is_retried: retries > 0,
            })
        };
        row.map(failure).transpose().map_err(&failed)
    }

    /// The runs that are at work.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn at_work(&self) -> Result<Vec<AtWork>, StoreError> {
        let run = |row: &AnyRow| -> Result<AtWork, sqlx::Error> {
            Ok(AtWork {
                started_at: row.try_get("started_at")?,
                lease_until: row.try_get("lease_until")?,
            })
        };
        let failed = self.database.failed();
        let rows = sqlx::query("SELECT started_at, lease_until FROM runs WHERE state = 'running'")
            .fetch_all(self.database.pool())
            .await
            .map_err(&failed)?;
        rows.iter().map(run).collect::<Result<_, _>>().map_err(&failed)
    }

    /// The run that waits longest of those that could have begun before a moment: none of its pipeline is at work.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn waiting(&self, before: Instant) -> Result<Option<Waiting>, StoreError> {
        let failed = self.database.failed();
        let row = sqlx::query(
            "SELECT q.pipeline, q.run, q.started_at FROM runs AS q
             WHERE q.state = 'queued' AND q.started_at <= $1
               AND NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.pipeline = q.pipeline AND r.state = 'running')
             ORDER BY q.started_at, q.run LIMIT 1",
        )
        .bind(before)
        .fetch_optional(self.database.pool())
        .await
        .map_err(&failed)?;
        let waiting = |row: AnyRow| -> Result<Waiting, sqlx::Error> {
            Ok(Waiting {
                pipeline: row.try_get("pipeline")?,
                run: row.try_get("run")?,
                since: row.try_get("started_at")?,
            })
        };
        row.map(waiting).transpose().map_err(&failed)
    }

    /// Bytes that a pipeline stored in runs that began since a moment.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn stored_since(&self, pipeline: &str, since: Instant) -> Result<i64, StoreError> {
        sqlx::query_scalar(
            "SELECT CAST(COALESCE(SUM(bytes_stored), 0) AS BIGINT) FROM runs
             WHERE pipeline = $1 AND started_at >= $2",
        )
        .bind(pipeline)
        .bind(since)
        .fetch_one(self.database.pool())
        .await
        .map_err(self.database.failed())
    }

    /// The newest run of a pipeline that has begun.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn newest(&self, pipeline: &str) -> Result<Option<Newest>, StoreError> {
        let failed = self.database.failed();
        let row = sqlx::query(
            "SELECT run, started_at, ended_at FROM runs
             WHERE pipeline = $1 AND state NOT IN ('queued', 'skipped') ORDER BY started_at DESC, run DESC LIMIT 1",
        )
        .bind(pipeline)
        .fetch_optional(self.database.pool())
        .await
        .map_err(&failed)?;
        let newest = |row: AnyRow| -> Result<Newest, sqlx::Error> {
            Ok(Newest {
                run: row.try_get("run")?,
                started_at: row.try_get("started_at")?,
                ended_at: row.try_get("ended_at")?,
            })
        };
        row.map(newest).transpose().map_err(&failed)
    }

    /// Since when it is watched whether pipelines collect, of each of which it is.
    pub(super) async fn watched(&self) -> Result<HashMap<String, Instant>, StoreError> {
        let failed = self.database.failed();
        let rows = sqlx::query("SELECT pipeline, since FROM alerts_watched")
            .fetch_all(self.database.pool())
            .await
            .map_err(&failed)?;
        let pair = |row: &AnyRow| -> Result<(String, Instant), sqlx::Error> {
            Ok((row.try_get("pipeline")?, row.try_get("since")?))
        };
        let known = rows.iter().map(pair).collect::<Result<_, _>>();
        known.map_err(&failed)
    }

    /// Since when it is watched whether each of these pipelines collects: at first, since now.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn watched_since(
        &self,
        pipelines: &[&str],
        now: Instant,
    ) -> Result<HashMap<String, Instant>, StoreError> {
        let failed = self.database.failed();
        let mut since = self.watched().await?;
        let new: Vec<&str> = pipelines
            .iter()
            .copied()
            .filter(|pipeline| !since.contains_key(*pipeline))
            .collect();
        if new.is_empty() {
            return Ok(since);
        }
        let mut transaction = self.database.begin_alone().await?;
        for pipeline in new {
            sqlx::query(
                "INSERT INTO alerts_watched (pipeline, since) VALUES ($1, $2) ON CONFLICT (pipeline) DO NOTHING",
            )
            .bind(pipeline)
            .bind(now)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
            since.insert(pipeline.to_owned(), now);
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(since)
    }
}
