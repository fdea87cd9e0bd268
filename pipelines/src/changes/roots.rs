//! What is watched: folders with all that is in them, and single files by the folder that they lie in, for whoever saves a
//! file puts a new one in its place.
//!
//! - A folder that is replaced, or whose drive is taken away and comes back, is told by its number, which is looked at now
//!   and then: those who watch it are told nothing.

use super::{ASKS, Marks, Seen};
use notify::{ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// All paths that are to be watched.
#[derive(Default)]
pub(super) struct Roots {
    watcher: Option<RecommendedWatcher>,
    /// Whether it was said that there is none.
    is_told: bool,
    roots: Vec<Root>,
}

/// A path, and whose it is.
struct Root {
    path: PathBuf,
    nth: usize,
    state: State,
}

enum State {
    /// Nobody has looked yet.
    New,
    /// It is not there.
    Missing,
    /// It is watched: under which path, which it is, and by which folder.
    Watched {
        real: PathBuf,
        id: Id,
        folder: PathBuf,
        is_whole: bool,
    },
    /// It cannot be watched, and was last asked for then.
    Unwatchable(Instant),
}

/// Tells files apart whatever their names are.
type Id = (u64, u64);

fn id(metadata: &Metadata) -> Id {
    (metadata.dev(), metadata.ino())
}

impl Roots {
    /// Adds the paths of a pipeline.
    pub fn add(&mut self, nth: usize, paths: &[PathBuf]) {
        self.roots.extend(paths.iter().map(|path| Root {
            path: path.clone(),
            nth,
            state: State::New,
        }));
    }

    /// Whether there is nothing to watch.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Watches what is there and not watched yet, and leaves what is not there any more. It may block.
    pub fn look(&mut self, marks: &Arc<Marks>) {
        let partly = marks.take_partly();
        self.make_watcher(marks);
        for at in 0..self.roots.len() {
            let Some(root) = self.roots.get(at) else { break };
            let (nth, path) = (root.nth, root.path.clone());
            let there = fs::metadata(&path);
            let is_new = match &root.state {
                State::Watched { id: known, .. } => {
                    let is_same = there.as_ref().is_ok_and(|there| id(there) == *known);
                    if is_same && !partly.contains(&nth) {
                        continue;
                    }
                    self.leave(at);
                    if is_same {
                        tell_too_many(&path);
                        self.set(at, State::Unwatchable(Instant::now()));
                        continue;
                    }
                    false
                }
                State::Unwatchable(asked) if asked.elapsed() < ASKS => continue,
                State::New => true,
                State::Missing | State::Unwatchable(_) => false,
            };
            let state = self.try_to_watch(at, &path, there);
            if !is_new && !matches!(state, State::Missing) {
                // What came with it, or while it could not be watched.
                marks.set(nth, Seen::Unwatched);
            }
            self.set(at, state);
        }
        marks.watch(self.roots.iter().filter_map(|root| match &root.state {
            State::Watched { real, .. } => Some((real.clone(), root.nth)),
            _ => None,
        }));
    }

    fn make_watcher(&mut self, marks: &Arc<Marks>) {
        if self.watcher.is_some() {
            return;
        }
        let marks = marks.clone();
        match notify::recommended_watcher(move |told: notify::Result<Event>| marks.see(told)) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(_) if self.is_told => {}
            Err(error) => {
                self.is_told = true;
                tracing::warn!(
                    %error,
                    "files cannot be watched, so they are read every 10 minutes; more may be allowed by `sysctl fs.inotify.max_user_instances`"
                );
            }
        }
    }

    fn set(&mut self, at: usize, state: State) {
        if let Some(root) = self.roots.get_mut(at) {
            root.state = state;
        }
    }

    /// Ends the watch of a root, unless another needs it.
    fn leave(&mut self, at: usize) {
        let Some(root) = self.roots.get_mut(at) else {
            return;
        };
        let State::Watched { folder, .. } = std::mem::replace(&mut root.state, State::Missing) else {
            return;
        };
        let is_needed = self.is_covered(&folder, false);
        if let Some(watcher) = &mut self.watcher
            && !is_needed
        {
            // It is gone already where the folder is.
            let _ = watcher.unwatch(&folder);
        }
    }

    /// Whether a folder is watched already; with all that is in it, or at least itself.
    fn is_covered(&self, folder: &Path, is_whole: bool) -> bool {
        self.roots.iter().any(|root| match &root.state {
            State::Watched {
                folder: watched,
                is_whole: true,
                ..
            } => folder.starts_with(watched),
            State::Watched { folder: watched, .. } => !is_whole && folder == watched,
            _ => false,
        })
    }

    fn try_to_watch(&mut self, at: usize, path: &Path, there: io::Result<Metadata>) -> State {
        let before = self.roots.get(at).map(|root| &root.state);
        let was_missing = matches!(before, Some(State::Missing));
        let is_told = matches!(before, Some(State::Unwatchable(_)));
        let found = there.and_then(|there| Ok((id(&there), there.is_dir(), fs::canonicalize(path)?)));
        let (id, is_whole, real) = match found {
            Ok(found) => found,
            Err(error) => {
                if !was_missing {
                    tracing::warn!(path = %path.display(), %error, "cannot watch what is not there; it is waited for");
                }
                return State::Missing;
            }
        };
        let folder = match real.parent() {
            Some(folder) if !is_whole => folder.to_owned(),
            _ => real.clone(),
        };
        let watched = State::Watched {
            real,
            id,
            folder: folder.clone(),
            is_whole,
        };
        if self.is_covered(&folder, is_whole) {
            return watched;
        }
        let Some(watcher) = &mut self.watcher else {
            return State::Unwatchable(Instant::now());
        };
        let mode = match is_whole {
            true => RecursiveMode::Recursive,
            false => RecursiveMode::NonRecursive,
        };
        let Err(error) = watcher.watch(&folder, mode) else {
            return watched;
        };
        // What was watched of it is room for others.
        let _ = watcher.unwatch(&folder);
        match error.kind {
            ErrorKind::PathNotFound => return State::Missing,
            _ if is_told => {}
            ErrorKind::MaxFilesWatch => tell_too_many(path),
            _ => {
                tracing::warn!(path = %path.display(), %error, "it cannot be watched, so it is read every 10 minutes");
            }
        }
        State::Unwatchable(Instant::now())
    }
}

fn tell_too_many(path: &Path) {
    tracing::warn!(
        path = %path.display(),
        "there are more folders in it than may be watched, so it is read every 10 minutes; more are allowed by `sysctl fs.inotify.max_user_watches`"
    );
}
