//! The conversations of a run's mails: those of new mails as they land, and, at its end, those of all.

use super::{Landing, Table};
use crate::error::RunError;
use schemas::datasets::emails;
use schemas::datasets::runs::Counts;
use std::time::Instant;
use store::Commit;
use transforms::thread_emails::Threads;

/// Columns of `emails` that say which mails belong together.
const LINKS: &[&str] = &["_source", "_item", "message_id", "in_reply_to", "references"];

/// Columns of `emails` that say which thread a mail was given.
const THREADED: &[&str] = &["_source", "_item", "message_id", "thread_id"];

/// Rows of `emails` that are rewritten at once when their threads changed.
const REWRITTEN_ROWS: usize = 1_024;

impl Landing<'_> {
    /// Gives every stored mail the thread that all links together give it: a mail that came later may
    /// have joined two conversations, one that vanished may have been all that held one together.
    pub async fn settle(&mut self, counts: &mut Counts) -> Result<(), RunError> {
        let (began, before) = (Instant::now(), self.writer.waited());
        let settled = self.settle_threads(counts).await;
        self.count_converting(began, before);
        settled
    }

    async fn settle_threads(&mut self, counts: &mut Counts) -> Result<(), RunError> {
        self.flush(counts).await?;
        if counts.items_vanished > 0 {
            self.threads = None;
        } else if self.threads.is_none() && self.settled {
            return Ok(());
        }
        let threads = self.take_threads().await?;
        let mut stale = Vec::new();
        let mut batches = self
            .store
            .scan(&emails::DATASET, Some(THREADED), Some(&self.provenance.source))
            .await?;
        while let Some(batch) = batches.recv().await {
            stale.extend(threads.stale(&batch?)?.into_iter().map(|(item, _)| item));
        }
        for items in stale.chunks(REWRITTEN_ROWS) {
            let items = items.iter().cloned().collect();
            let rows = self
                .store
                .rows_of(&emails::DATASET, &self.provenance.source, items)
                .await?;
            let mut upserts = Vec::new();
            for batch in &rows {
                upserts.push((&emails::DATASET, self.by_this_run(&threads.assign(batch)?)?));
            }
            let commit = Commit {
                differ: true,
                message: Some(format!("{}: conversations changed", self.provenance.source)),
                ..self.commit_of(upserts)
            };
            self.writer.stage(commit, Counts::default(), counts).await?;
        }
        self.flush(counts).await
    }

    /// The conversations: those of this run, else those of the stored mails.
    async fn take_threads(&mut self) -> Result<Threads, RunError> {
        if let Some(threads) = self.threads.take() {
            return Ok(threads);
        }
        let mut threads = Threads::new();
        let mut batches = self
            .store
            .scan(&emails::DATASET, Some(LINKS), Some(&self.provenance.source))
            .await?;
        while let Some(batch) = batches.recv().await {
            threads.add(&batch?)?;
        }
        Ok(threads)
    }

    /// Adds new mails to the conversations and tells them theirs.
    pub(super) async fn thread(&mut self, upserts: &mut [Table]) -> Result<(), RunError> {
        let mut threads = self.take_threads().await?;
        let mails = || |table: &&mut Table| table.0.name == emails::DATASET.name;
        for (_, batch) in upserts.iter_mut().filter(mails()) {
            threads.add(batch)?;
        }
        for (_, batch) in upserts.iter_mut().filter(mails()) {
            *batch = threads.assign_so_far(batch)?;
        }
        self.threads = Some(threads);
        Ok(())
    }
}
