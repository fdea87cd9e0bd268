//! Which folders a Maildir tree has, and which messages lie in a folder: names, sizes and times, no bytes.
//!
//! A directory is a folder when it has `cur` or `new` (<https://cr.yp.to/proto/maildir.html>). Below the root,
//! `.A.B` is the folder `A/B` (Maildir++), any other directory is named by its path; the root is `INBOX`.

use crate::mailbox_name::readable;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use rayon::prelude::*;
use schemas::Reject;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a file is no Maildir.
pub(super) const IS_FILE: &str =
    "it is a file, and a Maildir is a folder; `kind = \"mbox\"` reads the mail of one file";

/// Why a folder is no Maildir.
pub(super) const NO_FOLDER: &str =
    "no `cur` or `new` in it or in any folder below it, so it is not a Maildir";

/// What a tree holds.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// In the order of their directories.
    pub folders: Vec<Arc<Folder>>,
    /// Directories that could not be read.
    pub rejects: Vec<Reject>,
    /// Beginnings of the locations that lie in them; nothing is known of what is there.
    pub unread: Vec<String>,
}

/// A directory with messages.
#[derive(Debug)]
pub(super) struct Folder {
    /// As a person reads it.
    pub name: String,
    /// Beginning of its messages' locations: its directory below the root, escaped, with `/` unless empty.
    pub prefix: String,
    dir: PathBuf,
    /// Names of the keywords `a` to `z`, from Dovecot's `dovecot-keywords`.
    keywords: Vec<String>,
}

/// A message's file.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    name: OsString,
    /// Length of the name without `:2,` and flags.
    base: usize,
    is_new: bool,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    pub modified_ns: i64,
}

/// What a folder holds.
#[derive(Debug)]
pub(super) struct Listing {
    /// Sorted by name without flags; each such name once.
    pub entries: Vec<Entry>,
    /// What lies there and is no readable file.
    pub rejects: Vec<Reject>,
    /// Whether all of it was seen.
    pub is_whole: bool,
}

/// Finds all folders under `root`. Links to directories are not followed, so that no loop can hang it.
pub(super) fn find(root: &Path) -> io::Result<Tree> {
    if root.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, IS_FILE));
    }
    let mut tree = Tree::default();
    let mut waiting = vec![(root.to_owned(), String::new(), String::new())];
    while let Some((dir, prefix, name)) = waiting.pop() {
        let entries = match fs::read_dir(&dir).and_then(Iterator::collect::<io::Result<Vec<DirEntry>>>) {
            Ok(entries) => entries,
            Err(error) if prefix.is_empty() => return Err(error),
            // Removed since its parent was listed: gone, like anything else that is not there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                tree.rejects
                    .push(unreadable(prefix.trim_end_matches('/'), &dir, &error));
                tree.unread.push(prefix);
                continue;
            }
        };
        let is_folder = entries.iter().any(is_box);
        let is_hidden = dir != root
            && dir
                .file_name()
                .is_some_and(|name| name.as_bytes().starts_with(b"."));
        for entry in entries
            .iter()
            .filter(|entry| !is_box(entry) && entry.file_name() != "tmp")
        {
            let file_name = entry.file_name();
            let child = format!("{prefix}{}", escape(file_name.as_bytes()));
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_dir && (is_folder || !is_hidden) {
                let name = join(&name, &file_name);
                waiting.push((entry.path(), child + "/", name));
            } else if entry.file_type().is_ok_and(|kind| kind.is_symlink()) && leads_out(root, &entry.path())
            {
                let reason =
                    "a link to a folder elsewhere is not followed; add its target as a source of its own";
                let raw = Some(entry.path().display().to_string());
                tree.rejects.push(Reject {
                    item: child,
                    reason: reason.to_owned(),
                    raw,
                });
            }
        }
        if is_folder {
            let name = if name.is_empty() { "INBOX".to_owned() } else { name };
            let keywords = keywords(&dir);
            tree.folders.push(Arc::new(Folder {
                name,
                prefix,
                dir,
                keywords,
            }));
        }
    }
    if tree.folders.is_empty() && tree.unread.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, NO_FOLDER));
    }
    tree.folders.sort_by(|one, other| one.prefix.cmp(&other.prefix));
    Ok(tree)
}

/// Whether an entry of a folder is called as what makes that a folder of mail.
pub(super) fn is_box(entry: &DirEntry) -> bool {
    entry.file_name() == "cur" || entry.file_name() == "new"
}

/// Of messages that no listing showed, where they lay if they were not removed but a disk was taken away: the beginnings
/// of their locations, with the folders. These are empty, as a folder is where nothing is mounted, and one of mail never is.
pub(super) fn taken_away(root: &Path, missing: &[String]) -> BTreeMap<String, PathBuf> {
    let mut empty = BTreeMap::new();
    let mut looked_at = HashSet::new();
    for location in missing {
        let mut inside = location.as_str();
        while let Some((folder, _)) = inside.rsplit_once('/') {
            if !looked_at.insert(folder) {
                break;
            }
            let bytes: Vec<u8> = percent_decode_str(folder).collect();
            let dir = root.join(OsStr::from_bytes(&bytes));
            match fs::read_dir(&dir).map(|mut entries| entries.next().is_none()) {
                Ok(true) => {
                    empty.insert(format!("{folder}/"), dir);
                    break;
                }
                // What it lay in may have been taken away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => inside = folder,
                _ => break,
            }
        }
    }
    empty
}

impl Folder {
    /// Lists its messages: one metadata call each.
    pub fn list(&self) -> Listing {
        let mut listing = Listing {
            entries: Vec::new(),
            rejects: Vec::new(),
            is_whole: true,
        };
        // `new` first: what moves to `cur` meanwhile is then seen twice rather than never.
        for is_new in [true, false] {
            let dir = self.dir.join(if is_new { "new" } else { "cur" });
            let files = match fs::read_dir(&dir).and_then(Iterator::collect::<io::Result<Vec<DirEntry>>>) {
                Ok(files) => files,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    let item = format!("{}{}", self.prefix, if is_new { "new" } else { "cur" });
                    listing.rejects.push(unreadable(&item, &dir, &error));
                    listing.is_whole = false;
                    continue;
                }
            };
            let looked_at: Vec<_> = files
                .into_par_iter()
                .filter_map(|file| self.look_at(&file, is_new))
                .collect();
            for looked_at in looked_at {
                match looked_at {
                    Ok(entry) => listing.entries.push(entry),
                    Err(reject) => listing.rejects.push(reject),
                }
            }
        }
        listing.entries.par_sort_unstable_by(|one, other| {
            (one.base(), one.is_new, &one.name).cmp(&(other.base(), other.is_new, &other.name))
        });
        listing.entries.dedup_by(|one, other| one.base() == other.base());
        listing.rejects.sort_by(|one, other| one.item.cmp(&other.item));
        listing
    }

    fn look_at(&self, file: &DirEntry, is_new: bool) -> Option<Result<Entry, Reject>> {
        let name = file.file_name();
        if name.as_bytes().starts_with(b".") {
            return None;
        }
        let is_link = file.file_type().is_ok_and(|kind| kind.is_symlink());
        let metadata = if is_link {
            fs::metadata(file.path())
        } else {
            file.metadata()
        };
        let base = base_length(name.as_bytes());
        let reason = match metadata {
            Ok(metadata) if metadata.is_file() => {
                let (size, modified_ns) = (metadata.size(), modified_ns(&metadata));
                return Some(Ok(Entry {
                    name,
                    base,
                    is_new,
                    size,
                    modified_ns,
                }));
            }
            Ok(_) => "not a regular file".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_link => return None,
            Err(error) => format!("cannot be read: {error}"),
        };
        let mut item = String::new();
        self.write_location(name.as_bytes().get(..base).unwrap_or_default(), &mut item);
        Some(Err(Reject {
            item,
            reason,
            raw: Some(file.path().display().to_string()),
        }))
    }

    /// Where the file lies now.
    pub fn path(&self, entry: &Entry) -> PathBuf {
        let mut path = PathBuf::with_capacity(self.dir.as_os_str().len() + entry.name.len() + 6);
        path.push(&self.dir);
        path.push(if entry.is_new { "new" } else { "cur" });
        path.push(&entry.name);
        path
    }

    /// Appends the location of the message whose name without flags is `base`.
    pub fn write_location(&self, base: &[u8], out: &mut String) {
        out.push_str(&self.prefix);
        out.push_str(&escape(base));
    }

    /// Flags of a message by their IMAP names, sorted.
    pub fn flags(&self, entry: &Entry) -> Vec<&str> {
        let info = entry.name.as_bytes().get(entry.base..).unwrap_or_default();
        let letters = info
            .split_first_chunk::<3>()
            .map_or(&[][..], |(_, letters)| letters);
        let mut flags: Vec<&str> = letters
            .iter()
            .filter_map(|letter| match letter {
                b'D' => Some("\\Draft"),
                b'F' => Some("\\Flagged"),
                b'P' => Some("$Forwarded"),
                b'R' => Some("\\Answered"),
                b'S' => Some("\\Seen"),
                b'T' => Some("\\Deleted"),
                b'a'..=b'z' => self.keywords.get(usize::from(letter - b'a')).map(String::as_str),
                _ => None,
            })
            .filter(|flag| !flag.is_empty())
            .collect();
        flags.sort_unstable();
        flags.dedup();
        flags
    }
}

impl Entry {
    /// Its name without flags.
    pub fn base(&self) -> &[u8] {
        self.name.as_bytes().get(..self.base).unwrap_or_default()
    }

    /// Appends its fingerprint.
    pub fn write_version(&self, out: &mut String) {
        let _ = write!(out, "{}:{}", self.size, self.modified_ns);
    }
}

/// Where `:2,` begins, or `;2,` or `!2,` on file systems that know no colon; else the end.
fn base_length(name: &[u8]) -> usize {
    let is_info = |info: &[u8]| matches!(info, [b':' | b';' | b'!', b'1' | b'2', b',']);
    name.windows(3).rposition(is_info).unwrap_or(name.len())
}

/// Time of the last change, as the fingerprint has it.
pub(crate) fn modified_ns(metadata: &fs::Metadata) -> i64 {
    metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec())
}

/// A name as text: as it is, or with `%XX` for what is not UTF-8 (and for `%`, so that no two names meet).
pub(crate) fn escape(name: &[u8]) -> Cow<'_, str> {
    const PERCENT: &AsciiSet = &CONTROLS.add(b'%');
    match std::str::from_utf8(name) {
        Ok(text) if !text.contains('%') => text.into(),
        _ => percent_encode(name, PERCENT).to_string().into(),
    }
}

/// Name of the folder in directory `child` of the folder named `parent`.
fn join(parent: &str, child: &OsStr) -> String {
    let child = escape(child.as_bytes());
    let child = match child.strip_prefix('.') {
        Some(levels) => Cow::from(levels.replace('.', "/")),
        None => child,
    };
    let child = readable(&child).unwrap_or_else(|| child.into_owned());
    if parent.is_empty() {
        child
    } else {
        format!("{parent}/{child}")
    }
}

/// Whether a link leads to a folder outside of the tree, which is then missed.
fn leads_out(root: &Path, link: &Path) -> bool {
    let (Ok(root), Ok(target)) = (root.canonicalize(), link.canonicalize()) else {
        return false;
    };
    !target.starts_with(root) && (target.join("cur").is_dir() || target.join("new").is_dir())
}

/// The names that Dovecot gave to keyword letters: lines of a number and a name.
fn keywords(dir: &Path) -> Vec<String> {
    let bytes = fs::read(dir.join("dovecot-keywords")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut names = vec![String::new(); 26];
    for (number, name) in text.lines().filter_map(|line| line.split_once(' ')) {
        if let Some(slot) = number
            .parse()
            .ok()
            .and_then(|number: usize| names.get_mut(number))
        {
            name.clone_into(slot);
        }
    }
    names
}

fn unreadable(item: &str, path: &Path, error: &io::Error) -> Reject {
    let reason = format!("cannot be read: {error}");
    Reject {
        item: item.to_owned(),
        reason,
        raw: Some(path.display().to_string()),
    }
}
