//! `get_run_log`: what a run said of itself, line by line.
//!
//! - Whoever follows a run asks again with `after`, until it is over.
//! - Not here: what came of it (`get_run`).

use super::get_run::known;
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse, written};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use schemas::datasets::runs::RunState;
use serde::{Deserialize, Serialize};
use store::run_log::Line;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_run_log",
    about: "Tells the log of a run, oldest lines first; those after a line while it is at work.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/runs/{run}/log",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<GetRunLog>(),
    example: r#"{"run": "the id of a run"}"#,
    output: Output::Json(|types| types.subschema_for::<RunLines>()),
    toolset: &toolset::RUNS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&log(call, parse(input)?).await?) }),
};

/// Which lines of which run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetRunLog {
    /// The id of the run.
    #[schemars(length(max = 100))]
    run: String,
    /// After the line of this number, such as the `last` of the answer before.
    #[serde(default)]
    #[schemars(range(min = 0))]
    after: i64,
    /// So many at most.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

fn two_hundred() -> u32 {
    200
}

/// Lines of a run's log.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct RunLines {
    /// How far the run is.
    state: &'static str,
    /// Whether it is over: once there are no more lines, none will come.
    is_over: bool,
    /// The lines, oldest first.
    lines: Vec<RunLine>,
    /// What to give as `after` next time.
    last: i64,
}

/// A line.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct RunLine {
    /// Its number.
    seq: i64,
    /// When it was said, UTC.
    at: Option<String>,
    /// info, warn or error.
    level: &'static str,
    /// What was said, which may quote a source.
    message: String,
}

async fn log(call: Call<'_>, input: GetRunLog) -> Result<RunLines, Problem> {
    crate::lake::visible("runs", &call.caller.view)?;
    // How far it is first: what it says later is then there when it is told to be over.
    let run = known(call.gateway.lake.store().runs(), &input.run).await?;
    let lines = call
        .gateway
        .run_log
        .of(&run.run, input.after, input.limit)
        .await?;
    Ok(told(run.state, lines, input.after))
}

fn told(state: RunState, lines: Vec<Line>, after: i64) -> RunLines {
    RunLines {
        state: state.as_str(),
        is_over: state.is_over(),
        last: lines.last().map_or(after, |line| line.seq),
        lines: lines
            .into_iter()
            .map(|line| RunLine {
                seq: line.seq,
                at: written(line.at),
                level: line.level.as_str(),
                message: line.message,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::RunId;
    use store::run_log::{Level, RunLog};

    #[tokio::test(flavor = "multi_thread")]
    async fn who_follows_a_run_is_told_each_line_once_and_when_it_is_over() {
        let data = tempfile::tempdir().unwrap();
        let log = RunLog::open(data.path()).await.unwrap();
        let run = RunId("one".to_owned());
        let other = RunId("other".to_owned());
        let line = |run: &RunId, level, message: &str| (run.clone(), 1_000_000, level, message.to_owned());
        log.append(&[
            line(&run, Level::Info, "begins"),
            line(&other, Level::Info, "not this one"),
            line(&run, Level::Warn, "slow"),
        ])
        .await
        .unwrap();
        let first = told(RunState::Running, log.of(&run, 0, 1).await.unwrap(), 0);
        assert!(!first.is_over);
        let one = first.lines.first().unwrap();
        assert_eq!((one.level, one.message.as_str()), ("info", "begins"));
        assert_eq!(one.at.as_deref(), Some("1970-01-01T00:00:01Z"));
        let rest = log.of(&run, first.last, 9).await.unwrap();
        let rest = told(RunState::Failed, rest, first.last);
        let messages: Vec<&str> = rest.lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!((messages, rest.is_over), (vec!["slow"], true));
        // There is no more, and the place stays.
        let none = log.of(&run, rest.last, 9).await.unwrap();
        assert_eq!(told(RunState::Failed, none, rest.last).last, rest.last);
    }
}
