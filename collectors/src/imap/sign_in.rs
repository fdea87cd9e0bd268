//! From a host name to a session: connecting, encrypting, signing in.
//!
//! - The server may be silent for `reply_timeout_secs` at any point, later too: the socket itself counts. Words
//!   that drip are for `limit` to end, and here those of the encryption.
//! - Not here: commands after that (`connection`).

use super::failure::{broken, failed, protocol, said};
use super::limit::Limited;
use super::{Auth, ImapConfig, Tls};
use crate::error::CollectError;
use async_imap::error::Error;
use async_imap::imap_proto::{Response, Status};
use async_imap::{Client, Session};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use secrecy::ExposeSecret;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;

/// Bytes taken from the socket at once: async-imap asks for 4 KiB, a system call each.
const READ_BYTES: usize = 128 << 10;

type Socket = BufReader<Pin<Box<TimeoutStream<TcpStream>>>>;
/// What a session runs on.
pub(super) type Stream = BufWriter<Limited<Box<dyn Transport>>>;

/// Plain or encrypted.
pub(super) trait Transport: AsyncRead + AsyncWrite + Debug + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Transport for T {}

/// Connects, encrypts, signs in.
pub(super) async fn open_session(config: &ImapConfig) -> Result<Session<Stream>, CollectError> {
    let host = &config.host;
    let socket = connect(config).await?;
    let over = |transport| {
        BufWriter::new(Limited::new(
            transport,
            config.max_message_bytes,
            config.reply_timeout(),
        ))
    };
    match config.tls {
        Tls::Implicit => {
            let client = Client::new(over(encrypt(config, socket).await?));
            sign_in(config, greeted(host, client).await?).await
        }
        Tls::AfterGreeting => {
            let limited = Limited::new(socket, config.max_message_bytes, config.reply_timeout());
            let mut client = greeted(host, Client::new(BufWriter::new(limited))).await?;
            let answer = client.run_command_and_check_ok("STARTTLS", None).await;
            answer.map_err(|error| match error {
                Error::No(_) | Error::Bad(_) => {
                    protocol(host, "it does not encrypt on request; set `tls = \"implicit\"`")
                }
                other => failed(host, other),
            })?;
            let socket = client.into_inner().into_inner().into_inner();
            if !socket.buffer().is_empty() {
                return Err(protocol(
                    host,
                    "it went on in plain text after it agreed to encrypt",
                ));
            }
            let client = Client::new(over(encrypt(config, socket).await?));
            sign_in(config, client).await
        }
        Tls::None => {
            let transport: Box<dyn Transport> = Box::new(socket);
            let client = Client::new(over(transport));
            sign_in(config, greeted(host, client).await?).await
        }
    }
}

async fn connect(config: &ImapConfig) -> Result<Socket, CollectError> {
    // With the port: nothing may listen at that one.
    let server = format!("{}:{}", config.host, config.port());
    let lost = |error| broken(&server, error);
    let connecting = TcpStream::connect((config.host.as_str(), config.port()));
    let socket = tokio::time::timeout(config.reply_timeout(), connecting)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(lost)?;
    socket.set_nodelay(true).map_err(lost)?;
    let mut socket = TimeoutStream::new(socket);
    socket.set_read_timeout(Some(config.reply_timeout()));
    socket.set_write_timeout(Some(config.reply_timeout()));
    Ok(BufReader::with_capacity(READ_BYTES, Box::pin(socket)))
}

async fn encrypt(config: &ImapConfig, socket: Socket) -> Result<Box<dyn Transport>, CollectError> {
    let host = &config.host;
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = &config.ca_file {
        roots.add_parsable_certificates(certificates(path)?);
    }
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| protocol(host, &error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.clone()).map_err(|error| protocol(host, &error.to_string()))?;
    let shaking_hands = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, socket);
    let stream = tokio::time::timeout(config.reply_timeout(), shaking_hands)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let stream = stream.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => protocol(
            host,
            &format!("{error}; if its certificate is your own, name it with `ca_file`"),
        ),
        _ => broken(host, error),
    })?;
    Ok(Box::new(stream))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CollectError> {
    let unreadable = |error| CollectError::Unreadable {
        path: path.to_owned(),
        source: io::Error::other(error),
    };
    CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)
}

/// Reads the greeting.
async fn greeted<T: AsyncRead + AsyncWrite + Debug + Send + Unpin>(
    host: &str,
    mut client: Client<T>,
) -> Result<Client<T>, CollectError> {
    let greeting = client
        .read_response()
        .await
        .map_err(|error| broken(host, error))?;
    let greeting = greeting.ok_or_else(|| broken(host, io::ErrorKind::UnexpectedEof.into()))?;
    match greeting.parsed() {
        Response::Data {
            status: Status::Ok, ..
        } => Ok(client),
        Response::Data {
            status: Status::Bye,
            outcome,
        } => {
            let reason = outcome
                .information
                .as_deref()
                .unwrap_or("it said goodbye")
                .to_owned();
            Err(broken(
                host,
                io::Error::new(io::ErrorKind::ConnectionRefused, reason),
            ))
        }
        _ => Err(protocol(
            host,
            "its greeting is not one of a server that one signs in to",
        )),
    }
}

async fn sign_in(config: &ImapConfig, client: Client<Stream>) -> Result<Session<Stream>, CollectError> {
    let (user, password) = (&config.user, config.password.expose_secret());
    let signed_in = match config.auth {
        Auth::Login => client.login(user, password).await,
        Auth::XOAuth2 => {
            client
                .authenticate(
                    "XOAUTH2",
                    Token {
                        user,
                        token: password,
                        sent: false,
                    },
                )
                .await
        }
    };
    signed_in.map_err(|(error, _)| match error {
        // Temporary by RFC 5530 §3: a backend is down, or too many are signed in.
        Error::No(reason)
            if ["[UNAVAILABLE]", "[LIMIT]", "[INUSE]"]
                .iter()
                .any(|code| reason.contains(code)) =>
        {
            broken(
                &config.host,
                io::Error::new(io::ErrorKind::ResourceBusy, said(&reason)),
            )
        }
        Error::No(reason) | Error::Bad(reason) => CollectError::Refused {
            host: config.host.clone(),
            user: user.clone(),
            reason: said(&reason),
        },
        Error::Validate(_) => CollectError::Refused {
            host: config.host.clone(),
            user: user.clone(),
            reason: "user name or password holds a line break".to_owned(),
        },
        other => failed(&config.host, other),
    })
}

/// Answers as Google's and Microsoft's "XOAUTH2" asks: the token first; then, to an error, nothing, so that the
/// server ends the command with its `NO`.
struct Token<'a> {
    user: &'a str,
    token: &'a str,
    sent: bool,
}

impl async_imap::Authenticator for Token<'_> {
    type Response = String;

    fn process(&mut self, _challenge: &[u8]) -> String {
        if std::mem::replace(&mut self.sent, true) {
            return String::new();
        }
        format!("user={}\x01auth=Bearer {}\x01\x01", self.user, self.token)
    }
}
