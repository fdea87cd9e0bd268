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
use store::alerts::AlertLog;
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
    let now = Timestamp::now();
    let overdue = (now - PATIENCE).as_microsecond();
    let runs = store.runs();
    let queued = runs.newest(None, Some(RunState::Queued), u32::MAX).await;
    let running = runs.newest(None, Some(RunState::Running), u32::MAX).await;
    let waiting = waiting(&queued.into_diagnostic()?, &running.into_diagnostic()?, overdue);
    let mut checks = Vec::new();
    if has_schedule(config) {
        let log = AlertLog::open(store.place()).await.into_diagnostic()?;
        let fares = log.fares(&queue).await.into_diagnostic()?;
        let unattended = fares.unattended(&alerts::expected(config), now.as_microsecond());
        checks.push(match unattended {
            None => check("service", Status::Ok, "it has seen every time that came", ""),
            Some(unattended) => check(
                "service",
                Status::Warning,
                alerts::told(&unattended),
                unattended.next_step,
            ),
        });
    }
    if waiting > 0 {
        checks.push(check(
            "queue",
            Status::Warning,
            match waiting {
                1 => "1 run waits, and nobody takes it".to_owned(),
                several => format!("{several} runs wait, and nobody takes them"),
            },
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
