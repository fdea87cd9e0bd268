//! Runs that no time asks for: after another pipeline, and when files changed.
//!
//! - A run that waits and may begin already sees what is new; then nothing more is asked for. One that is at work may have
//!   passed it, so another is queued behind it: see [`Queue::ask`].

use crate::run::now;
use crate::schedule::{Overlap, When};
use crate::service::Pipeline;
use schemas::datasets::runs::{Run, RunState, Trigger};
use schemas::{Instant, RunId, SourceName};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::StoreError;
use store::queue::{Asked, Queue, Request};
use store::runs::Runs;
use tokio::sync::Notify;
use tokio::time::Instant as Clock;

/// How often it is looked whether a run ended well that was made elsewhere, or whose end was not told.
const LOOKS: Duration = Duration::from_secs(10);

/// How old the end of a run may be for another to follow it: who is told today to follow a pipeline does not follow its
/// run of last week.
const FOLLOWED: Duration = Duration::from_secs(24 * 3_600);

/// Queues runs, and wakes who makes them. Clones are the same.
#[derive(Clone)]
pub(crate) struct Asker {
    pub queue: Queue,
    pub runs: Runs,
    pub pipelines: Arc<Vec<Pipeline>>,
    /// Wakes the worker.
    pub wake: Arc<Notify>,
    followed: Arc<Mutex<Followed>>,
}

/// What is known to have been followed.
#[derive(Default)]
struct Followed {
    looked: Option<Clock>,
    runs: HashMap<SourceName, RunId>,
}

impl Asker {
    /// One that asks for runs of these pipelines.
    pub fn new(queue: Queue, runs: Runs, pipelines: Vec<Pipeline>, wake: Arc<Notify>) -> Self {
        Self {
            queue,
            runs,
            pipelines: Arc::new(pipelines),
            wake,
            followed: Arc::default(),
        }
    }

    /// Asks for a run. What has the same `once` is asked for once; and with `since`, a run that began after that moment
    /// is enough, whoever asked for it.
    pub async fn ask(
        &self,
        pipeline: &Pipeline,
        trigger: Trigger,
        reason: String,
        once: Option<String>,
        since: Option<Instant>,
    ) -> Result<(), StoreError> {
        let plan = &pipeline.plan;
        let request = Request {
            run: Run {
                reason: Some(reason.clone()),
                ..Run::new(plan.pipeline.clone(), trigger, now())
            },
            priority: plan.priority,
            host: pipeline.host.clone(),
            once,
        };
        if let Asked::Known(known) = self.queue.ask(&request, since).await? {
            tracing::debug!(pipeline = %plan.pipeline, reason, run = %known.run, "another run will do");
            return Ok(());
        }
        let asked = &request.run.run;
        if plan.overlap == Overlap::Replace {
            let why = format!("replaced by run {asked}: {reason}");
            // It may be at work itself by now.
            let is_replaced = |run: &&Run| run.state == RunState::Running && run.run != *asked;
            for run in self
                .queue
                .active(&plan.pipeline)
                .await?
                .iter()
                .filter(is_replaced)
            {
                self.queue.cancel(&run.run, &why).await?;
            }
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Asks for what is to follow a run, if that ended well.
    pub async fn follow(&self, run: &Run) -> Result<(), StoreError> {
        if !matches!(run.state, RunState::Succeeded | RunState::PartlySucceeded) {
            return Ok(());
        }
        let follows = |when: &When| matches!(when, When::After(before) if *before == run.pipeline);
        for pipeline in self.pipelines.iter() {
            if pipeline.plan.when.iter().any(follows) {
                let reason = format!("{} has run well: {}", run.pipeline, run.run);
                let once = format!("after:{}:{}", run.run, pipeline.plan.pipeline);
                self.ask(pipeline, Trigger::After, reason, Some(once), None)
                    .await?;
            }
        }
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.runs.insert(run.pipeline.clone(), run.run.clone());
        Ok(())
    }

    /// Asks for what is to follow runs whose end was not told here: another process made them, or this one was killed.
    pub async fn make_up(&self) -> Result<(), StoreError> {
        let whens = self.pipelines.iter().flat_map(|pipeline| &pipeline.plan.when);
        let leaders: BTreeSet<&SourceName> = whens
            .filter_map(|when| match when {
                When::After(before) => Some(before),
                _ => None,
            })
            .collect();
        if leaders.is_empty() || !self.is_time_to_look() {
            return Ok(());
        }
        let oldest = now() - i64::try_from(FOLLOWED.as_micros()).unwrap_or(i64::MAX);
        for leader in leaders {
            let mut newest: Option<Run> = None;
            for state in [RunState::Succeeded, RunState::PartlySucceeded] {
                let runs = self.runs.newest(Some(leader), Some(state), 1).await?;
                newest = runs.into_iter().chain(newest).max_by_key(|run| run.ended_at);
            }
            let Some(run) = newest.filter(|run| run.ended_at > Some(oldest)) else {
                continue;
            };
            if !self.is_followed(&run) {
                self.follow(&run).await?;
            }
        }
        Ok(())
    }

    fn is_time_to_look(&self) -> bool {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = followed.looked.is_none_or(|looked| looked.elapsed() >= LOOKS);
        if is_time {
            followed.looked = Some(Clock::now());
        }
        is_time
    }

    fn is_followed(&self, run: &Run) -> bool {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.runs.get(&run.pipeline) == Some(&run.run)
    }
}
