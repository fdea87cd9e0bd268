//! Whether there is a Maildir at a path, told without a run.
//!
//! - In: a path. Out: why it may not be what was meant; whether a folder is a Maildir itself.
//! - Not here: which folders there are, and what is in them (`folders`).

use super::folders::{IS_FILE, NO_FOLDER, is_box};
use crate::local_files::{doubt_folder, is_any_below};
use std::path::Path;

/// Why a path may not be what was meant: it is a file, it is empty, or there is no Maildir at or below it.
pub(super) fn doubt(path: &Path) -> Option<String> {
    let told = |why: &str| Some(format!("`{}`: {why}", path.display()));
    if path.is_file() {
        return told(IS_FILE);
    }
    if let Some(doubt) = doubt_folder(path) {
        return Some(doubt);
    }
    match is_any_below(path, |entry| is_box(entry) && entry.path().is_dir()) {
        Some(false) => told(NO_FOLDER),
        _ => None,
    }
}

/// Whether a folder is a Maildir. Programs that copy one may leave out `tmp`, which is empty.
pub(crate) fn is_maildir(folder: &Path) -> bool {
    ["cur", "new"].iter().all(|part| folder.join(part).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_a_file_or_empty_or_holds_no_maildir_is_doubted() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("mail");
        fs::create_dir(&root).unwrap();
        let told = |path: &Path| doubt(path).unwrap_or_default();
        assert!(told(&root).ends_with("mail` is empty"), "{}", told(&root));
        fs::create_dir_all(root.join("work/todo")).unwrap();
        assert!(told(&root).contains("not a Maildir"), "{}", told(&root));
        let file = root.join("new");
        fs::write(&file, "From a@b\n").unwrap();
        assert!(told(&root).contains("not a Maildir"), "{}", told(&root));
        assert!(told(&file).contains("`kind = \"mbox\"`"), "{}", told(&file));
        fs::create_dir(root.join("work/todo/cur")).unwrap();
        assert_eq!(doubt(&root), None);
        assert!(!is_maildir(&root.join("work/todo")));
        fs::create_dir(root.join("work/todo/new")).unwrap();
        assert!(is_maildir(&root.join("work/todo")));
    }
}
