//! `list_audit`: who did what.

use crate::operation::{Call, DEV, Effect, Method, Operation, Output, answer, parse, written};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::audit::Record;

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
    records: Vec<ToldRecord>,
}

/// A call, as it is in the log.
#[derive(Debug, Serialize, JsonSchema)]
struct ToldRecord {
    /// Its number: 1, 2, 3, …
    seq: i64,
    /// When it came, UTC.
    at: Option<String>,
    /// Id of the token that asked, or `-` when it was not known.
    who: String,
    /// As what it asked: a role, or `-` when it was not known who asks.
    role: String,
    /// What was asked for.
    operation: String,
    /// Where it was asked: rest or mcp.
    face: String,
    /// Digest of the input.
    input: String,
    /// Rows of the answer.
    rows: i64,
    /// Bytes of the answer.
    bytes: i64,
    /// `ok`, or the name of the problem.
    outcome: String,
    /// How long it took, in microseconds.
    duration_us: i64,
    /// Id of the request.
    request: String,
    /// The hash of the record, hexadecimal.
    hash: String,
}

impl From<Record> for ToldRecord {
    fn from(Record { seq, entry, hash }: Record) -> Self {
        Self {
            seq,
            at: written(entry.at),
            who: entry.who,
            role: entry.role,
            operation: entry.operation,
            face: entry.face,
            input: entry.input,
            rows: entry.rows,
            bytes: entry.bytes,
            outcome: entry.outcome,
            duration_us: entry.duration_us,
            request: entry.request,
            hash,
        }
    }
}

async fn list(call: Call<'_>, input: ListAudit) -> Result<AuditList, Problem> {
    let audit = &call.gateway.audit;
    let records = audit
        .newest(input.limit, input.who.as_deref(), input.operation.as_deref())
        .await?;
    Ok(AuditList {
        records: records.into_iter().map(ToldRecord::from).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::datasets::audit::DATASET;
    use std::collections::BTreeSet;
    use store::audit::Entry;

    #[test]
    fn times_are_texts_and_all_else_is_as_the_dataset_has_it() {
        let record = Record {
            seq: 7,
            entry: Entry {
                at: 1_500_000,
                who: "A1b2C3d4".to_owned(),
                duration_us: 12,
                ..Entry::default()
            },
            hash: "00ff".to_owned(),
        };
        let told = serde_json::to_value(ToldRecord::from(record)).unwrap();
        assert_eq!(told["at"], "1970-01-01T00:00:01.5Z");
        assert_eq!(told["seq"], 7);
        assert_eq!(told["duration_us"], 12);
        let told: BTreeSet<&str> = told.as_object().unwrap().keys().map(String::as_str).collect();
        let columns: BTreeSet<&str> = DATASET.columns.iter().map(|column| column.name).collect();
        assert_eq!(told, columns);
    }
}
