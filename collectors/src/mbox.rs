//! `mbox`: mail in mbox files, read-only.
//!
//! - In: one file, or a directory of them (also Thunderbird's, with its `.sbd` directories); plain or gzip.
//! - Out: originals of type `message/rfc822`, without the `From ` line and unquoted. A location is `FILE@OFFSET`.
//! - Cursor: of each file its size and time, how far it was read, and a digest of the bytes before that point.
//!   A file that is as it was is not opened; one that has grown is read on from there; any other is read again,
//!   and messages that only moved in it keep their items.
//! - Not here: identity of items (`mailbox`), conversion.

mod files;
mod message;
mod split;

use crate::collect::{Batch, Collector, Descriptor, Known, Sink, now};
use crate::error::{CollectError, ConfigError};
use crate::mailbox::{Mailbox, Placed, Seen};
use async_trait::async_trait;
use bytes::Bytes;
use files::{Files, Places, State, Step};
use rayon::prelude::*;
use schemars::JsonSchema;
use schemas::{Attributes, Cursor, Digest, Original, RawItem};
use serde::Deserialize;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

/// `kind = "mbox"`.
pub const DESCRIPTOR: Descriptor = Descriptor {
    kind: "mbox",
    about: "Mail in mbox files on this machine: one file, or a folder of them.",
    example: "dkc add mbox path=~/archive.mbox name=archive",
    datasets: &["emails", "email_attachments"],
    secrets: &[],
    paths: &["path"],
    schema: || schemars::schema_for!(MboxConfig),
    build,
};

/// A `source` table with `kind = "mbox"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MboxConfig {
    /// An mbox file, or a directory that is searched for them.
    path: PathBuf,
    /// How body lines that begin with `From ` are kept apart from separators.
    #[serde(default)]
    format: Format,
    /// A larger message is rejected instead of read.
    #[serde(default = "default_max_message_bytes")]
    max_message_bytes: u64,
}

/// Above what mail servers commonly let pass (25 to 50 MiB), and small enough to hold a few at once.
fn default_max_message_bytes() -> u64 {
    64 << 20
}

/// The dialects of mbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// mboxcl2 for a message whose `Content-Length` is true, else mboxrd.
    #[default]
    Auto,
    /// `>` before `From ` and before any `>`s and `From `.
    Mboxrd,
    /// `>` before `From ` only.
    Mboxo,
    /// `Content-Length` and no quoting.
    Mboxcl2,
}

fn build(table: toml_edit::Table) -> Result<Box<dyn Collector>, ConfigError> {
    let config = toml_edit::de::from_document(toml_edit::DocumentMut::from(table))?;
    Ok(Box::new(Mbox { config }))
}

struct Mbox {
    config: MboxConfig,
}

#[async_trait]
impl Collector for Mbox {
    async fn collect(
        &mut self,
        from: Option<Cursor>,
        known: Arc<Known>,
        sink: Sink,
    ) -> Result<(), CollectError> {
        let config = self.config.clone();
        let read = move || read(&config, from, &known, &sink);
        match tokio::task::spawn_blocking(read).await {
            Ok(result) => result,
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(CollectError::Stopped),
            },
        }
    }
}

/// A message ready to be placed.
struct Ready {
    digest: Digest,
    bytes: Bytes,
    seen: Seen,
}

fn read(
    config: &MboxConfig,
    from: Option<Cursor>,
    known: &Known,
    sink: &Sink,
) -> Result<(), CollectError> {
    let before = from.and_then(|Cursor(value)| serde_json::from_value(value).ok()).unwrap_or_default();
    let places = Places::of(known);
    let mut mailbox = Mailbox::new(known);
    let mut state = State::default();
    let mut unread = HashSet::new();
    let mut files = Files::find(config, before, &places)
        .map_err(|source| CollectError::Unreadable { path: config.path.clone(), source })?;
    let mut steps = files.steps();
    loop {
        let is_last = steps.is_empty();
        // The next batch is read while this one is hashed; the one before is with the consumer.
        let (mut ready, next) =
            rayon::join(|| prepare(&mut steps, config.format), || if is_last { Vec::new() } else { files.steps() });
        let mut batch = Batch::at(state.cursor());
        let progress = sink.progress();
        for (step, ready) in steps.into_iter().zip(ready.drain(..)) {
            match step {
                Step::Unchanged { file, below } => {
                    for location in places.of_file(&file, below) {
                        mailbox.unchanged(location);
                        progress.add_seen(1);
                    }
                }
                Step::Message { .. } => {
                    let Some(Ready { digest, bytes, seen }) = ready else { continue };
                    progress.add_seen(1);
                    if let Placed::New { item } = mailbox.place(seen, digest) {
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
                Step::Reject(reject) => {
                    progress.add_seen(1);
                    mailbox.keep(&reject.item);
                    batch.rejects.push(reject);
                }
                Step::Unread { file } => {
                    unread.insert(file);
                }
                Step::Read { file, state: read } => {
                    state.files.insert(file.to_string(), read);
                }
            }
        }
        batch.cursor = state.cursor();
        if is_last {
            mailbox.finish_into(&mut batch, |place| {
                !place.location.rsplit_once('@').is_some_and(|(file, _)| unread.contains(file))
            });
            batch.unchanged = mailbox.take_unchanged();
            return sink.push_blocking(batch);
        }
        mailbox.drain_into(&mut batch);
        let is_empty = batch.originals.is_empty()
            && batch.touched.is_empty()
            && batch.located.is_empty()
            && batch.rejects.is_empty();
        if !is_empty {
            batch.unchanged = mailbox.take_unchanged();
            sink.push_blocking(batch)?;
        }
        steps = next;
    }
}

/// Undoes quoting, reads flags and computes digests, on all cores.
fn prepare(steps: &mut [Step], format: Format) -> Vec<Option<Ready>> {
    let prepare = |step: &mut Step| {
        let Step::Message { file, message } = step else { return None };
        let bytes = message::unquote(message.bytes.take()?, format, message.is_counted);
        let seen = Seen {
            location: file.location(message.offset),
            folder: file.folder.clone(),
            version: message.span.to_string(),
            flags: message::flags(&bytes),
            received_at: message.received_at,
        };
        Some(Ready { digest: Digest::of(&bytes), bytes: bytes.into(), seen })
    };
    steps.par_iter_mut().map(prepare).collect()
}
