//! A call of a tool, from its arguments to its answer.
//!
//! - Everything that goes wrong in a call is an answer that says so, which an agent can act on; only what is no tool is an
//!   error of the protocol.
//! - Text that others wrote leaves here fenced, with where it came from, and the caller is remembered as having read it
//!   before it has.

use super::answer::{self, Answer};
use super::approval::{self, Word};
use super::budget::{self, Cut, Position};
use super::catalogue::{self, CONTINUE, MAX_TOKENS, METHOD, PARAMS};
use super::continuation::{self, Continuation};
use super::fence::{Fence, defused, harmless};
use super::options::Options;
use super::prompts::missing;
use super::provenance::{PROVENANCE, as_meant, fenced, provenance};
use crate::caller::Caller;
use crate::dispatcher::{Gateway, Ticket};
use crate::input;
use crate::operation::{Call, Effect, Face, Operation, Reply};
use crate::problem::{Kind, Problem};
use crate::registry;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::ErrorData;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, MetaObject,
    ProgressNotificationParam,
};
use rmcp::service::{RequestContext, RoleServer};
use schemas::{Home, datasets};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Tokens of an answer, when the agent does not say.
const USUAL: usize = 8_000;
/// The fewest and the most that it may say.
pub(super) const LEAST: usize = 200;
pub(super) const MOST: usize = 100_000;

/// Lines of progress that may wait to be sent.
const LINES: usize = 256;

/// Which tool was called, and with what.
struct Asked {
    operation: &'static Operation,
    given: Map<String, Value>,
    most: Option<Value>,
    after: Option<Value>,
}

/// Calls a tool.
pub(super) async fn call(
    gateway: &Gateway,
    caller: &Caller,
    options: &Options,
    params: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let id = Uuid::now_v7().simple().to_string();
    let asked = match asked(gateway, caller, options, &params) {
        Ok(asked) => asked,
        Err(error) => {
            let known = registry::by_name(&params.name).map_or("unknown", |operation| operation.name);
            let mut ticket = gateway.ticket(known, Some(caller), Face::Mcp, &Value::Null, &id);
            ticket.fail(Kind::NotFound.name());
            return Err(error);
        }
    };
    let operation = asked.operation;
    let input = Value::Object(asked.given.clone());
    let ticket = gateway
        .admit(asked.operation, Ok(caller), Face::Mcp, &input, &id)
        .await;
    let problem = match ticket {
        Ok(mut ticket) => match run(gateway, caller, asked, &params, context, &mut ticket).await {
            Ok(answer) => return Ok(answer),
            Err(problem) => problem,
        },
        Err(problem) => return Ok(refusal(&problem, None, &id).into()),
    };
    // Why something is not there may be told in names that others gave.
    let may_quote = operation.holds_collected && operation.plan.is_none();
    let fence = match may_quote {
        true => match gateway.taint(caller, operation).await.and_then(|()| Fence::new()) {
            Ok(fence) => Some(fence),
            Err(problem) => return Ok(refusal(&problem, None, &id).into()),
        },
        false => None,
    };
    Ok(refusal(&problem, fence.as_ref(), &id).into())
}

/// What a call asks for.
///
/// # Errors
/// That there is no such tool, or method of one.
fn asked(
    gateway: &Gateway,
    caller: &Caller,
    options: &Options,
    params: &CallToolRequestParams,
) -> Result<Asked, ErrorData> {
    let wrong = |detail: String| ErrorData::invalid_params(detail, None);
    let unknown = |what: &str, name: &str| {
        let tools = catalogue::tools(gateway, caller, options);
        missing(what, name, tools.iter().map(|tool| &*tool.name))
    };
    let mut given = params.arguments.clone().unwrap_or_default();
    let mut take = |name: &str| {
        let value = given.get(name).cloned().filter(|value| !value.is_null());
        given.retain(|known, _| known != name);
        value
    };
    let (most, after) = (take(MAX_TOKENS), take(CONTINUE));
    if let Some(group) = catalogue::group(options, &params.name) {
        let (method, inner) = (take(METHOD), take(PARAMS));
        let method = method.as_ref().and_then(Value::as_str).unwrap_or_default();
        let operation = catalogue::operation(gateway, caller, options, method)
            .filter(|operation| *operation.toolset == *group)
            .ok_or_else(|| {
                wrong(format!(
                    "`{METHOD}` must be one of those that `{}` lists",
                    group.name
                ))
            })?;
        if let Some(other) = given.keys().next() {
            let detail = format!("`{other}` must be within `{PARAMS}`");
            return Err(wrong(harmless(&detail).into_owned()));
        }
        let given = match inner {
            None => Map::new(),
            Some(Value::Object(inner)) => inner,
            Some(_) => return Err(wrong(format!("`{PARAMS}` must be an object"))),
        };
        return Ok(Asked {
            operation,
            given,
            most,
            after,
        });
    }
    let operation = match options.is_grouped {
        true => None,
        false => catalogue::operation(gateway, caller, options, &params.name),
    };
    Ok(Asked {
        operation: operation.ok_or_else(|| unknown("tool", &params.name))?,
        given,
        most,
        after,
    })
}

/// Whether what is asked for can be had as it was: not where it is a dataset outside the lake.
fn has_past(input: &Map<String, Value>) -> bool {
    let named = input.get("dataset").or_else(|| input.get("file"));
    let name = named
        .and_then(Value::as_str)
        .and_then(|named| named.split('.').next());
    let dataset = name.and_then(datasets::table);
    dataset.is_none_or(|dataset| dataset.home == Home::Lake)
}

async fn run(
    gateway: &Gateway,
    caller: &Caller,
    asked: Asked,
    params: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
    ticket: &mut Ticket,
) -> Result<CallToolResponse, Problem> {
    let operation = asked.operation;
    let most = limit(asked.most.as_ref()).inspect_err(|problem| ticket.fail(problem.kind.name()))?;
    let checked = checked(operation, asked.given, asked.after.as_ref());
    let (input, from) = checked.inspect_err(|problem| ticket.fail(problem.kind.name()))?;
    let digest = continuation::digest(&Value::Object(input.clone()));
    let mut pinned = input;
    // The rest is of the snapshot that the beginning was of.
    if let Some(snapshot) = from.as_ref().and_then(|from| from.snapshot)
        && input::properties(operation).contains_key("as_of")
        && !pinned.contains_key("as_of")
        && has_past(&pinned)
    {
        pinned.insert("as_of".to_owned(), snapshot.to_string().into());
    }
    let from = from.map(|from| from.position);
    let perform = async |ticket: &mut Ticket, input: Map<String, Value>| {
        let (sender, mut lines) = mpsc::channel(LINES);
        let call = Call {
            face: Face::Mcp,
            gateway,
            caller,
            progress: Some(&sender),
            cancel: &context.ct,
        };
        let performing = gateway.perform(operation, call, Value::Object(input), ticket);
        let mut told = Told {
            gateway,
            caller,
            operation,
            lines: 0.0,
        };
        let done = tokio::select! {
            done = performing => done,
            // It ends only with the sender, which is here.
            () = told.forward(&mut lines, context) => Err(Problem::new(Kind::Internal, "progress ended before the call")),
            () = context.ct.cancelled() => Err(Problem::new(Kind::Unavailable, "the call was cancelled")),
        };
        drop(sender);
        told.forward(&mut lines, context).await;
        done
    };
    let failed = |ticket: &mut Ticket, problem: Problem| {
        ticket.fail(problem.kind.name());
        problem
    };
    let mut reply = perform(ticket, pinned.clone()).await;
    if let Err(problem) = &reply
        && problem.kind == Kind::NotFound
        && operation.effect == Effect::Read
        && let Some(meant) = as_meant(operation, &pinned)
    {
        reply = perform(ticket, meant).await;
    }
    let mut reply = match reply {
        Ok(reply) => reply,
        Err(problem) => return Err(failed(ticket, problem)),
    };
    if let Reply::Waiting(approval) = &reply {
        let word = approval::ask(gateway, caller, approval, params, context).await;
        match word.map_err(|problem| failed(ticket, problem))? {
            Word::Ask(request) => return Ok((*request).into()),
            Word::Given => {
                ticket.fail("ok");
                reply = match perform(ticket, pinned.clone()).await {
                    Ok(reply) => reply,
                    Err(problem) => return Err(failed(ticket, problem)),
                };
            }
            Word::Waits => {}
        }
    }
    // A plan is told in words of the owner's configuration.
    let is_collected = operation.holds_collected && !matches!(reply, Reply::Planned(_));
    if let Reply::Waiting(approval) = &reply {
        let id = &approval.id;
        return Err(Problem::new(
            Kind::Conflict,
            format!(
                "nothing is done yet: that it {} waits for its owner. Tell them: `dkc approve {id}` approves it. Then call again with the same arguments",
                approval.request.summary
            ),
        ));
    }
    let answer = answer::of(reply, from, ticket).await;
    let answer = answer.map_err(|problem| failed(ticket, problem))?;
    let meta = is_collected.then(|| provenance(gateway, operation, &answer.value, &pinned));
    let snapshot = answer.snapshot;
    let going_on = |position: Position| {
        let rest = Continuation {
            tool: operation.name.to_owned(),
            input: digest.clone(),
            position,
            snapshot,
        };
        rest.encode()
    };
    let shown = show(answer, most, &params.name, meta, going_on);
    Ok(shown.map_err(|problem| failed(ticket, problem))?.into())
}

/// How many tokens an answer may take.
fn limit(most: Option<&Value>) -> Result<usize, Problem> {
    let Some(most) = most else {
        return Ok(USUAL);
    };
    let most = most.as_u64().and_then(|most| usize::try_from(most).ok());
    most.filter(|most| (LEAST..=MOST).contains(most)).ok_or_else(|| {
        Problem::new(
            Kind::BadRequest,
            format!("`{MAX_TOKENS}` must be a number from {LEAST} to {MOST}"),
        )
    })
}

/// The input of an operation, and where its answer goes on.
fn checked(
    operation: &'static Operation,
    given: Map<String, Value>,
    after: Option<&Value>,
) -> Result<(Map<String, Value>, Option<Continuation>), Problem> {
    let given = given.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let input = input::checked(operation, given)?;
    let after = after.map(|after| {
        let text = after.as_str().ok_or_else(|| {
            Problem::new(
                Kind::BadRequest,
                format!("`{CONTINUE}` must be the text that an answer gave"),
            )
        })?;
        let digest = continuation::digest(&Value::Object(input.clone()));
        Continuation::decode(text, operation.name, &digest)
    });
    let after = after.transpose()?;
    Ok((input, after))
}

/// What an agent is told of something long while it goes on.
struct Told<'a> {
    gateway: &'a Gateway,
    caller: &'a Caller,
    operation: &'static Operation,
    lines: f64,
}

impl Told<'_> {
    /// Sends lines, if the agent wants them, until there are no more.
    async fn forward(&mut self, lines: &mut mpsc::Receiver<String>, context: &RequestContext<RoleServer>) {
        let token = context.meta.get_progress_token();
        while let Some(line) = lines.recv().await {
            let Some(token) = &token else { continue };
            // Others may have written it: that it was read is written down first.
            if self.operation.holds_collected
                && let Err(problem) = self.gateway.taint(self.caller, self.operation).await
            {
                tracing::warn!(problem = problem.detail, "no progress is told");
                continue;
            }
            self.lines += 1.0;
            let progress =
                ProgressNotificationParam::new(token.clone(), self.lines).with_message(harmless(&line));
            // An agent that left is seen by the cancellation.
            let _ = context.peer.notify_progress(progress).await;
        }
    }
}

/// An answer as an agent gets it: fenced where it tells of where it came from.
fn show(
    mut answer: Answer,
    most: usize,
    tool: &str,
    meta: Option<Value>,
    going_on: impl Fn(Position) -> String,
) -> Result<CallToolResult, Problem> {
    let Cut { value, rest } = budget::cut(std::mem::take(&mut answer.value), answer.from.as_ref(), most)?;
    let shown = value.get("rows").and_then(Value::as_array).map_or(0, Vec::len);
    let rest = answer.rest(rest, shown).map(going_on);
    let (text, mut value) = match &meta {
        Some(_) => {
            let fence = Fence::new()?;
            let value = defused(value);
            (fence.json(&value), fenced(&fence, value))
        }
        None => (value.to_string(), value),
    };
    let mut content = vec![ContentBlock::text(text)];
    if let Some((media_type, bytes)) = &answer.picture {
        content.push(ContentBlock::image(STANDARD.encode(bytes), media_type));
    }
    if let Some(rest) = rest {
        content.push(ContentBlock::text(format!(
            "There is more: call `{tool}` again with the same arguments and {CONTINUE}=\"{rest}\"."
        )));
        if let Some(value) = value.as_object_mut() {
            value.insert(CONTINUE.to_owned(), rest.into());
        }
    }
    let mut result = CallToolResult::success(content);
    result.structured_content = Some(value);
    if let Some(meta) = meta {
        let mut members = Map::new();
        members.insert(PROVENANCE.to_owned(), meta);
        result.meta = Some(MetaObject(members));
    }
    Ok(result)
}

/// A problem as an answer. It may say back what the agent sent, or name what was collected.
fn refusal(problem: &Problem, fence: Option<&Fence>, id: &str) -> CallToolResult {
    let mut text = match fence {
        Some(fence) => fence.around(&problem.detail),
        None => harmless(&problem.detail).into_owned(),
    };
    if let Some(seconds) = problem.retry_after {
        text.push_str(&format!(" (in {seconds} s)"));
    }
    let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
    let mut members = Map::new();
    members.insert(
        "org.dkc/problem".to_owned(),
        json!({ "kind": problem.kind, "request": id }),
    );
    result.meta = Some(MetaObject(members));
    result
}
