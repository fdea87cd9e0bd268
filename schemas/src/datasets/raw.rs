//! `raw`: every original, as fetched.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::item::{Original, RawItem};
use crate::rows::{Row, Value};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "raw",
    about: "One row an original: the bytes as they were fetched. Rows are never removed when the source forgets them; but for files kept by reference, of which nothing is left then.",
    key: &["_source", "_item"],
    unit: "_item",
    columns: &[
        Column::new("media_type", Kind::Text, "Media type; it chooses the converter.").source("RFC 2046"),
        Column::new("fetched_at", Kind::Instant, "When it was fetched; UTC."),
        Column::new("sha256", Kind::Text, "SHA-256 of the bytes, hexadecimal.").source("FIPS 180-4"),
        Column::new("size_bytes", Kind::Int, "Size of the original in bytes."),
        Column::new(
            "bytes",
            Kind::Bytes,
            "The original; absent for local files kept by reference.",
        )
        .nullable()
        .secret(),
        Column::new(
            "path",
            Kind::Text,
            "Absolute path of a local file kept by reference.",
        )
        .nullable()
        .private(),
    ],
    home: Home::Lake,
    search: None,
};

/// A [`RawItem`] with its digest written out, ready to be a row.
pub struct RawRow<'a> {
    raw: &'a RawItem,
    sha256: String,
}

impl<'a> From<&'a RawItem> for RawRow<'a> {
    fn from(raw: &'a RawItem) -> Self {
        Self {
            raw,
            sha256: raw.sha256.to_string(),
        }
    }
}

impl Row for RawRow<'_> {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        &self.raw.item
    }

    fn values(&self) -> Vec<Value<'_>> {
        let (size, bytes, path) = match &self.raw.original {
            Original::Bytes(bytes) => (bytes.len() as i64, Value::Bytes(bytes), Value::Null),
            Original::File { path, size } => (*size as i64, Value::Null, Value::Text(path)),
        };
        vec![
            Value::Text(self.raw.media_type),
            Value::Instant(self.raw.fetched_at),
            Value::Text(&self.sha256),
            Value::Int(size),
            bytes,
            path,
        ]
    }
}
