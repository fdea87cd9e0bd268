//! A Parquet file on its way to its name: digested as it is written, fsynced, then renamed (F5).

use super::{WrittenFile, fit};
use crate::error::StoreError;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A Parquet file under a name that no reader takes for one.
pub(super) struct StagedFile {
    id: uuid::Uuid,
    pub(super) path: PathBuf,
    schema: SchemaRef,
    rows: i64,
    writer: ArrowWriter<Hashing<BufWriter<File>>>,
}

impl StagedFile {
    pub(super) fn create(
        directory: &Path,
        schema: SchemaRef,
        properties: WriterProperties,
    ) -> Result<Self, StoreError> {
        let id = uuid::Uuid::now_v7();
        let path = directory.join(format!("dkc-{id}.tmp"));
        let file = File::create_new(&path).map_err(StoreError::io("create", &path))?;
        let hashing = Hashing::new(BufWriter::with_capacity(1 << 18, file));
        let writer = ArrowWriter::try_new(hashing, schema.clone(), Some(properties))
            .map_err(StoreError::parquet("write", &path))?;
        Ok(Self {
            id,
            path,
            schema,
            rows: 0,
            writer,
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        // Same columns; the file's schema adds the field ids.
        let batch = fit(&self.schema, batch)?;
        self.rows += batch.num_rows() as i64;
        self.writer
            .write(&batch)
            .map_err(StoreError::parquet("write", &self.path))
    }

    /// Ends a row group.
    pub(super) fn encode(&mut self) -> Result<(), StoreError> {
        self.writer
            .flush()
            .map_err(StoreError::parquet("write", &self.path))
    }

    pub(super) fn finish(mut self) -> Result<(WrittenFile, ParquetMetaData), StoreError> {
        // This flushes what is buffered below it, too.
        let finished = self.writer.finish();
        let metadata = finished.map_err(StoreError::parquet("write", &self.path))?;
        let hashing = self.writer.inner();
        hashing
            .inner
            .get_ref()
            .sync_all()
            .map_err(StoreError::io("fsync", &self.path))?;
        let digest = schemas::Digest(hashing.sha256.clone().finalize().into());
        let name = format!("dkc-{}-{digest}.parquet", self.id);
        let path = self.path.with_file_name(&name);
        fs::rename(&self.path, &path).map_err(StoreError::io("write", &path))?;
        let written = WrittenFile {
            name,
            size: hashing.bytes,
            footer_size: hashing.footer_size(),
            rows: self.rows,
            statistics: Vec::new(),
        };
        Ok((written, metadata))
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // After it has its name there is nothing here any more; a leftover is swept by whoever next writes alone.
        let _ = fs::remove_file(&self.path);
    }
}

/// Counts and digests what passes through, and keeps its end.
struct Hashing<W> {
    inner: W,
    sha256: Sha256,
    bytes: i64,
    last: [u8; 8],
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            sha256: Sha256::new(),
            bytes: 0,
            last: [0; 8],
        }
    }

    /// The footer's length: the four bytes before the closing magic (Parquet format, "File format").
    fn footer_size(&self) -> i64 {
        let [a, b, c, d, ..] = self.last;
        i64::from(u32::from_le_bytes([a, b, c, d]))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        let buffer = buffer.get(..written).unwrap_or_default();
        self.sha256.update(buffer);
        self.bytes += written as i64;
        let end = buffer
            .get(written.saturating_sub(self.last.len())..)
            .unwrap_or_default();
        self.last.rotate_left(end.len());
        let kept = self.last.len() - end.len();
        if let Some(last) = self.last.get_mut(kept..) {
            last.copy_from_slice(end);
        }
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// [`StoreError::Io`] when it cannot be read.
pub fn digest_of_file(path: &Path) -> Result<String, StoreError> {
    let mut file = File::open(path).map_err(StoreError::io("read", path))?;
    let mut hashing = Hashing::new(io::sink());
    io::copy(&mut file, &mut hashing).map_err(StoreError::io("read", path))?;
    Ok(schemas::Digest(hashing.sha256.finalize().into()).to_string())
}
