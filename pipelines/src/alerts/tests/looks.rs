//! What a look finds, and what the end of a run changes.

use super::*;
use crate::schedule::{CatchUp, Overlap};
use jiff::tz::TimeZone;
use schemas::datasets::emails::{DATASET, Email};
use schemas::datasets::runs::Trigger;
use schemas::{Rows, RunId};
use std::fs;
use std::path::PathBuf;
use store::lake::lost::MOST_LOST;
use store::{Commit, Items};

/// Minutes of silence after which what is late is told: longer than the grace after a start.
const AWHILE: i64 = 16;

fn name(name: &str) -> SourceName {
    SourceName::new(name).unwrap()
}

/// A pipeline that is to collect within so many minutes.
pub(super) fn watched(pipeline: &str, minutes: Option<i64>) -> Watched {
    Watched {
        pipeline: name(pipeline),
        datasets: &["emails", "locations"],
        fresh_within: minutes.map(SignedDuration::from_mins),
        has_schedule: true,
    }
}

/// A run of `mail` that began and ended at these moments.
fn run(state: RunState, started_at: Instant, ended_at: Option<Instant>) -> Run {
    let mut run = Run::new(name("mail"), Trigger::Schedule, started_at);
    run.state = state;
    run.ended_at = ended_at;
    if state == RunState::Failed {
        run.error = Some("no such\nhost \"x\"".to_owned());
    }
    run
}

impl Stage {
    fn looking(&self, watched: Vec<Watched>) -> Alerts {
        self.watching(watched, Vec::new(), Channels::default(), PATIENCE)
    }

    async fn record(&self, run: &Run) {
        self.store.runs().record(run).await.unwrap();
    }

    async fn open(&self) -> Vec<String> {
        let open = self.log.open_now().await.unwrap();
        open.into_iter().map(|open| open.alert.key).collect()
    }

    async fn what(&self, key: &str) -> (String, String) {
        let open = self.log.open_now().await.unwrap();
        let open = open.into_iter().find(|open| open.alert.key == key).unwrap();
        (open.alert.what, open.alert.next_step)
    }
}

/// Looks once a minute.
async fn look_on(alerts: &Alerts, from: Instant, minutes: i64) -> Instant {
    for minute in 1..=minutes {
        alerts.look_at(from + minute * MINUTE).await.unwrap();
    }
    from + minutes * MINUTE
}

#[tokio::test]
async fn a_pipeline_fails_once_no_try_is_to_come_and_is_well_once_it_collected() {
    let stage = Stage::new().await;
    let alerts = stage.looking(vec![watched("mail", None)]);
    alerts.look_at(BEGIN).await.unwrap();
    assert!(stage.open().await.is_empty());
    let failed = run(RunState::Failed, BEGIN, Some(BEGIN + SECOND));
    stage.record(&failed).await;
    let mut retry = run(RunState::Queued, BEGIN + 10 * MINUTE, None);
    retry.trigger = Trigger::Retry;
    retry.attempt = 2;
    retry.retry_of = Some(failed.run.clone());
    stage.record(&retry).await;
    // The other try waits: it cannot be told yet.
    alerts.look_at(BEGIN + MINUTE).await.unwrap();
    assert!(stage.open().await.is_empty());
    retry.state = RunState::Failed;
    retry.started_at = BEGIN + 2 * MINUTE;
    retry.ended_at = Some(BEGIN + 3 * MINUTE);
    retry.error = failed.error.clone();
    stage.record(&retry).await;
    alerts.look_at(BEGIN + 4 * MINUTE).await.unwrap();
    assert_eq!(stage.open().await, ["failing:mail"]);
    let id = &retry.run.0;
    let (what, next_step) = stage.what("failing:mail").await;
    assert_eq!(
        what,
        format!("its run {id} failed (try 2); its error, quoted: \"no such host 'x'\"")
    );
    assert_eq!(
        next_step,
        format!("look at `dkc runs show {id}`, mend what it says, then `dkc runs retry {id}`")
    );
    // What was skipped or cancelled says nothing of how it fares; the next that waits is no end of it, either.
    stage
        .record(&run(
            RunState::Skipped,
            BEGIN + 5 * MINUTE,
            Some(BEGIN + 5 * MINUTE),
        ))
        .await;
    stage
        .record(&run(
            RunState::Cancelled,
            BEGIN + 5 * MINUTE,
            Some(BEGIN + 6 * MINUTE),
        ))
        .await;
    alerts.look_at(BEGIN + 7 * MINUTE).await.unwrap();
    assert_eq!(stage.open().await, ["failing:mail"]);
    let good = run(
        RunState::PartlySucceeded,
        BEGIN + 8 * MINUTE,
        Some(BEGIN + 8 * MINUTE + 1),
    );
    stage.record(&good).await;
    alerts.look_at(BEGIN + 9 * MINUTE).await.unwrap();
    assert!(stage.open().await.is_empty());
    // One who looks for the first time sees the same.
    let other = stage.looking(vec![watched("mail", None)]);
    other.look_at(BEGIN + 9 * MINUTE).await.unwrap();
    assert!(stage.open().await.is_empty());
}

#[tokio::test]
async fn a_long_run_that_fails_is_seen_though_it_began_long_ago() {
    let stage = Stage::new().await;
    let alerts = stage.looking(vec![watched("mail", None)]);
    let mut long = run(RunState::Running, BEGIN, None);
    stage.record(&long).await;
    let end = look_on(&alerts, BEGIN, 60).await;
    long.state = RunState::Failed;
    long.ended_at = Some(end + SECOND);
    stage.record(&long).await;
    alerts.look_at(end + MINUTE).await.unwrap();
    assert_eq!(stage.open().await, ["failing:mail"]);
}

#[tokio::test]
async fn the_end_of_a_run_opens_and_closes_at_once() {
    let stage = Stage::new().await;
    let alerts = stage.looking(vec![watched("mail", Some(30))]);
    let mut failed = run(RunState::Failed, now(), Some(now()));
    // Other tries are to come, until the third.
    alerts.after_run(&failed, false).await;
    assert!(stage.open().await.is_empty());
    failed.attempt = 3;
    alerts.after_run(&failed, false).await;
    assert_eq!(stage.open().await, ["failing:mail"]);
    // What its user ended says nothing.
    alerts
        .after_run(&run(RunState::Cancelled, now(), Some(now())), true)
        .await;
    assert_eq!(stage.open().await, ["failing:mail"]);
    alerts
        .after_run(&run(RunState::Succeeded, now(), Some(now())), true)
        .await;
    assert!(stage.open().await.is_empty());
    failed.attempt = 1;
    alerts.after_run(&failed, true).await;
    assert_eq!(stage.open().await, ["failing:mail"]);
    alerts.drained().await;
}

#[tokio::test]
async fn a_pipeline_that_does_nothing_at_all_is_late() {
    let stage = Stage::new().await;
    let alerts = stage.looking(vec![watched("mail", Some(60)), watched("notes", None)]);
    let end = look_on(&alerts, BEGIN, 61).await;
    assert!(stage.open().await.is_empty());
    alerts.look_at(end + MINUTE).await.unwrap();
    assert_eq!(stage.open().await, ["late:mail"]);
    let (what, next_step) = stage.what("late:mail").await;
    assert_eq!(
        what,
        "it has never collected well, though it should every 1h; no run has begun since; so old is what it fills: emails, locations"
    );
    assert!(next_step.contains("`dkc run mail`"), "{next_step}");
    // Another process that begins to watch remembers since when that is.
    let other = stage.looking(vec![watched("mail", Some(60))]);
    look_on(&other, end + MINUTE, AWHILE).await;
    assert_eq!(stage.open().await, ["late:mail"]);
    stage
        .record(&run(
            RunState::Succeeded,
            end + 20 * MINUTE,
            Some(end + 21 * MINUTE),
        ))
        .await;
    let end = look_on(&alerts, end + 22 * MINUTE, 1).await;
    assert!(stage.open().await.is_empty());
    // It is late again an hour after that; runs that are tried in vain do not help.
    let mut end = look_on(&alerts, end, 50).await;
    stage.record(&run(RunState::Cancelled, end, Some(end))).await;
    end = look_on(&alerts, end, 11).await;
    assert_eq!(stage.open().await, ["late:mail"]);
    let (what, _) = stage.what("late:mail").await;
    assert!(
        what.contains("runs have begun since, and none ended well"),
        "{what}"
    );
    // One that fails is told of as that; that it is late was told, and stays so.
    stage.record(&run(RunState::Failed, end, Some(end))).await;
    alerts.look_at(end + MINUTE).await.unwrap();
    assert_eq!(stage.open().await, ["late:mail", "failing:mail"]);
}

#[tokio::test]
async fn after_a_sleep_there_is_time_to_make_up_for_it() {
    let stage = Stage::new().await;
    let alerts = stage.looking(vec![watched("mail", Some(60))]);
    let end = look_on(&alerts, BEGIN, 1).await;
    let woke = end + 3 * 24 * 60 * MINUTE;
    alerts.look_at(woke).await.unwrap();
    let end = look_on(&alerts, woke, 14).await;
    assert!(stage.open().await.is_empty());
    alerts.look_at(end + MINUTE).await.unwrap();
    assert_eq!(stage.open().await, ["late:mail"]);
}

#[tokio::test]
async fn what_nobody_takes_stands_still() {
    let stage = Stage::new().await;
    let alerts = stage.looking(Vec::new());
    let waits = run(RunState::Queued, BEGIN, None);
    stage.record(&waits).await;
    let end = look_on(&alerts, BEGIN, 10).await;
    assert!(stage.open().await.is_empty());
    let end = look_on(&alerts, end, 1).await;
    assert_eq!(stage.open().await, ["stalled:queue"]);
    let (what, _) = stage.what("stalled:queue").await;
    assert!(
        what.contains(&waits.run.0) && what.contains("2027-01-15T08:00:00Z"),
        "{what}"
    );
    // Somebody takes runs again.
    let mut other = run(RunState::Succeeded, end, Some(end));
    other.pipeline = name("notes");
    stage.record(&other).await;
    look_on(&alerts, end, 1).await;
    assert!(stage.open().await.is_empty());
}

#[tokio::test]
async fn what_is_beyond_its_budget_is_told_until_it_is_not() {
    let stage = Stage::new().await;
    let budget = Budget {
        pipeline: name("mail"),
        most_bytes_per_day: Some(5 << 20),
        most_minutes_per_run: Some(30),
    };
    let alerts = stage.watching(Vec::new(), vec![budget], Channels::default(), PATIENCE);
    for hours in [1, 2] {
        let started_at = BEGIN + hours * 60 * MINUTE;
        let mut run = run(RunState::Succeeded, started_at, Some(started_at + 29 * MINUTE));
        run.counts.bytes_stored = 3 << 20;
        stage.record(&run).await;
    }
    let at = |hours: i64| BEGIN + hours * 60 * MINUTE;
    alerts.look_at(at(3)).await.unwrap();
    assert_eq!(stage.open().await, ["budget:mail:bytes"]);
    assert!(stage.what("budget:mail:bytes").await.0.contains("5 MiB"));
    alerts.look_at(at(26)).await.unwrap();
    assert!(stage.open().await.is_empty());
    // A run is told of while it is at work.
    let long = run(RunState::Running, at(27), None);
    stage.record(&long).await;
    alerts.look_at(at(27) + 29 * MINUTE).await.unwrap();
    assert!(stage.open().await.is_empty());
    alerts.look_at(at(27) + 30 * MINUTE).await.unwrap();
    assert_eq!(stage.open().await, ["budget:mail:minutes"]);
    assert!(stage.what("budget:mail:minutes").await.0.contains(&long.run.0));
}

#[tokio::test]
async fn the_columns_of_a_new_lake_are_no_news() {
    let stage = Stage::new().await;
    let alerts = stage.looking(Vec::new());
    look_on(&alerts, BEGIN, 2).await;
    assert!(stage.open().await.is_empty());
    // Somebody remembers another column, and one less.
    let mut there = alerts.columns().await.unwrap();
    assert!(there.contains_key("emails"), "{there:?}");
    let columns = there.get_mut("emails").unwrap();
    columns.remove("subject");
    columns.insert("weather".to_owned());
    stage.log.columns_changed(&there, BEGIN).await.unwrap();
    // The change back is within a day of the change, so there was none.
    look_on(&alerts, BEGIN, 1).await;
    assert!(stage.open().await.is_empty());
    stage.log.columns_changed(&there, BEGIN).await.unwrap();
    let later = BEGIN + 25 * 60 * MINUTE;
    stage.log.columns_changed(&there, later).await.unwrap();
    alerts.look_at(later + MINUTE).await.unwrap();
    assert_eq!(stage.open().await, ["schema_changed:emails"]);
    let (what, _) = stage.what("schema_changed:emails").await;
    assert_eq!(what, "columns that came: subject; columns that went: weather");
}

#[tokio::test]
async fn a_lake_that_cannot_be_read_is_told_without_a_path() {
    let stage = Stage::new().await;
    let alerts = stage.looking(Vec::new());
    alerts.look_at(BEGIN).await.unwrap();
    stage.store.catalog().close().await;
    look_on(&alerts, BEGIN, 2).await;
    assert_eq!(stage.open().await, ["unreadable:lake"]);
    let (what, next_step) = stage.what("unreadable:lake").await;
    let path = stage.folder.path().display().to_string();
    assert!(!what.contains(&path) && !next_step.contains(&path));
}

impl Stage {
    /// Stores a mail in a file of its own; that file.
    async fn store_mail(&self, item: &str) -> PathBuf {
        let source = fixtures::provenance().source;
        let mut rows = Rows::of_lake(&DATASET, fixtures::provenance());
        let mail = Email {
            item: item.to_owned(),
            ..Email::default()
        };
        rows.push(&mail).unwrap();
        let change = Commit {
            run: RunId("run".to_owned()),
            source: source.clone(),
            upserts: vec![(&DATASET, rows.finish().unwrap())],
            differ: false,
            removals: Vec::new(),
            cursor: None,
            items: Items::default(),
            message: None,
        };
        let mut committer = self.store.committer(&source).await.unwrap();
        committer.commit(change).await.unwrap();
        let catalog = self.store.catalog();
        let head = catalog.head().await.unwrap();
        let mut files = catalog.files_at(&DATASET, head.id, None).await.unwrap();
        files.pop().unwrap().path
    }
}

#[tokio::test]
async fn a_data_file_that_is_gone_or_cut_short_is_told_until_it_is_back() {
    let stage = Stage::new().await;
    let file = stage.store_mail("a").await;
    let alerts = stage.looking(Vec::new());
    let end = look_on(&alerts, BEGIN, 1).await;
    assert!(stage.open().await.is_empty());
    // As long as nothing is stored, all are looked for each hour.
    let away = stage.folder.path().join("away");
    fs::rename(&file, &away).unwrap();
    let end = look_on(&alerts, end, 59).await;
    assert!(stage.open().await.is_empty());
    let end = look_on(&alerts, end, 1).await;
    assert_eq!(stage.open().await, ["unreadable:data files"]);
    let (what, next_step) = stage.what("unreadable:data files").await;
    let told = file.file_name().unwrap().to_str().unwrap();
    assert!(
        what.starts_with("the data file \"lake/files/main/emails/") && what.contains(told),
        "{what}"
    );
    let path = stage.folder.path().display().to_string();
    assert!(
        !what.contains(&path) && next_step.contains("`dkc verify`"),
        "{next_step}"
    );
    fs::rename(&away, &file).unwrap();
    let end = look_on(&alerts, end, 5).await;
    assert!(stage.open().await.is_empty());

    // What is new is looked for at once.
    let file = stage.store_mail("b").await;
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let end = look_on(&alerts, end, 1).await;
    assert_eq!(stage.open().await, ["unreadable:data files"]);
    // Who begins to look sees the same.
    let other = stage.looking(Vec::new());
    other.look_at(end).await.unwrap();
    assert_eq!(stage.open().await, ["unreadable:data files"]);
    fs::write(&file, &whole).unwrap();
    let end = look_on(&alerts, end, 5).await;
    assert!(stage.open().await.is_empty());

    // What a compaction takes away is not missed.
    stage.store.compact(Timestamp::now()).await.unwrap();
    assert!(!file.exists());
    look_on(&alerts, end, 61).await;
    assert!(stage.open().await.is_empty());
}

#[test]
fn how_many_files_are_lost_is_told() {
    let lost = |count: usize| {
        let files: Vec<PathBuf> = (0..count)
            .map(|number| PathBuf::from(format!("lake/files/main/raw/{number}")))
            .collect();
        wrong::files_lost(&files).map(|alert| alert.what)
    };
    assert_eq!(lost(0), None);
    for (count, told) in [
        (1, "the data file "),
        (2, "2 data files are"),
        (MOST_LOST, "1000 data files or more are"),
    ] {
        let what = lost(count).unwrap();
        assert!(
            what.starts_with(told) && what.contains("\"lake/files/main/raw/0\""),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_disk_is_full_below_a_bound_and_well_a_little_above_it() {
    let of = |disk: Disk, least: u64| {
        let mut found = Found::default();
        found.of_disk(disk, least);
        let keys: Vec<String> = found.alerts.into_iter().map(|alert| alert.key).collect();
        (keys.join(","), found.undecided.join(","))
    };
    let pair = |found: &str, undecided: &str| (found.to_owned(), undecided.to_owned());
    assert_eq!(of(Disk::Free(4), 5), pair("disk_full:disk", ""));
    assert_eq!(of(Disk::Free(5), 5), pair("", "disk_full:disk"));
    assert_eq!(of(Disk::Free(6), 5), pair("", ""));
    assert_eq!(of(Disk::Free(0), 0), pair("", ""));
    assert_eq!(
        of(Disk::Gone, 5),
        pair("unreadable:data directory", "disk_full:disk")
    );
    assert_eq!(
        of(Disk::Unknown, 5),
        pair("", "disk_full:disk,unreadable:data directory")
    );
    let folder = tempfile::tempdir().unwrap();
    let here = Disk::of(folder.path()).await;
    assert!(matches!(here, Disk::Free(0..=100)), "{here:?}");
    assert_eq!(Disk::of(&folder.path().join("none")).await, Disk::Gone);
}

#[test]
fn a_plan_promises_what_it_says_or_twice_the_time_between_its_times() {
    let within = |schedules: &[&str], says: Option<SignedDuration>| {
        let plan = Plan {
            pipeline: name("mail"),
            when: schedules.iter().map(|text| text.parse().unwrap()).collect(),
            zone: TimeZone::UTC,
            jitter: Duration::ZERO,
            catch_up: CatchUp::One,
            window: SignedDuration::from_hours(1),
            overlap: Overlap::Skip,
            timeout: None,
            retries: 4,
            priority: 0,
            fresh_within: says,
        };
        let now = Timestamp::from_microsecond(BEGIN).unwrap();
        Watched::of(&plan, &["emails"], now).fresh_within
    };
    let minutes = |minutes: i64| Some(SignedDuration::from_mins(minutes));
    assert_eq!(within(&["*/15 * * * *"], None), minutes(30));
    // On working days: over the weekend three days pass.
    assert_eq!(within(&["0 9 * * 1-5"], None), minutes(2 * 72 * 60));
    assert_eq!(within(&["@daily", "every 3h"], None), minutes(6 * 60));
    assert_eq!(within(&["every 10s"], None), minutes(5));
    assert_eq!(within(&["after photos"], None), None);
    assert_eq!(within(&[], None), None);
    assert_eq!(within(&["@daily"], minutes(7)), minutes(7));
}
