//! How runs end: by their worker, by somebody who cancels them, or because their worker ended without a word.

use super::enqueue::put;
use super::{Claimed, LONGEST_LEASE, Queue, Request, claimed_of, micros, now};
use crate::error::StoreError;
use crate::runs::{columns, measured, text, word};
use schemas::datasets::runs::{Run, RunState};
use schemas::{Instant, RunId};
use sqlx::{AnyConnection, Row};

/// Who cancelled it said why. What failed after that ended as it was asked to, however it came about: else it would be
/// told as a failure, and tried again.
const FINISH: &str = "UPDATE runs SET state = CASE WHEN cancel = 1 AND $2 = 'failed' THEN 'cancelled' ELSE $2 END,
        reason = $3, ended_at = $4, items_seen = $5, items_stored = $6,
        items_unchanged = $7, items_rejected = $8, items_vanished = $9, bytes_stored = $10, snapshots = $11,
        fetch_ms = $12, convert_ms = $13, commit_ms = $14, index_ms = $15, cursor_before = $16, cursor_after = $17,
        error = CASE WHEN cancel = 1 AND $2 = 'cancelled' THEN COALESCE(error, $18)
                     WHEN cancel = 1 AND $2 = 'failed' THEN COALESCE(error || '; it failed: ' || $18, $18, error)
                     ELSE $18 END,
        worker = NULL, lease_until = NULL
    WHERE run = $1 AND state = 'running' RETURNING state, error, cancel";

const TRIES: &str =
    "SELECT run FROM runs WHERE pipeline = $1 AND state = 'queued' AND trigger = 'retry' LIMIT 1";

/// What takes their place is the newer run, so none of them begins after it.
const SKIP_TRIES: &str = "UPDATE runs SET state = 'skipped', reason = $2, ended_at = $3,
        started_at = CASE WHEN started_at > $4 THEN $4 ELSE started_at END
    WHERE pipeline = $1 AND state = 'queued' AND trigger = 'retry'";

/// One that never began has no other beginning than its end.
const CANCEL_WAITING: &str = "UPDATE runs SET state = 'cancelled', ended_at = $2, error = $3, cancel = 1,
        started_at = CASE WHEN started_at > $2 THEN $2 ELSE started_at END
    WHERE run = $1 AND state = 'queued'";

const CANCEL_AT_WORK: &str = "UPDATE runs SET cancel = 1, error = COALESCE(error, $2)
    WHERE run = $1 AND state = 'running'";

/// No chain of tries is as long as this, unless somebody wrote into the database.
const MOST_TRIES: usize = 1_000;

const TRY_OF: &str = "SELECT run FROM runs WHERE retry_of = $1 AND trigger = 'retry'";

const LEFT_ALONE: &str = concat!(
    "SELECT ",
    columns!(),
    ", priority, host, cancel FROM runs
     WHERE state = 'running'
       AND ($1 = 1 OR lease_until IS NULL OR lease_until <= $2 OR lease_until > $3)"
);

/// Its worker stays, and is told to end it if it is there after all: see [`Queue::renew`].
const TAKE_OVER: &str =
    "UPDATE runs SET state = $2, ended_at = $3, error = $4, lease_until = NULL, cancel = 1
    WHERE run = $1 AND state = 'running'";

/// What became of a run that somebody cancelled. Where it is over and is tried again, the try is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// It, or the try, waited, and is over now.
    Queued(RunId),
    /// It, or the try, is at work; the worker is asked to end it.
    Asked(RunId),
    /// It was over already, and no try of it waits or is at work.
    Over {
        /// How it ended.
        state: RunState,
        /// Its last try: itself, if it was not tried again.
        last: RunId,
    },
    /// There is none of that id.
    Unknown,
}

impl Queue {
    /// Ends a run as its worker says it ended, and queues its next attempt if there is to be one: both or nothing. It
    /// comes back as it is kept; nothing comes back when somebody took it over meanwhile: then nothing is written, and it
    /// is not the worker's any more. One that was cancelled is not tried again, however it ended; if it failed, it is
    /// cancelled. One that ended well takes the place of other tries of its pipeline that wait: they are skipped.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn finish(&self, run: &Run, retry: Option<&Request>) -> Result<Option<Run>, StoreError> {
        let failed = self.database.failed();
        if is_good(run.state) && self.has_tries(run).await? {
            return self.finish_for_tries(run).await;
        }
        let _turn = self.turn().await;
        let Some(retry) = retry else {
            let mut connection = self.database.pool().acquire().await.map_err(&failed)?;
            let ended = end(&mut connection, run).await.map_err(&failed)?;
            return Ok(ended.map(|(run, _)| run));
        };
        let mut transaction = self.database.begin().await?;
        let Some((run, was_cancelled)) = end(&mut transaction, run).await.map_err(&failed)? else {
            return Ok(None);
        };
        if !was_cancelled {
            put(&mut transaction, retry, now()).await.map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(Some(run))
    }

    /// Whether another try of the pipeline of a run waits. While the run is at work none is added: who ends another run
    /// of it adds them, and there is no other.
    async fn has_tries(&self, run: &Run) -> Result<bool, StoreError> {
        let one = sqlx::query(TRIES)
            .bind(run.pipeline.as_str())
            .fetch_optional(self.database.pool())
            .await
            .map_err(self.database.failed())?;
        Ok(one.is_some())
    }

    /// Ends a run that went well, and with it the tries that wait.
    async fn finish_for_tries(&self, run: &Run) -> Result<Option<Run>, StoreError> {
        let failed = self.database.failed();
        // Whoever decides a schedule may cancel the same runs, in another order.
        let (_turn, mut transaction) = self.alone().await?;
        let Some((run, _)) = end(&mut transaction, run).await.map_err(&failed)? else {
            return Ok(None);
        };
        sqlx::query(SKIP_TRIES)
            .bind(run.pipeline.as_str())
            .bind(format!("a later run succeeded: {}", run.run))
            .bind(now())
            .bind(run.started_at)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(Some(run))
    }

    /// Cancels a run: one that waits is over, one at work is asked to end. If it failed meanwhile and is to be tried again,
    /// that holds for the try.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn cancel(&self, run: &RunId, why: &str) -> Result<Cancelled, StoreError> {
        let failed = self.database.failed();
        let _turn = self.turn().await;
        let mut connection = self.database.pool().acquire().await.map_err(&failed)?;
        cancel(&mut connection, run, why, now()).await.map_err(&failed)
    }

    /// Ends runs whose worker ended without a word: its lease ran out, or whoever asks knows that none is at work. What
    /// had fewer attempts than the most is queued once more in the same transaction; what has had them is given up, for
    /// it may be what ends its workers. They come back as they are now.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn take_over(&self, most_attempts: u32, all: bool) -> Result<Vec<Run>, StoreError> {
        let failed = self.database.failed();
        let (_turn, mut transaction) = self.alone().await?;
        let now = now();
        let rows = sqlx::query(LEFT_ALONE)
            .bind(i64::from(all))
            .bind(now)
            .bind(now.saturating_add(micros(LONGEST_LEASE)))
            .fetch_all(&mut *transaction)
            .await
            .map_err(&failed)?;
        let mut taken = Vec::new();
        for row in &rows {
            let mut left = claimed_of(row).map_err(&failed)?;
            let was_cancelled = row.try_get::<i64, _>("cancel").map_err(&failed)? != 0;
            leave(&mut left, was_cancelled, most_attempts, now);
            let run = &left.run;
            let done = sqlx::query(TAKE_OVER)
                .bind(run.run.0.as_str())
                .bind(run.state.as_str())
                .bind(run.ended_at)
                .bind(run.error.as_deref())
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
            // In Postgres its worker may have ended it meanwhile.
            if done.rows_affected() == 0 {
                continue;
            }
            if run.state == RunState::Failed && run.attempt < most_attempts {
                let retry = left.retry(now, "the worker of the attempt before ended without a word");
                put(&mut transaction, &retry, now).await.map_err(&failed)?;
            }
            taken.push(left.run);
        }
        transaction.commit().await.map_err(&failed)?;
        taken.sort_by_key(|run| run.started_at);
        Ok(taken)
    }
}

/// Whether what a run was for is done. Where it went well in part it is, too: its source was read to the end, and what was
/// rejected is no reason for another try; an earlier run that could not read it would reject the same.
fn is_good(state: RunState) -> bool {
    matches!(state, RunState::Succeeded | RunState::PartlySucceeded)
}

/// Ends one run: as it is kept, and whether it was cancelled; nothing if it was not at work.
async fn end(connection: &mut AnyConnection, run: &Run) -> Result<Option<(Run, bool)>, sqlx::Error> {
    let ended_at = run.ended_at.unwrap_or_else(now);
    let query = sqlx::query(FINISH)
        .bind(run.run.0.as_str())
        .bind(run.state.as_str())
        .bind(text(run.reason.as_deref()))
        .bind(ended_at);
    let rows = measured(query, run)
        .bind(text(run.error.as_deref()))
        .fetch_all(connection)
        .await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let mut kept = run.clone();
    kept.state = word(row, "state")?;
    kept.ended_at = Some(ended_at);
    kept.error = row.try_get("error")?;
    let was_cancelled = row.try_get::<i64, _>("cancel")? != 0;
    Ok(Some((kept, was_cancelled)))
}

/// Cancels one run, or the try of it. Each step is one statement, a run goes one way only, and the try is there once the run
/// has failed: whatever else happens between them, one of them meets it.
pub(super) async fn cancel(
    connection: &mut AnyConnection,
    run: &RunId,
    why: &str,
    now: Instant,
) -> Result<Cancelled, sqlx::Error> {
    let why = text(Some(why));
    let mut last = run.clone();
    for _ in 0..MOST_TRIES {
        let waited = sqlx::query(CANCEL_WAITING)
            .bind(last.0.as_str())
            .bind(now)
            .bind(why.as_deref())
            .execute(&mut *connection)
            .await?;
        if waited.rows_affected() > 0 {
            return Ok(Cancelled::Queued(last));
        }
        let worked = sqlx::query(CANCEL_AT_WORK)
            .bind(last.0.as_str())
            .bind(why.as_deref())
            .execute(&mut *connection)
            .await?;
        if worked.rows_affected() > 0 {
            return Ok(Cancelled::Asked(last));
        }
        let next: Option<String> = sqlx::query_scalar(TRY_OF)
            .bind(last.0.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        let Some(next) = next else { break };
        last = RunId(next);
    }
    let state = sqlx::query("SELECT state FROM runs WHERE run = $1")
        .bind(run.0.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    Ok(match state {
        Some(row) => Cancelled::Over {
            state: word(&row, "state")?,
            last,
        },
        None => Cancelled::Unknown,
    })
}

/// How a run ended whose worker did not say it.
fn leave(left: &mut Claimed, was_cancelled: bool, most_attempts: u32, now: Instant) {
    let run = &mut left.run;
    // The clock may have gone back.
    run.ended_at = Some(now.max(run.started_at));
    if was_cancelled {
        run.state = RunState::Cancelled;
        run.error.get_or_insert_with(|| "cancelled".to_owned());
        return;
    }
    run.state = RunState::Failed;
    let ended = "its worker ended without a word: killed, or its machine stopped";
    run.error = Some(match run.attempt {
        attempt if attempt > 1 && attempt >= most_attempts => {
            format!("given up after {attempt} attempts: {ended}")
        }
        _ => ended.to_owned(),
    });
}
