//! What a collector hands over: originals, where they were seen, what changed about them.

use crate::names::{Digest, Instant};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One original, as fetched.
#[derive(Debug, Clone)]
pub struct RawItem {
    /// Stable id within the source: it survives moves, renames and renumbering at the source.
    pub item: String,
    /// Media type, such as `message/rfc822`; it chooses the converter.
    pub media_type: &'static str,
    /// When it was fetched.
    pub fetched_at: Instant,
    /// SHA-256 of the original bytes.
    pub sha256: Digest,
    /// The bytes, or where they lie.
    pub original: Original,
    /// What the source says about the item that is not in its bytes.
    pub attributes: Attributes,
}

impl RawItem {
    /// What becomes of it when it cannot be converted.
    pub fn reject(&self, reason: String) -> Reject {
        Reject {
            item: self.item.clone(),
            reason,
            raw: Some(match &self.original {
                Original::Bytes(_) => format!("sha256:{}", self.sha256),
                Original::File { path, .. } => path.clone(),
            }),
        }
    }
}

/// The bytes of an item, or a reference to a local file that keeps them.
#[derive(Debug, Clone)]
pub enum Original {
    /// Kept in the lake.
    Bytes(Bytes),
    /// Kept where it is: a local file, by absolute path, of this many bytes.
    File {
        /// Absolute path.
        path: String,
        /// Size in bytes.
        size: u64,
    },
}

/// What a source says about an item beside its bytes; it may change while the bytes stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Folders (mail: mailboxes, labels) that hold the item; sorted, no duplicates.
    pub folders: Vec<String>,
    /// Flags and keywords (mail: RFC 9051 §2.3.2, such as `\Seen`); sorted, no duplicates.
    pub flags: Vec<String>,
    /// When the source received the item (mail: IMAP INTERNALDATE, file time of a Maildir message; a file: its time).
    pub received_at: Option<Instant>,
    /// Path of the file, where the source has files.
    pub path: Option<String>,
    /// The project (manifest or repository) that the file lies in.
    pub project: Option<String>,
}

/// An item already known whose attributes changed; its bytes did not.
#[derive(Debug, Clone)]
pub struct Touched {
    /// The item.
    pub item: String,
    /// All its attributes as they are now.
    pub attributes: Attributes,
}

/// Where an item was seen at its source: a row of `locations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Unique within the source: `INBOX/uid` for IMAP, a path for files.
    pub location: String,
    /// The item found there.
    pub item: String,
    /// Folder that holds the location.
    pub folder: String,
    /// Cheap fingerprint (size and time, header digest): equal means the bytes need not be read again.
    pub version: String,
    /// Flags at this location.
    pub flags: Vec<String>,
    /// When the source received it there.
    pub received_at: Option<Instant>,
}

/// Something that could not be taken in: a row of `rejects`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The item, or the location when no item could be read there.
    pub item: String,
    /// Why, in a sentence.
    pub reason: String,
    /// Pointer to the original: `sha256:…` when it is in `raw`, else where it lies at the source.
    pub raw: Option<String>,
}
