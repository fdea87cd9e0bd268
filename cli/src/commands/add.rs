//! `dkc add`: one more pipeline in the configuration, which otherwise stays as it is, byte by byte.

use crate::config::Config;
use crate::context::Context;
use crate::print;
use clap::Args;
use collectors::Descriptor;
use miette::{Result, miette};
use serde_json::{Value as Json, json};
use std::io::{self, Write};
use std::path::Path;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

/// Appends a `[[pipeline]]` to the configuration. Nothing is written unless the whole is then right.
#[derive(Debug, Args)]
#[command(after_help = example())]
pub struct Arguments {
    /// Kind of source
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(collectors::ALL.iter().map(|kind| kind.kind)))]
    kind: String,
    /// `name` (the kind, unless given), one `schedule`, and what the kind of source takes;
    /// there several values of one key are separated by commas
    #[arg(value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
}

fn example() -> String {
    let examples = collectors::ALL
        .iter()
        .map(|descriptor| format!("\n  {}", descriptor.example));
    format!("Example:{}", examples.collect::<String>())
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let descriptor = collectors::by_kind(&arguments.kind)
        .ok_or_else(|| miette!("unknown kind of source `{}`", arguments.kind))?;
    let path = context.config_path()?;
    let text = std::fs::read_to_string(&path).map_err(|error| {
        miette!(
            help = "`dkc init` writes a configuration",
            "cannot read `{}`: {error}",
            path.display()
        )
    })?;
    let (name, block) = block(
        descriptor,
        &arguments.settings,
        path.parent().unwrap_or(Path::new("/")),
    )?;
    let gap = match text.as_str() {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    let text = format!("{text}{gap}{block}");
    let title = format!("{} (as it would be; nothing was written)", path.display());
    Config::parse(&text, &path, &title)?;
    replace(&path, &text).map_err(|error| miette!("cannot write `{}`: {error}", path.display()))?;
    let next = format!("dkc run {name}");
    if context.json {
        return print::json(&json!({ "config": path, "pipeline": name, "next": next }));
    }
    print::text(&format!("Added `{name}` to {}.", path.display()))?;
    print::note(&format!("Next: {next}"), context);
    Ok(())
}

/// The name of the new pipeline, and its lines.
fn block(descriptor: &Descriptor, settings: &[(String, String)], folder: &Path) -> Result<(String, String)> {
    let schema = (descriptor.schema)().to_value();
    let mut pipeline = Table::new();
    pipeline.insert("name", toml_edit::value(descriptor.kind));
    let mut source = InlineTable::new();
    source.insert("kind", descriptor.kind.into());
    let mut given = Vec::new();
    for (key, text) in settings {
        if given.contains(&key) {
            return Err(miette!(
                help = "separate several values by commas; several schedules are a list in the file",
                "`{key}` is given twice"
            ));
        }
        given.push(key);
        if key == "name" || key == "schedule" {
            pipeline.insert(key, toml_edit::value(text));
        } else if descriptor.paths.contains(&key.as_str()) {
            source.insert(key, typed(text, &schema, key, |path| from_here(path, folder)));
        } else {
            source.insert(key, typed(text, &schema, key, str::to_owned));
        }
    }
    let name = pipeline
        .get("name")
        .and_then(Item::as_str)
        .unwrap_or_default()
        .to_owned();
    pipeline.insert("source", toml_edit::value(source));
    let mut pipelines = ArrayOfTables::new();
    pipelines.push(pipeline);
    let mut document = DocumentMut::new();
    document.insert("pipeline", Item::ArrayOfTables(pipelines));
    Ok((name, document.to_string()))
}

/// `text` in the type that the schema has for `key`; as text when it is not of that type, or the key is
/// unknown: the check of the whole says it better.
fn typed(text: &str, schema: &Json, key: &str, of_text: impl Fn(&str) -> String) -> Value {
    match wanted(schema.pointer(&format!("/properties/{key}"))) {
        Wanted::Text => of_text(text).into(),
        Wanted::Other => text.parse().unwrap_or_else(|_| text.into()),
        Wanted::List => match text.parse() {
            Ok(Value::Array(list)) => Value::Array(list),
            _ => text
                .split(',')
                .map(|text| of_text(text.trim()))
                .collect::<Array>()
                .into(),
        },
    }
}

enum Wanted {
    Text,
    List,
    Other,
}

fn wanted(property: Option<&Json>) -> Wanted {
    let types = property.and_then(|property| property.get("type"));
    let is = |name: &str| match types {
        Some(Json::Array(types)) => types.iter().any(|of| of == name),
        Some(of) => of == name,
        None => false,
    };
    match () {
        () if is("array") => Wanted::List,
        () if is("integer") || is("number") || is("boolean") => Wanted::Other,
        () => Wanted::Text,
    }
}

/// A path as typed in the working directory → as the configuration in `folder` must have it.
fn from_here(path: &str, folder: &Path) -> String {
    if path.starts_with('~') || std::env::current_dir().is_ok_and(|here| here == folder) {
        return path.to_owned();
    }
    let absolute = std::path::absolute(path).ok();
    absolute
        .as_deref()
        .and_then(Path::to_str)
        .unwrap_or(path)
        .to_owned()
}

/// Replaces the file at once, keeping its rights; a link stays a link.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize()?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".dkc-")
        .suffix(".tmp")
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(path.metadata()?.permissions())?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}
