//! Every dataset, in the order the reference lists them. A new one is a file and its two lines here.

pub mod audit;
pub mod document_links;
pub mod document_sections;
pub mod documents;
pub mod email_attachments;
pub mod emails;
pub mod git_branches;
pub mod git_commits;
pub mod git_file_changes;
pub mod git_repositories;
pub mod locations;
pub mod photo_thumbnails;
pub mod photos;
pub mod raw;
pub mod rejects;
pub mod runs;

use crate::dataset::Dataset;

/// All datasets, alphabetical; `audit` is not one of them.
pub const ALL: &[&Dataset] = &[
    &document_links::DATASET,
    &document_sections::DATASET,
    &documents::DATASET,
    &email_attachments::DATASET,
    &emails::DATASET,
    &git_branches::DATASET,
    &git_commits::DATASET,
    &git_file_changes::DATASET,
    &git_repositories::DATASET,
    &locations::DATASET,
    &photo_thumbnails::DATASET,
    &photos::DATASET,
    &raw::DATASET,
    &rejects::DATASET,
    &runs::DATASET,
];

/// The tables that SQL has: [`ALL`], and [`audit`], which most readers are not told of.
pub fn tables() -> impl Iterator<Item = &'static Dataset> {
    ALL.iter().copied().chain([&audit::DATASET])
}

/// The table of that name.
pub fn table(name: &str) -> Option<&'static Dataset> {
    tables().find(|table| table.name == name)
}

/// The dataset of that name.
pub fn by_name(name: &str) -> Option<&'static Dataset> {
    ALL.iter().copied().find(|dataset| dataset.name == name)
}
