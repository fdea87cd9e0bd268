//! The scheduler: waits for the times of all plans, and has runs queued for them.
//!
//! - In: plans, what was decided before, the clock. Out: what `schedule::decide` makes of it, in the queue.
//! - A decision is written together with the runs that it asks for, so that a time is neither lost nor doubled when the
//!   process is killed. Of two services on one queue each may decide a time: its run has a key made of the pipeline, the
//!   schedule and the time, under which the queue takes one.
//! - The clock may be set, and the machine may sleep: no wait is long, and after a jump every schedule is looked at.
//! - Not here: which times there are and what becomes of them (`schedule`), who makes the runs (`worker`).

mod ask;

pub(crate) use ask::Asker;

use crate::away::Away;
use crate::run::now;
use crate::schedule::{self, Decision, Due, Plan};
use crate::service::Pipeline;
use jiff::Timestamp;
use schemas::datasets::runs::{Run, RunState, Trigger};
use schemas::{Digest, Instant, RunId, SourceName};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;
use store::StoreError;
use store::queue::{Decided, Request};
use tokio::time::Instant as Clock;
use tokio_util::sync::CancellationToken;

/// The longest wait: a clock that was set is noticed after it.
const LONGEST: Duration = Duration::from_secs(30);

/// Schedules that are decided in one transaction.
const AT_ONCE: usize = 500;

/// How far wall clock and steady clock may drift apart between two looks.
const DRIFT: i64 = 2_000_000;

/// Runs among which one that began is looked for.
const LOOKED_BACK: u32 = 20;

/// One schedule: which pipeline, and which of its schedules.
type Place = (usize, usize);

/// Has runs queued when they are due.
pub(crate) struct Scheduler {
    asker: Asker,
    /// When to look at which schedule.
    timetable: BTreeSet<(Instant, Place)>,
    /// What is decided.
    decided: HashMap<Place, Decided>,
    /// Pipelines that have begun a run before.
    began: HashSet<usize>,
}

/// What is to be written at once.
#[derive(Default)]
struct Draft {
    places: Vec<Place>,
    decided: Vec<(SourceName, String, Decided)>,
    requests: Vec<Request>,
    skipped: Vec<Run>,
    cancel: Vec<(RunId, String)>,
}

impl Scheduler {
    /// A scheduler of what `asker` knows.
    pub fn new(asker: Asker) -> Self {
        Self {
            asker,
            timetable: BTreeSet::new(),
            decided: HashMap::new(),
            began: HashSet::new(),
        }
    }

    /// Has runs queued until it is to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut away = Away::new("scheduler");
        let mut clocks = Clocks::now();
        self.look_at_all();
        let mut is_new = true;
        while !stop.is_cancelled() {
            if let Err(error) = self.turn(is_new).await {
                away.wait(&error, &stop).await;
                continue;
            }
            is_new = false;
            away.is_over();
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(self.until_next()) => {}
            }
            if let Some(jump) = clocks.jump() {
                tracing::info!(
                    seconds = jump / 1_000_000,
                    "the clock jumped, or the machine slept"
                );
                self.look_at_all();
            }
        }
    }

    /// Does what is due.
    async fn turn(&mut self, is_new: bool) -> Result<(), StoreError> {
        if is_new {
            self.read_decided().await?;
        }
        loop {
            let now = now();
            let due = self.timetable.iter().take_while(|(at, _)| *at <= now);
            let due: Vec<(Instant, Place)> = due.take(AT_ONCE).copied().collect();
            if due.is_empty() {
                break;
            }
            self.decide(&due).await?;
        }
        self.asker.make_up().await
    }

    /// Puts all schedules first.
    fn look_at_all(&mut self) {
        let all = self.asker.pipelines.iter().enumerate();
        let places =
            all.flat_map(|(nth, pipeline)| (0..pipeline.plan.when.len()).map(move |which| (nth, which)));
        self.timetable = places.map(|place| (Instant::MIN, place)).collect();
    }

    fn until_next(&self) -> Duration {
        let until = self.timetable.first().map(|(at, _)| at.saturating_sub(now()));
        until.map_or(LONGEST, |until| {
            Duration::from_micros(u64::try_from(until).unwrap_or(0)).min(LONGEST)
        })
    }

    /// Reads what was decided, by this service or others.
    async fn read_decided(&mut self) -> Result<(), StoreError> {
        let mut known = self.asker.queue.schedules().await?;
        for (nth, pipeline) in self.asker.pipelines.iter().enumerate() {
            for (which, when) in pipeline.plan.when.iter().enumerate() {
                let key = (pipeline.plan.pipeline.clone(), when.text());
                if let Some(decided) = known.remove(&key) {
                    self.decided.insert((nth, which), decided);
                }
            }
        }
        Ok(())
    }

    /// Decides schedules, and writes what is new.
    async fn decide(&mut self, due: &[(Instant, Place)]) -> Result<(), StoreError> {
        let pipelines = self.asker.pipelines.clone();
        let mut active: HashMap<usize, Vec<Run>> = HashMap::new();
        let all: BTreeSet<usize> = due.iter().map(|(_, (nth, _))| *nth).collect();
        for nth in all {
            if let Some(pipeline) = pipelines.get(nth) {
                let name = &pipeline.plan.pipeline;
                active.insert(nth, self.asker.queue.active(name).await?);
                self.remember_begun(nth, name).await?;
            }
        }
        // After the runs: whose decision is not seen then has no run among them, and will ask for the same as this one.
        if self.is_decided_elsewhere(due, &active) {
            self.read_decided().await?;
        }
        let now = Timestamp::now();
        // Another try that waits is no reason to skip a time: the run of that time is the other try.
        let mut retries: HashMap<usize, Vec<Run>> = HashMap::new();
        for (nth, active) in &mut active {
            let waits = |run: &mut Run| waits_to_try_again(run, now);
            retries.insert(*nth, active.extract_if(.., waits).collect());
        }
        let mut draft = Draft::default();
        let mut next = Vec::new();
        for (_, place) in due {
            let (nth, which) = *place;
            let Some((pipeline, active)) = pipelines.get(nth).zip(active.get_mut(&nth)) else {
                continue;
            };
            let Some(when) = pipeline.plan.when.get(which) else {
                continue;
            };
            let known = self.decided.get(place).copied();
            // Who watches files begins it, and nobody else does so as well.
            let ever_ran = self.began.contains(&nth) || pipeline.is_watched();
            let decision = schedule::decide(&pipeline.plan, when, known, active, ever_ran, now);
            let next_due = decision.decided.next_due;
            next.extend(next_due.map(|next_due| (next_due, *place)));
            if !decision.requests.is_empty() {
                let why = "its schedule begins another run".to_owned();
                let replaced = retries.remove(&nth).into_iter().flatten();
                draft.cancel.extend(replaced.map(|run| (run.run, why.clone())));
            }
            if known.is_none_or(|known| known.next_due != next_due) || does_anything(&decision) {
                draft.add(pipeline, *place, &when.text(), decision, active, known.is_none());
            }
        }
        if !draft.decided.is_empty() {
            draft.write(&self.asker).await?;
            for (place, (_, _, decided)) in draft.places.iter().zip(&draft.decided) {
                self.decided.insert(*place, *decided);
            }
        }
        for looked_at in due {
            self.timetable.remove(looked_at);
        }
        self.timetable.extend(next);
        Ok(())
    }

    /// Whether runs are there of times that are not decided, as far as is known here: another service has decided them.
    fn is_decided_elsewhere(&self, due: &[(Instant, Place)], active: &HashMap<usize, Vec<Run>>) -> bool {
        due.iter().any(|(_, place)| {
            let until = self.decided.get(place).map(|decided| decided.until);
            let mut runs = active.get(&place.0).into_iter().flatten();
            runs.any(|run| run.due_at > until)
        })
    }

    async fn remember_begun(&mut self, nth: usize, pipeline: &SourceName) -> Result<(), StoreError> {
        if self.began.contains(&nth) {
            return Ok(());
        }
        let runs = self.asker.runs.newest(Some(pipeline), None, LOOKED_BACK).await?;
        let has_begun = |run: &Run| !matches!(run.state, RunState::Queued | RunState::Skipped);
        if runs.iter().any(has_begun) {
            self.began.insert(nth);
        }
        Ok(())
    }
}

/// Whether a run is another try whose time has not come.
fn waits_to_try_again(run: &Run, now: Timestamp) -> bool {
    run.state == RunState::Queued && run.trigger == Trigger::Retry && run.started_at > now.as_microsecond()
}

fn does_anything(decision: &Decision) -> bool {
    !(decision.requests.is_empty() && decision.skipped.is_empty() && decision.cancel.is_empty())
}

impl Draft {
    /// Adds what was decided for a schedule. `active` are the runs of its pipeline, to which those that it asks for are
    /// added, for the next of its schedules. `is_new` is whether nothing was decided of it before.
    fn add(
        &mut self,
        pipeline: &Pipeline,
        place: Place,
        text: &str,
        decision: Decision,
        active: &mut Vec<Run>,
        is_new: bool,
    ) {
        let plan = &pipeline.plan;
        let mut instead = None;
        let mut requested = Vec::new();
        for due in &decision.requests {
            let run = Run {
                started_at: due.begin.as_microsecond(),
                ..run_of(plan, due)
            };
            instead = Some(format!("replaced by run {}, which is due at {}", run.run, due.at));
            requested.push(run.clone());
            self.requests.push(Request {
                run,
                priority: plan.priority,
                host: pipeline.host.clone(),
                // What never ran is begun once, though services that see it for the first time do so at other times.
                once: Some(match is_new {
                    true => format!("{}@first", plan.pipeline),
                    false => key_of(plan, text, due),
                }),
            });
        }
        let why = instead.unwrap_or_else(|| "replaced by a later run".to_owned());
        for run in decision.cancel {
            active.retain(|other| other.run != run);
            self.cancel.push((run, why.clone()));
        }
        active.extend(requested);
        for due in &decision.skipped {
            self.skipped.push(Run {
                run: id_of(&key_of(plan, text, due), due),
                state: RunState::Skipped,
                ended_at: Some(now()),
                ..run_of(plan, due)
            });
        }
        let decided = (plan.pipeline.clone(), text.to_owned(), decision.decided);
        self.decided.push(decided);
        self.places.push(place);
    }

    async fn write(&self, asker: &Asker) -> Result<(), StoreError> {
        asker
            .queue
            .decide(&self.decided, &self.requests, &self.skipped, &self.cancel)
            .await?;
        for skipped in &self.skipped {
            let reason = skipped.reason.as_deref().unwrap_or_default();
            tracing::info!(pipeline = %skipped.pipeline, reason, "a time is skipped");
        }
        if !self.requests.is_empty() {
            asker.wake.notify_one();
        }
        Ok(())
    }
}

/// The run of a time.
fn run_of(plan: &Plan, due: &Due) -> Run {
    Run {
        reason: due.reason.clone(),
        due_at: Some(due.at.as_microsecond()),
        ..Run::new(plan.pipeline.clone(), due.trigger, now())
    }
}

/// The key of a time.
fn key_of(plan: &Plan, text: &str, due: &Due) -> String {
    format!("{}@{text}@{}", plan.pipeline, due.at.as_microsecond())
}

/// An id made of a time and its key: where two services skip it, they tell of it once.
fn id_of(key: &str, due: &Due) -> RunId {
    let bytes = Digest::of(key.as_bytes()).0.first_chunk::<10>().copied();
    let milliseconds = u64::try_from(due.at.as_millisecond()).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(milliseconds, &bytes.unwrap_or_default());
    RunId(id.into_uuid().to_string())
}

/// The wall clock beside one that is never set, and stands still while the machine sleeps.
struct Clocks {
    wall: Instant,
    steady: Clock,
}

impl Clocks {
    fn now() -> Self {
        Self {
            wall: now(),
            steady: Clock::now(),
        }
    }

    /// By how many microseconds the wall clock jumped since this was last asked.
    fn jump(&mut self) -> Option<i64> {
        let before = std::mem::replace(self, Self::now());
        let steady = self.steady.duration_since(before.steady).as_micros();
        let steady = i64::try_from(steady).unwrap_or(i64::MAX);
        let jump = (self.wall - before.wall).saturating_sub(steady);
        (jump.abs() > DRIFT).then_some(jump)
    }
}

#[cfg(test)]
mod tests;
