//! `dkc runs show`: all of one run.

use super::{find, seconds, short};
use crate::context::Context;
use crate::print;
use clap::Args;
use miette::{IntoDiagnostic, Result};
use schemas::Instant;
use schemas::datasets::runs::{Run, RunState};
use serde_json::json;
use store::Store;

/// No chain of tries is as long as this, unless somebody wrote into the database.
const MOST_TRIES: usize = 1_000;

/// Tells all of one run: why it began, what it counted, how long its stages took, its other tries, and what to do.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc runs show 5f3a9c21")]
pub struct Arguments {
    /// Its id, or the beginning or the end of it
    #[arg(value_name = "ID")]
    id: String,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let run = find(&store, &arguments.id).await?;
    let tries = tries(&store, &run).await?;
    store.close().await;
    let next = next_step(&run, &tries, jiff::Timestamp::now().as_microsecond());
    if context.json {
        return print::json(&json!({ "run": run, "tries": tries, "next": next }));
    }
    print::table(
        ["", ""],
        facts(&run).map(|(name, value)| [name.to_owned(), value]),
    )?;
    if tries.len() > 1 {
        let row = |run: &Run| {
            [
                run.attempt.to_string(),
                short(&run.run),
                run.state.as_str().to_owned(),
                print::moment(run.started_at),
                run.error.clone().unwrap_or_default(),
            ]
        };
        print::table(
            ["attempt", "run", "state", "started", "error"],
            tries.iter().map(row),
        )?;
    }
    print::text(&format!("What to do: {next}"))
}

/// The tries that it is one of, the first of them first.
async fn tries(store: &Store, run: &Run) -> Result<Vec<Run>> {
    let runs = store.runs();
    let mut tries = vec![run.clone()];
    let mut before = run.retry_of.clone();
    while let Some(id) = before.take()
        && tries.len() < MOST_TRIES
    {
        let Some(earlier) = runs.get(&id.0).await.into_diagnostic()? else {
            break;
        };
        before = earlier.retry_of.clone();
        tries.push(earlier);
    }
    tries.reverse();
    let mut last = run.run.clone();
    while tries.len() < 2 * MOST_TRIES
        && let Some(later) = runs.next_try(&last).await.into_diagnostic()?
    {
        last = later.run.clone();
        tries.push(later);
    }
    Ok(tries)
}

fn facts(run: &Run) -> impl Iterator<Item = (&'static str, String)> {
    let moment = |at: Option<Instant>| at.map(print::moment);
    let ms = |ms: u64| format!("{:.2} s", ms as f64 / 1e3);
    let counts = run.counts;
    let stages = run.stages;
    let facts = [
        ("run", Some(run.run.to_string())),
        ("pipeline", Some(run.pipeline.to_string())),
        ("state", Some(run.state.as_str().to_owned())),
        ("trigger", Some(run.trigger.as_str().to_owned())),
        ("reason", run.reason.clone()),
        ("attempt", Some(run.attempt.to_string())),
        ("tries again", run.retry_of.as_ref().map(ToString::to_string)),
        ("due", moment(run.due_at)),
        (
            match run.state {
                RunState::Queued => "begins",
                _ => "began",
            },
            moment(Some(run.started_at)),
        ),
        ("ended", moment(run.ended_at)),
        ("seconds", seconds(run)),
        (
            "items",
            Some(format!(
                "{} seen = {} stored + {} unchanged + {} rejected; {} vanished",
                counts.items_seen,
                counts.items_stored,
                counts.items_unchanged,
                counts.items_rejected,
                counts.items_vanished
            )),
        ),
        (
            "stored",
            Some(format!(
                "{} in {}",
                print::counted(counts.bytes_stored, "byte"),
                print::counted(counts.snapshots, "snapshot")
            )),
        ),
        (
            "stages",
            Some(format!(
                "fetch {}, convert {}, commit {}, index {}",
                ms(stages.fetch_ms),
                ms(stages.convert_ms),
                ms(stages.commit_ms),
                ms(stages.index_ms)
            )),
        ),
        (
            "cursor before",
            run.cursor_before.as_ref().map(|cursor| cursor.0.to_string()),
        ),
        (
            "cursor after",
            run.cursor_after.as_ref().map(|cursor| cursor.0.to_string()),
        ),
        ("error", run.error.clone()),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

/// What its reader may do.
fn next_step(run: &Run, tries: &[Run], now: Instant) -> String {
    let id = short(&run.run);
    let later = tries.last().filter(|last| last.run != run.run);
    match (run.state, later) {
        (RunState::Queued, _) if run.started_at > now => {
            format!("wait, or `dkc runs cancel {id}`")
        }
        (RunState::Queued, _) => {
            format!(
                "it waits for a worker: `dkc daemon` or `dkc serve` is one; `dkc runs cancel {id}` ends it"
            )
        }
        (RunState::Running, _) => {
            format!("`dkc runs logs -f {id}` follows it, `dkc runs cancel {id}` ends it")
        }
        (RunState::Succeeded, _) => "nothing".to_owned(),
        (RunState::PartlySucceeded, _) => format!(
            "look at what was rejected: dkc sql -c \"SELECT item, reason FROM rejects WHERE source = '{}'\"",
            run.pipeline
        ),
        (_, Some(last)) if !last.state.is_over() => {
            format!(
                "another try is {} already: {}",
                last.state.as_str(),
                short(&last.run)
            )
        }
        (_, Some(last)) if last.state == RunState::Succeeded => "nothing: a later try went well".to_owned(),
        (RunState::Failed, _) => format!("mend the cause, then `dkc runs retry {id}`"),
        (RunState::Cancelled | RunState::Skipped, _) => {
            format!("`dkc runs retry {id}` if it is wanted after all")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::SourceName;
    use schemas::datasets::runs::Trigger;

    fn run(state: RunState, retry_of: Option<&Run>) -> Run {
        Run {
            state,
            retry_of: retry_of.map(|run| run.run.clone()),
            attempt: retry_of.map_or(1, |run| run.attempt + 1),
            ..Run::new(SourceName::new("mail").unwrap(), Trigger::Schedule, 1)
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_of_its_tries_tells_all_of_them_in_their_order() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).await.unwrap();
        let first = run(RunState::Failed, None);
        let second = run(RunState::Failed, Some(&first));
        let third = run(RunState::Queued, Some(&second));
        let other = run(RunState::Failed, None);
        for run in [&first, &second, &third, &other] {
            store.runs().record(run).await.unwrap();
        }
        for of in [&first, &second, &third] {
            let tries = tries(&store, of).await.unwrap();
            let attempts: Vec<u32> = tries.iter().map(|run| run.attempt).collect();
            assert_eq!(attempts, [1, 2, 3]);
            assert_eq!(tries.last().unwrap().run, third.run);
        }
        assert_eq!(tries(&store, &other).await.unwrap().len(), 1);
    }

    #[test]
    fn what_to_do_depends_on_how_it_ended_and_what_came_after() {
        let failed = run(RunState::Failed, None);
        let alone = next_step(&failed, std::slice::from_ref(&failed), 2);
        assert!(
            alone.contains(&format!("dkc runs retry {}", short(&failed.run))),
            "{alone}"
        );
        let waits = run(RunState::Queued, Some(&failed));
        let tried = next_step(&failed, &[failed.clone(), waits.clone()], 2);
        assert!(tried.contains("another try is queued"), "{tried}");
        // Whose time has come waits for somebody; whose time is to come waits for that.
        assert!(next_step(&waits, &[], 2).contains("waits for a worker"));
        assert!(next_step(&waits, &[], 0).starts_with("wait,"));
    }
}
