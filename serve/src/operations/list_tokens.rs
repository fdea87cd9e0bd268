//! `list_tokens`: who may ask.

use crate::operation::{Call, DEV, Effect, Method, Operation, Output, answer, parse, written};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::tokens::Token;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_tokens",
    about: "Lists the API tokens: name, role, datasets, expiry, last use; never their text.",
    effect: Effect::Read,
    roles: DEV,
    method: Method::Get,
    path: "/api/v1/tokens",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListTokens>(),
    example: r#"{}"#,
    output: Output::Json(|types| types.subschema_for::<TokenList>()),
    toolset: &toolset::OWNER,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListTokens {}

/// The tokens.
#[derive(Serialize, JsonSchema)]
struct TokenList {
    /// The tokens, revoked and expired ones too.
    tokens: Vec<TokenState>,
}

/// A token, without its text.
#[derive(Serialize, JsonSchema)]
pub(super) struct TokenState {
    /// The first characters after `dkc_`; its name in the audit log.
    id: String,
    /// What it is for.
    name: String,
    /// Its role.
    role: &'static str,
    /// The datasets it may see; all if absent.
    datasets: Option<Vec<String>>,
    /// When it was made.
    created_at: Option<String>,
    /// When it ends.
    expires_at: Option<String>,
    /// When it was last used, to about a minute.
    last_used_at: Option<String>,
    /// When it was revoked.
    revoked_at: Option<String>,
    /// How often it may ask.
    requests_per_second: Option<u32>,
}

impl From<Token> for TokenState {
    fn from(token: Token) -> Self {
        let time = |at: Option<i64>| at.and_then(written);
        Self {
            role: token.role.as_str(),
            created_at: time(Some(token.created_at)),
            expires_at: time(token.expires_at),
            last_used_at: time(token.last_used_at),
            revoked_at: time(token.revoked_at),
            id: token.id,
            name: token.name,
            datasets: token.datasets,
            requests_per_second: token.requests_per_second,
        }
    }
}

async fn list(call: Call<'_>, _: ListTokens) -> Result<TokenList, Problem> {
    let tokens = call.gateway.callers.tokens().list().await?;
    Ok(TokenList {
        tokens: tokens.into_iter().map(TokenState::from).collect(),
    })
}
