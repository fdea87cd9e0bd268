//! `list_projects`: the projects in the allowed folders, by their manifests.
//!
//! - Not here: what a manifest means (`projects`), the walk (`roots::walk`).

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::{Kind, Problem};
use crate::projects::{self, Broken, Ecosystem, Format};
use crate::roots::beneath::EntryKind;
use crate::roots::walk::{Step, Tally, walk};
use crate::roots::{Roots, apart};
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_projects",
    about: "Lists the projects in the allowed folders: name, version, ecosystem, number of dependencies.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/projects",
    is_heavy: true,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListProjects>(),
    example: r#"{"limit": 20}"#,
    output: Output::Json(|types| types.subschema_for::<ProjectList>()),
    toolset: &toolset::PROJECTS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Which projects.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListProjects {
    /// In this root; in all if absent.
    #[serde(default)]
    #[schemars(length(max = 100))]
    root: Option<String>,
    /// Manifests at most.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 500))]
    limit: u16,
}

fn hundred() -> u16 {
    100
}

/// Projects.
#[derive(Debug, Serialize, JsonSchema)]
struct ProjectList {
    /// The projects, a manifest each.
    projects: Vec<Project>,
    /// Manifests that cannot be read.
    broken: Vec<Broken>,
    /// Whether there are more.
    has_more: bool,
    /// What was not looked at.
    notes: Vec<String>,
}

/// A project.
#[derive(Debug, Serialize, JsonSchema)]
struct Project {
    /// Its manifest.
    path: String,
    /// Its name.
    name: Option<String>,
    /// Its version.
    version: Option<String>,
    /// Whose packages it needs.
    ecosystem: Ecosystem,
    /// How many it needs, of all kinds.
    dependencies: usize,
}

async fn list(call: Call<'_>, input: ListProjects) -> Result<ProjectList, Problem> {
    let roots = Roots::of(&call.gateway.config);
    apart(call.cancel, move |stop| list_in(&roots, &input, stop)).await
}

fn list_in(roots: &Roots, input: &ListProjects, stop: &CancellationToken) -> Result<ProjectList, Problem> {
    let names: Vec<&str> = match &input.root {
        Some(root) if !roots.names().any(|name| name == root) => {
            return Err(Problem::not_found("root", root, roots.names()));
        }
        Some(root) => vec![root.as_str()],
        None => roots.names().collect(),
    };
    let mut told = ProjectList {
        projects: Vec::new(),
        broken: Vec::new(),
        has_more: false,
        notes: Vec::new(),
    };
    let mut all = Tally::default();
    for name in names {
        let place = match roots.place(name) {
            Ok(place) => place,
            Err(problem) if input.root.is_none() && problem.kind == Kind::Unavailable => {
                told.notes.push(problem.detail);
                continue;
            }
            Err(problem) => return Err(problem),
        };
        let tally = walk(&place, stop, &mut |walked| {
            let name = walked.path.file_name().and_then(|name| name.to_str());
            let Some(format) = name
                .filter(|_| walked.kind == EntryKind::File)
                .and_then(Format::of)
            else {
                return Step::Into;
            };
            if told.projects.len() + told.broken.len() >= usize::from(input.limit) {
                told.has_more = true;
                return Step::Stop;
            }
            match projects::read(roots, &place.shown_beneath(walked.path), format) {
                Ok(manifest) => told.projects.push(Project {
                    path: manifest.path,
                    name: manifest.name,
                    version: manifest.version,
                    ecosystem: manifest.ecosystem,
                    dependencies: manifest.dependencies.len(),
                }),
                Err(broken) => told.broken.push(broken),
            }
            Step::Into
        })?;
        all.add(&tally);
        if told.has_more {
            break;
        }
    }
    told.notes.extend(all.notes());
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Root};

    #[test]
    fn projects_are_found_and_broken_ones_named() {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            (
                "a/Cargo.toml",
                "[package]\nname = \"a\"\n[dependencies]\nb = \"1\"\n",
            ),
            ("a/node_modules/x/package.json", "{\"name\": \"x\"}"),
            ("b/package.json", "{"),
            (
                "c/composer.json",
                "{\"name\": \"v/c\", \"require\": {\"php\": \"8\"}}",
            ),
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let roots = Roots::of(&Config {
            roots: vec![Root {
                name: "home".to_owned(),
                path: folder.path().to_owned(),
            }],
            ..Config::default()
        });
        let listed = |limit: u16| {
            let input = ListProjects { root: None, limit };
            list_in(&roots, &input, &CancellationToken::new()).unwrap()
        };
        let told = listed(10);
        let found: Vec<_> = told
            .projects
            .iter()
            .map(|project| {
                (
                    project.path.as_str(),
                    project.name.as_deref(),
                    project.dependencies,
                )
            })
            .collect();
        let expected = [
            ("home/a/Cargo.toml", Some("a"), 1),
            ("home/c/composer.json", Some("v/c"), 1),
        ];
        assert_eq!(found, expected);
        assert_eq!(
            (told.broken.len(), told.broken[0].path.as_str()),
            (1, "home/b/package.json")
        );
        assert!(!told.has_more && listed(2).has_more);
    }
}
