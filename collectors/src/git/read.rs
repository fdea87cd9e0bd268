//! Commits read by many threads: what each is, and what it changed, as rows.
//!
//! - In: ids of commits of one repository. Out: their rows, or why a commit could not be read.
//! - Not here: which commits (`history`), what becomes of the rows (`git`).

use super::changes::{Comparer, FileChange};
use super::commit;
use super::contents::Contents;
use super::decoded::Decoded;
use super::recent::Recent;
use bytes::Bytes;
use gix::bstr::ByteSlice;
use gix::{ObjectId, ThreadSafeRepository};
use schemas::datasets::git_commits::GitCommit;
use schemas::datasets::git_file_changes::GitFileChange;
use std::collections::{BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

/// Commits that one thread takes at once: neighbours share most of their trees.
const SLICE_COMMITS: usize = 64;

/// Slices that wait for who takes them.
const SLICES_AHEAD: usize = 4;

/// Bytes of files that are kept for when they are asked for again.
const RECENT_FILES_BYTES: usize = 32 << 20;

/// Bytes of objects that are kept for those that are stored as a difference to them.
const DECODED_BYTES: usize = 96 << 20;

/// A commit with what it changed, or why it could not be read.
pub(super) type ReadCommit = (ObjectId, Result<(GitCommit, Vec<GitFileChange>), String>);

/// A repository as threads read it.
pub(super) struct Reader<'a> {
    name: &'a str,
    shared: &'a ThreadSafeRepository,
    border: BTreeSet<ObjectId>,
    mailmap: gix::mailmap::Snapshot,
    files: Arc<Mutex<Recent>>,
    decoded: Decoded,
}

impl<'a> Reader<'a> {
    /// A reader of the repository of this name, whose history ends at `border`.
    pub(super) fn new(
        name: &'a str,
        shared: &'a ThreadSafeRepository,
        border: BTreeSet<ObjectId>,
        mailmap: gix::mailmap::Snapshot,
    ) -> Self {
        Self {
            name,
            shared,
            border,
            mailmap,
            files: Arc::new(Mutex::new(Recent::new(RECENT_FILES_BYTES))),
            decoded: Decoded::new(DECODED_BYTES),
        }
    }

    /// The name of the repository.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// Reads commits on all cores, the last first, and hands over those of a slice at once; slices come as they are ready.
    ///
    /// No thread of rayon's, which must not wait: whoever takes what was read may need one of those.
    ///
    /// # Errors
    /// The first of `take`'s; nothing more is read then.
    pub(super) fn read<E>(
        &self,
        ids: &[ObjectId],
        mut take: impl FnMut(Vec<ReadCommit>) -> Result<(), E>,
    ) -> Result<(), E> {
        // Slices are begun in their order, so that threads stay close to one another.
        let slices = Mutex::new(ids.rchunks(SLICE_COMMITS));
        let next = || slices.lock().ok().and_then(|mut slices| slices.next());
        thread::scope(|scope| {
            let (send, receive) = mpsc::sync_channel(SLICES_AHEAD);
            for _ in 0..rayon::current_num_threads() {
                let send = send.clone();
                scope.spawn(move || {
                    let mut comparer = None;
                    while let Some(ids) = next() {
                        if send.send(self.read_slice(ids, &mut comparer)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(send);
            receive.into_iter().try_for_each(&mut take)
        })
    }

    /// Reads some commits, the last first, with the comparer that there is, or a new one.
    fn read_slice(&self, ids: &[ObjectId], comparer: &mut Option<Comparer>) -> Vec<ReadCommit> {
        let read = |id: &ObjectId| {
            let row = match comparer.take().map_or_else(|| self.comparer(), Ok) {
                Ok(mut with) => {
                    // A damaged object must not end the run, whatever it does to who reads it.
                    let row = catch_unwind(AssertUnwindSafe(|| self.commit(*id, &mut with)));
                    if row.is_ok() {
                        *comparer = Some(with);
                    }
                    row.unwrap_or_else(|_| Err("its objects are damaged: reading them failed".to_owned()))
                }
                Err(error) => Err(error.to_string()),
            };
            (*id, row)
        };
        ids.iter().rev().map(read).collect()
    }

    fn comparer(&self) -> gix::Result<Comparer> {
        let mut repository = self.shared.to_thread_local();
        let decoded = self.decoded.clone();
        repository
            .objects
            .set_pack_cache(move || Box::new(decoded.clone()));
        Ok(Comparer::new(Contents::new(repository, Arc::clone(&self.files))?))
    }

    fn commit(
        &self,
        id: ObjectId,
        comparer: &mut Comparer,
    ) -> Result<(GitCommit, Vec<GitFileChange>), String> {
        let read = || -> gix::Result<_> {
            let object = comparer.repository().find_commit(id)?;
            let commit = object.decode()?;
            let parents: Vec<ObjectId> = match self.border.contains(&id) {
                true => Vec::new(),
                false => commit.parents().collect(),
            };
            let before = match parents.as_slice() {
                [] => None,
                [parent] => Some(comparer.repository().find_commit(*parent)?.tree_id()?.detach()),
                // Compared with nothing.
                _ => {
                    return Ok((
                        commit::decode(self.name, id, &parents, &commit, &self.mailmap),
                        None,
                    ));
                }
            };
            let row = commit::decode(self.name, id, &parents, &commit, &self.mailmap);
            Ok((row, Some((before, commit.tree()))))
        };
        let (mut commit, trees) = read().map_err(|error| error.to_string())?;
        let changes = match trees {
            Some((before, after)) => comparer
                .changes(before, after)
                .map_err(|error| error.to_string())?,
            None => Vec::new(),
        };
        commit.files_changed = changes.len() as i64;
        for (insertions, deletions) in changes.iter().filter_map(|change| change.lines) {
            commit.insertions += insertions;
            commit.deletions += deletions;
        }
        let changes = change_rows(&commit, changes);
        Ok((commit, changes))
    }
}

/// The rows of what a commit changed.
fn change_rows(commit: &GitCommit, changes: Vec<FileChange>) -> Vec<GitFileChange> {
    let mut shown = HashSet::new();
    changes
        .into_iter()
        .map(|change| {
            let is_text = change.path.to_str().is_ok();
            let mut path = change.path.to_str_lossy().into_owned();
            // Two names that differ only in what cannot be shown: as git shows them, then.
            if !shown.insert(path.clone()) {
                path = format!("{:?}", change.path);
            }
            GitFileChange {
                item: commit.item.clone(),
                repository: commit.repository.clone(),
                commit: commit.commit.clone(),
                path,
                old_path: change.old_path.map(|path| path.to_str_lossy().into_owned()),
                change: change.change,
                similarity: change.similarity,
                lines: change.lines,
                path_bytes: (!is_text).then(|| Bytes::from(Vec::from(change.path))),
            }
        })
        .collect()
}
