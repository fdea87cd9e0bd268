//! `dkc runs`: what the runs of pipelines did.

use crate::context::Context;
use crate::print;
use clap::Args;
use miette::IntoDiagnostic;
use miette::Result;
use store::Store;

/// Lists runs, newest first: what they saw, stored, rejected, and why they failed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc runs --limit 5")]
pub struct Arguments {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let store = Store::open(&context.data).await.into_diagnostic()?;
    let runs = store
        .runs()
        .newest(None, arguments.limit)
        .await
        .into_diagnostic()?;
    store.close().await;
    if context.json {
        return print::json(&serde_json::json!({ "runs": runs }));
    }
    let header = [
        "started",
        "pipeline",
        "state",
        "seen",
        "stored",
        "unchanged",
        "rejected",
        "vanished",
        "seconds",
        "error",
    ];
    print::table(
        header,
        runs.into_iter().map(|run| {
            [
                print::moment(run.started_at),
                run.pipeline.to_string(),
                run.state.as_str().to_owned(),
                run.counts.items_seen.to_string(),
                run.counts.items_stored.to_string(),
                run.counts.items_unchanged.to_string(),
                run.counts.items_rejected.to_string(),
                run.counts.items_vanished.to_string(),
                run.ended_at
                    .map(|ended| format!("{:.2}", (ended - run.started_at) as f64 / 1e6))
                    .unwrap_or_default(),
                run.error.unwrap_or_default(),
            ]
        }),
    )
}
