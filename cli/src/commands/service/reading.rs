//! What the service does while no run is at work: it lets the model read what was collected, the newest first.
//!
//! - In: what runs have indexed. Out: its vectors.
//! - One core reads, some texts at a time, so that who asks the service does not wait; before each of these runs, and whoever
//!   else lets the model read, have their turn.
//! - Not here: how texts are read and kept (`index::Reader`).

use super::Tools;
use crate::commands::index::{LOOKS, Lock, Reader, alone};
use crate::commands::run::words;
use crate::config::Config;
use crate::print;
use jiff::Timestamp;
use miette::{IntoDiagnostic, Result};
use pipelines::index::searchable;
use schemas::datasets::runs::RunState;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use store::embedder::Embedder;
use store::vectors::Vectors;
use tokio_util::sync::CancellationToken;

/// The others are for who asks.
const THREADS: NonZeroUsize = NonZeroUsize::MIN;

/// How often it is looked whether what is at work has ended.
const BUSY: Duration = Duration::from_millis(300);

/// Between two readings: whoever waits for the lock has seen that it is free.
const BETWEEN: Duration = LOOKS.saturating_mul(3);

/// When to look again though no run here has brought anything: others may have, or a model was installed.
const AGAIN: Duration = Duration::from_secs(3_600);

/// So many small files of vectors are merged.
const UNTIDY: usize = 64;

impl Tools {
    /// Lets the model of a configuration read whatever it has not read, until everything is to stop.
    pub(super) async fn read_on(&self, config: &Config, stop: &CancellationToken) {
        let mut files = 0;
        let mut told: Option<String> = None;
        while !stop.is_cancelled() {
            let failed = self.read_all(config, &mut files, stop).await.err();
            let why = failed.map(|report| words(&report));
            if let Some(why) = why.as_ref().filter(|&why| told.as_ref() != Some(why)) {
                tracing::warn!("the model does not read in the background: {why}");
            }
            told = why;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.indexed.notified() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    /// Lets it read until nothing is left. `files` counts those of vectors since they were merged.
    async fn read_all(&self, config: &Config, files: &mut usize, stop: &CancellationToken) -> Result<()> {
        let (models, model) = (self.context.models()?, &config.search.model);
        // Nothing is downloaded because a service is idle.
        let is_there = models.join(model).join("model.onnx").is_file() && Vectors::is_at(&self.context.data);
        if !is_there || !self.is_idle(stop).await? {
            return Ok(());
        }
        let embedder = Embedder::open(&models, model, THREADS).into_diagnostic()?;
        if embedder.is_static() {
            return Ok(());
        }
        let vectors = Vectors::open(&self.context.data).await.into_diagnostic()?;
        let datasets = searchable().map(|(dataset, _)| dataset.name);
        let model_and_threads = (Arc::new(embedder), THREADS);
        let mut reader = Reader::new(&self.context, vectors, model_and_threads, datasets, stop);
        let mut read = 0;
        while self.is_idle(stop).await? {
            let reading = alone(&self.context, Lock::Reading, Some(Duration::ZERO), stop).await?;
            let Some(reading) = reading else {
                pause(BUSY, stop).await;
                continue;
            };
            let left = reader.look().await?;
            if left > 0 && read == 0 {
                let texts = print::counted(left, "text");
                self.note(&format!("`{model}` reads {texts} while no run is at work"));
            }
            let Some(step) = reader.step().await? else {
                break;
            };
            read += step.texts;
            *files += 1;
            if *files >= UNTIDY {
                reader.tidy().await?;
                *files = 0;
            }
            drop(reading);
            pause(BETWEEN, stop).await;
        }
        if read > 0 && !stop.is_cancelled() {
            let texts = print::counted(read, "text");
            self.note(&format!("`{model}` has read {texts}, and none is left"));
        }
        Ok(())
    }

    fn note(&self, text: &str) {
        print::note(text, &self.context);
    }

    /// Waits until no run is at work or due; whether that is so, and nothing is to stop.
    async fn is_idle(&self, stop: &CancellationToken) -> Result<bool> {
        while !stop.is_cancelled() {
            if !self.is_busy().await? {
                return Ok(true);
            }
            pause(BUSY, stop).await;
        }
        Ok(false)
    }

    async fn is_busy(&self) -> Result<bool> {
        let due = self.queue.next_due().await.into_diagnostic()?;
        if due.is_some_and(|due| due <= Timestamp::now().as_microsecond()) {
            return Ok(true);
        }
        let at_work = self.store.runs().newest(None, Some(RunState::Running), 1);
        Ok(!at_work.await.into_diagnostic()?.is_empty())
    }
}

/// Waits so long, or until everything is to stop.
async fn pause(time: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}
