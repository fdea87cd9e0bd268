//! `list_audit`: who did what.

use crate::operation::{Call, DEV, Effect, Method, Operation, Output, answer, parse};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_audit",
    about: "Lists calls from the audit log, newest first: who called what, how it ended, what it cost.",
    effect: Effect::Read,
    roles: DEV,
    method: Method::Get,
    path: "/api/v1/audit",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListAudit>(),
    example: r#"{"limit": 20}"#,
    output: Output::Json(|types| types.subschema_for::<AuditList>()),
    toolset: &toolset::OWNER,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Which calls.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListAudit {
    /// Of this caller.
    #[serde(default)]
    who: Option<String>,
    /// Of this operation.
    #[serde(default)]
    operation: Option<String>,
    /// So many at most.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

fn fifty() -> u32 {
    50
}

/// Calls.
#[derive(Serialize, JsonSchema)]
struct AuditList {
    /// The records.
    records: Vec<Value>,
}

async fn list(call: Call<'_>, input: ListAudit) -> Result<AuditList, Problem> {
    let audit = &call.gateway.audit;
    let records = audit
        .newest(input.limit, input.who.as_deref(), input.operation.as_deref())
        .await?;
    let records = records.iter().map(serde_json::to_value).collect::<Result<_, _>>();
    Ok(AuditList {
        records: records.map_err(|error| Problem::internal(&error))?,
    })
}
