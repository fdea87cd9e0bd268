//! `dkc runs cancel`: an end to runs.

use super::{find_all, short};
use crate::context::Context;
use crate::print;
use clap::Args;
use miette::{IntoDiagnostic, Result};
use serde_json::json;
use store::Store;
use store::queue::{Cancelled, Queue};

/// Ends runs. One that waits is over at once; one at work is asked to end, and keeps what it has stored. Of one that failed
/// the next try is cancelled.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc runs cancel 5f3a9c21")]
pub struct Arguments {
    /// Their ids, or the beginnings or ends of them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let queue = Queue::open(context.place()?).await.into_diagnostic()?;
    let runs = find_all(&store, &arguments.ids).await?;
    let (mut done, mut over) = (Vec::new(), Vec::new());
    for run in runs {
        match queue
            .cancel(&run.run, "cancelled by `dkc runs cancel`")
            .await
            .into_diagnostic()?
        {
            Cancelled::Queued(ended) => done.push((run, ended, "cancelled")),
            Cancelled::Asked(ended) => done.push((run, ended, "asked to end")),
            Cancelled::Over(state) => over.push((run, state.as_str())),
            Cancelled::Unknown => over.push((run, "gone")),
        }
    }
    store.close().await;
    if context.json {
        let done: Vec<_> = done
            .iter()
            .map(|(run, ended, became)| json!({ "run": ended, "pipeline": run.pipeline, "became": became }))
            .collect();
        print::json(&json!({ "runs": done }))?;
    } else {
        for (run, ended, became) in &done {
            let after = match *ended == run.run {
                true => String::new(),
                false => format!(", the next try of {}", short(&run.run)),
            };
            print::text(&format!("{} of {}{after}: {became}", short(ended), run.pipeline))?;
        }
    }
    if let Some((run, state)) = over.first() {
        miette::bail!(
            help = "`dkc runs --state running` lists what is at work, `--state queued` what waits",
            "{} is over already: {state}",
            short(&run.run)
        );
    }
    Ok(())
}
