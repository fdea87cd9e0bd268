//! What the input of an operation may be: its properties, their types and bounds, which serde does not look at.
//!
//! - In: what a face gathered. Out: the same, checked; a mistake names the parameter.
//! - Not here: how it is gathered (`rest::input`, `mcp::call`).

use crate::operation::Operation;
use crate::problem::{Kind, Problem};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The schema of each operation's input, by name.
static SCHEMAS: LazyLock<HashMap<&'static str, Map<String, Value>>> = LazyLock::new(|| {
    let schemas = crate::registry::ALL.iter().map(|operation| {
        let settings = SchemaSettings::draft2020_12().with(|how| {
            how.inline_subschemas = true;
            how.meta_schema = None;
        });
        let schema = operation
            .input_schema(&mut SchemaGenerator::new(settings))
            .to_value();
        let schema = match schema {
            Value::Object(schema) => schema,
            _ => Map::new(),
        };
        (operation.name, schema)
    });
    schemas.collect()
});

static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// The schema of an operation's input, an object's.
pub(crate) fn schema(operation: &Operation) -> &'static Map<String, Value> {
    SCHEMAS.get(operation.name).unwrap_or(&NOTHING)
}

/// The properties of an operation's input, by name.
pub(crate) fn properties(operation: &Operation) -> &'static Map<String, Value> {
    let properties = schema(operation).get("properties").and_then(Value::as_object);
    properties.unwrap_or(&NOTHING)
}

/// Whether a schema says that a value is, or may be, of a type.
pub(crate) fn is_of(schema: &Value, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(only)) => only == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    }
}

/// A text as a value of the type that a schema asks for.
pub(crate) fn of_text(name: &str, text: String, schema: &Value) -> Result<Value, Problem> {
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

/// An object as the input of an operation.
///
/// # Errors
/// [`Kind::UnknownParameter`] and [`Kind::BadRequest`].
pub(crate) fn checked(
    operation: &Operation,
    given: Map<String, Value>,
) -> Result<Map<String, Value>, Problem> {
    let properties = properties(operation);
    let mut input = Map::new();
    for (name, value) in given {
        let Some(schema) = properties.get(&name) else {
            let names = properties.keys().map(String::as_str);
            return Err(Problem::no_such(
                Kind::UnknownParameter,
                "parameter",
                &name,
                names,
            ));
        };
        let value = whole(value, schema);
        within(&name, &value, schema)?;
        input.insert(name, value);
    }
    Ok(input)
}

/// A number without a fraction is an integer however it is written (JSON Schema 2020-12 §6.1.1); serde wants no point.
pub(crate) fn whole(value: Value, schema: &Value) -> Value {
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
pub(crate) fn within(name: &str, value: &Value, schema: &Value) -> Result<(), Problem> {
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

/// The input of an operation, where each value was written as text: an address has no other.
///
/// # Errors
/// As [`checked`], and that a text is not of the type that is asked for.
pub(crate) fn of_texts(
    operation: &Operation,
    given: Map<String, Value>,
) -> Result<Map<String, Value>, Problem> {
    let properties = properties(operation);
    let typed = given.into_iter().map(|(name, written)| {
        let value = match (written, properties.get(&name)) {
            (Value::String(text), Some(schema)) if is_of(schema, "array") => Value::Array(vec![text.into()]),
            (Value::String(text), Some(schema)) => of_text(&name, text, schema)?,
            (written, _) => written,
        };
        Ok((name, value))
    });
    checked(operation, typed.collect::<Result<_, Problem>>()?)
}
