//! `dkc changes`: what became of a dataset since then.

use crate::context::Context;
use crate::{commands, print};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use miette::{IntoDiagnostic, Result};
use store::Store;
use store::export::Format;
use store::lake::as_of::AsOf;
use store::query::{Query, Spare};

/// Lists the rows that were inserted, updated or deleted since a snapshot or a time.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dkc changes emails --since 2026-11-24\n  dkc changes emails --since 12 --as-of 15 --format csv"
)]
pub struct Arguments {
    /// The dataset
    pub dataset: String,
    /// The snapshot or time to compare with
    #[arg(long, value_name = "SNAPSHOT|TIME")]
    pub since: AsOf,
    /// The snapshot or time to look at; the newest if absent
    #[arg(long, value_name = "SNAPSHOT|TIME")]
    pub as_of: Option<AsOf>,
    /// How to print the rows; `--json` is the same as json
    #[arg(long, default_value = "table", value_parser = PossibleValuesParser::new(Format::TEXT).try_map(|name| name.parse::<Format>()))]
    pub format: Format,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let dataset = commands::dataset(&arguments.dataset)?;
    let workers = commands::workers(context, Spare::First)?;
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let mut query = Query::from(format!("SELECT * FROM changes('{}', :since)", dataset.name).as_str());
    let since = arguments.since.written().into();
    query.parameters.insert("since".to_owned(), since);
    query.as_of = arguments.as_of;
    let rows = workers.run_user_sql(&query).await.into_diagnostic()?;
    print::rows(rows, arguments.format, context).await?;
    store.close().await;
    Ok(())
}
