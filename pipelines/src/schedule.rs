//! When pipelines are due, and what is done at that time: the words for it. No clock, no I/O: the time is told.
//!
//! - In: the text of a schedule; what was decided before, what is queued and at work, what time it is.
//!   Out: runs to be queued, times that are skipped and why, runs to be cancelled, the next time.
//! - Times that are up to [`Decided::until`] are decided for good. A decision and its `until` belong into one transaction:
//!   then a time is requested, made up for or skipped exactly once, however often the process is killed.
//! - Not here: the queue and its table of schedules (`store::queue`), who waits for the next time, who sees files change.

mod decide;
mod times;
mod when;

pub use decide::decide;
pub use times::upcoming_since;
pub use when::{BadSchedule, When, upcoming};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use schemas::datasets::runs::Trigger;
use schemas::{RunId, SourceName};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::queue::Decided;

/// What becomes of times that came while nothing ran here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    /// Nothing: the next time is soon enough.
    Skip,
    /// One run makes up for all of them.
    #[default]
    One,
    /// A run each, for those within the window.
    All,
}

/// What becomes of a time that comes while an earlier run of the pipeline is queued or at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// It is skipped.
    #[default]
    Skip,
    /// Its run waits for the earlier one.
    Queue,
    /// The earlier run is cancelled.
    Replace,
}

/// When a pipeline is due, and what becomes of times that come late or too early.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The pipeline.
    pub pipeline: SourceName,
    /// When it is due; none: when somebody asks for it.
    pub when: Vec<When>,
    /// The time zone of its patterns.
    pub zone: TimeZone,
    /// How much later than its time a run may begin, so that not everything begins at once.
    pub jitter: Duration,
    /// What becomes of missed times.
    pub catch_up: CatchUp,
    /// How far back [`CatchUp::All`] goes.
    pub window: SignedDuration,
    /// What becomes of times that come too early.
    pub overlap: Overlap,
    /// How long a run may take.
    pub timeout: Option<Duration>,
    /// How often a run that failed is tried again.
    pub retries: u32,
    /// Which of the queued runs begins first: the one with more.
    pub priority: i64,
    /// How old its last good run may be before somebody is told.
    pub fresh_within: Option<SignedDuration>,
}

/// What is to be done for one schedule of a plan now.
#[derive(Debug)]
pub struct Decision {
    /// Runs to be queued, in the order of their times.
    pub requests: Vec<Due>,
    /// Times that get no run, and why; many with one reason are one, which says how many.
    pub skipped: Vec<Due>,
    /// Runs that are replaced.
    pub cancel: Vec<RunId>,
    /// Up to where all is decided now.
    pub decided: Decided,
}

/// A time of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// As the schedule says.
    pub at: Timestamp,
    /// When its run may begin.
    pub begin: Timestamp,
    /// Whether it is on time or made up for.
    pub trigger: Trigger,
    /// Why it is late, or skipped.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests;
