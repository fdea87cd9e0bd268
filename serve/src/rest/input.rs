//! A request → the input of an operation: one JSON object, from the path, the query and the body.
//!
//! - What is in the path or the query is text; it becomes what the operation's input says that it is.
//! - Not here: whether the values make sense (the operation).

use crate::input::{is_of, of_text, properties, whole, within};
use crate::operation::{Method, Operation};
use crate::problem::{Kind, Problem};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
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
        let value = match properties.get(&name) {
            Some(schema) => of_text(&name, text, schema)?,
            None => Value::String(text),
        };
        input.insert(name, value);
    }
    let query = query.unwrap_or_default();
    // What is none would be read as another text.
    if percent_decode_str(&query).decode_utf8().is_err() {
        return Err(Problem::new(
            Kind::BadRequest,
            "the query is not UTF-8 where it is decoded",
        ));
    }
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&query)
        .map_err(|error| Problem::new(Kind::BadRequest, format!("the query cannot be read: {error}")))?;
    let takes_format = operation.takes_format();
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
        } else if named
            .insert(name.clone(), of_text(&name, text, schema)?)
            .is_some()
        {
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

/// A body, of so many bytes at most.
pub(crate) async fn body_of(body: Body, most_bytes: usize) -> Result<Bytes, Problem> {
    let bytes = tokio::time::timeout(BODY, to_bytes(body, most_bytes)).await;
    let bytes = bytes.map_err(|_| Problem::new(Kind::RequestTimeout, "the body did not come in time"))?;
    bytes.map_err(|_| {
        Problem::new(
            Kind::TooLarge,
            format!("the body has more than {most_bytes} bytes, or broke off"),
        )
    })
}

/// Whether a body is said to be JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    kind.split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The object in a body; none where nothing is in it, of whatever kind it is said to be.
async fn json_of(headers: &HeaderMap, body: Body, most_bytes: usize) -> Result<Map<String, Value>, Problem> {
    let bytes = body_of(body, most_bytes).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    if !is_json(headers) {
        return Err(Problem::new(
            Kind::UnsupportedMediaType,
            "send JSON, with `Content-Type: application/json`",
        ));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::new(Kind::BadRequest, "the body must be a JSON object")),
        Err(error) => Err(Problem::new(
            Kind::BadRequest,
            format!("the body is not JSON: {error}"),
        )),
    }
}
