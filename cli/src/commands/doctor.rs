//! `dkc doctor`: what is wrong around dkc, and what to do.

use crate::context::Context;
use crate::print;
use clap::Args;
use miette::IntoDiagnostic;
use miette::Result;
use schemas::datasets::runs::RunState;
use serde::Serialize;
use std::os::unix::fs::PermissionsExt;
use store::Store;

/// Checks the configuration, the secrets, the sources, the data directory and its free space. Changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc doctor --json")]
pub struct Arguments {}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Check {
    check: String,
    status: Status,
    found: String,
    fix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Warning,
    Failure,
}

fn check(check: impl Into<String>, status: Status, found: impl Into<String>, fix: &str) -> Check {
    let fix = if status == Status::Ok { "" } else { fix };
    Check {
        check: check.into(),
        status,
        found: found.into(),
        fix: fix.to_owned(),
    }
}

/// Runs it.
pub async fn run(_: Arguments, context: &Context) -> Result<()> {
    let mut checks = Vec::new();
    let pipelines = match context.load_config() {
        Ok(config) => {
            let found = format!("{} pipelines", config.pipelines.len());
            checks.push(check("configuration", Status::Ok, found, ""));
            config.pipelines
        }
        Err(error) => {
            checks.push(check(
                "configuration",
                Status::Failure,
                error.to_string(),
                "run any command for the lines; `dkc init` writes a new one",
            ));
            Vec::new()
        }
    };
    for pipeline in &pipelines {
        let name = format!("pipeline {}", pipeline.name);
        if let Some(missing) = pipeline.missing() {
            checks.push(check(
                name,
                Status::Failure,
                missing,
                "check that it is there, and mounted",
            ));
            continue;
        }
        match pipeline.collector() {
            Ok(_) => {
                let due = pipeline
                    .schedule
                    .as_deref()
                    .map(|s| format!("; due {s}, by cron until dkc has a service"));
                let found = format!("its source and secrets are there{}", due.unwrap_or_default());
                checks.push(check(name, Status::Ok, found, ""));
            }
            Err(mistake) => checks.push(check(
                name,
                Status::Failure,
                mistake.to_string(),
                "correct its `source`, or set the secret",
            )),
        }
    }
    match Store::open(&context.data).await {
        Ok(store) => {
            checks.extend(data(&store).await?);
            for pipeline in &pipelines {
                let last = store
                    .runs()
                    .newest(Some(&pipeline.name), 1)
                    .await
                    .into_diagnostic()?;
                let name = format!("last run of {}", pipeline.name);
                checks.push(match last.first() {
                    None => check(name, Status::Warning, "none yet", "`dkc run`"),
                    Some(run) if run.state == RunState::Failed => check(
                        name,
                        Status::Failure,
                        run.error.clone().unwrap_or_default(),
                        "mend the cause, then `dkc run`",
                    ),
                    Some(run) if run.counts.items_rejected > 0 => {
                        let found = format!("{} items rejected", run.counts.items_rejected);
                        check(
                            name,
                            Status::Warning,
                            found,
                            "`dkc sql -c 'SELECT item, reason FROM rejects'`",
                        )
                    }
                    Some(run) => check(name, Status::Ok, run.state.as_str(), ""),
                });
            }
            store.close().await;
        }
        Err(error) => {
            checks.push(check(
                "data directory",
                Status::Failure,
                error.to_string(),
                "check its owner and its free space",
            ));
        }
    }
    let failures = checks
        .iter()
        .filter(|check| check.status == Status::Failure)
        .count();
    if context.json {
        print::json(&serde_json::json!({ "checks": checks }))?;
    } else {
        print::table(
            ["check", "status", "found", "what to do"],
            checks
                .into_iter()
                .map(|c| [c.check, format!("{:?}", c.status).to_lowercase(), c.found, c.fix]),
        )?;
    }
    if failures > 0 {
        miette::bail!("{failures} checks failed");
    }
    Ok(())
}

/// The data directory: rights, databases, loose files.
async fn data(store: &Store) -> Result<Vec<Check>> {
    let path = store.data().display().to_string();
    let mode = std::fs::metadata(store.data())
        .into_diagnostic()?
        .permissions()
        .mode()
        & 0o777;
    let status = if mode & 0o077 == 0 {
        Status::Ok
    } else {
        Status::Warning
    };
    let mut checks = vec![check(
        "data directory",
        status,
        format!("{path}, mode {mode:03o}"),
        "others may enter it; `chmod 700` it",
    )];
    let findings = store.catalog().integrity().await.into_diagnostic()?;
    let status = if findings.is_empty() {
        Status::Ok
    } else {
        Status::Failure
    };
    let found = if findings.is_empty() {
        "SQLite finds no fault".to_owned()
    } else {
        findings.join("; ")
    };
    checks.push(check(
        "catalog",
        status,
        found,
        "restore lake/catalog.sqlite from a backup",
    ));
    let snapshots = store.catalog().snapshots().await.into_diagnostic()?;
    let (status, fix) = if snapshots.len() > 1_000 {
        (Status::Warning, "`dkc compact`")
    } else {
        (Status::Ok, "")
    };
    checks.push(check("snapshots", status, snapshots.len().to_string(), fix));
    Ok(checks)
}
