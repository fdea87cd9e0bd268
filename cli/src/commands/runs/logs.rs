//! `dkc runs logs`: what a run said of itself.

use super::find;
use crate::context::Context;
use crate::print;
use clap::Args;
use miette::{IntoDiagnostic, Result};
use schemas::RunId;
use serde_json::json;
use std::time::Duration;
use store::Store;
use store::export::visible;
use store::run_log::{Line, RunLog};

/// So many lines are read at once.
const LINES: u32 = 1_000;

/// How often a run that is followed is looked at.
const OFTEN: Duration = Duration::from_millis(200);

/// Prints the log of a run, oldest lines first.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc runs logs 5f3a9c21\n  dkc runs logs -f 5f3a9c21")]
pub struct Arguments {
    /// The run's id, or the beginning or the end of it
    #[arg(value_name = "ID")]
    id: String,
    /// Go on until the run is over; with `--json`, one object a line
    #[arg(short, long)]
    follow: bool,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let log = RunLog::open(context.place()?).await.into_diagnostic()?;
    let run = find(&store, &arguments.id).await?;
    if context.json && !arguments.follow {
        let lines = all(&log, &run.run).await?;
        store.close().await;
        return print::json(&json!({ "run": run.run, "state": run.state, "lines": lines }));
    }
    let mut after = 0;
    loop {
        // Its state first: what it says later is then there once it is over.
        let run = store.runs().get(&run.run.0).await.into_diagnostic()?;
        let Some(run) = run else { break };
        loop {
            let lines = log.of(&run.run, after, LINES).await.into_diagnostic()?;
            for line in &lines {
                match context.json {
                    true => print::text(&serde_json::to_string(line).into_diagnostic()?)?,
                    false => print::text(&as_text(line))?,
                }
            }
            let Some(last) = lines.last() else { break };
            after = last.seq;
        }
        if run.state.is_over() || !arguments.follow {
            if arguments.follow {
                let seconds = super::seconds(&run).map(|seconds| format!(" after {seconds} s"));
                let state = run.state.as_str();
                print::note(&format!("{state}{}", seconds.unwrap_or_default()), context);
            }
            break;
        }
        tokio::time::sleep(OFTEN).await;
    }
    store.close().await;
    Ok(())
}

async fn all(log: &RunLog, run: &RunId) -> Result<Vec<Line>> {
    let mut all = Vec::new();
    loop {
        let after = all.last().map_or(0, |line: &Line| line.seq);
        let lines = log.of(run, after, LINES).await.into_diagnostic()?;
        if lines.is_empty() {
            return Ok(all);
        }
        all.extend(lines);
    }
}

/// A line as one line, whatever is in it.
fn as_text(line: &Line) -> String {
    let message = visible(&line.message);
    format!("{} {} {message}", print::moment(line.at), line.level)
}
