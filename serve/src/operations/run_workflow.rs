//! `run_workflow`: starts a workflow on GitHub.

use crate::github::{self, StartedWorkflow};
use crate::operation::{Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::toolset;
use schemars::JsonSchema;
use serde::Deserialize;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "run_workflow",
    about: "Starts a workflow of a repository on GitHub; `list_workflow_runs` tells how it goes.",
    effect: Effect::Act,
    roles: TRUSTED,
    method: Method::Post,
    path: "/api/v1/github/workflow-runs",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<RunWorkflow>(),
    example: r#"{"repository": "me/site", "workflow": "deploy.yml", "reference": "main"}"#,
    output: Output::Json(|types| types.subschema_for::<StartedWorkflow>()),
    toolset: &toolset::GITHUB,
    holds_collected: false,
    plan: Some(|call, input| {
        Box::pin(async move {
            let asked: RunWorkflow = parse(input)?;
            let config = &call.gateway.config;
            github::plan(config, &asked.repository, &asked.workflow, &asked.reference).await
        })
    }),
    call: |call, input| {
        Box::pin(async move {
            let asked: RunWorkflow = parse(input)?;
            let config = &call.gateway.config;
            answer(&github::start(config, &asked.repository, &asked.workflow, &asked.reference).await?)
        })
    },
};

/// Which workflow, and on which branch.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunWorkflow {
    /// `owner/name`, one that the configuration allows.
    #[schemars(length(min = 3, max = 140))]
    repository: String,
    /// The file of a workflow that the configuration allows, such as `deploy.yml`.
    #[schemars(length(min = 1, max = 100))]
    workflow: String,
    /// A branch.
    #[schemars(
        length(min = 1, max = 100),
        regex(pattern = "^[A-Za-z0-9._/][A-Za-z0-9._/-]*$")
    )]
    reference: String,
}
