//! One run of a collector whose items are files: what is as it was is not opened, the others are read on all cores.
//!
//! - In: the files below the roots, what the lake has of them, how to read one. Out: batches, each with a cursor.
//! - Cursor: the number of files. It says that `known` may be trusted; a file with the version it had is not opened.
//! - Not here: finding files, what is in one, what becomes of it.

use crate::collect::{Batch, Known, Sink};
use crate::error::CollectError;
use crate::local_files::{Listed, Tree};
use crate::places::{Meaning, Places};
use rayon::prelude::*;
use schemas::{Cursor, Digest, Location, Reject};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// What became of reading one file.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    Read(Digest, T),
    /// It is not what it is called, or damaged; or, if it is not read, nobody knows.
    Rejected {
        reason: String,
        is_read: bool,
    },
    /// It is gone since it was listed.
    Missing,
}

/// A file that was read and tells of its item.
pub(crate) struct Told<'a, F, T> {
    pub file: &'a F,
    pub digest: Digest,
    pub meaning: Meaning,
    pub content: T,
}

/// The cursor's shape.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    files: usize,
    /// Whether files were read for all there is in them. If they are now and were not, all are read again.
    #[serde(default)]
    thorough: bool,
    /// A run that trusts nothing is under way: if it is killed, the next one must not trust either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rereading: bool,
}

/// One run over all files.
pub(crate) struct FileRun {
    pub sink: Sink,
    places: Places,
    trusts: bool,
    state: State,
    /// Places that were rejected in earlier runs.
    rejected: Vec<String>,
}

impl FileRun {
    /// Starts a run.
    pub fn begin(from: Option<Cursor>, thorough: bool, known: &Known, sink: Sink) -> Self {
        let from = from.map(|Cursor(value)| serde_json::from_value(value).unwrap_or_default());
        let trusts = from.is_some_and(|state: State| !state.rereading && state.thorough >= thorough);
        Self {
            sink,
            places: Places::new(&known.locations),
            trusts,
            state: State {
                files: 0,
                thorough,
                rereading: !trusts && !known.locations.is_empty(),
            },
            rejected: known.rejected.clone(),
        }
    }

    /// Reads what is new or changed, a batch at a time. `group` says how many of these files make the next batch, at
    /// least one; `read` adds them to it.
    ///
    /// # Errors
    /// Those of `read`, and [`CollectError::Stopped`] when nobody takes the batches.
    pub fn all<F: Listed>(
        mut self,
        tree: Tree<F>,
        group: impl Fn(&[F]) -> usize,
        read: impl Fn(&mut Self, &[F], &mut Batch) -> Result<(), CollectError>,
    ) -> Result<(), CollectError> {
        self.state.files = tree.files.len();
        let seen = tree.files.len() + tree.rejects.len();
        self.sink.progress().add_expected(seen as u64);
        self.sink.progress().add_seen(tree.rejects.len() as u64);
        for reject in &tree.rejects {
            self.places.keep(&reject.item);
        }
        let (unchanged, to_read) = self.compare(tree.files);
        self.sink.progress().add_seen(unchanged);
        let mut batch = Batch::at(self.cursor());
        batch.unchanged = unchanged;
        batch.rejects = tree.rejects;
        let mut rest = to_read.as_slice();
        while !rest.is_empty() {
            let (files, later) = rest.split_at(group(rest).clamp(1, rest.len()));
            read(&mut self, files, &mut batch)?;
            rest = later;
            if !rest.is_empty() {
                self.places.drain_into(&mut batch);
                let next = Batch::at(self.cursor());
                self.sink.push_blocking(std::mem::replace(&mut batch, next))?;
            }
        }
        let is_unread = |place: &str| tree.unread.iter().any(|prefix| place.starts_with(prefix));
        self.places.remove_missing(|place| !is_unread(place));
        self.places.drain_into(&mut batch);
        batch.forgiven = std::mem::take(&mut self.rejected);
        batch.forgiven.retain(|place| !is_unread(place));
        self.state.rereading = false;
        batch.cursor = self.cursor();
        self.sink.push_blocking(batch)
    }

    fn cursor(&self) -> Cursor {
        Cursor(serde_json::to_value(&self.state).unwrap_or_default())
    }

    /// How many files are as they were, and the others.
    fn compare<F: Listed>(&mut self, files: Vec<F>) -> (u64, Vec<F>) {
        if !self.trusts {
            return (0, files);
        }
        let all = files.len();
        let (same, mut to_read): (Vec<F>, Vec<F>) = files
            .into_iter()
            .partition(|file| self.places.unchanged_if(&file.local().location, &file.version()));
        let orphans: HashSet<String> = self.places.orphans();
        to_read.extend(
            same.into_iter()
                .filter(|file| orphans.contains(&file.local().location)),
        );
        to_read.sort_unstable_by(|one, other| one.local().location.cmp(&other.local().location));
        ((all - to_read.len()) as u64, to_read)
    }

    /// Reads files on all cores, adds where they lie or why they were rejected to the batch, and gives those that
    /// tell of their item.
    pub fn read<'a, F: Listed, T: Send>(
        &mut self,
        files: &'a [F],
        batch: &mut Batch,
        read: impl Fn(&F) -> Outcome<T> + Sync,
    ) -> Vec<Told<'a, F, T>> {
        let progress = self.sink.progress();
        let outcomes: Vec<Outcome<T>> = files
            .par_iter()
            .map(|file| {
                let outcome = read(file);
                progress.add_seen(u64::from(!matches!(outcome, Outcome::Missing)));
                outcome
            })
            .collect();
        let mut told = Vec::with_capacity(files.len());
        for (file, outcome) in files.iter().zip(outcomes) {
            let local = file.local();
            let (digest, content) = match outcome {
                Outcome::Read(digest, content) => (digest, content),
                Outcome::Rejected { reason, is_read } => {
                    // What was read and is unfit is not what lay there before.
                    if !is_read {
                        self.places.keep(&local.location);
                    }
                    batch.rejects.push(Reject {
                        item: local.location.clone(),
                        reason,
                        raw: Some(local.location.clone()),
                    });
                    continue;
                }
                Outcome::Missing => continue,
            };
            let version = file.version();
            let meaning = self.places.place(&local.location, &version, digest);
            batch.located.push(Location {
                location: local.location.clone(),
                item: meaning.item.clone(),
                folder: local.folder.clone(),
                version,
                flags: Vec::new(),
                received_at: Some(local.modified_at()),
            });
            if meaning.tells {
                told.push(Told {
                    file,
                    digest,
                    meaning,
                    content,
                });
            }
        }
        told
    }
}
