//! TOML → [`Config`], or all its mistakes at once.
//!
//! - Not here: the pipelines (`pipeline`) and their sources (`source`).

mod pipeline;
mod source;

use super::finding::Finding;
use super::mistake::{Mistake, Mistakes, Place, nearest};
use super::secret::{FORMS, Reference};
use super::{Alerts, Config, Search, Secret, Serve, alerts, gateway, redact, schema};
use crate::context::expand;
use schemars::{JsonSchema, schema_for};
use serde::de::{DeserializeOwned, IntoDeserializer};
use std::ops::Range;
use std::path::Path;
use toml_edit::{Document, InlineTable, Item, Table, TableLike, Value};

/// The keys at the top.
const TOP: [&str; 7] = ["store", "limits", "search", "serve", "runs", "alerts", "pipeline"];

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
        let postgres = top.get("store").and_then(|store| self.store(store));
        let limits = self.table(top, "limits");
        let search = self.search(top);
        let serve = self.serve(top);
        let runs = self.table(top, "runs");
        let alerts = self.alerts(top);
        let pipelines = top
            .get("pipeline")
            .map_or_else(Vec::new, |pipelines| self.pipelines(pipelines));
        Config {
            path: path.to_owned(),
            postgres,
            limits,
            search,
            serve,
            runs,
            alerts,
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

    /// Where its tables are kept, if not in the data directory.
    fn store(&mut self, store: &Item) -> Option<Secret> {
        let Some(table) = store.as_table_like() else {
            self.wrong(store.span(), "`store` takes a table", "write `[store]`");
            return None;
        };
        self.only_keys(table, "in `store`", &["postgres", "objects"]);
        if let Some(key) = table.key("objects") {
            self.wrong(
                key.span(),
                "`store.objects` is not in this version",
                "remove it: the files of the lake are in the data directory, see `--data`",
            );
        }
        self.secret("store.postgres", table.get("postgres")?)
    }

    fn search(&mut self, top: &Table) -> Search {
        let mut search: Search = self.table(top, "search");
        let names = [
            ("model", Some(&mut search.model)),
            ("reranker", search.reranker.as_mut()),
        ];
        for (key, name) in names {
            let Some(name) = name else {
                continue;
            };
            let read = match name.trim() {
                "" => Err("it is empty; name a model, or remove it".to_owned()),
                path if path.starts_with(['~', '.']) => expand(path, self.folder),
                // A name, of a folder among the models maybe.
                _ => continue,
            };
            match read {
                Ok(path) => *name = path.display().to_string(),
                Err(reason) => {
                    let finding = Finding::new("search", &[key], format!("`search.{key}`: {reason}"), "");
                    self.wrong(finding.span(top), finding.message, finding.help);
                }
            }
        }
        search
    }

    fn serve(&mut self, top: &Table) -> Serve {
        let mut serve: Serve = self.table(top, "serve");
        for finding in gateway::settle(&mut serve, self.folder) {
            self.wrong(finding.span(top), finding.message, finding.help);
        }
        serve
    }

    fn alerts(&mut self, top: &Table) -> Alerts {
        let mut alerts: Alerts = self.table(top, "alerts");
        for finding in alerts::settle(&mut alerts, self.folder) {
            self.wrong(finding.span(top), finding.message, finding.help);
        }
        alerts
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
        self.keys(table, &keys, &format!("{name}."))
    }

    /// What of these keys fits `T`. What does not is told, key by key, so that all of it is told at once.
    fn keys<T: Default + DeserializeOwned>(
        &mut self,
        table: &dyn TableLike,
        keys: &[&str],
        before: &str,
    ) -> T {
        let read = |table: InlineTable| -> Result<T, toml_edit::de::Error> {
            T::deserialize(Value::InlineTable(table).into_deserializer())
        };
        let mut fits = InlineTable::new();
        for key in keys {
            let Some(item) = table.get(key) else { continue };
            let Ok(value) = item.clone().into_value() else {
                continue;
            };
            let mut alone = InlineTable::new();
            alone.insert(*key, value.clone());
            match read(alone) {
                Ok(_) => {
                    fits.insert(*key, value);
                }
                Err(error) => self.not_read(item, &format!("{before}{key}"), &error),
            }
        }
        read(fits).unwrap_or_default()
    }

    fn not_read(&mut self, item: &Item, key: &str, error: &toml_edit::de::Error) {
        self.wrong(
            error.span().or_else(|| item.span()),
            format!("`{key}`: {}", error.message()),
            "",
        );
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

    /// The line in which it lies.
    fn line(&self, span: Option<&Range<usize>>) -> usize {
        let before = span
            .and_then(|span| self.start.text.get(..span.start))
            .unwrap_or_default();
        before.matches('\n').count() + 1
    }
}

fn with_article(item: &Item) -> String {
    let kind = item.type_name();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}
