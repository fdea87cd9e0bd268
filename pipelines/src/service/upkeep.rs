//! What the service does now and then, and what follows each run: taking over from the dead, forgetting, telling.

use super::Retention;
use crate::alerts::Alerts;
use crate::away::Away;
use crate::run::{now, with_causes};
use crate::scheduler::Asker;
use crate::worker::LEASE;
use schemas::SourceName;
use schemas::datasets::runs::{Run, RunState};
use std::collections::HashSet;
use std::time::Duration;
use store::StoreError;
use store::run_log::{Level, RunLog};
use tokio::time::{MissedTickBehavior, interval, interval_at};
use tokio_util::sync::CancellationToken;

/// How often it is looked for what is wrong.
const LOOKS: Duration = Duration::from_secs(60);

/// How often runs are forgotten.
const FORGETS: Duration = Duration::from_secs(24 * 3_600);

/// Tells whoever is to know that a run is over. Clones are the same.
#[derive(Clone)]
pub(super) struct Told {
    pub asker: Asker,
    pub alerts: Option<Alerts>,
    pub log: RunLog,
}

impl Told {
    /// Tells it. `gives_up` is whether it failed and no other attempt follows.
    pub async fn end(&self, run: &Run, gives_up: bool) {
        let error = run.error.as_deref().unwrap_or_default();
        let line = match run.state {
            RunState::Failed if gives_up => Some((
                Level::Error,
                format!("over, and not tried again by itself: {error}"),
            )),
            RunState::Failed => Some((Level::Warn, format!("over, and tried again: {error}"))),
            RunState::Cancelled => Some((Level::Warn, format!("over: {error}"))),
            _ => None,
        };
        if let Some((level, line)) = line {
            tracing::warn!(pipeline = %run.pipeline, run = %run.run, line, "a run did not end well");
            let line = (run.run.clone(), now(), level, line);
            if let Err(error) = self.log.append(&[line]).await {
                let error = with_causes(&error);
                tracing::warn!(run = %run.run, error, "a line of a run's log is lost");
            }
        }
        if let Err(error) = self.asker.follow(run).await {
            // The scheduler looks for what was not followed.
            let error = with_causes(&error);
            tracing::warn!(pipeline = %run.pipeline, error, "what is to follow cannot be asked for yet");
        }
        if let Some(alerts) = &self.alerts {
            alerts.after_run(run, gives_up).await;
        }
    }
}

/// Keeps the queue in order.
pub(super) struct Upkeep {
    pub told: Told,
    /// Attempts of a run whose workers die of it.
    pub most_attempts: u32,
    pub keep: Retention,
}

impl Upkeep {
    /// Puts in order what was left.
    pub async fn begin(&self) -> Result<(), StoreError> {
        self.take_over().await?;
        let asker = &self.told.asker;
        let configured: HashSet<&SourceName> = asker
            .pipelines
            .iter()
            .map(|pipeline| &pipeline.plan.pipeline)
            .collect();
        let queued = asker.runs.newest(None, Some(RunState::Queued), u32::MAX).await?;
        // The configuration may not be the one any more by which they were asked for.
        let names: HashSet<&SourceName> = queued.iter().map(|run| &run.pipeline).collect();
        let awaited: Vec<(SourceName, i64, Option<String>)> = asker
            .pipelines
            .iter()
            .filter(|pipeline| names.contains(&pipeline.plan.pipeline))
            .map(|pipeline| {
                let plan = &pipeline.plan;
                (plan.pipeline.clone(), plan.priority, pipeline.host.clone())
            })
            .collect();
        asker.queue.configure(&awaited).await?;
        for run in &queued {
            if !configured.contains(&run.pipeline) {
                let why = "its pipeline is not in the configuration any more";
                asker.queue.cancel(&run.run, why).await?;
            }
        }
        Ok(())
    }

    /// Looks after the queue until it is to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut away = Away::new("upkeep");
        let mut takes = interval(LEASE / 2);
        let mut forgets = interval(FORGETS);
        for ticks in [&mut takes, &mut forgets] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut looked = now();
        loop {
            let done = tokio::select! {
                () = stop.cancelled() => return,
                _ = takes.tick() => {
                    let before = std::mem::replace(&mut looked, now());
                    match has_stood_still(looked - before) {
                        // Those who work here say so first.
                        true => Ok(()),
                        false => self.take_over().await,
                    }
                }
                _ = forgets.tick() => self.forget().await,
            };
            match done {
                Ok(()) => away.is_over(),
                Err(error) => away.wait(&error, &stop).await,
            }
        }
    }

    async fn take_over(&self) -> Result<(), StoreError> {
        let asker = &self.told.asker;
        let taken = asker.queue.take_over(self.most_attempts, false).await?;
        if !taken.is_empty() {
            asker.wake.notify_one();
        }
        for run in taken {
            let gives_up = run.state == RunState::Failed && run.attempt >= self.most_attempts;
            self.told.end(&run, gives_up).await;
        }
        Ok(())
    }

    async fn forget(&self) -> Result<(), StoreError> {
        let age = i64::try_from(self.keep.age.as_micros()).unwrap_or(i64::MAX);
        let before = now().saturating_sub(age);
        let forgotten = self.told.asker.queue.forget(before, self.keep.newest).await?;
        if forgotten > 0 {
            tracing::info!(runs = forgotten, "old runs are forgotten");
        }
        Ok(())
    }
}

/// Whether the machine slept, or its clock was set, between two looks so many microseconds apart: then all leases seem to
/// have run out, and nobody who lives could renew theirs.
fn has_stood_still(apart: i64) -> bool {
    i64::try_from(LEASE.as_micros()).is_ok_and(|lease| apart.abs() > lease)
}

/// Looks for what is wrong until it is to stop. The first look waits: what was missed is being made up for.
pub(super) async fn look(alerts: &Alerts, stop: CancellationToken) {
    let mut looks = interval_at(tokio::time::Instant::now() + LOOKS, LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let looked = async {
            if let Err(error) = alerts.look().await {
                tracing::warn!(error = with_causes(&error), "cannot look for what is wrong");
            }
            alerts.ping().await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = looked => {}
        }
    }
}
