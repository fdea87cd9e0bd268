//! Where batches come down: converted on all cores, threaded, committed with their cursor.
//!
//! While one batch is written, and one waits for that, the next is converted. Beside these three, one waits and one is
//! being filled by the collector. The store decides when those that are written become visible.

mod threading;
mod writer;

use crate::error::RunError;
use crate::rows::{convert, raw_rows, reject_rows};
use arrow_array::RecordBatch;
use collectors::{Batch, Descriptor};
use schemas::datasets::runs::Counts;
use schemas::datasets::{self, emails, locations, raw, rejects};
use schemas::{Attributes, Dataset, Original, Provenance, RawItem, Reject, Rows, SourceName};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use store::lake::index::texts;
use store::{Commit, Items, Store, StoreError};
use transforms::Converted;
use transforms::thread_emails::Threads;
use transforms::touch_emails::touch_emails;
use writer::Writer;

/// Columns of `rejects` that say what was rejected, and whether it had been read.
const REJECTED: &[&str] = &["_source", "_item", "raw"];

type Table = (&'static Dataset, RecordBatch);

/// Takes the batches of one run.
pub struct Landing<'a> {
    store: &'a Store,
    provenance: Provenance,
    /// The collector that fills it.
    descriptor: &'static Descriptor,
    writer: Writer,
    /// Places that could not be read in this run.
    unreadable: HashSet<String>,
    /// The conversations, once they are needed.
    threads: Option<Threads>,
    /// Whether all stored mails have the thread that all stored links give them.
    settled: bool,
    /// How long it was held up by making rows.
    converting: Duration,
}

/// How long a run was held up by what happens here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Took {
    /// By making rows.
    pub convert: Duration,
    /// By the store.
    pub commit: Duration,
}

impl<'a> Landing<'a> {
    /// A landing for one run. `settled` says that the run before ended whole.
    pub async fn new(
        store: &'a Store,
        provenance: Provenance,
        descriptor: &'static Descriptor,
        settled: bool,
    ) -> Result<Self, RunError> {
        let writer = Writer::new(store.committer(&provenance.source).await?);
        Ok(Self {
            store,
            provenance,
            descriptor,
            writer,
            unreadable: HashSet::new(),
            threads: None,
            settled,
            converting: Duration::ZERO,
        })
    }

    /// How long the run was held up here so far.
    pub fn took(&self) -> Took {
        Took {
            convert: self.converting,
            commit: self.writer.waited(),
        }
    }

    /// Converts a batch and has it written, after those before it.
    pub async fn land(&mut self, batch: Batch, counts: &mut Counts) -> Result<(), RunError> {
        let (began, before) = (Instant::now(), self.writer.waited());
        let landed = self.take_in(batch, counts).await;
        self.count_converting(began, before);
        landed
    }

    /// Counts the time since a moment as one of making rows, but for what the store took of it.
    fn count_converting(&mut self, began: Instant, before: Duration) {
        let stored = self.writer.waited().saturating_sub(before);
        self.converting += began.elapsed().saturating_sub(stored);
    }

    async fn take_in(&mut self, mut batch: Batch, counts: &mut Counts) -> Result<(), RunError> {
        let attributes: HashMap<String, Attributes> = batch
            .touched
            .drain(..)
            .map(|touched| (touched.item, touched.attributes))
            .collect();
        let mut originals = std::mem::take(&mut batch.originals);
        for original in &mut originals {
            if let Some(newer) = attributes.get(&original.item) {
                original.attributes = newer.clone();
            }
        }
        let bytes_stored = originals.iter().map(size).sum();
        let fresh: HashSet<String> = originals.iter().map(|original| original.item.clone()).collect();
        let provenance = self.provenance.clone();
        let (kept, converted) = tokio::task::spawn_blocking(move || {
            rayon::join(
                || raw_rows(&originals, &provenance),
                || convert(&originals, &provenance),
            )
        })
        .await?;
        let Converted {
            rows: mut upserts,
            rejects: converted,
        } = converted;
        upserts.push((&raw::DATASET, kept?));
        upserts.append(&mut batch.rows);

        let (located, rejected) = (batch.located.len() as u64, batch.rejects.len() as u64);
        let landed = Counts {
            items_seen: located + batch.described + batch.unchanged + rejected,
            items_stored: batch.described + located.saturating_sub(converted.len() as u64),
            items_unchanged: batch.unchanged,
            items_rejected: rejected + converted.len() as u64,
            items_vanished: batch.vanished.len() as u64,
            bytes_stored,
            snapshots: 0,
        };

        // What was rejected before and is taken in now, or is gone, is no reject any more.
        let failed: HashSet<&str> = converted.iter().map(|reject| reject.item.as_str()).collect();
        let mut forgiven: Vec<String> = fresh
            .iter()
            .filter(|item| !failed.contains(item.as_str()))
            .cloned()
            .collect();
        forgiven.extend(batch.located.iter().map(|place| place.location.clone()));
        forgiven.extend(batch.vanished.iter().cloned());
        self.unreadable
            .extend(batch.rejects.iter().map(|reject| reject.item.clone()));
        let gone = std::mem::take(&mut batch.forgiven).into_iter();
        let gone = gone.chain(batch.unlocated.iter().cloned());
        forgiven.extend(gone.filter(|place| !self.unreadable.contains(place)));
        let mut removals: Vec<(&'static Dataset, Vec<String>)> = vec![
            (&rejects::DATASET, forgiven),
            (&locations::DATASET, std::mem::take(&mut batch.unlocated)),
        ];
        for dataset in self
            .descriptor
            .datasets
            .iter()
            .filter_map(|name| datasets::by_name(name))
        {
            removals.push((dataset, batch.vanished.clone()));
        }
        let rejected: Vec<Reject> = batch.rejects.drain(..).chain(converted).collect();
        upserts.push((&rejects::DATASET, reject_rows(&rejected, &self.provenance)?));
        upserts.push((&locations::DATASET, self.location_rows(&batch)?));

        if !fresh.is_empty() {
            self.thread(&mut upserts).await?;
        }
        let touched: HashSet<String> = attributes
            .keys()
            .filter(|item| !fresh.contains(*item))
            .cloned()
            .collect();
        if !touched.is_empty() {
            // What is known of them may have come with a batch that nobody sees yet.
            self.writer.flush(Some(touched.clone()), counts).await?;
            upserts.extend(self.touched_rows(touched, &attributes).await?);
        }
        let commit = Commit {
            removals,
            cursor: Some(batch.cursor),
            items: Items {
                new: fresh.len() as u64 + batch.described,
                gone: batch.vanished.len() as u64,
            },
            ..self.commit_of(upserts)
        };
        self.writer.stage(commit, landed, counts).await
    }

    /// Makes all batches visible that have landed.
    pub async fn flush(&mut self, counts: &mut Counts) -> Result<(), RunError> {
        self.writer.flush(None, counts).await
    }

    /// A commit of these rows and nothing else.
    fn commit_of(&self, upserts: Vec<Table>) -> Commit {
        Commit {
            run: self.provenance.run.clone(),
            source: self.provenance.source.clone(),
            upserts,
            differ: false,
            removals: Vec::new(),
            cursor: None,
            items: Items::default(),
            message: None,
        }
    }

    async fn touched_rows(
        &mut self,
        items: HashSet<String>,
        attributes: &HashMap<String, Attributes>,
    ) -> Result<Vec<Table>, RunError> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let by_item = attributes
            .iter()
            .map(|(item, attributes)| (item.as_str(), attributes))
            .collect();
        let rows = self
            .store
            .rows_of(&emails::DATASET, &self.provenance.source, items)
            .await?;
        rows.iter()
            .map(|batch| {
                Ok((
                    &emails::DATASET,
                    self.by_this_run(&touch_emails(batch, &by_item)?)?,
                ))
            })
            .collect()
    }

    /// The same rows, as written by this run.
    fn by_this_run(&self, batch: &RecordBatch) -> Result<RecordBatch, RunError> {
        let run = arrow_array::StringArray::from(vec![self.provenance.run.0.as_str(); batch.num_rows()]);
        let columns = batch
            .schema_ref()
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| {
                if field.name() == "_run" {
                    std::sync::Arc::new(run.clone())
                } else {
                    column.clone()
                }
            })
            .collect();
        Ok(RecordBatch::try_new(batch.schema(), columns)?)
    }

    fn location_rows(&self, batch: &Batch) -> Result<RecordBatch, RunError> {
        let mut rows = Rows::of_lake(&locations::DATASET, self.provenance.clone());
        for location in &batch.located {
            rows.push(location)?;
        }
        Ok(rows.finish()?)
    }
}

/// Places that could not be read in earlier runs.
pub async fn rejected_places(store: &Store, source: &SourceName) -> Result<Vec<String>, StoreError> {
    let mut batches = store
        .scan(&rejects::DATASET, Some(REJECTED), Some(source))
        .await?;
    let mut places = Vec::new();
    while let Some(batch) = batches.recv().await {
        let batch = batch?;
        let (Some(items), Some(raw)) = (texts(&batch, "_item"), texts(&batch, "raw")) else {
            continue;
        };
        // What has its original in `raw` was read, and could not be converted.
        let unread = items
            .iter()
            .zip(raw)
            .filter(|(_, raw)| !raw.is_some_and(|raw| raw.starts_with("sha256:")));
        places.extend(unread.filter_map(|(item, _)| item.map(str::to_owned)));
    }
    Ok(places)
}

fn size(item: &RawItem) -> u64 {
    match &item.original {
        Original::Bytes(bytes) => bytes.len() as u64,
        Original::File { size, .. } => *size,
    }
}
