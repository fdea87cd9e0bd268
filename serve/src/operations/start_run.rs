//! `start_run`: asks for a run of a pipeline.
//!
//! - A run is asked for and not made here: who works on the queue takes it. One that waits already is the answer; behind
//!   one that is at work another waits (`store::queue::Queue::ask`, as `dkc run --queue` has it).
//! - It is no act on the world outside: what a run does is what the owner configured, and dkc does by itself in its time.
//! - Not here: when runs are due by themselves, and what a run does.

use crate::config::Pipeline;
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse, written};
use crate::problem::Problem;
use crate::toolset;
use jiff::Timestamp;
use schemars::JsonSchema;
use schemas::SourceName;
use schemas::datasets::runs::{Run, Trigger};
use serde::{Deserialize, Serialize};
use store::queue::{Asked, Queue, Request};
use store::runs::Runs;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "start_run",
    about: "Asks for a run of a pipeline. One that waits already is the answer; behind one that is at work another waits.",
    effect: Effect::Act,
    roles: TRUSTED,
    method: Method::Post,
    path: "/api/v1/runs",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<StartRun>(),
    example: r#"{"pipeline": "mail"}"#,
    output: Output::Json(|types| types.subschema_for::<AskedRun>()),
    toolset: &toolset::RUNS,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&start(call, parse(input)?).await?) }),
};

/// What is to run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StartRun {
    /// The pipeline, as `list_pipelines` has it.
    #[schemars(length(min = 1, max = 64))]
    pipeline: String,
    /// Of runs that wait, the one with more begins first; that of the pipeline if absent.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    priority: Option<i64>,
    /// A name of your own for this run: asked for by it again, there is no second one. It is a run of its own, also if
    /// another waits.
    #[serde(default)]
    #[schemars(length(min = 1, max = 100))]
    once: Option<String>,
}

/// A run that was asked for.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct AskedRun {
    /// Its id.
    run: String,
    /// Its pipeline.
    pipeline: String,
    /// How far it is: queued, unless it was known.
    state: &'static str,
    /// When it may begin at the earliest, or began.
    begins_at: Option<String>,
    /// Whether it was there before: nothing was added.
    known: bool,
}

impl AskedRun {
    /// A run as it is told to who asked for one.
    pub(super) fn new(run: &Run, known: bool) -> Self {
        Self {
            run: run.run.to_string(),
            pipeline: run.pipeline.to_string(),
            state: run.state.as_str(),
            begins_at: written(run.started_at),
            known,
        }
    }
}

async fn start(call: Call<'_>, input: StartRun) -> Result<AskedRun, Problem> {
    let pipelines = &call.gateway.config.pipelines;
    let pipeline = configured(pipelines, &input.pipeline)?;
    if input.once.iter().any(|once| once.contains(char::is_control)) {
        return Err(Problem::unprocessable(
            "`once` must be without control characters",
        ));
    }
    let runs = call.gateway.lake.store().runs();
    ask(&call.gateway.queue, runs, pipeline, &input, &call.caller.who).await
}

/// The pipeline of a name, if the configuration has it. Whoever may see some datasets only does not come here: what begins
/// runs is of all ([`Operation::is_of_all`]).
pub(super) fn configured<'a>(pipelines: &'a [Pipeline], name: &str) -> Result<&'a Pipeline, Problem> {
    let found = pipelines.iter().find(|pipeline| pipeline.name == name);
    found.ok_or_else(|| {
        let names = pipelines.iter().map(|pipeline| pipeline.name.as_str());
        Problem::not_found("pipeline", name, names)
    })
}

/// Asks for a run, unless there is one already that will do.
async fn ask(
    queue: &Queue,
    runs: &Runs,
    pipeline: &Pipeline,
    input: &StartRun,
    who: &str,
) -> Result<AskedRun, Problem> {
    let source = SourceName::new(pipeline.name.clone()).map_err(|error| Problem::internal(&error))?;
    let now = Timestamp::now().as_microsecond();
    let mut run = Run::new(source, Trigger::Person, now);
    run.reason = Some(format!("asked for by `{who}`"));
    let request = Request {
        run,
        priority: input.priority.unwrap_or(pipeline.priority),
        host: pipeline.host.clone(),
        // A schedule has names of its own for its times, and must not meet these.
        once: input
            .once
            .as_ref()
            .map(|once| format!("asked:{}:{once}", pipeline.name)),
    };
    if request.once.is_none() {
        return Ok(match queue.ask(&request, None).await? {
            Asked::New => AskedRun::new(&request.run, false),
            Asked::Known(waits) => AskedRun::new(&waits, true),
        });
    }
    // Whoever finds another in its place would not find the name again.
    let ids = queue.enqueue(std::slice::from_ref(&request)).await?;
    match ids.first() {
        Some(known) if *known != request.run.run => {
            let run = runs.get(&known.0).await?;
            run.map(|run| AskedRun::new(&run, true))
                .ok_or_else(|| Problem::not_found("run", &known.0, std::iter::empty()))
        }
        _ => Ok(AskedRun::new(&request.run, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Kind;
    use schemas::Role;
    use std::time::Duration;

    fn pipeline() -> Pipeline {
        Pipeline {
            name: "mail".to_owned(),
            kind: "imap".to_owned(),
            priority: 7,
            host: Some("mail.example.org".to_owned()),
            ..Pipeline::default()
        }
    }

    fn input(once: Option<&str>) -> StartRun {
        StartRun {
            pipeline: "mail".to_owned(),
            priority: None,
            once: once.map(str::to_owned),
        }
    }

    struct Lab {
        store: store::Store,
        queue: Queue,
        _data: tempfile::TempDir,
    }

    impl Lab {
        async fn new() -> Self {
            let data = tempfile::tempdir().unwrap();
            Self {
                store: store::Store::open(data.path()).await.unwrap(),
                queue: Queue::open(data.path()).await.unwrap(),
                _data: data,
            }
        }

        async fn ask(&self, once: Option<&str>) -> AskedRun {
            let (pipeline, input) = (pipeline(), input(once));
            let asked = ask(&self.queue, self.store.runs(), &pipeline, &input, "me");
            asked.await.unwrap()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn asked_twice_there_is_one_run_that_waits() {
        let lab = Lab::new().await;
        let (one, other) = tokio::join!(lab.ask(None), lab.ask(None));
        assert_eq!(one.run, other.run);
        assert_eq!([one.known, other.known].iter().filter(|known| **known).count(), 1);
        assert_eq!((one.state, other.state), ("queued", "queued"));
        // It is as its pipeline says.
        let claimed = lab.queue.claim("w", 1, 1, Duration::from_secs(60)).await.unwrap();
        let claimed = claimed.first().unwrap();
        assert_eq!(claimed.run.run.to_string(), one.run);
        assert_eq!(claimed.priority, 7);
        assert_eq!(claimed.host.as_deref(), Some("mail.example.org"));
        assert_eq!(claimed.run.trigger, Trigger::Person);
        assert_eq!(claimed.run.reason.as_deref(), Some("asked for by `me`"));
        // One that is at work may have passed what is new: another waits behind it, and then that is the one.
        let behind = lab.ask(None).await;
        assert!(behind.run != one.run && !behind.known, "{behind:?}");
        let again = lab.ask(None).await;
        assert_eq!(
            (again.run, again.state, again.known),
            (behind.run, "queued", true)
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_name_of_ones_own_names_one_run_and_another_name_another() {
        let lab = Lab::new().await;
        let first = lab.ask(Some("monday")).await;
        let again = lab.ask(Some("monday")).await;
        assert_eq!((&again.run, first.known, again.known), (&first.run, false, true));
        let other = lab.ask(Some("tuesday")).await;
        assert!(other.run != first.run && !other.known, "{other:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_try_that_waits_for_later_is_not_the_run_that_is_asked_for() {
        let lab = Lab::new().await;
        let later = Timestamp::now().as_microsecond() + 3_600_000_000;
        let waits = Request {
            run: Run::new(SourceName::new("mail").unwrap(), Trigger::Retry, later),
            priority: 0,
            host: None,
            once: None,
        };
        lab.queue.enqueue(&[waits]).await.unwrap();
        let asked = lab.ask(None).await;
        assert!(!asked.known, "{asked:?}");
        assert_eq!(lab.ask(None).await.run, asked.run);
    }

    #[test]
    fn a_pipeline_that_is_not_there_is_told_with_the_nearest() {
        let pipelines = [pipeline()];
        assert_eq!(configured(&pipelines, "mail").unwrap().name, "mail");
        let near = configured(&pipelines, "mial").unwrap_err();
        assert_eq!(near.kind, Kind::NotFound);
        assert!(near.detail.contains("did you mean `mail`?"), "{}", near.detail);
    }

    #[test]
    fn programs_may_start_runs_and_the_public_may_not() {
        assert!(OPERATION.roles.contains(&Role::Automated));
        assert!(!OPERATION.roles.contains(&Role::Public));
        assert_eq!(OPERATION.effect, Effect::Act);
        // Runs are of all datasets: whoever may see some of them only begins none.
        assert!(OPERATION.is_of_all());
    }
}
