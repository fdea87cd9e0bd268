//! What is new in a folder: sizes and dates first, then headers of what may be known from elsewhere, then the
//! bodies of the rest.
//!
//! - In: the messages of a range of UIDs. Out: originals and rejects in the walk's batch, places in its mailbox.

use super::{WINDOW, Walk};
use crate::error::CollectError;
use crate::imap::connection::{Answer, Connection, Message, Next};
use crate::imap::fingerprint::{Outline, moment};
use crate::mailbox::{Placed, Seen, message as original};
use bytes::Bytes;
use schemas::{Digest, Location, Reject};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Messages per `FETCH` of headers or bodies. Fewer: more round trips. More: the cursor advances less often.
const FETCH_ITEMS: usize = 500;

/// Bytes of messages per `FETCH`, for the same reason.
const FETCH_BYTES: u64 = 4 << 20;

/// Length of a set of UIDs in a command (RFC 2683 §3.2.1.5 advises 1,000 for the whole line).
const SET_LENGTH: usize = 900;

/// A message that is new at its place.
pub(super) struct New {
    uid: u32,
    flags: Vec<String>,
    outline: Outline,
}

impl Walk {
    /// Sizes, dates and flags of the messages from `from` on, of one window, below `end`.
    pub(super) async fn new_in(
        &self,
        connection: &mut Connection,
        from: u32,
        end: u32,
    ) -> Result<Vec<New>, CollectError> {
        let last = from.saturating_add(WINDOW).min(end).saturating_sub(1);
        if last < from {
            return Ok(Vec::new());
        }
        self.described(connection, &format!("{from}:{last}"), |uid| {
            (from..=last).contains(&uid)
        })
        .await
    }

    /// The same of the messages with these UIDs, of which there are few.
    pub(super) async fn listed(
        &self,
        connection: &mut Connection,
        uids: &[u32],
    ) -> Result<Vec<New>, CollectError> {
        self.described(connection, &set(uids.iter()), |uid| uids.contains(&uid))
            .await
    }

    async fn described(
        &self,
        connection: &mut Connection,
        uids: &str,
        is_asked: impl Fn(u32) -> bool,
    ) -> Result<Vec<New>, CollectError> {
        let items = match self.open.undated {
            true => "(FLAGS RFC822.SIZE)",
            false => "(FLAGS INTERNALDATE RFC822.SIZE)",
        };
        let messages = connection.fetch(uids, items).await?;
        let mut described: BTreeMap<u32, Message> = BTreeMap::new();
        for message in messages.into_iter().filter(|message| is_asked(message.uid)) {
            // Flags may be told again, unasked, and alone.
            let known = described.entry(message.uid).or_default();
            known.flags = message.flags.or(known.flags.take());
            known.date = message.date.or(known.date.take());
            known.size = message.size.or(known.size);
        }
        let new = described.into_iter().map(|(uid, message)| New {
            uid,
            flags: message.flags.unwrap_or_default(),
            outline: Outline {
                // What has no size, or one that is no number of 32 bits, is fetched all the same.
                size: message.size.unwrap_or_default(),
                received_at: message.date.as_deref().and_then(moment),
            },
        });
        Ok(new.collect())
    }

    /// Takes in the new messages of one window.
    pub(super) async fn take_in(
        &mut self,
        connection: &mut Connection,
        new: Vec<New>,
    ) -> Result<(), CollectError> {
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
                self.reject_large(message.uid, message.outline.size as usize);
            } else if message.outline.size > 0 && self.outlines.contains(&message.outline) {
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
        let places = self
            .places
            .get(&(self.open.name.clone(), self.open.uidvalidity))?;
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
            let tag = connection
                .send(&format!("UID FETCH {} (BODY.PEEK[HEADER])", set(open.keys())))
                .await?;
            loop {
                let Message { uid, text, .. } = match connection.next().await? {
                    Next::Message(message) => message,
                    Next::End(end, _) if end == tag => break,
                    Next::End(..) => return Err(connection.confused()),
                };
                let Some(header) = text else { continue };
                let Some(message) = open.remove(&uid) else {
                    continue;
                };
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
        let mut waiting = VecDeque::from(chunks(bodies, self.suspect.map(|(uid, _)| uid)));
        let mut in_order = true;
        let mut sent = VecDeque::new();
        let (mut missing, mut empty) = (BTreeMap::new(), BTreeSet::new());
        loop {
            while sent.len() < 2
                && let Some(chunk) = waiting.pop_front()
            {
                let chunk = by_uid(chunk);
                let last = chunk.last_key_value().map_or(0, |(&uid, _)| uid);
                let command = format!("UID FETCH {} (BODY.PEEK[])", set(chunk.keys()));
                sent.push_back((connection.send(&command).await?, last, chunk));
            }
            if sent.is_empty() {
                break;
            }
            self.awaited = sent
                .iter()
                .find_map(|(_, _, chunk)| Some(*chunk.first_key_value()?.0));
            match connection.next().await? {
                Next::Message(Message {
                    uid,
                    text: Some(text),
                    ..
                }) => {
                    let Some(message) = sent.iter_mut().find_map(|(_, _, chunk)| chunk.remove(&uid)) else {
                        continue;
                    };
                    match text {
                        Some(bytes) => self.body(&message, bytes),
                        None => {
                            empty.insert(uid);
                            missing.insert(uid, message);
                        }
                    }
                    self.cut_if_full().await?;
                }
                Next::Message(_) => (),
                Next::End(tag, answer) => {
                    let Some(at) = sent.iter().position(|(sent, ..)| *sent == tag) else {
                        return Err(connection.confused());
                    };
                    if let Answer::No(reason) = &answer {
                        self.sink.progress().warn(format!(
                            "the server refuses to send some messages of the folder `{}`: {reason}",
                            self.open.name
                        ));
                    }
                    let Some((_, last, chunk)) = sent.remove(at) else {
                        continue;
                    };
                    if matches!(answer, Answer::No(_)) && chunk.len() > 1 {
                        // One of them is to blame. Those that come alone are not lost with it.
                        waiting.extend(chunk.into_values().map(|message| vec![message]));
                        in_order = false;
                        continue;
                    }
                    missing.extend(chunk);
                    if at == 0 && in_order && missing.is_empty() {
                        self.advance(last.saturating_add(1));
                    }
                }
            }
        }
        self.awaited = None;
        if !missing.is_empty() {
            // Listed but not sent: most likely gone in between. What is still there must not get lost. Until a
            // `NOOP`, a server may list what it can no longer send (RFC 2180 §4.1.2).
            let synced = connection.send("NOOP").await?;
            while !matches!(connection.next().await?, Next::End(end, _) if end == synced) {}
            let there = connection.search(&set(missing.keys())).await?;
            for uid in missing.into_keys().filter(|uid| there.contains(uid)) {
                let reason = match empty.contains(&uid) {
                    true => "the server has no text for this message",
                    false => "the server lists this message but does not send it",
                };
                self.reject(uid, reason.to_owned());
            }
        }
        Ok(())
    }

    /// Places a message with its bytes.
    fn body(&mut self, message: &New, bytes: Bytes) {
        if bytes.len() > self.max_message_bytes as usize {
            self.reject_large(message.uid, bytes.len());
            return;
        }
        let seen = self.seen(message, message.outline.fingerprint(&bytes));
        let sha256 = Digest::of(&bytes);
        if let Placed::New { item } = self.mailbox.place(seen, sha256) {
            self.bytes += bytes.len();
            self.batch.originals.push(original(item, sha256, bytes));
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

    fn reject_large(&mut self, uid: u32, size: usize) {
        let limit = self.max_message_bytes;
        let reason = format!("{size} bytes are more than `max_message_bytes`, {limit}");
        self.reject(uid, reason);
        let over = self.open.rejected_over.map_or(limit, |over| over.min(limit));
        self.open.rejected_over = Some(over);
        // Until all were tried again, the cursor says that none was.
        if self.open.compared
            && let Some(state) = self.state.folders.get_mut(&self.open.name)
        {
            state.rejected_over = Some(over);
        }
    }

    pub(super) fn reject(&mut self, uid: u32, reason: String) {
        let location = self.location(uid);
        self.batch.rejects.push(Reject {
            item: location.clone(),
            reason,
            raw: Some(location),
        });
        self.open.dealt_with.insert(uid);
        self.sink.progress().add_seen(1);
        self.steps += 1;
    }
}

fn by_uid(messages: Vec<New>) -> BTreeMap<u32, New> {
    messages
        .into_iter()
        .map(|message| (message.uid, message))
        .collect()
}

/// Messages of one command each: bounded in number, bytes and length of the command. A suspect goes alone.
fn chunks(messages: Vec<New>, suspect: Option<u32>) -> Vec<Vec<New>> {
    let mut chunks: Vec<Vec<New>> = Vec::new();
    let (mut bytes, mut length, mut last) = (0, 0, None);
    for message in messages {
        let size = u64::from(message.outline.size);
        let follows = last.is_some_and(|last: u32| last.checked_add(1) == Some(message.uid));
        let grows = if follows {
            0
        } else {
            2 * (1 + message.uid.to_string().len())
        };
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
pub(super) fn set<'a>(uids: impl Iterator<Item = &'a u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &uid in uids {
        match ranges.last_mut() {
            Some((_, high)) if high.checked_add(1) == Some(uid) => *high = uid,
            _ => ranges.push((uid, uid)),
        }
    }
    let texts = ranges.iter().map(|(low, high)| {
        if low == high {
            low.to_string()
        } else {
            format!("{low}:{high}")
        }
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(uid: u32, size: u32) -> New {
        New {
            uid,
            flags: Vec::new(),
            outline: Outline {
                size,
                received_at: None,
            },
        }
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
        assert_eq!(
            lengths((1..=1_001).map(|uid| new(uid, 1)).collect(), None),
            [500, 500, 1]
        );
        assert_eq!(
            lengths(vec![new(1, 3 << 20), new(2, 3 << 20), new(3, 1 << 20)], None),
            [1, 2]
        );
        assert_eq!(
            lengths((1..=5).map(|uid| new(uid, 1)).collect(), Some(3)),
            [2, 1, 2]
        );
        let sparse: Vec<New> = (1..=2_000).map(|uid| new(uid * 1_000, 1)).collect();
        for chunk in chunks(sparse, None) {
            assert!(set(by_uid(chunk).keys()).len() <= SET_LENGTH);
        }
    }
}
