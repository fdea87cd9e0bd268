//! Where credentials are, of what kind, and who may read them; never what they hold.
//!
//! - In: the folders of credentials. Out: names, kinds, modes, times.
//! - One function here opens a file, [`key_type`]: a regular file whose name ends with `.pub`, over no link, for the
//!   first word in it, and that is told only if it is the name of a type of key.
//! - Not here: anything that reads or writes a credential.

use crate::problem::Problem;
use crate::roots::beneath::{Beneath, EntryKind, Links};
use crate::roots::modified_at;
use schemars::JsonSchema;
use serde::Serialize;
use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// Entries that are looked at in all folders together, and levels beneath each.
const MOST: (usize, usize) = (5_000, 8);

/// The types of keys (IANA, and those of OpenSSH for hardware).
const KEY_TYPES: &[&str] = &[
    "ssh-ed25519",
    "ssh-rsa",
    "ssh-dss",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// What a credential is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CredentialKind {
    /// A private key for SSH.
    SshPrivateKey,
    /// The public half of one.
    SshPublicKey,
    /// A certificate for SSH.
    SshCertificate,
    /// Settings of SSH: hosts, keys that may enter.
    SshSettings,
    /// A private key, or a certificate with it.
    Key,
    /// A certificate.
    Certificate,
    /// A store of keys with a password.
    Keystore,
    /// A database of passwords.
    PasswordDatabase,
    /// Something encrypted.
    Encrypted,
    /// Variables of an environment.
    Environment,
    /// Credentials of a cloud or a service.
    ServiceCredentials,
    /// Passwords for servers: netrc, pgpass.
    Passwords,
    /// A token.
    Token,
    /// A folder.
    Folder,
    /// A link, which is not followed.
    Link,
    /// Something else.
    Other,
}

impl CredentialKind {
    fn of(name: &str, kind: EntryKind, has_public_half: bool) -> Self {
        match kind {
            EntryKind::Folder => return Self::Folder,
            EntryKind::Link => return Self::Link,
            EntryKind::Other => return Self::Other,
            EntryKind::File => {}
        }
        let name = name.to_ascii_lowercase();
        let ends = |all: &[&str]| all.iter().any(|end| name.ends_with(end));
        let begins = |all: &[&str]| all.iter().any(|begin| name.starts_with(begin));
        let is = |all: &[&str]| all.contains(&name.as_str());
        if ends(&["-cert.pub"]) {
            Self::SshCertificate
        } else if ends(&[".pub"]) {
            Self::SshPublicKey
        } else if has_public_half
            || is(&[
                "id_rsa",
                "id_dsa",
                "id_ecdsa",
                "id_ecdsa_sk",
                "id_ed25519",
                "id_ed25519_sk",
                "identity",
            ])
        {
            Self::SshPrivateKey
        } else if is(&["config", "known_hosts", "known_hosts.old", "authorized_keys"]) {
            Self::SshSettings
        } else if ends(&[".crt", ".cer", ".der"]) {
            Self::Certificate
        } else if ends(&[".pem", ".key", ".p8", ".ppk"]) {
            Self::Key
        } else if ends(&[".p12", ".pfx", ".jks", ".keystore"]) {
            Self::Keystore
        } else if ends(&[".kdbx", ".kdb", ".1pif", ".agilekeychain"]) {
            Self::PasswordDatabase
        } else if ends(&[".gpg", ".pgp", ".asc", ".age", ".enc"]) {
            Self::Encrypted
        } else if begins(&[".env"]) || ends(&[".env"]) {
            Self::Environment
        } else if begins(&[
            "credentials",
            ".credentials",
            "client_secret",
            "service-account",
            "service_account",
        ]) || is(&["kubeconfig", "application_default_credentials.json"])
        {
            Self::ServiceCredentials
        } else if is(&[
            ".netrc",
            "_netrc",
            ".pgpass",
            ".my.cnf",
            ".htpasswd",
            ".git-credentials",
        ]) || name.contains("password")
        {
            Self::Passwords
        } else if name.contains("token") {
            Self::Token
        } else {
            Self::Other
        }
    }
}

/// A file, folder or link in a folder of credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Credential {
    /// Where it is, absolute.
    pub(crate) path: String,
    /// Its path in its folder of credentials.
    pub(crate) name: String,
    /// What it is, by its name.
    pub(crate) kind: CredentialKind,
    /// Its bytes, of a file.
    pub(crate) size_bytes: Option<u64>,
    /// Its mode, octal, such as `0600`.
    pub(crate) mode: String,
    /// When it was changed last.
    pub(crate) modified_at: Option<String>,
    /// Whether others than its owner may read it.
    pub(crate) is_readable_by_others: bool,
    /// What is wrong with it.
    pub(crate) warning: Option<String>,
}

impl Credential {
    /// Whether it is a private key for SSH by its name, or a file in a `.ssh` whose name says nothing else: keys have any
    /// name, and their public halves need not be there.
    fn may_be_ssh_key(&self) -> bool {
        let is_in_ssh = || {
            let mut parts = Path::new(&self.path).components();
            parts.any(|part| part.as_os_str() == ".ssh")
        };
        match self.kind {
            CredentialKind::SshPrivateKey => true,
            // Only files have a size.
            CredentialKind::Key | CredentialKind::Other => self.size_bytes.is_some() && is_in_ssh(),
            _ => false,
        }
    }
}

/// What is in folders of credentials.
#[derive(Debug, Default)]
pub(crate) struct Vault {
    /// All of it, by folder and path.
    pub(crate) credentials: Vec<Credential>,
    /// What could not be looked at.
    pub(crate) notes: Vec<String>,
}

/// A private key for SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct SshKey {
    /// The private key, absolute.
    pub(crate) private_key: String,
    /// Its public half, absolute.
    pub(crate) public_key: Option<String>,
    /// The type of the key, as its public half says.
    pub(crate) key_type: Option<String>,
    /// The mode of the private key, octal.
    pub(crate) mode: String,
    /// Whether others than its owner may read it; then ssh does not take it.
    pub(crate) is_readable_by_others: bool,
    /// What is wrong with it.
    pub(crate) warning: Option<String>,
}

impl Vault {
    /// Looks at folders. Names are listed, and no file is opened.
    pub(crate) fn look(folders: &[PathBuf], stop: &CancellationToken) -> Self {
        let mut vault = Self::default();
        for folder in folders {
            let Ok(beneath) = Beneath::at(folder) else {
                vault
                    .notes
                    .push(format!("`{}` cannot be opened", folder.display()));
                continue;
            };
            vault.look_into(&beneath, folder, Path::new(""), MOST.1, stop);
        }
        vault
    }

    fn look_into(
        &mut self,
        beneath: &Beneath,
        folder: &Path,
        within: &Path,
        levels: usize,
        stop: &CancellationToken,
    ) {
        let room = MOST.0.saturating_sub(self.credentials.len());
        let listed = beneath
            .pin(within, Links::Never)
            .and_then(|folder| folder.list(room));
        let Ok((entries, has_more)) = listed else {
            self.notes
                .push(format!("`{}` cannot be opened", folder.join(within).display()));
            return;
        };
        if has_more {
            let place = folder.join(within);
            self.notes.push(format!(
                "`{}` has more; {} entries are told in all",
                place.display(),
                MOST.0
            ));
        }
        for entry in &entries {
            if stop.is_cancelled() || self.credentials.len() >= MOST.0 {
                return;
            }
            let path = within.join(&entry.name);
            let Ok(about) = beneath.pin(&path, Links::Never).and_then(|pinned| pinned.about()) else {
                self.notes
                    .push(format!("`{}` cannot be looked at", folder.join(&path).display()));
                continue;
            };
            let name = entry.name.to_string_lossy();
            let public = format!("{name}.pub");
            let has_public_half = entries
                .iter()
                .any(|other| other.kind == EntryKind::File && other.name == *public.as_str());
            let kind = CredentialKind::of(&name, EntryKind::of(&about), has_public_half);
            self.credentials.push(credential(folder, &path, kind, &about));
            if about.is_dir() {
                match levels.checked_sub(1) {
                    Some(levels) => self.look_into(beneath, folder, &path, levels, stop),
                    None => {
                        let place = folder.join(&path);
                        self.notes
                            .push(format!("`{}` is too deep to be looked into", place.display()));
                    }
                }
            }
        }
    }

    /// Those whose file name, path in their folder, or absolute path this is, letter for letter.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &Credential> {
        self.credentials.iter().filter(move |credential| {
            credential.kind != CredentialKind::Folder
                && (credential.name == name
                    || credential.path == name
                    || credential.name.rsplit('/').next() == Some(name))
        })
    }

    /// The private keys for SSH of a name, which may be that of their public halves.
    ///
    /// # Errors
    /// [`Problem`] when there is none, or more than one.
    pub(crate) fn ssh_key(&self, name: &str) -> Result<&Credential, Problem> {
        let is_key = |credential: &&Credential| credential.may_be_ssh_key();
        let name = name.strip_suffix(".pub").unwrap_or(name);
        let mut found = self.named(name).filter(is_key);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (Some(one), Some(other)) => Err(Problem::unprocessable(format!(
                "there are several, such as `{}` and `{}`: give the whole path",
                one.path, other.path
            ))),
            (None, _) => {
                let keys = self.credentials.iter().filter(is_key);
                let names = keys.map(|key| key.name.as_str());
                Err(Problem::not_found("SSH key", name, names))
            }
        }
    }

    /// A private key with what its public half tells.
    pub(crate) fn with_public_half(&self, private: &Credential, folders: &[PathBuf]) -> SshKey {
        let path = format!("{}.pub", private.path);
        let public = self.credentials.iter().find(|other| other.path == path);
        let key_type = public.and_then(|public| key_type(folders, public));
        SshKey {
            private_key: private.path.clone(),
            public_key: public.map(|public| public.path.clone()),
            key_type: key_type.map(str::to_owned),
            mode: private.mode.clone(),
            is_readable_by_others: private.is_readable_by_others,
            warning: private.warning.clone(),
        }
    }
}

fn credential(folder: &Path, path: &Path, kind: CredentialKind, about: &Metadata) -> Credential {
    let mode = about.permissions().mode() & 0o7777;
    let is_public = matches!(
        kind,
        CredentialKind::SshPublicKey | CredentialKind::SshCertificate | CredentialKind::Certificate
    );
    // The mode of a link is not that of what it leads to.
    let is_readable_by_others = !about.is_symlink() && mode & 0o044 != 0;
    let warning = (is_readable_by_others && about.is_file() && !is_public)
        .then(|| "others than its owner may read it; mode 0600 would end that".to_owned());
    Credential {
        path: folder.join(path).to_string_lossy().into_owned(),
        name: path.to_string_lossy().into_owned(),
        kind,
        size_bytes: about.is_file().then_some(about.len()),
        mode: format!("{mode:04o}"),
        modified_at: modified_at(about),
        is_readable_by_others,
        warning,
    }
}

/// The type of a public key. The only function here that opens a file; see the top.
fn key_type(folders: &[PathBuf], public: &Credential) -> Option<&'static str> {
    if public.kind != CredentialKind::SshPublicKey || !public.path.ends_with(".pub") {
        return None;
    }
    let path = Path::new(&public.path);
    let folder = folders.iter().find(|folder| path.starts_with(folder))?;
    let pinned = Beneath::at(folder)
        .and_then(|beneath| beneath.pin(path.strip_prefix(folder).unwrap_or(path), Links::Never))
        .ok()?;
    // Were it renamed in this moment, it might be another file.
    if !pinned
        .place()
        .ok()?
        .as_os_str()
        .as_encoded_bytes()
        .ends_with(b".pub")
    {
        return None;
    }
    let mut first = Vec::new();
    // The longest name of a type has 34 letters; what comes after is no business of ours.
    pinned.open().ok()?.take(40).read_to_end(&mut first).ok()?;
    let word = first.split(|byte| *byte == b' ').next()?;
    KEY_TYPES.iter().copied().find(|name| name.as_bytes() == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn with(files: &[(&str, &str, u32)]) -> (TempDir, Vec<PathBuf>, Vault) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text, mode) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
        }
        let folders = vec![folder.path().to_owned()];
        let vault = Vault::look(&folders, &CancellationToken::new());
        (folder, folders, vault)
    }

    #[test]
    fn kinds_and_modes_are_told() {
        let (folder, _, vault) = with(&[
            (".env", "K=hunter2", 0o644),
            ("ssh/deploy", "hunter2", 0o600),
            ("ssh/deploy.pub", "ssh-ed25519 AAAA me@x", 0o644),
            ("site.pem", "hunter2", 0o600),
            ("a.kdbx", "hunter2", 0o640),
        ]);
        let told: Vec<_> = vault
            .credentials
            .iter()
            .map(|one| {
                (
                    one.name.as_str(),
                    one.kind,
                    one.mode.as_str(),
                    one.warning.is_some(),
                )
            })
            .filter(|one| one.1 != CredentialKind::Folder)
            .collect();
        let expected = [
            (".env", CredentialKind::Environment, "0644", true),
            ("a.kdbx", CredentialKind::PasswordDatabase, "0640", true),
            ("site.pem", CredentialKind::Key, "0600", false),
            ("ssh/deploy", CredentialKind::SshPrivateKey, "0600", false),
            ("ssh/deploy.pub", CredentialKind::SshPublicKey, "0644", false),
        ];
        assert_eq!(told, expected);
        assert!(!format!("{vault:?}").contains("hunter2"));
        let absolute = folder.path().join("ssh/deploy");
        for name in ["deploy", "ssh/deploy", absolute.to_str().unwrap()] {
            assert_eq!(vault.named(name).count(), 1, "{name}");
        }
        for name in ["Deploy", "eploy", "ssh", "../ssh/deploy", "", "/etc/passwd"] {
            assert_eq!(vault.named(name).count(), 0, "{name}");
        }
    }

    #[test]
    fn a_key_is_found_with_its_public_half() {
        let (folder, folders, vault) = with(&[
            ("id_ed25519", "hunter2", 0o600),
            ("id_ed25519.pub", "ssh-ed25519 AAAA me@x\n", 0o644),
            ("id_rsa", "hunter2", 0o644),
            ("one/same", "", 0o600),
            ("one/same.pub", "hunter2 is no type\n", 0o644),
            ("two/same", "", 0o600),
            ("two/same.pub", "ssh-rsa AAAA\n", 0o644),
        ]);
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for name in ["id_ed25519", "id_ed25519.pub"] {
            let key = vault.with_public_half(vault.ssh_key(name).unwrap(), &folders);
            assert_eq!(key.private_key, path("id_ed25519"));
            assert_eq!(key.public_key, Some(path("id_ed25519.pub")));
            assert_eq!(key.key_type.as_deref(), Some("ssh-ed25519"));
        }
        let alone = vault.with_public_half(vault.ssh_key("id_rsa").unwrap(), &folders);
        assert_eq!(
            (alone.public_key, alone.key_type, alone.warning.is_some()),
            (None, None, true)
        );
        assert!(vault.ssh_key("same").unwrap_err().detail.contains("several"));
        let one = vault.with_public_half(vault.ssh_key("one/same").unwrap(), &folders);
        assert_eq!((one.public_key, one.key_type), (Some(path("one/same.pub")), None));
        let two = vault.with_public_half(vault.ssh_key(&path("two/same")).unwrap(), &folders);
        assert_eq!(two.key_type.as_deref(), Some("ssh-rsa"));
        assert!(
            vault
                .ssh_key("id_ed25518")
                .unwrap_err()
                .detail
                .contains("did you mean `id_ed25519`")
        );
    }

    #[test]
    fn in_a_folder_of_ssh_keys_have_any_name() {
        let (folder, folders, vault) = with(&[
            (".ssh/aws.pem", "hunter2", 0o600),
            (".ssh/deploy_key", "hunter2", 0o600),
            (".ssh/config", "Host x", 0o600),
            ("site.pem", "hunter2", 0o600),
            ("notes", "hunter2", 0o600),
        ]);
        for name in ["aws.pem", "deploy_key", ".ssh/deploy_key"] {
            let key = vault.with_public_half(vault.ssh_key(name).unwrap(), &folders);
            let file = name.rsplit('/').next().unwrap();
            let path = folder.path().join(".ssh").join(file);
            assert_eq!(key.private_key, path.to_str().unwrap());
            assert_eq!((key.public_key, key.key_type), (None, None));
        }
        for name in ["config", "site.pem", "notes", ".ssh"] {
            assert!(vault.ssh_key(name).is_err(), "{name}");
        }
    }

    #[test]
    fn links_are_named_and_not_followed() {
        let (folder, folders, _) = with(&[("id_rsa", "ssh-rsa hunter2", 0o600), ("sub/x", "", 0o600)]);
        symlink("id_rsa", folder.path().join("id_rsa.pub")).unwrap();
        symlink("/etc", folder.path().join("etc")).unwrap();
        let vault = Vault::look(&folders, &CancellationToken::new());
        let key = vault.with_public_half(vault.ssh_key("id_rsa").unwrap(), &folders);
        assert_eq!(key.key_type, None);
        assert_eq!(vault.named("passwd").count(), 0);
        let kinds: Vec<_> = vault
            .credentials
            .iter()
            .map(|one| (one.name.as_str(), one.kind))
            .collect();
        assert!(kinds.contains(&("etc", CredentialKind::Link)), "{kinds:?}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_to_be() {
        let vault = Vault::look(&["/no/such/folder".into()], &CancellationToken::new());
        assert_eq!((vault.credentials.len(), vault.notes.len()), (0, 1));
    }
}
