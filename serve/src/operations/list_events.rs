//! `list_events`: what happened since; the polling twin of the stream of events.

use crate::lake::visible;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse, written};
use crate::problem::{Kind, Problem};
use crate::toolset;
use schemars::JsonSchema;
use schemas::View;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use store::alerts::EVENT as ALERT;
use store::events::{Event, HEALTH, ROWS, RUN};

/// Events that are looked at together.
const MOST: u32 = 500;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_events",
    about: "Tells what happened after an event: rows that came, runs, health, alerts.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/events",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListEvents>(),
    example: r#"{"after": 0}"#,
    output: Output::Events(|types| types.subschema_for::<EventList>()),
    toolset: &toolset::MONITORING,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Which events.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListEvents {
    /// After the event of this number; only what is still to come if absent. `Last-Event-ID` says the same.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub(crate) after: Option<i64>,
    /// Of these kinds: rows, run, health, alert; all if absent.
    #[serde(default)]
    #[schemars(length(max = 10))]
    kind: Vec<EventKind>,
    /// Of rows of these datasets only; if absent, of all, and what is not about a dataset.
    #[serde(default)]
    #[schemars(length(max = 100))]
    dataset: Vec<String>,
    /// Seconds to wait for the next, if there is none yet.
    #[serde(default)]
    #[schemars(range(min = 0, max = 30))]
    wait: u64,
}

/// A kind of event.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum EventKind {
    /// Rows of a dataset came, changed or went.
    Rows,
    /// A run began, went on or ended.
    Run,
    /// Something is wrong, or right again.
    Health,
    /// An alert opened, or what it was about is over.
    Alert,
}

impl EventKind {
    fn name(self) -> &'static str {
        match self {
            Self::Rows => ROWS,
            Self::Run => RUN,
            Self::Health => HEALTH,
            Self::Alert => ALERT,
        }
    }
}

/// What happened.
#[derive(Serialize, JsonSchema)]
struct EventList {
    /// The events, in their order.
    events: Vec<Happened>,
    /// What to give as `after` next time.
    last: i64,
}

/// Something that happened.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Happened {
    /// Its number.
    pub(crate) id: i64,
    /// When it was noticed.
    at: String,
    /// Its kind: rows, run, health or alert.
    pub(crate) kind: String,
    /// What is to be told.
    data: Value,
}

async fn list(call: Call<'_>, input: ListEvents) -> Result<EventList, Problem> {
    let mut last = first(call, &input).await?;
    let mut ends = call.gateway.ends.subscribe();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(input.wait);
    loop {
        ends.mark_unchanged();
        let (events, seen) = next(call, &input, last).await?;
        last = seen;
        let is_over = !events.is_empty()
            || tokio::select! {
                changed = tokio::time::timeout_at(deadline, ends.changed()) => changed.is_err(),
                // Nobody who waits is to hold up the end.
                () = call.gateway.stop.cancelled() => true,
            };
        if is_over || input.wait == 0 {
            return Ok(EventList { events, last });
        }
        call.gateway.callers.check(call.caller).await?;
    }
}

/// The event after which to begin.
pub(crate) async fn first(call: Call<'_>, input: &ListEvents) -> Result<i64, Problem> {
    for name in &input.dataset {
        visible(name, &call.caller.view)?;
    }
    let (oldest, newest) = call.gateway.events.ends().await?;
    match input.after {
        None => Ok(newest),
        Some(after) if after.saturating_add(1) < oldest => Err(Problem::new(
            Kind::Gone,
            format!(
                "events before {oldest} are kept no longer; read the datasets anew, then begin with `after={newest}`"
            ),
        )),
        // Of another store, or of this one before it was restored: what comes would be taken for heard.
        Some(after) if after > newest => Err(Problem::new(
            Kind::Gone,
            format!(
                "there is no event {after} here, the newest is {newest}; read the datasets anew, then begin with `after={newest}`"
            ),
        )),
        Some(after) => Ok(after),
    }
}

/// The next events that fit, and the number of the last that was looked at.
pub(crate) async fn next(
    call: Call<'_>,
    input: &ListEvents,
    mut last: i64,
) -> Result<(Vec<Happened>, i64), Problem> {
    loop {
        let found = call.gateway.events.after(last, MOST).await?;
        let Some(newest) = found.last().map(|event| event.seq) else {
            return Ok((Vec::new(), last));
        };
        last = newest;
        let fitting: Vec<Happened> = found
            .into_iter()
            .filter(|event| fits(event, input, &call.caller.view))
            .map(|event| Happened {
                id: event.seq,
                at: written(event.at).unwrap_or_default(),
                kind: event.kind,
                data: event.data,
            })
            .collect();
        if !fitting.is_empty() {
            return Ok((fitting, last));
        }
    }
}

fn fits(event: &Event, input: &ListEvents, view: &View) -> bool {
    let is_visible = match event.kind.as_str() {
        ROWS => view.shows(&event.subject),
        // The names of pipelines tell what there is.
        RUN | ALERT => view.datasets.is_none(),
        _ => true,
    };
    let is_asked = input.kind.is_empty() || input.kind.iter().any(|kind| kind.name() == event.kind);
    let is_about = input.dataset.is_empty() || (event.kind == ROWS && input.dataset.contains(&event.subject));
    is_visible && is_asked && is_about
}
