//! What an operation is: typed input and output, who may call it, what it does to the world, one function.
//!
//! - From one [`Operation`] come its route, its part of the OpenAPI document, its audit record, and what agents see.
//! - Input is one JSON object, whichever face it came through; a face only gathers it.

use crate::caller::Caller;
use crate::dispatcher::Gateway;
use crate::problem::{Kind, Problem};
use crate::toolset::{RUNS, Toolset};
use arrow_array::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;
use schemars::{Schema, SchemaGenerator};
use schemas::Role;
use serde::de::DeserializeOwned;
use serde_json::Value;
use store::approvals::Approval;
use store::export::{Format, SendableRecordBatchStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What an operation does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it reads.
    Read,
    /// Something: it is in the audit log before it begins.
    Act,
}

/// The HTTP method of its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Input comes from the path and the query.
    Get,
    /// Input comes from the path and a JSON body.
    Post,
    /// Input comes from the path and the query.
    Delete,
}

/// What it answers with.
#[derive(Debug, Clone, Copy)]
pub enum Output {
    /// One JSON value of this type.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Rows, in any format the client accepts.
    Rows,
    /// Bytes of any media type.
    Bytes,
    /// One JSON value of this type, or events as they happen.
    Events(fn(&mut SchemaGenerator) -> Schema),
}

/// What may be asked of the gateway.
#[derive(Debug)]
pub struct Operation {
    /// Its name everywhere: a verb and what it is done to.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// What it does to the world.
    pub effect: Effect,
    /// Who may call it.
    pub roles: &'static [Role],
    /// Its method.
    pub method: Method,
    /// Its path; what stands in braces is input.
    pub path: &'static str,
    /// What it costs: heavy ones wait for one another.
    pub is_heavy: bool,
    /// Whether a client need not fetch an answer twice: it is a function of input, snapshot and view, or bytes, which are
    /// known by their digest.
    pub is_cacheable: bool,
    /// The type of its input, an object.
    pub input: fn(&mut SchemaGenerator) -> Schema,
    /// An input that can be tried.
    pub example: &'static str,
    /// The type of its output.
    pub output: Output,
    /// The family it belongs to.
    pub toolset: &'static Toolset,
    /// Whether its answer holds text that somebody else wrote: mails, files, logs. Agents get that marked and fenced.
    pub holds_collected: bool,
    /// What it would do to the world outside, if it does; then it is planned, approved and applied.
    pub plan: Option<PlanFunction>,
    /// What it does.
    pub call: for<'a> fn(Call<'a>, Value) -> BoxFuture<'a, Result<Reply, Problem>>,
}

/// Says what an operation would do.
pub type PlanFunction = for<'a> fn(Call<'a>, Value) -> BoxFuture<'a, Result<Plan, Problem>>;

/// What an operation would do to the world outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What it would do, in a sentence for the owner.
    pub summary: String,
    /// What of the world it rests on: when that is another, another plan is needed.
    pub state: Value,
    /// Whether it ends or loses something.
    pub is_destructive: bool,
}

/// All roles.
pub const EVERYBODY: &[Role] = &[Role::Public, Role::User, Role::Dev, Role::Automated];
/// Those of people and their programs.
pub const TRUSTED: &[Role] = &[Role::User, Role::Dev, Role::Automated];
/// Those of people.
pub const OWNERS: &[Role] = &[Role::User, Role::Dev];
/// That of whoever looks after the machine.
pub const DEV: &[Role] = &[Role::Dev];

/// What a call came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// HTTP: people and their programs.
    Rest,
    /// MCP: agents.
    Mcp,
}

impl Face {
    /// Its name in the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Mcp => "mcp",
        }
    }
}

/// The input by which what was planned is carried out.
pub const APPLY: &str = "apply";

impl Operation {
    /// Whether it is of all datasets, so that whoever may see some of them only may not call it: what only `dev` may, and
    /// what begins and ends runs.
    pub fn is_of_all(&self) -> bool {
        let is_of_runs = self.toolset.dataset == RUNS.dataset;
        self.roles == DEV || (is_of_runs && self.effect == Effect::Act)
    }

    /// Whether a client says in which format it wants the rows: not where the name of a file does.
    pub(crate) fn takes_format(&self) -> bool {
        matches!(self.output, Output::Rows) && !self.path.ends_with("/{file}")
    }

    /// The schema of its input: what its type says, and `apply` where there is a plan.
    pub fn input_schema(&self, types: &mut SchemaGenerator) -> Schema {
        let mut schema = (self.input)(types);
        if self.plan.is_none() {
            return schema;
        }
        let name = schema.get("$ref").and_then(Value::as_str);
        let name = name.and_then(|path| path.rsplit('/').next()).map(str::to_owned);
        let properties = match name.and_then(|name| types.definitions_mut().get_mut(&name)) {
            Some(definition) => definition.get_mut("properties"),
            None => schema.ensure_object().get_mut("properties"),
        };
        if let Some(properties) = properties.and_then(Value::as_object_mut) {
            let about = "The `apply` of the plan, to carry it out; without it the answer is the plan.";
            properties.insert(
                APPLY.to_owned(),
                serde_json::json!({ "type": "string", "maxLength": 64, "description": about }),
            );
        }
        schema
    }
}

/// What a call is made with.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// What it came through.
    pub face: Face,
    /// The gateway.
    pub gateway: &'a Gateway,
    /// Who calls.
    pub caller: &'a Caller,
    /// Where lines of something long go; who sends does not wait.
    pub progress: Option<&'a mpsc::Sender<String>>,
    /// Cancelled when the caller wants it no longer.
    pub cancel: &'a CancellationToken,
}

impl Call<'_> {
    /// Whether a person calls: one who reads is not an agent that does what it reads, and one who sends back a plan that
    /// they saw has approved it.
    pub(crate) fn is_person(&self) -> bool {
        self.face == Face::Rest && OWNERS.contains(&self.caller.role)
    }
}

/// What an operation answers.
pub enum Reply {
    /// A value.
    Json(Value),
    /// Rows that are here.
    Page(Page),
    /// Rows that come.
    Rows(Rows),
    /// Bytes, as they were collected.
    Bytes(Original),
    /// What it would do: nothing is done yet.
    Planned(Planned),
    /// It is to be done, and waits for its owner.
    Waiting(Approval),
}

/// What an operation would do, told to who may have it done.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct Planned {
    /// The digest of the plan: sent as `apply`, with the same input, the plan is carried out.
    pub apply: String,
    /// What would be done.
    pub summary: String,
    /// Whether it ends or loses something.
    pub is_destructive: bool,
    /// Whether its owner has to approve it.
    pub needs_approval: bool,
}

/// A page of rows.
pub struct Page {
    /// The rows.
    pub rows: RecordBatch,
    /// What is told beside them, an object.
    pub about: Value,
    /// Input of the page after this one.
    pub next: Option<Value>,
}

/// Rows that come.
pub struct Rows {
    /// The rows.
    pub rows: SendableRecordBatchStream,
    /// What is told beside them, an object.
    pub about: Value,
    /// The format, if the input names it.
    pub format: Option<Format>,
    /// The name of a file for them.
    pub name: String,
}

/// Bytes, as they were collected.
pub struct Original {
    /// Their media type, as the source said.
    pub media_type: String,
    /// The name of a file for them.
    pub name: String,
    /// Their SHA-256, hexadecimal.
    pub sha256: String,
    /// The bytes.
    pub bytes: Bytes,
}

impl Original {
    /// Whether it is a picture that agents can be shown.
    pub(crate) fn is_picture(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            "image/jpeg" | "image/png" | "image/webp" | "image/gif"
        )
    }
}

/// The typed input of an operation.
///
/// # Errors
/// [`Kind::BadRequest`] when it is of another type.
pub fn parse<T: DeserializeOwned>(input: Value) -> Result<T, Problem> {
    serde_json::from_value(input).map_err(|error| Problem::new(Kind::BadRequest, error.to_string()))
}

/// A moment in microseconds since 1970, as answers write it (RFC 3339, UTC).
pub(crate) fn written(moment: i64) -> Option<String> {
    Some(Timestamp::from_microsecond(moment).ok()?.to_string())
}

/// The typed output of an operation.
///
/// # Errors
/// [`Kind::Internal`] when it has no form in JSON.
pub fn answer<T: serde::Serialize>(output: &T) -> Result<Reply, Problem> {
    let value = serde_json::to_value(output).map_err(|error| Problem::internal(&error))?;
    Ok(Reply::Json(value))
}
