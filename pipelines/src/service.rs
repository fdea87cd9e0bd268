//! The service that is always on: it has pipelines run when they are due, and makes the runs.
//!
//! - In: pipelines with their plans, what makes a run, a store that is open for writing. Out: runs, until it is to stop.
//! - Its parts only meet in the queue: scheduler and watcher of files ask for runs, the worker makes them, and what a dead
//!   worker left is queued again. So any number of services may share one queue.
//! - Not here: configuration, signals, faces (the command line has them); what a run does (`run`).

mod upkeep;
mod work;

pub use work::{AfterRun, Prepare, PrepareError, Prepared, work_of};

use crate::alerts::Alerts;
use crate::changes;
use crate::error::RunError;
use crate::schedule::{Plan, When};
use crate::scheduler::{Asker, Scheduler};
use crate::worker::{OnEnd, Work, Worker, name_of_process};
use futures::future::BoxFuture;
use schemas::SourceName;
use schemas::datasets::runs::Run;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use store::queue::Queue;
use store::run_log::RunLog;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use upkeep::{Told, Upkeep};

/// How long what is to be told may take once all else has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A pipeline as the service knows it.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// When it is due.
    pub plan: Plan,
    /// Where its files lie, if it reads files.
    pub paths: Vec<PathBuf>,
    /// Whom it asks: runs of one host share a limit.
    pub host: Option<String>,
}

impl Pipeline {
    /// Whether its files are watched. Whoever watches them asks for it at the beginning, too, also if it never ran.
    pub(crate) fn is_watched(&self) -> bool {
        self.plan.when.contains(&When::OnChange) && !self.paths.is_empty()
    }
}

/// How long runs are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// So long after their end.
    pub age: Duration,
    /// Of each pipeline the newest so many, however old they are.
    pub newest: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(90 * 24 * 3_600),
            newest: 50,
        }
    }
}

/// The service.
pub struct Service {
    /// Open for writing.
    pub store: Arc<Store>,
    /// Of the same place.
    pub queue: Queue,
    /// Of the same place.
    pub log: RunLog,
    /// What is to be run.
    pub pipelines: Vec<Pipeline>,
    /// Runs at once.
    pub slots: usize,
    /// Runs at once that ask the same host.
    pub per_host: usize,
    /// Makes a run; see [`work_of`].
    pub work: Work,
    /// Tells what is wrong.
    pub alerts: Option<Alerts>,
    /// How long runs are remembered.
    pub keep: Retention,
}

impl Service {
    /// Works until it is to stop, and then as long as it takes to end what is at work.
    ///
    /// # Errors
    /// [`RunError`] when the queue cannot be used at the beginning, or a part ends early. A database that is away later
    /// is waited for.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        let retries: HashMap<SourceName, u32> = self
            .pipelines
            .iter()
            .map(|pipeline| (pipeline.plan.pipeline.clone(), pipeline.plan.retries))
            .collect();
        let timeouts: HashMap<SourceName, Duration> = self
            .pipelines
            .iter()
            .filter_map(|pipeline| Some((pipeline.plan.pipeline.clone(), pipeline.plan.timeout?)))
            .collect();
        let most_attempts = retries.values().max().map_or(1, |most| most.saturating_add(1));
        let wake = Arc::new(Notify::new());
        let runs = self.store.runs().clone();
        let asker = Asker::new(self.queue.clone(), runs, self.pipelines, wake.clone());
        let told = Told {
            asker: asker.clone(),
            alerts: self.alerts.clone(),
            log: self.log,
        };
        let upkeep = Upkeep {
            told: told.clone(),
            most_attempts,
            keep: self.keep,
        };
        upkeep.begin().await?;

        let telling: OnEnd = Arc::new(move |run: Run, gives_up: bool| -> BoxFuture<'static, ()> {
            let told = told.clone();
            Box::pin(async move { told.end(&run, gives_up).await })
        });
        let worker = Worker {
            slots: self.slots,
            per_host: self.per_host,
            retries,
            timeouts,
            on_end: telling,
            wake,
            ..Worker::new(name_of_process(), self.queue, self.work)
        };
        let data = self.store.data().to_owned();
        let scheduler = Scheduler::new(asker.clone());
        // Where one part ends early, all end.
        let all = stop.child_token();
        let mut parts: JoinSet<Result<(), RunError>> = JoinSet::new();
        parts.spawn(worker.run(all.clone()));
        let stop = all.clone();
        parts.spawn(async move {
            scheduler.run(stop).await;
            Ok(())
        });
        let stop = all.clone();
        parts.spawn(async move {
            changes::watch(asker, data, stop).await;
            Ok(())
        });
        let stop = all.clone();
        parts.spawn(async move {
            upkeep.run(stop).await;
            Ok(())
        });
        let (alerts, stop) = (self.alerts.clone(), all.clone());
        parts.spawn(async move {
            if let Some(alerts) = alerts {
                upkeep::look(&alerts, stop).await;
            }
            Ok(())
        });
        let mut ended = Ok(());
        while let Some(part) = parts.join_next().await {
            if let Err(error) = part.map_err(RunError::from).flatten() {
                all.cancel();
                ended = ended.and(Err(error));
            }
        }
        if let Some(alerts) = &self.alerts {
            // What is not told now is told at the next start.
            let _ = timeout(LAST_WORDS, alerts.drained()).await;
        }
        ended
    }
}

#[cfg(test)]
mod tests;
