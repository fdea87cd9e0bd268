//! Originals out of the lake again, or the attachments within them, a file each.
//!
//! - In: which items, a folder. Out: their bytes, each checked by its digest; a problem for each that is not.
//! - Memory: one mail, or 32 MiB of smaller ones, and some 150 bytes for each item chosen.
//! - Not here: names and files (`store::export::Folder`), what is within a mail (`transforms`).

use crate::error::RunError;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, BinaryViewArray, Int64Array, RecordBatch, StringArray};
use schemas::datasets::email_attachments::EmailAttachment;
use schemas::datasets::{email_attachments, raw};
use schemas::{SourceName, media_type};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use store::export::{Folder, FolderError, Kept, Selection, Wanted};
use store::lake::index::texts;
use store::{Store, StoreError};
use transforms::convert_mail::{cut_attachments, date_and_subject};

/// Which bytes of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// The original, as it was fetched.
    Original,
    /// What is attached to it, decoded.
    Attachments,
}

/// What came of it.
#[derive(Debug, Default, serde::Serialize)]
pub struct Exported {
    /// Files written.
    pub written: u64,
    /// Files that were there with the same bytes.
    pub unchanged: u64,
    /// What could not be written, and why.
    pub problems: Vec<Problem>,
}

/// Something that could not be written.
#[derive(Debug, serde::Serialize)]
pub struct Problem {
    /// `_source` of the item.
    pub source: String,
    /// `_item`.
    pub item: String,
    /// Position of the attachment within it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<i64>,
    /// Why, in a sentence.
    pub reason: String,
}

/// The attachment of a mail at a position, with its decoded bytes, if it has one there.
///
/// # Errors
/// Why it is no mail that can be read.
pub fn attachment(
    item: &str,
    mail: &[u8],
    ordinal: i64,
) -> Result<Option<(EmailAttachment, Vec<u8>)>, String> {
    let mut found = None;
    cut_attachments(item, mail, &mut |attachment, bytes| {
        if attachment.ordinal == ordinal {
            found = Some((attachment, bytes.to_vec()));
        }
    })?;
    Ok(found)
}

/// Writes the chosen items to a folder, as they were at a snapshot; then the folder's manifest, whose path is given
/// back.
///
/// # Errors
/// [`RunError`] when the lake cannot be read or the folder not be written. What is wrong with one item does not end it.
pub async fn export_originals(
    store: &Store,
    snapshot: i64,
    selection: Selection,
    which: Bytes,
    folder: Folder,
) -> Result<(Exported, PathBuf), RunError> {
    let mut export = Export {
        folder,
        exported: Exported::default(),
        source: String::new(),
        chosen: HashMap::new(),
        attached: HashMap::new(),
    };
    for (source, chosen) in selection.0 {
        let units: HashSet<String> = chosen.keys().cloned().collect();
        export.attached = match which {
            Bytes::Original => HashMap::new(),
            Bytes::Attachments => attachments_of(store, snapshot, &source, &units, &chosen).await?,
        };
        export.source = source.to_string();
        if which == Bytes::Attachments {
            export.miss_attachments(&chosen);
        }
        export.chosen = chosen;
        let mut batches = store.units_at(&raw::DATASET, snapshot, &source, units).await?;
        export = tokio::task::spawn_blocking(move || {
            while let Some(batch) = batches.blocking_recv() {
                export.batch(&batch?, which)?;
            }
            Ok::<_, RunError>(export)
        })
        .await??;
        let left: BTreeSet<String> = std::mem::take(&mut export.chosen).into_keys().collect();
        for item in left {
            export.problem(&item, None, "there is no original of it in `raw`".to_owned());
        }
    }
    let Export { folder, exported, .. } = export;
    let manifest = tokio::task::spawn_blocking(move || folder.finish()).await??;
    Ok((exported, manifest))
}

/// Of each item its attachments as `email_attachments` has them: position and digest.
type Attached = HashMap<String, BTreeMap<i64, String>>;

async fn attachments_of(
    store: &Store,
    snapshot: i64,
    source: &SourceName,
    units: &HashSet<String>,
    chosen: &HashMap<String, Option<BTreeSet<i64>>>,
) -> Result<Attached, RunError> {
    let mut attached = Attached::new();
    let mut batches = store
        .units_at(&email_attachments::DATASET, snapshot, source, units.clone())
        .await?;
    while let Some(batch) = batches.recv().await {
        let batch = batch?;
        let (items, digests) = (text(&batch, "_item")?, text(&batch, "sha256")?);
        let ordinals = number(&batch, "ordinal")?;
        for row in 0..batch.num_rows() {
            let (item, ordinal) = (items.value(row), ordinals.value(row));
            let is_chosen =
                |which: &Option<BTreeSet<i64>>| which.as_ref().is_none_or(|which| which.contains(&ordinal));
            if chosen.get(item).is_some_and(is_chosen) {
                let of_item = attached.entry(item.to_owned()).or_default();
                of_item.insert(ordinal, digests.value(row).to_owned());
            }
        }
    }
    Ok(attached)
}

/// An export on its way.
struct Export {
    folder: Folder,
    exported: Exported,
    /// The source whose items are written now.
    source: String,
    /// Its items that were not met yet.
    chosen: HashMap<String, Option<BTreeSet<i64>>>,
    /// Attachments that were not met yet.
    attached: Attached,
}

/// A row of `raw`.
struct Row<'a> {
    item: &'a str,
    media_type: &'a str,
    sha256: &'a str,
    bytes: Option<&'a [u8]>,
    path: Option<&'a str>,
}

impl Export {
    /// Tells which attachments were chosen that no mail has.
    fn miss_attachments(&mut self, chosen: &HashMap<String, Option<BTreeSet<i64>>>) {
        let mut missed = BTreeSet::new();
        for (item, ordinals) in chosen {
            let attached = self.attached.get(item);
            let there = |ordinal: &i64| attached.is_some_and(|attached| attached.contains_key(ordinal));
            let missing = ordinals.iter().flatten().filter(|ordinal| !there(ordinal));
            missed.extend(missing.map(|ordinal| (item.clone(), *ordinal)));
        }
        for (item, ordinal) in missed {
            self.problem(
                &item,
                Some(ordinal),
                "`email_attachments` has no such row".to_owned(),
            );
        }
    }

    fn batch(&mut self, batch: &RecordBatch, which: Bytes) -> Result<(), RunError> {
        let (items, types) = (text(batch, "_item")?, text(batch, "media_type")?);
        let (digests, paths) = (text(batch, "sha256")?, text(batch, "path")?);
        let bytes: &BinaryViewArray = batch
            .column_by_name("bytes")
            .and_then(|column| column.as_binary_view_opt())
            .ok_or_else(|| lacks("bytes"))?;
        for n in 0..batch.num_rows() {
            let row = Row {
                item: items.value(n),
                media_type: types.value(n),
                sha256: digests.value(n),
                bytes: bytes.is_valid(n).then(|| bytes.value(n)),
                path: paths.is_valid(n).then(|| paths.value(n)),
            };
            self.chosen.remove(row.item);
            match which {
                Bytes::Original => self.original(&row)?,
                Bytes::Attachments => self.attachments(&row)?,
            }
        }
        Ok(())
    }

    fn original(&mut self, row: &Row<'_>) -> Result<(), RunError> {
        let path = row.path.map(Path::new);
        let stem = path.and_then(Path::file_stem).and_then(|stem| stem.to_str());
        let ending = path.and_then(Path::extension).and_then(|ending| ending.to_str());
        let (date, title) = match row.bytes {
            Some(bytes) if row.media_type == "message/rfc822" => date_and_subject(bytes),
            _ => (None, stem.map(str::to_owned)),
        };
        let wanted = Wanted {
            source: &self.source,
            item: row.item,
            ordinal: None,
            date,
            title: title.as_deref().unwrap_or_default(),
            extension: media_type::extension(row.media_type)
                .or(ending)
                .unwrap_or_default(),
            sha256: row.sha256,
        };
        let kept = match (row.bytes, path) {
            (Some(bytes), _) => self.folder.keep(&wanted, bytes),
            (None, Some(path)) => match open_regular(path) {
                Ok(file) => self.folder.keep(&wanted, file),
                Err(error) => Err(FolderError::Read(error)),
            },
            (None, None) => Err(FolderError::Read(io::Error::other(
                "`raw` has neither bytes nor path",
            ))),
        };
        self.note(row.item, None, kept, row.path)
    }

    fn attachments(&mut self, row: &Row<'_>) -> Result<(), RunError> {
        let mut wanted_of_item = self.attached.remove(row.item).unwrap_or_default();
        if wanted_of_item.is_empty() {
            return Ok(());
        }
        let Some(bytes) = row.bytes else {
            self.problem(row.item, None, "its original is not in the lake".to_owned());
            return Ok(());
        };
        let (date, _) = date_and_subject(bytes);
        let source = self.source.clone();
        let (mut kept, folder) = (Vec::new(), &mut self.folder);
        let cut = cut_attachments(row.item, bytes, &mut |attachment, bytes| {
            let Some(sha256) = wanted_of_item.remove(&attachment.ordinal) else {
                return;
            };
            let name = Path::new(attachment.filename.as_deref().unwrap_or_default());
            let ending = name.extension().and_then(|ending| ending.to_str());
            let wanted = Wanted {
                source: &source,
                item: row.item,
                ordinal: Some(attachment.ordinal),
                date,
                title: name
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .unwrap_or_default(),
                extension: ending
                    .or(media_type::extension(&attachment.media_type))
                    .unwrap_or_default(),
                sha256: &sha256,
            };
            kept.push((attachment.ordinal, folder.keep(&wanted, bytes)));
        });
        for (ordinal, kept) in kept {
            self.note(row.item, Some(ordinal), kept, None)?;
        }
        let reason = match cut {
            Ok(()) => {
                "it is in `email_attachments` and not in the mail; `dkc rebuild email_attachments`".to_owned()
            }
            Err(reason) => reason,
        };
        for (ordinal, _) in wanted_of_item {
            self.problem(row.item, Some(ordinal), reason.clone());
        }
        Ok(())
    }

    /// Counts what became of a file. Only when the folder cannot be written to, nothing else is tried.
    fn note(
        &mut self,
        item: &str,
        ordinal: Option<i64>,
        kept: Result<Kept, FolderError>,
        path: Option<&str>,
    ) -> Result<(), RunError> {
        match kept {
            Ok(Kept::Written) => self.exported.written += 1,
            Ok(Kept::Unchanged) => self.exported.unchanged += 1,
            Err(FolderError::Write(error)) => return Err(error.into()),
            Err(error) => {
                let place = path.map(|path| format!("`{path}`: ")).unwrap_or_default();
                self.problem(item, ordinal, format!("{place}{error}"));
            }
        }
        Ok(())
    }

    fn problem(&mut self, item: &str, ordinal: Option<i64>, reason: String) {
        self.exported.problems.push(Problem {
            source: self.source.clone(),
            item: item.to_owned(),
            ordinal,
            reason,
        });
    }
}

/// Opens a file that is one: a pipe would be waited for without end.
fn open_regular(path: &Path) -> io::Result<File> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is no file any more"));
    }
    File::open(path)
}

fn lacks(column: &str) -> StoreError {
    StoreError::Unfit {
        reason: format!("a table lacks `{column}`"),
    }
}

fn text<'a>(batch: &'a RecordBatch, column: &str) -> Result<&'a StringArray, StoreError> {
    texts(batch, column).ok_or_else(|| lacks(column))
}

fn number<'a>(batch: &'a RecordBatch, column: &str) -> Result<&'a Int64Array, StoreError> {
    let found = batch.column_by_name(column);
    let found = found.and_then(|column| column.as_primitive_opt::<Int64Type>());
    found.ok_or_else(|| lacks(column))
}
