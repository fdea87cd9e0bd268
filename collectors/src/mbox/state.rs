//! What is remembered of mbox files between runs: the cursor, and where known messages lie.

use crate::collect::Known;
use schemas::{Cursor, Digest};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes before the point where reading stopped that must be the same for reading on there.
const TAIL: u64 = 4 << 10;

/// The cursor's shape.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// By path below the root.
    pub files: BTreeMap<String, FileState>,
}

impl State {
    /// As a cursor.
    pub fn cursor(&self) -> Cursor {
        Cursor(serde_json::to_value(self).unwrap_or_default())
    }
}

/// How far a file was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileState {
    pub size: u64,
    pub modified_ns: i64,
    /// Bytes read; less than `size` while a first reading is under way.
    pub read: u64,
    /// Digest of the last bytes before `read`; none for gzip, which cannot be read on.
    pub tail: Option<String>,
    pub messages: u64,
    /// Messages were rejected because they were larger than this; under a larger limit the file is read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_over: Option<u64>,
    /// Its first separator had no date.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_loose: bool,
}

/// Where known messages lie: by file, each with its offset.
pub(super) struct Places<'a> {
    by_file: HashMap<&'a str, Vec<(u64, &'a str)>>,
}

impl<'a> Places<'a> {
    /// Of all known places.
    pub fn of(known: &'a Known) -> Self {
        let mut by_file: HashMap<_, Vec<_>> = HashMap::new();
        for location in &known.locations {
            let Some((file, offset)) = location.location.rsplit_once('@') else {
                continue;
            };
            let Ok(offset) = offset.parse() else { continue };
            by_file
                .entry(file)
                .or_default()
                .push((offset, location.location.as_str()));
        }
        Self { by_file }
    }

    /// The files that hold some.
    pub fn files(&self) -> impl Iterator<Item = &'a str> {
        self.by_file.keys().copied()
    }

    /// Locations in a file whose offset is below `below`.
    pub fn of_file(&self, file: &str, below: u64) -> impl Iterator<Item = &'a str> {
        let places = self.by_file.get(file).into_iter().flatten();
        places
            .filter(move |(offset, _)| *offset < below)
            .map(|(_, location)| *location)
    }
}

/// Digest of the bytes before `end`.
pub(super) fn tail(file: &File, end: u64) -> io::Result<String> {
    let mut bytes = vec![0; end.min(TAIL) as usize];
    let begin = end - bytes.len() as u64;
    file.read_exact_at(&mut bytes, begin)?;
    Ok(Digest::of(&bytes).to_string())
}
