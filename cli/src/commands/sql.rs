//! `dkc sql`: SQL over the lake, read-only.

use crate::context::Context;
use crate::{commands, print};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use miette::{IntoDiagnostic, Result, WrapErr};
use std::io::Read;
use std::path::PathBuf;
use store::Store;
use store::export::Format;
use store::lake::as_of::AsOf;
use store::query::{Query, parameter};

/// Runs one query and prints its rows as they come. Nothing can be written, and no other file be read.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dkc sql -c 'SELECT date, from_addr, subject FROM emails ORDER BY date DESC LIMIT 10'\n  dkc sql -f report.sql --format csv > report.csv\n  echo 'SELECT count(*) FROM emails' | dkc sql\n  dkc sql --param who=anna@example.org -c 'SELECT subject FROM emails WHERE from_addr = :who'\n  dkc sql --as-of 2026-11-01 -c 'SELECT count(*) FROM emails'"
)]
pub struct Arguments {
    /// The query; without -c and -f it is read from standard input
    // It may begin with a comment: `--`.
    #[arg(
        short,
        long,
        value_name = "SQL",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    pub command: Option<String>,
    /// A file with the query
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
    let query = match (arguments.command, arguments.file) {
        (Some(query), _) => query,
        (None, Some(path)) => std::fs::read_to_string(&path)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot read `{}`", path.display()))?,
        (None, None) => {
            let mut query = String::new();
            std::io::stdin()
                .read_to_string(&mut query)
                .into_diagnostic()
                .wrap_err("cannot read standard input")?;
            query
        }
    };
    let workers = commands::workers(context, false)?;
    let store = Store::open(&context.data).await.into_diagnostic()?;
    let query = Query {
        text: query,
        parameters: arguments.param.into_iter().collect(),
        as_of: arguments.as_of,
    };
    let rows = workers.run_user_sql(&query).await.into_diagnostic()?;
    print::rows(rows, arguments.format, context).await?;
    store.close().await;
    Ok(())
}
