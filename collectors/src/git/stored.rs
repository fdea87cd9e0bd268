//! Repositories that the lake has: which of them are gone, and which may still be where nobody could look.
//!
//! - In: the cursor, what was found, what could not be looked at. Out: names.
//! - Not here: taking away what is gone.

use super::find::{Found, Repositories};
use super::state::State;
use crate::collect::Known;
use crate::error::CollectError;
use schemas::datasets::git_repositories;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The repositories that the lake has, by name: where each lies, if that is known.
#[derive(Debug)]
pub(super) struct Stored(BTreeMap<String, Option<PathBuf>>);

/// What was not found.
#[derive(Debug)]
pub(super) struct Absent {
    /// Repositories that are not there any more, in the order of their names.
    pub(super) gone: Vec<String>,
    /// Those that may be: nobody could look.
    left: BTreeSet<String>,
    /// What could not be looked at.
    unread: Vec<PathBuf>,
}

impl Stored {
    /// Those of the cursor; if that is not all there is, others too, of which only the names are known.
    pub(super) fn look_up(state: &State, known: &Known, is_all: bool) -> Result<Self, CollectError> {
        let others = match is_all {
            true => Vec::new(),
            false => known.stored.of(&git_repositories::DATASET)?,
        };
        Ok(Self::new(state, others))
    }

    fn new(state: &State, others: Vec<String>) -> Self {
        let others = others.into_iter().map(|name| (name, None));
        let mut all: BTreeMap<String, Option<PathBuf>> = others.collect();
        for (name, seen) in &state.repositories {
            // Cursors of older versions do not say.
            let path = Some(&seen.path).filter(|path| !path.is_empty());
            all.insert(name.clone(), path.map(PathBuf::from));
        }
        Self(all)
    }

    /// Whether any of them may lie in a folder.
    pub(super) fn is_any_in(&self, folder: &Path) -> bool {
        let mut paths = self.0.values();
        paths.any(|path| path.as_ref().is_none_or(|path| path.starts_with(folder)))
    }

    /// The name of the repository that lies there.
    pub(super) fn name_of(&self, path: &Path) -> Option<&str> {
        let mut all = self.0.iter();
        let (name, _) = all.find(|(_, known)| known.as_deref() == Some(path))?;
        Some(name)
    }

    /// Whether one that could not be looked at has, or had, its name.
    pub(super) fn is_taken(&self, found: &Found, unread: &[PathBuf]) -> bool {
        let other = self.0.get(&found.name).and_then(Option::as_ref);
        other.is_some_and(|path| *path != found.path && is_unread(path, unread))
    }

    /// What of them was not found.
    pub(super) fn absent(self, repositories: &Repositories) -> Absent {
        let found: BTreeSet<&str> = repositories.found.iter().map(|one| one.name.as_str()).collect();
        let unread = repositories.unread.clone();
        let may_be_there = |path: &Option<PathBuf>| match path {
            Some(path) => is_unread(path, &unread),
            None => !unread.is_empty(),
        };
        let (left, gone): (Vec<_>, Vec<_>) = self
            .0
            .into_iter()
            .filter(|(name, _)| !found.contains(name.as_str()))
            .partition(|(_, path)| may_be_there(path));
        Absent {
            gone: gone.into_iter().map(|(name, _)| name).collect(),
            left: left.into_iter().map(|(name, _)| name).collect(),
            unread,
        }
    }
}

impl Absent {
    /// Whether a place that was rejected before, and is no commit, was looked at.
    pub(super) fn is_looked_at(&self, item: &str) -> bool {
        // A reference is named after its repository.
        let is_its = |rest: &str| rest.is_empty() || rest.starts_with(':');
        let mut left = self.left.iter();
        let is_left = left.any(|name| item.strip_prefix(name.as_str()).is_some_and(is_its));
        !is_left && !is_unread(Path::new(item), &self.unread)
    }
}

/// Whether nobody could look at a place, or at all that is in it.
fn is_unread(path: &Path, unread: &[PathBuf]) -> bool {
    unread
        .iter()
        .any(|folder| path.starts_with(folder) || folder.starts_with(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::state::Seen;

    fn stored(repositories: &[(&str, &str)]) -> Stored {
        let seen = |path: &str| Seen {
            path: path.to_owned(),
            ..Seen::default()
        };
        let repositories = repositories
            .iter()
            .map(|(name, path)| ((*name).to_owned(), seen(path)));
        let state = State {
            repositories: repositories.collect(),
        };
        Stored::new(&state, vec!["unknown".to_owned()])
    }

    fn unread(path: &str) -> Repositories {
        Repositories {
            unread: vec![PathBuf::from(path)],
            ..Repositories::default()
        }
    }

    #[test]
    fn only_what_can_be_looked_for_is_gone() {
        let all = [("a", "/away/a"), ("b", "/here/b"), ("older", "")];
        let absent = stored(&all).absent(&unread("/away"));
        assert_eq!(absent.gone, ["b"]);
        // In a folder, and around it; of which nothing is known; and references of what is left.
        for item in ["/away/c", "/away", "a:refs/heads/main", "a", "unknown:HEAD"] {
            assert!(!absent.is_looked_at(item), "{item}");
        }
        for item in ["/here/b", "b:refs/heads/main", "ab:HEAD", "/awa"] {
            assert!(absent.is_looked_at(item), "{item}");
        }
        let inside = stored(&all).absent(&unread("/away/a/.git"));
        assert_eq!(inside.gone, ["b"], "it cannot be told from a folder");
        let whole = stored(&all).absent(&Repositories::default());
        assert_eq!(whole.gone, ["a", "b", "older", "unknown"]);
    }

    #[test]
    fn an_empty_folder_held_something_only_if_a_repository_lay_there() {
        let one = Stored::new(&State::default(), Vec::new());
        assert!(!one.is_any_in(Path::new("/away")));
        assert!(
            stored(&[("a", "/away/a")]).is_any_in(Path::new("/here")),
            "one lies nobody knows where"
        );
    }
}
