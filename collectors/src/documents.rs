//! `documents`: text files and office documents in folders, read-only.
//!
//! - In: directories. Markdown, text, HTML, org, notebooks, canvases, PDF, DOCX, ODT, EPUB, XLSX, and what `include`
//!   names.
//! - Out: originals, which converters take apart. A location is a path; an item is the SHA-256 of a file.
//! - Cursor: that of `file_run`. A file with the size and time it had is not opened.
//! - A file whose name is one of a secret is a reject, and not opened.
//! - Not here: what is in a document.

mod find;
mod project;

use crate::collect::{
    BATCH_BYTES, BATCH_ITEMS, Batch, Collector, Descriptor, Known, Sink, now, on_own_thread,
};
use crate::error::{CollectError, ConfigError};
use crate::file_run::{FileRun, Outcome};
use crate::local_files::{doubt_folder, is_known};
use async_trait::async_trait;
use bytes::Bytes;
use find::File;
use schemars::JsonSchema;
use schemas::{Attributes, Cursor, Digest, Original, RawItem};
use serde::Deserialize;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
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
    doubt: doubt_folder,
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
        let DocumentsConfig {
            roots,
            include,
            exclude,
            max_document_bytes,
        } = self.config.clone();
        on_own_thread(move || {
            let is_known = |root: &Path| is_known(&known.locations, root);
            let tree = find::find(&roots, &include, &exclude, is_known)
                .map_err(|(path, source)| CollectError::Unreadable { path, source })?;
            FileRun::begin(from, false, &known, sink).all(
                tree,
                |files| group(files, max_document_bytes),
                |run, files, batch| {
                    read(run, files, max_document_bytes, batch);
                    Ok(())
                },
            )
        })
        .await
    }
}

/// How many of the files make a batch.
fn group(files: &[File], max_document_bytes: u64) -> usize {
    let mut bytes = 0_u64;
    let fits = |file: &&File| {
        bytes = bytes.saturating_add(file.local.size.min(max_document_bytes));
        bytes <= BATCH_BYTES as u64
    };
    files.iter().take(BATCH_ITEMS).take_while(fits).count()
}

/// Reads files, and adds them to the batch.
fn read(run: &mut FileRun, files: &[File], max_document_bytes: u64, batch: &mut Batch) {
    for told in run.read(files, batch, |file| bytes_of(file, max_document_bytes)) {
        let File {
            local,
            media_type,
            project,
            ..
        } = told.file;
        batch.originals.push(RawItem {
            item: told.meaning.item,
            media_type,
            fetched_at: now(),
            sha256: told.digest,
            original: Original::Bytes(told.content),
            attributes: Attributes {
                received_at: Some(local.modified_at()),
                path: Some(local.location.clone()),
                project: project.clone(),
                ..Attributes::default()
            },
        });
    }
    // Converters are started for each group of one type.
    batch.originals.sort_by_key(|original| original.media_type);
}

fn bytes_of(file: &File, most: u64) -> Outcome<Bytes> {
    if file.is_secret {
        return Outcome::Rejected {
            reason: "looks by its name as if it held a secret; those are not collected. If it holds none, rename it"
                .to_owned(),
            // What the lake has of it goes.
            is_read: true,
        };
    }
    let unread = |reason: String| Outcome::Rejected {
        reason,
        is_read: false,
    };
    let too_long = |size: u64| {
        unread(format!(
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
        Err(error) => unread(format!("cannot be read: {error}")),
    }
}
