//! Manifests in JSON: `package.json` and `composer.json`.
//!
//! - In: the text. Out: what it says, or in which line it is broken.

use super::DependencyKind::{Development, Runtime};
use super::{DependencyKind, Said, pairs, text_of};
use serde_json::Value;

/// The fields that say where an npm package begins.
const NPM_ENTRIES: &[&str] = &[
    "main",
    "module",
    "browser",
    "types",
    "exports",
    "bin",
    "type",
    "private",
    "workspaces",
    "engines",
];

/// The same of Composer.
const COMPOSER_ENTRIES: &[&str] = &["type", "bin", "autoload", "minimum-stability"];

/// A `package.json`.
pub(super) fn package(text: &str) -> Result<Said, String> {
    let sections = [
        ("dependencies", Runtime),
        ("optionalDependencies", Runtime),
        ("peerDependencies", Runtime),
        ("devDependencies", Development),
    ];
    said(text, &sections, NPM_ENTRIES)
}

/// A `composer.json`.
pub(super) fn composer(text: &str) -> Result<Said, String> {
    let sections = [("require", Runtime), ("require-dev", Development)];
    said(text, &sections, COMPOSER_ENTRIES)
}

fn said(text: &str, sections: &[(&str, DependencyKind)], entries: &[&str]) -> Result<Said, String> {
    let text = text.trim_start_matches('\u{feff}');
    let manifest: Value = serde_json::from_str(text).map_err(|error| {
        format!(
            "no valid JSON at line {}, column {}",
            error.line(),
            error.column()
        )
    })?;
    if !manifest.is_object() {
        return Err("it is JSON, but no object".to_owned());
    }
    let mut said = Said {
        name: text_of(manifest.get("name")),
        version: text_of(manifest.get("version")),
        description: text_of(manifest.get("description")),
        ..Said::default()
    };
    for (name, command) in pairs(manifest.get("scripts")) {
        let command = match command {
            Value::String(command) => command.clone(),
            // Of Composer, several commands or a nested form.
            other => other.to_string(),
        };
        said.scripts.insert(name.clone(), command);
    }
    for name in entries {
        if let Some(value) = manifest.get(*name) {
            said.entries.insert((*name).to_owned(), value.clone());
        }
    }
    for (section, kind) in sections {
        for (name, requirement) in pairs(manifest.get(*section)) {
            said.needs(name, text_of(Some(requirement)), *kind, section);
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_says_what_it_is_and_needs() {
        let said = package(
            r#"{"name": "web", "version": "2.0.0", "main": "index.js", "scripts": {"build": "vite build"},
                "dependencies": {"react": "^19"}, "devDependencies": {"vite": "^7"},
                "peerDependencies": {"x": "*"}}"#,
        )
        .unwrap();
        assert_eq!(
            (said.name.as_deref(), said.version.as_deref()),
            (Some("web"), Some("2.0.0"))
        );
        assert_eq!(said.scripts.get("build").map(String::as_str), Some("vite build"));
        assert_eq!(said.entries.get("main"), Some(&Value::from("index.js")));
        let needs: Vec<_> = said
            .dependencies
            .iter()
            .map(|dependency| {
                (
                    dependency.name.as_str(),
                    dependency.requirement.as_deref(),
                    dependency.kind,
                )
            })
            .collect();
        let expected = [
            ("react", Some("^19"), Runtime),
            ("x", Some("*"), Runtime),
            ("vite", Some("^7"), Development),
        ];
        assert_eq!(needs, expected);
    }

    #[test]
    fn composer_names_its_parts_otherwise() {
        let said = composer(r#"{"require": {"php": ">=8.3"}, "scripts": {"test": ["a", "b"]}}"#).unwrap();
        assert_eq!(said.dependencies[0].section, "require");
        assert_eq!(said.scripts.get("test").map(String::as_str), Some(r#"["a","b"]"#));
        assert_eq!(composer("[]").unwrap_err(), "it is JSON, but no object");
    }
}
