//! `get_run`: one run.

use super::list_runs::ToldRun;
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use schemas::datasets::runs::Run;
use serde::Deserialize;
use store::runs::Runs;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_run",
    about: "Tells of one run: its state, why it began, times, counts, cursors and error.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/runs/{run}",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<GetRun>(),
    example: r#"{"run": "the id of a run"}"#,
    output: Output::Json(|types| types.subschema_for::<ToldRun>()),
    toolset: &toolset::RUNS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&get(call, parse(input)?).await?) }),
};

/// Which run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetRun {
    /// Its id.
    #[schemars(length(max = 100))]
    run: String,
}

async fn get(call: Call<'_>, input: GetRun) -> Result<ToldRun, Problem> {
    crate::lake::visible("runs", &call.caller.view)?;
    let runs = call.gateway.lake.store().runs();
    Ok(known(runs, &input.run).await?.into())
}

/// The run of an id.
pub(super) async fn known(runs: &Runs, id: &str) -> Result<Run, Problem> {
    // What cannot be an id is not asked for: not every database takes every text.
    let run = match id.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => runs.get(id).await?,
        false => None,
    };
    run.ok_or_else(|| Problem::not_found("run", id, std::iter::empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Kind;
    use schemas::SourceName;
    use schemas::datasets::runs::Trigger;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_is_not_there_is_told_as_that() {
        let data = tempfile::tempdir().unwrap();
        let store = store::Store::open(data.path()).await.unwrap();
        let run = Run::new(SourceName::new("mail").unwrap(), Trigger::Person, 0);
        store.runs().record(&run).await.unwrap();
        assert_eq!(known(store.runs(), &run.run.0).await.unwrap(), run);
        for id in ["none", "", "a\0b", "é"] {
            let problem = known(store.runs(), id).await.unwrap_err();
            assert_eq!(problem.kind, Kind::NotFound, "{id:?}");
        }
    }
}
