//! `git_commits`: one row a commit that a branch, a tag or another reference leads to.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::names::Instant;
use crate::rows::{Row, Value};
use crate::search::{Field, Operator, Search};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "git_commits",
    about: "One row a commit that any reference of a repository leads to, as `git log --all` lists them.",
    key: &["_source", "repository", "commit"],
    unit: "_item",
    columns: &[
        Column::new(
            "repository",
            Kind::Text,
            "Name of the repository, as in `git_repositories`.",
        ),
        Column::new("commit", Kind::Text, "Id of the commit, hexadecimal.").source("git %H"),
        Column::new(
            "parents",
            Kind::TextList,
            "Ids of its parents, the first one first; none at the border of a shallow clone.",
        )
        .source("git %P"),
        Column::new(
            "author_name",
            Kind::Text,
            "Who wrote the change, after `.mailmap`.",
        )
        .private()
        .source("git %aN"),
        Column::new("author_email", Kind::Text, "Their address, after `.mailmap`.")
            .private()
            .source("git %aE"),
        Column::new(
            "author_time",
            Kind::Instant,
            "When they wrote it; absent if the date is unreadable.",
        )
        .nullable()
        .source("git %at"),
        Column::new(
            "author_offset_min",
            Kind::Int,
            "Minutes that their clock was ahead of UTC.",
        )
        .nullable()
        .source("git %ai"),
        Column::new(
            "committer_name",
            Kind::Text,
            "Who made the commit, after `.mailmap`.",
        )
        .private()
        .source("git %cN"),
        Column::new("committer_email", Kind::Text, "Their address, after `.mailmap`.")
            .private()
            .source("git %cE"),
        Column::new(
            "committer_time",
            Kind::Instant,
            "When they made it; absent if the date is unreadable.",
        )
        .nullable()
        .source("git %ct"),
        Column::new(
            "committer_offset_min",
            Kind::Int,
            "Minutes that their clock was ahead of UTC.",
        )
        .nullable()
        .source("git %ci"),
        Column::new(
            "recorded_author_name",
            Kind::Text,
            "The author's name as the commit has it.",
        )
        .private()
        .source("git %an"),
        Column::new(
            "recorded_author_email",
            Kind::Text,
            "The author's address as the commit has it.",
        )
        .private()
        .source("git %ae"),
        Column::new(
            "subject",
            Kind::Text,
            "The first paragraph of the message, on one line.",
        )
        .private()
        .source("git %s"),
        Column::new(
            "body",
            Kind::Text,
            "The rest of the message, without white space at its end.",
        )
        .private()
        .source("git %b"),
        Column::new(
            "insertions",
            Kind::Int,
            "Lines added in all its files; 0 for a merge, which is compared with nothing.",
        )
        .source("git log --numstat -M"),
        Column::new(
            "deletions",
            Kind::Int,
            "Lines removed in all its files; 0 for a merge.",
        )
        .source("git log --numstat -M"),
        Column::new(
            "files_changed",
            Kind::Int,
            "Rows that `git_file_changes` has of it.",
        )
        .source("git log --numstat -M"),
    ],
    home: Home::Lake,
    search: Some(Search {
        title: &["subject"],
        text: &["body"],
        sections: None,
        date: &["author_time", "committer_time"],
        wall_clock: false,
        fields: &[
            Field::new(Operator::Author, &["author_name", "author_email"]),
            Field::new(Operator::Path, &["path"]).of("git_file_changes"),
            Field::new(Operator::Repo, &["repository"]),
            Field::new(Operator::Subject, &["subject"]),
        ],
    }),
};

/// Who did something to a commit, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    /// Name.
    pub name: String,
    /// Address.
    pub email: String,
    /// When.
    pub time: Option<Instant>,
    /// Minutes ahead of UTC.
    pub offset_min: Option<i64>,
}

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitCommit {
    /// `_item`: repository and commit.
    pub item: String,
    /// `repository`.
    pub repository: String,
    /// `commit`.
    pub commit: String,
    /// `parents`.
    pub parents: Vec<String>,
    /// `author_…`.
    pub author: Signature,
    /// `committer_…`.
    pub committer: Signature,
    /// `recorded_author_name`.
    pub recorded_author_name: String,
    /// `recorded_author_email`.
    pub recorded_author_email: String,
    /// `subject`.
    pub subject: String,
    /// `body`.
    pub body: String,
    /// `insertions`.
    pub insertions: i64,
    /// `deletions`.
    pub deletions: i64,
    /// `files_changed`.
    pub files_changed: i64,
}

impl Row for GitCommit {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        &self.item
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Text(&self.repository),
            Value::Text(&self.commit),
            Value::TextList(&self.parents),
            Value::Text(&self.author.name),
            Value::Text(&self.author.email),
            Value::instant(self.author.time),
            Value::int(self.author.offset_min),
            Value::Text(&self.committer.name),
            Value::Text(&self.committer.email),
            Value::instant(self.committer.time),
            Value::int(self.committer.offset_min),
            Value::Text(&self.recorded_author_name),
            Value::Text(&self.recorded_author_email),
            Value::Text(&self.subject),
            Value::Text(&self.body),
            Value::Int(self.insertions),
            Value::Int(self.deletions),
            Value::Int(self.files_changed),
        ]
    }
}
