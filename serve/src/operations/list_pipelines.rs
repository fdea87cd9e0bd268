//! `list_pipelines`: what is collected, when it is due, and whether it is fresh.

use super::get_uptime_status::shown_pipelines;
use crate::config::Pipeline;
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse, written};
use crate::problem::Problem;
use crate::toolset;
use jiff::Timestamp;
use schemars::JsonSchema;
use schemas::Instant;
use schemas::datasets::runs::Run;
use serde::{Deserialize, Serialize};
use store::alerts::{Expected, Fares};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_pipelines",
    about: "Lists the pipelines: what each collects, when it is due, how its last run ended, whether it is fresh.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/pipelines",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListPipelines>(),
    example: r#"{}"#,
    output: Output::Json(|types| types.subschema_for::<PipelineList>()),
    toolset: &toolset::MONITORING,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListPipelines {}

/// The pipelines.
#[derive(Serialize, JsonSchema)]
struct PipelineList {
    /// The pipelines, as the configuration has them.
    pipelines: Vec<PipelineState>,
    /// That nobody begins what is due, so that the times to come will not happen; absent while somebody does.
    unattended: Option<Unattended>,
}

/// That nobody begins what is due.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Unattended {
    /// The first time that came and that no service has seen, UTC; absent if none has ever seen a schedule.
    since: Option<String>,
    /// What is wrong.
    what: &'static str,
    /// What to do.
    next_step: &'static str,
}

/// A pipeline.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct PipelineState {
    /// Its name.
    name: String,
    /// The kind of its source.
    kind: String,
    /// When it is due, as written; only when asked for if empty.
    schedule: Vec<String>,
    /// The time zone of that; the machine's if absent.
    time_zone: Option<String>,
    /// When it is due next; absent if no time is known, as of `after NAME`.
    next_due: Option<String>,
    /// When it last collected well; absent if it never did.
    collected_at: Option<String>,
    /// Its last run; absent if there was none.
    last_run: Option<String>,
    /// The state of that.
    last_state: Option<&'static str>,
    /// Whether it failed when it last ran, and that is more than a try before others: there is an alert of it.
    is_failing: bool,
    /// How old its last good run may be; absent if nothing is promised.
    freshness: Option<Freshness>,
}

/// What is promised of a pipeline, and whether it is kept.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Freshness {
    /// How old its last good run may be, as the configuration may write it: `2h`.
    fresh_within: String,
    /// Whether that is older, or there was none since it is watched.
    is_late: bool,
}

async fn list(call: Call<'_>, _: ListPipelines) -> Result<PipelineList, Problem> {
    let head = call.gateway.lake.head();
    let fares = &head.fares;
    let now = Timestamp::now().as_microsecond();
    let shown = shown_pipelines(call, 1).await?;
    let expected: Vec<Expected> = shown.iter().map(|(pipeline, _)| expected(pipeline)).collect();
    let pipelines = shown
        .iter()
        .zip(&expected)
        .map(|((pipeline, runs), expected)| state(pipeline, expected, fares, runs.first(), now));
    let pipelines = pipelines.collect();
    let unattended = fares.unattended(&expected, now).map(|unattended| Unattended {
        since: unattended.since.and_then(written),
        what: unattended.what,
        next_step: unattended.next_step,
    });
    Ok(PipelineList {
        pipelines,
        unattended,
    })
}

/// What the configuration expects of a pipeline.
pub(crate) fn expected(pipeline: &Pipeline) -> Expected {
    Expected {
        pipeline: pipeline.name.clone(),
        schedule: pipeline.schedule.clone(),
        fresh_within: pipeline.fresh_within,
    }
}

fn state(
    pipeline: &Pipeline,
    expected: &Expected,
    fares: &Fares,
    last: Option<&Run>,
    now: Instant,
) -> PipelineState {
    PipelineState {
        name: pipeline.name.clone(),
        kind: pipeline.kind.clone(),
        schedule: pipeline.schedule.clone(),
        time_zone: pipeline.time_zone.clone(),
        next_due: expected.next_due(&fares.schedules).and_then(written),
        collected_at: fares.collected.get(&pipeline.name).copied().and_then(written),
        last_run: last.map(|run| run.run.to_string()),
        last_state: last.map(|run| run.state.as_str()),
        is_failing: fares.failing.contains_key(&pipeline.name),
        freshness: pipeline.fresh_within.map(|within| Freshness {
            fresh_within: format!("{within:#}"),
            is_late: fares.late_since(expected, now).is_some(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn pipeline() -> Pipeline {
        Pipeline {
            name: "mail".to_owned(),
            kind: "imap".to_owned(),
            schedule: vec!["@daily".to_owned(), "every 10m".to_owned()],
            fresh_within: Some(SignedDuration::from_hours(2)),
            host: Some("mail.example.org".to_owned()),
            ..Pipeline::default()
        }
    }

    #[test]
    fn a_pipeline_is_late_once_its_last_good_run_is_older_than_promised() {
        let minute = 60 * 1_000_000;
        let is_late = |fares: &Fares, minutes: i64| {
            let pipeline = pipeline();
            let told = state(&pipeline, &expected(&pipeline), fares, None, minutes * minute);
            told.freshness.unwrap().is_late
        };
        let mut fares = Fares::default();
        assert!(!is_late(&fares, 9_999), "nobody watches it");
        fares.watched.insert("mail".to_owned(), 60 * minute);
        assert!(!is_late(&fares, 180));
        assert!(is_late(&fares, 181));
        fares.collected = [("mail".to_owned(), 90 * minute)].into();
        assert!(!is_late(&fares, 210));
        assert!(is_late(&fares, 211));
    }

    #[test]
    fn what_is_told_names_no_host() {
        let fares = Fares {
            collected: [("mail".to_owned(), 0)].into(),
            ..Fares::default()
        };
        let pipeline = pipeline();
        let told = state(&pipeline, &expected(&pipeline), &fares, None, 0);
        let told = serde_json::to_value(told).unwrap();
        assert_eq!(told["schedule"], serde_json::json!(["@daily", "every 10m"]));
        let freshness = serde_json::json!({ "fresh_within": "2h", "is_late": false });
        assert_eq!(told["freshness"], freshness);
        assert_eq!(told["is_failing"], false);
        assert_eq!(told["collected_at"], "1970-01-01T00:00:00Z");
        assert!(!told.to_string().contains("example.org"), "{told}");
    }
}
