//! `dkc daemon`: the service that collects on schedule, without the gateway.

use super::pipelines::{Time, times};
use super::run::cancel_on_signal;
use super::service::Service;
use crate::config::Config;
use crate::context::Context;
use crate::print;
use clap::Args;
use jiff::Timestamp;
use miette::{IntoDiagnostic, Result};
use sd_notify::NotifyState;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Collects what is due, until it is told to stop (SIGTERM, or Ctrl-C). What was missed while nothing ran is made up for,
/// what fails is tried again, and alerts tell what is wrong. At SIGHUP it reads the configuration anew. A Postgres that is
/// not there yet is waited for.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc daemon\n  dkc daemon --config ~/.config/dkc/dkc.toml")]
pub struct Arguments {}

/// Runs it.
pub async fn run(_: Arguments, context: &Context) -> Result<()> {
    let stop = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stop.clone()));
    let config = context.load_config()?;
    config.chosen(&[])?;
    let Some(service) = Service::open(config, context, &stop).await? else {
        return Ok(());
    };
    let schedules = service.queue().schedules().await.into_diagnostic()?;
    let pipelines = &service.config().pipelines;
    let next = times(pipelines, &schedules, Timestamp::now(), 1);
    tell(service.config(), next.first(), context)?;
    // Where no service manager listens, nobody is told.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let stopping = stop.clone();
    tokio::spawn(async move {
        stopping.cancelled().await;
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
    });
    service.run(stop).await
}

/// Says what there is to do, and what is next.
fn tell(config: &Config, next: Option<&Time<'_>>, context: &Context) -> Result<()> {
    let pipelines = config.pipelines.len();
    let has_schedule = |pipeline: &&crate::config::Pipeline| !pipeline.plan.when.is_empty();
    let scheduled = config.pipelines.iter().filter(has_schedule).count();
    if context.json {
        let next = next.map(|time| json!({ "pipeline": time.pipeline.name, "at": time.at.as_microsecond() }));
        return print::json(&json!({ "pipelines": pipelines, "scheduled": scheduled, "next": next }));
    }
    let next = next.map(|time| format!("; next: {} at {}", time.pipeline.name, time.local()));
    print::text(&format!(
        "{}, {scheduled} with a schedule{}",
        print::counted(pipelines, "pipeline"),
        next.unwrap_or_default()
    ))
}
