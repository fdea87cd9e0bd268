//! `list_workflow_runs`: runs of workflows of a repository on GitHub.

use crate::github::{self, WorkflowRun};
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_workflow_runs",
    about: "Lists runs of workflows of a repository on GitHub, with how they ended.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/github/workflow-runs",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListWorkflowRuns>(),
    example: r#"{"repository": "me/site", "limit": 10}"#,
    output: Output::Json(|types| types.subschema_for::<WorkflowRunList>()),
    toolset: &toolset::GITHUB,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Of which repository.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListWorkflowRuns {
    /// `owner/name`, one that the configuration allows.
    #[schemars(length(min = 3, max = 140))]
    repository: String,
    /// How many, newest first.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 100))]
    limit: u8,
}

fn thirty() -> u8 {
    30
}

/// Runs of workflows of a repository on GitHub.
#[derive(Serialize, JsonSchema)]
struct WorkflowRunList {
    /// Newest first.
    workflow_runs: Vec<WorkflowRun>,
}

async fn list(call: Call<'_>, asked: ListWorkflowRuns) -> Result<WorkflowRunList, Problem> {
    if !(1..=100).contains(&asked.limit) {
        return Err(Problem::unprocessable("`limit` is from 1 to 100"));
    }
    let config = &call.gateway.config;
    let workflow_runs = github::workflow_runs(config, &asked.repository, asked.limit).await?;
    Ok(WorkflowRunList { workflow_runs })
}
