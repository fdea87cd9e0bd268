//! Every dataset, in the order the reference lists them. A new one is a file and its two lines here.

pub mod email_attachments;
pub mod emails;
pub mod locations;
pub mod raw;
pub mod rejects;
pub mod runs;

use crate::dataset::Dataset;

/// All datasets, alphabetical.
pub const ALL: &[&Dataset] = &[
    &email_attachments::DATASET,
    &emails::DATASET,
    &locations::DATASET,
    &raw::DATASET,
    &rejects::DATASET,
    &runs::DATASET,
];

/// The dataset of that name.
pub fn by_name(name: &str) -> Option<&'static Dataset> {
    ALL.iter().copied().find(|dataset| dataset.name == name)
}
