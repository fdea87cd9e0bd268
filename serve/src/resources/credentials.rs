//! `dkc://secrets-manager`: where credentials are, and of what kind; never what they hold.
//!
//! - In: the operations of this family. Out: the addresses of what they answer. Not here: what they do (`operations`).

use super::{Entry, Resource, Variable};
use crate::toolset;

/// The resource.
pub(crate) const RESOURCE: Resource = Resource {
    toolset: &toolset::SECRETS,
    entries: &[
        Entry {
            uri: "dkc://secrets-manager",
            name: "secrets-manager",
            title: "Credentials",
            about: "The credentials by path, kind and mode.",
            operation: "get_vault_structure",
            fixed: &[],
            variables: &[],
        },
        Entry {
            uri: "dkc://secrets-manager/credential/{name}",
            name: "secrets-manager-credential",
            title: "A credential",
            about: "Whether a credential exists, where, and who may read it.",
            operation: "confirm_credential_exists",
            fixed: &[],
            variables: &[Variable::free("name")],
        },
        Entry {
            uri: "dkc://secrets-manager/ssh-key/{name}",
            name: "secrets-manager-ssh-key",
            title: "An SSH key",
            about: "Where an SSH key and its public half are.",
            operation: "get_ssh_key_path",
            fixed: &[],
            variables: &[Variable::free("name")],
        },
    ],
};
