//! `dkc sql`: SQL over the lake, read-only: one query, a script, or a shell.

use crate::commands;
use crate::context::Context;
use crate::shell::{Manner, Script, Shell};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use miette::{IntoDiagnostic, Result, WrapErr};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use store::Store;
use store::export::Format;
use store::lake::as_of::AsOf;
use store::query::{Spare, parameter};

/// Answers queries and prints their rows as they come. Nothing in the lake can be written, and no other file be read.
///
/// On a terminal, without -c and -f, it is a shell: `.help` says what it knows.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dkc sql\n  dkc sql -c 'SELECT date, from_addr, subject FROM emails ORDER BY date DESC LIMIT 10'\n  dkc sql -f report.sql --format csv > report.csv\n  echo 'SELECT count(*) FROM emails' | dkc sql\n  dkc sql --param who=anna@example.org -c 'SELECT subject FROM emails WHERE from_addr = :who'\n  dkc sql --as-of 2026-11-01 -c 'SELECT count(*) FROM emails'"
)]
pub struct Arguments {
    /// One query; without -c and -f queries are read from standard input
    // It may begin with a comment: `--`.
    #[arg(
        short,
        long,
        value_name = "SQL",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    pub command: Option<String>,
    /// A file with queries, each ended by `;`
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The lake as it was: the number of a snapshot, or a time; without an offset it is local
    #[arg(long, value_name = "SNAPSHOT|TIME")]
    pub as_of: Option<AsOf>,
    /// The value of `:NAME` in the query: a number, true, false, null, or text; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = named)]
    pub param: Vec<(String, serde_json::Value)>,
    /// How to print the rows; `--json` is the same as json
    #[arg(long, default_value = "table", value_parser = PossibleValuesParser::new(Format::TEXT).try_map(|name| name.parse::<Format>()))]
    pub format: Format,
}

fn named(text: &str) -> Result<(String, serde_json::Value), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim_start_matches([':', '$']).to_owned(), parameter(value)))
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let spare = match arguments.command {
        Some(_) => Spare::First,
        None => Spare::Always,
    };
    let workers = commands::workers(context, spare)?;
    let mut shell = Shell {
        context,
        store: Store::open(context.place()?).await.into_diagnostic()?,
        workers,
        format: if context.json {
            Format::Json
        } else {
            arguments.format
        },
        as_of: arguments.as_of,
        parameters: arguments.param.into_iter().collect(),
        manner: Manner::default(),
    };
    match (arguments.command, arguments.file) {
        (Some(query), _) => shell.query(&query).await?,
        (None, Some(path)) => {
            let text = std::fs::read_to_string(&path)
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot read `{}`", path.display()))?;
            let origin = format!("`{}`", path.display());
            shell.script(&Script { origin, text }).await?;
        }
        (None, None) if io::stdin().is_terminal() && io::stdout().is_terminal() => {
            return shell.interact().await;
        }
        (None, None) => {
            let text = io::read_to_string(io::stdin())
                .into_diagnostic()
                .wrap_err("cannot read standard input")?;
            let origin = "standard input".to_owned();
            shell.script(&Script { origin, text }).await?;
        }
    }
    shell.store.close().await;
    Ok(())
}
