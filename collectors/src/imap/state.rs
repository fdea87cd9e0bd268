//! The cursor: how far each folder was read.

use schemas::Cursor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// By the name a person sees.
    pub folders: BTreeMap<String, FolderState>,
}

/// How far one folder was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FolderState {
    /// Another value means that all UIDs of the folder are void (RFC 3501 §2.3.1.1).
    pub uidvalidity: u32,
    /// Messages below were read.
    pub uidnext: u32,
    /// Flags were read as of this moment of the folder (RFC 7162 §3.1); without it, all are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highestmodseq: Option<u64>,
    /// How many messages there were. Written at the end of a run only, when what vanished is stored too;
    /// without it the UIDs are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u32>,
    /// Messages were rejected because they were larger than this; under a larger limit they are tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_over: Option<u32>,
}

impl State {
    /// Reads a cursor; one that this collector did not write counts as none.
    pub fn read(cursor: Option<Cursor>) -> Option<Self> {
        serde_json::from_value(cursor?.0).ok()
    }

    /// The cursor.
    pub fn write(&self) -> Cursor {
        Cursor(serde_json::to_value(self).unwrap_or_default())
    }
}
