//! What a model reads of a chunk, and the digest that names its vector.

use super::VectorError;
use super::chunks::DIGEST_BYTES;
use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// What a model reads of a chunk: its title, then its text.
fn read_by_model(title: Option<&str>, text: &str) -> String {
    match title {
        Some(title) if !title.is_empty() => format!("{title}\n{text}"),
        _ => text.to_owned(),
    }
}

pub(super) fn with_digest(columns: &Schema) -> SchemaRef {
    let mut fields: Vec<_> = columns.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(
        "digest",
        DataType::FixedSizeBinary(DIGEST_BYTES),
        false,
    )));
    Arc::new(Schema::new(fields))
}

pub(super) fn add_digest(chunks: &RecordBatch) -> Result<RecordBatch, VectorError> {
    let mut digests = FixedSizeBinaryBuilder::with_capacity(chunks.num_rows(), DIGEST_BYTES);
    for text in what_models_read(chunks) {
        digests.append_value(Sha256::digest(text))?;
    }
    let mut columns = chunks.columns().to_vec();
    columns.push(Arc::new(digests.finish()));
    Ok(RecordBatch::try_new(with_digest(&chunks.schema()), columns)?)
}

/// [`read_by_model`] of each chunk of a batch with the columns `text` and, if there is one, `title`.
pub(super) fn what_models_read(chunks: &RecordBatch) -> Vec<String> {
    let texts = |name| {
        chunks
            .column_by_name(name)
            .and_then(|column| column.as_string_opt::<i32>())
    };
    let titles = texts("title");
    let Some(text) = texts("text") else {
        return Vec::new();
    };
    let title = |row| {
        titles
            .filter(|titles| titles.is_valid(row))
            .map(|titles| titles.value(row))
    };
    text.iter()
        .enumerate()
        .map(|(row, text)| read_by_model(title(row), text.unwrap_or_default()))
        .collect()
}
