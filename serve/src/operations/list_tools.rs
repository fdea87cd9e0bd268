//! `list_tools`: what the caller may do.

use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse};
use crate::registry;
use crate::toolset;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_tools",
    about: "Lists the operations that the caller may call, with their input, effect and an example: what an agent's tools are.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/tools",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListTools>(),
    example: r#"{}"#,
    output: Output::Json(|types| types.subschema_for::<ToolList>()),
    toolset: &toolset::OWNER,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?)) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListTools {}

/// The operations.
#[derive(Serialize, JsonSchema)]
struct ToolList {
    /// Those that the caller may call.
    tools: Vec<Tool>,
}

/// An operation.
#[derive(Serialize, JsonSchema)]
struct Tool {
    /// Its name.
    name: &'static str,
    /// What it does.
    about: &'static str,
    /// Whether it changes anything.
    acts: bool,
    /// A JSON Schema of its input.
    input: Value,
    /// An input that can be tried.
    example: Value,
}

fn list(call: Call<'_>, _: ListTools) -> ToolList {
    let allowed = registry::ALL
        .iter()
        .filter(|operation| call.gateway.offers(operation, call.caller));
    let tools = allowed.map(|operation| {
        let mut types =
            SchemaGenerator::new(SchemaSettings::draft2020_12().with(|how| how.inline_subschemas = true));
        Tool {
            name: operation.name,
            about: operation.about,
            acts: operation.effect == Effect::Act,
            input: operation.input_schema(&mut types).to_value(),
            example: serde_json::from_str(operation.example).unwrap_or_default(),
        }
    });
    ToolList {
        tools: tools.collect(),
    }
}
