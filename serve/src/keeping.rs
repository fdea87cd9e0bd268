//! What goes on beside the calls: following the lake, announcing what changes, writing records of calls.
//!
//! - In: a [`Gateway`]. It runs until the gateway is closed, and then until all that was called is written down.
//! - Not here: the calls (`dispatcher`).

use crate::dispatcher::Gateway;
use crate::lake::Head;
use std::time::Duration;
use store::audit::Entry;

/// How long records wait for others, to be written together.
const TOGETHER: Duration = Duration::from_millis(100);

/// How often it is written down when tokens were last used.
const USES: Duration = Duration::from_secs(60);

/// How long calls that are under way at the end may take to be written down, and how many are at once.
const LAST: Duration = Duration::from_secs(2);
const RECORDS: usize = 1_024;

/// Runs that are looked at for news.
const LATEST_RUNS: u32 = 50;

impl Gateway {
    /// Follows the lake and writes the audit log until it is closed.
    pub async fn keep(&self) {
        let following = async {
            tokio::select! {
                ((), (), ()) = async { tokio::join!(self.lake.follow(), self.announce(), self.keep_writing_used()) } => {}
                () = self.closed.cancelled() => {}
            }
        };
        tokio::join!(following, self.write_records());
        // A database that is away is waited for no longer than the calls were.
        if tokio::time::timeout(LAST, self.write_used()).await.is_err() {
            tracing::warn!("when tokens were last used is not written down: the database does not answer");
        }
        self.audit.close().await;
    }

    /// Ends [`Self::keep`], once all that was called is written down.
    pub fn close(&self) {
        self.closed.cancel();
    }

    async fn keep_writing_used(&self) {
        loop {
            tokio::time::sleep(USES).await;
            self.write_used().await;
        }
    }

    async fn write_used(&self) {
        if let Err(error) = self.callers.write_used().await {
            tracing::warn!(%error, "when tokens were last used is not written down");
        }
    }

    /// Announces what changes in the lake, its runs and its health. Alerts are announced by whoever opens and ends them:
    /// here it is only noticed that there are newer events.
    async fn announce(&self) {
        let mut heads = self.lake.heads();
        loop {
            let head = heads.borrow_and_update().clone();
            if let Err(error) = self.announce_all(&head).await {
                tracing::error!(%error, "events cannot be written");
            }
            if heads.changed().await.is_err() {
                return;
            }
        }
    }

    async fn announce_all(&self, head: &Head) -> Result<(), store::StoreError> {
        for holding in head.holdings.values() {
            self.events.rows(holding).await?;
        }
        let mut runs = self.lake.store().runs().newest(None, None, LATEST_RUNS).await?;
        runs.reverse();
        for run in &runs {
            self.events.run(run).await?;
        }
        let failing = self
            .config
            .pipelines
            .iter()
            .filter(|pipeline| head.fares.failing.contains_key(&pipeline.name));
        let health = serde_json::json!({
            "is_readable": head.failure.is_none(),
            "failing_pipelines": failing.count(),
            "open_alerts": head.fares.open.len(),
        });
        self.events.health(&health).await?;
        self.events.forget().await?;
        self.ends.send_replace(self.events.ends().await?.1);
        Ok(())
    }

    /// Writes the records of calls until the gateway is closed, then those of calls that are still under way.
    async fn write_records(&self) {
        let mut unwritten = self.unwritten.lock().await;
        loop {
            let mut entries = Vec::new();
            tokio::select! {
                _ = unwritten.recv_many(&mut entries, 1) => {}
                () = self.closed.cancelled() => break,
            }
            let _ = tokio::time::timeout(TOGETHER, self.closed.cancelled()).await;
            while let Ok(entry) = unwritten.try_recv() {
                entries.push(entry);
            }
            self.append(&entries).await;
        }
        let deadline = tokio::time::Instant::now() + LAST;
        // Each call under way holds a sender, and so does the gateway.
        while self.records.strong_count() > 1 || !unwritten.is_empty() {
            let mut entries = Vec::new();
            if tokio::time::timeout_at(deadline, unwritten.recv_many(&mut entries, RECORDS))
                .await
                .is_err()
            {
                break;
            }
            let lost = entries.len();
            if tokio::time::timeout_at(deadline, self.append(&entries))
                .await
                .is_err()
            {
                tracing::error!(
                    lost,
                    "the audit log cannot be written: the database does not answer"
                );
                break;
            }
        }
    }

    async fn append(&self, entries: &[Entry]) {
        if let Err(error) = self.audit.append(entries).await {
            metrics::counter!("dkc_audit_failures_total").increment(entries.len() as u64);
            tracing::error!(%error, lost = entries.len(), "the audit log cannot be written");
        }
    }
}
