//! What an approval is: a request, how far it has come, what came of deciding it.
//!
//! - In: a row of the table `approvals`. Out: an [`Approval`] as it is at a moment. Not here: the table itself.

use crate::error::StoreError;
use schemas::Instant;
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;

/// What somebody wants to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Digest of the operation, who asks, the input and the plan, hexadecimal.
    pub digest: String,
    /// Who asks.
    pub who: String,
    /// What is to be done.
    pub operation: String,
    /// The plan's sentence for the owner.
    pub summary: String,
    /// Whether it ends or loses something.
    pub is_destructive: bool,
    /// Whether who asks has read text that others wrote.
    pub untrusted: bool,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its owner has not said anything yet.
    Waiting,
    /// It may be done, once.
    Approved,
    /// It may not be done.
    Refused,
    /// It was approved, and that was used up.
    Used,
    /// Nobody said anything in time, or nobody did it in time.
    Expired,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Approved,
        Self::Refused,
        Self::Used,
        Self::Expired,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Used => "used",
            Self::Expired => "expired",
        }
    }
}

/// A request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// Its name: a few characters, no secret.
    pub id: String,
    /// What is asked for.
    #[serde(flatten)]
    pub request: Request,
    /// How far it has come.
    pub state: State,
    /// When it was asked for.
    pub asked_at: Instant,
    /// When it was approved or refused.
    pub decided_at: Option<Instant>,
    /// By whom.
    pub decided_by: Option<String>,
    /// When it ends: one that waits, if nobody decides; one that is approved, if nobody uses it.
    pub expires_at: Instant,
}

/// What came of deciding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is decided.
    Done(Approval),
    /// There is none of that id.
    Unknown,
    /// It waits no longer; it is in this state.
    NotWaiting(State),
    /// Who asked cannot decide.
    OwnRequest,
}

/// Why an approval cannot be asked for.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// As many wait as may.
    #[error(
        "{} requests of the same asker wait for approval; wait until some are decided or expire",
        super::MOST_WAITING
    )]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A row as it is at that moment.
pub(super) fn approval_of(row: &AnyRow, now: Instant) -> Result<Approval, sqlx::Error> {
    let name: String = row.try_get("state")?;
    let state = State::ALL.into_iter().find(|state| state.as_str() == name);
    let state = state.ok_or_else(|| sqlx::Error::Decode(format!("`{name}` is not a state").into()))?;
    let expires_at: Instant = row.try_get("expires_at")?;
    let is = |name: &str| row.try_get::<i64, _>(name).map(|is| is != 0);
    let ends = matches!(state, State::Waiting | State::Approved);
    Ok(Approval {
        id: row.try_get("id")?,
        request: Request {
            digest: row.try_get("digest")?,
            who: row.try_get("who")?,
            operation: row.try_get("operation")?,
            summary: row.try_get("summary")?,
            is_destructive: is("is_destructive")?,
            untrusted: is("untrusted")?,
        },
        state: if ends && expires_at <= now {
            State::Expired
        } else {
            state
        },
        asked_at: row.try_get("asked_at")?,
        decided_at: row.try_get("decided_at")?,
        decided_by: row.try_get("decided_by")?,
        expires_at,
    })
}
