//! One run of a collector whose items are files: what is as it was is not opened, the others are read on all cores.
//!
//! - In: the files below the roots, what the lake has of them, how to read one. Out: batches, each with a cursor.
//! - Cursor: the number of files. It says that `known` may be trusted; a file with the version it had is not opened.
//! - A root, or a folder, that cannot be read is a reject, and all that is known of it stays.
//! - Not here: finding files, what is in one, what becomes of it.

use crate::collect::{Batch, Known, Sink};
use crate::error::CollectError;
use crate::local_files::{Listed, Tree, look_at_root};
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
    /// Beginnings of the locations that could not be read when all others were read again. They are to be, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
}

/// One run over all files.
pub(crate) struct FileRun {
    pub sink: Sink,
    places: Places,
    /// Beginnings of the locations whose files are read whatever versions they have.
    untrusted: Vec<String>,
    state: State,
    /// Places that were rejected in earlier runs.
    rejected: Vec<String>,
}

impl FileRun {
    /// Starts a run.
    pub fn begin(from: Option<Cursor>, thorough: bool, known: &Known, sink: Sink) -> Self {
        let before: Option<State> =
            from.map(|Cursor(value)| serde_json::from_value(value).unwrap_or_default());
        let before = before.filter(|state| !state.rereading && state.thorough >= thorough);
        let state = State {
            files: 0,
            thorough,
            rereading: before.is_none() && !known.locations.is_empty(),
            unread: before
                .as_ref()
                .map(|state| state.unread.clone())
                .unwrap_or_default(),
        };
        Self {
            sink,
            places: Places::new(&known.locations),
            untrusted: before.map_or_else(|| vec![String::new()], |state| state.unread),
            state,
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
        mut tree: Tree<F>,
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
        self.places.keep_below(&tree.unread);
        let (unchanged, to_read) = self.compare(std::mem::take(&mut tree.files));
        self.sink.progress().add_seen(unchanged);
        let mut batch = Batch::at(self.cursor());
        batch.unchanged = unchanged;
        batch.rejects = std::mem::take(&mut tree.rejects);
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
        // A disk may be taken away while it is read.
        for root in std::mem::take(&mut tree.roots) {
            if let Err(error) = look_at_root(&root, |root| self.places.has_below(root)) {
                tree.miss_root(&root, &error);
            }
        }
        tree.sort();
        batch.rejects.append(&mut tree.rejects);
        self.places.keep_below(&tree.unread);
        self.places.remove_missing();
        self.places.drain_into(&mut batch);
        let is_unread = |place: &str| tree.unread.iter().any(|prefix| place.starts_with(prefix));
        batch.forgiven = std::mem::take(&mut self.rejected);
        batch.forgiven.retain(|place| !is_unread(place));
        self.state.rereading = false;
        let untrusted = std::mem::take(&mut self.untrusted);
        let was_untrusted = |place: &String| {
            let mut untrusted = untrusted.iter();
            untrusted.any(|of| place.starts_with(of.as_str()) || of.starts_with(place.as_str()))
        };
        self.state.unread = std::mem::take(&mut tree.unread);
        self.state.unread.retain(was_untrusted);
        batch.cursor = self.cursor();
        self.sink.push_blocking(batch)
    }

    fn cursor(&self) -> Cursor {
        Cursor(serde_json::to_value(&self.state).unwrap_or_default())
    }

    /// How many files are as they were, and the others.
    fn compare<F: Listed>(&mut self, files: Vec<F>) -> (u64, Vec<F>) {
        let all = files.len();
        let untrusted = &self.untrusted;
        let (same, mut to_read): (Vec<F>, Vec<F>) = files.into_iter().partition(|file| {
            let location = &file.local().location;
            let is_trusted = !untrusted.iter().any(|of| location.starts_with(of.as_str()));
            is_trusted && self.places.unchanged_if(location, &file.version())
        });
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
