//! What a table that was read cannot be meant by: the keys that lead to it, what is wrong, what would be right.
//!
//! - Not here: how it is shown (`mistake`), and what of each table is wrong (`gateway`, `alerts`).

use std::ops::Range;
use toml_edit::{Table, TableLike, Value};

/// What is wrong in a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The keys that lead to it from the top; last may come the text of one of a list.
    keys: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What would be right; empty where the message says so.
    pub help: String,
}

impl Finding {
    /// What is wrong below the table `top` at the top.
    pub fn new(top: &str, keys: &[&str], message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            keys: [top].iter().chain(keys).map(|&key| key.to_owned()).collect(),
            message: message.into(),
            help: help.into(),
        }
    }

    /// Where it lies below the table at the top.
    pub fn span(&self, top: &Table) -> Option<Range<usize>> {
        span_at(top, &self.keys)
    }
}

/// Where the value lies that these keys lead to, or the nearest above it.
fn span_at(table: &dyn TableLike, keys: &[String]) -> Option<Range<usize>> {
    let (key, rest) = keys.split_first()?;
    let item = table.get(key)?;
    let is_meant = |value: &&Value| value.as_str() == rest.first().map(String::as_str);
    let within = match (item.as_array(), item.as_table_like()) {
        (Some(values), _) => values.iter().find(is_meant).and_then(Value::span),
        (_, Some(table)) => span_at(table, rest),
        _ => None,
    };
    within.or_else(|| item.span())
}
