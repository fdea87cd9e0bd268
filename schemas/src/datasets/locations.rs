//! `locations`: where each item was seen at its source, and with which fingerprint.
//!
//! It is the collectors' memory: what is listed here with the same version need not be read again.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::item::Location;
use crate::rows::{Row, Value};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "locations",
    about: "One row a place at a source where an item lies: a message in a folder, a file at a path.",
    key: &["_source", "location"],
    unit: "location",
    columns: &[
        Column::new(
            "location",
            Kind::Text,
            "Unique within the source: `FOLDER/UIDVALIDITY/UID` for IMAP, a path for files.",
        )
        .private(),
        Column::new("folder", Kind::Text, "Folder that holds it.").private(),
        Column::new(
            "version",
            Kind::Text,
            "Fingerprint; equal means unchanged, and the bytes are not read again.",
        ),
        Column::new("flags", Kind::TextList, "Flags and keywords at this place.").source("RFC 9051 §2.3.2"),
        Column::new(
            "received_at",
            Kind::Instant,
            "When the source received it there; UTC.",
        )
        .nullable(),
    ],
    home: Home::Lake,
    search: None,
};

impl Row for Location {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        &self.item
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Text(&self.location),
            Value::Text(&self.folder),
            Value::Text(&self.version),
            Value::TextList(&self.flags),
            Value::instant(self.received_at),
        ]
    }
}
