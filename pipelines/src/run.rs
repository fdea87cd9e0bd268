//! The spine of a run: collector and landing side by side, then the threads settle, then the report.

mod log;

pub use log::Log;

use crate::error::RunError;
use crate::landing::{Landing, Took, rejected_places};
use collectors::{Batch, CollectError, Collector, Descriptor, Known, Progress, Sink, StoredRows};
use schemas::datasets::runs::{Counts, Run, RunState, Stages};
use schemas::{Instant, Provenance, SourceName};
use std::sync::Arc;
use std::time::Duration;
use store::lake::index::all_rows;
use store::queue::Queue;
use store::{SNAPSHOT_WAITS, Store, StoreError};
use tokio::time::Instant as Clock;
use tokio_util::sync::CancellationToken;

/// How often a run's counts are written while it is at work.
const PROGRESS: Duration = Duration::from_secs(1);

/// Runs among which the one before is looked for; what is queued or skipped lies between.
const LOOKED_BACK: u32 = 50;

/// One run to be made.
pub struct Request {
    /// The run, begun already: the queue knows it as running.
    pub run: Run,
    /// Reads the source.
    pub collector: Box<dyn Collector>,
    /// What it is.
    pub descriptor: &'static Descriptor,
    /// Where progress is told, and what the source warns of, which goes into the log too.
    pub progress: Arc<Progress>,
    /// Ends the run early; what is committed stays.
    pub cancel: CancellationToken,
    /// Where its counts are written while it is at work.
    pub queue: Queue,
    /// Who makes it, as the queue knows them.
    pub worker: String,
    /// What it says as it goes.
    pub log: Log,
}

/// The moment now.
pub(crate) fn now() -> Instant {
    jiff::Timestamp::now().as_microsecond()
}

/// Makes a run that has begun. It comes back over, with the error that ended it if one did; writing how it ended is left
/// to whoever began it (`Queue::finish`), and so is indexing.
pub async fn run(store: &Store, request: Request) -> (Run, Option<RunError>) {
    let log = request.log.clone();
    let mut run = request.run.clone();
    log.info(beginning(&run));
    let ended = collect_and_land(store, request, &mut run).await;
    let ended = match store.cursor(&run.pipeline).await {
        Ok(cursor) => {
            run.cursor_after = cursor;
            ended
        }
        Err(error) => ended.and(Err(error.into())),
    };
    run.ended_at = Some(now());
    let error = match ended {
        Ok(Ended::Cancelled) => {
            run.state = RunState::Cancelled;
            run.error = Some("stopped by its user; the next run goes on from what is committed".to_owned());
            log.warn(format!("stopped: {}", counted(&run.counts)));
            None
        }
        Ok(Ended::Whole) => {
            run.state = if run.counts.items_rejected > 0 {
                log.warn(format!(
                    "rejected: {}; the table `rejects` says why",
                    run.counts.items_rejected
                ));
                RunState::PartlySucceeded
            } else {
                RunState::Succeeded
            };
            log.info(format!("ended: {}", counted(&run.counts)));
            None
        }
        Err(error) => {
            run.state = RunState::Failed;
            let causes = with_causes(&error);
            log.error(format!("failed: {causes}; until then {}", counted(&run.counts)));
            run.error = Some(causes);
            Some(error)
        }
    };
    log.flush().await;
    (run, error)
}

/// How a run ended that did not fail.
enum Ended {
    Whole,
    Cancelled,
}

/// What comes next in a run.
enum Next {
    Batch(Box<Batch>),
    /// The source is slow: what it gave so far need not wait for what it will give.
    Slow,
    End,
    Cancel,
}

async fn collect_and_land(store: &Store, request: Request, run: &mut Run) -> Result<Ended, RunError> {
    let pipeline = run.pipeline.clone();
    run.cursor_before = store.cursor(&pipeline).await?;
    let settled = last_ended_whole(store, run).await?;
    let Request {
        run: _,
        mut collector,
        descriptor,
        progress,
        cancel,
        queue,
        worker,
        log,
    } = request;
    let known = Arc::new(Known {
        locations: store.locations(&pipeline).await?,
        rejected: rejected_places(store, &pipeline).await?,
        stored: stored_rows(store, &pipeline),
    });
    let provenance = Provenance {
        source: pipeline,
        run: run.run.clone(),
    };
    let (sink, mut batches) = Sink::channel(progress.clone(), provenance.clone());
    let from = run.cursor_before.clone();
    let mut landing = Landing::new(store, provenance, descriptor, settled).await?;
    let collecting = tokio::spawn(async move { collector.collect(from, known, sink).await });
    let mut report = Report {
        queue,
        worker,
        log,
        progress,
        warned: 0,
        written: Clock::now(),
        snapshots: 0,
        fetching: Duration::ZERO,
    };
    let mut ended = Ended::Whole;
    let mut landed = Ok(());
    while landed.is_ok() {
        let waited = Clock::now();
        let next = tokio::select! {
            batch = batches.recv() => batch.map_or(Next::End, |batch| Next::Batch(Box::new(batch))),
            () = tokio::time::sleep(SNAPSHOT_WAITS) => Next::Slow,
            () = cancel.cancelled() => Next::Cancel,
        };
        report.fetching += waited.elapsed();
        landed = match next {
            Next::Batch(batch) => landing.land(*batch, &mut run.counts).await,
            Next::Slow => landing.flush(&mut run.counts).await,
            Next::End => break,
            Next::Cancel => {
                ended = Ended::Cancelled;
                break;
            }
        };
        report.tell(run, landing.took()).await;
    }
    // Without a receiver the collector stops at its next push.
    drop(batches);
    let ended = match ended {
        Ended::Cancelled => {
            collecting.abort();
            landing.flush(&mut run.counts).await.map(|()| Ended::Cancelled)
        }
        Ended::Whole => match landed {
            Ok(()) => finish(&mut landing, collecting, run).await,
            Err(error) => Err(error),
        },
    };
    report.warn();
    if let Some(more) = report.progress.more_warnings() {
        report.log.warn(more);
    }
    run.stages = report.stages(landing.took());
    ended
}

/// Lands what is left once the collector has nothing more to push.
async fn finish(
    landing: &mut Landing<'_>,
    collecting: tokio::task::JoinHandle<Result<(), CollectError>>,
    run: &mut Run,
) -> Result<Ended, RunError> {
    landing.flush(&mut run.counts).await?;
    collecting.await??;
    landing.settle(&mut run.counts).await?;
    Ok(Ended::Whole)
}

/// Tells others how far a run has come.
struct Report {
    queue: Queue,
    worker: String,
    log: Log,
    /// Where the source warns.
    progress: Arc<Progress>,
    /// Warnings that are in the log.
    warned: usize,
    /// When its counts were last written.
    written: Clock,
    /// Snapshots that were told of.
    snapshots: u64,
    /// How long it has waited for its source.
    fetching: Duration,
}

impl Report {
    async fn tell(&mut self, run: &mut Run, took: Took) {
        self.warn();
        if run.counts.snapshots > self.snapshots {
            self.snapshots = run.counts.snapshots;
            self.log
                .info(format!("snapshot {}: {}", self.snapshots, counted(&run.counts)));
        }
        if self.written.elapsed() < PROGRESS {
            return;
        }
        run.stages = self.stages(took);
        // Whoever watches sees how far it has come. If they cannot, the run goes on all the same.
        if let Err(error) = self.queue.progress(run, &self.worker).await {
            tracing::debug!(run = %run.run, error = with_causes(&error), "progress is not written");
        }
        self.written = Clock::now();
    }

    /// Puts into the log what the source has warned of since the last time.
    fn warn(&mut self) {
        let warnings = self.progress.warnings();
        for warning in warnings.iter().skip(self.warned) {
            self.log.warn(warning.as_str());
        }
        self.warned = warnings.len();
    }

    fn stages(&self, took: Took) -> Stages {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Stages {
            fetch_ms: milliseconds(self.fetching),
            convert_ms: milliseconds(took.convert),
            commit_ms: milliseconds(took.commit),
            index_ms: 0,
        }
    }
}

/// Whether the run before this one ended whole: only then are all threads settled.
async fn last_ended_whole(store: &Store, run: &Run) -> Result<bool, StoreError> {
    let runs = store
        .runs()
        .newest(Some(&run.pipeline), None, LOOKED_BACK)
        .await?;
    let mut over = runs.iter().filter(|other| {
        let waits = matches!(
            other.state,
            RunState::Queued | RunState::Running | RunState::Skipped
        );
        other.run != run.run && !waits
    });
    Ok(over
        .next()
        .is_some_and(|last| matches!(last.state, RunState::Succeeded | RunState::PartlySucceeded)))
}

/// Looks up rows of the source for a collector, on the thread that it reads on.
fn stored_rows(store: &Store, pipeline: &SourceName) -> StoredRows {
    let (catalog, source) = (store.catalog().clone(), pipeline.clone());
    let runtime = tokio::runtime::Handle::current();
    StoredRows::new(move |dataset, columns| {
        let rows = runtime.block_on(all_rows(&catalog, dataset, &source, columns));
        rows.map_err(|error| CollectError::Lake(Box::new(error)))
    })
}

fn beginning(run: &Run) -> String {
    let reason = run.reason.as_ref().map(|reason| format!(", {reason}"));
    let reason = reason.unwrap_or_default();
    format!(
        "begins attempt {} ({}{reason})",
        run.attempt,
        run.trigger.as_str()
    )
}

fn counted(counts: &Counts) -> String {
    format!(
        "{} seen = {} stored + {} unchanged + {} rejected; {} vanished",
        counts.items_seen,
        counts.items_stored,
        counts.items_unchanged,
        counts.items_rejected,
        counts.items_vanished,
    )
}

/// The message of an error and of what caused it.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
