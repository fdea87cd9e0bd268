//! Alerts by mail: one for all that is to be told, in plain text.
//!
//! - It says that a program sends it (`Auto-Submitted`, RFC 3834 §5), so that no program answers it.
//! - Not here: how the mail goes on from the server that takes it.

use super::Message;
use super::channel::{ChannelError, Patience};
use super::text;
use backon::Retryable as _;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls as Encryption, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use secrecy::{ExposeSecret as _, SecretString};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How a mail server is spoken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Encrypted from the first byte (RFC 8314 §3.3).
    Implicit,
    /// Encrypted before anything is said that matters (RFC 3207); never in clear.
    StartTls,
    /// In clear; for a server on this machine.
    None,
}

/// The mail server, and who gets what.
#[derive(Debug, Clone)]
pub struct Smtp {
    /// Its name; its certificate has to be of that.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken with.
    pub tls: Tls,
    /// Who signs in, if anybody does.
    pub user: Option<String>,
    /// The password of the user.
    pub password: Option<SecretString>,
    /// Who it is from: `dkc@example.org`, or `DKC <dkc@example.org>`.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
    /// A PEM file of certificates to trust beside those of the system.
    pub ca_file: Option<PathBuf>,
}

impl Smtp {
    pub(super) async fn send(&self, messages: &[Message], patience: &Patience) -> Result<(), ChannelError> {
        // One mail with one id, however often it is tried: a server that took it twice knows it again.
        let mail = self.mail(messages)?;
        let envelope = mail.envelope().clone();
        let bytes = mail.formatted();
        let smtp = self.clone();
        // Certificates are read from files.
        let server = tokio::task::spawn_blocking(move || smtp.server()).await??;
        let once = || async {
            let sending = server.send_raw(&envelope, &bytes);
            match tokio::time::timeout(patience.mail, sending).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(ChannelError::Server(error)),
                Err(_) => Err(ChannelError::TooLong(patience.mail)),
            }
        };
        once.retry(patience.pauses())
            .when(ChannelError::is_transient)
            .await
    }

    fn mail(&self, messages: &[Message]) -> Result<lettre::Message, ChannelError> {
        let mut mail = lettre::Message::builder()
            .from(mailbox(&self.from)?)
            .subject(text::subject(messages))
            .message_id(None)
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for to in &self.to {
            mail = mail.to(mailbox(to)?);
        }
        Ok(mail.singlepart(SinglePart::plain(text::mail(messages)))?)
    }

    fn server(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, ChannelError> {
        let credentials = self.user.clone().zip(self.password.as_ref());
        if self.tls == Tls::None && credentials.is_some() && !is_here(&self.host) {
            return Err(ChannelError::Plaintext);
        }
        let tls = match self.tls {
            Tls::Implicit => Encryption::Wrapper(self.parameters()?),
            Tls::StartTls => Encryption::Required(self.parameters()?),
            Tls::None => Encryption::None,
        };
        let server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host.as_str())
            .port(self.port)
            .tls(tls)
            // Of connecting alone; the whole has a time of its own.
            .timeout(Some(Duration::from_secs(10)));
        let server = match credentials {
            Some((user, password)) => {
                server.credentials(Credentials::new(user, password.expose_secret().to_owned()))
            }
            None => server,
        };
        Ok(server.build())
    }

    fn parameters(&self) -> Result<TlsParameters, ChannelError> {
        let mut parameters = TlsParameters::builder(self.host.clone());
        if let Some(path) = &self.ca_file {
            let unreadable = |error| ChannelError::Certificates(path.clone(), error);
            let pem = std::fs::read(path).map_err(unreadable)?;
            let certificate = Certificate::from_pem(&pem).map_err(ChannelError::Server)?;
            parameters = parameters.add_root_certificate(certificate);
        }
        parameters.build_rustls().map_err(ChannelError::Server)
    }
}

fn mailbox(address: &str) -> Result<Mailbox, ChannelError> {
    address
        .parse()
        .map_err(|_| ChannelError::Mailbox(address.to_owned()))
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
