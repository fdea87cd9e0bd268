//! The JSON Schema of `dkc.toml`, for editors, put together from what each collector says of itself.

use super::timing::Timing;
use super::{Alerts, Limits, Runs, Search, Serve};
use collectors::Descriptor;
use schemars::{Schema, schema_for};
use serde_json::{Map, Value, json};

/// How a reference to a secret looks.
const REFERENCE: &str = "^(env:.+|file:.+|keyring:.+/.+)$";

/// The JSON Schema (draft 2020-12) of the configuration: one variant of `source` for each collector.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    let sources: Vec<Value> = collectors::ALL
        .iter()
        .map(|descriptor| source_schema(descriptor, &mut definitions))
        .collect();
    let [limits, search, serve, runs, alerts, timing] = [
        schema_for!(Limits),
        schema_for!(Search),
        schema_for!(Serve),
        schema_for!(Runs),
        schema_for!(Alerts),
        schema_for!(Timing),
    ]
    .map(|schema| {
        let mut table = schema.to_value();
        if let Some(table) = table.as_object_mut() {
            table.remove("$schema");
            table.remove("title");
            if let Some(Value::Object(own)) = table.remove("$defs") {
                definitions.extend(own);
            }
        }
        table
    });
    let mut pipeline = json!({
        "name": {
            "description": "Name of the pipeline; the column `_source` of what it collects.",
            "type": "string",
            "pattern": "^[a-z0-9_-]{1,64}$",
        },
        "source": { "oneOf": sources },
    });
    if let (Some(pipeline), Some(Value::Object(timing))) =
        (pipeline.as_object_mut(), timing.get("properties").cloned())
    {
        pipeline.extend(timing);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dkc.toml",
        "description": "What dkc collects, and within which limits.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "limits": limits,
            "search": search,
            "serve": serve,
            "runs": runs,
            "alerts": alerts,
            "store": {
                "description": "Where the tables are kept: in the data directory unless something is said here.",
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "postgres": {
                        "description": "Where the address of a PostgreSQL database is, which keeps the tables: env:, file: or keyring:.",
                        "type": "string",
                        "pattern": REFERENCE,
                    },
                },
            },
            "pipeline": {
                "description": "Sources to collect, one table each.",
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["name", "source"],
                    "properties": pipeline,
                },
            },
        },
        "$defs": definitions,
    })
}

/// The names of the keys of a `source` table.
pub(super) fn properties(schema: &Schema) -> impl Iterator<Item = &str> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flat_map(|properties| properties.keys().map(String::as_str))
}

/// The names of the keys that a `source` table must have.
pub(super) fn required(schema: &Schema) -> impl Iterator<Item = &str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str)
}

/// The schema of a collector's table with its `kind`; its definitions move to the root under its name.
fn source_schema(descriptor: &Descriptor, definitions: &mut Map<String, Value>) -> Value {
    let mut schema = (descriptor.schema)().to_value();
    point_to(&mut schema, descriptor.kind);
    let Some(table) = schema.as_object_mut() else {
        return schema;
    };
    table.remove("$schema");
    if let Some(Value::Object(own)) = table.remove("$defs") {
        definitions.extend(
            own.into_iter()
                .map(|(name, schema)| (format!("{}-{name}", descriptor.kind), schema)),
        );
    }
    table.insert("title".to_owned(), descriptor.kind.into());
    table.insert("description".to_owned(), descriptor.about.into());
    table.insert("additionalProperties".to_owned(), false.into());
    if let Some(required) = table
        .entry("required")
        .or_insert_with(|| json!([]))
        .as_array_mut()
    {
        required.insert(0, "kind".into());
    }
    if let Some(properties) = table
        .entry("properties")
        .or_insert_with(|| json!({}))
        .as_object_mut()
    {
        properties.insert("kind".to_owned(), json!({ "const": descriptor.kind }));
        for secret in descriptor.secrets {
            if let Some(secret) = properties.get_mut(*secret).and_then(Value::as_object_mut) {
                secret.insert("pattern".to_owned(), REFERENCE.into());
            }
        }
    }
    schema
}

/// Renames the targets of all references to definitions, as [`source_schema`] renames the definitions.
fn point_to(schema: &mut Value, kind: &str) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                let target = value.as_str().and_then(|target| target.strip_prefix("#/$defs/"));
                match target.filter(|_| key == "$ref") {
                    Some(target) => *value = format!("#/$defs/{kind}-{target}").into(),
                    None => point_to(value, kind),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| point_to(value, kind)),
        _ => {}
    }
}
