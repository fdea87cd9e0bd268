//! `dkc index status`: how much is indexed.

use crate::config;
use crate::context::Context;
use crate::print;
use clap::Args;
use miette::{IntoDiagnostic, Result};
use serde::Serialize;
use store::Store;
use store::embedder::Embedder;
use store::vectors::Vectors;

/// Says of each dataset that can be searched how many chunks there are, how many of them are not in the index of words
/// yet, whether the index is as new as the lake, and what each model has read.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc index status\n  dkc index status --json")]
pub struct Arguments {}

#[derive(Serialize)]
struct Status {
    dataset: &'static str,
    chunks: usize,
    unindexed: usize,
    snapshot: Option<i64>,
    newest: i64,
    models: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    name: String,
    dimension: usize,
    digest: String,
    is_asked_first: bool,
    vectors: usize,
    pending: usize,
    stale: usize,
}

/// Runs it.
pub async fn run(_: Arguments, context: &Context) -> Result<()> {
    let (_, search) = config::settings(context)?;
    let first = Embedder::stamp_name(&context.models()?, &search.model);
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let newest = store.catalog().head().await.into_diagnostic()?.id;
    store.close().await;
    let vectors = Vectors::open(&context.data).await.into_diagnostic()?;
    let mut all = Vec::new();
    for (dataset, _) in super::chosen(&[])? {
        let Some(chunks) = vectors.chunks(dataset.name).await.into_diagnostic()? else {
            continue;
        };
        let state = chunks.state().await.into_diagnostic()?;
        let mut models = Vec::new();
        for stamp in vectors.models(dataset.name).await.into_diagnostic()? {
            if let Some(space) = vectors.space(dataset.name, &stamp).await.into_diagnostic()? {
                let of = space.state(&chunks).await.into_diagnostic()?;
                models.push(Model {
                    is_asked_first: stamp.name == first,
                    name: stamp.name,
                    dimension: stamp.dimension,
                    digest: stamp.digest,
                    vectors: of.vectors,
                    pending: of.pending,
                    stale: of.stale,
                });
            }
        }
        all.push(Status {
            dataset: dataset.name,
            chunks: state.chunks,
            unindexed: state.unindexed,
            snapshot: state.followed.map(|followed| followed.snapshot),
            newest,
            models,
        });
    }
    if context.json {
        return print::json(&all);
    }
    if all.is_empty() {
        print::note(
            "nothing is indexed yet; `dkc index build` does it, and so does each `dkc run`",
            context,
        );
        return Ok(());
    }
    let models = all.iter().flat_map(|status| &status.models);
    let asked_first = models.filter(|model| model.is_asked_first);
    let pending: usize = asked_first.map(|model| model.pending).sum();
    if pending > 0 {
        print::note(
            &format!(
                "`{}` has not read {} yet: `dkc daemon` or `dkc serve` lets it while no run is at \
                 work, `dkc index build` at once",
                search.model,
                print::counted(pending, "text")
            ),
            context,
        );
    }
    let mut rows = Vec::new();
    for status in all {
        let snapshot = match status.snapshot {
            Some(snapshot) if snapshot == status.newest => format!("{snapshot}, the newest"),
            Some(snapshot) => format!("{snapshot} of {}", status.newest),
            None => format!("none of {}", status.newest),
        };
        let of_dataset = [
            status.dataset.to_owned(),
            status.chunks.to_string(),
            status.unindexed.to_string(),
            snapshot,
        ];
        let none = || [const { String::new() }; 4];
        let mut of_models = status.models.iter().map(|model| {
            [
                format!("{} {:.8}", model.name, model.digest),
                model.vectors.to_string(),
                model.pending.to_string(),
                model.stale.to_string(),
            ]
        });
        rows.push((of_dataset, of_models.next().unwrap_or_else(none)));
        rows.extend(of_models.map(|of_model| (none(), of_model)));
    }
    print::table(
        [
            "dataset",
            "chunks",
            "words pending",
            "snapshot",
            "model",
            "vectors",
            "pending",
            "stale",
        ],
        rows.into_iter()
            .map(|([a, b, c, d], [e, f, g, h])| [a, b, c, d, e, f, g, h]),
    )
}
