//! How pipelines fare: which fail, which are late, whether anybody begins what is due. Every face asks here, so that all
//! tell the same.
//!
//! - In: the history of runs, what is decided of schedules, the alerts that are open; what the configuration expects.
//!   Out: what is wrong at a moment, also where no service has looked.
//! - Not here: how the service finds it, and when it tells whom (`pipelines::alerts`).

use super::{Alert, AlertKind, AlertLog, Open, SCHEDULES};
use crate::error::StoreError;
use crate::queue::{Decided, Queue};
use jiff::{SignedDuration, Timestamp};
use schemas::{Instant, SourceName};
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::{BTreeMap, HashMap};

/// A run that fails for this time is told of, though other tries are to come.
pub const TOLD_AT: i64 = 3;

/// A service that is at work decides what becomes of a time sooner than this. In microseconds.
const PATIENCE: i64 = 2 * 60 * 1_000_000;

/// What the configuration expects of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expected {
    /// The pipeline.
    pub pipeline: String,
    /// When it is due, each as the table `schedules` names it.
    pub schedule: Vec<String>,
    /// How old its last good run may be; without it, it is never late.
    pub fresh_within: Option<SignedDuration>,
}

impl Expected {
    /// When it is due next, by any of its schedules, as the service has decided. What is in the past stays until a service
    /// sees it; without a service no time is known. What was taken out of the configuration may still be in the table, and
    /// does not count.
    pub fn next_due(&self, schedules: &HashMap<(SourceName, String), Decided>) -> Option<Instant> {
        let own = schedules.iter().filter(|((pipeline, when), _)| {
            pipeline.as_str() == self.pipeline && self.schedule.iter().any(|own| own == when)
        });
        own.filter_map(|(_, decided)| decided.next_due).min()
    }
}

/// That a pipeline fails: its last run that ended well or failed has failed, and either no other try is to come, or it was
/// the third, or the alert of that is open already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The run.
    pub run: String,
    /// Which try it was.
    pub attempt: i64,
    /// When the first of the failures since the last good run began.
    pub since: Instant,
}

/// That the last run of a pipeline that ended well or failed has ended well, and rejected items: some that it could not
/// read, or a folder of its source that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejecting {
    /// The run.
    pub run: String,
    /// Items that it saw.
    pub seen: i64,
    /// Items that it rejected.
    pub rejected: i64,
    /// When it ended.
    pub since: Instant,
}

/// How pipelines fare.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fares {
    /// When each pipeline was last collected well.
    pub collected: BTreeMap<String, Instant>,
    /// The pipelines that fail.
    pub failing: BTreeMap<String, Failed>,
    /// The pipelines whose last run rejected items.
    pub rejecting: BTreeMap<String, Rejecting>,
    /// Since when it is watched that each pipeline collects; none of which no service has looked.
    pub watched: HashMap<String, Instant>,
    /// The alerts that are open, the oldest first: what the service found when it last looked.
    pub open: Vec<Open>,
    /// How far schedules are decided, by the pipeline and the text of the schedule.
    pub schedules: HashMap<(SourceName, String), Decided>,
}

/// That nobody begins what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Unattended {
    /// The first time that came and that no service has seen; absent if none has ever seen a schedule.
    pub since: Option<Instant>,
    /// What is wrong.
    pub what: &'static str,
    /// What to do.
    pub next_step: &'static str,
}

impl Unattended {
    /// It as an alert. Nobody is sent it: who would send it is what is missing.
    fn alert(&self) -> Alert {
        Alert {
            key: AlertKind::Stalled.key(SCHEDULES),
            kind: AlertKind::Stalled,
            subject: SCHEDULES.to_owned(),
            what: self.what.to_owned(),
            next_step: self.next_step.to_owned(),
        }
    }
}

/// Something that is wrong at a moment, told or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub alert: Alert,
    /// Since when; absent if that is not known.
    pub since: Option<Instant>,
}

impl Wrong {
    /// Whether this is that nobody begins what is due, which names no pipeline.
    pub fn is_unattended(&self) -> bool {
        self.alert.key == AlertKind::Stalled.key(SCHEDULES)
    }
}

impl From<&Open> for Wrong {
    fn from(open: &Open) -> Self {
        Self {
            alert: open.alert.clone(),
            since: Some(open.since),
        }
    }
}

impl From<&Unattended> for Wrong {
    fn from(unattended: &Unattended) -> Self {
        Self {
            alert: unattended.alert(),
            since: unattended.since,
        }
    }
}

/// Since when a pipeline is late, if it is: what was last collected well, or is watched, since `fresh_at` is older than it
/// may be.
pub fn late_since(
    fresh_within: Option<SignedDuration>,
    fresh_at: Option<Instant>,
    now: Instant,
) -> Option<Instant> {
    let within = i64::try_from(fresh_within?.as_micros()).unwrap_or(i64::MAX);
    let since = fresh_at?.saturating_add(within);
    (now > since).then_some(since)
}

impl Fares {
    /// Since when a pipeline is late, if it is: its last good run is older than `fresh_within`, or there was none since it
    /// is watched.
    pub fn late_since(&self, expected: &Expected, now: Instant) -> Option<Instant> {
        let name = expected.pipeline.as_str();
        let collected = self.collected.get(name).copied();
        late_since(
            expected.fresh_within,
            collected.max(self.watched.get(name).copied()),
            now,
        )
    }

    /// Whether nobody begins what is due: times of schedules have come, and no service has decided what becomes of them,
    /// or none has ever seen a schedule. What has no schedule needs no service.
    pub fn unattended(&self, expected: &[Expected], now: Instant) -> Option<Unattended> {
        if expected.iter().all(|one| one.schedule.is_empty()) {
            return None;
        }
        let next_step = "start `dkc daemon` or `dkc serve`; docs/dkc.service is a unit for systemd";
        if self.schedules.is_empty() {
            return Some(Unattended {
                since: None,
                what: "schedules are there, and no service has ever seen them: nobody begins what is due",
                next_step,
            });
        }
        let times = expected.iter().filter_map(|one| one.next_due(&self.schedules));
        let next = times.min()?;
        (next < now.saturating_sub(PATIENCE)).then_some(Unattended {
            since: Some(next),
            what: "times have come that no service has seen: nobody begins what is due",
            next_step,
        })
    }

    /// What is wrong, the oldest first: the alerts that are open, but of what fails, is late or rejects items those that are
    /// so by the history of runs, told or not. A service looks once a minute, and one that is dead does not look: that comes before
    /// the others, which are not all then.
    pub fn wrong(&self, expected: &[Expected], now: Instant) -> Vec<Wrong> {
        let is_so = |open: &&Open| self.is_so(open, expected, now);
        let mut wrong: Vec<Wrong> = self.open.iter().filter(is_so).map(Wrong::from).collect();
        for one in expected {
            let name = one.pipeline.as_str();
            let failing = self.failing.get(name).map(|failed| Wrong {
                alert: failing(name, failed),
                since: Some(failed.since),
            });
            let late = self.late_since(one, now).map(|since| Wrong {
                alert: late(one, self.collected.get(name).copied()),
                since: Some(since),
            });
            let rejected = self.rejecting.get(name).map(|rejecting| Wrong {
                alert: rejected(name, rejecting),
                since: Some(rejecting.since),
            });
            for new in failing.into_iter().chain(late).chain(rejected) {
                if !wrong.iter().any(|known| known.alert.key == new.alert.key) {
                    wrong.push(new);
                }
            }
        }
        wrong.sort_by(|one, other| (one.since, &one.alert.key).cmp(&(other.since, &other.alert.key)));
        let unattended = self.unattended(expected, now);
        unattended.iter().map(Wrong::from).chain(wrong).collect()
    }

    fn is_so(&self, open: &Open, expected: &[Expected], now: Instant) -> bool {
        let subject = &open.alert.subject;
        match open.alert.kind {
            AlertKind::Failing => self.failing.contains_key(subject),
            AlertKind::Late => match expected.iter().find(|one| one.pipeline == *subject) {
                Some(one) => self.late_since(one, now).is_some(),
                // Of another configuration, which knows what was agreed.
                None => true,
            },
            _ => true,
        }
    }
}

/// In fewer words than those of the service, which quote the error.
fn failing(name: &str, failed: &Failed) -> Alert {
    let Failed { run, attempt, .. } = failed;
    let tries = match attempt {
        ..=1 => String::new(),
        several => format!(" (try {several})"),
    };
    Alert {
        key: AlertKind::Failing.key(name),
        kind: AlertKind::Failing,
        subject: name.to_owned(),
        what: format!("its run {run} failed{tries}"),
        next_step: format!("look at `dkc runs show {run}`, mend what it says, then `dkc runs retry {run}`"),
    }
}

fn rejected(name: &str, rejecting: &Rejecting) -> Alert {
    let Rejecting {
        run, seen, rejected, ..
    } = rejecting;
    Alert {
        key: AlertKind::Rejected.key(name),
        kind: AlertKind::Rejected,
        subject: name.to_owned(),
        what: format!("its run {run} rejected {rejected} of {seen} items"),
        next_step: format!(
            "the dataset `rejects` says why of each: `dkc sql -c \"SELECT item, reason FROM rejects WHERE source = '{name}'\"`"
        ),
    }
}

fn late(expected: &Expected, collected: Option<Instant>) -> Alert {
    let name = expected.pipeline.as_str();
    let at = collected.and_then(|at| Timestamp::from_second(at.div_euclid(1_000_000)).ok());
    let good = at.map_or_else(
        || "it has never collected well".to_owned(),
        |at| format!("it last collected well at {at}"),
    );
    let within = expected
        .fresh_within
        .map(|within| format!(", though it should every {within:#}"));
    let next_step = match expected.schedule.is_empty() {
        true => format!("it has no schedule; run `dkc run {name}`"),
        false => {
            format!(
                "see in `dkc runs` whether anything is at work, and in `dkc doctor` why not; then `dkc run {name}`"
            )
        }
    };
    Alert {
        key: AlertKind::Late.key(name),
        kind: AlertKind::Late,
        subject: name.to_owned(),
        what: format!("{good}{}", within.unwrap_or_default()),
        next_step,
    }
}

/// Found by the runs of each pipeline alone, of which there is an index.
const FAILING: &str = "SELECT f.pipeline, f.run, f.attempt, COALESCE((
        SELECT MIN(b.started_at) FROM runs AS b WHERE b.pipeline = f.pipeline AND b.state = 'failed'
        AND b.started_at > COALESCE((
            SELECT MAX(g.started_at) FROM runs AS g
            WHERE g.pipeline = f.pipeline AND g.state IN ('succeeded', 'partly_succeeded')), -1)
    ), f.started_at) AS since
    FROM runs AS f
    WHERE f.state = 'failed'
      AND NOT EXISTS (SELECT 1 FROM runs AS l WHERE l.pipeline = f.pipeline AND l.started_at > f.started_at
                      AND l.state IN ('succeeded', 'partly_succeeded', 'failed'))
      AND (f.attempt >= $1
           OR NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.pipeline = f.pipeline AND r.started_at >= f.started_at
                          AND r.state IN ('queued', 'running') AND r.trigger = 'retry')
           OR EXISTS (SELECT 1 FROM alerts AS a WHERE a.key = 'failing:' || f.pipeline AND a.resolved_at IS NULL))";

/// One that failed says nothing of items, and one that was cancelled has not looked at all of them.
const REJECTING: &str = "SELECT r.pipeline, r.run, r.items_seen, r.items_rejected,
        COALESCE(r.ended_at, r.started_at) AS since
    FROM runs AS r
    WHERE r.state IN ('succeeded', 'partly_succeeded') AND r.items_rejected > 0
      AND NOT EXISTS (SELECT 1 FROM runs AS l WHERE l.pipeline = r.pipeline AND l.started_at > r.started_at
                      AND l.state IN ('succeeded', 'partly_succeeded', 'failed'))";

const COLLECTED: &str = "SELECT pipeline, MAX(ended_at) AS ended FROM runs
    WHERE state IN ('succeeded', 'partly_succeeded') AND ended_at IS NOT NULL GROUP BY pipeline";

impl AlertLog {
    /// How pipelines fare; `queue` is of the same place.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn fares(&self, queue: &Queue) -> Result<Fares, StoreError> {
        let failed = self.database.failed();
        let pool = self.database.pool();
        let rows = sqlx::query(FAILING).bind(TOLD_AT).fetch_all(pool).await;
        let failing = rows.map_err(&failed)?;
        let failing = failing.iter().map(failed_of).collect::<Result<_, _>>();
        let rows = sqlx::query(REJECTING).fetch_all(pool).await;
        let rejecting = rows.map_err(&failed)?;
        let rejecting = rejecting.iter().map(rejecting_of).collect::<Result<_, _>>();
        let rows = sqlx::query(COLLECTED).fetch_all(pool).await;
        let collected = rows.map_err(&failed)?;
        let pair = |row: &AnyRow| -> Result<(String, Instant), sqlx::Error> {
            Ok((row.try_get("pipeline")?, row.try_get("ended")?))
        };
        let collected = collected.iter().map(pair).collect::<Result<_, _>>();
        Ok(Fares {
            collected: collected.map_err(&failed)?,
            failing: failing.map_err(&failed)?,
            rejecting: rejecting.map_err(&failed)?,
            watched: self.watched().await?,
            open: self.open_now().await?,
            schedules: queue.schedules().await?,
        })
    }
}

fn failed_of(row: &AnyRow) -> Result<(String, Failed), sqlx::Error> {
    let failed = Failed {
        run: row.try_get("run")?,
        attempt: row.try_get("attempt")?,
        since: row.try_get("since")?,
    };
    Ok((row.try_get("pipeline")?, failed))
}

fn rejecting_of(row: &AnyRow) -> Result<(String, Rejecting), sqlx::Error> {
    let rejecting = Rejecting {
        run: row.try_get("run")?,
        seen: row.try_get("items_seen")?,
        rejected: row.try_get("items_rejected")?,
        since: row.try_get("since")?,
    };
    Ok((row.try_get("pipeline")?, rejecting))
}

#[cfg(test)]
mod tests;
