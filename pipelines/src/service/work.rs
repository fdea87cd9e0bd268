//! What a worker does with a run: its collector is prepared, it is made, and what follows in the same run is done.

use crate::retry::Retry;
use crate::run::{self, Log, Request, now};
use crate::worker::{Outcome, Work, holder};
use collectors::{Collector, Descriptor, Progress};
use futures::future::BoxFuture;
use schemas::SourceName;
use schemas::datasets::runs::{Run, RunState};
use std::sync::Arc;
use store::Store;
use store::queue::{Claimed, Queue};
use store::run_log::RunLog;
use tokio_util::sync::CancellationToken;

/// What a run needs of its pipeline.
pub struct Prepared {
    /// Reads its source.
    pub collector: Box<dyn Collector>,
    /// What it is.
    pub descriptor: &'static Descriptor,
}

/// Why a collector cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PrepareError {
    /// What is wrong.
    pub message: String,
    /// Whether it may be right later, by itself.
    pub is_transient: bool,
}

/// Makes the collector of a pipeline, with its secrets as they are now. It may block.
pub type Prepare = Arc<dyn Fn(&SourceName) -> Result<Prepared, PrepareError> + Send + Sync>;

/// Does what belongs to a run after what it collected is stored, and notes how long that took. It may be left half-way.
pub type AfterRun = Arc<dyn Fn(Run) -> BoxFuture<'static, Run> + Send + Sync>;

/// What the workers of this process do with a run: read its source into the store, and then `after`.
pub fn work_of(store: Arc<Store>, queue: Queue, log: RunLog, prepare: Prepare, after: AfterRun) -> Work {
    let tools = Arc::new(Tools {
        store,
        queue,
        log,
        prepare,
        after,
    });
    Arc::new(
        move |claimed: Claimed, cancel: CancellationToken| -> BoxFuture<'static, Outcome> {
            let tools = tools.clone();
            Box::pin(async move { tools.make(claimed, cancel).await })
        },
    )
}

struct Tools {
    store: Arc<Store>,
    queue: Queue,
    log: RunLog,
    prepare: Prepare,
    after: AfterRun,
}

impl Tools {
    async fn make(&self, claimed: Claimed, cancel: CancellationToken) -> Outcome {
        let begun = claimed.run;
        let log = Log::of(begun.run.clone(), self.log.clone());
        let (prepare, pipeline) = (self.prepare.clone(), begun.pipeline.clone());
        // Secrets may be in files, or behind a bus.
        let prepared = tokio::task::spawn_blocking(move || prepare(&pipeline)).await;
        let Prepared {
            collector,
            descriptor,
        } = match prepared {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(error)) => return not_prepared(begun, error, &log).await,
            Err(ended) => {
                let error = PrepareError {
                    message: format!("its collector could not be made: {ended}"),
                    is_transient: ended.is_cancelled(),
                };
                return not_prepared(begun, error, &log).await;
            }
        };
        let request = Request {
            run: begun,
            collector,
            descriptor,
            progress: Arc::new(Progress::default()),
            cancel: cancel.clone(),
            queue: self.queue.clone(),
            worker: holder(),
            log: log.clone(),
        };
        let (run, error) = run::run(&self.store, request).await;
        let retry = error.as_ref().map_or(Retry::Never, Retry::of);
        let run = match run.state {
            RunState::Cancelled => run,
            // What is stored stays stored; what is left undone here is done after the next run.
            _ => tokio::select! {
                run = (self.after)(run.clone()) => run,
                () = cancel.cancelled() => run,
            },
        };
        log.flush().await;
        Outcome { run, retry }
    }
}

async fn not_prepared(mut run: Run, error: PrepareError, log: &Log) -> Outcome {
    log.error(error.message.clone());
    log.flush().await;
    run.state = RunState::Failed;
    run.ended_at = Some(now());
    run.error = Some(error.message);
    Outcome {
        run,
        retry: match error.is_transient {
            true => Retry::Later(None),
            false => Retry::Never,
        },
    }
}
