//! Whether it lives, whether it can answer, how it fares.

use super::pulse::Pulse;
use super::{guard, reply};
use crate::dispatcher::Gateway;
use crate::lake::Head;
use crate::operations::list_pipelines::expected;
use crate::problem::{Kind, Problem};
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use schemas::Role;
use schemas::datasets::runs::RunState;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use store::alerts::{AlertKind, Expected, Wrong};
use tokio::time::{MissedTickBehavior, interval};

/// What was counted.
static METRICS: LazyLock<Option<PrometheusHandle>> = LazyLock::new(|| {
    let buckets = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
    ];
    PrometheusBuilder::new()
        .set_buckets(&buckets)
        .ok()?
        .install_recorder()
        .ok()
});

/// How often what was counted is summed: until then each call is kept by itself, for ever where nobody asks.
const SUMS: Duration = Duration::from_secs(10);

/// Sums what is counted, until the gateway is closed.
pub(super) async fn keep_summing(gateway: &Gateway) {
    let Some(metrics) = METRICS.as_ref() else {
        return;
    };
    let mut sums = interval(SUMS);
    sums.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = gateway.closed.cancelled() => return,
            _ = sums.tick() => metrics.run_upkeep(),
        }
    }
}

/// Begins to count.
pub(super) fn begin() {
    LazyLock::force(&METRICS);
}

/// It lives. Neither the log nor the audit has it, so it has no id; a problem has one, as every problem.
pub(super) async fn alive(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let mut answer = match guard::refused(&gateway, &request) {
        None => "ok\n".into_response(),
        Some(problem) => {
            let (id, header) = guard::new_id();
            let mut answer = reply::problem(&problem, &id);
            answer.headers_mut().insert(guard::REQUEST_ID, header);
            answer
        }
    };
    guard::dress(&mut answer);
    answer
}

/// It can answer, and what it answers is fresh. Whoever asks need not say who they are, so no name is told.
pub(super) async fn ready(
    State(gateway): State<Arc<Gateway>>,
    Extension(pulse): Extension<Pulse>,
) -> Response {
    let head = gateway.lake.head();
    let mut reasons: Vec<String> = of_lake(&pulse, &head).into_iter().collect();
    let now = Timestamp::now();
    let expected = expected_of(&gateway);
    reasons.extend(of_pipelines(&expected, &head, now));
    let status = if reasons.is_empty() { "ready" } else { "failing" };
    let code = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let notes: Vec<String> = of_schedules(&expected, &head, now).into_iter().collect();
    let body = serde_json::json!({
        "status": status,
        "reasons": reasons,
        "notes": notes,
        "snapshot": head.snapshot,
    });
    (code, axum::Json(body)).into_response()
}

/// Why the lake cannot be asked. What it was known to have when it last answered may be some seconds old; whether the
/// database answers is known sooner, and is what every other request is told.
fn of_lake(pulse: &Pulse, head: &Head) -> Option<String> {
    let away = pulse.is_away().map(|problem| problem.detail);
    let unreadable = || {
        head.failure
            .as_ref()
            .map(|_| "the lake cannot be read".to_owned())
    };
    away.or_else(unreadable)
}

fn expected_of(gateway: &Gateway) -> Vec<Expected> {
    gateway.config.pipelines.iter().map(expected).collect()
}

/// What is wrong with pipelines and their runs.
fn of_pipelines(pipelines: &[Expected], head: &Head, now: Timestamp) -> Vec<String> {
    let mut reasons = Vec::new();
    let all = pipelines.len();
    let fares = &head.fares;
    let names = pipelines.iter().map(|one| one.pipeline.as_str());
    let failing = names.filter(|name| fares.failing.contains_key(*name)).count();
    if failing > 0 {
        reasons.push(format!("{failing} of {all} pipelines failed when they last ran"));
    }
    let moment = now.as_microsecond();
    let is_late = |one: &&Expected| fares.late_since(one, moment).is_some();
    let late = pipelines.iter().filter(is_late).count();
    if late > 0 {
        reasons.push(format!(
            "{late} of {all} pipelines have not collected for too long"
        ));
    }
    let mut open = fares.open.iter();
    if head.stalled_since(now).is_some() || open.any(|open| open.alert.kind == AlertKind::Stalled) {
        reasons.push("runs wait to begin, and nobody takes them".to_owned());
    }
    reasons
}

/// That nobody begins what is due. Who only serves is ready all the same: what becomes too old is late, which is a reason.
fn of_schedules(pipelines: &[Expected], head: &Head, now: Timestamp) -> Option<String> {
    let unattended = head.fares.unattended(pipelines, now.as_microsecond())?;
    let since = unattended
        .since
        .and_then(|since| Timestamp::from_microsecond(since).ok());
    let since = since.map(|since| format!(" since {since}"));
    Some(format!("{}{}", unattended.what, since.unwrap_or_default()))
}

/// What was counted, as Prometheus reads it.
pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let id = guard::id_of(&request.headers);
    let caller = match guard::caller(&gateway, &request).await {
        Ok(caller) => caller,
        Err(problem) => return reply::problem(&problem, &id),
    };
    if !matches!(caller.role, Role::Dev | Role::Automated) || caller.view.datasets.is_some() {
        let problem = Problem::new(
            Kind::Forbidden,
            "metrics are for the roles `dev` and `automated`, of all datasets",
        );
        return reply::problem(&problem, &id);
    }
    let head = gateway.lake.head();
    metrics::gauge!("dkc_lake_snapshot").set(head.snapshot as f64);
    metrics::gauge!("dkc_lake_readable").set(if head.failure.is_some() { 0.0 } else { 1.0 });
    for (name, holding) in head.holdings.iter() {
        metrics::gauge!("dkc_dataset_rows", "dataset" => name.clone()).set(holding.rows as f64);
        metrics::gauge!("dkc_dataset_bytes", "dataset" => name.clone()).set(holding.bytes as f64);
    }
    for (source, ended) in &head.fares.collected {
        metrics::gauge!("dkc_source_collected_timestamp_seconds", "source" => source.clone())
            .set(*ended as f64 / 1e6);
    }
    of_alerts(&expected_of(&gateway), &head, Timestamp::now());
    if let Err(problem) = of_runs(&gateway).await {
        return reply::problem(&problem, &id);
    }
    let text = METRICS.as_ref().map(PrometheusHandle::render).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// Notes how many alerts there are of each kind, as `get_alerts` tells them of pipelines, and whether somebody begins what
/// is due.
fn of_alerts(pipelines: &[Expected], head: &Head, now: Timestamp) {
    let wrong = head.fares.wrong(pipelines, now.as_microsecond());
    for kind in AlertKind::ALL {
        let open = wrong.iter().filter(|wrong| wrong.alert.kind == *kind).count();
        metrics::gauge!("dkc_alerts_open", "kind" => kind.as_str()).set(open as f64);
    }
    let attended = !wrong.iter().any(Wrong::is_unattended);
    metrics::gauge!("dkc_schedules_attended").set(if attended { 1.0 } else { 0.0 });
}

/// Notes how many runs there are of each pipeline and state, and when each pipeline is due.
async fn of_runs(gateway: &Gateway) -> Result<(), Problem> {
    let counts = gateway.queue.counts().await?;
    let schedules = gateway.queue.schedules().await?;
    for pipeline in &gateway.config.pipelines {
        let name = &pipeline.name;
        for state in RunState::ALL {
            // What there is none of any more is told as 0: else what was told last would stay.
            let of_it = (name.clone(), state.as_str().to_owned());
            let count = counts.get(&of_it).copied().unwrap_or(0) as f64;
            match state {
                RunState::Queued => metrics::gauge!("dkc_runs_queued", "pipeline" => name.clone()).set(count),
                RunState::Running => {
                    metrics::gauge!("dkc_runs_running", "pipeline" => name.clone()).set(count)
                }
                over => {
                    metrics::gauge!("dkc_runs_kept", "pipeline" => name.clone(), "state" => over.as_str())
                        .set(count)
                }
            }
        }
        if let Some(due) = expected(pipeline).next_due(&schedules) {
            metrics::gauge!("dkc_pipeline_next_due_timestamp_seconds", "pipeline" => name.clone())
                .set(due as f64 / 1e6);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use store::alerts::{Alert, Failed, Fares, Open};

    fn open(kind: AlertKind, subject: &str) -> Open {
        Open {
            alert: Alert {
                key: kind.key(subject),
                kind,
                subject: subject.to_owned(),
                what: "…".to_owned(),
                next_step: "…".to_owned(),
            },
            since: 0,
        }
    }

    #[test]
    fn a_database_that_is_away_is_told_before_the_lake_is_found_unreadable() {
        let (says, pulse) = Pulse::new();
        let (fine, old) = (
            Head::default(),
            Head {
                failure: Some("…".to_owned()),
                ..Head::default()
            },
        );
        assert_eq!(of_lake(&pulse, &fine), None);
        assert_eq!(of_lake(&pulse, &old).unwrap(), "the lake cannot be read");
        says.send_replace(Some(Problem::away()));
        for head in [fine, old] {
            assert_eq!(of_lake(&pulse, &head), Some(Problem::away().detail));
        }
    }

    #[test]
    fn what_fails_is_late_or_waits_in_vain_is_told_without_names() {
        let of = |name: &str| Expected {
            pipeline: name.to_owned(),
            schedule: vec!["@daily".to_owned()],
            fresh_within: Some(SignedDuration::from_secs(100)),
        };
        let pipelines = [of("mail"), of("notes")];
        let now = Timestamp::from_second(1_000).unwrap();
        assert!(of_pipelines(&pipelines, &Head::default(), now).is_empty());
        let failed = Failed {
            run: "0198".to_owned(),
            attempt: 1,
            since: 0,
        };
        let fares = Fares {
            // Nobody has opened an alert of it, and it counts.
            failing: [("mail".to_owned(), failed.clone()), ("gone".to_owned(), failed)].into(),
            collected: [("mail".to_owned(), 950_000_000), ("notes".to_owned(), 1)].into(),
            // Of one that was mended since, which counts no more.
            open: vec![
                open(AlertKind::Failing, "notes"),
                open(AlertKind::SchemaChanged, "notes"),
            ],
            ..Fares::default()
        };
        let head = Head {
            fares: Arc::new(fares),
            waiting_since: Some(0),
            ..Head::default()
        };
        let reasons = of_pipelines(&pipelines, &head, now);
        assert_eq!(
            reasons,
            [
                "1 of 2 pipelines failed when they last ran",
                "1 of 2 pipelines have not collected for too long",
                "runs wait to begin, and nobody takes them",
            ]
        );
        let note = of_schedules(&pipelines, &head, now).unwrap();
        assert!(note.contains("no service has ever seen"), "{note}");
        assert_eq!(of_schedules(&[], &head, now), None);
    }
}
