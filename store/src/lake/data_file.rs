//! Parquet files: written once, durably, under a name that holds their digest; read by column and row.
//!
//! A file is `dkc-<uuid v7>-<sha256 of its bytes>.parquet`: `verify` needs no other record to find rot.
//! It appears under that name only when every byte of it is on disk (F5).

mod read;
mod statistics;

pub use read::{Select, read, read_deletes, to_dataset};
pub use statistics::ColumnStatistics;

use crate::error::StoreError;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use schemas::{Column, Dataset, Kind};
use sha2::{Digest, Sha256};
use statistics::Tally;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Field ids that DuckLake reserves for the columns of a positional delete file.
const DELETE_FILE_PATH_ID: i32 = 2_147_483_646;
const DELETE_POSITION_ID: i32 = 2_147_483_645;

/// Bytes of a row group: what a writer holds in memory, and what a reader's thread takes at once.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// Bytes of a page before compression: on what zstd may look back. With a megabyte, mails take 2 % more.
const PAGE_BYTES: usize = 4 << 20;

/// Rows after which a page's size is looked at. Large rows must not make a page of many times [`PAGE_BYTES`].
const PAGE_CHECK_ROWS: usize = 64;

/// How hard zstd tries. Level 1 leaves a tenth more of mails than 2, and level 3 costs half as much time
/// again for a fifteenth less (`make bench` prints size and speed).
const ZSTD_LEVEL: i32 = 2;

/// A file written and fsynced, not yet named by any snapshot.
#[derive(Debug, Clone)]
pub struct WrittenFile {
    /// Name within its table's directory.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Bytes of the Parquet footer, as DuckLake counts them: without its length and magic.
    pub footer_size: i64,
    /// Rows.
    pub rows: i64,
    /// Statistics by DuckLake column id.
    pub statistics: Vec<ColumnStatistics>,
}

/// The DuckLake column ids of a dataset's columns: they count from 1, and a list's element has its own.
pub fn column_ids(dataset: &Dataset) -> Vec<(&'static Column, i64)> {
    let mut next = 1;
    dataset
        .all_columns()
        .map(|column| {
            let id = next;
            next += if column.kind == Kind::TextList { 2 } else { 1 };
            (column, id)
        })
        .collect()
}

fn with_field_id(field: &Field, id: i64) -> Field {
    let mut words = field.metadata().clone();
    words.insert(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string());
    let data_type = match field.data_type() {
        DataType::List(element) => DataType::List(Arc::new(with_field_id(element, id + 1))),
        other => other.clone(),
    };
    Field::new(field.name(), data_type, field.is_nullable()).with_metadata(words)
}

/// The Arrow schema of a dataset's files: its own, with field ids, by which DuckLake finds columns.
pub fn file_schema(dataset: &Dataset) -> SchemaRef {
    let plain = schemas::to_arrow::arrow_schema(dataset);
    let fields: Fields = plain
        .fields()
        .iter()
        .zip(column_ids(dataset))
        .map(|(field, (_, id))| with_field_id(field, id))
        .collect();
    Arc::new(Schema::new(fields))
}

fn writer_properties(dataset: Option<&Dataset>) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(
            ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default(),
        ))
        .set_created_by("dkc".to_owned())
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(None)
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_write_batch_size(PAGE_CHECK_ROWS)
        .set_offset_index_disabled(false);
    for column in dataset.into_iter().flat_map(Dataset::all_columns) {
        let path = ColumnPath::from(column.name);
        if matches!(
            column.name,
            "_source" | "_run" | "media_type" | "folder" | "source" | "disposition"
        ) {
            properties = properties.set_column_dictionary_enabled(path, true);
        } else if column.kind == Kind::Bytes || matches!(column.name, "body_text") {
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        } else if column.kind == Kind::TextList {
            let path = ColumnPath::new(vec![
                column.name.to_owned(),
                "list".to_owned(),
                "element".to_owned(),
            ]);
            properties = properties
                .set_column_dictionary_enabled(path.clone(), true)
                .set_column_statistics_enabled(path, EnabledStatistics::None);
        }
    }
    properties.build()
}

/// Counts and digests what passes through.
struct Hashing<W> {
    inner: W,
    sha256: Sha256,
    bytes: i64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.sha256.update(buffer.get(..written).unwrap_or_default());
        self.bytes += written as i64;
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes rows of one dataset as one file of its directory, streaming.
///
/// # Errors
/// The first error of `batches`, or [`StoreError`] when the directory cannot be written; nothing is left
/// under a final name then.
pub fn write_rows(
    directory: &Path,
    dataset: &'static Dataset,
    batches: impl IntoIterator<Item = Result<RecordBatch, StoreError>>,
) -> Result<WrittenFile, StoreError> {
    let mut tally = Tally::of(dataset);
    let counted = batches.into_iter().inspect(|batch| {
        if let Ok(batch) = batch {
            tally.add(batch);
        }
    });
    let (mut file, metadata) = write_batches(
        directory,
        file_schema(dataset),
        writer_properties(Some(dataset)),
        counted,
    )?;
    file.statistics = tally.finish(&metadata);
    Ok(file)
}

/// Writes a positional delete file: the rows of one data file that are no longer there.
///
/// # Errors
/// [`StoreError`] when the directory cannot be written.
pub fn write_deletes(
    directory: &Path,
    data_file: &Path,
    positions: &[i64],
) -> Result<WrittenFile, StoreError> {
    let schema = Arc::new(Schema::new(vec![
        with_field_id(
            &Field::new("file_path", DataType::Utf8, false),
            i64::from(DELETE_FILE_PATH_ID),
        ),
        with_field_id(
            &Field::new("pos", DataType::Int64, false),
            i64::from(DELETE_POSITION_ID),
        ),
    ]));
    let path = data_file.display().to_string();
    let paths: ArrayRef = Arc::new(StringArray::from_iter_values(
        positions.iter().map(|_| path.as_str()),
    ));
    let positions: ArrayRef = Arc::new(Int64Array::from(positions.to_vec()));
    let batch = RecordBatch::try_new(schema.clone(), vec![paths, positions])?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by("dkc".to_owned())
        .build();
    Ok(write_batches(directory, schema, properties, [Ok(batch)])?.0)
}

fn write_batches(
    directory: &Path,
    schema: SchemaRef,
    properties: WriterProperties,
    batches: impl IntoIterator<Item = Result<RecordBatch, StoreError>>,
) -> Result<(WrittenFile, ParquetMetaData), StoreError> {
    let id = uuid::Uuid::now_v7();
    let staged = directory.join(format!("dkc-{id}.tmp"));
    let written = stage(&staged, schema, properties, batches).and_then(|(mut file, metadata)| {
        file.name = format!("dkc-{id}-{}.parquet", file.name);
        let path = directory.join(&file.name);
        fs::rename(&staged, &path).map_err(StoreError::io("write", &path))?;
        Ok((file, metadata))
    });
    if written.is_err() {
        // The error that brought us here is the one to tell; a leftover is swept at the next start.
        let _ = fs::remove_file(&staged);
    }
    written
}

/// Writes and fsyncs a file; its name is still only the digest.
fn stage(
    path: &Path,
    schema: SchemaRef,
    properties: WriterProperties,
    batches: impl IntoIterator<Item = Result<RecordBatch, StoreError>>,
) -> Result<(WrittenFile, ParquetMetaData), StoreError> {
    let failed = || StoreError::parquet("write", path);
    let file = File::create_new(path).map_err(StoreError::io("create", path))?;
    let mut hashing = Hashing {
        inner: BufWriter::with_capacity(1 << 18, file),
        sha256: Sha256::new(),
        bytes: 0,
    };
    let mut writer = ArrowWriter::try_new(&mut hashing, schema.clone(), Some(properties)).map_err(failed())?;
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        rows += batch.num_rows() as i64;
        // Same columns; the file's schema adds the field ids.
        writer.write(&fit(&schema, &batch)?).map_err(failed())?;
    }
    let metadata = writer.finish().map_err(failed())?;
    drop(writer);
    let (bytes, digest) = (hashing.bytes, hashing.sha256.finalize());
    let file = hashing
        .inner
        .into_inner()
        .map_err(|e| StoreError::io("write", path)(e.into_error()))?;
    file.sync_all().map_err(StoreError::io("fsync", path))?;
    let footer_size = footer_size(path)?;
    let name = schemas::Digest(digest.into()).to_string();
    Ok((
        WrittenFile {
            name,
            size: bytes,
            footer_size,
            rows,
            statistics: Vec::new(),
        },
        metadata,
    ))
}

/// The footer's length: the four bytes before the closing magic (Parquet format, "File format").
fn footer_size(path: &Path) -> Result<i64, StoreError> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path).map_err(StoreError::io("read", path))?;
    let mut length = [0; 4];
    file.seek(SeekFrom::End(-8))
        .and_then(|_| file.read_exact(&mut length))
        .map_err(StoreError::io("read", path))?;
    Ok(i64::from(u32::from_le_bytes(length)))
}

/// Makes names created in a directory outlive a power cut.
///
/// # Errors
/// [`StoreError::Io`] when the directory cannot be fsynced.
pub fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    File::open(directory)
        .and_then(|d| d.sync_all())
        .map_err(StoreError::io("fsync", directory))
}

/// The batch with the columns of `schema`, found by name; one that it lacks is null throughout.
fn fit(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
            Some(column) => arrow::compute::cast(column, field.data_type()),
            None => Ok(arrow_array::new_null_array(field.data_type(), batch.num_rows())),
        })
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema.clone(), columns)
}

/// The digest that a file's name promises, when it is one of ours.
pub fn promised_digest(path: &Path) -> Option<&str> {
    path.file_name()?
        .to_str()?
        .strip_prefix("dkc-")?
        .strip_suffix(".parquet")?
        .rsplit_once('-')
        .map(|(_, digest)| digest)
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// [`StoreError::Io`] when it cannot be read.
pub fn digest_of_file(path: &Path) -> Result<String, StoreError> {
    let mut file = File::open(path).map_err(StoreError::io("read", path))?;
    let mut hashing = Hashing {
        inner: io::sink(),
        sha256: Sha256::new(),
        bytes: 0,
    };
    io::copy(&mut file, &mut hashing).map_err(StoreError::io("read", path))?;
    Ok(schemas::Digest(hashing.sha256.finalize().into()).to_string())
}

/// Files of ours in a directory that `named` does not list: what a crash left behind.
///
/// # Errors
/// [`StoreError::Io`] when the directory cannot be read.
pub fn unnamed_files(directory: &Path, named: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, StoreError> {
    let mut unnamed = Vec::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(unnamed),
        Err(error) => return Err(StoreError::io("read", directory)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(StoreError::io("read", directory))?;
        let name = entry.file_name();
        if let Some(name) = name.to_str()
            && name.starts_with("dkc-")
            && !named(name)
        {
            unnamed.push(entry.path());
        }
    }
    Ok(unnamed)
}
