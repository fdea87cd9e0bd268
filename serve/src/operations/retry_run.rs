//! `retry_run`: a run that did not come to its end, once more.
//!
//! - It is a run of its own, which names the one it is for.
//! - Not here: runs that are tried again by themselves (`pipelines::worker`).

use super::get_run::known;
use super::start_run::{AskedRun, configured};
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::{Kind, Problem};
use crate::toolset;
use schemars::JsonSchema;
use schemas::datasets::runs::{Run, Trigger};
use serde::Deserialize;
use store::queue::Queue;
use store::runs::Runs;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "retry_run",
    about: "Asks for a run that failed, was cancelled or skipped once more, as a run of its own.",
    effect: Effect::Act,
    roles: TRUSTED,
    method: Method::Post,
    path: "/api/v1/runs/{run}/retry",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<RetryRun>(),
    example: r#"{"run": "the id of a run"}"#,
    output: Output::Json(|types| types.subschema_for::<AskedRun>()),
    toolset: &toolset::RUNS,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&retry(call, parse(input)?).await?) }),
};

/// Which run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RetryRun {
    /// Its id.
    #[schemars(length(max = 100))]
    run: String,
}

async fn retry(call: Call<'_>, input: RetryRun) -> Result<AskedRun, Problem> {
    let runs = call.gateway.lake.store().runs();
    let run = known(runs, &input.run).await?;
    let pipelines = &call.gateway.config.pipelines;
    configured(pipelines, run.pipeline.as_str()).map_err(|_| {
        let detail = format!(
            "its pipeline `{}` is not in the configuration any more",
            run.pipeline
        );
        Problem::new(Kind::Conflict, detail)
    })?;
    again(&call.gateway.queue, runs, &run).await
}

/// Asks for it once more; where that was done already and has yet to end, it is that one.
async fn again(queue: &Queue, runs: &Runs, run: &Run) -> Result<AskedRun, Problem> {
    let active = queue.active(&run.pipeline).await?;
    let Some(id) = queue.requeue(&run.run, Trigger::Person).await? else {
        let detail = format!(
            "its state is `{}`; only what failed, was cancelled or skipped can be tried again, and `start_run` begins anew",
            run.state.as_str()
        );
        return Err(Problem::new(Kind::Conflict, detail));
    };
    let is_known = active.iter().any(|other| other.run == id);
    Ok(AskedRun::new(&known(runs, &id.0).await?, is_known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::SourceName;
    use store::queue::Request;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_cancelled_is_tried_again_once() {
        let data = tempfile::tempdir().unwrap();
        let store = store::Store::open(data.path()).await.unwrap();
        let queue = Queue::open(data.path()).await.unwrap();
        let runs = store.runs();
        let request = Request {
            run: Run::new(SourceName::new("mail").unwrap(), Trigger::Schedule, 0),
            priority: 0,
            host: None,
            once: None,
        };
        queue.enqueue(std::slice::from_ref(&request)).await.unwrap();
        let waits = known(runs, &request.run.run.0).await.unwrap();
        let refused = again(&queue, runs, &waits).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Conflict);
        assert!(refused.detail.contains("`queued`"), "{}", refused.detail);
        queue.cancel(&waits.run, "by me").await.unwrap();
        let cancelled = known(runs, &waits.run.0).await.unwrap();
        let one = again(&queue, runs, &cancelled).await.unwrap();
        let other = again(&queue, runs, &cancelled).await.unwrap();
        let new = queue.active(&waits.pipeline).await.unwrap();
        assert_eq!(new.len(), 1, "{new:?}");
        let new = new.first().unwrap();
        assert_ne!(new.run, waits.run);
        assert_eq!((new.attempt, new.retry_of.as_ref()), (1, Some(&waits.run)));
        assert_eq!([one, other], [false, true].map(|known| AskedRun::new(new, known)));
    }
}
