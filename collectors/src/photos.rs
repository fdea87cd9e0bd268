//! `photos`: photos and videos in folders, which stay where they are.
//!
//! - In: directories. JPEG, TIFF, PNG, WebP, HEIC, AVIF, raw files, MP4, MOV, MKV; XMP and Google Takeout's JSON
//!   beside them.
//! - Out: rows of `photos` and `photo_thumbnails`, and originals by reference. A location is a path.
//! - Cursor: that of `file_run`. A file with the size and time it had, and the same for what lies beside it, is not
//!   opened.
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
use crate::file_run::{FileRun, Told};
use crate::local_files::is_known;
use async_trait::async_trait;
use files::File;
use read::Looked;
use schemars::JsonSchema;
use schemas::datasets::photo_thumbnails::PhotoThumbnail;
use schemas::datasets::photos::Photo;
use schemas::datasets::{photo_thumbnails, photos};
use schemas::{Attributes, Cursor, Original, RawItem, Rows};
use serde::Deserialize;
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
    doubt: files::doubt,
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
        let PhotosConfig { roots, thumbnails } = self.config.clone();
        on_own_thread(move || {
            let is_known = |root: &Path| is_known(&known.locations, root);
            let tree = files::find(&roots, is_known)
                .map_err(|(path, source)| CollectError::Unreadable { path, source })?;
            FileRun::begin(from, thumbnails, &known, sink).all(
                tree,
                |_| BATCH_FILES,
                |run, files, batch| read(run, files, thumbnails, batch),
            )
        })
        .await
    }
}

/// Reads files, and adds what they are to the batch.
fn read(run: &mut FileRun, files: &[File], thumbnails: bool, batch: &mut Batch) -> Result<(), CollectError> {
    let told = run.read(files, batch, |file| read::read(file, thumbnails));
    let provenance = run.sink.provenance();
    let mut rows = Rows::of_lake(&photos::DATASET, provenance.clone());
    let mut small = Rows::of_lake(&photo_thumbnails::DATASET, provenance.clone());
    for Told {
        file,
        digest,
        meaning,
        content,
    } in told
    {
        let Looked { mut photo, thumbnail } = *content;
        if meaning.names {
            batch.originals.push(RawItem {
                item: meaning.item.clone(),
                media_type: photo.media_type,
                fetched_at: now(),
                sha256: digest,
                original: Original::File {
                    path: file.local.location.clone(),
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
