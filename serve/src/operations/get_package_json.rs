//! `get_package_json`: what a project's manifest says, whatever its ecosystem.
//!
//! - Not here: what a manifest means (`projects`).

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::projects::{self, Broken, Manifest};
use crate::roots::{Roots, apart};
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_package_json",
    about: "Tells name, version, scripts and entry points of a project: package.json, Cargo.toml, pyproject.toml, composer.json, \
            requirements.txt.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/projects/manifest",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<GetPackageJson>(),
    example: r#"{"path": "a path, as list_projects tells it"}"#,
    output: Output::Json(|types| types.subschema_for::<ProjectManifests>()),
    toolset: &toolset::PROJECTS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&manifests(call, parse(input)?).await?) }),
};

/// Which project.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetPackageJson {
    /// `ROOT/folder` of the project, or its manifest.
    #[schemars(length(min = 1, max = 4096))]
    path: String,
}

/// Manifests of a project.
#[derive(Serialize, JsonSchema)]
struct ProjectManifests {
    /// The manifests, by name.
    manifests: Vec<Manifest>,
    /// Those that cannot be read.
    broken: Vec<Broken>,
}

async fn manifests(call: Call<'_>, input: GetPackageJson) -> Result<ProjectManifests, Problem> {
    let roots = Roots::of(&call.gateway.config);
    let (manifests, broken) = apart(call.cancel, move |_| projects::read_at(&roots, &input.path)).await?;
    Ok(ProjectManifests { manifests, broken })
}
