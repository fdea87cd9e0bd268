//! `dkc verify`: is everything that was stored still there, and whole?

use crate::context::Context;
use crate::print;
use clap::Args;
use miette::IntoDiagnostic;
use miette::Result;
use store::Store;

/// Reads every file of the lake, compares row counts with the catalog and every original with its digest.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc verify")]
pub struct Arguments {}

/// Runs it.
pub async fn run(_: Arguments, context: &Context) -> Result<()> {
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let verified = store.verify().await.into_diagnostic()?;
    store.close().await;
    let printed = if context.json {
        print::json(&verified)
    } else {
        let summary = print::text(&format!(
            "{}, {}, {}, {}: {}",
            print::counted(verified.tables, "table"),
            print::counted(verified.files, "file"),
            print::counted(verified.rows, "row"),
            print::counted(verified.originals, "original"),
            if verified.problems.is_empty() {
                "all as they were written"
            } else {
                "not as they were written"
            }
        ));
        let problems = verified
            .problems
            .iter()
            .map(|p| [p.place.clone(), p.problem.clone()]);
        match problems.len() {
            0 => summary,
            _ => summary.and_then(|()| print::table(["place", "problem"], problems)),
        }
    };
    match verified.problems.len() {
        0 => print::unless_left(printed),
        problems => miette::bail!(
            help = "restore the files named from a backup; `dkc rebuild` makes derived rows again when `raw` is whole",
            "{} found",
            print::counted(problems, "problem")
        ),
    }
}
