//! `get_resource_usage`: how much room the data takes, and how much there is.
//!
//! - Not here: other machines; what processes use. Nothing of that is collected (`get_uptime_status` says so).

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use schemas::datasets;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_resource_usage",
    about: "Tells bytes and rows of each dataset, and the free space of the disk that holds them.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/monitoring/resources",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ResourceUsage>(),
    example: "{}",
    output: Output::Json(|types| types.subschema_for::<Resources>()),
    toolset: &toolset::MONITORING,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&usage(call, parse(input)?).await?) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResourceUsage {}

/// What is used.
#[derive(Serialize, JsonSchema)]
struct Resources {
    /// The datasets, the largest first.
    datasets: Vec<DatasetSize>,
    /// Bytes of all these.
    bytes: i64,
    /// The disk of the data directory; absent if it cannot be asked.
    disk: Option<Disk>,
    /// What is not told here.
    notes: Vec<&'static str>,
}

/// How large a dataset is.
#[derive(Serialize, JsonSchema)]
struct DatasetSize {
    /// Its name.
    dataset: &'static str,
    /// Rows.
    rows: i64,
    /// Bytes of its files.
    bytes: i64,
    /// Its files.
    files: i64,
}

/// A disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Disk {
    /// Bytes of all of it.
    pub(super) bytes: u64,
    /// Bytes that dkc may still use.
    pub(super) free_bytes: u64,
    /// Of 100 parts, how many are free.
    pub(super) free_percent: u64,
}

impl Disk {
    /// A disk of so many bytes.
    pub(super) fn new(bytes: u64, free_bytes: u64) -> Self {
        let part = (bytes / 100).max(1);
        Self {
            bytes,
            free_bytes,
            free_percent: free_bytes / part,
        }
    }
}

async fn usage(call: Call<'_>, _: ResourceUsage) -> Result<Resources, Problem> {
    let head = call.gateway.lake.head();
    let shown = datasets::ALL
        .iter()
        .filter(|dataset| call.caller.view.shows(dataset.name));
    let mut datasets: Vec<DatasetSize> = shown
        .filter_map(|dataset| {
            let holding = head.holdings.get(dataset.name)?;
            Some(DatasetSize {
                dataset: dataset.name,
                rows: holding.rows,
                bytes: holding.bytes,
                files: holding.files,
            })
        })
        .collect();
    datasets.sort_by_key(|dataset| (std::cmp::Reverse(dataset.bytes), dataset.dataset));
    Ok(Resources {
        bytes: datasets.iter().map(|dataset| dataset.bytes).sum(),
        datasets,
        disk: disk_of(call.gateway.lake.store().data()).await?,
        notes: vec![
            "the index of search, older snapshots and the state database take room beside the datasets",
            "memory and processor of dkc are not measured; `systemctl status` or `top` tells them",
        ],
    })
}

/// The disk that a folder is on; none where the system does not tell.
pub(super) async fn disk_of(folder: &Path) -> Result<Option<Disk>, Problem> {
    let folder = folder.to_owned();
    let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&folder)).await;
    match asked.map_err(|error| Problem::internal(&error))? {
        Ok(told) => Ok(Some(Disk::new(
            told.f_blocks.saturating_mul(told.f_frsize),
            told.f_bavail.saturating_mul(told.f_frsize),
        ))),
        Err(error) => {
            tracing::warn!(%error, "the disk of the data directory cannot be asked");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_disk() {
        assert_eq!(Disk::new(1_000, 49).free_percent, 4);
        assert_eq!(Disk::new(1_000, 50).free_percent, 5);
        assert_eq!(Disk::new(0, 0).free_percent, 0);
        assert_eq!(Disk::new(u64::MAX, u64::MAX).free_percent, 100);
    }

    #[tokio::test]
    async fn a_folder_is_on_a_disk() {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk_of(folder.path()).await.unwrap().unwrap();
        assert!(disk.bytes >= disk.free_bytes && disk.bytes > 0, "{disk:?}");
        assert_eq!(disk_of(&folder.path().join("none")).await.unwrap(), None);
    }
}
