//! Whether somebody runs what is due, and tells when it goes wrong.

use super::{Check, Status, check};
use crate::commands::alerts;
use crate::config::Config;
use jiff::{SignedDuration, Timestamp};
use miette::{IntoDiagnostic, Result};
use schemas::Instant;
use schemas::datasets::runs::{Run, RunState};
use std::collections::HashSet;
use store::Store;
use store::queue::Queue;

/// A service that is at work begins what is due sooner than this.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

/// Whether anybody is told of what is wrong.
pub(super) fn channels(config: &Config) -> Check {
    let settings = &config.alerts;
    let named = [
        ("webhook", settings.webhook.is_some()),
        ("ntfy", settings.ntfy.is_some()),
        ("smtp", settings.smtp.is_some()),
        ("dead_man", settings.dead_man.is_some()),
    ];
    let named: Vec<&str> = named
        .into_iter()
        .filter_map(|(name, is_there)| is_there.then_some(name))
        .collect();
    match alerts::channels(config) {
        Err(error) => check("alerts", Status::Failure, error.to_string(), "set the secret"),
        Ok(_) if !named.is_empty() => check("alerts", Status::Ok, named.join(", "), ""),
        Ok(_) if has_schedule(config) => check(
            "alerts",
            Status::Warning,
            "nobody is told when something goes wrong",
            "name a channel in `[alerts]`, then `dkc alerts test`",
        ),
        Ok(_) => check("alerts", Status::Ok, "none, and no schedule either", ""),
    }
}

fn has_schedule(config: &Config) -> bool {
    let mut plans = config.pipelines.iter().map(|pipeline| &pipeline.plan);
    plans.any(|plan| !plan.when.is_empty())
}

/// Whether what waits is begun, and what is due is decided.
pub(super) async fn at_work(config: &Config, store: &Store) -> Result<Vec<Check>> {
    let queue = Queue::open(store.place()).await.into_diagnostic()?;
    let overdue = (Timestamp::now() - PATIENCE).as_microsecond();
    let runs = store.runs();
    let queued = runs.newest(None, Some(RunState::Queued), u32::MAX).await;
    let running = runs.newest(None, Some(RunState::Running), u32::MAX).await;
    let waiting = waiting(&queued.into_diagnostic()?, &running.into_diagnostic()?, overdue);
    let mut checks = Vec::new();
    if has_schedule(config) {
        let schedules = queue.schedules().await.into_diagnostic()?;
        let mut late: Option<Instant> = None;
        for pipeline in &config.pipelines {
            for when in &pipeline.plan.when {
                let decided = schedules.get(&(pipeline.name.clone(), when.text()));
                let next = decided.and_then(|decided| decided.next_due);
                late = late.into_iter().chain(next).min();
            }
        }
        let (status, found) = match late {
            _ if schedules.is_empty() => (
                Status::Warning,
                "schedules are there, and no service has seen them",
            ),
            Some(next) if next < overdue => (Status::Warning, "times have come that no service has seen"),
            _ => (Status::Ok, "it has seen every time that came"),
        };
        let fix = "start `dkc daemon` or `dkc serve`; docs/dkc.service is a unit for systemd";
        checks.push(check("service", status, found, fix));
    }
    if waiting > 0 {
        checks.push(check(
            "queue",
            Status::Warning,
            format!("{waiting} runs wait, and nobody takes them"),
            "start `dkc daemon` or `dkc serve`; `dkc runs --state queued` lists them",
        ));
    }
    Ok(checks)
}

/// How many runs wait for longer than they need: their time has come, and nothing of their pipeline is at work.
fn waiting(queued: &[Run], running: &[Run], overdue: Instant) -> usize {
    let busy: HashSet<&str> = running.iter().map(|run| run.pipeline.as_str()).collect();
    let waits = |run: &&Run| run.started_at < overdue && !busy.contains(run.pipeline.as_str());
    queued.iter().filter(waits).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::SourceName;
    use schemas::datasets::runs::Trigger;

    #[test]
    fn what_waits_for_its_time_or_for_its_pipeline_waits_as_it_should() {
        let run = |pipeline: &str, at| Run::new(SourceName::new(pipeline).unwrap(), Trigger::Schedule, at);
        let queued = [run("mail", 5), run("mail", 50), run("notes", 5)];
        assert_eq!(waiting(&queued, &[], 10), 2);
        assert_eq!(waiting(&queued, &[run("mail", 1)], 10), 1);
        assert_eq!(waiting(&queued, &[], 5), 0);
    }
}
