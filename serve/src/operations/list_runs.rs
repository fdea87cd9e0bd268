//! `list_runs`: what was collected, and how it went; what waits and what is at work.

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse, written};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use schemas::SourceName;
use schemas::datasets::runs::{Run, RunState};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_runs",
    about: "Lists runs of pipelines, newest first: why each began, how it ended and what it counted.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/runs",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListRuns>(),
    example: r#"{"limit": 5}"#,
    output: Output::Json(|types| types.subschema_for::<RunList>()),
    toolset: &toolset::RUNS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Which runs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListRuns {
    /// Of this pipeline; of all if absent.
    #[serde(default)]
    pipeline: Option<String>,
    /// In this state; in any if absent.
    #[serde(default)]
    #[schemars(
        with = "Option<String>",
        extend("enum" = ["queued", "running", "succeeded", "partly_succeeded", "failed", "cancelled", "skipped", null])
    )]
    state: Option<RunState>,
    /// So many at most.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

fn fifty() -> u32 {
    50
}

/// Runs.
#[derive(Serialize, JsonSchema)]
struct RunList {
    /// The runs.
    runs: Vec<ToldRun>,
}

/// A run, as the dataset `runs` has it. Times are UTC.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct ToldRun {
    /// Its id.
    run: String,
    /// Its pipeline.
    pipeline: String,
    /// queued, running, succeeded, partly_succeeded, failed, cancelled or skipped.
    state: &'static str,
    /// What had it begun: person, schedule, catch_up, after, change or retry.
    trigger: &'static str,
    /// Why it was begun, put off or skipped.
    reason: Option<String>,
    /// When its schedule said.
    due_at: Option<String>,
    /// The how many-th try it is.
    attempt: u32,
    /// The run that it tries again.
    retry_of: Option<String>,
    /// When it began; while it waits, when it may begin at the earliest.
    started_at: Option<String>,
    /// When it ended.
    ended_at: Option<String>,
    /// Items that its source showed: those stored, unchanged and rejected.
    items_seen: u64,
    /// Items that were new or changed.
    items_stored: u64,
    /// Items that were stored already as they are.
    items_unchanged: u64,
    /// Items that could not be read or converted.
    items_rejected: u64,
    /// Items that are gone from the source.
    items_vanished: u64,
    /// Bytes of the originals stored.
    bytes_stored: u64,
    /// Snapshots of the lake that it committed.
    snapshots: u64,
    /// Milliseconds of fetching.
    fetch_ms: u64,
    /// Milliseconds of converting.
    convert_ms: u64,
    /// Milliseconds of committing.
    commit_ms: u64,
    /// Milliseconds of indexing.
    index_ms: u64,
    /// Where it began, in the collector's own words.
    cursor_before: Option<Value>,
    /// Where it ended.
    cursor_after: Option<Value>,
    /// Why it failed, with causes; it may quote its source.
    error: Option<String>,
}

impl From<Run> for ToldRun {
    fn from(run: Run) -> Self {
        Self {
            run: run.run.0,
            pipeline: run.pipeline.to_string(),
            state: run.state.as_str(),
            trigger: run.trigger.as_str(),
            reason: run.reason,
            due_at: run.due_at.and_then(written),
            attempt: run.attempt,
            retry_of: run.retry_of.map(|run| run.0),
            started_at: written(run.started_at),
            ended_at: run.ended_at.and_then(written),
            items_seen: run.counts.items_seen,
            items_stored: run.counts.items_stored,
            items_unchanged: run.counts.items_unchanged,
            items_rejected: run.counts.items_rejected,
            items_vanished: run.counts.items_vanished,
            bytes_stored: run.counts.bytes_stored,
            snapshots: run.counts.snapshots,
            fetch_ms: run.stages.fetch_ms,
            convert_ms: run.stages.convert_ms,
            commit_ms: run.stages.commit_ms,
            index_ms: run.stages.index_ms,
            cursor_before: run.cursor_before.map(|cursor| cursor.0),
            cursor_after: run.cursor_after.map(|cursor| cursor.0),
            error: run.error,
        }
    }
}

async fn list(call: Call<'_>, input: ListRuns) -> Result<RunList, Problem> {
    crate::lake::visible("runs", &call.caller.view)?;
    let pipeline = input.pipeline.map(|name| {
        SourceName::new(name)
            .map_err(|_| Problem::unprocessable("`pipeline` is not a name that a pipeline can have"))
    });
    let runs = call.gateway.lake.store().runs();
    let runs = runs
        .newest(pipeline.transpose()?.as_ref(), input.state, input.limit)
        .await?;
    Ok(RunList {
        runs: runs.into_iter().map(ToldRun::from).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input;
    use schemas::datasets::runs::{DATASET, Trigger};
    use schemas::{Cursor, RunId};
    use serde_json::json;
    use std::collections::BTreeSet;

    fn run() -> Run {
        let mut run = Run::new(SourceName::new("mail").unwrap(), Trigger::CatchUp, 1_000_000);
        run.state = RunState::Failed;
        run.due_at = Some(0);
        run.ended_at = Some(2_500_000);
        run.retry_of = Some(RunId("before".to_owned()));
        run.attempt = 2;
        run.counts.items_seen = 3;
        run.stages.index_ms = 4;
        run.cursor_after = Some(Cursor(json!({ "uid": 7 })));
        run
    }

    #[test]
    fn times_are_texts_and_all_else_is_as_the_dataset_has_it() {
        let told = serde_json::to_value(ToldRun::from(run())).unwrap();
        for (name, value) in [
            ("started_at", json!("1970-01-01T00:00:01Z")),
            ("ended_at", json!("1970-01-01T00:00:02.5Z")),
            ("due_at", json!("1970-01-01T00:00:00Z")),
            ("trigger", json!("catch_up")),
            ("retry_of", json!("before")),
            ("items_seen", json!(3)),
            ("index_ms", json!(4)),
            ("cursor_after", json!({ "uid": 7 })),
        ] {
            assert_eq!(told[name], value, "{name}");
        }
        // What the dataset has and no more, under the same names.
        let told: BTreeSet<&str> = told.as_object().unwrap().keys().map(String::as_str).collect();
        let columns: BTreeSet<&str> = DATASET.columns.iter().map(|column| column.name).collect();
        assert_eq!(told, columns);
    }

    #[test]
    fn each_state_can_be_asked_for_and_no_other() {
        let schema = &input::properties(&OPERATION)["state"];
        let states = schema["enum"].as_array().unwrap();
        assert_eq!(states.len(), 8);
        for state in states.iter().filter(|state| !state.is_null()) {
            let asked: ListRuns = parse(json!({ "state": state })).unwrap();
            assert_eq!(asked.state.unwrap().as_str(), state.as_str().unwrap());
        }
        assert!(parse::<ListRuns>(json!({ "state": "done" })).is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn runs_of_a_pipeline_or_a_state_are_found() {
        let data = tempfile::tempdir().unwrap();
        let store = store::Store::open(data.path()).await.unwrap();
        let failed = run();
        let other = Run {
            pipeline: SourceName::new("notes").unwrap(),
            state: RunState::Skipped,
            ..Run::new(SourceName::new("notes").unwrap(), Trigger::Schedule, 9)
        };
        for run in [&failed, &other] {
            store.runs().record(run).await.unwrap();
        }
        let found = async |pipeline: Option<&SourceName>, state: Option<RunState>| {
            let runs = store.runs().newest(pipeline, state, 9).await.unwrap();
            runs.into_iter().map(|run| run.run).collect::<Vec<_>>()
        };
        assert_eq!(found(None, None).await.len(), 2);
        assert_eq!(
            found(Some(&other.pipeline), None).await,
            std::slice::from_ref(&other.run)
        );
        assert_eq!(
            found(None, Some(RunState::Failed)).await,
            std::slice::from_ref(&failed.run)
        );
        assert!(
            found(Some(&other.pipeline), Some(RunState::Failed))
                .await
                .is_empty()
        );
    }
}
