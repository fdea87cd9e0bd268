//! The whole service, with work that takes no time.

use super::*;
use crate::retry::Retry;
use crate::schedule::{CatchUp, Overlap};
use crate::worker::Outcome;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use schemas::datasets::runs::{RunState, Trigger};
use store::queue::{Claimed, Request};
use tokio::time::Instant;

/// Longer than this, and it does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

fn pipeline(name: &str, when: &[&str]) -> Pipeline {
    Pipeline {
        plan: Plan {
            pipeline: SourceName::new(name).unwrap(),
            when: when.iter().map(|when| when.parse().unwrap()).collect(),
            zone: TimeZone::UTC,
            jitter: Duration::ZERO,
            catch_up: CatchUp::One,
            window: SignedDuration::from_hours(168),
            overlap: Overlap::Skip,
            timeout: None,
            retries: 4,
            priority: 0,
            fresh_within: None,
        },
        paths: Vec::new(),
        host: None,
    }
}

fn done() -> Work {
    Arc::new(
        |claimed: Claimed, _: CancellationToken| -> BoxFuture<'static, Outcome> {
            let mut run = claimed.run;
            run.state = RunState::Succeeded;
            Box::pin(async move {
                Outcome {
                    run,
                    retry: Retry::Never,
                }
            })
        },
    )
}

fn run(pipeline: &str) -> Run {
    let now = crate::run::now();
    Run::new(SourceName::new(pipeline).unwrap(), Trigger::Person, now)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_a_chain_an_orphan_and_what_is_not_configured() {
    let data = tempfile::tempdir().unwrap();
    let queue = Queue::open(data.path()).await.unwrap();
    let orphan = run("orphan");
    queue
        .begin(&orphan, "the dead", Duration::from_secs(600))
        .await
        .unwrap();
    // Whoever opens it alone knows that nobody works on it.
    let store = Arc::new(Store::open_writer(data.path()).await.unwrap());
    let gone = Request {
        run: run("gone"),
        priority: 0,
        host: None,
        once: None,
    };
    let gone = queue.enqueue(&[gone]).await.unwrap().pop().unwrap();
    let service = Service {
        store: store.clone(),
        queue: queue.clone(),
        log: RunLog::open(data.path()).await.unwrap(),
        pipelines: vec![
            pipeline("mail", &["* * * * * *"]),
            pipeline("costs", &["after mail"]),
            pipeline("orphan", &[]),
        ],
        slots: 2,
        per_host: 1,
        work: done(),
        alerts: None,
        keep: Retention::default(),
    };
    let stop = CancellationToken::new();
    let serving = tokio::spawn(service.run(stop.clone()));
    let began = Instant::now();
    let good = async |name: &str| {
        let name = SourceName::new(name).unwrap();
        let state = Some(RunState::Succeeded);
        store.runs().newest(Some(&name), state, 100).await.unwrap()
    };
    loop {
        let (mail, costs, orphan) = (good("mail").await, good("costs").await, good("orphan").await);
        if mail.len() > 2 && costs.len() > 1 && orphan.len() == 1 {
            assert!(costs.iter().all(|run| run.trigger == Trigger::After));
            assert!(
                orphan
                    .iter()
                    .all(|run| run.trigger == Trigger::Retry && run.attempt == 2)
            );
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{mail:?} {costs:?} {orphan:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    serving.await.unwrap().unwrap();
    let runs = store.runs();
    let orphan = runs.get(&orphan.run.0).await.unwrap().unwrap();
    assert_eq!(orphan.state, RunState::Failed);
    let gone = runs.get(&gone.0).await.unwrap().unwrap();
    assert_eq!(gone.state, RunState::Cancelled);
    assert!(gone.error.unwrap().contains("configuration"));
    // What it ended before it stopped: nothing is at work.
    let at_work = runs.newest(None, Some(RunState::Running), 10).await.unwrap();
    assert!(at_work.is_empty(), "{at_work:?}");
}
