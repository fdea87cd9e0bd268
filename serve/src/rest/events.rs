//! Events as they happen: server-sent events (WHATWG HTML §9.2).
//!
//! - A client that comes back with `Last-Event-ID` gets each event once, whether it or the gateway had gone.
//! - A stream ends with its token: no event is sent after it.

use super::format::{media_type, weight};
use super::guard::LAST_EVENT_ID;
use crate::caller::Caller;
use crate::dispatcher::{Gateway, Ticket};
use crate::operation::{Call, Face, Operation, Output, parse};
use crate::operations::list_events::{ListEvents, first, next};
use crate::problem::{Kind, Problem};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::Stream;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use store::export::Format;
use tokio::sync::mpsc;

/// How often something is sent when nothing happens, so that both sides know of one another.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// After how long a client should come back.
const RETRY: Duration = Duration::from_secs(2);

/// Events that wait for a client that reads slowly.
const WAITING: usize = 64;

/// Whether a request wants events as they happen more than what happened.
pub(super) fn is_wanted(operation: &Operation, headers: &HeaderMap) -> bool {
    matches!(operation.output, Output::Events(_))
        && weight("text/event-stream", headers) > weight(media_type(Format::Json), headers)
}

/// The events after where the client stopped, and those to come.
///
/// # Errors
/// [`Problem`] when it stopped too long ago, or too many listen.
pub(super) async fn stream(
    gateway: Arc<Gateway>,
    caller: Caller,
    input: Value,
    headers: &HeaderMap,
    mut ticket: Ticket,
) -> Result<Response, Problem> {
    let mut input: ListEvents = parse(input)?;
    if let Some(last) = headers.get(LAST_EVENT_ID) {
        let last = last.to_str().ok().and_then(|last| last.parse().ok());
        input.after = Some(last.filter(|last| *last >= 0).ok_or_else(|| {
            Problem::new(Kind::BadRequest, "`Last-Event-ID` is not the number of an event")
        })?);
    }
    let listens = gateway.listeners.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            Kind::TooManyRequests,
            "too many listen already; try again, or poll with `after`",
        )
        .after(5)
    })?;
    let begin = {
        let call = Call {
            face: Face::Rest,
            gateway: &gateway,
            caller: &caller,
            progress: None,
            cancel: &gateway.stop,
        };
        first(call, &input).await?
    };
    let (sender, mut receiver) = mpsc::channel::<Result<Event, Infallible>>(WAITING);
    tokio::spawn(async move {
        let call = Call {
            face: Face::Rest,
            gateway: &gateway,
            caller: &caller,
            progress: None,
            cancel: &gateway.stop,
        };
        let mut ends = gateway.ends.subscribe();
        let mut last = begin;
        loop {
            if gateway.callers.check(&caller).await.is_err() {
                return;
            }
            ends.mark_unchanged();
            match next(call, &input, last).await {
                Ok((events, seen)) => {
                    last = seen;
                    let is_new = !events.is_empty();
                    for event in events {
                        let Ok(data) = serde_json::to_string(&event) else {
                            continue;
                        };
                        ticket.count(1, data.len() as u64);
                        let event = Event::default()
                            .id(event.id.to_string())
                            .event(event.kind)
                            .data(data);
                        if sender.send(Ok(event)).await.is_err() {
                            return;
                        }
                    }
                    if is_new {
                        continue;
                    }
                }
                Err(problem) => {
                    ticket.fail(problem.kind.name());
                    return;
                }
            }
            tokio::select! {
                changed = ends.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
                () = gateway.stop.cancelled() => return,
                () = tokio::time::sleep(HEARTBEAT) => {}
            }
        }
    });
    let events = futures::stream::poll_fn(move |context| {
        // It counts among those who listen for as long as it is read.
        let _listens = &listens;
        receiver.poll_recv(context)
    });
    Ok(answer(events))
}

fn answer(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let beginning = futures::stream::once(async { Ok(Event::default().retry(RETRY).comment("listening")) });
    let events = futures::StreamExt::chain(beginning, events);
    let mut answer = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(HEARTBEAT))
        .into_response();
    // nginx would keep events until it has many.
    answer
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::list_events::OPERATION;
    use axum::http::header::ACCEPT;

    #[test]
    fn events_come_as_they_happen_to_who_takes_them_more_gladly_than_json() {
        for (accept, is_it) in [
            ("text/event-stream", true),
            ("Text/Event-Stream", true),
            ("text/*", true),
            ("application/json;q=0.5, text/event-stream", true),
            ("application/json, text/event-stream;q=0", false),
            ("application/json, text/event-stream", false),
            ("text/event-stream;q=0", false),
            ("*/*", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(is_wanted(&OPERATION, &headers), is_it, "{accept}");
        }
        assert!(!is_wanted(&OPERATION, &HeaderMap::new()));
    }
}
