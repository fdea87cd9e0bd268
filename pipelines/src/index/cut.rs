//! Rows → their chunks, as the index has them.

use crate::error::IndexError;
use arrow::compute::{concat, take};
use arrow_array::builder::{FixedSizeBinaryBuilder, Int32Builder, StringBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array as _, ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use rayon::prelude::*;
use schemas::{Dataset, Search};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::embedder::Tokens;
use store::search::FACT;
use store::vectors::chunks::DIGEST_BYTES;
use thread_local::ThreadLocal;
use transforms::chunk::{Chunk, Chunker, Text, rows};

/// Tokens of a chunk at most; with its title it fits into what small models read at once, 256.
const TOKENS: usize = 200;

/// Tokens that a chunk repeats of the one before.
const OVERLAP: usize = 20;

/// Bytes of a text that are indexed, from its beginning: some books. What is longer was mostly made by a machine.
const TEXT_BYTES: usize = 4 << 20;

/// The columns that a filter may ask for, and provenance.
fn facts(dataset: &Dataset, search: &Search) -> Vec<&'static str> {
    let own = search.fields.iter().filter(|field| field.of.is_none());
    let names: BTreeSet<&'static str> = own
        .flat_map(|field| field.columns)
        .chain(search.date)
        .chain(&["_source", "_item"])
        .copied()
        .collect();
    let columns = dataset.all_columns().map(|column| column.name);
    columns.filter(|name| names.contains(name)).collect()
}

/// The columns of the dataset that are read.
pub(super) fn read(dataset: &'static Dataset, search: &Search) -> Vec<&'static str> {
    let facts = facts(dataset, search);
    let asked = |name: &&'static str| {
        facts.contains(name)
            || [dataset.key, search.title, search.text]
                .iter()
                .any(|names| names.contains(name))
    };
    dataset
        .all_columns()
        .map(|column| column.name)
        .filter(asked)
        .collect()
}

/// The columns of a dataset's chunks: those that `store::vectors` asks for, where in the row the chunk is, and what
/// filters ask for.
pub fn columns(dataset: &Dataset, search: &Search) -> SchemaRef {
    let field = |name: &str, kind, nullable| Field::new(name, kind, nullable);
    let mut fields = vec![
        field("id", DataType::FixedSizeBinary(DIGEST_BYTES), false),
        field("row_key", DataType::Utf8, false),
        field("ordinal", DataType::Int32, false),
        field("part", DataType::Utf8, false),
        field("heading", DataType::Utf8, true),
        field("title", DataType::Utf8, true),
        field("text", DataType::Utf8, false),
        field("date", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ];
    let schema = schemas::to_arrow::arrow_schema(dataset);
    let facts = facts(dataset, search).into_iter();
    let facts = facts.filter_map(|name| schema.field_with_name(name).ok());
    fields.extend(
        facts.map(|fact| Field::new(format!("{FACT}{}", fact.name()), fact.data_type().clone(), true)),
    );
    Arc::new(Schema::new(fields))
}

/// How long a text is, in tokens.
type Length = Box<dyn Fn(&str) -> usize + Send>;

/// Cuts batch after batch: what a thread has learned of the lengths of words is worth more than half of the time.
pub(super) struct Cutter {
    tokens: Arc<Tokens>,
    chunkers: ThreadLocal<Chunker<Length>>,
}

impl Cutter {
    pub fn new(tokens: Arc<Tokens>) -> Self {
        Self {
            tokens,
            chunkers: ThreadLocal::new(),
        }
    }

    fn chunks<'a>(&self, text: &Text<'a>) -> Vec<Chunk<'a>> {
        let chunker = self.chunkers.get_or(|| {
            let tokens = self.tokens.clone();
            Chunker::new(TOKENS, OVERLAP, Box::new(move |text| tokens.count(text)))
        });
        chunker.chunks(text)
    }
}

/// The keys of the rows of a batch, and their chunks.
pub(super) fn cut(
    dataset: &'static Dataset,
    search: &'static Search,
    batch: &RecordBatch,
    sections: Option<&RecordBatch>,
    cutter: &Cutter,
) -> Result<(Vec<String>, RecordBatch), IndexError> {
    let texts = rows::texts(dataset, search, batch, sections)?;
    let keys = rows::keys(dataset, batch)?;
    let texts: Vec<_> = texts.iter().map(|text| shortened(text.text())).collect();
    let chunks: Vec<_> = texts.par_iter().map(|text| cutter.chunks(text)).collect();

    let mut ids = FixedSizeBinaryBuilder::new(DIGEST_BYTES);
    let mut ordinals = Int32Builder::new();
    let [mut row_keys, mut parts, mut headings, mut said] = [(); 4].map(|()| StringBuilder::new());
    let mut of = Vec::new();
    for ((row, key), chunks) in keys.iter().enumerate().zip(&chunks) {
        for chunk in chunks {
            ids.append_value(chunk.id.0)?;
            row_keys.append_value(key);
            ordinals.append_value(i32::try_from(chunk.ordinal).unwrap_or(i32::MAX));
            parts.append_value(chunk.part.name());
            headings.append_option(chunk.heading);
            said.append_value(chunk.text);
            of.push(row as u32);
        }
    }
    let of = UInt32Array::from(of);
    let schema = columns(dataset, search);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(ids.finish()),
        Arc::new(row_keys.finish()),
        Arc::new(ordinals.finish()),
        Arc::new(parts.finish()),
        Arc::new(headings.finish()),
        take(&first_of(batch, search.title)?, &of, None)?,
        Arc::new(said.finish()),
        take(&dates(batch, search.date)?, &of, None)?,
    ];
    for field in schema.fields().iter().skip(columns.len()) {
        let name = field.name().strip_prefix(FACT).unwrap_or(field.name());
        let fact = batch.column_by_name(name).ok_or_else(|| missing(name))?;
        columns.push(take(fact, &of, None)?);
    }
    Ok((keys, RecordBatch::try_new(schema, columns)?))
}

fn shortened(text: Text<'_>) -> Text<'_> {
    let end = text.text.floor_char_boundary(TEXT_BYTES);
    Text {
        text: text.text.get(..end).unwrap_or(text.text),
        ..text
    }
}

fn missing(name: &str) -> arrow_schema::ArrowError {
    arrow_schema::ArrowError::SchemaError(format!("a batch lacks the column `{name}`"))
}

/// Of each row the first value that is there, among some columns.
fn first_of(batch: &RecordBatch, names: &[&str]) -> Result<ArrayRef, IndexError> {
    let columns = names
        .iter()
        .map(|name| batch.column_by_name(name).ok_or_else(|| missing(name)));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let first = |row: usize| {
        let at = columns.iter().position(|column| column.is_valid(row));
        (at.unwrap_or_default() * batch.num_rows() + row) as u32
    };
    let places: UInt32Array = (0..batch.num_rows()).map(first).collect();
    let columns: Vec<_> = columns.iter().map(|column| column.as_ref()).collect();
    Ok(take(&concat(&columns)?, &places, None)?)
}

/// The same of moments, without their zone.
fn dates(batch: &RecordBatch, names: &[&str]) -> Result<ArrayRef, IndexError> {
    let first = first_of(batch, names)?;
    let first = first
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| missing("of moments"))?;
    let plain = TimestampMicrosecondArray::new(first.values().clone(), first.nulls().cloned());
    Ok(Arc::new(plain))
}
