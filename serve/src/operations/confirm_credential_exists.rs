//! `confirm_credential_exists`: whether there is a credential of a name, and who may read it.
//!
//! - Not here: what it holds. Nothing behind this opens it (`vault`).

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::roots::apart;
use crate::toolset;
use crate::vault::{Credential, Vault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "confirm_credential_exists",
    about: "Tells whether a credential of a name exists, where, of what kind, and who may read it. Never what it holds.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/credentials/{name}",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ConfirmCredentialExists>(),
    example: r#"{"name": "id_ed25519"}"#,
    output: Output::Json(|types| types.subschema_for::<CredentialState>()),
    toolset: &toolset::SECRETS,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&confirm(call, parse(input)?).await?) }),
};

/// Which credential.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConfirmCredentialExists {
    /// A file's name, or its path, letter for letter.
    #[schemars(length(min = 1, max = 4096))]
    name: String,
}

/// Whether a credential exists.
#[derive(Serialize, JsonSchema)]
struct CredentialState {
    /// Whether it exists.
    exists: bool,
    /// All of that name.
    credentials: Vec<Credential>,
    /// What could not be looked at.
    notes: Vec<String>,
}

async fn confirm(call: Call<'_>, input: ConfirmCredentialExists) -> Result<CredentialState, Problem> {
    let folders = call.gateway.config.secret_folders.clone();
    apart(call.cancel, move |stop| {
        let vault = Vault::look(&folders, stop);
        let credentials: Vec<Credential> = vault.named(&input.name).cloned().collect();
        Ok(CredentialState {
            exists: !credentials.is_empty(),
            credentials,
            notes: vault.notes,
        })
    })
    .await
}
