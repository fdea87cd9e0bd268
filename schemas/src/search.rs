//! How a dataset is searched: what of a row is read, and which operators of the query language it answers.
//!
//! - Not here: the language itself, and how an operator becomes a filter (`store::search`).

/// How a dataset is searched.
#[derive(Debug, PartialEq, Eq)]
pub struct Search {
    /// Columns by which a hit is named; the first that is there counts.
    pub title: &'static [&'static str],
    /// Text columns that are read, in this order; lists of texts too.
    pub text: &'static [&'static str],
    /// Dataset that says, item by item, where the sections of the text begin.
    pub sections: Option<&'static str>,
    /// Columns that say when; the first that is there counts.
    pub date: &'static [&'static str],
    /// Whether these show the clock of the place instead of UTC.
    pub wall_clock: bool,
    /// Operators that it answers beside those of date and dataset, alphabetical.
    pub fields: &'static [Field],
}

/// An operator, and where a dataset has what it asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// The operator.
    pub operator: Operator,
    /// Columns; one that fits is enough. Of [`Operator::Near`] the latitude and the longitude.
    pub columns: &'static [&'static str],
    /// The dataset that has the columns, if it is another one; rows of the same `_item` belong together.
    pub of: Option<&'static str>,
}

impl Field {
    /// A field in columns of the dataset itself.
    pub const fn new(operator: Operator, columns: &'static [&'static str]) -> Self {
        Self {
            operator,
            columns,
            of: None,
        }
    }

    /// The same, with its columns in another dataset.
    pub const fn of(mut self, dataset: &'static str) -> Self {
        self.of = Some(dataset);
        self
    }
}

impl Search {
    /// Where it has what an operator asks for.
    pub fn field(&self, operator: Operator) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.operator == operator)
    }

    /// Whether rows can be told apart by an operator.
    pub fn answers(&self, operator: Operator) -> bool {
        operator.is_general() || self.field(operator).is_some()
    }
}

/// What is written before a colon in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// `after:`
    After,
    /// `author:`
    Author,
    /// `before:`
    Before,
    /// `camera:`
    Camera,
    /// `date:`
    Date,
    /// `filename:`
    Filename,
    /// `from:`
    From,
    /// `has:`
    Has,
    /// `in:`
    In,
    /// `list:`
    List,
    /// `near:`
    Near,
    /// `path:`
    Path,
    /// `project:`
    Project,
    /// `repo:`
    Repo,
    /// `subject:`
    Subject,
    /// `to:`
    To,
}

impl Operator {
    /// All, alphabetical.
    pub const ALL: &[Self] = &[
        Self::After,
        Self::Author,
        Self::Before,
        Self::Camera,
        Self::Date,
        Self::Filename,
        Self::From,
        Self::Has,
        Self::In,
        Self::List,
        Self::Near,
        Self::Path,
        Self::Project,
        Self::Repo,
        Self::Subject,
        Self::To,
    ];

    /// As it is written, without the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::After => "after",
            Self::Author => "author",
            Self::Before => "before",
            Self::Camera => "camera",
            Self::Date => "date",
            Self::Filename => "filename",
            Self::From => "from",
            Self::Has => "has",
            Self::In => "in",
            Self::List => "list",
            Self::Near => "near",
            Self::Path => "path",
            Self::Project => "project",
            Self::Repo => "repo",
            Self::Subject => "subject",
            Self::To => "to",
        }
    }

    /// What it finds, in words that follow "rows whose".
    pub const fn about(self) -> &'static str {
        match self {
            Self::After => "date is this one or later",
            Self::Author => "author's name or address has this",
            Self::Before => "date is earlier",
            Self::Camera => "camera or lens has this name",
            Self::Date => "date lies within this day, month, year or span",
            Self::Filename => "file name, or that of an attachment, has this",
            Self::From => "sender's name or address has this",
            Self::Has => "attachments are there",
            Self::In => "dataset is one of these",
            Self::List => "mailing list has this in its id",
            Self::Near => "place is no farther than this many kilometres away",
            Self::Path => "path, or that of a changed file, has this",
            Self::Project => "project has this name",
            Self::Repo => "repository has this name",
            Self::Subject => "subject or title has this",
            Self::To => "recipients' addresses have this, copies too",
        }
    }

    /// How it is written.
    pub const fn example(self) -> &'static str {
        match self {
            Self::After => "after:2024-03",
            Self::Author => "author:jane",
            Self::Before => "before:2024-03-15",
            Self::Camera => "camera:canon",
            Self::Date => "date:2024-01..2024-03",
            Self::Filename => "filename:*.pdf",
            Self::From => "from:jane@example.org",
            Self::Has => "has:attachment",
            Self::In => "in:emails,documents",
            Self::List => "list:debian-devel",
            Self::Near => "near:38.72,-9.14,25",
            Self::Path => "path:src/*.rs",
            Self::Project => "project:website",
            Self::Repo => "repo:linux",
            Self::Subject => "subject:\"annual report\"",
            Self::To => "to:john",
        }
    }

    /// Whether every searchable dataset answers it.
    pub const fn is_general(self) -> bool {
        matches!(self, Self::After | Self::Before | Self::Date | Self::In)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Column, Dataset, Kind};
    use crate::datasets;

    fn searchable() -> impl Iterator<Item = (&'static Dataset, &'static Search)> {
        datasets::ALL
            .iter()
            .filter_map(|dataset| dataset.search.as_ref().map(|search| (*dataset, search)))
    }

    fn column<'a>(dataset: &'a Dataset, name: &str) -> &'a Column {
        let found = dataset.all_columns().find(|column| column.name == name);
        found.unwrap_or_else(|| panic!("{} has no column {name}", dataset.name))
    }

    #[test]
    fn what_is_searched_is_there_and_of_the_right_kind() {
        let mut names = Vec::new();
        for (dataset, search) in searchable() {
            names.push(dataset.name);
            assert!(!search.title.is_empty(), "{}", dataset.name);
            for name in search.title {
                assert_eq!(column(dataset, name).kind, Kind::Text, "{name}");
            }
            for name in search.text {
                assert!(
                    matches!(column(dataset, name).kind, Kind::Text | Kind::TextList),
                    "{name}"
                );
            }
            assert!(!search.date.is_empty(), "{}", dataset.name);
            for name in search.date {
                assert_eq!(column(dataset, name).kind, Kind::Instant, "{name}");
            }
            if let Some(name) = search.sections {
                let sections = datasets::by_name(name).expect("sections are a dataset");
                assert_eq!(column(sections, "first_line").kind, Kind::Int);
                assert_eq!(column(sections, "heading").kind, Kind::Text);
            }
            for field in search.fields {
                let home = field.of.map_or(dataset, |name| datasets::by_name(name).unwrap());
                let kinds: Vec<Kind> = field.columns.iter().map(|name| column(home, name).kind).collect();
                match field.operator {
                    Operator::Near => assert_eq!(kinds, [Kind::Float, Kind::Float]),
                    Operator::Has => assert_eq!(kinds, [Kind::Int]),
                    _ => assert!(
                        kinds
                            .iter()
                            .all(|kind| matches!(kind, Kind::Text | Kind::TextList))
                    ),
                }
                assert!(!field.columns.is_empty() && !field.operator.is_general());
            }
        }
        assert_eq!(names, ["documents", "emails", "git_commits", "photos"]);
    }

    #[test]
    fn every_operator_is_answered_and_listed_in_order() {
        for operator in Operator::ALL {
            assert!(
                searchable().any(|(_, search)| search.answers(*operator)),
                "{operator:?}"
            );
            assert!(operator.example().starts_with(&format!("{}:", operator.name())));
        }
        assert!(Operator::ALL.is_sorted_by(|a, b| a.name() < b.name()));
        for (dataset, search) in searchable() {
            assert!(
                search.fields.is_sorted_by(|a, b| a.operator < b.operator),
                "{}",
                dataset.name
            );
        }
    }
}
