//! Query results → text and files: CSV, JSON, NDJSON, Markdown, Parquet, and tables for people.
//!
//! - In: a stream of record batches. Out: bytes, written as the batches come, so that memory does not
//!   grow with the result.
//! - Not here: queries; standard output and its terminal (`cli::print`).

mod cells;
mod markdown;
mod table;
mod visible;

pub use visible::{is_unsafe, visible};

use arrow::error::ArrowError;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::error::DataFusionError;
pub use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How rows are written.
///
/// In all text formats moments are RFC 3339 in UTC with `Z`, and bytes are hexadecimal. Lists are JSON
/// arrays; in CSV, Markdown and tables, which have no lists, they are the text of that array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns for people; control characters are made visible.
    Table,
    /// RFC 4180 with a header row; an absent value is an empty field.
    Csv,
    /// One JSON array of objects.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// A table of GitHub Flavored Markdown; what Markdown would interpret is escaped.
    Markdown,
    /// Parquet, zstd; strings and bytes in their plain encodings, which every reader knows.
    Parquet,
}

impl Format {
    /// The formats that are text, by name: what `dkc sql --format` takes.
    pub const TEXT: &[&str] = &["table", "csv", "json", "ndjson", "markdown"];

    /// The format that a file's extension asks for.
    ///
    /// # Errors
    /// [`ExportError::Format`] when the extension is missing or of no format.
    pub fn of_path(path: &Path) -> Result<Self, ExportError> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("txt") => Ok(Self::Table),
            Some("table") | None => Err(ExportError::Format(path.display().to_string())),
            Some(extension) => extension
                .parse()
                .map_err(|_| ExportError::Format(path.display().to_string())),
        }
    }
}

impl FromStr for Format {
    type Err = ExportError;

    fn from_str(name: &str) -> Result<Self, ExportError> {
        match name.to_ascii_lowercase().as_str() {
            "table" => Ok(Self::Table),
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "ndjson" | "jsonl" => Ok(Self::Ndjson),
            "markdown" | "md" => Ok(Self::Markdown),
            "parquet" => Ok(Self::Parquet),
            _ => Err(ExportError::Format(name.to_owned())),
        }
    }
}

/// What was written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// What whoever reads the result should know, a sentence each: values shortened, columns renamed.
    pub notes: Vec<String>,
}

/// Why a result could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The query broke off.
    #[error("the query failed")]
    Query(#[source] DataFusionError),
    /// A value has no form in the format.
    #[error("a value cannot be written in this format")]
    Encode(#[from] ArrowError),
    /// As [`Self::Encode`], from the Parquet writer.
    #[error("the rows cannot be written as Parquet")]
    Parquet(#[from] ParquetError),
    /// The destination refused the bytes.
    #[error("cannot write the result")]
    Write(#[from] io::Error),
    /// The file is there already.
    #[error("`{}` exists; add `--force` to replace it", .0.display())]
    Exists(PathBuf),
    /// The destination file cannot be made, synced or renamed.
    #[error("cannot write `{}`; check the folder, its free space and your rights", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// No format has that name or extension.
    #[error("`{0}` names no format; use csv, json, ndjson, md or parquet")]
    Format(String),
}

/// Writes all rows of `stream` to `out`. Tables are as wide as their values.
///
/// # Errors
/// [`ExportError`] when the query breaks off or `out` refuses; what was written before stays written.
pub async fn write_stream(
    stream: SendableRecordBatchStream,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<Written, ExportError> {
    write_fitted(stream, format, None, out).await
}

/// As [`write_stream`], but tables keep within `width` terminal columns: values are shortened with `…`,
/// and a note says so.
///
/// # Errors
/// As [`write_stream`].
pub async fn write_fitted(
    stream: SendableRecordBatchStream,
    format: Format,
    width: Option<usize>,
    out: &mut (dyn Write + Send),
) -> Result<Written, ExportError> {
    let mut out = Counted {
        out,
        bytes: 0,
        failure: None,
    };
    let poured = pour(stream, format, width, &mut out).await;
    // The encoders bury the cause in words of their own.
    if let Some(failure) = out.failure {
        return Err(ExportError::Write(failure));
    }
    let (rows, notes) = poured?;
    out.out.flush()?;
    Ok(Written {
        rows,
        bytes: out.bytes,
        notes,
    })
}

/// Writes all rows of `stream` to the file `path`, in the format of its extension. The file appears
/// whole or not at all, and only its owner may read it.
///
/// # Errors
/// [`ExportError::Exists`] unless `force`; else as [`write_stream`].
pub async fn write_file(
    stream: SendableRecordBatchStream,
    path: &Path,
    force: bool,
) -> Result<Written, ExportError> {
    let format = Format::of_path(path)?;
    if !force && path.symlink_metadata().is_ok() {
        return Err(ExportError::Exists(path.to_owned()));
    }
    let refused = |source| ExportError::File {
        path: path.to_owned(),
        source,
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let file = tempfile::Builder::new()
        .prefix(".dkc-")
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(refused)?;
    let mut out = io::BufWriter::with_capacity(FILE_BUFFER_BYTES, file);
    let written = write_stream(stream, format, &mut out).await?;
    let file = out.into_inner().map_err(|error| refused(error.into_error()))?;
    file.as_file().sync_all().map_err(refused)?;
    let renamed = if force {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    renamed.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => ExportError::Exists(path.to_owned()),
        _ => refused(error.error),
    })?;
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(refused)?;
    Ok(written)
}

/// Bytes gathered before a file is written to.
const FILE_BUFFER_BYTES: usize = 1 << 20;

/// Bytes of a Parquet row group, which the writer holds in memory. Smaller: readers skip less at once.
const ROW_GROUP_BYTES: usize = 64 << 20;

async fn pour(
    mut stream: SendableRecordBatchStream,
    format: Format,
    width: Option<usize>,
    out: &mut Counted<'_>,
) -> Result<(u64, Vec<String>), ExportError> {
    let (schema, mut notes) = cells::open_schema(&stream.schema());
    let mut writer: Box<dyn Rows + Send + '_> = match format {
        Format::Table => Box::new(table::Table::new(schema.clone(), width, out)),
        Format::Csv => Box::new(Csv::new(schema.clone(), out)?),
        Format::Json => Box::new(cells::json_options().build::<_, arrow::json::writer::JsonArray>(out)),
        Format::Ndjson => Box::new(cells::json_options().build::<_, arrow::json::writer::LineDelimited>(out)),
        Format::Markdown => Box::new(markdown::Markdown::new(&schema, out)?),
        Format::Parquet => Box::new(parquet_writer(schema.clone(), out)?),
    };
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = cells::open(&batch.map_err(ExportError::Query)?, &schema)?;
        rows += batch.num_rows() as u64;
        writer.write(&batch)?;
    }
    notes.extend(writer.finish()?);
    Ok((rows, notes))
}

/// A writer of one format.
trait Rows {
    /// Writes the rows of a batch.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError>;
    /// Writes what comes after the last row, and returns notes for the reader.
    fn finish(self: Box<Self>) -> Result<Vec<String>, ExportError>;
}

struct Csv<W: Write>(arrow::csv::Writer<W>);

impl<W: Write> Csv<W> {
    fn new(schema: SchemaRef, out: W) -> Result<Self, ExportError> {
        let mut csv = Self(
            arrow::csv::WriterBuilder::new()
                .with_timestamp_tz_format(cells::MOMENT.to_owned())
                .build(out),
        );
        // The header goes with the first batch, also when no row follows.
        csv.write(&RecordBatch::new_empty(schema))?;
        Ok(csv)
    }
}

impl<W: Write> Rows for Csv<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        Ok(self.0.write(&cells::flat(batch)?)?)
    }

    fn finish(self: Box<Self>) -> Result<Vec<String>, ExportError> {
        Ok(Vec::new())
    }
}

impl<W: Write, F: arrow::json::writer::JsonFormat> Rows for arrow::json::Writer<W, F> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        Ok(Self::write(self, batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, ExportError> {
        Self::finish(&mut self)?;
        Ok(Vec::new())
    }
}

impl<W: Write + Send> Rows for ArrowWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        Ok(Self::write(self, batch)?)
    }

    fn finish(self: Box<Self>) -> Result<Vec<String>, ExportError> {
        self.close()?;
        Ok(Vec::new())
    }
}

fn parquet_writer<W: Write + Send>(schema: SchemaRef, out: W) -> Result<ArrowWriter<W>, ExportError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .build();
    Ok(ArrowWriter::try_new(out, schema, Some(properties))?)
}

/// Counts what passes, and keeps the error that stopped it.
struct Counted<'a> {
    out: &'a mut (dyn Write + Send),
    bytes: u64,
    failure: Option<io::Error>,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.out.write(bytes) {
            Ok(written) => {
                self.bytes += written as u64;
                Ok(written)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
