//! Identity of messages: which place at a mail source holds which item, and what that changes.
//!
//! - In: the known places, then each message seen in this run. Out: `located`, `touched`, `unlocated` and
//!   `vanished` of the batches, in an order that makes a kill between two batches harmless.
//! - An item is the SHA-256 of a message's bytes, in hex. Copies in several folders are one item; a second
//!   copy in the *same* folder is an item of its own, `<hex>-1`, so that every folder has as many items as
//!   messages.
//! - Not here: reading messages, and the decision whether a place is gone.
//!
//! Memory: about 200 bytes a place with names of usual length; folders and flag sets are kept once.

#![expect(
    clippy::indexing_slicing,
    reason = "every index comes from the arrays themselves"
)]

#[cfg(test)]
pub(crate) mod lake;

use crate::collect::{Batch, Known};
use hashbrown::{HashMap, HashTable};
use schemas::{Attributes, Digest, Instant, Location, Touched};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

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

/// Which place holds which item.
///
/// Call [`unchanged`](Self::unchanged) for what is still in a folder *before* [`place`](Self::place) for what is
/// new there: known places that were not seen yet do not count as copies, so that a message which merely moved
/// within its folder keeps its item.
pub(crate) struct Mailbox {
    places: Vec<Place>,
    items: Vec<Item>,
    folders: Interned<String>,
    flags: Interned<Vec<String>>,
    by_location: HashTable<u32>,
    by_version: HashTable<u32>,
    by_item: HashTable<u32>,
    /// How many copies of a message have an item, where it is more than the first.
    copies: HashMap<Digest, u32>,
    /// (message, folder) → last copy given out there in this run, where it is not the first; keeps 60,000 equal
    /// messages in one folder from being compared with each other.
    given: HashMap<(Digest, u32), u32>,
    hasher: RandomState,
    changed_places: Vec<u32>,
    changed_items: Vec<u32>,
    unchanged: u64,
}

struct Place {
    location: Box<str>,
    version: Box<str>,
    received_at: Option<Instant>,
    item: u32,
    /// Next place of the same item.
    next: u32,
    folder: u32,
    flags: u32,
    seen: bool,
    /// Its row is in the lake.
    stored: bool,
    /// Waits for the next drain.
    changed: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Live,
    /// The location holds another item now. The old item keeps a stand-in until the end of the run, in the lake
    /// too, or a kill before the end would leave it without any place, never to vanish.
    Replaced,
    Gone,
}

struct Item {
    digest: Digest,
    /// 0 for the first copy of a message in a folder.
    copy: u32,
    /// First of its places.
    place: u32,
    changed: bool,
}

/// No place.
const NONE: u32 = u32::MAX;

/// Between a location and the item that it no longer holds, in the stand-in's name.
const REPLACED: &str = "#was-";

impl Mailbox {
    /// Starts a run.
    pub fn new(known: &Known) -> Self {
        let size = known.locations.len();
        let mut mailbox = Self {
            places: Vec::with_capacity(size),
            items: Vec::with_capacity(size),
            folders: Interned::default(),
            flags: Interned::default(),
            by_location: HashTable::with_capacity(size),
            by_version: HashTable::with_capacity(size),
            by_item: HashTable::with_capacity(size),
            copies: HashMap::new(),
            given: HashMap::new(),
            hasher: RandomState::new(),
            changed_places: Vec::new(),
            changed_items: Vec::new(),
            unchanged: 0,
        };
        for location in &known.locations {
            let Some((digest, copy)) = parse(&location.item) else {
                continue;
            };
            let item = mailbox.item(digest, copy);
            let replaced = location
                .location
                .strip_suffix(location.item.as_str())
                .is_some_and(|rest| rest.ends_with(REPLACED));
            let folder = mailbox.folders.id(&location.folder);
            let is_copy = mailbox
                .places_of(item)
                .any(|place| mailbox.places[place as usize].folder == folder);
            let place = Place {
                location: location.location.as_str().into(),
                // A killed run left the place where the message was before: if there is one again, it must be
                // read to become an item of its own.
                version: if is_copy {
                    "".into()
                } else {
                    location.version.as_str().into()
                },
                received_at: location.received_at,
                item,
                next: NONE,
                folder,
                flags: mailbox.flags.id(&location.flags),
                seen: false,
                stored: true,
                changed: false,
                state: if replaced { State::Replaced } else { State::Live },
            };
            mailbox.add(place);
        }
        mailbox
    }

    /// What is known of a location, from earlier runs or from this one.
    pub fn at(&self, location: &str) -> Option<Location> {
        self.find(location).map(|place| self.location(place))
    }

    /// An item seen with this fingerprint, anywhere.
    pub fn item_of_version(&self, version: &str) -> Option<String> {
        let hash = self.hasher.hash_one(version);
        let place = self
            .by_version
            .find(hash, |&place| &*self.places[place as usize].version == version)?;
        Some(self.name(self.places[*place as usize].item))
    }

    /// Marks a known location as still there, as it was.
    pub fn unchanged(&mut self, location: &str) {
        if let Some(place) = self.find(location) {
            self.places[place as usize].seen = true;
            self.unchanged += 1;
        }
    }

    /// Marks a location as still there, as it was, if it is known with this version and these sorted flags.
    pub fn unchanged_if(&mut self, location: &str, version: &str, flags: &[&str]) -> bool {
        let Some(index) = self.find(location) else {
            return false;
        };
        let place = &mut self.places[index as usize];
        let equal = &*place.version == version && self.flags.get(place.flags) == flags;
        if equal {
            place.seen = true;
            self.unchanged += 1;
        }
        equal
    }

    /// Marks a known location as still there although it could not be read this time; it is not counted.
    pub fn keep(&mut self, location: &str) {
        if let Some(place) = self.find(location) {
            self.places[place as usize].seen = true;
        }
    }

    /// How many places were found as they had been, since this was last asked: for [`Batch::unchanged`].
    pub fn take_unchanged(&mut self) -> u64 {
        std::mem::take(&mut self.unchanged)
    }

    /// Locations known at the start that were not seen in this run so far.
    pub fn missing(&self) -> Vec<String> {
        let places = self
            .places
            .iter()
            .filter(|place| place.state == State::Live && !place.seen);
        places.map(|place| place.location.to_string()).collect()
    }

    /// Places a message whose bytes were read.
    pub fn place(&mut self, seen: Seen, digest: Digest) -> Placed {
        let folder = self.folders.id(&seen.folder);
        if let Some(item) = self.item_for(&seen.location, folder, digest) {
            self.give(digest, folder, self.items[item as usize].copy);
            self.put(seen, folder, item);
            return Placed::Known {
                item: self.name(item),
            };
        }
        let copy = match self.existing(digest, 0) {
            None => self.copies.get(&digest).copied().unwrap_or(0),
            Some(_) => self.copies(digest),
        };
        let item = self.item(digest, copy);
        self.give(digest, folder, copy);
        self.put(seen, folder, item);
        Placed::New {
            item: self.name(item),
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
        let folder = self.folders.id(&seen.folder);
        let Some(item) = self.item_for(&seen.location, folder, digest) else {
            return false;
        };
        self.give(digest, folder, self.items[item as usize].copy);
        self.put(seen, folder, item);
        true
    }

    /// All attributes of an item as they are now.
    pub fn attributes(&self, item: &str) -> Attributes {
        let index = parse(item).and_then(|(digest, copy)| self.existing(digest, copy));
        index.map(|index| self.attributes_of(index)).unwrap_or_default()
    }

    /// Moves what changed since the last drain into `batch`: `located`, `touched`, and the attributes of the
    /// batch's originals.
    pub fn drain_into(&mut self, batch: &mut Batch) {
        for original in &mut batch.originals {
            original.attributes = self.attributes(&original.item);
        }
        for index in std::mem::take(&mut self.changed_places) {
            let place = &mut self.places[index as usize];
            place.changed = false;
            if place.state != State::Gone {
                place.stored = true;
                batch.located.push(self.location(index));
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
            let item = &mut self.items[index as usize];
            item.changed = false;
            let lives = item.place != NONE;
            let item = self.name(index);
            if lives && !originals.contains(item.as_str()) {
                touched.push(Touched {
                    item,
                    attributes: self.attributes_of(index),
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
        for index in (0..self.places.len()).map(|index| index as u32) {
            let place = &self.places[index as usize];
            let goes = match place.state {
                State::Live => !place.seen && gone(&self.location(index)),
                State::Replaced => true,
                State::Gone => false,
            };
            if goes {
                let (item, stored) = (place.item, place.stored);
                if stored {
                    batch.unlocated.push(place.location.to_string());
                }
                let before = self.summary(item);
                self.remove(index);
                if self.items[item as usize].place == NONE {
                    lost.push(item);
                } else if before != self.summary(item) {
                    self.change_item(item);
                }
            }
        }
        batch
            .vanished
            .extend(lost.into_iter().map(|item| self.name(item)));
        self.drain_into(batch);
    }

    /// The kept item that a message at `location` in `folder` is: the one it was, else the first copy that is
    /// nowhere else in the folder.
    fn item_for(&self, location: &str, folder: u32, digest: Digest) -> Option<u32> {
        let here = self.find(location);
        let free = |item: u32| {
            self.places_of(item).all(|place| {
                let other = &self.places[place as usize];
                !other.seen || other.folder != folder || Some(place) == here
            })
        };
        let was = here.map(|place| self.places[place as usize].item);
        if let Some(was) = was.filter(|&was| self.items[was as usize].digest == digest && free(was)) {
            return Some(was);
        }
        let first = self.given.get(&(digest, folder)).copied().unwrap_or(0);
        let mut copies = (first..self.copies(digest)).filter_map(|copy| self.existing(digest, copy));
        copies.find(|&item| free(item))
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
        let flags = self.flags.id(&flags);
        let is_new = self.items[item as usize].place == NONE;
        let before = self.summary(item);
        match self.find(&location) {
            Some(index) if self.places[index as usize].item == item => {
                self.reversion(index, &version);
                let place = &mut self.places[index as usize];
                let now = (folder, flags, received_at);
                place.seen = true;
                if (place.folder, place.flags, place.received_at) != now {
                    (place.folder, place.flags, place.received_at) = now;
                    self.change_place(index);
                } else if !self.places[index as usize].changed {
                    self.unchanged += 1;
                }
            }
            other => {
                if let Some(other) = other {
                    self.replace(other);
                }
                let index = self.add(Place {
                    location: location.into(),
                    version: version.into(),
                    received_at,
                    item,
                    next: NONE,
                    folder,
                    flags,
                    seen: true,
                    stored: false,
                    changed: false,
                    state: State::Live,
                });
                self.change_place(index);
            }
        }
        if !is_new && before != self.summary(item) {
            self.change_item(item);
        }
    }

    /// Gives a place another fingerprint.
    fn reversion(&mut self, index: u32, version: &str) {
        let place = &mut self.places[index as usize];
        if &*place.version == version {
            return;
        }
        let hash = self.hasher.hash_one(&*place.version);
        if let Ok(entry) = self.by_version.find_entry(hash, |&other| other == index) {
            entry.remove();
        }
        place.version = version.into();
        self.index_version(index);
        self.change_place(index);
    }

    /// Frees the location of a place for another item.
    fn replace(&mut self, index: u32) {
        let item = self.places[index as usize].item;
        let before = self.summary(item);
        let location = self.places[index as usize].location.clone();
        self.remove(index);
        if self.items[item as usize].place != NONE && self.summary(item) == before {
            return;
        }
        let name = format!("{location}{REPLACED}{}", self.name(item));
        if self.find(&name).is_some() {
            return;
        }
        let old = &self.places[index as usize];
        let stand_in = Place {
            location: name.into(),
            version: old.version.clone(),
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
        let stand_in = self.add(stand_in);
        self.change_place(stand_in);
    }

    fn add(&mut self, mut place: Place) -> u32 {
        let index = self.places.len() as u32;
        place.next = std::mem::replace(&mut self.items[place.item as usize].place, index);
        self.places.push(place);
        let (places, hasher) = (&self.places, &self.hasher);
        let hash = |&place: &u32| hasher.hash_one(&*places[place as usize].location);
        self.by_location.insert_unique(hash(&index), index, hash);
        self.index_version(index);
        index
    }

    /// Enters a place under its fingerprint, unless another is there already: one is enough, and thousands of
    /// equal entries would make the table a list.
    fn index_version(&mut self, index: u32) {
        let (places, hasher) = (&self.places, &self.hasher);
        let hash = |&place: &u32| hasher.hash_one(&*places[place as usize].version);
        let version = &places[index as usize].version;
        let equal = |&place: &u32| places[place as usize].version == *version;
        self.by_version.entry(hash(&index), equal, hash).or_insert(index);
    }

    fn remove(&mut self, index: u32) {
        let place = &mut self.places[index as usize];
        let (item, next) = (place.item, place.next);
        place.state = State::Gone;
        let hash = self.hasher.hash_one(&*place.location);
        if let Ok(entry) = self.by_location.find_entry(hash, |&other| other == index) {
            entry.remove();
        }
        let before = self
            .places_of(item)
            .find(|&place| self.places[place as usize].next == index);
        match before {
            Some(before) => self.places[before as usize].next = next,
            None => self.items[item as usize].place = next,
        }
    }

    /// Remembers that a copy is in a folder, so that the search for the next one begins there.
    fn give(&mut self, digest: Digest, folder: u32, copy: u32) {
        if copy > 0 {
            self.given.insert((digest, folder), copy);
        }
    }

    fn change_place(&mut self, index: u32) {
        let place = &mut self.places[index as usize];
        if !std::mem::replace(&mut place.changed, true) {
            self.changed_places.push(index);
        }
    }

    fn change_item(&mut self, index: u32) {
        let item = &mut self.items[index as usize];
        if !std::mem::replace(&mut item.changed, true) {
            self.changed_items.push(index);
        }
    }

    fn find(&self, location: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(location);
        self.by_location
            .find(hash, |&place| &*self.places[place as usize].location == location)
            .copied()
    }

    /// One more than the highest copy of a message that may have an item.
    fn copies(&self, digest: Digest) -> u32 {
        self.copies.get(&digest).copied().unwrap_or(1)
    }

    fn places_of(&self, item: u32) -> impl Iterator<Item = u32> {
        chain(self.items[item as usize].place, |place| {
            self.places[place as usize].next
        })
    }

    fn existing(&self, digest: Digest, copy: u32) -> Option<u32> {
        let is = |&item: &u32| {
            let item = &self.items[item as usize];
            item.digest == digest && item.copy == copy
        };
        self.by_item.find(short(&digest, copy), is).copied()
    }

    /// The item of that digest and copy, made if there is none.
    fn item(&mut self, digest: Digest, copy: u32) -> u32 {
        if let Some(item) = self.existing(digest, copy) {
            return item;
        }
        let index = self.items.len() as u32;
        self.items.push(Item {
            digest,
            copy,
            place: NONE,
            changed: false,
        });
        let items = &self.items;
        let hash = |&item: &u32| {
            let item = &items[item as usize];
            short(&item.digest, item.copy)
        };
        self.by_item.insert_unique(hash(&index), index, hash);
        if copy > 0 {
            let copies = self.copies.entry(digest).or_default();
            *copies = (*copies).max(copy + 1);
        }
        index
    }

    fn name(&self, item: u32) -> String {
        let Item { digest, copy, .. } = &self.items[item as usize];
        if *copy == 0 {
            digest.to_string()
        } else {
            format!("{digest}-{copy}")
        }
    }

    fn location(&self, index: u32) -> Location {
        let place = &self.places[index as usize];
        Location {
            location: place.location.to_string(),
            item: self.name(place.item),
            folder: self.folders.get(place.folder).clone(),
            version: place.version.to_string(),
            flags: self.flags.get(place.flags).clone(),
            received_at: place.received_at,
        }
    }

    fn attributes_of(&self, item: u32) -> Attributes {
        let (folders, flags, received_at) = self.summary(item);
        let mut folders: Vec<String> = folders
            .into_iter()
            .map(|id| self.folders.get(id).clone())
            .collect();
        let mut flags: Vec<String> = flags
            .into_iter()
            .flat_map(|id| self.flags.get(id))
            .cloned()
            .collect();
        folders.sort_unstable();
        flags.sort_unstable();
        flags.dedup();
        Attributes {
            folders,
            flags,
            received_at,
        }
    }

    /// What [`attributes_of`](Self::attributes_of) is made of: folders, flag sets, earliest arrival.
    fn summary(&self, item: u32) -> (Vec<u32>, Vec<u32>, Option<Instant>) {
        let mut folders = Vec::new();
        let mut flags = Vec::new();
        let mut received_at = None;
        for place in self.places_of(item).map(|place| &self.places[place as usize]) {
            folders.push(place.folder);
            flags.push(place.flags);
            received_at = match (received_at, place.received_at) {
                (Some(one), Some(other)) => Some(Ord::min(one, other)),
                (one, other) => one.or(other),
            };
        }
        for ids in [&mut folders, &mut flags] {
            ids.sort_unstable();
            ids.dedup();
        }
        (folders, flags, received_at)
    }
}

/// Values that repeat, each kept once.
#[derive(Default)]
struct Interned<T> {
    values: Vec<T>,
    ids: HashMap<T, u32>,
}

impl<T: Clone + Eq + std::hash::Hash> Interned<T> {
    fn id(&mut self, value: &T) -> u32 {
        if let Some(&id) = self.ids.get(value) {
            return id;
        }
        let id = self.values.len() as u32;
        self.values.push(value.clone());
        self.ids.insert(value.clone(), id);
        id
    }

    fn get(&self, id: u32) -> &T {
        &self.values[id as usize]
    }
}

/// Follows a linked list.
fn chain(first: u32, next: impl Fn(u32) -> u32) -> impl Iterator<Item = u32> {
    let end = |index: u32| (index != NONE).then_some(index);
    std::iter::successors(end(first), move |&index| end(next(index)))
}

/// A digest is its own hash.
fn short(digest: &Digest, copy: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.0[..8]);
    u64::from_le_bytes(bytes).wrapping_add(u64::from(copy).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Digest and copy of an item's name.
fn parse(item: &str) -> Option<(Digest, u32)> {
    let (hex, copy) = match item.split_once('-') {
        Some((hex, copy)) => (hex, copy.parse().ok()?),
        None => (item, 0),
    };
    let mut digest = [0; 32];
    hex::decode_to_slice(hex, &mut digest).ok()?;
    Some((Digest(digest), copy))
}

#[cfg(test)]
mod tests {
    use super::lake::Lake;
    use super::*;
    use crate::collect::now;
    use bytes::Bytes;
    use proptest::prelude::*;
    use schemas::{Cursor, Original, RawItem};

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
            batch.originals.push(RawItem {
                item,
                media_type: "message/rfc822",
                fetched_at: now(),
                sha256: digest,
                original: Original::Bytes(Bytes::from(text.to_owned())),
                attributes: Attributes::default(),
            });
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
            received_at: None,
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
