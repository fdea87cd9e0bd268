//! A writer for each format.
//!
//! - In: batches in the types that [`super::cells`] gives. Out: the bytes of one file.
//! - Here are those that a library writes whole; the others have a file of their own.

use super::{ExportError, Form, Format, cells, markdown, script, sheet, table};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::io::Write;

/// Bytes of a Parquet row group, which the writer holds in memory. Smaller: readers skip less at once.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// A writer of one format.
pub(super) trait Rows {
    /// Writes the rows of a batch.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError>;
    /// Writes what comes after the last row, and returns notes for the reader.
    fn finish(self: Box<Self>) -> Result<Vec<String>, ExportError>;
}

/// The writer of a format.
pub(super) fn writer<'a, W: Write + Send + 'a>(
    form: Form<'a>,
    schema: &SchemaRef,
    out: W,
) -> Result<Box<dyn Rows + Send + 'a>, ExportError> {
    Ok(match form.format {
        Format::Table | Format::Line => Box::new(table::Table::new(schema, form, out)),
        Format::Csv => Box::new(Csv::new(schema.clone(), out)?),
        Format::Json => Box::new(cells::json_options().build::<_, JsonArray>(out)),
        Format::Ndjson => Box::new(cells::json_options().build::<_, LineDelimited>(out)),
        Format::Js => Box::new(script::Script::new(form.name, schema, out)?),
        Format::Markdown => Box::new(markdown::Markdown::new(schema, out)?),
        Format::Parquet => Box::new(parquet_writer(schema.clone(), out)?),
        Format::Arrow => Box::new(FileWriter::try_new(out, schema)?),
        Format::ArrowStream => Box::new(StreamWriter::try_new(out, schema)?),
        Format::Xlsx => Box::new(sheet::Sheet::new(form, schema, out)?),
    })
}

struct Csv<W: Write>(arrow::csv::Writer<W>);

impl<W: Write> Csv<W> {
    fn new(schema: SchemaRef, out: W) -> Result<Self, ExportError> {
        let mut csv = Self(arrow::csv::Writer::new(out));
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

impl<W: Write, F: JsonFormat> Rows for arrow::json::Writer<W, F> {
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

impl<W: Write> Rows for FileWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        Ok(Self::write(self, batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, ExportError> {
        Self::finish(&mut self)?;
        Ok(Vec::new())
    }
}

impl<W: Write> Rows for StreamWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        Ok(Self::write(self, batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, ExportError> {
        Self::finish(&mut self)?;
        Ok(Vec::new())
    }
}
