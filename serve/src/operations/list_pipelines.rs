//! `list_pipelines`: what is collected, when it is due, and whether it is fresh.

use super::get_uptime_status::shown_pipelines;
use crate::config::Pipeline;
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse, written};
use crate::problem::Problem;
use crate::toolset;
use jiff::Timestamp;
use schemars::JsonSchema;
use schemas::datasets::runs::Run;
use schemas::{Instant, SourceName};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use store::queue::Decided;

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
    /// How old its last good run may be; absent if nothing is promised.
    freshness: Option<Freshness>,
}

/// What is promised of a pipeline, and whether it is kept.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Freshness {
    /// How old its last good run may be, as the configuration may write it: `2h`.
    fresh_within: String,
    /// Whether that is older, or was never.
    is_late: bool,
}

async fn list(call: Call<'_>, _: ListPipelines) -> Result<PipelineList, Problem> {
    let head = call.gateway.lake.head();
    let schedules = call.gateway.queue.schedules().await?;
    let now = Timestamp::now();
    let shown = shown_pipelines(call, 1).await?.into_iter();
    let pipelines = shown.map(|(pipeline, runs)| {
        let collected = head.collected.get(&pipeline.name).copied();
        state(pipeline, &schedules, collected, runs.first(), now)
    });
    Ok(PipelineList {
        pipelines: pipelines.collect(),
    })
}

fn state(
    pipeline: &Pipeline,
    schedules: &HashMap<(SourceName, String), Decided>,
    collected: Option<Instant>,
    last: Option<&Run>,
    now: Timestamp,
) -> PipelineState {
    PipelineState {
        name: pipeline.name.clone(),
        kind: pipeline.kind.clone(),
        schedule: pipeline.schedule.clone(),
        time_zone: pipeline.time_zone.clone(),
        next_due: next_due(pipeline, schedules).and_then(written),
        collected_at: collected.and_then(written),
        last_run: last.map(|run| run.run.to_string()),
        last_state: last.map(|run| run.state.as_str()),
        freshness: pipeline.fresh_within.map(|within| Freshness {
            fresh_within: format!("{within:#}"),
            is_late: is_late(pipeline, collected, now),
        }),
    }
}

/// When a pipeline is due next, by any of its schedules. What was taken out of the configuration may still be in the
/// table, and does not count.
pub(crate) fn next_due(
    pipeline: &Pipeline,
    schedules: &HashMap<(SourceName, String), Decided>,
) -> Option<Instant> {
    let own = schedules.iter().filter(|((source, when), _)| {
        source.as_str() == pipeline.name && pipeline.schedule.iter().any(|own| own == when)
    });
    own.filter_map(|(_, decided)| decided.next_due).min()
}

/// Whether a pipeline has not kept what is promised of it.
pub(super) fn is_late(pipeline: &Pipeline, collected: Option<Instant>, now: Timestamp) -> bool {
    let at = collected.and_then(|ended| Timestamp::from_microsecond(ended).ok());
    pipeline
        .fresh_within
        .is_some_and(|within| at.is_none_or(|at| now.duration_since(at) > within))
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

    fn schedules(of: &[(&str, &str, Option<i64>)]) -> HashMap<(SourceName, String), Decided> {
        of.iter()
            .map(|&(pipeline, when, next_due)| {
                let key = (SourceName::new(pipeline).unwrap(), when.to_owned());
                (key, Decided { until: 0, next_due })
            })
            .collect()
    }

    #[test]
    fn the_next_time_is_the_first_of_those_that_are_still_configured() {
        let table = schedules(&[
            ("mail", "@daily", Some(9_000_000)),
            ("mail", "every 10m", Some(6_000_000)),
            ("mail", "@hourly", Some(1_000_000)),
            ("notes", "@daily", Some(2_000_000)),
        ]);
        assert_eq!(next_due(&pipeline(), &table), Some(6_000_000));
        assert_eq!(
            next_due(&pipeline(), &schedules(&[("mail", "@daily", None)])),
            None
        );
    }

    #[test]
    fn a_pipeline_is_late_once_its_last_good_run_is_older_than_promised() {
        let at = |minutes: i64| Timestamp::from_second(minutes * 60).unwrap();
        let promised = pipeline();
        assert!(!is_late(&promised, Some(0), at(120)));
        assert!(is_late(&promised, Some(0), at(121)));
        assert!(is_late(&promised, None, at(0)));
        let free = Pipeline {
            fresh_within: None,
            ..pipeline()
        };
        assert!(!is_late(&free, None, at(9_999)));
    }

    #[test]
    fn what_is_told_names_no_host() {
        let told = state(&pipeline(), &HashMap::new(), Some(0), None, Timestamp::UNIX_EPOCH);
        let told = serde_json::to_value(told).unwrap();
        assert_eq!(told["schedule"], serde_json::json!(["@daily", "every 10m"]));
        let freshness = serde_json::json!({ "fresh_within": "2h", "is_late": false });
        assert_eq!(told["freshness"], freshness);
        assert_eq!(told["collected_at"], "1970-01-01T00:00:00Z");
        assert!(!told.to_string().contains("example.org"), "{told}");
    }
}
