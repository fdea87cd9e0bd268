//! `approve_act`: the owner's yes to an act that waits.

use super::list_approvals::ApprovalState;
use crate::operation::{Call, Effect, Method, OWNERS, Operation, Output, answer, parse};
use crate::problem::{Kind, Problem};
use crate::toolset;
use schemars::JsonSchema;
use serde::Deserialize;
use store::approvals::{Decision, State};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "approve_act",
    about: "Approves an act that waits: who asked may do it once, within ten minutes. Another than who asked must call it.",
    effect: Effect::Act,
    roles: OWNERS,
    method: Method::Post,
    path: "/api/v1/approvals/{id}/approve",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<WaitingAct>(),
    example: r#"{"id": "A1b2C3d4"}"#,
    output: Output::Json(|types| types.subschema_for::<ApprovalState>()),
    toolset: &toolset::OWNER,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&decide(call, parse(input)?, true).await?) }),
};

/// Which act.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitingAct {
    /// The id of its approval.
    #[schemars(length(max = 100))]
    id: String,
}

/// Approves or refuses it.
pub(super) async fn decide(
    call: Call<'_>,
    input: WaitingAct,
    approve: bool,
) -> Result<ApprovalState, Problem> {
    let approvals = &call.gateway.approvals;
    let decision = approvals.decide(&input.id, &call.caller.who, approve).await?;
    told(decision, &input.id)
}

/// What came of it, for whoever decided.
fn told(decision: Decision, id: &str) -> Result<ApprovalState, Problem> {
    let ended = |what: &str| {
        Err(Problem::new(
            Kind::Conflict,
            format!("it waits no longer: {what}"),
        ))
    };
    match decision {
        Decision::Done(approval) => Ok(approval.into()),
        Decision::Unknown => Err(Problem::not_found("approval", id, std::iter::empty())),
        Decision::OwnRequest => Err(Problem::new(
            Kind::Forbidden,
            "another than who asked must approve or refuse it; `dkc approve` does on the owner's machine",
        )),
        Decision::NotWaiting(State::Expired) => {
            ended("it has expired; who asked has to ask again, then decide on that")
        }
        Decision::NotWaiting(state) => ended(&format!(
            "it is {} already; `list_approvals` lists what waits",
            state.as_str()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::approvals::{Approval, Request};

    #[test]
    fn what_cannot_be_decided_says_why_and_what_to_do() {
        for (decision, kind, word) in [
            (Decision::Unknown, Kind::NotFound, "`A1b2C3d4`"),
            (Decision::OwnRequest, Kind::Forbidden, "another than who asked"),
            (Decision::NotWaiting(State::Expired), Kind::Conflict, "ask again"),
            (
                Decision::NotWaiting(State::Refused),
                Kind::Conflict,
                "refused already",
            ),
        ] {
            let problem = told(decision, "A1b2C3d4").unwrap_err();
            assert!(
                problem.kind == kind && problem.detail.contains(word),
                "{problem:?}"
            );
        }
    }

    #[test]
    fn what_is_decided_is_told_whole_but_for_the_digest() {
        let approval = Approval {
            id: "A1b2C3d4".to_owned(),
            request: Request {
                digest: "abcdef".to_owned(),
                who: "agent".to_owned(),
                operation: "restart_container".to_owned(),
                summary: "restarts the container `web`".to_owned(),
                is_destructive: true,
                untrusted: true,
            },
            state: State::Approved,
            asked_at: 0,
            decided_at: Some(1_000_000),
            decided_by: Some("phone".to_owned()),
            expires_at: 601_000_000,
        };
        let told = told(Decision::Done(approval), "A1b2C3d4").unwrap();
        let expected = serde_json::json!({
            "id": "A1b2C3d4",
            "who": "agent",
            "operation": "restart_container",
            "summary": "restarts the container `web`",
            "is_destructive": true,
            "untrusted": true,
            "state": "approved",
            "asked_at": "1970-01-01T00:00:00Z",
            "decided_at": "1970-01-01T00:00:01Z",
            "decided_by": "phone",
            "expires_at": "1970-01-01T00:10:01Z",
        });
        assert_eq!(serde_json::to_value(told).unwrap(), expected);
    }
}
