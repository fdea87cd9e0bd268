//! What is decided of schedules, kept together with what comes of it.

use super::enqueue::{put, skip};
use super::{Queue, Request, end, now};
use crate::error::StoreError;
use schemas::datasets::runs::Run;
use schemas::{Instant, RunId, SourceName};
use std::collections::HashMap;

const DECIDE: &str = "INSERT INTO schedules (pipeline, trigger, decided_until, next_due) VALUES ($1, $2, $3, $4)
    ON CONFLICT (pipeline, trigger) DO UPDATE SET decided_until = excluded.decided_until, next_due = excluded.next_due";

/// How far one schedule of a pipeline is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// Of all times up to this one it is decided what comes of them.
    pub until: Instant,
    /// When it is due next.
    pub next_due: Option<Instant>,
}

impl Queue {
    /// How far all schedules are decided, by the pipeline and the text of the schedule; also of those that are not in
    /// the configuration any more.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn schedules(&self) -> Result<HashMap<(SourceName, String), Decided>, StoreError> {
        let failed = self.database.failed();
        let rows: Vec<(String, String, i64, Option<i64>)> =
            sqlx::query_as("SELECT pipeline, trigger, decided_until, next_due FROM schedules")
                .fetch_all(self.database.pool())
                .await
                .map_err(&failed)?;
        rows.into_iter()
            .map(|(pipeline, trigger, until, next_due)| {
                let pipeline = SourceName::new(pipeline)
                    .map_err(|error| failed(sqlx::Error::Decode(Box::new(error))))?;
                Ok(((pipeline, trigger), Decided { until, next_due }))
            })
            .collect()
    }

    /// Keeps what is decided of schedules, and does what is decided: queues runs, keeps those that are skipped, cancels
    /// others. All of it or nothing, so that a kill never makes a time happen twice or not at all. The ids are those of
    /// the requests, as [`Queue::enqueue`] tells them.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses; nothing is done then.
    pub async fn decide(
        &self,
        decided: &[(SourceName, String, Decided)],
        requests: &[Request],
        skipped: &[Run],
        cancel: &[(RunId, String)],
    ) -> Result<Vec<RunId>, StoreError> {
        let failed = self.database.failed();
        let (_turn, mut transaction) = self.alone().await?;
        let now = now();
        for (run, why) in cancel {
            end::cancel(&mut transaction, run, why, now)
                .await
                .map_err(&failed)?;
        }
        for run in skipped {
            skip(&mut transaction, run, now).await.map_err(&failed)?;
        }
        let mut ids = Vec::with_capacity(requests.len());
        for request in requests {
            ids.push(put(&mut transaction, request, now).await.map_err(&failed)?);
        }
        for (pipeline, trigger, decided) in decided {
            sqlx::query(DECIDE)
                .bind(pipeline.as_str())
                .bind(trigger.as_str())
                .bind(decided.until)
                .bind(decided.next_due)
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(ids)
    }
}
