//! Several services on one Postgres, which are killed again and again, and a Postgres that is restarted: what was asked
//! for is done, each run's effect once, and none is lost or stuck (the issue's own proof, and T17).
//!
//! `DKC_QUEUED_RUNS` says how many runs are queued, `DKC_KILL_EVERY` after how many seconds one of the services is killed.

use crate::it::lab::{Lab, setting};
use fixtures::postgres::Postgres;
use schemas::SourceName;
use schemas::datasets::runs::{Run, RunState, Trigger};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use store::Place;
use store::queue::{Queue, Request};
use store::runs::Runs;

/// Services at once.
const SERVICES: usize = 3;

/// Pipelines; the runs are spread over them.
const PIPELINES: usize = 20;

/// Mails of each.
const MAILS: usize = 5;

/// Longer than this, and runs are stuck.
const PATIENCE: Duration = Duration::from_secs(600);

/// A service that is killed when it is dropped.
struct Service(Child);

impl Service {
    fn start(lab: &Lab) -> Self {
        let mut command = lab.command::<&str>(&[], &["daemon"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// `kill -9`.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A lab on a database, with pipelines that have mails.
fn lab(url: &str) -> Lab {
    let mut config = "[store]\npostgres = \"env:DKC_POSTGRES\"\n\n".to_owned();
    for pipeline in 0..PIPELINES {
        writeln!(
            config,
            "[[pipeline]]\nname = \"p{pipeline}\"\nretries = 9\nsource = {{ kind = \"maildir\", path = \"p{pipeline}\" }}\n"
        )
        .unwrap();
    }
    let lab = Lab::new(&config).with("DKC_POSTGRES", url);
    for pipeline in 0..PIPELINES {
        for part in ["new", "tmp"] {
            std::fs::create_dir_all(lab.path(format!("p{pipeline}/{part}"))).unwrap();
        }
        for mail in 0..MAILS {
            let text = format!(
                "From: a@example.org\r\nMessage-ID: <{pipeline}.{mail}@example.org>\r\n\r\n{mail}\r\n"
            );
            lab.write(format!("p{pipeline}/cur/{mail}.host:2,"), text);
        }
    }
    lab
}

fn place(lab: &Lab, url: &str) -> Place {
    Place {
        data: lab.data().to_owned(),
        postgres: Some(url.to_owned().into()),
    }
}

/// Queues runs, each with a key of its own.
async fn enqueue(queue: &Queue, count: usize) {
    let now = jiff::Timestamp::now().as_microsecond();
    let requests: Vec<Request> = (0..count)
        .map(|n| {
            let pipeline = SourceName::new(format!("p{}", n % PIPELINES)).unwrap();
            Request {
                run: Run::new(pipeline, Trigger::Person, now),
                priority: 0,
                host: None,
                once: Some(format!("test:{n}")),
            }
        })
        .collect();
    let ids = queue.enqueue(&requests).await.unwrap();
    assert_eq!(ids.len(), count);
    // Who asks twice does not get twice.
    assert_eq!(queue.enqueue(&requests).await.unwrap(), ids);
}

/// Waits until nothing is queued or at work; meanwhile does something, again and again.
async fn until_all_is_done(runs: &Runs, mut meanwhile: impl FnMut()) {
    let began = Instant::now();
    loop {
        // The database may be away for a moment.
        if let Ok(all) = runs.newest(None, None, u32::MAX).await
            && !all.is_empty()
            && all
                .iter()
                .all(|run| !matches!(run.state, RunState::Queued | RunState::Running))
        {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "runs are stuck");
        meanwhile();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether a run did what it was for. Another try has done so, too, when a run of its pipeline went well before it began.
fn is_done(run: &Run, all: &[Run]) -> bool {
    let is_good = |run: &Run| matches!(run.state, RunState::Succeeded | RunState::PartlySucceeded);
    if run.state == RunState::Skipped {
        let reason = run.reason.as_deref().unwrap_or_default();
        let later = all.iter().find(|other| reason.ends_with(&other.run.0)).unwrap();
        assert!(
            is_good(later) && later.pipeline == run.pipeline,
            "{run:?} {later:?}"
        );
        assert_eq!(run.trigger, Trigger::Retry, "{run:?}");
    }
    is_good(run) || run.state == RunState::Skipped
}

/// Asserts that each run that was asked for came to a good end once, over however many attempts, and that every mail is
/// there once.
fn each_once(lab: &Lab, all: &[Run], asked: usize) {
    let mut ends: HashMap<&str, &Run> = HashMap::new();
    for run in all {
        let mut first = run;
        while let Some(before) = &first.retry_of {
            first = all.iter().find(|run| run.run == *before).unwrap();
        }
        if is_done(run, all) {
            let twice = ends.insert(&first.run.0, run);
            assert!(twice.is_none(), "{first:?} ended well twice: {twice:?} {run:?}");
        }
    }
    let failed: Vec<_> = all
        .iter()
        .filter(|run| run.retry_of.is_none() && !ends.contains_key(&*run.run.0))
        .collect();
    assert_eq!(ends.len(), asked, "{failed:#?}");
    let mails = (PIPELINES * MAILS) as i64;
    assert_eq!(lab.number("SELECT count(*) FROM emails"), mails);
    assert_eq!(lab.number("SELECT count(DISTINCT message_id) FROM emails"), mails);
    let stored: u64 = all.iter().map(|run| run.counts.items_stored).sum();
    assert!(
        stored <= mails as u64 + all.len() as u64 * MAILS as u64,
        "{stored}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_killed_do_each_run_once() {
    let (asked, every) = (setting("DKC_QUEUED_RUNS", 60), setting("DKC_KILL_EVERY", 2));
    let url = fixtures::postgres::fresh();
    let lab = lab(&url);
    let queue = Queue::open(place(&lab, &url)).await.unwrap();
    enqueue(&queue, asked).await;
    let mut services: Vec<Service> = (0..SERVICES).map(|_| Service::start(&lab)).collect();
    let runs = Runs::open(place(&lab, &url)).await.unwrap();
    let (mut killed, mut last) = (0, Instant::now());
    until_all_is_done(&runs, || {
        if last.elapsed() >= Duration::from_secs(every as u64) {
            let service = &mut services[killed % SERVICES];
            service.kill();
            *service = Service::start(&lab);
            (killed, last) = (killed + 1, Instant::now());
        }
    })
    .await;
    eprintln!("{killed} kills during {asked} runs");
    drop(services);
    each_once(&lab, &runs.newest(None, None, u32::MAX).await.unwrap(), asked);
    lab.is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_restarted_stops_nothing_for_good() {
    let asked = setting("DKC_QUEUED_RUNS", 60);
    let server = Postgres::start();
    let url = server.database();
    let lab = lab(&url);
    let queue = Queue::open(place(&lab, &url)).await.unwrap();
    enqueue(&queue, asked).await;
    let services: Vec<Service> = (0..2).map(|_| Service::start(&lab)).collect();
    let runs = Runs::open(place(&lab, &url)).await.unwrap();
    let begun = |all: &[Run]| all.iter().any(|run| run.state == RunState::Succeeded);
    while !begun(&runs.newest(None, None, u32::MAX).await.unwrap()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop_fast();
    server.start_again();
    until_all_is_done(&runs, || {}).await;
    drop(services);
    each_once(&lab, &runs.newest(None, None, u32::MAX).await.unwrap(), asked);
}
