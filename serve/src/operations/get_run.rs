//! `get_run`: one run.

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use schemas::datasets::runs::Run;
use serde::Deserialize;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_run",
    about: "Tells of one run: its state, times, counts, cursors and error.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/runs/{run}",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<GetRun>(),
    example: r#"{"run": "the id of a run"}"#,
    output: Output::Json(|types| types.subschema_for::<serde_json::Value>()),
    toolset: &toolset::MONITORING,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&get(call, parse(input)?).await?) }),
};

/// Which run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetRun {
    /// Its id.
    run: String,
}

async fn get(call: Call<'_>, input: GetRun) -> Result<Run, Problem> {
    crate::lake::visible("runs", &call.caller.view)?;
    let run = call.gateway.lake.store().runs().get(&input.run).await?;
    run.ok_or_else(|| Problem::not_found("run", &input.run, std::iter::empty()))
}
