//! The lake → what search reads: chunks, their words, their vectors.
//!
//! - In: the rows of a dataset that changed since the snapshot that its index follows. Out: an index of that snapshot.
//! - It only follows, and a row may come again: whatever stops it, the next time goes on.
//! - Not here: how a text is cut (`transforms::chunk`), what is kept (`store::vectors`).

mod cut;

pub use cut::columns;

use crate::error::IndexError;
use arrow_array::RecordBatch;
use collectors::Progress;
use cut::Cutter;
use schemas::{Dataset, Home, Search, SourceName, datasets};
use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use store::Store;
use store::embedder::{EmbedError, Embedder, Tokens};
use store::vectors::chunks::Followed;
use store::vectors::space::Pending;
use store::vectors::{Chunks, Compared, Space, Vectors};
use tokio_util::sync::CancellationToken;
use transforms::chunk::rows;

/// Rows that are cut and replaced at once.
const ROWS: usize = 1_024;

/// Texts that a transformer reads before their vectors are kept: what a stop loses.
const TEXTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// A static model reads so many times as many in a moment.
const QUICKER: NonZeroUsize = NonZeroUsize::MIN.saturating_add(31);

/// So many chunks may be read one by one before their words are indexed.
const UNINDEXED: usize = 2_000;

/// What became of an index.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Indexed {
    /// Rows whose chunks were made.
    pub rows: usize,
    /// Rows whose chunks were removed.
    pub removed: usize,
}

/// The datasets that can be searched.
pub fn searchable() -> impl Iterator<Item = (&'static Dataset, &'static Search)> {
    let all = datasets::ALL.iter().filter(|dataset| dataset.home == Home::Lake);
    all.filter_map(|dataset| dataset.search.as_ref().map(|search| (*dataset, search)))
}

/// Brings the chunks of a dataset, and the index of their words, to the newest snapshot. The store must be open for
/// writing.
///
/// # Errors
/// [`IndexError`]; what was done stays.
pub async fn follow(
    store: &Store,
    vectors: &Vectors,
    dataset: &'static Dataset,
    search: &'static Search,
    tokens: &Arc<Tokens>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Indexed, IndexError> {
    let there = vectors.chunks(dataset.name).await?;
    let followed = match &there {
        Some(chunks) => chunks.followed().await?,
        None => None,
    };
    let known = followed.filter(|followed| followed.tokens == tokens.name());
    let since = known.as_ref().map(|followed| followed.snapshot);
    let mut changed = store.changed(dataset, cut::read(dataset, search), since).await?;
    if since == Some(changed.until) {
        return Ok(Indexed::default());
    }
    let mut came = changed.came.recv().await;
    if there.is_none() && came.is_none() {
        return Ok(Indexed::default());
    }
    let chunks = vectors
        .chunks_with(dataset.name, columns(dataset, search))
        .await?;
    let mut left: HashSet<String> = match changed.is_whole {
        true => all_keys(&chunks).await?,
        false => HashSet::new(),
    };
    for batch in &changed.left {
        left.extend(rows::keys(dataset, batch)?);
    }
    let mut indexed = Indexed::default();
    let cutter = Arc::new(Cutter::new(tokens.clone()));
    while let Some(batch) = came {
        let batch = batch?;
        for from in (0..batch.num_rows()).step_by(ROWS) {
            if cancel.is_cancelled() {
                return Ok(indexed);
            }
            let batch = batch.slice(from, ROWS.min(batch.num_rows() - from));
            let sections = sections_of(store, search, &batch).await?;
            let cutter = cutter.clone();
            let made = tokio::task::spawn_blocking(move || {
                cut::cut(dataset, search, &batch, sections.as_ref(), &cutter)
            });
            let (keys, made) = made.await??;
            chunks.replace(&keys, &made).await?;
            indexed.rows += keys.len();
            progress.add_seen(keys.len() as u64);
            keys.iter().for_each(|key| {
                left.remove(key);
            });
        }
        came = changed.came.recv().await;
    }
    let left: Vec<String> = left.into_iter().collect();
    let nothing = RecordBatch::new_empty(columns(dataset, search));
    for keys in left.chunks(ROWS) {
        chunks.replace(keys, &nothing).await?;
    }
    indexed.removed = left.len();
    let followed = Followed {
        snapshot: changed.until,
        tokens: tokens.name().to_owned(),
    };
    chunks.set_followed(&followed).await?;
    let state = chunks.state().await?;
    if state.unindexed > UNINDEXED || state.unindexed == state.chunks {
        chunks.optimize().await?;
    }
    Ok(indexed)
}

/// The row keys that have chunks.
async fn all_keys(chunks: &Chunks) -> Result<HashSet<String>, IndexError> {
    use arrow_array::cast::AsArray as _;
    let batch = chunks.all(&["row_key"], None).await?;
    let keys = batch.column(0).as_string_opt::<i32>();
    Ok(keys
        .map(|keys| keys.iter().flatten().map(str::to_owned).collect())
        .unwrap_or_default())
}

/// The sections of the documents in a batch, if the dataset has them.
async fn sections_of(
    store: &Store,
    search: &Search,
    batch: &RecordBatch,
) -> Result<Option<RecordBatch>, IndexError> {
    let Some(sections) = search.sections.and_then(datasets::by_name) else {
        return Ok(None);
    };
    let text = |name| store::lake::index::texts(batch, name);
    let (Some(sources), Some(items)) = (text("_source"), text("_item")) else {
        return Ok(None);
    };
    let mut of: BTreeMap<&str, HashSet<String>> = BTreeMap::new();
    for (source, item) in sources.iter().flatten().zip(items.iter().flatten()) {
        of.entry(source).or_default().insert(item.to_owned());
    }
    let mut found = Vec::new();
    for (source, items) in of {
        if let Ok(source) = SourceName::new(source) {
            found.extend(store.rows_of(sections, &source, items).await?);
        }
    }
    match found.first() {
        Some(first) => Ok(Some(arrow::compute::concat_batches(&first.schema(), &found)?)),
        None => Ok(None),
    }
}

/// What a model has read of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embedded {
    /// Texts that have their vectors now.
    pub texts: usize,
    /// Vectors of texts that no chunk says any more.
    pub stale: usize,
}

/// How many texts a model reads before their vectors are kept.
pub fn at_once(embedder: &Embedder) -> NonZeroUsize {
    match embedder.is_static() {
        true => TEXTS.saturating_mul(QUICKER),
        false => TEXTS,
    }
}

/// Lets a model read texts, so many between two looks at whether to stop: their vectors, one after the other, or `None`
/// once `cancel` says so.
///
/// # Errors
/// [`IndexError`].
pub async fn read(
    chunks: &Chunks,
    texts: &[Pending],
    embedder: &Arc<Embedder>,
    between_looks: NonZeroUsize,
    cancel: &CancellationToken,
) -> Result<Option<Vec<f32>>, IndexError> {
    let texts = Space::texts(chunks, texts).await?;
    let (embedder, cancel) = (embedder.clone(), cancel.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let mut vectors = Vec::with_capacity(texts.len() * embedder.stamp().dimension);
        for some in texts.chunks(between_looks.get()) {
            if cancel.is_cancelled() {
                return Ok::<_, EmbedError>(None);
            }
            vectors.extend(embedder.embed(some)?);
        }
        Ok(Some(vectors))
    });
    Ok(reading.await??)
}

/// Gives texts that have none their vectors of a model, those of the newest rows first, until all have or `cancel`
/// says so. The store must be open for writing, and nobody else may write to the index meanwhile.
///
/// # Errors
/// [`IndexError`]; what was done stays.
pub async fn embed(
    chunks: &Chunks,
    space: &Space,
    embedder: &Arc<Embedder>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Embedded, IndexError> {
    let Compared { pending, stale, .. } = space.compared(chunks).await?;
    progress.add_expected(pending.len() as u64);
    let mut done = 0;
    let most = at_once(embedder);
    for some in pending.chunks(most.get()) {
        let Some(embedded) = read(chunks, some, embedder, most, cancel).await? else {
            break;
        };
        space.put(some, embedded).await?;
        done += some.len();
        progress.add_seen(some.len() as u64);
    }
    Ok(Embedded { texts: done, stale })
}
