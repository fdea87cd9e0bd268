//! What a commit changed in its files, line by line, as `git show --first-parent -M` writes it.
//!
//! - In: a repository on this machine, the id of a commit, the renames that were collected of it. Out: one text, as long as it
//!   may be, and why it ends if more was to say.
//! - Left out are the lines of git that say nothing of the change: `index`, `similarity index`, and the function that a
//!   hunk begins in. `.gitattributes` are not asked what is binary; what is large, or holds a secret, is named only.
//! - It is opened and read as for `blame`: nothing is run, and it ends when the time is over.
//! - Not here: how a change looks as text (`text`); which commit it is (`get_commit`).

mod text;

use crate::blame::objects::Objects;
use crate::blame::trees::{Difference, File, differences};
use crate::blame::{History, MOST_BYTES, MOST_TEXT, Names, TIME, Withheld, damaged, is_binary, open};
use crate::problem::{Kind, Problem};
use gix::ObjectId;
use gix::bstr::{BString, ByteSlice as _};
use gix::diff::blob::Algorithm;
use gix::objs::{CommitRef, Find as _, FindExt as _, FindHeader as _};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use text::{Full, Text};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The repository: its work tree, or itself if it is bare.
    pub(super) repository: PathBuf,
    /// Folders of credentials, as they were configured.
    pub(super) secret_folders: Vec<PathBuf>,
    /// The whole id of the commit.
    pub(super) commit: String,
    /// This file only, by its path before or after.
    pub(super) file: Option<String>,
    /// Files that were renamed: the path after, and the one before.
    pub(super) renames: HashMap<String, String>,
    /// Lines at most.
    pub(super) lines: usize,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Patch {
    /// The text.
    pub(super) text: String,
    /// Why it ends before its end, if it does.
    pub(super) cut: Option<String>,
}

/// What became of a file.
#[derive(Debug, Clone)]
struct Change {
    path: BString,
    old_path: Option<BString>,
    before: Option<File>,
    after: Option<File>,
}

/// What is in a file.
enum Content {
    /// Lines.
    Text(Vec<u8>),
    /// No lines.
    Binary,
    /// More than is compared.
    TooLarge,
}

/// Writes what a commit changed since its first parent, or all of it if it has none, with what is known of the repository's
/// history. It waits for disks.
///
/// # Errors
/// [`Problem`] when the repository or the commit is not there any more or cannot be read, the commit did not change the
/// file, or it takes too long.
pub(super) fn patch(
    asked: &Asked,
    history: OwnedMutexGuard<History>,
    cancel: &CancellationToken,
) -> Result<Patch, Problem> {
    let repository = open(&asked.repository)?;
    let objects = Objects::new(&repository, TIME, cancel).map_err(|error| damaged(&error))?;
    let failed = |error: gix::Error| match objects.is_over() {
        true => Problem::new(
            Kind::Unavailable,
            format!("comparing the commit took longer than {} s", TIME.as_secs()),
        ),
        false => damaged(&error),
    };
    let gone = || {
        Problem::new(
            Kind::NotFound,
            "the repository does not have the commit any more: its history was written anew, or it is another repository",
        )
    };
    let id = ObjectId::from_hex(asked.commit.as_bytes()).map_err(|_| gone())?;
    let (before, after) = trees(&objects, id).map_err(failed)?.ok_or_else(gone)?;
    let differences = differences(&objects, before, after).map_err(failed)?;
    let mut changes = joined(differences, &asked.renames);
    if let Some(file) = &asked.file {
        changes.retain(|change| change.paths().any(|path| path.to_str_lossy() == file.as_str()));
        if changes.is_empty() {
            return Err(Problem::new(
                Kind::NotFound,
                "the commit did not change that file, compared with its first parent",
            ));
        }
    }
    let names = Names::of(&asked.repository, &asked.secret_folders);
    let writer = Writer {
        objects: &objects,
        withheld: Withheld::of(&repository, &objects, names, history, id)?,
        algorithm: repository.diff_algorithm().unwrap_or(Algorithm::Myers),
    };
    let mut text = Text::new(asked.lines, MOST_TEXT);
    for (at, change) in changes.iter().enumerate() {
        let length = text.len();
        let written = writer.write(change, &mut text);
        let why = match (written, text.full()) {
            (Err(_), _) if objects.is_over() && at > 0 => format!("after {} s", TIME.as_secs()),
            (Err(error), _) => return Err(failed(error)),
            (Ok(()), Some(Full::Lines)) => format!("after {} lines", asked.lines),
            (Ok(()), Some(Full::Bytes)) => format!("after {} KiB", MOST_TEXT >> 10),
            (Ok(()), None) => continue,
        };
        // Of this one there may be something already.
        let more = changes.len() - at - usize::from(text.len() > length);
        return Ok(Patch {
            text: text.finish(),
            cut: Some(format!(
                "the patch ends {why}, and {more} more files; `path` shows one of them, a larger `max_lines` more lines"
            )),
        });
    }
    Ok(Patch {
        text: text.finish(),
        cut: None,
    })
}

/// The trees of a commit's first parent and of itself, if the commit is there.
fn trees(objects: &Objects<'_>, id: ObjectId) -> gix::Result<Option<(Option<ObjectId>, ObjectId)>> {
    let mut buffer = Vec::new();
    let (parent, after) = {
        let Some(found) = objects.try_find(&id, &mut buffer)? else {
            return Ok(None);
        };
        let commit = CommitRef::from_bytes(found.data, id.kind())?;
        (commit.parents().next(), commit.tree())
    };
    let before = match parent {
        Some(parent) => Some(objects.find_commit(&parent, &mut buffer)?.tree()),
        None => None,
    };
    Ok(Some((before, after)))
}

/// The changes, where a file that went and one that came are one that was renamed, in the order of their paths.
fn joined(differences: Vec<Difference>, renames: &HashMap<String, String>) -> Vec<Change> {
    let sources: HashSet<&str> = renames.values().map(String::as_str).collect();
    let mut gone: HashMap<String, Change> = HashMap::new();
    let mut changes = Vec::with_capacity(differences.len());
    for Difference { path, before, after } in differences {
        let change = Change {
            path,
            old_path: None,
            before,
            after,
        };
        let path = change.path.to_string();
        if change.after.is_none() && sources.contains(path.as_str()) {
            gone.insert(path, change);
        } else {
            changes.push(change);
        }
    }
    for change in changes.iter_mut().filter(|change| change.before.is_none()) {
        let source = renames.get(&change.path.to_string());
        if let Some(source) = source.and_then(|path| gone.remove(path)) {
            change.old_path = Some(source.path);
            change.before = source.before;
        }
    }
    changes.extend(gone.into_values());
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    changes
}

impl Change {
    /// Its paths, after and before.
    fn paths(&self) -> impl Iterator<Item = &BString> {
        [Some(&self.path), self.old_path.as_ref()].into_iter().flatten()
    }

    /// Whether it became another kind of thing: a link, a submodule, a file.
    fn is_other_type(&self) -> bool {
        self.before.zip(self.after).is_some_and(|(before, after)| {
            let are_files = before.mode.is_blob() && after.mode.is_blob();
            !are_files && before.mode.kind() != after.mode.kind()
        })
    }
}

/// Writes changes of files.
struct Writer<'a> {
    objects: &'a Objects<'a>,
    withheld: Withheld,
    algorithm: Algorithm,
}

impl Writer<'_> {
    fn write(&self, change: &Change, text: &mut Text) -> gix::Result<()> {
        if change.is_other_type() {
            // As git has it: one went, and another came.
            let went = Change {
                after: None,
                ..change.clone()
            };
            let came = Change {
                before: None,
                ..change.clone()
            };
            self.write(&went, text)?;
            return self.write(&came, text);
        }
        text.begin(change);
        let why = |path: &BString| self.withheld.why(path.as_bstr());
        if let Some(why) = change.paths().find_map(why) {
            text.say(&format!("withheld: it {why}"));
            return Ok(());
        }
        if let (Some(before), Some(after)) = (change.before, change.after)
            && before.id == after.id
        {
            return Ok(());
        }
        // What does not fit is not read.
        if text.full().is_some() {
            return Ok(());
        }
        match (self.content(change.before)?, self.content(change.after)?) {
            (Content::Text(before), Content::Text(after)) => {
                text.compare(change, &before, &after, self.algorithm)
            }
            (Content::TooLarge, _) | (_, Content::TooLarge) => {
                let why = format!("; more than {} MiB are not compared", MOST_BYTES >> 20);
                text.differ(change, "Files", &why);
                Ok(())
            }
            _ => {
                text.differ(change, "Binary files", "");
                Ok(())
            }
        }
    }

    fn content(&self, file: Option<File>) -> gix::Result<Content> {
        let Some(File { mode, id }) = file else {
            return Ok(Content::Text(Vec::new()));
        };
        if mode.is_commit() {
            return Ok(Content::Text(format!("Subproject commit {id}\n").into_bytes()));
        }
        let header = self.objects.try_header(&id)?;
        if header.is_some_and(|header| header.size > MOST_BYTES) {
            return Ok(Content::TooLarge);
        }
        let mut buffer = Vec::new();
        let content = self.objects.find_blob(&id, &mut buffer)?.data;
        Ok(match is_binary(content) {
            true => Content::Binary,
            false => Content::Text(content.to_vec()),
        })
    }
}

#[cfg(test)]
mod tests;
