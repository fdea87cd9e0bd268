//! What of the lake a reader may see.
//!
//! - In: the datasets and kinds of columns that somebody was given. Out: whether a dataset or a column is there for them.
//! - A dataset that may not be seen is absent, as one that never was; a column that may not be read is there, and null.
//! - Not here: who may see what (`serve`), and how it is kept from them (`store::query`).

use crate::dataset::{Column, Dataset, Privacy};
use crate::datasets::audit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a reader may see; all of it by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Names of the datasets; all if absent.
    pub datasets: Option<BTreeSet<String>>,
    /// The columns from this kind on are null; none if absent.
    pub hidden: Option<Privacy>,
    /// Whether `audit` is not there, whichever datasets are.
    #[serde(default)]
    pub hides_audit: bool,
}

impl View {
    /// Whether a dataset is there.
    pub fn shows(&self, dataset: &str) -> bool {
        let is_withheld = self.hides_audit && dataset == audit::DATASET.name;
        let is_given = self
            .datasets
            .as_ref()
            .is_none_or(|datasets| datasets.contains(dataset));
        is_given && !is_withheld
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
        self.shows(dataset.name) && self.not_searched(dataset).is_none()
    }

    /// Why a dataset that is there cannot be searched, as a sentence without an end; nothing if it can.
    pub fn not_searched(&self, dataset: &Dataset) -> Option<String> {
        let name = dataset.name;
        match (&dataset.search, self.reads_all(dataset)) {
            (None, _) => Some(format!("`{name}` cannot be searched")),
            (Some(_), false) => Some(format!(
                "`{name}` cannot be searched with this token: some of what is read for it is masked"
            )),
            (Some(_), true) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets;

    #[test]
    fn what_people_wrote_and_where_it_lies_on_the_machine_is_not_for_the_public() {
        let public = View {
            hidden: Some(Privacy::Private),
            ..View::default()
        };
        let hidden: [(&str, &[&str]); 9] = [
            ("documents", &["path"]),
            ("emails", &["folders", "subject", "body_text"]),
            ("git_commits", &["subject", "body"]),
            ("git_repositories", &["path", "remote_url", "work_trees"]),
            ("locations", &["location", "folder"]),
            ("photos", &["path", "album", "problem"]),
            ("raw", &["path", "bytes"]),
            ("rejects", &["_item", "item", "reason", "raw"]),
            ("runs", &["cursor_after", "error", "reason"]),
        ];
        for (dataset, columns) in hidden {
            let all = datasets::by_name(dataset).unwrap().all_columns();
            let read: Vec<&str> = all
                .filter(|column| public.reads(column))
                .map(|column| column.name)
                .collect();
            for column in columns {
                assert!(!read.contains(column), "{dataset}.{column}");
            }
            assert!(!read.is_empty(), "{dataset}");
        }
        // Any other column whose words speak of a path must be looked at, and named above or here.
        let known = [
            "document_links.kind",
            "git_file_changes",
            "git_repositories.repository",
        ];
        for dataset in datasets::ALL {
            for column in dataset.all_columns().filter(|column| public.reads(column)) {
                let is_known = known.iter().any(|known| {
                    *known == dataset.name || *known == format!("{}.{}", dataset.name, column.name)
                });
                let speaks = column.doc.to_lowercase().contains("path");
                assert!(is_known || !speaks, "{}.{}", dataset.name, column.name);
            }
        }
    }

    #[test]
    fn why_a_dataset_cannot_be_searched_is_told() {
        let (owner, public) = (
            View::default(),
            View {
                hidden: Some(Privacy::Private),
                ..View::default()
            },
        );
        let why = |view: &View, name: &str| view.not_searched(datasets::by_name(name).unwrap());
        assert_eq!(why(&owner, "emails"), None);
        assert_eq!(why(&owner, "runs").as_deref(), Some("`runs` cannot be searched"));
        assert!(why(&public, "emails").unwrap().contains("masked"));
        assert!(!public.searches(datasets::by_name("emails").unwrap()));
    }

    #[test]
    fn the_audit_is_there_for_its_owner_and_absent_where_it_is_withheld_even_if_named() {
        assert!(View::default().shows("audit"));
        let named = |hides_audit| View {
            datasets: Some(["audit", "photos"].map(str::to_owned).into()),
            hides_audit,
            ..View::default()
        };
        assert!(named(false).shows("audit"));
        assert!(!named(true).shows("audit") && named(true).shows("photos"));
        let withheld = View {
            hides_audit: true,
            ..View::default()
        };
        assert!(!withheld.shows("audit") && withheld.shows("photos"));
        // It goes to another process as it is; one that was written before this was known is the owner's.
        let text = serde_json::to_string(&withheld).unwrap();
        assert_eq!(serde_json::from_str::<View>(&text).unwrap(), withheld);
        let before = r#"{"datasets":null,"hidden":null}"#;
        assert_eq!(serde_json::from_str::<View>(before).unwrap(), View::default());
    }
}
