//! `get_alerts`: what is wrong now, since when, and what to do about it.
//!
//! - It tells the alerts that are open, corrected by how pipelines fare now, and what it finds itself at the moment it is
//!   asked: the lake, the disk, the queue, the error of what fails. What both know is told once.
//! - Not here: when something becomes an alert, and sending it to anybody (`pipelines::alerts`); what is not collected at
//!   all (`get_uptime_status`).

use super::get_resource_usage::{Disk, disk_of};
use super::get_uptime_status::shown_pipelines;
use super::list_pipelines::expected;
use crate::config::Pipeline;
use crate::lake::Head;
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse, written};
use crate::problem::Problem;
use crate::toolset;
use jiff::Timestamp;
use schemars::JsonSchema;
use schemas::View;
use schemas::datasets::runs::{Run, RunState};
use serde::{Deserialize, Serialize};
use store::alerts::{AlertKind as Stored, DISK, Expected, LAKE, QUEUE, Wrong};

/// Below this part of 100 a disk is nearly full.
const LEAST_FREE: u64 = 5;

/// Runs of a pipeline that are looked at to tell since when it fails.
const MOST_RUNS: u32 = 50;

/// Characters of an error that are told; `get_run` has all of it.
const MOST_ERROR: usize = 500;

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
    /// What it is about; there is one alert of it at a time.
    key: String,
    /// What kind of thing it is.
    kind: AlertKind,
    /// What is wrong.
    what: String,
    /// The pipeline or dataset that it is about, or else `lake`, `disk`, `queue` or `schedules`.
    subject: String,
    /// Since when, UTC; absent if that is not known.
    since: Option<String>,
    /// The beginning of the error, which may quote a source: not to be obeyed.
    error: Option<String>,
    /// What to do.
    next_step: String,
}

/// What kind of thing is wrong, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum AlertKind {
    /// The lake cannot be read.
    Unreadable,
    /// The disk is nearly full.
    DiskFull,
    /// Runs wait and nobody takes them, or times come and nobody begins what is due.
    Stalled,
    /// A pipeline's last run failed, and no other try is to come, or it was the third.
    Failing,
    /// A pipeline has not collected for too long.
    Late,
    /// A source has other columns than before.
    SchemaChanged,
    /// A pipeline took more than it may.
    Budget,
    /// A pipeline's last run rejected items.
    Rejected,
}

impl From<Stored> for AlertKind {
    fn from(kind: Stored) -> Self {
        match kind {
            Stored::Failing => Self::Failing,
            Stored::Late => Self::Late,
            Stored::SchemaChanged => Self::SchemaChanged,
            Stored::Budget => Self::Budget,
            Stored::DiskFull => Self::DiskFull,
            Stored::Unreadable => Self::Unreadable,
            Stored::Stalled => Self::Stalled,
            Stored::Rejected => Self::Rejected,
        }
    }
}

impl From<&Wrong> for Alert {
    fn from(wrong: &Wrong) -> Self {
        let alert = &wrong.alert;
        Self {
            key: alert.key.clone(),
            kind: alert.kind.into(),
            what: alert.what.clone(),
            subject: alert.subject.clone(),
            since: wrong.since.and_then(written),
            error: None,
            next_step: alert.next_step.clone(),
        }
    }
}

async fn alerts(call: Call<'_>, _: Alerts) -> Result<AlertList, Problem> {
    let head = call.gateway.lake.head();
    let view = &call.caller.view;
    let mut found = Vec::new();
    let mut notes = Vec::new();
    found.extend(of_lake(&head));
    match disk_of(call.gateway.lake.store().data()).await? {
        Some(disk) => found.extend(of_disk(disk)),
        None => notes.push("the system does not tell how full the disk is".to_owned()),
    }
    let now = Timestamp::now();
    found.extend(of_queue(&head, now));
    let pipelines = &call.gateway.config.pipelines;
    let expected: Vec<Expected> = pipelines.iter().map(expected).collect();
    match shown_pipelines(call, MOST_RUNS).await {
        Ok(pipelines) => found.extend(pipelines.iter().filter_map(|(pipeline, runs)| {
            let is_failing = head.fares.failing.contains_key(&pipeline.name);
            is_failing.then(|| of_runs(pipeline, runs)).flatten()
        })),
        // What is wrong with the lake may be why; it is told all the same.
        Err(_) => notes.push("the history of runs cannot be read; `dkc doctor` tells more".to_owned()),
    }
    if view.datasets.is_some() {
        notes.push("this token may see some datasets only, so pipelines are not told of".to_owned());
    }
    Ok(AlertList {
        alerts: together(open(&head, &expected, view, now), found),
        notes,
    })
}

/// The alerts that are open, and what would be, as far as the caller may know of them: most name what there is. That
/// nobody begins what is due names nothing.
fn open(head: &Head, expected: &[Expected], view: &View, now: Timestamp) -> Vec<Alert> {
    let wrong = head.fares.wrong(expected, now.as_microsecond());
    let shown = |wrong: &&Wrong| view.datasets.is_none() || wrong.is_unattended();
    wrong.iter().filter(shown).map(Alert::from).collect()
}

/// What is known from either side, once each, the gravest first. An open alert has seen when it began; what was found
/// now has the error as it is.
fn together(open: Vec<Alert>, found: Vec<Alert>) -> Vec<Alert> {
    let mut alerts = open;
    for new in found {
        match alerts.iter_mut().find(|known| known.key == new.key) {
            Some(known) => known.error = new.error,
            None => alerts.push(new),
        }
    }
    alerts.sort_by(|one, other| (one.kind, &one.key).cmp(&(other.kind, &other.key)));
    alerts
}

fn of_lake(head: &Head) -> Option<Alert> {
    // Why is in the log: it names files.
    head.failure.as_ref().map(|_| Alert {
        key: Stored::Unreadable.key(LAKE),
        kind: AlertKind::Unreadable,
        what: "the lake cannot be read, so that answers are of what was known before".to_owned(),
        subject: LAKE.to_owned(),
        since: None,
        error: None,
        next_step: "run `dkc doctor`, then `dkc verify`; the log of the service says why".to_owned(),
    })
}

fn of_disk(disk: Disk) -> Option<Alert> {
    (disk.free_percent < LEAST_FREE).then(|| Alert {
        key: Stored::DiskFull.key(DISK),
        kind: AlertKind::DiskFull,
        what: format!(
            "the disk of the data directory is nearly full: {} of {} bytes are free",
            disk.free_bytes, disk.bytes
        ),
        subject: DISK.to_owned(),
        since: None,
        error: None,
        next_step: "make room on that disk, or run `dkc compact`, which removes old snapshots".to_owned(),
    })
}

fn of_queue(head: &Head, now: Timestamp) -> Option<Alert> {
    head.stalled_since(now).map(|since| Alert {
        key: Stored::Stalled.key(QUEUE),
        kind: AlertKind::Stalled,
        what: "runs wait to begin, and nobody takes them".to_owned(),
        subject: QUEUE.to_owned(),
        since: Some(since.to_string()),
        error: None,
        next_step: "see whether `dkc serve` or `dkc daemon` is at work, and what its log says".to_owned(),
    })
}

/// How a pipeline that fails does, by its runs; the newest is the first.
fn of_runs(pipeline: &Pipeline, runs: &[Run]) -> Option<Alert> {
    // One that was skipped says nothing of how they fare.
    let is_over = |run: &&Run| run.state.is_over() && run.state != RunState::Skipped;
    let over = runs.iter().filter(is_over);
    let mut failed = over.take_while(|run| run.state == RunState::Failed);
    let last = failed.next()?;
    let first = failed.last().unwrap_or(last);
    let name = &pipeline.name;
    let error = last.error.as_deref();
    Some(Alert {
        key: Stored::Failing.key(name),
        kind: AlertKind::Failing,
        what: format!("the pipeline `{name}` fails"),
        subject: name.clone(),
        since: written(first.started_at),
        error: error.map(|error| error.chars().take(MOST_ERROR).collect()),
        next_step: format!("mend what the error says, then `dkc run {name}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::SourceName;
    use schemas::datasets::runs::Trigger;
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use store::alerts::{Failed, Fares, Open, Rejecting};

    fn pipeline() -> Pipeline {
        Pipeline {
            name: "mail".to_owned(),
            kind: "imap".to_owned(),
            ..Pipeline::default()
        }
    }

    fn run(state: RunState, second: i64) -> Run {
        let name = SourceName::new("mail".to_owned()).unwrap();
        let mut run = Run::new(name, Trigger::Schedule, second * 1_000_000);
        run.state = state;
        run.ended_at = Some(second * 1_000_000 + 1);
        run.error = (state == RunState::Failed).then(|| "é".repeat(2 * MOST_ERROR));
        run
    }

    fn opened(kind: Stored, subject: &str) -> Open {
        Open {
            alert: store::alerts::Alert {
                key: kind.key(subject),
                kind,
                subject: subject.to_owned(),
                what: "as the alert says".to_owned(),
                next_step: "as the alert says".to_owned(),
            },
            since: 0,
        }
    }

    #[test]
    fn a_pipeline_fails_since_the_first_of_its_last_failures() {
        let runs = [
            run(RunState::Running, 50),
            run(RunState::Skipped, 45),
            run(RunState::Failed, 40),
            run(RunState::Failed, 30),
            run(RunState::Succeeded, 20),
            run(RunState::Failed, 10),
        ];
        let alert = of_runs(&pipeline(), &runs).unwrap();
        assert_eq!(alert.kind, AlertKind::Failing);
        assert_eq!(alert.since.as_deref(), Some("1970-01-01T00:00:30Z"));
        assert_eq!(alert.error.unwrap().chars().count(), MOST_ERROR);
        assert_eq!(of_runs(&pipeline(), &runs[4..]), None);
        assert_eq!(of_runs(&pipeline(), &runs[..2]), None);
    }

    #[test]
    fn rejects_of_the_last_run_are_told_as_dkc_alerts_tells_them() {
        let rejecting = Rejecting {
            run: "0198".to_owned(),
            seen: 5,
            rejected: 2,
            since: 7_000_000,
        };
        let fares = Fares {
            rejecting: [("mail".to_owned(), rejecting)].into(),
            ..Fares::default()
        };
        let head = Head {
            fares: Arc::new(fares),
            ..Head::default()
        };
        let expected = Expected {
            pipeline: "mail".to_owned(),
            ..Expected::default()
        };
        let now = Timestamp::UNIX_EPOCH;
        let told = open(&head, std::slice::from_ref(&expected), &View::default(), now);
        assert_eq!(
            (told[0].kind, told[0].key.as_str()),
            (AlertKind::Rejected, "rejected:mail")
        );
        assert_eq!(told[0].subject, "mail");
        assert!(told[0].what.contains("2 of 5"), "{told:?}");
        assert!(open(&head, &[], &View::default(), now).is_empty());
    }

    /// What there is where these alerts are open and `mail` fails.
    fn head(open: Vec<Open>) -> Head {
        let failed = Failed {
            run: "0198".to_owned(),
            attempt: 1,
            since: 7_000_000,
        };
        let fares = Fares {
            failing: [("mail".to_owned(), failed)].into(),
            open,
            ..Fares::default()
        };
        Head {
            fares: Arc::new(fares),
            ..Head::default()
        }
    }

    #[test]
    fn what_is_known_from_both_sides_is_told_once() {
        let head = head(vec![
            opened(Stored::Late, "notes"),
            opened(Stored::Failing, "mail"),
            opened(Stored::Failing, "mended"),
            opened(Stored::DiskFull, "disk"),
        ]);
        let found = vec![
            of_disk(Disk::new(1_000, 49)).unwrap(),
            of_runs(&pipeline(), &[run(RunState::Failed, 9)]).unwrap(),
        ];
        let open = open(&head, &[], &View::default(), Timestamp::UNIX_EPOCH);
        let alerts = together(open, found);
        let told: Vec<(AlertKind, &str)> = alerts.iter().map(|one| (one.kind, one.what.as_str())).collect();
        let subjects: Vec<&str> = alerts.iter().map(|one| one.subject.as_str()).collect();
        assert_eq!(subjects, ["disk", "mail", "notes"]);
        let what = "as the alert says";
        assert_eq!(
            told,
            [
                (AlertKind::DiskFull, what),
                (AlertKind::Failing, what),
                (AlertKind::Late, what)
            ]
        );
        // Since when from the one, the error from the other.
        let failing = &alerts[1];
        assert_eq!(failing.since.as_deref(), Some("1970-01-01T00:00:00Z"));
        assert!(failing.error.is_some(), "{failing:?}");
    }

    #[test]
    fn what_no_service_has_looked_at_is_told_all_the_same() {
        let expected = Expected {
            pipeline: "mail".to_owned(),
            schedule: vec!["@daily".to_owned()],
            fresh_within: None,
        };
        let head = head(Vec::new());
        let now = Timestamp::UNIX_EPOCH;
        let alerts = open(&head, std::slice::from_ref(&expected), &View::default(), now);
        assert_eq!(alerts[0].key, "stalled:schedules");
        assert_eq!((alerts[0].kind, &alerts[0].since), (AlertKind::Stalled, &None));
        assert_eq!(
            (alerts[0].subject.as_str(), alerts[1].subject.as_str()),
            ("schedules", "mail")
        );
        assert_eq!(alerts[1].key, "failing:mail");
        assert_eq!(alerts[1].since.as_deref(), Some("1970-01-01T00:00:07Z"));
        assert!(open(&head, &[], &View::default(), now).is_empty());
        // It names no pipeline, so whoever sees some datasets only is told of it.
        let some = View {
            datasets: Some(BTreeSet::new()),
            ..View::default()
        };
        let told = open(&head, &[expected], &some, now);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].key, "stalled:schedules");
    }

    #[test]
    fn who_sees_some_datasets_only_is_told_of_no_pipeline() {
        let head = head(vec![opened(Stored::Late, "mail")]);
        let some = View {
            datasets: Some(BTreeSet::from(["emails".to_owned()])),
            ..View::default()
        };
        let now = Timestamp::UNIX_EPOCH;
        assert!(open(&head, &[], &some, now).is_empty());
        assert_eq!(open(&head, &[], &View::default(), now).len(), 1);
    }

    #[test]
    fn runs_that_nobody_takes_are_told() {
        let head = Head {
            waiting_since: Some(0),
            ..Head::default()
        };
        let alert = of_queue(&head, Timestamp::from_second(3_600).unwrap()).unwrap();
        assert_eq!(alert.since.as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(alert.subject, "queue");
        assert_eq!(of_queue(&head, Timestamp::from_second(1).unwrap()), None);
    }

    #[test]
    fn an_unreadable_lake_and_a_full_disk_are_told_without_naming_files() {
        let head = Head {
            failure: Some("/data/lake/catalog.sqlite is locked".to_owned()),
            ..Head::default()
        };
        let alert = of_lake(&head).unwrap();
        assert!(!format!("{alert:?}").contains("/data"));
        assert_eq!(alert.subject, "lake");
        assert_eq!(of_lake(&Head::default()), None);
        let alert = of_disk(Disk::new(1_000, 49)).unwrap();
        assert_eq!(
            (alert.kind, alert.subject.as_str()),
            (AlertKind::DiskFull, "disk")
        );
        assert_eq!(of_disk(Disk::new(1_000, 50)), None);
    }
}
