//! One connection to a server: encrypted, signed in, and silent for no longer than allowed.
//!
//! - In: commands. Out: replies, with every failure named: lost, refused, or not IMAP.
//! - Responses are read one by one rather than through async-imap's streams, which end alike at `OK`, at `NO` and
//!   at the end of the connection; reading them here also lets two commands be under way at once.
//! - Not here: what is asked for, and when to connect again.

use super::folders::{Folder, Selection, unescaped};
use super::{Auth, ImapConfig, Tls};
use crate::error::CollectError;
use async_imap::error::Error;
use async_imap::imap_proto::{
    AttributeValue, Capability, MailboxDatum, RequestId, Response, ResponseCode, Status, StatusAttribute,
};
use async_imap::{Client, Session};
use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use secrecy::ExposeSecret;
use std::collections::HashSet;
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

/// UIDs asked about at once, so that what is held of the answers stays within some megabytes.
pub(super) const WINDOW: u32 = 1 << 16;

/// `STATUS` commands under way at once.
const STATUSES: usize = 32;

type Socket = BufReader<Pin<Box<TimeoutStream<TcpStream>>>>;
type Stream = BufWriter<Box<dyn Transport>>;

trait Transport: AsyncRead + AsyncWrite + Debug + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Transport for T {}

/// A signed-in connection.
pub(super) struct Connection {
    session: Session<Stream>,
    host: String,
    /// Whether the server counts changes of flags (RFC 7162).
    condstore: bool,
    /// Whether that must be said with each `EXAMINE`, because `ENABLE` (RFC 5161) is not known.
    condstore_by_examine: bool,
}

/// How a command ended. `BAD` is an error: we said nothing wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// `OK`.
    Yes,
    /// `NO`, with the reason.
    No(String),
}

/// A folder as `STATUS` or `EXAMINE` shows it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown {
    pub messages: u32,
    pub uidvalidity: u32,
    pub uidnext: Option<u32>,
    pub highestmodseq: Option<u64>,
}

/// What a `FETCH` response says of a message (RFC 3501 §7.4.2); `None` is "not said".
#[derive(Debug, Default)]
pub(super) struct Message {
    pub uid: u32,
    pub flags: Option<Vec<String>>,
    pub date: Option<String>,
    pub size: Option<u32>,
    /// The section asked for; inside, `None` is `NIL`.
    pub text: Option<Option<Bytes>>,
}

/// What follows while a `FETCH` is under way.
pub(super) enum Next {
    Message(Message),
    End(Answer),
}

impl Connection {
    /// Connects, encrypts, signs in.
    pub async fn open(config: &ImapConfig) -> Result<Self, CollectError> {
        let host = &config.host;
        let socket = connect(config).await?;
        let session = match config.tls {
            Tls::Implicit => {
                let client = Client::new(BufWriter::new(encrypt(config, socket).await?));
                sign_in(config, greeted(host, client).await?).await?
            }
            Tls::StartTls => {
                let mut client = greeted(host, Client::new(BufWriter::new(socket))).await?;
                let answer = client.run_command_and_check_ok("STARTTLS", None).await;
                answer.map_err(|error| match error {
                    Error::No(_) | Error::Bad(_) => {
                        protocol(host, "it does not encrypt on request; set `tls = \"implicit\"`")
                    }
                    other => failed(host, other),
                })?;
                let socket = client.into_inner().into_inner();
                if !socket.buffer().is_empty() {
                    return Err(protocol(host, "it went on in plain text after it agreed to encrypt"));
                }
                let client = Client::new(BufWriter::new(encrypt(config, socket).await?));
                sign_in(config, client).await?
            }
            Tls::None => {
                let transport: Box<dyn Transport> = Box::new(socket);
                let client = Client::new(BufWriter::new(transport));
                sign_in(config, greeted(host, client).await?).await?
            }
        };
        let mut connection =
            Self { session, host: host.clone(), condstore: false, condstore_by_examine: false };
        let mut words = HashSet::new();
        connection
            .run("CAPABILITY", |response| {
                if let Response::Capabilities(capabilities) = response {
                    words.extend(capabilities.iter().filter_map(|capability| match capability {
                        Capability::Atom(word) => Some(word.to_ascii_uppercase()),
                        _ => None,
                    }));
                }
            })
            .await?;
        connection.condstore = words.contains("CONDSTORE") || words.contains("QRESYNC");
        if connection.condstore {
            connection.condstore_by_examine =
                !words.contains("ENABLE") || connection.run("ENABLE CONDSTORE", |_| ()).await? != Answer::Yes;
        }
        Ok(connection)
    }

    /// All folders that can be opened and are wanted.
    pub async fn folders(&mut self, selection: &Selection) -> Result<Vec<Folder>, CollectError> {
        let mut folders = Vec::new();
        let listed = self.run(r#"LIST "" "*""#, |response| {
            if let Response::MailboxData(MailboxDatum::List(data)) = response {
                folders.extend(Folder::listed(data).filter(|folder| selection.takes(&folder.name)));
            }
        });
        match listed.await? {
            Answer::Yes => {
                folders.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                folders.dedup_by(|a, b| a.name == b.name);
                Ok(folders)
            }
            Answer::No(reason) => Err(protocol(&self.host, &reason)),
        }
    }

    /// How each folder stands, without opening any; `None` where the server does not say.
    pub async fn statuses(&mut self, folders: &[Folder]) -> Result<Vec<Option<Shown>>, CollectError> {
        let items =
            if self.condstore { "MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ" } else { "MESSAGES UIDNEXT UIDVALIDITY" };
        let mut statuses = Vec::with_capacity(folders.len());
        for some in folders.chunks(STATUSES) {
            let mut tags = Vec::with_capacity(some.len());
            for folder in some {
                tags.push(self.send(&format!("STATUS {} ({items})", folder.quoted)).await?);
            }
            for tag in tags {
                let mut shown = None;
                let answer = self.finish(&tag, |response| {
                    if let Response::MailboxData(MailboxDatum::Status { status, .. }) = response {
                        shown = Some(shown_by(status));
                    }
                });
                statuses.push(if answer.await? == Answer::Yes { shown } else { None });
            }
        }
        Ok(statuses)
    }

    /// Opens a folder, read-only; `None` when it cannot be opened (any more).
    pub async fn examine(&mut self, folder: &Folder) -> Result<Option<Shown>, CollectError> {
        let condstore = if self.condstore_by_examine { " (CONDSTORE)" } else { "" };
        let mut shown = Shown::default();
        let command = format!("EXAMINE {}{condstore}", folder.quoted);
        let answer = self.run(&command, |response| match response {
            Response::MailboxData(MailboxDatum::Exists(count)) => shown.messages = *count,
            Response::Data { status: Status::Ok, outcome } => match outcome.code {
                Some(ResponseCode::UidValidity(value)) => shown.uidvalidity = value,
                Some(ResponseCode::UidNext(value)) => shown.uidnext = Some(value),
                Some(ResponseCode::HighestModSeq(value)) => shown.highestmodseq = Some(value).filter(|&it| it > 0),
                _ => (),
            },
            _ => (),
        });
        if answer.await? != Answer::Yes {
            return Ok(None);
        }
        if !self.condstore {
            shown.highestmodseq = None;
        }
        if shown.uidnext.is_none() {
            // RFC 3501 §6.3.1 lets old servers keep it to themselves; the last message says it too.
            shown.uidnext = Some(self.search("*").await?.into_iter().max().map_or(1, |last| last.saturating_add(1)));
        }
        Ok(Some(shown))
    }

    /// Which of these UIDs are there: `UID SEARCH UID {uids}`.
    pub async fn search(&mut self, uids: &str) -> Result<HashSet<u32>, CollectError> {
        let mut found = HashSet::new();
        let command = format!("UID SEARCH UID {uids}");
        let answer = self.run(&command, |response| {
            if let Response::MailboxData(MailboxDatum::Search(uids)) = response {
                found.extend(uids);
            }
        });
        match answer.await? {
            Answer::Yes => Ok(found),
            Answer::No(reason) => Err(protocol(&self.host, &reason)),
        }
    }

    /// All that `items` says of the messages in `uids`; for small items.
    pub async fn fetch(&mut self, uids: &str, items: &str) -> Result<Vec<Message>, CollectError> {
        let tag = self.send(&format!("UID FETCH {uids} {items}")).await?;
        let mut messages = Vec::new();
        loop {
            match self.next(&tag).await? {
                Next::Message(message) => messages.push(message),
                Next::End(Answer::Yes) => return Ok(messages),
                Next::End(Answer::No(reason)) => return Err(protocol(&self.host, &reason)),
            }
        }
    }

    /// Sends a command without waiting for its end.
    pub async fn send(&mut self, command: &str) -> Result<RequestId, CollectError> {
        tracing::trace!(command, "imap");
        self.session.run_command(command).await.map_err(|error| failed(&self.host, error))
    }

    /// The next message of the `FETCH` under way, or its end.
    pub async fn next(&mut self, tag: &RequestId) -> Result<Next, CollectError> {
        loop {
            let next = self.read(|response| match response {
                Response::Fetch(_, values) => message(values).map(|message| Ok(Next::Message(message))),
                other => ended(other, tag).map(|end| end.map(Next::End)),
            });
            match next.await? {
                Some(Ok(next)) => return Ok(next),
                Some(Err(reason)) => return Err(protocol(&self.host, &reason)),
                None => (),
            }
        }
    }

    /// Says goodbye. Whether the server hears it does not matter.
    pub async fn leave(mut self) {
        let _ = self.send("LOGOUT").await;
    }

    /// Runs a command to its end, showing its responses to `each`.
    async fn run(
        &mut self,
        command: &str,
        each: impl FnMut(&Response<'_>) + Send,
    ) -> Result<Answer, CollectError> {
        let tag = self.send(command).await?;
        self.finish(&tag, each).await
    }

    async fn finish(
        &mut self,
        tag: &RequestId,
        mut each: impl FnMut(&Response<'_>) + Send,
    ) -> Result<Answer, CollectError> {
        loop {
            let end = self.read(|response| {
                each(response);
                ended(response, tag)
            });
            match end.await? {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(reason)) => return Err(protocol(&self.host, &reason)),
                None => (),
            }
        }
    }

    /// Reads one response.
    async fn read<T>(&mut self, take: impl FnOnce(&Response<'_>) -> T) -> Result<T, CollectError> {
        let data = self.session.read_response().await.map_err(|error| broken(&self.host, error))?;
        let data = data.ok_or_else(|| broken(&self.host, io::ErrorKind::UnexpectedEof.into()))?;
        if let Response::Data { status: Status::Bye, outcome } = data.parsed() {
            let reason = outcome.information.as_deref().unwrap_or("it said goodbye").to_owned();
            return Err(broken(&self.host, io::Error::new(io::ErrorKind::ConnectionAborted, reason)));
        }
        Ok(take(data.parsed()))
    }
}

/// How the command of that tag ended, if this is its end; `Err` is a breach of the protocol.
fn ended(response: &Response<'_>, tag: &RequestId) -> Option<Result<Answer, String>> {
    let Response::Done { tag: other, status, outcome } = response else { return None };
    let said = || outcome.information.as_deref().unwrap_or("no reason given").to_owned();
    Some(match status {
        _ if other != tag => Err("it ended a command that was not the next one".to_owned()),
        Status::Ok => Ok(Answer::Yes),
        Status::No => Ok(Answer::No(said())),
        _ => Err(said()),
    })
}

fn shown_by(status: &[StatusAttribute]) -> Shown {
    let mut shown = Shown::default();
    for attribute in status {
        match attribute {
            StatusAttribute::Messages(count) => shown.messages = *count,
            StatusAttribute::UidNext(value) => shown.uidnext = Some(*value),
            StatusAttribute::UidValidity(value) => shown.uidvalidity = *value,
            StatusAttribute::HighestModSeq(value) => shown.highestmodseq = Some(*value).filter(|&it| it > 0),
            _ => (),
        }
    }
    shown
}

/// A message from its attributes; without a UID we did not ask for it.
fn message(values: &[AttributeValue<'_>]) -> Option<Message> {
    let mut message = Message::default();
    for value in values {
        match value {
            AttributeValue::Uid(uid) => message.uid = *uid,
            AttributeValue::Flags(flags) => {
                let kept = flags.iter().filter(|flag| !flag.eq_ignore_ascii_case("\\Recent"));
                let mut flags: Vec<String> = kept.map(|flag| flag.to_string()).collect();
                flags.sort_unstable();
                flags.dedup();
                message.flags = Some(flags);
            }
            AttributeValue::InternalDate(date) => message.date = Some(unescaped(date)),
            AttributeValue::Rfc822Size(size) => message.size = Some(*size),
            AttributeValue::BodySection { data, .. } => {
                message.text = Some(data.as_deref().map(Bytes::copy_from_slice));
            }
            _ => (),
        }
    }
    (message.uid > 0).then_some(message)
}

async fn connect(config: &ImapConfig) -> Result<Socket, CollectError> {
    let lost = |error| broken(&config.host, error);
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
    let stream = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, socket).await;
    let stream = stream.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => {
            protocol(host, &format!("{error}; if its certificate is your own, name it with `ca_file`"))
        }
        _ => broken(host, error),
    })?;
    Ok(Box::new(stream))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CollectError> {
    let unreadable =
        |error| CollectError::Unreadable { path: path.to_owned(), source: io::Error::other(error) };
    CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)
}

/// Reads the greeting.
async fn greeted<T: AsyncRead + AsyncWrite + Debug + Send + Unpin>(
    host: &str,
    mut client: Client<T>,
) -> Result<Client<T>, CollectError> {
    let greeting = client.read_response().await.map_err(|error| broken(host, error))?;
    let greeting = greeting.ok_or_else(|| broken(host, io::ErrorKind::UnexpectedEof.into()))?;
    match greeting.parsed() {
        Response::Data { status: Status::Ok, .. } => Ok(client),
        Response::Data { status: Status::Bye, outcome } => {
            let reason = outcome.information.as_deref().unwrap_or("it said goodbye").to_owned();
            Err(broken(host, io::Error::new(io::ErrorKind::ConnectionRefused, reason)))
        }
        _ => Err(protocol(host, "its greeting is not one of a server that one signs in to")),
    }
}

async fn sign_in(
    config: &ImapConfig,
    client: Client<BufWriter<Box<dyn Transport>>>,
) -> Result<Session<Stream>, CollectError> {
    let (user, password) = (&config.user, config.password.expose_secret());
    let signed_in = match config.auth {
        Auth::Login => client.login(user, password).await,
        Auth::XOAuth2 => client.authenticate("XOAUTH2", Token { user, token: password, sent: false }).await,
    };
    signed_in.map_err(|(error, _)| match error {
        // Temporary by RFC 5530 §3: a backend is down, or too many are signed in.
        Error::No(reason) if ["[UNAVAILABLE]", "[LIMIT]", "[INUSE]"].iter().any(|code| reason.contains(code)) => {
            broken(&config.host, io::Error::new(io::ErrorKind::ResourceBusy, said(&reason)))
        }
        Error::No(reason) | Error::Bad(reason) => {
            CollectError::Refused { host: config.host.clone(), user: user.clone(), reason: said(&reason) }
        }
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

/// What the server said, out of async-imap's `code: …, info: Some("…")`.
fn said(reason: &str) -> String {
    let info = reason.split_once("info: Some(\"").and_then(|(_, info)| info.strip_suffix("\")"));
    info.unwrap_or(reason).to_owned()
}

fn failed(host: &str, error: Error) -> CollectError {
    match error {
        Error::Io(error) => broken(host, error),
        Error::ConnectionLost => broken(host, io::ErrorKind::UnexpectedEof.into()),
        Error::No(reason) | Error::Bad(reason) => protocol(host, &said(&reason)),
        other => protocol(host, &other.to_string()),
    }
}

/// A failed read or write. async-imap wraps what it cannot parse in [`io::ErrorKind::Other`] and quotes it, mail
/// and all, so its words are not passed on.
fn broken(host: &str, error: io::Error) -> CollectError {
    if error.kind() == io::ErrorKind::Other {
        return protocol(host, "a response that is not IMAP, or larger than 512 MiB");
    }
    CollectError::Disconnected { host: host.to_owned(), source: error.into() }
}

fn protocol(host: &str, reason: &str) -> CollectError {
    CollectError::Protocol { host: host.to_owned(), reason: reason.to_owned() }
}
