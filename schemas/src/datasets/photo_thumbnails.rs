//! `photo_thumbnails`: a small picture of each photo that could be decoded.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::rows::{Row, Value};
use bytes::Bytes;

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "photo_thumbnails",
    about: "One row a photo that could be decoded, or that carries a small picture of itself.",
    key: &["_source", "_item"],
    unit: "_item",
    columns: &[
        Column::new(
            "jpeg",
            Kind::Bytes,
            "The small picture, turned for display, as JPEG.",
        )
        .private(),
        Column::new("width", Kind::Int, "Its width in pixels."),
        Column::new("height", Kind::Int, "Its height in pixels."),
    ],
    home: Home::Lake,
    search: None,
};

/// One small picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhotoThumbnail {
    /// `_item`: the photo.
    pub item: String,
    /// `jpeg`.
    pub jpeg: Bytes,
    /// `width`.
    pub width: u32,
    /// `height`.
    pub height: u32,
}

impl Row for PhotoThumbnail {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        &self.item
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Bytes(&self.jpeg),
            Value::Int(self.width.into()),
            Value::Int(self.height.into()),
        ]
    }
}
