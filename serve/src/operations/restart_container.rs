//! `restart_container`: restarts a container.

use crate::containers::{self, ContainerDetail};
use crate::operation::{Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::toolset;
use schemars::JsonSchema;
use serde::Deserialize;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "restart_container",
    about: "Restarts a container: what it is doing ends, at the latest after 10 s.",
    effect: Effect::Act,
    roles: TRUSTED,
    method: Method::Post,
    path: "/api/v1/containers/{container}/restart",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<RestartContainer>(),
    example: r#"{"container": "web"}"#,
    output: Output::Json(|types| types.subschema_for::<ContainerDetail>()),
    toolset: &toolset::CONTAINERS,
    holds_collected: true,
    plan: Some(|call, input| {
        Box::pin(async move {
            let asked: RestartContainer = parse(input)?;
            containers::plan_restart(&call.gateway.config, &asked.container).await
        })
    }),
    call: |call, input| {
        Box::pin(async move {
            let asked: RestartContainer = parse(input)?;
            answer(&containers::restart(&call.gateway.config, &asked.container).await?)
        })
    },
};

/// Which container.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RestartContainer {
    /// Its name, as `list_containers` has it.
    #[schemars(length(min = 1, max = 100))]
    container: String,
}
