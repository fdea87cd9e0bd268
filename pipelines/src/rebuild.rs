//! Rows of a dataset made again from the originals in the lake, with no network (invariant 3).

use crate::error::RunError;
use crate::rows::{convert, reject_rows};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use schemas::datasets::{documents, emails, raw, rejects};
use schemas::{Attributes, Dataset, Digest, Original, Provenance, RawItem, Reject, RunId, SourceName};
use std::collections::{HashMap, HashSet};
use store::lake::index::texts;
use store::{Commit, Items, Merged, Store, StoreError};
use transforms::thread_emails::Threads;
use transforms::{CONVERTERS, converter_of};

/// What rebuilding came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    /// Originals read.
    pub originals: u64,
    /// Items whose rows differ now.
    pub changed: u64,
    /// Items whose rows are as they were.
    pub unchanged: u64,
    /// Originals that could not be converted.
    pub rejected: u64,
}

/// Converts all originals of all sources again and merges the rows of `dataset`.
///
/// Items that are nowhere at their source any more stay out, as they were. An item that was rejected and converts
/// now gets its rows in all datasets, or it would be in none; one that does not convert any more loses them.
///
/// # Errors
/// [`RunError::NotDerived`] when the dataset is not made from originals; else what reading or writing meets.
pub async fn rebuild(store: &Store, dataset: &'static Dataset) -> Result<Rebuilt, RunError> {
    let derived: Vec<&Dataset> = CONVERTERS.iter().flat_map(|c| c.datasets).copied().collect();
    if !derived.iter().any(|d| d.name == dataset.name) {
        let names = derived
            .iter()
            .map(|d| format!("`{}`", d.name))
            .collect::<Vec<_>>()
            .join(", ");
        return Err(RunError::NotDerived(dataset.name.to_owned(), names));
    }
    let mut sources: HashSet<String> = HashSet::new();
    let mut batches = store.scan(&raw::DATASET, Some(&["_source"]), None).await?;
    while let Some(batch) = batches.recv().await {
        let batch = batch?;
        sources.extend(
            texts(&batch, "_source")
                .into_iter()
                .flatten()
                .flatten()
                .map(str::to_owned),
        );
    }
    let run = RunId(uuid::Uuid::now_v7().to_string());
    let mut rebuilt = Rebuilt::default();
    for source in sources {
        // Names in the lake were checked when they were written.
        if let Ok(source) = SourceName::new(source) {
            rebuild_source(
                store,
                dataset,
                Provenance {
                    source,
                    run: run.clone(),
                },
                &mut rebuilt,
            )
            .await?;
        }
    }
    Ok(rebuilt)
}

async fn rebuild_source(
    store: &Store,
    dataset: &'static Dataset,
    provenance: Provenance,
    rebuilt: &mut Rebuilt,
) -> Result<(), RunError> {
    let attributes = attributes_by_item(store, &provenance.source).await?;
    let rejected = rejected_items(store, &provenance.source).await?;
    let mut threads = Threads::new();
    let mut committer = store.committer(&provenance.source).await?;
    // Twice over the originals: a thread is known only when all mails are. The first pass keeps no rows.
    for pass in [Pass::Link, Pass::Write] {
        let mut batches = store.scan(&raw::DATASET, None, Some(&provenance.source)).await?;
        while let Some(batch) = batches.recv().await {
            let originals = originals_of(&batch?, &attributes)?;
            if matches!(pass, Pass::Link) {
                let group = provenance.clone();
                let converted = tokio::task::spawn_blocking(move || convert(&originals, &group)).await?;
                let mails = |table: &&(&Dataset, RecordBatch)| table.0.name == emails::DATASET.name;
                for (_, rows) in converted.rows.iter().filter(mails) {
                    threads.add(rows)?;
                }
                continue;
            }
            rebuilt.originals += originals.len() as u64;
            let (back, others): (Vec<_>, Vec<_>) = originals
                .into_iter()
                .partition(|original| rejected.contains(&original.item));
            let mut forgiven: HashSet<String> = back.iter().map(|original| original.item.clone()).collect();
            let group = provenance.clone();
            let (back, others) =
                tokio::task::spawn_blocking(move || (convert(&back, &group), convert(&others, &group)))
                    .await?;
            let others_rows = others
                .rows
                .into_iter()
                .filter(|(table, _)| table.name == dataset.name);
            let mut upserts = Vec::new();
            for (table, rows) in others_rows.chain(back.rows) {
                let is_mail = table.name == emails::DATASET.name;
                upserts.push((table, if is_mail { threads.assign(&rows)? } else { rows }));
            }
            let rejects: Vec<Reject> = others.rejects.into_iter().chain(back.rejects).collect();
            rebuilt.rejected += rejects.len() as u64;
            let failed: Vec<String> = rejects.iter().map(|reject| reject.item.clone()).collect();
            for item in &failed {
                forgiven.remove(item);
            }
            upserts.push((&rejects::DATASET, reject_rows(&rejects, &provenance)?));
            let mut removals = vec![(&rejects::DATASET, forgiven.into_iter().collect())];
            for dataset in CONVERTERS.iter().flat_map(|converter| converter.datasets) {
                removals.push((dataset, failed.clone()));
            }
            let commit = Commit {
                run: provenance.run.clone(),
                source: provenance.source.clone(),
                upserts,
                differ: false,
                removals,
                cursor: None,
                items: Items::default(),
                message: Some(format!("{}: rebuild {}", provenance.source, dataset.name)),
            };
            let merged = committer.commit(commit).await?.merged;
            let Merged {
                new,
                changed,
                unchanged,
                ..
            } = merged.get(dataset.name).copied().unwrap_or_default();
            rebuilt.changed += new + changed;
            rebuilt.unchanged += unchanged;
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Pass {
    Link,
    Write,
}

/// Items, and places, that are rejected as things stand.
async fn rejected_items(store: &Store, source: &SourceName) -> Result<HashSet<String>, RunError> {
    let columns = Some(&["_source", "_item"][..]);
    let mut batches = store.scan(&rejects::DATASET, columns, Some(source)).await?;
    let mut rejected = HashSet::new();
    while let Some(batch) = batches.recv().await {
        let batch = batch?;
        let items = texts(&batch, "_item").into_iter().flatten().flatten();
        rejected.extend(items.map(str::to_owned));
    }
    Ok(rejected)
}

/// What the source says of each item that is still there.
async fn attributes_by_item(
    store: &Store,
    source: &SourceName,
) -> Result<HashMap<String, Attributes>, RunError> {
    let mut by_item: HashMap<String, Attributes> = HashMap::new();
    for place in store.locations(source).await? {
        let all = by_item.entry(place.item).or_default();
        // Of equal files the first by name.
        all.path = all.path.take().into_iter().chain([place.location]).min();
        all.folders.push(place.folder);
        all.flags.extend(place.flags);
        all.received_at = match (all.received_at, place.received_at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    let columns = Some(&["_source", "_item", "project"][..]);
    let mut batches = store.scan(&documents::DATASET, columns, Some(source)).await?;
    while let Some(batch) = batches.recv().await {
        let batch = batch?;
        let (Some(items), Some(projects)) = (texts(&batch, "_item"), texts(&batch, "project")) else {
            continue;
        };
        for (item, project) in items.iter().zip(projects) {
            if let Some(all) = item.and_then(|item| by_item.get_mut(item)) {
                all.project = project.map(str::to_owned);
            }
        }
    }
    for all in by_item.values_mut() {
        for texts in [&mut all.folders, &mut all.flags] {
            texts.sort_unstable();
            texts.dedup();
        }
    }
    Ok(by_item)
}

/// The originals in a batch of `raw` whose items are still at their source.
fn originals_of(
    batch: &RecordBatch,
    attributes: &HashMap<String, Attributes>,
) -> Result<Vec<RawItem>, RunError> {
    let unfit = |column: &str| StoreError::Unfit {
        reason: format!("`raw` lacks `{column}`"),
    };
    let text = |name: &str| texts(batch, name).ok_or_else(|| unfit(name));
    let (items, types, digests, paths) = (
        text("_item")?,
        text("media_type")?,
        text("sha256")?,
        text("path")?,
    );
    let bytes = batch
        .column_by_name("bytes")
        .and_then(|c| c.as_binary_view_opt())
        .ok_or_else(|| unfit("bytes"))?;
    let instants = |name: &str| {
        batch
            .column_by_name(name)
            .and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>())
            .ok_or_else(|| unfit(name))
    };
    let fetched = instants("fetched_at")?;
    let sizes = batch
        .column_by_name("size_bytes")
        .and_then(|c| c.as_primitive_opt::<Int64Type>())
        .ok_or_else(|| unfit("size_bytes"))?;
    let mut originals = Vec::new();
    for row in 0..batch.num_rows() {
        let (Some(attributes), Some((_, media_type))) =
            (attributes.get(items.value(row)), converter_of(types.value(row)))
        else {
            continue;
        };
        let mut digest = [0; 32];
        hex::decode_to_slice(digests.value(row), &mut digest).map_err(|_| unfit("sha256"))?;
        originals.push(RawItem {
            item: items.value(row).to_owned(),
            media_type,
            fetched_at: fetched.value(row),
            sha256: Digest(digest),
            original: if bytes.is_valid(row) {
                Original::Bytes(Bytes::copy_from_slice(bytes.value(row)))
            } else {
                Original::File {
                    path: paths.value(row).to_owned(),
                    size: sizes.value(row) as u64,
                }
            },
            attributes: attributes.clone(),
        });
    }
    Ok(originals)
}
