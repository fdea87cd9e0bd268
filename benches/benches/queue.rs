//! The queue and who works on it, with runs that do nothing.
//!
//! - In: `DKC_BENCH_POSTGRES`, the URL of an empty database; without it SQLite alone is measured.
//! - Out: a line a figure: the database, what, how much, with tabs between.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use futures::future::BoxFuture;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use pipelines::retry::Retry;
use pipelines::schedule::{CatchUp, Overlap, Plan};
use pipelines::service::{Pipeline, Retention, Service};
use pipelines::worker::{Outcome, Work, Worker};
use schemas::SourceName;
use schemas::datasets::runs::{Run, RunState, Trigger};
use std::env;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use store::queue::{Claimed, Queue, Request};
use store::run_log::RunLog;
use store::{Place, Store};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

type Outcomes<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs of the measurement of how many there are in a second.
const RUNS: usize = 5_000;

/// Pipelines of these runs, one of each of which is made at once.
const PIPELINES: usize = 200;

/// Runs whose delay is measured, one after the other.
const DELAYS: usize = 100;

/// Schedules of a service that has nothing to do.
const SCHEDULES: usize = 10_000;

/// How long it is watched.
const IDLE: Duration = Duration::from_secs(10);

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcomes {
    let data = tempfile::tempdir()?;
    measure("sqlite", Place::from(data.path())).await?;
    if let Ok(url) = env::var("DKC_BENCH_POSTGRES") {
        let data = tempfile::tempdir()?;
        let place = Place {
            postgres: Some(url.into()),
            ..Place::from(data.path())
        };
        measure("postgres", place).await?;
    }
    Ok(())
}

async fn measure(database: &str, place: Place) -> Outcomes {
    let tell = |what: &str, figure: f64| println!("{database}\t{what}\t{figure:.2}");
    tell("runs a second, four workers", throughput(&place).await?);
    for (what, wait) in [
        ("ms from asking to beginning", Duration::ZERO),
        ("ms from its time to beginning", Duration::from_millis(300)),
    ] {
        let mut delays = delays(&place, wait).await?;
        delays.sort_unstable();
        let nth = |nth: usize| delays.get(nth).copied().unwrap_or_default().as_secs_f64() * 1e3;
        tell(&format!("{what}, median"), nth(delays.len() / 2));
        tell(&format!("{what}, longest"), nth(delays.len().saturating_sub(1)));
    }
    tell("% of a core, 10,000 schedules, idle", idle(&place).await?);
    Ok(())
}

fn now() -> i64 {
    Timestamp::now().as_microsecond()
}

fn request(pipeline: usize, begin: i64) -> Outcomes<Request> {
    let pipeline = SourceName::new(format!("p{pipeline}"))?;
    Ok(Request {
        run: Run::new(pipeline, Trigger::Person, begin),
        priority: 0,
        host: None,
        once: None,
    })
}

/// Work that does nothing, after telling of it.
fn work(tell: impl Fn() + Send + Sync + 'static) -> Work {
    Arc::new(
        move |claimed: Claimed, _: CancellationToken| -> BoxFuture<'static, Outcome> {
            tell();
            let mut run = claimed.run;
            run.state = RunState::Succeeded;
            let retry = Retry::Never;
            Box::pin(async move { Outcome { run, retry } })
        },
    )
}

/// Runs a second that four workers make.
async fn throughput(place: &Place) -> Outcomes<f64> {
    let queue = Queue::open(place).await?;
    let requests: Vec<Request> = (0..RUNS)
        .map(|nth| request(nth % PIPELINES, now()))
        .collect::<Outcomes<_>>()?;
    queue.enqueue(&requests).await?;
    let (left, done) = (Arc::new(AtomicUsize::new(RUNS)), Arc::new(Notify::new()));
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    let began = Instant::now();
    for nth in 0..4 {
        let (left, done) = (left.clone(), done.clone());
        let worker = Worker {
            slots: 16,
            on_end: Arc::new(move |_: Run, _: bool| -> BoxFuture<'static, ()> {
                if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                    done.notify_one();
                }
                Box::pin(async {})
            }),
            ..Worker::new(format!("{nth}-{}", now()), own(&queue, place).await?, work(|| ()))
        };
        workers.push(tokio::spawn(worker.run(stop.clone())));
    }
    done.notified().await;
    let took = began.elapsed();
    stop.cancel();
    for worker in workers {
        worker.await??;
    }
    Ok(RUNS as f64 / took.as_secs_f64())
}

/// The queue as a worker has it: with Postgres workers are on machines of their own, with SQLite in one process.
async fn own(queue: &Queue, place: &Place) -> Outcomes<Queue> {
    Ok(match place.postgres {
        Some(_) => Queue::open(place).await?,
        None => queue.clone(),
    })
}

/// How long runs wait that are asked for elsewhere, to begin after some time.
async fn delays(place: &Place, wait: Duration) -> Outcomes<Vec<Duration>> {
    let (begun, mut beginnings) = mpsc::unbounded_channel();
    let tell = move || {
        // Nobody listens any more once all is measured.
        let _ = begun.send(now());
    };
    let worker = Worker::new(format!("idle-{}", now()), Queue::open(place).await?, work(tell));
    let stop = CancellationToken::new();
    let working = tokio::spawn(worker.run(stop.clone()));
    let queue = Queue::open(place).await?;
    let mut delays = Vec::new();
    for nth in 0..DELAYS {
        let due = now() + i64::try_from(wait.as_micros())?;
        queue.enqueue(&[request(nth, due)?]).await?;
        let begun = beginnings.recv().await.ok_or("the worker ended")?;
        delays.push(Duration::from_micros(u64::try_from(begun - due).unwrap_or(0)));
    }
    stop.cancel();
    working.await??;
    Ok(delays)
}

/// Percent of a core that a service with nothing to do takes.
async fn idle(place: &Place) -> Outcomes<f64> {
    let store = Arc::new(Store::open_writer(place).await?);
    let queue = Queue::open(place).await?;
    let service = Service {
        store,
        queue: queue.clone(),
        log: RunLog::open(place).await?,
        pipelines: (0..SCHEDULES).map(pipeline).collect::<Outcomes<_>>()?,
        slots: 2,
        per_host: 1,
        work: work(|| ()),
        alerts: None,
        keep: Retention::default(),
    };
    let stop = CancellationToken::new();
    let serving = tokio::spawn(service.run(stop.clone()));
    while queue.schedules().await?.len() < SCHEDULES {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = processor_time();
    tokio::time::sleep(IDLE).await;
    let took = processor_time().saturating_sub(before);
    stop.cancel();
    serving.await??;
    Ok(took.as_secs_f64() / IDLE.as_secs_f64() * 100.0)
}

/// A pipeline that is due once a year, each at another time.
fn pipeline(nth: usize) -> Outcomes<Pipeline> {
    let (month, day, hour, minute) = ((nth % 12) + 1, (nth / 12 % 28) + 1, nth / 336 % 24, nth % 60);
    Ok(Pipeline {
        plan: Plan {
            pipeline: SourceName::new(format!("s{nth}"))?,
            when: vec![format!("{minute} {hour} {day} {month} *").parse()?],
            zone: TimeZone::UTC,
            jitter: Duration::ZERO,
            // What never ran would be begun.
            catch_up: CatchUp::Skip,
            window: SignedDuration::from_hours(168),
            overlap: Overlap::Skip,
            timeout: None,
            retries: 4,
            priority: 0,
            fresh_within: None,
        },
        paths: Vec::new(),
        host: None,
    })
}

/// What the threads of this process have taken of the processors so far; those that ended are not counted (proc(5),
/// /proc/PID/task/TID/schedstat).
fn processor_time() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    let nanos = stats.filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok());
    Duration::from_nanos(nanos.sum())
}
