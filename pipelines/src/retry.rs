//! What an error means for a run: whether it is tried again, and when.
//!
//! - In: why a run failed, which attempt it was. Out: whether the next one can help, and how long to wait for it.
//! - Not here: how many attempts there are (`worker`), tries within a run (the collectors have theirs).

use crate::error::RunError;
use backon::{BackoffBuilder, ExponentialBuilder};
use collectors::CollectError;
use std::io::ErrorKind;
use std::time::Duration;
use store::StoreError;

/// Whether a run that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again: somebody has to change something first.
    Never,
    /// It can go well later; after so long, where the source or the matter itself says so.
    Later(Option<Duration>),
}

/// Between attempts: 30 s, 90 s, 270 s … up to an hour is what is planned. Jitter doubles a delay at most and is only ever
/// added, so these are smaller: what comes of them is 0.5 to 1.5 times the plan, and an hour at most.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(22_500))
    .with_factor(3.0)
    .with_max_delay(Duration::from_secs(1_800))
    .without_max_times()
    .with_jitter();

/// Attempts after which delays grow no more.
const GROWS: u32 = 8;

/// A path that is not there may lie on a drive that is not there: somebody will have to come.
const MISSING: Duration = Duration::from_secs(600);

/// What a source may ask for at most; whoever asks for more has made a mistake.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

impl Retry {
    /// What an error of a run means.
    pub fn of(error: &RunError) -> Self {
        match error {
            RunError::Collect(error) => of_source(error),
            RunError::Store(error) => of_store(error),
            // It was ended together with the program.
            RunError::Worker(error) if error.is_cancelled() => Self::Later(None),
            _ => Self::Never,
        }
    }
}

fn of_source(error: &CollectError) -> Retry {
    match error {
        CollectError::Unreadable { source, .. } => match source.kind() {
            ErrorKind::PermissionDenied => Retry::Never,
            ErrorKind::NotFound | ErrorKind::NotADirectory => Retry::Later(Some(MISSING)),
            _ => Retry::Later(None),
        },
        CollectError::Busy { after, .. } => Retry::Later(Some(*after)),
        CollectError::Disconnected { .. } | CollectError::Stopped => Retry::Later(None),
        CollectError::Lake(source) => source.downcast_ref::<StoreError>().map_or(Retry::Never, of_store),
        CollectError::Refused { .. }
        | CollectError::Protocol { .. }
        | CollectError::Misfit(_)
        | CollectError::Arrow(_) => Retry::Never,
    }
}

fn of_store(error: &StoreError) -> Retry {
    match error {
        StoreError::Locked { .. }
        | StoreError::Conflict { .. }
        | StoreError::TakenOver { .. }
        | StoreError::InUse { .. }
        | StoreError::Unreachable { .. }
        | StoreError::Io { .. }
        | StoreError::Database { .. } => Retry::Later(None),
        _ => Retry::Never,
    }
}

/// How long to wait after an attempt, the first being 1. What a source asked for is kept, and never cut short.
pub fn delay(attempt: u32, asked: Option<Duration>) -> Duration {
    let random = getrandom::u64().unwrap_or_default();
    match asked {
        // Those that were all turned away at once do not all come back at once.
        Some(asked) => asked.min(LONGEST) + Duration::from_millis(random % 1_000),
        None => {
            let nth = attempt.saturating_sub(1).min(GROWS) as usize;
            // Without a seed of their own, all would have the same jitter.
            let mut delays = BACKOFF.with_jitter_seed(random).build();
            delays.nth(nth).unwrap_or(MISSING)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::path::PathBuf;

    #[test]
    fn delays_stay_near_their_plan_and_differ() {
        for (attempt, planned) in [
            (1, 30.0),
            (2, 90.0),
            (3, 270.0),
            (4, 810.0),
            (5, 2_430.0),
            (6, 3_600.0),
            (7, 3_600.0),
            (1_000, 3_600.0),
        ] {
            let delays: Vec<f64> = (0..500).map(|_| delay(attempt, None).as_secs_f64()).collect();
            for delay in &delays {
                let ratio = delay / planned;
                assert!((0.5..=1.5).contains(&ratio), "attempt {attempt}: {delay} s");
                assert!(*delay <= 3_600.0, "attempt {attempt}: {delay} s");
            }
            let (least, most) = delays.iter().fold((f64::MAX, 0.0_f64), |(least, most), delay| {
                (least.min(*delay), most.max(*delay))
            });
            assert!(most / least > 1.2, "attempt {attempt}: all {least} to {most} s");
        }
    }

    #[test]
    fn what_a_source_asks_for_is_kept() {
        for seconds in [0, 7, 3_600] {
            let asked = Duration::from_secs(seconds);
            for attempt in [1, 5] {
                let delay = delay(attempt, Some(asked));
                assert!(
                    delay >= asked && delay < asked + Duration::from_secs(1),
                    "{delay:?}"
                );
            }
        }
        assert!(delay(1, Some(Duration::from_secs(u64::MAX))) <= LONGEST + Duration::from_secs(1));
    }

    #[test]
    fn only_what_time_can_mend_is_tried_again() {
        let refused = CollectError::Refused {
            host: "mail.example.org".to_owned(),
            user: "me".to_owned(),
            reason: "no".to_owned(),
        };
        let busy = CollectError::Busy {
            host: "mail.example.org".to_owned(),
            after: Duration::from_secs(5),
        };
        let lost = CollectError::Disconnected {
            host: "mail.example.org".to_owned(),
            source: "reset".into(),
        };
        let path = |kind: ErrorKind| CollectError::Unreadable {
            path: PathBuf::from("/media/backup"),
            source: io::Error::from(kind),
        };
        let conflict = || StoreError::Conflict {
            expected: 1,
            found: 2,
        };
        let unfit = StoreError::Unfit {
            reason: "newer".to_owned(),
        };
        for (error, retry) in [
            (RunError::from(refused), Retry::Never),
            (busy.into(), Retry::Later(Some(Duration::from_secs(5)))),
            (lost.into(), Retry::Later(None)),
            (path(ErrorKind::PermissionDenied).into(), Retry::Never),
            (path(ErrorKind::NotFound).into(), Retry::Later(Some(MISSING))),
            (path(ErrorKind::TimedOut).into(), Retry::Later(None)),
            (conflict().into(), Retry::Later(None)),
            (
                CollectError::Lake(Box::new(conflict())).into(),
                Retry::Later(None),
            ),
            (unfit.into(), Retry::Never),
        ] {
            assert_eq!(Retry::of(&error), retry, "{error:?}");
        }
    }
}
