//! Files in folders on this machine: what a collector needs to know of them before it reads one.

use crate::collect::Progress;
use crate::maildir::{escape, modified_ns};
use schemas::{Location, Reject};
use std::collections::VecDeque;
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Entries of folders that are looked at before a run. More take seconds on a slow disk.
pub(crate) const MOST_ENTRIES: usize = 10_000;

/// A file that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalFile {
    pub path: PathBuf,
    /// Its path as text.
    pub location: String,
    /// Path of its folder.
    pub folder: String,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    pub modified_ns: i64,
}

/// A file that a collector reads.
pub(crate) trait Listed: Sync {
    /// Where it is.
    fn local(&self) -> &LocalFile;
    /// Fingerprint of the file and of all that is told about it.
    fn version(&self) -> String;
}

/// What lies below the roots of a collector.
#[derive(Debug)]
pub(crate) struct Tree<F> {
    /// The roots that were there, and could be read.
    pub roots: Vec<PathBuf>,
    /// In the order of their locations, each once.
    pub files: Vec<F>,
    /// What could not be looked at.
    pub rejects: Vec<Reject>,
    /// Beginnings of the locations, and of the rejects, in folders that could not be read; nothing is known of what is
    /// there.
    pub unread: Vec<String>,
    /// What is to be warned of: roots that are missing.
    pub warnings: Vec<String>,
}

impl<F> Default for Tree<F> {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            files: Vec::new(),
            rejects: Vec::new(),
            unread: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl<F: Listed> Tree<F> {
    /// Notes a folder that could not be read.
    pub fn miss(&mut self, folder: &Path, error: &dyn std::fmt::Display) {
        self.leave(folder, format!("cannot be read: {error}"));
    }

    /// Looks at a file, or at what a link leads to, and notes what cannot be collected.
    pub fn look_at(&mut self, path: &Path, is_link: bool) -> Option<LocalFile> {
        match LocalFile::look_at(path, is_link) {
            Ok(Some(local)) => return Some(local),
            // All that was in its folder went with it.
            Ok(None) if !is_link && !is_removed(path) => {
                self.miss_taken_away(path.parent().unwrap_or(path));
            }
            Ok(None) => {}
            Err(reason) => self.rejects.push(reject(path, reason)),
        }
        None
    }

    /// Notes a folder whose files were there a moment ago, and went without being removed.
    pub fn miss_taken_away(&mut self, folder: &Path) {
        let cause = "its files were there, and are not any more (was its disk taken away?)";
        self.miss(folder, &cause);
    }

    /// Notes a root that is not there.
    pub fn miss_root(&mut self, root: &Path, error: &io::Error) {
        let reason = missing_root(root, error, |warning| self.warnings.push(warning));
        self.leave(root, reason);
    }

    /// Warns of the roots that were missed since it last did.
    pub fn warn(&mut self, progress: &Progress) {
        self.warnings.drain(..).for_each(|warning| progress.warn(warning));
    }

    fn leave(&mut self, folder: &Path, reason: String) {
        self.roots.retain(|root| root != folder);
        let below = folder.join("");
        // A location is a path as it is; what is rejected is named with escapes.
        self.unread.push(below.to_string_lossy().into_owned());
        self.unread
            .push(escape(below.as_os_str().as_bytes()).into_owned());
        self.rejects.push(reject(folder, reason));
    }

    /// Brings it into its order. One root may lie in another, so what is there twice is left out.
    pub fn sort(&mut self) {
        self.files
            .sort_unstable_by(|one, other| one.local().location.cmp(&other.local().location));
        self.files
            .dedup_by(|one, other| one.local().location == other.local().location);
        sort_rejects(&mut self.rejects);
        self.unread.sort_unstable();
        self.unread.dedup();
    }
}

/// Brings rejects into the order of what they tell of, each once: one root may lie in another.
pub(crate) fn sort_rejects(rejects: &mut Vec<Reject>) {
    rejects.sort_by(|one, other| one.item.cmp(&other.item));
    rejects.dedup_by(|one, other| one.item == other.item);
}

/// The roots of a collector.
#[derive(Debug, Default)]
pub(crate) struct Roots<'a> {
    /// Those that can be read.
    pub there: Vec<&'a PathBuf>,
    /// The others, and why.
    pub missing: Vec<(&'a PathBuf, io::Error)>,
}

impl<'a> Roots<'a> {
    /// Looks at them. `is_known` says whether the lake has anything of a root.
    ///
    /// # Errors
    /// The first one, and why, when none of them can be read.
    pub fn look_at(
        roots: &'a [PathBuf],
        is_known: impl Fn(&Path) -> bool,
    ) -> Result<Self, (PathBuf, io::Error)> {
        let mut looked = Self::default();
        for root in roots {
            match look_at_root(root, &is_known) {
                Ok(()) => looked.there.push(root),
                Err(error) => looked.missing.push((root, error)),
            }
        }
        if !looked.there.is_empty() {
            return Ok(looked);
        }
        match looked.missing.into_iter().next() {
            Some((root, error)) => Err((root.clone(), error)),
            None => Ok(Self::default()),
        }
    }
}

/// Looks whether a root is there. Where a disk is not mounted there is no folder, or an empty one: that must not look
/// like one from which all was deleted.
///
/// # Errors
/// Why it is not.
pub(crate) fn look_at_root(root: &Path, is_known: impl Fn(&Path) -> bool) -> io::Result<()> {
    if fs::read_dir(root)?.next().is_none() && is_known(root) {
        let cause =
            "it is empty, and was not (is its disk mounted?); if it is meant to be, put any file in it";
        return Err(io::Error::new(io::ErrorKind::NotFound, cause));
    }
    Ok(())
}

/// Why a folder may not be the one that was meant: it cannot be listed, or is empty. As a sentence without an end.
pub(crate) fn doubt_folder(folder: &Path) -> Option<String> {
    let name = folder.display();
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Some(format!("`{name}` is empty")),
        Ok(false) => None,
        Err(error) => Some(format!("`{name}` cannot be listed: {error}")),
    }
}

/// Whether any entry below a folder is what is sought, the nearest looked at first. Links to folders are not followed.
/// `None` when that cannot be told: there are more than are looked at, or a folder cannot be read.
pub(crate) fn is_any_below(root: &Path, mut is_sought: impl FnMut(&DirEntry) -> bool) -> Option<bool> {
    let mut waiting = VecDeque::from([root.to_owned()]);
    let (mut looked_at, mut is_whole) = (0, true);
    while let Some(folder) = waiting.pop_front() {
        let Ok(entries) = fs::read_dir(&folder) else {
            is_whole = false;
            continue;
        };
        for entry in entries {
            looked_at += 1;
            if looked_at > MOST_ENTRIES {
                return None;
            }
            let Ok(entry) = entry else {
                is_whole = false;
                break;
            };
            if is_sought(&entry) {
                return Some(true);
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push_back(entry.path());
            }
        }
    }
    is_whole.then_some(false)
}

/// Whether a file or folder that is not there was removed, and not its disk taken away: what it lay in is there, and not
/// empty as a folder is in which nothing is mounted.
pub(crate) fn is_removed(path: &Path) -> bool {
    let around = path.parent().and_then(|parent| fs::read_dir(parent).ok());
    around.is_some_and(|mut entries| entries.next().is_some())
}

/// Whether any of the places that the lake has lies below a root.
pub(crate) fn is_known(places: &[Location], root: &Path) -> bool {
    places
        .iter()
        .any(|place| Path::new(&place.location).starts_with(root))
}

/// Why a root was left out, what that means, and what to do. `warn` gets the same with the name of the root.
pub(crate) fn missing_root(root: &Path, error: &io::Error, warn: impl FnOnce(String)) -> String {
    let reason = format!(
        "cannot be read: {error}; the other roots were read, and what was collected from this one stays as it is. Mount \
         its disk, or let dkc read it; if it is gone for good, take it out of the configuration"
    );
    warn(format!("`{}` {reason}", root.display()));
    reason
}

impl LocalFile {
    /// Looks at a file, or at what a link leads to; `None` when it is gone, or a link to a folder.
    ///
    /// # Errors
    /// Why it cannot be collected.
    fn look_at(path: &Path, is_link: bool) -> Result<Option<Self>, String> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(metadata) if is_link && metadata.is_dir() => return Ok(None),
            Ok(_) => return Err("not a regular file".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_link => return Ok(None),
            Err(error) => return Err(format!("cannot be read: {error}")),
        };
        let text = |path: &Path| path.to_str().map(str::to_owned);
        let location = text(path).ok_or("its path is not UTF-8, so the lake cannot name it; rename it")?;
        Ok(Some(Self {
            location,
            folder: path.parent().and_then(text).unwrap_or_default(),
            size: metadata.len(),
            modified_ns: modified_ns(&metadata),
            path: path.to_owned(),
        }))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn modified_at(&self) -> i64 {
        self.modified_ns.div_euclid(1_000)
    }
}

/// A path that could not be looked at.
pub(crate) fn reject(path: &Path, reason: String) -> Reject {
    Reject {
        item: escape(path.as_os_str().as_bytes()).into_owned(),
        reason,
        raw: Some(path.display().to_string()),
    }
}

/// Whether a link leads to a folder that no root holds, which is then missed.
pub(crate) fn leads_out(roots: &[PathBuf], link: &Path) -> bool {
    let Ok(target) = link.canonicalize() else {
        return false;
    };
    let holds = |root: &PathBuf| root.canonicalize().is_ok_and(|root| target.starts_with(root));
    target.is_dir() && !roots.iter().any(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_was_removed_only_if_something_is_left_around_it() {
        let folder = tempfile::tempdir().unwrap();
        let usb = folder.path().join("usb");
        fs::create_dir(&usb).unwrap();
        assert!(is_removed(&folder.path().join("gone")));
        assert!(!is_removed(&usb.join("photos")), "nothing is mounted there");
        assert!(!is_removed(&usb.join("photos/2024")), "nor is what it lay in");
    }

    #[test]
    fn a_folder_with_nothing_in_it_is_doubted_and_so_is_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let doubt = doubt_folder(folder.path()).unwrap();
        assert!(doubt.ends_with("` is empty"), "{doubt}");
        let file = folder.path().join("a.md");
        fs::write(&file, "a").unwrap();
        assert_eq!(doubt_folder(folder.path()), None);
        let doubt = doubt_folder(&file).unwrap();
        assert!(doubt.contains("a.md` cannot be listed: "), "{doubt}");
    }

    #[test]
    fn what_is_sought_is_found_at_any_depth_and_not_behind_a_link_nor_among_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let [root, elsewhere] = ["root", "elsewhere"].map(|name| folder.path().join(name));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(&elsewhere).unwrap();
        fs::write(elsewhere.join("1.jpg"), "1").unwrap();
        std::os::unix::fs::symlink(&elsewhere, root.join("a/link")).unwrap();
        std::os::unix::fs::symlink(&root, root.join("a/loop")).unwrap();
        let is_any = |name: &str| is_any_below(&root, |entry| entry.file_name() == name);
        assert_eq!(is_any("1.jpg"), Some(false));
        fs::write(root.join("a/b/1.jpg"), "1").unwrap();
        assert_eq!(is_any("1.jpg"), Some(true));
        let many = root.join("many");
        fs::create_dir(&many).unwrap();
        for n in 0..=MOST_ENTRIES {
            fs::write(many.join(n.to_string()), "").unwrap();
        }
        assert_eq!(is_any("2.jpg"), None);
    }

    struct File(LocalFile);

    impl Listed for File {
        fn local(&self) -> &LocalFile {
            &self.0
        }

        fn version(&self) -> String {
            String::new()
        }
    }

    #[test]
    fn a_file_that_went_with_its_folder_leaves_that_unread_and_one_that_was_removed_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let [photos, usb] = ["photos", "usb"].map(|name| folder.path().join(name));
        fs::create_dir(&photos).unwrap();
        fs::write(photos.join("1.jpg"), "1").unwrap();
        let mut tree = Tree::<File>::default();
        assert!(tree.look_at(&photos.join("1.jpg"), false).is_some());
        assert!(tree.look_at(&photos.join("2.jpg"), false).is_none());
        assert!(
            tree.rejects.is_empty() && tree.unread.is_empty(),
            "{:?}",
            tree.rejects
        );
        for name in ["1.jpg", "2.jpg"] {
            assert!(tree.look_at(&usb.join(name), false).is_none());
        }
        tree.sort();
        assert_eq!(tree.rejects.len(), 1, "{:?}", tree.rejects);
        let file = usb.join("1.jpg").display().to_string();
        assert!(
            tree.unread.iter().any(|of| file.starts_with(of)),
            "{:?}",
            tree.unread
        );
    }
}
