//! Which files of a repository must not be read: by their own path, by that to which links lead, by the names they had.
//!
//! - In: a repository, the folders of credentials, all renames that are known of it. Out: whether a file is one.
//! - A path that was ever given to a secret stays withheld: when it was, branches do not tell for sure.
//! - Not here: which names look like secrets (`roots`); where renames are read (`operations::get_file_blame`); those within
//!   merges (`merges`).

use crate::roots::{is_secret_folder, is_secret_name};
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// A file that some commit renamed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Rename {
    /// Its path after that.
    pub(crate) path: String,
    /// Its path before.
    pub(crate) old_path: String,
}

/// What was collected of a repository that tells which of its files were secrets once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// All renames, but for those within merges.
    pub(crate) renames: Vec<Rename>,
    /// The ids of all merges.
    pub(crate) merges: Vec<String>,
    /// All paths that files ever had. Without merges nobody asks for them.
    pub(crate) paths: Vec<String>,
}

/// The files that must not be read.
pub(crate) struct Withheld<'a> {
    places: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// The paths that files had before they got this one.
    before: HashMap<&'a str, Vec<&'a str>>,
    /// Folders that were looked at, and whether all in them is secret: many files are in few.
    known: RefCell<HashMap<PathBuf, bool>>,
}

impl<'a> Withheld<'a> {
    /// Those of a repository, with folders of credentials as they were configured.
    pub(crate) fn of(repository: &Path, secret_folders: &[PathBuf], renames: &'a [Rename]) -> Self {
        let with_real = |path: &Path| {
            let real = std::fs::canonicalize(path).ok();
            real.into_iter()
                .filter(|real| real != path)
                .chain([path.to_owned()])
                .collect::<Vec<_>>()
        };
        let mut before: HashMap<&str, Vec<&str>> = HashMap::new();
        for rename in renames {
            before.entry(&rename.path).or_default().push(&rename.old_path);
        }
        Self {
            places: with_real(repository),
            folders: secret_folders
                .iter()
                .flat_map(|folder| with_real(folder))
                .collect(),
            before,
            known: RefCell::default(),
        }
    }

    /// Whether a file, named from the top of the repository, is one of them, or was one under another name.
    pub(crate) fn has(&self, file: &Path) -> bool {
        if self.is_named(file) {
            return true;
        }
        // As the rows of changes write it.
        let mut names = self.names_before(&file.to_string_lossy()).to_vec();
        let mut seen = HashSet::new();
        while let Some(name) = names.pop() {
            if self.is_named(Path::new(name)) {
                return true;
            }
            // Renamed there and back again, it had the name before.
            if seen.insert(name) {
                names.extend(self.names_before(name));
            }
        }
        false
    }

    fn is_named(&self, file: &Path) -> bool {
        self.places.iter().any(|place| {
            let file = place.join(file);
            is_secret_name(&file)
                || file.parent().is_some_and(|folder| self.is_secret(folder))
                || self.folders.iter().any(|folder| file.starts_with(folder))
        })
    }

    fn is_secret(&self, folder: &Path) -> bool {
        let mut known = self.known.borrow_mut();
        if let Some(is_secret) = known.get(folder) {
            return *is_secret;
        }
        let is_secret = is_secret_folder(folder);
        known.insert(folder.to_owned(), is_secret);
        is_secret
    }

    fn names_before(&self, name: &str) -> &[&'a str] {
        self.before.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_under_all_its_later_names_and_no_other_file_is() {
        let renames = [
            ("conf", "settings"),
            ("settings", ".env"),
            ("moved", "keys/inside"),
            // There and back again.
            ("a", "b"),
            ("b", "a"),
            // What became a secret was none before.
            (".env", "example"),
        ];
        let renames = renames.map(|(path, old_path)| Rename {
            path: path.to_owned(),
            old_path: old_path.to_owned(),
        });
        let place = Path::new("/nowhere/code");
        let folders = [place.join("keys")];
        let withheld = Withheld::of(place, &folders, &renames);
        for file in [".env", "settings", "conf", "keys/inside", "moved"] {
            assert!(withheld.has(Path::new(file)), "{file}");
        }
        for file in ["a", "b", "example", "other"] {
            assert!(!withheld.has(Path::new(file)), "{file}");
        }
        let unknown = Withheld::of(place, &folders, &[]);
        assert!(unknown.has(Path::new(".env")) && !unknown.has(Path::new("conf")));
    }
}
