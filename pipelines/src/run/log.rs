//! What a run says of itself as it goes, for whoever reads it later or follows it.
//!
//! - In: lines, from wherever the run is at work. Out: the same lines in the store, within about a second.
//! - A log that cannot be written, or not fast enough, never stops a run: what is lost is said in the log of the program.

use schemas::{Instant, RunId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::run_log::{Level, RunLog};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant as Clock, timeout_at};

/// How long a line may wait for others to be written with it.
const GATHERED: Duration = Duration::from_secs(1);

/// Lines that may wait.
const WAITING: usize = 1_000;

/// The log of one run; all clones write to the same.
#[derive(Debug, Clone)]
pub struct Log {
    messages: mpsc::Sender<Message>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Instant, Level, String),
    /// To be answered when all lines before it are written.
    Flush(oneshot::Sender<()>),
}

impl Log {
    /// The log of a run, kept in `kept`. Needs a tokio runtime.
    pub fn of(run: RunId, kept: RunLog) -> Self {
        let (messages, receiver) = mpsc::channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        tokio::spawn(write(run, kept, receiver, lost.clone()));
        Self { messages, lost }
    }

    /// Says what is as it should be.
    pub fn info(&self, message: impl Into<String>) {
        self.say(Level::Info, message.into());
    }

    /// Says what somebody may want to look into.
    pub fn warn(&self, message: impl Into<String>) {
        self.say(Level::Warn, message.into());
    }

    /// Says what went wrong.
    pub fn error(&self, message: impl Into<String>) {
        self.say(Level::Error, message.into());
    }

    fn say(&self, level: Level, message: String) {
        let line = Message::Line(super::now(), level, message);
        if self.messages.try_send(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all that was said is written, or cannot be.
    pub async fn flush(&self) {
        let (written, done) = oneshot::channel();
        if self.messages.send(Message::Flush(written)).await.is_ok() {
            // Whoever would answer is gone only together with the program.
            let _ = done.await;
        }
    }
}

/// Writes lines until nobody can say any more.
async fn write(run: RunId, kept: RunLog, mut messages: mpsc::Receiver<Message>, lost: Arc<AtomicU64>) {
    while let Some(first) = messages.recv().await {
        let until = Clock::now() + GATHERED;
        let (mut lines, mut flushed) = (Vec::new(), None);
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Message::Line(at, level, message) => lines.push((run.clone(), at, level, message)),
                Message::Flush(written) => {
                    flushed = Some(written);
                    break;
                }
            }
            if lines.len() < WAITING {
                next = timeout_at(until, messages.recv()).await.ok().flatten();
            }
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let message = format!("more was said than could be written; lines lost: {lost}");
            lines.push((run.clone(), super::now(), Level::Warn, message));
        }
        if !lines.is_empty()
            && let Err(error) = kept.append(&lines).await
        {
            tracing::warn!(%run, lines = lines.len(), error = super::with_causes(&error), "lines of a run's log are lost");
        }
        if let Some(flushed) = flushed {
            let _ = flushed.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::SourceName;
    use schemas::datasets::runs::{Run, Trigger};

    #[tokio::test]
    async fn lines_are_kept_in_their_order_and_none_is_lost() {
        let data = tempfile::tempdir().unwrap();
        let kept = RunLog::open(data.path()).await.unwrap();
        let reader = RunLog::open(data.path()).await.unwrap();
        let run = Run::new(SourceName::new("mail").unwrap(), Trigger::Person, 0).run;
        let log = Log::of(run.clone(), kept);
        let other = log.clone();
        for line in 0..300 {
            match line % 3 {
                0 => log.info(format!("{line}")),
                1 => other.warn(format!("{line}")),
                _ => log.error(format!("{line}")),
            }
        }
        log.flush().await;
        let lines = reader.of(&run, 0, 1_000).await.unwrap();
        let said: Vec<String> = lines.into_iter().map(|line| line.message).collect();
        let expected: Vec<String> = (0..300).map(|line| line.to_string()).collect();
        assert_eq!(said, expected);
    }

    #[tokio::test]
    async fn a_line_is_written_although_nobody_waits_for_it() {
        let data = tempfile::tempdir().unwrap();
        let kept = RunLog::open(data.path()).await.unwrap();
        let run = Run::new(SourceName::new("mail").unwrap(), Trigger::Person, 0).run;
        let log = Log::of(run.clone(), kept.clone());
        log.info("began");
        let until = Clock::now() + Duration::from_secs(30);
        while kept.of(&run, 0, 10).await.unwrap().is_empty() {
            assert!(Clock::now() < until, "the line was never written");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
