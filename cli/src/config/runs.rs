//! The table `runs`: how many runs at once, and how long their history is kept.

use schemars::JsonSchema;
use serde::Deserialize;
use std::num::{NonZeroU32, NonZeroUsize};

/// How many runs are at work at once, and how long their history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Runs {
    /// How many runs are at work at once.
    pub at_once: NonZeroUsize,
    /// How many of them may ask one server at once.
    pub per_host: NonZeroUsize,
    /// How many days the history of runs and their log are kept; the newest runs of a pipeline stay.
    pub keep_days: NonZeroU32,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            at_once: NonZeroUsize::MIN.saturating_add(1),
            per_host: NonZeroUsize::MIN,
            keep_days: NonZeroU32::MIN.saturating_add(89),
        }
    }
}
