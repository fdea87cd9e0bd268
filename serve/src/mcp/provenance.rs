//! Where text that others wrote comes from, and that text as an agent gets it.
//!
//! - In: an answer, and what it answers. Out: `_meta`, and the answer in its fence. Not here: the fence itself.

use super::fence::{Fence, as_it_was, defused};
use crate::dispatcher::Gateway;
use crate::input;
use crate::operation::Operation;
use serde_json::{Map, Value, json};

/// Rows that are told of in `_meta`.
const MOST_KEYS: usize = 50;

/// Bytes of a part of a key that is told of; a longer one is in the answer only.
const MOST_KEY: usize = 500;

/// Where `_meta` tells of where text came from.
pub(super) const PROVENANCE: &str = "org.dkc/provenance";

/// Where what others wrote comes from.
pub(super) fn provenance(
    gateway: &Gateway,
    operation: &Operation,
    value: &Value,
    input: &Map<String, Value>,
) -> Value {
    let head = gateway.lake.head();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let dataset = text(input.get("dataset")).or_else(|| operation.toolset.dataset.map(str::to_owned));
    let holding = dataset.as_ref().and_then(|dataset| head.holdings.get(dataset));
    let key = |hit: &Value| {
        let named = ["dataset", "key", "item", "repository", "commit", "path"].into_iter();
        let is_short = |value: &&Value| value.as_str().is_none_or(|text| text.len() <= MOST_KEY);
        let members =
            named.filter_map(|name| Some((name.to_owned(), hit.get(name).filter(is_short)?.clone())));
        let members: Map<String, Value> = members.collect();
        (!members.is_empty()).then_some(Value::Object(members))
    };
    let hits = value.get("hits").and_then(Value::as_array);
    let rows: Vec<Value> = match hits {
        Some(hits) => hits.iter().filter_map(key).take(MOST_KEYS).collect(),
        None => key(&Value::Object(input.clone())).into_iter().collect(),
    };
    let meta = json!({
        "untrusted": true,
        "operation": operation.name,
        "dataset": dataset,
        "sources": holding.map(|holding| &holding.sources),
        "snapshot": value.get("snapshot").and_then(Value::as_i64).unwrap_or(head.snapshot),
        "rows": rows,
    });
    defused(meta)
}

/// An input as it is meant, where the agent says a name as it was told it, with what is hidden written out.
pub(super) fn as_meant(
    operation: &'static Operation,
    input: &Map<String, Value>,
) -> Option<Map<String, Value>> {
    let mut is_other = false;
    let members = input.iter().map(|(name, value)| {
        let meant = value.as_str().and_then(as_it_was);
        is_other |= meant.is_some();
        (name.clone(), meant.map_or_else(|| value.clone(), Value::from))
    });
    let meant: Map<String, Value> = members.collect();
    // What is allowed of the one may not be of the other.
    is_other.then(|| input::checked(operation, meant).ok()).flatten()
}

/// A value that is [`defused`], in the fence, but for what begins the next page: that is sent back as it is.
pub(super) fn fenced(fence: &Fence, value: Value) -> Value {
    let is_cursor = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let cursors = ["after", "next"].map(|name| {
        let cursor = value
            .get(name)
            .filter(|cursor| cursor.as_str().is_some_and(is_cursor));
        (name, cursor.cloned())
    });
    let mut value = fence.value(value);
    for (name, cursor) in cursors {
        if let (Some(cursor), Some(value)) = (cursor, value.as_object_mut()) {
            value.insert(name.to_owned(), cursor);
        }
    }
    value
}
