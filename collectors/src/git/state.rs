//! The state of a repository: what its references say, what is checked out, how far it is from its upstream.

use super::find::Found;
use super::history::border;
use gix::bstr::ByteSlice;
use gix::error::MetadataValue;
use gix::refs::file::find::ReferenceDecode;
use gix::refs::{Category, FullNameRef, TargetRef};
use gix::remote::Direction;
use gix::url::Scheme;
use gix::{ObjectId, Repository};
use schemas::Digest;
use schemas::datasets::git_branches::GitBranch;
use schemas::datasets::git_repositories::{Following, GitRepository};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The cursor's shape.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) repositories: BTreeMap<String, Seen>,
}

/// A repository as it was stored.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// What shows its commits as they are stored ([`rules`]).
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
    /// By full name, the commit; HEAD and the heads of linked work trees too.
    commits: BTreeMap<String, ObjectId>,
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
            let name = reference.name().as_bstr().to_string();
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
                    references.broken.push((name, error.to_string()));
                    references.are_whole &= !is_direct;
                }
            }
        }
        let head = repository.head()?;
        let is_detached = head.is_detached();
        match head.try_into_peeled_id() {
            Ok(Some(head)) => {
                references.commits.insert("HEAD".to_owned(), head.detach());
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
                references.commits.insert(format!("worktrees/{name}/HEAD"), head);
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
        let lines: String = self
            .commits
            .iter()
            .map(|(name, id)| format!("{id} {name}\n"))
            .collect();
        Digest::of(lines.as_bytes()).to_string()
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

/// What decides how commits are shown, beside themselves: it changes when the mailmap does, or the border of a
/// shallow clone.
pub(super) fn rules(repository: &Repository) -> gix::Result<String> {
    let mut text: String = border(repository)?.iter().map(|id| format!("{id}\n")).collect();
    for entry in repository.open_mailmap().entries() {
        text.push_str(&format!("{entry:?}\n"));
    }
    Ok(Digest::of(text.as_bytes()).to_string())
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
    let mut branches = Vec::new();
    for (name, commit) in &references.commits {
        let Ok(name) = <&FullNameRef>::try_from(name.as_str()) else {
            continue;
        };
        let is_remote = match name.category() {
            Some(Category::LocalBranch) => false,
            Some(Category::RemoteBranch) => true,
            _ => continue,
        };
        let branch = name.shorten().to_string();
        let following = if is_remote {
            Following::default()
        } else {
            following(name, *commit, references, repository)
        };
        branches.push(GitBranch {
            repository: row.repository.clone(),
            is_head: !is_remote && row.head_branch.as_ref() == Some(&branch),
            branch,
            is_remote,
            commit: commit.to_string(),
            following,
        });
    }
    branches
}

/// How far a branch is from its upstream.
fn following(
    branch: &FullNameRef,
    commit: ObjectId,
    references: &References,
    repository: &Repository,
) -> Following {
    let Some(Ok(upstream)) = repository.branch_remote_tracking_ref_name(branch, Direction::Fetch) else {
        return Following::default();
    };
    let theirs = references.commits.get(&upstream.as_bstr().to_string()).copied();
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
        upstream: Some(upstream.shorten().to_string()),
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
