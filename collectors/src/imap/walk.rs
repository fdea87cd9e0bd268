//! One run over an account: what changed in each folder, in batches.
//!
//! - In: connections, one after another as they break. Out: batches in the sink.
//! - In a folder, first what was there (flags, what vanished), then what is new: sizes and dates, headers of
//!   what may be known from elsewhere, bodies of the rest, two `FETCH` commands under way at once.
//! - Not here: the protocol (`connection`), and when to connect again (`imap`).

use super::ImapConfig;
use super::connection::{Answer, Connection, Message, Next, Shown, WINDOW};
use super::fingerprint::{Outline, moment};
use super::folders::{Folder, Selection};
use super::state::{FolderState, State};
use crate::collect::{BATCH_BYTES, BATCH_ITEMS, Batch, Known, Sink, now};
use crate::error::CollectError;
use crate::mailbox::{Mailbox, Placed, Seen};
use bytes::Bytes;
use schemas::{Cursor, Digest, Location, Original, RawItem, Reject};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Messages per `FETCH` of headers or bodies. Fewer: more round trips. More: the cursor advances less often.
const FETCH_ITEMS: usize = 500;

/// Bytes of messages per `FETCH`, for the same reason.
const FETCH_BYTES: u64 = 4 << 20;

/// Length of a set of UIDs in a command (RFC 2683 §3.2.1.5 advises 1,000 for the whole line).
const SET_LENGTH: usize = 900;

/// Known places compared at once.
const KEEP: usize = WINDOW as usize;

/// A message at which the connection broke this often is rejected.
const FAILURES: u32 = 3;

/// So many messages rejected in a row for that reason mean that the server is broken, not the messages.
const POISONED: u32 = 3;

/// A run, and what it remembers from one connection to the next.
pub(super) struct Walk {
    selection: Selection,
    max_message_bytes: u32,
    sink: Sink,
    known: Arc<Known>,
    /// Known places by folder and UIDVALIDITY: UID and index into `known`, by UID.
    places: HashMap<(String, u32), Vec<(u32, usize)>>,
    mailbox: Mailbox,
    outlines: HashSet<Outline>,
    batch: Batch,
    bytes: usize,
    /// Places located since the last batch.
    located: usize,
    state: State,
    /// The folders that the last `LIST` showed.
    listed: Option<HashSet<String>>,
    done: HashSet<String>,
    /// Folders that could not be opened: nothing is known of what they hold.
    skipped: HashSet<String>,
    /// Number of messages of each folder that was read to its end, for the cursor of the last batch.
    messages: HashMap<String, u32>,
    open: Open,
    /// The message whose body is awaited, and at which messages connections broke.
    awaited: Option<u32>,
    suspect: Option<(u32, u32)>,
    poisoned: u32,
    steps: u64,
}

/// The folder that is open.
#[derive(Default)]
struct Open {
    name: String,
    uidvalidity: u32,
    /// Known places that were compared.
    kept: usize,
    compared: bool,
    /// The folder was opened by an earlier connection of this run.
    again: bool,
    /// UIDs at or above the cursor's that are dealt with.
    dealt_with: BTreeSet<u32>,
}

/// A message that is new at its place.
struct New {
    uid: u32,
    flags: Vec<String>,
    outline: Outline,
}

impl Walk {
    /// Prepares a run. Without a cursor, bytes are read again even of known places.
    pub fn new(config: &ImapConfig, from: Option<Cursor>, known: Arc<Known>, sink: Sink) -> Self {
        let from = State::read(from);
        let mut places: HashMap<(String, u32), Vec<(u32, usize)>> = HashMap::new();
        let mut outlines = HashSet::new();
        if from.is_some() {
            for (index, location) in known.locations.iter().enumerate() {
                let mut parts = location.location.rsplitn(3, '/').map(str::parse::<u32>);
                if let (Some(Ok(uid)), Some(Ok(uidvalidity))) = (parts.next(), parts.next()) {
                    places.entry((location.folder.clone(), uidvalidity)).or_default().push((uid, index));
                }
                outlines.extend(Outline::of_fingerprint(&location.version));
            }
            places.values_mut().for_each(|uids| uids.sort_unstable());
        }
        let state = from.unwrap_or_default();
        Self {
            selection: Selection::new(&config.folders, &config.exclude),
            max_message_bytes: config.max_message_bytes,
            sink,
            mailbox: Mailbox::new(&known),
            known,
            places,
            outlines,
            batch: Batch::at(state.write()),
            bytes: 0,
            located: 0,
            state,
            listed: None,
            done: HashSet::new(),
            skipped: HashSet::new(),
            messages: HashMap::new(),
            open: Open::default(),
            awaited: None,
            suspect: None,
            poisoned: 0,
            steps: 0,
        }
    }

    /// A number that grows while the walk advances.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether another connection may bring the walk further, after this error.
    ///
    /// A message at which connections break again and again is rejected, so that the others can be read.
    pub fn may_go_on_after(&mut self, error: &CollectError) -> bool {
        let Some(uid) = self.awaited.take() else { return error.is_transient() };
        if !error.is_transient() && !matches!(error, CollectError::Protocol { .. }) {
            return false;
        }
        let failures = self.suspect.filter(|&(suspect, _)| suspect == uid).map_or(1, |(_, failures)| failures + 1);
        self.suspect = Some((uid, failures));
        if failures < FAILURES {
            return true;
        }
        self.poisoned += 1;
        if self.poisoned >= POISONED {
            return false;
        }
        self.reject(uid, format!("the server fails whenever it sends this message: {error}"));
        true
    }

    /// Visits all folders that are still to be visited.
    pub async fn visit(&mut self, connection: &mut Connection) -> Result<(), CollectError> {
        let folders = connection.folders(&self.selection).await?;
        let statuses = connection.statuses(&folders).await?;
        if self.listed.is_none() {
            let messages = statuses.iter().flatten().map(|shown| u64::from(shown.messages));
            self.sink.progress().add_expected(messages.sum());
        }
        self.listed = Some(folders.iter().map(|folder| folder.name.clone()).collect());
        for (folder, status) in folders.into_iter().zip(statuses) {
            if self.done.contains(&folder.name) {
                continue;
            }
            match status {
                Some(status) => self.folder(connection, &folder, status).await?,
                None => self.skip(&folder.name),
            }
            self.done.insert(folder.name);
            self.steps += 1;
        }
        Ok(())
    }

    /// Ends the run with the batch that removes what is gone.
    pub async fn finish(mut self) -> Result<(), CollectError> {
        if let Some(listed) = &self.listed {
            self.state.folders.retain(|name, _| listed.contains(name));
        }
        for (name, messages) in self.messages.drain() {
            if let Some(folder) = self.state.folders.get_mut(&name) {
                folder.messages = Some(messages);
            }
        }
        self.batch.cursor = self.state.write();
        let skipped = &self.skipped;
        self.mailbox.finish_into(&mut self.batch, |location| !skipped.contains(&location.folder));
        self.batch.unchanged += self.mailbox.take_unchanged();
        self.sink.push(self.batch).await
    }

    fn skip(&mut self, name: &str) {
        tracing::warn!(folder = name, "cannot be opened; left out of this run");
        self.skipped.insert(name.to_owned());
    }

    async fn folder(
        &mut self,
        connection: &mut Connection,
        folder: &Folder,
        status: Shown,
    ) -> Result<(), CollectError> {
        let name = &folder.name;
        if self.state.folders.get(name).is_some_and(|old| is_as_it_was(old, &status)) {
            self.all_unchanged(name, status.uidvalidity);
            return Ok(());
        }
        let Some(shown) = connection.examine(folder).await? else {
            self.skip(name);
            return Ok(());
        };
        let (uidvalidity, end) = (shown.uidvalidity, shown.uidnext.unwrap_or(1));
        if self.open.name != *name || self.open.uidvalidity != uidvalidity {
            self.open = Open { name: name.clone(), uidvalidity, ..Open::default() };
        } else {
            self.open.again = true;
        }
        let old = self.state.folders.get(name).filter(|old| old.uidvalidity == uidvalidity).cloned();
        let old = old.unwrap_or(FolderState { uidvalidity, uidnext: 1, highestmodseq: None, messages: None });
        let mut from = old.uidnext;
        let mut first = Some(self.new_in(connection, from, end).await?);
        if !self.open.compared {
            // How many new ones there are tells whether any old one vanished, if one window shows them all.
            let new = first.iter().flatten().count() as u32;
            let all_there = end.saturating_sub(from) <= WINDOW
                && old.messages.is_some_and(|messages| messages.saturating_add(new) == shown.messages);
            self.compare(connection, &old, &shown, all_there).await?;
            self.open.compared = true;
        }
        let highestmodseq = if self.open.again { old.highestmodseq } else { shown.highestmodseq };
        self.reached(FolderState { uidvalidity, uidnext: from, highestmodseq, messages: None });
        while from < end {
            let new = match first.take() {
                Some(new) => new,
                None => self.new_in(connection, from, end).await?,
            };
            self.take_in(connection, new).await?;
            from = from.saturating_add(WINDOW).min(end);
            self.advance(from);
        }
        if !self.open.again {
            self.messages.insert(name.clone(), shown.messages);
        }
        Ok(())
    }

    /// Sets the cursor of the open folder.
    fn reached(&mut self, state: FolderState) {
        self.state.folders.insert(self.open.name.clone(), state);
    }

    /// Moves the cursor of the open folder up to a UID: all messages below are dealt with.
    fn advance(&mut self, uidnext: u32) {
        if let Some(state) = self.state.folders.get_mut(&self.open.name) {
            state.uidnext = uidnext;
        }
        self.open.dealt_with = self.open.dealt_with.split_off(&uidnext);
        self.steps += 1;
    }

    fn all_unchanged(&mut self, name: &str, uidvalidity: u32) {
        let places = self.places.remove(&(name.to_owned(), uidvalidity)).unwrap_or_default();
        for &(_, index) in &places {
            if let Some(location) = self.known.locations.get(index) {
                self.mailbox.unchanged(&location.location);
            }
        }
        self.sink.progress().add_seen(places.len() as u64);
    }

    /// Compares what was there: flags, and what vanished. What is not found is not marked as seen, and goes when
    /// the run ends.
    async fn compare(
        &mut self,
        connection: &mut Connection,
        old: &FolderState,
        shown: &Shown,
        all_there: bool,
    ) -> Result<(), CollectError> {
        let key = (self.open.name.clone(), self.open.uidvalidity);
        let places = self.places.get(&key).cloned().unwrap_or_default();
        let below = places.partition_point(|&(uid, _)| uid < old.uidnext);
        let known = Arc::clone(&self.known);
        for places in places.get(self.open.kept..below).unwrap_or_default().chunks(KEEP) {
            let (Some((low, _)), Some((high, _))) = (places.first(), places.last()) else { continue };
            let uids = format!("{low}:{high}");
            let (changed, complete) = match (old.highestmodseq, shown.highestmodseq) {
                (Some(then), Some(now)) if then == now => (Vec::new(), false),
                (Some(then), Some(_)) => {
                    (connection.fetch(&uids, &format!("(FLAGS) (CHANGEDSINCE {then})")).await?, false)
                }
                _ => (connection.fetch(&uids, "(FLAGS)").await?, true),
            };
            let mut changed: HashMap<u32, Option<Vec<String>>> =
                changed.into_iter().map(|message| (message.uid, message.flags)).collect();
            let there = match (complete, all_there) {
                (true, _) => Some(changed.keys().copied().collect()),
                (false, true) => None,
                (false, false) => Some(connection.search(&uids).await?),
            };
            for (uid, index) in places {
                let Some(location) = known.locations.get(*index) else { continue };
                if there.as_ref().is_some_and(|there: &HashSet<u32>| !there.contains(uid)) {
                    continue;
                }
                let flags = changed.remove(uid).flatten().unwrap_or_else(|| location.flags.clone());
                self.still(location, flags);
            }
            self.open.kept += places.len();
            self.steps += 1;
            self.cut_if_full().await?;
        }
        Ok(())
    }

    /// A known place that is still there, with these flags.
    fn still(&mut self, location: &Location, flags: Vec<String>) {
        self.sink.progress().add_seen(1);
        if location.flags == flags {
            self.mailbox.unchanged(&location.location);
            return;
        }
        let seen = Seen {
            location: location.location.clone(),
            folder: location.folder.clone(),
            version: location.version.clone(),
            flags,
            received_at: location.received_at,
        };
        self.located += 1;
        if !self.mailbox.place_known(seen, &location.item) {
            self.mailbox.keep(&location.location);
        }
    }

    /// Sizes, dates and flags of the messages from `from` on, of one window, below `end`.
    async fn new_in(
        &self,
        connection: &mut Connection,
        from: u32,
        end: u32,
    ) -> Result<Vec<New>, CollectError> {
        let last = from.saturating_add(WINDOW).min(end).saturating_sub(1);
        if last < from {
            return Ok(Vec::new());
        }
        let messages = connection.fetch(&format!("{from}:{last}"), "(FLAGS INTERNALDATE RFC822.SIZE)").await?;
        let new = messages.into_iter().filter(|message| (from..=last).contains(&message.uid));
        let new = new.filter_map(|message| {
            let received_at = message.date.as_deref().and_then(moment);
            let outline = Outline { size: message.size?, received_at };
            Some((message.uid, New { uid: message.uid, flags: message.flags.unwrap_or_default(), outline }))
        });
        Ok(new.collect::<BTreeMap<_, _>>().into_values().collect())
    }

    /// Takes in the new messages of one window.
    async fn take_in(&mut self, connection: &mut Connection, new: Vec<New>) -> Result<(), CollectError> {
        let mut bodies = Vec::with_capacity(new.len());
        let mut candidates = Vec::new();
        for message in new {
            let known = self.known_at(&message);
            if self.open.dealt_with.contains(&message.uid) {
                continue;
            } else if let Some(location) = known {
                // Stored by a run that was cut off before its cursor came this far.
                self.open.dealt_with.insert(message.uid);
                self.still(&location, message.flags);
            } else if message.outline.size > self.max_message_bytes {
                let (size, limit) = (message.outline.size, self.max_message_bytes);
                self.reject(message.uid, format!("{size} bytes are more than `max_message_bytes`, {limit}"));
            } else if self.outlines.contains(&message.outline) {
                candidates.push(message);
            } else {
                bodies.push(message);
            }
        }
        self.recognise(connection, candidates, &mut bodies).await?;
        bodies.sort_unstable_by_key(|message| message.uid);
        self.download(connection, bodies).await
    }

    /// The place of a message in an earlier run, if it is the same message.
    fn known_at(&self, message: &New) -> Option<Location> {
        let places = self.places.get(&(self.open.name.clone(), self.open.uidvalidity))?;
        let at = places.binary_search_by_key(&message.uid, |&(uid, _)| uid).ok()?;
        let location = self.known.locations.get(places.get(at)?.1)?;
        (Outline::of_fingerprint(&location.version) == Some(message.outline)).then(|| location.clone())
    }

    /// Places the candidates whose header is known, without their bytes; the others go to `bodies`.
    async fn recognise(
        &mut self,
        connection: &mut Connection,
        candidates: Vec<New>,
        bodies: &mut Vec<New>,
    ) -> Result<(), CollectError> {
        for chunk in chunks(candidates, None) {
            let mut open = by_uid(chunk);
            let tag = connection.send(&format!("UID FETCH {} (BODY.PEEK[HEADER])", set(open.keys()))).await?;
            loop {
                let Message { uid, text, .. } = match connection.next(&tag).await? {
                    Next::Message(message) => message,
                    Next::End(_) => break,
                };
                let Some(header) = text else { continue };
                let Some(message) = open.remove(&uid) else { continue };
                let version = message.outline.fingerprint(&header.unwrap_or_default());
                let item = self.mailbox.item_of_version(&version);
                let seen = self.seen(&message, version);
                if item.is_some_and(|item| self.mailbox.place_known(seen, &item)) {
                    self.sink.progress().add_seen(1);
                    self.open.dealt_with.insert(uid);
                    self.located += 1;
                    self.cut_if_full().await?;
                } else {
                    bodies.push(message);
                }
            }
            bodies.extend(open.into_values());
        }
        Ok(())
    }

    /// Downloads messages and places them.
    async fn download(&mut self, connection: &mut Connection, bodies: Vec<New>) -> Result<(), CollectError> {
        let mut waiting = chunks(bodies, self.suspect.map(|(uid, _)| uid)).into_iter();
        let mut sent = VecDeque::new();
        let mut missing = BTreeMap::new();
        loop {
            while sent.len() < 2
                && let Some(chunk) = waiting.next()
            {
                let chunk = by_uid(chunk);
                let command = format!("UID FETCH {} (BODY.PEEK[])", set(chunk.keys()));
                sent.push_back((connection.send(&command).await?, chunk));
            }
            let Some((tag, mut chunk)) = sent.pop_front() else { break };
            let Some((&last, _)) = chunk.last_key_value() else { continue };
            let answer = loop {
                self.awaited = chunk.first_key_value().map(|(&uid, _)| uid);
                match connection.next(&tag).await? {
                    Next::Message(Message { uid, text: Some(text), .. }) => {
                        if let Some(message) = chunk.remove(&uid) {
                            self.body(&message, text);
                            self.cut_if_full().await?;
                        }
                    }
                    Next::Message(_) => (),
                    Next::End(answer) => break answer,
                }
            };
            self.awaited = None;
            if let Answer::No(reason) = &answer {
                tracing::warn!(folder = self.open.name, reason, "the server does not send some messages");
            }
            missing.extend(chunk);
            if missing.is_empty() {
                self.advance(last.saturating_add(1));
            }
        }
        if !missing.is_empty() {
            // Listed but not sent: most likely gone in between. What is still there must not get lost.
            let there = connection.search(&set(missing.keys())).await?;
            for uid in missing.into_keys().filter(|uid| there.contains(uid)) {
                self.reject(uid, "the server lists this message but does not send it".to_owned());
            }
        }
        Ok(())
    }

    /// Places a message with its bytes.
    fn body(&mut self, message: &New, text: Option<Bytes>) {
        let Some(bytes) = text else {
            self.reject(message.uid, "the server has no text for this message".to_owned());
            return;
        };
        if bytes.len() > self.max_message_bytes as usize {
            let (size, limit) = (bytes.len(), self.max_message_bytes);
            self.reject(message.uid, format!("{size} bytes are more than `max_message_bytes`, {limit}"));
            return;
        }
        let seen = self.seen(message, message.outline.fingerprint(&bytes));
        let sha256 = Digest::of(&bytes);
        if let Placed::New { item } = self.mailbox.place(seen, sha256) {
            self.bytes += bytes.len();
            self.batch.originals.push(RawItem {
                item,
                media_type: "message/rfc822",
                fetched_at: now(),
                sha256,
                original: Original::Bytes(bytes),
                attributes: schemas::Attributes::default(),
            });
        }
        self.outlines.insert(message.outline);
        self.open.dealt_with.insert(message.uid);
        self.located += 1;
        self.steps += 1;
        self.poisoned = 0;
        self.sink.progress().add_seen(1);
    }

    fn location(&self, uid: u32) -> String {
        format!("{}/{}/{uid}", self.open.name, self.open.uidvalidity)
    }

    fn seen(&self, message: &New, version: String) -> Seen {
        Seen {
            location: self.location(message.uid),
            folder: self.open.name.clone(),
            version,
            flags: message.flags.clone(),
            received_at: message.outline.received_at,
        }
    }

    fn reject(&mut self, uid: u32, reason: String) {
        let location = self.location(uid);
        self.batch.rejects.push(Reject { item: location.clone(), reason, raw: Some(location) });
        self.open.dealt_with.insert(uid);
        self.sink.progress().add_seen(1);
        self.steps += 1;
    }

    /// Pushes the batch when it is large enough.
    async fn cut_if_full(&mut self) -> Result<(), CollectError> {
        let full = self.batch.originals.len() >= BATCH_ITEMS
            || self.bytes >= BATCH_BYTES
            || self.located >= 4 * BATCH_ITEMS
            || self.batch.rejects.len() >= BATCH_ITEMS;
        if !full {
            return Ok(());
        }
        let cursor = self.state.write();
        let mut batch = std::mem::replace(&mut self.batch, Batch::at(cursor.clone()));
        batch.cursor = cursor;
        self.mailbox.drain_into(&mut batch);
        batch.unchanged += self.mailbox.take_unchanged();
        (self.bytes, self.located) = (0, 0);
        self.sink.push(batch).await
    }
}

/// Whether nothing happened in a folder. Without a HIGHESTMODSEQ, flags may have changed unnoticed.
fn is_as_it_was(old: &FolderState, status: &Shown) -> bool {
    old.highestmodseq.is_some()
        && old.highestmodseq == status.highestmodseq
        && old.uidvalidity == status.uidvalidity
        && Some(old.uidnext) == status.uidnext
        && old.messages == Some(status.messages)
}

fn by_uid(messages: Vec<New>) -> BTreeMap<u32, New> {
    messages.into_iter().map(|message| (message.uid, message)).collect()
}

/// Messages of one command each: bounded in number, bytes and length of the command. A suspect goes alone.
fn chunks(messages: Vec<New>, suspect: Option<u32>) -> Vec<Vec<New>> {
    let mut chunks: Vec<Vec<New>> = Vec::new();
    let (mut bytes, mut length, mut last) = (0, 0, None);
    for message in messages {
        let size = u64::from(message.outline.size);
        let follows = last.is_some_and(|last: u32| last.checked_add(1) == Some(message.uid));
        let grows = if follows { 0 } else { 2 * (1 + message.uid.to_string().len()) };
        let alone = suspect.is_some_and(|suspect| Some(suspect) == last || suspect == message.uid);
        match chunks.last_mut() {
            Some(chunk)
                if chunk.len() < FETCH_ITEMS
                    && bytes + size <= FETCH_BYTES
                    && length + grows <= SET_LENGTH
                    && !alone =>
            {
                (bytes, length) = (bytes + size, length + grows);
                last = Some(message.uid);
                chunk.push(message);
            }
            _ => {
                (bytes, length, last) = (size, 22, Some(message.uid));
                chunks.push(vec![message]);
            }
        }
    }
    chunks
}

/// UIDs in ascending order as a set with ranges (RFC 3501 §9, `sequence-set`).
fn set<'a>(uids: impl Iterator<Item = &'a u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &uid in uids {
        match ranges.last_mut() {
            Some((_, high)) if high.checked_add(1) == Some(uid) => *high = uid,
            _ => ranges.push((uid, uid)),
        }
    }
    let texts = ranges.iter().map(|(low, high)| if low == high { low.to_string() } else { format!("{low}:{high}") });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(uid: u32, size: u32) -> New {
        New { uid, flags: Vec::new(), outline: Outline { size, received_at: None } }
    }

    #[test]
    fn a_set_has_ranges() {
        assert_eq!(set([1, 2, 3, 7, 9, 10].iter()), "1:3,7,9:10");
        assert_eq!(set([u32::MAX - 1, u32::MAX].iter()), "4294967294:4294967295");
    }

    #[test]
    fn commands_are_bounded_in_number_bytes_and_length() {
        let lengths = |messages: Vec<New>, suspect| -> Vec<usize> {
            chunks(messages, suspect).iter().map(Vec::len).collect()
        };
        assert_eq!(lengths((1..=1_001).map(|uid| new(uid, 1)).collect(), None), [500, 500, 1]);
        assert_eq!(lengths(vec![new(1, 3 << 20), new(2, 3 << 20), new(3, 1 << 20)], None), [1, 2]);
        assert_eq!(lengths((1..=5).map(|uid| new(uid, 1)).collect(), Some(3)), [2, 1, 2]);
        let sparse: Vec<New> = (1..=2_000).map(|uid| new(uid * 1_000, 1)).collect();
        for chunk in chunks(sparse, None) {
            assert!(set(by_uid(chunk).keys()).len() <= SET_LENGTH);
        }
    }
}
