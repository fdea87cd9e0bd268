//! `confirm_credential_exists`: whether there is a credential of a name, and who may read it.
//!
//! - Not here: what it holds. Nothing behind this opens it (`vault`).

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::roots::apart;
use crate::toolset;
use crate::vault::{Credential, CredentialKind, Vault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Names that are told as near.
const MOST_NEAR: usize = 5;

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
    /// What could not be looked at; if there is none, where it was looked for, and names that begin so.
    notes: Vec<String>,
}

async fn confirm(call: Call<'_>, input: ConfirmCredentialExists) -> Result<CredentialState, Problem> {
    let folders = call.gateway.config.secret_folders.clone();
    apart(call.cancel, move |stop| {
        let vault = Vault::look(&folders, stop);
        Ok(state(vault, &folders, &input.name))
    })
    .await
}

fn state(mut vault: Vault, folders: &[PathBuf], name: &str) -> CredentialState {
    let credentials: Vec<Credential> = vault.named(name).cloned().collect();
    if credentials.is_empty() {
        let looked = where_looked(folders);
        let near = near(&vault, name);
        vault.notes.extend([Some(looked), near].into_iter().flatten());
    }
    CredentialState {
        exists: !credentials.is_empty(),
        credentials,
        notes: vault.notes,
    }
}

/// Which folders were looked in, by their last parts.
fn where_looked(folders: &[PathBuf]) -> String {
    let last = |folder: &PathBuf| format!("`{}`", folder.file_name().unwrap_or_default().to_string_lossy());
    let names: Vec<String> = folders.iter().map(last).collect();
    format!(
        "it was looked for in {}: only the folders of `serve.agents.secrets` are looked at",
        names.join(", ")
    )
}

/// Names that begin with what was asked for, in any case of letters.
fn near(vault: &Vault, name: &str) -> Option<String> {
    let wanted = name.to_lowercase();
    let begins = |credential: &&Credential| {
        let path = credential.name.to_lowercase();
        let last = path.rsplit('/').next().unwrap_or_default();
        credential.kind != CredentialKind::Folder && (last.starts_with(&wanted) || path.starts_with(&wanted))
    };
    let found = vault.credentials.iter().filter(begins).take(MOST_NEAR);
    let names: Vec<String> = found.map(|near| format!("`{}`", near.name)).collect();
    (!names.is_empty()).then(|| format!("did you mean {}?", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;

    #[test]
    fn what_is_not_there_is_told_with_where_it_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let ssh = folder.path().join("ssh");
        std::fs::create_dir_all(ssh.join("deploy")).unwrap();
        std::fs::write(ssh.join("deploy/Deploy_key"), "").unwrap();
        let folders = vec![ssh];
        let asked = |name: &str| state(Vault::look(&folders, &CancellationToken::new()), &folders, name);
        let there = asked("Deploy_key");
        assert!(there.exists && there.notes.is_empty(), "{:?}", there.notes);
        let near = asked("deploy");
        assert!(!near.exists);
        assert!(near.notes[0].contains("looked for in `ssh`:"), "{:?}", near.notes);
        assert_eq!(near.notes[1], "did you mean `deploy/Deploy_key`?");
        let nothing = asked("eploy");
        assert_eq!(nothing.notes.len(), 1, "{:?}", nothing.notes);
        assert!(!nothing.notes[0].contains(folder.path().to_str().unwrap()));
    }
}
