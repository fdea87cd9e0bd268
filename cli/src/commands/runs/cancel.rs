//! `dkc runs cancel`: an end to runs.

use super::{find_all, short};
use crate::context::Context;
use crate::print;
use clap::Args;
use miette::{IntoDiagnostic, Result};
use schemas::RunId;
use schemas::datasets::runs::Run;
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
    let Ended { done, over } = end(&queue, runs).await?;
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

/// What became of runs.
#[derive(Default)]
struct Ended {
    /// A run, the try of it that was meant, and what became of that.
    done: Vec<(Run, RunId, &'static str)>,
    /// A run that was over before, and how.
    over: Vec<(Run, &'static str)>,
}

/// Cancels runs, of which some may be tries of others: the end of a try is that of all whose last try it is.
async fn end(queue: &Queue, runs: Vec<Run>) -> Result<Ended> {
    let mut told = Ended::default();
    for run in runs {
        let cancelled = queue.cancel(&run.run, "cancelled by `dkc runs cancel`").await;
        match cancelled.into_diagnostic()? {
            Cancelled::Queued(ended) => told.done.push((run, ended, "cancelled")),
            Cancelled::Asked(ended) => told.done.push((run, ended, "asked to end")),
            Cancelled::Over { state, last } => {
                let before = told.done.iter().find(|(_, ended, _)| *ended == last);
                match before.map(|(.., became)| *became) {
                    Some(became) => told.done.push((run, last, became)),
                    None => told.over.push((run, state.as_str())),
                }
            }
            Cancelled::Unknown => told.over.push((run, "gone")),
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::SourceName;
    use schemas::datasets::runs::{RunState, Trigger};
    use std::time::Duration;
    use store::queue::Request;

    /// A run that failed, and the try of it that waits.
    async fn tried_again(queue: &Queue) -> (Run, Run) {
        let request = Request {
            run: Run::new(SourceName::new("mail").unwrap(), Trigger::Person, 0),
            priority: 0,
            host: None,
            once: None,
        };
        queue.enqueue(&[request]).await.unwrap();
        let claimed = queue.claim("w", 1, 1, Duration::from_secs(60)).await.unwrap();
        let claimed = claimed.first().unwrap();
        let retry = claimed.retry(0, "no route");
        let mut failed = claimed.run.clone();
        failed.state = RunState::Failed;
        queue.finish(&failed, Some(&retry)).await.unwrap();
        (failed, retry.run)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_and_its_try_are_cancelled_in_whatever_order_they_are_named() {
        let data = tempfile::tempdir().unwrap();
        let queue = Queue::open(data.path()).await.unwrap();
        for is_first in [true, false] {
            let (failed, retry) = tried_again(&queue).await;
            let mut named = vec![failed, retry.clone()];
            if !is_first {
                named.reverse();
            }
            let Ended { done, over } = end(&queue, named.clone()).await.unwrap();
            assert!(over.is_empty(), "{over:?}");
            let told: Vec<_> = done.iter().map(|(_, ended, became)| (ended, *became)).collect();
            assert_eq!(told, [(&retry.run, "cancelled"), (&retry.run, "cancelled")]);
            // What was over before is told as such.
            let Ended { done, over } = end(&queue, named).await.unwrap();
            assert_eq!((done.len(), over.len()), (0, 2));
        }
    }
}
