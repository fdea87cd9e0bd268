//! Arrow types → the few that the formats know. Moments in UTC are written as arrow writes them: RFC 3339, with as many digits of
//! the second as it needs. A format of strftime would be read anew for every value.

use arrow::compute::cast;
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, WriterBuilder, make_encoder};
use arrow_array::builder::StringBuilder;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use std::collections::HashSet;
use std::sync::Arc;

/// How JSON is written: absent values as `null`, so that all rows have the same keys.
pub(super) fn json_options() -> WriterBuilder {
    WriterBuilder::new().with_explicit_nulls(true)
}

/// The schema that [`open`] gives, with a name of its own for each column, and a note for each renamed.
pub(super) fn open_schema(schema: &Schema) -> (SchemaRef, Vec<String>) {
    let mut taken: HashSet<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let mut seen = HashSet::new();
    let mut notes = Vec::new();
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| {
            let open = field
                .as_ref()
                .clone()
                .with_data_type(open_type(field.data_type()));
            if seen.insert(field.name().as_str()) {
                return open;
            }
            let name = (2..)
                .map(|n| format!("{}_{n}", field.name()))
                .find(|name| !taken.contains(name));
            let name = name.unwrap_or_default();
            taken.insert(name.clone());
            notes.push(format!(
                "a second column `{}` is written as `{name}`",
                field.name()
            ));
            open.with_name(name)
        })
        .collect();
    (
        Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())),
        notes,
    )
}

/// `batch` in the types of `schema`, which [`open_schema`] made.
pub(super) fn open(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns
        .map(|(column, field)| match column.data_type() == field.data_type() {
            true => Ok(column.clone()),
            false => cast(column, field.data_type()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

/// The plain form of a type: what views, dictionaries and runs hold, and moments in UTC.
fn open_type(data_type: &DataType) -> DataType {
    let element = |field: &FieldRef| -> FieldRef {
        Arc::new(
            field
                .as_ref()
                .clone()
                .with_data_type(open_type(field.data_type())),
        )
    };
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => open_type(values),
        DataType::RunEndEncoded(_, values) => open_type(values.data_type()),
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("UTC".into())),
        DataType::List(field) | DataType::ListView(field) => DataType::List(element(field)),
        DataType::LargeList(field) | DataType::LargeListView(field) => DataType::LargeList(element(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(element(field), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(element).collect()),
        other => other.clone(),
    }
}

/// `batch` with the text of its JSON in place of each nested value.
pub(super) fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if !batch
        .columns()
        .iter()
        .any(|column| column.data_type().is_nested())
    {
        return Ok(batch.clone());
    }
    let schema = batch.schema();
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        if column.data_type().is_nested() {
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
            columns.push(json_text(column, field)?);
        } else {
            fields.push(field.clone());
            columns.push(column.clone());
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn json_text(column: &ArrayRef, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default();
    let mut encoder = make_encoder(field, column.as_ref(), &options)?;
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(texts.finish()))
}

/// The cells of a batch as text, `absent` in place of nulls, row by row.
pub(super) fn each_row(
    batch: &RecordBatch,
    absent: &str,
    mut row_of: impl FnMut(Vec<String>) -> Result<(), super::ExportError>,
) -> Result<(), super::ExportError> {
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let batch = flat(batch)?;
    let options = FormatOptions::default().with_null(absent);
    let columns = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        row_of(
            columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect(),
        )?;
    }
    Ok(())
}
