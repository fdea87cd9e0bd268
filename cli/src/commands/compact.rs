//! `dkc compact`: fewer, larger files.

use crate::config::Length;
use crate::context::Context;
use crate::print;
use clap::Args;
use miette::IntoDiagnostic;
use miette::Result;
use store::Store;

/// Merges small files, and removes files that no snapshot needs. Rows stay as they are.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc compact --expire-older-than 30d")]
pub struct Arguments {
    /// Forget snapshots older than this, such as 30d or 12h; the newest stays
    #[arg(long, value_name = "TIME")]
    pub expire_older_than: Option<Length>,
}

/// Snapshots younger than this are kept unless the user says otherwise.
pub const KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(30 * 24);

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let store = Store::open_writer(context.place()?).await.into_diagnostic()?;
    let before = jiff::Timestamp::now() - arguments.expire_older_than.map_or(KEPT, Length::signed);
    let compacted = store.compact(before).await.into_diagnostic()?;
    store.close().await;
    if context.json {
        return print::json(&compacted);
    }
    print::text(&format!(
        "data files: {}, of {} before; {} expired, {} deleted",
        compacted.files_after,
        compacted.files_before,
        print::counted(compacted.snapshots_expired, "snapshot"),
        print::counted(compacted.files_deleted, "file")
    ))
}
