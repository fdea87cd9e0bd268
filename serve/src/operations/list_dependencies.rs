//! `list_dependencies`: what a project needs, as its manifest says.
//!
//! - Not here: what is installed, and what that needs in turn.

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::projects::{self, Broken, Dependency, DependencyKind, Ecosystem};
use crate::roots::{Roots, apart};
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_dependencies",
    about: "Lists what a project needs, as its manifest says: package, versions, kind.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/projects/dependencies",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListDependencies>(),
    example: r#"{"path": "a path, as list_projects tells it", "kind": "runtime"}"#,
    output: Output::Json(|types| types.subschema_for::<DependencyLists>()),
    toolset: &toolset::PROJECTS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Which dependencies.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListDependencies {
    /// `ROOT/folder` of the project, or its manifest.
    #[schemars(length(min = 1, max = 4096))]
    path: String,
    /// Of which kind.
    #[serde(default)]
    kind: WantedDependencies,
}

/// Which kind of dependencies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum WantedDependencies {
    /// Those that are needed when it runs.
    Runtime,
    /// Those that are needed to work on it.
    Development,
    /// Those that are needed when it is built.
    Build,
    /// All.
    #[default]
    All,
}

impl WantedDependencies {
    fn takes(self, kind: DependencyKind) -> bool {
        match self {
            Self::Runtime => kind == DependencyKind::Runtime,
            Self::Development => kind == DependencyKind::Development,
            Self::Build => kind == DependencyKind::Build,
            Self::All => true,
        }
    }
}

/// Dependencies of a project.
#[derive(Serialize, JsonSchema)]
struct DependencyLists {
    /// What each manifest says.
    manifests: Vec<DependencyList>,
    /// Manifests that cannot be read.
    broken: Vec<Broken>,
}

/// Dependencies that a manifest names.
#[derive(Serialize, JsonSchema)]
struct DependencyList {
    /// The manifest.
    path: String,
    /// Whose packages they are.
    ecosystem: Ecosystem,
    /// The dependencies, by section of the manifest.
    dependencies: Vec<Dependency>,
}

async fn list(call: Call<'_>, input: ListDependencies) -> Result<DependencyLists, Problem> {
    let roots = Roots::of(&call.gateway.config);
    let kind = input.kind;
    let (manifests, broken) = apart(call.cancel, move |_| projects::read_at(&roots, &input.path)).await?;
    let manifests = manifests.into_iter().map(|manifest| {
        let dependencies = manifest.dependencies.into_iter();
        DependencyList {
            path: manifest.path,
            ecosystem: manifest.ecosystem,
            dependencies: dependencies
                .filter(|dependency| kind.takes(dependency.kind))
                .collect(),
        }
    });
    Ok(DependencyLists {
        manifests: manifests.collect(),
        broken,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_are_wanted_unless_a_kind_is_named() {
        let input: ListDependencies = parse(json!({"path": "home"})).unwrap();
        assert!(input.kind.takes(DependencyKind::Build) && input.kind.takes(DependencyKind::Runtime));
        let input: ListDependencies = parse(json!({"path": "home", "kind": "build"})).unwrap();
        assert!(input.kind.takes(DependencyKind::Build) && !input.kind.takes(DependencyKind::Runtime));
    }
}
