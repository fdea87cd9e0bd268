//! Fewer, larger files; no snapshots older than wanted; no files that nothing names.

use crate::error::StoreError;
use crate::lake::catalog::{Catalog, CommitInfo, EndedFile, LiveFile, On, TableChange, time_text};
use crate::lake::data_file::{self, DataFileWriter};
use crate::lake::index;
use schemas::{Dataset, Home};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;

/// Smaller files are merged; so are files of which rows were deleted.
const SMALL_BYTES: i64 = 32 << 20;

/// A merged file ends once this many bytes of rows, uncompressed, are in it.
const MERGED_BYTES: usize = 512 << 20;

/// How often a moment is looked for in which nobody commits.
const MOST_TRIES: usize = 20;

/// What a compaction came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Data files before, of all tables.
    pub files_before: usize,
    /// Data files after.
    pub files_after: usize,
    /// Snapshots forgotten.
    pub snapshots_expired: u64,
    /// Files deleted from disk.
    pub files_deleted: usize,
}

/// Merges small files in one snapshot, then forgets snapshots older than `expire_before` and deletes
/// the files that only they used.
///
/// # Errors
/// [`StoreError`] when a file cannot be read or written. What was committed until then stays; the rest
/// is done by the next call.
pub async fn compact(catalog: &Catalog, expire_before: jiff::Timestamp) -> Result<Compacted, StoreError> {
    let base = catalog.head().await?;
    let mut compacted = Compacted::default();
    let mut changes = Vec::new();
    for dataset in schemas::datasets::ALL
        .iter()
        .copied()
        .filter(|d| d.home == Home::Lake)
    {
        let files = catalog.files_at(dataset, base.id, None).await?;
        compacted.files_before += files.len();
        let worn: Vec<LiveFile> = files
            .iter()
            .filter(|f| f.size < SMALL_BYTES || f.deleted > 0)
            .cloned()
            .collect();
        let worth_it = worn.len() > 1 || worn.iter().any(|f| f.deleted > 0);
        if !worth_it {
            compacted.files_after += files.len();
            continue;
        }
        let (catalog, kept) = (catalog.clone(), files.len() - worn.len());
        let change = tokio::task::spawn_blocking(move || merge(&catalog, dataset, &worn)).await??;
        compacted.files_after += kept + change.added.len();
        changes.push(change);
    }
    if !changes.is_empty() {
        let info = CommitInfo {
            rearranged: true,
            ..CommitInfo::default()
        };
        // Whoever deleted from one of these files meanwhile was quicker; these are swept, and merged next time.
        match catalog.commit(base, On::Newest, &changes, "compact", &info).await {
            Err(StoreError::Conflict { .. }) => remove(catalog, &changes)?,
            done => {
                done?;
            }
        }
    }
    compacted.snapshots_expired = expire(catalog, &time_text(expire_before)).await?;
    let mut deleted = Vec::new();
    for (name, path) in catalog.scheduled().await? {
        match std::fs::remove_file(&path) {
            Ok(()) => compacted.files_deleted += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io("delete", &path)(error)),
        }
        deleted.push(name);
    }
    catalog.forget_scheduled(&deleted).await?;
    Ok(compacted)
}

/// Deletes files that were written and did not become part of the lake.
fn remove(catalog: &Catalog, changes: &[TableChange]) -> Result<(), StoreError> {
    for change in changes {
        for file in &change.added {
            let path = catalog.directory(change.dataset).join(&file.name);
            std::fs::remove_file(&path).map_err(StoreError::io("delete", &path))?;
        }
    }
    Ok(())
}

/// Forgets snapshots older than `before`. Returns how many.
async fn expire(catalog: &Catalog, before: &str) -> Result<u64, StoreError> {
    for _ in 0..MOST_TRIES {
        let base = catalog.head().await?;
        let snapshots = catalog.snapshots().await?;
        if !snapshots
            .iter()
            .skip(1)
            .any(|(_, time, _, _)| time.as_str() < before)
        {
            return Ok(0);
        }
        // The cursors of sources that have been quiet must outlive the snapshots that carry them.
        let mut cursors = BTreeMap::new();
        for (_, _, _, info) in &snapshots {
            for (source, cursor) in &info.cursors {
                cursors.entry(source.clone()).or_insert_with(|| cursor.clone());
            }
        }
        let info = CommitInfo {
            cursors,
            rearranged: true,
            ..CommitInfo::default()
        };
        // A cursor that is committed after they were read is newer than the one that would travel.
        match catalog.commit(base, On::Base, &[], "expire", &info).await {
            Ok(carrier) => return expire_before(catalog, before, carrier).await,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    // Others commit all the time: the next compaction finds a quieter moment.
    Ok(0)
}

/// Forgets them a few at a time, so that others can commit between.
async fn expire_before(catalog: &Catalog, before: &str, carrier: i64) -> Result<u64, StoreError> {
    let mut expired = 0;
    loop {
        match catalog.expire(before, carrier).await? {
            0 => return Ok(expired),
            some => expired += some,
        }
    }
}

fn merge(
    catalog: &Catalog,
    dataset: &'static Dataset,
    files: &[LiveFile],
) -> Result<TableChange, StoreError> {
    let directory = catalog.directory(dataset);
    let mut rows = files
        .iter()
        .flat_map(|file| index::read_live_or_error(file, None))
        .peekable();
    let mut added = Vec::new();
    while rows.peek().is_some() {
        let mut file = DataFileWriter::create(&directory, dataset)?;
        let mut bytes = 0;
        while bytes < MERGED_BYTES
            && let Some(batch) = rows.next()
        {
            let batch = batch?;
            bytes += batch.get_array_memory_size();
            file.write(&batch)?;
        }
        added.push(file.finish()?);
    }
    data_file::sync_directory(&directory)?;
    let ended = files.iter().map(|file| EndedFile {
        data_file: file.id,
        deletes: file.deletes.as_ref().map(|(id, _)| *id),
    });
    let ended = ended.collect();
    Ok(TableChange {
        dataset,
        added,
        deletes: Vec::new(),
        ended,
    })
}
