//! Asks the owner, through the agent's program where that can, whether an act may be done.
//!
//! - Stateless protocol: the answer asks for input, and the call comes again with it. Earlier one: the program is asked
//!   while the call waits.
//! - A program that an owner started, or that has a token of a person's role, has that person before it. One that runs by
//!   itself has nobody: its acts wait for `dkc approve`.
//! - Not here: whether an approval is needed (`consent`).

use crate::caller::Caller;
use crate::dispatcher::Gateway;
use crate::operation::OWNERS;
use crate::problem::{Kind, Problem};
use rmcp::model::{
    CallToolRequestParams, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationSchema, InputRequest, InputRequiredResult, ProtocolVersion,
};
use rmcp::service::{RequestContext, RoleServer};
use std::collections::BTreeMap;
use std::time::Duration;
use store::approvals::{Approval, Decision};

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
    let is_stateless = context
        .protocol_version()
        .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
    let result: ElicitResult = if is_stateless {
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
    match gateway.approvals.decide(&approval.id, &by, approves).await? {
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
