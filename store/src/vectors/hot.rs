//! Vectors in memory, for a process that stays: the nearest chunks within a millisecond.
//!
//! - In: what is known of the chunks, the vectors of a model. Out: chunks.
//! - Not here: words (`chunks`), filters (`facts`).

use super::VectorError;
use super::chunks::{BODY, PART};
use super::facts::Facts;
use super::planes::{Key, Planes};
use super::space::{Digest, Space};
use arrow_array::cast::AsArray as _;
use arrow_buffer::BooleanBuffer;
use hashbrown::{HashMap, HashSet};

/// No vector yet.
const NOWHERE: u32 = u32::MAX;

/// When more than so large a part of the vectors is of texts that are no longer there, all are read anew.
const WASTE: f64 = 0.25;

/// Fewer vectors than this are asked for by their digests.
const FEW: usize = 4_096;

/// The vectors of a model for the chunks of a dataset.
#[derive(Debug)]
pub struct Hot {
    space: Space,
    planes: Planes,
    /// Place of each chunk's vector.
    places: Vec<u32>,
    /// Chunks of the vector at place `n`: `chunks_at[first_at[n]..first_at[n + 1]]`.
    first_at: Vec<u32>,
    chunks_at: Vec<u32>,
}

/// A chunk near a vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// Its position among the chunks.
    pub chunk: usize,
    /// Cosine.
    pub cosine: f32,
}

impl Hot {
    /// Reads the vectors of chunks.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read.
    pub async fn load(facts: &Facts, space: Space) -> Result<Self, VectorError> {
        let mut hot = Self {
            planes: Planes::new(space.model().dimension, space.count().await?),
            places: Vec::new(),
            first_at: Vec::new(),
            chunks_at: Vec::new(),
            space,
        };
        hot.read(facts).await?;
        Ok(hot)
    }

    /// Sees what was written since, reading only vectors that are new; `facts` have seen it already, and something new
    /// in it if `facts_changed`.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read.
    pub async fn refresh(&mut self, facts: &Facts, facts_changed: bool) -> Result<(), VectorError> {
        match self.space.see_latest().await? || facts_changed {
            true => self.read(facts).await,
            false => Ok(()),
        }
    }

    /// The vectors on disk.
    pub fn space(&self) -> &Space {
        &self.space
    }

    async fn read(&mut self, facts: &Facts) -> Result<(), VectorError> {
        let column = |name| facts.batch().column_by_name(name);
        let parts = column(PART).and_then(|column| column.as_string_opt::<i32>());
        // Another chunk may say what a reply repeats.
        let is_own = |chunk| parts.is_none_or(|parts| parts.value(chunk) == BODY);
        let keys: Vec<Option<(Key, Digest)>> = column("digest")
            .and_then(|column| column.as_fixed_size_binary_opt())
            .map(|digests| {
                let keys = digests.iter().enumerate();
                keys.map(|(chunk, digest)| digest.filter(|_| is_own(chunk)).and_then(key))
                    .collect()
            })
            .unwrap_or_default();

        let places = keys
            .iter()
            .flatten()
            .filter_map(|(key, _)| self.planes.place(key));
        let used = places.collect::<HashSet<u32>>().len();
        let is_wasteful = self.planes.len() as f64 * (1.0 - WASTE) > used as f64;
        if is_wasteful {
            self.planes = Planes::new(self.space.model().dimension, self.space.count().await?);
        }
        let new: HashMap<Key, Digest> = keys
            .iter()
            .flatten()
            .filter(|(key, _)| self.planes.place(key).is_none())
            .copied()
            .collect();
        if !new.is_empty() {
            // To look for many by name is slower than to read all.
            let digests: Vec<Digest> = new.values().copied().collect();
            let few = (new.len() < FEW).then_some(&digests[..]);
            let dimension = self.space.model().dimension.max(1);
            let planes = &mut self.planes;
            self.space
                .each(few, |digests, numbers| {
                    for (digest, vector) in digests.iter().flatten().zip(numbers.chunks_exact(dimension)) {
                        if let Some((key, _)) = key(digest)
                            && new.contains_key(&key)
                        {
                            planes.push(key, vector);
                        }
                    }
                })
                .await?;
        }

        self.places = keys
            .iter()
            .map(|key| {
                key.and_then(|(key, _)| self.planes.place(&key))
                    .unwrap_or(NOWHERE)
            })
            .collect();
        (self.first_at, self.chunks_at) = by_place(&self.places, self.planes.len());
        Ok(())
    }

    /// How many chunks have a vector.
    pub fn with_vector(&self) -> usize {
        self.places.iter().filter(|&&place| place != NOWHERE).count()
    }

    /// Whether the chunk at a position has a vector.
    pub fn has(&self, chunk: usize) -> bool {
        self.places.get(chunk).is_some_and(|&place| place != NOWHERE)
    }

    /// The chunks nearest to a vector, nearest first, at most `most`; of those that fit only, if that is given.
    pub fn nearest(&self, vector: &[f32], most: usize, fitting: Option<&BooleanBuffer>) -> Vec<Near> {
        let among = fitting.map(|fitting| {
            let places = fitting
                .set_indices()
                .filter_map(|chunk| self.places.get(chunk).copied());
            let mut among: Vec<u32> = places.filter(|&place| place != NOWHERE).collect();
            among.sort_unstable();
            among.dedup();
            among
        });
        let places = self.planes.nearest(vector, most, among.as_deref());
        // Several chunks may say the same.
        let chunks = places.iter().flat_map(|near| {
            let chunks = self.said_at(near.place).iter().map(|&chunk| chunk as usize);
            let chunks = chunks.filter(|&chunk| fitting.is_none_or(|fitting| fitting.value(chunk)));
            chunks.map(|chunk| Near {
                chunk,
                cosine: near.product,
            })
        });
        chunks.take(most).collect()
    }

    /// The chunks that say what the vector at a place is of.
    fn said_at(&self, place: u32) -> &[u32] {
        let bound = |at: usize| self.first_at.get(at).map_or(0, |bound| *bound as usize);
        let place = place as usize;
        self.chunks_at
            .get(bound(place)..bound(place + 1))
            .unwrap_or_default()
    }
}

fn key(digest: &[u8]) -> Option<(Key, Digest)> {
    let digest = Digest::try_from(digest).ok()?;
    Some((*digest.first_chunk()?, digest))
}

/// Which chunks are at each place: where those of a place begin, and the chunks.
fn by_place(places: &[u32], count: usize) -> (Vec<u32>, Vec<u32>) {
    let mut chunks: Vec<(u32, u32)> = places
        .iter()
        .copied()
        .zip(0..)
        .filter(|&(place, _)| place != NOWHERE)
        .collect();
    chunks.sort_unstable();
    let mut first_at = Vec::with_capacity(count + 1);
    let mut at = 0;
    for place in 0..=count {
        first_at.push(at as u32);
        while chunks.get(at).is_some_and(|&(of, _)| of as usize == place) {
            at += 1;
        }
    }
    (first_at, chunks.into_iter().map(|(_, chunk)| chunk).collect())
}
