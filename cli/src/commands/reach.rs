//! A database that may not be there yet: whatever is always on waits for it, and says so once.
//!
//! - In: a place. Out: whether its database lets dkc in; or why it never will, which only an edit of the configuration cures.
//! - Not here: a database that goes away later (`pipelines`, `serve`), commands, which end when it is not there.

use crate::config::Misconfigured;
use backon::{ExponentialBuilder, Retryable as _};
use miette::{IntoDiagnostic as _, Result};
use std::error::Error as _;
use std::time::Duration;
use store::{Place, StoreError};
use tokio_util::sync::CancellationToken;

/// Waits between tries.
const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(250))
    .with_max_delay(Duration::from_secs(5))
    .without_max_times();

/// Waits until the database of a place lets dkc in; false where everything is to stop before.
///
/// # Errors
/// Why it does not, where waiting does not help.
pub async fn reach(place: &Place, stop: &CancellationToken) -> Result<bool> {
    let mut is_waited_for = false;
    let reached = (|| place.reach())
        .retry(WAITS)
        .when(|error: &StoreError| matches!(error, StoreError::Unreachable { .. }))
        .notify(|error: &StoreError, _: Duration| {
            if !std::mem::replace(&mut is_waited_for, true) {
                let cause = error.source().map(ToString::to_string);
                tracing::warn!(cause, "{error}; it is waited for");
            }
        });
    let reached = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(false),
        reached = reached => reached,
    };
    opened(reached)?;
    if is_waited_for {
        tracing::warn!("the database answers");
    }
    Ok(true)
}

/// What was opened, or why it was not: where only the configuration can be wrong, it is said to be.
///
/// # Errors
/// That it was not opened.
pub fn opened<T>(opened: Result<T, StoreError>) -> Result<T> {
    match opened {
        Err(
            error @ (StoreError::Refused { .. }
            | StoreError::NotMoved { .. }
            | StoreError::OtherDirectory { .. }
            | StoreError::TwoCatalogs { .. }),
        ) => Err(Misconfigured::report(error.to_string(), None)),
        opened => opened.into_diagnostic(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::is_mistake;
    use std::path::Path;

    fn at(url: &str) -> Place {
        Place {
            postgres: Some(url.to_owned().into()),
            ..Place::from(Path::new("/none"))
        }
    }

    #[tokio::test]
    async fn only_what_may_come_is_waited_for_and_only_until_it_is_to_stop() {
        let stop = CancellationToken::new();
        assert!(reach(&Place::from(Path::new("/none")), &stop).await.unwrap());
        let wrong = reach(&at("dkc:hunter2@127.0.0.1"), &stop).await.unwrap_err();
        assert!(is_mistake(&wrong), "{wrong}");
        assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
        let waiting = tokio::spawn({
            let stop = stop.clone();
            async move { reach(&at("postgres://dkc:pw@127.0.0.1:1/dkc"), &stop).await }
        });
        stop.cancel();
        assert!(!waiting.await.unwrap().unwrap());
    }
}
