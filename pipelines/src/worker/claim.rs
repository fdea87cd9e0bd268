//! Taking runs: as many as there are free slots, as soon as there are any that may begin.
//!
//! - Whoever queues a run is seen within a tenth of a second, wherever they are: the look costs little, see `store::watch`.
//! - Nothing that could be taken: nothing is written.
//! - Each time it takes under a name of its own. What was taken without this being told, because the connection broke, has
//!   a name that nobody renews, and so others take it over.

use super::Shared;
use crate::away::Away;
use crate::run::now;
use schemas::Instant;
use std::sync::Arc;
use std::time::Duration;
use store::StoreError;
use store::queue::Claimed;
use store::watch::Watch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::sleep;

/// How often it looks whether anybody wrote, and at the clock.
const LOOKS: Duration = Duration::from_millis(100);

/// A run that was taken, in its slot.
pub(super) struct Begun {
    pub claimed: Claimed,
    /// As whom it is held.
    pub holder: Arc<str>,
    pub slot: OwnedSemaphorePermit,
}

/// Takes runs until the worker is to stop. It is never stopped in the middle of that.
pub(super) async fn claim(shared: Arc<Shared>, begun: mpsc::Sender<Begun>) {
    let worker = &shared.worker;
    let slots = Arc::new(Semaphore::new(worker.slots.max(1)));
    let mut away = Away::new("worker");
    let mut watch = None;
    loop {
        let slot = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            slot = slots.clone().acquire_owned() => slot,
        };
        let Ok(slot) = slot else { return };
        let mut free = vec![slot];
        while let Ok(slot) = slots.clone().try_acquire_owned() {
            free.push(slot);
        }
        let looked = now();
        let count = free.len();
        let holder = holder(&worker.name);
        let claimed = worker
            .queue
            .claim(&holder, count, worker.per_host, worker.lease)
            .await;
        let tried = match claimed {
            Ok(claimed) => {
                let are_all_taken = claimed.len() >= count;
                for (claimed, slot) in claimed.into_iter().zip(free) {
                    let taken = Begun {
                        claimed,
                        holder: holder.clone(),
                        slot,
                    };
                    if begun.send(taken).await.is_err() {
                        return;
                    }
                }
                match are_all_taken {
                    true => Ok(()),
                    false => until_worth_a_try(&shared, &mut watch, looked).await,
                }
            }
            Err(error) => Err(error),
        };
        match tried {
            Ok(()) => away.is_over(),
            Err(error) => {
                // Its connection may be gone.
                watch = None;
                away.wait(&error, &shared.stop).await;
            }
        }
    }
}

/// Waits until there may be something to take that there was not at `looked`.
async fn until_worth_a_try(
    shared: &Shared,
    watch: &mut Option<Watch>,
    looked: Instant,
) -> Result<(), StoreError> {
    let queue = &shared.worker.queue;
    if watch.is_none() {
        *watch = Some(queue.watch().await?);
    }
    let Some(watch) = watch else { return Ok(()) };
    let mut due = queue.next_due().await?;
    if due.is_some_and(|due| looked < due && due <= now()) {
        return Ok(());
    }
    // One that was due then was not taken: its host is busy. Until that ends others may be due behind it, which nothing
    // but a try tells.
    let is_blocked = due.is_some_and(|due| due <= looked);
    loop {
        let is_woken = tokio::select! {
            () = shared.stop.cancelled() => return Ok(()),
            () = shared.worker.wake.notified() => true,
            () = sleep(pause(due)) => false,
        };
        if is_blocked || is_due(due) {
            return Ok(());
        }
        if watch.has_changed().await? || is_woken {
            due = queue.next_due().await?;
            if is_due(due) {
                return Ok(());
            }
        }
    }
}

/// A name that no other has or had.
fn holder(worker: &str) -> Arc<str> {
    let (random, ..) = uuid::Uuid::new_v4().as_fields();
    format!("{worker}/{:x}-{random:x}", now()).into()
}

fn is_due(due: Option<Instant>) -> bool {
    due.is_some_and(|due| due <= now())
}

/// Until the next look. The clock may be set meanwhile, so it is never long.
fn pause(due: Option<Instant>) -> Duration {
    let until = due.and_then(|due| u64::try_from(due - now()).ok());
    until
        .map_or(LOOKS, Duration::from_micros)
        .clamp(Duration::from_millis(1), LOOKS)
}
