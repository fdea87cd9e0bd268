//! `runs`: what each run of a pipeline did. Kept in the state database, because a run with nothing new
//! must not make a snapshot of the lake.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::names::{Cursor, Instant, RunId, SourceName};
use serde::{Deserialize, Serialize};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "runs",
    about: "One row a run of a pipeline. items_seen = items_stored + items_unchanged + items_rejected.",
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
        Column::new("started_at", Kind::Instant, "When it began; UTC."),
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
        Column::new("error", Kind::Text, "Why it failed, with causes.").nullable(),
    ],
    home: Home::Relational,
    search: None,
};

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

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// `run`.
    pub run: RunId,
    /// `pipeline`.
    pub pipeline: SourceName,
    /// `state`.
    pub state: RunState,
    /// `started_at`.
    pub started_at: Instant,
    /// `ended_at`.
    pub ended_at: Option<Instant>,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// `cursor_before`.
    pub cursor_before: Option<Cursor>,
    /// `cursor_after`.
    pub cursor_after: Option<Cursor>,
    /// `error`.
    pub error: Option<String>,
}
