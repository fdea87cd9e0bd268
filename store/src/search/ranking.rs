//! Lists of hits → one.
//!
//! - In: rows with what their words are worth, and with what their meaning is. Out: rows with what both are.
//! - A weighted sum of both: the words' scores as parts of the best of them, cosines as they are, so that a text that is
//!   not near does not count because it is the nearest. It needs no ranks and does better than reciprocal rank fusion
//!   (Bruch, Gai, Ingber, TOIS 2023); docs/guides/search.md has the figures here.

use crate::embedder::{DEFAULT_STATIC, DEFAULT_TRANSFORMER, ModelStamp};
use serde::Serialize;
use std::collections::HashMap;
use std::hash::Hash;

/// How much of a score is meaning, where a model that reads whole texts says so.
pub(super) const READ: f64 = 0.5;

/// The same of a static model, which knows words and not their order.
pub(super) const STATIC: f64 = 0.05;

/// The cosine from which a text is near a query, by the model of both. Some text is always the nearest, and to be told
/// of it would mislead where none has what is asked for; docs/guides/search.md has the figures. Of other models it is
/// not known: there all that is found is told.
pub(super) fn least(model: &ModelStamp) -> f32 {
    match model.name.as_str() {
        DEFAULT_TRANSFORMER => 0.28,
        DEFAULT_STATIC => 0.3,
        _ => -1.0,
    }
}

/// How a hit came to its place.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Why {
    /// Its rank by words, from 1.
    pub words_rank: Option<usize>,
    /// BM25.
    pub bm25: Option<f64>,
    /// Whether it has all words, or only some of them.
    pub all_words: Option<bool>,
    /// Its rank by meaning, from 1.
    pub meaning_rank: Option<usize>,
    /// Cosine of its vector and that of the query.
    pub cosine: Option<f64>,
    /// How much of its score that may be, where words are the rest.
    pub weight: Option<f64>,
    /// The model of both.
    pub model: Option<String>,
    /// How well it answers the query, where a cross-encoder read both; rows with it stand in its order.
    pub reranked: Option<f64>,
}

/// A row with its score by words and its rank, from 1, and the same by meaning.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fused<K> {
    pub(super) key: K,
    pub(super) score: f64,
    pub(super) ranks: [Option<usize>; 2],
}

/// The rows of two lists, best first: by words with BM25, by meaning with cosine and the weight of that.
pub(super) fn fuse<K: Eq + Hash + Clone>(
    by_words: &[(K, f64)],
    by_meaning: &[(K, f64, f64)],
) -> Vec<Fused<K>> {
    let most = by_words.iter().map(|(_, score)| *score).fold(0.0, f64::max);
    // Without the other, each list stays as it is.
    let weight = match by_words.is_empty() {
        true => 0.0,
        false => by_meaning.iter().map(|(.., weight)| *weight).fold(0.0, f64::max),
    };
    let mut fused: HashMap<&K, Fused<K>> = HashMap::new();
    let mut add = |key, list: usize, rank: usize, score: f64| {
        let of = fused.entry(key).or_insert_with(|| Fused {
            key: K::clone(key),
            score: 0.0,
            ranks: [None; 2],
        });
        if let Some(place @ None) = of.ranks.get_mut(list) {
            *place = Some(rank + 1);
            of.score += score;
        }
    };
    for (rank, (key, score)) in by_words.iter().enumerate() {
        let part = if most > 0.0 { score / most } else { 0.0 };
        add(key, 0, rank, (1.0 - weight) * part);
    }
    for (rank, (key, cosine, weight)) in by_meaning.iter().enumerate() {
        let weight = if by_words.is_empty() { 1.0 } else { *weight };
        add(key, 1, rank, weight * cosine.max(0.0));
    }
    let mut fused: Vec<Fused<K>> = fused.into_values().collect();
    // Equal scores stand in the order of their ranks.
    let ranks = |of: &Fused<K>| of.ranks.map(|rank| rank.unwrap_or(usize::MAX));
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| ranks(a).cmp(&ranks(b))));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(fused: &[Fused<char>]) -> String {
        fused.iter().map(|fused| fused.key).collect()
    }

    #[test]
    fn what_both_lists_have_comes_before_what_one_has_first() {
        let words = [('a', 8.0), ('b', 6.0), ('c', 4.0)];
        let meaning = [('d', 0.7, READ), ('b', 0.6, READ)];
        let fused = fuse(&words, &meaning);
        assert_eq!(keys(&fused), "badc");
        assert_eq!(fused[0].ranks, [Some(2), Some(2)]);
        assert!((fused[0].score - (0.5 * 0.75 + 0.5 * 0.6)).abs() < 1e-12);
    }

    #[test]
    fn what_is_nearest_and_not_near_is_behind_what_has_the_words() {
        let fused = fuse(&[('a', 2.0), ('b', 1.0)], &[('c', 0.2, READ), ('b', 0.1, READ)]);
        assert_eq!(keys(&fused), "abc");
        let fused = fuse(&[('a', 2.0), ('b', 1.0)], &[('c', 0.9, STATIC)]);
        assert_eq!(keys(&fused), "abc");
    }

    #[test]
    fn what_is_near_is_another_cosine_for_each_model() {
        let least = |name: &str| {
            least(&ModelStamp {
                name: name.to_owned(),
                dimension: 384,
                digest: String::new(),
            })
        };
        assert!(least(DEFAULT_TRANSFORMER) < least(DEFAULT_STATIC));
        assert!(least("a-model-of-which-nothing-was-measured") <= -1.0);
    }

    #[test]
    fn a_list_alone_stays_as_it_is() {
        assert_eq!(keys(&fuse(&[('a', 2.0), ('b', 2.0), ('c', 0.0)], &[])), "abc");
        let alone = fuse(
            &[],
            &[('a', 0.4, STATIC), ('b', -0.1, STATIC), ('c', -0.2, STATIC)],
        );
        assert_eq!(keys(&alone), "abc");
        assert!((alone[0].score - 0.4).abs() < 1e-12);
        assert!(fuse::<char>(&[], &[]).is_empty());
    }
}
