//! Files in folders on this machine: what a collector needs to know of them before it reads one.

use crate::maildir::{escape, modified_ns};
use schemas::Reject;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
    /// In the order of their locations, each once.
    pub files: Vec<F>,
    /// What could not be looked at.
    pub rejects: Vec<Reject>,
    /// Beginnings of the locations in folders that could not be read; nothing is known of what is there.
    pub unread: Vec<String>,
}

impl<F> Default for Tree<F> {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            rejects: Vec::new(),
            unread: Vec::new(),
        }
    }
}

impl<F: Listed> Tree<F> {
    /// Notes a folder that could not be read.
    pub fn miss(&mut self, folder: &Path, error: &dyn std::fmt::Display) {
        let missed = reject(folder, format!("cannot be read: {error}"));
        self.unread.push(format!("{}/", missed.item));
        self.rejects.push(missed);
    }

    /// Brings it into its order. One root may lie in another, so what is there twice is left out.
    pub fn sort(&mut self) {
        self.files
            .sort_unstable_by(|one, other| one.local().location.cmp(&other.local().location));
        self.files
            .dedup_by(|one, other| one.local().location == other.local().location);
        self.rejects.sort_by(|one, other| one.item.cmp(&other.item));
        self.rejects.dedup_by(|one, other| one.item == other.item);
    }
}

impl LocalFile {
    /// Looks at a file, or at what a link leads to; `None` when it is gone, or a link to a folder.
    ///
    /// # Errors
    /// Why it cannot be collected.
    pub fn look_at(path: &Path, is_link: bool) -> Result<Option<Self>, String> {
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
