//! TOML → [`Config`], or all its mistakes at once.

use super::mistake::{Mistake, Mistakes, Place, nearest};
use super::secret::{FORMS, Reference};
use super::{Config, Pipeline, Secret, Serve, gateway, redact, schema};
use crate::context::expand;
use collectors::Descriptor;
use schemars::{JsonSchema, schema_for};
use schemas::SourceName;
use serde::de::{DeserializeOwned, IntoDeserializer};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use toml_edit::{Document, Item, Table, TableLike, Value};

/// The keys at the top.
const TOP: [&str; 5] = ["store", "limits", "search", "serve", "pipeline"];

/// The keys of a `[[pipeline]]`.
const PIPELINE: [&str; 3] = ["name", "schedule", "source"];

/// Checks `text`.
pub(super) fn read(text: &str, path: &Path, title: &str) -> Result<Config, Mistakes> {
    let place = |text: String, span| Place {
        title: title.into(),
        text: text.into(),
        span,
    };
    let document = Document::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().replace('\n', ", ");
        Mistakes::of(vec![
            place(redact::unparsed(text), span).mistake(format!("this is not TOML: {message}"), None),
        ])
    })?;
    let start = place(redact::parsed(text, &document), 0..0);
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut reader = Reader {
        start,
        folder,
        mistakes: Vec::new(),
    };
    let config = reader.config(document.as_table(), path);
    match reader.mistakes.is_empty() {
        true => Ok(config),
        false => Err(Mistakes::of(reader.mistakes)),
    }
}

struct Reader<'a> {
    start: Place,
    folder: &'a Path,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn wrong(&mut self, span: Option<Range<usize>>, message: impl Into<String>, help: impl Into<String>) {
        let help = Some(help.into()).filter(|help| !help.is_empty());
        self.mistakes.push(self.start.at(span).mistake(message, help));
    }

    fn config(&mut self, top: &Table, path: &Path) -> Config {
        self.only_keys(top, "at the top", &TOP);
        if let Some(store) = top.get("store") {
            self.store(store);
        }
        let limits = self.table(top, "limits");
        let search = self.table(top, "search");
        let serve = self.serve(top);
        let pipelines = top
            .get("pipeline")
            .map_or_else(Vec::new, |pipelines| self.pipelines(pipelines));
        Config {
            path: path.to_owned(),
            limits,
            search,
            serve,
            pipelines,
        }
    }

    /// Reports the keys of `table` that are not among `keys`.
    fn only_keys(&mut self, table: &dyn TableLike, place: &str, keys: &[&str]) {
        for (key, _) in table.iter() {
            if !keys.contains(&key) {
                let span = table.key(key).and_then(|key| key.span());
                self.wrong(
                    span,
                    format!("unknown key `{key}` {place}"),
                    nearest(key, keys.iter().copied()),
                );
            }
        }
    }

    fn store(&mut self, store: &Item) {
        let Some(table) = store.as_table_like() else {
            return self.wrong(store.span(), "`store` takes a table", "write `[store]`");
        };
        self.only_keys(table, "in `store`", &["postgres", "objects"]);
        for key in ["postgres", "objects"]
            .into_iter()
            .filter(|key| table.contains_key(key))
        {
            let span = table.key(key).and_then(|key| key.span());
            self.wrong(
                span,
                format!("`store.{key}` is not in this version"),
                "remove it: the catalog and the files of the lake are in the data directory, see `--data`",
            );
        }
    }

    fn serve(&mut self, top: &Table) -> Serve {
        let mut serve: Serve = self.table(top, "serve");
        for finding in gateway::settle(&mut serve, self.folder) {
            self.wrong(finding.span(top), finding.message, finding.help);
        }
        serve
    }

    /// The table of that name at the top, or its default.
    fn table<T: Default + DeserializeOwned + JsonSchema>(&mut self, top: &Table, name: &str) -> T {
        let Some(item) = top.get(name) else {
            return T::default();
        };
        let Some(table) = item.as_table_like() else {
            self.wrong(
                item.span(),
                format!("`{name}` takes a table"),
                format!("write `[{name}]`"),
            );
            return T::default();
        };
        let schema = schema_for!(T);
        let keys: Vec<&str> = schema::properties(&schema).collect();
        self.only_keys(table, &format!("in `{name}`"), &keys);
        if table.iter().any(|(key, _)| !keys.contains(&key)) {
            return T::default();
        }
        let inline = item.clone().into_table().unwrap_or_default().into_inline_table();
        let read = T::deserialize(Value::InlineTable(inline).into_deserializer());
        read.unwrap_or_else(|error: toml_edit::de::Error| {
            let key = key_at(table, error.span()).map_or(name.to_owned(), |key| format!("{name}.{key}"));
            self.wrong(
                error.span().or(item.span()),
                format!("`{key}`: {}", error.message()),
                "",
            );
            T::default()
        })
    }

    fn pipelines(&mut self, pipelines: &Item) -> Vec<Pipeline> {
        let Ok(tables) = pipelines.clone().into_array_of_tables() else {
            self.wrong(
                pipelines.span(),
                "`pipeline` takes a list of tables",
                "write `[[pipeline]]`, with two brackets",
            );
            return Vec::new();
        };
        let mut read = Vec::new();
        let mut names = HashMap::new();
        for table in tables.iter() {
            let place = self.start.at(table.span());
            let Some(pipeline) = self.pipeline(table, &place) else {
                continue;
            };
            let span = table.get("name").and_then(Item::span);
            let line = self.line(span.as_ref());
            if let Some(first) = names.insert(pipeline.name.clone(), line) {
                self.wrong(
                    span,
                    format!(
                        "a second pipeline `{}`; the first is in line {first}",
                        pipeline.name
                    ),
                    "give it a name of its own",
                );
            }
            read.push(pipeline);
        }
        read
    }

    fn line(&self, span: Option<&Range<usize>>) -> usize {
        let before = span
            .and_then(|span| self.start.text.get(..span.start))
            .unwrap_or_default();
        before.matches('\n').count() + 1
    }

    fn pipeline(&mut self, table: &Table, place: &Place) -> Option<Pipeline> {
        for (key, _) in table.iter().filter(|(key, _)| !PIPELINE.contains(key)) {
            let of_source =
                |descriptor: &&Descriptor| schema::properties(&(descriptor.schema)()).any(|of| of == key);
            let help = match key == "kind" || collectors::ALL.iter().any(of_source) {
                true => format!("`{key}` belongs into the table `source`: source = {{ kind = …, … }}"),
                false => nearest(key, PIPELINE),
            };
            let span = table.key(key).and_then(|key| key.span());
            self.wrong(span, format!("unknown key `{key}` in `pipeline`"), help);
        }
        let name = self.text(
            table,
            "name",
            place,
            "every pipeline has one, such as name = \"mail\"",
        );
        let name = name.and_then(|name| {
            let checked = SourceName::new(name);
            checked
                .map_err(|error| self.wrong(table.get("name").and_then(Item::span), error.to_string(), ""))
                .ok()
        });
        let schedule = match table.contains_key("schedule") {
            true => self.text(table, "schedule", place, ""),
            false => None,
        };
        let source = match table.get("source") {
            None => {
                let help = "it says what is collected: source = { kind = \"maildir\", path = \"~/Mail\" }";
                self.wrong(Some(place.span.clone()), "the pipeline has no `source`", help);
                None
            }
            Some(source) => self.source(source),
        };
        let ((descriptor, source, secrets), name) = (source?, name?);
        let place = place.at(table.get("source").and_then(Item::span));
        Some(Pipeline {
            name,
            schedule: schedule.map(str::to_owned),
            descriptor,
            source,
            secrets,
            place,
        })
    }

    /// The text under a key that must be there.
    fn text<'t>(
        &mut self,
        table: &'t dyn TableLike,
        key: &str,
        place: &Place,
        help: &str,
    ) -> Option<&'t str> {
        let Some(item) = table.get(key) else {
            self.wrong(Some(place.span.clone()), format!("`{key}` is missing"), help);
            return None;
        };
        let text = item.as_str();
        if text.is_none() {
            self.wrong(
                item.span(),
                format!("`{key}` takes a text, this is {}", with_article(item)),
                "put it in quotes",
            );
        }
        text
    }

    fn source(&mut self, item: &Item) -> Option<(&'static Descriptor, Table, Vec<Secret>)> {
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

    fn secret(&mut self, key: &str, item: &Item) -> Option<Secret> {
        match item.as_str().and_then(|text| Reference::parse(text, self.folder)) {
            Some(Ok(reference)) => Some(Secret {
                key: key.to_owned(),
                reference,
                place: self.start.at(item.span()),
            }),
            Some(Err(reason)) => {
                self.wrong(item.span(), format!("`{key}`: {reason}"), "");
                None
            }
            None => {
                self.wrong(
                    item.span(),
                    format!("`{key}` is a secret and must not be in the file"),
                    FORMS,
                );
                None
            }
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

fn with_article(item: &Item) -> String {
    let kind = item.type_name();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}
