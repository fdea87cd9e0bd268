//! The outside world → originals (bytes), or rows where the source speaks rows.
//!
//! - In: one `[[pipeline]]` section's `source` table, what is known already, a cursor.
//! - Out: batches pushed into a [`Sink`], each with the cursor that is true once it is stored.
//! - Not here: conversion, storage, schedules. A collector never changes its source.

pub mod collect;
pub mod documents;
pub mod error;
mod file_run;
pub mod git;
pub mod imap;
mod local_files;
mod mailbox;
mod mailbox_name;
pub mod maildir;
pub mod mbox;
pub mod photos;
mod places;

pub use collect::{Batch, Collector, Descriptor, Known, Progress, Sink, StoredRows};
pub use error::{CollectError, ConfigError};

/// Every collector, in the order the reference lists them.
pub const ALL: &[&Descriptor] = &[
    &documents::DESCRIPTOR,
    &git::DESCRIPTOR,
    &imap::DESCRIPTOR,
    &maildir::DESCRIPTOR,
    &mbox::DESCRIPTOR,
    &photos::DESCRIPTOR,
];

/// The collector of that kind.
pub fn by_kind(kind: &str) -> Option<&'static Descriptor> {
    ALL.iter().copied().find(|descriptor| descriptor.kind == kind)
}
