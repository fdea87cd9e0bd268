//! What of the lake a reader may see.
//!
//! - In: the datasets and kinds of columns that somebody was given. Out: whether a dataset or a column is there for them.
//! - A dataset that may not be seen is absent, as one that never was; a column that may not be read is there, and null.
//! - Not here: who may see what (`serve`), and how it is kept from them (`store::query`).

use crate::dataset::{Column, Dataset, Privacy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a reader may see; all of it by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Names of the datasets; all if absent.
    pub datasets: Option<BTreeSet<String>>,
    /// The columns from this kind on are null; none if absent.
    pub hidden: Option<Privacy>,
}

impl View {
    /// Whether a dataset is there.
    pub fn shows(&self, dataset: &str) -> bool {
        self.datasets
            .as_ref()
            .is_none_or(|datasets| datasets.contains(dataset))
    }

    /// Whether a column can be read.
    pub fn reads(&self, column: &Column) -> bool {
        self.hidden.is_none_or(|hidden| column.privacy < hidden)
    }

    /// Whether all columns of a dataset can be read.
    pub fn reads_all(&self, dataset: &Dataset) -> bool {
        dataset.all_columns().all(|column| self.reads(column))
    }

    /// Whether a dataset can be searched. What is found tells what is in the columns that are read for it.
    pub fn searches(&self, dataset: &Dataset) -> bool {
        self.shows(dataset.name) && dataset.search.is_some() && self.reads_all(dataset)
    }
}
