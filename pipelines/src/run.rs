//! The spine of a run: collector and landing side by side, then the threads settle, then the report.

use crate::error::RunError;
use crate::landing::{Landing, rejected_places};
use collectors::{CollectError, Collector, Descriptor, Known, Progress, Sink, StoredItems};
use schemas::datasets::runs::{Counts, Run, RunState};
use schemas::{Instant, Provenance, RunId, SourceName};
use std::sync::Arc;
use std::time::Duration;
use store::lake::index::all_units;
use store::{SNAPSHOT_WAITS, Store};
use tokio::time::Instant as Clock;
use tokio_util::sync::CancellationToken;

/// One run to be made.
pub struct Request {
    /// The pipeline, and so the source.
    pub pipeline: SourceName,
    /// Reads the source.
    pub collector: Box<dyn Collector>,
    /// What it is.
    pub descriptor: &'static Descriptor,
    /// Where progress is told.
    pub progress: Arc<Progress>,
    /// Ends the run early; what is committed stays.
    pub cancel: CancellationToken,
}

fn now() -> Instant {
    jiff::Timestamp::now().as_microsecond()
}

/// Runs a pipeline once and records it in the history, however it ends.
///
/// # Errors
/// [`RunError`] only when the history itself cannot be written; a run that failed is a [`Run`] that says so.
pub async fn run(store: &Store, request: Request) -> Result<(Run, Option<RunError>), RunError> {
    let pipeline = request.pipeline.clone();
    let mut run = Run {
        run: RunId(uuid::Uuid::now_v7().to_string()),
        pipeline: pipeline.clone(),
        state: RunState::Running,
        started_at: now(),
        ended_at: None,
        counts: Counts::default(),
        cursor_before: store.cursor(&pipeline).await?,
        cursor_after: None,
        error: None,
    };
    // Whether the run before this one ended whole: only then are all threads settled.
    let settled = store
        .runs()
        .newest(Some(&pipeline), 1)
        .await?
        .first()
        .is_some_and(|last| matches!(last.state, RunState::Succeeded | RunState::PartlySucceeded));
    store.runs().record(&run).await?;
    let outcome = collect_and_land(store, request, &mut run, settled).await;
    run.ended_at = Some(now());
    run.cursor_after = store.cursor(&pipeline).await?;
    let error = match outcome {
        Ok(Ended::Cancelled) => {
            run.state = RunState::Cancelled;
            run.error = Some("stopped by its user; the next run goes on from what is committed".to_owned());
            None
        }
        Ok(Ended::Whole) => {
            run.state = if run.counts.items_rejected > 0 {
                RunState::PartlySucceeded
            } else {
                RunState::Succeeded
            };
            None
        }
        Err(error) => {
            run.state = RunState::Failed;
            run.error = Some(with_causes(&error));
            Some(error)
        }
    };
    store.runs().record(&run).await?;
    Ok((run, error))
}

/// How a run ended that did not fail.
/// How often a run's counts are written while it is at work.
const PROGRESS: Duration = Duration::from_secs(1);

enum Ended {
    Whole,
    Cancelled,
}

async fn collect_and_land(
    store: &Store,
    request: Request,
    run: &mut Run,
    settled: bool,
) -> Result<Ended, RunError> {
    let Request {
        pipeline,
        mut collector,
        descriptor,
        progress,
        cancel,
    } = request;
    let known = Arc::new(Known {
        locations: store.locations(&pipeline).await?,
        rejected: rejected_places(store, &pipeline).await?,
        stored: stored_items(store, &pipeline),
    });
    let provenance = Provenance {
        source: pipeline,
        run: run.run.clone(),
    };
    let (sink, mut batches) = Sink::channel(progress, provenance.clone());
    let from = run.cursor_before.clone();
    let mut landing = Landing::new(store, provenance, descriptor, settled).await?;
    let collecting = tokio::spawn(async move { collector.collect(from, known, sink).await });
    let mut ended = Ended::Whole;
    let mut landed = Ok(());
    let mut recorded = Clock::now();
    loop {
        let batch = tokio::select! {
            batch = batches.recv() => batch,
            // The source is slow: what it gave so far need not wait for what it will give.
            () = tokio::time::sleep(SNAPSHOT_WAITS) => {
                landed = landing.flush(&mut run.counts).await;
                if landed.is_err() {
                    break;
                }
                continue;
            }
            () = cancel.cancelled() => {
                ended = Ended::Cancelled;
                None
            }
        };
        let Some(batch) = batch else { break };
        landed = landing.land(batch, &mut run.counts).await;
        if recorded.elapsed() > PROGRESS {
            // Whoever watches sees how far it has come.
            store.runs().record(run).await?;
            recorded = Clock::now();
        }
        if landed.is_err() {
            break;
        }
    }
    // Without a receiver the collector stops at its next push.
    drop(batches);
    if matches!(ended, Ended::Cancelled) {
        collecting.abort();
        landing.flush(&mut run.counts).await?;
        return Ok(ended);
    }
    landed?;
    landing.flush(&mut run.counts).await?;
    collecting.await??;
    landing.settle(&mut run.counts).await?;
    Ok(ended)
}

/// Looks up items of the source for a collector, on the thread that it reads on.
fn stored_items(store: &Store, pipeline: &SourceName) -> StoredItems {
    let (catalog, source) = (store.catalog().clone(), pipeline.clone());
    let runtime = tokio::runtime::Handle::current();
    StoredItems::new(move |dataset| {
        let items = runtime.block_on(all_units(&catalog, dataset, &source));
        items.map_err(|error| CollectError::Lake(Box::new(error)))
    })
}

/// The message of an error and of what caused it.
fn with_causes(error: &dyn std::error::Error) -> String {
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
