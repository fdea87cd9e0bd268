//! Answers that were given, kept in memory for whoever asks the same: a page that is looked at again, a dashboard that asks every
//! few seconds, a client that keeps nothing itself.
//!
//! - In: the name of an answer (`etag`), which is another one as soon as the lake, the question, or what the caller may see is
//!   another. Out: the answer, if it was given before and others have not taken its place.
//! - Whoever is answered so was let in, counted and written down as anybody else (`rest`).
//! - Not here: answers that are streamed, which are as long as they like.

use super::etag::Tag;
use super::reply::Written;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;

/// Bytes of all answers that are kept.
const ALL_BYTES: u64 = 16 << 20;

/// An answer that is longer is not kept: it would take the place of many.
const MOST_BYTES: usize = 256 << 10;

/// As long as they mostly are.
const USUAL_BYTES: u64 = 16 << 10;

/// The answers.
#[derive(Clone)]
pub(super) struct Answers(Arc<Cache<Tag, Written, Bytes>>);

/// Counts the bytes of answers.
#[derive(Clone, Copy)]
struct Bytes;

impl Weighter<Tag, Written> for Bytes {
    fn weight(&self, tag: &Tag, written: &Written) -> u64 {
        (tag.as_str().len() + written.size()) as u64
    }
}

impl Answers {
    /// None yet.
    pub(super) fn new() -> Self {
        let usual = usize::try_from(ALL_BYTES / USUAL_BYTES).unwrap_or_default();
        Self(Arc::new(Cache::with_weighter(usual, ALL_BYTES, Bytes)))
    }

    /// The answer of a name.
    pub(super) fn get(&self, tag: &Tag) -> Option<Written> {
        self.0.get(tag)
    }

    /// Keeps an answer, unless it is long.
    pub(super) fn keep(&self, tag: &Tag, written: &Written) {
        if written.size() <= MOST_BYTES {
            self.0.insert(tag.clone(), written.clone());
        }
    }
}
