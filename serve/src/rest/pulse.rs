//! Whether the database answers. Whoever asks while it does not is told why, and does not wait for it.
//!
//! - In: a [`Gateway`], whose database is asked again and again. Out: a [`Pulse`], which every request carries.
//! - Only where the tables are in Postgres: files do not go away.
//! - Not here: work that waits until the database is back (`pipelines`).

use crate::dispatcher::Gateway;
use crate::problem::{Kind, Problem};
use axum::http::Extensions;
use std::sync::Arc;
use std::time::Duration;
use store::StoreError;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often the database is asked.
const LOOKS: Duration = Duration::from_secs(1);

/// How long it may take to answer: after [`LOOKS`] and this nobody waits for it any more.
const ANSWER: Duration = Duration::from_secs(2);

/// Whether the database is away, and what whoever asks is told then. Requests share one receiver; only those that wait take
/// one of their own.
#[derive(Debug, Clone)]
pub(crate) struct Pulse(Arc<watch::Receiver<Option<Problem>>>);

impl Pulse {
    /// One that beats until something else is said through the sender.
    pub(crate) fn new() -> (watch::Sender<Option<Problem>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(Arc::new(receiver)))
    }

    /// That of the gateway that a request came to.
    pub(crate) fn of(request: &Extensions) -> Self {
        // Without one nobody looks.
        request.get().cloned().unwrap_or_else(|| Self::new().1)
    }

    /// Why the database is not to be had; `None` while it answers.
    pub(crate) fn is_away(&self) -> Option<Problem> {
        self.0.borrow().clone()
    }

    /// What comes of it, unless the database is away and it would wait, or the database goes away meanwhile.
    ///
    /// # Errors
    /// Its own; [`Kind::Unavailable`] while the database is away.
    pub(crate) async fn beside<T>(
        &self,
        answer: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let goes_away = async {
            let mut pulse = watch::Receiver::clone(&self.0);
            pulse.wait_for(Option::is_some).await.ok()?.clone()
        };
        tokio::select! {
            biased;
            answered = answer => answered.map_err(|problem| self.blame(problem)),
            // Where nobody looks any more, it does not match.
            Some(away) = goes_away => Err(away),
        }
    }

    /// A problem, or that the database is away where that is why.
    pub(crate) fn blame(&self, problem: Problem) -> Problem {
        // A query that cannot be answered for this reason comes as one that is wrong.
        let may_be_why = matches!(problem.kind, Kind::Internal | Kind::Unprocessable);
        match may_be_why {
            true => self.is_away().unwrap_or(problem),
            false => problem,
        }
    }
}

/// Asks the database whether it answers, until the gateway is closed.
pub(super) async fn look(gateway: &Gateway, pulse: watch::Sender<Option<Problem>>) {
    if gateway.lake.store().place().postgres.is_none() {
        return;
    }
    let mut looks = interval(LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = gateway.closed.cancelled() => return,
            _ = looks.tick() => {}
        }
        // Tokens are what every request is checked by.
        let failure = match timeout(ANSWER, gateway.callers.tokens().generation()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some((told(&error), error.to_string())),
            Err(_) => Some((
                Problem::away(),
                format!("no answer within {} s", ANSWER.as_secs()),
            )),
        };
        let (problem, failure) = failure.unzip();
        let before = pulse.send_replace(problem.clone());
        match failure {
            // That it went away, or is away for another reason than before.
            Some(failure) if before != problem => {
                tracing::error!(
                    failure,
                    "the database is away; requests are turned away until it answers"
                );
            }
            None if before.is_some() => {
                tracing::warn!("the database answers again");
                gateway.lake.look_again();
            }
            _ => {}
        }
    }
}

/// What whoever asks is told of a database that failed.
fn told(error: &StoreError) -> Problem {
    match error {
        StoreError::Refused { why, .. } => Problem::refused(why),
        _ => Problem::away(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test]
    async fn nobody_waits_for_a_database_that_is_away() {
        let (says, pulse) = Pulse::new();
        assert_eq!(pulse.beside(ready(Ok(1))).await, Ok(1));
        let waits = tokio::spawn({
            let pulse = pulse.clone();
            async move { pulse.beside(pending::<Result<i32, Problem>>()).await }
        });
        says.send_replace(Some(Problem::away()));
        assert_eq!(waits.await.unwrap(), Err(Problem::away()));
        assert_eq!(
            pulse.beside(pending::<Result<i32, Problem>>()).await,
            Err(Problem::away())
        );
        // What needs no database is answered all the same, and so is what is wrong in any case.
        assert_eq!(pulse.beside(ready(Ok(1))).await, Ok(1));
        let kind = async |kind: Kind| {
            let answer = ready(Err::<i32, _>(Problem::new(kind, "…")));
            pulse.beside(answer).await.unwrap_err().kind
        };
        assert_eq!(kind(Kind::Unauthorized).await, Kind::Unauthorized);
        assert_eq!(kind(Kind::Internal).await, Kind::Unavailable);
        says.send_replace(None);
        assert_eq!(kind(Kind::Internal).await, Kind::Internal);
        assert_eq!(pulse.beside(ready(Ok(1))).await, Ok(1));
    }

    #[tokio::test]
    async fn a_database_that_refuses_is_told_apart_from_one_that_is_silent() {
        let (says, pulse) = Pulse::new();
        let refused = Problem::new(Kind::Unavailable, "its password is wrong");
        says.send_replace(Some(refused.clone()));
        let answer = pending::<Result<i32, Problem>>();
        assert_eq!(pulse.beside(answer).await, Err(refused.clone()));
        assert_eq!(pulse.blame(Problem::unprocessable("…")), refused);
    }

    #[tokio::test]
    async fn where_nobody_looks_an_answer_is_waited_for() {
        let (says, pulse) = Pulse::new();
        drop(says);
        let later = async {
            tokio::task::yield_now().await;
            Ok(1)
        };
        assert_eq!(pulse.beside(later).await, Ok(1));
    }
}
