//! Repositories that the lake has: which of them are gone, and which may still be where nobody could look.
//!
//! - In: the cursor, the lake's rows, what was found, what could not be looked at. Out: names, and commits by name.
//! - Not here: taking away what is gone.

use super::commit::split_item;
use super::find::{Found, Repositories};
use super::state::State;
use crate::collect::Known;
use crate::error::CollectError;
use gix::hashtable::HashSet as IdSet;
use schemas::datasets::{git_commits, git_repositories};
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// Those of the cursor; if that is not all there is, or it does not say where all lie, those of the rows too.
    pub(super) fn look_up(state: &State, known: &Known, is_all: bool) -> Result<Self, CollectError> {
        let mut rows = Vec::new();
        if !is_all || state.repositories.values().any(|seen| seen.path.is_empty()) {
            let columns = ["repository", "path"];
            known.stored.each(&git_repositories::DATASET, columns, |row| {
                let [name, path] = row.map(str::to_owned);
                rows.push((name, path));
            })?;
        }
        Ok(Self::new(state, &rows))
    }

    /// Those of the cursor and, by name and path, of rows.
    pub(super) fn new(state: &State, rows: &[(String, String)]) -> Self {
        let path_of = |name: &str, path: &str| match path {
            // Cursors of older versions do not say. Names that two would have shared were whole paths then.
            "" => name.starts_with('/').then(|| PathBuf::from(name)),
            path => Some(PathBuf::from(path)),
        };
        let rows = rows.iter().map(|(name, path)| (name, path.as_str()));
        let known = state.repositories.iter();
        let known = known.map(|(name, seen)| (name, seen.path.as_str()));
        let mut all: BTreeMap<String, Option<PathBuf>> = BTreeMap::new();
        for (name, path) in rows.chain(known) {
            let place = all.entry(name.clone()).or_default();
            *place = path_of(name, path).or(place.take());
        }
        Self(all)
    }

    /// Their names, and where they lie.
    pub(super) fn places(&self) -> impl Iterator<Item = (&String, Option<&Path>)> {
        self.0.iter().map(|(name, path)| (name, path.as_deref()))
    }

    /// Whether any of them may lie in a folder.
    pub(super) fn is_any_in(&self, folder: &Path) -> bool {
        let mut paths = self.0.values();
        paths.any(|path| path.as_ref().is_none_or(|path| path.starts_with(folder)))
    }

    /// The name that a repository has: that of the one that lies there, or else of one that lies nobody knows where and
    /// may be this one.
    pub(super) fn name_of(&self, found: &Found) -> Option<&str> {
        let path = as_text(&found.path);
        // A name that is a whole path is not kept.
        let named = self.0.iter().filter(|(name, _)| !name.starts_with('/'));
        let there = named
            .clone()
            .find(|(_, known)| known.as_deref() == Some(path.as_path()));
        // Names are only ever lengthened to the left, by more of the path.
        let may_be = |name: &Path| path.ends_with(name) && name.ends_with(&found.name);
        let longest = || {
            named
                .filter(|(name, known)| known.is_none() && may_be(Path::new(name)))
                .max_by_key(|(name, _)| name.len())
        };
        there.or_else(longest).map(|(name, _)| name.as_str())
    }

    /// Whether one that could not be looked at has, or had, its name.
    pub(super) fn is_taken(&self, found: &Found, unread: &[PathBuf]) -> bool {
        let other = self.0.get(&found.name).and_then(Option::as_ref);
        other.is_some_and(|path| *path != as_text(&found.path) && is_unread(path, unread))
    }

    /// What of them was not found.
    pub(super) fn absent(self, repositories: &Repositories) -> Absent {
        let found: BTreeSet<&str> = repositories.found.iter().map(|one| one.name.as_str()).collect();
        // What lies where one was found that has another name now was that one.
        let found_at: BTreeSet<PathBuf> = repositories.found.iter().map(|one| as_text(&one.path)).collect();
        let unread = repositories.unread.clone();
        let may_be_there = |path: &Option<PathBuf>| match path {
            Some(path) => is_unread(path, &unread) && !found_at.contains(path),
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
        // That something in it could not be looked at does not say that it was not.
        let mut unread = self.unread.iter();
        !is_left && !unread.any(|folder| Path::new(item).starts_with(folder))
    }
}

/// The commits that the lake has, by repository.
pub(super) fn commits(known: &Known) -> Result<HashMap<String, IdSet>, CollectError> {
    let mut all: HashMap<String, IdSet> = HashMap::new();
    known.stored.each(&git_commits::DATASET, ["_item"], |[item]| {
        if let Some((repository, id)) = split_item(item) {
            match all.get_mut(repository) {
                Some(commits) => commits.insert(id),
                None => all.entry(repository.to_owned()).or_default().insert(id),
            };
        }
    })?;
    Ok(all)
}

/// A path as the cursor has it: text.
pub(super) fn as_text(path: &Path) -> PathBuf {
    PathBuf::from(path.to_string_lossy().into_owned())
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
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

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
        Stored::new(&state, &[("unknown".to_owned(), String::new())])
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
    fn a_folder_was_looked_at_although_something_in_it_could_not_be() {
        let absent = stored(&[]).absent(&unread("/mnt/usb/lost+found"));
        assert!(absent.is_looked_at("/mnt/usb"));
        for item in ["/mnt/usb/lost+found", "/mnt/usb/lost+found/a"] {
            assert!(!absent.is_looked_at(item), "{item}");
        }
    }

    #[test]
    fn a_repository_that_is_named_anew_is_gone_by_its_old_name() {
        for (name, path, damaged) in [
            // As older versions named those of one name.
            ("/home/me/a/x", "", "/home/me/lost+found"),
            ("/home/me/a/x", "", "/home/me/a/x/module"),
            ("x", "/home/me/a/x", "/home/me/a/x/module"),
        ] {
            let repositories = Repositories {
                found: vec![Found::named("a/x", "/home/me/a/x")],
                ..unread(damaged)
            };
            let gone = stored(&[(name, path)]).absent(&repositories).gone;
            assert_eq!(gone, [name], "{damaged}");
        }
        let away = stored(&[("/away/x", "")]).absent(&unread("/away"));
        assert_eq!(away.gone, Vec::<String>::new());
    }

    #[test]
    fn a_repository_is_known_by_where_it_lies_or_else_by_the_longest_name_that_fits() {
        let all = stored(&[
            ("tool", ""),
            ("here/tool", ""),
            ("far/tool", "/far/tool"),
            ("/old/tool", "/old/tool"),
        ]);
        for (name, path, known) in [
            ("tool", "/home/me/here/tool", Some("here/tool")),
            ("tool", "/far/tool", Some("far/tool")),
            ("tool", "/home/me/tool", Some("tool")),
            // Another one would have had that name.
            ("new/tool", "/home/me/new/tool", None),
            ("old/tool", "/old/tool", None),
        ] {
            assert_eq!(all.name_of(&Found::named(name, path)), known, "{path}");
        }
    }

    #[test]
    fn a_path_that_is_not_utf_8_is_that_of_the_cursor() {
        let all = stored(&[("caf\u{fffd}", "/src/caf\u{fffd}")]);
        let found = Found::named("caf\u{fffd}", OsStr::from_bytes(b"/src/caf\xe9"));
        assert_eq!(all.name_of(&found), Some("caf\u{fffd}"));
        let inside = [PathBuf::from("/src/caf\u{fffd}/module")];
        assert!(!all.is_taken(&found, &inside), "it is its own name");
    }

    #[test]
    fn an_empty_folder_held_something_only_if_a_repository_lay_there() {
        let one = Stored::new(&State::default(), &[]);
        assert!(!one.is_any_in(Path::new("/away")));
        assert!(
            stored(&[("a", "/away/a")]).is_any_in(Path::new("/here")),
            "one lies nobody knows where"
        );
    }
}
