//! `list_containers`: the containers of the configuration.

use crate::containers::{self, ContainerEntry};
use crate::operation::{Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_containers",
    about: "Lists the containers that may be looked at and restarted, with their state.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/containers",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListContainers>(),
    example: r#"{}"#,
    output: Output::Json(|types| types.subschema_for::<ContainerList>()),
    toolset: &toolset::CONTAINERS,
    holds_collected: true,
    plan: None,
    call: |call, input| {
        Box::pin(async move {
            let ListContainers {} = parse(input)?;
            let containers = containers::list(&call.gateway.config).await?;
            answer(&ContainerList { containers })
        })
    },
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListContainers {}

/// The containers.
#[derive(Serialize, JsonSchema)]
struct ContainerList {
    /// The containers, as the configuration has them.
    containers: Vec<ContainerEntry>,
}
