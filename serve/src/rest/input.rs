//! A request → the input of an operation: one JSON object, from the path, the query and the body.
//!
//! - What is in the path or the query is text; it becomes what the operation's input says that it is.
//! - Not here: whether the values make sense (the operation).

use crate::operation::{Method, Operation};
use crate::problem::{Kind, Problem};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, header};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

/// What a request asks.
#[derive(Default)]
pub(super) struct Asked {
    /// The input of the operation.
    pub(super) input: Value,
    /// The format that it names.
    pub(super) format: Option<String>,
}

/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(10);

/// The query parameter that names a format, of operations that answer with rows.
pub(super) const FORMAT: &str = "format";

/// The properties of each operation's input, by name.
static INPUTS: LazyLock<HashMap<&'static str, Map<String, Value>>> = LazyLock::new(|| {
    let inputs = crate::registry::ALL.iter().map(|operation| {
        let settings = SchemaSettings::draft2020_12().with(|how| how.inline_subschemas = true);
        let schema = (operation.input)(&mut SchemaGenerator::new(settings)).to_value();
        let properties = schema.get("properties").and_then(Value::as_object).cloned();
        (operation.name, properties.unwrap_or_default())
    });
    inputs.collect()
});

/// The properties of an operation's input, by name.
pub(super) fn properties(operation: &Operation) -> &'static Map<String, Value> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    INPUTS.get(operation.name).unwrap_or(&NONE)
}

/// Whether a schema says that a value is, or may be, of a type.
pub(super) fn is_of(schema: &Value, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(only)) => only == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    }
}

/// What a request asks an operation for.
pub(super) async fn of(
    operation: &'static Operation,
    path: Vec<(String, String)>,
    query: Option<String>,
    headers: &HeaderMap,
    body: Body,
    most_bytes: usize,
) -> Result<Asked, Problem> {
    let properties = properties(operation);
    let mut input = Map::new();
    for (name, text) in path {
        input.insert(name, Value::String(text));
    }
    let query = query.unwrap_or_default();
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&query)
        .map_err(|error| Problem::new(Kind::BadRequest, format!("the query cannot be read: {error}")))?;
    let takes_format = matches!(operation.output, crate::operation::Output::Rows);
    let mut format = None;
    let mut named = Map::new();
    for (name, text) in pairs {
        if name == FORMAT && takes_format {
            if format.replace(text).is_some() {
                return Err(Problem::new(Kind::BadRequest, "`format` is there twice"));
            }
            continue;
        }
        let known = properties
            .get(&name)
            .filter(|_| operation.method != Method::Post && !input.contains_key(&name));
        let Some(schema) = known else {
            let body = operation.method == Method::Post;
            let names = properties
                .keys()
                .map(String::as_str)
                .filter(|name| !body && !input.contains_key(*name));
            return Err(Problem::no_such(
                Kind::UnknownParameter,
                "parameter",
                &name,
                names.chain(takes_format.then_some(FORMAT)),
            ));
        };
        if is_of(schema, "array") {
            let all = named.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(all) = all {
                all.push(Value::String(text));
            }
        } else if named.insert(name.clone(), value(&name, text, schema)?).is_some() {
            return Err(Problem::new(Kind::BadRequest, format!("`{name}` is there twice")));
        }
    }
    input.extend(named);
    if operation.method == Method::Post {
        let own = json_of(headers, body, most_bytes).await?;
        for (name, value) in own {
            if input.contains_key(&name) {
                return Err(Problem::new(
                    Kind::BadRequest,
                    format!("`{name}` is in the path already"),
                ));
            }
            if !properties.contains_key(&name) {
                let names = properties
                    .keys()
                    .map(String::as_str)
                    .filter(|name| !input.contains_key(*name));
                return Err(Problem::no_such(
                    Kind::UnknownParameter,
                    "parameter",
                    &name,
                    names,
                ));
            }
            let value = match properties.get(&name) {
                Some(schema) => whole(value, schema),
                None => value,
            };
            input.insert(name, value);
        }
    }
    for (name, value) in &input {
        if let Some(schema) = properties.get(name) {
            within(name, value, schema)?;
        }
    }
    Ok(Asked {
        input: Value::Object(input),
        format,
    })
}

/// A text as a value of the type that a schema asks for.
fn value(name: &str, text: String, schema: &Value) -> Result<Value, Problem> {
    let wrong = |what: &str| Problem::new(Kind::BadRequest, format!("`{name}` must be {what}"));
    if is_of(schema, "integer") {
        return text
            .parse::<i64>()
            .map(Value::from)
            .map_err(|_| wrong("an integer"));
    }
    if is_of(schema, "boolean") {
        return text
            .parse::<bool>()
            .map(Value::from)
            .map_err(|_| wrong("true or false"));
    }
    Ok(Value::String(text))
}

/// A number without a fraction is an integer however it is written (JSON Schema 2020-12 §6.1.1); serde wants no point.
fn whole(value: Value, schema: &Value) -> Value {
    let number = value
        .as_f64()
        .filter(|_| value.is_f64() && is_of(schema, "integer"));
    let number = number.filter(|number| number.fract() == 0.0);
    match number.and_then(|number| format!("{number:.0}").parse::<i64>().ok()) {
        Some(number) => number.into(),
        None => value,
    }
}

/// Whether a value keeps to the bounds of its schema, which serde does not look at.
fn within(name: &str, value: &Value, schema: &Value) -> Result<(), Problem> {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let wrong = |what: String| Err(Problem::new(Kind::BadRequest, format!("`{name}` must {what}")));
    if let Some(number) = value.as_f64() {
        if let Some(least) = bound("minimum").filter(|least| number < *least) {
            return wrong(format!("be at least {least}"));
        }
        if let Some(most) = bound("maximum").filter(|most| number > *most) {
            return wrong(format!("be at most {most}"));
        }
    }
    let length = match value {
        Value::String(text) => Some((text.chars().count(), "Length", "characters")),
        Value::Array(all) => Some((all.len(), "Items", "items")),
        _ => None,
    };
    if let Some((length, key, what)) = length {
        if let Some(least) = bound(&format!("min{key}")).filter(|least| (length as f64) < *least) {
            return wrong(format!("have at least {least} {what}"));
        }
        if let Some(most) = bound(&format!("max{key}")).filter(|most| length as f64 > *most) {
            return wrong(format!("have at most {most} {what}"));
        }
    }
    Ok(())
}

/// The object in a body.
async fn json_of(headers: &HeaderMap, body: Body, most_bytes: usize) -> Result<Map<String, Value>, Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let is_json = kind
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(Problem::new(
            Kind::UnsupportedMediaType,
            "send JSON, with `Content-Type: application/json`",
        ));
    }
    let bytes = tokio::time::timeout(BODY, to_bytes(body, most_bytes)).await;
    let bytes = bytes.map_err(|_| Problem::new(Kind::RequestTimeout, "the body did not come in time"))?;
    let bytes = bytes.map_err(|_| {
        Problem::new(
            Kind::TooLarge,
            format!("the body has more than {most_bytes} bytes, or broke off"),
        )
    })?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::new(Kind::BadRequest, "the body must be a JSON object")),
        Err(error) => Err(Problem::new(
            Kind::BadRequest,
            format!("the body is not JSON: {error}"),
        )),
    }
}
