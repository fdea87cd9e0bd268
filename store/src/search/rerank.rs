//! Hits in the order of a cross-encoder, which reads the query and each text together.
//!
//! - In: a query. Out: what a search finds, the best of it in another order.
//! - The model takes some time for each text. Until it reads, all is gathered that it needs, so that whoever lends the
//!   index gets it back first ([`Candidates`]).
//! - Not here: the model (`embedder`), how rows are found (`searcher`).

use super::answer::{Answer, Hit, Mode, Models};
use super::language::Query;
use super::lists::texts;
use super::{SearchError, Searcher};
use crate::embedder::{EmbedError, Reranker};
use crate::error::with_causes;
use jiff::tz::TimeZone;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// Hits that the model reads where fewer are asked for, and at most.
const READ: (usize, usize) = (20, 50);

/// A model that cannot be used fails for each search: the log has it once in so long.
const LOGGED: Duration = Duration::from_secs(60 * 60);

/// When the log had it last.
static LOGGED_AT: std::sync::Mutex<Option<Instant>> = std::sync::Mutex::new(None);

/// The model that the configuration names; opened when it is first needed.
#[derive(Debug)]
pub(super) struct Named {
    models: PathBuf,
    name: String,
    threads: NonZeroUsize,
    /// One query has it at a time, until it has been read for even if whoever asked has gone. Others wait here, where
    /// nothing is done for those who have gone meanwhile.
    opened: Arc<Mutex<Option<Reranker>>>,
}

impl Named {
    /// That of `models`, if there is one.
    pub(super) fn of(models: &Models, threads: NonZeroUsize) -> Option<Arc<Self>> {
        let name = models.reranker.clone()?;
        Some(Arc::new(Self {
            models: models.folder.clone(),
            name,
            threads,
            opened: Arc::default(),
        }))
    }

    /// The scores of texts, or why the model cannot be used.
    async fn scores(
        &self,
        wanted: String,
        texts: Vec<String>,
    ) -> Result<Result<Vec<f32>, EmbedError>, SearchError> {
        let mut opened = Arc::clone(&self.opened).lock_owned().await;
        let (models, name, threads) = (self.models.clone(), self.name.clone(), self.threads);
        let scores = spawn_blocking(move || {
            let reranker = match &mut *opened {
                Some(reranker) => reranker,
                none => none.insert(Reranker::open(&models, &name, threads)?),
            };
            reranker.scores(&wanted, &texts)
        });
        Ok(scores.await?)
    }
}

/// What a search found, before a cross-encoder reads the best of it.
#[derive(Debug)]
pub struct Candidates {
    answer: Answer,
    most: usize,
    wanted: String,
    /// What is read of the first hits.
    texts: Vec<String>,
    reranker: Arc<Named>,
}

impl Searcher {
    /// What [`Self::search`] finds, and the texts by which [`Candidates::reranked`] orders the best of it. Without the
    /// files of the model nothing is read, and a note says so.
    ///
    /// # Errors
    /// [`SearchError::NoReranker`] when no model is named; else as [`Self::search`].
    pub async fn candidates(
        &self,
        query: &Query,
        mode: Mode,
        most: usize,
        zone: &TimeZone,
    ) -> Result<Candidates, SearchError> {
        let reranker = self.reranker.clone().ok_or(SearchError::NoReranker)?;
        let mut answer = self.search(query, mode, most.max(READ.0), zone).await?;
        let wanted = query.wanted();
        let mut texts = Vec::new();
        if let Err(error) = Reranker::look_for(&reranker.models, &reranker.name) {
            answer.notes.push(failed(&error));
        } else if wanted.is_empty() {
            let note = "not reranked: operators alone say nothing to read texts for";
            answer.notes.push(note.to_owned());
        } else {
            let read = answer.hits.iter().take(most.clamp(READ.0, READ.1));
            texts = self.texts(read.collect()).await?;
        }
        Ok(Candidates {
            answer,
            most,
            wanted,
            texts,
            reranker,
        })
    }

    /// What is read of each hit: its title, its heading, and the chunk that was found.
    async fn texts(&self, hits: Vec<&Hit>) -> Result<Vec<String>, SearchError> {
        let mut read = vec![String::new(); hits.len()];
        for opened in &self.opened {
            let of = hits.iter().zip(&mut read);
            let of: Vec<(&&Hit, &mut String)> = of
                .filter(|(hit, _)| hit.dataset.name == opened.dataset.name)
                .collect();
            if of.is_empty() {
                continue;
            }
            let addresses: Vec<u64> = of.iter().map(|(hit, _)| hit.address).collect();
            let rows = opened.chunks.at(&addresses, &["text"]).await?;
            for ((hit, read), said) in of.into_iter().zip(texts(&rows, "text")?.iter()) {
                *read = text_of(hit, said.unwrap_or_default());
            }
        }
        Ok(read)
    }
}

/// What is read of a hit whose chunk says this.
fn text_of(hit: &Hit, said: &str) -> String {
    let title = hit.title.as_deref();
    let heading = hit.heading.as_deref().filter(|heading| Some(*heading) != title);
    let parts = [title, heading, Some(said)].into_iter().flatten();
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("\n")
}

impl Candidates {
    /// The best rows that were asked for: those that the model read in its order, then the others in theirs. Where the
    /// model cannot be used, all are in the order of before, and a note says why. Takes as long as it reads, for one query
    /// after another.
    ///
    /// # Errors
    /// [`SearchError::Thread`] when the program is ending.
    pub async fn reranked(self) -> Result<Answer, SearchError> {
        let (mut answer, error) = self.read().await?;
        answer.notes.extend(error.as_ref().map(failed));
        Ok(answer)
    }

    /// The same for whoever measures what the model is good for: without it there is no answer.
    ///
    /// # Errors
    /// [`SearchError::Rerank`] when the model cannot be opened, or fails.
    pub async fn reranked_by_model(self) -> Result<Answer, SearchError> {
        match self.read().await? {
            (answer, None) => Ok(answer),
            (_, Some(error)) => Err(SearchError::Rerank(error)),
        }
    }

    /// The rows, and why the model did not order them.
    async fn read(self) -> Result<(Answer, Option<EmbedError>), SearchError> {
        let mut answer = self.answer;
        let mut failed = None;
        if !self.texts.is_empty() {
            match self.reranker.scores(self.wanted, self.texts).await? {
                Ok(scores) => in_order(&mut answer.hits, &scores),
                Err(error) => failed = Some(error),
            }
        }
        answer.hits.truncate(self.most);
        Ok((answer, failed))
    }
}

/// Notes that the model cannot be used, for whoever asked and, in the log, for whoever can mend it.
fn failed(error: &EmbedError) -> String {
    let why = with_causes(error);
    let mut logged_at = LOGGED_AT.lock().unwrap_or_else(PoisonError::into_inner);
    if is_due(&mut logged_at, Instant::now()) {
        tracing::warn!(why, "searches are not reranked");
    }
    format!("not reranked: {why}")
}

/// Whether the log is to have it now, which it then has.
fn is_due(logged_at: &mut Option<Instant>, now: Instant) -> bool {
    let is_due = logged_at.is_none_or(|at| now.saturating_duration_since(at) >= LOGGED);
    if is_due {
        *logged_at = Some(now);
    }
    is_due
}

/// Puts the first hits in the order of their scores. Equal ones, and the hits behind them, stay as they are.
fn in_order(hits: &mut [Hit], scores: &[f32]) {
    for (hit, score) in hits.iter_mut().zip(scores) {
        hit.why.reranked = Some(f64::from(*score));
    }
    let (read, _) = hits.split_at_mut(scores.len().min(hits.len()));
    let score = |hit: &Hit| hit.why.reranked.unwrap_or_default();
    read.sort_by(|a, b| score(b).total_cmp(&score(a)));
}

#[cfg(test)]
mod tests {
    use super::super::Snippet;
    use super::super::ranking::Why;
    use super::*;
    use schemas::datasets::documents;

    fn hit(title: &str, heading: Option<&str>) -> Hit {
        Hit {
            dataset: &documents::DATASET,
            key: vec![title.to_owned()],
            title: Some(title.to_owned()),
            date: None,
            heading: heading.map(str::to_owned),
            part: "body".to_owned(),
            snippet: Snippet {
                text: String::new(),
                matches: Vec::new(),
            },
            others: 0,
            score: 1.0,
            why: Why::default(),
            address: 0,
        }
    }

    #[test]
    fn what_was_read_is_in_the_order_of_its_scores_and_the_others_below_as_they_were() {
        let mut hits = ["a", "b", "c", "d", "e"].map(|title| hit(title, None));
        // Scores may all be below nothing, and those behind have none.
        in_order(&mut hits, &[-3.0, -1.5, -3.0]);
        let told = hits.iter().map(|hit| (hit.key.concat(), hit.why.reranked));
        let told: Vec<_> = told.collect();
        let wanted = [
            ("b", Some(-1.5)),
            ("a", Some(-3.0)),
            ("c", Some(-3.0)),
            ("d", None),
            ("e", None),
        ];
        assert_eq!(told, wanted.map(|(title, score)| (title.to_owned(), score)));
        in_order(&mut [], &[1.0]);
    }

    #[test]
    fn a_model_that_fails_for_each_search_is_in_the_log_once_in_a_while() {
        let (mut logged_at, began) = (None, Instant::now());
        let logged = [0, 1, 3_599, 3_600, 3_601].map(|second| {
            let now = began + Duration::from_secs(second);
            is_due(&mut logged_at, now)
        });
        assert_eq!(logged, [true, false, false, true, false]);
    }

    #[test]
    fn title_and_heading_are_read_before_the_text_and_each_once() {
        assert_eq!(
            text_of(&hit("Plan", Some("Swarm")), "We drop it."),
            "Plan\nSwarm\nWe drop it."
        );
        assert_eq!(
            text_of(&hit("Plan", Some("Plan")), "Buy a boat."),
            "Plan\nBuy a boat."
        );
        assert_eq!(text_of(&hit("", None), "Buy a boat."), "Buy a boat.");
    }
}
