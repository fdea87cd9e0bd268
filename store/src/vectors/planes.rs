//! Vectors in memory, in whole numbers of 16 bits: the upper halves are compared with all of a query, the lower ones
//! only where the upper ones came close. Of very many the upper ones alone are there.
//!
//! - In: vectors of length 1 with a key each. Out: the places of those nearest to another.
//! - Not here: what the vectors stand for (`hot`).

use hashbrown::HashMap;
use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSlice as _;
use simsimd::SpatialSimilarity as _;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::repeat;

/// What the largest number of a vector becomes: its upper half is 127 then.
const LARGEST: f32 = 127.0 * 256.0;

/// Vectors that one thread compares before it asks for more.
const SHARE: usize = 4_096;

/// Of more vectors than this there are no lower halves: of 500,000 they take 190 MB, and of the ten nearest hardly one is
/// another without them.
const MOST_WHOLE: usize = 200_000;

/// The first half of a digest.
pub(super) type Key = [u8; 16];

/// Vectors of one dimension, each at a place of its own.
#[derive(Debug, Default)]
pub(super) struct Planes {
    dimension: usize,
    /// `vector[n] = step * (256 * high[n] + low[n])`
    high: Vec<i8>,
    /// Of all vectors or of none.
    low: Vec<i8>,
    has_low: bool,
    steps: Vec<f32>,
    places: HashMap<Key, u32>,
}

/// A vector's place, and its product with the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Near {
    pub(super) place: u32,
    pub(super) product: f32,
}

impl Eq for Near {}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The nearer is greater; of two as near, the one that came first.
impl Ord for Near {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.product
            .total_cmp(&other.product)
            .then(other.place.cmp(&self.place))
    }
}

impl Planes {
    /// None yet, but room for `vectors`.
    pub(super) fn new(dimension: usize, vectors: usize) -> Self {
        let has_low = vectors <= MOST_WHOLE;
        Self {
            dimension,
            high: Vec::with_capacity(vectors * dimension),
            low: Vec::with_capacity(if has_low { vectors * dimension } else { 0 }),
            has_low,
            steps: Vec::with_capacity(vectors),
            places: HashMap::with_capacity(vectors),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Where the vector of a key is.
    pub(super) fn place(&self, key: &Key) -> Option<u32> {
        self.places.get(key).copied()
    }

    /// Adds a vector, unless there is one of that key.
    pub(super) fn push(&mut self, key: Key, vector: &[f32]) {
        let Ok(place) = u32::try_from(self.len()) else {
            return;
        };
        if vector.len() != self.dimension || self.places.contains_key(&key) {
            return;
        }
        self.places.insert(key, place);
        let (step, halves) = halves(vector);
        self.steps.push(step);
        for (high, low) in halves {
            self.high.push(high);
            if self.has_low {
                self.low.push(low);
            }
        }
    }

    /// The `most` places nearest to a vector, nearest first; of `among` only, if that is given.
    pub(super) fn nearest(&self, query: &[f32], most: usize, among: Option<&[u32]>) -> Vec<Near> {
        if query.len() != self.dimension || self.dimension == 0 || most == 0 {
            return Vec::new();
        }
        let (_, query_halves) = halves(query);
        let high: Vec<i8> = query_halves.map(|(high, _)| high).collect();
        // The upper halves may put a vector a little too low.
        let candidates = 4 * most + 32;
        let parts: Vec<Best> = match among {
            Some(places) => places
                .par_chunks(SHARE)
                .map(|places| self.best(&high, candidates, places.iter().copied()))
                .collect(),
            None => self
                .high
                .par_chunks(SHARE * self.dimension)
                .enumerate()
                .map(|(part, vectors)| self.best_of_part(&high, candidates, part * SHARE, vectors))
                .collect(),
        };
        let mut best = Best::new(candidates);
        for part in parts {
            part.kept.into_iter().for_each(|Reverse(near)| best.offer(near));
        }
        let mut exact: Vec<Near> = best
            .kept
            .into_iter()
            .map(|Reverse(near)| Near {
                product: self.product(near.place, query),
                ..near
            })
            .collect();
        exact.sort_unstable_by(|a, b| b.cmp(a));
        exact.truncate(most);
        exact
    }

    fn best(&self, query: &[i8], candidates: usize, places: impl Iterator<Item = u32>) -> Best {
        let mut best = Best::new(candidates);
        for place in places {
            let at = place as usize;
            let vector = self.high.get(at * self.dimension..(at + 1) * self.dimension);
            if let (Some(vector), Some(step)) = (vector, self.steps.get(at)) {
                best.offer(rough(query, vector, *step, place));
            }
        }
        best
    }

    fn best_of_part(&self, query: &[i8], candidates: usize, first: usize, vectors: &[i8]) -> Best {
        let mut best = Best::new(candidates);
        let steps = self.steps.get(first..).unwrap_or_default();
        for (at, (vector, step)) in vectors.chunks_exact(self.dimension).zip(steps).enumerate() {
            // Places fit: `push` made sure.
            best.offer(rough(query, vector, *step, (first + at) as u32));
        }
        best
    }

    /// The product of a vector and a query, within 1/32,000 of a part; within 1/127 without the lower halves.
    fn product(&self, place: u32, query: &[f32]) -> f32 {
        let at = place as usize * self.dimension;
        let row = at..at + self.dimension;
        let (Some(high), Some(step)) = (self.high.get(row.clone()), self.steps.get(place as usize)) else {
            return f32::NEG_INFINITY;
        };
        let low = self.low.get(row).unwrap_or_default();
        let low = low.iter().copied().chain(repeat(0));
        let numbers = high
            .iter()
            .zip(low)
            .map(|(high, low)| f32::from(i16::from(*high) * 256 + i16::from(low)));
        step * numbers
            .zip(query)
            .map(|(number, query)| number * query)
            .sum::<f32>()
    }
}

/// What the upper halves say. Only its order counts.
fn rough(query: &[i8], vector: &[i8], step: f32, place: u32) -> Near {
    let product = i8::dot(query, vector).unwrap_or(f64::NEG_INFINITY);
    Near {
        place,
        product: product as f32 * step,
    }
}

/// A vector's step, and its numbers in steps, as halves.
fn halves(vector: &[f32]) -> (f32, impl Iterator<Item = (i8, i8)>) {
    let largest = vector
        .iter()
        .fold(f32::MIN_POSITIVE, |largest, number| largest.max(number.abs()));
    let step = largest / LARGEST;
    let halves = vector.iter().map(move |number| {
        let number = (number / step).round() as i32;
        let high = (number + 128) >> 8;
        (high as i8, (number - high * 256) as i8)
    });
    (step, halves)
}

/// The greatest of what is offered.
struct Best {
    most: usize,
    kept: BinaryHeap<Reverse<Near>>,
}

impl Best {
    fn new(most: usize) -> Self {
        Self {
            most,
            kept: BinaryHeap::with_capacity(most + 1),
        }
    }

    fn offer(&mut self, near: Near) {
        if self.kept.len() < self.most {
            self.kept.push(Reverse(near));
        } else if let Some(mut least) = self.kept.peek_mut()
            && near > least.0
        {
            *least = Reverse(near);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unit(vector: Vec<f32>) -> Vec<f32> {
        let length = vector
            .iter()
            .map(|number| number * number)
            .sum::<f32>()
            .sqrt()
            .max(1e-6);
        vector.into_iter().map(|number| number / length).collect()
    }

    fn key(number: u32) -> Key {
        let mut key = Key::default();
        key[..4].copy_from_slice(&number.to_le_bytes());
        key
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_floats_find(
            vectors in prop::collection::vec(prop::collection::vec(-1.0_f32..1.0, 24), 1..200),
            query in prop::collection::vec(-1.0_f32..1.0, 24),
            modulus in 1_u32..4,
        ) {
            let vectors: Vec<_> = vectors.into_iter().map(unit).collect();
            let query = unit(query);
            let mut planes = Planes::new(24, vectors.len());
            for (place, vector) in (0..).zip(&vectors) {
                planes.push(key(place), vector);
            }
            let among: Vec<u32> = (0..).take(vectors.len()).filter(|place| place % modulus == 0).collect();
            let product = |place: u32| -> f32 {
                vectors[place as usize].iter().zip(&query).map(|(a, b)| a * b).sum()
            };
            let mut exact: Vec<f32> = among.iter().map(|&place| product(place)).collect();
            exact.sort_by(|a, b| b.total_cmp(a));
            let found = planes.nearest(&query, 10, (modulus > 1).then_some(&among[..]));
            prop_assert_eq!(found.len(), exact.len().min(10));
            for (near, exact) in found.iter().zip(exact) {
                prop_assert!(near.place % modulus == 0);
                prop_assert!((near.product - product(near.place)).abs() < 1e-4);
                prop_assert!((near.product - exact).abs() < 1e-4, "{} instead of {exact}", near.product);
            }
        }
    }

    /// Numbers that look random (a linear congruential generator).
    fn random() -> impl FnMut() -> f32 {
        let mut last = 1_u32;
        move || {
            last = last.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (last >> 8) as f32 / (1 << 23) as f32 - 1.0
        }
    }

    #[test]
    fn of_very_many_the_upper_halves_tell_which_are_nearest() {
        let mut next = random();
        let vectors: Vec<_> = (0..200)
            .map(|_| unit((0..60).map(|_| next()).collect()))
            .collect();
        let mut planes = Planes::new(60, MOST_WHOLE + 1);
        for (place, vector) in (0..).zip(&vectors) {
            planes.push(key(place), vector);
        }
        assert!(planes.low.is_empty());
        for (place, vector) in (0..).zip(&vectors) {
            let nearest = planes.nearest(vector, 1, None);
            assert_eq!(nearest[0].place, place);
            assert!((nearest[0].product - 1.0).abs() < 0.02, "{nearest:?}");
        }
    }

    #[test]
    fn a_key_has_one_vector_and_a_vector_of_another_length_none() {
        let mut planes = Planes::new(2, 4);
        planes.push(key(1), &[1.0, 0.0]);
        planes.push(key(1), &[0.0, 1.0]);
        planes.push(key(2), &[0.0, 0.0, 1.0]);
        assert_eq!(
            (planes.len(), planes.place(&key(1)), planes.place(&key(2))),
            (1, Some(0), None)
        );
        let found = planes.nearest(&[1.0, 0.0], 5, None);
        assert_eq!(found.len(), 1);
        assert!((found[0].product - 1.0).abs() < 1e-4);
        assert!(planes.nearest(&[1.0], 5, None).is_empty());
    }
}
