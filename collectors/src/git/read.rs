//! Commits read by many threads: what each is, and what it changed, as rows.
//!
//! - In: ids of commits of one repository. Out: their rows, or why a commit could not be read.
//! - Not here: which commits (`history`), what becomes of the rows (`git`).

use super::changes::{Comparer, FileChange};
use super::commit;
use super::contents::Contents;
use super::recent::Recent;
use bytes::Bytes;
use gix::bstr::ByteSlice;
use gix::odb::pack::cache::lru::MemoryCappedHashmap;
use gix::{ObjectId, ThreadSafeRepository};
use rayon::prelude::*;
use schemas::datasets::git_commits::GitCommit;
use schemas::datasets::git_file_changes::GitFileChange;
use std::collections::{BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// Commits that one thread takes at once: neighbours share most of their trees.
const SLICE_COMMITS: usize = 16;

/// Bytes of files that are kept for when they are asked for again.
const RECENT_FILES_BYTES: usize = 32 << 20;

/// Bytes of objects that each thread keeps, for those that are stored as a difference to them.
const PACK_CACHE_BYTES: usize = 48 << 20;

/// A commit with what it changed, or why it could not be read.
pub(super) type ReadCommit = (ObjectId, Result<(GitCommit, Vec<GitFileChange>), String>);

/// A repository as threads read it.
pub(super) struct Reader<'a> {
    name: &'a str,
    shared: &'a ThreadSafeRepository,
    border: BTreeSet<ObjectId>,
    mailmap: gix::mailmap::Snapshot,
    /// Comparers that no thread uses just now.
    free: Mutex<Vec<Comparer>>,
    files: Arc<Mutex<Recent>>,
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
            free: Mutex::new(Vec::new()),
            files: Arc::new(Mutex::new(Recent::new(RECENT_FILES_BYTES))),
        }
    }

    /// The name of the repository.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// Reads commits, the last first.
    pub(super) fn read(&self, ids: &[ObjectId]) -> Vec<ReadCommit> {
        // Slices are taken in their order, so that threads stay close to one another.
        let mut read: Vec<_> = ids
            .rchunks(SLICE_COMMITS)
            .enumerate()
            .par_bridge()
            .map(|(at, ids)| (at, self.read_slice(ids)))
            .collect();
        read.sort_unstable_by_key(|(at, _)| *at);
        read.into_iter().flat_map(|(_, read)| read).collect()
    }

    /// Reads some commits with a comparer that is free, or a new one.
    fn read_slice(&self, ids: &[ObjectId]) -> Vec<ReadCommit> {
        let mut comparer = self.free.lock().ok().and_then(|mut free| free.pop());
        let mut read = Vec::with_capacity(ids.len());
        for id in ids.iter().rev() {
            let row = match comparer.take().map_or_else(|| self.comparer(), Ok) {
                Ok(mut with) => {
                    // A damaged object must not end the run, whatever it does to who reads it.
                    let row = catch_unwind(AssertUnwindSafe(|| self.commit(*id, &mut with)));
                    if row.is_ok() {
                        comparer = Some(with);
                    }
                    row.unwrap_or_else(|_| Err("its objects are damaged: reading them failed".to_owned()))
                }
                Err(error) => Err(error.to_string()),
            };
            read.push((*id, row));
        }
        if let (Some(comparer), Ok(mut free)) = (comparer, self.free.lock()) {
            free.push(comparer);
        }
        read
    }

    fn comparer(&self) -> gix::Result<Comparer> {
        let mut repository = self.shared.to_thread_local();
        repository
            .objects
            .set_pack_cache(|| Box::new(MemoryCappedHashmap::new(PACK_CACHE_BYTES)));
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
