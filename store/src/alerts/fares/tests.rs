//! How pipelines fare, by a history on SQLite and on PostgreSQL.

use super::*;
use crate::database::Place;
use crate::runs::Runs;
use schemas::RunId;
use schemas::datasets::runs::{Run, RunState, Trigger};

/// A second, in microseconds.
const SECOND: i64 = 1_000_000;

fn expected(pipeline: &str, schedule: &[&str], fresh_within: i64) -> Expected {
    Expected {
        pipeline: pipeline.to_owned(),
        schedule: schedule.iter().map(|when| (*when).to_owned()).collect(),
        fresh_within: Some(SignedDuration::from_secs(fresh_within)),
    }
}

/// A run that began at that second, and ended one later if it is over.
async fn run(runs: &Runs, id: &str, (pipeline, state, at): (&str, RunState, i64), attempt: u32) {
    let trigger = match attempt {
        1 => Trigger::Schedule,
        _ => Trigger::Retry,
    };
    let run = Run {
        run: RunId(id.to_owned()),
        state,
        attempt,
        started_at: at * SECOND,
        ended_at: state.is_over().then_some((at + 1) * SECOND),
        ..Run::new(SourceName::new(pipeline).unwrap(), trigger, at * SECOND)
    };
    runs.record(&run).await.unwrap();
}

/// What is wrong, and since which second, but for what a test with no service at work finds in any case.
fn keys(wrong: &[Wrong]) -> Vec<(&str, i64)> {
    assert_eq!(wrong[0].alert.key, "stalled:schedules");
    wrong[1..]
        .iter()
        .map(|wrong| (wrong.alert.key.as_str(), wrong.since.unwrap() / SECOND))
        .collect()
}

async fn story(place: Place) {
    let log = AlertLog::open(&place).await.unwrap();
    let queue = Queue::open(&place).await.unwrap();
    let runs = Runs::open(&place).await.unwrap();
    let pipelines = [
        expected("mail", &["@daily"], 100),
        expected("notes", &[], 100),
        expected("never", &["@daily"], 100),
    ];
    let at = |second: i64| second * SECOND;

    run(&runs, "m1", ("mail", RunState::Succeeded, 10), 1).await;
    run(&runs, "n1", ("notes", RunState::PartlySucceeded, 50), 1).await;
    let fares = log.fares(&queue).await.unwrap();
    assert!(keys(&fares.wrong(&pipelines, at(111))).is_empty());
    // One that nobody watches and that never collected is not late: it is told that nobody begins it.
    assert_eq!(keys(&fares.wrong(&pipelines, at(112))), [("late:mail", 111)]);
    assert_eq!(
        keys(&fares.wrong(&pipelines, at(999))),
        [("late:mail", 111), ("late:notes", 151)]
    );
    log.watched_since(&["never"], at(200)).await.unwrap();
    let fares = log.fares(&queue).await.unwrap();
    assert_eq!(
        keys(&fares.wrong(&pipelines, at(301))),
        [("late:mail", 111), ("late:notes", 151), ("late:never", 300)]
    );

    // A failure that is tried again says nothing yet; the third does, and so does one that nothing follows.
    run(&runs, "m2", ("mail", RunState::Failed, 60), 1).await;
    run(&runs, "m3", ("mail", RunState::Queued, 70), 2).await;
    assert!(log.fares(&queue).await.unwrap().failing.is_empty());
    run(&runs, "n2", ("notes", RunState::Failed, 60), 1).await;
    run(&runs, "n3", ("notes", RunState::Cancelled, 65), 1).await;
    let fares = log.fares(&queue).await.unwrap();
    assert_eq!(keys(&fares.wrong(&pipelines, at(99))), [("failing:notes", 60)]);
    run(&runs, "m3", ("mail", RunState::Failed, 70), 2).await;
    run(&runs, "m4", ("mail", RunState::Failed, 80), 3).await;
    run(&runs, "m5", ("mail", RunState::Queued, 90), 4).await;
    let fares = log.fares(&queue).await.unwrap();
    assert_eq!(
        keys(&fares.wrong(&pipelines, at(99))),
        [("failing:mail", 60), ("failing:notes", 60)]
    );
    let failed = &fares.failing["mail"];
    assert_eq!((failed.run.as_str(), failed.attempt), ("m4", 3));

    // What is open keeps its words and since when, until a run ends well, whoever began it.
    let alert = failing("notes", &fares.failing["notes"]);
    let alert = Alert {
        what: "as the service says".to_owned(),
        ..alert
    };
    let looked = super::super::Looked::Keys(&[]);
    log.settle(looked, std::slice::from_ref(&alert), at(95))
        .await
        .unwrap();
    let fares = log.fares(&queue).await.unwrap();
    let wrong = fares.wrong(&pipelines, at(99));
    assert_eq!(keys(&wrong), [("failing:mail", 60), ("failing:notes", 95)]);
    assert_eq!(wrong[2].alert, alert);
    run(&runs, "n4", ("notes", RunState::Failed, 96), 1).await;
    run(&runs, "n5", ("notes", RunState::Queued, 97), 2).await;
    let fares = log.fares(&queue).await.unwrap();
    assert_eq!(
        fares.failing["notes"].run, "n4",
        "it is open, whatever is to come"
    );
    run(&runs, "n6", ("notes", RunState::Succeeded, 98), 1).await;
    let fares = log.fares(&queue).await.unwrap();
    assert_eq!(keys(&fares.wrong(&pipelines, at(99))), [("failing:mail", 60)]);
}

#[tokio::test]
async fn what_fails_and_what_is_late_is_told_by_the_history() {
    let folder = tempfile::tempdir().unwrap();
    story(Place::from(folder.path())).await;
}

#[tokio::test]
async fn what_fails_and_what_is_late_is_told_by_the_history_on_postgres() {
    let folder = tempfile::tempdir().unwrap();
    story(Place {
        data: folder.path().to_owned(),
        postgres: Some(fixtures::postgres::fresh().into()),
    })
    .await;
}

/// What is wrong with a pipeline whose runs follow one another: by its key, and in words.
async fn rejects(place: Place) {
    let log = AlertLog::open(&place).await.unwrap();
    let queue = Queue::open(&place).await.unwrap();
    let runs = Runs::open(&place).await.unwrap();
    let mail = [expected("mail", &[], 1_000)];
    let (fails, rejects) = ("failing:mail", "rejected:mail");
    for (second, state, items_rejected, told) in [
        (1, RunState::PartlySucceeded, 2, Some(rejects)),
        (3, RunState::Cancelled, 0, Some(rejects)),
        (5, RunState::Queued, 0, Some(rejects)),
        (7, RunState::Failed, 1, Some(fails)),
        (9, RunState::PartlySucceeded, 1, Some(rejects)),
        (11, RunState::Succeeded, 0, None),
    ] {
        let mut run = Run::new(
            SourceName::new("mail").unwrap(),
            Trigger::Schedule,
            second * SECOND,
        );
        run.state = state;
        run.ended_at = state.is_over().then_some((second + 1) * SECOND);
        run.counts.items_seen = 5;
        run.counts.items_rejected = items_rejected;
        runs.record(&run).await.unwrap();
        let wrong = log
            .fares(&queue)
            .await
            .unwrap()
            .wrong(&mail, (second + 1) * SECOND);
        let keys: Vec<&str> = wrong.iter().map(|one| one.alert.key.as_str()).collect();
        assert_eq!(keys, Vec::from_iter(told), "{second}");
        if second == 1 {
            assert!(
                wrong[0].alert.what.ends_with("rejected 2 of 5 items"),
                "{wrong:?}"
            );
            assert_eq!(wrong[0].since, Some(2 * SECOND));
        }
    }
}

#[tokio::test]
async fn rejected_items_are_told_until_a_run_rejects_none() {
    let folder = tempfile::tempdir().unwrap();
    rejects(Place::from(folder.path())).await;
}

#[tokio::test]
async fn rejected_items_are_told_until_a_run_rejects_none_on_postgres() {
    let folder = tempfile::tempdir().unwrap();
    rejects(Place {
        data: folder.path().to_owned(),
        postgres: Some(fixtures::postgres::fresh().into()),
    })
    .await;
}

#[test]
fn times_that_nobody_has_seen_are_told_once_they_are_past_for_a_while() {
    let own = [
        expected("mail", &["@daily", "on change"], 9),
        expected("by hand", &[], 9),
    ];
    let mut fares = Fares::default();
    assert_eq!(fares.unattended(&own[1..], 0), None);
    assert_eq!(fares.unattended(&own, 0).unwrap().since, None);
    let none_ever = fares.wrong(&own, 0);
    assert_eq!((none_ever.len(), none_ever[0].since), (1, None));
    let key = |pipeline: &str, when: &str| (SourceName::new(pipeline).unwrap(), when.to_owned());
    let due = |second: i64| Decided {
        until: 0,
        next_due: Some(second * SECOND),
    };
    let none = Decided {
        until: 0,
        next_due: None,
    };
    fares.schedules.insert(key("mail", "on change"), none);
    assert_eq!(fares.unattended(&own, i64::MAX), None);
    fares.schedules.insert(key("mail", "@daily"), due(1_000));
    // One that was taken out of the configuration, and one of another pipeline.
    fares.schedules.insert(key("mail", "@hourly"), due(1));
    fares.schedules.insert(key("notes", "@daily"), due(2));
    assert_eq!(own[0].next_due(&fares.schedules), Some(1_000 * SECOND));
    assert_eq!(own[1].next_due(&fares.schedules), None);
    assert_eq!(fares.unattended(&own, 1_120 * SECOND), None);
    let dead = fares.unattended(&own, 1_121 * SECOND).unwrap();
    assert_eq!(dead.since, Some(1_000 * SECOND));
    assert_eq!(dead.alert().key, "stalled:schedules");
    // It is told with what is wrong, before what is so for longer.
    fares.collected.insert("mail".to_owned(), SECOND);
    let wrong = fares.wrong(&own, 1_121 * SECOND);
    let told = wrong.iter().map(|one| (one.alert.key.as_str(), one.since));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("stalled:schedules", Some(1_000 * SECOND)),
            ("late:mail", Some(10 * SECOND))
        ]
    );
}
