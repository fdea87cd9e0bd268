//! `refuse_act`: the owner's no to an act that waits.

use super::approve_act::{WaitingAct, decide};
use super::list_approvals::ApprovalState;
use crate::operation::{Effect, Method, OWNERS, Operation, Output, answer, parse};
use crate::toolset;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "refuse_act",
    about: "Refuses an act that waits for approval. Another than who asked must call it.",
    effect: Effect::Act,
    roles: OWNERS,
    method: Method::Post,
    path: "/api/v1/approvals/{id}/refuse",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<WaitingAct>(),
    example: r#"{"id": "A1b2C3d4"}"#,
    output: Output::Json(|types| types.subschema_for::<ApprovalState>()),
    toolset: &toolset::OWNER,
    holds_collected: false,
    plan: None,
    call: |call, input| {
        Box::pin(async move { answer(&decide(call, parse::<WaitingAct>(input)?, false).await?) })
    },
};
