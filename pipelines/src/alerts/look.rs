//! Finds what is wrong now.
//!
//! - In: the history of runs, the lake, the disk, what time it is. Out: what is wrong, and where was looked.
//! - What cannot be told yet stays as it was: a failure that is tried again, lateness right after a start or a sleep.
//! - Not here: who is told.

mod files;

use super::{Alerts, Budget, TOLD_AT, Watched, wrong};
use crate::run::with_causes;
use files::Files;
use schemas::Instant;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;
use store::StoreError;
use store::alerts::{Alert, AlertKind, AtWork, Standing, late_since};

/// A second, in microseconds.
const SECOND: i64 = 1_000_000;

/// After a start or a sleep, what was missed is made up for: so long nobody is late because of it. In microseconds.
const GRACE: i64 = 15 * 60 * SECOND;

/// Nothing was seen for so long: the machine slept, or the service stood still. In microseconds.
const SLEPT: i64 = 5 * 60 * SECOND;

/// A run that could begin and waits for so long, while nothing is at work, is not taken by anybody. In microseconds.
const WAITED: i64 = 10 * 60 * SECOND;

/// Clocks of machines that share a database may differ by so much. In microseconds.
const SKEW: i64 = 10 * 60 * SECOND;

/// A disk that does not answer for so long is asked again another time.
const DISK: Duration = Duration::from_secs(10);

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How pipelines stand, by the runs that were read so far.
    standings: HashMap<String, Standing>,
    /// Runs that began before it are read, and are over.
    read_since: Instant,
    /// Since when it is watched that each pipeline collects.
    watched: HashMap<String, Instant>,
    looked_at: Instant,
    /// Since when nothing was missed: it was started, or woke up.
    awake_since: Instant,
    is_lake_unreadable: bool,
    files: Files,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub alerts: Vec<Alert>,
    pub kinds: Vec<AlertKind>,
    /// Keys of which it cannot be told.
    pub undecided: Vec<String>,
    /// Whether a pipeline is late, whatever is told of it.
    pub is_late: bool,
}

/// How the disk of the data directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    /// Percent that are free.
    Free(u64),
    /// The data directory is not there.
    Gone,
    /// It did not answer.
    Unknown,
}

impl Disk {
    pub async fn of(folder: &Path) -> Self {
        let folder = folder.to_owned();
        let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&folder));
        match tokio::time::timeout(DISK, asked).await {
            Ok(Ok(Ok(told))) => {
                let free = told.f_bavail.saturating_mul(100).checked_div(told.f_blocks);
                free.map_or(Self::Unknown, Self::Free)
            }
            Ok(Ok(Err(error))) => {
                tracing::debug!(%error, "the data directory cannot be asked");
                Self::Gone
            }
            Ok(Err(_)) | Err(_) => Self::Unknown,
        }
    }
}

impl Alerts {
    /// What is wrong now.
    pub(super) async fn find(&self, seen: &mut Seen, disk: Disk, now: Instant) -> Result<Found, StoreError> {
        let mut found = Found::default();
        if now < seen.looked_at || now.saturating_sub(seen.looked_at) > SLEPT {
            seen.awake_since = now;
        }
        seen.looked_at = now;
        let at_work = self.read_on(seen, now).await?;
        self.find_in_pipelines(seen, &mut found, now).await?;
        found.kinds.push(AlertKind::Budget);
        for budget in &self.inner.budgets {
            self.find_in_budget(budget, &mut found, now).await?;
        }
        self.find_stalled(seen, &at_work, &mut found, now).await?;
        self.find_in_lake(seen, &mut found, now).await?;
        found.of_disk(disk, self.inner.least_free);
        Ok(found)
    }

    /// Reads the runs that began or ended since the last look, and which are at work.
    async fn read_on(&self, seen: &mut Seen, now: Instant) -> Result<Vec<AtWork>, StoreError> {
        let log = &self.inner.log;
        if seen.watched.is_empty() && !self.inner.watched.is_empty() {
            let names: Vec<&str> = self
                .inner
                .watched
                .iter()
                .map(|watched| watched.pipeline.as_str())
                .collect();
            seen.watched = log.watched_since(&names, now).await?;
        }
        // First what is at work: what ends until the others are read is read again next time.
        let at_work = log.at_work().await?;
        for standing in log.standings(seen.read_since).await? {
            match seen.standings.get_mut(&standing.pipeline) {
                Some(known) => {
                    known.collected_at = known.collected_at.max(standing.collected_at);
                    known.failed_at = known.failed_at.max(standing.failed_at);
                    known.tried_at = known.tried_at.max(standing.tried_at);
                }
                None => {
                    seen.standings.insert(standing.pipeline.clone(), standing);
                }
            }
        }
        let oldest = at_work.iter().map(|run| run.started_at).min();
        let recent = now.saturating_sub(SKEW);
        seen.read_since = oldest.map_or(recent, |oldest| oldest.min(recent));
        Ok(at_work)
    }

    async fn find_in_pipelines(
        &self,
        seen: &Seen,
        found: &mut Found,
        now: Instant,
    ) -> Result<(), StoreError> {
        found.kinds.extend([AlertKind::Failing, AlertKind::Late]);
        for watched in &self.inner.watched {
            let name = watched.pipeline.as_str();
            let standing = seen.standings.get(name);
            let (good_at, failed_at) = standing.map_or((None, None), |standing| {
                (standing.collected_at, standing.failed_at)
            });
            let mut is_failing = false;
            if failed_at > good_at
                && let Some(failure) = self.inner.log.failure(name).await?
            {
                if failure.is_retried && failure.attempt < TOLD_AT {
                    found.undecided.push(AlertKind::Failing.key(name));
                } else {
                    is_failing = true;
                    let error = failure.error.as_deref();
                    let alert = wrong::failing(name, &failure.run, failure.attempt, error);
                    found.alerts.push(alert);
                }
            }
            found.lateness(watched, standing, is_failing, seen, now);
        }
        Ok(())
    }

    async fn find_in_budget(
        &self,
        budget: &Budget,
        found: &mut Found,
        now: Instant,
    ) -> Result<(), StoreError> {
        let name = budget.pipeline.as_str();
        if let Some(most) = budget.most_bytes_per_day {
            let since = now.saturating_sub(24 * 3_600 * SECOND);
            let stored = self.inner.log.stored_since(name, since).await?;
            if u64::try_from(stored).is_ok_and(|stored| stored > most) {
                found.alerts.push(wrong::too_much(budget, most));
            }
        }
        if let Some(most) = budget.most_minutes_per_run
            && let Some(newest) = self.inner.log.newest(name).await?
        {
            let took = newest.ended_at.unwrap_or(now).saturating_sub(newest.started_at);
            let minutes = u64::try_from(took / (60 * SECOND)).unwrap_or(0);
            if minutes >= most {
                found.alerts.push(wrong::too_long(budget, &newest.run, most));
            }
        }
        Ok(())
    }

    /// Whether runs wait in vain. While a worker is at work, what waits waits for it.
    async fn find_stalled(
        &self,
        seen: &Seen,
        at_work: &[AtWork],
        found: &mut Found,
        now: Instant,
    ) -> Result<(), StoreError> {
        found.kinds.push(AlertKind::Stalled);
        let long_ago = now.saturating_sub(WAITED);
        let begun_at = seen
            .standings
            .values()
            .filter_map(|standing| standing.tried_at)
            .max();
        let is_taken = begun_at.is_some_and(|at| at > long_ago)
            || at_work
                .iter()
                .any(|run| run.lease_until.is_some_and(|end| end > now));
        if is_taken {
            return Ok(());
        }
        if let Some(waiting) = self.inner.log.waiting(long_ago).await? {
            let alert = wrong::stalled(&waiting);
            match now.saturating_sub(seen.awake_since) < WAITED {
                true => found.undecided.push(alert.key),
                false => found.alerts.push(alert),
            }
        }
        Ok(())
    }

    async fn find_in_lake(&self, seen: &mut Seen, found: &mut Found, now: Instant) -> Result<(), StoreError> {
        found.kinds.push(AlertKind::Unreadable);
        let columns = self.columns().await;
        let was_unreadable = seen.is_lake_unreadable;
        seen.is_lake_unreadable = columns.is_err();
        match columns {
            Ok(columns) => {
                found.kinds.push(AlertKind::SchemaChanged);
                let changed = self.inner.log.columns_changed(&columns, now).await?;
                found.alerts.extend(changed.iter().map(wrong::schema_changed));
            }
            // Somebody writes to it; that passes.
            Err(StoreError::Locked { .. }) => found.undecided.push(wrong::lake_unreadable().key),
            Err(error) => {
                if !was_unreadable {
                    tracing::warn!(error = with_causes(&error), "the lake cannot be read");
                }
                found.alerts.push(wrong::lake_unreadable());
            }
        }
        self.find_lost_files(seen, found, now).await;
        Ok(())
    }

    /// Whether data files are gone; as long as that cannot be told, what was told stays.
    async fn find_lost_files(&self, seen: &mut Seen, found: &mut Found, now: Instant) {
        let lost = match seen.is_lake_unreadable {
            true => Ok(None),
            false => seen.files.look(self.inner.store.catalog(), now).await,
        };
        match lost {
            Ok(Some(lost)) => found.alerts.extend(wrong::files_lost(lost)),
            Ok(None) => found.undecided.push(wrong::files_lost_key()),
            Err(error) => {
                tracing::debug!(
                    error = with_causes(&error),
                    "files of the lake cannot be looked for"
                );
                found.undecided.push(wrong::files_lost_key());
            }
        }
    }

    /// The columns that each dataset of the lake has.
    pub(super) async fn columns(&self) -> Result<BTreeMap<String, BTreeSet<String>>, StoreError> {
        let catalog = self.inner.store.catalog();
        catalog.head().await?;
        let mut columns: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (table, column, _, end) in catalog.column_lives().await? {
            let of_table = columns.entry(table).or_default();
            if end.is_none() {
                of_table.insert(column);
            }
        }
        Ok(columns)
    }
}

impl Found {
    fn lateness(
        &mut self,
        watched: &Watched,
        standing: Option<&Standing>,
        is_failing: bool,
        seen: &Seen,
        now: Instant,
    ) {
        let Some(fresh_within) = watched.fresh_within else {
            return;
        };
        let name = watched.pipeline.as_str();
        let within = i64::try_from(fresh_within.as_micros()).unwrap_or(i64::MAX);
        let good_at = standing.and_then(|standing| standing.collected_at);
        let fresh_at = good_at.max(seen.watched.get(name).copied());
        if late_since(Some(fresh_within), fresh_at, now).is_none() {
            return;
        }
        self.is_late = true;
        // One that fails is told of as that, and one that was late before that is late still.
        if is_failing || now.saturating_sub(seen.awake_since) < within.min(GRACE) {
            self.undecided.push(AlertKind::Late.key(name));
            return;
        }
        let tried_at = standing.and_then(|standing| standing.tried_at);
        let words = format!("{fresh_within:#}");
        self.alerts.push(wrong::late(watched, &words, good_at, tried_at));
    }

    pub(super) fn of_disk(&mut self, disk: Disk, least_free: u64) {
        self.kinds.push(AlertKind::DiskFull);
        let full = wrong::disk_full(least_free);
        match disk {
            Disk::Gone => {
                self.alerts.push(wrong::data_gone());
                self.undecided.push(full.key);
            }
            Disk::Unknown => self.undecided.extend([full.key, wrong::data_gone().key]),
            Disk::Free(percent) if percent < least_free => self.alerts.push(full),
            // A little more than too little: told before or not, it would be told again and again.
            Disk::Free(percent) if percent == least_free && least_free > 0 => self.undecided.push(full.key),
            Disk::Free(_) => {}
        }
    }
}
