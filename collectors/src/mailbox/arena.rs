//! Arrays with small indices, and values that are kept once.

use hashbrown::HashMap;
use std::hash::Hash;
use std::ops;

/// An array whose indices are 32 bits wide; each comes from [`next`](Self::next).
pub(super) struct Arena<T>(Vec<T>);

impl<T> Arena<T> {
    /// Empty, with room for so many.
    pub fn with_capacity(size: usize) -> Self {
        Self(Vec::with_capacity(size))
    }

    /// Index of what is pushed next.
    pub fn next(&self) -> u32 {
        self.0.len() as u32
    }

    pub fn push(&mut self, value: T) {
        self.0.push(value);
    }

    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<T> ops::Index<u32> for Arena<T> {
    type Output = T;

    #[expect(clippy::indexing_slicing, reason = "indices are made by `next` and never end")]
    fn index(&self, index: u32) -> &T {
        &self.0[index as usize]
    }
}

impl<T> ops::IndexMut<u32> for Arena<T> {
    #[expect(clippy::indexing_slicing, reason = "indices are made by `next` and never end")]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.0[index as usize]
    }
}

/// Values that repeat, each kept once.
pub(super) struct Interned<T> {
    values: Arena<T>,
    ids: HashMap<T, u32>,
}

impl<T: Clone + Eq + Hash> Interned<T> {
    pub fn new() -> Self {
        Self {
            values: Arena(Vec::new()),
            ids: HashMap::new(),
        }
    }

    /// The id of a value.
    pub fn id(&mut self, value: &T) -> u32 {
        if let Some(&id) = self.ids.get(value) {
            return id;
        }
        let id = self.values.next();
        self.values.push(value.clone());
        self.ids.insert(value.clone(), id);
        id
    }

    /// The value of an id.
    pub fn get(&self, id: u32) -> &T {
        &self.values[id]
    }
}
