//! Which photos and videos lie below the roots, and what lies beside each: names, sizes and times, no bytes.
//!
//! - In: the roots. Out: files in the order of their paths, and what could not be looked at.
//! - Links are not followed to folders, so that no loop can hang it; a folder that is missed so is a reject.
//! - Not here: what is in a file (`read`), which sidecar is whose (`sidecars`).

use super::contents::RAW_TYPES;
use super::sidecars::Beside;
use crate::local_files::{
    Listed, LocalFile, Roots, Tree, doubt_folder, is_any_below, is_removed, leads_out, reject,
};
use crate::maildir::modified_ns;
use std::fmt::Write as _;
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Extensions of photos and videos, beside those of raw files. What is inside decides the media type.
const EXTENSIONS: &[&str] = &[
    "3gp", "avif", "heic", "heif", "hif", "jpe", "jpeg", "jpg", "m4v", "mkv", "mov", "mp4", "png", "tif",
    "tiff", "webm", "webp",
];

/// A file that is called like a photo or video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub local: LocalFile,
    pub sidecars: Vec<Sidecar>,
}

/// A file that tells of the photo beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sidecar {
    pub path: PathBuf,
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    pub modified_ns: i64,
}

/// What a sidecar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Xmp,
    Takeout,
    /// Of all photos in its folder.
    Album,
}

impl Listed for File {
    fn local(&self) -> &LocalFile {
        &self.local
    }

    /// Of the file and of what lies beside it.
    fn version(&self) -> String {
        let mut version = format!("{}:{}", self.local.size, self.local.modified_ns);
        for beside in &self.sidecars {
            let kind = match beside.kind {
                Kind::Xmp => 'x',
                Kind::Takeout => 't',
                Kind::Album => 'a',
            };
            let _ = write!(version, " {kind}{}:{}", beside.size, beside.modified_ns);
        }
        version
    }
}

/// Why a root may not be what was meant: it is empty, or no file below it is called like a photo or video.
pub(super) fn doubt(root: &Path) -> Option<String> {
    if let Some(doubt) = doubt_folder(root) {
        return Some(doubt);
    }
    let is_sought = |entry: &DirEntry| {
        let path = entry.path();
        is_called_so(&path, &extension(&path)) && !path.is_dir()
    };
    let is_none = is_any_below(root, is_sought) == Some(false);
    is_none.then(|| format!("`{}` has no photo or video beneath it", root.display()))
}

/// Finds all photos below `roots`. `is_known` says whether the lake has anything of a root: a disk that is not there must
/// not look like one that is empty.
///
/// # Errors
/// The first root, with the cause, when none can be read.
pub(super) fn find(
    roots: &[PathBuf],
    is_known: impl Fn(&Path) -> bool,
) -> Result<Tree<File>, (PathBuf, io::Error)> {
    let mut tree = Tree::default();
    let looked = Roots::look_at(roots, is_known)?;
    for (root, error) in &looked.missing {
        tree.miss_root(root, error);
    }
    for root in looked.there {
        tree.roots.push(root.clone());
        let mut waiting = vec![root.clone()];
        while let Some(folder) = waiting.pop() {
            match list(&folder, roots, &mut tree) {
                Ok(below) => waiting.extend(below),
                Err(error) if &folder == root => tree.miss_root(root, &error),
                // Removed since its parent was listed: gone, like anything else that is not there.
                Err(error) if error.kind() == io::ErrorKind::NotFound && is_removed(&folder) => {}
                Err(error) => tree.miss(&folder, &error),
            }
        }
    }
    tree.sort();
    Ok(tree)
}

/// Adds the photos of one folder, and returns the folders in it.
fn list(folder: &Path, roots: &[PathBuf], tree: &mut Tree<File>) -> io::Result<Vec<PathBuf>> {
    let mut below = Vec::new();
    let mut files = Vec::new();
    let mut beside = Beside::default();
    for entry in fs::read_dir(folder)?.collect::<io::Result<Vec<DirEntry>>>()? {
        let path = entry.path();
        let kind = match entry.file_type() {
            // Removed since its folder was listed, where the list does not say what it was.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !is_removed(&path) {
                    tree.miss_taken_away(folder);
                }
                continue;
            }
            kind => kind?,
        };
        if kind.is_dir() {
            below.push(path);
            continue;
        }
        let extension = extension(&path);
        if is_called_so(&path, &extension) {
            files.extend(tree.look_at(&path, kind.is_symlink()).map(|local| File {
                local,
                sidecars: Vec::new(),
            }));
        } else if matches!(extension.as_str(), "xmp" | "json") {
            let metadata = fs::metadata(&path).ok().filter(Metadata::is_file);
            if let (Some(metadata), Some(name)) = (metadata, entry.file_name().to_str()) {
                beside.add(name, path, metadata.len(), modified_ns(&metadata));
            }
        } else if kind.is_symlink() && leads_out(roots, &path) {
            let reason = "a link to a folder elsewhere is not followed; add its target to `roots`";
            tree.rejects.push(reject(&path, reason.to_owned()));
        }
    }
    for mut file in files {
        file.sidecars = beside.of(&file.local.path);
        tree.files.push(file);
    }
    Ok(below)
}

/// Whether a file, with its extension, is called like a photo or video.
fn is_called_so(path: &Path, extension: &str) -> bool {
    // macOS keeps a shadow of each file on foreign disks.
    let is_shadow = path
        .file_name()
        .is_some_and(|name| name.as_bytes().starts_with(b"._"));
    !is_shadow && (EXTENSIONS.contains(&extension) || RAW_TYPES.iter().any(|(raw, _)| *raw == extension))
}

/// The extension of a file, in small letters.
fn extension(path: &Path) -> String {
    path.extension()
        .map(|extension| extension.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::fs::symlink;

    fn names(tree: &Tree<File>) -> Vec<&str> {
        let names = tree
            .files
            .iter()
            .map(|file| file.local.path.file_name().unwrap().to_str().unwrap());
        names.collect()
    }

    #[test]
    fn photos_are_found_once_each_whatever_links_and_roots_do() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("photos");
        let elsewhere = folder.path().join("elsewhere");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(&elsewhere).unwrap();
        for name in [
            "1.JPG",
            "a/2.heic",
            "a/b/3.Cr2",
            "a/._2.heic",
            "notes.txt",
            "a/2.heic.xmp",
        ] {
            fs::write(root.join(name), name).unwrap();
        }
        fs::write(elsewhere.join("4.jpg"), "4").unwrap();
        symlink(&root, root.join("a/loop")).unwrap();
        symlink(root.join("a/b"), root.join("again.jpg")).unwrap();
        symlink(&elsewhere, root.join("elsewhere")).unwrap();
        symlink(elsewhere.join("4.jpg"), root.join("linked.jpg")).unwrap();
        symlink("nowhere", root.join("dangling.jpg")).unwrap();
        fs::write(root.join(OsStr::from_bytes(b"\xff.jpg")), "bytes").unwrap();
        let tree = find(&[root.clone(), root.join("a")], |_| false).unwrap();
        assert_eq!(names(&tree), ["1.JPG", "2.heic", "3.Cr2", "linked.jpg"]);
        assert_eq!(tree.files[1].sidecars.len(), 1);
        let rejected: Vec<_> = tree
            .rejects
            .iter()
            .map(|reject| &reject.item[root.as_os_str().len()..])
            .collect();
        assert_eq!(rejected, ["/%FF.jpg", "/dangling.jpg", "/elsewhere"]);
        let (missing, _) = find(&[folder.path().join("gone")], |_| false).unwrap_err();
        assert!(missing.ends_with("gone"));
    }

    #[test]
    fn a_root_without_a_photo_is_doubted() {
        let folder = tempfile::tempdir().unwrap();
        let told = || doubt(folder.path()).unwrap_or_default();
        assert!(told().ends_with("` is empty"), "{}", told());
        fs::create_dir_all(folder.path().join("a/b.jpg")).unwrap();
        for name in ["notes.txt", "a/._1.jpg", "a/1.jpg.xmp"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        assert!(
            told().ends_with("` has no photo or video beneath it"),
            "{}",
            told()
        );
        fs::write(folder.path().join("a/b.jpg/2.NEF"), "2").unwrap();
        assert_eq!(doubt(folder.path()), None);
    }

    #[test]
    fn a_root_that_is_gone_or_emptied_is_missed_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let [here, unmounted, gone] = ["here", "100% full", "gone"].map(|name| folder.path().join(name));
        fs::create_dir(&here).unwrap();
        fs::create_dir(&unmounted).unwrap();
        fs::write(here.join("1.jpg"), "1").unwrap();
        let roots = [unmounted.clone(), here.clone(), gone.clone()];
        let tree = find(&roots, |root| root == unmounted).unwrap();
        assert_eq!(names(&tree), ["1.jpg"]);
        assert_eq!(tree.roots, [here]);
        let rejected: Vec<_> = tree
            .rejects
            .iter()
            .map(|reject| reject.raw.clone().unwrap())
            .collect();
        assert_eq!(
            rejected,
            [&unmounted, &gone].map(|root| root.display().to_string())
        );
        for (reject, words) in tree.rejects.iter().zip(["is its disk mounted?", "No such file"]) {
            assert!(reject.reason.contains(words), "{reject:?}");
        }
        let photo = unmounted.join("2.jpg").display().to_string();
        assert!(
            tree.unread.iter().any(|of| photo.starts_with(of)),
            "{:?}",
            tree.unread
        );
        // Nobody knows of photos in it.
        let tree = find(&roots, |_| false).unwrap();
        assert_eq!(tree.rejects.len(), 1, "{:?}", tree.rejects);
        assert!(find(&[unmounted, gone], |_| true).is_err());
    }

    #[test]
    fn a_version_changes_with_the_file_and_with_what_lies_beside_it() {
        let sidecar = |kind, size| Sidecar {
            path: PathBuf::new(),
            kind,
            size,
            modified_ns: 5,
        };
        let mut file = File {
            local: LocalFile {
                path: PathBuf::new(),
                location: String::new(),
                folder: String::new(),
                size: 1,
                modified_ns: 2,
            },
            sidecars: vec![],
        };
        let mut versions = vec![file.version()];
        for sidecars in [
            vec![sidecar(Kind::Xmp, 1)],
            vec![sidecar(Kind::Takeout, 1)],
            vec![sidecar(Kind::Takeout, 2)],
            vec![sidecar(Kind::Xmp, 1), sidecar(Kind::Album, 1)],
        ] {
            file.sidecars = sidecars;
            versions.push(file.version());
        }
        versions.sort();
        versions.dedup();
        assert_eq!(versions.len(), 5);
    }
}
