//! `get_container`: how a container is.

use crate::containers::{self, ContainerDetail};
use crate::operation::{Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::toolset;
use schemars::JsonSchema;
use serde::Deserialize;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_container",
    about: "Tells how a container is: its state, image, restarts, health and its last checks.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/containers/{container}",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<GetContainer>(),
    example: r#"{"container": "web"}"#,
    output: Output::Json(|types| types.subschema_for::<ContainerDetail>()),
    toolset: &toolset::CONTAINERS,
    holds_collected: true,
    plan: None,
    call: |call, input| {
        Box::pin(async move {
            let asked: GetContainer = parse(input)?;
            answer(&containers::look(&call.gateway.config, &asked.container).await?)
        })
    },
};

/// Which container.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetContainer {
    /// Its name, as `list_containers` has it.
    #[schemars(length(min = 1, max = 100))]
    container: String,
}
