//! `git_file_changes`: one row a file that a commit changed.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::rows::{Row, Value};
use bytes::Bytes;

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "git_file_changes",
    about: "One row a file that a commit changed, as `git log --numstat -M` lists them; a merge has none.",
    key: &["_source", "repository", "commit", "path"],
    unit: "_item",
    columns: &[
        Column::new(
            "repository",
            Kind::Text,
            "Name of the repository, as in `git_repositories`.",
        ),
        Column::new("commit", Kind::Text, "Id of the commit, as in `git_commits`."),
        Column::new(
            "path",
            Kind::Text,
            "Path of the file after the change, or of the file that is gone; bytes that are not UTF-8 are shown as U+FFFD.",
        ),
        Column::new("old_path", Kind::Text, "Path before, when the file was renamed.").nullable(),
        Column::new(
            "change",
            Kind::Text,
            "`added`, `deleted`, `modified`, `renamed`, or `type_changed` (a file became a link or a submodule, or the other way).",
        ),
        Column::new(
            "similarity",
            Kind::Int,
            "For a rename: percentage of the content that stayed.",
        )
        .nullable()
        .source("git --name-status -M"),
        Column::new("insertions", Kind::Int, "Lines added; absent for a binary file.")
            .nullable()
            .source("git log --numstat -M"),
        Column::new("deletions", Kind::Int, "Lines removed; absent for a binary file.")
            .nullable()
            .source("git log --numstat -M"),
        Column::new(
            "path_bytes",
            Kind::Bytes,
            "The bytes of `path`, when they are not UTF-8.",
        )
        .nullable(),
    ],
    home: Home::Lake,
    search: None,
};

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// Its content or its mode is another.
    Modified,
    /// It has another path.
    Renamed,
    /// It is of another type: file, link, submodule.
    TypeChanged,
}

impl Change {
    /// As the column has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Deleted => "deleted",
            Self::Modified => "modified",
            Self::Renamed => "renamed",
            Self::TypeChanged => "type_changed",
        }
    }
}

/// One file of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitFileChange {
    /// `_item`: repository and commit.
    pub item: String,
    /// `repository`.
    pub repository: String,
    /// `commit`.
    pub commit: String,
    /// `path`.
    pub path: String,
    /// `old_path`.
    pub old_path: Option<String>,
    /// `change`.
    pub change: Change,
    /// `similarity`.
    pub similarity: Option<i64>,
    /// `insertions` and `deletions`; absent for a binary file.
    pub lines: Option<(i64, i64)>,
    /// `path_bytes`.
    pub path_bytes: Option<Bytes>,
}

impl Row for GitFileChange {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        &self.item
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Text(&self.repository),
            Value::Text(&self.commit),
            Value::Text(&self.path),
            Value::text(self.old_path.as_deref()),
            Value::Text(self.change.as_str()),
            Value::int(self.similarity),
            Value::int(self.lines.map(|(insertions, _)| insertions)),
            Value::int(self.lines.map(|(_, deletions)| deletions)),
            self.path_bytes.as_ref().map_or(Value::Null, Value::Bytes),
        ]
    }
}
