//! Which of the files that a commit adds were there before under another path (`diffcore-rename.c`).
//!
//! - In: files removed and files added, each in the order of their paths. Out: pairs, each with its score.
//! - The steps are git's own, since `git log -M` is what people compare with: files with equal content; files of
//!   the same name, where it is unique on both sides; then all with all, the best scores first.
//! - Not here: copies, which `-M` does not look for.

use super::contents::{Contents, File};
use super::similarity::{Chunks, MAX_SCORE, sizes_allow};
use gix::bstr::BStr;
use std::cmp::Reverse;
use std::collections::HashMap;

/// Files less similar are not one file (`-M50%`).
const LEAST_SCORE: u32 = MAX_SCORE / 2;

/// Files of the same name must be more similar: half way from there to equal.
const LEAST_SCORE_BY_NAME: u32 = LEAST_SCORE + (MAX_SCORE - LEAST_SCORE) / 2;

/// Sources that are looked at among those with equal content.
const MOST_EQUAL_SOURCES: usize = 102;

/// Sources that are remembered for each added file.
const CANDIDATES: usize = 4;

/// A file removed that is a file added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rename {
    /// Position among the files removed.
    pub(super) from: usize,
    /// Position among the files added.
    pub(super) to: usize,
    /// How similar they are, up to [`MAX_SCORE`].
    pub(super) score: u32,
}

/// Finds the renames of a commit. With more than `limit` files on both sides (by their geometric mean), only those
/// are found that cost little, as git does (`diff.renameLimit`).
pub(super) fn renames(
    removed: &[File],
    added: &[File],
    limit: usize,
    contents: &mut Contents,
) -> gix::Result<Vec<Rename>> {
    if removed.is_empty() || added.is_empty() {
        return Ok(Vec::new());
    }
    let mut search = Search {
        removed: Side::new(removed),
        added: Side::new(added),
        found: Vec::new(),
    };
    search.by_content();
    search.by_name(contents)?;
    let (sources, targets) = (search.removed.left().count(), search.added.left().count());
    if sources > 0 && targets > 0 && sources.saturating_mul(targets) <= limit.saturating_mul(limit) {
        search.by_similarity(contents)?;
    }
    Ok(search.found)
}

/// The files of one side, and what is known of each.
struct Side<'a> {
    files: &'a [File],
    taken: Vec<bool>,
    sizes: Vec<Option<u64>>,
    chunks: Vec<Option<Chunks>>,
}

impl<'a> Side<'a> {
    fn new(files: &'a [File]) -> Self {
        Self {
            files,
            taken: vec![false; files.len()],
            sizes: vec![None; files.len()],
            chunks: files.iter().map(|_| None).collect(),
        }
    }

    /// Positions of files that have no other half yet.
    fn left(&self) -> impl Iterator<Item = usize> {
        self.taken
            .iter()
            .enumerate()
            .filter(|(_, taken)| !**taken)
            .map(|(at, _)| at)
    }

    /// Of the files that are left, the position of each name; absent where two share it.
    fn by_name(&self) -> HashMap<&'a BStr, Option<usize>> {
        let mut names = HashMap::new();
        for (at, file) in self.left().filter_map(|at| Some((at, self.files.get(at)?))) {
            names
                .entry(file.name())
                .and_modify(|position| *position = None)
                .or_insert(Some(at));
        }
        names
    }

    fn size(&mut self, at: usize, contents: &Contents) -> gix::Result<u64> {
        let (Some(file), Some(size)) = (self.files.get(at), self.sizes.get_mut(at)) else {
            return Ok(0);
        };
        if let Some(size) = size {
            return Ok(*size);
        }
        Ok(*size.insert(contents.size(file)?))
    }

    fn chunks(&mut self, at: usize, contents: &mut Contents) -> gix::Result<Option<&Chunks>> {
        let (Some(file), Some(chunks)) = (self.files.get(at), self.chunks.get_mut(at)) else {
            return Ok(None);
        };
        if chunks.is_none() {
            *chunks = Some(contents.chunks(file)?);
        }
        Ok(chunks.as_ref())
    }
}

struct Search<'a> {
    removed: Side<'a>,
    added: Side<'a>,
    found: Vec<Rename>,
}

/// How well a source fits a target; the smallest is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    score: Reverse<u32>,
    same_name: Reverse<bool>,
}

impl Search<'_> {
    fn take(&mut self, rename: Rename) {
        if let Some(taken) = self.removed.taken.get_mut(rename.from) {
            *taken = true;
        }
        if let Some(taken) = self.added.taken.get_mut(rename.to) {
            *taken = true;
        }
        self.found.push(rename);
    }

    /// Files whose content is equal, those of the same name first.
    fn by_content(&mut self) {
        let mut sources: HashMap<_, Vec<usize>> = HashMap::new();
        for (at, file) in self.removed.files.iter().enumerate() {
            sources.entry(file.id).or_default().push(at);
        }
        for (to, target) in self.added.files.iter().enumerate() {
            let mut best: Option<(usize, bool)> = None;
            let same = sources.get(&target.id).into_iter().flatten();
            let fitting = same
                .filter_map(|at| Some((*at, self.removed.files.get(*at)?, self.removed.taken.get(*at)?)))
                .filter(|(_, source, taken)| {
                    !**taken && (source.is_regular() && target.is_regular() || source.mode == target.mode)
                });
            for (from, source, _) in fitting.take(MOST_EQUAL_SOURCES) {
                let same_name = source.name() == target.name();
                if best.is_none_or(|(_, had)| same_name && !had) {
                    best = Some((from, same_name));
                }
                if same_name {
                    break;
                }
            }
            if let Some((from, _)) = best {
                self.take(Rename {
                    from,
                    to,
                    score: MAX_SCORE,
                });
            }
        }
    }

    /// Files of a name that only one file on each side has.
    fn by_name(&mut self, contents: &mut Contents) -> gix::Result<()> {
        let (sources, targets) = (self.removed.by_name(), self.added.by_name());
        for from in self.removed.left().collect::<Vec<_>>() {
            let Some(name) = self.removed.files.get(from).map(File::name) else {
                continue;
            };
            let (Some(Some(_)), Some(Some(to))) = (sources.get(name), targets.get(name)) else {
                continue;
            };
            let score = self.score(from, *to, LEAST_SCORE_BY_NAME, contents)?;
            if score >= LEAST_SCORE_BY_NAME {
                self.take(Rename { from, to: *to, score });
            }
        }
        Ok(())
    }

    /// All that is left with all that is left.
    fn by_similarity(&mut self, contents: &mut Contents) -> gix::Result<()> {
        let sources: Vec<usize> = self.removed.left().collect();
        let mut candidates: Vec<(Fit, Rename)> = Vec::new();
        for to in self.added.left().collect::<Vec<_>>() {
            let mut of_target: Vec<Option<(Fit, Rename)>> = vec![None; CANDIDATES];
            for from in &sources {
                let score = self.score(*from, to, LEAST_SCORE, contents)?;
                let names = (self.removed.files.get(*from), self.added.files.get(to));
                let fit = Fit {
                    score: Reverse(score),
                    same_name: Reverse(names.0.map(File::name) == names.1.map(File::name)),
                };
                let rename = Rename {
                    from: *from,
                    to,
                    score,
                };
                replace_worst(&mut of_target, (fit, rename));
            }
            candidates.extend(of_target.into_iter().flatten());
        }
        // Stable, as in git: of equal ones the first target, and the first place among its candidates.
        candidates.sort_by_key(|(fit, _)| *fit);
        for (_, rename) in candidates {
            if rename.score < LEAST_SCORE {
                break;
            }
            let is_free = |side: &Side<'_>, at: usize| side.taken.get(at).is_some_and(|taken| !taken);
            if is_free(&self.removed, rename.from) && is_free(&self.added, rename.to) {
                self.take(rename);
            }
        }
        Ok(())
    }

    /// How similar two files are; 0 when they cannot reach `least`.
    fn score(&mut self, from: usize, to: usize, least: u32, contents: &mut Contents) -> gix::Result<u32> {
        let is_regular = |side: &Side<'_>, at: usize| side.files.get(at).is_some_and(File::is_regular);
        if !is_regular(&self.removed, from) || !is_regular(&self.added, to) {
            return Ok(0);
        }
        let sizes = (self.removed.size(from, contents)?, self.added.size(to, contents)?);
        if !sizes_allow(sizes.0, sizes.1, least) {
            return Ok(0);
        }
        let one = self.removed.chunks(from, contents)?;
        let other = self.added.chunks(to, contents)?;
        Ok(one.zip(other).map_or(0, |(one, other)| one.score(other)))
    }
}

/// Puts a candidate in the place of the worst, of equally bad ones the first, if it is better.
fn replace_worst(kept: &mut [Option<(Fit, Rename)>], new: (Fit, Rename)) {
    // None is worse than any.
    let badness = |place: &Option<(Fit, Rename)>| place.map_or((true, None), |(fit, _)| (false, Some(fit)));
    let mut worst: Option<&mut Option<(Fit, Rename)>> = None;
    for place in kept {
        if worst.as_ref().is_none_or(|worst| badness(place) > badness(worst)) {
            worst = Some(place);
        }
    }
    if let Some(worst) = worst
        && badness(worst) > badness(&Some(new))
    {
        *worst = Some(new);
    }
}
