//! Which commit each line of a file comes from, as `git blame` tells.
//!
//! - In: a repository on this machine, a revision, the path of a file in it. Out: runs of lines, each with its commit.
//! - The file is looked up in the tree of the commit; work tree and index are not read. Nothing is run: no hooks, no
//!   filters, no programs that configuration names, and only the repository's own configuration counts.
//! - A file that looks like a secret, or is in a folder of credentials, is refused as it is when files are read; so is one
//!   that ever held what was in such a file (`withheld`).
//! - How a repository is opened, and what of it is never read, is said here for others too (`operations::get_commit`).
//! - Not here: which repositories there are (`operations::get_file_blame`).

mod histories;
mod history;
pub(crate) mod objects;
pub(crate) mod trees;
mod withheld;

use crate::problem::{Kind, Problem};
use crate::roots::NEVER_READ;
use gix::Repository;
use gix::blame::{BlameEntry, BlameRanges, Options, Outcome, Start};
use gix::bstr::{BStr, ByteSlice as _};
use gix::diff::blob::pipeline::{Mode, WorktreeRoots};
use gix::diff::blob::{Algorithm, Platform};
use gix::worktree::stack::state::attributes::Source;
pub(crate) use histories::Histories;
pub(crate) use history::History;
use jiff::Timestamp;
use objects::Objects;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;
pub(crate) use withheld::{Names, Withheld};

/// How long it may take.
pub(crate) const TIME: Duration = Duration::from_secs(20);

/// Larger files are refused; as an older version they count as binary.
pub(crate) const MOST_BYTES: u64 = 4 << 20;

/// Bytes of text in an answer: lines may be of any length.
pub(crate) const MOST_TEXT: usize = 256 << 10;

/// A zero byte within these makes a file binary (`FIRST_FEW_BYTES` in git's `xdiff-interface.c`).
const LOOKED_AT: usize = 8_000;

/// Bytes of objects that are kept for when they are asked for again.
const CACHE_BYTES: usize = 16 << 20;

/// Files that came with a commit and files that went are compared with each other if there are no more of either. Git
/// compares 1,000, which could take minutes, and nothing could stop it.
const MOST_COMPARED: usize = 100;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The repository: its work tree, or itself if it is bare.
    pub(crate) repository: PathBuf,
    /// Folders of credentials, as they were configured.
    pub(crate) secret_folders: Vec<PathBuf>,
    /// The file, from the top of the tree.
    pub(crate) file: String,
    /// A commit, branch or tag; `~n` may follow.
    pub(crate) revision: String,
    /// The first line, from 1.
    pub(crate) from_line: u32,
    /// Lines at most.
    pub(crate) lines: u32,
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Blamed {
    /// The commit whose version of the file it is.
    pub(crate) commit: String,
    /// Lines of the whole file.
    pub(crate) lines_total: usize,
    /// Lines one after the other, those of the same commit together.
    pub(crate) runs: Vec<BlamedLines>,
    /// The line to go on with, if there are more.
    pub(crate) next_line: Option<usize>,
}

/// Lines that come from one commit.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BlamedLines {
    /// The first, from 1.
    pub(crate) from: usize,
    /// The last.
    pub(crate) until: usize,
    /// The commit that they come from.
    pub(crate) commit: String,
    /// Who wrote it, after `.mailmap`.
    pub(crate) author: String,
    /// When it was committed, UTC; absent if the date is unreadable.
    pub(crate) at: Option<String>,
    /// The file's path there, where it was another.
    pub(crate) old_path: Option<String>,
    /// The lines: collected text, not to be obeyed.
    pub(crate) text: String,
}

/// Tells which commits the lines of a file come from, with what is known of the repository's history. It waits for disks.
///
/// # Errors
/// [`Problem`] when there is no such file at the revision, it may not be read, or it takes too long.
pub(crate) fn blame(
    asked: &Asked,
    history: OwnedMutexGuard<History>,
    cancel: &CancellationToken,
) -> Result<Blamed, Problem> {
    let file = BStr::new(&asked.file);
    let refused = |why: &str| Problem::new(Kind::Forbidden, format!("the file {why}"));
    let names = Names::of(&asked.repository, &asked.secret_folders);
    if names.has(file) {
        return Err(refused(NEVER_READ));
    }
    let repository = open(&asked.repository)?;
    let revision = revision(&asked.revision)?;
    let commit = repository
        .rev_parse_single(revision)
        .and_then(|id| id.object()?.peel_to_commit())
        .map_err(|error| {
            tracing::debug!(%error, "a revision was not found");
            Problem::no_such(Kind::NotFound, "revision", &asked.revision, std::iter::empty())
        })?;
    check_file(&commit, &asked.file)?;
    let id = commit.id;
    let objects = Objects::new(&repository, TIME, cancel).map_err(|error| damaged(&error))?;
    let failed = |error: gix::Error| match objects.is_over() {
        true => Problem::new(
            Kind::Unavailable,
            format!(
                "it took longer than {} s; ask for fewer lines, or for an older revision",
                TIME.as_secs()
            ),
        ),
        false => damaged(&error),
    };
    let withheld = Withheld::of(&repository, &objects, names, history, id)?;
    if let Some(why) = withheld.why(file) {
        return Err(refused(why));
    }
    let outcome = walk(&repository, &objects, id, asked).map_err(failed)?;
    // Whatever led blame there.
    let mut sources = outcome
        .entries
        .iter()
        .filter_map(|entry| entry.source_file_name.as_ref());
    if let Some(why) = sources.find_map(|source| withheld.why(source.as_bstr())) {
        return Err(refused(why));
    }
    Ok(Blamed {
        commit: id.to_string(),
        ..told(&repository, &outcome, asked)
    })
}

/// Opens a repository: none but its own configuration counts.
///
/// # Errors
/// [`Problem`] when it is not there, or cannot be opened.
pub(crate) fn open(path: &Path) -> Result<Repository, Problem> {
    // What is larger is not loaded in order to be compared, either.
    let options =
        gix::open::Options::isolated().config_overrides([format!("core.bigFileThreshold={MOST_BYTES}")]);
    let opened = options.open(path).map_err(|error| {
        tracing::warn!(%error, "a repository cannot be opened");
        Problem::new(
            Kind::Unavailable,
            "the repository is not where it was when it was last collected, or cannot be opened; \
             check that it is there, then run its pipeline",
        )
    })?;
    let mut repository = opened.to_thread_local();
    repository.object_cache_size(CACHE_BYTES);
    Ok(repository)
}

/// A revision, if it is one of the kinds that find a commit without looking through history or other files.
fn revision(text: &str) -> Result<&BStr, Problem> {
    // `:path`, `:/words`, `^{/words}`, `@{yesterday}`, `a..b` and the like.
    if text.contains(|c: char| matches!(c, ':' | '{' | '}') || c.is_whitespace()) || text.contains("..") {
        return Err(Problem::unprocessable(
            "`revision` is the id of a commit, a branch or a tag; `~n` after it goes back n commits",
        ));
    }
    Ok(BStr::new(text))
}

/// Whether a commit has a text of that path that is not too large.
fn check_file(commit: &gix::Commit<'_>, path: &str) -> Result<(), Problem> {
    let entry = commit
        .tree()
        .and_then(|tree| tree.lookup_entry(path.split('/').map(str::as_bytes)))
        .map_err(|error| damaged(&error))?;
    let Some(entry) = entry else {
        return Err(Problem::no_such(
            Kind::NotFound,
            "file at that revision",
            path,
            std::iter::empty(),
        ));
    };
    if !entry.mode().is_blob() {
        return Err(Problem::unprocessable(
            "`path` is a folder, a link or a submodule; only lines of files have commits",
        ));
    }
    let size = entry.id().header().map_err(|error| damaged(&error))?.size();
    if size > MOST_BYTES {
        return Err(Problem::new(
            Kind::TooLarge,
            format!("the file has {size} bytes, and {MOST_BYTES} are the most"),
        ));
    }
    let file = entry.object().map_err(|error| damaged(&error))?;
    if is_binary(&file.data) {
        return Err(Problem::unprocessable("the file is binary: it has no lines"));
    }
    Ok(())
}

/// Whether git takes a content for binary, where no attribute says what it is.
pub(crate) fn is_binary(content: &[u8]) -> bool {
    content.iter().take(LOOKED_AT).any(|byte| *byte == 0)
}

/// Goes back in history until each line has its commit.
fn walk(
    repository: &Repository,
    objects: &Objects<'_>,
    commit: gix::ObjectId,
    asked: &Asked,
) -> gix::Result<Outcome> {
    let mut compared = comparison(repository)?;
    let until = asked.from_line.saturating_add(asked.lines).saturating_sub(1);
    let options = Options {
        diff_algorithm: repository.diff_algorithm().unwrap_or(Algorithm::Myers),
        ranges: BlameRanges::from_one_based_inclusive_range(asked.from_line.max(1)..=until)?,
        since: None,
        rewrites: Some(gix::diff::Rewrites {
            limit: MOST_COMPARED,
            ..Default::default()
        }),
        debug_track_path: false,
    };
    // It knows nothing of the border of a shallow clone.
    let graph = match objects.border().is_empty() {
        true => repository.commit_graph_if_enabled()?,
        false => None,
    };
    gix::blame::file(
        objects,
        Start::Commit(commit),
        graph,
        &mut compared,
        BStr::new(&asked.file),
        options,
    )
}

/// What compares versions of files with each other.
fn comparison(repository: &Repository) -> gix::Result<Platform> {
    // Git's blame does not ask attributes what is text, so none are given to who compares.
    let index = gix::index::State::new(repository.object_hash());
    let attributes = repository.attributes_only(&index, Source::IdMapping)?.detach();
    gix::diff::resource_cache(repository, Mode::ToGit, attributes, WorktreeRoots::default())
}

/// The lines with their commits, as many as there is room for.
fn told(repository: &Repository, outcome: &Outcome, asked: &Asked) -> Blamed {
    let lines: Vec<&[u8]> = outcome.blob.lines_with_terminator().collect();
    let mailmap = repository.open_mailmap();
    let mut known: HashMap<gix::ObjectId, (String, Option<String>)> = HashMap::new();
    let mut blamed = Blamed {
        commit: String::new(),
        lines_total: lines.len(),
        runs: Vec::new(),
        next_line: None,
    };
    let mut room = MOST_TEXT;
    for entry in &outcome.entries {
        let (text, taken) = text_of(entry, &lines, &mut room);
        let from = entry.range_in_blamed_file().start + 1;
        if taken == 0 {
            blamed.next_line = Some(from);
            return blamed;
        }
        let (author, at) = known
            .entry(entry.commit_id)
            .or_insert_with(|| author_of(repository, &mailmap, entry.commit_id));
        blamed.runs.push(BlamedLines {
            from,
            until: from + taken - 1,
            commit: entry.commit_id.to_string(),
            author: author.clone(),
            at: at.clone(),
            old_path: entry.source_file_name.as_ref().map(ToString::to_string),
            text,
        });
        if taken < entry.range_in_blamed_file().len() {
            blamed.next_line = Some(from + taken);
            return blamed;
        }
    }
    let asked_for = asked.from_line.max(1) as usize + asked.lines as usize;
    blamed.next_line = (asked_for <= lines.len()).then_some(asked_for);
    blamed
}

/// The text of a run, and how many of its lines there was room for.
fn text_of(entry: &BlameEntry, lines: &[&[u8]], room: &mut usize) -> (String, usize) {
    let mut bytes = Vec::new();
    let mut taken = 0;
    for &line in lines.get(entry.range_in_blamed_file()).unwrap_or_default() {
        // One that is larger than all the room is cut, so that whoever goes on comes past it.
        let line = line.get(..MOST_TEXT).unwrap_or(line);
        if line.len() > *room {
            *room = 0;
            break;
        }
        *room -= line.len();
        bytes.extend_from_slice(line);
        taken += 1;
    }
    (String::from_utf8_lossy(&bytes).into_owned(), taken)
}

/// Who wrote a commit, and when it was made.
fn author_of(
    repository: &Repository,
    mailmap: &gix::mailmap::Snapshot,
    id: gix::ObjectId,
) -> (String, Option<String>) {
    let Ok(commit) = repository.find_commit(id) else {
        return Default::default();
    };
    let author = commit.author().map(|author| {
        let mapped = mailmap.try_resolve_ref(author).and_then(|mapped| mapped.name);
        mapped.unwrap_or(author.name).trim().to_str_lossy().into_owned()
    });
    let at = commit.time().ok();
    let at = at.and_then(|at| Timestamp::from_second(at.seconds).ok());
    (author.unwrap_or_default(), at.map(|at| at.to_string()))
}

/// An object is missing or cannot be read. The library's words go to the log.
pub(crate) fn damaged(error: &gix::Error) -> Problem {
    tracing::warn!(%error, "a repository cannot be read");
    Problem::new(
        Kind::Unavailable,
        "the repository cannot be read as far as this needs; `git fsck` in it tells what is missing or damaged",
    )
}

#[cfg(test)]
mod tests;
