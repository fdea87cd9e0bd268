//! The tools as agents see them: names, words, schemas. An agent pays for each word of them with every conversation.
//!
//! - In: what a caller may call, which toolsets. Out: tools, always in the same order and the same to the byte.
//! - Schemas of answers keep the names and types of their first level only: the rest is in the answer.
//! - Not here: what a tool does.

use super::budget;
use super::call::{LEAST, MOST};
use super::options::Options;
use crate::caller::Caller;
use crate::config::Config;
use crate::dispatcher::Gateway;
use crate::input;
use crate::operation::{Effect, Operation, Output};
use crate::registry;
use crate::toolset::{self, Toolset};
use rmcp::model::{Tool, ToolAnnotations};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use schemas::{Role, View};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// How many tokens an answer may take.
pub(super) const MAX_TOKENS: &str = "max_tokens";
/// Where an answer goes on.
pub(super) const CONTINUE: &str = "continue";
/// The operation of a grouped tool.
pub(super) const METHOD: &str = "method";
/// Its input.
pub(super) const PARAMS: &str = "params";

/// The tool of each operation, by name.
static TOOLS: LazyLock<HashMap<&'static str, Tool>> = LazyLock::new(|| {
    let tools = registry::ALL
        .iter()
        .map(|operation| (operation.name, tool(operation)));
    tools.collect()
});

/// What a tool of the catalogue costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// The tool.
    pub name: String,
    /// Its toolset.
    pub toolset: String,
    /// Tokens, as [`budget::tokens`] tells.
    pub tokens: usize,
}

/// What the catalogue costs an agent of the owner's, each tool by itself.
pub fn cost(config: &Config, options: &Options) -> Vec<Cost> {
    let all = View::default();
    let offered = |operation: &Operation| {
        (operation.toolset.is_on)(config)
            && operation.roles.contains(&Role::Automated)
            && operation.toolset.is_shown(&all)
    };
    let tools = described(options, offered);
    let costs = tools.into_iter().map(|(toolset, tool)| Cost {
        name: tool.name.to_string(),
        toolset: toolset.name.to_owned(),
        tokens: budget::tokens(&serde_json::to_string(&tool).unwrap_or_default()),
    });
    costs.collect()
}

/// The tools of a caller.
pub(super) fn tools(gateway: &Gateway, caller: &Caller, options: &Options) -> Vec<Tool> {
    let tools = described(options, |operation| gateway.offers(operation, caller));
    tools.into_iter().map(|(_, tool)| tool).collect()
}

/// The operation that a caller means by the name of a tool, if they are given it.
pub(super) fn operation(
    gateway: &Gateway,
    caller: &Caller,
    options: &Options,
    name: &str,
) -> Option<&'static Operation> {
    registry::by_name(name)
        .filter(|operation| options.has(operation.toolset) && gateway.offers(operation, caller))
}

/// The toolset that a grouped tool is of.
pub(super) fn group(options: &Options, name: &str) -> Option<&'static Toolset> {
    toolset::by_name(name).filter(|toolset| options.is_grouped && options.has(toolset))
}

fn described(options: &Options, offered: impl Fn(&Operation) -> bool) -> Vec<(&'static Toolset, Tool)> {
    let mut tools = Vec::new();
    for toolset in toolset::ALL
        .iter()
        .copied()
        .filter(|toolset| options.has(toolset))
    {
        let operations: Vec<&'static Operation> = registry::ALL
            .iter()
            .copied()
            .filter(|operation| operation.toolset == toolset && offered(operation))
            .collect();
        if options.is_grouped && !operations.is_empty() {
            tools.push((toolset, grouped(toolset, &operations)));
        } else {
            let each = operations
                .iter()
                .filter_map(|operation| TOOLS.get(operation.name));
            tools.extend(each.map(|tool| (toolset, tool.clone())));
        }
    }
    tools
}

fn tool(operation: &'static Operation) -> Tool {
    let mut schema = input::schema(operation).clone();
    schema.remove("title");
    schema.remove("description");
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.values_mut().for_each(thin);
        let most = "Tokens of the answer; 8000 if absent.";
        properties.insert(
            MAX_TOKENS.to_owned(),
            json!({ "type": "integer", "minimum": LEAST, "maximum": MOST, "description": most }),
        );
        let rest = "`continue` of a cut answer.";
        properties.insert(
            CONTINUE.to_owned(),
            json!({ "type": "string", "description": rest }),
        );
    }
    // It is in all of them, and clients check nothing by it.
    schema.remove("additionalProperties");
    let tool = Tool::new(operation.name, operation.about, Arc::new(schema))
        .with_annotations(annotations(&[operation]));
    match output(operation) {
        Some(schema) => tool.with_raw_output_schema(Arc::new(schema)),
        None => tool,
    }
}

/// What a client may believe of a tool: all of it is so.
fn annotations(operations: &[&'static Operation]) -> ToolAnnotations {
    let acts = operations.iter().any(|operation| operation.effect == Effect::Act);
    let annotations = ToolAnnotations::new().read_only(!acts);
    match acts {
        // What reads destroys nothing, so the other hints mean nothing (MCP schema, ToolAnnotations).
        false => annotations,
        true => annotations.destructive(true).idempotent(false).open_world(true),
    }
}

/// A schema of a parameter in fewer words: what agents need to call it.
fn thin(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    for name in [
        "format",
        "maxLength",
        "minLength",
        "maxItems",
        "minItems",
        "default",
        "title",
    ] {
        schema.remove(name);
    }
    // `null` may be left out instead.
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(items) = schema.get_mut("items") {
        thin(items);
    }
}

/// What an answer is: names and types of its first level. Acts answer a plan or what was done, so there is none.
fn output(operation: &Operation) -> Option<Map<String, Value>> {
    if operation.plan.is_some() {
        return None;
    }
    let schema = match operation.output {
        Output::Json(output) | Output::Events(output) => {
            let settings = SchemaSettings::draft2020_12().with(|how| {
                how.inline_subschemas = true;
                how.meta_schema = None;
            });
            output(&mut SchemaGenerator::new(settings)).to_value()
        }
        Output::Rows => json!({
            "properties": { "columns": { "type": "array" }, "rows": { "type": "array" } },
        }),
        Output::Bytes => return None,
    };
    let properties = schema.get("properties").and_then(Value::as_object)?;
    let firsts = properties.iter().map(|(name, schema)| {
        let kind = schema
            .get("type")
            .map_or_else(|| json!({}), |kind| json!({ "type": kind }));
        (name.clone(), kind)
    });
    let mut thin = Map::new();
    thin.insert("type".to_owned(), "object".into());
    thin.insert("properties".to_owned(), Value::Object(firsts.collect()));
    Some(thin)
}

/// One tool for a toolset.
fn grouped(toolset: &Toolset, operations: &[&'static Operation]) -> Tool {
    let mut about = format!("{} Methods:", toolset.about);
    for operation in operations {
        let schema = input::schema(operation);
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
        let parameters: Vec<String> = input::properties(operation)
            .keys()
            .map(|name| match is_required(name) {
                true => name.clone(),
                false => format!("{name}?"),
            })
            .collect();
        about.push_str(&format!(
            "\n{}({}): {}",
            operation.name,
            parameters.join(", "),
            operation.about
        ));
    }
    let methods: Vec<&str> = operations.iter().map(|operation| operation.name).collect();
    let schema = json!({
        "type": "object",
        "required": [METHOD],
        "properties": {
            METHOD: { "type": "string", "enum": methods },
            PARAMS: { "type": "object" },
            MAX_TOKENS: { "type": "integer", "minimum": LEAST, "maximum": MOST },
            CONTINUE: { "type": "string" },
        },
    });
    let schema = schema.as_object().cloned().unwrap_or_default();
    Tool::new(toolset.name, about, Arc::new(schema)).with_annotations(annotations(operations))
}
