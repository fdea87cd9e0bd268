//! `run_query`: a saved query, with values for its parameters.

use super::run_sql::{self, Scalar};
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, Reply, parse};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "run_query",
    about: "Answers a saved query, with values for its parameters.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Post,
    path: "/api/v1/queries/{query}",
    is_heavy: true,
    is_cacheable: false,
    input: |types| types.subschema_for::<RunQuery>(),
    example: r#"{"query": "mails_of", "parameters": {"who": "anna@example.org"}}"#,
    output: Output::Rows,
    toolset: &toolset::ROWS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { run(call, parse(input)?).await }),
};

/// Which query, and its parameters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunQuery {
    /// The name of the query.
    query: String,
    /// Values of its parameters, by name; `null` is NULL.
    #[serde(default)]
    parameters: BTreeMap<String, Option<Scalar>>,
}

async fn run(call: Call<'_>, input: RunQuery) -> Result<Reply, Problem> {
    let saved = &call.gateway.config.saved;
    let found = saved.iter().find(|saved| saved.name == input.query);
    let found = found
        .filter(|_| call.caller.view.datasets.is_none())
        .ok_or_else(|| {
            let known = saved.iter().filter(|_| call.caller.view.datasets.is_none());
            Problem::not_found("query", &input.query, known.map(|saved| saved.name.as_str()))
        })?;
    let parameters = input
        .parameters
        .into_iter()
        .map(|(name, value)| (name, value.map_or(Value::Null, Value::from)));
    run_sql::answer(call, found.sql.clone(), parameters.collect(), None).await
}
