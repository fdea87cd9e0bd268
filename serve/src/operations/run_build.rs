//! `run_build`: runs a build.

use crate::builds::{self, BuildResult};
use crate::operation::{Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::toolset;
use schemars::JsonSchema;
use serde::Deserialize;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "run_build",
    about: "Runs a build to its end and tells its exit code and last lines. Cancelling ends it.",
    effect: Effect::Act,
    roles: TRUSTED,
    method: Method::Post,
    path: "/api/v1/builds/{build}/runs",
    is_heavy: true,
    is_cacheable: false,
    input: |types| types.subschema_for::<RunBuild>(),
    example: r#"{"build": "site"}"#,
    output: Output::Json(|types| types.subschema_for::<BuildResult>()),
    toolset: &toolset::BUILDS,
    holds_collected: true,
    plan: Some(|call, input| {
        Box::pin(async move {
            let asked: RunBuild = parse(input)?;
            builds::plan(&call.gateway.config, &asked.build).await
        })
    }),
    call: |call, input| {
        Box::pin(async move {
            let asked: RunBuild = parse(input)?;
            answer(&builds::run(&call.gateway.config, &asked.build, call.progress, call.cancel).await?)
        })
    },
};

/// Which build.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunBuild {
    /// Its name, as `list_builds` has it.
    #[schemars(length(min = 1, max = 100))]
    build: String,
}
