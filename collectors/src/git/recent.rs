//! Objects read a moment ago: what a commit has is mostly what its parent had, and is asked for again.

use gix::ObjectId;
use gix::hashtable::HashMap;

/// Keeps objects up to a number of bytes; beyond that it forgets them all and begins anew.
#[derive(Default)]
pub(super) struct Recent {
    kept: HashMap<ObjectId, Vec<u8>>,
    bytes: usize,
    most: usize,
}

impl Recent {
    /// Keeps at most so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// An object that is kept.
    pub(super) fn get(&self, id: &ObjectId) -> Option<&[u8]> {
        self.kept.get(id).map(Vec::as_slice)
    }

    /// An object that is not kept any longer.
    pub(super) fn take(&mut self, id: &ObjectId) -> Option<Vec<u8>> {
        let taken = self.kept.remove(id)?;
        self.bytes -= taken.len();
        Some(taken)
    }

    /// Keeps an object.
    pub(super) fn keep(&mut self, id: ObjectId, object: Vec<u8>) {
        if self.bytes + object.len() > self.most {
            self.kept.clear();
            self.bytes = 0;
        }
        if object.len() <= self.most {
            self.bytes += object.len();
            if let Some(before) = self.kept.insert(id, object) {
                self.bytes -= before.len();
            }
        }
    }
}
