//! References to secrets, and the only code that looks them up.

use super::mistake::Misconfigured;
use crate::context::expand;
use miette::Report;
use secrecy::{ExposeSecret, SecretString};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How a secret is written in the configuration, said in errors.
pub(super) const FORMS: &str = "write a reference: env:NAME, file:PATH or keyring:SERVICE/USER";

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `env:NAME`: an environment variable.
    Env(String),
    /// `file:PATH`: a file with nothing else in it; one line end at its end is not part of the secret.
    File(PathBuf),
    /// `keyring:SERVICE/USER`: the desktop's secret service.
    Keyring {
        /// Before the first `/`.
        service: String,
        /// After it.
        user: String,
    },
}

/// Why a secret cannot be had. It never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set, or not text.
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    /// The file cannot be read.
    #[error("cannot read the secret in `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The secret is empty.
    #[error("the secret in {0} is empty")]
    Empty(String),
    /// The secret service cannot be asked, or has no such entry.
    #[error("the keyring has no `{user}` of `{service}`: {reason}")]
    Keyring {
        /// The service.
        service: String,
        /// The user.
        user: String,
        /// What it said.
        reason: String,
    },
}

impl SecretError {
    /// What its reader may do.
    pub fn next_step(&self) -> String {
        match self {
            Self::Unset(name) => format!("set it before dkc starts: read -rs {name}; export {name}"),
            Self::File { .. } => "write the secret into it, readable by you alone".to_owned(),
            Self::Empty(_) => "put the secret there".to_owned(),
            Self::Keyring { service, user, .. } => {
                format!("`secret-tool store --label='{service}' service {service} username {user}` adds it")
            }
        }
    }
}

impl Reference {
    /// The reference that `text` is; paths are relative to `folder`. `None` when it is none.
    ///
    /// # Errors
    /// A sentence, when its path cannot be told.
    pub fn parse(text: &str, folder: &Path) -> Option<Result<Self, String>> {
        match text.split_once(':')? {
            ("env", name) if !name.is_empty() && !name.contains(['=', '\0']) => {
                Some(Ok(Self::Env(name.to_owned())))
            }
            ("file", path) if !path.is_empty() => Some(expand(path, folder).map(Self::File)),
            ("keyring", entry) => match entry.split_once('/')? {
                (service, user) if !service.is_empty() && !user.is_empty() => Some(Ok(Self::Keyring {
                    service: service.to_owned(),
                    user: user.to_owned(),
                })),
                _ => None,
            },
            _ => None,
        }
    }

    /// The secret.
    ///
    /// # Errors
    /// [`SecretError`] when it is not where it should be.
    pub fn resolve(&self) -> Result<SecretString, SecretError> {
        let secret: SecretString = match self {
            Self::Env(name) => std::env::var(name)
                .map_err(|_| SecretError::Unset(name.clone()))?
                .into(),
            Self::File(path) => read(path)
                .map_err(|source| SecretError::File {
                    path: path.clone(),
                    source,
                })?
                .into(),
            Self::Keyring { service, user } => {
                let failed = |reason| SecretError::Keyring {
                    service: service.clone(),
                    user: user.clone(),
                    reason,
                };
                from_keyring(service, user).map_err(failed)?.into()
            }
        };
        match secret.expose_secret().is_empty() {
            true => Err(SecretError::Empty(self.to_string())),
            false => Ok(secret),
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "`env:{name}`"),
            Self::File(path) => write!(f, "`file:{}`", path.display()),
            Self::Keyring { service, user } => write!(f, "`keyring:{service}/{user}`"),
        }
    }
}

/// The secret that the text under a key refers to; its path is relative to `folder`.
///
/// # Errors
/// That the text is no reference, or that the secret is not where it should be.
pub fn look_up(key: &str, text: &str, folder: &Path) -> Result<SecretString, Report> {
    let reference = match Reference::parse(text, folder) {
        Some(Ok(reference)) => reference,
        Some(Err(reason)) => return Err(Misconfigured::report(format!("`{key}`: {reason}"), None)),
        None => {
            return Err(Misconfigured::report(
                format!("`{key}` is a secret and must not be in the file"),
                Some(FORMS.to_owned()),
            ));
        }
    };
    reference
        .resolve()
        .map_err(|error| Misconfigured::report(format!("`{key}`: {error}"), Some(error.next_step())))
}

/// More is not a secret but a mistaken path.
const MOST_BYTES: u64 = 64 << 10;

fn read(path: &Path) -> io::Result<String> {
    let file = std::fs::File::open(path)?;
    warn_if_shared(path, &file)?;
    let mut text = String::new();
    file.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(io::Error::other("it is over 64 KiB, so hardly a secret"));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(unix)]
fn warn_if_shared(path: &Path, file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        tracing::warn!("others may read the secret in `{path}`; `chmod 600 {path}` keeps it yours");
    }
    Ok(())
}

#[cfg(not(unix))]
fn warn_if_shared(_: &Path, _: &std::fs::File) -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn from_keyring(service: &str, user: &str) -> Result<String, String> {
    use keyring_core::api::CredentialStoreApi;
    let store = dbus_secret_service_keyring_store::Store::new().map_err(|error| error.to_string())?;
    let entry = store
        .build(service, user, None)
        .map_err(|error| error.to_string())?;
    entry.get_password().map_err(|error| error.to_string())
}

#[cfg(not(target_os = "linux"))]
fn from_keyring(_: &str, _: &str) -> Result<String, String> {
    Err("dkc asks keyrings on Linux only; use env: or file:".to_owned())
}

/// `text` without the secret.
pub(super) fn hide(text: &str, secret: &SecretString) -> String {
    text.replace(secret.expose_secret(), "***")
}
