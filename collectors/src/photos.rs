//! `photos`: photos and videos in folders, which stay where they are.
//!
//! - In: directories. JPEG, TIFF, PNG, WebP, HEIC, AVIF, raw files, MP4, MOV, MKV; XMP and Google Takeout's JSON
//!   beside them.
//! - Out: rows of `photos` and `photo_thumbnails`, and originals by reference. A location is a path.
//! - Cursor: the number of files. It says that `known` may be trusted; a file with the size and time it had, and
//!   the same for what lies beside it, is not opened.
//! - Not here: albums' pictures, edits, faces in pixels.

mod contents;
mod facts;
mod files;
mod heif;
mod read;
mod sidecars;
mod tags;
mod takeout;
mod thumbnail;
mod video;
mod when;
mod xmp;

use crate::collect::{Batch, Collector, Descriptor, Known, Sink, now, on_own_thread};
use crate::error::{CollectError, ConfigError};
use crate::places::Places;
use async_trait::async_trait;
use files::File;
use rayon::prelude::*;
use read::{Looked, Outcome};
use schemars::JsonSchema;
use schemas::datasets::photo_thumbnails::PhotoThumbnail;
use schemas::datasets::photos::Photo;
use schemas::datasets::{photo_thumbnails, photos};
use schemas::{Attributes, Cursor, Location, Original, RawItem, Reject, Rows};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `kind = "photos"`.
pub const DESCRIPTOR: Descriptor = Descriptor {
    kind: "photos",
    about: "Photos and videos in folders on this machine, with XMP and Google Takeout files beside them.",
    example: "dkc add photos roots=~/Pictures",
    datasets: &["photos", "photo_thumbnails", "raw"],
    secrets: &[],
    paths: &["roots"],
    schema: || schemars::schema_for!(PhotosConfig),
    build,
};

/// A `source` table with `kind = "photos"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PhotosConfig {
    /// Directories that hold photos, however deep.
    roots: Vec<PathBuf>,
    /// Whether to decode each picture, for a small one of it and for what it looks like.
    #[serde(default = "yes")]
    thumbnails: bool,
}

fn yes() -> bool {
    true
}

/// Files of a batch. Fewer: more to hand over. More: more thumbnails in memory, some 12 kB each.
const BATCH_FILES: usize = 512;

fn build(table: toml_edit::Table) -> Result<Box<dyn Collector>, ConfigError> {
    let config: PhotosConfig = toml_edit::de::from_document(toml_edit::DocumentMut::from(table))?;
    if config.roots.is_empty() {
        return Err(ConfigError {
            message: "`roots` names no directory; write roots = [\"~/Pictures\"]".to_owned(),
            span: None,
        });
    }
    Ok(Box::new(Photos { config }))
}

/// What a file says of itself, without the digest that a run takes of it: for who measures what that costs.
///
/// # Errors
/// Why it says nothing.
pub fn metadata(path: &Path) -> Result<Photo, String> {
    read::metadata(path)
}

struct Photos {
    config: PhotosConfig,
}

#[async_trait]
impl Collector for Photos {
    async fn collect(
        &mut self,
        from: Option<Cursor>,
        known: Arc<Known>,
        sink: Sink,
    ) -> Result<(), CollectError> {
        let config = self.config.clone();
        on_own_thread(move || Run::begin(&config, from, &known, sink).walk()).await
    }
}

/// The cursor's shape.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    files: usize,
    /// Whether pictures were decoded: if they are now and were not, all are read again.
    thumbnails: bool,
    /// A run that trusts nothing is under way: if it is killed, the next one must not trust either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rereading: bool,
}

impl State {
    fn cursor(&self) -> Cursor {
        Cursor(serde_json::to_value(self).unwrap_or_default())
    }
}

/// One run over all roots.
struct Run<'a> {
    config: &'a PhotosConfig,
    sink: Sink,
    places: Places,
    trusts: bool,
    state: State,
    /// Places that were rejected in earlier runs.
    rejected: Vec<String>,
}

impl<'a> Run<'a> {
    fn begin(config: &'a PhotosConfig, from: Option<Cursor>, known: &Known, sink: Sink) -> Self {
        let from = from.map(|Cursor(value)| serde_json::from_value(value).unwrap_or_default());
        let trusts =
            from.is_some_and(|state: State| !state.rereading && (state.thumbnails || !config.thumbnails));
        Self {
            config,
            sink,
            places: Places::new(&known.locations),
            trusts,
            state: State {
                files: 0,
                thumbnails: config.thumbnails,
                rereading: !trusts && !known.locations.is_empty(),
            },
            rejected: known.rejected.clone(),
        }
    }

    fn walk(mut self) -> Result<(), CollectError> {
        let tree = files::find(&self.config.roots)
            .map_err(|(path, source)| CollectError::Unreadable { path, source })?;
        self.state.files = tree.files.len();
        let seen = tree.files.len() + tree.rejects.len();
        self.sink.progress().add_expected(seen as u64);
        self.sink.progress().add_seen(tree.rejects.len() as u64);
        for reject in &tree.rejects {
            self.places.keep(&reject.item);
        }
        let (unchanged, mut to_read) = self.compare(tree.files);
        self.sink.progress().add_seen(unchanged);
        let mut batch = Batch::at(self.state.cursor());
        batch.unchanged = unchanged;
        batch.rejects = tree.rejects;
        while !to_read.is_empty() {
            let later = to_read.split_off(BATCH_FILES.min(to_read.len()));
            self.read(&to_read, &mut batch)?;
            to_read = later;
            if !to_read.is_empty() {
                self.places.drain_into(&mut batch);
                let next = Batch::at(self.state.cursor());
                self.sink.push_blocking(std::mem::replace(&mut batch, next))?;
            }
        }
        let is_unread = |place: &str| tree.unread.iter().any(|prefix| place.starts_with(prefix));
        self.places.remove_missing(|place| !is_unread(place));
        self.places.drain_into(&mut batch);
        batch.forgiven = std::mem::take(&mut self.rejected);
        batch.forgiven.retain(|place| !is_unread(place));
        self.state.rereading = false;
        batch.cursor = self.state.cursor();
        self.sink.push_blocking(batch)
    }

    /// How many files are as they were, and the others.
    fn compare(&mut self, files: Vec<File>) -> (u64, Vec<File>) {
        if !self.trusts {
            return (0, files);
        }
        let all = files.len();
        let (same, mut to_read): (Vec<File>, Vec<File>) = files
            .into_iter()
            .partition(|file| self.places.unchanged_if(&file.location, &file.version()));
        let orphans: HashSet<String> = self.places.orphans();
        to_read.extend(same.into_iter().filter(|file| orphans.contains(&file.location)));
        to_read.sort_unstable_by(|one, other| one.location.cmp(&other.location));
        ((all - to_read.len()) as u64, to_read)
    }

    /// Reads files on all cores, and adds what they are to the batch.
    fn read(&mut self, files: &[File], batch: &mut Batch) -> Result<(), CollectError> {
        let thumbnails = self.config.thumbnails;
        let progress = self.sink.progress();
        let outcomes: Vec<Outcome> = files
            .par_iter()
            .map(|file| {
                let outcome = read::read(file, thumbnails);
                progress.add_seen(u64::from(!matches!(outcome, Outcome::Missing)));
                outcome
            })
            .collect();
        let provenance = self.sink.provenance();
        let mut rows = Rows::of_lake(&photos::DATASET, provenance.clone());
        let mut small = Rows::of_lake(&photo_thumbnails::DATASET, provenance.clone());
        for (file, outcome) in files.iter().zip(outcomes) {
            let Looked {
                digest,
                mut photo,
                thumbnail,
            } = match outcome {
                Outcome::Read(looked) => *looked,
                Outcome::Rejected { reason, is_read } => {
                    // What was read and is unfit is not what lay there before.
                    if !is_read {
                        self.places.keep(&file.location);
                    }
                    batch.rejects.push(Reject {
                        item: file.location.clone(),
                        reason,
                        raw: Some(file.location.clone()),
                    });
                    continue;
                }
                Outcome::Missing => continue,
            };
            let version = file.version();
            let meaning = self.places.place(&file.location, &version, digest);
            batch.located.push(Location {
                location: file.location.clone(),
                item: meaning.item.clone(),
                folder: file.folder.clone(),
                version,
                flags: Vec::new(),
                received_at: None,
            });
            if !meaning.tells {
                continue;
            }
            if meaning.names {
                batch.originals.push(RawItem {
                    item: meaning.item.clone(),
                    media_type: photo.media_type,
                    fetched_at: now(),
                    sha256: digest,
                    original: Original::File {
                        path: file.location.clone(),
                        size: photo.size_bytes.max(0) as u64,
                    },
                    attributes: Attributes::default(),
                });
            }
            if let Some(thumbnail) = thumbnail {
                small.push(&PhotoThumbnail {
                    item: meaning.item.clone(),
                    jpeg: thumbnail.jpeg,
                    width: thumbnail.width,
                    height: thumbnail.height,
                })?;
            }
            photo.item = meaning.item;
            rows.push(&photo)?;
        }
        batch.rows.push((&photos::DATASET, rows.finish()?));
        batch.rows.push((&photo_thumbnails::DATASET, small.finish()?));
        Ok(())
    }
}
