//! Parquet files: written once, durably, under a name that holds their digest; read by column and row.
//!
//! A file is `dkc-<uuid v7>-<sha256 of its bytes>.parquet`: `verify` needs no other record to find rot.
//! It appears under that name only when every byte of it is on disk (F5).

mod read;
mod staged;
mod statistics;

pub use read::{Select, read, read_by, read_deletes, to_columns, to_dataset};
pub use staged::digest_of_file;
pub use statistics::ColumnStatistics;

use crate::error::StoreError;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use schemas::{Column, Dataset, Kind};
use staged::StagedFile;
use statistics::Tally;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Field ids that DuckLake reserves for the columns of a positional delete file.
const DELETE_FILE_PATH_ID: i32 = 2_147_483_646;
const DELETE_POSITION_ID: i32 = 2_147_483_645;

/// Bytes of a row group: what a writer holds in memory, and what a reader's thread takes at once.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// Bytes of a page before compression: on what zstd may look back. Pages of 4 MiB take 1 % less and a twentieth
/// more time; the buffer that a page grows in doubles, and this much mostly stays below 2 MiB of it.
const PAGE_BYTES: usize = 1_800_000;

/// Rows after which a page's size is looked at. Large rows must not make a page of many times [`PAGE_BYTES`].
const PAGE_CHECK_ROWS: usize = 32;

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
        // Its pages compress values where they lie; those of version 1 copy them first.
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(
            ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default(),
        ))
        .set_created_by("dkc".to_owned())
        // Those that version 2 takes by itself hold a megabyte for each column, used or not.
        .set_encoding(Encoding::PLAIN)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(None)
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_write_batch_size(PAGE_CHECK_ROWS)
        .set_offset_index_disabled(false);
    for column in dataset.into_iter().flat_map(Dataset::all_columns) {
        let path = match column.kind {
            Kind::TextList => ColumnPath::new(vec![
                column.name.to_owned(),
                "list".to_owned(),
                "element".to_owned(),
            ]),
            _ => ColumnPath::from(column.name),
        };
        let repeats = column.kind == Kind::TextList
            || matches!(
                column.name,
                "_source" | "_run" | "media_type" | "folder" | "source" | "disposition"
            );
        let is_long = column.kind == Kind::Bytes || column.name == "body_text";
        if repeats {
            properties = properties.set_column_dictionary_enabled(path.clone(), true);
        }
        if is_long || column.kind == Kind::TextList {
            properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
    }
    properties.build()
}

/// A file of one dataset being written: rows are appended, and it gets its name when it is whole.
///
/// Dropped before that, it is deleted; what a crash leaves is swept by whoever next writes alone.
pub struct DataFileWriter {
    file: StagedFile,
    tally: Tally,
}

impl DataFileWriter {
    /// An empty file in the directory of its table.
    ///
    /// # Errors
    /// [`StoreError`] when the directory cannot be written.
    pub fn create(directory: &Path, dataset: &'static Dataset) -> Result<Self, StoreError> {
        let file = StagedFile::create(directory, file_schema(dataset), writer_properties(Some(dataset)))?;
        Ok(Self {
            file,
            tally: Tally::of(dataset),
        })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be written; the file is then of no use.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        self.tally.add(batch);
        self.file.write(batch)
    }

    /// Compresses the pages that are still open, and ends the row group.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be written; the file is then of no use.
    pub fn encode(&mut self) -> Result<(), StoreError> {
        self.file.encode()
    }

    /// Ends the file, fsyncs it and names it; its directory is still to be fsynced.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written; nothing is left under a final name then.
    pub fn finish(self) -> Result<WrittenFile, StoreError> {
        let (mut written, metadata) = self.file.finish()?;
        written.statistics = self.tally.finish(&metadata);
        Ok(written)
    }
}

impl std::fmt::Debug for DataFileWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataFileWriter")
            .field("path", &self.file.path)
            .finish_non_exhaustive()
    }
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
    let mut file = StagedFile::create(directory, schema, properties)?;
    file.write(&batch)?;
    Ok(file.finish()?.0)
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
