//! The files that differ in two trees.
//!
//! - In: the tree of a commit and that of a parent. Out: each file that is not the same in both, with what it is there.
//! - Folders are not files; links and submodules are.
//! - Not here: which of them are one file that was renamed.

use super::objects::Objects;
use gix::ObjectId;
use gix::bstr::BString;
use gix::diff::tree::recorder::Change;
use gix::diff::tree::{Recorder, State};
use gix::objs::tree::EntryMode;
use gix::objs::{FindExt as _, TreeRefIter};

/// A file of a tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File {
    /// Of which kind it is.
    pub(crate) mode: EntryMode,
    /// What is in it.
    pub(crate) id: ObjectId,
}

/// A path at which there is another file, or in one tree none.
#[derive(Debug)]
pub(crate) struct Difference {
    /// The path, from the top.
    pub(crate) path: BString,
    /// The file in the first tree.
    pub(crate) before: Option<File>,
    /// The file in the second.
    pub(crate) after: Option<File>,
}

/// The files that differ in two trees; all are new without the first.
///
/// # Errors
/// When a tree cannot be read, or the time is over.
pub(crate) fn differences(
    objects: &Objects<'_>,
    before: Option<ObjectId>,
    after: ObjectId,
) -> gix::Result<Vec<Difference>> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    // The empty tree is in no database.
    let before = match before.filter(|id| !id.is_empty_tree()) {
        Some(id) => objects.find_tree_iter(&id, &mut old)?,
        None => TreeRefIter::from_bytes(&[], after.kind()),
    };
    let after = match after.is_empty_tree() {
        false => objects.find_tree_iter(&after, &mut new)?,
        true => TreeRefIter::from_bytes(&[], after.kind()),
    };
    let mut recorder = Recorder::default();
    gix::diff::tree(before, after, State::default(), objects, &mut recorder)
        .map_err(gix::Error::from_error)?;
    let differences = recorder.records.into_iter().map(|change| match change {
        Change::Addition {
            entry_mode: mode,
            oid: id,
            path,
            ..
        } => Difference {
            path,
            before: None,
            after: Some(File { mode, id }),
        },
        Change::Deletion {
            entry_mode: mode,
            oid: id,
            path,
            ..
        } => Difference {
            path,
            before: Some(File { mode, id }),
            after: None,
        },
        Change::Modification {
            previous_entry_mode,
            previous_oid,
            entry_mode,
            oid,
            path,
        } => Difference {
            path,
            before: Some(File {
                mode: previous_entry_mode,
                id: previous_oid,
            }),
            after: Some(File {
                mode: entry_mode,
                id: oid,
            }),
        },
    });
    let is_file = |difference: &Difference| {
        let mut files = [difference.before, difference.after].into_iter().flatten();
        files.all(|file| !file.mode.is_tree())
    };
    Ok(differences.filter(is_file).collect())
}
