//! The text of the configuration as errors may show it: only what is known to be harmless.
//!
//! Someone may have written a password in clear, or under a misspelt key; the line of the mistake is shown
//! on screens and in logs, so such values are stars there. Lengths stay, so that places do.

use super::secret::Reference;
use std::ops::Range;
use std::path::Path;
use toml_edit::{Document, Item, TableLike, Value};

/// The keys of secrets that are of no source.
const OWN_SECRETS: [&str; 6] = ["secret", "token", "postgres", "webhook", "topic", "url"];

/// `text` with a star for each byte of every value that is neither a reference nor under a harmless key.
pub(super) fn parsed(text: &str, document: &Document<&str>) -> String {
    let mut spans = Vec::new();
    in_table(document.as_table(), &mut spans);
    starred(text, spans)
}

/// As [`parsed`], for a text that is no TOML: what follows the keys of secrets, to the end of the line.
pub(super) fn unparsed(text: &str) -> String {
    let secrets = || {
        let of_sources = collectors::ALL.iter().flat_map(|descriptor| descriptor.secrets);
        of_sources.copied().chain(OWN_SECRETS)
    };
    let mut spans = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let after = secrets()
            .filter_map(|key| Some(line.find(key)? + key.len()))
            .min();
        if let Some(value) = after.and_then(|after| line.get(after..)?.find('=').map(|sign| after + sign + 1))
        {
            // A text of several lines ends who knows where.
            let rest = line.get(value..).unwrap_or_default();
            let open = rest.contains("\"\"\"") || rest.contains("'''");
            spans.push(
                start + value..if open {
                    text.len()
                } else {
                    start + line.trim_end().len()
                },
            );
        }
        start += line.len();
    }
    starred(text, spans)
}

fn starred(text: &str, spans: Vec<Range<usize>>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for span in spans {
        for byte in bytes
            .get_mut(span)
            .into_iter()
            .flatten()
            .filter(|byte| **byte != b'\n')
        {
            *byte = b'*';
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn in_table(table: &dyn TableLike, spans: &mut Vec<Range<usize>>) {
    for (key, item) in table.iter() {
        in_item(key, item, spans);
    }
}

fn in_item(key: &str, item: &Item, spans: &mut Vec<Range<usize>>) {
    match item {
        Item::None => {}
        Item::Table(table) => in_table(table, spans),
        Item::ArrayOfTables(tables) => tables.iter().for_each(|table| in_table(table, spans)),
        Item::Value(value) => in_value(key, value, spans),
    }
}

fn in_value(key: &str, value: &Value, spans: &mut Vec<Range<usize>>) {
    match value {
        Value::InlineTable(table) => in_table(table, spans),
        Value::Array(values) => values.iter().for_each(|value| in_value(key, value, spans)),
        leaf if is_harmless(key) || leaf.as_str().is_some_and(is_reference) => {}
        leaf => spans.extend(leaf.span()),
    }
}

fn is_reference(text: &str) -> bool {
    Reference::parse(text, Path::new("/")).is_some()
}

/// Whether values under that key are never secrets: dkc knows the key, and it is not one of a secret.
fn is_harmless(key: &str) -> bool {
    let of_source = |descriptor: &&collectors::Descriptor| {
        super::schema::properties(&(descriptor.schema)()).any(|property| property == key)
    };
    let is_secret = collectors::ALL
        .iter()
        .any(|descriptor| descriptor.secrets.contains(&key));
    !is_secret
        && (matches!(
            key,
            "name"
                | "schedule"
                | "time_zone"
                | "jitter"
                | "catch_up"
                | "catch_up_window"
                | "overlap"
                | "timeout"
                | "retries"
                | "priority"
                | "fresh_within"
                | "most_minutes_per_run"
                | "most_mb_per_day"
                | "at_once"
                | "per_host"
                | "keep_days"
                | "repeat"
                | "disk_free_percent"
                | "every"
                | "from"
                | "to"
                | "kind"
                | "query_memory_mb"
                | "query_seconds"
                | "threads"
                | "model"
                | "listen"
                | "remote"
                | "hosts"
                | "origins"
                | "answer_rows"
                | "answer_mb"
                | "addresses"
                | "user_header"
                | "groups_header"
                | "about"
                | "cloud"
                | "id"
                | "location"
                | "containers"
                | "minutes"
                | "api"
                | "repositories"
                | "workflows"
                | "trusted"
                | "folder"
                | "socket"
                | "program"
        ) || collectors::ALL.iter().any(of_source))
}
