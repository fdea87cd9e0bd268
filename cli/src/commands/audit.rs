//! `dkc audit`: what was asked of the gateway, and whether the log of it is whole.

use crate::context::Context;
use crate::print;
use clap::{Args, Subcommand};
use miette::{IntoDiagnostic, Result};
use serde_json::json;
use store::audit::{Audit, Head};

/// Shows and checks the log of what was asked.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc audit list --limit 5\n  dkc audit verify")]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with the log.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List the newest records, newest first
    #[command(after_help = "Example:\n  dkc audit list --who A1b2C3d4 --operation query")]
    List {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// Of this token alone
        #[arg(long, value_name = "ID")]
        who: Option<String>,
        /// Of this operation alone
        #[arg(long, value_name = "NAME")]
        operation: Option<String>,
    },
    /// Check that no record was changed, moved, added or removed, and print the head
    #[command(after_help = "Example:\n  dkc audit verify\n  dkc audit verify --anchor \"$(cat anchor)\"")]
    Verify {
        /// A head that was printed before and kept elsewhere: the record must still be the same
        #[arg(long, value_name = "SEQ:HASH")]
        anchor: Option<Head>,
    },
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    match arguments.action {
        Action::List {
            limit,
            who,
            operation,
        } => list(limit, who.as_deref(), operation.as_deref(), context).await,
        Action::Verify { anchor } => verify(anchor, context).await,
    }
}

async fn list(limit: u32, who: Option<&str>, operation: Option<&str>, context: &Context) -> Result<()> {
    let audit = Audit::open(context.own_place().await?).await.into_diagnostic()?;
    let records = audit.newest(limit, who, operation).await.into_diagnostic()?;
    audit.close().await;
    if context.json {
        return print::json(&json!({ "records": records }));
    }
    let header = [
        "seq",
        "at",
        "who",
        "role",
        "operation",
        "face",
        "rows",
        "bytes",
        "outcome",
        "ms",
    ];
    print::table(
        header,
        records.into_iter().map(|record| {
            [
                record.seq.to_string(),
                print::moment(record.entry.at),
                record.entry.who,
                record.entry.role,
                record.entry.operation,
                record.entry.face,
                record.entry.rows.to_string(),
                record.entry.bytes.to_string(),
                record.entry.outcome,
                format!("{:.1}", record.entry.duration_us as f64 / 1e3),
            ]
        }),
    )
}

async fn verify(anchor: Option<Head>, context: &Context) -> Result<()> {
    let audit = Audit::open(context.own_place().await?).await.into_diagnostic()?;
    let verified = match anchor {
        Some(anchor) => audit.verify_against(anchor).await,
        None => audit.verify().await,
    };
    let verified = verified.into_diagnostic()?;
    audit.close().await;
    let records = print::counted(verified.records, "record");
    if context.json {
        print::json(&verified)?;
    } else if verified.findings.is_empty() {
        let head = verified.head.map(|head| format!("; head {head}"));
        print::text(&format!("{records}, whole{}", head.unwrap_or_default()))?;
    } else {
        print::table(
            ["record", "finding"],
            verified
                .findings
                .iter()
                .map(|finding| [finding.seq.to_string(), finding.what.clone()]),
        )?;
    }
    match verified.findings.first() {
        None => Ok(()),
        Some(first) => miette::bail!(
            help = "compare with a backup of `audit.sqlite`; records before the first that is named are as they were",
            "the log of {records} is not as it was written, from record {} on",
            first.seq
        ),
    }
}
