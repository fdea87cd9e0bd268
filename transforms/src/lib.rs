//! Originals → rows of datasets; rows → rows. Pure: the same input gives the same output.
//!
//! - In: [`schemas::RawItem`]s of one media type. Out: record batches of one or more datasets, and rejects.
//! - Not here: clock, files, network, randomness, storage.

pub mod chunk;
pub mod convert;
pub mod convert_document;
pub mod convert_mail;
pub mod error;
mod html;
mod text;
pub mod thread_emails;
pub mod touch_emails;

pub use convert::{Converted, Converter};
pub use error::TransformError;

/// Every converter.
pub const CONVERTERS: &[&Converter] = &[
    &convert_mail::CONVERTER,
    &convert_document::PLAIN,
    &convert_document::PACKED,
];

/// The converter of a media type, with that type as it lists it.
pub fn converter_of(media_type: &str) -> Option<(&'static Converter, &'static str)> {
    CONVERTERS.iter().find_map(|converter| {
        let mut types = converter.media_types.iter();
        types
            .find(|known| **known == media_type)
            .map(|known| (*converter, *known))
    })
}
