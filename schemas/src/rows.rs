//! Typed rows → Arrow record batches, checked against their dataset.
//!
//! A row that does not fit is returned as a [`Misfit`]; the rows before and after it are kept.

use crate::dataset::{Dataset, Home, Kind, PROVENANCE};
use crate::names::{Instant, RunId, SourceName};
use crate::to_arrow::arrow_schema;
use arrow_array::builder::{
    ArrayBuilder, BinaryViewBuilder, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_schema::ArrowError;
use bytes::Bytes;
use std::sync::Arc;

/// One cell.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// Absent.
    Null,
    /// For [`Kind::Text`].
    Text(&'a str),
    /// For [`Kind::TextList`].
    TextList(&'a [String]),
    /// For [`Kind::Int`].
    Int(i64),
    /// For [`Kind::Float`].
    Float(f64),
    /// For [`Kind::Bool`].
    Bool(bool),
    /// For [`Kind::Instant`].
    Instant(Instant),
    /// For [`Kind::Bytes`].
    Bytes(&'a Bytes),
}

impl<'a> Value<'a> {
    /// A text that may be absent.
    pub fn text(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
    /// An integer that may be absent.
    pub fn int(int: Option<i64>) -> Self {
        int.map_or(Self::Null, Self::Int)
    }
    /// A float that may be absent.
    pub fn float(float: Option<f64>) -> Self {
        float.map_or(Self::Null, Self::Float)
    }
    /// A moment that may be absent.
    pub fn instant(instant: Option<Instant>) -> Self {
        instant.map_or(Self::Null, Self::Instant)
    }
}

/// A row type of one dataset.
pub trait Row {
    /// The dataset whose columns [`Row::values`] follows.
    const DATASET: &'static Dataset;
    /// The item the row was made from.
    fn item(&self) -> &str;
    /// One value for each column of the dataset's own, in its order.
    fn values(&self) -> Vec<Value<'_>>;
}

/// Source and run of the rows being built.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// The pipeline.
    pub source: SourceName,
    /// The run.
    pub run: RunId,
}

/// Why a row does not fit its dataset.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Misfit {
    /// Another number of values than columns.
    #[error("{dataset} has {columns} columns, the row has {values} values")]
    Width {
        /// The dataset.
        dataset: &'static str,
        /// Its number of columns.
        columns: usize,
        /// The row's number of values.
        values: usize,
    },
    /// A value of another kind than its column, or none where one is needed.
    #[error("{dataset}.{column} takes {kind:?}, the row has {value}")]
    Kind {
        /// The dataset.
        dataset: &'static str,
        /// The column.
        column: &'static str,
        /// What it takes.
        kind: Kind,
        /// What came, in short.
        value: String,
    },
}

enum Builder {
    Text(StringBuilder),
    TextList(ListBuilder<StringBuilder>),
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Instant(TimestampMicrosecondBuilder),
    Bytes(BinaryViewBuilder),
}

impl Builder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::TextList => Self::TextList(
                ListBuilder::new(StringBuilder::new()).with_field(crate::to_arrow::list_element()),
            ),
            Kind::Int => Self::Int(Int64Builder::new()),
            Kind::Float => Self::Float(Float64Builder::new()),
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Instant => Self::Instant(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Kind::Bytes => Self::Bytes(BinaryViewBuilder::new()),
        }
    }

    /// Appends a value of the right kind or a null; the caller has checked that it fits.
    fn append(&mut self, value: Value<'_>) {
        match (self, value) {
            (Self::Text(b), Value::Text(v)) => b.append_value(v),
            (Self::Text(b), _) => b.append_null(),
            (Self::TextList(b), Value::TextList(v)) => {
                for text in v {
                    b.values().append_value(text);
                }
                b.append(true);
            }
            (Self::TextList(b), _) => b.append(false),
            (Self::Int(b), Value::Int(v)) => b.append_value(v),
            (Self::Int(b), _) => b.append_null(),
            (Self::Float(b), Value::Float(v)) => b.append_value(v),
            (Self::Float(b), _) => b.append_null(),
            (Self::Bool(b), Value::Bool(v)) => b.append_value(v),
            (Self::Bool(b), _) => b.append_null(),
            (Self::Instant(b), Value::Instant(v)) => b.append_value(v),
            (Self::Instant(b), _) => b.append_null(),
            (Self::Bytes(b), Value::Bytes(v)) => append_shared(b, v),
            (Self::Bytes(b), _) => b.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(b) => Arc::new(b.finish()),
            Self::TextList(b) => Arc::new(b.finish()),
            Self::Int(b) => Arc::new(b.finish()),
            Self::Float(b) => Arc::new(b.finish()),
            Self::Bool(b) => Arc::new(b.finish()),
            Self::Instant(b) => Arc::new(b.finish()),
            Self::Bytes(b) => Arc::new(b.finish()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(b) => b.len(),
            Self::TextList(b) => b.len(),
            Self::Int(b) => b.len(),
            Self::Float(b) => b.len(),
            Self::Bool(b) => b.len(),
            Self::Instant(b) => b.len(),
            Self::Bytes(b) => b.len(),
        }
    }
}

/// Appends bytes without copying them. A view counts in 31 bits; [`fits`] has refused longer bytes.
fn append_shared(builder: &mut BinaryViewBuilder, bytes: &Bytes) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let block = builder.append_block(Buffer::from(bytes.clone()));
    if builder.try_append_view(block, 0, length).is_err() {
        builder.append_null();
    }
}

fn fits(kind: Kind, nullable: bool, value: Value<'_>) -> bool {
    match value {
        Value::Null => nullable,
        Value::Text(_) => kind == Kind::Text,
        Value::TextList(_) => kind == Kind::TextList,
        Value::Int(_) => kind == Kind::Int,
        Value::Float(_) => kind == Kind::Float,
        Value::Bool(_) => kind == Kind::Bool,
        Value::Instant(_) => kind == Kind::Instant,
        Value::Bytes(bytes) => kind == Kind::Bytes && i32::try_from(bytes.len()).is_ok(),
    }
}

/// Builds a record batch of one dataset, row by row.
pub struct Rows {
    dataset: &'static Dataset,
    provenance: Option<Provenance>,
    builders: Vec<Builder>,
}

impl Rows {
    /// An empty builder for a lake dataset; each row will carry `provenance`.
    pub fn of_lake(dataset: &'static Dataset, provenance: Provenance) -> Self {
        Self::new(dataset, Some(provenance))
    }

    /// An empty builder for a relational dataset.
    pub fn of_relational(dataset: &'static Dataset) -> Self {
        Self::new(dataset, None)
    }

    fn new(dataset: &'static Dataset, provenance: Option<Provenance>) -> Self {
        let builders = dataset.all_columns().map(|c| Builder::new(c.kind)).collect();
        Self {
            dataset,
            provenance,
            builders,
        }
    }

    /// Appends a typed row.
    ///
    /// # Errors
    /// [`Misfit`] when the row breaks its dataset's description; nothing is appended then.
    pub fn push<R: Row>(&mut self, row: &R) -> Result<(), Misfit> {
        self.push_values(row.item(), &row.values())
    }

    /// Appends one row given as values; `item` is ignored for relational datasets.
    ///
    /// # Errors
    /// [`Misfit`] when the values break the dataset's description; nothing is appended then.
    pub fn push_values(&mut self, item: &str, values: &[Value<'_>]) -> Result<(), Misfit> {
        let dataset = self.dataset;
        if values.len() != dataset.columns.len() {
            return Err(Misfit::Width {
                dataset: dataset.name,
                columns: dataset.columns.len(),
                values: values.len(),
            });
        }
        for (column, value) in dataset.columns.iter().zip(values) {
            if !fits(column.kind, column.nullable, *value) {
                let mut shown = match value {
                    Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
                    value => format!("{value:?}"),
                };
                shown.truncate(shown.floor_char_boundary(80));
                return Err(Misfit::Kind {
                    dataset: dataset.name,
                    column: column.name,
                    kind: column.kind,
                    value: shown,
                });
            }
        }
        let mut builders = self.builders.iter_mut();
        if dataset.home == Home::Lake
            && let Some(provenance) = &self.provenance
        {
            let first = [provenance.source.as_str(), item, &provenance.run.0];
            for (builder, text) in builders.by_ref().take(PROVENANCE.len()).zip(first) {
                builder.append(Value::Text(text));
            }
        }
        for (builder, value) in builders.zip(values) {
            builder.append(*value);
        }
        Ok(())
    }

    /// Rows appended since the last [`Rows::finish`].
    pub fn len(&self) -> usize {
        self.builders.first().map_or(0, Builder::len)
    }

    /// Whether no row was appended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batch of the rows appended so far; the builder is empty afterwards.
    ///
    /// # Errors
    /// Never in practice: the arrays are built from the description that the schema comes from.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let arrays: Vec<ArrayRef> = self.builders.iter_mut().map(Builder::finish).collect();
        RecordBatch::try_new(arrow_schema(self.dataset), arrays)
    }
}
