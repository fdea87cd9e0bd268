//! How runs come to their workers, and what those say while they are at work.

use super::{Claimed, LONGEST_LEASE, Queue, beyond, claimed_of, id_of, micros, now};
use crate::error::StoreError;
use crate::runs::{columns, insert_whole, measured, run_of, whole};
use schemas::datasets::runs::{Run, RunState};
use schemas::{Instant, RunId};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Runs whose time has come, of pipelines and hosts that have room, in their order.
///
/// That its time has come is said the other way round: else the index of times would be taken, and all that wait sorted.
const WAITING: &str = concat!(
    "SELECT ",
    columns!(),
    ", priority, host,
        (SELECT COUNT(*) FROM runs AS busy WHERE busy.state = 'running' AND busy.host = runs.host) AS host_at_work
     FROM runs
     WHERE state = 'queued' AND NOT (started_at > $1 AND started_at <= $2)
       AND pipeline NOT IN (SELECT pipeline FROM runs WHERE state = 'running')
       AND (host IS NULL OR host NOT IN (SELECT host FROM runs WHERE state = 'running' AND host IS NOT NULL
                                         GROUP BY host HAVING COUNT(*) >= $3))
     ORDER BY priority DESC, started_at, run LIMIT $4"
);

/// All at once, for others wait. In Postgres one that waits may be cancelled meanwhile.
const TAKE: &str = "UPDATE runs SET state = 'running', started_at = $1, worker = $2, lease_until = $3
    WHERE state = 'queued' AND run IN (";

const BEGIN: &str = concat!(
    insert_whole!(", worker, lease_until", ", $25, $26"),
    " ON CONFLICT DO NOTHING"
);

const AT_WORK: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM runs WHERE state = 'running' AND pipeline = $1"
);

/// One that was taken over has its worker still, so that this one hears of it.
const RENEW: &str = "UPDATE runs SET lease_until = CASE WHEN state = 'running' THEN $2 ELSE lease_until END
    WHERE worker = $1 RETURNING run, cancel";

const PROGRESS: &str = "UPDATE runs SET items_seen = $3, items_stored = $4, items_unchanged = $5, items_rejected = $6,
        items_vanished = $7, bytes_stored = $8, snapshots = $9, fetch_ms = $10, convert_ms = $11, commit_ms = $12,
        index_ms = $13, cursor_before = $14, cursor_after = $15
    WHERE run = $1 AND worker = $2 AND state = 'running'";

/// Whether a run has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It has.
    Yes,
    /// This one of the same pipeline is at work.
    Busy(Box<Run>),
}

impl Queue {
    /// Gives a worker runs to work on, no more than it has slots for: those whose time has come, by priority, then by
    /// time; one of a pipeline at once, and no more than so many of a host. They are at work now. A worker has a name
    /// that no other has or had, and says within the lease that it is still there ([`Queue::renew`]).
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn claim(
        &self,
        worker: &str,
        slots: usize,
        per_host: usize,
        lease: Duration,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut claimed = Vec::new();
        if slots == 0 {
            return Ok(claimed);
        }
        let failed = self.database.failed();
        // A host that takes none would be waited for without end.
        let per_host = i64::try_from(per_host).unwrap_or(i64::MAX).max(1);
        if !self.database.is_postgres() {
            // Whoever looks only to find nothing keeps nobody from writing.
            let first = waiting(now(), per_host, 1).fetch_optional(self.database.pool());
            if first.await.map_err(&failed)?.is_none() {
                return Ok(claimed);
            }
        }
        // Two that looked at once would both see room.
        let (_turn, mut transaction) = self.alone().await?;
        let now = now();
        // The first that waits always fits, so each round takes one at least.
        while claimed.len() < slots {
            let free = slots - claimed.len();
            let rows = waiting(now, per_host, free).fetch_all(&mut *transaction);
            let rows = rows.await.map_err(&failed)?;
            let fitting = fitting(&rows, per_host).map_err(&failed)?;
            if !fitting.is_empty() {
                let places: Vec<String> = (4..)
                    .take(fitting.len())
                    .map(|place| format!("${place}"))
                    .collect();
                let take = format!("{TAKE}{}) RETURNING run", places.join(", "));
                let mut query = sqlx::query_scalar(AssertSqlSafe(take))
                    .bind(now)
                    .bind(worker)
                    .bind(lease_end(now, lease));
                for one in &fitting {
                    query = query.bind(one.run.run.0.as_str());
                }
                let taken: Vec<String> = query.fetch_all(&mut *transaction).await.map_err(&failed)?;
                for mut one in fitting.into_iter().filter(|one| taken.contains(&one.run.run.0)) {
                    one.run.state = RunState::Running;
                    one.run.started_at = now;
                    claimed.push(one);
                }
            }
            if rows.len() < free {
                break;
            }
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(claimed)
    }

    /// Begins a run at once, without queueing, unless one of its pipeline is at work.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses, or knows a run of that id.
    pub async fn begin(&self, run: &Run, worker: &str, lease: Duration) -> Result<Begun, StoreError> {
        let failed = self.database.failed();
        let mut begun = run.clone();
        begun.state = RunState::Running;
        let (_turn, mut transaction) = self.alone().await?;
        let put = whole(BEGIN, &begun)
            .bind(worker)
            .bind(lease_end(now(), lease))
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        if put.rows_affected() > 0 {
            transaction.commit().await.map_err(&failed)?;
            return Ok(Begun::Yes);
        }
        let at_work = sqlx::query(AT_WORK)
            .bind(run.pipeline.as_str())
            .fetch_one(&mut *transaction)
            .await
            .map_err(&failed)?;
        Ok(Begun::Busy(Box::new(run_of(&at_work).map_err(&failed)?)))
    }

    /// Says that a worker is still there, for all of its runs. Those come back that it is to end: they were cancelled,
    /// or somebody else took them over because it was silent for too long.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn renew(&self, worker: &str, lease: Duration) -> Result<Vec<RunId>, StoreError> {
        let failed = self.database.failed();
        let _turn = self.turn().await;
        let rows = sqlx::query(RENEW)
            .bind(worker)
            .bind(lease_end(now(), lease))
            .fetch_all(self.database.pool())
            .await
            .map_err(&failed)?;
        let mut to_end = Vec::new();
        for row in &rows {
            if row.try_get::<i64, _>("cancel").map_err(&failed)? != 0 {
                to_end.push(id_of(row).map_err(&failed)?);
            }
        }
        Ok(to_end)
    }

    /// Writes how far a run has come; false, and nothing is written, when it is not this worker's any more.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn progress(&self, run: &Run, worker: &str) -> Result<bool, StoreError> {
        let _turn = self.turn().await;
        let query = sqlx::query(PROGRESS).bind(run.run.0.as_str()).bind(worker);
        let done = measured(query, run)
            .execute(self.database.pool())
            .await
            .map_err(self.database.failed())?;
        Ok(done.rows_affected() > 0)
    }
}

fn waiting(now: Instant, per_host: i64, most: usize) -> Query<'static, Any, AnyArguments> {
    sqlx::query(WAITING)
        .bind(now)
        .bind(beyond(now))
        .bind(per_host)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
}

fn lease_end(now: Instant, lease: Duration) -> Instant {
    now.saturating_add(micros(lease.min(LONGEST_LEASE)))
}

/// Of runs that would each fit alone, those that fit together.
fn fitting(rows: &[AnyRow], per_host: i64) -> Result<Vec<Claimed>, sqlx::Error> {
    let mut pipelines = HashSet::new();
    let mut hosts: HashMap<String, i64> = HashMap::new();
    let mut fitting = Vec::new();
    for row in rows {
        let one = claimed_of(row)?;
        if pipelines.contains(&one.run.pipeline) {
            continue;
        }
        if let Some(host) = &one.host {
            let at_work: i64 = row.try_get("host_at_work")?;
            let at_work = hosts.entry(host.clone()).or_insert(at_work);
            if *at_work >= per_host {
                continue;
            }
            *at_work += 1;
        }
        pipelines.insert(one.run.pipeline.clone());
        fitting.push(one);
    }
    Ok(fitting)
}
