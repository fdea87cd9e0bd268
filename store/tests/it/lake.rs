//! Merging, committing, compacting, verifying.

use crate::{ask, ask_as_of, batch, commit, cursor, files, limits, merged, source, with_one_mail};
use schemas::datasets::photo_thumbnails::{self, PhotoThumbnail};
use schemas::{Provenance, Rows, RunId};
use std::time::Duration;
use store::lake::as_of::AsOf;
use store::query::Query;
use store::{Commit, Place, Store, StoreError};
use tempfile::TempDir;

/// A fresh place of its own, with its tables in Postgres.
fn postgres() -> (TempDir, Place) {
    let data = tempfile::tempdir().unwrap();
    let place = Place {
        postgres: Some(fixtures::postgres::fresh().into()),
        ..Place::from(data.path())
    };
    (data, place)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_holds_on_postgres() {
    goes_through_its_life(&postgres().1).await;
    is_the_same_after_a_restart(&postgres().1).await;
    ends_its_file(&postgres().1).await;
    is_compacted(&postgres().1).await;
    becomes_visible_together(&postgres().1).await;
    becomes_visible_before(&postgres().1).await;
    is_committed_by_the_newer_run(&postgres().1).await;
    has_a_past(&postgres().1).await;
    tells_its_changes(&postgres().1).await;
    got_a_column_later(&postgres().1).await;
    joins_its_past(&postgres().1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_files_are_not_swept_for_a_postgres_that_does_not_know_them() {
    let (data, place) = postgres();
    let store = with_one_mail(data.path()).await;
    store.close().await;
    let before = files(&data.path().join("lake/files"));
    for opened in [Store::open(&place).await, Store::open_writer(&place).await] {
        assert!(matches!(opened, Err(StoreError::NotMoved { .. })), "{opened:?}");
    }
    assert_eq!(files(&data.path().join("lake/files")), before);
}

async fn goes_through_its_life(place: &Place) {
    let store = Store::open_writer(place).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    let first = commit(
        &mut committer,
        &[("a", "one"), ("b", "two"), ("c", "three")],
        &[],
        1,
    )
    .await;
    assert_eq!(first.merged["emails"], merged(3, 0, 0, 0));
    let second = commit(
        &mut committer,
        &[("a", "one"), ("b", "zwei"), ("d", "four")],
        &["c", "never"],
        2,
    )
    .await;
    assert_eq!(second.merged["emails"], merged(1, 1, 1, 1));
    assert_eq!(
        ask(&store, "select _item, subject from emails order by 1").await,
        "a,one\nb,zwei\nd,four"
    );
    assert_eq!(store.cursor(&source()).await.unwrap(), Some(cursor(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_new_then_unchanged_then_changed_then_gone() {
    let data = tempfile::tempdir().unwrap();
    goes_through_its_life(&Place::from(data.path())).await;
}

async fn is_the_same_after_a_restart(place: &Place) {
    let rows = [("a", "one"), ("b", "two")];
    let store = Store::open_writer(place).await.unwrap();
    let first = commit(&mut store.committer(&source()).await.unwrap(), &rows, &[], 1).await;
    store.close().await;
    let store = Store::open_writer(place).await.unwrap();
    let again = commit(&mut store.committer(&source()).await.unwrap(), &rows, &[], 1).await;
    assert!(first.snapshot.is_some());
    assert_eq!(again.snapshot, None);
    assert_eq!(again.merged["emails"], merged(0, 0, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_makes_no_snapshot_even_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    is_the_same_after_a_restart(&Place::from(data.path())).await;
}

async fn ends_its_file(place: &Place) {
    let store = Store::open_writer(place).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    commit(&mut committer, &[("a", "1"), ("b", "2"), ("c", "3")], &[], 1).await;
    for (at, gone) in ["b", "a", "c"].into_iter().enumerate() {
        commit(&mut committer, &[], &[gone], at as u64 + 2).await;
        assert_eq!(
            ask(&store, "select count(*) from emails").await,
            (2 - at).to_string()
        );
    }
    assert!(store.verify().await.unwrap().problems.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_all_rows_of_a_file_one_by_one_ends_it() {
    let data = tempfile::tempdir().unwrap();
    ends_its_file(&Place::from(data.path())).await;
}

async fn is_compacted(place: &Place) {
    let store = Store::open_writer(place).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    for at in 0..10 {
        let item = format!("item-{at}");
        commit(&mut committer, &[(&item, "subject")], &[], at).await;
    }
    commit(&mut committer, &[], &["item-3"], 10).await;
    let before = ask(&store, "select _item from emails order by 1").await;
    let compacted = store.compact(jiff::Timestamp::now()).await.unwrap();
    assert_eq!((compacted.files_before, compacted.files_after), (19, 2));
    assert!(compacted.snapshots_expired >= 11, "{compacted:?}");
    assert_eq!(ask(&store, "select _item from emails order by 1").await, before);
    assert_eq!(store.cursor(&source()).await.unwrap(), Some(cursor(10)));
    assert_eq!(files(&place.data.join("lake/files/main/emails")).len(), 1);
    let verified = store.verify().await.unwrap();
    assert!(verified.problems.is_empty(), "{:?}", verified.problems);
    // The committer's memory of what exists survives compaction of the files it was read from.
    let after = commit(&mut committer, &[("item-4", "subject")], &[], 10).await;
    assert_eq!(after.snapshot, None);
    let again = store.compact(jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(
        (again.files_before, again.files_after, again.snapshots_expired),
        (2, 2, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn compacting_keeps_rows_and_cursors_and_removes_what_nobody_needs() {
    let data = tempfile::tempdir().unwrap();
    is_compacted(&Place::from(data.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_is_swept_and_what_others_left_is_not() {
    let data = tempfile::tempdir().unwrap();
    let store = with_one_mail(data.path()).await;
    let directory = data.path().join("lake/files/main/emails");
    std::fs::write(directory.join("dkc-1.tmp"), "half").unwrap();
    std::fs::write(directory.join("dkc-1-2.parquet"), "whole, not named").unwrap();
    std::fs::write(
        directory.join("ducklake-1.parquet"),
        "of DuckDB, perhaps not committed yet",
    )
    .unwrap();
    store.close().await;
    let store = Store::open_writer(data.path()).await.unwrap();
    assert_eq!(files(&directory).len(), 2);
    assert_eq!(ask(&store, "select subject from emails").await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_any_data_file_is_found_and_named() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open_writer(data.path()).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    commit(&mut committer, &[("a", "one"), ("b", "two")], &[], 1).await;
    commit(&mut committer, &[("c", "three")], &["a"], 2).await;
    let all = files(&data.path().join("lake/files"));
    assert_eq!(all.len(), 5, "two data files of each table and a delete file");
    for path in all {
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(197) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            let problems = store.verify().await.unwrap().problems;
            assert!(
                problems.iter().any(|p| p.place == path.display().to_string()),
                "byte {at} of {path:?}"
            );
        }
        std::fs::write(&path, &whole).unwrap();
    }
    assert!(store.verify().await.unwrap().problems.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_data_file_is_found_and_named() {
    let data = tempfile::tempdir().unwrap();
    let store = with_one_mail(data.path()).await;
    let path = files(&data.path().join("lake/files/main/raw")).remove(0);
    std::fs::remove_file(&path).unwrap();
    let problems = store.verify().await.unwrap().problems;
    assert_eq!(problems[0].place, path.display().to_string());
    assert_eq!(
        problems[1].place, "emails",
        "its rows have lost their originals: {problems:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_come_beside_each_other_and_only_the_first_sweeps() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open_writer(data.path()).await.unwrap();
    assert!(store.is_alone());
    let unnamed = data.path().join("lake/files/main/emails/dkc-1-2.parquet");
    std::fs::write(&unnamed, "of a commit that is yet to come").unwrap();
    let other = Store::open_writer(data.path()).await.unwrap();
    assert!(!other.is_alone() && unnamed.exists());
    assert!(Store::open(data.path()).await.is_ok(), "readers are welcome");
    drop(store);
    assert!(!Store::open_writer(data.path()).await.unwrap().is_alone());
    assert!(unnamed.exists());
    drop(other);
    assert!(Store::open_writer(data.path()).await.unwrap().is_alone());
    assert!(!unnamed.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_data_directory_alone_is_waited_for() {
    let data = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(data.path().join(".lock")).unwrap();
    lock.lock().unwrap();
    let mut opening = tokio::spawn({
        let place = Place::from(data.path());
        async move { Store::open_writer(place).await }
    });
    let waits = tokio::time::timeout(Duration::from_millis(100), &mut opening).await;
    assert!(waits.is_err() && !data.path().join("lake").exists());
    lock.unlock().unwrap();
    let store = opening.await.unwrap().unwrap();
    assert!(!store.is_alone());
    assert_eq!(store.data(), std::fs::canonicalize(data.path()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_moved_is_read_where_it_is() {
    let parent = tempfile::tempdir().unwrap();
    let (here, there) = (parent.path().join("here"), parent.path().join("there"));
    let store = with_one_mail(&here).await;
    store.close().await;
    std::fs::rename(&here, &there).unwrap();
    let store = Store::open_writer(&there).await.unwrap();
    assert_eq!(ask(&store, "select subject from emails").await, "one");
    assert!(!here.exists());
}

async fn becomes_visible_together(place: &Place) {
    let store = Store::open_writer(place).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    for (at, rows) in [(1, [("a", "one")]), (2, [("b", "two")])] {
        let staged = committer.stage(batch(&rows, &[], at)).await;
        assert!(staged.before.is_none() && staged.with.unwrap().is_none());
    }
    assert_eq!(ask(&store, "select count(*) from emails").await, "0");
    assert_eq!(store.cursor(&source()).await.unwrap(), None);
    let committed = committer.commit_staged().await.unwrap();
    assert_eq!(committed.merged["emails"], merged(2, 0, 0, 0));
    assert_eq!(ask(&store, "select count(*) from emails").await, "2");
    assert_eq!(store.cursor(&source()).await.unwrap(), Some(cursor(2)));
    let snapshots = store.catalog().snapshots().await.unwrap();
    assert_eq!(snapshots[0].2, "mail: 2 new, 0 gone");
    assert_eq!(Some(snapshots[0].0), committed.snapshot);
    assert!(committer.commit_staged().await.unwrap().snapshot.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_wait_become_visible_together() {
    let data = tempfile::tempdir().unwrap();
    becomes_visible_together(&Place::from(data.path())).await;
}

async fn becomes_visible_before(place: &Place) {
    let store = Store::open_writer(place).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    let first = batch(&[("a", "one"), ("b", "two")], &[], 1);
    committer.stage(first).await.with.unwrap();
    let changed = committer.stage(batch(&[("a", "eins")], &[], 2)).await;
    assert_eq!(changed.before.unwrap().merged["emails"], merged(2, 0, 0, 0));
    assert_eq!(
        ask(&store, "select subject from emails order by _item").await,
        "one\ntwo"
    );
    let gone = committer.stage(batch(&[], &["a"], 3)).await;
    assert_eq!(gone.before.unwrap().merged["emails"], merged(0, 1, 0, 0));
    let last = committer.commit_staged().await.unwrap();
    assert_eq!(last.merged["emails"], merged(0, 0, 0, 1));
    assert_eq!(ask(&store, "select _item from emails").await, "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_waits_becomes_visible_before_it_changes_or_goes() {
    let data = tempfile::tempdir().unwrap();
    becomes_visible_before(&Place::from(data.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_taken_over_stores_nothing_more() {
    let data = tempfile::tempdir().unwrap();
    is_committed_by_the_newer_run(&Place::from(data.path())).await;
}

async fn is_committed_by_the_newer_run(place: &Place) {
    let store = Store::open_writer(place).await.unwrap();
    let mut old = store.committer(&source()).await.unwrap();
    commit(&mut old, &[("a", "one")], &[], 1).await;
    let mut newer = store.committer(&source()).await.unwrap();
    commit(&mut newer, &[("b", "two")], &[], 2).await;
    let late = batch(&[("b", "two"), ("c", "three")], &[], 1);
    let refused = old.commit(late).await;
    assert!(
        matches!(refused, Err(StoreError::TakenOver { .. })),
        "{refused:?}"
    );
    assert_eq!(store.cursor(&source()).await.unwrap(), Some(cursor(2)));
    commit(&mut newer, &[("c", "three")], &[], 3).await;
    assert_eq!(ask(&store, "SELECT count(*) FROM emails").await, "3");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_and_was_never_committed_leaves_no_file() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open_writer(data.path()).await.unwrap();
    let there = || {
        let files = files(&data.path().join("lake/files"));
        files.iter().filter(|path| path.is_file()).count()
    };
    let mut committer = store.committer(&source()).await.unwrap();
    committer
        .stage(batch(&[("a", "one")], &[], 1))
        .await
        .with
        .unwrap();
    assert!(there() > 0);
    drop(committer);
    assert_eq!(there(), 0);
}

async fn has_a_past(place: &Place) {
    let store = Store::open_writer(place).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    let first = commit(&mut committer, &[("a", "one")], &[], 1)
        .await
        .snapshot
        .unwrap();
    let between = jiff::Timestamp::now();
    commit(&mut committer, &[("a", "eins"), ("b", "zwei")], &[], 2).await;
    let resolve = async |text: &str| store.resolve(text.parse::<AsOf>().unwrap()).await;
    assert_eq!(resolve(&first.to_string()).await.unwrap(), first);
    assert_eq!(resolve(&between.to_string()).await.unwrap(), first);
    let query = "select _item, subject from emails order by 1";
    assert_eq!(ask_as_of(&store, Some(first), query).await, "a,one");
    assert_eq!(ask(&store, query).await, "a,eins\nb,zwei");
    for missing in ["99", "2001-01-01"] {
        let error = resolve(missing).await.unwrap_err().to_string();
        assert!(error.contains("the oldest that is kept is 0 of "), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_asked_by_snapshot_or_by_time() {
    let data = tempfile::tempdir().unwrap();
    has_a_past(&Place::from(data.path())).await;
}

async fn tells_its_changes(place: &Place) {
    let store = Store::open_writer(place).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    let first = [("a", "one"), ("b", "two"), ("c", "three")];
    let since = commit(&mut committer, &first, &[], 1).await.snapshot.unwrap();
    commit(&mut committer, &[("b", "zwei"), ("d", "vier")], &["c"], 2).await;
    store.compact(jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    let told = changes_since(&store, since).await;
    assert_eq!(told, ["delete,c,three", "insert,d,vier", "update,b,zwei"]);
    let back = Commit {
        run: RunId("another".to_owned()),
        ..batch(&[("b", "two"), ("c", "three")], &["d"], 3)
    };
    committer.commit(back).await.unwrap();
    assert!(changes_since(&store, since).await.is_empty());
    let newest = store.catalog().head().await.unwrap().id;
    assert!(changes_since(&store, newest).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_by_key_across_a_compaction() {
    let data = tempfile::tempdir().unwrap();
    tells_its_changes(&Place::from(data.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_which_only_bytes_changed_is_told() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open_writer(data.path()).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    let pictures = |one: &str, at: u64| {
        let provenance = Provenance {
            source: source(),
            run: RunId("run".to_owned()),
        };
        let mut rows = Rows::of_lake(&photo_thumbnails::DATASET, provenance);
        for (item, jpeg) in [("a", one), ("b", "as it was")] {
            let small = PhotoThumbnail {
                item: item.to_owned(),
                jpeg: jpeg.as_bytes().to_vec().into(),
                width: 4,
                height: 3,
            };
            rows.push(&small).unwrap();
        }
        Commit {
            upserts: vec![(&photo_thumbnails::DATASET, rows.finish().unwrap())],
            removals: Vec::new(),
            ..batch(&[], &[], at)
        }
    };
    let first = committer.commit(pictures("upright", 1)).await.unwrap();
    let since = first.snapshot.unwrap();
    committer.commit(pictures("turned", 2)).await.unwrap();
    let changes = format!("select change, _item from changes('photo_thumbnails', {since})");
    assert_eq!(ask(&store, &changes).await, "update,a");
}

async fn got_a_column_later(place: &Place) {
    let store = Store::open_writer(place).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    let first = [("a", "one"), ("b", "two")];
    let since = commit(&mut committer, &first, &[], 1).await.snapshot.unwrap();
    let then = commit(&mut committer, &[("b", "zwei"), ("c", "drei")], &["a"], 2).await;
    // As if an older dkc had not known these columns.
    let later = "update ducklake_column set begin_snapshot = $1 where coalesce(parent_column, column_id) in \
        (select column_id from ducklake_column where column_name in ('list_id', 'reply_to'))";
    sqlx::query(later)
        .bind(then.snapshot)
        .execute(&store.catalog().pool())
        .await
        .unwrap();
    let told = changes_since(&store, since).await;
    assert_eq!(told, ["delete,a,one", "insert,c,drei", "update,b,zwei"]);
    let all = "select count(*), count(list_id) from changes('emails', 0)";
    assert_eq!(ask(&store, all).await, "2,0");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_across_a_column_that_came_later() {
    let data = tempfile::tempdir().unwrap();
    got_a_column_later(&Place::from(data.path())).await;
}

async fn joins_its_past(place: &Place) {
    let store = Store::open_writer(place).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    let first = [("a", "one"), ("b", "two")];
    let since = commit(&mut committer, &first, &[], 1).await.snapshot.unwrap();
    commit(&mut committer, &[("b", "zwei"), ("c", "drei")], &["a"], 2).await;
    let joined = format!(
        "select o.subject, n.subject from as_of('emails', {since}) o full join emails n on o._item = n._item order by 1"
    );
    assert_eq!(ask(&store, &joined).await, "one,\ntwo,zwei\n,drei");
    let without_alias = format!("select count(emails.subject) from as_of('emails', '{since}')");
    assert_eq!(ask(&store, &without_alias).await, "2");
    let both =
        format!("select count(*) from changes('emails', {since}, {since}) c where c.change = 'insert'");
    assert_eq!(ask(&store, &both).await, "0");
    let then = ask_as_of(
        &store,
        Some(since),
        "select change, _item from changes('emails', 0) order by 2",
    )
    .await;
    assert_eq!(then, "insert,a\ninsert,b");
    for (wrong, why) in [
        ("select * from as_of('emails')", "as_of('emails', MOMENT)"),
        ("select * from as_of('nothing', 1)", "no dataset `nothing`"),
        ("select * from as_of('runs', 1)", "not in the lake"),
        ("select * from as_of('emails', 'yesterday')", "neither the number"),
        ("select * from as_of('emails', 99)", "the oldest that is kept"),
        ("select * from changes('emails', 2, 1)", "is older than"),
        ("select * from changes('emails', 1, 2, 3)", "write changes("),
        ("select * from changes(emails, 1)", "write changes("),
    ] {
        let refused = store.reader(limits()).answer(&Query::from(wrong)).await;
        let said = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains(why), "{wrong}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_can_be_joined_with_the_present() {
    let data = tempfile::tempdir().unwrap();
    joins_its_past(&Place::from(data.path())).await;
}

async fn changes_since(store: &Store, since: i64) -> Vec<String> {
    use store::export::{Format, write_stream};
    let query = Query::from(format!("select * from changes('emails', {since})").as_str());
    let rows = store.reader(limits()).answer(&query).await.unwrap();
    let mut text = Vec::new();
    write_stream(rows, Format::Ndjson, &mut text).await.unwrap();
    let mut told: Vec<String> = String::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            [text("change"), text("_item"), text("subject")].join(",")
        })
        .collect();
    told.sort();
    told
}
