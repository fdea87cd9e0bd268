//! `get_uptime_status`: since when this service runs, how each pipeline fares, and what is not watched at all.
//!
//! - It tells what was collected and nothing else: what nobody looked at is named as such, not taken for well.
//! - Not here: what is wrong and what to do (`get_alerts`).

use super::list_pipelines::expected;
use crate::config::Pipeline;
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse, written};
use crate::problem::Problem;
use crate::toolset;
use jiff::Timestamp;
use schemars::JsonSchema;
use schemas::datasets::runs::Run;
use schemas::{SourceName, View, datasets};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// When the gateway was opened.
static BEGUN: OnceLock<Timestamp> = OnceLock::new();

/// What monitoring is made of: each dataset, and what it would tell.
const WATCHED: &[(&str, &str)] = &[
    ("checks", "whether sites and services answer"),
    (
        "host_metrics",
        "load, memory and disks of machines beside this one's data directory",
    ),
    ("containers", "states of containers over time"),
    ("costs", "what services cost"),
    ("ai_usage", "what models were asked and what that cost"),
    ("backups", "whether backups are made and can be restored"),
];

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_uptime_status",
    about: "Tells since when dkc runs, when each pipeline last collected well, and what is not monitored.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/monitoring/uptime",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<UptimeStatus>(),
    example: "{}",
    output: Output::Json(|types| types.subschema_for::<Uptime>()),
    toolset: &toolset::MONITORING,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&uptime(call, parse(input)?).await?) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UptimeStatus {}

/// How all fares.
#[derive(Serialize, JsonSchema)]
struct Uptime {
    /// The service that answers.
    service: ServiceUptime,
    /// The pipelines; none for whoever may see some datasets only.
    pipelines: Vec<PipelineUptime>,
    /// What is not monitored.
    not_collected: Vec<NotCollected>,
}

/// How the service fares.
#[derive(Serialize, JsonSchema)]
struct ServiceUptime {
    /// Since when it runs, UTC; absent if it was not noted.
    since: Option<String>,
    /// Seconds since then.
    seconds: Option<i64>,
    /// Whether it can read the lake.
    is_lake_readable: bool,
    /// The newest snapshot of the lake.
    snapshot: i64,
}

/// How a pipeline fares.
#[derive(Serialize, JsonSchema)]
struct PipelineUptime {
    /// Its name.
    name: String,
    /// The kind of its source.
    kind: String,
    /// When it is due, as written; only when asked for if empty.
    schedule: Vec<String>,
    /// The state of its last run; absent if there was none.
    last_state: Option<&'static str>,
    /// When that began.
    last_started_at: Option<String>,
    /// When it last collected well; absent if it never did.
    collected_at: Option<String>,
    /// Whether its last run that ended failed.
    is_failing: bool,
    /// Whether its last good run is older than the configuration promises.
    is_late: bool,
}

/// What is not monitored.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct NotCollected {
    /// The dataset that would tell.
    dataset: &'static str,
    /// What it would tell.
    about: &'static str,
    /// How to collect it, or that this cannot be done yet.
    next_step: &'static str,
}

/// Notes that the service begins.
pub(crate) fn begin() {
    BEGUN.get_or_init(Timestamp::now);
}

async fn uptime(call: Call<'_>, _: UptimeStatus) -> Result<Uptime, Problem> {
    let head = call.gateway.lake.head();
    let since = BEGUN.get();
    let now = Timestamp::now();
    let rows = |dataset: &str| head.holdings.get(dataset).map_or(0, |holding| holding.rows);
    let mut pipelines = Vec::new();
    for (pipeline, runs) in shown_pipelines(call, 1).await? {
        let last = runs.first();
        let collected = head.fares.collected.get(&pipeline.name).copied();
        pipelines.push(PipelineUptime {
            name: pipeline.name.clone(),
            kind: pipeline.kind.clone(),
            schedule: pipeline.schedule.clone(),
            last_state: last.map(|run| run.state.as_str()),
            last_started_at: last.and_then(|run| written(run.started_at)),
            collected_at: collected.and_then(written),
            is_failing: head.fares.failing.contains_key(&pipeline.name),
            is_late: head
                .fares
                .late_since(&expected(pipeline), now.as_microsecond())
                .is_some(),
        });
    }
    Ok(Uptime {
        service: ServiceUptime {
            since: since.map(ToString::to_string),
            seconds: since.map(|since| now.duration_since(*since).as_secs()),
            is_lake_readable: head.failure.is_none(),
            snapshot: head.snapshot,
        },
        pipelines,
        not_collected: not_collected(&call.caller.view, rows),
    })
}

/// The pipelines that the caller may know of, each with its newest runs.
pub(super) async fn shown_pipelines(
    call: Call<'_>,
    most: u32,
) -> Result<Vec<(&Pipeline, Vec<Run>)>, Problem> {
    let mut pipelines = Vec::new();
    // Their names tell what there is, which somebody who may not see all must not learn.
    if call.caller.view.datasets.is_some() {
        return Ok(pipelines);
    }
    for pipeline in &call.gateway.config.pipelines {
        let runs = match SourceName::new(pipeline.name.clone()) {
            Ok(name) => {
                call.gateway
                    .lake
                    .store()
                    .runs()
                    .newest(Some(&name), None, most)
                    .await?
            }
            Err(_) => Vec::new(),
        };
        pipelines.push((pipeline, runs));
    }
    Ok(pipelines)
}

/// What of monitoring there is no dataset of, or nothing in it. A dataset that the caller may not see is not told of.
fn not_collected(view: &View, rows: impl Fn(&str) -> i64) -> Vec<NotCollected> {
    let state = |&(dataset, about): &(&'static str, &'static str)| {
        let next_step = match datasets::by_name(dataset) {
            None => "this cannot be collected yet: dkc has no source for it",
            Some(_) if view.shows(dataset) && rows(dataset) == 0 => {
                "add a pipeline that collects it: `dkc add --help` lists the sources"
            }
            Some(_) => return None,
        };
        Some(NotCollected {
            dataset,
            about,
            next_step,
        })
    };
    WATCHED.iter().filter_map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_dataset_of_is_told() {
        let told = not_collected(&View::default(), |_| 0);
        let names: Vec<&str> = told.iter().map(|one| one.dataset).collect();
        let watched: Vec<&str> = WATCHED.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, watched);
        for one in told {
            let is_known = datasets::by_name(one.dataset).is_some();
            assert_eq!(
                one.next_step.contains("cannot be collected yet"),
                !is_known,
                "{one:?}"
            );
        }
        // What holds something is left out, if there is a dataset of it.
        let unknown = WATCHED
            .iter()
            .filter(|(name, _)| datasets::by_name(name).is_none());
        assert_eq!(not_collected(&View::default(), |_| 1).len(), unknown.count());
    }
}
