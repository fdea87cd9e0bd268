//! The description of a table: its name, its key, its columns, and the words that explain them.
//!
//! REST, MCP, exports, reference pages and the Parquet metadata print these sentences; nobody writes
//! them twice.

use crate::datasets::rejects;
use crate::search::Search;
use serde::{Deserialize, Serialize};

/// One table that dkc keeps.
#[derive(Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Name in SQL, snake case, plural.
    pub name: &'static str,
    /// One sentence: what a row is.
    pub about: &'static str,
    /// Columns that name a row; no two live rows share them.
    pub key: &'static [&'static str],
    /// The text column whose value names what is replaced or removed at once: a new version of an item
    /// replaces all rows that have the same value there, and the same source.
    pub unit: &'static str,
    /// The columns of its own, in order; [`PROVENANCE`] comes before them in the table.
    pub columns: &'static [Column],
    /// Where it is kept.
    pub home: Home,
    /// How it is searched, if it is.
    pub search: Option<Search>,
}

impl Dataset {
    /// All columns as the table has them: [`PROVENANCE`] first (lake tables only), then its own.
    pub fn all_columns(&self) -> impl Iterator<Item = &'static Column> {
        let first: &'static [Column] = match self.home {
            // What was rejected may be no item: then a place stands for it.
            Home::Lake if self.name == rejects::DATASET.name => rejects::PROVENANCE,
            Home::Lake => PROVENANCE,
            Home::Relational => &[],
        };
        first.iter().chain(self.columns.iter())
    }
}

/// Where a dataset is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// Parquet files under a DuckLake catalog; every row carries [`PROVENANCE`].
    Lake,
    /// A table of the state database: things that change without being collected, such as runs.
    Relational,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// A list of texts; never null inside.
    TextList,
    /// A signed 64-bit integer.
    Int,
    /// A 64-bit float.
    Float,
    /// True or false.
    Bool,
    /// A moment: microseconds since 1970-01-01T00:00:00Z.
    Instant,
    /// Bytes.
    Bytes,
}

/// For whom a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privacy {
    /// For whoever may see the dataset.
    Open,
    /// What a person wrote or is known by, and where on their machine something lies.
    Private,
    /// What may hold a password or a key.
    Secret,
}

/// One column of a dataset.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    /// Name in SQL, snake case.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it means, in a sentence.
    pub doc: &'static str,
    /// Whether it may be absent.
    pub nullable: bool,
    /// The standard or program that defines it.
    pub source: Option<&'static str>,
    /// For whom it is: masked for roles that may not see it.
    pub privacy: Privacy,
}

impl Column {
    /// A column that is always there.
    pub const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            doc,
            nullable: false,
            source: None,
            privacy: Privacy::Open,
        }
    }

    /// The same column, which may be absent.
    pub const fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// The same column, with the standard that defines it.
    pub const fn source(mut self, source: &'static str) -> Self {
        self.source = Some(source);
        self
    }

    /// The same column, marked as private.
    pub const fn private(mut self) -> Self {
        self.privacy = Privacy::Private;
        self
    }

    /// The same column, marked as one that may hold secrets.
    pub const fn secret(mut self) -> Self {
        self.privacy = Privacy::Secret;
        self
    }
}

/// The columns that every lake row starts with: where it came from and which run made it.
pub const PROVENANCE: &[Column] = &[SOURCE, ITEM, RUN];

/// `_source`.
pub(crate) const SOURCE: Column =
    Column::new("_source", Kind::Text, "Name of the pipeline that collected it.");

/// `_item`.
pub(crate) const ITEM: Column = Column::new(
    "_item",
    Kind::Text,
    "Stable id of the item within its source; the same in every dataset made from it.",
);

/// `_run`.
pub(crate) const RUN: Column = Column::new(
    "_run",
    Kind::Text,
    "Id of the run that wrote the row, as in `runs`.",
);
