//! Repositories in folders: with a work tree, bare, linked work trees, submodules.
//!
//! - In: paths. Out: each repository once, with a name; places that could not be looked at.
//! - Links are not followed. Below a work tree only submodules are looked for.

use schemas::Reject;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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
}

/// Finds the repositories at and below some paths.
///
/// # Errors
/// The first path that cannot be read, and why.
pub(super) fn find(paths: &[PathBuf]) -> Result<Repositories, (PathBuf, io::Error)> {
    let mut repositories = Repositories::default();
    for root in paths {
        fs::read_dir(root).map_err(|error| (root.clone(), error))?;
        repositories.look_at(root, root);
    }
    let Repositories { found, rejects } = repositories;
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
    let mut names = BTreeSet::new();
    let shared: BTreeSet<String> = found
        .iter()
        .filter(|one| !names.insert(one.name.clone()))
        .map(|one| one.name.clone())
        .collect();
    for one in found.iter_mut().filter(|one| shared.contains(&one.name)) {
        one.name = one.path.to_string_lossy().into_owned();
    }
    found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(Repositories { found, rejects })
}

impl Repositories {
    fn look_at(&mut self, folder: &Path, root: &Path) {
        if folder.join(".git").symlink_metadata().is_ok() || is_bare(folder) {
            let below = folder.strip_prefix(root).unwrap_or(folder);
            let name = if below.as_os_str().is_empty() {
                root.file_name().map_or(root, Path::new)
            } else {
                below
            };
            self.take(folder, name.to_string_lossy().into_owned(), false);
            return;
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.reject(folder, &error),
        };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.look_at(&entry.path(), root);
            }
        }
    }

    /// Takes a repository, and those within it.
    fn take(&mut self, path: &Path, name: String, is_submodule: bool) {
        let repository = match gix::open(path) {
            Ok(repository) => repository,
            Err(error) => return self.reject(path, &error),
        };
        let common = match fs::canonicalize(repository.common_dir()) {
            Ok(common) => common,
            Err(error) => return self.reject(path, &error),
        };
        self.found.push(Found {
            name: name.clone(),
            path: path.to_owned(),
            common,
            is_submodule,
            is_linked: repository.git_dir() != repository.common_dir(),
        });
        for module in repository.submodules().ok().flatten().into_iter().flatten() {
            // One that is not checked out has no history here.
            if let (Ok(path), Ok(below)) = (module.work_dir(), module.path())
                && path.join(".git").exists()
            {
                self.take(&path, format!("{name}/{below}"), true);
            }
        }
    }

    fn reject(&mut self, path: &Path, error: &dyn std::error::Error) {
        self.rejects.push(Reject {
            item: path.to_string_lossy().into_owned(),
            reason: error.to_string(),
            raw: None,
        });
    }
}

/// Whether a folder is a repository without a work tree, by the files that git asks for (`is_git_directory`).
fn is_bare(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && folder.join("objects").is_dir() && folder.join("refs").is_dir()
}
