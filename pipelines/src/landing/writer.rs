//! The store's end of a landing: commits are staged one after the other while the next batches are converted.
//!
//! - In: commits, with what they count. Out: what became visible, in that order.
//! - One commit is being staged and one waits. After one that fails none follows: their cursors lie beyond it.

use crate::error::RunError;
use schemas::datasets::emails;
use schemas::datasets::runs::Counts;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use store::{Commit, Committed, Committer, Staged, StoreError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Answers that may wait to be read: at most one for each order that is under way, and there are three at most.
const ANSWERS: usize = 4;

enum Order {
    /// Stage a commit that counts so much.
    Stage(Box<Commit>, Counts),
    /// Make visible what is staged; with mails, only if rows of one of them are.
    Flush(Option<HashSet<String>>),
}

enum Answer {
    Staged(Staged, Counts),
    Flushed(Result<Committed, StoreError>),
}

/// Hands commits to a committer, and counts what becomes visible of them: what is not committed is not stored.
pub(super) struct Writer {
    orders: mpsc::Sender<Order>,
    answers: mpsc::Receiver<Answer>,
    /// Of the batches that are staged and not visible yet.
    waiting: Counts,
    /// How long its owner waited for it.
    waited: Duration,
    task: JoinHandle<()>,
}

impl Writer {
    pub(super) fn new(committer: Committer) -> Self {
        let (orders, to_do) = mpsc::channel(1);
        let (done, answers) = mpsc::channel(ANSWERS);
        Self {
            orders,
            answers,
            waiting: Counts::default(),
            waited: Duration::ZERO,
            task: tokio::spawn(write(committer, to_do, done)),
        }
    }

    /// How long its owner waited for it so far.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// Stages a commit as soon as those before it are, and counts what became visible meanwhile.
    ///
    /// # Errors
    /// That one before it could not be written.
    pub(super) async fn stage(
        &mut self,
        commit: Commit,
        landed: Counts,
        counts: &mut Counts,
    ) -> Result<(), RunError> {
        self.order(Order::Stage(Box::new(commit), landed), counts).await?;
        while let Ok(answer) = self.answers.try_recv() {
            self.count(answer, counts)?;
        }
        Ok(())
    }

    /// Makes everything visible that was handed over; with mails, only if rows of one of them wait to be.
    ///
    /// # Errors
    /// That something could not be written.
    pub(super) async fn flush(
        &mut self,
        mails: Option<HashSet<String>>,
        counts: &mut Counts,
    ) -> Result<(), RunError> {
        self.order(Order::Flush(mails), counts).await?;
        let began = Instant::now();
        loop {
            let answer = self.answers.recv().await.ok_or(StoreError::Panicked)?;
            let is_last = matches!(answer, Answer::Flushed(_));
            self.count(answer, counts)?;
            if is_last {
                self.waited += began.elapsed();
                return Ok(());
            }
        }
    }

    async fn order(&mut self, order: Order, counts: &mut Counts) -> Result<(), RunError> {
        let began = Instant::now();
        let taken = self.orders.send(order).await;
        self.waited += began.elapsed();
        if taken.is_ok() {
            return Ok(());
        }
        // It takes no more: the last of its answers says why.
        while let Some(answer) = self.answers.recv().await {
            self.count(answer, counts)?;
        }
        Err(StoreError::Panicked.into())
    }

    fn count(&mut self, answer: Answer, counts: &mut Counts) -> Result<(), RunError> {
        let mut visible = |waiting: &mut Counts, committed: &Committed| {
            counts.add(Counts {
                snapshots: u64::from(committed.snapshot.is_some()),
                ..std::mem::take(waiting)
            });
        };
        match answer {
            Answer::Staged(Staged { before, with }, landed) => {
                if let Some(before) = before {
                    visible(&mut self.waiting, &before);
                }
                self.waiting.add(landed);
                if let Some(with) = with? {
                    visible(&mut self.waiting, &with);
                }
            }
            Answer::Flushed(committed) => {
                let committed = committed?;
                visible(&mut self.waiting, &committed);
            }
        }
        Ok(())
    }
}

/// What was handed over and is not visible does not become so behind the back of a run that is over.
impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write(mut committer: Committer, mut orders: mpsc::Receiver<Order>, answers: mpsc::Sender<Answer>) {
    while let Some(order) = orders.recv().await {
        let answer = match order {
            Order::Stage(commit, landed) => Answer::Staged(committer.stage(*commit).await, landed),
            Order::Flush(Some(mails)) if !committer.holds(&emails::DATASET, &mails) => {
                Answer::Flushed(Ok(Committed::default()))
            }
            Order::Flush(_) => Answer::Flushed(committer.commit_staged().await),
        };
        let has_failed = matches!(
            &answer,
            Answer::Staged(Staged { with: Err(_), .. }, _) | Answer::Flushed(Err(_))
        );
        // Whoever gave the order may be gone.
        if answers.send(answer).await.is_err() || has_failed {
            return;
        }
    }
}
