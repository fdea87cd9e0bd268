//! Rows → a file that appears whole or not at all, and its manifest.
//!
//! - In: a stream, a path. Out: the file, fsynced under its name; then the same with `FILE.manifest.json`.
//! - Not here: formats (`encode`), what a manifest says (`manifest`).

use super::manifest::{Column, Content, Manifest, Origin, Table};
use super::{ExportError, Form, RowsDigest, SendableRecordBatchStream, Written, cells, write_digested};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Bytes gathered before a file is written to.
const FILE_BUFFER_BYTES: usize = 1 << 20;

/// A file in the making, for its owner alone, beside where it will appear.
pub(super) struct Emerging {
    path: PathBuf,
    file: NamedTempFile,
}

impl Emerging {
    pub(super) fn new(path: &Path) -> Result<Self, ExportError> {
        let file = tempfile::Builder::new()
            .prefix(".dkc-")
            .suffix(".tmp")
            .tempfile_in(folder_of(path))
            .map_err(refused(path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    pub(super) fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Makes its bytes outlive a power cut.
    pub(super) fn sync(&self) -> Result<(), ExportError> {
        self.file.as_file().sync_all().map_err(refused(&self.path))
    }

    /// Gives it its name, which outlives a power cut when [`settle`] has returned.
    pub(super) fn appear(self, replace: bool) -> Result<(), ExportError> {
        let Self { path, file } = self;
        let renamed = match replace {
            true => file.persist(&path),
            false => file.persist_noclobber(&path),
        };
        match renamed {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(ExportError::Exists(path))
            }
            Err(error) => Err(refused(&path)(error.error)),
        }
    }
}

/// Makes the names in the folder of a path outlive a power cut.
pub(super) fn settle(path: &Path) -> Result<(), ExportError> {
    let folder = File::open(folder_of(path));
    folder.and_then(|folder| folder.sync_all()).map_err(refused(path))
}

pub(super) fn refused(path: &Path) -> impl Fn(io::Error) -> ExportError + use<> {
    let path = path.to_owned();
    move |source| ExportError::File {
        path: path.clone(),
        source,
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// The name for what is in a file: `cloud_data` for `out/cloud_data.js`.
pub fn name_of_path(path: &Path) -> String {
    let name = path.file_stem().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Writes all rows of `stream` to the file `path`, and a manifest beside it. Each appears whole or not at all, and only
/// its owner may read it.
///
/// # Errors
/// [`ExportError::Exists`] unless `force`; else as [`super::write_stream`].
pub async fn write_file(
    stream: SendableRecordBatchStream,
    path: &Path,
    form: Form<'_>,
    origin: Origin,
    force: bool,
) -> Result<Written, ExportError> {
    let beside = Manifest::path_of(path);
    if !force
        && let Some(there) = [path, &beside]
            .iter()
            .find(|path| path.symlink_metadata().is_ok())
    {
        return Err(ExportError::Exists(there.to_path_buf()));
    }
    let (schema, _) = cells::open_schema(&stream.schema());
    let mut rows = RowsDigest::default();
    let mut emerging = Emerging::new(path)?;
    let form = Form {
        moment: Some(origin.snapshot_time),
        scratch: Some(folder_of(path)),
        ..form
    };
    let mut out = io::BufWriter::with_capacity(FILE_BUFFER_BYTES, emerging.file());
    let (written, sha256) = write_digested(stream, form, &mut out, Some(&mut rows)).await?;
    drop(out);
    emerging.sync()?;
    if force {
        // The manifest of what is replaced must not stand beside what replaces it.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(&beside)(error)),
            _ => settle(&beside)?,
        }
    }
    emerging.appear(force)?;
    settle(path)?;
    let columns = schema.fields().iter();
    let table = Table {
        file: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        format: form.format.name().to_owned(),
        columns: columns
            .map(|field| Column {
                name: field.name().clone(),
                data_type: field.data_type().to_string(),
            })
            .collect(),
        rows: written.rows,
        rows_digest: rows.finish().to_string(),
        bytes: written.bytes,
        sha256: sha256.map(|sha256| sha256.to_string()).unwrap_or_default(),
    };
    write_manifest(&Manifest::new(origin, Content::Table(table))?, &beside, force)?;
    Ok(written)
}

/// Writes a manifest.
pub(super) fn write_manifest(manifest: &Manifest, path: &Path, replace: bool) -> Result<(), ExportError> {
    let mut emerging = Emerging::new(path)?;
    let mut out = io::BufWriter::new(emerging.file());
    serde_json::to_writer_pretty(&mut out, manifest)?;
    writeln!(out).and_then(|()| out.flush()).map_err(refused(path))?;
    drop(out);
    emerging.sync()?;
    emerging.appear(replace)?;
    settle(path)
}
