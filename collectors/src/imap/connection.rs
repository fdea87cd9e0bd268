//! A signed-in connection: commands and their responses.
//!
//! - In: commands. Out: replies, with every failure named: lost, refused, or not IMAP.
//! - Responses are read one by one rather than through async-imap's streams, which end alike at `OK`, at `NO` and
//!   at the end of the connection; reading them here also lets two commands be under way at once.
//! - Not here: encryption and signing in (`sign_in`), what is asked for, and when to connect again.

use super::ImapConfig;
use super::failure::{UNPARSED, broken, failed, protocol};
use super::folders::{Folder, Shown, unescaped};
use super::sign_in::{Stream, open_session};
use crate::error::CollectError;
use async_imap::Session;
use async_imap::imap_proto::{
    AttributeValue, Capability, MailboxDatum, RequestId, Response, ResponseCode, Status, StatusAttribute,
};
use bytes::Bytes;
use futures::FutureExt;
use std::collections::HashSet;
use std::io;
use std::panic::AssertUnwindSafe;

/// `STATUS` commands under way at once.
const STATUSES: usize = 32;

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
    End(RequestId, Answer),
}

impl Connection {
    /// Connects, encrypts, signs in.
    pub async fn open(config: &ImapConfig) -> Result<Self, CollectError> {
        let session = open_session(config).await?;
        let mut connection = Self {
            session,
            host: config.host.clone(),
            condstore: false,
            condstore_by_examine: false,
        };
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

    /// All folders that can be opened.
    pub async fn folders(&mut self) -> Result<Vec<Folder>, CollectError> {
        let mut folders = Vec::new();
        let listed = self.run(r#"LIST "" "*""#, |response| {
            if let Response::MailboxData(MailboxDatum::List(data)) = response {
                folders.extend(Folder::listed(data));
            }
        });
        match listed.await? {
            Answer::Yes => Ok(Folder::each_once(folders)),
            Answer::No(reason) => Err(protocol(&self.host, &reason)),
        }
    }

    /// How each folder stands, without opening any; `None` where the server does not say.
    pub async fn statuses(&mut self, folders: &[Folder]) -> Result<Vec<Option<Shown>>, CollectError> {
        let items = if self.condstore {
            "MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ"
        } else {
            "MESSAGES UIDNEXT UIDVALIDITY"
        };
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
        let condstore = if self.condstore_by_examine {
            " (CONDSTORE)"
        } else {
            ""
        };
        let mut shown = Shown::default();
        let command = format!("EXAMINE {}{condstore}", folder.quoted);
        let answer = self.run(&command, |response| match response {
            Response::MailboxData(MailboxDatum::Exists(count)) => shown.messages = *count,
            Response::Data {
                status: Status::Ok,
                outcome,
            } => match outcome.code {
                Some(ResponseCode::UidValidity(value)) => shown.uidvalidity = value,
                Some(ResponseCode::UidNext(value)) => shown.uidnext = Some(value),
                Some(ResponseCode::HighestModSeq(value)) => {
                    shown.highestmodseq = Some(value).filter(|&it| it > 0)
                }
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
            shown.uidnext = Some(
                self.search("*")
                    .await?
                    .into_iter()
                    .max()
                    .map_or(1, |last| last.saturating_add(1)),
            );
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
            match self.next().await? {
                Next::Message(message) => messages.push(message),
                Next::End(end, _) if end != tag => return Err(self.confused()),
                Next::End(_, Answer::Yes) => return Ok(messages),
                Next::End(_, Answer::No(reason)) => return Err(protocol(&self.host, &reason)),
            }
        }
    }

    /// Sends a command without waiting for its end.
    pub async fn send(&mut self, command: &str) -> Result<RequestId, CollectError> {
        tracing::trace!(command, "imap");
        self.session
            .run_command(command)
            .await
            .map_err(|error| failed(&self.host, error))
    }

    /// The next message of the `FETCH` commands under way, or the end of one.
    ///
    /// A server may answer several at once (RFC 3501 §5.5), and Dovecot does: messages of the second command come
    /// before the end of the first. The caller looks after which is whose.
    pub async fn next(&mut self) -> Result<Next, CollectError> {
        loop {
            let next = self.read(|response| match response {
                Response::Fetch(_, values) => message(values).map(|message| Ok(Next::Message(message))),
                Response::Done { tag, .. } => {
                    ended(response, tag).map(|end| end.map(|answer| Next::End(tag.clone(), answer)))
                }
                _ => None,
            });
            match next.await? {
                Some(Ok(next)) => return Ok(next),
                Some(Err(reason)) => return Err(protocol(&self.host, &reason)),
                None => (),
            }
        }
    }

    /// The server ended a command that is not under way.
    pub fn confused(&self) -> CollectError {
        protocol(&self.host, "it ended a command that is not under way")
    }

    /// The server has no folder, where there were some.
    pub fn without_folders(&self) -> CollectError {
        protocol(
            &self.host,
            "it lists no folder that can be opened, not even INBOX",
        )
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

    /// Reads one response. After a panic of the parser the stream is of no use any more.
    async fn read<T>(&mut self, take: impl FnOnce(&Response<'_>) -> T) -> Result<T, CollectError> {
        let data = AssertUnwindSafe(self.session.read_response())
            .catch_unwind()
            .await
            .map_err(|_| protocol(&self.host, UNPARSED))?
            .map_err(|error| broken(&self.host, error))?;
        let data = data.ok_or_else(|| broken(&self.host, io::ErrorKind::UnexpectedEof.into()))?;
        if let Response::Data {
            status: Status::Bye,
            outcome,
        } = data.parsed()
        {
            let reason = outcome
                .information
                .as_deref()
                .unwrap_or("it said goodbye")
                .to_owned();
            return Err(broken(
                &self.host,
                io::Error::new(io::ErrorKind::ConnectionAborted, reason),
            ));
        }
        Ok(take(data.parsed()))
    }
}

/// How the command of that tag ended, if this is its end; `Err` is a breach of the protocol.
fn ended(response: &Response<'_>, tag: &RequestId) -> Option<Result<Answer, String>> {
    let Response::Done {
        tag: other,
        status,
        outcome,
    } = response
    else {
        return None;
    };
    let said = || {
        outcome
            .information
            .as_deref()
            .unwrap_or("no reason given")
            .to_owned()
    };
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
