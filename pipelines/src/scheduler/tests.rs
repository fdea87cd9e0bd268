//! Schedulers on a queue on which nobody works.

use super::*;
use crate::schedule::{CatchUp, Overlap};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use std::sync::Arc;
use store::queue::Queue;
use store::runs::Runs;
use tempfile::TempDir;
use tokio::sync::Notify;

/// Longer than this, and it does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

fn name(name: &str) -> SourceName {
    SourceName::new(name).unwrap()
}

fn pipeline(pipeline: &str, when: &[&str]) -> Pipeline {
    Pipeline {
        plan: Plan {
            pipeline: name(pipeline),
            when: when.iter().map(|when| when.parse().unwrap()).collect(),
            zone: TimeZone::UTC,
            jitter: Duration::ZERO,
            catch_up: CatchUp::One,
            window: SignedDuration::from_hours(168),
            overlap: Overlap::Queue,
            timeout: None,
            retries: 4,
            priority: 7,
            fresh_within: None,
        },
        paths: Vec::new(),
        host: Some("example.org".to_owned()),
    }
}

async fn asker(data: &TempDir, pipelines: Vec<Pipeline>) -> Asker {
    let queue = Queue::open(data.path()).await.unwrap();
    let runs = Runs::open(data.path()).await.unwrap();
    Asker::new(queue, runs, pipelines, Arc::new(Notify::new()))
}

/// A run of a pipeline that ended just now.
fn ended(pipeline: &str, state: RunState) -> Run {
    Run {
        state,
        ended_at: Some(now()),
        ..Run::new(name(pipeline), Trigger::Person, now())
    }
}

#[tokio::test]
async fn two_schedulers_have_each_time_run_once() {
    let data = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let mut schedulers = Vec::new();
    for _ in 0..2 {
        let asker = asker(&data, vec![pipeline("mail", &["* * * * * *"])]).await;
        schedulers.push(tokio::spawn(Scheduler::new(asker).run(stop.clone())));
    }
    let asker = asker(&data, Vec::new()).await;
    let began = Clock::now();
    let mut runs = Vec::new();
    while runs.len() < 4 {
        assert!(began.elapsed() < PATIENCE, "{runs:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        runs = asker.queue.active(&name("mail")).await.unwrap();
        // The first makes a beginning; the others are those of the schedule.
        runs.retain(|run| run.reason.is_none());
    }
    stop.cancel();
    for scheduler in schedulers {
        scheduler.await.unwrap();
    }
    let mut times: Vec<Instant> = runs.iter().filter_map(|run| run.due_at).collect();
    assert!(times.iter().all(|time| time % 1_000_000 == 0), "{times:?}");
    assert_eq!(times.len(), runs.len());
    times.sort_unstable();
    times.dedup();
    assert_eq!(times.len(), runs.len(), "{runs:?}");
    assert!(runs.iter().all(|run| run.trigger == Trigger::Schedule));
    let decided = asker.queue.schedules().await.unwrap();
    let decided = decided.get(&(name("mail"), "* * * * * *".to_owned())).unwrap();
    assert!(decided.until >= *times.last().unwrap());
}

#[tokio::test]
async fn what_is_decided_stays_decided_over_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let asker = asker(
        &data,
        vec![pipeline("mail", &["@yearly", "every 300 days", "on change"])],
    )
    .await;
    let mut first = Scheduler::new(asker.clone());
    first.look_at_all();
    first.turn(true).await.unwrap();
    let runs = asker.queue.active(&name("mail")).await.unwrap();
    // What never ran is begun, once.
    assert_eq!(runs.len(), 1, "{runs:?}");
    let decided = asker.queue.schedules().await.unwrap();
    assert_eq!(decided.len(), 3);
    assert_eq!(first.timetable.len(), 2);
    let mut second = Scheduler::new(asker.clone());
    second.look_at_all();
    second.turn(true).await.unwrap();
    assert_eq!(asker.queue.active(&name("mail")).await.unwrap().len(), 1);
    // Nothing new: nothing written.
    assert_eq!(asker.queue.schedules().await.unwrap(), decided);
    assert!(second.until_next() == LONGEST);
}

#[tokio::test]
async fn a_time_that_is_skipped_is_told_once_by_two_services() {
    let data = tempfile::tempdir().unwrap();
    let mut lazy = pipeline("mail", &["0 0 * * *"]);
    lazy.plan.overlap = Overlap::Skip;
    let asker = asker(&data, vec![lazy]).await;
    let busy = Run::new(name("mail"), Trigger::Person, now());
    asker.queue.begin(&busy, "somebody", LONGEST).await.unwrap();
    // Yesterday's decision, as both remember it.
    let yesterday = now() - 26 * 3_600 * 1_000_000;
    for _ in 0..2 {
        let mut scheduler = Scheduler::new(asker.clone());
        let decided = Decided {
            until: yesterday,
            next_due: Some(yesterday),
        };
        scheduler.decided.insert((0, 0), decided);
        scheduler.look_at_all();
        scheduler.turn(false).await.unwrap();
    }
    let skipped = asker
        .runs
        .newest(Some(&name("mail")), Some(RunState::Skipped), 100)
        .await
        .unwrap();
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert!(
        skipped
            .first()
            .unwrap()
            .reason
            .as_ref()
            .unwrap()
            .contains("at work")
    );
}

#[tokio::test]
async fn a_time_takes_the_place_of_another_try_that_waits() {
    let data = tempfile::tempdir().unwrap();
    let mut lazy = pipeline("mail", &["0 0 * * *"]);
    lazy.plan.overlap = Overlap::Skip;
    let asker = asker(&data, vec![lazy]).await;
    let hour = 3_600 * 1_000_000;
    let mut retry = Run::new(name("mail"), Trigger::Retry, now() + hour);
    retry.attempt = 2;
    let request = Request {
        run: retry.clone(),
        priority: 0,
        host: None,
        once: None,
    };
    asker.queue.enqueue(&[request]).await.unwrap();
    let mut scheduler = Scheduler::new(asker.clone());
    let yesterday = now() - 26 * hour;
    let decided = Decided {
        until: yesterday,
        next_due: Some(yesterday),
    };
    scheduler.decided.insert((0, 0), decided);
    scheduler.look_at_all();
    scheduler.turn(false).await.unwrap();
    let active = asker.queue.active(&name("mail")).await.unwrap();
    assert_eq!(active.len(), 1, "{active:?}");
    assert_ne!(active.first().unwrap().run, retry.run);
    let replaced = asker.runs.get(&retry.run.0).await.unwrap().unwrap();
    assert_eq!(replaced.state, RunState::Cancelled, "{replaced:?}");
}

#[tokio::test]
async fn a_good_end_is_followed_once_and_a_bad_one_never() {
    let data = tempfile::tempdir().unwrap();
    let pipelines = || vec![pipeline("mail", &[]), pipeline("costs", &["after mail"])];
    let here = asker(&data, pipelines()).await;
    let queued = async || here.queue.active(&name("costs")).await.unwrap();
    here.follow(&ended("mail", RunState::Failed)).await.unwrap();
    here.follow(&ended("costs", RunState::Succeeded)).await.unwrap();
    assert!(queued().await.is_empty());

    let run = ended("mail", RunState::PartlySucceeded);
    here.follow(&run).await.unwrap();
    let following = queued().await;
    let [following] = following.as_slice() else {
        panic!("{following:?}")
    };
    assert_eq!(following.trigger, Trigger::After);
    assert!(following.reason.as_ref().unwrap().contains(&run.run.0));
    let claimed = here.queue.claim("one", 9, 9, LONGEST).await.unwrap();
    assert_eq!(claimed.first().map(|claimed| claimed.priority), Some(7));
    let over = Run {
        state: RunState::Succeeded,
        ..claimed.first().unwrap().run.clone()
    };
    assert!(here.queue.finish(&over, None).await.unwrap().is_some());
    // Told again, or found again by whoever was started anew.
    here.follow(&run).await.unwrap();
    here.runs.record(&run).await.unwrap();
    asker(&data, pipelines()).await.make_up().await.unwrap();
    assert!(queued().await.is_empty());

    // One of which nobody was told.
    here.runs
        .record(&ended("mail", RunState::Succeeded))
        .await
        .unwrap();
    asker(&data, pipelines()).await.make_up().await.unwrap();
    assert_eq!(queued().await.len(), 1);
}

#[tokio::test]
async fn one_that_waits_is_enough_and_one_at_work_is_not() {
    let data = tempfile::tempdir().unwrap();
    let asker = asker(&data, vec![pipeline("mail", &["on change"])]).await;
    let pipeline = asker.pipelines.first().unwrap();
    let change = async || {
        let asked = asker.ask(
            pipeline,
            Trigger::Change,
            "its files changed".to_owned(),
            None,
            None,
        );
        asked.await.unwrap();
        asker.queue.active(&name("mail")).await.unwrap()
    };
    assert_eq!(change().await.len(), 1);
    assert_eq!(change().await.len(), 1);
    assert_eq!(asker.queue.claim("one", 1, 1, LONGEST).await.unwrap().len(), 1);
    assert_eq!(change().await.len(), 2);
    assert_eq!(change().await.len(), 2);
}

#[tokio::test]
async fn a_change_that_several_services_see_has_one_run() {
    let data = tempfile::tempdir().unwrap();
    let services = [
        asker(&data, vec![pipeline("mail", &["on change"])]).await,
        asker(&data, vec![pipeline("mail", &["on change"])]).await,
    ];
    let all_ask = async |since: Instant| {
        for asker in &services {
            let pipeline = asker.pipelines.first().unwrap();
            let words = "its files changed".to_owned();
            let asked = asker.ask(pipeline, Trigger::Change, words, None, Some(since));
            asked.await.unwrap();
        }
    };
    let queue = &services.first().unwrap().queue;
    let first = now();
    all_ask(first).await;
    let claimed = queue.claim("one", 9, 9, LONGEST).await.unwrap();
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    // Those that ask while it is at work saw the same change, and so did those that ask when it is over.
    all_ask(first).await;
    assert_eq!(queue.active(&name("mail")).await.unwrap().len(), 1);
    let over = Run {
        state: RunState::Succeeded,
        ..claimed.first().unwrap().run.clone()
    };
    assert!(queue.finish(&over, None).await.unwrap().is_some());
    all_ask(first).await;
    assert!(queue.active(&name("mail")).await.unwrap().is_empty());
    all_ask(now()).await;
    assert_eq!(queue.active(&name("mail")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_never_ran_is_begun_once_by_whoever_is_to() {
    let data = tempfile::tempdir().unwrap();
    let mut watched = pipeline("notes", &["@yearly", "on change"]);
    watched.paths = vec![data.path().to_owned()];
    let pipelines = vec![pipeline("mail", &["@yearly"]), watched];
    let asker = asker(&data, pipelines).await;
    // Both saw it for the first time, each in its own moment, before the other had decided.
    let mut decisions = Vec::new();
    for at in [now(), now() + 1] {
        let due = Due {
            at: Timestamp::from_microsecond(at).unwrap(),
            begin: Timestamp::from_microsecond(at).unwrap(),
            trigger: Trigger::Schedule,
            reason: None,
        };
        decisions.push(Decision {
            requests: vec![due],
            skipped: Vec::new(),
            cancel: Vec::new(),
            decided: Decided {
                until: at,
                next_due: None,
            },
        });
    }
    for decision in decisions {
        let mut draft = Draft::default();
        let mail = asker.pipelines.first().unwrap();
        draft.add(mail, (0, 0), "@yearly", decision, &mut Vec::new(), true);
        draft.write(&asker).await.unwrap();
    }
    assert_eq!(asker.queue.active(&name("mail")).await.unwrap().len(), 1);
    // Who watches the files of the other one asks for it.
    let mut scheduler = Scheduler::new(asker.clone());
    scheduler.look_at_all();
    scheduler.turn(true).await.unwrap();
    assert!(asker.queue.active(&name("notes")).await.unwrap().is_empty());
    assert_eq!(asker.queue.active(&name("mail")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_replaced_names_the_run_in_its_place() {
    let data = tempfile::tempdir().unwrap();
    let mut hasty = pipeline("mail", &["0 0 * * *", "on change"]);
    hasty.plan.overlap = Overlap::Replace;
    let asker = asker(&data, vec![hasty]).await;
    let begin = async || {
        let run = Run::new(name("mail"), Trigger::Person, now());
        asker.queue.begin(&run, "somebody", LONGEST).await.unwrap();
        run.run
    };
    // Ends the run at work, and has the one that waits; says what became of the first, and the id of the other.
    let end = async |run: RunId| {
        let active = asker.queue.active(&name("mail")).await.unwrap();
        let at_work = active.iter().find(|other| other.run == run).unwrap();
        let over = Run {
            state: RunState::Cancelled,
            error: Some("stopped by its user".to_owned()),
            ..at_work.clone()
        };
        let kept = asker.queue.finish(&over, None).await.unwrap().unwrap();
        let next = active.iter().find(|other| other.run != run).unwrap();
        asker.queue.cancel(&next.run, "the next round").await.unwrap();
        (kept.error.unwrap(), next.run.clone())
    };
    let run = begin().await;
    let mut scheduler = Scheduler::new(asker.clone());
    let yesterday = now() - 26 * 3_600 * 1_000_000;
    let decided = Decided {
        until: yesterday,
        next_due: Some(yesterday),
    };
    scheduler.decided.insert((0, 0), decided);
    scheduler.look_at_all();
    scheduler.turn(false).await.unwrap();
    let (why, next) = end(run).await;
    assert!(
        why.starts_with(&format!("replaced by run {next}, which is due at")),
        "{why}"
    );

    let run = begin().await;
    let pipeline = asker.pipelines.first().unwrap();
    let asked = asker.ask(
        pipeline,
        Trigger::Change,
        "its files changed".to_owned(),
        None,
        None,
    );
    asked.await.unwrap();
    let (why, next) = end(run).await;
    assert_eq!(why, format!("replaced by run {next}: its files changed"));
}

#[test]
fn a_clock_that_was_set_is_noticed() {
    let mut clocks = Clocks::now();
    assert_eq!(clocks.jump(), None);
    clocks.wall -= 7_200_000_000;
    let jump = clocks.jump().unwrap();
    assert!((7_199_000_000..7_201_000_000).contains(&jump), "{jump}");
    clocks.wall += 7_200_000_000;
    assert!(clocks.jump().unwrap() < -7_199_000_000);
    assert_eq!(clocks.jump(), None);
}
