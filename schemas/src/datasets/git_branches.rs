//! `git_branches`: one row a branch of a repository.

use super::git_repositories::Following;
use crate::dataset::{Column, Dataset, Home, Kind};
use crate::rows::{Row, Value};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "git_branches",
    about: "One row a branch of a repository, local or as it was last fetched from a remote.",
    key: &["_source", "repository", "branch"],
    unit: "_item",
    columns: &[
        Column::new(
            "repository",
            Kind::Text,
            "Name of the repository, as in `git_repositories`.",
        ),
        Column::new("branch", Kind::Text, "Its name in short: `main`, `origin/main`."),
        Column::new("is_remote", Kind::Bool, "Whether it is a remote's."),
        Column::new("is_head", Kind::Bool, "Whether it is checked out."),
        Column::new("commit", Kind::Text, "Its newest commit, as in `git_commits`."),
        Column::new("upstream", Kind::Text, "Branch that it follows.").nullable(),
        Column::new("ahead", Kind::Int, "Commits that the upstream has not.")
            .nullable()
            .source("git branch -v"),
        Column::new("behind", Kind::Int, "Commits that only the upstream has.")
            .nullable()
            .source("git branch -v"),
    ],
    home: Home::Lake,
    search: None,
};

/// One branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitBranch {
    /// `_item`, `repository`.
    pub repository: String,
    /// `branch`.
    pub branch: String,
    /// `is_remote`.
    pub is_remote: bool,
    /// `is_head`.
    pub is_head: bool,
    /// `commit`.
    pub commit: String,
    /// `upstream`, `ahead`, `behind`.
    pub following: Following,
}

impl Row for GitBranch {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        &self.repository
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Text(&self.repository),
            Value::Text(&self.branch),
            Value::Bool(self.is_remote),
            Value::Bool(self.is_head),
            Value::Text(&self.commit),
            Value::text(self.following.upstream.as_deref()),
            Value::int(self.following.ahead),
            Value::int(self.following.behind),
        ]
    }
}
