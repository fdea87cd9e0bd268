//! Workers with work that takes no time, or does not end.

use super::*;
use schemas::datasets::runs::{RunState, Trigger};
use store::queue::{Cancelled, Request};
use store::runs::Runs;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Longer than this, and it does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A data directory with a queue, and what workers told of runs that are over.
struct Lab {
    data: TempDir,
    queue: Queue,
    runs: Runs,
    told: Arc<Mutex<Vec<(RunId, bool)>>>,
    stop: CancellationToken,
}

impl Lab {
    async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        Self {
            queue: Queue::open(data.path()).await.unwrap(),
            runs: Runs::open(data.path()).await.unwrap(),
            told: Arc::default(),
            stop: CancellationToken::new(),
            data,
        }
    }

    /// A worker that is impatient, with connections of its own.
    async fn worker(&self, name: &str, work: Work) -> Worker {
        let queue = Queue::open(self.data.path()).await.unwrap();
        let told = self.told.clone();
        Worker {
            lease: Duration::from_secs(3),
            grace: Duration::from_millis(200),
            retries: HashMap::from([(pipeline("mail"), 1)]),
            on_end: Arc::new(move |run: Run, gives_up: bool| -> BoxFuture<'static, ()> {
                told.lock().unwrap().push((run.run, gives_up));
                Box::pin(async {})
            }),
            ..Worker::new(name, queue, work)
        }
    }

    fn start(&self, worker: Worker) -> JoinHandle<Result<(), RunError>> {
        tokio::spawn(worker.run(self.stop.clone()))
    }

    async fn ask(&self, request: Request) -> RunId {
        self.queue.enqueue(&[request]).await.unwrap().pop().unwrap()
    }

    async fn get(&self, run: &RunId) -> Run {
        self.runs.get(&run.0).await.unwrap().unwrap()
    }

    /// The run, once it is in a state.
    async fn once(&self, run: &RunId, is: impl Fn(RunState) -> bool) -> Run {
        let began = Instant::now();
        loop {
            let run = self.get(run).await;
            if is(run.state) {
                return run;
            }
            assert!(began.elapsed() < PATIENCE, "{run:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn over(&self, run: &RunId) -> Run {
        self.once(run, RunState::is_over).await
    }

    async fn told(&self, run: &RunId) -> bool {
        let began = Instant::now();
        loop {
            let told = self
                .told
                .lock()
                .unwrap()
                .iter()
                .find(|(told, _)| told == run)
                .cloned();
            if let Some((_, gives_up)) = told {
                return gives_up;
            }
            assert!(began.elapsed() < PATIENCE, "{run} was never told");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The attempt after a run.
    async fn next(&self, run: &Run) -> Option<Run> {
        let runs = self.runs.newest(Some(&run.pipeline), None, 100).await.unwrap();
        runs.into_iter()
            .find(|other| other.retry_of.as_ref() == Some(&run.run))
    }
}

fn pipeline(name: &str) -> SourceName {
    SourceName::new(name).unwrap()
}

fn request(name: &str) -> Request {
    Request {
        run: Run::new(pipeline(name), Trigger::Person, crate::run::now()),
        priority: 0,
        host: None,
        once: None,
    }
}

fn work<M, O>(make: M) -> Work
where
    M: Fn(Claimed, CancellationToken) -> O + Send + Sync + 'static,
    O: Future<Output = Outcome> + Send + 'static,
{
    Arc::new(
        move |claimed: Claimed, cancel: CancellationToken| -> BoxFuture<'static, Outcome> {
            Box::pin(make(claimed, cancel))
        },
    )
}

fn ended(claimed: Claimed, state: RunState) -> Outcome {
    let mut run = claimed.run;
    run.state = state;
    Outcome {
        run,
        retry: Retry::Never,
    }
}

/// Work that goes on until it is asked to end.
fn endless() -> Work {
    work(|claimed, cancel| async move {
        cancel.cancelled().await;
        ended(claimed, RunState::Cancelled)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_run_is_made_once_by_three_workers() {
    let lab = Lab::new().await;
    let made: Arc<Mutex<HashMap<RunId, u32>>> = Arc::default();
    let counting = made.clone();
    let work = work(move |claimed, _| {
        *counting
            .lock()
            .unwrap()
            .entry(claimed.run.run.clone())
            .or_default() += 1;
        async move { ended(claimed, RunState::Succeeded) }
    });
    let requests: Vec<Request> = (0..300).map(|n| request(&format!("p{}", n % 60))).collect();
    let ids = lab.queue.enqueue(&requests).await.unwrap();
    let mut workers = Vec::new();
    for name in ["one", "two", "three"] {
        let worker = Worker {
            slots: 4,
            ..lab.worker(name, work.clone()).await
        };
        workers.push(lab.start(worker));
    }
    for id in &ids {
        assert_eq!(lab.over(id).await.state, RunState::Succeeded);
    }
    lab.stop.cancel();
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
    let made = made.lock().unwrap();
    assert_eq!(made.len(), ids.len());
    assert!(made.values().all(|times| *times == 1), "{made:?}");
    assert_eq!(lab.told.lock().unwrap().len(), ids.len());
}

#[tokio::test]
async fn what_is_asked_for_elsewhere_is_begun_and_a_cancel_reaches_the_work() {
    let lab = Lab::new().await;
    let worker = lab.start(lab.worker("one", endless()).await);
    let run = lab.ask(request("mail")).await;
    lab.once(&run, |state| state == RunState::Running).await;
    let cancelled = lab.queue.cancel(&run, "not needed any more").await.unwrap();
    assert_eq!(cancelled, Cancelled::Asked(run.clone()));
    let over = lab.over(&run).await;
    assert_eq!(over.state, RunState::Cancelled);
    assert_eq!(over.error.as_deref(), Some("not needed any more"));
    assert!(lab.next(&over).await.is_none());
    assert!(!lab.told(&run).await);
    lab.stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_fails_in_the_moment_in_which_it_is_cancelled_is_cancelled() {
    let lab = Lab::new().await;
    let fail = CancellationToken::new();
    let failing = fail.clone();
    let work = work(move |claimed, _| {
        let failing = failing.clone();
        async move {
            failing.cancelled().await;
            let mut outcome = Outcome {
                retry: Retry::Later(Some(Duration::ZERO)),
                ..ended(claimed, RunState::Failed)
            };
            outcome.run.error = Some("no route".to_owned());
            outcome
        }
    });
    let worker = lab.start(lab.worker("one", work).await);
    let run = lab.ask(request("mail")).await;
    lab.once(&run, |state| state == RunState::Running).await;
    lab.queue.cancel(&run, "not needed any more").await.unwrap();
    fail.cancel();
    let over = lab.over(&run).await;
    assert_eq!(over.state, RunState::Cancelled);
    assert_eq!(
        over.error.as_deref(),
        Some("not needed any more; it failed: no route")
    );
    assert!(!lab.told(&run).await, "it is no failure");
    assert!(lab.next(&over).await.is_none());
    lab.stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_takes_too_long_is_ended_and_tried_again_later() {
    for is_deaf in [false, true] {
        let lab = Lab::new().await;
        let work = match is_deaf {
            false => endless(),
            true => work(|_, _| std::future::pending()),
        };
        let worker = Worker {
            timeouts: HashMap::from([(pipeline("mail"), Duration::from_secs(1))]),
            ..lab.worker("one", work).await
        };
        let worker = lab.start(worker);
        let run = lab.ask(request("mail")).await;
        let over = lab.over(&run).await;
        assert_eq!(over.state, RunState::Failed);
        let error = over.error.as_deref().unwrap();
        assert!(error.contains("longer than 1s"), "{error}");
        let next = lab.next(&over).await.unwrap();
        assert_eq!((next.state, next.attempt), (RunState::Queued, 2));
        assert!(next.started_at > over.ended_at.unwrap() + 15_000_000, "{next:?}");
        assert!(!lab.told(&run).await);
        lab.stop.cancel();
        worker.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_panic_is_a_failure_that_is_told_and_not_tried_again() {
    let lab = Lab::new().await;
    let work = work(|claimed, _| async move {
        assert!(claimed.run.attempt > 1, "a fault of its own");
        ended(claimed, RunState::Succeeded)
    });
    let worker = lab.start(lab.worker("one", work).await);
    let run = lab.ask(request("mail")).await;
    let over = lab.over(&run).await;
    assert_eq!(over.state, RunState::Failed);
    let error = over.error.as_deref().unwrap();
    assert!(
        error.contains("a fault of its own") && error.contains("bug"),
        "{error}"
    );
    assert!(lab.next(&over).await.is_none());
    assert!(lab.told(&run).await);
    // The worker is as well as before.
    let other = lab.ask(request("photos")).await;
    assert_eq!(lab.over(&other).await.state, RunState::Failed);
    lab.stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_failed_is_tried_again_as_often_as_is_allowed() {
    let lab = Lab::new().await;
    let work = work(|claimed, _| async move {
        Outcome {
            retry: Retry::Later(Some(Duration::ZERO)),
            ..ended(claimed, RunState::Failed)
        }
    });
    let worker = lab.start(lab.worker("one", work).await);
    let first = lab.ask(request("mail")).await;
    let first = lab.over(&first).await;
    assert!(!lab.told(&first.run).await);
    let second = lab.next(&first).await.unwrap();
    let second = lab.over(&second.run).await;
    assert_eq!((second.state, second.attempt), (RunState::Failed, 2));
    assert_eq!(second.trigger, Trigger::Retry);
    assert!(lab.told(&second.run).await);
    assert!(lab.next(&second).await.is_none());
    lab.stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test]
async fn when_it_stops_what_is_at_work_ends_or_is_queued_again() {
    let lab = Lab::new().await;
    let finish = CancellationToken::new();
    let finished = finish.clone();
    let work = work(move |claimed, cancel| {
        let finished = finished.clone();
        let is_quick = claimed.run.pipeline.as_str() == "quick";
        async move {
            tokio::select! {
                () = cancel.cancelled() => ended(claimed, RunState::Cancelled),
                () = finished.cancelled(), if is_quick => ended(claimed, RunState::Succeeded),
            }
        }
    });
    let worker = Worker {
        drain: Duration::from_secs(2),
        ..lab.worker("one", work).await
    };
    let worker = lab.start(worker);
    let quick = lab.ask(request("quick")).await;
    let slow = lab.ask(request("slow")).await;
    for run in [&quick, &slow] {
        lab.once(run, |state| state == RunState::Running).await;
    }
    lab.stop.cancel();
    let late = lab.ask(request("late")).await;
    finish.cancel();
    worker.await.unwrap().unwrap();
    assert_eq!(lab.get(&quick).await.state, RunState::Succeeded);
    let slow = lab.get(&slow).await;
    assert_eq!(slow.state, RunState::Cancelled);
    assert!(slow.error.as_ref().unwrap().contains("the service was stopped"));
    let next = lab.next(&slow).await.unwrap();
    assert_eq!((next.state, next.attempt), (RunState::Queued, 1));
    assert_eq!(next.reason.as_deref(), Some("the service was stopped"));
    assert_eq!(lab.get(&late).await.state, RunState::Queued);
}

#[tokio::test]
async fn what_others_took_over_is_ended_and_its_result_is_dropped() {
    let lab = Lab::new().await;
    let work = work(|claimed, cancel| async move {
        if claimed.run.attempt > 1 {
            return ended(claimed, RunState::Succeeded);
        }
        cancel.cancelled().await;
        // It ends well all the same, and too late.
        ended(claimed, RunState::Succeeded)
    });
    let worker = lab.start(lab.worker("one", work).await);
    let run = lab.ask(request("mail")).await;
    lab.once(&run, |state| state == RunState::Running).await;
    // Somebody who believes that the worker is dead.
    let taken = lab.queue.take_over(5, true).await.unwrap();
    assert_eq!(taken.first().map(|taken| &taken.run), Some(&run));
    let next = lab.next(&lab.get(&run).await).await.unwrap();
    assert_eq!(lab.over(&next.run).await.state, RunState::Succeeded);
    assert!(!lab.told(&next.run).await);
    lab.stop.cancel();
    worker.await.unwrap().unwrap();
    let run = lab.get(&run).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.error.unwrap().contains("without a word"));
    let told: Vec<RunId> = lab
        .told
        .lock()
        .unwrap()
        .iter()
        .map(|(run, _)| run.clone())
        .collect();
    assert_eq!(told, [next.run]);
}

#[tokio::test]
async fn a_run_begins_when_its_time_has_come_and_not_before() {
    let lab = Lab::new().await;
    let work = work(|claimed, _| async move { ended(claimed, RunState::Succeeded) });
    let worker = lab.start(lab.worker("one", work).await);
    let mut request = request("mail");
    request.run.started_at += 700_000;
    let due = request.run.started_at;
    let run = lab.ask(request).await;
    let over = lab.over(&run).await;
    // A machine that is busy with other tests may be late; one that looks once a second would always be.
    assert!(
        (due..due + 900_000).contains(&over.started_at),
        "{} us late",
        over.started_at - due
    );
    lab.stop.cancel();
    worker.await.unwrap().unwrap();
}
