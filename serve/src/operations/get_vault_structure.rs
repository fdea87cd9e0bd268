//! `get_vault_structure`: what credentials there are, by name and kind.
//!
//! - Not here: what they hold. Nothing behind this opens them (`vault`).

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::roots::apart;
use crate::toolset;
use crate::vault::{Credential, Vault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_vault_structure",
    about: "Lists the credentials by path, kind and mode, and warns of those that others may read. Never what they hold.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/credentials",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<GetVaultStructure>(),
    example: "{}",
    output: Output::Json(|types| types.subschema_for::<VaultStructure>()),
    toolset: &toolset::SECRETS,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&structure(call, parse(input)?).await?) }),
};

/// Which credentials.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetVaultStructure {
    /// In this folder (absolute); in all if absent.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    folder: Option<String>,
}

/// What credentials there are.
#[derive(Serialize, JsonSchema)]
struct VaultStructure {
    /// The folders.
    folders: Vec<VaultFolder>,
    /// What could not be looked at.
    notes: Vec<String>,
}

/// A folder of credentials.
#[derive(Serialize, JsonSchema)]
struct VaultFolder {
    /// Where it is, absolute.
    path: String,
    /// What is in it, by path; what is in a folder comes after it.
    credentials: Vec<Credential>,
}

async fn structure(call: Call<'_>, input: GetVaultStructure) -> Result<VaultStructure, Problem> {
    let all = &call.gateway.config.secret_folders;
    let folders: Vec<PathBuf> = match &input.folder {
        None => all.clone(),
        Some(folder) => match all.iter().find(|known| *known == Path::new(folder)) {
            Some(known) => vec![known.clone()],
            None => {
                let names = all.iter().filter_map(|known| known.to_str());
                return Err(Problem::not_found("folder of credentials", folder, names));
            }
        },
    };
    apart(call.cancel, move |stop| {
        let (mut told, mut notes) = (Vec::new(), Vec::new());
        for folder in folders {
            let path = folder.to_string_lossy().into_owned();
            let vault = Vault::look(&[folder], stop);
            notes.extend(vault.notes);
            told.push(VaultFolder {
                path,
                credentials: vault.credentials,
            });
        }
        Ok(VaultStructure { folders: told, notes })
    })
    .await
}
