//! The stories of the queue, each in SQLite and in Postgres.

use super::enqueue::put;
use super::*;
use crate::database::tests::{postgres, sqlite};
use crate::run_log::{Level, RunLog};
use crate::runs::Runs;
use futures::future::join_all;
use schemas::datasets::runs::RunState;
use std::collections::HashSet;
use std::sync::Mutex as Lock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant as Clock;

/// Longer than any of these takes.
const LEASE: Duration = Duration::from_secs(600);

/// A lease that has run out.
const NONE: Duration = Duration::ZERO;

const HOUR: i64 = 3_600_000_000;

macro_rules! on_both {
    ($($story:ident),* $(,)?) => {
        mod in_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $story() {
                    let (_data, place) = super::sqlite();
                    super::$story(place).await;
                }
            )*
        }
        mod in_postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $story() {
                    let (_data, place) = super::postgres();
                    super::$story(place).await;
                }
            )*
        }
    };
}

on_both![
    each_run_is_claimed_once,
    hosts_have_limits,
    priority_then_time_and_nobody_starves,
    a_cancelled_run_is_never_both,
    what_was_cancelled_is_not_tried_again,
    who_cancels_what_has_failed_cancels_its_try,
    a_good_end_takes_the_place_of_tries_that_wait,
    who_asks_has_one_run_with_all_who_ask,
    what_waits_follows_the_configuration,
    a_name_is_queued_once,
    what_is_left_alone_is_taken_over,
    what_kills_its_workers_is_given_up,
    a_run_has_one_next_attempt,
    what_failed_is_asked_for_again,
    a_decision_is_kept_whole_or_not_at_all,
    what_is_not_committed_never_was,
    what_is_old_is_forgotten,
    a_run_that_is_begun_keeps_others_out,
    a_clock_that_goes_back_strands_nothing,
];

fn source(name: &str) -> SourceName {
    SourceName::new(name).unwrap()
}

fn request(pipeline: &str, begin: Instant) -> Request {
    Request {
        run: Run::new(source(pipeline), Trigger::Schedule, begin),
        priority: 0,
        host: None,
        once: None,
    }
}

fn over(claimed: &Claimed, state: RunState) -> Run {
    let mut run = claimed.run.clone();
    run.state = state;
    run.ended_at = Some(now());
    run
}

async fn one(queue: &Queue, worker: &str, lease: Duration) -> Claimed {
    let claimed = queue.claim(worker, 1, 9, lease).await.unwrap();
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    claimed.into_iter().next().unwrap()
}

async fn get(runs: &Runs, run: &RunId) -> Run {
    runs.get(&run.0).await.unwrap().unwrap()
}

async fn execute(queue: &Queue, sql: &'static str, run: &RunId, value: i64) {
    sqlx::query(sql)
        .bind(run.0.as_str())
        .bind(value)
        .execute(queue.database.pool())
        .await
        .unwrap();
}

async fn each_run_is_claimed_once(place: Place) {
    const RUNS: usize = 500;
    let queue = Queue::open(&place).await.unwrap();
    let requests: Vec<Request> = (0..RUNS)
        .map(|n| request(&format!("p{}", n % 50), n as i64))
        .collect();
    let ids = queue.enqueue(&requests).await.unwrap();
    let other = Queue::open(&place).await.unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let at_work = Arc::new(Lock::new(HashSet::new()));
    let workers = (0..8).map(|n| {
        let queue = if n % 2 == 0 { queue.clone() } else { other.clone() };
        let (done, at_work) = (done.clone(), at_work.clone());
        tokio::spawn(async move {
            let (worker, began) = (format!("w{n}"), Clock::now());
            let mut mine = Vec::new();
            while done.load(Ordering::SeqCst) < RUNS {
                assert!(began.elapsed() < Duration::from_secs(120), "runs are stuck");
                let claimed = queue.claim(&worker, 3, 1, LEASE).await.unwrap();
                if claimed.is_empty() {
                    tokio::task::yield_now().await;
                }
                for claimed in claimed {
                    let pipeline = claimed.run.pipeline.clone();
                    assert!(
                        at_work.lock().unwrap().insert(pipeline.clone()),
                        "two of {pipeline}"
                    );
                    assert!(queue.progress(&claimed.run, &worker).await.unwrap());
                    assert!(at_work.lock().unwrap().remove(&pipeline));
                    let run = over(&claimed, RunState::Succeeded);
                    assert!(queue.finish(&run, None).await.unwrap().is_some());
                    mine.push(run.run);
                    done.fetch_add(1, Ordering::SeqCst);
                }
            }
            mine
        })
    });
    let mut claimed: Vec<String> = Vec::new();
    for worker in join_all(workers).await {
        claimed.extend(worker.unwrap().into_iter().map(|run| run.0));
    }
    claimed.sort_unstable();
    let mut asked: Vec<String> = ids.into_iter().map(|run| run.0).collect();
    asked.sort_unstable();
    assert_eq!(claimed, asked);
    assert_eq!(queue.next_due().await.unwrap(), None);
    let counts = queue.counts().await.unwrap();
    assert_eq!(counts.len(), 50);
    assert!(counts.values().all(|count| *count == 10), "{counts:?}");
}

async fn hosts_have_limits(place: Place) {
    let queue = Queue::open(place).await.unwrap();
    let hosts = [Some("a"), Some("a"), Some("a"), Some("a"), Some("b"), None];
    let requests: Vec<Request> = hosts
        .iter()
        .enumerate()
        .map(|(n, host)| Request {
            host: host.map(str::to_owned),
            ..request(&format!("p{n}"), n as i64)
        })
        .collect();
    queue.enqueue(&requests).await.unwrap();
    let names = |claimed: &[Claimed]| -> Vec<String> {
        claimed
            .iter()
            .map(|claimed| claimed.run.pipeline.to_string())
            .collect()
    };
    // Two of `a` are passed over for those after them.
    let claimed = queue.claim("w", 4, 2, LEASE).await.unwrap();
    assert_eq!(names(&claimed), ["p0", "p1", "p4", "p5"]);
    let first = claimed.first().unwrap();
    assert_eq!(first.host.as_deref(), Some("a"));
    assert!(queue.claim("w", 4, 2, LEASE).await.unwrap().is_empty());
    let run = over(first, RunState::Succeeded);
    assert!(queue.finish(&run, None).await.unwrap().is_some());
    let claimed = queue.claim("w", 4, 2, LEASE).await.unwrap();
    assert_eq!(names(&claimed), ["p2"]);
    assert!(queue.claim("w", 0, 2, LEASE).await.unwrap().is_empty());
}

async fn priority_then_time_and_nobody_starves(place: Place) {
    let queue = Queue::open(place).await.unwrap();
    let mut requests: Vec<Request> = (0..1_000).map(|n| request("mail", 1_000 - n)).collect();
    requests.push(request("notes", 5_000));
    requests.push(Request {
        priority: 3,
        ..request("urgent", 6_000)
    });
    let later = now() + HOUR;
    requests.push(Request {
        priority: 9,
        ..request("later", later)
    });
    queue.enqueue(&requests).await.unwrap();
    let claimed = queue.claim("w", 9, 9, LEASE).await.unwrap();
    let names: Vec<&str> = claimed
        .iter()
        .map(|claimed| claimed.run.pipeline.as_str())
        .collect();
    assert_eq!(names, ["urgent", "mail", "notes"]);
    assert!(claimed.iter().all(|one| one.run.state == RunState::Running));
    let mail = claimed.get(1).unwrap();
    let oldest = requests.get(999).unwrap();
    assert_eq!(mail.run.run, oldest.run.run, "the one that waits longest");
    // What waits for its pipeline is not due; what is put off is due then.
    assert!(queue.claim("w", 9, 9, LEASE).await.unwrap().is_empty());
    assert_eq!(queue.next_due().await.unwrap(), Some(later));
    let run = over(mail, RunState::Succeeded);
    assert!(queue.finish(&run, None).await.unwrap().is_some());
    assert_eq!(queue.next_due().await.unwrap(), Some(2));
    let next = one(&queue, "w", LEASE).await;
    assert_eq!(next.run.run, requests.get(998).unwrap().run.run);
    let active = queue.active(&source("mail")).await.unwrap();
    assert_eq!(active.len(), 999);
    assert_eq!(active.first().unwrap().started_at, 3);
    assert_eq!(active.last().unwrap().run, next.run.run, "it began just now");
}

async fn a_cancelled_run_is_never_both(place: Place) {
    let queue = Queue::open(&place).await.unwrap();
    let runs = Runs::open(&place).await.unwrap();
    for n in 0..30 {
        let ids = queue.enqueue(&[request("mail", n)]).await.unwrap();
        let id = ids.into_iter().next().unwrap();
        let claim = tokio::spawn({
            let queue = queue.clone();
            async move { queue.claim("w", 1, 1, LEASE).await.unwrap() }
        });
        let cancel = tokio::spawn({
            let (queue, id) = (queue.clone(), id.clone());
            async move { queue.cancel(&id, "replaced").await.unwrap() }
        });
        let (claimed, cancelled) = (claim.await.unwrap(), cancel.await.unwrap());
        match cancelled {
            Cancelled::Queued(_) => assert!(claimed.is_empty(), "{claimed:?}"),
            Cancelled::Asked(_) => {
                let claimed = claimed.first().unwrap();
                assert_eq!(queue.renew("w", LEASE).await.unwrap(), std::slice::from_ref(&id));
                let mut run = over(claimed, RunState::Cancelled);
                run.error = Some("stopped".to_owned());
                assert!(queue.finish(&run, None).await.unwrap().is_some());
            }
            other => panic!("{other:?}"),
        }
        let run = get(&runs, &id).await;
        assert_eq!(run.state, RunState::Cancelled);
        assert_eq!(
            run.error.as_deref(),
            Some("replaced"),
            "who cancelled it said why"
        );
        assert!(run.ended_at.is_some_and(|ended| ended >= run.started_at));
        let again = queue.cancel(&id, "once more").await.unwrap();
        let over = Cancelled::Over {
            state: RunState::Cancelled,
            last: id,
        };
        assert_eq!(again, over);
    }
    let unknown = queue.cancel(&RunId("none".to_owned()), "").await.unwrap();
    assert_eq!(unknown, Cancelled::Unknown);
    assert!(queue.renew("w", LEASE).await.unwrap().is_empty());
}

async fn what_was_cancelled_is_not_tried_again(place: Place) {
    let queue = Queue::open(&place).await.unwrap();
    queue.enqueue(&[request("mail", 1)]).await.unwrap();
    let claimed = one(&queue, "w", LEASE).await;
    queue.cancel(&claimed.run.run, "enough").await.unwrap();
    // It failed before it heard of it.
    let mut run = over(&claimed, RunState::Failed);
    run.error = Some("no route".to_owned());
    let retry = claimed.retry(0, "it failed");
    let told = queue.finish(&run, Some(&retry)).await.unwrap();
    assert!(queue.active(&source("mail")).await.unwrap().is_empty());
    let runs = Runs::open(&place).await.unwrap();
    let kept = get(&runs, &run.run).await;
    assert_eq!(told, Some(kept.clone()));
    assert_eq!(
        (kept.state, kept.error.as_deref()),
        (RunState::Cancelled, Some("enough; it failed: no route"))
    );
    // What went well all the same has done so.
    queue.enqueue(&[request("notes", 1)]).await.unwrap();
    let claimed = one(&queue, "w", LEASE).await;
    queue.cancel(&claimed.run.run, "enough").await.unwrap();
    let well = over(&claimed, RunState::Succeeded);
    queue.finish(&well, None).await.unwrap();
    assert_eq!(get(&runs, &well.run).await, well);
    // One that is put off far and cancelled did not begin in the future.
    let later = request("mail", now() + HOUR);
    queue.enqueue(std::slice::from_ref(&later)).await.unwrap();
    queue.cancel(&later.run.run, "enough").await.unwrap();
    let run = get(&runs, &later.run.run).await;
    assert_eq!(Some(run.started_at), run.ended_at);
}

async fn who_cancels_what_has_failed_cancels_its_try(place: Place) {
    let queue = Queue::open(&place).await.unwrap();
    let runs = Runs::open(&place).await.unwrap();
    queue.enqueue(&[request("mail", 1)]).await.unwrap();
    let first = one(&queue, "w", LEASE).await;
    let fail = async |claimed: &Claimed, begin: Instant| {
        let retry = claimed.retry(begin, "no route");
        let failed = over(claimed, RunState::Failed);
        assert!(queue.finish(&failed, Some(&retry)).await.unwrap().is_some());
        retry.run.run
    };
    let id = &first.run.run;
    let second = fail(&first, 0).await;
    let claimed = one(&queue, "w", LEASE).await;
    assert_eq!(claimed.run.run, second);
    // It is tried again just now.
    let asked = queue.cancel(id, "enough").await.unwrap();
    assert_eq!(asked, Cancelled::Asked(second.clone()));
    let ended = over(&claimed, RunState::Cancelled);
    assert!(queue.finish(&ended, None).await.unwrap().is_some());
    let again = queue.cancel(id, "enough").await.unwrap();
    let failed = |last: &RunId| Cancelled::Over {
        state: RunState::Failed,
        last: last.clone(),
    };
    assert_eq!(again, failed(&second));
    // It failed twice, and is put off.
    queue.enqueue(&[request("notes", 1)]).await.unwrap();
    let first = one(&queue, "w", LEASE).await;
    fail(&first, 0).await;
    let third = fail(&one(&queue, "w", LEASE).await, now() + HOUR).await;
    let cancelled = queue.cancel(&first.run.run, "enough").await.unwrap();
    assert_eq!(cancelled, Cancelled::Queued(third.clone()));
    assert!(queue.active(&source("notes")).await.unwrap().is_empty());
    let third = get(&runs, &third).await;
    assert_eq!(
        (third.state, third.error.as_deref()),
        (RunState::Cancelled, Some("enough"))
    );
    assert_eq!(get(&runs, &first.run.run).await.state, RunState::Failed);
    // What a person asked for once more is another run, with an id of its own.
    let more = queue.requeue(&first.run.run, Trigger::Person).await.unwrap();
    let again = queue.cancel(&first.run.run, "enough").await.unwrap();
    assert_eq!(again, failed(&third.run));
    let active = queue.active(&source("notes")).await.unwrap();
    assert_eq!(active.first().map(|run| run.run.clone()), more);
}

async fn a_good_end_takes_the_place_of_tries_that_wait(place: Place) {
    let queue = Queue::open(&place).await.unwrap();
    let runs = Runs::open(&place).await.unwrap();
    for end in [
        RunState::Succeeded,
        RunState::PartlySucceeded,
        RunState::Failed,
        RunState::Cancelled,
    ] {
        let mut tries = Vec::new();
        for pipeline in ["mail", "notes"] {
            queue.enqueue(&[request(pipeline, 1)]).await.unwrap();
            let claimed = one(&queue, "w", LEASE).await;
            let retry = claimed.retry(now() + HOUR, "no route");
            let failed = over(&claimed, RunState::Failed);
            assert!(queue.finish(&failed, Some(&retry)).await.unwrap().is_some());
            tries.push(retry.run);
        }
        // What a person asks for, with or without a queue, is no other try.
        let asked = request("mail", now() + HOUR);
        queue.enqueue(std::slice::from_ref(&asked)).await.unwrap();
        let run = Run {
            state: end,
            ..Run::new(source("mail"), Trigger::Person, now())
        };
        assert_eq!(queue.begin(&run, "me", LEASE).await.unwrap(), Begun::Yes);
        assert!(queue.finish(&run, None).await.unwrap().is_some());
        let is_good = matches!(end, RunState::Succeeded | RunState::PartlySucceeded);
        let [mail, notes] = [&tries[0], &tries[1]];
        let waited = get(&runs, &mail.run).await;
        if is_good {
            assert_eq!(waited.state, RunState::Skipped, "{end:?}");
            let reason = waited.reason.unwrap();
            assert!(
                reason.contains("succeeded") && reason.contains(&run.run.0),
                "{reason}"
            );
            let newest = runs.newest(Some(&source("mail")), None, 9).await.unwrap();
            let over = newest.iter().find(|run| run.state.is_over()).unwrap();
            assert_eq!(over.run, run.run, "the newest is the one that went well");
        } else {
            assert_eq!(waited, *mail, "{end:?}");
        }
        assert_eq!(get(&runs, &notes.run).await, *notes, "it is of another pipeline");
        assert_eq!(get(&runs, &asked.run.run).await.state, RunState::Queued);
        for run in [&mail.run, &notes.run, &asked.run.run] {
            queue.cancel(run, "the next round").await.unwrap();
        }
    }
}

async fn who_asks_has_one_run_with_all_who_ask(place: Place) {
    let queue = Queue::open(&place).await.unwrap();
    let other = Queue::open(&place).await.unwrap();
    // Another try after an hour is not what they want.
    let later = request("mail", now() + HOUR);
    queue.enqueue(std::slice::from_ref(&later)).await.unwrap();
    let ask = |n: usize, since: Option<Instant>| {
        let queue = if n.is_multiple_of(2) { &queue } else { &other };
        let queue = queue.clone();
        tokio::spawn(async move {
            let request = request("mail", now());
            match queue.ask(&request, since).await.unwrap() {
                Asked::New => (request.run.run, true),
                Asked::Known(run) => (run.run, false),
            }
        })
    };
    let all = async |since| -> (HashSet<RunId>, usize) {
        let asked = join_all((0..8).map(|n| ask(n, since))).await;
        let asked: Vec<_> = asked.into_iter().map(Result::unwrap).collect();
        let new = asked.iter().filter(|(_, is_new)| *is_new).count();
        (asked.into_iter().map(|(run, _)| run).collect(), new)
    };
    let before = now();
    let (ids, new) = all(None).await;
    assert_eq!((ids.len(), new), (1, 1));
    // One at work may have passed what is new; but not what was there when it began.
    let claimed = one(&queue, "w", LEASE).await;
    assert!(ids.contains(&claimed.run.run));
    assert_eq!(all(Some(before)).await, (ids.clone(), 0));
    let (behind, new) = all(Some(claimed.run.started_at)).await;
    assert_eq!((behind.len(), new), (1, 1));
    assert!(behind.is_disjoint(&ids));
    assert_eq!(all(None).await, (behind.clone(), 0));
    // So has one that is over, unless it was cancelled.
    let failed = over(&claimed, RunState::Failed);
    queue.finish(&failed, None).await.unwrap();
    let claimed = one(&queue, "w", LEASE).await;
    let cancelled = over(&claimed, RunState::Cancelled);
    queue.finish(&cancelled, None).await.unwrap();
    assert_eq!(all(Some(before)).await, (ids, 0));
    assert_eq!(queue.active(&source("mail")).await.unwrap(), [later.run]);
    // A name is of one run, whatever became of it.
    let named = Request {
        once: Some("after:1".to_owned()),
        ..request("notes", now())
    };
    assert_eq!(queue.ask(&named, None).await.unwrap(), Asked::New);
    let claimed = one(&queue, "w", LEASE).await;
    let again = Request {
        run: request("notes", now()).run,
        ..named
    };
    let known = queue.ask(&again, None).await.unwrap();
    assert_eq!(known, Asked::Known(Box::new(claimed.run)));
}

async fn what_waits_follows_the_configuration(place: Place) {
    let queue = Queue::open(place).await.unwrap();
    let asked = |pipeline: &str, trigger| {
        let mut request = request(pipeline, 1);
        request.run.trigger = trigger;
        request.priority = 5;
        request.host = Some("old".to_owned());
        request
    };
    let requests = [
        asked("mail", Trigger::Schedule),
        asked("notes", Trigger::Person),
        asked("photos", Trigger::Schedule),
    ];
    queue.enqueue(&requests).await.unwrap();
    let new = [
        (source("mail"), 9, Some("new".to_owned())),
        (source("notes"), 9, None),
    ];
    queue.configure(&new).await.unwrap();
    let mut claimed = queue.claim("w", 9, 9, LEASE).await.unwrap();
    claimed.sort_by(|one, other| one.run.pipeline.cmp(&other.run.pipeline));
    let told: Vec<_> = claimed
        .iter()
        .map(|one| (one.run.pipeline.as_str(), one.priority, one.host.as_deref()))
        .collect();
    // A person said how urgent it is.
    let expected = [
        ("mail", 9, Some("new")),
        ("notes", 5, None),
        ("photos", 5, Some("old")),
    ];
    assert_eq!(told, expected);
}

async fn a_name_is_queued_once(place: Place) {
    let queue = Queue::open(&place).await.unwrap();
    let other = Queue::open(&place).await.unwrap();
    let asked = (0..8).map(|n: usize| {
        let queue = if n.is_multiple_of(2) {
            queue.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move {
            let mut requests: Vec<Request> = (0..20)
                .map(|name: usize| Request {
                    once: Some(format!("mail@{name}")),
                    ..request("mail", name as i64)
                })
                .collect();
            // Each in an order of its own.
            requests.rotate_left(n * 2);
            let ids = queue.enqueue(&requests).await.unwrap();
            let mut named: Vec<(String, String)> = requests
                .into_iter()
                .zip(ids)
                .map(|(request, id)| (request.once.unwrap(), id.0))
                .collect();
            named.sort_unstable();
            named
        })
    });
    let mut all: Vec<_> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
    all.dedup();
    assert_eq!(all.len(), 1, "all are told the same ids");
    assert_eq!(queue.active(&source("mail")).await.unwrap().len(), 20);
    // The same run twice is one run, too.
    let same = request("notes", 1);
    let twice = queue.enqueue(&[same.clone(), same.clone()]).await.unwrap();
    assert_eq!(twice, [same.run.run.clone(), same.run.run]);
    assert_eq!(queue.active(&source("notes")).await.unwrap().len(), 1);
    assert!(queue.enqueue(&[]).await.unwrap().is_empty());
}

async fn what_is_left_alone_is_taken_over(place: Place) {
    let queue = Queue::open(&place).await.unwrap();
    let runs = Runs::open(&place).await.unwrap();
    let asked = Request {
        priority: 4,
        host: Some("h".to_owned()),
        ..request("mail", 1)
    };
    queue.enqueue(&[asked]).await.unwrap();
    let silent = one(&queue, "silent", NONE).await;
    queue.enqueue(&[request("notes", 2)]).await.unwrap();
    let living = one(&queue, "living", LEASE).await;
    let taken = queue.take_over(5, false).await.unwrap();
    let ids: Vec<&RunId> = taken.iter().map(|run| &run.run).collect();
    assert_eq!(ids, [&silent.run.run]);
    let run = get(&runs, &silent.run.run).await;
    assert_eq!(taken.first(), Some(&run));
    assert_eq!(run.state, RunState::Failed);
    assert!(run.ended_at.is_some());
    assert!(
        run.error
            .as_deref()
            .unwrap()
            .starts_with("its worker ended without a word"),
        "{run:?}"
    );
    // It is alive after all: it hears that the run is not its own any more, and changes nothing.
    assert_eq!(
        queue.renew("silent", LEASE).await.unwrap(),
        std::slice::from_ref(&silent.run.run)
    );
    let mut late = over(&silent, RunState::Succeeded);
    late.counts.items_seen = 7;
    assert!(!queue.progress(&late, "silent").await.unwrap());
    let retry = silent.retry(0, "it failed");
    assert!(queue.finish(&late, Some(&retry)).await.unwrap().is_none());
    assert_eq!(get(&runs, &silent.run.run).await, run);
    // One other attempt is queued, as the first was asked for, and no second.
    assert!(queue.take_over(5, false).await.unwrap().is_empty());
    let active = queue.active(&source("mail")).await.unwrap();
    assert_eq!(active.len(), 1);
    let next = one(&queue, "w", NONE).await;
    assert_eq!(next.run.retry_of.as_ref(), Some(&silent.run.run));
    assert_eq!((next.run.attempt, next.run.trigger), (2, Trigger::Retry));
    assert_eq!((next.priority, next.host.as_deref()), (4, Some("h")));
    // A lease that was renewed holds.
    assert!(queue.renew("w", LEASE).await.unwrap().is_empty());
    assert!(queue.take_over(5, false).await.unwrap().is_empty());
    // Who knows that nobody is at work need not wait for leases.
    let taken = queue.take_over(1, true).await.unwrap();
    assert_eq!(taken.len(), 2);
    assert!(taken.iter().any(|run| run.run == living.run.run));
    assert!(queue.next_due().await.unwrap().is_none(), "one attempt was all");
    // What was cancelled and left alone is cancelled.
    queue.enqueue(&[request("notes", 3)]).await.unwrap();
    let cancelled = one(&queue, "silent", NONE).await;
    queue.cancel(&cancelled.run.run, "enough").await.unwrap();
    let taken = queue.take_over(5, false).await.unwrap();
    let taken = taken.first().unwrap();
    assert_eq!(
        (taken.state, taken.error.as_deref()),
        (RunState::Cancelled, Some("enough"))
    );
    assert!(queue.next_due().await.unwrap().is_none());
}

async fn what_kills_its_workers_is_given_up(place: Place) {
    let queue = Queue::open(place).await.unwrap();
    queue.enqueue(&[request("poison", 1)]).await.unwrap();
    let mut starts = 0;
    let last = loop {
        let claimed = one(&queue, &format!("w{starts}"), NONE).await;
        starts += 1;
        assert_eq!(claimed.run.attempt, starts);
        let taken = queue.take_over(5, false).await.unwrap();
        assert_eq!(taken.len(), 1);
        if queue.active(&source("poison")).await.unwrap().is_empty() {
            break taken.into_iter().next().unwrap();
        }
        assert!(starts < 5, "it is never given up");
    };
    assert_eq!(starts, 5);
    assert_eq!(last.state, RunState::Failed);
    let error = last.error.unwrap();
    assert!(error.starts_with("given up after 5 attempts"), "{error}");
}

async fn a_run_has_one_next_attempt(place: Place) {
    let queue = Queue::open(place).await.unwrap();
    let asked = Request {
        run: Run {
            due_at: Some(77),
            ..request("mail", 1).run
        },
        ..request("mail", 1)
    };
    queue.enqueue(&[asked]).await.unwrap();
    let claimed = one(&queue, "w", LEASE).await;
    let run = over(&claimed, RunState::Failed);
    let begin = now() + HOUR;
    let retry = claimed.retry(begin, "no route; tried again in an hour");
    assert!(queue.finish(&run, Some(&retry)).await.unwrap().is_some());
    // Whoever says it again is not heard.
    let other = claimed.retry(0, "said twice");
    assert!(queue.finish(&run, Some(&other)).await.unwrap().is_none());
    assert_eq!(
        queue.enqueue(&[other]).await.unwrap(),
        std::slice::from_ref(&retry.run.run)
    );
    let active = queue.active(&source("mail")).await.unwrap();
    assert_eq!(active, [retry.run]);
    let next = active.first().unwrap();
    assert_eq!((next.attempt, next.due_at, next.started_at), (2, Some(77), begin));
    assert_eq!(queue.next_due().await.unwrap(), Some(begin));
}

async fn what_failed_is_asked_for_again(place: Place) {
    let queue = Queue::open(&place).await.unwrap();
    let runs = Runs::open(&place).await.unwrap();
    let asked = Request {
        host: Some("h".to_owned()),
        ..request("mail", 1)
    };
    queue.enqueue(&[asked]).await.unwrap();
    let claimed = one(&queue, "w", LEASE).await;
    let id = claimed.run.run.clone();
    let again = async || queue.requeue(&id, Trigger::Person).await.unwrap();
    assert_eq!(again().await, None, "it is at work");
    let run = over(&claimed, RunState::Failed);
    let retry = claimed.retry(now() + HOUR, "no route");
    queue.finish(&run, Some(&retry)).await.unwrap();
    // It is tried again by itself: that is what a person gets.
    assert_eq!(again().await, Some(retry.run.run.clone()));
    queue.cancel(&retry.run.run, "not then").await.unwrap();
    let (one_id, other) = tokio::join!(again(), again());
    assert_eq!(one_id, other);
    let new = get(&runs, &one_id.unwrap()).await;
    assert_eq!((new.attempt, new.trigger), (1, Trigger::Person));
    assert_eq!(new.retry_of.as_ref(), Some(&id));
    let claimed = one(&queue, "w", LEASE).await;
    assert_eq!((&claimed.run.run, claimed.host.as_deref()), (&new.run, Some("h")));
    queue
        .finish(&over(&claimed, RunState::Succeeded), None)
        .await
        .unwrap();
    let third = again().await.unwrap();
    assert_ne!(third, new.run, "it may be asked for as often as one likes");
    assert_eq!(
        queue.requeue(&new.run, Trigger::Person).await.unwrap(),
        None,
        "it went well"
    );
    let unknown = RunId("none".to_owned());
    assert_eq!(queue.requeue(&unknown, Trigger::Person).await.unwrap(), None);
}

async fn a_decision_is_kept_whole_or_not_at_all(place: Place) {
    let queue = Queue::open(&place).await.unwrap();
    let runs = Runs::open(&place).await.unwrap();
    let old = request("mail", 1);
    queue.enqueue(std::slice::from_ref(&old)).await.unwrap();
    let at = |until, next_due| Decided { until, next_due };
    let key = |when: &str| (source("mail"), when.to_owned());
    let decide = async |until: i64, request: &Request, skipped: &Run, cancel: &RunId| {
        let decided = [
            (source("mail"), "@daily".to_owned(), at(until, Some(until + 9))),
            (source("mail"), "every 10m".to_owned(), at(until + 1, None)),
        ];
        queue
            .decide(
                &decided,
                std::slice::from_ref(request),
                std::slice::from_ref(skipped),
                &[(cancel.clone(), "replaced by a newer run".to_owned())],
            )
            .await
    };
    let new = Request {
        once: Some("mail|@daily|5".to_owned()),
        ..request("mail", 5)
    };
    let mut skipped = Run::new(source("notes"), Trigger::Schedule, 6);
    skipped.reason = Some("the one before is at work still".to_owned());
    let ids = decide(10, &new, &skipped, &old.run.run).await.unwrap();
    assert_eq!(ids, std::slice::from_ref(&new.run.run));
    assert_eq!(get(&runs, &old.run.run).await.state, RunState::Cancelled);
    let told = get(&runs, &skipped.run).await;
    assert_eq!((told.state, &told.reason), (RunState::Skipped, &skipped.reason));
    assert!(told.ended_at.is_some());
    let schedules = queue.schedules().await.unwrap();
    assert_eq!(schedules.get(&key("@daily")), Some(&at(10, Some(19))));
    assert_eq!(schedules.get(&key("every 10m")), Some(&at(11, None)));
    // Decided once more it is the same run, and time goes on.
    let again = Request {
        once: new.once.clone(),
        ..request("mail", 5)
    };
    let later = Run::new(source("notes"), Trigger::Schedule, 7);
    assert_eq!(decide(20, &again, &later, &old.run.run).await.unwrap(), ids);
    assert_eq!(
        queue.schedules().await.unwrap().get(&key("@daily")),
        Some(&at(20, Some(29)))
    );
    // Where the last step fails, none of the others was.
    sqlx::query("ALTER TABLE schedules RENAME TO elsewhere")
        .execute(queue.database.pool())
        .await
        .unwrap();
    let (lost, unsaid) = (
        request("mail", 8),
        Run::new(source("notes"), Trigger::Schedule, 9),
    );
    assert!(decide(30, &lost, &unsaid, &new.run.run).await.is_err());
    for run in [&lost.run.run, &unsaid.run] {
        assert_eq!(runs.get(&run.0).await.unwrap(), None);
    }
    assert_eq!(get(&runs, &new.run.run).await.state, RunState::Queued);
    queue.record_skipped(std::slice::from_ref(&unsaid)).await.unwrap();
    assert_eq!(get(&runs, &unsaid.run).await.state, RunState::Skipped);
}

async fn what_is_not_committed_never_was(place: Place) {
    let queue = Queue::open(&place).await.unwrap();
    let (kept, lost) = (request("mail", 1), request("notes", 2));
    queue.enqueue(std::slice::from_ref(&kept)).await.unwrap();
    let mut transaction = queue.database.begin_alone().await.unwrap();
    put(&mut transaction, &lost, 9).await.unwrap();
    // As when its process is killed: nobody commits, nobody says anything.
    drop(transaction);
    drop(queue);
    let queue = Queue::open(&place).await.unwrap();
    assert!(queue.active(&source("notes")).await.unwrap().is_empty());
    let claimed = queue.claim("w", 9, 9, LEASE).await.unwrap();
    let ids: Vec<&RunId> = claimed.iter().map(|claimed| &claimed.run.run).collect();
    assert_eq!(ids, [&kept.run.run]);
}

async fn what_is_old_is_forgotten(place: Place) {
    let queue = Queue::open(&place).await.unwrap();
    let runs = Runs::open(&place).await.unwrap();
    let log = RunLog::open(&place).await.unwrap();
    let mut ids = Vec::new();
    for n in 1..=5 {
        for pipeline in ["mail", "notes"] {
            let mut run = Run::new(source(pipeline), Trigger::Schedule, n * 10);
            run.state = RunState::Succeeded;
            run.ended_at = Some(n * 10 + 1);
            runs.record(&run).await.unwrap();
            let line = (run.run.clone(), n, Level::Info, "said".to_owned());
            log.append(&[line]).await.unwrap();
            ids.push(run.run);
        }
    }
    // What waits since long is not old.
    let waits = request("mail", 1);
    queue.enqueue(std::slice::from_ref(&waits)).await.unwrap();
    assert_eq!(queue.forget(42, 2).await.unwrap(), 6);
    assert_eq!(queue.forget(42, 2).await.unwrap(), 0);
    for (n, id) in ids.iter().enumerate() {
        let lines = log.of(id, 0, 9).await.unwrap().len();
        let is_kept = n >= 6;
        assert_eq!(runs.get(&id.0).await.unwrap().is_some(), is_kept, "run {n}");
        assert_eq!(lines, usize::from(is_kept), "lines of run {n}");
    }
    assert!(runs.get(&waits.run.run.0).await.unwrap().is_some());
    // The newest is not old either, whatever is kept of each.
    assert_eq!(queue.forget(45, 0).await.unwrap(), 2);
    assert_eq!(runs.newest(None, None, 9).await.unwrap().len(), 3);
}

async fn a_run_that_is_begun_keeps_others_out(place: Place) {
    let queue = Queue::open(&place).await.unwrap();
    let runs = Runs::open(&place).await.unwrap();
    queue.enqueue(&[request("mail", 1)]).await.unwrap();
    let run = Run::new(source("mail"), Trigger::Person, now());
    let begun = queue.begin(&run, "me", LEASE).await.unwrap();
    assert_eq!(begun, Begun::Yes);
    assert_eq!(get(&runs, &run.run).await.state, RunState::Running);
    assert!(queue.claim("w", 9, 9, LEASE).await.unwrap().is_empty());
    let other = Run::new(source("mail"), Trigger::Person, now());
    let Begun::Busy(busy) = queue.begin(&other, "you", LEASE).await.unwrap() else {
        panic!("two at once")
    };
    assert_eq!(busy.run, run.run);
    assert!(queue.renew("me", LEASE).await.unwrap().is_empty());
    let mut run = Run {
        state: RunState::PartlySucceeded,
        ..run
    };
    run.counts.items_seen = 3;
    run.stages.commit_ms = 5;
    run.cursor_after = Some(schemas::Cursor(serde_json::json!(["\0", 1])));
    assert!(queue.progress(&run, "me").await.unwrap());
    assert!(!queue.progress(&run, "you").await.unwrap(), "it is not theirs");
    assert_eq!(get(&runs, &run.run).await.state, RunState::Running);
    assert!(queue.finish(&run, None).await.unwrap().is_some());
    run.ended_at = get(&runs, &run.run).await.ended_at;
    assert!(run.ended_at.is_some());
    assert_eq!(get(&runs, &run.run).await, run);
    // One that waited is next, and of many who begin at once one does.
    let waited = one(&queue, "w", LEASE).await;
    queue
        .finish(&over(&waited, RunState::Succeeded), None)
        .await
        .unwrap();
    let begins = (0..8).map(|n| {
        let queue = queue.clone();
        tokio::spawn(async move {
            let run = Run::new(source("mail"), Trigger::Person, now());
            queue.begin(&run, &format!("w{n}"), LEASE).await.unwrap()
        })
    });
    let begun = join_all(begins).await.into_iter().map(Result::unwrap);
    assert_eq!(begun.filter(|begun| *begun == Begun::Yes).count(), 1);
}

async fn a_clock_that_goes_back_strands_nothing(place: Place) {
    let queue = Queue::open(&place).await.unwrap();
    let runs = Runs::open(&place).await.unwrap();
    let mut far = request("mail", now());
    far.run.started_at = i64::MAX;
    queue.enqueue(std::slice::from_ref(&far)).await.unwrap();
    let id = far.run.run;
    let week = micros(LONGEST_WAIT);
    let waits = get(&runs, &id).await.started_at;
    assert!(
        waits <= now() + week && waits > now() + week - HOUR,
        "a week at most: {waits}"
    );
    assert!(queue.claim("w", 1, 1, LEASE).await.unwrap().is_empty());
    assert_eq!(queue.next_due().await.unwrap(), Some(waits));
    // As if it had been queued by a clock that was a month ahead.
    let ahead = now() + 30 * 24 * HOUR;
    execute(
        &queue,
        "UPDATE runs SET started_at = $2 WHERE run = $1",
        &id,
        ahead,
    )
    .await;
    assert!(queue.next_due().await.unwrap().is_some_and(|due| due <= now()));
    let claimed = one(&queue, "w", LEASE).await;
    assert_eq!(claimed.run.run, id);
    assert!(queue.take_over(1, false).await.unwrap().is_empty());
    execute(
        &queue,
        "UPDATE runs SET lease_until = $2, started_at = $2 WHERE run = $1",
        &id,
        ahead,
    )
    .await;
    let taken = queue.take_over(1, false).await.unwrap();
    let taken = taken.first().unwrap();
    assert_eq!((&taken.run, taken.ended_at), (&id, Some(ahead)));
}
