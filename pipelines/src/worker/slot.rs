//! One run in its slot: made, watched over, ended, written.

use super::claim::Begun;
use super::ending::Ending;
use super::{AtWork, GRACE_AT_STOP, HOLDER, Outcome, Shared, Why};
use crate::away::Away;
use crate::retry::Retry;
use crate::run::{now, with_causes};
use schemas::datasets::runs::{Run, RunState};
use std::sync::Arc;
use std::time::Duration;
use store::queue::Claimed;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long may be taken to tell that a run is over.
const TELLING: Duration = Duration::from_secs(60);

/// Makes a run that was taken, and writes how it ended.
pub(super) async fn fill(shared: Arc<Shared>, begun: Begun) {
    let Begun {
        claimed,
        holder,
        slot,
    } = begun;
    let at_work = AtWork::new(holder);
    let worker = &shared.worker;
    shared.at_work().insert(claimed.run.run.clone(), at_work.clone());
    shared.began.notify_one();
    let outcome = match shared.stop.is_cancelled() {
        // It was taken in the moment in which that was said, so it is put back.
        true => {
            at_work.end(Why::Stopped);
            over(&claimed.run, RunState::Cancelled, "it had not begun".to_owned())
        }
        false => make(&shared, &claimed, &at_work).await,
    };
    let retries = worker.retries.get(&claimed.run.pipeline).copied();
    let why = at_work.why.get().copied();
    let mut ending = Ending::of(&claimed, outcome, why, retries.unwrap_or(0));
    let kept = write(&shared, &ending).await;
    shared.at_work().remove(&claimed.run.run);
    drop(slot);
    // Its pipeline and its host are free.
    worker.wake.notify_one();
    if let Some(kept) = kept {
        // Somebody may have cancelled it in the moment in which it ended, and said why.
        ending.run = kept;
        let gives_up = ending.gives_up();
        let told = (worker.on_end)(ending.run, gives_up);
        if timeout(TELLING, told).await.is_err() {
            tracing::warn!(run = %claimed.run.run, "what is to follow a run took too long and was left");
        }
    }
}

/// Has it made, and ends it where it does not end by itself.
async fn make(shared: &Shared, claimed: &Claimed, at_work: &AtWork) -> Outcome {
    let (work, run, cancel) = (
        shared.worker.work.clone(),
        claimed.clone(),
        at_work.cancel.clone(),
    );
    // As the configuration has it now, and not when it was queued.
    let limit = shared.worker.timeouts.get(&claimed.run.pipeline).copied();
    let job = async move { work(run, cancel).await };
    let mut job = tokio::spawn(HOLDER.scope(at_work.holder.clone(), job));
    let ended = tokio::select! {
        ended = &mut job => Some(ended),
        () = at_work.cancel.cancelled() => None,
        limit = run_out(limit) => {
            at_work.end(Why::TookTooLong(limit));
            None
        }
    };
    let ended = match ended {
        Some(ended) => Some(ended),
        None => timeout(grace(shared), &mut job).await.ok(),
    };
    match ended {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => broken_off(as_it_was(shared, claimed).await, error),
        None => {
            job.abort();
            let run = as_it_was(shared, claimed).await;
            let said = format!(
                "it was broken off: asked to end, it had not done so within {} s",
                grace(shared).as_secs()
            );
            over(&run, RunState::Cancelled, said)
        }
    }
}

/// How long a run may take to end, asked to.
fn grace(shared: &Shared) -> Duration {
    match shared.stop.is_cancelled() {
        true => shared.worker.grace.min(GRACE_AT_STOP),
        false => shared.worker.grace,
    }
}

/// Comes back with the limit once it is reached.
async fn run_out(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

/// The run with what it had counted when it last told.
async fn as_it_was(shared: &Shared, claimed: &Claimed) -> Run {
    let active = shared.worker.queue.active(&claimed.run.pipeline).await;
    let known = active
        .unwrap_or_default()
        .into_iter()
        .find(|run| run.run == claimed.run.run);
    known.unwrap_or_else(|| claimed.run.clone())
}

fn over(run: &Run, state: RunState, said: String) -> Outcome {
    Outcome {
        run: Run {
            state,
            ended_at: Some(now()),
            error: Some(said),
            ..run.clone()
        },
        retry: Retry::Never,
    }
}

fn broken_off(run: Run, error: JoinError) -> Outcome {
    let panicked = match error.try_into_panic() {
        Ok(panicked) => panicked,
        // Only the end of the whole program does that.
        Err(_) => {
            let outcome = over(&run, RunState::Failed, "the program ended".to_owned());
            return Outcome {
                retry: Retry::Later(None),
                ..outcome
            };
        }
    };
    let words = panicked
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panicked.downcast_ref::<&str>().map(|&words| words.to_owned()));
    let words = words.map(|words| format!(": {words}")).unwrap_or_default();
    over(
        &run,
        RunState::Failed,
        format!("it broke off{words}; this is a bug of dkc, please report it"),
    )
}

/// Writes how a run ended, and with it the next attempt. It comes back as it is kept; nothing does when that is not ours
/// to write any more.
async fn write(shared: &Shared, ending: &Ending) -> Option<Run> {
    let worker = &shared.worker;
    let began = Instant::now();
    let mut away = Away::new("run");
    loop {
        let error = match worker.queue.finish(&ending.run, ending.next.as_ref()).await {
            Ok(Some(kept)) => return Some(kept),
            Ok(None) => {
                tracing::warn!(run = %ending.run.run, "others have taken the run over; what came of it here is dropped");
                return None;
            }
            Err(error) => error,
        };
        if began.elapsed() > worker.lease {
            let error = with_causes(&error);
            tracing::error!(run = %ending.run.run, error, "how the run ended cannot be written; others will take it over");
            return None;
        }
        // Also when all is to stop: what ended is written.
        away.wait(&error, &CancellationToken::new()).await;
    }
}
