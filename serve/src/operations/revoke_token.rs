//! `revoke_token`: an end to a token.

use crate::operation::{Call, DEV, Effect, Method, Operation, Output, answer, parse};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "revoke_token",
    about: "Revokes an API token: from now on it is refused.",
    effect: Effect::Act,
    roles: DEV,
    method: Method::Delete,
    path: "/api/v1/tokens/{token}",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<RevokeToken>(),
    example: r#"{"token": "the id of a token"}"#,
    output: Output::Json(|types| types.subschema_for::<RevokedToken>()),
    toolset: &toolset::OWNER,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&revoke(call, parse(input)?).await?) }),
};

/// Which token.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RevokeToken {
    /// Its id.
    token: String,
}

/// The token that was revoked.
#[derive(Serialize, JsonSchema)]
struct RevokedToken {
    /// Its id.
    revoked: String,
}

async fn revoke(call: Call<'_>, input: RevokeToken) -> Result<RevokedToken, Problem> {
    let callers = &call.gateway.callers;
    if !callers.tokens().revoke(&input.token).await? {
        return Err(Problem::not_found("live token", &input.token, std::iter::empty()));
    }
    callers.forget();
    Ok(RevokedToken { revoked: input.token })
}
