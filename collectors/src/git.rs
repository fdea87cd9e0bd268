//! `git`: the history of git repositories on this machine, read-only.
//!
//! - In: paths of repositories, or of folders that hold some.
//! - Out: rows of `git_commits` and `git_file_changes`, as `git log --all --numstat -M` lists them; the state of
//!   each repository in `git_repositories` and `git_branches`. Commits that nothing leads to any more vanish.
//! - Cursor: by repository, digests of its references and state, and the newest commits. While commits are on their
//!   way it says so: a run that was killed goes on with those that are not stored.
//! - A path, or a repository, that cannot be read is a reject, and all that is stored of it stays.
//! - Not here: fetching. What is not on this machine is not seen.

mod changes;
mod commit;
mod contents;
mod decoded;
mod doubt;
mod find;
mod history;
mod read;
mod recent;
mod renames;
mod rules;
mod similarity;
mod state;
mod stored;

use crate::collect::{Batch, Collector, Descriptor, Known, Sink, on_own_thread};
use crate::error::{CollectError, ConfigError};
use arrow_array::RecordBatch;
use async_trait::async_trait;
use find::Found;
use gix::ObjectId;
use gix::hashtable::HashSet as IdSet;
use history::{History, Walked};
use read::{ReadCommit, Reader};
use schemars::JsonSchema;
use schemas::datasets::{git_branches, git_commits, git_file_changes, git_repositories};
use schemas::{Cursor, Dataset, Digest, Reject, Row, Rows};
use serde::Deserialize;
use state::{References, Seen, State};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::vec::Drain;
use stored::Stored;

/// `kind = "git"`.
pub const DESCRIPTOR: Descriptor = Descriptor {
    kind: "git",
    about: "The history of git repositories on this machine.",
    example: "dkc add git paths=~/src name=code",
    datasets: &[
        "git_commits",
        "git_file_changes",
        "git_repositories",
        "git_branches",
    ],
    secrets: &[],
    paths: &["paths"],
    schema: || schemars::schema_for!(GitConfig),
    doubt: doubt::doubt,
    build,
};

/// Commits in a batch, at least.
const BATCH_COMMITS: usize = 512;

/// A `source` table with `kind = "git"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GitConfig {
    /// Repositories, and folders that hold some.
    paths: Vec<PathBuf>,
}

fn build(table: toml_edit::Table) -> Result<Box<dyn Collector>, ConfigError> {
    let config = toml_edit::de::from_document(toml_edit::DocumentMut::from(table))?;
    Ok(Box::new(Git { config }))
}

struct Git {
    config: GitConfig,
}

#[async_trait]
impl Collector for Git {
    async fn collect(
        &mut self,
        from: Option<Cursor>,
        known: Arc<Known>,
        sink: Sink,
    ) -> Result<(), CollectError> {
        let config = self.config.clone();
        on_own_thread(move || Run::begin(from, &known, &sink).all(&config)).await
    }
}

/// One run over all repositories.
struct Run<'a> {
    known: &'a Known,
    sink: &'a Sink,
    /// Without a cursor, nothing that is stored is trusted.
    trusts: bool,
    state: State,
    /// The stored commits by repository, once they are needed.
    stored: Option<HashMap<String, IdSet>>,
    rejects: Vec<Reject>,
    /// Repositories all of whose commits were looked at.
    walked: HashSet<String>,
    unchanged: u64,
}

/// Why a repository was not read to its end.
enum Stop {
    /// And no other can be.
    Run(CollectError),
    /// The others are.
    Repository(gix::Error),
}

impl From<CollectError> for Stop {
    fn from(error: CollectError) -> Self {
        Self::Run(error)
    }
}

impl From<gix::Error> for Stop {
    fn from(error: gix::Error) -> Self {
        Self::Repository(error)
    }
}

impl<'a> Run<'a> {
    fn begin(from: Option<Cursor>, known: &'a Known, sink: &'a Sink) -> Self {
        Self {
            known,
            sink,
            trusts: from.is_some(),
            state: from
                .and_then(|Cursor(value)| serde_json::from_value(value).ok())
                .unwrap_or_default(),
            stored: None,
            rejects: Vec::new(),
            walked: HashSet::new(),
            unchanged: 0,
        }
    }

    fn all(mut self, config: &GitConfig) -> Result<(), CollectError> {
        let stored = Stored::look_up(&self.state, self.known, self.trusts)?;
        let repositories = find::find(&config.paths, &stored, self.sink.progress())
            .map_err(|(path, source)| CollectError::Unreadable { path, source })?;
        // The next run knows of them by the cursor alone, even if this one is killed.
        self.state.note(stored.places());
        self.sink.progress().add_expected(repositories.found.len() as u64);
        let absent = stored.absent(&repositories);
        self.rejects = repositories.rejects;
        let mut failed = HashSet::new();
        for found in &repositories.found {
            match self.repository(found) {
                Ok(()) => {}
                Err(Stop::Run(error)) => return Err(error),
                Err(Stop::Repository(error)) => {
                    failed.insert(found.path.to_string_lossy().into_owned());
                    self.reject(found.name.clone(), &error);
                }
            }
            self.sink.progress().add_seen(1);
        }
        let mut vanished = Vec::new();
        // One that has another name now, and cannot be read under it, keeps its rows under the old one.
        let path_of = |name: &String| self.state.repositories.get(name).map(|seen| &seen.path);
        let lies_there = |name: &&String| path_of(name).is_some_and(|path| failed.contains(path));
        let (_, gone): (Vec<&String>, Vec<&String>) = absent.gone.iter().partition(lies_there);
        for name in gone {
            self.state.repositories.remove(name);
            let commits = self.take_stored(name)?;
            vanished.extend(commits.iter().map(|id| commit::item(name, id)));
            vanished.push(name.clone());
            self.walked.insert(name.clone());
        }
        let looked_at = |item: &&String| match commit::split_item(item) {
            Some((repository, _)) => self.walked.contains(repository),
            None => absent.is_looked_at(item),
        };
        let forgiven = self.known.rejected.iter().filter(looked_at).cloned().collect();
        self.sink.push_blocking(Batch {
            vanished,
            forgiven,
            rejects: std::mem::take(&mut self.rejects),
            unchanged: self.unchanged,
            ..Batch::at(self.cursor())
        })
    }

    /// Reads what is new in one repository.
    fn repository(&mut self, found: &Found) -> Result<(), Stop> {
        let shared = gix::open(&found.path)?.into_sync();
        let repository = shared.to_thread_local();
        let references = References::of(&repository)?;
        for (name, reason) in &references.broken {
            self.rejects.push(Reject {
                item: format!("{}:{name}", found.name),
                reason: reason.clone(),
                raw: None,
            });
        }
        let before = self
            .state
            .repositories
            .get(&found.name)
            .cloned()
            .unwrap_or_default();
        let mut seen = Seen {
            rules: rules::digest(&repository)?,
            references: Some(references.digest()),
            path: found.path.to_string_lossy().into_owned(),
            ..before.clone()
        };
        self.state.note_path(&found.name, &seen.path);
        let mut vanished = Vec::new();
        if (&seen.rules, &seen.references) != (&before.rules, &before.references) {
            let border = history::border(&repository)?;
            let reader = Reader::new(&found.name, &shared, border, repository.open_mailmap());
            let history = History::new(&repository)?;
            (vanished, seen.newest) = self.commits(&reader, &history, &references, &seen.rules)?;
        }
        let mut row = state::row(found, &repository);
        seen.row = Digest::of(format!("{row:?}").as_bytes()).to_string();
        if seen == before {
            self.unchanged += 1;
            return Ok(());
        }
        let branches = state::branches(&row, &references, &repository);
        if let Some(head) = branches.iter().find(|branch| branch.is_head) {
            row.head_branch = Some(head.branch.clone());
            row.following = head.following.clone();
        }
        self.state.repositories.insert(found.name.clone(), seen);
        let rows = vec![
            (&git_repositories::DATASET, self.rows(std::slice::from_ref(&row))),
            (&git_branches::DATASET, self.rows(&branches)),
        ];
        Ok(self.push(rows, 1, vanished)?)
    }

    /// Reads the commits that are not stored: those that are and vanished, and the newest ones.
    fn commits(
        &mut self,
        reader: &Reader<'_>,
        history: &History<'_>,
        references: &References,
        rules: &str,
    ) -> Result<(Vec<String>, Vec<String>), CollectError> {
        let stored = self.take_stored(reader.name())?;
        let before = self
            .state
            .repositories
            .get(reader.name())
            .cloned()
            .unwrap_or_default();
        let tips = references.tips();
        let is_current = before.rules == rules;
        let is_whole = is_current && before.references.is_some();
        // Of a run that was killed some commits are stored and their ancestors are not.
        let mut walked = history.walk(&tips, |id| is_whole && stored.contains(id));
        let order = std::mem::take(&mut walked.order);
        let wanted = order.iter().filter(|id| !is_current || !stored.contains(*id));
        // The newest first: in a pack, older files are kept as differences to newer ones.
        let wanted: Vec<ObjectId> = wanted.copied().collect();
        self.state
            .mark(reader.name(), rules, is_current || stored.is_empty());
        let unreadable = std::mem::take(&mut walked.unreadable);
        for (id, reason) in &unreadable {
            self.rejects.push(Reject {
                item: commit::item(reader.name(), id),
                reason: reason.clone(),
                raw: None,
            });
        }
        self.sink.progress().add_expected(wanted.len() as u64);
        let mut read = Vec::with_capacity(BATCH_COMMITS);
        reader.read(&wanted, |more| {
            read.extend(more);
            match read.len() < BATCH_COMMITS {
                true => Ok(()),
                false => self.push_commits(reader.name(), read.drain(..)),
            }
        })?;
        self.push_commits(reader.name(), read.drain(..))?;

        // A commit that was the newest and is neither that nor an ancestor of a new one has lost its reference.
        let text = |ids: Vec<&ObjectId>| ids.into_iter().map(ToString::to_string).collect::<Vec<_>>();
        let was_newest: IdSet = before
            .newest
            .iter()
            .filter_map(|id| ObjectId::from_hex(id.as_bytes()).ok())
            .collect();
        let is_left = |id: &ObjectId| tips.binary_search(id).is_ok() || walked.parents.contains(id);
        if is_whole && was_newest.iter().all(is_left) {
            let newest = tips.iter().filter(|id| {
                (was_newest.contains(*id) || !stored.contains(*id)) && !walked.parents.contains(*id)
            });
            return Ok((Vec::new(), text(newest.collect())));
        }
        let all = if is_whole {
            history.walk(&tips, |_| false)
        } else {
            Walked { order, ..walked }
        };
        let still: IdSet = all.order.iter().copied().collect();
        // Behind a commit that cannot be read there may be others; behind a reference, too.
        let is_known = references.are_whole && all.unreadable.is_empty() && unreadable.is_empty();
        let gone = stored.iter().filter(|id| is_known && !still.contains(*id));
        let gone = gone.map(|id| commit::item(reader.name(), id)).collect();
        self.walked.insert(reader.name().to_owned());
        let newest = tips.iter().filter(|id| !all.parents.contains(*id));
        let kept = was_newest.iter().filter(|_| !references.are_whole);
        Ok((gone, text(newest.chain(kept).collect())))
    }

    fn push_commits(&mut self, name: &str, read: Drain<'_, ReadCommit>) -> Result<(), CollectError> {
        if read.len() == 0 {
            return Ok(());
        }
        self.sink.progress().add_seen(read.len() as u64);
        let mut commits = Vec::with_capacity(read.len());
        let mut changes = Vec::new();
        for (id, read) in read {
            match read {
                Ok((commit, of_commit)) => {
                    commits.push(commit);
                    changes.extend(of_commit);
                }
                Err(reason) => self.rejects.push(Reject {
                    item: commit::item(name, &id),
                    reason,
                    raw: None,
                }),
            }
        }
        let described = commits.len() as u64;
        let rows = vec![
            (&git_commits::DATASET, self.rows(&commits)),
            (&git_file_changes::DATASET, self.rows(&changes)),
        ];
        self.push(rows, described, Vec::new())
    }

    fn rows<R: Row>(&self, rows: &[R]) -> Result<RecordBatch, CollectError> {
        let mut batch = Rows::of_lake(R::DATASET, self.sink.provenance().clone());
        for row in rows {
            batch.push(row)?;
        }
        Ok(batch.finish()?)
    }

    fn push(
        &mut self,
        rows: Vec<(&'static Dataset, Result<RecordBatch, CollectError>)>,
        described: u64,
        vanished: Vec<String>,
    ) -> Result<(), CollectError> {
        let rows = rows.into_iter().map(|(dataset, rows)| Ok((dataset, rows?)));
        self.sink.push_blocking(Batch {
            rows: rows.collect::<Result<_, CollectError>>()?,
            described,
            vanished,
            rejects: std::mem::take(&mut self.rejects),
            ..Batch::at(self.cursor())
        })
    }

    /// The stored commits of a repository; they are looked up once.
    fn take_stored(&mut self, repository: &str) -> Result<IdSet, CollectError> {
        if self.stored.is_none() {
            self.stored = Some(stored::commits(self.known)?);
        }
        let stored = self.stored.as_mut();
        Ok(stored.and_then(|all| all.remove(repository)).unwrap_or_default())
    }

    fn reject(&mut self, item: String, error: &dyn std::error::Error) {
        self.rejects.push(Reject {
            item,
            reason: error.to_string(),
            raw: None,
        });
    }

    fn cursor(&self) -> Cursor {
        Cursor(serde_json::to_value(&self.state).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::StoredRows;
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use schemas::datasets::git_repositories::GitRepository;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;
    use std::thread;

    /// A repository with a commit.
    fn init(path: &Path) {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join("a.txt"), "a\n").unwrap();
        for arguments in [
            &["init", "--quiet", "-b", "main"][..],
            &["add", "-A"],
            &["commit", "--quiet", "-m", "Begin"],
        ] {
            fixtures::git::git(path, 0, arguments);
        }
    }

    /// The batches of a run over a lake that has what these left.
    fn run_after(path: &Path, before: &[Batch]) -> Vec<Batch> {
        let rows = before.iter().flat_map(|batch| batch.rows.clone()).collect();
        let cursor = before.last().map(|batch| batch.cursor.clone());
        run_over(&[path.to_owned()], cursor, rows)
    }

    /// The lines of each file of each commit of a run, as git tells them.
    fn counted(batches: &[Batch]) -> BTreeSet<String> {
        let mut counted = BTreeSet::new();
        let all = batches.iter().flat_map(|batch| &batch.rows);
        for (_, rows) in all.filter(|(dataset, _)| dataset.name == "git_file_changes") {
            let text = |name: &str| rows.column_by_name(name).unwrap().as_string::<i32>();
            let lines = |name: &str, row: usize| {
                let column = rows.column_by_name(name).unwrap().as_primitive::<Int64Type>();
                match column.is_null(row) {
                    true => "-".to_owned(),
                    false => column.value(row).to_string(),
                }
            };
            for row in 0..rows.num_rows() {
                let (commit, path) = (text("commit").value(row), text("path").value(row));
                let (added, removed) = (lines("insertions", row), lines("deletions", row));
                counted.insert(format!("{commit} {added}\t{removed}\t{path}"));
            }
        }
        counted
    }

    /// The same of git itself.
    fn numstat(path: &Path) -> BTreeSet<String> {
        let listed = fixtures::git::git(path, 0, &["log", "--all", "--numstat", "--format=%H"]);
        let mut commit = "";
        let mut counted = BTreeSet::new();
        for line in listed.lines().filter(|line| !line.is_empty()) {
            match line.contains('\t') {
                true => {
                    counted.insert(format!("{commit} {line}"));
                }
                false => commit = line,
            }
        }
        counted
    }

    /// The batches of a run. The lake has repositories of these names, that lie there.
    fn run(paths: &[PathBuf], from: Option<Cursor>, stored: &[(&str, PathBuf)]) -> Vec<Batch> {
        let mut rows = Rows::of_lake(&git_repositories::DATASET, fixtures::provenance());
        for (name, path) in stored {
            let row = GitRepository {
                repository: (*name).to_owned(),
                path: path.display().to_string(),
                ..GitRepository::default()
            };
            rows.push(&row).unwrap();
        }
        let rows = vec![(&git_repositories::DATASET, rows.finish().unwrap())];
        run_over(paths, from, rows)
    }

    /// The batches of a run over a lake that has these rows.
    fn run_over(
        paths: &[PathBuf],
        from: Option<Cursor>,
        stored: Vec<(&'static Dataset, RecordBatch)>,
    ) -> Vec<Batch> {
        let look_up = move |dataset: &'static Dataset, _: &[&'static str]| {
            let its = stored.iter().filter(|(of, _)| of.name == dataset.name);
            Ok(its.map(|(_, rows)| rows.clone()).collect())
        };
        let known = Known {
            stored: StoredRows::new(look_up),
            ..Known::default()
        };
        let config = GitConfig {
            paths: paths.to_vec(),
        };
        let (sink, mut batches) = Sink::channel(Arc::default(), fixtures::provenance());
        thread::scope(|scope| {
            let run = scope.spawn(move || Run::begin(from, &known, &sink).all(&config));
            let all = std::iter::from_fn(|| batches.blocking_recv()).collect();
            run.join().unwrap().unwrap();
            all
        })
    }

    #[test]
    fn a_repository_has_its_name_to_itself_although_the_run_was_killed_that_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["here", "away"].map(|name| folder.path().join(name));
        let [here, away] = &paths;
        fs::create_dir(here).unwrap();
        init(&away.join("tool"));
        let batches = run(&paths, None, &[]);
        assert!(batches.len() > 1, "{batches:?}");
        let killed = batches[0].cursor.clone();
        fs::rename(away, folder.path().join("elsewhere")).unwrap();
        init(&here.join("tool"));
        let batches = run(&paths, Some(killed), &[]);
        let repositories = &batches.last().unwrap().cursor.0["repositories"];
        let path = |name: &str| repositories[name]["path"].as_str().map(PathBuf::from);
        assert_eq!(path("tool"), Some(away.join("tool")));
        assert_eq!(path("here/tool"), Some(here.join("tool")));
    }

    #[test]
    fn what_is_stored_of_a_path_that_is_gone_is_known_after_the_cursor_was_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["here", "away"].map(|name| folder.path().join(name));
        let [here, away] = &paths;
        init(&here.join("tool"));
        let stored = [("kept", away.join("kept")), ("tool", here.join("tool"))];
        let batches = run(&paths, None, &stored);
        assert!(batches.len() > 1, "{batches:?}");
        for batch in &batches {
            // Wherever it is killed.
            let repositories = &batch.cursor.0["repositories"];
            assert!(repositories["kept"].is_object(), "{batch:?}");
            assert!(batch.vanished.is_empty(), "{batch:?}");
        }
        let cursor = &batches.last().unwrap().cursor;
        fs::create_dir(away).unwrap();
        let batches = run(&paths, Some(cursor.clone()), &[]);
        let rejects: Vec<_> = batches.iter().flat_map(|batch| &batch.rejects).collect();
        assert_eq!(rejects.len(), 1, "nothing is mounted there: {rejects:?}");
        let batches = run(&paths[..1], Some(cursor.clone()), &[]);
        let vanished: Vec<_> = batches.iter().flat_map(|batch| &batch.vanished).collect();
        assert_eq!(vanished, ["kept"]);
    }

    #[test]
    fn lines_are_those_of_git_after_attributes_changed_wherever_they_are_declared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tool");
        init(&path);
        let git = |arguments: &[&str]| fixtures::git::git(&path, 1, arguments);
        fs::create_dir(path.join("sub")).unwrap();
        for file in ["b.dat", "sub/c.dat", "sub/d.txt"] {
            fs::write(path.join(file), "one\ntwo\n").unwrap();
        }
        git(&["add", "-A"]);
        git(&["commit", "--quiet", "-m", "More"]);
        let mut before = run_after(&path, &[]);
        assert_eq!(counted(&before), numstat(&path));
        // In the work tree alone, in a folder, as committed, for this repository alone, by a setting.
        let write = |name: &str, text: &str| fs::write(path.join(name), text).unwrap();
        let changes: [&dyn Fn(); 5] = [
            &|| write(".gitattributes", "*.dat -diff\n"),
            &|| write("sub/.gitattributes", "*.dat diff\n"),
            &|| {
                write(".gitattributes", "*.txt -diff\n");
                git(&["add", "-A"]);
                git(&["commit", "--quiet", "-m", "Attributes"]);
            },
            &|| write(".git/info/attributes", "*.txt diff=words\n"),
            &|| {
                git(&["config", "diff.words.binary", "true"]);
            },
        ];
        for (at, change) in changes.into_iter().enumerate() {
            change();
            let batches = run_after(&path, &before);
            assert_eq!(counted(&batches), numstat(&path), "change {at}");
            let again = run_after(&path, &batches);
            assert_eq!(
                (again.len(), again[0].unchanged),
                (1, 1),
                "change {at}: {again:?}"
            );
            before = batches;
        }
        assert!(numstat(&path).iter().any(|line| line.contains("-\t-")));
    }

    #[test]
    fn a_commit_that_is_replaced_after_it_was_stored_is_shown_as_git_shows_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tool");
        init(&path);
        let git = |arguments: &[&str]| fixtures::git::git(&path, 1, arguments);
        fs::write(path.join("b.txt"), "b\n").unwrap();
        git(&["add", "-A"]);
        git(&["commit", "--quiet", "-m", "More"]);
        git(&["commit-graph", "write", "--reachable"]);
        let before = run_after(&path, &[]);
        assert_eq!(counted(&before), numstat(&path));
        let first = git(&["rev-parse", "HEAD~1"]);
        // It has no parent any more.
        git(&["replace", "--graft", "HEAD"]);
        let batches = run_after(&path, &before);
        assert_eq!(counted(&batches), numstat(&path));
        let vanished: Vec<_> = batches.iter().flat_map(|batch| &batch.vanished).collect();
        assert_eq!(vanished, [&format!("tool@{}", first.trim())]);
    }

    #[test]
    fn a_name_stays_that_of_the_repository_that_is_gone_after_the_cursor_was_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["here", "away"].map(|name| folder.path().join(name));
        let [here, away] = &paths;
        init(&here.join("tool"));
        let stored = [("tool", away.join("tool"))];
        let cleared = run(&paths, None, &stored);
        // A cursor of an older version does not say where it lies.
        let older = serde_json::json!({ "repositories": { "tool": { "rules": "r" } } });
        for batches in [cleared, run(&paths, Some(Cursor(older)), &stored)] {
            assert!(
                batches.iter().all(|batch| batch.vanished.is_empty()),
                "{batches:?}"
            );
            // Wherever it is killed.
            for batch in &batches {
                let path = batch.cursor.0["repositories"]["tool"]["path"].as_str();
                assert_eq!(path.map(PathBuf::from), Some(away.join("tool")), "{batch:?}");
            }
            let last = &batches.last().unwrap().cursor.0["repositories"];
            assert!(last["here/tool"]["references"].is_string(), "{last:#}");
        }
    }
}
