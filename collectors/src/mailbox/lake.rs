//! For tests: a lake in memory that checks each batch as the real one would, and runs collectors into itself.

use crate::collect::{Batch, Descriptor, Known, Progress, Sink};
use crate::error::CollectError;
use schemas::{Attributes, Cursor, Location, Original, Reject};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is kept after the batches so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Lake {
    pub locations: BTreeMap<String, Location>,
    pub items: BTreeMap<String, Attributes>,
    pub originals: BTreeMap<String, Vec<u8>>,
    pub cursor: Option<Cursor>,
    /// Places that could not be read.
    pub rejected: BTreeSet<String>,
    /// Of the last run.
    pub run: Summary,
}

/// What a run did.
#[derive(Debug, Default, Clone)]
pub(crate) struct Summary {
    pub batches: usize,
    pub originals: usize,
    pub located: usize,
    pub touched: usize,
    pub vanished: usize,
    pub unchanged: u64,
    pub seen: u64,
    pub rejects: Vec<Reject>,
}

impl Lake {
    pub fn known(&self) -> Known {
        Known {
            locations: self.locations.values().cloned().collect(),
            rejected: self.rejected.iter().cloned().collect(),
            ..Known::default()
        }
    }

    /// Takes a batch in, and checks that items and places agree afterwards: a kill may come now.
    pub fn apply(&mut self, batch: Batch) {
        self.run.batches += 1;
        self.run.originals += batch.originals.len();
        self.run.located += batch.located.len();
        self.run.touched += batch.touched.len();
        self.run.vanished += batch.vanished.len();
        self.run.unchanged += batch.unchanged;
        for raw in batch.originals {
            let Original::Bytes(bytes) = raw.original else {
                panic!("a reference")
            };
            self.originals.insert(raw.item.clone(), bytes.to_vec());
            let old = self.items.insert(raw.item, raw.attributes);
            assert!(old.is_none(), "an original of a known item");
        }
        let mut once = BTreeSet::new();
        for touched in batch.touched {
            assert!(once.insert(touched.item.clone()), "touched twice");
            let old = self.items.insert(touched.item, touched.attributes);
            assert!(old.is_some(), "an unknown item is touched");
        }
        let told = self.run.rejects.iter().chain(&batch.rejects);
        let told: BTreeSet<&str> = told.map(|reject| reject.item.as_str()).collect();
        for place in batch
            .forgiven
            .iter()
            .filter(|place| !told.contains(place.as_str()))
        {
            assert!(
                self.rejected.remove(place),
                "an unknown reject is forgiven: {place}"
            );
        }
        self.rejected
            .extend(batch.rejects.iter().map(|reject| reject.item.clone()));
        for location in batch.located {
            self.rejected.remove(&location.location);
            self.locations.insert(location.location.clone(), location);
        }
        for location in batch.unlocated {
            assert!(
                self.locations.remove(&location).is_some(),
                "an unknown place is gone: {location}"
            );
        }
        for item in batch.vanished {
            assert!(self.items.remove(&item).is_some(), "an unknown item vanished");
        }
        self.run.rejects.extend(batch.rejects);
        self.cursor = Some(batch.cursor);
        let mut expected: BTreeMap<String, Attributes> = BTreeMap::new();
        for at in self.locations.values() {
            let item = expected.entry(at.item.clone()).or_default();
            item.folders.push(at.folder.clone());
            item.flags.extend(at.flags.iter().cloned());
            item.received_at = item.received_at.into_iter().chain(at.received_at).min();
        }
        for item in expected.values_mut() {
            for list in [&mut item.folders, &mut item.flags] {
                list.sort();
                list.dedup();
            }
        }
        assert_eq!(self.items, expected);
    }

    /// Each folder has as many items as messages. True at the end of a run.
    pub fn check_folders(&self) {
        let mut messages: BTreeMap<&str, usize> = BTreeMap::new();
        for at in self.locations.values() {
            *messages.entry(&at.folder).or_default() += 1;
        }
        let mut items: BTreeMap<&str, usize> = BTreeMap::new();
        for folder in self.items.values().flat_map(|item| &item.folders) {
            *items.entry(folder).or_default() += 1;
        }
        assert_eq!(messages, items);
    }

    /// One whole run of a collector.
    pub fn collect(&mut self, descriptor: &Descriptor, source: &str) -> Result<(), CollectError> {
        let result = self.collect_batches(usize::MAX, descriptor, source);
        if result.is_ok() {
            self.check_folders();
            let counted = self.run.located as u64 + self.run.unchanged + self.run.rejects.len() as u64;
            assert_eq!(
                self.run.seen, counted,
                "seen = stored + unchanged + rejected: {:?}",
                self.run
            );
        }
        result
    }

    /// A run that is killed after so many batches.
    pub fn kill_after(&mut self, batches: usize, descriptor: &Descriptor, source: &str) {
        let _ = self.collect_batches(batches, descriptor, source);
    }

    fn collect_batches(
        &mut self,
        batches: usize,
        descriptor: &Descriptor,
        source: &str,
    ) -> Result<(), CollectError> {
        self.run = Summary::default();
        let table = source
            .parse::<toml_edit::DocumentMut>()
            .unwrap()
            .as_table()
            .clone();
        let mut collector = (descriptor.build)(table).unwrap();
        let progress = Arc::new(Progress::default());
        let (sink, mut receiver) = Sink::channel(Arc::clone(&progress), fixtures::provenance());
        let (from, known) = (self.cursor.clone(), Arc::new(self.known()));
        let result = tokio::runtime::Runtime::new().unwrap().block_on(async {
            let run = tokio::spawn(async move { collector.collect(from, known, sink).await });
            for _ in 0..batches {
                let Some(batch) = receiver.recv().await else { break };
                self.apply(batch);
            }
            drop(receiver);
            run.await.unwrap()
        });
        self.run.seen = progress.seen();
        result
    }
}
