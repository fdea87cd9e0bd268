//! The queue: which run is next, who works on it, how it ended. The other half of the table `runs`; and the table
//! `schedules`.
//!
//! - In: requests for runs; what workers say of theirs. Out: runs to work on, each for one worker.
//! - A run is one attempt and goes one way: queued, at work, over. Another attempt is another run, and is queued in the
//!   transaction that ends the one before.
//! - A commit of the queue outlives a killed process. A power cut may undo some of it: in Postgres less than a second, in
//!   SQLite all since its log was last synced, which may be long ago. Both stay whole, and of the lake nothing is undone:
//!   what a schedule had decided then is decided again, and a run whose end was undone is made again, which stores
//!   nothing twice. What a person asked for or cancelled must be asked again. Waiting for the disk at each step of each
//!   run would buy little.
//! - Times are those of the machine. Workers on several machines agree about them to within a lease, which NTP sees to.
//! - Not here: when a pipeline is due, working on a run (`pipelines`), the history for readers (`runs`).

mod ask;
mod claim;
mod end;
mod enqueue;
mod schedules;
#[cfg(test)]
mod tests;

pub use ask::Asked;
pub use claim::Begun;
pub use end::Cancelled;
pub use schedules::Decided;

use crate::database::{Database, Durability, Part, Place};
use crate::error::StoreError;
use crate::runs::{columns, run_of};
use crate::watch::Watch;
use schemas::datasets::runs::{Run, Trigger};
use schemas::{Instant, RunId, SourceName};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// No run is put off for longer. One that seems to be, and by far, was queued before the clock went back.
const LONGEST_WAIT: Duration = Duration::from_secs(7 * 86_400);

/// No lease is longer. One that seems to be is from before the clock went back.
const LONGEST_LEASE: Duration = Duration::from_secs(3_600);

/// So many runs are looked for at once to be forgotten.
const LOOKED_AT: usize = 5_000;

/// So many are forgotten in one transaction: others wait meanwhile.
const FORGOTTEN: usize = 200;

/// The queue of a place.
#[derive(Debug, Clone)]
pub struct Queue {
    database: Database,
    /// Whose turn it is to write. SQLite lets one write at a time, and who waits for it looks again ever more seldom;
    /// in Postgres who waits for another transaction keeps a connection. Within a process waiting for a turn costs
    /// nothing: four workers make four times as many runs.
    turn: Arc<Mutex<()>>,
}

/// A run that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The run: a new one, whose `started_at` says when it may begin at the earliest. It waits a week at most.
    pub run: Run,
    /// Of those that may begin, higher ones do first.
    pub priority: i64,
    /// Whom it asks: runs of one host share a limit.
    pub host: Option<String>,
    /// What is asked for again under the same name is queued once, for as long as the run is remembered.
    pub once: Option<String>,
}

/// A run that a worker works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The run.
    pub run: Run,
    /// As it was asked for.
    pub priority: i64,
    /// As it was asked for.
    pub host: Option<String>,
}

impl Claimed {
    /// The next attempt of it, which may begin at that moment.
    pub fn retry(&self, begin: Instant, reason: impl Into<String>) -> Request {
        let mut run = Run::new(self.run.pipeline.clone(), Trigger::Retry, now());
        run.started_at = begin;
        run.reason = Some(reason.into());
        run.due_at = self.run.due_at;
        run.attempt = self.run.attempt.saturating_add(1);
        run.retry_of = Some(self.run.run.clone());
        Request {
            run,
            priority: self.priority,
            host: self.host.clone(),
            once: None,
        }
    }
}

impl Queue {
    /// Opens the queue of a place; what is missing is made.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn open(place: impl Into<Place>) -> Result<Self, StoreError> {
        let database = Database::open_with(&place.into(), Part::State, Durability::Process).await?;
        Ok(Self {
            database,
            turn: Arc::default(),
        })
    }

    /// A transaction that is alone, here and elsewhere, and the turn for it.
    async fn alone(&self) -> Result<(MutexGuard<'_, ()>, Transaction<'static, Any>), StoreError> {
        let turn = self.turn.lock().await;
        let transaction = self.database.begin_alone().await?;
        Ok((turn, transaction))
    }

    /// The turn to write what concerns one run alone; in Postgres nobody need wait for that.
    async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.database.is_postgres() {
            true => None,
            false => Some(self.turn.lock().await),
        }
    }

    /// When the next run that waits may begin, if its pipeline has none at work; a moment that is past means now.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn next_due(&self) -> Result<Option<Instant>, StoreError> {
        let due: Option<Instant> = sqlx::query_scalar(
            "SELECT started_at FROM runs
             WHERE state = 'queued' AND pipeline NOT IN (SELECT pipeline FROM runs WHERE state = 'running')
             ORDER BY started_at LIMIT 1",
        )
        .fetch_optional(self.database.pool())
        .await
        .map_err(self.database.failed())?;
        let now = now();
        Ok(due.map(|due| if due > beyond(now) { now } else { due }))
    }

    /// The runs of a pipeline that wait or are at work, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn active(&self, pipeline: &SourceName) -> Result<Vec<Run>, StoreError> {
        let failed = self.database.failed();
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM runs WHERE pipeline = $1 AND state IN ('queued', 'running') ORDER BY started_at, run"
        ))
        .bind(pipeline.as_str())
        .fetch_all(self.database.pool())
        .await
        .map_err(&failed)?;
        rows.iter().map(run_of).collect::<Result<_, _>>().map_err(&failed)
    }

    /// How many runs there are of each pipeline in each state, by their names.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn counts(&self) -> Result<HashMap<(String, String), u64>, StoreError> {
        let counted: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT pipeline, state, COUNT(*) FROM runs GROUP BY pipeline, state")
                .fetch_all(self.database.pool())
                .await
                .map_err(self.database.failed())?;
        Ok(counted
            .into_iter()
            .map(|(pipeline, state, count)| ((pipeline, state), count.max(0) as u64))
            .collect())
    }

    /// Forgets runs that ended before a moment, with what they said, but for the newest so many of each pipeline.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses; some may be forgotten then.
    pub async fn forget(&self, before: Instant, keep_each: u32) -> Result<u64, StoreError> {
        let failed = self.database.failed();
        let mut forgotten = 0;
        loop {
            // Nothing becomes of what is over: it may be looked for while others write.
            let over: Vec<String> = sqlx::query_scalar(
                "SELECT run FROM (
                     SELECT run, state, ended_at,
                            ROW_NUMBER() OVER (PARTITION BY pipeline ORDER BY started_at DESC, run DESC) AS place
                     FROM runs
                 ) AS placed
                 WHERE ended_at < $1 AND place > $2 AND state NOT IN ('queued', 'running') LIMIT $3",
            )
            .bind(before)
            .bind(i64::from(keep_each))
            .bind(LOOKED_AT as i64)
            .fetch_all(self.database.pool())
            .await
            .map_err(&failed)?;
            for some in over.chunks(FORGOTTEN) {
                let (_turn, mut transaction) = self.alone().await?;
                for run in some {
                    for sql in [
                        "DELETE FROM run_log WHERE run = $1",
                        "DELETE FROM runs WHERE run = $1",
                    ] {
                        sqlx::query(sql)
                            .bind(run.as_str())
                            .execute(&mut *transaction)
                            .await
                            .map_err(&failed)?;
                    }
                }
                transaction.commit().await.map_err(&failed)?;
                forgotten += some.len() as u64;
            }
            if over.len() < LOOKED_AT {
                return Ok(forgotten);
            }
        }
    }

    /// Watches the queue, and all else that is in its database.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn watch(&self) -> Result<Watch, StoreError> {
        self.database.watch().await
    }

    /// Ends all use of the database.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

fn now() -> Instant {
    jiff::Timestamp::now().as_microsecond()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A run that may begin later than this was queued before the clock went back, and need not wait.
fn beyond(now: Instant) -> Instant {
    now.saturating_add(2 * micros(LONGEST_WAIT))
}

/// The id and what the queue alone knows of a run, from a row that has its columns and `priority, host`.
fn claimed_of(row: &AnyRow) -> Result<Claimed, sqlx::Error> {
    Ok(Claimed {
        run: run_of(row)?,
        priority: row.try_get("priority")?,
        host: row.try_get("host")?,
    })
}

/// The id of a row.
fn id_of(row: &AnyRow) -> Result<RunId, sqlx::Error> {
    row.try_get("run").map(RunId)
}
