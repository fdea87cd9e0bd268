//! `run_sql`: one read-only statement, in a process apart.

use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, Reply, Rows, parse};
use crate::problem::{Kind, Problem};
use crate::toolset;
use schemars::JsonSchema;
use schemas::View;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::lake::as_of::AsOf;
use store::query::Query;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "run_sql",
    about: "Answers one SELECT over the datasets that the caller may see. Nothing can be written, and no file be read.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Post,
    path: "/api/v1/sql",
    is_heavy: true,
    is_cacheable: false,
    input: |types| types.subschema_for::<RunSql>(),
    example: r#"{"query": "SELECT from_addr, count(*) AS mails FROM emails GROUP BY 1 ORDER BY 2 DESC LIMIT 10"}"#,
    output: Output::Rows,
    toolset: &toolset::DATA,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { run(call, parse(input)?).await }),
};

/// What is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunSql {
    /// One statement: SELECT, VALUES, EXPLAIN, DESCRIBE, SHOW TABLES or SHOW COLUMNS; `:name` is a parameter.
    #[schemars(length(max = 65536))]
    query: String,
    /// Values of the parameters, by name; `null` is NULL.
    #[serde(default)]
    parameters: BTreeMap<String, Option<Scalar>>,
    /// The lake as it was: the number of a snapshot, or a time (RFC 3339).
    #[serde(default)]
    as_of: Option<String>,
}

/// A value of a parameter.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Scalar {
    /// A text.
    Text(String),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Text(text) => text.into(),
            Scalar::Int(number) => number.into(),
            Scalar::Float(number) => number.into(),
            Scalar::Bool(truth) => truth.into(),
        }
    }
}

async fn run(call: Call<'_>, input: RunSql) -> Result<Reply, Problem> {
    let parameters = input
        .parameters
        .into_iter()
        .map(|(name, value)| (name, value.map_or(Value::Null, Value::from)));
    answer(call, input.query, parameters.collect(), input.as_of.as_deref()).await
}

/// The rows of a statement that somebody wrote.
pub(super) async fn answer(
    call: Call<'_>,
    text: String,
    parameters: store::query::Parameters,
    as_of: Option<&str>,
) -> Result<Reply, Problem> {
    let snapshot = call.gateway.lake.moment(as_of).await?;
    let query = Query {
        text,
        parameters,
        as_of: Some(AsOf::Snapshot(snapshot)),
        is_newest: as_of.is_none(),
        view: View::clone(&call.caller.view),
    };
    let rows = call
        .gateway
        .workers
        .run_user_sql(&query)
        .await
        .map_err(|error| match error {
            // Of the request, not of the answer.
            store::query::QueryError::TooLarge { .. } => Problem::new(Kind::Unprocessable, error.to_string()),
            // What the store says of it is for a command line.
            store::query::QueryError::Parameter { name, what } if what.starts_with("no value") => {
                Problem::unprocessable(format!(
                    "the parameter `{name}` has no value; put it in `parameters`"
                ))
            }
            error => error.into(),
        })?;
    Ok(Reply::Rows(Rows {
        rows,
        about: json!({ "snapshot": snapshot }),
        format: None,
        name: "answer".to_owned(),
    }))
}
