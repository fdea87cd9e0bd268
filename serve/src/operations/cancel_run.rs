//! `cancel_run`: an end to a run.
//!
//! - What waits is over at once. What is at work is asked to end, and keeps what it has committed. What has failed and is
//!   tried again is not over: the try is cancelled, and its id told.
//! - Not here: how a run notices (`pipelines::worker`).

use super::get_run::known;
use crate::operation::{Call, Effect, Method, OWNERS, Operation, Output, answer, parse};
use crate::problem::{Kind, Problem};
use crate::toolset;
use schemars::JsonSchema;
use schemas::RunId;
use schemas::datasets::runs::Run;
use serde::{Deserialize, Serialize};
use store::queue::Cancelled;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "cancel_run",
    about: "Cancels a run: one that waits is over, one at work is asked to end and keeps what it has stored. Of one that \
            failed the next try is cancelled.",
    effect: Effect::Act,
    roles: OWNERS,
    method: Method::Post,
    path: "/api/v1/runs/{run}/cancel",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<CancelRun>(),
    example: r#"{"run": "the id of a run"}"#,
    output: Output::Json(|types| types.subschema_for::<CancelledRun>()),
    toolset: &toolset::RUNS,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&cancel(call, parse(input)?).await?) }),
};

/// Which run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CancelRun {
    /// Its id.
    #[schemars(length(max = 100))]
    run: String,
}

/// A run that was cancelled.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct CancelledRun {
    /// Its id; that of the next try where the run had failed and was to be tried again.
    run: String,
    /// cancelled, or running where it is asked to end and has yet to.
    state: &'static str,
}

async fn cancel(call: Call<'_>, input: CancelRun) -> Result<CancelledRun, Problem> {
    let Run { run, .. } = known(call.gateway.lake.store().runs(), &input.run).await?;
    let why = format!("cancelled by `{}`", call.caller.who);
    told(call.gateway.queue.cancel(&run, &why).await?, &run)
}

/// What came of it, for whoever asked.
fn told(cancelled: Cancelled, run: &RunId) -> Result<CancelledRun, Problem> {
    match cancelled {
        Cancelled::Queued(RunId(run)) => Ok(CancelledRun {
            run,
            state: "cancelled",
        }),
        Cancelled::Asked(RunId(run)) => Ok(CancelledRun {
            run,
            state: "running",
        }),
        Cancelled::Over { state, .. } => {
            let detail = format!(
                "it is over already: its state is `{}`; `list_runs` tells what waits and what is at work",
                state.as_str()
            );
            Err(Problem::new(Kind::Conflict, detail))
        }
        Cancelled::Unknown => Err(Problem::not_found("run", &run.0, std::iter::empty())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::datasets::runs::{RunState, Trigger};
    use schemas::{Role, SourceName};
    use std::time::Duration;
    use store::queue::{Queue, Request};

    fn request(pipeline: &str) -> Request {
        let source = SourceName::new(pipeline).unwrap();
        Request {
            run: Run::new(source, Trigger::Person, 0),
            priority: 0,
            host: None,
            once: None,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_is_over_and_what_is_at_work_is_asked_to_end() {
        let data = tempfile::tempdir().unwrap();
        let queue = Queue::open(data.path()).await.unwrap();
        let requests = [request("mail"), request("notes")];
        let ids = queue.enqueue(&requests).await.unwrap();
        let at_work = queue.claim("w", 1, 1, Duration::from_secs(60)).await.unwrap();
        let at_work = at_work.first().unwrap().run.run.clone();
        let waits = ids.into_iter().find(|id| *id != at_work).unwrap();
        let cancel = async |run: &RunId| told(queue.cancel(run, "by me").await.unwrap(), run);
        assert_eq!(cancel(&waits).await.unwrap().state, "cancelled");
        assert_eq!(cancel(&at_work).await.unwrap().state, "running");
        let again = cancel(&waits).await.unwrap_err();
        assert_eq!(again.kind, Kind::Conflict);
        assert!(again.detail.contains("`cancelled`"), "{}", again.detail);
        // It is heard by who works on it.
        let ending = queue.renew("w", Duration::from_secs(60)).await.unwrap();
        assert_eq!(ending, [at_work]);
        let unknown = cancel(&RunId("none".to_owned())).await.unwrap_err();
        assert_eq!(unknown.kind, Kind::NotFound);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_cancels_what_has_failed_is_told_which_try_was_cancelled() {
        let data = tempfile::tempdir().unwrap();
        let queue = Queue::open(data.path()).await.unwrap();
        queue.enqueue(&[request("mail")]).await.unwrap();
        let claimed = queue.claim("w", 1, 1, Duration::from_secs(60)).await.unwrap();
        let claimed = claimed.first().unwrap();
        let retry = claimed.retry(0, "no route");
        let mut failed = claimed.run.clone();
        failed.state = RunState::Failed;
        queue.finish(&failed, Some(&retry)).await.unwrap();
        let cancelled = queue.cancel(&failed.run, "by me").await.unwrap();
        let expected = CancelledRun {
            run: retry.run.run.0,
            state: "cancelled",
        };
        assert_eq!(told(cancelled, &failed.run).unwrap(), expected);
    }

    #[test]
    fn what_is_over_says_how_it_ended() {
        let run = RunId("x".to_owned());
        let over = Cancelled::Over {
            state: RunState::Succeeded,
            last: run.clone(),
        };
        let problem = told(over, &run).unwrap_err();
        assert_eq!(problem.kind, Kind::Conflict);
        assert!(problem.detail.contains("`succeeded`"), "{}", problem.detail);
    }

    #[test]
    fn programs_and_who_sees_some_datasets_only_cancel_nothing() {
        assert_eq!(OPERATION.roles, [Role::User, Role::Dev]);
        assert!(OPERATION.is_of_all());
    }
}
