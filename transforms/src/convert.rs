//! What a converter is: originals of some media types → rows, or a reason.

use arrow_array::RecordBatch;
use schemas::{Dataset, Provenance, RawItem, Reject};

/// Turns originals of some media types into rows.
pub struct Converter {
    /// The media types it takes, such as `message/rfc822`.
    pub media_types: &'static [&'static str],
    /// The datasets it makes rows of; the first is the main one, with one row an item.
    pub datasets: &'static [&'static Dataset],
    /// Whether its parsers may abort the process or eat all memory (F11), so that it must run in one of its own.
    pub isolated: bool,
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

impl Converted {
    /// Adds what became of others.
    pub fn add(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.rejects.extend(other.rejects);
    }
}
