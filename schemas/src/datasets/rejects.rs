//! `rejects`: what could not be taken in, and why.

use crate::dataset::{Column, Dataset, Home, ITEM, Kind, RUN, SOURCE};
use crate::item::Reject;
use crate::names::SourceName;
use crate::rows::{Row, Value};

/// The columns that its rows start with. Where no item could be read, `_item` is the place at the source.
pub(crate) const PROVENANCE: &[Column] = &[SOURCE, ITEM.private(), RUN];

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "rejects",
    about: "One row an item that could not be read or converted. A row goes away when its item can be.",
    key: &["_source", "_item"],
    unit: "_item",
    columns: &[
        Column::new("source", Kind::Text, "Name of the pipeline."),
        Column::new(
            "item",
            Kind::Text,
            "The item, or the place at the source where none could be read.",
        )
        .private(),
        Column::new("reason", Kind::Text, "Why, in a sentence.").private(),
        Column::new(
            "raw",
            Kind::Text,
            "The original: `sha256:…` when it is in `raw`, else where it lies at the source.",
        )
        .nullable()
        .private(),
    ],
    home: Home::Lake,
    search: None,
};

/// A [`Reject`] with the source it belongs to, ready to be a row.
pub struct RejectRow<'a> {
    /// The pipeline.
    pub source: &'a SourceName,
    /// What was rejected.
    pub reject: &'a Reject,
}

impl Row for RejectRow<'_> {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        &self.reject.item
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Text(self.source.as_str()),
            Value::Text(&self.reject.item),
            Value::Text(&self.reject.reason),
            Value::text(self.reject.raw.as_deref()),
        ]
    }
}
