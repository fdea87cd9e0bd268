//! `maildir`: mail in Maildir folders, read-only.
//!
//! - In: a directory: a Maildir, Maildir++ (`.Archive.2024`), folders in folders, or all of these mixed.
//! - Out: originals of type `message/rfc822`. A location is the folder's directory and the file's name without
//!   its flags, so a message that is flagged, or moves from `new` to `cur`, stays at its place.
//! - Cursor: the number of messages of each folder. It says that `known` may be trusted; a message with the
//!   size and time it had is not read again.
//! - Not here: identity of items (`mailbox`), conversion. `tmp` is never looked at: what lies there is not
//!   delivered yet.

mod folders;

pub(crate) use folders::{escape, modified_ns};

use crate::collect::{BATCH_BYTES, BATCH_ITEMS, Batch, Collector, Descriptor, Known, Sink, now};
use crate::error::{CollectError, ConfigError};
use crate::mailbox::{Mailbox, Placed, Seen};
use async_trait::async_trait;
use bytes::Bytes;
use folders::{Entry, Folder};
use rayon::prelude::*;
use schemars::JsonSchema;
use schemas::{Attributes, Cursor, Digest, Original, RawItem, Reject};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// `kind = "maildir"`.
pub const DESCRIPTOR: Descriptor = Descriptor {
    kind: "maildir",
    about: "Mail in Maildir and Maildir++ folders on this machine.",
    example: "dkc add maildir path=~/Maildir name=mail",
    datasets: &["emails", "email_attachments"],
    secrets: &[],
    paths: &["path"],
    schema: || schemars::schema_for!(MaildirConfig),
    build,
};

/// A `source` table with `kind = "maildir"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MaildirConfig {
    /// Directory that is a Maildir or holds some.
    path: PathBuf,
    /// A larger message is rejected instead of read.
    #[serde(default = "default_max_message_bytes")]
    max_message_bytes: u64,
}

/// Above what mail servers commonly let pass (25 to 50 MiB), and small enough to hold a few at once.
fn default_max_message_bytes() -> u64 {
    64 << 20
}

fn build(table: toml_edit::Table) -> Result<Box<dyn Collector>, ConfigError> {
    let config = toml_edit::de::from_document(toml_edit::DocumentMut::from(table))?;
    Ok(Box::new(Maildir { config }))
}

struct Maildir {
    config: MaildirConfig,
}

#[async_trait]
impl Collector for Maildir {
    async fn collect(
        &mut self,
        from: Option<Cursor>,
        known: Arc<Known>,
        sink: Sink,
    ) -> Result<(), CollectError> {
        let config = self.config.clone();
        let walk = move || Run::begin(&config, from, &known, &sink).walk();
        match tokio::task::spawn_blocking(walk).await {
            Ok(result) => result,
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(CollectError::Stopped),
            },
        }
    }
}

/// The cursor's shape.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    folders: BTreeMap<String, Count>,
    /// A run that trusts nothing is under way: if it is killed, the next one must not trust either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rereading: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Count {
    messages: usize,
}

impl State {
    fn cursor(&self) -> Cursor {
        Cursor(serde_json::to_value(self).unwrap_or_default())
    }
}

/// One run over all folders.
struct Run<'a> {
    config: &'a MaildirConfig,
    sink: &'a Sink,
    mailbox: Mailbox,
    trusts: bool,
    state: State,
    to_read: Vec<(Arc<Folder>, Entry)>,
    bytes_to_read: u64,
    rejects: Vec<Reject>,
}

/// What became of reading one file.
enum Outcome {
    Message(Digest, Bytes),
    Rejected(String),
    /// Renamed or deleted since it was listed.
    Missing,
}

impl<'a> Run<'a> {
    fn begin(config: &'a MaildirConfig, from: Option<Cursor>, known: &Known, sink: &'a Sink) -> Self {
        let from = from.map(|Cursor(value)| serde_json::from_value(value).unwrap_or_default());
        let trusts = from.is_some_and(|state: State| !state.rereading);
        let rereading = !trusts && !known.locations.is_empty();
        Self {
            config,
            sink,
            mailbox: Mailbox::new(known),
            trusts,
            state: State { rereading, ..State::default() },
            to_read: Vec::new(),
            bytes_to_read: 0,
            rejects: Vec::new(),
        }
    }

    fn walk(mut self) -> Result<(), CollectError> {
        let tree = folders::find(&self.config.path)
            .map_err(|source| CollectError::Unreadable { path: self.config.path.clone(), source })?;
        self.rejects = tree.rejects;
        let mut unread = tree.unread;
        for folder in &tree.folders {
            let listing = folder.list();
            let seen = listing.entries.len() + listing.rejects.len();
            self.sink.progress().add_expected(seen as u64);
            self.state.folders.entry(folder.name.clone()).or_default().messages += listing.entries.len();
            if !listing.is_whole {
                unread.push(folder.prefix.clone());
            }
            for reject in &listing.rejects {
                self.mailbox.keep(&reject.item);
            }
            self.sink.progress().add_seen(listing.rejects.len() as u64);
            self.rejects.extend(listing.rejects);
            let changed = self.changed(folder, listing.entries);
            for entry in changed {
                self.bytes_to_read += entry.size.min(self.config.max_message_bytes);
                self.to_read.push((Arc::clone(folder), entry));
                if self.to_read.len() >= BATCH_ITEMS || self.bytes_to_read >= BATCH_BYTES as u64 {
                    let batch = self.read()?;
                    self.sink.push_blocking(batch)?;
                }
            }
        }
        self.state.rereading = false;
        let mut batch = self.read()?;
        let still_there = still_there(&tree.folders, &self.mailbox.missing());
        self.mailbox.finish_into(&mut batch, |place| {
            !unread.iter().any(|prefix| place.location.starts_with(prefix)) && !still_there.contains(&place.location)
        });
        batch.unchanged += self.mailbox.take_unchanged();
        self.sink.push_blocking(batch)
    }

    /// Of the messages in a folder, those that must be read.
    fn changed(&mut self, folder: &Folder, entries: Vec<Entry>) -> Vec<Entry> {
        if !self.trusts {
            return entries;
        }
        let mut version = String::new();
        let mut location = String::new();
        let mut changed = Vec::new();
        let all = entries.len();
        for entry in entries {
            version.clear();
            entry.write_version(&mut version);
            location.clear();
            folder.write_location(entry.base(), &mut location);
            let flags = folder.flags(&entry);
            if self.mailbox.unchanged_if(&location, &version, &flags) {
                continue;
            }
            // Only flags changed: the bytes are those of the item known there.
            let same = self.mailbox.at(&location).filter(|place| place.version == version);
            let is_placed = same.is_some_and(|place| {
                let seen = seen(folder, &entry);
                self.mailbox.place_known(seen, &place.item)
            });
            if !is_placed {
                changed.push(entry);
            }
        }
        self.sink.progress().add_seen((all - changed.len()) as u64);
        changed
    }

    /// Reads what waits, and makes a batch of it.
    fn read(&mut self) -> Result<Batch, CollectError> {
        let limit = self.config.max_message_bytes;
        let waiting = std::mem::take(&mut self.to_read);
        self.bytes_to_read = 0;
        let outcomes: Vec<Outcome> =
            waiting.par_iter().map(|(folder, entry)| read(&folder.path(entry), limit)).collect();
        let mut batch = Batch::at(self.state.cursor());
        self.sink.progress().add_seen(waiting.len() as u64);
        let mut renamed = HashMap::new();
        for ((folder, entry), outcome) in waiting.into_iter().zip(outcomes) {
            let (entry, outcome) = match outcome {
                Outcome::Missing => {
                    let listed = renamed.entry(folder.prefix.clone()).or_insert_with(|| folder.list().entries);
                    let Some(entry) = listed.iter().find(|now| now.base() == entry.base()).cloned() else { continue };
                    let outcome = read(&folder.path(&entry), limit);
                    (entry, outcome)
                }
                outcome => (entry, outcome),
            };
            let seen = seen(&folder, &entry);
            match outcome {
                Outcome::Message(digest, bytes) => {
                    if let Placed::New { item } = self.mailbox.place(seen, digest) {
                        batch.originals.push(RawItem {
                            item,
                            media_type: "message/rfc822",
                            fetched_at: now(),
                            sha256: digest,
                            original: Original::Bytes(bytes),
                            attributes: Attributes::default(),
                        });
                    }
                }
                Outcome::Rejected(reason) => {
                    self.mailbox.keep(&seen.location);
                    let raw = Some(folder.path(&entry).display().to_string());
                    batch.rejects.push(Reject { item: seen.location, reason, raw });
                }
                Outcome::Missing => {}
            }
        }
        self.mailbox.drain_into(&mut batch);
        batch.rejects.append(&mut self.rejects);
        batch.unchanged = self.mailbox.take_unchanged();
        Ok(batch)
    }
}

fn seen(folder: &Folder, entry: &Entry) -> Seen {
    let mut location = String::new();
    folder.write_location(entry.base(), &mut location);
    let mut version = String::new();
    entry.write_version(&mut version);
    Seen {
        location,
        folder: folder.name.clone(),
        version,
        flags: folder.flags(entry).into_iter().map(str::to_owned).collect(),
        received_at: Some(entry.modified_ns / 1_000),
    }
}

/// Of the places that no listing showed, those that a second one shows: a directory that is renamed in while
/// it is read may leave entries out.
fn still_there(folders: &[Arc<Folder>], missing: &[String]) -> HashSet<String> {
    let mut by_prefix: HashMap<&str, HashSet<&str>> = HashMap::new();
    for location in missing {
        let name = location.rfind('/').map_or(0, |slash| slash + 1);
        let (prefix, _) = location.split_at(name);
        by_prefix.entry(prefix).or_default().insert(location);
    }
    let mut found = HashSet::new();
    for folder in folders {
        let Some(missing) = by_prefix.get(folder.prefix.as_str()) else { continue };
        for entry in folder.list().entries {
            let mut location = String::new();
            folder.write_location(entry.base(), &mut location);
            if missing.contains(location.as_str()) {
                found.insert(location);
            }
        }
    }
    found
}

fn read(path: &std::path::Path, limit: u64) -> Outcome {
    match read_bytes(path, limit) {
        Ok(bytes) if bytes.is_empty() => Outcome::Rejected("empty file".to_owned()),
        Ok(bytes) if bytes.len() as u64 > limit => {
            Outcome::Rejected(format!("larger than `max_message_bytes`, {limit} bytes"))
        }
        Ok(bytes) => Outcome::Message(Digest::of(&bytes), bytes.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Missing,
        Err(error) => {
            let mut reason = "cannot be read: ".to_owned();
            let _ = write!(reason, "{error}");
            Outcome::Rejected(reason)
        }
    }
}

/// At most one byte more than `limit`, to tell a file that is too large.
fn read_bytes(path: &std::path::Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len().min(limit);
    let mut bytes = Vec::with_capacity(size as usize + 1);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
