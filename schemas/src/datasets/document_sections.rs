//! `document_sections`: the parts of each document, from one heading to the next.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::rows::{Row, Value};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "document_sections",
    about: "One row a part of a document: a heading with what follows it up to the next one, a page, a sheet, or what stands before the first heading.",
    key: &["_source", "_item", "ordinal"],
    unit: "_item",
    columns: &[
        Column::new(
            "ordinal",
            Kind::Int,
            "Position among the sections of the document, from 0.",
        ),
        Column::new("heading", Kind::Text, "Its heading, without markup.")
            .nullable()
            .private(),
        Column::new(
            "section_id",
            Kind::Text,
            "The id that its heading begins with (`A14)`, `B011`); of a page `page-3`.",
        )
        .nullable(),
        Column::new("level", Kind::Int, "Level of the heading, from 1.").nullable(),
        Column::new(
            "under",
            Kind::TextList,
            "Headings that it lies under, the outermost first.",
        )
        .private(),
        Column::new(
            "first_line",
            Kind::Int,
            "Its first line in the text of the document, from 1.",
        ),
        Column::new("last_line", Kind::Int, "Its last line."),
        Column::new("text", Kind::Text, "Its lines, with the heading.").private(),
    ],
    home: Home::Lake,
    search: None,
};

/// One section; fields are the columns of their names.
#[expect(missing_docs, reason = "the columns' sentences explain them")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentSection<'a> {
    pub item: &'a str,
    pub ordinal: i64,
    pub heading: Option<&'a str>,
    pub section_id: Option<&'a str>,
    pub level: Option<i64>,
    pub under: Vec<String>,
    pub first_line: i64,
    pub last_line: i64,
    pub text: &'a str,
}

impl Row for DocumentSection<'_> {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        self.item
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Int(self.ordinal),
            Value::text(self.heading),
            Value::text(self.section_id),
            Value::int(self.level),
            Value::TextList(&self.under),
            Value::Int(self.first_line),
            Value::Int(self.last_line),
            Value::Text(self.text),
        ]
    }
}
