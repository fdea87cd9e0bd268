//! Manifests of the projects in the allowed folders: what each is called, runs and needs.
//!
//! - In: a place beneath a root. Out: manifests of npm, Cargo, Python, Composer in one shape. A manifest that cannot be
//!   read is named with its reason, and the rest is told.
//! - Credentials in addresses and commands are hidden.
//! - Not here: lock files, `go.mod` (no library for it is in the workspace), what is published anywhere.

mod json;
pub(crate) mod mask;
mod python;
mod toml;

use crate::problem::Problem;
use crate::roots::beneath::EntryKind;
use crate::roots::{Place, Roots};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Names of a folder that are looked at.
const MOST_NAMES: usize = 20_000;

/// Manifests of one folder that are read.
const MOST_OF_FOLDER: usize = 20;

/// Who publishes packages of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ecosystem {
    /// JavaScript: npm.
    Npm,
    /// Rust: crates.
    Cargo,
    /// Python: PyPI.
    Python,
    /// PHP: Packagist.
    Composer,
}

/// The kinds of manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `package.json`.
    PackageJson,
    /// `composer.json`.
    Composer,
    /// `Cargo.toml`.
    Cargo,
    /// `pyproject.toml`.
    Pyproject,
    /// `requirements.txt`, `requirements.in` and others that begin and end so.
    Requirements,
}

impl Format {
    /// The format of a file with this name, if it is a manifest.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "package.json" => Some(Self::PackageJson),
            "composer.json" => Some(Self::Composer),
            "Cargo.toml" => Some(Self::Cargo),
            "pyproject.toml" => Some(Self::Pyproject),
            _ => {
                let is_list = name.ends_with(".txt") || name.ends_with(".in");
                (name.starts_with("requirements") && is_list).then_some(Self::Requirements)
            }
        }
    }

    fn ecosystem(self) -> Ecosystem {
        match self {
            Self::PackageJson => Ecosystem::Npm,
            Self::Composer => Ecosystem::Composer,
            Self::Cargo => Ecosystem::Cargo,
            Self::Pyproject | Self::Requirements => Ecosystem::Python,
        }
    }
}

/// Manifests that are known and not read.
const UNREAD: &[&str] = &[
    "Gemfile",
    "Pipfile",
    "build.gradle",
    "build.gradle.kts",
    "go.mod",
    "pom.xml",
    "pubspec.yaml",
    "setup.cfg",
    "setup.py",
];

/// What a file with this name is called, if it is a manifest that is not read.
fn unread(name: &str) -> Option<&'static str> {
    let known = UNREAD.iter().copied().find(|known| *known == name);
    known.or_else(|| name.ends_with(".csproj").then_some("*.csproj"))
}

/// When something is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DependencyKind {
    /// When it runs.
    Runtime,
    /// When somebody works on it.
    Development,
    /// When it is built.
    Build,
}

/// Something that a project needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Dependency {
    /// The package.
    pub(crate) name: String,
    /// Which versions, or from where; absent: any.
    pub(crate) requirement: Option<String>,
    /// When it is needed.
    pub(crate) kind: DependencyKind,
    /// The part of the manifest that says so.
    pub(crate) section: String,
}

/// A manifest.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Manifest {
    /// The file.
    pub(crate) path: String,
    /// Whose packages it is about.
    pub(crate) ecosystem: Ecosystem,
    /// The project's name.
    pub(crate) name: Option<String>,
    /// Its version.
    pub(crate) version: Option<String>,
    /// What it says of itself.
    pub(crate) description: Option<String>,
    /// Commands, by name.
    pub(crate) scripts: BTreeMap<String, String>,
    /// Where it begins and what it builds, as the manifest has it.
    pub(crate) entries: BTreeMap<String, Value>,
    /// What it needs.
    #[serde(skip)]
    pub(crate) dependencies: Vec<Dependency>,
}

/// A manifest that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Broken {
    /// The file.
    pub(crate) path: String,
    /// Why.
    pub(crate) reason: String,
}

/// What a manifest says, before it has a path.
#[derive(Debug, Default)]
struct Said {
    name: Option<String>,
    version: Option<String>,
    description: Option<String>,
    scripts: BTreeMap<String, String>,
    entries: BTreeMap<String, Value>,
    dependencies: Vec<Dependency>,
}

impl Said {
    fn needs(&mut self, name: &str, requirement: Option<String>, kind: DependencyKind, section: &str) {
        self.dependencies.push(Dependency {
            name: name.to_owned(),
            requirement,
            kind,
            section: section.to_owned(),
        });
    }
}

/// Reads a manifest beneath a root.
pub(crate) fn read(roots: &Roots, path: &str, format: Format) -> Result<Manifest, Broken> {
    let broken = |reason: String| Broken {
        path: path.to_owned(),
        reason,
    };
    let file = roots.read(path).map_err(|problem| broken(problem.detail))?;
    let name = path.rsplit('/').next().unwrap_or(path);
    let said = match format {
        Format::PackageJson => json::package(&file.text),
        Format::Composer => json::composer(&file.text),
        Format::Cargo => toml::cargo(&file.text),
        Format::Pyproject => toml::pyproject(&file.text),
        Format::Requirements => Ok(python::requirements(name, &file.text)),
    };
    let said = said.map_err(broken)?;
    let text = |text: String| mask::hidden(&text);
    let mut dependencies = said.dependencies;
    for dependency in &mut dependencies {
        dependency.requirement = dependency.requirement.take().map(text);
        dependency.name = mask::hidden(&dependency.name);
    }
    Ok(Manifest {
        path: file.path,
        ecosystem: format.ecosystem(),
        name: said.name.map(text),
        version: said.version.map(text),
        description: said.description.map(text),
        scripts: said
            .scripts
            .into_iter()
            .map(|(name, command)| (name, text(command)))
            .collect(),
        entries: said
            .entries
            .into_iter()
            .map(|(name, value)| (name, mask::hidden_in(value)))
            .collect(),
        dependencies,
    })
}

/// The manifests at a place: the one that it is, or those in the folder that it is.
///
/// # Errors
/// [`Problem`] when nothing is there, or no manifest.
pub(crate) fn read_at(roots: &Roots, path: &str) -> Result<(Vec<Manifest>, Vec<Broken>), Problem> {
    let place = roots.place(path)?;
    let (mut manifests, mut broken) = (Vec::new(), Vec::new());
    for (path, format) in paths_at(&place)? {
        match read(roots, &path, format) {
            Ok(manifest) => manifests.push(manifest),
            Err(reason) => broken.push(reason),
        }
    }
    Ok((manifests, broken))
}

/// The paths of manifests at a place, in the order of their names.
fn paths_at(place: &Place<'_>) -> Result<Vec<(String, Format)>, Problem> {
    let mut others = Vec::new();
    let found: Vec<(String, Format)> = if place.is_folder()? {
        let (names, _) = place.list(MOST_NAMES)?;
        let files = names.iter().filter(|named| named.kind != EntryKind::Folder);
        let files: Vec<&str> = files.filter_map(|named| named.name.to_str()).collect();
        others.extend(files.iter().filter_map(|name| unread(name)));
        others.dedup();
        let manifests = files.iter().filter_map(|name| Some((name, Format::of(name)?)));
        manifests
            .map(|(name, format)| (place.shown_beneath(&place.path().join(name)), format))
            .take(MOST_OF_FOLDER)
            .collect()
    } else {
        let name = place.path().file_name().and_then(|name| name.to_str());
        others.extend(name.and_then(unread));
        let format = name.and_then(Format::of);
        format.map(|format| (place.shown(), format)).into_iter().collect()
    };
    if !found.is_empty() {
        return Ok(found);
    }
    let known = "package.json, composer.json, Cargo.toml, pyproject.toml, requirements*.txt and requirements*.in are \
                 known";
    Err(Problem::unprocessable(match others.is_empty() {
        true => format!("there is no manifest: {known}; `list_projects` finds them"),
        false => format!(
            "there is no manifest that dkc reads, but {}: {known}; `read_file` reads others",
            others.join(", ")
        ),
    }))
}

/// A value that is a text.
fn text_of(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

/// The entries of an object, none where there is none.
fn pairs(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// The texts in an array, none where there is none.
fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let all = value.and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Root};

    #[test]
    fn a_broken_manifest_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("package.json", "{\n  \"name\": \"web\",\n");
        write("Cargo.toml", "[package]\nname = \"core\"\nversion = \"1.0.0\"\n");
        write("pyproject.toml", "[project\n");
        write("requirements-dev.txt", "pytest>=8\n");
        write("notes.txt", "pytest>=8\n");
        let roots = Roots::of(&Config {
            roots: vec![Root {
                name: "home".to_owned(),
                path: folder.path().to_owned(),
            }],
            ..Config::default()
        });
        let (manifests, broken) = read_at(&roots, "home").unwrap();
        let paths: Vec<&str> = manifests.iter().map(|manifest| manifest.path.as_str()).collect();
        assert_eq!(paths, ["home/Cargo.toml", "home/requirements-dev.txt"]);
        let reasons: Vec<&str> = broken.iter().map(|broken| broken.reason.as_str()).collect();
        assert!(reasons[0].starts_with("no valid JSON at line "), "{reasons:?}");
        assert!(reasons[1].starts_with("no valid TOML at line "), "{reasons:?}");
        let (one, none) = read_at(&roots, "home/Cargo.toml").unwrap();
        assert_eq!((one[0].name.as_deref(), none.len()), (Some("core"), 0));
        assert!(
            read_at(&roots, "home/notes.txt")
                .unwrap_err()
                .detail
                .contains("no manifest")
        );
        assert!(read_at(&roots, "home/gone").is_err());
        std::fs::create_dir_all(folder.path().join("other")).unwrap();
        for (name, told) in [("go.mod", "go.mod"), ("app.csproj", "*.csproj")] {
            write(&format!("other/{name}"), "");
            for path in ["home/other".to_owned(), format!("home/other/{name}")] {
                let problem = read_at(&roots, &path).unwrap_err();
                assert!(problem.detail.contains(told), "{problem:?}");
            }
        }
        write("other/requirements.in", "flask\n");
        let (list, _) = read_at(&roots, "home/other").unwrap();
        assert_eq!(list[0].path, "home/other/requirements.in");
    }

    #[test]
    fn credentials_in_a_manifest_are_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"{"name": "a", "main": "https://u:hunter2@x.test/",
            "scripts": {"publish": "NPM_TOKEN=hunter2 npm publish"},
            "dependencies": {"b": "git+https://hunter2@x.test/b.git"}}"#;
        std::fs::write(folder.path().join("package.json"), text).unwrap();
        let roots = Roots::of(&Config {
            roots: vec![Root {
                name: "home".to_owned(),
                path: folder.path().to_owned(),
            }],
            ..Config::default()
        });
        let (manifests, _) = read_at(&roots, "home").unwrap();
        let told = format!("{manifests:?}");
        assert!(!told.contains("hunter2"), "{told}");
        assert!(
            told.contains("x.test/b.git") && told.contains("npm publish"),
            "{told}"
        );
    }
}
