//! `:name` and `$name` in a statement: values that are bound, never text that is pasted in.

use super::QueryError;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::sql::sqlparser::ast::{self, FunctionArg, FunctionArgExpr, VisitMut, VisitorMut};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Values by the name of their parameter. Texts, numbers, truth values and null can be bound.
pub type Parameters = BTreeMap<String, Value>;

/// A value as a person writes it after `name=`: what reads as a number, `true`, `false` or `null` is that, anything
/// else is text; text that would read as a number stands in quotes: `'0049'`.
pub fn parameter(text: &str) -> Value {
    let quoted = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    if let Some(quoted) = quoted {
        return Value::String(quoted.replace("''", "'"));
    }
    match serde_json::from_str(text) {
        Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// The name in `:name` or `$name`.
pub(super) fn name_of(placeholder: &str) -> &str {
    placeholder.trim_start_matches([':', '$', '@'])
}

/// What is written as an argument of a table function: a text, a number, or a parameter that is one.
pub(super) fn text_of(argument: &FunctionArg, parameters: &Parameters) -> Option<String> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Value(value))) = argument else {
        return None;
    };
    match &value.value {
        ast::Value::SingleQuotedString(text) | ast::Value::Number(text, _) => Some(text.clone()),
        ast::Value::Placeholder(placeholder) => match parameters.get(name_of(placeholder))? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// Writes all parameters of a statement as the engine knows them, and gives the values of those that it uses.
pub(super) fn bind(
    statement: &mut ast::Statement,
    given: &Parameters,
) -> Result<Option<ParamValues>, QueryError> {
    let mut names = Names {
        given,
        used: BTreeMap::new(),
    };
    if let ControlFlow::Break(error) = statement.visit(&mut names) {
        return Err(error);
    }
    if names.used.is_empty() {
        return Ok(None);
    }
    Ok(Some(ParamValues::from(
        names.used.into_iter().collect::<Vec<(String, ScalarValue)>>(),
    )))
}

struct Names<'a> {
    given: &'a Parameters,
    used: BTreeMap<String, ScalarValue>,
}

impl VisitorMut for Names<'_> {
    type Break = QueryError;

    fn pre_visit_value(&mut self, value: &mut ast::ValueWithSpan) -> ControlFlow<QueryError> {
        let ast::Value::Placeholder(placeholder) = &mut value.value else {
            return ControlFlow::Continue(());
        };
        let name = name_of(placeholder).to_owned();
        let failed = |what: &str| {
            ControlFlow::Break(QueryError::Parameter {
                name: name.clone(),
                what: what.to_owned(),
            })
        };
        if !name.starts_with(|first: char| first.is_alphabetic() || first == '_') {
            return failed("no name; write `:name`");
        }
        let Some(given) = self.given.get(&name) else {
            return failed(
                "no value; give it one by `--param NAME=VALUE`, or in the shell by `.param set NAME VALUE`",
            );
        };
        let Some(scalar) = scalar(given) else {
            return failed("a value that is neither text, number, true, false nor null");
        };
        *placeholder = format!("${name}");
        self.used.insert(name, scalar);
        ControlFlow::Continue(())
    }
}

fn scalar(value: &Value) -> Option<ScalarValue> {
    match value {
        Value::Null => Some(ScalarValue::Null),
        Value::Bool(bool) => Some(ScalarValue::from(*bool)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Some(ScalarValue::from(whole)),
            None => number.as_f64().map(ScalarValue::from),
        },
        Value::String(text) => Some(ScalarValue::from(text.as_str())),
        Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_what_it_reads_as() {
        for (text, value) in [
            ("12", json!(12)),
            ("-1.5", json!(-1.5)),
            ("true", json!(true)),
            ("null", Value::Null),
            ("'0049'", json!("0049")),
            ("'it''s'", json!("it's")),
            ("0049", json!("0049")),
            ("x' OR 1=1 --", json!("x' OR 1=1 --")),
            ("2026-11-01", json!("2026-11-01")),
            ("[1]", json!("[1]")),
            ("", json!("")),
        ] {
            assert_eq!(parameter(text), value, "{text}");
        }
    }
}
