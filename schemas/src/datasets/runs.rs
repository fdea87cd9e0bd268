//! `runs`: what each run of a pipeline did, does or is to do. Kept in the state database, because a run with nothing
//! new must not make a snapshot of the lake.
//!
//! - In: why a run is asked for. Out: the run, as it waits.
//! - Not here: who works on it, and in which order: the queue.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::names::{Cursor, Instant, RunId, SourceName};
use serde::{Deserialize, Serialize};
use uuid::{NoContext, Timestamp, Uuid};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "runs",
    about: "One row an attempt to run a pipeline, those too that wait or were skipped. items_seen = items_stored + items_unchanged + items_rejected.",
    key: &["run"],
    unit: "run",
    columns: &[
        Column::new("run", Kind::Text, "Id of the run: UUID version 7.").source("RFC 9562 §5.7"),
        Column::new("pipeline", Kind::Text, "Name of the pipeline."),
        Column::new(
            "state",
            Kind::Text,
            "queued, running, succeeded, partly_succeeded (some items rejected), failed, cancelled or skipped.",
        ),
        Column::new(
            "trigger",
            Kind::Text,
            "Why there is it: person, schedule, catch_up (its time passed while nothing ran), after (another pipeline), change (of a file) or retry.",
        ),
        Column::new(
            "reason",
            Kind::Text,
            "Why it was begun, put off or skipped, in words.",
        )
        .nullable()
        .private(),
        Column::new("due_at", Kind::Instant, "When its schedule said; UTC.").nullable(),
        Column::new("attempt", Kind::Int, "Which attempt it is; the first is 1."),
        Column::new("retry_of", Kind::Text, "The run that it tries again.").nullable(),
        Column::new(
            "started_at",
            Kind::Instant,
            "When it began; while it is queued, when it may begin at the earliest; UTC.",
        ),
        Column::new("ended_at", Kind::Instant, "When it ended; UTC.").nullable(),
        Column::new("items_seen", Kind::Int, "Items the source showed."),
        Column::new(
            "items_stored",
            Kind::Int,
            "Items that were new or whose bytes or attributes changed.",
        ),
        Column::new(
            "items_unchanged",
            Kind::Int,
            "Items that were already stored as they are.",
        ),
        Column::new(
            "items_rejected",
            Kind::Int,
            "Items that could not be read or converted; see `rejects`.",
        ),
        Column::new(
            "items_vanished",
            Kind::Int,
            "Items that are gone from the source; their originals stay in `raw`.",
        ),
        Column::new("bytes_stored", Kind::Int, "Bytes of the originals stored."),
        Column::new(
            "snapshots",
            Kind::Int,
            "Snapshots of the lake that the run committed.",
        ),
        Column::new("fetch_ms", Kind::Int, "Milliseconds it waited for its source."),
        Column::new("convert_ms", Kind::Int, "Milliseconds it made rows of what came."),
        Column::new("commit_ms", Kind::Int, "Milliseconds it stored them."),
        Column::new("index_ms", Kind::Int, "Milliseconds it made them searchable."),
        Column::new(
            "cursor_before",
            Kind::Text,
            "Where it began; JSON of the collector's own making.",
        )
        .nullable()
        .private(),
        Column::new("cursor_after", Kind::Text, "Where it ended.")
            .nullable()
            .private(),
        Column::new("error", Kind::Text, "Why it failed, with causes.")
            .nullable()
            .private(),
    ],
    home: Home::Relational,
    search: None,
};

/// Why there is a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Somebody asked for it.
    Person,
    /// Its schedule said so.
    Schedule,
    /// Its schedule said so while nothing ran.
    CatchUp,
    /// Another pipeline ended.
    After,
    /// A file changed.
    Change,
    /// The attempt before it failed.
    Retry,
}

impl Trigger {
    /// The trigger as `runs.trigger` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Schedule => "schedule",
            Self::CatchUp => "catch_up",
            Self::After => "after",
            Self::Change => "change",
            Self::Retry => "retry",
        }
    }
}

/// State of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for a worker.
    Queued,
    /// At work.
    Running,
    /// Done; every item was taken in.
    Succeeded,
    /// Done; some items were rejected.
    PartlySucceeded,
    /// Ended by an error; what it had committed stays.
    Failed,
    /// Ended by its user.
    Cancelled,
    /// Not begun, by its schedule's policy.
    Skipped,
}

impl RunState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::PartlySucceeded,
        Self::Failed,
        Self::Cancelled,
        Self::Skipped,
    ];

    /// The state as `runs.state` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::PartlySucceeded => "partly_succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// Whether nothing will become of it any more.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// What a run counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// `items_seen`.
    pub items_seen: u64,
    /// `items_stored`.
    pub items_stored: u64,
    /// `items_unchanged`.
    pub items_unchanged: u64,
    /// `items_rejected`.
    pub items_rejected: u64,
    /// `items_vanished`.
    pub items_vanished: u64,
    /// `bytes_stored`.
    pub bytes_stored: u64,
    /// `snapshots`.
    pub snapshots: u64,
}

impl Counts {
    /// Adds what another part of the same run counted.
    pub fn add(&mut self, other: Self) {
        self.items_seen += other.items_seen;
        self.items_stored += other.items_stored;
        self.items_unchanged += other.items_unchanged;
        self.items_rejected += other.items_rejected;
        self.items_vanished += other.items_vanished;
        self.bytes_stored += other.bytes_stored;
        self.snapshots += other.snapshots;
    }
}

/// How long each stage of a run took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages {
    /// `fetch_ms`.
    pub fetch_ms: u64,
    /// `convert_ms`.
    pub convert_ms: u64,
    /// `commit_ms`.
    pub commit_ms: u64,
    /// `index_ms`.
    pub index_ms: u64,
}

/// One run: one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// `run`.
    pub run: RunId,
    /// `pipeline`.
    pub pipeline: SourceName,
    /// `state`.
    pub state: RunState,
    /// `trigger`.
    pub trigger: Trigger,
    /// `reason`.
    pub reason: Option<String>,
    /// `due_at`.
    pub due_at: Option<Instant>,
    /// `attempt`.
    pub attempt: u32,
    /// `retry_of`.
    pub retry_of: Option<RunId>,
    /// `started_at`.
    pub started_at: Instant,
    /// `ended_at`.
    pub ended_at: Option<Instant>,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// How long its stages took.
    #[serde(flatten)]
    pub stages: Stages,
    /// `cursor_before`.
    pub cursor_before: Option<Cursor>,
    /// `cursor_after`.
    pub cursor_after: Option<Cursor>,
    /// `error`.
    pub error: Option<String>,
}

impl Run {
    /// A run that waits and may begin now, as a first attempt. Its id is of that moment too.
    pub fn new(pipeline: SourceName, trigger: Trigger, now: Instant) -> Self {
        let micros = u64::try_from(now).unwrap_or(0);
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        // Less than a second in nanoseconds fits.
        let nanos = u32::try_from(rest * 1_000).unwrap_or(0);
        let id = Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanos));
        Self {
            run: RunId(id.to_string()),
            pipeline,
            state: RunState::Queued,
            trigger,
            reason: None,
            due_at: None,
            attempt: 1,
            retry_of: None,
            started_at: now,
            ended_at: None,
            counts: Counts::default(),
            stages: Stages::default(),
            cursor_before: None,
            cursor_after: None,
            error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(now: Instant) -> Run {
        Run::new(SourceName::new("mail").unwrap(), Trigger::CatchUp, now)
    }

    #[test]
    fn ids_are_unlike_and_sort_by_time() {
        let moments = [0, 1_000, 1_753_000_000_000_000, 1_753_000_000_001_000];
        let ids: Vec<RunId> = moments.map(|now| run(now).run).into();
        assert!(ids.is_sorted_by(|earlier, later| earlier.0 < later.0), "{ids:?}");
        assert_ne!(run(5).run, run(5).run);
    }

    #[test]
    fn json_has_the_columns_of_the_dataset_in_their_order() {
        let text = serde_json::to_string(&run(7)).unwrap();
        let places: Vec<usize> = DATASET
            .columns
            .iter()
            .map(|column| {
                let key = format!("\"{}\":", column.name);
                text.find(&key)
                    .unwrap_or_else(|| panic!("{key} is not in {text}"))
            })
            .collect();
        assert!(places.is_sorted(), "{text}");
        assert!(text.contains(r#""trigger":"catch_up""#), "{text}");
        assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), run_of(&text));
    }

    /// The run of a JSON text by way of a tree, as faces read it.
    fn run_of(text: &str) -> Run {
        let tree: serde_json::Value = serde_json::from_str(text).unwrap();
        serde_json::from_value(tree).unwrap()
    }

    #[test]
    fn words_are_those_of_serde() {
        let triggers = [
            Trigger::Person,
            Trigger::Schedule,
            Trigger::CatchUp,
            Trigger::After,
            Trigger::Change,
            Trigger::Retry,
        ];
        for trigger in triggers {
            assert_eq!(serde_json::to_value(trigger).unwrap(), trigger.as_str());
        }
    }
}
