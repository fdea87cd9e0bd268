//! Which documents lie below the roots: names, sizes, times and projects, no bytes.
//!
//! - In: the roots, patterns. Out: files in the order of their paths, and what could not be looked at.
//! - What `.gitignore` and `.ignore` leave out, hidden folders and `node_modules` are not documents of the owner's.
//!   Links to folders are not followed, so that no loop can hang it.
//! - Not here: what is in a file.

use super::project::Projects;
use crate::local_files::{Listed, LocalFile, Roots, Tree, is_removed, leads_out, reject};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::overrides::OverrideBuilder;
use ignore::{DirEntry, WalkBuilder};
use schemas::secret_names::SECRET;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use wildmatch::WildMatch;

/// Extensions of documents, with their media types.
const TYPES: &[(&str, &str)] = &[
    ("adoc", "text/plain"),
    ("canvas", "application/x-canvas+json"),
    (
        "docm",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    ("epub", "application/epub+zip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ipynb", "application/x-ipynb+json"),
    ("markdown", "text/markdown"),
    ("md", "text/markdown"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("org", "text/org"),
    ("pdf", "application/pdf"),
    ("rst", "text/plain"),
    ("text", "text/plain"),
    ("txt", "text/plain"),
    ("xhtml", "text/html"),
    (
        "xlsm",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
];

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub local: LocalFile,
    pub media_type: &'static str,
    pub project: Option<String>,
    /// Whether its name, or that of what it links to, is one of a secret: it is rejected and not opened.
    pub is_secret: bool,
}

impl Listed for File {
    fn local(&self) -> &LocalFile {
        &self.local
    }

    fn version(&self) -> String {
        // One that was collected before such names were known must not count as unchanged: then its rows would stay.
        if self.is_secret {
            return String::new();
        }
        let LocalFile {
            size, modified_ns, ..
        } = self.local;
        format!(
            "{size}:{modified_ns} {}",
            self.project.as_deref().unwrap_or_default()
        )
    }
}

/// Finds all documents below `roots`. `include` adds text files by their names, `exclude` leaves paths out, as
/// `.gitignore` would. `is_known` says whether the lake has anything of a root: a disk that is not there must not look
/// like one that is empty.
///
/// # Errors
/// The first root, with the cause, when none can be read, or a mistake in `exclude`.
pub(super) fn find(
    roots: &[PathBuf],
    include: &[String],
    exclude: &[String],
    is_known: impl Fn(&Path) -> bool,
) -> Result<Tree<File>, (PathBuf, io::Error)> {
    let include: Vec<WildMatch> = include.iter().map(|pattern| WildMatch::new(pattern)).collect();
    let mut tree = Tree::default();
    let looked = Roots::look_at(roots, is_known)?;
    for (root, error) in &looked.missing {
        tree.miss_root(root, error);
    }
    for root in looked.there {
        tree.roots.push(root.clone());
        let failed = |error: io::Error| (root.clone(), error);
        let mut excluded = OverrideBuilder::new(root);
        for pattern in exclude {
            let added = excluded.add(&format!("!{pattern}"));
            added.map_err(|error| failed(io::Error::other(error)))?;
        }
        let excluded = excluded
            .build()
            .map_err(|error| failed(io::Error::other(error)))?;
        let mut projects = Projects::within(root);
        let walk = WalkBuilder::new(root)
            .overrides(excluded)
            .git_global(false)
            .require_git(false)
            .filter_entry(|entry| entry.file_name() != "node_modules")
            .build();
        for entry in walk {
            match entry {
                Ok(entry) => take(&entry, roots, &include, &mut projects, &mut tree),
                Err(error) => miss(root, &error, &mut tree),
            }
        }
    }
    tree.sort();
    Ok(tree)
}

fn take(
    entry: &DirEntry,
    roots: &[PathBuf],
    include: &[WildMatch],
    projects: &mut Projects,
    tree: &mut Tree<File>,
) {
    let Some(kind) = entry.file_type().filter(|kind| !kind.is_dir()) else {
        return;
    };
    let path = entry.path();
    let Some(media_type) = media_type(path, include) else {
        if kind.is_symlink() && leads_out(roots, path) {
            let reason = "a link to a folder elsewhere is not followed; add its target to `roots`";
            tree.rejects.push(reject(path, reason.to_owned()));
        }
        return;
    };
    if let Some(local) = tree.look_at(path, kind.is_symlink()) {
        tree.files.push(File {
            project: projects.of(path),
            is_secret: is_secret(path, kind.is_symlink()),
            local,
            media_type,
        });
    }
}

/// Without rules, all would be secrets; a test sees that there are some.
static SECRETS: LazyLock<Option<Gitignore>> = LazyLock::new(|| {
    let mut rules = GitignoreBuilder::new("");
    rules.case_insensitive(true).ok()?;
    for rule in SECRET {
        rules.add_line(None, rule).ok()?;
    }
    rules.build().ok()
});

/// Whether a file, or what a link leads to, is named as a secret is.
fn is_secret(path: &Path, is_link: bool) -> bool {
    let is_one = |path: &Path| {
        let rules = SECRETS.as_ref();
        rules.is_none_or(|rules| rules.matched(path, false).is_ignore())
    };
    is_one(path) || (is_link && path.canonicalize().is_ok_and(|target| is_one(&target)))
}

fn media_type(path: &Path, include: &[WildMatch]) -> Option<&'static str> {
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let known = TYPES
        .iter()
        .find(|(known, _)| Some(*known) == extension.as_deref());
    let name = path.file_name()?.to_string_lossy();
    let is_wanted = || include.iter().any(|pattern| pattern.matches(&name));
    known
        .map(|(_, media_type)| *media_type)
        .or_else(|| is_wanted().then_some("text/plain"))
}

/// Notes a folder that could not be listed. What was removed meanwhile is gone, like anything else that is not there.
fn miss(root: &Path, error: &ignore::Error, tree: &mut Tree<File>) {
    let path = path_of(error).unwrap_or(root);
    match error.io_error() {
        Some(cause) if path == root => tree.miss_root(root, cause),
        Some(cause) if cause.kind() == io::ErrorKind::NotFound && is_removed(path) => {}
        Some(cause) => tree.miss(path, cause),
        None => tree.miss(path, error),
    }
}

fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn documents_are_found_with_their_projects_and_what_is_ignored_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("notes");
        for below in ["app/src", "app/node_modules/x", ".git", "lib", "go"] {
            fs::create_dir_all(root.join(below)).unwrap();
        }
        for (name, text) in [
            ("a.md", "a"),
            ("b.PDF", "b"),
            ("c.bin", "c"),
            ("app/package.json", r#"{"name": "the-app"}"#),
            ("app/src/d.txt", "d"),
            ("app/node_modules/x/README.md", "x"),
            ("app/.gitignore", "draft*.md\n"),
            ("app/draft1.md", "e"),
            (".git/description.txt", "f"),
            ("lib/Cargo.toml", "[package]\nname = \"the-lib\"\n"),
            ("lib/g.md", "g"),
            ("lib/Makefile", "h"),
            ("lib/old.md", "i"),
            ("go/go.mod", "module example.org/some/tool\n"),
            ("go/j.md", "j"),
        ] {
            fs::write(root.join(name), text).unwrap();
        }
        symlink(&root, root.join("lib/loop")).unwrap();
        symlink("nowhere.md", root.join("dangling.md")).unwrap();
        let found = find(
            std::slice::from_ref(&root),
            &["Makefile".to_owned()],
            &["old.md".to_owned()],
            |_| false,
        )
        .unwrap();
        let names: Vec<_> = found
            .files
            .iter()
            .map(|file| {
                let name = file.local.path.strip_prefix(&root).unwrap().to_str().unwrap();
                (name, file.media_type, file.project.as_deref())
            })
            .collect();
        assert_eq!(
            names,
            [
                ("a.md", "text/markdown", Some("notes")),
                ("app/src/d.txt", "text/plain", Some("the-app")),
                ("b.PDF", "application/pdf", Some("notes")),
                ("go/j.md", "text/markdown", Some("tool")),
                ("lib/Makefile", "text/plain", Some("the-lib")),
                ("lib/g.md", "text/markdown", Some("the-lib")),
            ]
        );
        assert_eq!(found.rejects.len(), 1, "{:?}", found.rejects);
        assert!(find(&[root.join("gone")], &[], &[], |_| true).is_err());
        let some = find(&[root.join("gone"), root.join("lib")], &[], &[], |_| true).unwrap();
        assert_eq!((some.files.len(), some.unread.len()), (2, 1), "{some:?}");
        assert_eq!(some.roots, [root.join("lib")]);
    }

    #[test]
    fn files_named_as_secrets_are_known_and_what_is_about_them_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in [
            "Passwords.txt",
            "api_token.txt",
            "credentials.md",
            "credentials.rs",
            "passwords.xlsx",
            "secrets.txt",
            "tokenizer.txt",
            "tokens.md",
        ] {
            fs::write(root.join(name), name).unwrap();
        }
        symlink("secrets.txt", root.join("link.txt")).unwrap();
        let found = find(&[root.to_owned()], &["*.rs".to_owned()], &[], |_| false).unwrap();
        let (secret, plain): (Vec<_>, Vec<_>) = found.files.iter().partition(|file| file.is_secret);
        let names = |files: &[&File]| -> Vec<String> {
            let names = files.iter().filter_map(|file| file.local.path.file_name());
            names.map(|name| name.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(
            names(&secret),
            [
                "Passwords.txt",
                "api_token.txt",
                "link.txt",
                "passwords.xlsx",
                "secrets.txt"
            ]
        );
        assert_eq!(
            names(&plain),
            ["credentials.md", "credentials.rs", "tokenizer.txt", "tokens.md"]
        );
        assert!(secret.iter().all(|file| file.version().is_empty()));
    }
}
