//! `maildir`: mail in Maildir folders, read-only.
//!
//! - In: a directory: a Maildir, Maildir++ (`.Archive.2024`), folders in folders, or all of these mixed.
//! - Out: originals of type `message/rfc822`. A location is the folder's directory and the file's name without
//!   its flags, so a message that is flagged, or moves from `new` to `cur`, stays at its place.
//! - Cursor: the number of messages of each folder. It says that `known` may be trusted; a message with the
//!   size and time it had is not read again.
//! - Not here: identity of items (`mailbox`), conversion. `tmp` is never looked at: what lies there is not
//!   delivered yet.

mod doubt;
mod folders;

pub(crate) use doubt::is_maildir;
pub(crate) use folders::{escape, modified_ns};

use crate::collect::{BATCH_BYTES, BATCH_ITEMS, Batch, Collector, Descriptor, Known, Sink, on_own_thread};
use crate::error::{CollectError, ConfigError};
use crate::local_files::look_at_root;
use crate::mailbox::{Mailbox, Placed, Seen, message};
use async_trait::async_trait;
use bytes::Bytes;
use folders::{Entry, Folder};
use rayon::prelude::*;
use schemars::JsonSchema;
use schemas::{Cursor, Digest, Reject};
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
    doubt: doubt::doubt,
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
        on_own_thread(walk).await
    }
}

/// Why the mail of a folder is left as it is.
const TAKEN_AWAY: &str = "it is empty, and mail lay in it or below (is its disk mounted?); its mail stays as it is. Mount the disk; if the \
                          mail was deleted, remove the folder";

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
    /// Places that were rejected in earlier runs.
    rejected: Vec<String>,
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
            state: State {
                rereading,
                ..State::default()
            },
            to_read: Vec::new(),
            bytes_to_read: 0,
            rejects: Vec::new(),
            rejected: known.rejected.clone(),
        }
    }

    fn walk(mut self) -> Result<(), CollectError> {
        let root = &self.config.path;
        let unreadable = |source| CollectError::Unreadable {
            path: root.clone(),
            source,
        };
        let tree = folders::find(root).map_err(unreadable)?;
        self.sink.progress().add_seen(tree.rejects.len() as u64);
        self.rejects = tree.rejects;
        let mut unread = tree.unread;
        for folder in &tree.folders {
            let listing = folder.list();
            let seen = listing.entries.len() + listing.rejects.len();
            self.sink.progress().add_expected(seen as u64);
            self.state
                .folders
                .entry(folder.name.clone())
                .or_default()
                .messages += listing.entries.len();
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
                if entry.size <= self.config.max_message_bytes {
                    self.bytes_to_read += entry.size;
                }
                self.to_read.push((Arc::clone(folder), entry));
                if self.to_read.len() >= BATCH_ITEMS || self.bytes_to_read >= BATCH_BYTES as u64 {
                    let mut batch = self.read();
                    self.mailbox.drain_into(&mut batch);
                    self.push(batch)?;
                }
            }
        }
        self.state.rereading = false;
        let mut batch = self.read();
        let missing = self.mailbox.missing();
        let still_there = still_there(&tree.folders, &missing);
        // A disk may be taken away while it is read: what no listing showed is not gone then.
        look_at_root(root, |_| true).map_err(unreadable)?;
        for (prefix, dir) in folders::taken_away(root, &missing) {
            let dir = dir.display().to_string();
            self.sink.progress().add_seen(1);
            self.sink.progress().warn(format!("`{dir}`: {TAKEN_AWAY}"));
            batch.rejects.push(Reject {
                item: prefix.trim_end_matches('/').to_owned(),
                reason: TAKEN_AWAY.to_owned(),
                raw: Some(dir),
            });
            unread.push(prefix);
        }
        self.mailbox.finish_into(&mut batch, |place| {
            !unread.iter().any(|prefix| place.location.starts_with(prefix))
                && !still_there.contains(&place.location)
        });
        let is_unread = |place: &String| unread.iter().any(|prefix| place.starts_with(prefix));
        batch.forgiven = std::mem::take(&mut self.rejected);
        batch.forgiven.retain(|place| !is_unread(place));
        self.push(batch)
    }

    fn push(&mut self, mut batch: Batch) -> Result<(), CollectError> {
        batch.unchanged = self.mailbox.take_unchanged();
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
            let same = self
                .mailbox
                .at(&location)
                .filter(|place| place.version == version);
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

    /// Reads what waits, and begins a batch with it.
    fn read(&mut self) -> Batch {
        let limit = self.config.max_message_bytes;
        let waiting = std::mem::take(&mut self.to_read);
        self.bytes_to_read = 0;
        let outcomes: Vec<Outcome> = waiting
            .par_iter()
            .map(|(folder, entry)| read(&folder.path(entry), entry.size, limit))
            .collect();
        let mut batch = Batch::at(self.state.cursor());
        let mut renamed = HashMap::new();
        for ((folder, entry), outcome) in waiting.into_iter().zip(outcomes) {
            let (entry, outcome) = match outcome {
                Outcome::Missing => {
                    let listed = renamed
                        .entry(folder.prefix.clone())
                        .or_insert_with(|| folder.list().entries);
                    let Some(entry) = listed.iter().find(|now| now.base() == entry.base()).cloned() else {
                        continue;
                    };
                    let outcome = read(&folder.path(&entry), entry.size, limit);
                    (entry, outcome)
                }
                outcome => (entry, outcome),
            };
            let seen = seen(&folder, &entry);
            self.sink
                .progress()
                .add_seen(u64::from(!matches!(outcome, Outcome::Missing)));
            match outcome {
                Outcome::Message(digest, bytes) => {
                    if let Placed::New { item } = self.mailbox.place(seen, digest) {
                        batch.originals.push(message(item, digest, bytes));
                    }
                }
                Outcome::Rejected(reason) => {
                    self.mailbox.keep(&seen.location);
                    let raw = Some(folder.path(&entry).display().to_string());
                    batch.rejects.push(Reject {
                        item: seen.location,
                        reason,
                        raw,
                    });
                }
                Outcome::Missing => {}
            }
        }
        batch.rejects.append(&mut self.rejects);
        batch
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
        let Some(missing) = by_prefix.get(folder.prefix.as_str()) else {
            continue;
        };
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

fn read(path: &std::path::Path, size: u64, limit: u64) -> Outcome {
    let too_large = || Outcome::Rejected(format!("larger than `max_message_bytes`, {limit} bytes"));
    if size > limit {
        return too_large();
    }
    match read_bytes(path, size, limit) {
        Ok(bytes) if bytes.is_empty() => Outcome::Rejected("empty file".to_owned()),
        // It has grown since it was listed.
        Ok(bytes) if bytes.len() as u64 > limit => too_large(),
        Ok(bytes) => Outcome::Message(Digest::of(&bytes), bytes.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Missing,
        Err(error) => {
            let mut reason = "cannot be read: ".to_owned();
            let _ = write!(reason, "{error}");
            Outcome::Rejected(reason)
        }
    }
}

/// The bytes of a file that was listed with `size`; at most one more than `limit`, to tell one that is too large.
fn read_bytes(path: &std::path::Path, size: u64, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = vec![0; size as usize + 1];
    // Asked for one more than it has, a file that is as it was listed is read by one call.
    let read = file.read(&mut bytes)?;
    bytes.truncate(read);
    if read as u64 != size {
        file.take(limit + 1 - read as u64).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::lake::Lake;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use tempfile::TempDir;

    /// A Maildir with these folders.
    fn maildir(folders: &[&str]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in folders {
            for part in ["cur", "new", "tmp"] {
                fs::create_dir_all(root.path().join(folder).join(part)).unwrap();
            }
        }
        root
    }

    fn write(root: &TempDir, name: &str, text: &str) {
        fs::write(root.path().join(name), text).unwrap();
    }

    fn source(root: &Path) -> String {
        format!("path = {:?}", root.to_str().unwrap())
    }

    fn collect(lake: &mut Lake, root: &TempDir) {
        lake.collect(&DESCRIPTOR, &source(root.path())).unwrap();
    }

    fn rename(root: &TempDir, from: &str, to: &str) {
        fs::rename(root.path().join(from), root.path().join(to)).unwrap();
    }

    #[test]
    fn folders_of_all_layouts_are_found_by_their_names() {
        let root = maildir(&["", ".Archive.2024", "work/todo", ".R%D"]);
        for (folder, text) in [
            ("cur", "a"),
            (".Archive.2024/cur", "b"),
            ("work/todo/new", "c"),
            (".R%D/cur", "d"),
        ] {
            write(&root, &format!("{folder}/1.x"), text);
            write(&root, &format!("{folder}/../tmp/2.x"), "not delivered");
        }
        fs::create_dir_all(root.path().join(".git/objects/cur")).unwrap();
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        let places: Vec<_> = lake
            .locations
            .values()
            .map(|at| (at.folder.as_str(), at.location.as_str()))
            .collect();
        let expected = [
            ("Archive/2024", ".Archive.2024/1.x"),
            ("R%25D", ".R%25D/1.x"),
            ("INBOX", "1.x"),
            ("work/todo", "work/todo/1.x"),
        ];
        assert_eq!(places, expected);
    }

    #[test]
    fn flags_and_keywords_are_read_from_names() {
        let root = maildir(&[""]);
        fs::write(
            root.path().join("dovecot-keywords"),
            b"0 $Label1\n1 caf\xe9\n2 later\n",
        )
        .unwrap();
        for (name, text) in [
            ("1.x:2,FRSTDP", "1"),
            ("2.x:2,Sac", "2"),
            ("3.x!2,S", "3"),
            ("4.x;2,F", "4"),
            ("5.x", "5"),
        ] {
            write(&root, &format!("cur/{name}"), text);
        }
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        let flags = |place: &str| lake.locations[place].flags.join(" ");
        assert_eq!(
            flags("1.x"),
            "$Forwarded \\Answered \\Deleted \\Draft \\Flagged \\Seen"
        );
        assert_eq!(flags("2.x"), "$Label1 \\Seen later");
        assert_eq!(
            [flags("3.x"), flags("4.x"), flags("5.x")],
            ["\\Seen", "\\Flagged", ""]
        );
    }

    #[test]
    fn a_rerun_with_nothing_new_pushes_one_empty_batch_with_the_same_cursor() {
        let root = maildir(&["", ".a"]);
        write(&root, "new/1.x", "one");
        write(&root, ".a/cur/1.x:2,S", "one");
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        let before = lake.clone();
        assert_eq!((before.items.len(), before.locations.len()), (1, 2));
        collect(&mut lake, &root);
        assert_eq!(
            (
                lake.run.located,
                lake.run.touched,
                lake.run.batches,
                lake.run.unchanged
            ),
            (0, 0, 1, 2)
        );
        assert_eq!(lake.cursor, before.cursor);
        lake.cursor = None;
        collect(&mut lake, &root);
        assert_eq!(
            (lake.run.located, lake.run.originals, lake.run.unchanged),
            (0, 0, 2)
        );
        assert_eq!(lake.cursor, before.cursor);
    }

    #[test]
    fn new_flagged_moved_and_deleted_messages_are_seen() {
        let root = maildir(&["", ".a"]);
        for number in 1..=5 {
            write(&root, &format!("new/{number}.x"), &format!("text {number}"));
        }
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        rename(&root, "new/2.x", "cur/2.x:2,S");
        rename(&root, "new/3.x", ".a/cur/3.x:2,");
        fs::remove_file(root.path().join("new/4.x")).unwrap();
        write(&root, "new/6.x", "text 6");
        write(&root, "new/5.x", "another text 5");
        collect(&mut lake, &root);
        let run = &lake.run;
        assert_eq!(
            (run.originals, run.touched, run.vanished, run.unchanged),
            (2, 2, 2, 1)
        );
        let item = |text: &str| &lake.items[&Digest::of(text.as_bytes()).to_string()];
        assert_eq!(item("text 2").flags, ["\\Seen"]);
        assert_eq!(item("text 3").folders, ["a"]);
        assert_eq!(lake.items.len(), 5);
    }

    #[test]
    fn names_that_are_not_utf_8_are_kept_apart() {
        let root = maildir(&[""]);
        for (name, text) in [
            (&b"1.\xff:2,S"[..], "a"),
            (b"1.\xfe:2,S", "b"),
            (b"1.%FF", "c"),
            ("1.ü".as_bytes(), "d"),
        ] {
            fs::write(root.path().join("cur").join(OsStr::from_bytes(name)), text).unwrap();
        }
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        let places: Vec<_> = lake.locations.keys().map(String::as_str).collect();
        assert_eq!(places, ["1.%25FF", "1.%FE", "1.%FF", "1.ü"]);
    }

    #[test]
    fn what_is_no_readable_message_is_rejected_with_a_reason() {
        let root = maildir(&[""]);
        write(&root, "cur/1.ok", "text");
        write(&root, "cur/2.empty", "");
        write(&root, "cur/3.large", &"x".repeat(101));
        write(&root, "cur/.hidden", "no message");
        fs::create_dir(root.path().join("cur/4.dir")).unwrap();
        symlink("5.loop", root.path().join("cur/5.loop")).unwrap();
        symlink("nowhere", root.path().join("cur/6.broken")).unwrap();
        symlink("1.ok", root.path().join("cur/7.link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("cur/8.socket")).unwrap();
        let mut lake = Lake::default();
        let source = source(root.path()) + "\nmax_message_bytes = 100";
        lake.collect(&DESCRIPTOR, &source).unwrap();
        let mut reasons: Vec<_> = lake
            .run
            .rejects
            .iter()
            .map(|reject| format!("{}: {}", reject.item, reject.reason))
            .collect();
        reasons.sort();
        let expected = [
            "2.empty: empty file",
            "3.large: larger than `max_message_bytes`, 100 bytes",
            "4.dir: not a regular file",
            "5.loop: cannot be read: Too many levels of symbolic links (os error 40)",
            "6.broken: cannot be read: No such file or directory (os error 2)",
            "8.socket: not a regular file",
        ];
        assert_eq!(reasons, expected);
        assert_eq!(lake.locations.len(), 2);
    }

    #[test]
    fn a_message_that_becomes_unreadable_does_not_vanish() {
        let root = maildir(&["", ".a"]);
        write(&root, "cur/1.x", "one");
        write(&root, ".a/cur/2.x", "two");
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        write(&root, "cur/1.x", "");
        fs::rename(root.path().join(".a/cur"), root.path().join(".a/elsewhere")).unwrap();
        write(&root, ".a/cur", "a file where a directory must be");
        collect(&mut lake, &root);
        assert_eq!(
            (lake.run.rejects.len(), lake.locations.len(), lake.run.vanished),
            (2, 2, 0)
        );
        fs::remove_dir_all(root.path().join(".a")).unwrap();
        collect(&mut lake, &root);
        assert_eq!(
            (lake.run.rejects.len(), lake.locations.len(), lake.run.vanished),
            (1, 1, 1)
        );
    }

    #[test]
    fn links_to_directories_are_not_followed_and_those_that_lead_out_are_named() {
        let root = maildir(&["", ".a"]);
        let other = maildir(&[""]);
        write(&root, "cur/1.x", "one");
        symlink("..", root.path().join(".a/loop")).unwrap();
        symlink(root.path(), root.path().join(".self")).unwrap();
        symlink(other.path(), root.path().join(".other")).unwrap();
        let tree = folders::find(root.path()).unwrap();
        assert_eq!(tree.folders.len(), 2);
        assert_eq!(
            tree.rejects
                .iter()
                .map(|reject| reject.item.as_str())
                .collect::<Vec<_>>(),
            [".other"]
        );
    }

    #[test]
    fn a_path_that_is_missing_or_no_maildir_is_an_error_and_nothing_vanishes() {
        let root = maildir(&[""]);
        write(&root, "cur/1.x", "one");
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        let (locations, path) = (lake.locations.clone(), source(root.path()));
        let error = |lake: &mut Lake| {
            let error = lake.collect(&DESCRIPTOR, &path).unwrap_err();
            std::error::Error::source(&error).unwrap().to_string()
        };
        for part in ["cur", "new"] {
            fs::remove_dir_all(root.path().join(part)).unwrap();
        }
        assert!(error(&mut lake).contains("not a Maildir"));
        fs::remove_dir_all(root.path()).unwrap();
        assert!(error(&mut lake).contains("No such file"));
        fs::write(root.path(), "From a@b\n").unwrap();
        assert!(error(&mut lake).contains("`kind = \"mbox\"`"));
        fs::remove_file(root.path()).unwrap();
        assert_eq!(lake.locations, locations);
    }

    #[test]
    fn a_reject_stays_until_its_file_is_gone_or_mended() {
        let root = maildir(&[""]);
        write(&root, "cur/1.x:2,", "");
        write(&root, "cur/2.x:2,", "");
        let mut lake = Lake::default();
        let mut rejected = || {
            lake.collect(&DESCRIPTOR, &source(root.path())).unwrap();
            lake.rejected.len()
        };
        assert_eq!((rejected(), rejected()), (2, 2));
        fs::remove_file(root.path().join("cur/1.x:2,")).unwrap();
        assert_eq!(rejected(), 1);
        write(&root, "cur/2.x:2,", "Subject: mended\n\n");
        assert_eq!(rejected(), 0);
    }

    #[test]
    fn a_file_renamed_after_it_was_listed_is_found_under_its_new_name() {
        let root = maildir(&[""]);
        write(&root, "new/1.x", "one");
        write(&root, "new/2.x", "two");
        let config = MaildirConfig {
            path: root.path().to_owned(),
            max_message_bytes: 100,
        };
        let (sink, _receiver) = Sink::channel(Arc::default(), fixtures::provenance());
        let mut run = Run::begin(&config, None, &Known::default(), &sink);
        let tree = folders::find(root.path()).unwrap();
        let entries = tree.folders[0].list().entries;
        run.to_read = entries
            .into_iter()
            .map(|entry| (Arc::clone(&tree.folders[0]), entry))
            .collect();
        rename(&root, "new/1.x", "cur/1.x:2,S");
        fs::remove_file(root.path().join("new/2.x")).unwrap();
        let mut batch = run.read();
        run.mailbox.drain_into(&mut batch);
        assert_eq!((batch.located.len(), batch.rejects.len()), (1, 0));
        assert_eq!(batch.located[0].flags, ["\\Seen"]);
    }

    #[test]
    fn a_run_killed_between_batches_is_completed_by_the_next() {
        let root = maildir(&["", ".a"]);
        for number in 0..BATCH_ITEMS + 10 {
            write(&root, &format!("cur/{number}.x"), &format!("text {}", number / 2));
        }
        let mut whole = Lake::default();
        collect(&mut whole, &root);
        let mut killed = Lake::default();
        killed.kill_after(1, &DESCRIPTOR, &source(root.path()));
        assert_eq!(killed.locations.len(), BATCH_ITEMS);
        collect(&mut killed, &root);
        assert_eq!(
            (&killed.items, &killed.locations),
            (&whole.items, &whole.locations)
        );
        assert_eq!((killed.run.originals, &killed.cursor), (10, &whole.cursor));
    }

    #[test]
    fn what_lies_in_a_maildir_that_is_taken_away_while_it_is_read_is_not_gone() {
        let root = maildir(&["", ".later"]);
        write(&root, ".later/cur/1.x", "known");
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        for number in 0..3 * BATCH_ITEMS {
            write(&root, &format!("cur/{number}.x"), &format!("text {number}"));
        }
        let config = MaildirConfig {
            path: root.path().to_owned(),
            max_message_bytes: 100,
        };
        let (sink, mut batches) = Sink::channel(Arc::default(), fixtures::provenance());
        let (from, known) = (lake.cursor.clone(), lake.known());
        let run = std::thread::spawn(move || Run::begin(&config, from, &known, &sink).walk());
        lake.apply(batches.blocking_recv().unwrap());
        // The third batch waits for the second to be taken, and the other folder is listed after it.
        fs::remove_dir_all(root.path()).unwrap();
        while let Some(batch) = batches.blocking_recv() {
            lake.apply(batch);
        }
        let error = run.join().unwrap().unwrap_err();
        assert!(matches!(error, CollectError::Unreadable { .. }), "{error}");
        assert_eq!(lake.run.vanished, 0, "{:?}", lake.run);
    }

    #[test]
    fn mail_of_a_folder_that_is_left_empty_stays_until_its_disk_is_back_or_it_is_removed() {
        let root = maildir(&["", ".100% a", "work/todo"]);
        let elsewhere = tempfile::tempdir().unwrap();
        for place in ["cur/1.x", ".100% a/cur/2.x", "work/todo/new/3.x"] {
            write(&root, place, place);
        }
        let mut lake = Lake::default();
        collect(&mut lake, &root);
        // The one is a folder of mail, the other holds one.
        for away in [".100% a", "work"] {
            fs::rename(root.path().join(away), elsewhere.path().join(away)).unwrap();
            fs::create_dir(root.path().join(away)).unwrap();
        }
        for _ in 0..2 {
            collect(&mut lake, &root);
            let items = lake.run.rejects.iter().map(|reject| reject.item.as_str());
            assert_eq!(items.collect::<Vec<_>>(), [".100%25 a", "work"]);
            assert_eq!((lake.locations.len(), lake.run.vanished), (3, 0));
        }
        for away in [".100% a", "work"] {
            fs::remove_dir(root.path().join(away)).unwrap();
        }
        fs::rename(elsewhere.path().join(".100% a"), root.path().join(".100% a")).unwrap();
        collect(&mut lake, &root);
        assert_eq!((lake.locations.len(), lake.run.vanished), (2, 1));
        assert!(lake.rejected.is_empty(), "{:?}", lake.rejected);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let table = "path = \"/x\"\nfolder = 1"
            .parse::<toml_edit::DocumentMut>()
            .unwrap()
            .as_table()
            .clone();
        let error = build(table).err().unwrap();
        assert!(error.message.contains("`folder`"), "{error}");
    }
}
