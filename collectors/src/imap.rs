//! `imap`: mail over IMAP4rev1 (RFC 3501), read-only: folders are opened with `EXAMINE`, bodies are peeked at.
//!
//! - In: one account. Out: originals of type `message/rfc822`, a location `FOLDER/UIDVALIDITY/UID` each.
//! - Cursor: UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ (RFC 7162) and number of messages of each folder. A folder with
//!   the same four is not opened. A new UIDVALIDITY starts its folder again; messages known by their fingerprint
//!   (header, size, arrival) are not downloaded again, wherever they moved.
//! - A connection that breaks is made again, and the run goes on where it broke off.
//! - Not here: identity of items (`mailbox`), conversion, resolving secrets, refreshing access tokens.

mod connection;
mod failure;
mod fingerprint;
mod folders;
mod limit;
mod pace;
mod sign_in;
mod state;
mod walk;

use crate::collect::{Collector, Descriptor, Known, Sink};
use crate::error::{CollectError, ConfigError};
use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use connection::Connection;
use schemars::JsonSchema;
use schemas::Cursor;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use walk::Walk;

/// `kind = "imap"`.
pub const DESCRIPTOR: Descriptor = Descriptor {
    kind: "imap",
    about: "Mail of an account on a server, over IMAP, without changing anything there.",
    example: "dkc add imap host=mail.example.org user=me password=env:IMAP_PASSWORD name=inbox",
    datasets: &["emails", "email_attachments"],
    secrets: &["password"],
    paths: &["ca_file"],
    schema: || schemars::schema_for!(ImapConfig),
    doubt: |_| None,
    build,
};

/// A `source` table with `kind = "imap"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ImapConfig {
    /// Server name or address, without a port.
    host: String,
    /// Port; by default 993 with `tls = "implicit"`, else 143.
    port: Option<u16>,
    /// Signs in to `host`.
    user: String,
    /// Password of `user`, or the access token with `auth = "xoauth2"`; never printed.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String")]
    password: SecretString,
    /// How the connection is encrypted.
    #[serde(default)]
    tls: Tls,
    /// PEM file of certificates to trust beside those of the system.
    ca_file: Option<PathBuf>,
    /// How `user` signs in.
    #[serde(default)]
    auth: Auth,
    /// Folders to collect, `*` for any characters, `?` for one; by default all.
    #[serde(default)]
    folders: Vec<String>,
    /// Folders to leave out, such as `[Gmail]/All Mail`; takes precedence over `folders`.
    #[serde(default)]
    exclude: Vec<String>,
    /// Larger messages are not downloaded but listed in `rejects`.
    #[serde(default = "sixty_four_mebibytes")]
    max_message_bytes: u32,
    /// How long the server may be silent while it owes a reply.
    #[serde(default = "one_minute")]
    reply_timeout_secs: NonZeroU64,
    /// Allows `tls = "none"` with a server on another machine: password and mail can be read on the way.
    #[serde(default)]
    allow_plaintext: bool,
}

/// How the connection is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Tls {
    /// From the first byte (RFC 8314 §3.2).
    #[default]
    Implicit,
    /// After the greeting, before signing in (RFC 3501 §6.2.1).
    #[serde(rename = "starttls")]
    AfterGreeting,
    /// Not at all: for a server on this machine.
    None,
}

/// How the user signs in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Auth {
    /// With user name and password (RFC 3501 §6.2.3).
    #[default]
    Login,
    /// With an OAuth 2.0 access token, as Google and Microsoft take it.
    XOAuth2,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

fn sixty_four_mebibytes() -> u32 {
    64 << 20
}

fn one_minute() -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(59)
}

impl ImapConfig {
    fn port(&self) -> u16 {
        self.port
            .unwrap_or(if self.tls == Tls::Implicit { 993 } else { 143 })
    }

    fn reply_timeout(&self) -> Duration {
        Duration::from_secs(self.reply_timeout_secs.get())
    }
}

fn build(table: toml_edit::Table) -> Result<Box<dyn Collector>, ConfigError> {
    let config: ImapConfig = toml_edit::de::from_document(toml_edit::DocumentMut::from(table))?;
    if config.host.is_empty() {
        let message = "`host` is empty; write the name or address of the server".to_owned();
        return Err(ConfigError { message, span: None });
    }
    let is_here = config.host.eq_ignore_ascii_case("localhost")
        || config
            .host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
    if config.tls == Tls::None && !is_here && !config.allow_plaintext {
        let message = format!(
            "`tls = \"none\"` would show the password and all mail to everyone between here and `{}`; \
             use `tls = \"implicit\"` or \"starttls\", or say `allow_plaintext = true`",
            config.host
        );
        return Err(ConfigError { message, span: None });
    }
    Ok(Box::new(Imap { config }))
}

struct Imap {
    config: ImapConfig,
}

/// Five more attempts within about three seconds; whatever lasts longer is for the schedule.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(2))
    .with_max_times(5);

#[async_trait]
impl Collector for Imap {
    async fn collect(
        &mut self,
        from: Option<Cursor>,
        known: Arc<Known>,
        sink: Sink,
    ) -> Result<(), CollectError> {
        let mut walk = Walk::new(&self.config, from, known, sink);
        let mut delays = BACKOFF.build();
        let mut was_silent = false;
        loop {
            let before = walk.steps();
            let error = match self.attempt(&mut walk).await {
                Ok(()) => return walk.finish().await,
                Err(error) => error,
            };
            if !walk.may_go_on_after(&error) {
                return Err(error);
            }
            if walk.steps() > before {
                (delays, was_silent) = (BACKOFF.build(), false);
            }
            // Silence costs a whole timeout each time: twice in a row is enough.
            if is_silence(&error) && std::mem::replace(&mut was_silent, true) {
                return Err(error);
            }
            let Some(delay) = delays.next() else {
                return Err(error);
            };
            tracing::debug!(host = self.config.host, %error, ?delay, "connecting again");
            tokio::time::sleep(delay).await;
        }
    }
}

fn is_silence(error: &CollectError) -> bool {
    let CollectError::Disconnected { source, .. } = error else {
        return false;
    };
    source
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
}

impl Imap {
    /// Walks as far as one connection carries.
    async fn attempt(&self, walk: &mut Walk) -> Result<(), CollectError> {
        let mut connection = Connection::open(&self.config).await?;
        walk.visit(&mut connection).await?;
        connection.leave().await;
        Ok(())
    }
}
