//! `dkc runs retry`: what did not come to its end, once more.

use super::{find_all, short};
use crate::context::Context;
use crate::print;
use clap::Args;
use miette::{IntoDiagnostic, Result};
use schemas::SourceName;
use schemas::datasets::runs::{Run, RunState, Trigger};
use serde_json::json;
use store::Store;
use store::queue::Queue;

/// Asks for what failed, was cancelled or was skipped once more. Each try is a run of its own, which a worker takes:
/// `dkc daemon` or `dkc serve`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc runs retry 5f3a9c21\n  dkc runs retry --failed")]
pub struct Arguments {
    /// Their ids, or the beginnings or ends of them
    #[arg(value_name = "ID", required_unless_present = "failed")]
    ids: Vec<String>,
    /// The newest run of each pipeline, where it failed
    #[arg(long, conflicts_with = "ids")]
    failed: bool,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let queue = Queue::open(context.place()?).await.into_diagnostic()?;
    let runs = match arguments.failed {
        true => failed(&store).await?,
        false => find_all(&store, &arguments.ids).await?,
    };
    let (mut tries, mut left) = (Vec::new(), Vec::new());
    for run in &runs {
        match queue.requeue(&run.run, Trigger::Person).await.into_diagnostic()? {
            Some(new) => tries.push((run, new)),
            None => left.push(run),
        }
    }
    store.close().await;
    if context.json {
        let tries: Vec<_> = tries
            .iter()
            .map(|(run, new)| json!({ "run": new, "retry_of": run.run, "pipeline": run.pipeline }))
            .collect();
        print::json(&json!({ "runs": tries }))?;
    } else {
        for (run, new) in &tries {
            print::text(&format!("{}: {new} is queued", run.pipeline))?;
        }
        if runs.is_empty() {
            print::note("no pipeline's newest run has failed", context);
        }
    }
    if let Some(run) = left.first() {
        miette::bail!(
            help = "what failed, was cancelled or was skipped can be tried again, once; `dkc run NAME --queue` asks for a new run",
            "not asked for again: {} of {}, such as {}, which is {}",
            left.len(),
            print::counted(runs.len(), "run"),
            short(&run.run),
            run.state.as_str()
        );
    }
    Ok(())
}

/// The newest run of each pipeline, where it failed.
async fn failed(store: &Store) -> Result<Vec<Run>> {
    let runs = store.runs();
    let mut failed = Vec::new();
    for name in runs.pipelines().await.into_diagnostic()? {
        let pipeline = SourceName::new(name).into_diagnostic()?;
        let newest = runs.newest(Some(&pipeline), None, 1).await.into_diagnostic()?;
        failed.extend(newest.into_iter().filter(|run| run.state == RunState::Failed));
    }
    Ok(failed)
}
