//! `list_runs`: what was collected, and how it went.

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use schemas::SourceName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_runs",
    about: "Lists runs of pipelines, newest first: how each ended and what it counted.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/runs",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListRuns>(),
    example: r#"{"limit": 5}"#,
    output: Output::Json(|types| types.subschema_for::<RunList>()),
    toolset: &toolset::MONITORING,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Which runs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListRuns {
    /// Of this pipeline; of all if absent.
    #[serde(default)]
    pipeline: Option<String>,
    /// So many at most.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

fn fifty() -> u32 {
    50
}

/// Runs.
#[derive(Serialize, JsonSchema)]
struct RunList {
    /// The runs, as the dataset `runs` has them.
    runs: Vec<Value>,
}

async fn list(call: Call<'_>, input: ListRuns) -> Result<RunList, Problem> {
    crate::lake::visible("runs", &call.caller.view)?;
    let pipeline = input.pipeline.map(|name| {
        SourceName::new(name)
            .map_err(|_| Problem::unprocessable("`pipeline` is not a name that a pipeline can have"))
    });
    let runs = call.gateway.lake.store().runs();
    let runs = runs.newest(pipeline.transpose()?.as_ref(), input.limit).await?;
    let runs = runs.iter().map(serde_json::to_value).collect::<Result<_, _>>();
    Ok(RunList {
        runs: runs.map_err(|error| Problem::internal(&error))?,
    })
}
