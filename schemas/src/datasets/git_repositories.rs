//! `git_repositories`: one row a repository, as it was when it was last looked at.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::rows::{Row, Value};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "git_repositories",
    about: "One row a git repository, and the state that its last run found it in.",
    key: &["_source", "repository"],
    unit: "_item",
    columns: &[
        Column::new(
            "repository",
            Kind::Text,
            "Its name: the path below the folder that the pipeline names, with as many folders before that as tell it from others.",
        ),
        Column::new(
            "path",
            Kind::Text,
            "Absolute path of its work tree, or of itself if it is bare.",
        )
        .private(),
        Column::new("is_bare", Kind::Bool, "Whether it has no work tree."),
        Column::new(
            "is_shallow",
            Kind::Bool,
            "Whether history beyond some commits is not there.",
        ),
        Column::new(
            "is_submodule",
            Kind::Bool,
            "Whether it is a submodule of another.",
        ),
        Column::new(
            "head_branch",
            Kind::Text,
            "Branch that is checked out; absent when HEAD is detached.",
        )
        .nullable(),
        Column::new(
            "head_commit",
            Kind::Text,
            "Commit that is checked out; absent before the first.",
        )
        .nullable(),
        Column::new("upstream", Kind::Text, "Branch that the one checked out follows.").nullable(),
        Column::new("ahead", Kind::Int, "Commits that the upstream has not.")
            .nullable()
            .source("git status -b"),
        Column::new("behind", Kind::Int, "Commits that only the upstream has.")
            .nullable()
            .source("git status -b"),
        Column::new(
            "is_dirty",
            Kind::Bool,
            "Whether tracked files differ from the commit; absent when bare, or when it could not be told.",
        )
        .nullable()
        .source("git status"),
        Column::new(
            "remote_url",
            Kind::Text,
            "Where `origin`, or else its only remote, is; without password, query and fragment.",
        )
        .nullable()
        .private(),
        Column::new("branches", Kind::Int, "Local branches."),
        Column::new("tags", Kind::Int, "Tags."),
        Column::new(
            "work_trees",
            Kind::TextList,
            "Absolute paths of linked work trees.",
        )
        .private()
        .source("git worktree"),
    ],
    home: Home::Lake,
    search: None,
};

/// How far a branch is from the one it follows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Following {
    /// The one it follows, in short: `origin/main`.
    pub upstream: Option<String>,
    /// Commits that the upstream has not.
    pub ahead: Option<i64>,
    /// Commits that only the upstream has.
    pub behind: Option<i64>,
}

/// One repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitRepository {
    /// `_item`, `repository`.
    pub repository: String,
    /// `path`.
    pub path: String,
    /// `is_bare`.
    pub is_bare: bool,
    /// `is_shallow`.
    pub is_shallow: bool,
    /// `is_submodule`.
    pub is_submodule: bool,
    /// `head_branch`.
    pub head_branch: Option<String>,
    /// `head_commit`.
    pub head_commit: Option<String>,
    /// `upstream`, `ahead`, `behind`.
    pub following: Following,
    /// `is_dirty`.
    pub is_dirty: Option<bool>,
    /// `remote_url`.
    pub remote_url: Option<String>,
    /// `branches`.
    pub branches: i64,
    /// `tags`.
    pub tags: i64,
    /// `work_trees`.
    pub work_trees: Vec<String>,
}

impl Row for GitRepository {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        &self.repository
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Text(&self.repository),
            Value::Text(&self.path),
            Value::Bool(self.is_bare),
            Value::Bool(self.is_shallow),
            Value::Bool(self.is_submodule),
            Value::text(self.head_branch.as_deref()),
            Value::text(self.head_commit.as_deref()),
            Value::text(self.following.upstream.as_deref()),
            Value::int(self.following.ahead),
            Value::int(self.following.behind),
            self.is_dirty.map_or(Value::Null, Value::Bool),
            Value::text(self.remote_url.as_deref()),
            Value::Int(self.branches),
            Value::Int(self.tags),
            Value::TextList(&self.work_trees),
        ]
    }
}
