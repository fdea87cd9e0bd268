//! `dkc rebuild`: rows made again from their originals.

use crate::context::Context;
use crate::{commands, print};
use clap::Args;
use miette::IntoDiagnostic;
use miette::Result;
use store::Store;

/// Converts every original again and replaces the rows of a dataset with what comes out. The sources are
/// not asked.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc rebuild emails")]
pub struct Arguments {
    /// The dataset
    pub dataset: String,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let dataset = commands::dataset(&arguments.dataset)?;
    let store = Store::open_alone(context.place()?).await.into_diagnostic()?;
    let rebuilt = pipelines::rebuild(&store, dataset).await.into_diagnostic()?;
    store.close().await;
    if context.json {
        return print::json(&rebuilt);
    }
    print::text(&format!(
        "{}: {} read, {} changed, {} unchanged, {} rejected",
        dataset.name,
        print::counted(rebuilt.originals, "original"),
        print::counted(rebuilt.changed, "item"),
        rebuilt.unchanged,
        rebuilt.rejected
    ))
}
