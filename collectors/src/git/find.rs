//! Repositories in folders: with a work tree, bare, linked work trees, submodules.
//!
//! - In: paths, and what is stored. Out: each repository once, with a name; places that could not be looked at.
//! - A repository keeps its name while another of the same name cannot be looked at.
//! - Links are not followed. Below a work tree only submodules are looked for.

use super::stored::{Stored, as_text};
use crate::collect::Progress;
use crate::local_files::{Roots, missing_root, sort_rejects};
use schemas::Reject;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// A repository.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its name in the rows; unique.
    pub(super) name: String,
    /// Its work tree, or itself if it is bare; absolute.
    pub(super) path: PathBuf,
    /// Where its objects are: two work trees of one repository share it.
    common: PathBuf,
    pub(super) is_submodule: bool,
    is_linked: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Repositories {
    /// In the order of their names.
    pub(super) found: Vec<Found>,
    /// What could not be looked at.
    pub(super) rejects: Vec<Reject>,
    /// Where that is, as text.
    pub(super) unread: Vec<PathBuf>,
}

/// Finds the repositories at and below some paths, and warns of those of them that are missing.
///
/// # Errors
/// The first path, and why, when none can be read.
pub(super) fn find(
    paths: &[PathBuf],
    stored: &Stored,
    progress: &Progress,
) -> Result<Repositories, (PathBuf, io::Error)> {
    let mut repositories = Repositories::default();
    let roots = Roots::look_at(paths, |root| stored.is_any_in(root))?;
    for (root, error) in &roots.missing {
        let reason = missing_root(root, error, |warning| progress.warn(warning));
        repositories.leave(root, reason);
    }
    for root in roots.there {
        repositories.look_at(root, root);
    }
    let Repositories {
        found,
        mut rejects,
        unread,
    } = repositories;
    sort_rejects(&mut rejects);
    // Of two work trees of one repository, the main one; of two ways to it, the first.
    let mut by_common: BTreeMap<PathBuf, Found> = BTreeMap::new();
    for new in found {
        match by_common.get(&new.common) {
            Some(had) if !had.is_linked || new.is_linked => {}
            _ => {
                by_common.insert(new.common.clone(), new);
            }
        }
    }
    let mut found: Vec<Found> = by_common.into_values().collect();
    if !unread.is_empty() {
        for one in &mut found {
            one.name = stored.name_of(one).unwrap_or(&one.name).to_owned();
        }
    }
    tell_apart(&mut found, |one| stored.is_taken(one, &unread));
    found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(Repositories {
        found,
        rejects,
        unread,
    })
}

/// Gives those that would share a name, or whose name is taken, more of their paths, as much as tells them apart. Not
/// all of it if less will do: names are for whoever may see the rows, and where on this machine something lies is not.
fn tell_apart(found: &mut [Found], is_taken: impl Fn(&Found) -> bool) {
    loop {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for one in found.iter() {
            *times.entry(one.name.clone()).or_default() += 1;
        }
        let is_shared =
            |one: &&mut Found| times.get(&one.name).is_some_and(|times| *times > 1) || is_taken(one);
        let mut is_done = true;
        for one in found.iter_mut().filter(is_shared) {
            let longer = end_of(&one.path, one.name.split('/').count() + 1);
            is_done &= longer == one.name;
            one.name = longer;
        }
        if is_done {
            return;
        }
    }
}

/// The last parts of a path.
fn end_of(path: &Path, parts: usize) -> String {
    let all = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy()),
        _ => None,
    });
    let mut all: Vec<_> = all.collect();
    all.drain(..all.len().saturating_sub(parts));
    all.join("/")
}

impl Repositories {
    fn look_at(&mut self, folder: &Path, root: &Path) {
        if is_repository(folder) {
            let below = folder.strip_prefix(root).unwrap_or(folder);
            let name = if below.as_os_str().is_empty() {
                root.file_name().map_or(root, Path::new)
            } else {
                below
            };
            self.take(folder, name.to_string_lossy().into_owned(), &mut Vec::new());
            return;
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.reject(folder, &error),
        };
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.file_type()?, entry.path()))) {
                Ok((kind, path)) if kind.is_dir() => self.look_at(&path, root),
                Ok(_) => {}
                Err(error) => self.reject(folder, &error),
            }
        }
    }

    /// Takes a repository, and those within it. `around` is where the objects of those are that it is a submodule of.
    fn take(&mut self, path: &Path, name: String, around: &mut Vec<PathBuf>) {
        let repository = match gix::open(path) {
            Ok(repository) => repository,
            Err(error) => return self.reject(path, &error),
        };
        let common = match fs::canonicalize(repository.common_dir()) {
            Ok(common) => common,
            Err(error) => return self.reject(path, &error),
        };
        // One that names itself its submodule, or one that it is in, leads around for ever.
        if around.contains(&common) {
            return;
        }
        self.found.push(Found {
            name: name.clone(),
            path: path.to_owned(),
            common: common.clone(),
            is_submodule: !around.is_empty(),
            is_linked: repository.git_dir() != repository.common_dir(),
        });
        // Without a work tree none is checked out.
        if repository.workdir().is_none() {
            return;
        }
        around.push(common);
        for module in repository.submodules().ok().flatten().into_iter().flatten() {
            // One that is not checked out has no history here.
            if let (Ok(path), Ok(below)) = (module.work_dir(), module.path())
                && path.join(".git").exists()
            {
                self.take(&path, format!("{name}/{below}"), around);
            }
        }
        around.pop();
    }

    fn reject(&mut self, path: &Path, error: &dyn std::error::Error) {
        self.leave(path, error.to_string());
    }

    fn leave(&mut self, path: &Path, reason: String) {
        self.unread.push(as_text(path));
        self.rejects.push(Reject {
            item: path.to_string_lossy().into_owned(),
            reason,
            raw: None,
        });
    }
}

/// Whether a folder is to be a repository, sound or not.
pub(super) fn is_repository(folder: &Path) -> bool {
    folder.join(".git").symlink_metadata().is_ok() || is_bare(folder)
}

/// Whether a folder is a repository without a work tree, by the files that git asks for (`is_git_directory`).
fn is_bare(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && folder.join("objects").is_dir() && folder.join("refs").is_dir()
}

#[cfg(test)]
impl Found {
    /// One by itself.
    pub(super) fn named(name: &str, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            name: name.to_owned(),
            common: path.clone(),
            path,
            is_submodule: false,
            is_linked: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::state::{Seen, State};
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn repositories_of_one_name_are_told_apart_by_no_more_of_their_paths_than_that_takes() {
        let mut found = [
            ("x", "/home/me/job/x"),
            ("x", "/home/me/play/x"),
            ("job/x", "/srv/job/x"),
            ("y", "/home/me/job/y"),
            ("z", "/z"),
            ("z", "/a/z"),
        ]
        .map(|(name, path)| Found::named(name, path));
        tell_apart(&mut found, |_| false);
        let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["me/job/x", "play/x", "srv/job/x", "y", "z", "a/z"]);
    }

    #[test]
    fn a_repository_that_names_itself_its_submodule_is_found_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("it");
        let inner = root.join("inner");
        fs::create_dir_all(&inner).unwrap();
        for (path, module) in [(&root, "inner"), (&inner, "back")] {
            fixtures::git::git(path, 0, &["init", "--quiet", "-b", "main"]);
            let modules = [".", module]
                .map(|module| format!("[submodule \"{module}\"]\n\tpath = {module}\n\turl = ./x\n"));
            fs::write(path.join(".gitmodules"), modules.concat()).unwrap();
        }
        std::os::unix::fs::symlink("..", inner.join("back")).unwrap();
        let stored = Stored::new(&State::default(), &[]);
        let found = find(std::slice::from_ref(&root), &stored, &Progress::default()).unwrap();
        let names: Vec<&str> = found.found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["it", "it/inner"], "{:?}", found.rejects);
    }

    #[test]
    fn what_cannot_be_looked_at_is_told_once_and_not_gone_whatever_its_path_is_made_of() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("src");
        let damaged = root.join("some").join(OsStr::from_bytes(b"caf\xe9"));
        fs::create_dir_all(damaged.join(".git")).unwrap();
        let seen = Seen {
            path: damaged.to_string_lossy().into_owned(),
            ..Seen::default()
        };
        let state = State {
            repositories: BTreeMap::from([("it".to_owned(), seen)]),
        };
        let stored = Stored::new(&state, &[]);
        let found = find(&[root.clone(), root.join("some")], &stored, &Progress::default()).unwrap();
        assert_eq!(found.rejects.len(), 1, "{:?}", found.rejects);
        assert_eq!(stored.absent(&found).gone, Vec::<String>::new());
    }
}
