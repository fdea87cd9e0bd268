//! `dkc index optimize`: an index that answers fast.

use super::Lock;
use crate::config;
use crate::context::Context;
use crate::print;
use clap::Args;
use miette::{IntoDiagnostic, Result};
use store::Store;
use store::embedder::{Embedder, static_of};
use store::vectors::Vectors;
use tokio_util::sync::CancellationToken;

/// Merges small files of the index, puts words into it that are read one by one, and forgets vectors of texts that no row
/// says any more. Those of other models than the configured one stay.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc index optimize\n  dkc index optimize emails")]
pub struct Arguments {
    /// Datasets; all that can be searched without one
    #[arg(value_name = "DATASET")]
    datasets: Vec<String>,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let datasets = super::chosen(&arguments.datasets)?;
    let (_, search) = config::settings(context)?;
    let models = context.models()?;
    let own =
        [static_of(&models, &search.model), search.model].map(|name| Embedder::stamp_name(&models, &name));
    let store = Store::open_writer(context.place()?).await.into_diagnostic()?;
    // Nobody else may write to the index meanwhile.
    let _alone = super::alone(context, Lock::Index, None, &CancellationToken::new()).await?;
    let vectors = Vectors::open(&context.data).await.into_diagnostic()?;
    let mut lines = Vec::new();
    for (dataset, _) in datasets {
        vectors.sweep(dataset.name);
        let Some(chunks) = vectors.chunks(dataset.name).await.into_diagnostic()? else {
            continue;
        };
        chunks.optimize().await.into_diagnostic()?;
        for stamp in vectors.models(dataset.name).await.into_diagnostic()? {
            if let Some(space) = vectors.space(dataset.name, &stamp).await.into_diagnostic()? {
                // Another model may cut texts elsewhere: what it read is there for whoever goes back to it.
                let tidied = match own.contains(&stamp.name) {
                    true => space.optimize(&chunks).await,
                    false => space.index().await,
                };
                tidied.into_diagnostic()?;
            }
        }
        let state = chunks.state().await.into_diagnostic()?;
        lines.push(serde_json::json!({
            "dataset": dataset.name,
            "chunks": state.chunks,
            "unindexed": state.unindexed,
        }));
    }
    store.close().await;
    if context.json {
        return print::json(&lines);
    }
    let datasets = print::counted(lines.len(), "dataset");
    print::note(&format!("optimized: {datasets}"), context);
    Ok(())
}
