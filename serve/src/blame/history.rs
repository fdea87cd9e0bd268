//! Which paths of a repository hold, or held in some commit, what was in a secret.
//!
//! - In: the objects of a repository, and what tells by a path that a file is a secret. Out: the paths.
//! - All commits count, of all branches and tags: a secret stays one where it was copied to another branch. A path is
//!   withheld for ever, in commits before that one, too, once it held
//!   - exactly what a path that is withheld ever held, or
//!   - as a new file, at least half of such a one that went in the same commit. What git or blame takes for a rename is
//!     among these.
//! - A commit has as its own what none of its parents has; what came into a merge with a parent is of a commit before.
//! - Commits never change. So what was learned of them is kept, the next call reads those that are new, and one that
//!   comes after the time was over goes on from there.
//! - A copy that is changed in the commit that makes it is not told from any other file.
//! - Not here: which names look like secrets, and the words for whoever asks (`withheld`).

use super::MOST_BYTES;
use super::objects::Objects;
use super::trees::differences;
use super::withheld::Names;
use gix::bstr::{BString, ByteSlice as _};
use gix::objs::{CommitRef, FindExt as _, FindHeader as _, Kind, TagRef};
use gix::{ObjectId, Repository};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Bytes that are kept of histories, of all of them together and so of one: some three million commits and versions of
/// files. What collections reserve for more may be as much again.
pub(super) const MOST_KEPT: usize = 128 << 20;

/// Secrets whose contents are in memory at once, each of at most [`MOST_BYTES`].
const COMPARED_AT_ONCE: usize = 16;

/// Bytes of a line that are compared as one; git compares as many (`hash_chars` in its `diffcore-delta.c`).
const PIECE: usize = 64;

/// What a path held.
#[derive(Debug, Clone, Copy)]
struct Version {
    path: usize,
    id: ObjectId,
}

/// A commit in which files came, and others went.
#[derive(Debug)]
struct Step {
    came: Vec<Version>,
    /// Without those that these were compared with.
    gone: Vec<Version>,
}

/// What is known of one repository.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Where it ended when it was read.
    border: BTreeSet<ObjectId>,
    /// Whether there is more of it than is kept.
    is_too_long: bool,
    /// Commits and tags that were read, or are to be read.
    seen: HashSet<ObjectId>,
    /// Those that are to be read.
    pending: Vec<ObjectId>,
    /// All paths, numbered.
    paths: HashMap<BString, usize>,
    versions: Vec<Version>,
    steps: Vec<Step>,
    /// What the above take, without what is reserved for more.
    pub(super) bytes: usize,
    /// The numbers of paths that are withheld.
    withheld: HashSet<usize>,
    /// What these ever held, and whether it says anything.
    secrets: HashMap<ObjectId, bool>,
    /// The paths, once all that was read is compared.
    found: Option<Arc<HashSet<BString>>>,
}

impl History {
    /// The paths that are withheld, after all commits that lead to this one, or to a branch or a tag; `None` where there is too
    /// much of it.
    ///
    /// # Errors
    /// When some of it cannot be read, or the time is over.
    pub(super) fn read(
        &mut self,
        repository: &Repository,
        objects: &Objects<'_>,
        names: &Names,
        commit: ObjectId,
    ) -> gix::Result<Option<Arc<HashSet<BString>>>> {
        // When a shallow clone gets more of its history, commits get parents.
        if self.border != *objects.border() {
            *self = Self {
                border: objects.border().clone(),
                ..Self::default()
            };
        }
        if self.is_too_long {
            return Ok(None);
        }
        self.add(commit);
        // Another that cannot be read, or leads to nothing, holds nothing.
        for reference in repository.references()?.all()?.filter_map(Result::ok) {
            let Some(id) = reference.try_id().map(gix::Id::detach) else {
                continue;
            };
            if !self.seen.contains(&id) && objects.try_header(&id)?.is_some() {
                self.add(id);
            }
        }
        while let Some(id) = self.pending.last().copied() {
            let next = self.look(objects, names, id)?;
            self.pending.pop();
            next.into_iter().for_each(|id| self.add(id));
            if self.bytes > MOST_KEPT {
                *self = Self {
                    border: std::mem::take(&mut self.border),
                    is_too_long: true,
                    ..Self::default()
                };
                return Ok(None);
            }
        }
        if self.found.is_none() {
            while self.find_copied(objects)? || self.find_moved(objects)? {}
            let found = self.paths.iter().filter(|(_, at)| self.withheld.contains(*at));
            self.found = Some(Arc::new(found.map(|(path, _)| path.clone()).collect()));
        }
        Ok(self.found.clone())
    }

    fn add(&mut self, id: ObjectId) {
        if self.seen.insert(id) {
            self.bytes += size_of::<ObjectId>();
            self.pending.push(id);
        }
    }

    /// Learns what a commit has as its own, and gives what leads on from it.
    fn look(&mut self, objects: &Objects<'_>, names: &Names, id: ObjectId) -> gix::Result<Vec<ObjectId>> {
        let mut buffer = Vec::new();
        let (after, parents) = {
            let found = objects.find(&id, &mut buffer)?;
            match found.kind {
                Kind::Commit => {
                    let commit = CommitRef::from_bytes(found.data, id.kind())?;
                    (commit.tree(), commit.parents().collect::<Vec<_>>())
                }
                Kind::Tag => return Ok(vec![TagRef::from_bytes(found.data, id.kind())?.target()]),
                // Tags may lead to these, too. Without a commit nobody can ask for them.
                Kind::Tree | Kind::Blob => return Ok(Vec::new()),
            }
        };
        let mut before = Vec::with_capacity(parents.len());
        for parent in &parents {
            before.push(objects.find_commit(parent, &mut buffer)?.tree());
        }
        let own = Own::of(objects, &before, after)?;
        self.found = None;
        self.bytes += own.files.len() * size_of::<Version>();
        let mut came = Vec::new();
        for (path, file) in own.files {
            let version = Version {
                path: self.number(path, names),
                id: file.id,
            };
            self.versions.push(version);
            if file.is_new {
                came.push(version);
            }
        }
        if !came.is_empty() && !own.gone.is_empty() {
            self.bytes += size_of::<Step>() + (came.len() + own.gone.len()) * size_of::<Version>();
            let gone = own.gone.into_iter().map(|(path, id)| Version {
                path: self.number(path, names),
                id,
            });
            let gone = gone.collect();
            self.steps.push(Step { came, gone });
        }
        Ok(parents)
    }

    fn number(&mut self, path: BString, names: &Names) -> usize {
        let next = self.paths.len();
        match self.paths.entry(path) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.bytes += size_of::<(BString, usize)>() + new.key().len();
                if names.has(new.key().as_bstr()) {
                    self.withheld.insert(next);
                }
                *new.insert(next)
            }
        }
    }

    /// Withholds the paths that ever held exactly what one that is withheld did, and says whether there were any.
    fn find_copied(&mut self, objects: &Objects<'_>) -> gix::Result<bool> {
        let known = self.withheld.len();
        for version in &self.versions {
            if self.withheld.contains(&version.path)
                && let Entry::Vacant(new) = self.secrets.entry(version.id)
            {
                // `{}` is found in many files, and betrays none.
                let says = |byte: &u8| !byte.is_ascii_whitespace() && !byte.is_ascii_punctuation();
                let content = content(objects, version.id)?.and_then(|content| content.text);
                new.insert(content.is_none_or(|content| content.iter().any(says)));
            }
        }
        for version in &self.versions {
            if self.secrets.get(&version.id).is_some_and(|says| *says) {
                self.withheld.insert(version.path);
            }
        }
        Ok(self.withheld.len() > known)
    }

    /// Withholds the new files that have at least half of one that went with them and is withheld, and says whether there were
    /// any.
    fn find_moved(&mut self, objects: &Objects<'_>) -> gix::Result<bool> {
        let known = self.withheld.len();
        for step in &mut self.steps {
            let gone = step.gone.iter().copied();
            let (secrets, others): (Vec<Version>, Vec<Version>) =
                gone.partition(|version| self.withheld.contains(&version.path));
            if secrets.is_empty() {
                continue;
            }
            // What only moved held the same before. Where that is a secret, it is a copy.
            let moved: HashSet<ObjectId> = others.iter().map(|version| version.id).collect();
            for secrets in secrets.chunks(COMPARED_AT_ONCE) {
                let mut sources = Vec::with_capacity(secrets.len());
                for secret in secrets {
                    sources.push(content(objects, secret.id)?);
                }
                for version in &step.came {
                    if self.withheld.contains(&version.path) || moved.contains(&version.id) {
                        continue;
                    }
                    let file = content(objects, version.id)?;
                    let text = file.as_ref().and_then(|file| file.text.as_deref());
                    let pieces: Option<HashSet<&[u8]>> = text.map(|text| pieces(text).collect());
                    let holds = |secret: &Option<Content>| match secret {
                        Some(Content { text: Some(text), .. }) => is_in(text, pieces.as_ref()),
                        // Half of what is too large to look at is in no file that is smaller than that.
                        Some(secret) => file.as_ref().is_none_or(|file| 2 * file.size >= secret.size),
                        None => true,
                    };
                    if sources.iter().any(holds) {
                        self.withheld.insert(version.path);
                    }
                }
            }
            step.gone = others;
        }
        Ok(self.withheld.len() > known)
    }
}

/// What a commit has as its own.
#[derive(Default)]
struct Own {
    /// Files that none of its parents has at their path.
    files: HashMap<BString, OwnFile>,
    /// What a parent has and it has not.
    gone: Vec<(BString, ObjectId)>,
}

struct OwnFile {
    id: ObjectId,
    /// Whether a parent has no file at that path.
    is_new: bool,
}

impl Own {
    fn of(objects: &Objects<'_>, parents: &[ObjectId], after: ObjectId) -> gix::Result<Self> {
        let mut own = Self::default();
        if parents.contains(&after) {
            return Ok(own);
        }
        let first = parents.first().copied();
        own.files = compare(objects, first, after, &mut own.gone)?;
        for parent in parents.iter().skip(1) {
            if own.files.is_empty() {
                break;
            }
            let mut others = compare(objects, Some(*parent), after, &mut own.gone)?;
            own.files.retain(|path, file| {
                let other = others.remove(path);
                file.is_new |= other.as_ref().is_some_and(|other| other.is_new);
                other.is_some()
            });
        }
        Ok(own)
    }
}

/// The files that a parent has not. What it has and the commit has not is added to the others that are gone.
fn compare(
    objects: &Objects<'_>,
    before: Option<ObjectId>,
    after: ObjectId,
    gone: &mut Vec<(BString, ObjectId)>,
) -> gix::Result<HashMap<BString, OwnFile>> {
    let mut files = HashMap::new();
    for difference in differences(objects, before, after)? {
        let sides = [difference.before, difference.after];
        // Of a submodule there is no content.
        match sides.map(|file| file.filter(|file| file.mode.is_blob_or_symlink())) {
            [before, Some(file)] => {
                let file = OwnFile {
                    id: file.id,
                    is_new: before.is_none(),
                };
                files.insert(difference.path, file);
            }
            [Some(file), None] => gone.push((difference.path, file.id)),
            [None, None] => {}
        }
    }
    Ok(files)
}

/// What is in a file.
struct Content {
    /// Its bytes.
    size: u64,
    /// Its lines, each with its end, as Unix ends them; not of what is too large to look at.
    text: Option<Vec<u8>>,
}

/// What is in a file; `None` where that is not there, as in a clone without contents.
fn content(objects: &Objects<'_>, id: ObjectId) -> gix::Result<Option<Content>> {
    let Some(header) = objects.try_header(&id)? else {
        return Ok(None);
    };
    let size = header.size;
    if size > MOST_BYTES {
        return Ok(Some(Content { size, text: None }));
    }
    let mut buffer = Vec::new();
    let mut text = objects.find(&id, &mut buffer)?.data.replace("\r\n", "\n");
    text.push(b'\n');
    Ok(Some(Content {
        size,
        text: Some(text),
    }))
}

/// What files are compared by.
fn pieces(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content
        .lines_with_terminator()
        .flat_map(|line| line.chunks(PIECE))
}

/// Whether at least half of a secret is in a file with these pieces, however large that is. Of a file that cannot be looked at
/// it is taken to be.
fn is_in(secret: &[u8], file: Option<&HashSet<&[u8]>>) -> bool {
    let Some(file) = file else {
        return true;
    };
    // Empty lines tell nothing, but git and blame count them.
    let (mut all, mut there, mut empty, mut empty_there) = (0, 0, 0, 0);
    for piece in pieces(secret) {
        let found = if file.contains(piece) { piece.len() } else { 0 };
        match piece {
            b"\n" => (empty, empty_there) = (empty + 1, empty_there + found),
            _ => (all, there) = (all + piece.len(), there + found),
        }
    }
    there > 0 && (2 * there >= all || 2 * (there + empty_there) >= all + empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blame::tests::{commit, init};
    use crate::blame::{TIME, open};
    use fixtures::git::git;
    use std::fs;
    use std::path::{Path, PathBuf};
    use tokio_util::sync::CancellationToken;

    fn read(history: &mut History, path: &Path) -> gix::Result<Vec<String>> {
        let repository = open(path).unwrap();
        let cancel = CancellationToken::new();
        let objects = Objects::new(&repository, TIME, &cancel)?;
        let head = repository.head_id()?.detach();
        let found = history.read(&repository, &objects, &Names::of(path, &[]), head)?;
        let mut found: Vec<_> = found.unwrap().iter().map(ToString::to_string).collect();
        found.sort();
        Ok(found)
    }

    /// Where the tree of a commit is kept.
    fn tree(path: &Path, commit: &str) -> PathBuf {
        let id = git(path, 0, &["rev-parse", &format!("{commit}^{{tree}}")]);
        let (begin, end) = id.trim().split_at(2);
        path.join(".git/objects").join(begin).join(end)
    }

    #[test]
    fn what_was_read_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        init(path);
        for n in 1..4 {
            commit(path, n, ".env", format!("TOKEN={n}\n").as_bytes());
        }
        let (first, last) = (tree(path, "HEAD~2"), tree(path, "HEAD"));
        let away = folder.path().join("away");

        // It ends before the first commit, and goes on from there.
        let mut history = History::default();
        fs::rename(&first, &away).unwrap();
        read(&mut history, path).unwrap_err();
        fs::rename(&away, &first).unwrap();
        fs::rename(&last, &away).unwrap();
        assert_eq!(read(&mut history, path).unwrap(), [".env"]);
        read(&mut History::default(), path).unwrap_err();
        fs::rename(&away, &last).unwrap();

        // A version of long ago is copied; of the older commits nothing is read.
        commit(path, 4, "conf", b"TOKEN=1\n");
        fs::rename(&first, &away).unwrap();
        assert_eq!(read(&mut history, path).unwrap(), [".env", "conf"]);
        read(&mut History::default(), path).unwrap_err();
    }

    #[test]
    fn a_shallow_clone_that_gets_more_history_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (full, shallow) = (folder.path().join("full"), folder.path().join("shallow"));
        init(&full);
        commit(&full, 1, ".env", b"TOKEN=1\n");
        git(&full, 2, &["mv", ".env", "conf"]);
        commit(&full, 2, "plain", b"told\n");
        let from = format!("file://{}", full.display());
        let to = shallow.to_str().unwrap();
        git(folder.path(), 0, &["clone", "--quiet", "--depth", "1", &from, to]);
        let mut history = History::default();
        assert!(read(&mut history, &shallow).unwrap().is_empty());
        git(&shallow, 0, &["fetch", "--quiet", "--unshallow"]);
        assert_eq!(read(&mut history, &shallow).unwrap(), [".env", "conf"]);
    }

    #[test]
    fn what_is_kept_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        init(path);
        let mut history = History::default();
        let mut bytes = 0;
        for n in 0..3 {
            commit(path, n, &format!("{}{n}", "name".repeat(50)), b"told\n");
            read(&mut history, path).unwrap();
            assert!(history.bytes > bytes + 200, "{} after {bytes}", history.bytes);
            bytes = history.bytes;
        }
        read(&mut history, path).unwrap();
        assert_eq!(history.bytes, bytes);
    }

    #[test]
    fn half_of_a_secret_is_enough() {
        let holds = |secret: &[u8], file: &[u8]| is_in(secret, Some(&pieces(file).collect()));
        let secret = b"one\ntwo\nsix\nten\n";
        assert!(holds(secret, b"zero\ntwo\n\n\none\nmore\nand more\nand more\n"));
        assert!(!holds(secret, b"one\n1\n2\n3\n"));
        assert!(!holds(b"\n\n", b"\n\n"));
        let long = |end: &str| format!("{}{end}\n", "x".repeat(200));
        assert!(holds(long("one").as_bytes(), long("two").as_bytes()));
        // As git has it, of which empty lines are a part.
        assert!(holds(
            b"A=1\n\n\nB=2\n\n\nC=3\n\n\n",
            b"A=1\n\n\nD=4\n\n\nE=5\n\n\n"
        ));
        assert!(is_in(secret, None));
    }
}
