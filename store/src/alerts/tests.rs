//! What is wrong is told once, to each channel; on SQLite and on PostgreSQL.

use super::*;
use crate::events::{Event, Events};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tempfile::TempDir;

/// A second, in microseconds.
const SECOND: i64 = 1_000_000;

/// When the stories begin: a moment with a date.
const BEGIN: Instant = 1_800_000_000 * SECOND;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn sqlite() -> (TempDir, Place) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::from(folder.path());
    (folder, place)
}

fn postgres() -> (TempDir, Place) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place {
        data: folder.path().to_owned(),
        postgres: Some(fixtures::postgres::fresh().into()),
    };
    (folder, place)
}

fn alert(kind: AlertKind, subject: &str) -> Alert {
    Alert {
        key: kind.key(subject),
        kind,
        subject: subject.to_owned(),
        what: format!("{subject} is wrong"),
        next_step: format!("mend {subject}"),
    }
}

/// A look for what fails.
const FAILING: Looked<'_> = Looked::Kinds {
    kinds: &[AlertKind::Failing],
    undecided: &[],
};

fn keys(alerts: &[Alert]) -> Vec<&str> {
    alerts.iter().map(|alert| alert.key.as_str()).collect()
}

fn told(news: &[News]) -> Vec<(&str, bool, bool)> {
    news.iter()
        .map(|one| (one.alert.key.as_str(), one.is_over, one.is_repeated))
        .collect()
}

async fn opens_and_recovers(place: Place) {
    let log = AlertLog::open(place.clone()).await.unwrap();
    let other = AlertLog::open(place.clone()).await.unwrap();
    let mail = alert(AlertKind::Failing, "mail");
    let late = alert(AlertKind::Late, "notes");
    let found = [mail.clone(), mail.clone(), alert(AlertKind::Failing, "photos")];
    let settled = log.settle(FAILING, &found, BEGIN).await.unwrap();
    assert_eq!(keys(&settled.opened), ["failing:mail", "failing:photos"]);
    assert!(settled.over.is_empty());
    // Whoever looks next finds the same, in other words, and something of another kind that was not looked for.
    let reworded = Alert {
        what: "mail is wrong in another way".to_owned(),
        ..mail.clone()
    };
    let settled = other
        .settle(
            FAILING,
            &[reworded.clone(), found[2].clone(), late.clone()],
            BEGIN + SECOND,
        )
        .await
        .unwrap();
    assert_eq!(keys(&settled.opened), ["late:notes"]);
    let open = log.open_now().await.unwrap();
    let since: Vec<(&Alert, Instant)> = open.iter().map(|open| (&open.alert, open.since)).collect();
    assert_eq!(
        since,
        [(&reworded, BEGIN), (&found[2], BEGIN), (&late, BEGIN + SECOND)]
    );
    // What could not be told stays, and so does what was not looked for.
    let undecided = ["failing:photos".to_owned()];
    let looked = Looked::Kinds {
        kinds: &[AlertKind::Failing],
        undecided: &undecided,
    };
    let settled = log.settle(looked, &[], BEGIN + 2 * SECOND).await.unwrap();
    assert_eq!(keys(&settled.over), ["failing:mail"]);
    let settled = log
        .settle(Looked::Keys(&undecided), &[], BEGIN + 3 * SECOND)
        .await;
    assert_eq!(keys(&settled.unwrap().over), ["failing:photos"]);
    let open = other.open_now().await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].alert, late);
    // Each was an event once, and no event holds what was quoted.
    let events = Events::open(place).await.unwrap().after(0, 100).await.unwrap();
    let told: Vec<(&str, &str, &str)> = events.iter().map(event).collect();
    assert_eq!(
        told,
        [
            ("mail", "failing:mail", "open"),
            ("photos", "failing:photos", "open"),
            ("notes", "late:notes", "open"),
            ("mail", "failing:mail", "recovered"),
            ("photos", "failing:photos", "recovered"),
        ]
    );
    assert!(
        events
            .iter()
            .all(|event| !event.data.to_string().contains("wrong"))
    );
    assert_eq!(events[0].data["since"], "2027-01-15T08:00:00Z");
}

fn event(event: &Event) -> (&str, &str, &str) {
    assert_eq!(event.kind, EVENT);
    (
        event.subject.as_str(),
        event.data["key"].as_str().unwrap(),
        event.data["state"].as_str().unwrap(),
    )
}

#[tokio::test]
async fn what_is_wrong_opens_once_and_is_over_once() {
    let (_folder, place) = sqlite();
    opens_and_recovers(place).await;
}

#[tokio::test]
async fn what_is_wrong_opens_once_and_is_over_once_on_postgres() {
    let (_folder, place) = postgres();
    opens_and_recovers(place).await;
}

async fn each_channel_is_told(place: Place) {
    let log = AlertLog::open(place.clone()).await.unwrap();
    let other = AlertLog::open(place).await.unwrap();
    let mail = [alert(AlertKind::Failing, "mail")];
    log.settle(FAILING, &mail, BEGIN).await.unwrap();
    let hour = 3_600 * SECOND;
    let claim = 120 * SECOND;
    let ask = |log: AlertLog, channel: &'static str, at: Instant| async move {
        log.untold(channel, DAY, at).await.unwrap()
    };
    // One of the two tells it, to each channel; whoever asks meanwhile has nothing to tell.
    let hook = ask(log.clone(), "webhook", BEGIN).await;
    assert_eq!(told(&hook), [("failing:mail", false, false)]);
    assert_eq!(ask(other.clone(), "webhook", BEGIN + claim - 1).await, []);
    let smtp = ask(other.clone(), "smtp", BEGIN).await;
    assert_eq!(told(&smtp), [("failing:mail", false, false)]);
    // The mail was not sent: it is to be told again. The other was, and is told again only after a day.
    log.told("webhook", &hook, BEGIN).await.unwrap();
    let smtp = ask(log.clone(), "smtp", BEGIN + claim).await;
    assert_eq!(told(&smtp), [("failing:mail", false, false)]);
    other.told("smtp", &smtp, BEGIN + claim).await.unwrap();
    assert_eq!(ask(log.clone(), "webhook", BEGIN + 24 * hour - 1).await, []);
    let hook = ask(log.clone(), "webhook", BEGIN + 24 * hour).await;
    assert_eq!(told(&hook), [("failing:mail", false, true)]);
    log.told("webhook", &hook, BEGIN + 24 * hour).await.unwrap();
    assert_eq!(ask(log.clone(), "webhook", BEGIN + 24 * hour + 1).await, []);
    // It is over, for whoever was told.
    log.settle(FAILING, &[], BEGIN + 25 * hour).await.unwrap();
    let hook = ask(log.clone(), "webhook", BEGIN + 25 * hour).await;
    assert_eq!(told(&hook), [("failing:mail", true, false)]);
    assert_eq!(ask(log.clone(), "ntfy", BEGIN + 25 * hour).await, []);
    log.told("webhook", &hook, BEGIN + 25 * hour).await.unwrap();
    assert_eq!(ask(log.clone(), "webhook", BEGIN + 99 * hour).await, []);
    // It is back before the mail about its end was sent: for that reader it never was over.
    log.settle(FAILING, &mail, BEGIN + 26 * hour).await.unwrap();
    let smtp = ask(log.clone(), "smtp", BEGIN + 26 * hour).await;
    assert_eq!(told(&smtp), [("failing:mail", false, true)]);
    log.told("smtp", &smtp, BEGIN + 26 * hour).await.unwrap();
    let hook = ask(log.clone(), "webhook", BEGIN + 26 * hour).await;
    assert_eq!(told(&hook), [("failing:mail", false, false)]);
}

#[tokio::test]
async fn each_channel_is_told_what_is_new_what_lasts_and_what_is_over() {
    let (_folder, place) = sqlite();
    each_channel_is_told(place).await;
}

#[tokio::test]
async fn each_channel_is_told_what_is_new_what_lasts_and_what_is_over_on_postgres() {
    let (_folder, place) = postgres();
    each_channel_is_told(place).await;
}

async fn many_ask_at_once(place: Place) {
    let log = AlertLog::open(place.clone()).await.unwrap();
    let found: Vec<Alert> = (0..20)
        .map(|n| alert(AlertKind::Failing, &format!("p{n}")))
        .collect();
    let mut looks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (log, found) = (AlertLog::open(place.clone()).await.unwrap(), found.clone());
        looks.spawn(async move {
            let settled = log.settle(FAILING, &found, BEGIN).await.unwrap();
            let news = log.untold("smtp", DAY, BEGIN).await.unwrap();
            (settled.opened.len(), news.len())
        });
    }
    let counted = looks.join_all().await;
    let opened: usize = counted.iter().map(|(opened, _)| opened).sum();
    let told: usize = counted.iter().map(|(_, told)| told).sum();
    assert_eq!((opened, told), (20, 20), "{counted:?}");
    assert_eq!(log.open_now().await.unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_notice_it_at_once_one_tells_it() {
    let (_folder, place) = sqlite();
    many_ask_at_once(place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_notice_it_at_once_one_tells_it_on_postgres() {
    let (_folder, place) = postgres();
    many_ask_at_once(place).await;
}

#[tokio::test]
async fn a_look_that_changes_nothing_writes_nothing() {
    let (_folder, place) = sqlite();
    let log = AlertLog::open(place.clone()).await.unwrap();
    let watching = AlertLog::open(place).await.unwrap();
    let mail = [alert(AlertKind::Failing, "mail")];
    log.settle(FAILING, &mail, BEGIN).await.unwrap();
    let news = log.untold("smtp", DAY, BEGIN).await.unwrap();
    log.told("smtp", &news, BEGIN).await.unwrap();
    let columns = BTreeMap::from([("emails".to_owned(), names(&["date"]))]);
    log.columns_changed(&columns, BEGIN).await.unwrap();
    log.watched_since(&["mail"], BEGIN).await.unwrap();
    let mut watch = watching.database.watch().await.unwrap();
    assert!(watch.has_changed().await.unwrap());
    log.settle(FAILING, &mail, BEGIN + SECOND).await.unwrap();
    assert_eq!(log.untold("smtp", DAY, BEGIN + SECOND).await.unwrap(), []);
    log.columns_changed(&columns, BEGIN + SECOND).await.unwrap();
    log.watched_since(&["mail"], BEGIN + SECOND).await.unwrap();
    assert!(!watch.has_changed().await.unwrap());
}

#[tokio::test]
async fn what_is_long_over_is_forgotten() {
    let (_folder, place) = sqlite();
    let log = AlertLog::open(place).await.unwrap();
    log.settle(FAILING, &[alert(AlertKind::Failing, "mail")], BEGIN)
        .await
        .unwrap();
    let news = log.untold("smtp", DAY, BEGIN).await.unwrap();
    log.told("smtp", &news, BEGIN).await.unwrap();
    log.settle(FAILING, &[], BEGIN + SECOND).await.unwrap();
    let much_later = BEGIN + 31 * 24 * 3_600 * SECOND;
    log.settle(FAILING, &[alert(AlertKind::Failing, "notes")], much_later)
        .await
        .unwrap();
    let news = log.untold("smtp", DAY, much_later).await.unwrap();
    assert_eq!(told(&news), [("failing:notes", false, false)]);
    let kept: i64 =
        sqlx::query_scalar("SELECT (SELECT COUNT(*) FROM alerts) + (SELECT COUNT(*) FROM alerts_told)")
            .fetch_one(log.database.pool())
            .await
            .unwrap();
    assert_eq!(kept, 2);
}

#[tokio::test]
async fn a_clock_that_is_set_back_silences_nothing() {
    let (_folder, place) = sqlite();
    let log = AlertLog::open(place).await.unwrap();
    log.settle(FAILING, &[alert(AlertKind::Failing, "mail")], BEGIN)
        .await
        .unwrap();
    assert_eq!(log.untold("smtp", DAY, BEGIN).await.unwrap().len(), 1);
    let before = BEGIN - 7_200 * SECOND;
    assert_eq!(log.untold("smtp", DAY, before).await.unwrap().len(), 1);
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

async fn columns_come_and_go(place: Place) {
    let log = AlertLog::open(place).await.unwrap();
    let day = 24 * 3_600 * SECOND;
    let look = |names: BTreeSet<String>, at: Instant| {
        let log = log.clone();
        async move {
            let there = BTreeMap::from([("emails".to_owned(), names)]);
            let changed = log.columns_changed(&there, at).await.unwrap();
            changed
                .into_iter()
                .map(|one| (one.dataset, one.added.join(","), one.removed.join(",")))
                .collect::<Vec<_>>()
        }
    };
    let change =
        |added: &str, removed: &str| vec![("emails".to_owned(), added.to_owned(), removed.to_owned())];
    assert_eq!(look(names(&["date", "to"]), BEGIN).await, []);
    assert_eq!(look(names(&["cc", "to"]), BEGIN + 1).await, change("cc", "date"));
    assert_eq!(
        look(names(&["cc", "to"]), BEGIN + day).await,
        change("cc", "date")
    );
    // A second change within the day is told together with the first.
    assert_eq!(look(names(&["to"]), BEGIN + day).await, change("", "date"));
    assert_eq!(look(names(&["to"]), BEGIN + 2 * day).await, []);
    assert_eq!(look(names(&["to"]), BEGIN + 3 * day).await, []);
    // What is as it was is no change, and what is gone altogether is one.
    assert_eq!(look(names(&["to", "x"]), BEGIN + 3 * day).await, change("x", ""));
    assert_eq!(look(names(&["to"]), BEGIN + 3 * day + 1).await, []);
    let gone = log
        .columns_changed(&BTreeMap::new(), BEGIN + 4 * day)
        .await
        .unwrap();
    assert_eq!(gone[0].removed, ["to"]);
}

#[tokio::test]
async fn columns_that_come_and_go_are_told_for_a_day() {
    let (_folder, place) = sqlite();
    columns_come_and_go(place).await;
}

#[tokio::test]
async fn columns_that_come_and_go_are_told_for_a_day_on_postgres() {
    let (_folder, place) = postgres();
    columns_come_and_go(place).await;
}

#[tokio::test]
async fn that_columns_changed_is_never_told_to_be_over() {
    let (_folder, place) = sqlite();
    let log = AlertLog::open(place).await.unwrap();
    let looked = Looked::Kinds {
        kinds: &[AlertKind::SchemaChanged],
        undecided: &[],
    };
    let found = [alert(AlertKind::SchemaChanged, "emails")];
    log.settle(looked, &found, BEGIN).await.unwrap();
    let news = log.untold("smtp", DAY, BEGIN).await.unwrap();
    log.told("smtp", &news, BEGIN).await.unwrap();
    log.settle(looked, &[], BEGIN + SECOND).await.unwrap();
    assert_eq!(log.untold("smtp", DAY, BEGIN + SECOND).await.unwrap(), []);
    // The next change is news.
    log.settle(looked, &found, BEGIN + 2 * SECOND).await.unwrap();
    assert_eq!(
        log.untold("smtp", DAY, BEGIN + 2 * SECOND).await.unwrap().len(),
        1
    );
}

/// Writes a run: id, pipeline, state, why, attempt, when it began and ended, bytes.
async fn run(log: &AlertLog, run: &str, what: (&str, &str, &str, i64), when: (Instant, Option<Instant>)) {
    let (pipeline, state, trigger, attempt) = what;
    sqlx::query(
        "INSERT INTO runs (run, pipeline, state, trigger, attempt, started_at, ended_at, items_seen, items_stored,
             items_unchanged, items_rejected, items_vanished, bytes_stored, snapshots, lease_until, error)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, 0, 0, 100, 0, 77, 'no such host')",
    )
    .bind(run)
    .bind(pipeline)
    .bind(state)
    .bind(trigger)
    .bind(attempt)
    .bind(when.0)
    .bind(when.1)
    .execute(log.database.pool())
    .await
    .unwrap();
}

async fn history_says(place: Place) {
    let log = AlertLog::open(place).await.unwrap();
    run(
        &log,
        "1",
        ("mail", "partly_succeeded", "schedule", 1),
        (10, Some(15)),
    )
    .await;
    run(&log, "2", ("mail", "failed", "schedule", 1), (20, Some(25))).await;
    run(&log, "3", ("mail", "skipped", "schedule", 1), (30, Some(30))).await;
    run(&log, "4", ("notes", "running", "person", 1), (40, None)).await;
    run(&log, "5", ("notes", "queued", "schedule", 1), (45, None)).await;
    run(&log, "6", ("photos", "queued", "schedule", 1), (50, None)).await;
    run(&log, "7", ("photos", "queued", "schedule", 1), (60, None)).await;
    let standing = |pipeline: &str, collected_at, failed_at, tried_at| Standing {
        pipeline: pipeline.to_owned(),
        collected_at,
        failed_at,
        tried_at,
    };
    let mut standings = log.standings(0).await.unwrap();
    standings.sort_by(|a, b| a.pipeline.cmp(&b.pipeline));
    assert_eq!(
        standings,
        [
            standing("mail", Some(15), Some(25), Some(20)),
            standing("notes", None, None, Some(40)),
        ]
    );
    let since = log.standings(20).await.unwrap();
    let mail = since.iter().find(|standing| standing.pipeline == "mail");
    assert_eq!(mail.unwrap().collected_at, None);
    let failure = log.failure("mail").await.unwrap().unwrap();
    assert_eq!((failure.run.as_str(), failure.is_retried), ("2", false));
    assert_eq!(failure.error.as_deref(), Some("no such host"));
    // A run that its schedule asks for is no other try.
    run(&log, "8", ("mail", "queued", "schedule", 1), (70, None)).await;
    assert!(!log.failure("mail").await.unwrap().unwrap().is_retried);
    run(&log, "9", ("mail", "queued", "retry", 2), (70, None)).await;
    assert!(log.failure("mail").await.unwrap().unwrap().is_retried);
    assert_eq!(log.failure("notes").await.unwrap(), None);
    let at_work = AtWork {
        started_at: 40,
        lease_until: Some(77),
    };
    assert_eq!(log.at_work().await.unwrap(), [at_work]);
    // The run of `notes` waits for the one that is at work, not for a worker.
    let waiting = log.waiting(69).await.unwrap().unwrap();
    assert_eq!(
        (waiting.pipeline.as_str(), waiting.run.as_str(), waiting.since),
        ("photos", "6", 50)
    );
    assert_eq!(log.waiting(49).await.unwrap(), None);
    assert_eq!(log.stored_since("mail", 10).await.unwrap(), 500);
    assert_eq!(log.stored_since("mail", 11).await.unwrap(), 400);
    assert_eq!(log.stored_since("nobody", 0).await.unwrap(), 0);
    let newest = log.newest("mail").await.unwrap().unwrap();
    assert_eq!((newest.run.as_str(), newest.ended_at), ("2", Some(25)));
    assert_eq!(log.newest("photos").await.unwrap(), None);
    let since = log.watched_since(&["mail", "photos"], 5).await.unwrap();
    assert_eq!(since["mail"], 5);
    let since = log.watched_since(&["mail", "notes"], 9).await.unwrap();
    assert_eq!((since["mail"], since["notes"]), (5, 9));
}

#[tokio::test]
async fn the_history_of_runs_says_how_pipelines_fare() {
    let (_folder, place) = sqlite();
    history_says(place).await;
}

#[tokio::test]
async fn the_history_of_runs_says_how_pipelines_fare_on_postgres() {
    let (_folder, place) = postgres();
    history_says(place).await;
}

#[test]
fn kinds_are_called_as_serde_calls_them() {
    for kind in AlertKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
}
