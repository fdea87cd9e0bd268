//! Originals → rows of datasets; rows → rows. Pure: the same input gives the same output.
//!
//! - In: [`schemas::RawItem`]s of one media type. Out: record batches of one or more datasets, and rejects.
//! - Not here: clock, files, network, randomness, storage.

pub mod convert;
pub mod convert_mail;
pub mod error;
pub mod thread_emails;
pub mod touch_emails;

pub use convert::{Converted, Converter};
pub use error::TransformError;

/// Every converter, one a media type.
pub const CONVERTERS: &[&Converter] = &[&convert_mail::CONVERTER];

/// The converter of a media type.
pub fn converter_of(media_type: &str) -> Option<&'static Converter> {
    CONVERTERS
        .iter()
        .copied()
        .find(|converter| converter.media_type == media_type)
}
