//! Dataset → Arrow schema, its words as field metadata.

use crate::dataset::{Column, Dataset, Kind, Privacy};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// The field of a list's elements; DuckLake names it `element`.
pub fn list_element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Utf8, true))
}

/// The Arrow type of a kind.
pub fn arrow_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::TextList => DataType::List(list_element()),
        Kind::Int => DataType::Int64,
        Kind::Float => DataType::Float64,
        Kind::Bool => DataType::Boolean,
        Kind::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        // A view shares the bytes it is made of: an original is never copied on its way to a file.
        Kind::Bytes => DataType::BinaryView,
    }
}

fn arrow_field(column: &Column) -> Field {
    let mut words = HashMap::from([("doc".to_owned(), column.doc.to_owned())]);
    if let Some(source) = column.source {
        words.insert("source".to_owned(), source.to_owned());
    }
    Field::new(column.name, arrow_type(column.kind), column.nullable).with_metadata(words)
}

/// The schema of a dataset's table: [`crate::dataset::PROVENANCE`] first for lake tables.
pub fn arrow_schema(dataset: &Dataset) -> SchemaRef {
    Arc::new(Schema::new(
        dataset.all_columns().map(arrow_field).collect::<Vec<_>>(),
    ))
}

/// The JSON Schema (draft 2020-12) of one row of a dataset, as REST, MCP and JSON exports give it.
pub fn json_schema(dataset: &Dataset) -> serde_json::Value {
    let mut properties = serde_json::Map::new();
    let mut required = Vec::new();
    for column in dataset.all_columns() {
        let mut property = match column.kind {
            Kind::Text => serde_json::json!({"type": "string"}),
            Kind::TextList => serde_json::json!({"type": "array", "items": {"type": "string"}}),
            Kind::Int => serde_json::json!({"type": "integer"}),
            Kind::Float => serde_json::json!({"type": "number"}),
            Kind::Bool => serde_json::json!({"type": "boolean"}),
            Kind::Instant => serde_json::json!({"type": "string", "format": "date-time"}),
            Kind::Bytes => serde_json::json!({"type": "string", "contentEncoding": "base16"}),
        };
        if let Some(object) = property.as_object_mut() {
            object.insert("description".to_owned(), column.doc.into());
            if let Some(source) = column.source {
                object.insert("x-source".to_owned(), source.into());
            }
            if column.privacy > Privacy::Open {
                object.insert("x-private".to_owned(), true.into());
            }
            if column.nullable {
                let kind = object.remove("type").unwrap_or_default();
                object.insert("type".to_owned(), serde_json::json!([kind, "null"]));
            } else {
                required.push(serde_json::Value::from(column.name));
            }
        }
        properties.insert(column.name.to_owned(), property);
    }
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": dataset.name,
        "description": dataset.about,
        "type": "object",
        "properties": properties,
        "required": required,
        "x-key": dataset.key,
    })
}
