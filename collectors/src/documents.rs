//! `documents`: text files and office documents in folders, read-only.
//!
//! - In: directories. Markdown, text, HTML, org, notebooks, canvases, PDF, DOCX, ODT, EPUB, XLSX, and what `include`
//!   names.
//! - Out: originals, which converters take apart. A location is a path; an item is the SHA-256 of a file.
//! - Cursor: the number of files. It says that `known` may be trusted; a file with the size and time it had is not
//!   opened.
//! - Not here: what is in a document.

mod find;
mod project;

use crate::collect::{
    BATCH_BYTES, BATCH_ITEMS, Batch, Collector, Descriptor, Known, Sink, now, on_own_thread,
};
use crate::error::{CollectError, ConfigError};
use crate::places::Places;
use async_trait::async_trait;
use bytes::Bytes;
use find::File;
use rayon::prelude::*;
use schemars::JsonSchema;
use schemas::{Attributes, Cursor, Digest, Location, Original, RawItem, Reject};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// `kind = "documents"`.
pub const DESCRIPTOR: Descriptor = Descriptor {
    kind: "documents",
    about: "Markdown, text, HTML, org, notebooks, PDF and office files in folders on this machine.",
    example: "dkc add documents roots=~/notes",
    datasets: &["documents", "document_sections", "document_links"],
    secrets: &[],
    paths: &["roots"],
    schema: || schemars::schema_for!(DocumentsConfig),
    build,
};

/// A `source` table with `kind = "documents"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DocumentsConfig {
    /// Directories that hold documents, however deep.
    roots: Vec<PathBuf>,
    /// Names of other files that are text, with `*` and `?`, such as `*.tex` or `Makefile`.
    #[serde(default)]
    include: Vec<String>,
    /// What to leave out, as in `.gitignore`.
    #[serde(default)]
    exclude: Vec<String>,
    /// A larger document is rejected instead of read.
    #[serde(default = "default_max_document_bytes")]
    max_document_bytes: u64,
}

/// Scanned books have some tens of megabytes; a few are in memory at once.
fn default_max_document_bytes() -> u64 {
    64 << 20
}

fn build(table: toml_edit::Table) -> Result<Box<dyn Collector>, ConfigError> {
    let config: DocumentsConfig = toml_edit::de::from_document(toml_edit::DocumentMut::from(table))?;
    if config.roots.is_empty() {
        return Err(ConfigError {
            message: "`roots` names no directory; write roots = [\"~/notes\"]".to_owned(),
            span: None,
        });
    }
    Ok(Box::new(Documents { config }))
}

struct Documents {
    config: DocumentsConfig,
}

#[async_trait]
impl Collector for Documents {
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
    /// A run that trusts nothing is under way: if it is killed, the next one must not trust either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rereading: bool,
}

impl State {
    fn cursor(&self) -> Cursor {
        Cursor(serde_json::to_value(self).unwrap_or_default())
    }
}

/// What became of reading one file.
enum Outcome {
    Read(Digest, Bytes),
    Rejected(String),
    /// It is gone since it was listed.
    Missing,
}

/// One run over all roots.
struct Run<'a> {
    config: &'a DocumentsConfig,
    sink: Sink,
    places: Places,
    trusts: bool,
    state: State,
    /// Places that were rejected in earlier runs.
    rejected: Vec<String>,
}

impl<'a> Run<'a> {
    fn begin(config: &'a DocumentsConfig, from: Option<Cursor>, known: &Known, sink: Sink) -> Self {
        let from = from.map(|Cursor(value)| serde_json::from_value(value).unwrap_or_default());
        let trusts = from.is_some_and(|state: State| !state.rereading);
        Self {
            config,
            sink,
            places: Places::new(&known.locations),
            trusts,
            state: State {
                files: 0,
                rereading: !trusts && !known.locations.is_empty(),
            },
            rejected: known.rejected.clone(),
        }
    }

    fn walk(mut self) -> Result<(), CollectError> {
        let DocumentsConfig {
            roots,
            include,
            exclude,
            ..
        } = self.config;
        let tree = find::find(roots, include, exclude)
            .map_err(|(path, source)| CollectError::Unreadable { path, source })?;
        self.state.files = tree.files.len();
        let seen = tree.files.len() + tree.rejects.len();
        self.sink.progress().add_expected(seen as u64);
        self.sink.progress().add_seen(tree.rejects.len() as u64);
        for reject in &tree.rejects {
            self.places.keep(&reject.item);
        }
        let (unchanged, to_read) = self.compare(tree.files);
        self.sink.progress().add_seen(unchanged);
        let mut batch = Batch::at(self.state.cursor());
        batch.unchanged = unchanged;
        batch.rejects = tree.rejects;
        let mut rest = to_read.as_slice();
        while !rest.is_empty() {
            let (group, later) = rest.split_at(self.group(rest));
            self.read(group, &mut batch);
            rest = later;
            if !rest.is_empty() {
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
            .partition(|file| self.places.unchanged_if(&file.local.location, &file.version()));
        let orphans: HashSet<String> = self.places.orphans();
        to_read.extend(
            same.into_iter()
                .filter(|file| orphans.contains(&file.local.location)),
        );
        to_read.sort_unstable_by(|one, other| one.local.location.cmp(&other.local.location));
        ((all - to_read.len()) as u64, to_read)
    }

    /// How many of the files make a batch, at least one.
    fn group(&self, files: &[File]) -> usize {
        let mut bytes = 0_u64;
        let fits = |file: &&File| {
            bytes = bytes.saturating_add(file.local.size.min(self.config.max_document_bytes));
            bytes <= BATCH_BYTES as u64
        };
        files.iter().take(BATCH_ITEMS).take_while(fits).count().max(1)
    }

    /// Reads files on all cores, and adds them to the batch.
    fn read(&mut self, files: &[File], batch: &mut Batch) {
        let progress = self.sink.progress();
        let outcomes: Vec<Outcome> = files
            .par_iter()
            .map(|file| {
                let outcome = read(file, self.config.max_document_bytes);
                progress.add_seen(u64::from(!matches!(outcome, Outcome::Missing)));
                outcome
            })
            .collect();
        for (file, outcome) in files.iter().zip(outcomes) {
            let local = &file.local;
            let (digest, bytes) = match outcome {
                Outcome::Read(digest, bytes) => (digest, bytes),
                Outcome::Rejected(reason) => {
                    self.places.keep(&local.location);
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
            let modified_at = Some(local.modified_ns.div_euclid(1_000));
            let meaning = self.places.place(&local.location, &version, digest);
            batch.located.push(Location {
                location: local.location.clone(),
                item: meaning.item.clone(),
                folder: local.folder.clone(),
                version,
                flags: Vec::new(),
                received_at: modified_at,
            });
            if !meaning.tells {
                continue;
            }
            batch.originals.push(RawItem {
                item: meaning.item,
                media_type: file.media_type,
                fetched_at: now(),
                sha256: digest,
                original: Original::Bytes(bytes),
                attributes: Attributes {
                    received_at: modified_at,
                    path: Some(local.location.clone()),
                    project: file.project.clone(),
                    ..Attributes::default()
                },
            });
        }
        // Converters are started for each group of one type.
        batch.originals.sort_by_key(|original| original.media_type);
    }
}

fn read(file: &File, most: u64) -> Outcome {
    let too_long = |size: u64| {
        Outcome::Rejected(format!(
            "{size} bytes are more than `max_document_bytes` = {most}"
        ))
    };
    if file.local.size > most {
        return too_long(file.local.size);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(file.local.size).unwrap_or_default());
    let read = std::fs::File::open(&file.local.path)
        .and_then(|opened| opened.take(most.saturating_add(1)).read_to_end(&mut bytes));
    match read {
        Ok(size) if size as u64 > most => too_long(size as u64),
        Ok(_) => Outcome::Read(Digest::of(&bytes), bytes.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Missing,
        Err(error) => Outcome::Rejected(format!("cannot be read: {error}")),
    }
}
