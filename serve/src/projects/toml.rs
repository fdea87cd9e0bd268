//! Manifests in TOML: `Cargo.toml` and `pyproject.toml`.
//!
//! - In: the text. Out: what it says, or in which line it is broken.

use super::DependencyKind::{Build, Development, Runtime};
use super::python::requirement;
use super::{DependencyKind, Said, pairs, text_of, texts};
use serde_json::Value;

/// The parts of a `Cargo.toml` that name dependencies.
const CARGO: &[(&str, DependencyKind)] = &[
    ("dependencies", Runtime),
    ("dev-dependencies", Development),
    ("build-dependencies", Build),
];

/// A `Cargo.toml`.
pub(super) fn cargo(text: &str) -> Result<Said, String> {
    let manifest = parsed(text)?;
    let package = manifest.get("package");
    let field = |name: &str| package.and_then(|package| package.get(name));
    let of_workspace = |name: &str| {
        let is_inherited = field(name).and_then(|value| value.get("workspace")).is_some();
        let own = manifest.pointer(&format!("/workspace/package/{name}"));
        match is_inherited {
            true => text_of(own).or_else(|| Some("as the workspace has it".to_owned())),
            false => text_of(field(name)),
        }
    };
    let mut said = Said {
        name: text_of(field("name")),
        version: of_workspace("version"),
        description: of_workspace("description"),
        ..Said::default()
    };
    for name in ["edition", "rust-version", "default-run", "publish"] {
        if let Some(value) = field(name) {
            said.entries.insert(name.to_owned(), value.clone());
        }
    }
    for name in ["lib", "bin", "features"] {
        if let Some(value) = manifest.get(name) {
            said.entries.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(members) = manifest.pointer("/workspace/members") {
        said.entries
            .insert("workspace.members".to_owned(), members.clone());
    }
    for (section, kind) in CARGO {
        crates(&mut said, manifest.get(*section), *kind, section);
    }
    for (target, parts) in pairs(manifest.get("target")) {
        for (section, kind) in CARGO {
            crates(
                &mut said,
                parts.get(*section),
                *kind,
                &format!("target.{target}.{section}"),
            );
        }
    }
    let shared = manifest.pointer("/workspace/dependencies");
    crates(&mut said, shared, Runtime, "workspace.dependencies");
    Ok(said)
}

fn crates(said: &mut Said, table: Option<&Value>, kind: DependencyKind, section: &str) {
    for (key, value) in pairs(table) {
        let name = value.get("package").and_then(Value::as_str).unwrap_or(key);
        said.needs(name, from_where(value), kind, section);
    }
}

/// The requirement of a dependency that is a text or a table: its version, and from where it is.
fn from_where(value: &Value) -> Option<String> {
    if let Value::String(version) = value {
        return Some(version.clone());
    }
    if value.get("workspace").and_then(Value::as_bool) == Some(true) {
        return Some("as the workspace has it".to_owned());
    }
    let version = text_of(value.get("version"));
    let places = ["git", "url", "path", "branch", "tag", "rev"];
    let places = places
        .iter()
        .filter_map(|name| Some(format!("{name} {}", value.get(*name)?.as_str()?)));
    let parts: Vec<String> = version.into_iter().chain(places).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// A `pyproject.toml`: the standard tables, and those of Poetry, uv and PDM.
pub(super) fn pyproject(text: &str) -> Result<Said, String> {
    let manifest = parsed(text)?;
    let poetry = manifest.pointer("/tool/poetry");
    let own = manifest.get("project");
    let either = |name: &str| {
        let of = |table: Option<&Value>| text_of(table.and_then(|table| table.get(name)));
        of(own).or_else(|| of(poetry))
    };
    let mut said = Said {
        name: either("name"),
        version: either("version"),
        description: either("description"),
        ..Said::default()
    };
    let scripts = [
        manifest.pointer("/project/scripts"),
        manifest.pointer("/tool/poetry/scripts"),
    ];
    for (name, entry) in scripts.into_iter().flat_map(pairs) {
        said.scripts.insert(
            name.clone(),
            text_of(Some(entry)).unwrap_or_else(|| entry.to_string()),
        );
    }
    for (name, place) in [
        ("requires-python", "/project/requires-python"),
        ("gui-scripts", "/project/gui-scripts"),
        ("entry-points", "/project/entry-points"),
        ("dynamic", "/project/dynamic"),
        ("build-backend", "/build-system/build-backend"),
    ] {
        if let Some(value) = manifest.pointer(place) {
            said.entries.insert(name.to_owned(), value.clone());
        }
    }
    let lists = [
        ("/project/dependencies", Runtime, "project.dependencies"),
        ("/build-system/requires", Build, "build-system.requires"),
    ];
    for (place, kind, section) in lists {
        lines(&mut said, manifest.pointer(place), kind, section);
    }
    for (extra, list) in pairs(manifest.pointer("/project/optional-dependencies")) {
        let section = format!("project.optional-dependencies.{extra}");
        lines(&mut said, Some(list), Runtime, &section);
    }
    for (group, list) in pairs(manifest.get("dependency-groups")) {
        lines(
            &mut said,
            Some(list),
            Development,
            &format!("dependency-groups.{group}"),
        );
    }
    let uv = manifest.pointer("/tool/uv/dev-dependencies");
    lines(&mut said, uv, Development, "tool.uv.dev-dependencies");
    for (group, list) in pairs(manifest.pointer("/tool/pdm/dev-dependencies")) {
        let section = format!("tool.pdm.dev-dependencies.{group}");
        lines(&mut said, Some(list), Development, &section);
    }
    let tables = [
        ("/tool/poetry/dependencies", Runtime, "tool.poetry.dependencies"),
        (
            "/tool/poetry/dev-dependencies",
            Development,
            "tool.poetry.dev-dependencies",
        ),
    ];
    for (place, kind, section) in tables {
        crates(&mut said, manifest.pointer(place), kind, section);
    }
    for (group, table) in pairs(manifest.pointer("/tool/poetry/group")) {
        let kind = if group == "main" { Runtime } else { Development };
        let section = format!("tool.poetry.group.{group}.dependencies");
        crates(&mut said, table.get("dependencies"), kind, &section);
    }
    // Poetry has the version of Python among them; it is no package.
    said.dependencies
        .retain(|one| one.name != "python" || one.section != "tool.poetry.dependencies");
    if let Some(version) = manifest.pointer("/tool/poetry/dependencies/python") {
        let own = said.entries.entry("requires-python".to_owned());
        own.or_insert_with(|| version.clone());
    }
    Ok(said)
}

/// Requirements as Python writes them in a list.
fn lines(said: &mut Said, list: Option<&Value>, kind: DependencyKind, section: &str) {
    for line in texts(list) {
        if let Some((name, which)) = requirement(line) {
            said.needs(&name, which, kind, section);
        }
    }
}

fn parsed(text: &str) -> Result<Value, String> {
    toml_edit::de::from_str(text).map_err(|error| {
        let until = error.span().and_then(|span| text.get(..span.start));
        match until {
            Some(until) => format!("no valid TOML at line {}", until.matches('\n').count() + 1),
            None => "no valid TOML".to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(said: &Said) -> Vec<(&str, Option<&str>, DependencyKind, &str)> {
        let needs = said.dependencies.iter();
        needs
            .map(|one| {
                (
                    one.name.as_str(),
                    one.requirement.as_deref(),
                    one.kind,
                    one.section.as_str(),
                )
            })
            .collect()
    }

    #[test]
    fn a_crate_says_what_it_is_and_needs() {
        let said = cargo(
            r#"
            [package]
            name = "core"
            version.workspace = true
            [workspace.package]
            version = "0.3.0"
            [dependencies]
            serde = { version = "1", features = ["derive"] }
            other = { package = "real", git = "https://x.test/real", rev = "abc" }
            ours.workspace = true
            [dev-dependencies]
            tempfile = "3"
            [build-dependencies]
            cc = "1"
            [target.'cfg(unix)'.dependencies]
            rustix = "1.1"
            "#,
        )
        .unwrap();
        assert_eq!(
            (said.name.as_deref(), said.version.as_deref()),
            (Some("core"), Some("0.3.0"))
        );
        let mut found = needs(&said);
        found.sort_by_key(|one| one.0);
        let expected = [
            ("cc", Some("1"), Build, "build-dependencies"),
            ("ours", Some("as the workspace has it"), Runtime, "dependencies"),
            (
                "real",
                Some("git https://x.test/real, rev abc"),
                Runtime,
                "dependencies",
            ),
            ("rustix", Some("1.1"), Runtime, "target.cfg(unix).dependencies"),
            ("serde", Some("1"), Runtime, "dependencies"),
            ("tempfile", Some("3"), Development, "dev-dependencies"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn python_says_it_in_two_ways() {
        let standard = pyproject(
            r#"
            [project]
            name = "tool"
            version = "1.2"
            dependencies = ["httpx[http2]>=0.27", "rich"]
            [project.scripts]
            tool = "tool.main:run"
            [project.optional-dependencies]
            fast = ["orjson==3.*"]
            [dependency-groups]
            dev = ["pytest>=8", { include-group = "lint" }]
            [build-system]
            requires = ["hatchling"]
            "#,
        )
        .unwrap();
        let expected = [
            ("httpx", Some("[http2]>=0.27"), Runtime, "project.dependencies"),
            ("rich", None, Runtime, "project.dependencies"),
            ("hatchling", None, Build, "build-system.requires"),
            (
                "orjson",
                Some("==3.*"),
                Runtime,
                "project.optional-dependencies.fast",
            ),
            ("pytest", Some(">=8"), Development, "dependency-groups.dev"),
        ];
        assert_eq!(needs(&standard), expected);
        assert_eq!(
            standard.scripts.get("tool").map(String::as_str),
            Some("tool.main:run")
        );
        let poetry = pyproject(
            "[tool.poetry]\nname = \"p\"\n[tool.poetry.dependencies]\npython = \"^3.12\"\n\
             [tool.poetry.group.dev.dependencies]\nruff = { version = \"*\" }\n\
             [tool.uv]\ndev-dependencies = [\"pytest\"]\n[tool.pdm.dev-dependencies]\ntest = [\"tox>=4\"]\n",
        )
        .unwrap();
        let expected = [
            ("pytest", None, Development, "tool.uv.dev-dependencies"),
            ("tox", Some(">=4"), Development, "tool.pdm.dev-dependencies.test"),
            (
                "ruff",
                Some("*"),
                Development,
                "tool.poetry.group.dev.dependencies",
            ),
        ];
        assert_eq!(
            (poetry.name.as_deref(), needs(&poetry)),
            (Some("p"), expected.to_vec())
        );
        assert_eq!(poetry.entries.get("requires-python"), Some(&Value::from("^3.12")));
    }

    #[test]
    fn a_broken_line_is_named() {
        assert_eq!(cargo("a = 1\nb = = 2\n").unwrap_err(), "no valid TOML at line 2");
    }
}
