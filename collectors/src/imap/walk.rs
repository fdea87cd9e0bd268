//! One run over an account: what changed in each folder, in batches.
//!
//! - In: connections, one after another as they break. Out: batches in the sink.
//! - In a folder, first what was there (flags, what vanished), then what is new: sizes and dates, headers of
//!   what may be known from elsewhere, bodies of the rest, two `FETCH` commands under way at once.
//! - In `compare`: what was there. In `take_in`: what is new.
//! - Not here: the protocol (`connection`), and when to connect again (`imap`).

mod compare;
mod take_in;

use super::ImapConfig;
use super::connection::Connection;
use super::failure::UNPARSED;
use super::fingerprint::Outline;
use super::folders::Shown;
use super::folders::{Folder, Selection};
use super::state::{FolderState, State};
use crate::collect::{BATCH_BYTES, BATCH_ITEMS, Batch, Known, Sink};
use crate::error::CollectError;
use crate::mailbox::Mailbox;
use schemas::{Cursor, Reject};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// UIDs, or known places, asked about at once, so that what is held of the answers stays within some megabytes.
const WINDOW: u32 = 1 << 16;

/// UIDs named one by one in a command: it is no longer than RFC 2683 §3.2.1.5 advises.
const ASKED: usize = 80;

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
    /// Places rejected in earlier runs, by folder: UIDVALIDITY and UID.
    rejected: HashMap<String, Vec<(u32, u32)>>,
    /// Those of them that are gone.
    forgiven: Vec<String>,
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
    /// As in the cursor.
    rejected_over: Option<u32>,
    /// Dates are not asked for: some cannot be parsed.
    undated: bool,
    /// UIDs at or above the cursor's that are dealt with.
    dealt_with: BTreeSet<u32>,
}

impl Walk {
    /// Prepares a run. Without a cursor, bytes are read again even of known places.
    pub fn new(config: &ImapConfig, from: Option<Cursor>, known: Arc<Known>, sink: Sink) -> Self {
        let from = State::read(from);
        let mut places: HashMap<(String, u32), Vec<(u32, usize)>> = HashMap::new();
        let mut outlines = HashSet::new();
        if from.is_some() {
            for (index, location) in known.locations.iter().enumerate() {
                if let Some((_, uidvalidity, uid)) = parts_of(&location.location) {
                    places
                        .entry((location.folder.clone(), uidvalidity))
                        .or_default()
                        .push((uid, index));
                }
                outlines.extend(Outline::of_fingerprint(&location.version));
            }
            places.values_mut().for_each(|uids| uids.sort_unstable());
        }
        let mut rejected: HashMap<String, Vec<(u32, u32)>> = HashMap::new();
        let mut forgiven = Vec::new();
        for place in &known.rejected {
            match parts_of(place) {
                Some((folder, uidvalidity, uid)) => {
                    rejected
                        .entry(folder.to_owned())
                        .or_default()
                        .push((uidvalidity, uid));
                }
                // A pattern that matched no folder: each run tells it anew.
                None => forgiven.push(place.clone()),
            }
        }
        let state = from.unwrap_or_default();
        Self {
            selection: Selection::new(&config.folders, &config.exclude),
            max_message_bytes: config.max_message_bytes,
            sink,
            mailbox: Mailbox::new(&known),
            known,
            places,
            rejected,
            forgiven,
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
        let Some(uid) = self.awaited.take() else {
            let is_unparsed = matches!(error, CollectError::Protocol { reason, .. } if reason == UNPARSED);
            return error.is_transient() || is_unparsed && !std::mem::replace(&mut self.open.undated, true);
        };
        if !error.is_transient() && !matches!(error, CollectError::Protocol { .. }) {
            return false;
        }
        let failures = self
            .suspect
            .filter(|&(suspect, _)| suspect == uid)
            .map_or(1, |(_, failures)| failures + 1);
        self.suspect = Some((uid, failures));
        if failures < FAILURES {
            return true;
        }
        self.poisoned += 1;
        if self.poisoned >= POISONED {
            return false;
        }
        self.reject(
            uid,
            format!("the server fails whenever it sends this message: {error}"),
        );
        true
    }

    /// Visits all folders that are still to be visited.
    pub async fn visit(&mut self, connection: &mut Connection) -> Result<(), CollectError> {
        let mut folders = connection.folders().await?;
        if folders.is_empty() && !(self.known.locations.is_empty() && self.state.folders.is_empty()) {
            return Err(connection.without_folders());
        }
        if self.listed.is_none() {
            self.tell_unmatched(&folders);
        }
        folders.retain(|folder| self.selection.takes(&folder.name));
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
        for (folder, places) in self.rejected.drain() {
            let is_listed = |listed: &HashSet<String>| listed.contains(&folder);
            if self.listed.as_ref().is_some_and(|listed| !is_listed(listed)) {
                let gone = places.into_iter();
                self.forgiven
                    .extend(gone.map(|(uidvalidity, uid)| format!("{folder}/{uidvalidity}/{uid}")));
            }
        }
        self.batch.forgiven = self.forgiven;
        self.batch.cursor = self.state.write();
        let skipped = &self.skipped;
        self.mailbox
            .finish_into(&mut self.batch, |location| !skipped.contains(&location.folder));
        self.batch.unchanged += self.mailbox.take_unchanged();
        self.sink.push(self.batch).await
    }

    /// Rejects each pattern that no folder matches: most likely it is misspelt, and mail is missed.
    fn tell_unmatched(&mut self, folders: &[Folder]) {
        for (pattern, nearest) in self.selection.unmatched(folders) {
            let nearest = nearest.map(|name| format!("; the nearest is `{name}`"));
            let nearest = nearest.unwrap_or_default();
            let progress = self.sink.progress();
            progress.warn(format!(
                "no folder on the server matches `{pattern}` of `folders`{nearest}"
            ));
            progress.add_seen(1);
            self.batch.rejects.push(Reject {
                item: pattern,
                reason: format!("no folder on the server matches this pattern of `folders`{nearest}"),
                raw: None,
            });
        }
    }

    fn skip(&mut self, name: &str) {
        self.sink.progress().warn(format!(
            "the folder `{name}` cannot be opened and was left out; what was collected from it stays as it is, and \
             the next run tries again"
        ));
        self.skipped.insert(name.to_owned());
    }

    async fn folder(
        &mut self,
        connection: &mut Connection,
        folder: &Folder,
        status: Shown,
    ) -> Result<(), CollectError> {
        let name = &folder.name;
        if self
            .state
            .folders
            .get(name)
            .is_some_and(|old| is_as_it_was(old, &status) && self.to_try_again(name, old).is_empty())
        {
            self.all_unchanged(name, status.uidvalidity);
            return Ok(());
        }
        let Some(shown) = connection.examine(folder).await? else {
            self.skip(name);
            return Ok(());
        };
        let (uidvalidity, end) = (shown.uidvalidity, shown.uidnext.unwrap_or(1));
        if self.open.name != *name || self.open.uidvalidity != uidvalidity {
            self.open = Open {
                name: name.clone(),
                uidvalidity,
                ..Open::default()
            };
        } else {
            self.open.again = true;
        }
        let old = self
            .state
            .folders
            .get(name)
            .filter(|old| old.uidvalidity == uidvalidity)
            .cloned();
        let old = old.unwrap_or(FolderState {
            uidvalidity,
            uidnext: 1,
            highestmodseq: None,
            messages: None,
            rejected_over: None,
        });
        let mut from = old.uidnext;
        let mut first = Some(self.new_in(connection, from, end).await?);
        if !self.open.compared {
            // How many new ones there are tells whether any old one vanished, if one window shows them all.
            let new = first.iter().flatten().count() as u32;
            let all_there = end.saturating_sub(from) <= WINDOW
                && old
                    .messages
                    .is_some_and(|messages| messages.saturating_add(new) == shown.messages);
            self.compare(connection, &old, &shown, all_there).await?;
            self.try_again(connection, &old).await?;
            self.forgive(connection).await?;
            self.open.compared = true;
        }
        let highestmodseq = if self.open.again {
            old.highestmodseq
        } else {
            shown.highestmodseq
        };
        self.reached(FolderState {
            uidvalidity,
            uidnext: from,
            highestmodseq,
            messages: None,
            rejected_over: self.open.rejected_over,
        });
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

    /// Moves the cursor of the open folder up to a UID: all messages below are dealt with. It never moves back,
    /// where messages are that are tried again.
    fn advance(&mut self, uidnext: u32) {
        self.steps += 1;
        let state = self.state.folders.get_mut(&self.open.name);
        if let Some(state) = state.filter(|state| state.uidnext < uidnext) {
            state.uidnext = uidnext;
            self.open.dealt_with = self.open.dealt_with.split_off(&uidnext);
        }
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

/// Folder, UIDVALIDITY and UID of a place.
fn parts_of(place: &str) -> Option<(&str, u32, u32)> {
    let mut parts = place.rsplitn(3, '/');
    let (uid, uidvalidity) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((parts.next()?, uidvalidity, uid))
}

/// Whether nothing happened in a folder. Without a HIGHESTMODSEQ, flags may have changed unnoticed.
fn is_as_it_was(old: &FolderState, status: &Shown) -> bool {
    old.highestmodseq.is_some()
        && old.highestmodseq == status.highestmodseq
        && old.uidvalidity == status.uidvalidity
        && Some(old.uidnext) == status.uidnext
        && old.messages == Some(status.messages)
}
