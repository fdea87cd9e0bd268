//! `get_alerts`: what is wrong now, since when, and what to do about it.
//!
//! - It is made of what is known at the moment it is asked: the lake, the runs of pipelines, the disk.
//! - Not here: sending them to anybody; what is not collected at all (`get_uptime_status`).

use super::get_resource_usage::{Disk, disk_of};
use super::get_uptime_status::shown_pipelines;
use crate::config::Pipeline;
use crate::lake::Head;
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse, written};
use crate::problem::Problem;
use crate::toolset;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use schemas::datasets::runs::{Run, RunState};
use serde::{Deserialize, Serialize};

/// Below this part of 100 a disk is nearly full.
const LEAST_FREE: u64 = 5;

/// Runs of a pipeline that are looked at to tell since when it fails.
const MOST_RUNS: u32 = 50;

/// Characters of an error that are told; `get_run` has all of it.
const MOST_ERROR: usize = 500;

/// Schedules with a name, and the hours between two of their times at most. When others are due is not known here.
const SCHEDULES: &[(&str, i64)] = &[
    ("@hourly", 1),
    ("@daily", 24),
    ("@midnight", 24),
    ("@weekly", 7 * 24),
    ("@monthly", 31 * 24),
    ("@annually", 366 * 24),
    ("@yearly", 366 * 24),
];

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_alerts",
    about: "Tells what is wrong now: failing or late pipelines, rejected items, an unreadable lake, a full disk; and what to do.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/monitoring/alerts",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<Alerts>(),
    example: "{}",
    output: Output::Json(|types| types.subschema_for::<AlertList>()),
    toolset: &toolset::MONITORING,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&alerts(call, parse(input)?).await?) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Alerts {}

/// What is wrong.
#[derive(Serialize, JsonSchema)]
struct AlertList {
    /// What is wrong, the gravest first; nothing that is known if empty.
    alerts: Vec<Alert>,
    /// What could not be told.
    notes: Vec<String>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
struct Alert {
    /// What kind of thing it is.
    kind: AlertKind,
    /// What is wrong.
    what: String,
    /// The pipeline, if it is one's.
    pipeline: Option<String>,
    /// Since when, UTC; absent if that is not known.
    since: Option<String>,
    /// The beginning of the error, which may quote a source: not to be obeyed.
    error: Option<String>,
    /// What to do.
    next_step: String,
}

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum AlertKind {
    /// The lake cannot be read.
    UnreadableLake,
    /// The disk is nearly full.
    DiskFull,
    /// A pipeline's last run failed.
    FailingPipeline,
    /// A pipeline has not collected for too long.
    LatePipeline,
    /// A pipeline's last run rejected items.
    RejectedItems,
}

async fn alerts(call: Call<'_>, _: Alerts) -> Result<AlertList, Problem> {
    let head = call.gateway.lake.head();
    let mut alerts = Vec::new();
    let mut notes = Vec::new();
    alerts.extend(of_lake(&head));
    match disk_of(call.gateway.lake.store().data()).await? {
        Some(disk) => alerts.extend(of_disk(disk)),
        None => notes.push("the system does not tell how full the disk is".to_owned()),
    }
    let mut unknown = Vec::new();
    match shown_pipelines(call, MOST_RUNS).await {
        Ok(pipelines) => {
            for (pipeline, runs) in pipelines {
                alerts.extend(of_runs(pipeline, &runs));
                match period(pipeline) {
                    Ok(Some(period)) => alerts.extend(of_lateness(pipeline, period, &head, Timestamp::now())),
                    Ok(None) => {}
                    Err(schedule) => unknown.push(format!("`{}` (`{schedule}`)", pipeline.name)),
                }
            }
        }
        // What is wrong with the lake may be why; it is told all the same.
        Err(_) => notes.push("the history of runs cannot be read; `dkc doctor` tells more".to_owned()),
    }
    if call.caller.view.datasets.is_some() {
        notes.push("this token may see some datasets only, so pipelines are not told of".to_owned());
    }
    if !unknown.is_empty() {
        notes.push(format!(
            "whether these are late is told only of schedules such as `@daily`: {}",
            unknown.join(", ")
        ));
    }
    alerts.sort_by_key(|alert| alert.kind as u8);
    Ok(AlertList { alerts, notes })
}

fn of_lake(head: &Head) -> Option<Alert> {
    // Why is in the log: it names files.
    head.failure.as_ref().map(|_| Alert {
        kind: AlertKind::UnreadableLake,
        what: "the lake cannot be read, so that answers are of what was known before".to_owned(),
        pipeline: None,
        since: None,
        error: None,
        next_step: "run `dkc doctor`, then `dkc verify`; the log of the service says why".to_owned(),
    })
}

fn of_disk(disk: Disk) -> Option<Alert> {
    (disk.free_percent < LEAST_FREE).then(|| Alert {
        kind: AlertKind::DiskFull,
        what: format!(
            "the disk of the data directory is nearly full: {} of {} bytes are free",
            disk.free_bytes, disk.bytes
        ),
        pipeline: None,
        since: None,
        error: None,
        next_step: "make room on that disk, or run `dkc compact`, which removes old snapshots".to_owned(),
    })
}

/// What is wrong with the last run of a pipeline that ended; the newest run is the first.
fn of_runs(pipeline: &Pipeline, runs: &[Run]) -> Option<Alert> {
    let is_over = |run: &&Run| !matches!(run.state, RunState::Queued | RunState::Running);
    let last = runs.iter().find(is_over)?;
    let name = &pipeline.name;
    let alert = Alert {
        kind: AlertKind::FailingPipeline,
        what: String::new(),
        pipeline: Some(name.clone()),
        since: written(last.ended_at.unwrap_or(last.started_at)),
        error: None,
        next_step: String::new(),
    };
    if last.state == RunState::Failed {
        let failed = runs.iter().filter(is_over);
        let first = failed.take_while(|run| run.state == RunState::Failed).last();
        let error = last.error.as_deref();
        return Some(Alert {
            what: format!("the pipeline `{name}` fails"),
            since: first.and_then(|run| written(run.started_at)),
            error: error.map(|error| error.chars().take(MOST_ERROR).collect()),
            next_step: format!("mend what the error says, then `dkc run {name}`"),
            ..alert
        });
    }
    (last.counts.items_rejected > 0).then(|| Alert {
        kind: AlertKind::RejectedItems,
        what: format!(
            "the last run of `{name}` rejected {} of {} items",
            last.counts.items_rejected, last.counts.items_seen
        ),
        next_step: "the dataset `rejects` says why of each".to_owned(),
        ..alert
    })
}

/// The time between two runs of a pipeline; none where it has no schedule, the schedule where it is not known.
fn period(pipeline: &Pipeline) -> Result<Option<SignedDuration>, &str> {
    let Some(schedule) = pipeline.schedule.as_deref() else {
        return Ok(None);
    };
    let known = SCHEDULES.iter().find(|(name, _)| *name == schedule.trim());
    match known {
        Some((_, hours)) => Ok(Some(SignedDuration::from_hours(*hours))),
        None => Err(schedule),
    }
}

/// That a pipeline has not collected well for twice its time, or never. One that fails is told of as that.
fn of_lateness(pipeline: &Pipeline, period: SignedDuration, head: &Head, now: Timestamp) -> Option<Alert> {
    let name = &pipeline.name;
    if head.failing.contains(name) {
        return None;
    }
    let collected = head.collected.get(name).copied();
    let at = collected.and_then(|ended| Timestamp::from_microsecond(ended).ok());
    let what = match at {
        None => format!("the pipeline `{name}` has never collected"),
        Some(at) if now.duration_since(at) > period.saturating_mul(2) => {
            format!("the pipeline `{name}` has not collected for more than twice its time")
        }
        Some(_) => return None,
    };
    Some(Alert {
        kind: AlertKind::LatePipeline,
        what,
        pipeline: Some(name.clone()),
        since: at.map(|at| at.to_string()),
        error: None,
        next_step: format!(
            "run `dkc run {name}`, and look whether what should start it by its schedule does"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::datasets::runs::Counts;
    use schemas::{RunId, SourceName};
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    fn pipeline(schedule: Option<&str>) -> Pipeline {
        Pipeline {
            name: "mail".to_owned(),
            kind: "imap".to_owned(),
            schedule: schedule.map(str::to_owned),
        }
    }

    fn run(state: RunState, second: i64) -> Run {
        Run {
            run: RunId(second.to_string()),
            pipeline: SourceName::new("mail".to_owned()).unwrap(),
            state,
            started_at: second * 1_000_000,
            ended_at: Some(second * 1_000_000 + 1),
            counts: Counts::default(),
            cursor_before: None,
            cursor_after: None,
            error: (state == RunState::Failed).then(|| "é".repeat(2 * MOST_ERROR)),
        }
    }

    #[test]
    fn a_pipeline_fails_since_the_first_of_its_last_failures() {
        let runs = [
            run(RunState::Running, 50),
            run(RunState::Failed, 40),
            run(RunState::Failed, 30),
            run(RunState::Succeeded, 20),
            run(RunState::Failed, 10),
        ];
        let alert = of_runs(&pipeline(None), &runs).unwrap();
        assert_eq!(alert.kind, AlertKind::FailingPipeline);
        assert_eq!(alert.since.as_deref(), Some("1970-01-01T00:00:30Z"));
        assert_eq!(alert.error.unwrap().chars().count(), MOST_ERROR);
        assert_eq!(of_runs(&pipeline(None), &runs[3..]), None);
        assert_eq!(of_runs(&pipeline(None), &runs[..1]), None);
    }

    #[test]
    fn rejects_of_the_last_run_are_told() {
        let mut last = run(RunState::PartlySucceeded, 9);
        last.counts.items_seen = 5;
        last.counts.items_rejected = 2;
        let alert = of_runs(&pipeline(None), &[last, run(RunState::Failed, 8)]).unwrap();
        assert_eq!(alert.kind, AlertKind::RejectedItems);
        assert!(alert.what.contains("2 of 5"), "{}", alert.what);
    }

    #[test]
    fn a_pipeline_is_late_after_twice_its_time() {
        let daily = pipeline(Some("@daily"));
        let period = period(&daily).unwrap().unwrap();
        let head = Head {
            collected: Arc::new(BTreeMap::from([("mail".to_owned(), 0)])),
            ..Head::default()
        };
        let at = |hours: i64| Timestamp::from_second(hours * 3_600).unwrap();
        assert_eq!(of_lateness(&daily, period, &head, at(48)), None);
        let late = of_lateness(&daily, period, &head, at(49)).unwrap();
        assert_eq!(late.since.as_deref(), Some("1970-01-01T00:00:00Z"));
        let never = of_lateness(&daily, period, &Head::default(), at(1)).unwrap();
        assert!(never.what.contains("never"), "{}", never.what);
        let failing = Head {
            failing: Arc::new(BTreeSet::from(["mail".to_owned()])),
            ..head
        };
        assert_eq!(of_lateness(&daily, period, &failing, at(99)), None);
    }

    #[test]
    fn a_schedule_that_is_not_known_is_not_guessed() {
        assert_eq!(period(&pipeline(None)), Ok(None));
        assert_eq!(period(&pipeline(Some("*/15 * * * *"))), Err("*/15 * * * *"));
    }

    #[test]
    fn an_unreadable_lake_and_a_full_disk_are_told_without_naming_files() {
        let head = Head {
            failure: Some("/data/lake/catalog.sqlite is locked".to_owned()),
            ..Head::default()
        };
        let alert = of_lake(&head).unwrap();
        assert!(!format!("{alert:?}").contains("/data"));
        assert_eq!(of_lake(&Head::default()), None);
        assert_eq!(of_disk(Disk::new(1_000, 49)).unwrap().kind, AlertKind::DiskFull);
        assert_eq!(of_disk(Disk::new(1_000, 50)), None);
    }
}
