//! `mbox`: mail in mbox files, read-only.
//!
//! - In: one file, or a directory of them (also Thunderbird's, with its `.sbd` directories); plain or gzip.
//! - Out: originals of type `message/rfc822`, without the `From ` line and unquoted. A location is `FILE@OFFSET`.
//! - Cursor: of each file its size and time, how far it was read, and a digest of the bytes before that point.
//!   A file that is as it was is not opened; one that has grown is read on from there; any other is read again,
//!   and messages that only moved in it keep their items.
//! - Not here: identity of items (`mailbox`), conversion.

mod doubt;
mod files;
mod message;
mod split;
mod state;

use crate::collect::{Batch, Collector, Descriptor, Known, Sink, on_own_thread};
use crate::error::{CollectError, ConfigError};
use crate::mailbox::{Mailbox, Placed, Seen, message};
use async_trait::async_trait;
use bytes::Bytes;
use files::{Files, Step};
use rayon::prelude::*;
use schemars::JsonSchema;
use schemas::{Cursor, Digest};
use serde::Deserialize;
use state::{Places, State};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
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
    doubt: doubt::doubt,
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
        on_own_thread(read).await
    }
}

/// A message ready to be placed.
struct Ready {
    digest: Digest,
    bytes: Bytes,
    seen: Seen,
}

fn read(config: &MboxConfig, from: Option<Cursor>, known: &Known, sink: &Sink) -> Result<(), CollectError> {
    let before = from
        .and_then(|Cursor(value)| serde_json::from_value(value).ok())
        .unwrap_or_default();
    let places = Places::of(known);
    let mut mailbox = Mailbox::new(known);
    let mut state = State::default();
    let mut unread = HashSet::new();
    let mut kept = HashMap::new();
    let mut files = Files::find(config, before, &places).map_err(|source| CollectError::Unreadable {
        path: config.path.clone(),
        source,
    })?;
    let mut steps = files.steps();
    loop {
        // The next batch is read while this one is hashed; the one before is with the consumer.
        let (ready, next) = rayon::join(|| prepare(&mut steps, config.format), || files.steps());
        let mut batch = Batch::at(state.cursor());
        let progress = sink.progress();
        for (step, ready) in steps.into_iter().zip(ready) {
            match step {
                Step::Unchanged { file, below } => {
                    kept.insert(Arc::clone(&file), below);
                    for location in places.of_file(&file, below) {
                        mailbox.unchanged(location);
                        progress.add_seen(1);
                    }
                }
                Step::Message { .. } => {
                    let Some(Ready { digest, bytes, seen }) = ready else {
                        continue;
                    };
                    progress.add_seen(1);
                    if let Placed::New { item } = mailbox.place(seen, digest) {
                        batch.originals.push(message(item, digest, bytes));
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
        if next.is_empty() {
            mailbox.finish_into(&mut batch, |place| {
                !place
                    .location
                    .rsplit_once('@')
                    .is_some_and(|(file, _)| unread.contains(file))
            });
            let looked_at = |place: &&String| is_looked_at(place, &unread, &kept);
            batch.forgiven = known.rejected.iter().filter(looked_at).cloned().collect();
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

/// Whether this run looked at a place that was rejected before, or found its file gone.
fn is_looked_at(place: &str, unread: &HashSet<Arc<str>>, kept: &HashMap<Arc<str>, u64>) -> bool {
    let message = place.rsplit_once('@');
    let message = message.and_then(|(file, offset)| Some((file, offset.parse::<u64>().ok()?)));
    let (file, offset) = message.unwrap_or((place, 0));
    let is_unread = |path: &Path| path.to_str().is_some_and(|path| unread.contains(path));
    let is_kept = message.is_some() && kept.get(file).is_some_and(|below| offset < *below);
    !is_kept && !Path::new(file).ancestors().any(is_unread)
}

/// Undoes quoting, reads flags and computes digests, on all cores.
fn prepare(steps: &mut [Step], format: Format) -> Vec<Option<Ready>> {
    let prepare = |step: &mut Step| {
        let Step::Message { file, message } = step else {
            return None;
        };
        let bytes = message::unquote(message.bytes.take()?, format, message.is_counted);
        let seen = Seen {
            location: file.location(message.offset),
            folder: file.folder.clone(),
            version: bytes.len().to_string(),
            flags: message::flags(&bytes),
            received_at: message.received_at,
        };
        Some(Ready {
            digest: Digest::of(&bytes),
            bytes: bytes.into(),
            seen,
        })
    };
    steps.par_iter_mut().map(prepare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::BATCH_ITEMS;
    use crate::mailbox::lake::Lake;
    use std::fs;
    use std::io::Write;
    use std::path::Path;
    use tempfile::TempDir;

    const FROM: &str = "From a@b Sat Jan  3 01:05:34 1996\n";

    fn message(text: &str) -> String {
        format!("{FROM}Subject: {text}\n\n{text}\n\n")
    }

    fn messages(texts: &[&str]) -> String {
        texts.iter().map(|text| message(text)).collect()
    }

    fn source(path: &Path) -> String {
        format!("path = {:?}", path.to_str().unwrap())
    }

    fn write(root: &TempDir, name: &str, text: impl AsRef<[u8]>) {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn append(root: &TempDir, name: &str, text: &str) {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(root.path().join(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn collect(lake: &mut Lake, root: &TempDir) {
        lake.collect(&DESCRIPTOR, &source(root.path())).unwrap();
    }

    fn reasons(lake: &Lake) -> Vec<String> {
        lake.run
            .rejects
            .iter()
            .map(|reject| format!("{}: {}", reject.item, reject.reason))
            .collect()
    }

    #[test]
    fn a_folder_of_many_files_is_collected_with_names_flags_and_dates() {
        let root = tempfile::tempdir().unwrap();
        write(&root, "Inbox", format!("{FROM}Status: RO\n\n>From x\n"));
        write(&root, "Inbox.msf", "index");
        write(&root, "Archives.sbd/2024.mbox", messages(&["b", "c", "c"]));
        write(&root, "empty.mbox", "");
        write(&root, "notes.txt", "hello");
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        let places: Vec<_> = lake
            .locations
            .values()
            .map(|at| (at.folder.as_str(), at.location.as_str()))
            .collect();
        let archive = "Archives/2024";
        let expected = [
            (archive, "Archives.sbd/2024.mbox@0"),
            (archive, "Archives.sbd/2024.mbox@49"),
            (archive, "Archives.sbd/2024.mbox@98"),
            ("Inbox", "Inbox@0"),
        ];
        assert_eq!(places, expected);
        assert_eq!(
            reasons(&lake),
            ["notes.txt: not an mbox: it does not begin with a `From ` line"]
        );
        let inbox = &lake.locations["Inbox@0"];
        assert_eq!(
            (inbox.flags.as_slice(), inbox.received_at),
            (&["\\Seen".to_owned()][..], Some(820_631_134_000_000))
        );
        assert_eq!(lake.originals[&inbox.item], b"Status: RO\n\nFrom x\n");
    }

    #[test]
    fn a_rerun_does_not_open_the_file_and_pushes_one_empty_batch_with_the_same_cursor() {
        let root = tempfile::tempdir().unwrap();
        write(&root, "a.mbox", messages(&["1", "2"]));
        write(&root, "empty.mbox", "");
        let mut lake = Lake::default();
        let path = root.path().join("a.mbox");
        collect(&mut lake, &root);
        let cursor = lake.cursor.clone();
        // Other bytes, same size and time: were it opened, it would be rejected.
        let times = fs::metadata(&path).unwrap();
        fs::write(&path, "x".repeat(times.len() as usize)).unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(times.modified().unwrap())
            .unwrap();
        collect(&mut lake, &root);
        assert_eq!(
            (lake.run.located, lake.run.batches, lake.run.unchanged),
            (0, 1, 2)
        );
        assert_eq!(lake.cursor, cursor);
        lake.cursor = None;
        collect(&mut lake, &root);
        assert_eq!((lake.run.rejects.len(), lake.run.vanished), (1, 0));
    }

    #[test]
    fn a_reject_stays_until_its_message_or_its_file_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let source = format!("{}\nmax_message_bytes = 60\n", source(root.path()));
        let long = "x".repeat(70);
        write(&root, "a.mbox", messages(&["1", &long]));
        write(&root, "notes.txt", "hello");
        let mut lake = Lake::default();
        let mut rejected = || {
            lake.collect(&DESCRIPTOR, &source).unwrap();
            lake.rejected.iter().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(rejected(), "a.mbox@49 notes.txt");
        assert_eq!(rejected(), "a.mbox@49 notes.txt", "a file that is as it was");
        append(&root, "a.mbox", &message("3"));
        assert_eq!(rejected(), "a.mbox@49 notes.txt", "a file that has grown");
        fs::remove_file(root.path().join("notes.txt")).unwrap();
        assert_eq!(rejected(), "a.mbox@49");
        write(&root, "a.mbox", messages(&["1"]));
        assert_eq!(rejected(), "");
    }

    #[test]
    fn a_grown_file_is_read_on_from_its_old_end() {
        let root = tempfile::tempdir().unwrap();
        write(
            &root,
            "a.mbox",
            messages(&["1", "2"]).trim_end().to_owned() + "\n",
        );
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        append(&root, "a.mbox", &format!("\n{}", message("3")));
        collect(&mut lake, &root);
        assert_eq!(
            (
                lake.run.originals,
                lake.run.located,
                lake.run.unchanged,
                lake.run.vanished
            ),
            (1, 1, 2, 0)
        );
        // What is appended belongs to the last message: nothing but reading all again will do.
        append(&root, "a.mbox", "more\n");
        collect(&mut lake, &root);
        assert_eq!(
            (lake.run.originals, lake.run.vanished, lake.run.unchanged),
            (1, 1, 2)
        );
    }

    #[test]
    fn a_file_that_changed_and_kept_its_size_is_read_again() {
        let root = tempfile::tempdir().unwrap();
        // What changes lies far before the end.
        let mbox = |status: &str| {
            let first = format!("{FROM}X-Mozilla-Status: {status}\n\n1\n\n");
            first + &message(&"x".repeat(9_000))
        };
        write(&root, "a.mbox", mbox("0000"));
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        let path = root.path().join("a.mbox");
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        write(&root, "a.mbox", mbox("0001"));
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(modified + std::time::Duration::from_secs(1))
            .unwrap();
        collect(&mut lake, &root);
        assert_eq!(lake.locations["a.mbox@0"].flags, ["\\Seen"]);
    }

    #[test]
    fn a_file_is_read_on_as_its_first_separator_asks() {
        for (first, found) in [("From -\n", 3), (FROM, 2)] {
            let root = tempfile::tempdir().unwrap();
            write(&root, "a.mbox", format!("{first}A: 1\n\n1\n"));
            let mut lake = Lake::default();
            collect(&mut lake, &root);
            append(&root, "a.mbox", &format!("\n{FROM}A: 2\n\n2\n\nFrom now\non\n"));
            collect(&mut lake, &root);
            assert_eq!((lake.locations.len(), lake.run.unchanged), (found, 1), "{first}");
        }
    }

    #[test]
    fn a_linked_folder_elsewhere_is_a_reject_and_does_not_stand_for_files_that_are_gone() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(&root, "lists.sbd/a.mbox", message("1"));
        write(&other, "b.mbox", message("2"));
        std::os::unix::fs::symlink(other.path(), root.path().join("old")).unwrap();
        std::os::unix::fs::symlink(root.path().join("lists.sbd"), root.path().join("inside")).unwrap();
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        assert_eq!(
            reasons(&lake),
            ["old: a link to a folder elsewhere is not followed; add its target as a source of its own"]
        );
        assert_eq!(lake.locations.len(), 1);
        fs::remove_file(root.path().join("lists.sbd/a.mbox")).unwrap();
        lake.collect(&DESCRIPTOR, &source(root.path())).unwrap_err();
        assert_eq!(lake.locations.len(), 1);
    }

    #[test]
    fn a_compacted_file_makes_no_duplicates_and_lets_only_the_removed_vanish() {
        let root = tempfile::tempdir().unwrap();
        write(&root, "a.mbox", messages(&["1", "2", "3", "3", "44"]));
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        let before = lake.clone();
        write(&root, "a.mbox", messages(&["2", "3", "3", "44"]));
        collect(&mut lake, &root);
        assert_eq!(
            (lake.run.originals, lake.run.touched, lake.run.vanished),
            (0, 0, 1)
        );
        assert_eq!(lake.items.len(), before.items.len() - 1);
        write(&root, "a.mbox", "");
        collect(&mut lake, &root);
        assert_eq!((lake.items.len(), lake.locations.len()), (0, 0));
    }

    #[test]
    fn gzip_is_read_and_damage_in_it_lets_nothing_vanish() {
        let root = tempfile::tempdir().unwrap();
        let gz = |text: &str| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let two = [gz(&message("1")), gz(&messages(&["2", "3"]))].concat();
        write(&root, "old.mbox.gz", &two);
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        assert_eq!(
            (lake.items.len(), lake.locations["old.mbox.gz@0"].folder.as_str()),
            (3, "old")
        );
        collect(&mut lake, &root);
        assert_eq!((lake.run.unchanged, lake.run.located), (3, 0));
        write(&root, "old.mbox.gz", &two[..two.len() - 20]);
        collect(&mut lake, &root);
        assert!(
            reasons(&lake)[0].starts_with("old.mbox.gz: cannot be read"),
            "{:?}",
            reasons(&lake)
        );
        assert_eq!((lake.items.len(), lake.run.vanished), (3, 0));
    }

    #[test]
    fn the_format_decides_what_a_quote_is() {
        let root = tempfile::tempdir().unwrap();
        let body = "\n>From a\n>>From b\n";
        write(
            &root,
            "a.mbox",
            format!(
                "{FROM}Content-Length: {}\n{body}\n{FROM}\n>>From c\n",
                body.len() - 1
            ),
        );
        let read = |format: &str| {
            let mut lake = Lake::default();
            let source = source(&root.path().join("a.mbox")) + format;
            lake.collect(&DESCRIPTOR, &source).unwrap();
            let texts = lake
                .locations
                .values()
                .map(|at| String::from_utf8_lossy(&lake.originals[&at.item]).into_owned());
            texts
                .map(|text| text.split_once("\n").unwrap().1.replace('\n', "|"))
                .collect::<Vec<_>>()
        };
        assert_eq!(read(""), ["|>From a|>>From b|", ">From c|"]);
        assert_eq!(read("\nformat = \"mboxrd\""), ["|From a|>From b|", ">From c|"]);
        assert_eq!(read("\nformat = \"mboxo\""), ["|From a|>>From b|", ">>From c|"]);
        assert_eq!(
            read("\nformat = \"mboxcl2\""),
            ["|>From a|>>From b|", ">>From c|"]
        );
    }

    #[test]
    fn empty_and_over_long_messages_are_rejected_and_the_next_is_read() {
        let root = tempfile::tempdir().unwrap();
        let long = "x".repeat(1_000);
        write(
            &root,
            "a.mbox",
            format!("{FROM}\n{}{FROM}A: b\n\ncut of", messages(&[&long, "2"])),
        );
        let mut lake = Lake::default();
        lake.collect(&DESCRIPTOR, &(source(root.path()) + "\nmax_message_bytes = 999"))
            .unwrap();
        let expected = [
            "a.mbox@0: empty message",
            "a.mbox@35: larger than `max_message_bytes`, 999 bytes",
        ];
        assert_eq!(reasons(&lake), expected);
        assert_eq!(lake.items.len(), 2);
        assert!(lake.originals.values().any(|bytes| bytes == b"A: b\n\ncut of"));
    }

    #[test]
    fn a_message_that_was_too_large_is_read_when_the_limit_is_raised() {
        let root = tempfile::tempdir().unwrap();
        let (long, longer) = ("x".repeat(1_000), "y".repeat(5_000));
        write(&root, "a.mbox", messages(&["1", &long, "2", &longer]));
        write(&root, "b.mbox", messages(&["3"]));
        let mut lake = Lake::default();
        let mut with = |limit: u64| {
            let source = format!("{}\nmax_message_bytes = {limit}", source(root.path()));
            lake.collect(&DESCRIPTOR, &source).unwrap();
            (lake.run.originals, lake.run.rejects.len(), lake.rejected.len())
        };
        assert_eq!(with(999), (3, 2, 2));
        assert_eq!(with(999), (0, 0, 2), "the file is not opened");
        append(&root, "a.mbox", &message("4"));
        assert_eq!(with(999), (1, 0, 2), "it is read on");
        assert_eq!(
            with(500),
            (0, 0, 2),
            "a lower limit rejects nothing that is stored"
        );
        assert_eq!(with(4_000), (1, 1, 1));
        assert_eq!(with(4_000), (0, 0, 1));
        assert_eq!(with(40_000), (1, 0, 0));
        assert_eq!(with(80_000), (0, 0, 0));
        assert_eq!(lake.items.len(), 6);
    }

    #[test]
    fn a_run_killed_between_batches_is_completed_by_the_next() {
        let root = tempfile::tempdir().unwrap();
        let texts: Vec<String> = (0..BATCH_ITEMS + 10)
            .map(|number| (number / 2).to_string())
            .collect();
        write(
            &root,
            "a.mbox",
            texts.iter().map(|text| message(text)).collect::<String>(),
        );
        let mut whole = Lake::default();
        collect(&mut whole, &root);
        let mut killed = Lake::default();
        killed.kill_after(1, &DESCRIPTOR, &source(root.path()));
        assert!((1..BATCH_ITEMS + 10).contains(&killed.locations.len()));
        collect(&mut killed, &root);
        assert_eq!(
            (&killed.items, &killed.locations),
            (&whole.items, &whole.locations)
        );
        assert!(killed.run.unchanged >= BATCH_ITEMS as u64, "{:?}", killed.run);
        assert_eq!(killed.cursor, whole.cursor);
    }

    #[test]
    fn a_maildir_is_an_error_that_names_its_kind() {
        let root = tempfile::tempdir().unwrap();
        for part in ["cur", "new", "tmp"] {
            write(&root, &format!("{part}/1.x"), "Subject: 1\n\n");
        }
        let mut lake = Lake::default();
        let error = lake.collect(&DESCRIPTOR, &source(root.path())).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("`kind = \"maildir\"`"), "{cause}");
    }

    #[test]
    fn an_emptied_directory_is_an_error_and_nothing_vanishes() {
        let root = tempfile::tempdir().unwrap();
        write(&root, "a.mbox", message("1"));
        write(&root, "b.mbox", message("2"));
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        fs::remove_file(root.path().join("a.mbox")).unwrap();
        collect(&mut lake, &root);
        assert_eq!((lake.run.vanished, lake.locations.len()), (1, 1));
        fs::remove_file(root.path().join("b.mbox")).unwrap();
        lake.collect(&DESCRIPTOR, &source(root.path())).unwrap_err();
        lake.collect(&DESCRIPTOR, &source(&root.path().join("b.mbox")))
            .unwrap_err();
        assert_eq!(lake.locations.len(), 1);
    }
}
