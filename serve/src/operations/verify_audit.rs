//! `verify_audit`: whether the audit log is whole.

use crate::operation::{Call, DEV, Effect, Method, Operation, Output, answer, parse};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "verify_audit",
    about: "Checks that no record of the audit log was changed, removed, added or put elsewhere.",
    effect: Effect::Read,
    roles: DEV,
    method: Method::Get,
    path: "/api/v1/audit/verify",
    is_heavy: true,
    is_cacheable: false,
    input: |types| types.subschema_for::<VerifyAudit>(),
    example: r#"{}"#,
    output: Output::Json(|types| types.subschema_for::<AuditVerified>()),
    toolset: &toolset::OWNER,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&verify(call, parse(input)?).await?) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct VerifyAudit {}

/// What was found.
#[derive(Serialize, JsonSchema)]
struct AuditVerified {
    /// Records that were read.
    records: u64,
    /// Whether nothing is wrong.
    is_whole: bool,
    /// What is wrong, record by record.
    findings: Vec<Finding>,
    /// The newest record, `NUMBER:HASH`; keep it elsewhere to prove later that nothing before it was changed.
    head: Option<String>,
}

/// Something wrong.
#[derive(Serialize, JsonSchema)]
struct Finding {
    /// The number of the record.
    record: i64,
    /// What is wrong.
    what: String,
}

async fn verify(call: Call<'_>, _: VerifyAudit) -> Result<AuditVerified, Problem> {
    let verified = call.gateway.audit.verify().await?;
    let findings = verified.findings.iter().map(|finding| Finding {
        record: finding.seq,
        what: finding.what.clone(),
    });
    Ok(AuditVerified {
        records: verified.records,
        is_whole: verified.findings.is_empty(),
        findings: findings.collect(),
        head: verified.head.map(|head| head.to_string()),
    })
}
