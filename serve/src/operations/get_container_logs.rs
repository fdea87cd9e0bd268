//! `get_container_logs`: the end of a container's log.

use crate::containers::{self, ContainerLog};
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use serde::Deserialize;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_container_logs",
    about: "Tells the last lines of a container's log.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/containers/{container}/logs",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<GetContainerLogs>(),
    example: r#"{"container": "web", "lines": 100}"#,
    output: Output::Json(|types| types.subschema_for::<ContainerLog>()),
    toolset: &toolset::CONTAINERS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&logs(call, parse(input)?).await?) }),
};

/// Which container, and how much of its log.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetContainerLogs {
    /// Its name, as `list_containers` has it.
    #[schemars(length(min = 1, max = 100))]
    container: String,
    /// Lines.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 1, max = 2000))]
    lines: u16,
    /// None before this time (RFC 3339).
    #[serde(default)]
    #[schemars(length(max = 40))]
    since: Option<String>,
}

fn two_hundred() -> u16 {
    200
}

async fn logs(call: Call<'_>, asked: GetContainerLogs) -> Result<ContainerLog, Problem> {
    if !(1..=2000).contains(&asked.lines) {
        return Err(Problem::unprocessable("`lines` is from 1 to 2000"));
    }
    let (config, since) = (&call.gateway.config, asked.since.as_deref());
    containers::logs(config, &asked.container, asked.lines, since, call.cancel).await
}
