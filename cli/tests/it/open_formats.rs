//! The lake belongs to its owner: DuckDB and polars read from it what dkc does (proof T10).

use crate::it::lab::{self, Lab, MAIL, agree, count};
use serde_json::Value;
use std::fs;

/// Collects a Maildir, then changes it and collects again, some times; what dkc answered at each snapshot.
fn with_history(lab: &Lab) -> Vec<(i64, Value)> {
    let mails = fixtures::corpus::sample(600);
    let names = lab.deliver("", &mails[..500]);
    lab.write("mail/cur/broken:2,", "");
    let mut history = Vec::new();
    let mut remember = |lab: &Lab| {
        lab.run();
        history.push((lab.snapshot(), lab::own_facts(lab)));
    };
    remember(lab);
    for name in names.iter().step_by(9) {
        lab.rename(&format!("cur/{name}:2,"), &format!("cur/{name}:2,RS"));
    }
    remember(lab);
    for name in names.iter().skip(1).step_by(9) {
        fs::remove_file(lab.path(format!("mail/cur/{name}:2,"))).unwrap();
    }
    lab.deliver(".Later", &mails[500..]);
    remember(lab);
    fs::remove_file(lab.path("mail/cur/broken:2,")).unwrap();
    for name in names.iter().skip(2).step_by(9) {
        lab.rename(&format!("cur/{name}:2,"), &format!(".Later/cur/{name}:2,S"));
    }
    remember(lab);
    history
}

/// Asserts that DuckDB reads what dkc does, now and at old snapshots.
fn duckdb_agrees(lab: &Lab) {
    let history = with_history(lab);
    let mut wanted: Vec<(&Lab, Option<i64>)> = history
        .iter()
        .map(|(snapshot, _)| (lab, Some(*snapshot)))
        .collect();
    wanted.push((lab, None));
    let found = lab::duckdb(&wanted);
    for ((snapshot, own), found) in history.iter().zip(&found) {
        agree(own, found, &format!("at snapshot {snapshot}"));
    }
    agree(&lab::own_facts(lab), &found[history.len()], "now");
    assert!(
        history[3].1["emails"]["rows"].as_u64() > Some(500),
        "the history has something in it"
    );
    assert_eq!(history[2].1["rejects"]["rows"], 1);
}

#[test]
fn duckdb_reads_the_same_facts_now_and_at_old_snapshots() {
    duckdb_agrees(&Lab::new(MAIL));
}

#[test]
fn duckdb_reads_the_same_facts_from_a_lake_whose_catalog_is_in_postgres() {
    let lab = Lab::on_postgres(MAIL);
    duckdb_agrees(&lab);
    let on_sqlite = Lab::new(MAIL);
    on_sqlite.deliver("", &fixtures::corpus::sample(1));
    on_sqlite.run();
    assert_eq!(lab::columns(&lab), lab::columns(&on_sqlite));
}

#[test]
fn polars_reads_the_same_rows_from_the_files() {
    let lab = Lab::new(MAIL);
    with_history(&lab);
    agree(&lab::polars(&lab), &lab::own_facts(&lab), "polars");
}

#[test]
fn compaction_changes_files_and_no_answer() {
    let lab = Lab::new(MAIL);
    let history = with_history(&lab);
    let before = lab::own_facts(&lab);
    let old = lab::duckdb(&[(&lab, Some(history[1].0))]);

    let compacted = lab.json(&["compact"]);
    assert!(
        count(&compacted, "files_after") < count(&compacted, "files_before"),
        "{compacted:#}"
    );
    assert_eq!(count(&compacted, "snapshots_expired"), 0);
    assert_eq!(lab::own_facts(&lab), before);
    lab.is_whole();
    let found = lab::duckdb(&[(&lab, None), (&lab, Some(history[1].0))]);
    agree(&before, &found[0], "compacted");
    assert_eq!(found[1], old[0], "old snapshots stay until they expire");

    let expired = lab.json(&["compact", "--expire-older-than", "0s"]);
    assert!(
        count(&expired, "snapshots_expired") > 3 && count(&expired, "files_deleted") > 3,
        "{expired:#}"
    );
    assert_eq!(lab::own_facts(&lab), before);
    lab.is_whole();
    agree(&before, &lab::duckdb(&[(&lab, None)])[0], "expired");
    agree(&lab::polars(&lab), &before, "expired, read by polars");
    assert_eq!(
        lab.parquet_files().len() as u64,
        count(&expired, "files_after"),
        "nothing lies about"
    );

    let again = lab.json(&["compact", "--expire-older-than", "0s"]);
    assert_eq!(
        count(&again, "files_before"),
        count(&again, "files_after"),
        "{again:#}"
    );
    let run = lab.run();
    assert_eq!(
        (
            count(&run, "items_stored"),
            count(&run, "items_vanished"),
            count(&run, "snapshots")
        ),
        (0, 0, 0),
        "the cursor is still there: {run:#}"
    );
}
