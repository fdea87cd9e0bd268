//! `dkc why`: from a row back to its original and its run.

use crate::context::Context;
use crate::{commands, print};
use arrow_array::cast::AsArray;
use clap::Args;
use miette::Result;
use miette::{IntoDiagnostic, miette};
use schemas::{SourceName, datasets};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::Write;
use store::Store;
use store::export::{self, Format};
use store::query::{Query, Spare, Workers};

/// Shows where an item was found, its original, the run that stored it, and the rows made of it.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dkc why emails \"$(dkc sql --format csv -c 'SELECT _item FROM emails LIMIT 1' | tail -1)\""
)]
pub struct Arguments {
    /// The dataset of the row
    pub dataset: String,
    /// The `_item` of the row
    pub item: String,
    /// Write the original's bytes to standard output instead, as they were fetched
    #[arg(long)]
    pub original: bool,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let Arguments {
        dataset,
        item,
        original,
    } = arguments;
    let known = commands::dataset(&dataset)?;
    let workers = commands::workers(context, Spare::Always)?;
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let ask = async |query: &str| ask(&workers, query, &item).await;
    let rows = ask(&format!("SELECT * FROM {} WHERE _item = :item", known.name)).await?;
    let first_of = |rows: &Value| rows.get(0).cloned();
    let first = match first_of(&rows) {
        Some(row) => Some(row),
        // What could not be read has no row but that of its reject.
        None => first_of(&ask("SELECT _source, _run FROM rejects WHERE _item = :item").await?),
    };
    let first = first.ok_or_else(|| {
        miette!(
            help = "`dkc sql -c 'SELECT _item FROM …'` lists them",
            "`{dataset}` has no row of the item `{item}`"
        )
    })?;
    let text = |column: &str| {
        first
            .get(column)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    if original {
        write_original(&store, &text("_source"), item).await?;
        store.close().await;
        return Ok(());
    }
    let raw = "SELECT media_type, fetched_at, sha256, size_bytes, path, _run FROM raw WHERE _item = :item";
    let places = "SELECT location, folder, flags, received_at, _run FROM locations WHERE _item = :item ORDER BY location";
    let story = json!({
        "dataset": known.name,
        "item": item,
        "source": text("_source"),
        "rows": rows,
        "run": store.runs().get(&text("_run")).await.into_diagnostic()?,
        "original": ask(raw).await?,
        "locations": ask(places).await?,
        "rejects": ask("SELECT reason, raw FROM rejects WHERE _item = :item").await?,
    });
    drop(workers);
    store.close().await;
    print::json(&story)
}

/// The rows of a query as a JSON array.
async fn ask(workers: &Workers, query: &str, item: &str) -> Result<Value> {
    let mut query = Query::from(query);
    query.parameters.insert("item".to_owned(), item.into());
    let rows = workers.run_user_sql(&query).await.into_diagnostic()?;
    let mut text = Vec::new();
    export::write_stream(rows, Format::Json, &mut text)
        .await
        .into_diagnostic()?;
    serde_json::from_slice(&text).into_diagnostic()
}

/// Writes the original's bytes to standard output, as they were fetched.
async fn write_original(store: &Store, source: &str, item: String) -> Result<()> {
    let source = SourceName::new(source).into_diagnostic()?;
    let rows = store
        .rows_of(&datasets::raw::DATASET, &source, HashSet::from([item]))
        .await
        .into_diagnostic()?;
    let bytes = rows.iter().find_map(|batch| {
        let column = batch.column_by_name("bytes")?.as_binary_view_opt()?;
        column.iter().flatten().next()
    });
    let bytes =
        bytes.ok_or_else(|| miette!("the original is not in the lake; its `path` says where it lies"))?;
    let mut out = print::Output::stdout();
    out.write_all(bytes).and_then(|()| out.flush()).into_diagnostic()
}
