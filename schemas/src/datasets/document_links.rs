//! `document_links`: what each document points to.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::rows::{Row, Value};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "document_links",
    about: "One row a link in a document that is written in Markdown or org, or a notebook or canvas.",
    key: &["_source", "_item", "ordinal"],
    unit: "_item",
    columns: &[
        Column::new(
            "ordinal",
            Kind::Int,
            "Position among the links of the document, from 0.",
        ),
        Column::new(
            "kind",
            Kind::Text,
            "`wikilink` and `embed` as Obsidian writes them, `image`, `url` with a scheme, `path` without.",
        ),
        Column::new("target", Kind::Text, "Where it leads, as written.").private(),
        Column::new("text", Kind::Text, "What is shown for it.")
            .nullable()
            .private(),
        Column::new("line", Kind::Int, "Its line in the text of the document, from 1."),
    ],
    home: Home::Lake,
    search: None,
};

/// One link; fields are the columns of their names.
#[expect(missing_docs, reason = "the columns' sentences explain them")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentLink<'a> {
    pub item: &'a str,
    pub ordinal: i64,
    pub kind: &'a str,
    pub target: &'a str,
    pub text: Option<&'a str>,
    pub line: i64,
}

impl Row for DocumentLink<'_> {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        self.item
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Int(self.ordinal),
            Value::Text(self.kind),
            Value::Text(self.target),
            Value::text(self.text),
            Value::Int(self.line),
        ]
    }
}
