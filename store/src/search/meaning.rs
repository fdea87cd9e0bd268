//! The rows of one dataset near what a query means, as a list.
//!
//! - In: an open index, a query, which rows may be found. Out: chunks with their cosine; which models could not say.
//! - Not here: rows by their words (`lists`); both lists as one (`ranking`).

use super::answer::{Mode, Models};
use super::lists::{CHUNKS_A_ROW, Found, LONGER_STEP, Scope, texts};
use super::ranking::{READ, STATIC, least};
use super::{SearchError, Searcher};
use crate::embedder::{EmbedError, Embedder, ModelStamp, static_of};
use crate::error::with_causes;
use crate::vectors::{Hot, Near, VectorError};
use arrow_array::{Array as _, StringArray};
use arrow_buffer::BooleanBuffer;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Where the nearest chunks are of too few rows, more are looked at, at most so many times.
const MOST_STEPS: usize = 3;

/// What a query means to each model that was asked, and what no model could say.
#[derive(Debug)]
pub(super) struct Meaning<'a> {
    wanted: &'a str,
    /// The name of the model that is asked first, as its vectors have it.
    first: String,
    /// The vector of the query and how much it counts, by the digest of a model; `None` of one that cannot be asked.
    vectors: HashMap<String, Option<(Vec<f32>, f64)>>,
    /// The models that cannot be asked, and why.
    failed: Vec<(String, SearchError)>,
    /// Datasets of which no model has read anything.
    unread: Vec<&'static str>,
}

impl<'a> Meaning<'a> {
    /// Of words that no model was asked for yet.
    pub(super) fn of(wanted: &'a str, models: &Models) -> Self {
        Self {
            wanted,
            first: Embedder::stamp_name(&models.folder, &models.first),
            vectors: HashMap::new(),
            failed: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// What the asker should know of models that could not say.
    ///
    /// # Errors
    /// Why not, where meaning is all that was asked for and no model could say, or not the one that is asked first.
    pub(super) fn told(mut self, mode: Mode) -> Result<Vec<String>, SearchError> {
        let is_known = self.vectors.values().any(Option::is_some);
        let mut failed = self.failed.iter();
        if mode == Mode::Meaning
            && let Some(at) = failed.position(|(name, _)| !is_known || *name == self.first)
        {
            return Err(self.failed.swap_remove(at).1);
        }
        let mut notes = Vec::new();
        match (is_known, self.failed.first()) {
            (false, Some((_, error))) => {
                notes.push(format!("searched by words only: {}", with_causes(error)));
            }
            _ => notes.extend(self.failed.iter().map(without)),
        }
        if !self.unread.is_empty() {
            notes.push(format!(
                "no model has read any text of {} yet; `dkc index build` lets it read them",
                self.unread.join(", ")
            ));
        }
        Ok(notes)
    }
}

/// Notes that others were asked and one was not.
fn without((name, error): &(String, SearchError)) -> String {
    let why = match error {
        SearchError::Embed(EmbedError::Absent { path }) => {
            format!("there is no model in `{}`", path.display())
        }
        error => with_causes(error),
    };
    format!("searched without the vectors of `{name}`: {why}")
}

impl Searcher {
    /// Rows near what the query means.
    pub(super) async fn by_meaning(
        &self,
        scope: &Scope<'_>,
        meaning: &mut Meaning<'_>,
    ) -> Result<Vec<Found>, SearchError> {
        let hots = scope.opened.hots(&self.vectors, &meaning.first).await?;
        let facts = scope.opened.facts().await?;
        if hots.is_empty() {
            if !facts.is_empty() {
                meaning.unread.push(scope.opened.dataset.name);
            }
            return Ok(Vec::new());
        }
        let keys = texts(facts.batch(), "row_key")?;
        let is_narrowed = scope.fitting.is_some() || !scope.refused.is_empty() || scope.needed.is_some();
        let fits = |chunk| {
            let fitting = scope.fitting.as_ref();
            fitting.is_none_or(|fitting| fitting.value(chunk)) && scope.allows(keys.value(chunk))
        };
        let mut found = Vec::new();
        let mut asked: Vec<&Hot> = Vec::new();
        for hot in hots {
            // What may not be found, or a better model knows already, could be all that is nearest.
            let mask = (is_narrowed || !asked.is_empty()).then(|| {
                BooleanBuffer::collect_bool(facts.len(), |chunk| {
                    hot.has(chunk) && fits(chunk) && !asked.iter().any(|better| better.has(chunk))
                })
            });
            if mask.as_ref().is_some_and(|mask| mask.count_set_bits() == 0) {
                continue;
            }
            let model = hot.space().model();
            let dataset = scope.opened.dataset.name;
            let Some((vector, weight)) = self.vector(model, dataset, meaning).await? else {
                continue;
            };
            asked.push(hot);
            let name: Arc<str> = model.name.as_str().into();
            for near in nearest(hot, &vector, scope.most, mask.as_ref(), keys) {
                if let Some(address) = facts.address(near.chunk) {
                    found.push(Found {
                        place: (scope.at, keys.value(near.chunk).into()),
                        address,
                        tier: 0,
                        score: f64::from(near.cosine),
                        others: 0,
                        weight,
                        model: Some(Arc::clone(&name)),
                    });
                }
            }
        }
        Ok(found)
    }

    /// The vector of the query by the model that made those of a dataset, and how much it counts; `None` where that model
    /// cannot be asked.
    async fn vector(
        &self,
        model: &ModelStamp,
        dataset: &str,
        meaning: &mut Meaning<'_>,
    ) -> Result<Option<(Vec<f32>, f64)>, SearchError> {
        if let Some(known) = meaning.vectors.get(&model.digest) {
            return Ok(known.clone());
        }
        let vector = match self.embedded(model, dataset, meaning.wanted).await {
            Ok(vector) => Some(vector),
            Err(error @ (SearchError::Embed(_) | SearchError::Vector(VectorError::OtherModel { .. }))) => {
                meaning.failed.push((model.name.clone(), error));
                None
            }
            Err(error) => return Err(error),
        };
        meaning.vectors.insert(model.digest.clone(), vector.clone());
        Ok(vector)
    }

    async fn embedded(
        &self,
        model: &ModelStamp,
        dataset: &str,
        wanted: &str,
    ) -> Result<(Vec<f32>, f64), SearchError> {
        let embedder = self.embedder(&self.name_of(model)).await?;
        if embedder.stamp() != model {
            return Err(VectorError::OtherModel {
                table: dataset.to_owned(),
                there: Box::new(model.clone()),
                asked: Box::new(embedder.stamp().clone()),
            }
            .into());
        }
        let weight = if embedder.is_static() { STATIC } else { READ };
        let text = vec![wanted.to_owned()];
        let vector = tokio::task::spawn_blocking(move || embedder.embed(&text)).await??;
        Ok((vector, weight))
    }

    /// By which name a model is opened: its stamp does not say where its folder is.
    fn name_of(&self, model: &ModelStamp) -> String {
        let Models { folder, first, .. } = &self.models;
        let mut named = [first.clone(), static_of(folder, first)].into_iter();
        let named = named.find(|name| Embedder::stamp_name(folder, name) == model.name);
        named.unwrap_or_else(|| model.name.clone())
    }

    async fn embedder(&self, model: &str) -> Result<Arc<Embedder>, SearchError> {
        let mut embedders = self.embedders.lock().await;
        if let Some(embedder) = embedders.get(model) {
            return Ok(embedder.clone());
        }
        let (models, name, threads) = (self.models.folder.clone(), model.to_owned(), self.threads);
        let opened = tokio::task::spawn_blocking(move || Embedder::open(&models, &name, threads)).await??;
        let opened = Arc::new(opened);
        embedders.insert(model.to_owned(), opened.clone());
        Ok(opened)
    }
}

/// The chunks nearest to a vector that are near it, of at least `most` rows if there are so many. One row may have more
/// chunks there than are looked at first.
fn nearest(
    hot: &Hot,
    vector: &[f32],
    most: usize,
    mask: Option<&BooleanBuffer>,
    keys: &StringArray,
) -> Vec<Near> {
    let least = least(hot.space().model());
    let all = mask.map_or(keys.len(), BooleanBuffer::count_set_bits);
    let mut chunks = most.saturating_mul(CHUNKS_A_ROW);
    let mut steps = 0;
    loop {
        let mut near = hot.nearest(vector, chunks, mask);
        let are_all = chunks >= all || near.last().is_some_and(|last| last.cosine < least);
        near.retain(|near| near.cosine >= least);
        let rows: HashSet<&str> = near.iter().map(|near| keys.value(near.chunk)).collect();
        if are_all || rows.len() >= most || steps == MOST_STEPS {
            return near;
        }
        chunks = chunks.saturating_mul(LONGER_STEP);
        steps += 1;
    }
}
