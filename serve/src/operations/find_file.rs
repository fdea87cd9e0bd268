//! `find_file`: files of the allowed folders, by name.
//!
//! - Not here: the walk, and what it passes over (`roots::walk`).

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::{Kind, Problem};
use crate::roots::beneath::EntryKind;
use crate::roots::walk::{Step, Tally, walk_and};
use crate::roots::{Roots, apart, is_secret, modified_at};
use crate::toolset;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "find_file",
    about: "Finds files in the allowed folders by a part of their name or a pattern such as `*.md`.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/files",
    is_heavy: true,
    is_cacheable: false,
    input: |types| types.subschema_for::<FindFile>(),
    example: r#"{"name": "*.md", "limit": 20}"#,
    output: Output::Json(|types| types.subschema_for::<FoundFiles>()),
    toolset: &toolset::FILES,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&find(call, parse(input)?).await?) }),
};

/// Which files.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FindFile {
    /// A part of the name, or a pattern with `*`, `?`, `[…]`, `{a,b}`, `**/`; the case of letters does not count.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// In this root; in all if absent.
    #[serde(default)]
    #[schemars(length(max = 100))]
    root: Option<String>,
    /// Files at most.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 200))]
    limit: u16,
}

fn fifty() -> u16 {
    50
}

/// Files that were found.
#[derive(Debug, Serialize, JsonSchema)]
struct FoundFiles {
    /// The files, by root and path.
    files: Vec<FoundFile>,
    /// Whether there are more.
    has_more: bool,
    /// What was not looked at.
    notes: Vec<String>,
}

/// A file that was found.
#[derive(Debug, Serialize, JsonSchema)]
struct FoundFile {
    /// Its path, for `read_file`.
    path: String,
    /// Its bytes.
    size_bytes: Option<u64>,
    /// When it was changed last.
    modified_at: Option<String>,
    /// Whether it may hold a secret, and cannot be read.
    is_secret: bool,
}

/// What a file is found by.
enum Wanted {
    /// A part of its name, or with a slash of its path; in small letters.
    Part(String),
    /// A pattern.
    Pattern(Gitignore),
}

impl Wanted {
    fn new(name: &str) -> Result<Self, Problem> {
        let name = name.trim();
        if name.is_empty() {
            return Err(Problem::unprocessable(
                "`name` is empty; give a part of a name, or `*`",
            ));
        }
        if !name.contains(['*', '?', '[', '{']) {
            return Ok(Self::Part(name.to_lowercase()));
        }
        // With these first, a line of a `.gitignore` is no pattern, or the opposite of one.
        let escape = if name.starts_with(['!', '#']) { "\\" } else { "" };
        let anywhere = match name.contains('/') && !name.starts_with('/') && escape.is_empty() {
            true => "**/",
            false => "",
        };
        let wrong = |_| Problem::unprocessable("`name` is no pattern: look at its brackets");
        let mut pattern = GitignoreBuilder::new("");
        pattern
            .case_insensitive(true)
            .and_then(|pattern| pattern.add_line(None, &format!("{escape}{anywhere}{name}")))
            .map_err(wrong)?;
        Ok(Self::Pattern(pattern.build().map_err(wrong)?))
    }

    fn is(&self, path: &Path) -> bool {
        match self {
            Self::Part(part) => {
                let whole = part.contains('/').then_some(path.as_os_str());
                let text = whole.or(path.file_name()).unwrap_or_default();
                text.to_string_lossy().to_lowercase().contains(part.as_str())
            }
            Self::Pattern(pattern) => pattern.matched(path, false).is_ignore(),
        }
    }

    /// Whether it is the whole name of a file that looks like a secret: such are mostly hidden, and whoever knows the
    /// name may learn where it is.
    fn is_secret_of_name(&self, path: &Path) -> bool {
        match self {
            Self::Part(part) => {
                is_secret(path) && Path::new(&path.to_string_lossy().to_lowercase()).ends_with(part)
            }
            Self::Pattern(_) => false,
        }
    }
}

async fn find(call: Call<'_>, input: FindFile) -> Result<FoundFiles, Problem> {
    let roots = Roots::of(&call.gateway.config);
    apart(call.cancel, move |stop| find_in(&roots, &input, stop)).await
}

fn find_in(roots: &Roots, input: &FindFile, stop: &CancellationToken) -> Result<FoundFiles, Problem> {
    let wanted = Wanted::new(&input.name)?;
    let names: Vec<&str> = match &input.root {
        Some(root) if !roots.names().any(|name| name == root) => {
            return Err(roots.no_root(root));
        }
        Some(root) => vec![root.as_str()],
        None => roots.names().collect(),
    };
    let (mut files, mut has_more) = (Vec::new(), false);
    let (mut all, mut notes) = (Tally::default(), Vec::new());
    for name in names {
        let place = match roots.place(name) {
            Ok(place) => place,
            // One root that is not mounted does not hide what the others have.
            Err(problem) if input.root.is_none() && problem.kind == Kind::Unavailable => {
                notes.push(problem.detail);
                continue;
            }
            Err(problem) => return Err(problem),
        };
        let is_named = |path: &Path| wanted.is_secret_of_name(path);
        let tally = walk_and(&place, stop, &is_named, &mut |walked| {
            if walked.kind != EntryKind::File || !wanted.is(walked.path) {
                return Step::Into;
            }
            if files.len() >= usize::from(input.limit) {
                has_more = true;
                return Step::Stop;
            }
            let about = place.about_beneath(walked.path);
            files.push(FoundFile {
                path: place.shown_beneath(walked.path),
                size_bytes: about.as_ref().map(std::fs::Metadata::len),
                modified_at: about.as_ref().and_then(modified_at),
                is_secret: is_secret(walked.path),
            });
            Step::Into
        })?;
        all.add(&tally);
        if has_more {
            break;
        }
    }
    if !files.is_empty() && !has_more && !all.is_cut {
        // What was looked for is there; how much else there is tells nothing.
        all.passed_over = 0;
    }
    notes.extend(all.notes());
    Ok(FoundFiles {
        files,
        has_more,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Root};

    #[test]
    fn files_are_found_by_parts_and_patterns() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "one/docs/Plan.md",
            "one/b.rs",
            "two/plan.txt",
            "two/credentials.json",
            "two/app/.env",
            "two/app/.env.local",
            "two/.git/config",
            "two/.hidden",
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "12345").unwrap();
        }
        let root = |name: &str| Root {
            name: name.to_owned(),
            path: folder.path().join(name),
        };
        let roots = Roots::of(&Config {
            roots: vec![root("one"), root("two"), root("gone")],
            ..Config::default()
        });
        let found = |name: &str, root: Option<&str>, limit: u16| {
            let input = FindFile {
                name: name.to_owned(),
                root: root.map(str::to_owned),
                limit,
            };
            find_in(&roots, &input, &CancellationToken::new())
        };
        let paths = |name: &str, root: Option<&str>| -> Vec<String> {
            let found = found(name, root, 50).unwrap();
            found.files.into_iter().map(|file| file.path).collect()
        };
        assert_eq!(paths("PLAN", None), ["one/docs/Plan.md", "two/plan.txt"]);
        assert_eq!(paths("*.{md,rs}", None), ["one/b.rs", "one/docs/Plan.md"]);
        assert_eq!(paths("docs/*.md", None), ["one/docs/Plan.md"]);
        assert_eq!(paths("docs/pl", None), ["one/docs/Plan.md"]);
        assert_eq!(paths("plan", Some("two")), ["two/plan.txt"]);
        assert!(paths("!*", None).is_empty());
        let first = found("plan", None, 1).unwrap();
        assert_eq!(
            (first.files.len(), first.has_more, first.files[0].size_bytes),
            (1, true, Some(5))
        );
        let secret = found("credentials", None, 5).unwrap();
        assert!(secret.files[0].is_secret);
        assert!(
            secret.notes.iter().any(|note| note.contains("`gone`")),
            "{:?}",
            secret.notes
        );
        let hidden = found(".env", Some("two"), 5).unwrap();
        assert_eq!(hidden.files.len(), 1, "{hidden:?}");
        assert_eq!(hidden.files[0].path, "two/app/.env");
        assert!(hidden.files[0].is_secret && hidden.notes.is_empty(), "{hidden:?}");
        assert_eq!(paths("App/.env", None), ["two/app/.env"]);
        for passed_over in [".hidden", ".en", "*.env", "two/.git/config"] {
            let nothing = found(passed_over, Some("two"), 5).unwrap();
            assert!(nothing.files.is_empty(), "{passed_over}");
            assert!(nothing.notes[0].contains("passed over"), "{nothing:?}");
        }
        assert_eq!(found("plan", Some("three"), 5).unwrap_err().kind, Kind::NotFound);
        assert_eq!(
            found("plan", Some("gone"), 5).unwrap_err().kind,
            Kind::Unavailable
        );
        assert_eq!(found("{a", None, 5).unwrap_err().kind, Kind::Unprocessable);
    }
}
