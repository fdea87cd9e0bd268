//! `dkc export`: a dataset or a query as a file.

use crate::context::Context;
use crate::{commands, print};
use clap::Args;
use miette::IntoDiagnostic;
use miette::Result;
use std::path::PathBuf;
use store::Store;
use store::export;
use store::lake::as_of::AsOf;
use store::query::Query;

/// Writes rows to a file in the format of its extension. The file appears whole or not at all.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dkc export emails --to emails.parquet\n  dkc export --query 'SELECT date, subject FROM emails' --to subjects.csv"
)]
pub struct Arguments {
    /// A whole dataset
    #[arg(required_unless_present = "query", conflicts_with = "query")]
    pub dataset: Option<String>,
    /// What a query returns
    #[arg(long, value_name = "SQL")]
    pub query: Option<String>,
    /// The file: .csv, .json, .ndjson, .md or .parquet
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// The lake as it was: the number of a snapshot, or a time; without an offset it is local
    #[arg(long, value_name = "SNAPSHOT|TIME")]
    pub as_of: Option<AsOf>,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let query = match (arguments.query, arguments.dataset) {
        (Some(query), _) => query,
        (None, dataset) => {
            let name = dataset.unwrap_or_default();
            let dataset = commands::dataset(&name)?;
            format!("SELECT * FROM {}", dataset.name)
        }
    };
    let workers = commands::workers(context, false)?;
    let store = Store::open(&context.data).await.into_diagnostic()?;
    if store.holds(&arguments.to) {
        miette::bail!(
            help = "choose a folder outside it",
            "`{}` is in the data directory, which is dkc's own",
            arguments.to.display()
        );
    }
    let query = Query {
        as_of: arguments.as_of,
        ..Query::from(query.as_str())
    };
    let rows = workers.run_user_sql(&query).await.into_diagnostic()?;
    let written = export::write_file(rows, &arguments.to, arguments.force)
        .await
        .into_diagnostic()?;
    store.close().await;
    for line in &written.notes {
        print::note(line, context);
    }
    let path = arguments.to.display().to_string();
    if context.json {
        return print::json(
            &serde_json::json!({ "file": path, "rows": written.rows, "bytes": written.bytes }),
        );
    }
    print::text(&format!("{path}: {} rows, {} bytes", written.rows, written.bytes))
}
