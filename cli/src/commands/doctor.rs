//! `dkc doctor`: what is wrong around dkc, and what to do.
//!
//! - Not here: whether a service is at work, and tells of what is wrong (`service`).

mod service;

use super::gateway::files_of;
use crate::config::{self, Config, Pipeline};
use crate::context::Context;
use crate::print;
use clap::Args;
use miette::IntoDiagnostic;
use miette::Result;
use schemas::datasets::runs::{Run, RunState};
use serde::Serialize;
use serve::rest::Encryption;
use std::os::unix::fs::PermissionsExt;
use store::embedder::Reranker;
use store::{Place, Store, StoreError};

/// Runs of a pipeline among which the last that is over is looked for.
const LOOKED_AT: u32 = 20;

/// Checks the configuration, the secrets, the sources, the schedules, the reranker, the service, the data directory and its
/// free space. Changes nothing.
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
    let config = match context.load_config() {
        Ok(config) => {
            let found = print::counted(config.pipelines.len(), "pipeline");
            checks.push(check("configuration", Status::Ok, found, ""));
            Some(config)
        }
        Err(error) => {
            let fix = match context.config_path()?.exists() {
                true => "correct it; `dkc pipelines` shows the lines",
                false => "name one that is elsewhere with `--config FILE`; `dkc init` writes a new one",
            };
            checks.push(check("configuration", Status::Failure, error.to_string(), fix));
            None
        }
    };
    let pipelines = config
        .as_ref()
        .map_or(&[][..], |config| config.pipelines.as_slice());
    checks.extend(pipelines.iter().map(source));
    checks.extend(config.as_ref().map(service::channels));
    if let Some(config) = &config {
        checks.extend(reranker(config, context)?);
    }
    let tls = config.as_ref().and_then(|config| config.serve.tls.as_ref());
    checks.extend(tls.map(encryption));
    checks.extend(kept(config.as_ref(), context).await?);
    let failures = checks
        .iter()
        .filter(|check| check.status == Status::Failure)
        .count();
    let printed = if context.json {
        print::json(&serde_json::json!({ "checks": checks }))
    } else {
        print::table(
            ["check", "status", "found", "what to do"],
            checks
                .into_iter()
                .map(|c| [c.check, format!("{:?}", c.status).to_lowercase(), c.found, c.fix]),
        )
    };
    if failures > 0 {
        miette::bail!("{} failed", print::counted(failures, "check"));
    }
    print::unless_left(printed)
}

/// Whether connections can be encrypted with what is configured.
fn encryption(tls: &config::Certificates) -> Check {
    let fix = "correct `[serve.tls]`: certificate and key are files in PEM that belong together";
    match Encryption::open(&files_of(tls)) {
        Ok(_) => check("serve.tls", Status::Ok, tls.certificate.display().to_string(), ""),
        Err(error) => check("serve.tls", Status::Failure, error.to_string(), fix),
    }
}

/// Whether the model that reranks can be used, if the configuration names one. Without it search answers all the same.
fn reranker(config: &Config, context: &Context) -> Result<Option<Check>> {
    let Some(name) = &config.search.reranker else {
        return Ok(None);
    };
    let (title, fix) = (
        "search.reranker",
        "name a cross-encoder there, or remove it; docs/guides/models.md says which fit",
    );
    Ok(Some(match Reranker::check(&context.models()?, name) {
        Ok(()) => check(title, Status::Ok, name, ""),
        Err(error) => check(title, Status::Warning, error.to_string(), fix),
    }))
}

/// Whether the source of a pipeline can be reached, and when it is due.
fn source(pipeline: &Pipeline) -> Check {
    let name = format!("pipeline {}", pipeline.name);
    if let Some(missing) = pipeline.missing() {
        return check(
            name,
            Status::Failure,
            missing,
            "check that it is there, and mounted",
        );
    }
    let doubts = pipeline.doubts();
    match pipeline.collector() {
        Ok(_) if !doubts.is_empty() => check(
            name,
            Status::Warning,
            doubts.join("; "),
            "see whether it is the place that was meant, and whole, and its disk mounted",
        ),
        Ok(_) => {
            let due = pipeline.schedule().map(|schedule| format!("; due {schedule}"));
            let found = format!("its source and secrets are there{}", due.unwrap_or_default());
            check(name, Status::Ok, found, "")
        }
        Err(mistake) => check(
            name,
            Status::Failure,
            mistake.to_string(),
            "correct its `source`, or set the secret",
        ),
    }
}

/// What is kept: the store, the last runs, the service that makes them.
async fn kept(config: Option<&Config>, context: &Context) -> Result<Vec<Check>> {
    let place = match context.place() {
        Ok(place) => place,
        Err(error) => {
            let fix = "correct the configuration: it says where the data are";
            let (status, found) = match config {
                Some(_) => (Status::Failure, error.to_string()),
                // It is the mistake that was told of the configuration.
                None => (Status::Warning, "not looked at".to_owned()),
            };
            return Ok(vec![check("data directory", status, found, fix)]);
        }
    };
    let store = match Store::open(&place).await {
        Ok(store) => store,
        Err(error) => {
            let name = match place.postgres {
                Some(_) => "database",
                None => "data directory",
            };
            let fix = remedy(&error, &place);
            return Ok(vec![check(name, Status::Failure, error.to_string(), fix)]);
        }
    };
    let mut checks = data(&store).await?;
    for pipeline in config.map_or(&[][..], |config| config.pipelines.as_slice()) {
        let newest = store.runs().newest(Some(&pipeline.name), None, LOOKED_AT).await;
        let newest = newest.into_diagnostic()?;
        let last = newest.iter().find(|run| run.state.is_over());
        checks.push(last_run(pipeline, last));
    }
    if let Some(config) = config {
        checks.extend(service::at_work(config, &store).await?);
    }
    store.close().await;
    Ok(checks)
}

/// What to do about a store that cannot be opened. Where directory and database do not belong together, neither is broken.
fn remedy(error: &StoreError, place: &Place) -> &'static str {
    match error {
        StoreError::OtherDirectory { .. } => {
            "name the directory that it belongs to with `--data DIR`, or another database in `store.postgres`"
        }
        StoreError::NotMoved { .. } => {
            "`dkc migrate --to postgres` if this is the right directory, else name that with `--data DIR`"
        }
        StoreError::TwoCatalogs { .. } => {
            "name the directory that was moved with `--data DIR`; if this is it, rename that file, or take `postgres` out of the configuration"
        }
        StoreError::CatalogLost { .. } => {
            "if Postgres has the catalog, name it in `store.postgres`, or the configuration that does with `--config FILE`; \
             else restore it from a backup"
        }
        StoreError::InUse { .. } | StoreError::Locked { .. } => "end the other program, or wait for it",
        StoreError::Newer { .. } => "use the newer dkc",
        StoreError::Refused { .. } => "correct `store.postgres`, or what it may do there",
        _ if place.postgres.is_some() => "check that it runs, and `store.postgres`",
        _ => "check its owner and its free space",
    }
}

fn last_run(pipeline: &Pipeline, last: Option<&Run>) -> Check {
    let name = format!("last run of {}", pipeline.name);
    match last {
        None => check(name, Status::Warning, "none yet", "`dkc run`"),
        Some(run) if run.state == RunState::Failed => check(
            name,
            Status::Failure,
            run.error.clone().unwrap_or_default(),
            "mend the cause, then `dkc run`",
        ),
        Some(run) if run.counts.items_rejected > 0 => {
            let found = format!("{} rejected", print::counted(run.counts.items_rejected, "item"));
            check(
                name,
                Status::Warning,
                found,
                "`dkc sql -c 'SELECT item, reason FROM rejects'`",
            )
        }
        Some(run) => check(name, Status::Ok, run.state.as_str(), ""),
    }
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
    let found = match (findings.is_empty(), &store.place().postgres) {
        (true, None) => "SQLite finds no fault".to_owned(),
        (true, Some(_)) => "PostgreSQL has it, and answers".to_owned(),
        (false, _) => findings.join("; "),
    };
    checks.push(check(
        "catalog",
        status,
        found,
        "restore the catalog from a backup",
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
