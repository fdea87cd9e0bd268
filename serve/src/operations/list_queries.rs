//! `list_queries`: the queries that the configuration gives a name.

use crate::config::SavedQuery;
use crate::operation::{EVERYBODY, Effect, Method, Operation, Output, answer, parse};
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_queries",
    about: "Lists the saved queries: what each answers, and its statement with its parameters.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/queries",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListQueries>(),
    example: "{}",
    output: Output::Json(|types| types.subschema_for::<QueryList>()),
    toolset: &toolset::ROWS,
    holds_collected: false,
    plan: None,
    call: |call, input| {
        Box::pin(async move {
            let ListQueries {} = parse(input)?;
            answer(&QueryList {
                // A statement names datasets, which somebody who may not see all must not learn of.
                queries: match call.caller.view.datasets {
                    None => call.gateway.config.saved.clone(),
                    Some(_) => Vec::new(),
                },
            })
        })
    },
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQueries {}

/// The saved queries.
#[derive(Serialize, JsonSchema)]
struct QueryList {
    /// The queries, as the configuration has them.
    queries: Vec<SavedQuery>,
}
