//! Which file holds which item, and what a run changes about that.
//!
//! - In: the known places, then what each file that was read turned out to be. Out: what of it is new, which rows
//!   must be told again, which places and items are gone, in an order that makes a kill between two batches
//!   harmless.
//! - An item is the SHA-256 of a file, in hex. Equal files are one item at several places; its row is told by the
//!   first of them by name. If that one goes while others cannot be looked at, the row stays until the first of them can.
//! - Not here: reading files, and the decision whether a place is gone.

use crate::collect::Batch;
use schemas::{Digest, Location};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

/// Which file holds which item.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Places that the lake has, by location.
    stored: HashMap<String, Place>,
    /// Locations of each item that the lake has.
    of_item: HashMap<String, BTreeSet<String>>,
    /// Places that are gone, and not told yet.
    removed: Vec<String>,
    /// Items whose last place is gone or became another's, and not told yet.
    lost: BTreeSet<String>,
    /// Items that the place which told of them does not hold any more, while nobody could look at another place of
    /// theirs. The next run has to know.
    pub untold: BTreeSet<String>,
}

#[derive(Debug)]
struct Place {
    item: String,
    version: String,
    state: State,
}

/// What this run knows of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing yet.
    Unseen,
    /// It is there, and could not be read.
    Kept,
    /// It holds its item.
    Certain,
}

/// What a file that was read means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub item: String,
    /// Whether its row is to be told by this place.
    pub tells: bool,
    /// Whether the original must be named again: it is new, or another place than before tells of it.
    pub names: bool,
}

impl Places {
    /// Starts a run.
    pub fn new(known: &[Location]) -> Self {
        let mut places = Self::default();
        for place in known {
            places.put(&place.location, &place.item, &place.version, State::Unseen);
        }
        places
    }

    fn put(&mut self, location: &str, item: &str, version: &str, state: State) {
        let place = Place {
            item: item.to_owned(),
            version: version.to_owned(),
            state,
        };
        let replaced = self.stored.insert(location.to_owned(), place);
        if let Some(replaced) = replaced.filter(|replaced| replaced.item != item) {
            let told = self.of_item.get(&replaced.item).and_then(BTreeSet::first);
            let told_here = told.is_some_and(|first| first == location);
            self.forget(location, &replaced.item);
            if told_here {
                self.forget_others(&replaced.item);
            }
        }
        let places = self.of_item.entry(item.to_owned()).or_default();
        places.insert(location.to_owned());
        self.lost.remove(item);
    }

    /// Removes the other places of an item whose teller holds something else now. They are read again in this run
    /// ([`orphans`](Self::orphans)); if it is killed before, the next one must not think that they still are told.
    fn forget_others(&mut self, item: &str) {
        let places = self.of_item.get(item).into_iter().flatten();
        let is_kept = |place: &&String| {
            self.stored
                .get(*place)
                .is_some_and(|place| place.state == State::Kept)
        };
        let others: Vec<String> = places.filter(|place| !is_kept(place)).cloned().collect();
        for place in others {
            self.remove(place);
        }
    }

    fn forget(&mut self, location: &str, item: &str) {
        if let Some(places) = self.of_item.get_mut(item) {
            let told = places.first().is_some_and(|first| first == location);
            places.remove(location);
            if places.is_empty() {
                self.of_item.remove(item);
                self.untold.remove(item);
                self.lost.insert(item.to_owned());
            } else if told {
                self.untold.insert(item.to_owned());
            }
        }
    }

    /// Marks a place as still there, as it was, if the lake has it with this version.
    pub fn unchanged_if(&mut self, location: &str, version: &str) -> bool {
        let place = self.stored.get_mut(location);
        let Some(place) = place.filter(|place| place.version == version) else {
            return false;
        };
        place.state = State::Certain;
        true
    }

    /// Marks a place as still there, as it was, although it could not be read; or, if its file was read and is unfit, as
    /// holding nothing.
    pub fn reject(&mut self, location: &str, is_read: bool) {
        if let Some(place) = self.stored.get_mut(location) {
            place.state = if is_read { State::Unseen } else { State::Kept };
        }
    }

    /// Marks all places whose locations begin so as still there, unless more is known of them.
    pub fn keep_below(&mut self, beginnings: &[String]) {
        if beginnings.is_empty() {
            return;
        }
        for (location, place) in &mut self.stored {
            let is_below = |beginning: &String| location.starts_with(beginning.as_str());
            if place.state == State::Unseen && beginnings.iter().any(is_below) {
                place.state = State::Kept;
            }
        }
    }

    /// Whether any place lies below a folder.
    pub fn has_below(&self, folder: &Path) -> bool {
        let mut locations = self.stored.keys();
        locations.any(|location| Path::new(location).starts_with(folder))
    }

    /// The first place of an item that is still there.
    fn first(&self, item: &str) -> Option<&String> {
        let mut places = self.of_item.get(item)?.iter();
        places.find(|&place| !self.is_unseen(place))
    }

    fn is_unseen(&self, location: &str) -> bool {
        let place = self.stored.get(location);
        place.is_some_and(|place| place.state == State::Unseen)
    }

    /// Unchanged places that must be read all the same: the place that told of their item is gone or changed, now or
    /// in an earlier run. Call it once all unchanged places are marked.
    pub fn orphans(&self) -> HashSet<String> {
        let is_certain = |place: &&String| {
            let place = self.stored.get(*place);
            place.is_some_and(|place| place.state == State::Certain)
        };
        let orphans = self.of_item.iter().filter(|(item, places)| {
            let first = self.first(item);
            let is_untold = self.untold.contains(*item) && first.as_ref().is_some_and(is_certain);
            is_untold || first != places.first()
        });
        let places = orphans.flat_map(|(_, places)| places.iter().filter(is_certain));
        places.cloned().collect()
    }

    /// Takes in a file that was read. Files come in the order of their locations.
    pub fn place(&mut self, location: &str, version: &str, digest: Digest) -> Meaning {
        let item = digest.to_string();
        let tells = self.first(&item).is_none_or(|first| location <= first.as_str());
        let told_before = self.of_item.get(&item).and_then(BTreeSet::first);
        let is_told_here = told_before.is_some_and(|told| told == location) && !self.untold.contains(&item);
        let names = tells && !is_told_here;
        if tells {
            // Whoever told before is gone: if this run is killed and it comes back, the lake must not think that
            // it still tells.
            let places = self.of_item.get(&item).into_iter().flatten();
            let before = places.take_while(|place| place.as_str() < location).cloned();
            for gone in before.collect::<Vec<_>>() {
                self.remove(gone);
            }
        }
        self.put(location, &item, version, State::Certain);
        if tells {
            self.untold.remove(&item);
        }
        Meaning { item, tells, names }
    }

    fn remove(&mut self, location: String) {
        if let Some(place) = self.stored.remove(&location) {
            self.forget(&location, &place.item);
            self.removed.push(location);
        }
    }

    /// Removes the places that were not seen. Only once all files are placed.
    pub fn remove_missing(&mut self) {
        let missing = self
            .stored
            .iter()
            .filter(|(_, place)| place.state == State::Unseen);
        let mut missing: Vec<String> = missing.map(|(location, _)| location.clone()).collect();
        missing.sort_unstable();
        for location in missing {
            self.remove(location);
        }
    }

    /// Moves what is gone since the last drain into `batch`: `unlocated` and `vanished`.
    pub fn drain_into(&mut self, batch: &mut Batch) {
        batch.unlocated.append(&mut self.removed);
        batch.vanished.extend(std::mem::take(&mut self.lost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use schemas::Cursor;
    use std::collections::BTreeMap;

    /// What the lake holds: which item lies at each place, which place tells of each item, which one its original
    /// names, and what the cursor says.
    #[derive(Debug, Default, Clone)]
    struct Lake {
        places: BTreeMap<String, String>,
        told: BTreeMap<String, String>,
        named: BTreeMap<String, String>,
        untold: BTreeSet<String>,
    }

    impl Lake {
        fn known(&self) -> Vec<Location> {
            let known = self.places.iter().map(|(location, item)| Location {
                location: location.clone(),
                item: item.clone(),
                folder: String::new(),
                version: item.clone(),
                flags: Vec::new(),
                received_at: None,
            });
            known.collect()
        }

        /// One run over files given as location and content, which ends after so many reads. It cannot look at places
        /// that begin as one of `away`.
        fn run(&mut self, files: &BTreeMap<String, String>, away: &[String], trusts: bool, reads: usize) {
            let mut places = Places::new(&self.known());
            places.untold.clone_from(&self.untold);
            places.keep_below(away);
            let is_away = |place: &str| away.iter().any(|of| place.starts_with(of.as_str()));
            let files: Vec<_> = files.iter().filter(|(place, _)| !is_away(place)).collect();
            let item = |content: &str| Digest::of(content.as_bytes());
            let unchanged: Vec<_> = files
                .iter()
                .filter(|(place, content)| trusts && places.unchanged_if(place, &item(content).to_string()))
                .collect();
            let orphans = places.orphans();
            let unchanged: Vec<_> = unchanged
                .into_iter()
                .filter(|(place, _)| !orphans.contains(*place))
                .map(|(place, _)| *place)
                .collect();
            let to_read = files.iter().filter(|(place, _)| !unchanged.contains(place));
            for (number, (place, content)) in to_read.enumerate() {
                if number == reads {
                    return;
                }
                let digest = item(content);
                let meaning = places.place(place, &digest.to_string(), digest);
                self.places.insert(place.to_string(), meaning.item.clone());
                if meaning.tells {
                    self.told.insert(meaning.item.clone(), place.to_string());
                }
                if meaning.names {
                    self.named.insert(meaning.item, place.to_string());
                }
                self.drain(&mut places);
            }
            places.remove_missing();
            self.drain(&mut places);
        }

        fn drain(&mut self, places: &mut Places) {
            let mut batch = Batch::at(Cursor(serde_json::Value::Null));
            places.drain_into(&mut batch);
            for gone in batch.unlocated {
                assert!(self.places.remove(&gone).is_some());
            }
            for item in batch.vanished {
                assert!(self.told.remove(&item).is_some());
                assert!(self.named.remove(&item).is_some());
            }
            self.untold.clone_from(&places.untold);
        }

        /// Each item at the source is told and named by its first place, and no other is.
        fn check(&self, files: &BTreeMap<String, String>) {
            let mut expected = BTreeMap::new();
            for (place, content) in files {
                let item = Digest::of(content.as_bytes()).to_string();
                expected.entry(item).or_insert_with(|| place.clone());
            }
            assert_eq!(self.told, expected);
            assert_eq!(self.named, expected);
            assert_eq!(self.places.len(), files.len());
        }
    }

    fn files(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        let all = all
            .iter()
            .map(|&(place, content)| (place.to_owned(), content.to_owned()));
        all.collect()
    }

    proptest! {
        #[test]
        fn after_any_runs_and_kills_each_item_is_told_by_its_first_place(
            runs in proptest::collection::vec(
                (
                    proptest::collection::btree_map("[a-f]", "[x-z]", 0..6),
                    proptest::collection::vec("[a-f]", 0..3),
                    proptest::option::of(0_usize..4),
                    any::<bool>(),
                ),
                1..8,
            ),
        ) {
            let mut lake = Lake::default();
            for (files, away, kill, trusts) in runs {
                let before = lake.places.clone();
                lake.run(&files, &away, trusts, kill.unwrap_or(usize::MAX));
                for (place, item) in before.iter().filter(|(place, _)| away.contains(place)) {
                    assert_eq!(lake.places.get(place), Some(item));
                    assert!(lake.told.contains_key(item));
                }
                if kill.is_none() && away.is_empty() {
                    lake.check(&files);
                }
            }
        }
    }

    #[test]
    fn what_told_of_an_item_and_went_while_others_were_away_is_followed_by_one_of_them() {
        for here in [None, Some(("here/a", "y"))] {
            let mut lake = Lake::default();
            let both = files(&[("here/a", "x"), ("usb/a", "x")]);
            lake.run(&both, &[], true, usize::MAX);
            lake.check(&both);
            let away = ["usb/".to_owned()];
            let left = files(here.as_slice());
            lake.run(&left, &away, true, usize::MAX);
            // Nothing has changed since, so nothing but the cursor tells.
            lake.run(&left, &away, true, usize::MAX);
            assert_eq!(lake.told.len(), 1 + left.len(), "{lake:?}");
            let mut back = files(&[("usb/a", "x")]);
            back.extend(left);
            lake.run(&back, &[], true, usize::MAX);
            lake.check(&back);
            assert!(lake.untold.is_empty(), "{lake:?}");
        }
    }

    #[test]
    fn what_could_not_be_looked_at_still_tells_of_its_item() {
        let mut lake = Lake::default();
        let all = files(&[("away/a", "x"), ("away/b", "y"), ("here/c", "x")]);
        lake.run(&all, &[], true, usize::MAX);
        let mut places = Places::new(&lake.known());
        let digest = Digest::of(b"x");
        places.keep_below(&["away/".to_owned()]);
        assert!(places.has_below(Path::new("away")) && !places.has_below(Path::new("awa")));
        assert!(places.unchanged_if("here/c", &digest.to_string()));
        assert!(places.orphans().is_empty(), "`away/a` tells of it");
        assert!(!places.place("here/d", &digest.to_string(), digest).tells);
        places.remove_missing();
        let mut batch = Batch::at(Cursor(serde_json::Value::Null));
        places.drain_into(&mut batch);
        assert_eq!((batch.unlocated, batch.vanished), (Vec::new(), Vec::new()));
    }

    #[test]
    fn an_original_is_named_again_when_another_place_tells_of_it() {
        let mut lake = Lake::default();
        lake.run(&files(&[("b", "x"), ("c", "x")]), &[], true, usize::MAX);
        let digest = Digest::of(b"x");
        let version = digest.to_string();
        let mut places = Places::new(&lake.known());
        assert!(!places.place("b", &version, digest).names, "it was named so");
        assert!(!places.place("c", &version, digest).tells);
        let mut places = Places::new(&lake.known());
        assert!(places.unchanged_if("c", &version));
        assert_eq!(places.orphans(), HashSet::from(["c".to_owned()]));
        assert!(places.place("c", &version, digest).names);
    }
}
