//! Asks the owner, through the agent's program where that can, whether an act may be done.
//!
//! - Stateless protocol: the answer asks for input, and the call comes again with it. Earlier one: the program is asked
//!   while the call waits.
//! - A program that an owner started, or that has a token of a person's role, has that person before it. One that runs by
//!   itself has nobody: its acts wait for `dkc approve`.
//! - Not here: whether an approval is needed (`consent`).

use super::server::is_stateless;
use crate::caller::Caller;
use crate::dispatcher::Gateway;
use crate::operation::OWNERS;
use crate::problem::{Kind, Problem};
use rmcp::model::{
    CallToolRequestParams, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationSchema, InputRequest, InputRequiredResult,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use store::approvals::{Approval, Decision};
use store::audit::{Entry, input_digest};

/// What a caller over standard input and output, without a token, is called; its process comes after it.
const STARTED: &str = "stdio:";

/// The name of the question.
const QUESTION: &str = "approve";

/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the owner said.
pub(super) enum Word {
    /// It may be done.
    Given,
    /// The agent's program is to ask.
    Ask(Box<InputRequiredResult>),
    /// Nobody could be asked here: it waits.
    Waits,
}

/// Asks for an approval.
///
/// # Errors
/// [`Kind::Forbidden`] when the owner refused.
pub(super) async fn ask(
    gateway: &Gateway,
    caller: &Caller,
    approval: &Approval,
    params: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<Word, Problem> {
    let has_person = OWNERS.contains(&caller.role) || caller.who.starts_with(STARTED);
    let can_ask = context
        .client_capabilities()
        .is_some_and(|can| can.elicitation.is_some());
    let is_http = context.extensions.get::<axum::http::request::Parts>().is_some();
    // Whoever sends requests over HTTP may be the agent itself, and could say yes without having asked anybody.
    if !has_person || !can_ask || (is_http && approval.request.untrusted) {
        return Ok(Word::Waits);
    }
    let result: ElicitResult = if is_stateless(context) {
        let said = params.input_responses.as_ref().and_then(|all| all.get(QUESTION));
        let is_of_this = params.request_state.as_deref() == Some(approval.id.as_str());
        let Some(said) = said.filter(|_| is_of_this) else {
            let request = InputRequest::Elicitation(ElicitRequest::new(question(approval)));
            let requests = BTreeMap::from([(QUESTION.to_owned(), request)]);
            let asked = InputRequiredResult::new(Some(requests), Some(approval.id.clone()));
            return Ok(Word::Ask(Box::new(asked)));
        };
        serde_json::from_value(said.clone())
            .map_err(|_| Problem::new(Kind::BadRequest, "the answer of the owner cannot be read"))?
    } else if is_http {
        // There is no way back to the program: the earlier protocol needs a session for that.
        return Ok(Word::Waits);
    } else {
        let asked = context
            .peer
            .create_elicitation_with_timeout(question(approval), Some(PATIENCE))
            .await;
        match asked {
            Ok(result) => result,
            Err(error) => {
                tracing::warn!(%error, "the owner could not be asked");
                return Ok(Word::Waits);
            }
        }
    };
    let approves = match result.action {
        ElicitationAction::Accept => true,
        ElicitationAction::Decline => false,
        // Closed without a word: it goes on waiting.
        _ => return Ok(Word::Waits),
    };
    let by = format!("elicitation of {}", caller.who);
    let decision = gateway.approvals.decide(&approval.id, &by, approves).await?;
    if let Decision::Done(approval) = &decision {
        let decided = decided(caller, approval, &by, approves);
        gateway.audit.append(&[decided]).await?;
    }
    match decision {
        Decision::Done(_) if approves => Ok(Word::Given),
        Decision::Done(_) => Err(Problem::new(
            Kind::Forbidden,
            format!(
                "its owner refused that it {}; do not try it again unasked",
                approval.request.summary
            ),
        )),
        Decision::Unknown | Decision::NotWaiting(_) | Decision::OwnRequest => Ok(Word::Waits),
    }
}

/// The record of who decided, on which plan, and how: that of the call itself says only what the agent did.
fn decided(caller: &Caller, approval: &Approval, by: &str, approves: bool) -> Entry {
    let operation = if approves { "approve_act" } else { "refuse_act" };
    Entry {
        at: jiff::Timestamp::now().as_microsecond(),
        who: by.to_owned(),
        role: caller.role.as_str().to_owned(),
        operation: operation.to_owned(),
        face: "elicitation".to_owned(),
        input: input_digest(&json!({ "id": approval.id })),
        outcome: "ok".to_owned(),
        request: approval.id.clone(),
        ..Entry::default()
    }
}

fn question(approval: &Approval) -> ElicitRequestParams {
    let request = &approval.request;
    let mut message = format!(
        "May the agent do this? It {} (`{}`).",
        request.summary, request.operation
    );
    if request.is_destructive {
        message.push_str(" It ends or loses something.");
    }
    if request.untrusted {
        message.push_str(" It has read text that others wrote, and may be doing what that says.");
    }
    ElicitRequestParams::FormElicitationParams {
        meta: None,
        message,
        requested_schema: ElicitationSchema::new(BTreeMap::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::Role;
    use store::approvals::{Request, State};

    #[test]
    fn what_the_owner_said_is_recorded_with_the_plan_and_how_they_were_asked() {
        let approval = Approval {
            id: "A1b2C3d4".to_owned(),
            request: Request {
                digest: "abcdef".to_owned(),
                who: "stdio:7".to_owned(),
                operation: "restart_container".to_owned(),
                summary: "restarts the container `web`".to_owned(),
                is_destructive: true,
                untrusted: false,
            },
            state: State::Approved,
            asked_at: 0,
            decided_at: Some(1),
            decided_by: Some("elicitation of stdio:7".to_owned()),
            expires_at: 2,
        };
        let caller = Caller::new("stdio:7", Role::Automated, None, None);
        for (approves, operation) in [(true, "approve_act"), (false, "refuse_act")] {
            let entry = decided(&caller, &approval, "elicitation of stdio:7", approves);
            let told = [&entry.who, &entry.operation, &entry.face, &entry.request];
            assert_eq!(
                told,
                ["elicitation of stdio:7", operation, "elicitation", "A1b2C3d4"]
            );
            // As `dkc approve` and the gateway record it, so that all words on a plan can be found.
            assert_eq!(entry.input, input_digest(&json!({ "id": "A1b2C3d4" })));
        }
    }
}
