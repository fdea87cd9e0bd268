//! `dkc://git-integration`: commits, what they changed, and how files evolved.
//!
//! - In: the operations of this family. Out: the addresses of what they answer. Not here: what they do (`operations`).

use super::{Entry, Resource, Variable};
use crate::toolset;

/// The resource.
pub(crate) const RESOURCE: Resource = Resource {
    toolset: &toolset::GIT,
    entries: &[
        Entry {
            uri: "dkc://git-integration",
            name: "git-integration",
            title: "Newest commits",
            about: "The newest commits of all repositories.",
            operation: "get_commit_history",
            fixed: &[],
            variables: &[],
        },
        Entry {
            uri: "dkc://git-integration/history{?repository,path,author}",
            name: "git-integration-history",
            title: "History",
            about: "Commits of a repository, a file or an author, newest first.",
            operation: "get_commit_history",
            fixed: &[],
            variables: &[
                Variable::of("repository", "git_commits", "repository"),
                Variable::of("path", "git_file_changes", "path"),
                Variable::of("author", "git_commits", "author_name"),
            ],
        },
        Entry {
            uri: "dkc://git-integration/search{?q,repository}",
            name: "git-integration-search",
            title: "Search in commits",
            about: "Commits by their words and what they mean.",
            operation: "search_commits",
            fixed: &[],
            variables: &[
                Variable::free("q"),
                Variable::of("repository", "git_commits", "repository"),
            ],
        },
        Entry {
            uri: "dkc://git-integration/commit{?repository,commit,path}",
            name: "git-integration-commit",
            title: "Commit",
            about: "A commit with its message, its files and its patch.",
            operation: "get_commit",
            fixed: &[],
            variables: &[
                Variable::of("repository", "git_commits", "repository"),
                Variable::of("commit", "git_commits", "commit"),
                Variable::of("path", "git_file_changes", "path"),
            ],
        },
        Entry {
            uri: "dkc://git-integration/blame{?repository,path,revision}",
            name: "git-integration-blame",
            title: "Blame",
            about: "The commit that each line of a file is of.",
            operation: "get_file_blame",
            fixed: &[],
            variables: &[
                Variable::of("repository", "git_commits", "repository"),
                Variable::of("path", "git_file_changes", "path"),
                Variable::of("revision", "git_branches", "branch"),
            ],
        },
    ],
};
