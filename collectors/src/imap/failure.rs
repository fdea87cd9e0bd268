//! Failures of a connection: lost, refused, or not IMAP.
//!
//! - In: errors of async-imap and of the transport. Out: [`CollectError`], with the server's name.
//! - Not here: which of them another connection may mend (`walk`).

use crate::error::CollectError;
use async_imap::error::Error;
use std::io;

/// Why a response is not read at which the parser panics: imap-proto does at `INTERNALDATE NIL`.
pub(super) const UNPARSED: &str = "a response that cannot be parsed, such as a date that is NIL";

/// What the server said, out of async-imap's `code: …, info: Some("…")`.
pub(super) fn said(reason: &str) -> String {
    let info = reason
        .split_once("info: Some(\"")
        .and_then(|(_, info)| info.strip_suffix("\")"));
    info.unwrap_or(reason).to_owned()
}

/// Why a command failed.
pub(super) fn failed(host: &str, error: Error) -> CollectError {
    match error {
        Error::Io(error) => broken(host, error),
        Error::ConnectionLost => broken(host, io::ErrorKind::UnexpectedEof.into()),
        Error::No(reason) | Error::Bad(reason) => protocol(host, &said(&reason)),
        other => protocol(host, &other.to_string()),
    }
}

/// A failed read or write. async-imap wraps what it cannot parse in [`io::ErrorKind::Other`] and quotes it, mail
/// and all, so its words are not passed on.
pub(super) fn broken(host: &str, error: io::Error) -> CollectError {
    if error.kind() == io::ErrorKind::Other {
        return protocol(host, "responses that are not IMAP, or more than was asked for");
    }
    CollectError::Disconnected {
        host: host.to_owned(),
        source: error.into(),
    }
}

/// A breach of the protocol.
pub(super) fn protocol(host: &str, reason: &str) -> CollectError {
    CollectError::Protocol {
        host: host.to_owned(),
        reason: reason.to_owned(),
    }
}
