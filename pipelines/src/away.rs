//! A database that is away: said once, waited for with patience, and said to be back.

use crate::run::with_causes;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::error::Error;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest wait between two tries.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits between tries.
const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(LONGEST)
    .without_max_times();

/// Whether one part of the service has its database.
#[derive(Debug)]
pub(crate) struct Away {
    /// Whose it is, for the log.
    part: &'static str,
    waits: Option<ExponentialBackoff>,
}

impl Away {
    /// Of a part of the service that has its database.
    pub fn new(part: &'static str) -> Self {
        Self { part, waits: None }
    }

    /// Something went well.
    pub fn is_over(&mut self) {
        if self.waits.take().is_some() {
            tracing::info!(part = self.part, "the database is back");
        }
    }

    /// Waits before the next try, unless everything is to stop.
    pub async fn wait(&mut self, error: &(dyn Error + Sync), stop: &CancellationToken) {
        if self.waits.is_none() {
            let error = with_causes(error);
            tracing::warn!(
                part = self.part,
                error,
                "cannot use the database; it is tried again until it is back"
            );
        }
        let waits = self.waits.get_or_insert_with(|| WAITS.build());
        let wait = waits.next().unwrap_or(LONGEST);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}
