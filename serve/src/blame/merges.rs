//! Renames of secrets within merges. They are not collected: `git log --numstat` compares merges with nothing.
//!
//! - In: what was collected of a repository, its objects. Out: the renames that were collected, and those that merges made
//!   of files that must not be read.
//! - A merge itself renamed what none of its parents has at that path with that content, as `git show --cc` takes it; what
//!   came with one of its parents was renamed there. How similar is similar enough, blame and this have from one library.
//! - The files of a merge are looked at where a secret went, and nowhere else; `objects` ends it when the time is over.
//! - Not here: which files must not be read (`withheld`).

use super::objects::Objects;
use super::withheld::{Past, Rename, Withheld};
use super::{MOST_COMPARED, comparison};
use gix::bstr::{BString, ByteSlice as _};
use gix::diff::Rewrites;
use gix::diff::blob::Platform;
use gix::diff::rewrites::Tracker;
use gix::diff::tree::recorder::Change as Recorded;
use gix::diff::tree::visit::Change;
use gix::diff::tree::{Recorder, State};
use gix::objs::tree::EntryMode;
use gix::objs::{CommitRef, Find as _, FindExt as _};
use gix::{ObjectId, Repository};
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The renames that were collected of a repository, and those of secrets within its merges.
///
/// # Errors
/// When a merge cannot be read, or it takes too long: what is a secret cannot be told then.
pub(crate) fn all_renames(
    repository: &Repository,
    objects: &Objects<'_>,
    place: &Path,
    secret_folders: &[PathBuf],
    past: &Past,
) -> gix::Result<Vec<Rename>> {
    let mut renames = past.renames.clone();
    if past.merges.is_empty() {
        return Ok(renames);
    }
    let mut merges = Merges {
        objects,
        compared: comparison(repository)?,
    };
    let mut asked: HashSet<String> = HashSet::new();
    let mut paths = past.paths.as_slice();
    loop {
        let new: HashSet<String> = {
            let withheld = Withheld::of(place, secret_folders, &renames);
            // Where history ends early, a name may be known as that of before alone.
            let renamed = renames.iter().flat_map(|rename| [&rename.path, &rename.old_path]);
            let all = paths.iter().chain(renamed);
            all.filter(|path| !asked.contains(*path) && withheld.has(Path::new(path)))
                .cloned()
                .collect()
        };
        if new.is_empty() {
            return Ok(renames);
        }
        renames.extend(merges.of(&past.merges, &new)?);
        // The names that a secret got may have been renamed once more, by any merge; all others are known now.
        asked.extend(new);
        paths = &[];
    }
}

/// The paths of files that must not be read, and the folders on the way to them.
struct Names<'a> {
    files: &'a HashSet<String>,
    folders: HashSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(files: &'a HashSet<String>) -> Self {
        let above = files.iter().flat_map(|file| Path::new(file).ancestors().skip(1));
        Self {
            files,
            folders: above.filter_map(Path::to_str).collect(),
        }
    }
}

/// A file of a tree.
struct File {
    path: BString,
    mode: EntryMode,
    id: ObjectId,
}

/// Looks at merges.
struct Merges<'a> {
    objects: &'a Objects<'a>,
    compared: Platform,
}

impl Merges<'_> {
    /// The renames that merges made of these files.
    fn of(&mut self, merges: &[String], files: &HashSet<String>) -> gix::Result<Vec<Rename>> {
        let names = Names::of(files);
        let mut found = Vec::new();
        for merge in merges {
            if let Ok(id) = ObjectId::from_hex(merge.as_bytes()) {
                self.look(id, &names, &mut found)?;
            }
        }
        Ok(found)
    }

    /// Adds those of one merge.
    fn look(&mut self, id: ObjectId, names: &Names<'_>, found: &mut Vec<Rename>) -> gix::Result<()> {
        let mut buffer = Vec::new();
        let (after, parents) = {
            // History may have been written anew since it was collected.
            let Some(commit) = self.objects.try_find(&id, &mut buffer)? else {
                return Ok(());
            };
            let commit = CommitRef::from_bytes(commit.data, id.kind())?;
            (commit.tree(), commit.parents().collect::<Vec<_>>())
        };
        let mut trees = Vec::with_capacity(parents.len());
        for parent in parents {
            trees.push(self.objects.find_commit(&parent, &mut buffer)?.tree());
        }
        // What is as one of its parents was has nothing of its own. The empty tree is in no database.
        if after.is_empty_tree() || trees.contains(&after) {
            return Ok(());
        }
        trees.retain(|tree| !tree.is_empty_tree());
        for before in &trees {
            let gone = self.gone(names, *before, after)?;
            if gone.is_empty() {
                continue;
            }
            for file in self.came(&trees, *before, after)? {
                if let Some(old_path) = self.source(&gone, &file)? {
                    found.push(Rename {
                        path: file.path.to_string(),
                        old_path,
                    });
                }
            }
            self.compared.clear_resource_cache();
        }
        Ok(())
    }

    /// The files with these names that a parent has, and the merge has not.
    fn gone(&self, names: &Names<'_>, before: ObjectId, after: ObjectId) -> gix::Result<Vec<File>> {
        let mut gone = Vec::new();
        let (mut old, mut new) = (Vec::new(), Vec::new());
        let mut folders = vec![(BString::default(), before, Some(after))];
        while let Some((folder, before, after)) = folders.pop() {
            let mut there: HashMap<BString, (EntryMode, ObjectId)> = HashMap::new();
            if let Some(after) = after {
                for entry in self.objects.find_tree_iter(&after, &mut new)? {
                    let entry = entry?;
                    there.insert(entry.filename.to_owned(), (entry.mode, entry.oid.to_owned()));
                }
            }
            for entry in self.objects.find_tree_iter(&before, &mut old)? {
                let entry = entry?;
                let (mode, id) = (entry.mode, entry.oid.to_owned());
                let mut path = folder.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(entry.filename);
                // As the rows of changes write it.
                let name = path.to_string();
                let now = there.get(entry.filename).copied();
                if mode.is_tree() {
                    let now = now.filter(|(mode, _)| mode.is_tree()).map(|(_, id)| id);
                    if now != Some(id) && names.folders.contains(name.as_str()) {
                        folders.push((path, id, now));
                    }
                } else if mode.is_blob_or_symlink()
                    && names.files.contains(&name)
                    && now.is_none_or(|(mode, _)| mode.is_tree())
                {
                    gone.push(File { path, mode, id });
                }
            }
        }
        Ok(gone)
    }

    /// The files that a parent has not, and the merge has from none of its parents.
    fn came(&self, parents: &[ObjectId], before: ObjectId, after: ObjectId) -> gix::Result<Vec<File>> {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        let mut recorder = Recorder::default();
        let before = self.objects.find_tree_iter(&before, &mut old)?;
        let after = self.objects.find_tree_iter(&after, &mut new)?;
        gix::diff::tree(before, after, State::default(), self.objects, &mut recorder)
            .map_err(gix::Error::from_error)?;
        let mut came = Vec::new();
        for change in recorder.records {
            if let Recorded::Addition {
                entry_mode: mode,
                oid: id,
                path,
                ..
            } = change
                && mode.is_blob_or_symlink()
            {
                let file = File { path, mode, id };
                if !self.has_one(parents, &file)? {
                    came.push(file);
                }
            }
        }
        Ok(came)
    }

    /// Whether one of these trees has such a file.
    fn has_one(&self, trees: &[ObjectId], file: &File) -> gix::Result<bool> {
        for tree in trees {
            let (mut top, mut below) = (Vec::new(), Vec::new());
            let steps = file.path.split(|byte| *byte == b'/');
            let tree = self.objects.find_tree_iter(tree, &mut top)?;
            let entry = tree.lookup_entry(self.objects, &mut below, steps)?;
            if entry.is_some_and(|entry| entry.oid == file.id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The path that a file had before, if it was one of those that went. Each file is asked for alone: one secret may have
    /// become two files.
    fn source(&mut self, gone: &[File], file: &File) -> gix::Result<Option<String>> {
        let mut tracker = Tracker::new(Rewrites {
            limit: MOST_COMPARED,
            ..Rewrites::default()
        });
        for source in gone {
            let change = Change::Deletion {
                entry_mode: source.mode,
                oid: source.id,
                relation: None,
            };
            tracker.try_push_change(change, source.path.as_bstr());
        }
        let change = Change::Addition {
            entry_mode: file.mode,
            oid: file.id,
            relation: None,
        };
        tracker.try_push_change(change, file.path.as_bstr());
        let mut old_path = None;
        tracker.emit(
            |_, source| match source {
                Some(source) => {
                    old_path = Some(source.location.to_string());
                    ControlFlow::Break(())
                }
                None => ControlFlow::Continue(()),
            },
            &mut self.compared,
            self.objects,
            |_| Ok::<(), Infallible>(()),
        )?;
        Ok(old_path)
    }
}
