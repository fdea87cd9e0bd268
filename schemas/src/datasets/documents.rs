//! `documents`: one row a text file or office document, with its text.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::names::Instant;
use crate::rows::{Row, Value};
use crate::search::{Field, Operator, Search};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "documents",
    about: "One row a document, equal files once: Markdown, text, HTML, org, notebooks, PDF and office files, with their text.",
    key: &["_source", "_item"],
    unit: "_item",
    columns: &[
        Column::new(
            "project",
            Kind::Text,
            "Name in the nearest manifest (Cargo.toml, package.json, pyproject.toml, go.mod) above it, else of the nearest repository.",
        )
        .nullable(),
        Column::new(
            "path",
            Kind::Text,
            "Absolute path of the file; of equal files the first by name, `locations` has all.",
        )
        .private(),
        Column::new(
            "title",
            Kind::Text,
            "Title that it gives itself, else its first heading of level 1, else the name of the file.",
        )
        .private(),
        Column::new("media_type", Kind::Text, "Media type, by the name of the file.").source("RFC 2046"),
        Column::new(
            "text",
            Kind::Text,
            "Its text: of text files all of it, else what a reader sees. Lines in other datasets are counted in it.",
        )
        .private(),
        Column::new("sha256", Kind::Text, "SHA-256 of the file, hexadecimal; the same as `_item`.").source("FIPS 180-4"),
        Column::new("size_bytes", Kind::Int, "Size of the file in bytes."),
        Column::new("words", Kind::Int, "Words of the text: what blanks separate."),
        Column::new("modified_at", Kind::Instant, "When the file was last changed; UTC.").nullable(),
    ],
    home: Home::Lake,
    search: Some(Search {
        title: &["title"],
        text: &["text"],
        sections: Some("document_sections"),
        date: &["modified_at"],
        wall_clock: false,
        fields: &[
            Field::new(Operator::Filename, &["path"]),
            Field::new(Operator::Path, &["path"]),
            Field::new(Operator::Project, &["project"]),
            Field::new(Operator::Subject, &["title"]),
        ],
    }),
};

/// One document; fields are the columns of their names.
#[expect(missing_docs, reason = "the columns' sentences explain them")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<'a> {
    pub item: &'a str,
    pub project: Option<&'a str>,
    pub path: &'a str,
    pub title: &'a str,
    pub media_type: &'a str,
    pub text: &'a str,
    pub size_bytes: i64,
    pub words: i64,
    pub modified_at: Option<Instant>,
}

impl Row for Document<'_> {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        self.item
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::text(self.project),
            Value::Text(self.path),
            Value::Text(self.title),
            Value::Text(self.media_type),
            Value::Text(self.text),
            Value::Text(self.item),
            Value::Int(self.size_bytes),
            Value::Int(self.words),
            Value::instant(self.modified_at),
        ]
    }
}
