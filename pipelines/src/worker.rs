//! The worker: takes runs from the queue, has them made, and writes how they ended.
//!
//! - In: queued runs. Out: runs that are over, so many at once, with another attempt where that can help.
//! - What it takes it holds by a lease, and renews that as long as it is at work. Whoever dies renews nothing, and others
//!   take over. A result that comes after that is dropped: the queue does not take it.
//! - apalis runs the slots, and ends when the last run has. Where runs wait is the table of runs itself, so that queue and
//!   history never differ.
//! - Not here: what is done in a run (`run`), when it is due (`scheduler`), taking over from the dead (`service`).

mod claim;
mod ending;
mod lease;
mod slot;

use crate::error::RunError;
use crate::retry::Retry;
use apalis::prelude::{BackendBuilder, Task, WorkerBuilder, WorkerContext};
use claim::Begun;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::sink::drain;
use futures::stream::BoxStream;
use schemas::datasets::runs::Run;
use schemas::{RunId, SourceName};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use store::queue::{Claimed, Queue};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// How long what is taken is held without being renewed. Longer: the dead are noticed later. Shorter: more is written.
pub const LEASE: Duration = Duration::from_secs(30);

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The run, over.
    pub run: Run,
    /// Whether another attempt can help, if it failed.
    pub retry: Retry,
}

/// Makes a run. The token asks it to end early; then it comes back `cancelled`.
pub type Work = Arc<dyn Fn(Claimed, CancellationToken) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// Is told of each run that is over, and whether it failed for good: no other attempt follows by itself.
pub type OnEnd = Arc<dyn Fn(Run, bool) -> BoxFuture<'static, ()> + Send + Sync>;

/// Takes runs and has them made.
#[derive(Clone)]
pub struct Worker {
    /// How the names begin as which it holds runs.
    pub name: String,
    /// Where runs wait.
    pub queue: Queue,
    /// Runs at once.
    pub slots: usize,
    /// Runs at once that ask the same host.
    pub per_host: usize,
    /// How long what it took is held without being renewed.
    pub lease: Duration,
    /// How long runs may go on once it is to stop.
    pub drain: Duration,
    /// How long a run that was asked to end may take for that.
    pub grace: Duration,
    /// How often a run of a pipeline that failed is tried again; never where it is not named.
    pub retries: HashMap<SourceName, u32>,
    /// How long a run of a pipeline may take; as long as it likes where it is not named.
    pub timeouts: HashMap<SourceName, Duration>,
    /// Makes a run.
    pub work: Work,
    /// Is told when one is over.
    pub on_end: OnEnd,
    /// Makes it look into the queue.
    pub wake: Arc<Notify>,
}

impl Worker {
    /// A worker with two slots that tells nobody.
    pub fn new(name: impl Into<String>, queue: Queue, work: Work) -> Self {
        Self {
            name: name.into(),
            queue,
            slots: 2,
            per_host: 1,
            lease: LEASE,
            drain: Duration::from_secs(4),
            grace: Duration::from_secs(30),
            retries: HashMap::new(),
            timeouts: HashMap::new(),
            work,
            on_end: Arc::new(|_: Run, _: bool| -> BoxFuture<'static, ()> { Box::pin(async {}) }),
            wake: Arc::default(),
        }
    }

    /// Works until it is to stop. Then it takes nothing more, gives what is at work some time, asks it to end, and ends
    /// with it.
    ///
    /// # Errors
    /// [`RunError`] when apalis ends early. A database that is away is waited for.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        let (begun, taken) = mpsc::channel(self.slots.max(1));
        let shared = Arc::new(Shared {
            worker: self,
            stop,
            at_work: Mutex::default(),
            began: Notify::new(),
        });
        // By itself, so that nothing is taken and then forgotten half-way.
        let claiming = tokio::spawn(claim::claim(shared.clone(), begun));
        let backend = BackendBuilder::<Begun, _, _, _>::new()
            .database(Some(taken))
            .fetcher(|taken, _, worker| tasks(taken.take(), worker.clone()))
            // Runs are queued elsewhere.
            .sink(|_, _| drain::<Task<Begun>>())
            .build()
            .map_err(|error| RunError::Engine(error.to_string()))?;
        let filling = shared.clone();
        let slots = WorkerBuilder::new(shared.worker.name.as_str())
            .backend(backend)
            .build(move |begun: Begun| slot::fill(filling.clone(), begun));
        let slots: BoxFuture<'static, _> = Box::pin(slots.run());
        tokio::select! {
            ended = slots => ended.map_err(|error| RunError::Engine(error.to_string()))?,
            () = lease::keep(&shared) => {}
            () = shared.end_what_drags() => {}
        }
        Ok(claiming.await?)
    }
}

/// How long a run may take to end once all is to stop: whoever stops a service waits ten seconds.
const GRACE_AT_STOP: Duration = Duration::from_secs(4);

/// What apalis fetches.
type Tasks = BoxStream<'static, Result<Option<Task<Begun>>, Infallible>>;

/// What was taken, as tasks of apalis, which ends after the last of them.
fn tasks(taken: Option<mpsc::Receiver<Begun>>, worker: WorkerContext) -> Tasks {
    let next = |(taken, worker): (Option<mpsc::Receiver<Begun>>, WorkerContext)| async move {
        let mut taken = taken?;
        match taken.recv().await {
            Some(begun) => Some((Ok(Some(Task::new(begun))), (Some(taken), worker))),
            None => {
                // The end of a stream alone does not end it. It has begun, so that this is not refused.
                let _ = worker.stop();
                None
            }
        }
    };
    futures::stream::unfold((taken, worker), next).boxed()
}

/// What the parts of a worker share.
struct Shared {
    worker: Worker,
    stop: CancellationToken,
    at_work: Mutex<HashMap<RunId, AtWork>>,
    /// Told when a run begins.
    began: Notify,
}

/// A run that is at work.
#[derive(Debug, Clone)]
struct AtWork {
    /// As whom it is held.
    holder: Arc<str>,
    cancel: CancellationToken,
    why: Arc<OnceLock<Why>>,
}

/// Why a run is to end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Somebody asked for it.
    Asked,
    /// It took longer than that, which is all it may.
    TookTooLong(Duration),
    /// The service is to stop.
    Stopped,
    /// Others may have taken it over.
    LeaseLost,
}

impl AtWork {
    fn new(holder: Arc<str>) -> Self {
        Self {
            holder,
            cancel: CancellationToken::new(),
            why: Arc::default(),
        }
    }

    /// Asks it to end. The first reason counts.
    fn end(&self, why: Why) {
        self.why.get_or_init(|| why);
        self.cancel.cancel();
    }
}

impl Shared {
    fn at_work(&self) -> MutexGuard<'_, HashMap<RunId, AtWork>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_all(&self, why: Why) {
        for run in self.at_work().values() {
            run.end(why);
        }
    }

    /// Once it is to stop, ends what does not end by itself.
    async fn end_what_drags(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(self.worker.drain).await;
        self.end_all(Why::Stopped);
        // Its end is that of the last run.
        std::future::pending().await
    }
}

tokio::task_local! {
    /// As whom the run is held that is made there.
    static HOLDER: Arc<str>;
}

/// As whom the run is held that is being made here: by a worker, or else by the process.
pub(crate) fn holder() -> String {
    let by_worker = HOLDER.try_with(|holder| holder.to_string());
    by_worker.unwrap_or_else(|_| name_of_process().to_owned())
}

/// As whom this process holds runs. It changes with every start: what another held that had the same number is not ours.
pub fn name_of_process() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let machine = rustix::system::uname();
        let (random, ..) = uuid::Uuid::new_v4().as_fields();
        format!(
            "{}-{}-{random:08x}",
            machine.nodename().to_string_lossy(),
            std::process::id()
        )
    })
}

#[cfg(test)]
mod tests;
