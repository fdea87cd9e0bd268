//! What a commit changed: its files, each with its lines, as `git log --numstat -M` counts them.

use super::contents::{Content, Contents, File};
use super::renames::{Rename, renames};
use super::similarity::MAX_SCORE;
use gix::ObjectId;
use gix::bstr::BString;
use gix::diff::blob::sources;
use gix::diff::blob::{Algorithm, Diff, InternedInput, Interner, Token};
use gix::diff::tree::Recorder;
use gix::diff::tree::recorder::Change as Recorded;
use gix::objs::{FindExt, TreeRefIter};
use hashbrown::HashSet;
use schemas::datasets::git_file_changes::Change;

/// A file that a commit changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileChange {
    pub(super) path: BString,
    pub(super) old_path: Option<BString>,
    pub(super) change: Change,
    /// In percent, of a rename.
    pub(super) similarity: Option<i64>,
    /// Lines added and removed; none of a binary file.
    pub(super) lines: Option<(i64, i64)>,
}

/// Compares trees. It keeps its rooms from one commit to the next.
pub(super) struct Comparer {
    contents: Contents,
    rename_limit: usize,
    state: gix::diff::tree::State,
    trees: [Vec<u8>; 2],
    files: [Vec<u8>; 2],
}

impl Comparer {
    pub(super) fn new(contents: Contents) -> Self {
        let limit = contents.repository.config_snapshot().integer("diff.renameLimit");
        // The default of git 2.34 and later; 0 and less is without a limit.
        let rename_limit = limit.map_or(1_000, |limit| {
            usize::try_from(limit).ok().filter(|l| *l > 0).unwrap_or(32_767)
        });
        Self {
            contents,
            rename_limit,
            state: gix::diff::tree::State::default(),
            trees: Default::default(),
            files: Default::default(),
        }
    }

    /// The repository that it reads.
    pub(super) fn repository(&self) -> &gix::Repository {
        &self.contents.repository
    }

    /// What makes the tree `after` of `before`; all of it is new without one.
    pub(super) fn changes(
        &mut self,
        before: Option<ObjectId>,
        after: ObjectId,
    ) -> gix::Result<Vec<FileChange>> {
        let kind = after.kind();
        let objects = &self.contents;
        let [old, new] = &mut self.trees;
        let old = match before {
            Some(id) => objects.find_tree_iter(&id, old)?,
            None => TreeRefIter::from_bytes(&[], kind),
        };
        let new = objects.find_tree_iter(&after, new)?;
        let mut recorder = Recorder::default();
        gix::diff::tree(old, new, &mut self.state, objects, &mut recorder).map_err(gix::Error::from_error)?;

        let (mut removed, mut added, mut modified) = (Vec::new(), Vec::new(), Vec::new());
        for change in recorder.records {
            match change {
                Recorded::Addition {
                    entry_mode,
                    oid,
                    path,
                    ..
                } if !entry_mode.is_tree() => added.push(File {
                    path,
                    mode: entry_mode,
                    id: oid,
                }),
                Recorded::Deletion {
                    entry_mode,
                    oid,
                    path,
                    ..
                } if !entry_mode.is_tree() => removed.push(File {
                    path,
                    mode: entry_mode,
                    id: oid,
                }),
                Recorded::Modification {
                    previous_entry_mode,
                    previous_oid,
                    entry_mode,
                    oid,
                    path,
                } if !entry_mode.is_tree() => modified.push((
                    File {
                        path: path.clone(),
                        mode: previous_entry_mode,
                        id: previous_oid,
                    },
                    File {
                        path,
                        mode: entry_mode,
                        id: oid,
                    },
                )),
                _ => {}
            }
        }
        removed.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        added.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        let renamed = renames(&removed, &added, self.rename_limit, &mut self.contents)?;

        let mut changes = Vec::with_capacity(removed.len() + added.len() + modified.len());
        let mut is_rename = (vec![false; removed.len()], vec![false; added.len()]);
        for Rename { from, to, score } in renamed {
            let (Some(old), Some(new)) = (removed.get(from), added.get(to)) else {
                continue;
            };
            if let (Some(from), Some(to)) = (is_rename.0.get_mut(from), is_rename.1.get_mut(to)) {
                (*from, *to) = (true, true);
            }
            changes.push(FileChange {
                path: new.path.clone(),
                old_path: Some(old.path.clone()),
                change: Change::Renamed,
                similarity: Some(i64::from(score) * 100 / i64::from(MAX_SCORE)),
                lines: self.lines(Some(old), Some(new))?,
            });
        }
        let left = |file: &(&File, &bool)| !*file.1;
        for (file, _) in removed.iter().zip(&is_rename.0).filter(left) {
            changes.push(FileChange {
                lines: self.lines(Some(file), None)?,
                ..FileChange::of(file, Change::Deleted)
            });
        }
        for (file, _) in added.iter().zip(&is_rename.1).filter(left) {
            changes.push(FileChange {
                lines: self.lines(None, Some(file))?,
                ..FileChange::of(file, Change::Added)
            });
        }
        for (old, new) in &modified {
            let is_same_type = old.is_regular() && new.is_regular() || old.mode == new.mode;
            let change = if is_same_type {
                Change::Modified
            } else {
                Change::TypeChanged
            };
            changes.push(FileChange {
                lines: self.lines(Some(old), Some(new))?,
                ..FileChange::of(new, change)
            });
        }
        Ok(changes)
    }

    /// Lines added and removed; none when one side is binary.
    fn lines(&mut self, before: Option<&File>, after: Option<&File>) -> gix::Result<Option<(i64, i64)>> {
        let [old, new] = &mut self.files;
        let mut is_binary = false;
        for (file, bytes) in [(before, &mut *old), (after, &mut *new)] {
            bytes.clear();
            if let Some(file) = file
                && !is_binary
            {
                is_binary = matches!(self.contents.read(file, bytes)?, Content::Binary);
            }
        }
        if is_binary {
            return Ok(None);
        }
        let (added, removed) = match (before, after) {
            (Some(before), Some(after)) if before.id == after.id => (0, 0),
            _ => changed_lines(old, new),
        };
        if let Some(before) = before {
            // The commit before it, which comes next, made it.
            self.contents.keep(before, old);
        }
        Ok(Some((i64::from(added), i64::from(removed))))
    }
}

impl FileChange {
    fn of(file: &File, change: Change) -> Self {
        Self {
            path: file.path.clone(),
            old_path: None,
            change,
            similarity: None,
            lines: None,
        }
    }
}

/// Lines added and removed.
fn changed_lines(before: &[u8], after: &[u8]) -> (u32, u32) {
    let (start, end) = common_ends(before, after);
    let old = before.get(start..before.len() - end).unwrap_or_default();
    let new = after.get(start..after.len() - end).unwrap_or_default();
    if have_no_line_in_common(old, new) {
        return (count_lines(new), count_lines(old));
    }
    // The whole of both: how often a line occurs anywhere decides where the search may cut corners.
    let head = before.get(..start).unwrap_or_default();
    let tail = before.get(before.len() - end..).unwrap_or_default();
    let diff = Diff::compute(Algorithm::Myers, &interned(head, [old, new], tail));
    (diff.count_additions(), diff.count_removals())
}

/// The lines of two texts that begin and end alike, as numbers; what they share is looked up once.
fn interned<'a>(head: &'a [u8], middles: [&'a [u8]; 2], tail: &'a [u8]) -> InternedInput<&'a [u8]> {
    let lines = |text| count_lines(text) as usize;
    let shared = lines(head) + lines(tail);
    let [old, new] = middles;
    let mut interner = Interner::new(shared + lines(old) + lines(new));
    let mut numbers = |text| -> Vec<Token> {
        let lines = sources::byte_lines(text);
        lines.map(|line| interner.intern(line)).collect()
    };
    let [head, old, new, tail] = [head, old, new, tail].map(&mut numbers);
    InternedInput {
        before: [head.as_slice(), &old, &tail].concat(),
        after: [head.as_slice(), &new, &tail].concat(),
        interner,
    }
}

/// Whether it is certain that two texts share no line.
fn have_no_line_in_common(one: &[u8], other: &[u8]) -> bool {
    let (smaller, larger) = if one.len() < other.len() {
        (one, other)
    } else {
        (other, one)
    };
    let lines = |text| sources::byte_lines(text);
    // Of many lines one is most likely shared, and to look at all costs as much as the search that follows.
    if lines(smaller).nth(FEW_LINES).is_some() {
        return false;
    }
    let smaller: HashSet<&[u8]> = lines(smaller).collect();
    smaller.is_empty() || !lines(larger).any(|line| smaller.contains(line))
}

/// Lines that are looked for one by one.
const FEW_LINES: usize = 48;

/// Bytes of the lines that two texts both begin with, and then of those that both end with.
fn common_ends(before: &[u8], after: &[u8]) -> (usize, usize) {
    let same = common_start(
        before.iter(),
        after.iter(),
        before.chunks_exact(BLOCK),
        after.chunks_exact(BLOCK),
    );
    let is_whole = same == before.len() && same == after.len();
    let start = match before.get(..same) {
        _ if is_whole => same,
        Some(same) => memchr::memrchr(b'\n', same).map_or(0, |at| at + 1),
        None => 0,
    };
    let (before, after) = (
        before.get(start..).unwrap_or_default(),
        after.get(start..).unwrap_or_default(),
    );
    let (one, other) = (before.iter().rev(), after.iter().rev());
    let same = common_start(
        one,
        other,
        before.rchunks_exact(BLOCK),
        after.rchunks_exact(BLOCK),
    );
    // A line is only the same when what stands before it ends a line on both sides, or is nothing.
    let starts_line = |text: &[u8], at: usize| at == 0 || text.get(at - 1) == Some(&b'\n');
    let mut end = same;
    while end > 0 {
        let (one, other) = (before.len() - end, after.len() - end);
        if starts_line(before, one) && starts_line(after, other) {
            break;
        }
        // To the start of the next line.
        let rest = before.get(one..).unwrap_or_default();
        end = memchr::memchr(b'\n', rest).map_or(0, |at| rest.len() - at - 1);
    }
    (start, end)
}

/// Bytes that are compared at once.
const BLOCK: usize = 64;

/// How many bytes two texts begin with alike: blocks of them first, then one by one.
fn common_start<'a>(
    one: impl Iterator<Item = &'a u8>,
    other: impl Iterator<Item = &'a u8>,
    blocks: impl Iterator<Item = &'a [u8]>,
    other_blocks: impl Iterator<Item = &'a [u8]>,
) -> usize {
    let same = blocks
        .zip(other_blocks)
        .take_while(|(one, other)| one == other)
        .count()
        * BLOCK;
    same + one
        .skip(same)
        .zip(other.skip(same))
        .take_while(|(one, other)| one == other)
        .count()
}

/// Lines of a text; one without an end counts.
fn count_lines(text: &[u8]) -> u32 {
    let ends = memchr::memchr_iter(b'\n', text).count();
    let open = usize::from(text.last().is_some_and(|byte| *byte != b'\n'));
    u32::try_from(ends + open).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_counted_as_git_counts_them() {
        for (before, after, lines) in [
            ("", "a\nb", (2, 0)),
            ("a\n", "", (0, 1)),
            ("a\nb\nc\n", "a\nc\n", (0, 1)),
            ("a\nb\n", "a\nb", (1, 1)),
            ("a\n", "a\na\n", (1, 0)),
            ("xa\n", "a\n", (1, 1)),
            ("a\nxb\nc\n", "a\nb\nc\n", (1, 1)),
        ] {
            assert_eq!(
                changed_lines(before.as_bytes(), after.as_bytes()),
                lines,
                "{before:?} {after:?}"
            );
        }
    }

    proptest! {
        /// The short way gives what the long one gives.
        #[test]
        fn common_ends_change_nothing(before in "([ab]{0,2}\n){0,6}[ab]{0,2}", after in "([ab]{0,2}\n){0,6}[ab]{0,2}") {
            let (before, after) = (before.as_bytes(), after.as_bytes());
            let whole = Diff::compute(Algorithm::Myers, &InternedInput::new(before, after));
            prop_assert_eq!(changed_lines(before, after), (whole.count_additions(), whole.count_removals()));
        }
    }
}
