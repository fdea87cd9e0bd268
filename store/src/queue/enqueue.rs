//! How runs come into the queue, and what is told of those that never do.

use super::{LONGEST_WAIT, Queue, Request, claimed_of, micros, now};
use crate::error::StoreError;
use crate::runs::{columns, insert_whole, text, whole};
use schemas::datasets::runs::{Run, RunState, Trigger};
use schemas::{Instant, RunId, SourceName};
use sqlx::AnyConnection;

/// What is known already, by its id, its name or the run it tries again, is not put there again.
const PUT: &str =
    "INSERT INTO runs (run, pipeline, state, trigger, reason, due_at, attempt, retry_of, started_at,
        priority, host, once, items_seen, items_stored, items_unchanged, items_rejected, items_vanished,
        bytes_stored, snapshots)
    VALUES ($1, $2, 'queued', $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0, 0, 0, 0, 0, 0)
    ON CONFLICT DO NOTHING";

const KNOWN: &str = "SELECT run FROM runs WHERE once = $1
    UNION ALL SELECT run FROM runs WHERE retry_of = $2 AND trigger = 'retry'
    UNION ALL SELECT run FROM runs WHERE run = $3";

/// So many at once are most of those that wait.
const MANY: usize = 1_000;

/// A person may have said how urgent it is.
const CONFIGURE: &str =
    "UPDATE runs SET host = $2, priority = CASE WHEN trigger = 'person' THEN priority ELSE $3 END
    WHERE pipeline = $1 AND state = 'queued'";

const SKIP: &str = concat!(insert_whole!("", ""), " ON CONFLICT (run) DO NOTHING");

impl Queue {
    /// Queues runs, all or none. What is known already by its name of [`Request::once`], and another try of what is
    /// tried again already, is not queued again: the id is that of the run that is known.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses; nothing is queued then.
    pub async fn enqueue(&self, requests: &[Request]) -> Result<Vec<RunId>, StoreError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let failed = self.database.failed();
        // Two that queue the same names at once, in another order, would wait for each other.
        let (_turn, mut transaction) = self.alone().await?;
        let now = now();
        let mut ids = Vec::with_capacity(requests.len());
        for request in requests {
            ids.push(put(&mut transaction, request, now).await.map_err(&failed)?);
        }
        if requests.len() >= MANY && self.database.is_postgres() {
            // Its planner believes that few wait until it is told, and then sorts all of them for each that is taken.
            sqlx::query("ANALYZE runs")
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(ids)
    }

    /// Keeps runs that are not to begin, by the policy of their schedule, and why: their state is skipped.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses; none is kept then.
    pub async fn record_skipped(&self, runs: &[Run]) -> Result<(), StoreError> {
        let failed = self.database.failed();
        let (_turn, mut transaction) = self.alone().await?;
        let now = now();
        for run in runs {
            skip(&mut transaction, run, now).await.map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    /// Lets runs that wait have the priority and the host of their pipelines as they are now; what a person asked for
    /// keeps the priority that it was asked for with.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses; nothing is changed then.
    pub async fn configure(&self, pipelines: &[(SourceName, i64, Option<String>)]) -> Result<(), StoreError> {
        if pipelines.is_empty() {
            return Ok(());
        }
        let failed = self.database.failed();
        let (_turn, mut transaction) = self.alone().await?;
        for (pipeline, priority, host) in pipelines {
            sqlx::query(CONFIGURE)
                .bind(pipeline.as_str())
                .bind(host.as_deref())
                .bind(*priority)
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    /// Queues a run that failed, was cancelled or was skipped once more, as a new run that begins counting anew. Asked
    /// for again while that one waits or is at work, it is that one; nothing where the run is in another state.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn requeue(&self, run: &RunId, trigger: Trigger) -> Result<Option<RunId>, StoreError> {
        let failed = self.database.failed();
        let (_turn, mut transaction) = self.alone().await?;
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            ", priority, host FROM runs WHERE run = $1"
        ))
        .bind(run.0.as_str())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(&failed)?;
        let Some(row) = row else { return Ok(None) };
        let before = claimed_of(&row).map_err(&failed)?;
        let after = match before.run.state {
            RunState::Failed => "it failed",
            RunState::Cancelled => "it was cancelled",
            RunState::Skipped => "it was skipped",
            _ => return Ok(None),
        };
        let active: Option<String> = sqlx::query_scalar(
            "SELECT run FROM runs WHERE pipeline = $1 AND state IN ('queued', 'running') AND retry_of = $2 LIMIT 1",
        )
        .bind(before.run.pipeline.as_str())
        .bind(run.0.as_str())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(&failed)?;
        if let Some(active) = active {
            return Ok(Some(RunId(active)));
        }
        let now = now();
        let mut request = before.retry(now, format!("asked for once more after {after}"));
        request.run.trigger = trigger;
        request.run.attempt = 1;
        let id = put(&mut transaction, &request, now).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(Some(id))
    }
}

/// Queues one run, unless it is known; the id under which it is.
pub(super) async fn put(
    connection: &mut AnyConnection,
    request: &Request,
    now: Instant,
) -> Result<RunId, sqlx::Error> {
    let run = &request.run;
    let latest = now.saturating_add(micros(LONGEST_WAIT));
    let put = sqlx::query(PUT)
        .bind(run.run.0.as_str())
        .bind(run.pipeline.as_str())
        .bind(run.trigger.as_str())
        .bind(text(run.reason.as_deref()))
        .bind(run.due_at)
        .bind(i64::from(run.attempt))
        .bind(run.retry_of.as_ref().map(|run| run.0.as_str()))
        .bind(run.started_at.min(latest))
        .bind(request.priority)
        .bind(request.host.as_deref())
        .bind(request.once.as_deref())
        .execute(&mut *connection)
        .await?;
    if put.rows_affected() > 0 {
        return Ok(run.run.clone());
    }
    // What a person asks for is never the try that comes by itself.
    let tried = match run.trigger {
        Trigger::Retry => run.retry_of.as_ref().map(|run| run.0.as_str()),
        _ => None,
    };
    let known: Option<String> = sqlx::query_scalar(KNOWN)
        .bind(request.once.as_deref())
        .bind(tried)
        .bind(run.run.0.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    known.map(RunId).ok_or(sqlx::Error::RowNotFound)
}

/// Keeps one run that is not to begin.
pub(super) async fn skip(connection: &mut AnyConnection, run: &Run, now: Instant) -> Result<(), sqlx::Error> {
    let mut skipped = run.clone();
    skipped.state = RunState::Skipped;
    skipped.ended_at.get_or_insert(now);
    whole(SKIP, &skipped).execute(connection).await?;
    Ok(())
}
