//! `list_project`: what is in one of the allowed folders.
//!
//! - Everything is named here, what a walk passes over too: hidden, ignored, made by others. But not what is in `.git`.

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::roots::beneath::EntryKind;
use crate::roots::{Roots, apart, is_secret, modified_at};
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names of a folder that are looked at.
const MOST_NAMES: usize = 20_000;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_project",
    about: "Lists what is in one folder; without a path, the folders that are allowed.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/files/entries",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListProject>(),
    example: r#"{"limit": 50}"#,
    output: Output::Json(|types| types.subschema_for::<FolderEntries>()),
    toolset: &toolset::FILES,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Which folder.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListProject {
    /// `ROOT/folder`; the roots if absent.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    path: String,
    /// Entries at most.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 1, max = 2000))]
    limit: u16,
}

fn two_hundred() -> u16 {
    200
}

/// What is in a folder.
#[derive(Debug, Serialize, JsonSchema)]
struct FolderEntries {
    /// The folder.
    path: String,
    /// The entries, by name.
    entries: Vec<FolderEntry>,
    /// Entries that are not told because of the limit.
    not_told: usize,
    /// What the asker should know.
    notes: Vec<String>,
}

/// An entry of a folder.
#[derive(Debug, Serialize, JsonSchema)]
struct FolderEntry {
    /// Its name; of a root, what paths begin with.
    name: String,
    /// What it is.
    kind: EntryKind,
    /// Its bytes, of a file.
    size_bytes: Option<u64>,
    /// When it was changed last.
    modified_at: Option<String>,
    /// Whether it may hold a secret, and cannot be read.
    is_secret: bool,
}

async fn list(call: Call<'_>, input: ListProject) -> Result<FolderEntries, Problem> {
    let roots = Roots::of(&call.gateway.config);
    apart(call.cancel, move |_| list_of(&roots, &input)).await
}

fn list_of(roots: &Roots, input: &ListProject) -> Result<FolderEntries, Problem> {
    let limit = usize::from(input.limit);
    if input.path.is_empty() {
        let root = |name: &str| FolderEntry {
            name: name.to_owned(),
            kind: EntryKind::Folder,
            size_bytes: None,
            modified_at: None,
            is_secret: false,
        };
        return Ok(FolderEntries {
            path: String::new(),
            entries: roots.names().take(limit).map(root).collect(),
            not_told: roots.names().count().saturating_sub(limit),
            notes: Vec::new(),
        });
    }
    let place = roots.place(&input.path)?;
    // Where it really is: what is beneath a link is looked at without following links.
    let place = place.resolved()?;
    let is_git = |part: &std::ffi::OsStr| part.eq_ignore_ascii_case(".git");
    if place.path().iter().any(is_git) && place.is_folder()? {
        return Ok(FolderEntries {
            path: place.shown(),
            entries: Vec::new(),
            not_told: 0,
            notes: vec!["what is in `.git` is git's own, and is not listed".to_owned()],
        });
    }
    let (names, has_more) = place.list(MOST_NAMES)?;
    let not_told = names.len().saturating_sub(limit);
    let entries = names.into_iter().take(limit).map(|named| {
        let path = place.path().join(&named.name);
        let about = place.about_beneath(&path);
        FolderEntry {
            name: named.name.to_string_lossy().into_owned(),
            kind: named.kind,
            size_bytes: about
                .as_ref()
                .filter(|_| named.kind == EntryKind::File)
                .map(std::fs::Metadata::len),
            modified_at: about.as_ref().and_then(modified_at),
            is_secret: named.kind == EntryKind::File && is_secret(&path),
        }
    });
    let mut notes = Vec::new();
    if has_more {
        notes.push(format!(
            "the folder has over {MOST_NAMES} entries, and only so many were looked at"
        ));
    }
    Ok(FolderEntries {
        path: place.shown(),
        entries: entries.collect(),
        not_told,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Root};
    use crate::problem::Kind;
    use std::os::unix::fs::symlink;

    #[test]
    fn everything_in_a_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/target")).unwrap();
        for (name, text) in [("a/.env", "K=v"), ("a/b.txt", "12"), ("a/.gitignore", "*.txt")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        symlink("a", folder.path().join("link")).unwrap();
        let roots = Roots::of(&Config {
            roots: vec![Root {
                name: "home".to_owned(),
                path: folder.path().to_owned(),
            }],
            ..Config::default()
        });
        let listed = |path: &str, limit: u16| {
            let path = path.to_owned();
            list_of(&roots, &ListProject { path, limit })
        };
        for path in ["home/a", "home/link"] {
            let told = listed(path, 10).unwrap();
            let entries: Vec<_> = told
                .entries
                .iter()
                .map(|entry| (entry.name.as_str(), entry.kind, entry.size_bytes, entry.is_secret))
                .collect();
            let expected = [
                (".env", EntryKind::File, Some(3), true),
                (".gitignore", EntryKind::File, Some(5), false),
                ("b.txt", EntryKind::File, Some(2), false),
                ("target", EntryKind::Folder, None, false),
            ];
            assert_eq!(
                (told.path.as_str(), entries.as_slice()),
                ("home/a", expected.as_slice())
            );
        }
        std::fs::create_dir_all(folder.path().join("b/.git/refs")).unwrap();
        std::fs::write(folder.path().join("b/.git/HEAD"), "ref: x").unwrap();
        assert_eq!(listed("home/b", 5).unwrap().entries[0].name, ".git");
        for path in ["home/b/.git", "home/b/.git/refs"] {
            let told = listed(path, 5).unwrap();
            assert_eq!((told.entries.len(), told.notes.len()), (0, 1), "{path}");
        }
        let two = listed("home/a", 2).unwrap();
        assert_eq!((two.entries.len(), two.not_told), (2, 2));
        assert_eq!(listed("", 10).unwrap().entries[0].name, "home");
        assert_eq!(listed("home/link/..", 10).unwrap_err().kind, Kind::Unprocessable);
        assert_eq!(listed("home/none", 10).unwrap_err().kind, Kind::NotFound);
        assert_eq!(listed("home/a/b.txt", 10).unwrap_err().kind, Kind::Unprocessable);
    }
}
