//! What decides how commits are shown, beside themselves.
//!
//! - In: a repository. Out: a digest of it, which changes when stored rows may no longer be what git shows; the files
//!   that declare attributes.
//! - It changes when the mailmap does, the border of a shallow clone, what objects are replaced by, attributes, or
//!   settings of diff.
//! - Not here: what the attributes say of a file (`contents`).

use super::history::border;
use gix::Repository;
use gix::bstr::{BStr, BString, ByteSlice, ByteVec};
use hashbrown::HashSet;
use schemas::Digest;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// A digest of what decides how commits are shown.
pub(super) fn digest(repository: &Repository) -> gix::Result<String> {
    let mut text: String = border(repository)?.iter().map(|id| format!("{id}\n")).collect();
    for entry in repository.open_mailmap().entries() {
        text.push_str(&format!("{entry:?}\n"));
    }
    for (replaced, by) in repository.objects.store_ref().replacements() {
        text.push_str(&format!("replace {replaced} {by}\n"));
    }
    for file in attribute_files(repository)? {
        text.push_str(&format!("attributes {file}\n"));
    }
    let config = repository.config_snapshot();
    if let Some(limit) = config.integer("diff.renameLimit") {
        text.push_str(&format!("diff.renameLimit {limit}\n"));
    }
    let sections = config.sections_by_name("diff").into_iter().flatten();
    let drivers: BTreeSet<BString> = sections
        .filter_map(|section| Some(section.header().subsection_name()?.to_owned()))
        .collect();
    for driver in drivers {
        let key = format!("diff.{driver}.binary");
        if let Some(is_binary) = config.boolean(key.as_str()) {
            text.push_str(&format!("{key} {is_binary}\n"));
        }
    }
    Ok(Digest::of(text.as_bytes()).to_string())
}

/// The files that declare attributes of what is checked out, each with what tells its content: those of all repositories,
/// of this one, and of the folders that have tracked files, as the work tree has them, or else the index.
pub(super) fn attribute_files(repository: &Repository) -> gix::Result<Vec<String>> {
    let mut files = Vec::new();
    let info = repository.common_dir().join("info").join("attributes");
    for path in repository.attribute_global_paths()?.into_iter().chain([info]) {
        if path.is_file() {
            files.push(Digest::of(&fs::read(&path).unwrap_or_default()).to_string());
        }
    }
    let index = repository.index_or_empty()?;
    let mut folders: HashSet<&BStr> = HashSet::from_iter([BStr::new("")]);
    for entry in index.entries() {
        let mut path = entry.path(&index);
        while let Some(end) = path.rfind_byte(b'/') {
            path = path.get(..end).unwrap_or_default().as_bstr();
            if !folders.insert(path) {
                break;
            }
        }
    }
    let mut folders: Vec<&BStr> = folders.into_iter().collect();
    folders.sort_unstable();
    for folder in folders {
        let mut path = folder.to_owned();
        if !path.is_empty() {
            path.push_byte(b'/');
        }
        path.push_str(".gitattributes");
        let checked_out = repository.workdir().map(|root| root.join(path.to_path_lossy()));
        // Links are not followed, as git does not.
        let is_file = |path: &PathBuf| path.symlink_metadata().is_ok_and(|it| it.is_file());
        if let Some(checked_out) = checked_out.filter(is_file) {
            let content = Digest::of(&fs::read(checked_out).unwrap_or_default());
            files.push(format!("{path:?} {content}"));
        } else if let Some(entry) = index.entry_by_path(path.as_bstr()) {
            files.push(format!("{path:?} {}", entry.id));
        }
    }
    Ok(files)
}
