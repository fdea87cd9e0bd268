//! A model that takes long reads some texts at a time, the newest first, so that others write to the index in between.
//!
//! - In: an index, an open model. Out: vectors of the texts that it had not read.
//! - Others are kept from the index only while vectors are written. Who reads keeps others from reading: no two read the
//!   same.
//! - Not here: when to read (`build`; in the background, `service`).

use super::{Lock, alone};
use crate::context::Context;
use collectors::Progress;
use miette::{IntoDiagnostic, Result};
use pipelines::index;
use std::num::NonZeroUsize;
use std::sync::Arc;
use store::embedder::{Embedder, ModelStamp};
use store::vectors::space::Pending;
use store::vectors::{Chunks, Compared, Space, Vectors};
use tokio_util::sync::CancellationToken;

/// Texts that a thread of a transformer reads between two looks at whether to stop: a second, about.
const BETWEEN_LOOKS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(31);

/// A model that reads. Only whoever holds [`Lock::Reading`] lets it, and does not hold [`Lock::Index`].
pub struct Reader<'a> {
    context: &'a Context,
    vectors: Vectors,
    embedder: Arc<Embedder>,
    threads: NonZeroUsize,
    cancel: &'a CancellationToken,
    unread: Vec<Unread>,
}

/// What it has not read of a dataset.
struct Unread {
    dataset: &'static str,
    /// As it was seen last; `None` before, and where there is nothing.
    seen: Option<Seen>,
    /// Whether there may be small files, or vectors of texts that no chunk says.
    is_untidy: bool,
}

struct Seen {
    chunks: Chunks,
    space: Space,
    /// The newest first.
    pending: Vec<Pending>,
}

/// Texts that were read.
pub struct Step {
    /// What they are of.
    pub dataset: &'static str,
    /// How many.
    pub texts: usize,
}

impl<'a> Reader<'a> {
    /// A model, open with so many threads, that reads these datasets.
    pub fn new(
        context: &'a Context,
        vectors: Vectors,
        (embedder, threads): (Arc<Embedder>, NonZeroUsize),
        datasets: impl IntoIterator<Item = &'static str>,
        cancel: &'a CancellationToken,
    ) -> Self {
        let unread = datasets.into_iter().map(|dataset| Unread {
            dataset,
            seen: None,
            is_untidy: false,
        });
        Self {
            context,
            vectors,
            embedder,
            threads,
            cancel,
            unread: unread.collect(),
        }
    }

    /// Lets it read all, and tells of each step.
    ///
    /// # Errors
    /// That the index cannot be read or written, or that the model fails; what was read stays.
    pub async fn all(&mut self, progress: &Progress, mut tell: impl FnMut(&Step)) -> Result<()> {
        loop {
            let all = progress.seen() + self.look().await? as u64;
            // Others may have brought more.
            progress.add_expected(all.saturating_sub(progress.expected()));
            let Some(step) = self.step().await? else {
                return self.tidy().await;
            };
            progress.add_seen(step.texts as u64);
            tell(&step);
        }
    }

    /// How many texts it has not read, with those that others have brought meanwhile.
    ///
    /// # Errors
    /// That the index cannot be read.
    pub async fn look(&mut self) -> Result<usize> {
        let mut left = 0;
        for unread in &mut self.unread {
            let stamp = self.embedder.stamp();
            unread
                .look(&self.vectors, stamp, self.context, self.cancel)
                .await?;
            left += unread.seen.as_ref().map_or(0, |seen| seen.pending.len());
        }
        Ok(left)
    }

    /// Lets it read the next texts, and keeps their vectors. `None` once it has read all, or is to stop.
    ///
    /// # Errors
    /// That the index cannot be read or written, or that the model fails.
    pub async fn step(&mut self) -> Result<Option<Step>> {
        if self.look().await? == 0 || self.cancel.is_cancelled() {
            return Ok(None);
        }
        let most = index::at_once(&self.embedder);
        let between = match self.embedder.is_static() {
            true => most,
            false => self.threads.saturating_mul(BETWEEN_LOOKS),
        };
        for unread in &mut self.unread {
            let Some(seen) = &mut unread.seen else {
                continue;
            };
            let most = most.get().min(seen.pending.len());
            if most == 0 {
                continue;
            }
            let next: Vec<Pending> = seen.pending.drain(..most).collect();
            let read = index::read(&seen.chunks, &next, &self.embedder, between, self.cancel).await;
            let Some(read) = read.into_diagnostic()? else {
                return Ok(None);
            };
            let Some(_alone) = alone(self.context, Lock::Index, None, self.cancel).await? else {
                return Ok(None);
            };
            seen.space.put(&next, read).await.into_diagnostic()?;
            unread.is_untidy = true;
            return Ok(Some(Step {
                dataset: unread.dataset,
                texts: most,
            }));
        }
        Ok(None)
    }

    /// Makes queries fast again where something was read, and forgets vectors of texts that no chunk says.
    ///
    /// # Errors
    /// That the index cannot be read or written.
    pub async fn tidy(&mut self) -> Result<()> {
        for unread in &mut self.unread {
            if !unread.is_untidy {
                continue;
            }
            let Some(_alone) = alone(self.context, Lock::Index, None, self.cancel).await? else {
                return Ok(());
            };
            // What was seen may be older: nothing is forgotten that a chunk says by now.
            let chunks = self.vectors.chunks(unread.dataset).await.into_diagnostic()?;
            let space = self.vectors.space(unread.dataset, self.embedder.stamp()).await;
            if let (Some(chunks), Some(space)) = (chunks, space.into_diagnostic()?) {
                space.optimize(&chunks).await.into_diagnostic()?;
            }
            unread.is_untidy = false;
        }
        Ok(())
    }
}

impl Unread {
    /// Sees what others wrote since.
    async fn look(
        &mut self,
        vectors: &Vectors,
        model: &ModelStamp,
        context: &Context,
        cancel: &CancellationToken,
    ) -> Result<()> {
        if let Some(seen) = &mut self.seen
            && vectors.answers(self.dataset, &seen.chunks).into_diagnostic()?
            && matches!(seen.chunks.see_latest().await, Ok(false))
            && matches!(seen.space.see_latest().await, Ok(false))
        {
            return Ok(());
        }
        self.seen = None;
        let Some(chunks) = vectors.chunks(self.dataset).await.into_diagnostic()? else {
            return Ok(());
        };
        let there = vectors.space(self.dataset, model).await.into_diagnostic()?;
        let space = match there {
            Some(space) => space,
            None => {
                let Some(_alone) = alone(context, Lock::Index, None, cancel).await? else {
                    return Ok(());
                };
                let made = vectors.space_or_new(self.dataset, model).await;
                made.into_diagnostic()?
            }
        };
        let compared = space.compared(&chunks).await.into_diagnostic()?;
        let Compared { pending, stale, .. } = compared;
        self.is_untidy |= stale > 0;
        self.seen = Some(Seen {
            chunks,
            space,
            pending,
        });
        Ok(())
    }
}
