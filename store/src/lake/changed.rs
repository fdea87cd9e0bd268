//! Which rows of a table came and which left between two snapshots, for whatever follows the lake.
//!
//! - In: the files of both snapshots. Out: the rows that are in files, or parts of files, of only one of them.
//! - Rows that were moved into another file leave and come: whoever follows must not mind to see a row again.
//! - Not here: which column differs (`query::past`).

use crate::error::StoreError;
use crate::lake::as_of::AsOf;
use crate::lake::catalog::{Catalog, LiveFile};
use crate::lake::data_file::{self, Select};
use crate::lake::index;
use arrow_array::RecordBatch;
use hashbrown::HashMap;
use schemas::Dataset;
use tokio::sync::mpsc;

/// What became of a table.
#[derive(Debug)]
pub struct Changed {
    /// The snapshot up to which this tells.
    pub until: i64,
    /// Whether all rows come, because it is not known what was there before.
    pub is_whole: bool,
    /// Keys of rows that left; such a row may come again.
    pub left: Vec<RecordBatch>,
    /// Rows that came, batch by batch as they are taken.
    pub came: mpsc::Receiver<Result<RecordBatch, StoreError>>,
}

/// What became of a table since a snapshot, with these columns of the rows that came; without a snapshot, or with one that
/// was forgotten, all rows come.
///
/// # Errors
/// [`StoreError`] when the catalog or a file cannot be read; a file of rows that came tells through the channel.
pub(crate) async fn changed(
    catalog: &Catalog,
    dataset: &'static Dataset,
    columns: Vec<&'static str>,
    since: Option<i64>,
) -> Result<Changed, StoreError> {
    let until = catalog.head().await?.id;
    let known = match since {
        Some(since) => catalog.resolve(AsOf::Snapshot(since)).await.ok(),
        None => None,
    };
    let then = match known {
        Some(since) => catalog.files_at(dataset, since, None).await?,
        None => Vec::new(),
    };
    let now = catalog.files_at(dataset, until, None).await?;
    let (files, left) = tokio::task::spawn_blocking(move || compare(dataset, then, now)).await??;
    let (sender, came) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        let batches = files
            .iter()
            .flat_map(|file| index::read_live_or_error(file, Some(&columns)));
        for batch in batches {
            let batch = batch.and_then(|batch| data_file::to_columns(dataset, &columns, &batch));
            // Whoever stopped taking has seen enough.
            if sender.blocking_send(batch).is_err() {
                break;
            }
        }
    });
    Ok(Changed {
        until,
        is_whole: known.is_none(),
        left,
        came,
    })
}

/// The files whose rows all came, and the keys of rows that left.
///
/// # Errors
/// [`StoreError`] when a file cannot be read.
fn compare(
    dataset: &'static Dataset,
    then: Vec<LiveFile>,
    now: Vec<LiveFile>,
) -> Result<(Vec<LiveFile>, Vec<RecordBatch>), StoreError> {
    let mut before: HashMap<i64, LiveFile> = then.into_iter().map(|file| (file.id, file)).collect();
    let (mut came, mut left) = (Vec::new(), Vec::new());
    let deletes = |file: &LiveFile| match &file.deletes {
        Some((_, path)) => data_file::read_deletes(path),
        None => Ok(Vec::new()),
    };
    for file in now {
        let Some(then) = before.remove(&file.id) else {
            came.push(file);
            continue;
        };
        if then.deletes == file.deletes {
            continue;
        }
        let gone_before = deletes(&then)?;
        let mut gone = deletes(&file)?;
        gone.retain(|position| gone_before.binary_search(position).is_err());
        for batch in data_file::read(&file.path, Some(dataset.key), &Select::At(&gone))? {
            left.push(batch?);
        }
    }
    for file in before.into_values() {
        for batch in index::read_live(&file, Some(dataset.key))? {
            left.push(batch?);
        }
    }
    Ok((came, left))
}
