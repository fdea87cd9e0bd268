//! What is wrong, and who was told: small tables of the state database.
//!
//! - In: what was found to be wrong, and where was looked. Out: what each channel has to be told now, once.
//! - Not here: finding what is wrong, words for it, sending it (`pipelines::alerts`).

mod columns;
mod facts;
mod fares;
mod settle;
mod tell;

pub use columns::ColumnsChanged;
pub use facts::{AtWork, Failure, Newest, Standing, Waiting};
pub use fares::{Expected, Failed, Fares, Rejecting, TOLD_AT, Unattended, Wrong, late_since};
pub use settle::{EVENT, Looked, Settled};
pub use tell::News;

use crate::database::{Database, Part, Place};
use crate::error::StoreError;
use schemas::Instant;
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;

/// What alerts are about that are of no pipeline and no dataset: whoever finds one, it is the same one.
pub const LAKE: &str = "lake";
/// The disk of the data directory.
pub const DISK: &str = "disk";
/// The queue of runs.
pub const QUEUE: &str = "queue";
/// That nobody begins what is due. It names no pipeline.
pub const SCHEDULES: &str = "schedules";

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A pipeline's last run failed, and no other try is to come.
    Failing,
    /// A pipeline has not collected well for longer than was agreed.
    Late,
    /// A dataset has other columns than before. This is news once, and never over.
    SchemaChanged,
    /// A pipeline takes more time or room than was agreed.
    Budget,
    /// The disk is nearly full.
    DiskFull,
    /// What is kept cannot be read.
    Unreadable,
    /// Runs wait, and nobody takes them.
    Stalled,
    /// A pipeline's last run rejected items. It is told to whoever asks, and nobody is sent it.
    Rejected,
}

impl AlertKind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Failing,
        Self::Late,
        Self::SchemaChanged,
        Self::Budget,
        Self::DiskFull,
        Self::Unreadable,
        Self::Stalled,
        Self::Rejected,
    ];

    /// The kind as the table has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Late => "late",
            Self::SchemaChanged => "schema_changed",
            Self::Budget => "budget",
            Self::DiskFull => "disk_full",
            Self::Unreadable => "unreadable",
            Self::Stalled => "stalled",
            Self::Rejected => "rejected",
        }
    }

    /// The key of what is wrong in this way with a subject.
    pub fn key(self, subject: &str) -> String {
        format!("{}:{subject}", self.as_str())
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// What it is about, such as `failing:mail`; of one key one is open at most.
    pub key: String,
    /// What kind of thing it is.
    pub kind: AlertKind,
    /// The pipeline, the dataset, or what else it is about.
    pub subject: String,
    /// What is wrong. It may quote a source.
    pub what: String,
    /// What to do.
    pub next_step: String,
}

/// Something that is wrong still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Open {
    /// What is wrong.
    #[serde(flatten)]
    pub alert: Alert,
    /// Since when that is known.
    pub since: Instant,
}

/// The tables `alerts`, `alerts_told`, `alerts_columns` and `alerts_watched`.
#[derive(Debug, Clone)]
pub struct AlertLog {
    database: Database,
}

const OPEN: &str = "SELECT key, kind, subject, what, next_step, since FROM alerts
                    WHERE resolved_at IS NULL ORDER BY since, key";

impl AlertLog {
    /// Opens the alerts of a place.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn open(place: impl Into<Place>) -> Result<Self, StoreError> {
        let place = place.into();
        Ok(Self {
            database: Database::open(&place, Part::State).await?,
        })
    }

    /// What is wrong now, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn open_now(&self) -> Result<Vec<Open>, StoreError> {
        let failed = self.database.failed();
        let rows = sqlx::query(OPEN).fetch_all(self.database.pool()).await;
        let rows = rows.map_err(&failed)?;
        rows.iter()
            .map(open_of)
            .collect::<Result<_, _>>()
            .map_err(&failed)
    }

    /// Ends all use of the database.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

fn alert_of(row: &AnyRow) -> Result<Alert, sqlx::Error> {
    let kind: String = row.try_get("kind")?;
    let known = AlertKind::ALL.iter().find(|known| known.as_str() == kind);
    let kind = known.ok_or_else(|| sqlx::Error::Decode(format!("`{kind}` is not a kind of alert").into()))?;
    Ok(Alert {
        key: row.try_get("key")?,
        kind: *kind,
        subject: row.try_get("subject")?,
        what: row.try_get("what")?,
        next_step: row.try_get("next_step")?,
    })
}

fn open_of(row: &AnyRow) -> Result<Open, sqlx::Error> {
    Ok(Open {
        alert: alert_of(row)?,
        since: row.try_get("since")?,
    })
}

#[cfg(test)]
mod tests;
