//! Query results → text and files: CSV, JSON, NDJSON, JavaScript, Markdown, Parquet, Arrow, XLSX, and tables for
//! people.
//!
//! - In: a stream of record batches. Out: bytes, written as the batches come, so that memory does not
//!   grow with the result.
//! - In `file`: a file with its manifest. In `check`: whether a file is still what its manifest says.
//! - Not here: queries; standard output and its terminal (`cli::print`).

mod cells;
mod check;
mod digest;
mod encode;
mod file;
mod folder;
mod manifest;
mod markdown;
mod script;
mod selection;
mod sheet;
mod table;
mod visible;

pub use check::{Checked, check, compare_again};
pub use file::{name_of_path, write_file};
pub use folder::{Folder, FolderError, Kept, Wanted};
pub use manifest::{Content, Manifest, ManifestError, Origin, Original, Table};
pub use script::identifier;
pub use selection::Selection;
pub use visible::{is_unsafe, visible};

use crate::query::QueryError;
use arrow::error::ArrowError;
use arrow_array::RecordBatch;
pub use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use digest::RowsDigest;
use futures::StreamExt;
use parquet::errors::ParquetError;
use rust_xlsxwriter::XlsxError;
use schemas::Digest;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How rows are written.
///
/// In all text formats moments are RFC 3339 in UTC with `Z`, and bytes are hexadecimal. Lists are JSON
/// arrays; in CSV, Markdown, XLSX and tables, which have no lists, they are the text of that array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns for people; control characters are made visible.
    Table,
    /// The same, a table for each row.
    Line,
    /// RFC 4180 with a header row; an absent value is an empty field.
    Csv,
    /// One JSON array of objects.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// A script that defines one constant, an array of objects, for pages that are opened from disk.
    Js,
    /// A table of GitHub Flavored Markdown; what Markdown would interpret is escaped.
    Markdown,
    /// Parquet, zstd; strings and bytes in their plain encodings, which every reader knows.
    Parquet,
    /// A file of Arrow IPC, in the same types.
    Arrow,
    /// A stream of Arrow IPC.
    ArrowStream,
    /// A workbook of Excel with one sheet; numbers, moments and truth values are what Excel knows as such.
    Xlsx,
}

impl Format {
    /// The formats that are text, by name: what `dkc sql --format` takes.
    pub const TEXT: &[&str] = &["table", "line", "csv", "json", "ndjson", "markdown"];

    /// All formats, by name, as their files end: what `dkc export --format` takes.
    pub const ALL: &[&str] = &[
        "csv", "json", "ndjson", "js", "md", "parquet", "arrow", "arrows", "xlsx", "txt",
    ];

    /// The format that a file's extension asks for.
    ///
    /// # Errors
    /// [`ExportError::Format`] when the extension is missing or of no format.
    pub fn of_path(path: &Path) -> Result<Self, ExportError> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("table" | "line") | None => Err(ExportError::Format(path.display().to_string())),
            Some(extension) => extension
                .parse()
                .map_err(|_| ExportError::Format(path.display().to_string())),
        }
    }

    /// Its name, as its files end.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "txt",
            Self::Line => "line",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Js => "js",
            Self::Markdown => "md",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::ArrowStream => "arrows",
            Self::Xlsx => "xlsx",
        }
    }

    /// Whether a terminal can show it.
    pub fn is_text(self) -> bool {
        !matches!(self, Self::Parquet | Self::Arrow | Self::ArrowStream | Self::Xlsx)
    }
}

impl FromStr for Format {
    type Err = ExportError;

    fn from_str(name: &str) -> Result<Self, ExportError> {
        match name.to_ascii_lowercase().as_str() {
            "table" | "txt" => Ok(Self::Table),
            "line" => Ok(Self::Line),
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "ndjson" | "jsonl" => Ok(Self::Ndjson),
            "js" => Ok(Self::Js),
            "markdown" | "md" => Ok(Self::Markdown),
            "parquet" => Ok(Self::Parquet),
            "arrow" => Ok(Self::Arrow),
            "arrows" => Ok(Self::ArrowStream),
            "xlsx" => Ok(Self::Xlsx),
            _ => Err(ExportError::Format(name.to_owned())),
        }
    }
}

/// A format, with what some formats want to know beside the rows.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a> {
    /// The format.
    pub format: Format,
    /// Terminal columns that a table keeps within: values are shortened with `…`, and a note says so.
    pub width: Option<usize>,
    /// Name of the constant of a script, and of the sheet of a workbook.
    pub name: &'a str,
    /// When a workbook says that it was made; now if absent.
    pub moment: Option<jiff::Timestamp>,
    /// Folder for what a workbook cannot write before its last row; that of the system if absent.
    pub scratch: Option<&'a Path>,
}

impl From<Format> for Form<'_> {
    fn from(format: Format) -> Self {
        Self {
            format,
            width: None,
            name: "rows",
            moment: None,
            scratch: None,
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
    Query(#[source] QueryError),
    /// A value has no form in the format.
    #[error("a value cannot be written in this format")]
    Encode(#[from] ArrowError),
    /// As [`Self::Encode`], from the Parquet writer.
    #[error("the rows cannot be written as Parquet")]
    Parquet(#[from] ParquetError),
    /// As [`Self::Encode`], from the XLSX writer.
    #[error("the rows cannot be written as XLSX")]
    Xlsx(#[from] XlsxError),
    /// The XLSX writer panics where it cannot write to its temporary file.
    #[error("the rows cannot be written as XLSX: writing a temporary file failed; check the free space of `{}`", .0.display())]
    Scratch(PathBuf),
    /// The result is larger than a sheet of Excel.
    #[error("{what}, and a sheet of Excel holds {most}; {way_out}")]
    Sheet {
        /// What there is too much of.
        what: String,
        /// How much of it there may be.
        most: &'static str,
        /// What to do.
        way_out: String,
    },
    /// A column's name means something else in a script.
    #[error("a column `{0}` has another meaning in JavaScript; rename it in the query")]
    Column(String),
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
    #[error("`{0}` names no format; use {formats}", formats = Format::ALL.join(", "))]
    Format(String),
    /// It does not say which items it is about.
    #[error("to find originals the query must give `_source` and `_item`; add both to what it selects")]
    Unnamed,
    /// A manifest cannot be written as JSON.
    #[error("cannot write the manifest")]
    Manifest(#[from] serde_json::Error),
}

/// The bytes of some rows.
///
/// # Errors
/// [`ExportError`] when they have no form in the format.
pub fn encode(rows: &RecordBatch, format: Format) -> Result<Vec<u8>, ExportError> {
    let (schema, _) = cells::open_schema(&rows.schema());
    let mut bytes = Vec::new();
    let mut writer = encode::writer(Form::from(format), &schema, &mut bytes)?;
    writer.write(&cells::open(rows, &schema)?)?;
    writer.finish()?;
    Ok(bytes)
}

/// The rest of a stream with its first batch, which was taken, before it.
pub fn chained(first: Option<RecordBatch>, rest: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = rest.schema();
    let rows = futures::stream::iter(first.map(Ok)).chain(rest);
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// Writes all rows of `stream` to `out`.
///
/// # Errors
/// [`ExportError`] when the query breaks off or `out` refuses; what was written before stays written.
pub async fn write_stream(
    stream: SendableRecordBatchStream,
    form: impl Into<Form<'_>>,
    out: &mut (dyn Write + Send),
) -> Result<Written, ExportError> {
    Ok(write_digested(stream, form.into(), out, None).await?.0)
}

/// As [`write_stream`]; the digest of the bytes too, and into `rows` the digest of the rows.
async fn write_digested(
    stream: SendableRecordBatchStream,
    form: Form<'_>,
    out: &mut (dyn Write + Send),
    rows: Option<&mut RowsDigest>,
) -> Result<(Written, Option<Digest>), ExportError> {
    use sha2::Digest as _;
    let mut out = Counted {
        out,
        bytes: 0,
        sha256: rows.is_some().then(sha2::Sha256::new),
        failure: None,
    };
    let poured = pour(stream, form, &mut out, rows).await;
    // The encoders bury the cause in words of their own.
    if let Some(failure) = out.failure {
        return Err(ExportError::Write(failure));
    }
    let (rows, notes) = poured?;
    out.out.flush()?;
    let written = Written {
        rows,
        bytes: out.bytes,
        notes,
    };
    Ok((written, out.sha256.map(|sha256| Digest(sha256.finalize().into()))))
}

async fn pour(
    mut stream: SendableRecordBatchStream,
    form: Form<'_>,
    out: &mut Counted<'_>,
    mut digest: Option<&mut RowsDigest>,
) -> Result<(u64, Vec<String>), ExportError> {
    let (schema, mut notes) = cells::open_schema(&stream.schema());
    let mut writer = encode::writer(form, &schema, out)?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = cells::open(&batch.map_err(|error| ExportError::Query(error.into()))?, &schema)?;
        rows += batch.num_rows() as u64;
        if let Some(digest) = &mut digest {
            digest.add(&batch)?;
        }
        writer.write(&batch)?;
    }
    notes.extend(writer.finish()?);
    Ok((rows, notes))
}

/// Counts and digests what passes, and keeps the error that stopped it.
struct Counted<'a> {
    out: &'a mut (dyn Write + Send),
    bytes: u64,
    sha256: Option<sha2::Sha256>,
    failure: Option<io::Error>,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.out.write(bytes) {
            Ok(written) => {
                self.bytes += written as u64;
                if let Some(sha256) = &mut self.sha256 {
                    sha2::Digest::update(sha256, bytes.get(..written).unwrap_or_default());
                }
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
