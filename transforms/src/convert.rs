//! What a converter is: originals of one media type → rows, or a reason.

use arrow_array::RecordBatch;
use schemas::{Dataset, Provenance, RawItem, Reject};

/// Turns originals of one media type into rows.
pub struct Converter {
    /// The media type it takes, such as `message/rfc822`.
    pub media_type: &'static str,
    /// The datasets it makes rows of; the first is the main one, with one row an item.
    pub datasets: &'static [&'static Dataset],
    /// Converts originals, on all cores. An original that cannot be converted becomes a reject.
    pub convert: fn(&[RawItem], &Provenance) -> Converted,
}

/// What became of some originals.
#[derive(Debug, Default)]
pub struct Converted {
    /// Rows, each batch of one dataset.
    pub rows: Vec<(&'static Dataset, RecordBatch)>,
    /// Items that gave no row, with the reason.
    pub rejects: Vec<Reject>,
}
