//! `create_token`: a new token.

use super::list_tokens::TokenState;
use crate::lake::visible;
use crate::operation::{Call, DEV, Effect, Method, Operation, Output, answer, parse};
use crate::problem::Problem;
use crate::toolset;
use jiff::Timestamp;
use schemars::JsonSchema;
use schemas::Role;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use store::tokens::NewToken;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "create_token",
    about: "Makes an API token. Its text is in this answer and nowhere else.",
    effect: Effect::Act,
    roles: DEV,
    method: Method::Post,
    path: "/api/v1/tokens",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<CreateToken>(),
    example: r#"{"name": "reports", "role": "automated", "datasets": ["emails"]}"#,
    output: Output::Json(|types| types.subschema_for::<MadeToken>()),
    toolset: &toolset::OWNER,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&create(call, parse(input)?).await?) }),
};

/// What the token is to be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateToken {
    /// What it is for.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// What it may do.
    role: RoleName,
    /// The datasets it may see; all if absent.
    #[serde(default)]
    datasets: Option<Vec<String>>,
    /// When it ends (RFC 3339); never if absent.
    #[serde(default)]
    expires_at: Option<String>,
    /// How often it may ask.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100_000))]
    requests_per_second: Option<u32>,
}

/// What a token may do.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RoleName {
    /// Data without private columns.
    Public,
    /// All but secrets.
    Automated,
    /// Everything, of its owner.
    User,
    /// Everything, and tokens and the audit log.
    Dev,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Public => Self::Public,
            RoleName::Automated => Self::Automated,
            RoleName::User => Self::User,
            RoleName::Dev => Self::Dev,
        }
    }
}

/// A token, this once with its text.
#[derive(Serialize, JsonSchema)]
struct MadeToken {
    /// Its text: what `Authorization: Bearer` takes.
    text: String,
    /// The token.
    token: TokenState,
}

async fn create(call: Call<'_>, input: CreateToken) -> Result<MadeToken, Problem> {
    for name in input.datasets.iter().flatten() {
        visible(name, &call.caller.view)?;
    }
    let expires_at = input.expires_at.map(|text| {
        let moment: Timestamp = text
            .parse()
            .map_err(|_| Problem::unprocessable("`expires_at` is not a time such as 2027-01-01T00:00:00Z"))?;
        match moment > Timestamp::now() {
            true => Ok(moment),
            false => Err(Problem::unprocessable("`expires_at` must lie in the future")),
        }
    });
    let new = NewToken {
        name: input.name,
        role: input.role.into(),
        datasets: input.datasets,
        expires_at: expires_at.transpose()?.map(Timestamp::as_microsecond),
        requests_per_second: input.requests_per_second,
    };
    let (text, token) = call.gateway.callers.tokens().create(new).await?;
    Ok(MadeToken {
        text: text.expose_secret().to_owned(),
        token: token.into(),
    })
}
