//! `list_builds`: the builds of the configuration.

use crate::builds::{self, BuildEntry};
use crate::operation::{Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_builds",
    about: "Lists the builds that may be run: what each makes, its command, whether it runs now.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/builds",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListBuilds>(),
    example: r#"{}"#,
    output: Output::Json(|types| types.subschema_for::<BuildList>()),
    toolset: &toolset::BUILDS,
    holds_collected: false,
    plan: None,
    call: |call, input| {
        Box::pin(async move {
            let ListBuilds {} = parse(input)?;
            let builds = builds::list(&call.gateway.config);
            answer(&BuildList { builds })
        })
    },
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListBuilds {}

/// The builds.
#[derive(Serialize, JsonSchema)]
struct BuildList {
    /// The builds, as the configuration has them.
    builds: Vec<BuildEntry>,
}
