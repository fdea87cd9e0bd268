//! The tables behind a mailbox: places, items, and how they are found. They decide nothing.
//!
//! - In: known places. Out: indices of places and items, what an item's places add up to.
//! - Not here: what a seen message changes (`mailbox`).

use super::arena::{Arena, Interned};
use super::texts::{Text, Texts};
use crate::collect::Known;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use schemas::{Attributes, Digest, Instant, Location};
use std::hash::BuildHasher;

/// Where a message lies, or lay.
pub(super) struct Place {
    pub location: Text,
    pub version: Text,
    pub received_at: Option<Instant>,
    pub item: u32,
    /// Next place of the same item.
    pub next: u32,
    pub folder: u32,
    pub flags: u32,
    pub seen: bool,
    /// Its row is in the lake.
    pub stored: bool,
    /// Waits for the next drain.
    pub changed: bool,
    pub state: State,
}

/// Whether a place is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Live,
    /// The location holds another item now. The old item keeps a stand-in until the end of the run, in the lake
    /// too, or a kill before the end would leave it without any place, never to vanish.
    Replaced,
    Gone,
}

/// A message with its own name.
pub(super) struct Item {
    pub digest: Digest,
    /// 0 for the first copy of a message in a folder.
    pub copy: u32,
    /// First of its places.
    pub place: u32,
    pub changed: bool,
}

/// No place.
pub(super) const NONE: u32 = u32::MAX;

/// Between a location and the item that it no longer holds, in the stand-in's name.
pub(super) const REPLACED: &str = "#was-";

/// Places and items, found by location, fingerprint or digest.
pub(super) struct Index {
    pub places: Arena<Place>,
    pub items: Arena<Item>,
    /// Locations and versions of the places.
    pub texts: Texts,
    pub folders: Interned<String>,
    pub flags: Interned<Vec<String>>,
    by_location: HashTable<u32>,
    by_version: HashTable<u32>,
    by_item: HashTable<u32>,
    /// How many copies of a message have an item, where it is more than the first.
    copies: HashMap<Digest, u32>,
    hasher: DefaultHashBuilder,
}

impl Index {
    /// Of the places known at the start of a run.
    pub fn of(known: &Known) -> Self {
        let size = known.locations.len();
        let mut index = Self {
            places: Arena::with_capacity(size),
            items: Arena::with_capacity(size),
            texts: Texts::default(),
            folders: Interned::new(),
            flags: Interned::new(),
            by_location: HashTable::with_capacity(size),
            by_version: HashTable::with_capacity(size),
            by_item: HashTable::with_capacity(size),
            copies: HashMap::new(),
            hasher: DefaultHashBuilder::default(),
        };
        for location in &known.locations {
            let Some((digest, copy)) = parse(&location.item) else {
                continue;
            };
            let item = index.item(digest, copy);
            let name = location.location.strip_suffix(location.item.as_str());
            let is_replaced = name.is_some_and(|name| name.ends_with(REPLACED));
            let folder = index.folders.id(&location.folder);
            let is_copy = index
                .places_of(item)
                .any(|place| index.places[place].folder == folder);
            // A killed run left the place where the message was before: if there is one again, it must be read
            // to become an item of its own.
            let version = if is_copy { "" } else { &location.version };
            let flags = index.flags.id(&location.flags);
            let place = Place {
                location: index.texts.add(&location.location),
                version: index.texts.add(version),
                received_at: location.received_at,
                item,
                next: NONE,
                folder,
                flags,
                seen: false,
                stored: true,
                changed: false,
                state: if is_replaced { State::Replaced } else { State::Live },
            };
            index.add(place);
        }
        index
    }

    /// The location of a place.
    pub fn location_of(&self, place: u32) -> &str {
        self.texts.get(self.places[place].location)
    }

    /// The fingerprint of a place.
    pub fn version_of(&self, place: u32) -> &str {
        self.texts.get(self.places[place].version)
    }

    /// The item of a place with this fingerprint.
    pub fn item_of_version(&self, version: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(version);
        let place = self
            .by_version
            .find(hash, |&place| self.version_of(place) == version)?;
        Some(self.places[*place].item)
    }

    /// Gives a place a fingerprint: whether it is another.
    pub fn reversion(&mut self, index: u32, version: &str) -> bool {
        if self.version_of(index) == version {
            return false;
        }
        let hash = self.hasher.hash_one(self.version_of(index));
        if let Ok(entry) = self.by_version.find_entry(hash, |&other| other == index) {
            entry.remove();
        }
        self.places[index].version = self.texts.add(version);
        self.index_version(index);
        true
    }

    /// Adds a place to its item.
    pub fn add(&mut self, mut place: Place) -> u32 {
        let index = self.places.next();
        place.next = std::mem::replace(&mut self.items[place.item].place, index);
        self.places.push(place);
        let (places, texts, hasher) = (&self.places, &self.texts, &self.hasher);
        let hash = |&place: &u32| hasher.hash_one(texts.get(places[place].location));
        self.by_location.insert_unique(hash(&index), index, hash);
        self.index_version(index);
        index
    }

    /// Enters a place under its fingerprint, unless another is there already: one is enough, and thousands of
    /// equal entries would make the table a list.
    fn index_version(&mut self, index: u32) {
        let (places, texts, hasher) = (&self.places, &self.texts, &self.hasher);
        let version_of = |place: u32| texts.get(places[place].version);
        let hash = |&place: &u32| hasher.hash_one(version_of(place));
        let equal = |&place: &u32| version_of(place) == version_of(index);
        self.by_version.entry(hash(&index), equal, hash).or_insert(index);
    }

    /// Takes a place from its item.
    pub fn remove(&mut self, index: u32) {
        let place = &mut self.places[index];
        let (item, next) = (place.item, place.next);
        place.state = State::Gone;
        let hash = self.hasher.hash_one(self.location_of(index));
        if let Ok(entry) = self.by_location.find_entry(hash, |&other| other == index) {
            entry.remove();
        }
        let before = self
            .places_of(item)
            .find(|&place| self.places[place].next == index);
        match before {
            Some(before) => self.places[before].next = next,
            None => self.items[item].place = next,
        }
    }

    /// The place of that location.
    pub fn find(&self, location: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(location);
        self.by_location
            .find(hash, |&place| self.location_of(place) == location)
            .copied()
    }

    /// The copies of a message have numbers below this; 0 for a message that has no item.
    pub fn copies(&self, digest: Digest) -> u32 {
        let first = || u32::from(self.existing(digest, 0).is_some());
        self.copies.get(&digest).copied().unwrap_or_else(first)
    }

    /// The places of an item.
    pub fn places_of(&self, item: u32) -> impl Iterator<Item = u32> {
        chain(self.items[item].place, |place| self.places[place].next)
    }

    /// The item of that digest and copy.
    pub fn existing(&self, digest: Digest, copy: u32) -> Option<u32> {
        let is = |&item: &u32| {
            let item = &self.items[item];
            item.digest == digest && item.copy == copy
        };
        self.by_item.find(short(&digest, copy), is).copied()
    }

    /// The item of that digest and copy, made if there is none.
    pub fn item(&mut self, digest: Digest, copy: u32) -> u32 {
        if let Some(item) = self.existing(digest, copy) {
            return item;
        }
        let index = self.items.next();
        self.items.push(Item {
            digest,
            copy,
            place: NONE,
            changed: false,
        });
        let items = &self.items;
        let hash = |&item: &u32| {
            let item = &items[item];
            short(&item.digest, item.copy)
        };
        self.by_item.insert_unique(hash(&index), index, hash);
        if copy > 0 {
            let copies = self.copies.entry(digest).or_default();
            *copies = (*copies).max(copy + 1);
        }
        index
    }

    /// The name of an item.
    pub fn name(&self, item: u32) -> String {
        let Item { digest, copy, .. } = &self.items[item];
        if *copy == 0 {
            digest.to_string()
        } else {
            format!("{digest}-{copy}")
        }
    }

    /// A place as a row.
    pub fn location(&self, index: u32) -> Location {
        let place = &self.places[index];
        Location {
            location: self.location_of(index).to_owned(),
            item: self.name(place.item),
            folder: self.folders.get(place.folder).clone(),
            version: self.version_of(index).to_owned(),
            flags: self.flags.get(place.flags).clone(),
            received_at: place.received_at,
        }
    }

    /// All attributes of an item.
    pub fn attributes_of(&self, item: u32) -> Attributes {
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
            ..Attributes::default()
        }
    }

    /// What [`attributes_of`](Self::attributes_of) is made of: folders, flag sets, earliest arrival.
    pub fn summary(&self, item: u32) -> (Vec<u32>, Vec<u32>, Option<Instant>) {
        let mut folders = Vec::new();
        let mut flags = Vec::new();
        let mut received_at = None;
        for place in self.places_of(item).map(|place| &self.places[place]) {
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

/// Follows a linked list.
fn chain(first: u32, next: impl Fn(u32) -> u32) -> impl Iterator<Item = u32> {
    let end = |index: u32| (index != NONE).then_some(index);
    std::iter::successors(end(first), move |&index| end(next(index)))
}

/// A digest is its own hash.
fn short(digest: &Digest, copy: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(digest.0.first_chunk().unwrap_or(&[0; 8]));
    u64::from_le_bytes(bytes).wrapping_add(u64::from(copy).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Digest and copy of an item's name.
pub(super) fn parse(item: &str) -> Option<(Digest, u32)> {
    let (hex, copy) = match item.split_once('-') {
        Some((hex, copy)) => (hex, copy.parse().ok()?),
        None => (item, 0),
    };
    let mut digest = [0; 32];
    hex::decode_to_slice(hex, &mut digest).ok()?;
    Some((Digest(digest), copy))
}
