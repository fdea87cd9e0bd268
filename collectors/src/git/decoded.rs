//! Objects of packs that were decoded, shared by all threads that read a repository: most are stored as a difference to one that
//! another thread has just decoded.
//!
//! - In: decoded objects, as `gix` finds them. Out: the same, as long as they are kept. A reader of a pack asks here before it
//!   decodes.
//! - Not here: contents of files, which are kept longer (`recent`).

use gix::objs::Kind;
use gix::odb::pack::cache::DecodeEntry;
use gix::odb::pack::cache::lru::MemoryCappedHashmap;
use std::sync::{Arc, Mutex, PoisonError};

/// Parts that threads hold one at a time: more than there are threads.
const PARTS: usize = 32;

/// Decoded objects. A copy is another way to the same ones.
#[derive(Clone)]
pub(super) struct Decoded(Arc<[Mutex<MemoryCappedHashmap>]>);

impl Decoded {
    /// None yet, and never more than these bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let part = || Mutex::new(MemoryCappedHashmap::new(bytes / PARTS));
        Self(std::iter::repeat_with(part).take(PARTS).collect())
    }

    /// Does something with the part that an object belongs to.
    fn with<T>(&self, offset: u64, act: impl FnOnce(&mut MemoryCappedHashmap) -> T) -> Option<T> {
        let at = usize::try_from(offset).unwrap_or_default() % PARTS;
        let mut part = self.0.get(at)?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(act(&mut part))
    }
}

impl DecodeEntry for Decoded {
    fn put(&mut self, pack: u32, offset: u64, data: &[u8], kind: Kind, compressed: usize) {
        self.with(offset, |part| part.put(pack, offset, data, kind, compressed));
    }

    fn get(&mut self, pack: u32, offset: u64, out: &mut Vec<u8>) -> Option<(Kind, usize)> {
        self.with(offset, |part| part.get(pack, offset, out)).flatten()
    }
}
