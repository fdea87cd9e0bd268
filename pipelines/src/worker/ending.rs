//! How a run ended, and what follows from it: another attempt, or none. Pure.

use super::{Outcome, Why};
use crate::retry::{Retry, delay};
use crate::run::now;
use jiff::SignedDuration;
use schemas::datasets::runs::{Run, RunState};
use std::time::Duration;
use store::queue::{Claimed, Request};

/// The end of a run.
pub(super) struct Ending {
    /// The run, over.
    pub run: Run,
    /// The attempt after it.
    pub next: Option<Request>,
}

impl Ending {
    /// What is to be written of an outcome. `why` it was asked to end, if it was; `retries` is how often it may be tried
    /// again.
    pub fn of(claimed: &Claimed, outcome: Outcome, why: Option<Why>, retries: u32) -> Self {
        let Outcome { mut run, mut retry } = outcome;
        if !run.state.is_over() {
            run.state = RunState::Failed;
            run.error = Some("it ended without a word; this is a bug of dkc, please report it".to_owned());
            retry = Retry::Never;
        }
        run.ended_at.get_or_insert_with(now);
        let before = claimed.run.attempt;
        if run.state == RunState::Cancelled {
            let rest = "what is committed stays, and the next run goes on from there";
            match why {
                // Its user, who was told so already.
                Some(Why::Asked) | None => retry = Retry::Never,
                Some(Why::Stopped) => {
                    // It is none of its own doing, so it counts as no attempt.
                    run.error = Some(format!("the service was stopped; {rest}"));
                    let mut next = claimed.retry(now(), "the service was stopped");
                    next.run.attempt = before;
                    return Self {
                        run,
                        next: Some(next),
                    };
                }
                Some(Why::TookTooLong(limit)) => {
                    run.state = RunState::Failed;
                    run.error = Some(format!("it took longer than {}; {rest}", words(limit)));
                    retry = Retry::Later(None);
                }
                Some(Why::LeaseLost) => {
                    run.state = RunState::Failed;
                    run.error = Some(format!("the database was away for too long; {rest}"));
                    retry = Retry::Later(None);
                }
            }
        }
        let asked = match retry {
            Retry::Later(asked) if run.state == RunState::Failed && before <= retries => asked,
            _ => return Self { run, next: None },
        };
        let wait = delay(before, asked);
        let begin = now().saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX));
        let (attempt, most) = (before.saturating_add(1), retries.saturating_add(1));
        let error = run.error.as_deref().unwrap_or_default();
        let next = claimed.retry(begin, format!("attempt {attempt} of {most}, after: {error}"));
        Self {
            run,
            next: Some(next),
        }
    }

    /// Whether it failed and nothing follows by itself.
    pub fn gives_up(&self) -> bool {
        self.run.state == RunState::Failed && self.next.is_none()
    }
}

/// A time as people write it.
fn words(time: Duration) -> String {
    SignedDuration::try_from(time).map_or_else(|_| format!("{time:?}"), |time| format!("{time:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::SourceName;
    use schemas::datasets::runs::Trigger;

    fn claimed(attempt: u32) -> Claimed {
        let mut run = Run::new(SourceName::new("mail").unwrap(), Trigger::Schedule, 1_000_000);
        run.state = RunState::Running;
        run.attempt = attempt;
        run.due_at = Some(5);
        Claimed {
            run,
            priority: 3,
            host: Some("mail.example.org".to_owned()),
        }
    }

    fn outcome(claimed: &Claimed, state: RunState, retry: Retry) -> Outcome {
        let mut run = claimed.run.clone();
        run.state = state;
        run.error = Some("no route to host".to_owned());
        Outcome { run, retry }
    }

    #[test]
    fn a_failure_that_time_can_mend_is_tried_again_until_its_attempts_are_used_up() {
        for (attempt, retry, is_tried_again) in [
            (1, Retry::Later(None), true),
            (4, Retry::Later(Some(Duration::from_secs(9))), true),
            (5, Retry::Later(None), false),
            (1, Retry::Never, false),
        ] {
            let claimed = claimed(attempt);
            let before = now();
            let ending = Ending::of(&claimed, outcome(&claimed, RunState::Failed, retry), None, 4);
            assert_eq!(ending.run.state, RunState::Failed);
            assert_eq!(ending.gives_up(), !is_tried_again);
            let Some(next) = ending.next else {
                assert!(!is_tried_again, "attempt {attempt}, {retry:?}");
                continue;
            };
            assert!(is_tried_again, "attempt {attempt}, {retry:?}");
            assert_eq!(next.run.attempt, attempt + 1);
            assert_eq!(next.run.retry_of.as_ref(), Some(&claimed.run.run));
            assert_ne!(next.run.run, claimed.run.run);
            assert_eq!((next.run.trigger, next.run.due_at), (Trigger::Retry, Some(5)));
            assert_eq!((next.priority, next.host), (3, claimed.host));
            let waits = next.run.started_at - before;
            assert!(waits >= 9_000_000, "{waits}");
            let reason = next.run.reason.unwrap();
            assert!(reason.contains("of 5") && reason.contains("no route"), "{reason}");
        }
    }

    #[test]
    fn what_ended_early_is_told_by_why_it_was_asked_to() {
        let cancelled = |why| {
            let claimed = claimed(5);
            Ending::of(
                &claimed,
                outcome(&claimed, RunState::Cancelled, Retry::Never),
                why,
                9,
            )
        };
        let asked = cancelled(Some(Why::Asked));
        assert_eq!(asked.run.state, RunState::Cancelled);
        assert!(asked.next.is_none() && !asked.gives_up());

        let stopped = cancelled(Some(Why::Stopped));
        assert_eq!(stopped.run.state, RunState::Cancelled);
        let next = stopped.next.unwrap().run;
        assert_eq!((next.attempt, next.trigger), (5, Trigger::Retry));
        assert_eq!(next.reason.as_deref(), Some("the service was stopped"));
        assert!(next.started_at <= now());

        let slow = cancelled(Some(Why::TookTooLong(Duration::from_secs(5_400))));
        assert_eq!(slow.run.state, RunState::Failed);
        assert!(
            slow.run.error.as_ref().unwrap().contains("longer than 1h 30m"),
            "{:?}",
            slow.run.error
        );
        assert_eq!(slow.next.unwrap().run.attempt, 6);

        let lost = cancelled(Some(Why::LeaseLost));
        assert_eq!(lost.run.state, RunState::Failed);
        assert!(lost.next.is_some());
    }

    #[test]
    fn what_ended_well_although_it_was_asked_to_end_stays_well() {
        let claimed = claimed(1);
        let too_long = Why::TookTooLong(Duration::from_secs(1));
        for why in [Why::Asked, Why::Stopped, too_long, Why::LeaseLost] {
            let ending = Ending::of(
                &claimed,
                outcome(&claimed, RunState::Succeeded, Retry::Never),
                Some(why),
                4,
            );
            assert_eq!(ending.run.state, RunState::Succeeded);
            assert!(ending.next.is_none());
            assert!(ending.run.ended_at.is_some());
        }
    }
}
