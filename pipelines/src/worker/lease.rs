//! Leases: one renewal for all that is at work, and none when nothing is.

use super::{Shared, Why};
use crate::away::Away;
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How often leases are renewed while anything is at work, and so how soon a run hears that it is to end.
const RENEWED: Duration = Duration::from_secs(2);

/// Renews leases for ever, and asks runs to end that others want to end or may have taken over.
pub(super) async fn keep(shared: &Shared) {
    let worker = &shared.worker;
    let between = RENEWED.min(worker.lease / 3);
    let mut away = Away::new("lease");
    // When what is at work was held for a whole lease.
    let mut held = Instant::now();
    loop {
        while shared.at_work().is_empty() {
            shared.began.notified().await;
            held = Instant::now();
        }
        sleep(between).await;
        if shared.at_work().is_empty() {
            continue;
        }
        let asked = Instant::now();
        match renew(shared, worker.lease / 3).await {
            Ok(()) => {
                away.is_over();
                held = asked;
            }
            Err(error) => away.wait(&*error, &shared.stop).await,
        }
        if held.elapsed() >= worker.lease {
            shared.end_all(Why::LeaseLost);
        }
    }
}

/// Renews what is at work, each under the name as whom it is held.
async fn renew(shared: &Shared, patience: Duration) -> Result<(), Box<dyn Error + Send + Sync>> {
    let worker = &shared.worker;
    let holders: BTreeSet<Arc<str>> = shared.at_work().values().map(|run| run.holder.clone()).collect();
    for holder in &holders {
        let to_end = timeout(patience, worker.queue.renew(holder, worker.lease)).await??;
        let at_work = shared.at_work();
        for run in to_end.iter().filter_map(|run| at_work.get(run)) {
            run.end(Why::Asked);
        }
    }
    Ok(())
}
