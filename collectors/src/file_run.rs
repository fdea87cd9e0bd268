//! One run of a collector whose items are files: what is as it was is not opened, the others are read on all cores.
//!
//! - In: the files below the roots, what the lake has of them, how to read one. Out: batches, each with a cursor.
//! - Cursor: the number of files. It says that `known` may be trusted; a file with the version it had is not opened.
//!   While something cannot be looked at, it says what is to be read once it can.
//! - A root, or a folder, that cannot be read is a reject, and all that is known of it stays.
//! - Not here: finding files, what is in one, what becomes of it.

use crate::collect::{Batch, Known, Sink};
use crate::error::CollectError;
use crate::local_files::{Listed, Tree, is_removed, look_at_root};
use crate::places::{Meaning, Places};
use rayon::prelude::*;
use schemas::{Cursor, Digest, Location, Reject};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;

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
    /// [`Places::untold`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    untold: BTreeSet<String>,
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
    /// Folders whose files went while they were read, and were not removed.
    taken_away: BTreeSet<String>,
}

impl FileRun {
    /// Starts a run.
    pub fn begin(from: Option<Cursor>, thorough: bool, known: &Known, sink: Sink) -> Self {
        let before: Option<State> =
            from.map(|Cursor(value)| serde_json::from_value(value).unwrap_or_default());
        let mut places = Places::new(&known.locations);
        if let Some(state) = &before {
            places.untold.clone_from(&state.untold);
        }
        let before = before.filter(|state| !state.rereading && state.thorough >= thorough);
        let state = State {
            files: 0,
            thorough,
            rereading: before.is_none() && !known.locations.is_empty(),
            unread: before
                .as_ref()
                .map(|state| state.unread.clone())
                .unwrap_or_default(),
            untold: BTreeSet::new(),
        };
        Self {
            sink,
            places,
            untrusted: before.map_or_else(|| vec![String::new()], |state| state.unread),
            state,
            rejected: known.rejected.clone(),
            taken_away: BTreeSet::new(),
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
        tree.warn(self.sink.progress());
        self.state.files = tree.files.len();
        let seen = tree.files.len() + tree.rejects.len();
        self.sink.progress().add_expected(seen as u64);
        self.sink.progress().add_seen(tree.rejects.len() as u64);
        for reject in &tree.rejects {
            // A location is a path as it is; what is rejected is named with escapes.
            let location = reject.raw.as_deref().unwrap_or(&reject.item);
            self.places.reject(location, false);
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
                batch.cursor = self.cursor();
                let next = Batch::at(batch.cursor.clone());
                self.sink.push_blocking(std::mem::replace(&mut batch, next))?;
            }
        }
        // A disk may be taken away while it is read.
        for root in std::mem::take(&mut tree.roots) {
            if let Err(error) = look_at_root(&root, |root| self.places.has_below(root)) {
                tree.miss_root(&root, &error);
            }
        }
        for folder in std::mem::take(&mut self.taken_away) {
            let folder = Path::new(&folder);
            if !tree.unread.iter().any(|of| folder.starts_with(of)) {
                tree.miss_taken_away(folder);
            }
        }
        tree.warn(self.sink.progress());
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

    fn cursor(&mut self) -> Cursor {
        self.state.untold.clone_from(&self.places.untold);
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
                    self.places.reject(&local.location, is_read);
                    batch.rejects.push(Reject {
                        item: local.location.clone(),
                        reason,
                        raw: Some(local.location.clone()),
                    });
                    continue;
                }
                Outcome::Missing => {
                    if !is_removed(&local.path) {
                        self.taken_away.insert(local.folder.clone());
                    }
                    continue;
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_files::{LocalFile, reject};
    use schemas::{Attributes, Original, RawItem};
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::thread;

    struct File {
        local: LocalFile,
        content: &'static str,
    }

    impl Listed for File {
        fn local(&self) -> &LocalFile {
            &self.local
        }

        fn version(&self) -> String {
            self.content.to_owned()
        }
    }

    /// Files given as location and content; what is `gone` is not there any more.
    fn tree(files: &[(&str, &'static str)]) -> Tree<File> {
        let files = files.iter().map(|&(location, content)| File {
            local: LocalFile {
                path: PathBuf::from(location),
                location: location.to_owned(),
                folder: Path::new(location).parent().unwrap().display().to_string(),
                size: 0,
                modified_ns: 0,
            },
            content,
        });
        Tree {
            files: files.collect(),
            ..Tree::default()
        }
    }

    fn known(files: &[(&str, &str)]) -> Known {
        let locations = files.iter().map(|&(location, content)| Location {
            location: location.to_owned(),
            item: Digest::of(content.as_bytes()).to_string(),
            folder: String::new(),
            version: content.to_owned(),
            flags: Vec::new(),
            received_at: None,
        });
        Known {
            locations: locations.collect(),
            ..Known::default()
        }
    }

    fn read(run: &mut FileRun, files: &[File], batch: &mut Batch) -> Result<(), CollectError> {
        let told = run.read(files, batch, |file| match file.content {
            "gone" => Outcome::Missing,
            content => Outcome::Read(Digest::of(content.as_bytes()), ()),
        });
        for told in told.into_iter().filter(|told| told.meaning.names) {
            batch.originals.push(RawItem {
                item: told.meaning.item,
                media_type: "text/plain",
                fetched_at: 0,
                sha256: told.digest,
                original: Original::File {
                    path: told.file.local.location.clone(),
                    size: 0,
                },
                attributes: Attributes::default(),
            });
        }
        Ok(())
    }

    /// The batches of a run that goes on from a cursor, a file each.
    fn run(known: &Known, from: Cursor, tree: Tree<File>) -> Vec<Batch> {
        let (sink, mut batches) = Sink::channel(Arc::default(), fixtures::provenance());
        let run = FileRun::begin(Some(from), false, known, sink);
        thread::scope(|scope| {
            let run = scope.spawn(move || run.all(tree, |_| 1, read));
            let all = std::iter::from_fn(|| batches.blocking_recv()).collect();
            run.join().unwrap().unwrap();
            all
        })
    }

    fn begun() -> Cursor {
        Cursor(serde_json::json!({ "files": 0 }))
    }

    #[test]
    fn a_run_that_is_killed_leaves_word_of_what_is_to_be_read_once_it_is_back() {
        let mut without = tree(&[("/here/a", "y"), ("/here/b", "z")]);
        without.unread.push("/usb/".to_owned());
        let before = known(&[("/here/a", "x"), ("/usb/a", "x")]);
        let batches = run(&before, begun(), without);
        assert_eq!(batches.len(), 2, "{batches:?}");
        assert!(batches[0].vanished.is_empty() && batches[0].unlocated.is_empty());
        // The second batch was not stored.
        let before = known(&[("/here/a", "y"), ("/usb/a", "x")]);
        let whole = tree(&[("/here/a", "y"), ("/here/b", "z"), ("/usb/a", "x")]);
        let batches = run(&before, batches[0].cursor.clone(), whole);
        let originals = batches.iter().flat_map(|batch| &batch.originals);
        let named: Vec<_> = originals.map(|original| &original.original).collect();
        assert!(
            matches!(
                named.as_slice(),
                [Original::File { path: new, .. }, Original::File { path: back, .. }]
                    if new == "/here/b" && back == "/usb/a"
            ),
            "{named:?}"
        );
        let last = &batches.last().unwrap().cursor;
        assert!(last.0.get("untold").is_none(), "{last:?}");
    }

    #[test]
    fn a_file_that_went_with_its_folder_while_it_was_read_stays_and_one_that_was_removed_does_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("other"), "").unwrap();
        let [removed, one, other, usb] =
            ["a", "usb/a", "usb/b/a", "usb"].map(|name| folder.path().join(name).display().to_string());
        let before = known(&[(&*removed, "x"), (&*one, "y"), (&*other, "z")]);
        let gone = tree(&[(&*removed, "gone"), (&*one, "gone"), (&*other, "gone")]);
        let batches = run(&before, begun(), gone);
        let told = |of: fn(&Batch) -> &Vec<String>| batches.iter().flat_map(of).cloned().collect::<Vec<_>>();
        assert_eq!(told(|batch| &batch.unlocated), [removed]);
        assert_eq!(told(|batch| &batch.vanished), [Digest::of(b"x").to_string()]);
        let rejects: Vec<_> = batches.iter().flat_map(|batch| &batch.rejects).collect();
        assert_eq!(rejects.len(), 1, "{rejects:?}");
        assert_eq!(rejects[0].raw, Some(usb), "{rejects:?}");
    }

    #[test]
    fn a_place_that_cannot_be_looked_at_stays_although_rejects_escape_its_name() {
        let place = "/here/100%.jpg";
        let mut damaged = tree(&[]);
        damaged
            .rejects
            .push(reject(Path::new(place), "cannot be read".to_owned()));
        let batches = run(&known(&[(place, "x")]), begun(), damaged);
        assert_eq!(batches.len(), 1, "{batches:?}");
        assert!(batches[0].unlocated.is_empty(), "{batches:?}");
        assert!(batches[0].vanished.is_empty(), "{batches:?}");
    }
}
