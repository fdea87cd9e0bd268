//! `dkc runs`: what the runs of pipelines did, what waits and what is at work.
//!
//! - Not here: what one run did (`show`), its log (`logs`), another try (`retry`), its end (`cancel`).

mod cancel;
mod logs;
mod retry;
mod show;

use crate::context::Context;
use crate::print;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use miette::{IntoDiagnostic, Result, miette};
use schemas::datasets::runs::{Run, RunState};
use schemas::{RunId, SourceName};
use store::Store;

/// All states, for `--state`.
const STATES: [RunState; 7] = [
    RunState::Queued,
    RunState::Running,
    RunState::Succeeded,
    RunState::PartlySucceeded,
    RunState::Failed,
    RunState::Cancelled,
    RunState::Skipped,
];

/// Fewer characters could be of any run.
const LEAST_OF_ID: usize = 4;

/// Among so many of the newest runs a part of an id is looked for.
const LOOKED_AT: u32 = 20_000;

/// Characters of an id that lists show: its end, since ids of one time begin alike.
const SHOWN_OF_ID: usize = 8;

/// Lists runs, newest first: why they began, what they saw, stored, rejected, and why they failed. An id may be given
/// by its end, as lists show it.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  dkc runs --limit 5\n  dkc runs --pipeline mail --state failed\n  dkc runs show 5f3a9c21\n  dkc runs logs -f 5f3a9c21"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

/// Which runs are listed.
#[derive(Debug, Args)]
struct List {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// Of this pipeline alone
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// In this state alone
    #[arg(long, value_name = "STATE", value_parser = PossibleValuesParser::new(STATES.map(RunState::as_str)))]
    state: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell all of one run: why it began, how long its stages took, its other tries, what to do
    Show(show::Arguments),
    /// Print the log of a run
    Logs(logs::Arguments),
    /// Run what failed once more
    Retry(retry::Arguments),
    /// End runs: those that wait, and those at work
    Cancel(cancel::Arguments),
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    match arguments.command {
        None => list(arguments.list, context).await,
        Some(Command::Show(arguments)) => show::run(arguments, context).await,
        Some(Command::Logs(arguments)) => logs::run(arguments, context).await,
        Some(Command::Retry(arguments)) => retry::run(arguments, context).await,
        Some(Command::Cancel(arguments)) => cancel::run(arguments, context).await,
    }
}

async fn list(arguments: List, context: &Context) -> Result<()> {
    let pipeline = arguments.pipeline.map(SourceName::new);
    let pipeline = pipeline.transpose().into_diagnostic()?;
    let state = STATES
        .into_iter()
        .find(|state| Some(state.as_str()) == arguments.state.as_deref());
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let runs = store
        .runs()
        .newest(pipeline.as_ref(), state, arguments.limit)
        .await
        .into_diagnostic()?;
    store.close().await;
    if context.json {
        return print::json(&serde_json::json!({ "runs": runs }));
    }
    let header = [
        "run",
        "started",
        "pipeline",
        "state",
        "trigger",
        "attempt",
        "seen",
        "stored",
        "unchanged",
        "rejected",
        "vanished",
        "seconds",
        "why",
    ];
    let row = |run: Run| {
        [
            short(&run.run),
            print::moment(run.started_at),
            run.pipeline.to_string(),
            run.state.as_str().to_owned(),
            run.trigger.as_str().to_owned(),
            run.attempt.to_string(),
            run.counts.items_seen.to_string(),
            run.counts.items_stored.to_string(),
            run.counts.items_unchanged.to_string(),
            run.counts.items_rejected.to_string(),
            run.counts.items_vanished.to_string(),
            seconds(&run).unwrap_or_default(),
            run.error.or(run.reason).unwrap_or_default(),
        ]
    };
    print::table(header, runs.into_iter().map(row))
}

/// How long it took, once it is over.
fn seconds(run: &Run) -> Option<String> {
    let ended = run.ended_at?;
    // What never began took no time.
    let took = (ended - run.started_at).max(0) as f64 / 1e6;
    Some(format!("{took:.2}"))
}

/// The end of an id, as lists show it.
pub(super) fn short(run: &RunId) -> String {
    let skipped = run.0.chars().count().saturating_sub(SHOWN_OF_ID);
    run.0.chars().skip(skipped).collect()
}

/// The run of an id, or of a part of one: its beginning or its end.
///
/// # Errors
/// That there is none, or that several are meant.
async fn find(store: &Store, id: &str) -> Result<Run> {
    if let Some(run) = store.runs().get(id).await.into_diagnostic()? {
        return Ok(run);
    }
    if id.chars().count() < LEAST_OF_ID {
        return Err(miette!(
            help = format!("write {LEAST_OF_ID} characters of it or more; `dkc runs` lists them"),
            "`{id}` is too little of an id"
        ));
    }
    let runs = store.runs().newest(None, None, LOOKED_AT).await;
    let is_meant = |run: &Run| run.run.0.ends_with(id) || run.run.0.starts_with(id);
    let mut meant = runs.into_diagnostic()?.into_iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(run), None) => Ok(run),
        (Some(first), Some(second)) => Err(miette!(
            help = format!("such as {} and {}; write more of it", first.run, second.run),
            "more than one run has an id like `{id}`"
        )),
        (None, _) => Err(miette!(
            help = "`dkc runs` lists them; an id may be given by its beginning or its end",
            "there is no run `{id}`"
        )),
    }
}

/// The runs of these ids.
///
/// # Errors
/// That there is none of an id, or that several are meant.
async fn find_all(store: &Store, ids: &[String]) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for id in ids {
        runs.push(find(store, id).await?);
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::datasets::runs::Trigger;

    fn run(id: &str) -> Run {
        Run {
            run: RunId(id.to_owned()),
            ..Run::new(SourceName::new("mail").unwrap(), Trigger::Person, 0)
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_is_found_by_a_part_of_its_id_that_no_other_has() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).await.unwrap();
        for id in ["0199aaaa-1111", "0199aaaa-2222", "0199bbbb-3333"] {
            store.runs().record(&run(id)).await.unwrap();
        }
        let found = async |id: &str| find(&store, id).await.map(|run| run.run.0);
        assert_eq!(found("1111").await.unwrap(), "0199aaaa-1111");
        assert_eq!(found("0199b").await.unwrap(), "0199bbbb-3333");
        assert_eq!(found("0199aaaa-2222").await.unwrap(), "0199aaaa-2222");
        for (id, words) in [
            ("0199aaaa", "more than one"),
            ("222", "too little"),
            ("aaaa", "no run"),
        ] {
            let error = found(id).await.unwrap_err();
            assert!(error.to_string().contains(words), "{id}: {error}");
        }
    }

    #[test]
    fn what_is_shown_of_an_id_finds_it() {
        let id = RunId("0199aaaa-1111-7111-8111-1234567890ab".to_owned());
        assert_eq!(short(&id), "567890ab");
        assert!(id.0.ends_with(&short(&id)));
    }
}
