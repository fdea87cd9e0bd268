//! `list_approvals`: the acts that wait for their owner.

use crate::operation::{Call, Effect, Method, OWNERS, Operation, Output, answer, parse, written};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::approvals::Approval;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_approvals",
    about: "Lists the acts that wait for approval: who wants to do what, and until when.",
    effect: Effect::Read,
    roles: OWNERS,
    method: Method::Get,
    path: "/api/v1/approvals",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListApprovals>(),
    example: r#"{}"#,
    output: Output::Json(|types| types.subschema_for::<ApprovalList>()),
    toolset: &toolset::OWNER,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListApprovals {}

/// What waits.
#[derive(Serialize, JsonSchema)]
struct ApprovalList {
    /// The acts that wait, oldest first.
    approvals: Vec<ApprovalState>,
}

/// An act, and how far its approval has come.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct ApprovalState {
    /// The id of its approval.
    id: String,
    /// Who wants to do it: the id of a token, or a name.
    who: String,
    /// The operation.
    operation: String,
    /// What it would do.
    summary: String,
    /// Whether it ends or loses something.
    is_destructive: bool,
    /// Whether who asks has read text that others wrote, and may be doing what that says.
    untrusted: bool,
    /// waiting, approved, refused, used or expired.
    state: &'static str,
    /// When it was asked for.
    asked_at: Option<String>,
    /// When it was approved or refused.
    decided_at: Option<String>,
    /// By whom.
    decided_by: Option<String>,
    /// When it ends, if nobody decides, or does it.
    expires_at: Option<String>,
}

impl From<Approval> for ApprovalState {
    fn from(approval: Approval) -> Self {
        let request = approval.request;
        Self {
            id: approval.id,
            who: request.who,
            operation: request.operation,
            summary: request.summary,
            is_destructive: request.is_destructive,
            untrusted: request.untrusted,
            state: approval.state.as_str(),
            asked_at: written(approval.asked_at),
            decided_at: approval.decided_at.and_then(written),
            decided_by: approval.decided_by,
            expires_at: written(approval.expires_at),
        }
    }
}

async fn list(call: Call<'_>, _: ListApprovals) -> Result<ApprovalList, Problem> {
    let waiting = call.gateway.approvals.waiting().await?;
    Ok(ApprovalList {
        approvals: waiting.into_iter().map(ApprovalState::from).collect(),
    })
}
