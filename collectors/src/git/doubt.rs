//! Whether there is a repository at a path, told without a run.
//!
//! - In: a path of the configuration. Out: why it may not be what was meant.
//! - It looks at folders level by level, and not at all of them: repositories lie near the top.
//! - Not here: which repositories there are (`find`).

use super::find::is_repository;
use crate::local_files::{MOST_ENTRIES, doubt_folder};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

/// Repositories that are opened.
const MOST_OPENED: usize = 100;

/// Why a path may not be what was meant: it is empty, a repository there cannot be opened, or there is none. What lies
/// beyond what is looked at is believed to be there.
pub(super) fn doubt(path: &Path) -> Option<String> {
    if let Some(doubt) = doubt_folder(path) {
        return Some(doubt);
    }
    let mut waiting = VecDeque::from([path.to_owned()]);
    let (mut looked_at, mut opened) = (0, 0);
    while let Some(folder) = waiting.pop_front() {
        if is_repository(&folder) {
            opened += 1;
            if let Err(reason) = open(&folder) {
                return Some(format!("`{}` cannot be opened: {reason}", folder.display()));
            }
        } else {
            looked_at += folders_in(&folder, MOST_ENTRIES.saturating_sub(looked_at), &mut waiting);
        }
        if looked_at >= MOST_ENTRIES || opened >= MOST_OPENED {
            return None;
        }
    }
    (opened == 0).then(|| format!("`{}` has no repository beneath it", path.display()))
}

/// Opens a repository as a run does, and reads what is checked out.
fn open(folder: &Path) -> Result<(), gix::Error> {
    gix::open(folder)?.head().map(|_| ())
}

/// Adds the folders in a folder, and returns how many entries were looked at. What cannot be read a run tells as a reject.
fn folders_in(folder: &Path, most: usize, folders: &mut VecDeque<PathBuf>) -> usize {
    let mut looked_at = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().take(most) {
        looked_at += 1;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push_back(entry.path());
        }
    }
    looked_at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_broken_or_holds_no_repository_is_doubted() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("src");
        fs::create_dir(&root).unwrap();
        let told = || doubt(&root).unwrap_or_default();
        assert!(told().ends_with("src` is empty"), "{}", told());
        let tool = root.join("some/tool");
        fs::create_dir_all(&tool).unwrap();
        assert!(
            told().ends_with("src` has no repository beneath it"),
            "{}",
            told()
        );
        fixtures::git::git(&tool, 0, &["init", "--quiet", "-b", "main"]);
        assert_eq!(doubt(&root), None, "one without a commit is one");
        assert_eq!(doubt(&tool), None);
        fs::write(tool.join(".git/HEAD"), "damaged").unwrap();
        assert!(told().contains("some/tool` cannot be opened: "), "{}", told());
        fs::remove_file(tool.join(".git/HEAD")).unwrap();
        assert!(told().contains("some/tool` cannot be opened: "), "{}", told());
    }
}
