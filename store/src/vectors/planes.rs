//! Vectors in memory, in whole numbers of 16 bits: the upper halves are compared with all of a query, the lower ones
//! only where the upper ones came close. Of very many the lower ones are rounded to 4 bits.
//!
//! - In: vectors of length 1 with a key each. Out: the places of those nearest to another.
//! - Not here: what the vectors stand for (`hot`).

use hashbrown::HashMap;
use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSlice as _;
use simsimd::SpatialSimilarity as _;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What the largest number of a vector becomes: its upper half is 127 then.
const LARGEST: f32 = 127.0 * 256.0;

/// Vectors that one thread compares before it asks for more.
const SHARE: usize = 4_096;

/// Of more vectors than this the lower halves are rounded: of 500,000 they take 190 MB whole, 95 so. Without any, 4 to 6 of a
/// hundred of the ten nearest are others.
const MOST_WHOLE: usize = 200_000;

/// The first half of a digest.
pub(super) type Key = [u8; 16];

/// Vectors of one dimension, each at a place of its own.
#[derive(Debug, Default)]
pub(super) struct Planes {
    dimension: usize,
    /// `vector[n] = step * (256 * high[n] + low[n])`
    high: Vec<i8>,
    /// A byte for each number, or for two of a vector where they are rounded.
    low: Vec<i8>,
    is_whole: bool,
    steps: Vec<f32>,
    places: HashMap<Key, u32>,
}

/// What is looked for, in steps.
struct Query {
    high: Vec<i8>,
    low: Vec<i8>,
    step: f32,
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
        let is_whole = vectors <= MOST_WHOLE;
        let low = if is_whole {
            dimension
        } else {
            dimension.div_ceil(2)
        };
        Self {
            dimension,
            high: Vec::with_capacity(vectors * dimension),
            low: Vec::with_capacity(vectors * low),
            is_whole,
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
        // The first of two that share a byte.
        let mut first = None;
        for (high, low) in halves {
            self.high.push(high);
            match (self.is_whole, first.take()) {
                (true, _) => self.low.push(low),
                (false, None) => first = Some(rounded(low)),
                (false, Some(first)) => self.low.push(first | rounded(low) << 4),
            }
        }
        self.low.extend(first);
    }

    /// The `most` places nearest to a vector, nearest first; of `among` only, if that is given.
    pub(super) fn nearest(&self, query: &[f32], most: usize, among: Option<&[u32]>) -> Vec<Near> {
        if query.len() != self.dimension || self.dimension == 0 || most == 0 {
            return Vec::new();
        }
        let (step, query) = halves(query);
        let (high, low) = query.unzip();
        let query = Query { high, low, step };
        // The upper halves may put a vector a little too low.
        let candidates = 4 * most + 32;
        let parts: Vec<Best> = match among {
            Some(places) => places
                .par_chunks(SHARE)
                .map(|places| self.best(&query.high, candidates, places.iter().copied()))
                .collect(),
            None => self
                .high
                .par_chunks(SHARE * self.dimension)
                .enumerate()
                .map(|(part, vectors)| self.best_of_part(&query.high, candidates, part * SHARE, vectors))
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
                product: self.product(near.place, &query),
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

    /// The product of a vector and a query, within 1/32,000 of a part; within 1/2,000 where lower halves are rounded.
    fn product(&self, place: u32, query: &Query) -> f32 {
        let place = place as usize;
        let row = |width: usize| place * width..(place + 1) * width;
        let low_width = if self.is_whole {
            self.dimension
        } else {
            self.dimension.div_ceil(2)
        };
        let (Some(high), Some(low), Some(step)) = (
            self.high.get(row(self.dimension)),
            self.low.get(row(low_width)),
            self.steps.get(place),
        ) else {
            return f32::NEG_INFINITY;
        };
        let low: Cow<'_, [i8]> = match self.is_whole {
            true => Cow::Borrowed(low),
            false => {
                let both = low.iter().flat_map(|two| [two << 4, two & !0xf]);
                both.take(self.dimension).collect()
            }
        };
        let of = |one: &[i8], other: &[i8]| i8::dot(one, other).unwrap_or(f64::NEG_INFINITY);
        let both_high = of(high, &query.high) * 65_536.0;
        let one_high = (of(high, &query.low) + of(&low, &query.high)) * 256.0;
        let product = both_high + one_high + of(&low, &query.low);
        (product * f64::from(*step) * f64::from(query.step)) as f32
    }
}

/// The upper four bits of a lower half, rounded, in the lower four.
fn rounded(low: i8) -> i8 {
    (low.saturating_add(8) >> 4) & 0xf
}

/// What the upper halves say. Only its order counts.
#[inline(always)]
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
    /// What is below this is not among them.
    least: f32,
}

impl Best {
    fn new(most: usize) -> Self {
        Self {
            most,
            kept: BinaryHeap::with_capacity(most + 1),
            least: f32::NEG_INFINITY,
        }
    }

    #[inline(always)]
    fn offer(&mut self, near: Near) {
        // Nearly all end here.
        if near.product >= self.least {
            self.keep(near);
        }
    }

    #[inline(never)]
    fn keep(&mut self, near: Near) {
        if self.kept.len() < self.most {
            self.kept.push(Reverse(near));
        } else if let Some(mut least) = self.kept.peek_mut()
            && near > least.0
        {
            *least = Reverse(near);
        }
        if self.kept.len() == self.most {
            self.least = self.kept.peek().map_or(self.least, |least| least.0.product);
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
    fn of_very_many_the_lower_halves_are_rounded() {
        let mut next = random();
        for dimension in [59, 60] {
            let vectors: Vec<_> = (0..200)
                .map(|_| unit((0..dimension).map(|_| next()).collect()))
                .collect();
            let mut planes = Planes::new(dimension, MOST_WHOLE + 1);
            for (place, vector) in (0..).zip(&vectors) {
                planes.push(key(place), vector);
            }
            assert_eq!(planes.low.len(), 200 * 30);
            for (place, vector) in (0..).zip(&vectors) {
                let nearest = planes.nearest(vector, 10, None);
                assert_eq!(nearest[0].place, place);
                for near in nearest {
                    let other = &vectors[near.place as usize];
                    let exact: f32 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                    assert!((near.product - exact).abs() < 5e-4, "{} is {exact}", near.product);
                }
            }
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
