//! Identity of messages: which place at a mail source holds which item, and what that changes.
//!
//! - In: the known places, then each message seen in this run. Out: `located`, `touched`, `unlocated` and
//!   `vanished` of the batches, in an order that makes a kill between two batches harmless.
//! - An item is the SHA-256 of a message's bytes, in hex. Copies in several folders are one item; a second
//!   copy in the *same* folder is an item of its own, `<hex>-1`, so that every folder has as many items as
//!   messages.
//! - Not here: reading messages, and the decision whether a place is gone.
//!
//! Memory: about 170 bytes a place with names of usual length; folders and flag sets are kept once.

mod arena;
mod index;
#[cfg(test)]
pub(crate) mod lake;
mod texts;

use crate::collect::{Batch, Known, now};
use bytes::Bytes;
use hashbrown::HashMap;
use index::{Index, NONE, Place, REPLACED, State, parse};
use schemas::{Attributes, Digest, Instant, Location, Original, RawItem, Touched};
use std::collections::HashSet;

/// One message seen at one place.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// As in [`Location::location`].
    pub location: String,
    /// As in [`Location::folder`].
    pub folder: String,
    /// As in [`Location::version`].
    pub version: String,
    /// In any order.
    pub flags: Vec<String>,
    /// As in [`Location::received_at`].
    pub received_at: Option<Instant>,
}

/// What became of a message whose bytes were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placed {
    /// The original must be pushed in the batch that is drained next.
    New {
        /// Id for the original.
        item: String,
    },
    /// The bytes are kept already.
    Known {
        /// The item they are kept as.
        item: String,
    },
}

/// The original of a new item; [`Mailbox::drain_into`] gives it its attributes.
pub(crate) fn message(item: String, sha256: Digest, bytes: Bytes) -> RawItem {
    RawItem {
        item,
        media_type: "message/rfc822",
        fetched_at: now(),
        sha256,
        original: Original::Bytes(bytes),
        attributes: Attributes::default(),
    }
}

/// Which place holds which item.
///
/// Call [`unchanged`](Self::unchanged) for what is still in a folder *before* [`place`](Self::place) for what is
/// new there: known places that were not seen yet do not count as copies, so that a message which merely moved
/// within its folder keeps its item.
pub(crate) struct Mailbox {
    index: Index,
    /// (message, folder) → last copy given out there in this run, where it is not the first; keeps 60,000 equal
    /// messages in one folder from being compared with each other.
    given: HashMap<(Digest, u32), u32>,
    changed_places: Vec<u32>,
    changed_items: Vec<u32>,
    unchanged: u64,
}

impl Mailbox {
    /// Starts a run.
    pub fn new(known: &Known) -> Self {
        Self {
            index: Index::of(known),
            given: HashMap::new(),
            changed_places: Vec::new(),
            changed_items: Vec::new(),
            unchanged: 0,
        }
    }

    /// What is known of a location, from earlier runs or from this one.
    pub fn at(&self, location: &str) -> Option<Location> {
        self.index.find(location).map(|place| self.index.location(place))
    }

    /// An item seen with this fingerprint, anywhere.
    pub fn item_of_version(&self, version: &str) -> Option<String> {
        self.index
            .item_of_version(version)
            .map(|item| self.index.name(item))
    }

    /// Marks a known location as still there, as it was.
    pub fn unchanged(&mut self, location: &str) {
        if let Some(place) = self.index.find(location) {
            self.index.places[place].seen = true;
            self.unchanged += 1;
        }
    }

    /// Marks a location as still there, as it was, if it is known with this version and these sorted flags.
    pub fn unchanged_if(&mut self, location: &str, version: &str, flags: &[&str]) -> bool {
        let Some(index) = self.index.find(location) else {
            return false;
        };
        let place = &self.index.places[index];
        let equal = self.index.version_of(index) == version && self.index.flags.get(place.flags) == flags;
        if equal {
            self.index.places[index].seen = true;
            self.unchanged += 1;
        }
        equal
    }

    /// Marks a known location as still there although it could not be read this time; it is not counted.
    pub fn keep(&mut self, location: &str) {
        if let Some(place) = self.index.find(location) {
            self.index.places[place].seen = true;
        }
    }

    /// How many places were found as they had been, since this was last asked: for [`Batch::unchanged`].
    pub fn take_unchanged(&mut self) -> u64 {
        std::mem::take(&mut self.unchanged)
    }

    /// Locations known at the start that were not seen in this run so far.
    pub fn missing(&self) -> Vec<String> {
        let places = self
            .index
            .places
            .iter()
            .filter(|place| place.state == State::Live && !place.seen);
        places
            .map(|place| self.index.texts.get(place.location).to_owned())
            .collect()
    }

    /// Places a message whose bytes were read.
    pub fn place(&mut self, seen: Seen, digest: Digest) -> Placed {
        let folder = self.index.folders.id(&seen.folder);
        if let Some(item) = self.item_for(&seen.location, folder, digest) {
            self.put(seen, folder, item);
            return Placed::Known {
                item: self.index.name(item),
            };
        }
        let copy = self.index.copies(digest);
        let item = self.index.item(digest, copy);
        self.give(digest, folder, copy);
        self.put(seen, folder, item);
        Placed::New {
            item: self.index.name(item),
        }
    }

    /// Places a message whose bytes were not read, because they are known to be those of `item`: its flags
    /// changed, or it moved. `false`: nothing was placed, since it is one more copy in the same folder and so an
    /// item of its own; read the bytes and call [`place`](Self::place).
    #[must_use]
    pub fn place_known(&mut self, seen: Seen, item: &str) -> bool {
        let Some((digest, _)) = parse(item) else {
            return false;
        };
        let folder = self.index.folders.id(&seen.folder);
        let Some(item) = self.item_for(&seen.location, folder, digest) else {
            return false;
        };
        self.put(seen, folder, item);
        true
    }

    /// All attributes of an item as they are now.
    pub fn attributes(&self, item: &str) -> Attributes {
        let index = parse(item).and_then(|(digest, copy)| self.index.existing(digest, copy));
        index
            .map(|index| self.index.attributes_of(index))
            .unwrap_or_default()
    }

    /// Moves what changed since the last drain into `batch`: `located`, `touched`, and the attributes of the
    /// batch's originals.
    pub fn drain_into(&mut self, batch: &mut Batch) {
        for original in &mut batch.originals {
            original.attributes = self.attributes(&original.item);
        }
        for index in std::mem::take(&mut self.changed_places) {
            let place = &mut self.index.places[index];
            place.changed = false;
            if place.state != State::Gone {
                place.stored = true;
                batch.located.push(self.index.location(index));
            }
        }
        let changed = std::mem::take(&mut self.changed_items);
        if changed.is_empty() {
            return;
        }
        let originals: HashSet<&str> = batch
            .originals
            .iter()
            .map(|original| original.item.as_str())
            .collect();
        let mut touched = Vec::with_capacity(changed.len());
        for index in changed {
            let item = &mut self.index.items[index];
            item.changed = false;
            let lives = item.place != NONE;
            let item = self.index.name(index);
            if lives && !originals.contains(item.as_str()) {
                touched.push(Touched {
                    item,
                    attributes: self.index.attributes_of(index),
                });
            }
        }
        if !batch.touched.is_empty() {
            let again: HashSet<&str> = touched.iter().map(|touched| touched.item.as_str()).collect();
            batch
                .touched
                .retain(|touched| !again.contains(touched.item.as_str()));
        }
        batch.touched.append(&mut touched);
    }

    /// Ends the run in its last batch: drains, and removes the places known at the start that were not seen in
    /// this run and for which `gone` says true.
    pub fn finish_into(&mut self, batch: &mut Batch, gone: impl Fn(&Location) -> bool) {
        let mut lost = Vec::new();
        for index in 0..self.index.places.next() {
            let place = &self.index.places[index];
            let goes = match place.state {
                State::Live => !place.seen && gone(&self.index.location(index)),
                State::Replaced => true,
                State::Gone => false,
            };
            if goes {
                let (item, stored) = (place.item, place.stored);
                if stored {
                    batch.unlocated.push(self.index.location_of(index).to_owned());
                }
                let before = self.index.summary(item);
                self.index.remove(index);
                if self.index.items[item].place == NONE {
                    lost.push(item);
                } else if before != self.index.summary(item) {
                    self.change_item(item);
                }
            }
        }
        batch
            .vanished
            .extend(lost.into_iter().map(|item| self.index.name(item)));
        self.drain_into(batch);
    }

    /// The kept item that a message at `location` in `folder` is: the one it was, else the first copy that is
    /// nowhere else in the folder.
    fn item_for(&mut self, location: &str, folder: u32, digest: Digest) -> Option<u32> {
        let here = self.index.find(location);
        let free = |item: u32| {
            self.index.places_of(item).all(|place| {
                let other = &self.index.places[place];
                !other.seen || other.folder != folder || Some(place) == here
            })
        };
        let was = here.map(|place| self.index.places[place].item);
        if let Some(was) = was.filter(|&was| self.index.items[was].digest == digest && free(was)) {
            return Some(was);
        }
        let first = self.given.get(&(digest, folder)).copied().unwrap_or(0);
        let mut copies =
            (first..self.index.copies(digest)).filter_map(|copy| self.index.existing(digest, copy));
        let found = copies.find(|&item| free(item))?;
        self.give(digest, folder, self.index.items[found].copy);
        Some(found)
    }

    /// Makes `item` what lies at the seen location.
    fn put(&mut self, seen: Seen, folder: u32, item: u32) {
        let Seen {
            location,
            version,
            mut flags,
            received_at,
            ..
        } = seen;
        flags.sort_unstable();
        flags.dedup();
        let flags = self.index.flags.id(&flags);
        let is_new = self.index.items[item].place == NONE;
        let before = self.index.summary(item);
        match self.index.find(&location) {
            Some(index) if self.index.places[index].item == item => {
                let is_other = self.index.reversion(index, &version);
                let place = &mut self.index.places[index];
                let now = (folder, flags, received_at);
                place.seen = true;
                if is_other || (place.folder, place.flags, place.received_at) != now {
                    (place.folder, place.flags, place.received_at) = now;
                    self.change_place(index);
                } else if !place.changed {
                    self.unchanged += 1;
                }
            }
            other => {
                if let Some(other) = other {
                    self.replace(other);
                }
                let place = Place {
                    location: self.index.texts.add(&location),
                    version: self.index.texts.add(&version),
                    received_at,
                    item,
                    next: NONE,
                    folder,
                    flags,
                    seen: true,
                    stored: false,
                    changed: false,
                    state: State::Live,
                };
                let index = self.index.add(place);
                self.change_place(index);
            }
        }
        if !is_new && before != self.index.summary(item) {
            self.change_item(item);
        }
    }

    /// Frees the location of a place for another item.
    fn replace(&mut self, index: u32) {
        let item = self.index.places[index].item;
        let before = self.index.summary(item);
        let location = self.index.location_of(index).to_owned();
        self.index.remove(index);
        if self.index.items[item].place != NONE && self.index.summary(item) == before {
            return;
        }
        let name = format!("{location}{REPLACED}{}", self.index.name(item));
        if self.index.find(&name).is_some() {
            // Left by a run that was killed; the message came back and is replaced again, so the item loses the
            // flags it came back with.
            self.change_item(item);
            return;
        }
        let old = &self.index.places[index];
        let stand_in = Place {
            location: self.index.texts.add(&name),
            version: old.version,
            received_at: old.received_at,
            item,
            next: NONE,
            folder: old.folder,
            flags: old.flags,
            seen: false,
            stored: false,
            changed: false,
            state: State::Replaced,
        };
        let stand_in = self.index.add(stand_in);
        self.change_place(stand_in);
    }

    /// Remembers that a copy is in a folder, so that the search for the next one begins there.
    fn give(&mut self, digest: Digest, folder: u32, copy: u32) {
        if copy > 0 {
            self.given.insert((digest, folder), copy);
        }
    }

    fn change_place(&mut self, index: u32) {
        let place = &mut self.index.places[index];
        if !std::mem::replace(&mut place.changed, true) {
            self.changed_places.push(index);
        }
    }

    fn change_item(&mut self, index: u32) {
        let item = &mut self.index.items[index];
        if !std::mem::replace(&mut item.changed, true) {
            self.changed_items.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lake::Lake;
    use super::*;
    use proptest::prelude::*;
    use schemas::Cursor;

    fn seen(location: &str, folder: &str, version: &str, flags: &[&str]) -> Seen {
        Seen {
            location: location.to_owned(),
            folder: folder.to_owned(),
            version: version.to_owned(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            received_at: None,
        }
    }

    /// Places a message and pushes its original if it is new.
    fn place(mailbox: &mut Mailbox, batch: &mut Batch, seen: Seen, text: &str) {
        let digest = Digest::of(text.as_bytes());
        if let Placed::New { item } = mailbox.place(seen, digest) {
            batch
                .originals
                .push(message(item, digest, Bytes::from(text.to_owned())));
        }
    }

    fn batch() -> Batch {
        Batch::at(Cursor(serde_json::Value::Null))
    }

    /// One run over messages given as (location, folder, text); all in one batch.
    fn run(lake: &mut Lake, messages: &[(&str, &str, &str)]) {
        let mut mailbox = Mailbox::new(&lake.known());
        let mut batch = batch();
        for (location, folder, text) in messages {
            place(&mut mailbox, &mut batch, seen(location, folder, text, &[]), text);
        }
        mailbox.finish_into(&mut batch, |_| true);
        lake.apply(batch);
        lake.check_folders();
    }

    #[test]
    fn copies_in_two_folders_are_one_item_and_in_one_folder_two() {
        let mut lake = Lake::default();
        run(
            &mut lake,
            &[
                ("a/1", "a", "x"),
                ("b/1", "b", "x"),
                ("b/2", "b", "x"),
                ("b/3", "b", "x"),
            ],
        );
        let first = Digest::of(b"x").to_string();
        assert_eq!(lake.items[&first].folders, ["a", "b"]);
        assert_eq!(lake.items[&format!("{first}-1")].folders, ["b"]);
        assert_eq!(lake.items[&format!("{first}-2")].folders, ["b"]);
        assert_eq!(lake.items.len(), 3);
    }

    #[test]
    fn a_shift_within_a_folder_keeps_the_items_and_touches_nothing() {
        let mut lake = Lake::default();
        run(
            &mut lake,
            &[
                ("f@0", "f", "a"),
                ("f@10", "f", "b"),
                ("f@20", "f", "c"),
                ("f@30", "f", "b"),
            ],
        );
        let before = lake.items.clone();
        let mut mailbox = Mailbox::new(&lake.known());
        let mut last = batch();
        for (location, text) in [("f@0", "b"), ("f@10", "c"), ("f@20", "b")] {
            place(&mut mailbox, &mut last, seen(location, "f", text, &[]), text);
        }
        mailbox.finish_into(&mut last, |_| true);
        assert!(last.originals.is_empty() && last.touched.is_empty());
        assert_eq!(last.vanished, [Digest::of(b"a").to_string()]);
        assert_eq!(last.unlocated, ["f@30"]);
        lake.apply(last);
        lake.check_folders();
        assert_eq!(lake.items.len(), before.len() - 1);
    }

    #[test]
    fn a_kill_after_a_location_was_reused_still_lets_the_old_item_vanish() {
        let mut lake = Lake::default();
        run(&mut lake, &[("a/1", "a", "old")]);
        let mut mailbox = Mailbox::new(&lake.known());
        let mut first = batch();
        place(&mut mailbox, &mut first, seen("a/1", "a", "new", &[]), "new");
        mailbox.drain_into(&mut first);
        lake.apply(first);
        assert_eq!(lake.items.len(), 2);
        run(&mut lake, &[("a/1", "a", "new")]);
        assert_eq!(lake.items.len(), 1);
        assert_eq!(lake.locations.len(), 1);
    }

    #[test]
    fn a_message_that_is_replaced_comes_back_and_is_replaced_again_in_killed_runs_loses_its_last_flags() {
        let mut lake = Lake::default();
        run(&mut lake, &[("a/1", "a", "old")]);
        for (text, flag) in [("new", "f1"), ("old", "f2"), ("new", "f3")] {
            let mut mailbox = Mailbox::new(&lake.known());
            let mut killed = batch();
            place(&mut mailbox, &mut killed, seen("a/1", "a", text, &[flag]), text);
            mailbox.drain_into(&mut killed);
            lake.apply(killed);
        }
        run(&mut lake, &[("a/1", "a", "new")]);
        assert_eq!(lake.items.len(), 1);
        assert_eq!(lake.locations.len(), 1);
    }

    #[test]
    fn a_known_message_is_moved_and_flagged_without_its_bytes() {
        let mut lake = Lake::default();
        run(&mut lake, &[("a/1", "a", "x")]);
        let item = Digest::of(b"x").to_string();
        let mut mailbox = Mailbox::new(&lake.known());
        assert_eq!(mailbox.item_of_version("x").as_deref(), Some(item.as_str()));
        assert_eq!(mailbox.item_of_version("y"), None);
        assert!(mailbox.place_known(seen("b/7", "b", "x", &["\\Seen", "$Junk"]), &item));
        let mut last = batch();
        mailbox.finish_into(&mut last, |_| true);
        lake.apply(last);
        let expected = Attributes {
            folders: vec!["b".to_owned()],
            flags: vec!["$Junk".to_owned(), "\\Seen".to_owned()],
            ..Attributes::default()
        };
        assert_eq!(lake.items[&item], expected);
    }

    #[test]
    fn a_second_copy_in_a_folder_cannot_be_placed_without_its_bytes() {
        let mut lake = Lake::default();
        run(&mut lake, &[("a/1", "a", "x")]);
        let mut mailbox = Mailbox::new(&lake.known());
        mailbox.unchanged("a/1");
        assert!(!mailbox.place_known(seen("a/2", "a", "x", &[]), &Digest::of(b"x").to_string()));
        assert!(!mailbox.place_known(seen("a/2", "a", "x", &[]), "rubbish"));
    }

    #[test]
    fn what_cannot_be_looked_at_does_not_vanish() {
        let mut lake = Lake::default();
        run(&mut lake, &[("a/1", "a", "x"), ("b/1", "b", "y")]);
        let mut mailbox = Mailbox::new(&lake.known());
        let mut last = batch();
        mailbox.finish_into(&mut last, |place| place.folder == "a");
        assert_eq!(last.unlocated, ["a/1"]);
        assert_eq!(last.vanished, [Digest::of(b"x").to_string()]);
    }

    #[test]
    fn a_message_that_is_as_it_was_changes_nothing_even_if_it_is_read_again() {
        let mut lake = Lake::default();
        run(&mut lake, &[("a/1", "a", "x"), ("a/2", "a", "x")]);
        let mut mailbox = Mailbox::new(&lake.known());
        let mut last = batch();
        for location in ["a/1", "a/2"] {
            place(&mut mailbox, &mut last, seen(location, "a", "x", &[]), "x");
        }
        mailbox.finish_into(&mut last, |_| true);
        assert!(last.located.is_empty() && last.touched.is_empty() && last.originals.is_empty());
        assert_eq!(mailbox.take_unchanged(), 2);
    }

    #[test]
    fn ten_thousand_equal_messages_in_one_folder_take_no_quadratic_time() {
        let mut lake = Lake::default();
        let locations: Vec<String> = (0..10_000).map(|number| format!("a/{number}")).collect();
        let messages: Vec<_> = locations
            .iter()
            .map(|location| (location.as_str(), "a", "x"))
            .collect();
        let start = std::time::Instant::now();
        run(&mut lake, &messages);
        run(&mut lake, &messages);
        assert_eq!(lake.items.len(), 10_000);
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }

    proptest! {
        /// Each run shows the mailbox in another state, hands over batches of two places, may be killed, and
        /// knows some places without reading them.
        #[test]
        fn after_any_runs_and_kills_the_lake_is_what_the_source_is(
            runs in proptest::collection::vec(
                (proptest::collection::btree_map(0_u8..12, (0_u8..4, 0_u8..3), 0..10), proptest::option::of(0_usize..4), any::<bool>()),
                1..8,
            ),
        ) {
            let mut lake = Lake::default();
            for (source, kill, trusts) in runs {
                let mut mailbox = Mailbox::new(&lake.known());
                let name = |place: u8| (format!("{}/{place}", place % 3), (place % 3).to_string());
                let flag = |flag: u8| format!("f{flag}");
                let mut to_read = Vec::new();
                for (&place, &(text, flags)) in &source {
                    let (location, folder) = name(place);
                    let same = mailbox.at(&location).filter(|at| trusts && at.version == text.to_string());
                    match same {
                        Some(at) if at.flags == [flag(flags)] => mailbox.unchanged(&location),
                        Some(at) => {
                            let seen = seen(&location, &folder, &text.to_string(), &[&flag(flags)]);
                            prop_assert!(mailbox.place_known(seen, &at.item));
                        }
                        None => to_read.push((location, folder, text, flags)),
                    }
                }
                let mut chunks = to_read.chunks(2);
                let mut batches = 0;
                let is_killed = loop {
                    let mut batch = batch();
                    for (location, folder, text, flags) in chunks.next().unwrap_or_default() {
                        let text = text.to_string();
                        place(&mut mailbox, &mut batch, seen(location, folder, &text, &[&flag(*flags)]), &text);
                    }
                    if chunks.len() == 0 {
                        mailbox.finish_into(&mut batch, |_| true);
                        lake.apply(batch);
                        break false;
                    }
                    mailbox.drain_into(&mut batch);
                    lake.apply(batch);
                    batches += 1;
                    if kill == Some(batches) {
                        break true;
                    }
                };
                if !is_killed {
                    let expected: Vec<_> = source
                        .iter()
                        .map(|(&place, (text, flags))| (name(place).0, text.to_string(), vec![flag(*flags)]))
                        .collect();
                    let mut now: Vec<_> = lake
                        .locations
                        .values()
                        .map(|at| (at.location.clone(), at.version.clone(), at.flags.clone()))
                        .collect();
                    let mut expected = expected;
                    expected.sort();
                    now.sort();
                    prop_assert_eq!(now, expected);
                    lake.check_folders();
                }
            }
        }
    }
}
