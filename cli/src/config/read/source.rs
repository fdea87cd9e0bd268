//! The table `source` of a pipeline: its collector's keys, its paths and its secrets.

use super::Reader;
use crate::config::mistake::{Place, nearest};
use crate::config::{Secret, schema};
use crate::context::expand;
use collectors::Descriptor;
use std::ops::Range;
use toml_edit::{Item, Table, TableLike, Value};

impl Reader<'_> {
    /// The collector that reads it, its table without `kind`, its secrets.
    pub(super) fn source(&mut self, item: &Item) -> Option<(&'static Descriptor, Table, Vec<Secret>)> {
        let mistakes = self.mistakes.len();
        let place = self.start.at(item.span());
        let Some(table) = item.as_table_like() else {
            self.wrong(
                item.span(),
                "`source` takes a table",
                "write source = { kind = …, … }",
            );
            return None;
        };
        let kinds = || collectors::ALL.iter().map(|descriptor| descriptor.kind);
        let kind = self.text(
            table,
            "kind",
            &place,
            &format!("use one of {}", kinds().collect::<Vec<_>>().join(", ")),
        )?;
        let Some(descriptor) = collectors::by_kind(kind) else {
            let span = table.get("kind").and_then(Item::span);
            self.wrong(
                span,
                format!("unknown kind of source `{kind}`"),
                nearest(kind, kinds()),
            );
            return None;
        };
        let schema = (descriptor.schema)();
        let keys: Vec<&str> = schema::properties(&schema).chain(["kind"]).collect();
        self.only_keys(table, &format!("in a `source` of kind `{kind}`"), &keys);
        for key in schema::required(&schema).filter(|key| !table.contains_key(key)) {
            let message = format!("`{key}` is missing in a `source` of kind `{kind}`");
            self.wrong(
                item.span(),
                message,
                format!("for example: {}", descriptor.example),
            );
        }
        let secrets = descriptor
            .secrets
            .iter()
            .filter_map(|key| self.secret(key, table.get(key)?))
            .collect();
        let mut source = item.clone().into_table().unwrap_or_default();
        source.remove("kind");
        for key in descriptor.paths {
            self.path(key, &mut source);
        }
        if self.mistakes.len() == mistakes {
            self.trial(descriptor, &source, &place);
        }
        Some((descriptor, source, secrets))
    }

    /// Has the collector check the types and values of its table, with words in place of the secrets.
    fn trial(&mut self, descriptor: &Descriptor, source: &Table, place: &Place) {
        let mut source = source.clone();
        for key in descriptor
            .secrets
            .iter()
            .filter(|key| source.contains_key(key))
            .copied()
            .collect::<Vec<_>>()
        {
            source.insert(key, toml_edit::value("a secret"));
        }
        if let Err(error) = (descriptor.build)(source.clone()) {
            let key = key_at(&source, error.span.clone())
                .map_or("source".to_owned(), |key| format!("source.{key}"));
            let message = format!("`{key}`: {}", error.message);
            self.mistakes.push(place.at(error.span).mistake(message, None));
        }
    }

    /// Makes the path or paths under a key absolute; other values are the collector's to refuse.
    fn path(&mut self, key: &str, source: &mut Table) {
        let (folder, mut wrong) = (self.folder, Vec::new());
        let mut expanded = |value: &mut Value| {
            let Some(text) = value.as_str() else { return };
            match expand(text, folder).map(|path| path.to_str().map(str::to_owned)) {
                Ok(Some(path)) => *value = path.into(),
                Ok(None) => wrong.push((
                    value.span(),
                    format!("`{text}` is in a folder whose name is not UTF-8"),
                )),
                Err(reason) => wrong.push((value.span(), reason)),
            }
        };
        match source.get_mut(key).and_then(Item::as_value_mut) {
            Some(Value::Array(paths)) => paths.iter_mut().for_each(&mut expanded),
            Some(path) => expanded(path),
            None => {}
        }
        for (span, reason) in wrong {
            self.wrong(span, format!("`{key}`: {reason}"), "");
        }
    }
}

/// The key of `table` whose value is at that place.
fn key_at(table: &dyn TableLike, span: Option<Range<usize>>) -> Option<String> {
    let span = span?;
    let holds = |of: Range<usize>| of.start <= span.start && span.end <= of.end;
    let found = table.iter().find(|(_, item)| item.span().is_some_and(holds));
    found.map(|(key, _)| key.to_owned())
}
