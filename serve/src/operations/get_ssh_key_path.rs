//! `get_ssh_key_path`: where a private key for SSH is, for a program that is told its path.
//!
//! - Not here: what it holds. The private key is never opened; of its public half, the type is read (`vault`).

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::roots::apart;
use crate::toolset;
use crate::vault::{SshKey, Vault};
use schemars::JsonSchema;
use serde::Deserialize;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_ssh_key_path",
    about: "Tells where an SSH key and its public half are, and its type. Never what the private key holds.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/credentials/ssh/{name}",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<GetSshKeyPath>(),
    example: r#"{"name": "id_ed25519"}"#,
    output: Output::Json(|types| types.subschema_for::<SshKey>()),
    toolset: &toolset::SECRETS,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&key(call, parse(input)?).await?) }),
};

/// Which key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetSshKeyPath {
    /// The key's file name, or its path.
    #[schemars(length(min = 1, max = 4096))]
    name: String,
}

async fn key(call: Call<'_>, input: GetSshKeyPath) -> Result<SshKey, Problem> {
    let folders = call.gateway.config.secret_folders.clone();
    apart(call.cancel, move |stop| {
        let vault = Vault::look(&folders, stop);
        let key = vault.ssh_key(&input.name)?;
        Ok(vault.with_public_half(key, &folders))
    })
    .await
}
