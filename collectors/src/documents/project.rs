//! The project of a file: what the nearest manifest above it is named, else the nearest repository's folder.
//!
//! - In: paths below a root. Out: names. Nothing above the root is looked at.

use serde_json::Value;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A longer manifest is none.
const LONGEST_MANIFEST: u64 = 4 << 20;

/// Projects of the folders below a root, each looked up once.
pub(super) struct Projects {
    root: PathBuf,
    known: HashMap<PathBuf, Option<String>>,
}

impl Projects {
    pub fn within(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            known: HashMap::new(),
        }
    }

    /// The project of a file.
    pub fn of(&mut self, file: &Path) -> Option<String> {
        let mut passed = Vec::new();
        let mut found = None;
        for folder in file.ancestors().skip(1) {
            if let Some(known) = self.known.get(folder) {
                found.clone_from(known);
                break;
            }
            passed.push(folder);
            found = name(folder);
            if found.is_some() || folder == self.root {
                break;
            }
        }
        for folder in passed {
            self.known.insert(folder.to_owned(), found.clone());
        }
        found
    }
}

fn name(folder: &Path) -> Option<String> {
    manifest(folder).or_else(|| {
        let is_repository = folder.join(".git").exists();
        let name = folder.file_name()?.to_string_lossy().into_owned();
        is_repository.then_some(name)
    })
}

/// What a folder's manifest is named; a broken one is none.
fn manifest(folder: &Path) -> Option<String> {
    let text = |name: &str| {
        let path = folder.join(name);
        // Not a pipe, which would never end.
        fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        let mut text = String::new();
        File::open(path)
            .ok()?
            .take(LONGEST_MANIFEST)
            .read_to_string(&mut text)
            .ok()?;
        Some(text)
    };
    let in_toml = |file: &str, tables: &[&str]| {
        let manifest: toml_edit::DocumentMut = text(file)?.parse().ok()?;
        let mut table = manifest.as_item();
        for name in tables {
            table = table.get(*name)?;
        }
        Some(table.get("name")?.as_str()?.to_owned())
    };
    in_toml("Cargo.toml", &["package"])
        .or_else(|| {
            let manifest: Value = serde_json::from_str(&text("package.json")?).ok()?;
            Some(manifest.get("name")?.as_str()?.to_owned())
        })
        .or_else(|| in_toml("pyproject.toml", &["project"]))
        .or_else(|| in_toml("pyproject.toml", &["tool", "poetry"]))
        .or_else(|| text("go.mod")?.lines().find_map(module).map(str::to_owned))
        .filter(|name| !name.is_empty())
}

/// The name of the module, if a line of `go.mod` is the one that tells it: the last part of its path that is no major
/// version (Go modules reference, "Lexical elements", "Major version suffixes").
fn module(line: &str) -> Option<&str> {
    let mut words = line.split("//").next()?.split_whitespace();
    words.next().filter(|word| *word == "module")?;
    let path = words.next()?.trim_matches(['"', '`']);
    let is_version = |part: &str| {
        part.strip_prefix('v')
            .is_some_and(|number| number.parse::<u64>().is_ok())
    };
    path.rsplit('/').find(|part| !is_version(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_named_as_its_manifest_says() {
        for (file, text, name) in [
            (
                "go.mod",
                "// A tool.\nmodule example.org/tool/v2\n\ngo 1.24\n",
                "tool",
            ),
            ("go.mod", "module \"example.org/x/y\" // quoted\n", "y"),
            ("go.mod", "module\texample.org/vim\n", "vim"),
            ("pyproject.toml", "[tool.poetry]\nname = \"poem\"\n", "poem"),
            (
                "pyproject.toml",
                "[project]\nname = \"new\"\n[tool.poetry]\nname = \"old\"\n",
                "new",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(file), text).unwrap();
            assert_eq!(manifest(folder.path()).as_deref(), Some(name), "{text}");
        }
    }
}
