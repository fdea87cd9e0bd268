//! Acts: plan, then approval, then apply.
//!
//! - The first call of an operation that acts on the world outside answers what it would do, and the digest of that. The
//!   second sends the digest as `apply`: when the world is still as it was, and its owner approves, it is done.
//! - Who has read what others wrote needs approval for every act: a sentence in a mail may have asked for it. Of a token
//!   that is remembered in the store for a day, so that another process knows it too; of an agent that starts dkc itself,
//!   until it does so again.
//! - Not here: how somebody is asked (`mcp::approval`, `dkc approve`, `approve_act`).

use crate::caller::Caller;
use crate::dispatcher::{Gateway, without_apply};
use crate::mcp::continuation;
use crate::operation::{APPLY, Call, Operation, Plan, PlanFunction, Planned, Reply};
use crate::problem::{Kind, Problem};
use serde_json::Value;
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use store::approvals::{AskError, Request};

/// Who read what others wrote is written down so often; it is remembered for a day.
const WRITTEN: Duration = Duration::from_secs(3_600);

/// Askers that are remembered.
const MOST_REMEMBERED: usize = 10_000;

/// Characters of a digest.
const DIGEST: usize = 32;

impl Gateway {
    /// Plans an act, or carries out what was planned.
    pub(crate) async fn act(
        &self,
        operation: &'static Operation,
        plan: PlanFunction,
        call: Call<'_>,
        input: Value,
    ) -> Result<Reply, Problem> {
        let apply = match input.get(APPLY) {
            None | Some(Value::Null) => None,
            Some(Value::String(apply)) => Some(apply.clone()),
            Some(_) => {
                return Err(Problem::new(
                    Kind::BadRequest,
                    "`apply` must be the text that a plan gave",
                ));
            }
        };
        let input = without_apply(&input).into_owned();
        let plan = self.in_time(plan(call, input.clone())).await?;
        let digest = digest(operation, call.caller, &input, &plan);
        let untrusted = self.is_tainted(call.caller).await?;
        let is_trusted = self.config.trusted.iter().any(|name| name == operation.name);
        let needs_approval = untrusted || !(call.is_person() || is_trusted);
        let Some(apply) = apply else {
            return Ok(Reply::Planned(Planned {
                apply: digest,
                summary: plan.summary,
                is_destructive: plan.is_destructive,
                needs_approval,
            }));
        };
        if apply != digest {
            return Err(Problem::new(
                Kind::Conflict,
                format!(
                    "the world, or the input, is not as it was planned: now it {}; plan it again, without `apply`",
                    plan.summary
                ),
            ));
        }
        let who = &call.caller.who;
        if needs_approval && !self.approvals.take(&digest, who, untrusted).await? {
            if self.approvals.is_refused(&digest, who).await? {
                let detail = format!(
                    "its owner refused that it {}; do not try it again unasked",
                    plan.summary
                );
                return Err(Problem::new(Kind::Forbidden, detail));
            }
            let request = Request {
                digest,
                who: who.to_string(),
                operation: operation.name.to_owned(),
                summary: plan.summary,
                is_destructive: plan.is_destructive,
                untrusted,
            };
            let approval = self.approvals.ask(&request).await.map_err(|error| match error {
                AskError::TooMany => Problem::new(Kind::TooManyRequests, error.to_string()).after(60),
                AskError::Store(error) => error.into(),
            })?;
            return Ok(Reply::Waiting(approval));
        }
        (operation.call)(call, input).await
    }

    /// Remembers that somebody was shown what others wrote.
    ///
    /// # Errors
    /// [`Problem`] when it cannot be written down: then it must not be shown.
    pub(crate) async fn taint(&self, caller: &Caller, operation: &Operation) -> Result<(), Problem> {
        {
            let tainted = self.tainted.lock().unwrap_or_else(PoisonError::into_inner);
            let is_written = |since: &Instant| since.elapsed() < WRITTEN;
            if tainted.get(&caller.who).is_some_and(is_written) {
                return Ok(());
            }
        }
        self.approvals.taint(&caller.who, operation.name).await?;
        let mut tainted = self.tainted.lock().unwrap_or_else(PoisonError::into_inner);
        if tainted.len() >= MOST_REMEMBERED {
            tainted.clear();
        }
        tainted.insert(caller.who.clone(), Instant::now());
        Ok(())
    }

    /// Refuses what acts for the owner, such as approving or making a token, to who may be doing what a text said.
    ///
    /// # Errors
    /// [`Kind::Forbidden`].
    pub(crate) async fn check_untainted(&self, caller: &Caller) -> Result<(), Problem> {
        match self.is_tainted(caller).await? {
            false => Ok(()),
            true => Err(Problem::new(
                Kind::Forbidden,
                "this token has read what others wrote in the last day, and may be doing what that says; use `dkc approve` and `dkc token` on the machine itself",
            )),
        }
    }

    async fn is_tainted(&self, caller: &Caller) -> Result<bool, Problem> {
        Ok(self.approvals.is_tainted(&caller.who).await?)
    }
}

/// The name of exactly this plan of this caller.
fn digest(operation: &Operation, caller: &Caller, input: &Value, plan: &Plan) -> String {
    let named = (
        operation.name,
        &*caller.who,
        continuation::digest(input),
        &plan.summary,
        &plan.state,
        plan.is_destructive,
    );
    let mut digest = blake3::hash(&serde_json::to_vec(&named).unwrap_or_default())
        .to_hex()
        .to_string();
    digest.truncate(DIGEST);
    digest
}
