//! `email_attachments`: one row an attachment of a message.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::names::Digest;
use crate::rows::{Row, Value};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "email_attachments",
    about: "One row a part of a mail message that is not its text; the bytes are in the message's original.",
    key: &["_source", "_item", "ordinal"],
    unit: "_item",
    columns: &[
        Column::new(
            "ordinal",
            Kind::Int,
            "Position among the attachments of the message, from 0.",
        ),
        Column::new("filename", Kind::Text, "File name the sender gave it, decoded.")
            .nullable()
            .private()
            .source("RFC 2183 §2.3, RFC 2231"),
        Column::new("media_type", Kind::Text, "Declared media type, lower case.").source("RFC 2045 §5"),
        Column::new(
            "disposition",
            Kind::Text,
            "`attachment` or `inline`, as declared.",
        )
        .nullable()
        .source("RFC 2183"),
        Column::new(
            "content_id",
            Kind::Text,
            "Content-ID without angle brackets, by which HTML refers to it.",
        )
        .nullable()
        .source("RFC 2045 §7"),
        Column::new("size_bytes", Kind::Int, "Size in bytes once decoded."),
        Column::new("sha256", Kind::Text, "SHA-256 of the decoded bytes, hexadecimal.").source("FIPS 180-4"),
    ],
    home: Home::Lake,
    search: None,
};

/// One attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailAttachment {
    /// `_item`: the message.
    pub item: String,
    /// `ordinal`.
    pub ordinal: i64,
    /// `filename`.
    pub filename: Option<String>,
    /// `media_type`.
    pub media_type: String,
    /// `disposition`.
    pub disposition: Option<String>,
    /// `content_id`.
    pub content_id: Option<String>,
    /// `size_bytes`.
    pub size_bytes: i64,
    /// `sha256`, hexadecimal.
    pub sha256: String,
}

impl EmailAttachment {
    /// The `sha256` of decoded bytes.
    pub fn digest(bytes: &[u8]) -> String {
        Digest::of(bytes).to_string()
    }
}

impl Row for EmailAttachment {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        &self.item
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Int(self.ordinal),
            Value::text(self.filename.as_deref()),
            Value::Text(&self.media_type),
            Value::text(self.disposition.as_deref()),
            Value::text(self.content_id.as_deref()),
            Value::Int(self.size_bytes),
            Value::Text(&self.sha256),
        ]
    }
}
