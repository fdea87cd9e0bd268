//! Answers queries from the index.

use super::answer::{Answer, Hit, Mode, Models};
use super::language::Query;
use super::lists::{Found, Scope, best_of_rows, needed, refused, texts};
use super::meaning::Meaning;
use super::opened::Opened;
use super::ranking::{Why, fuse};
use super::snippet::Finder;
use super::{SearchError, rerank, words};
use crate::database::Place;
use crate::embedder::Embedder;
use crate::query::{Limits, Reader};
use crate::vectors::Vectors;
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array as _, StringArray};
use datafusion::logical_expr::Expr;
use jiff::tz::TimeZone;
use schemas::datasets;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio::sync::{Mutex, OnceCell};

/// What separates the values of a row's key.
pub(super) const SEPARATOR: char = '\u{1f}';

/// Answers queries over one store.
#[derive(Debug)]
pub struct Searcher {
    pub(super) vectors: Vectors,
    pub(super) opened: Vec<Opened>,
    reader: Reader,
    pub(super) models: Models,
    pub(super) threads: NonZeroUsize,
    pub(super) embedders: Mutex<HashMap<String, Arc<Embedder>>>,
    pub(super) reranker: Option<Arc<rerank::Named>>,
}

impl Searcher {
    /// Opens the index of a store.
    ///
    /// # Errors
    /// [`SearchError`] when the index cannot be read.
    pub async fn open(place: impl Into<Place>, models: &Models, limits: Limits) -> Result<Self, SearchError> {
        let place = place.into();
        if !Vectors::is_at(&place.data) {
            return Err(SearchError::Empty);
        }
        let vectors = Vectors::open(&place.data).await?;
        let mut opened = Vec::new();
        for dataset in datasets::ALL {
            if let Some(search) = &dataset.search {
                opened.extend(Opened::open(&vectors, dataset, search).await?);
            }
        }
        let threads = NonZeroUsize::new(limits.threads).unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            vectors,
            opened,
            reader: Reader::open(place, limits, std::env::temp_dir(), models.clone()).await?,
            models: models.clone(),
            threads,
            embedders: Mutex::default(),
            reranker: rerank::Named::of(models, threads),
        })
    }

    /// Keeps in memory what is known of the chunks, and the indexes of their words, for whoever answers more than one
    /// query.
    ///
    /// # Errors
    /// [`SearchError`] when the index cannot be read.
    pub async fn keep_in_memory(&self) -> Result<(), SearchError> {
        for opened in &self.opened {
            opened.keep_in_memory().await?;
        }
        Ok(())
    }

    /// Sees what was indexed since.
    ///
    /// # Errors
    /// [`SearchError`] when the index cannot be read.
    pub async fn see_latest(&mut self) -> Result<(), SearchError> {
        let vectors = &self.vectors;
        let are_kept = self.opened.iter().any(Opened::is_in_memory);
        let opened = self.opened.iter();
        let answer = opened.map(|opened| vectors.answers(opened.dataset.name, &opened.chunks));
        let mut answer = answer.collect::<Result<Vec<bool>, _>>()?.into_iter();
        // In the place of the others are new ones, which are opened below.
        self.opened.retain(|_| answer.next().unwrap_or_default());
        let opened = self.opened.iter_mut();
        futures::future::try_join_all(opened.map(|opened| opened.see_latest(vectors))).await?;
        for dataset in datasets::ALL {
            let is_opened = self
                .opened
                .iter()
                .any(|opened| opened.dataset.name == dataset.name);
            if let Some(search) = dataset.search.as_ref().filter(|_| !is_opened) {
                let Some(opened) = Opened::open(&self.vectors, dataset, search).await? else {
                    continue;
                };
                if are_kept {
                    opened.keep_in_memory().await?;
                }
                self.opened.push(opened);
            }
        }
        Ok(())
    }

    /// The best `most` rows for a query. Dates in the query are of `zone`.
    ///
    /// # Errors
    /// [`SearchError`]; of [`Mode::Best`], a model that is missing or cannot be opened is told by a note.
    pub async fn search(
        &self,
        query: &Query,
        mode: Mode,
        most: usize,
        zone: &TimeZone,
    ) -> Result<Answer, SearchError> {
        self.search_where(query, mode, most, zone, None).await
    }

    /// The same, of the rows that are chosen by an expression over the columns of their key and `title`.
    ///
    /// # Errors
    /// [`SearchError`], also when the expression has other columns.
    pub async fn search_where(
        &self,
        query: &Query,
        mode: Mode,
        most: usize,
        zone: &TimeZone,
        chosen: Option<&Expr>,
    ) -> Result<Answer, SearchError> {
        if self.opened.is_empty() {
            return Err(SearchError::Empty);
        }
        let mut notes = Vec::new();
        let asked = query.datasets();
        let (mut by_words, mut by_meaning) = (Vec::new(), Vec::new());
        let wants_words = mode != Mode::Meaning && query.words().next().is_some();
        let wanted = query.wanted();
        let mut asked_for = Meaning::of(&wanted, &self.models);
        let mut wants_meaning = mode != Mode::Words && !wanted.is_empty();
        if wants_meaning && let Err(error) = Embedder::look_for(&self.models.folder, &self.models.first) {
            if mode == Mode::Meaning {
                return Err(error.into());
            }
            notes.push(format!("searched by words only: {error}"));
            wants_meaning = false;
        }
        for (at, opened) in self.opened.iter().enumerate() {
            if !asked.iter().any(|dataset| dataset.name == opened.dataset.name) {
                continue;
            }
            let mut fitting = opened.fitting(query, zone, &self.reader).await?;
            if let Some(chosen) = chosen {
                let chosen = opened.chosen(chosen).await?;
                fitting = Some(match fitting {
                    Some(fitting) => &fitting & &chosen,
                    None => chosen,
                });
            }
            let scope = Scope {
                at,
                opened,
                fitting,
                among: OnceCell::new(),
                refused: refused(opened, query).await?,
                needed: needed(opened, query).await?,
                most,
            };
            if scope.needed.as_ref().is_some_and(|rows| rows.is_empty()) {
                continue;
            }
            let words = async {
                match (wants_words, wants_meaning) {
                    (true, _) => scope.by_words(query).await,
                    (false, true) if mode == Mode::Meaning => Ok(Vec::new()),
                    // Words that stand beside operators only need not be there.
                    (false, _) => scope.newest().await,
                }
            };
            let meaning = async {
                match wants_meaning {
                    true => self.by_meaning(&scope, &mut asked_for).await,
                    false => Ok(Vec::new()),
                }
            };
            // The model reads the query while its words are looked for.
            let (meaning, words) = futures::future::try_join(meaning, words).await?;
            by_words.extend(words);
            by_meaning.extend(meaning);
        }
        let told = asked_for.told(mode)?;
        let mut by_words = best_of_rows(by_words);
        let by_meaning = best_of_rows(by_meaning);
        if !wants_words && !by_meaning.is_empty() {
            // The newest come after those that are near.
            let near: HashSet<_> = by_meaning.iter().map(|found| &found.place).collect();
            by_words.retain(|found| !near.contains(&found.place));
            by_words.iter_mut().for_each(|found| found.score = 0.0);
        }
        let mut hits = self.hits(query, [&by_words, &by_meaning], most).await?;
        if !wants_words {
            // Those that are near nothing are in the order of their dates, and none is better than another.
            for hit in hits.iter_mut().filter(|hit| hit.why.cosine.is_none()) {
                (hit.score, hit.why) = (0.0, Why::default());
            }
        }
        if hits.is_empty() && wants_meaning && told.is_empty() {
            notes.push("nothing has the words that were asked for or is near what they mean".to_owned());
        }
        notes.extend(told);
        Ok(Answer { hits, notes })
    }

    async fn hits(
        &self,
        query: &Query,
        [by_words, by_meaning]: [&[Found]; 2],
        most: usize,
    ) -> Result<Vec<Hit>, SearchError> {
        let words = by_words.iter().map(|found| (&found.place, found.score));
        let meaning = by_meaning
            .iter()
            .map(|found| (&found.place, found.score, found.weight));
        let mut fused = fuse(&words.collect::<Vec<_>>(), &meaning.collect::<Vec<_>>());
        fused.truncate(most);
        let is_fused = !by_words.is_empty() && !by_meaning.is_empty();
        let mut hits: Vec<Option<Hit>> = vec![None; fused.len()];
        let wanted = query.wanted();
        let finder = Finder::new(words::telling_of(&wanted).into_iter());
        for (at, opened) in self.opened.iter().enumerate() {
            let (mut addresses, mut of) = (Vec::new(), Vec::new());
            for (place, of_row) in fused.iter().enumerate() {
                let [word, meaning] = of_row.ranks;
                // The words show best why it was found.
                let found = ranked(by_words, word).or_else(|| ranked(by_meaning, meaning));
                if let Some(found) = found.filter(|_| of_row.key.0 == at) {
                    addresses.push(found.address);
                    of.push((place, of_row));
                }
            }
            if addresses.is_empty() {
                continue;
            }
            let known = opened.known(&addresses, &["part", "date"]).await?;
            let rows = opened
                .chunks
                .at(&addresses, &["heading", "title", "text"])
                .await?;
            let parts = texts(&known, "part")?;
            let text = |name| texts(&rows, name);
            let (headings, titles, said) = (text("heading")?, text("title")?, text("text")?);
            let dates = known
                .column_by_name("date")
                .and_then(|dates| dates.as_primitive_opt::<TimestampMicrosecondType>());
            let of = of.into_iter().zip(addresses).take(rows.num_rows());
            for (row, ((place, of_row), address)) in of.enumerate() {
                let [word, meaning] = of_row.ranks;
                let (by_word, by_meaning) = (ranked(by_words, word), ranked(by_meaning, meaning));
                let score_of = |found: Option<&Found>| found.map(|found| found.score);
                let (bm25, cosine) = (score_of(by_word), score_of(by_meaning));
                let found_by = [by_word, by_meaning].into_iter().flatten();
                let others = found_by.map(|found| found.others).max().unwrap_or_default();
                let some = |column: &StringArray| column.is_valid(row).then(|| column.value(row).to_owned());
                let hit = Hit {
                    dataset: opened.dataset,
                    key: of_row.key.1.split(SEPARATOR).map(str::to_owned).collect(),
                    title: some(titles),
                    date: dates
                        .filter(|dates| dates.is_valid(row))
                        .map(|dates| dates.value(row)),
                    heading: some(headings),
                    part: parts.value(row).to_owned(),
                    snippet: finder.snippet(said.value(row)),
                    others,
                    score: match is_fused {
                        true => of_row.score,
                        false => bm25.or(cosine).unwrap_or_default(),
                    },
                    why: Why {
                        words_rank: word,
                        bm25,
                        all_words: by_word.map(|found| found.tier == 0),
                        meaning_rank: meaning,
                        cosine,
                        weight: by_meaning.map(|found| found.weight).filter(|_| is_fused),
                        model: by_meaning
                            .and_then(|found| found.model.as_deref())
                            .map(str::to_owned),
                        reranked: None,
                    },
                    address,
                };
                if let Some(place) = hits.get_mut(place) {
                    *place = Some(hit);
                }
            }
        }
        Ok(hits.into_iter().flatten().collect())
    }
}

/// The one of a rank, from 1.
fn ranked(list: &[Found], rank: Option<usize>) -> Option<&Found> {
    list.get(rank?.checked_sub(1)?)
}
