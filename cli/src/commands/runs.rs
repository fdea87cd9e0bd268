//! `dkc runs`: what the runs of pipelines did, what waits and what is at work.
//!
//! - Not here: which there are (`list`), what one did (`show`), its log (`logs`), another try (`retry`), its end
//!   (`cancel`).

mod cancel;
mod list;
mod logs;
mod retry;
mod show;

use super::own::Own;
use crate::context::Context;
use clap::{Args, Subcommand};
use miette::{IntoDiagnostic, Result, miette};
use schemas::RunId;
use schemas::datasets::runs::Run;
use store::Store;

/// Fewer characters could be of any run.
const LEAST_OF_ID: usize = 4;

/// Characters of an id that lists show: its end, since ids of one time begin alike.
const SHOWN_OF_ID: usize = 8;

/// Lists runs, newest first: why they began, what they saw, stored, rejected, and why they failed. An id may be given
/// by its end, as lists show it. A narrow terminal gets fewer columns, `--json` has all.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dkc runs --limit 5\n  dkc runs --pipeline mail --state failed\n  dkc runs show 5f3a9c21\n  dkc runs logs -f 5f3a9c21"
)]
pub struct Arguments {
    #[command(flatten)]
    list: Own<list::Arguments>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell all of one run: why it began, how long its stages took, its other tries, what to do
    Show(show::Arguments),
    /// Print the log of a run
    Logs(logs::Arguments),
    /// Run what failed, was cancelled or was skipped once more
    Retry(retry::Arguments),
    /// End runs: those that wait, and those at work
    Cancel(cancel::Arguments),
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    match arguments.command {
        None => list::run(arguments.list, context).await,
        Some(Command::Show(arguments)) => show::run(arguments, context).await,
        Some(Command::Logs(arguments)) => logs::run(arguments, context).await,
        Some(Command::Retry(arguments)) => retry::run(arguments, context).await,
        Some(Command::Cancel(arguments)) => cancel::run(arguments, context).await,
    }
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
    // Ids are written in lower case.
    let ids = store
        .runs()
        .ids_like(&id.to_lowercase(), 2)
        .await
        .into_diagnostic()?;
    let none = || {
        miette!(
            help = "`dkc runs` lists them; an id may be given by its beginning or its end",
            "there is no run `{id}`"
        )
    };
    match ids.as_slice() {
        [] => Err(none()),
        // It may be forgotten just now.
        [only] => store
            .runs()
            .get(&only.0)
            .await
            .into_diagnostic()?
            .ok_or_else(none),
        [first, second, ..] => Err(miette!(
            help = format!("such as {first} and {second}; write more of it"),
            "more than one run has an id like `{id}`"
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
    use schemas::SourceName;
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
        assert_eq!(found("0199BBBB").await.unwrap(), "0199bbbb-3333");
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
