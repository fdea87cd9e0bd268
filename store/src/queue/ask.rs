//! Asking for a run where another may do as well. It is one rule, whoever asks: a person, a program, a change of files.
//!
//! - A run that waits and may begin will see all that is there by then: it is the answer, and nothing is added. One that
//!   waits for a later time, such as another try after an hour, is not what somebody wants who asks now.
//! - A run that is at work may have passed what is new already: another is queued behind it.
//! - Not here: times of schedules, each of which has a run of its own (`schedules`).

use super::enqueue::put;
use super::{Queue, Request, now};
use crate::error::StoreError;
use crate::runs::{columns, run_of};
use schemas::Instant;
use schemas::datasets::runs::Run;

const WAITS: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM runs WHERE pipeline = $1 AND state = 'queued' AND started_at <= $2 ORDER BY started_at, run LIMIT 1"
);

/// What failed has looked, too: it is tried again where that can help.
const LOOKED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM runs WHERE pipeline = $1 AND started_at > $2
        AND state IN ('running', 'succeeded', 'partly_succeeded', 'failed')
     ORDER BY started_at DESC, run DESC LIMIT 1"
);

const OF_ID: &str = concat!("SELECT ", columns!(), " FROM runs WHERE run = $1");

/// What became of asking for a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It is queued.
    New,
    /// This one does as well, and nothing was added.
    Known(Box<Run>),
}

impl Queue {
    /// Queues a run, unless one of its pipeline waits that may begin, or one has its name ([`Request::once`]). With
    /// `since`, a run that began after that moment will do, too: what is to be seen was there by then. However many ask
    /// at once, one run comes of it.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses; nothing is queued then.
    pub async fn ask(&self, request: &Request, since: Option<Instant>) -> Result<Asked, StoreError> {
        let failed = self.database.failed();
        let pipeline = request.run.pipeline.as_str();
        let (_turn, mut transaction) = self.alone().await?;
        let now = now();
        let mut known = sqlx::query(WAITS)
            .bind(pipeline)
            .bind(now)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(&failed)?;
        if known.is_none()
            && let Some(since) = since
        {
            known = sqlx::query(LOOKED)
                .bind(pipeline)
                .bind(since)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(&failed)?;
        }
        if known.is_none() {
            let id = put(&mut transaction, request, now).await.map_err(&failed)?;
            if id == request.run.run {
                transaction.commit().await.map_err(&failed)?;
                return Ok(Asked::New);
            }
            known = sqlx::query(OF_ID)
                .bind(id.0.as_str())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(&failed)?;
        }
        let row = known.ok_or_else(|| failed(sqlx::Error::RowNotFound))?;
        let run = run_of(&row).map_err(&failed)?;
        Ok(Asked::Known(Box::new(run)))
    }
}
