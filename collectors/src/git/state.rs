//! The state of a repository: what its references say, what is checked out, how far it is from its upstream.

use super::find::Found;
use gix::bstr::{BString, ByteSlice};
use gix::error::MetadataValue;
use gix::refs::file::find::ReferenceDecode;
use gix::refs::{Category, FullName, FullNameRef, TargetRef};
use gix::remote::Direction;
use gix::url::Scheme;
use gix::{ObjectId, Repository};
use schemas::Digest;
use schemas::datasets::git_branches::GitBranch;
use schemas::datasets::git_repositories::{Following, GitRepository};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The cursor's shape.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) repositories: BTreeMap<String, Seen>,
}

/// A repository as it was stored.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// What shows its commits as they are stored ([`digest`](super::rules::digest)).
    pub(super) rules: String,
    /// Its references; absent while its commits are on their way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) references: Option<String>,
    /// Commits that are nobody's parent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) newest: Vec<String>,
    /// Its row.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) row: String,
    /// Where it lies.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) path: String,
}

impl State {
    /// Notes that something is stored of these repositories, whatever it is, and where they lie, as far as that is known.
    pub(super) fn note<'a>(&mut self, places: impl Iterator<Item = (&'a String, Option<&'a Path>)>) {
        for (name, path) in places {
            let seen = self.repositories.entry(name.clone()).or_default();
            if let Some(path) = path {
                seen.path = path.to_string_lossy().into_owned();
            }
        }
    }

    /// Notes where a repository lies, before anything of it is stored.
    pub(super) fn note_path(&mut self, name: &str, path: &str) {
        let seen = self.repositories.entry(name.to_owned()).or_default();
        path.clone_into(&mut seen.path);
    }

    /// Notes that the commits of a repository are on their way. What is stored of it then may be trusted if the run
    /// is killed, unless it was stored by other rules.
    pub(super) fn mark(&mut self, name: &str, rules: &str, is_trusted: bool) {
        let seen = self.repositories.entry(name.to_owned()).or_default();
        *seen = Seen {
            rules: if is_trusted {
                rules.to_owned()
            } else {
                String::new()
            },
            path: std::mem::take(&mut seen.path),
            ..Seen::default()
        };
    }
}

/// What the references of a repository lead to.
pub(super) struct References {
    /// By full name, which need not be text, the commit; HEAD and the heads of linked work trees too.
    commits: BTreeMap<BString, ObjectId>,
    /// Those that lead nowhere, and why.
    pub(super) broken: Vec<(String, String)>,
    /// Whether none of those is a branch or tag whose commit is damaged: what that led to may be there still.
    pub(super) are_whole: bool,
}

impl References {
    /// Reads all references.
    pub(super) fn of(repository: &Repository) -> gix::Result<Self> {
        let mut references = Self {
            commits: BTreeMap::new(),
            broken: Vec::new(),
            are_whole: true,
        };
        for reference in repository.references()?.all()? {
            let mut reference = match reference {
                Ok(reference) => reference,
                Err(error) => {
                    references
                        .broken
                        .push((name_in(&error, repository), error.to_string()));
                    references.are_whole = false;
                    continue;
                }
            };
            let name = reference.name().as_bstr().to_owned();
            // One that names another (`origin/HEAD`) loses nothing when that is gone.
            let is_direct = matches!(reference.target(), TargetRef::Object(_));
            // One that leads to a tree or a file has no history.
            let mut led = || -> gix::Result<_> {
                let id = reference.peel_to_id()?;
                Ok((id.header()?.kind(), id.detach()))
            };
            match led() {
                Ok((gix::objs::Kind::Commit, id)) => {
                    references.commits.insert(name, id);
                }
                Ok(_) => {}
                Err(error) => {
                    references.broken.push((name.to_string(), error.to_string()));
                    references.are_whole &= !is_direct;
                }
            }
        }
        let head = repository.head()?;
        let is_detached = head.is_detached();
        match head.try_into_peeled_id() {
            Ok(Some(head)) => {
                references.commits.insert("HEAD".into(), head.detach());
            }
            // Before the first commit.
            Ok(None) => {}
            Err(error) => {
                references.broken.push(("HEAD".to_owned(), error.to_string()));
                references.are_whole &= !is_detached;
            }
        }
        for linked in repository.worktrees().unwrap_or_default() {
            let name = linked.id().map(ToString::to_string).unwrap_or_default();
            let linked = linked.into_repo_with_possibly_inaccessible_worktree();
            let head =
                linked.and_then(|linked| Ok(linked.head()?.try_into_peeled_id()?.map(|id| id.detach())));
            if let Ok(Some(head)) = head {
                references
                    .commits
                    .insert(format!("worktrees/{name}/HEAD").into(), head);
            }
        }
        Ok(references)
    }

    /// The commits that they lead to, each once.
    pub(super) fn tips(&self) -> Vec<ObjectId> {
        let mut tips: Vec<ObjectId> = self.commits.values().copied().collect();
        tips.sort_unstable();
        tips.dedup();
        tips
    }

    /// Changes when any of them does.
    pub(super) fn digest(&self) -> String {
        let mut lines = Vec::new();
        for (name, id) in &self.commits {
            lines.extend_from_slice(format!("{id} ").as_bytes());
            lines.extend_from_slice(name);
            lines.push(b'\n');
        }
        Digest::of(&lines).to_string()
    }

    /// What the branches are called: in short, where no other is called so.
    fn branch_names(&self) -> BTreeMap<&FullNameRef, String> {
        let mut names = BTreeMap::new();
        let mut taken = BTreeSet::new();
        // A local one that is named as a remote's is an accident, and `heads/…` to git, too.
        for kind in [Category::RemoteBranch, Category::LocalBranch] {
            for full in self.commits.keys() {
                let Ok(full) = <&FullNameRef>::try_from(full.as_bstr()) else {
                    continue;
                };
                if full.category() != Some(kind) {
                    continue;
                }
                let short = full.shorten();
                let mut name = short.to_string();
                // Two that differ only in what cannot be shown: as a path is shown then.
                if taken.contains(&name) && short.to_str().is_err() {
                    name = format!("{short:?}");
                }
                while !taken.insert(name.clone()) {
                    name = format!("heads/{name}");
                }
                names.insert(full, name);
            }
        }
        names
    }
}

/// The name of the reference that an error of reading them is about; `refs` if it does not say.
fn name_in(error: &gix::Error, repository: &Repository) -> String {
    let undecoded = error.downcast_any_ref::<ReferenceDecode>();
    let mut unread = error.metadata().filter_map(|values| match values.get("path") {
        Some(MetadataValue::Path(path)) => Some(path.as_path()),
        _ => None,
    });
    let path = undecoded.map(|undecoded| undecoded.relative_path.as_path());
    let path = path.or_else(|| unread.next()).unwrap_or(Path::new("refs"));
    let folders = [repository.git_dir(), repository.common_dir()];
    let mut below = folders.iter().filter_map(|folder| path.strip_prefix(folder).ok());
    below.next().unwrap_or(path).to_string_lossy().into_owned()
}

/// The row of a repository, without what costs a walk.
pub(super) fn row(found: &Found, repository: &Repository) -> GitRepository {
    let head = repository.head().ok();
    let remote = repository
        .remote_names()
        .into_iter()
        .max_by_key(|name| name.as_bstr() == "origin")
        .and_then(|name| repository.find_remote(name.as_bstr()).ok());
    let url = remote.and_then(|remote| remote.url(Direction::Fetch).cloned());
    let count = |prefix: &str| {
        let all = repository.references().ok();
        let names = all.as_ref().and_then(|all| all.prefixed(prefix).ok());
        names.map_or(0, |names| names.filter_map(Result::ok).count() as i64)
    };
    let mut work_trees: Vec<String> = repository
        .worktrees()
        .unwrap_or_default()
        .iter()
        .filter_map(|linked| Some(linked.base().ok()?.to_string_lossy().into_owned()))
        .collect();
    work_trees.sort_unstable();
    GitRepository {
        repository: found.name.clone(),
        path: found.path.to_string_lossy().into_owned(),
        is_bare: repository.is_bare(),
        is_shallow: repository.is_shallow().unwrap_or(false),
        is_submodule: found.is_submodule,
        head_branch: head
            .as_ref()
            .and_then(|head| Some(head.referent_name()?.shorten().to_string())),
        head_commit: head
            .and_then(|head| head.try_into_peeled_id().ok().flatten())
            .map(|id| id.to_string()),
        following: Following::default(),
        is_dirty: (!repository.is_bare())
            .then(|| repository.is_dirty().ok())
            .flatten(),
        remote_url: url.map(without_secrets),
        branches: count("refs/heads/"),
        tags: count("refs/tags/"),
        work_trees,
    }
}

/// The branches of a repository.
pub(super) fn branches(
    row: &GitRepository,
    references: &References,
    repository: &Repository,
) -> Vec<GitBranch> {
    let head = repository.head_name().ok().flatten();
    let names = references.branch_names();
    let mut branches = Vec::new();
    for (name, branch) in &names {
        let Some(commit) = references.commits.get(name.as_bstr()) else {
            continue;
        };
        let is_remote = name.category() == Some(Category::RemoteBranch);
        let following = if is_remote {
            Following::default()
        } else {
            following(name, *commit, references, &names, repository)
        };
        branches.push(GitBranch {
            repository: row.repository.clone(),
            is_head: head.as_ref().is_some_and(|head| head.as_bstr() == name.as_bstr()),
            branch: branch.clone(),
            is_remote,
            commit: commit.to_string(),
            following,
        });
    }
    branches
}

/// The reference of this repository that a branch follows.
fn upstream(branch: &FullNameRef, repository: &Repository) -> Option<FullName> {
    let remote = repository.branch_remote_name(branch.shorten(), Direction::Fetch)?;
    let upstream = if remote.as_bstr() == "." {
        // A branch of this repository itself.
        repository.branch_remote_ref_name(branch, Direction::Fetch)
    } else {
        repository.branch_remote_tracking_ref_name(branch, Direction::Fetch)
    };
    upstream?.ok()
}

/// How far a branch is from its upstream.
fn following(
    branch: &FullNameRef,
    commit: ObjectId,
    references: &References,
    names: &BTreeMap<&FullNameRef, String>,
    repository: &Repository,
) -> Following {
    let Some(upstream) = upstream(branch, repository) else {
        return Following::default();
    };
    let upstream: &FullNameRef = upstream.as_ref();
    let theirs = references.commits.get(upstream.as_bstr()).copied();
    // Commits that the first has and the second has not.
    let only = |has: ObjectId, has_not: ObjectId| -> Option<i64> {
        if has == has_not {
            return Some(0);
        }
        let walk = repository.rev_walk([has]).with_hidden([has_not]).all().ok()?;
        let mut commits = 0;
        for commit in walk {
            commit.ok()?;
            commits += 1;
        }
        Some(commits)
    };
    Following {
        upstream: Some(match names.get(upstream) {
            Some(name) => name.clone(),
            None => upstream.shorten().to_string(),
        }),
        ahead: theirs.and_then(|theirs| only(commit, theirs)),
        behind: theirs.and_then(|theirs| only(theirs, commit)),
    }
}

/// The address of a remote without what lets somebody in: a token may also stand where the user's name does, or behind the
/// path. What only a helper of git understands may have one anywhere, and is the helper's name alone.
fn without_secrets(mut url: gix::Url) -> String {
    url.set_password(None);
    match &url.scheme {
        Scheme::Ssh | Scheme::File => {}
        Scheme::Ext | Scheme::Helper(_) => url.path.clear(),
        Scheme::HelperUrl(helper) => return format!("{helper}://"),
        Scheme::Http | Scheme::Https | Scheme::Git => {
            url.set_user(None);
            if let Some(end) = url.path.find_byteset(b"?#") {
                url.path.truncate(end);
            }
        }
    }
    url.to_bstring().to_str_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    fn git(path: &Path, arguments: &[&str]) -> String {
        fixtures::git::git(path, 0, arguments).trim().to_owned()
    }

    /// A repository with a commit.
    fn init() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "--quiet", "-b", "main"]);
        git(
            folder.path(),
            &["commit", "--quiet", "--allow-empty", "-m", "Begin"],
        );
        folder
    }

    fn branches_of(path: &Path) -> Vec<GitBranch> {
        let repository = gix::open(path).unwrap();
        let references = References::of(&repository).unwrap();
        branches(
            &row(&Found::named("it", path), &repository),
            &references,
            &repository,
        )
    }

    #[test]
    fn a_branch_that_follows_one_of_its_own_repository_is_as_far_from_it_as_git_says() {
        let folder = init();
        let path = folder.path();
        git(path, &["checkout", "--quiet", "-b", "topic", "--track", "main"]);
        git(path, &["commit", "--quiet", "--allow-empty", "-m", "More"]);
        let branches = branches_of(path);
        let topic = branches.iter().find(|branch| branch.is_head).unwrap();
        let Following {
            upstream,
            ahead,
            behind,
        } = &topic.following;
        assert_eq!(*behind, Some(0));
        let told = format!(
            "## {}...{} [ahead {}]",
            topic.branch,
            upstream.as_ref().unwrap(),
            ahead.unwrap()
        );
        assert_eq!(told, git(path, &["status", "-sb"]));
    }

    #[test]
    fn a_local_branch_that_is_named_as_a_remote_one_has_a_name_to_itself() {
        let folder = init();
        let path = folder.path();
        git(path, &["update-ref", "refs/remotes/origin/main", "HEAD"]);
        git(path, &["branch", "origin/main"]);
        git(path, &["symbolic-ref", "HEAD", "refs/heads/origin/main"]);
        let branches = branches_of(path);
        let told = |branch: &GitBranch| (branch.branch.clone(), branch.is_remote, branch.is_head);
        let head = git(path, &["rev-parse", "--abbrev-ref", "HEAD"]);
        assert_eq!(
            branches.iter().map(told).collect::<Vec<_>>(),
            [
                ("main".to_owned(), false, false),
                (head, false, true),
                ("origin/main".to_owned(), true, false),
            ]
        );
    }

    #[test]
    fn branches_whose_names_differ_only_in_what_is_no_text_are_two() {
        let folder = init();
        let path = folder.path();
        for (name, subject) in [(b"caf\xe8", "One"), (b"caf\xe9", "Two")] {
            let commit = git(path, &["commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", subject]);
            let file = path.join(".git/refs/heads").join(OsStr::from_bytes(name));
            fs::write(file, format!("{commit}\n")).unwrap();
        }
        let branches = branches_of(path);
        let commits: BTreeSet<&str> = branches.iter().map(|branch| branch.commit.as_str()).collect();
        let listed = git(path, &["for-each-ref", "--format=%(objectname)"]);
        assert_eq!(commits, listed.lines().collect::<BTreeSet<_>>());
        let names: BTreeSet<&str> = branches.iter().map(|branch| branch.branch.as_str()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
    }

    #[test]
    fn while_commits_are_on_their_way_it_is_known_where_their_repository_lies() {
        let mut state = State::default();
        state.note([(&"tool".to_owned(), None)].into_iter());
        state.note_path("tool", "/away/tool");
        state.mark("tool", "rules", true);
        let seen = &state.repositories["tool"];
        assert_eq!((seen.path.as_str(), seen.rules.as_str()), ("/away/tool", "rules"));
    }

    #[test]
    fn what_lets_somebody_in_is_not_told() {
        for (url, told) in [
            ("https://me:zq1@example.org/a.git", "https://example.org/a.git"),
            ("https://zq1@example.org/a.git", "https://example.org/a.git"),
            ("https://example.org/a.git?token=zq1", "https://example.org/a.git"),
            ("https://example.org/a.git#zq1", "https://example.org/a.git"),
            ("git://zq1@example.org/a.git", "git://example.org/a.git"),
            ("ssh://git:zq1@example.org/a.git", "ssh://git@example.org/a.git"),
            ("git@example.org:a.git", "git@example.org:a.git"),
            ("../a.git", "../a.git"),
            ("gcrypt::https://me:zq1@example.org/a.git", "gcrypt::"),
            ("ext::connect --token zq1 %S", "ext::"),
            ("other://me:zq1@example.org/zq1", "other://"),
        ] {
            assert_eq!(without_secrets(gix::url::parse(url).unwrap()), told, "{url}");
        }
    }
}
