//! The log is changed in every way there is, by SQL, and each is found (proof T34).

use super::*;
use crate::database::tests::{postgres, sqlite};
use tempfile::TempDir;

/// What makes a fresh place.
type Places = fn() -> (TempDir, Place);

const HOUR: Instant = 3_600_000_000;

fn entry(at: Instant) -> Entry {
    Entry {
        at,
        who: "A1b2C3d4".to_owned(),
        role: "user".to_owned(),
        operation: "query".to_owned(),
        face: "rest".to_owned(),
        input: input_digest(&serde_json::json!({ "sql": "SELECT 1", "at": at })),
        rows: 1,
        bytes: 9,
        outcome: "ok".to_owned(),
        duration_us: 250,
        request: format!("request-{at}"),
    }
}

async fn log_of(records: i64) -> (TempDir, Audit) {
    let (folder, _, audit) = log_in(sqlite, records).await;
    (folder, audit)
}

async fn log_in(places: Places, records: i64) -> (TempDir, Place, Audit) {
    let (folder, place) = places();
    let audit = Audit::open(&place).await.unwrap();
    let entries: Vec<Entry> = (1..=records).map(entry).collect();
    audit.append(&entries).await.unwrap();
    (folder, place, audit)
}

async fn change(audit: &Audit, sql: &'static str) {
    sqlx::raw_sql(sql).execute(audit.database.pool()).await.unwrap();
}

async fn first_bad(audit: &Audit) -> Option<i64> {
    let findings = audit.verify().await.unwrap().findings;
    findings.first().map(|finding| finding.seq)
}

async fn untouched_is_whole(places: Places) {
    let (_folder, place, audit) = log_in(places, 0).await;
    let empty = audit.verify().await.unwrap();
    assert_eq!((empty.records, &empty.head, empty.findings.len()), (0, &None, 0));

    audit.append(&[entry(1), entry(2)]).await.unwrap();
    audit.append(&[entry(3)]).await.unwrap();
    audit.close().await;
    let audit = Audit::open(&place).await.unwrap();
    let whole = audit.verify().await.unwrap();
    assert_eq!((whole.records, whole.findings.as_slice()), (3, &[][..]));
    let head = whole.head.unwrap();
    assert_eq!(head.to_string().parse::<Head>(), Ok(head.clone()));
    assert!(audit.verify_against(head).await.unwrap().findings.is_empty());
}

#[tokio::test]
async fn a_log_that_nobody_touched_is_whole() {
    untouched_is_whole(sqlite).await;
}

async fn changes_are_found(places: Places) {
    let of_one = match places().1.postgres {
        None => [
            (
                "edit to what cannot be read",
                "UPDATE audit SET at = 'noon' WHERE seq = 4",
                4,
            ),
            (
                "edit of a hash",
                "UPDATE audit SET hash = zeroblob(32) WHERE seq = 4",
                4,
            ),
        ],
        Some(_) => [
            ("edit of a time", "UPDATE audit SET at = at + 1 WHERE seq = 4", 4),
            (
                "edit of a hash",
                "UPDATE audit SET hash = '\\x00' WHERE seq = 4",
                4,
            ),
        ],
    };
    let of_both = [
        ("edit", "UPDATE audit SET rows = 0 WHERE seq = 4", 4),
        ("delete", "DELETE FROM audit WHERE seq = 4", 4),
        ("delete of the first", "DELETE FROM audit WHERE seq = 1", 1),
        (
            "swap",
            "UPDATE audit SET seq = 1000 WHERE seq = 4;
             UPDATE audit SET seq = 4 WHERE seq = 7;
             UPDATE audit SET seq = 7 WHERE seq = 1000",
            4,
        ),
        (
            "insert",
            "UPDATE audit SET seq = seq + 1000 WHERE seq >= 5;
             UPDATE audit SET seq = seq - 999 WHERE seq > 1000;
             INSERT INTO audit SELECT 5, at, 'somebody', role, operation, face, input, rows, bytes, outcome, duration_us,
                 request, hash FROM audit WHERE seq = 4",
            5,
        ),
        (
            "insert at the end",
            "INSERT INTO audit SELECT 11, at, who, role, operation, face, input, rows, bytes, outcome, duration_us,
                 request, hash FROM audit WHERE seq = 10",
            11,
        ),
        ("truncated tail", "DELETE FROM audit WHERE seq > 8", 9),
        ("all gone", "DELETE FROM audit", 1),
    ];
    for (name, sql, bad) in of_one.into_iter().chain(of_both) {
        let (_folder, _, audit) = log_in(places, 10).await;
        assert_eq!(first_bad(&audit).await, None, "{name}");
        change(&audit, sql).await;
        assert_eq!(first_bad(&audit).await, Some(bad), "{name}");
    }
}

async fn many_are_one_chain(places: Places) {
    let many = 2 * TOGETHER as i64 + 1;
    let (_folder, _, audit) = log_in(places, many).await;
    audit.append(&[entry(many + 1)]).await.unwrap();
    let records = audit.page(0, 1_000).await.unwrap();
    for (record, at) in records.iter().zip(1..) {
        assert_eq!((record.seq, &record.entry), (at, &entry(at)));
    }
    let verified = audit.verify().await.unwrap();
    let told = (verified.records, verified.findings.as_slice());
    assert_eq!(told, (many as u64 + 1, &[][..]));
}

#[tokio::test]
async fn many_that_are_added_at_once_are_the_same_chain() {
    many_are_one_chain(sqlite).await;
}

#[tokio::test]
async fn every_change_is_found_and_the_first_bad_record_is_named() {
    changes_are_found(sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_holds_on_postgres() {
    untouched_is_whole(postgres).await;
    changes_are_found(postgres).await;
    many_are_one_chain(postgres).await;
    two_make_one_chain(postgres).await;
    are_read_in_three_ways(postgres).await;
}

#[tokio::test]
async fn a_log_written_anew_with_another_key_is_found() {
    let (_folder, audit) = log_of(300).await;
    let (_other_folder, other) = log_of(300).await;
    for record in other.page(0, 300).await.unwrap() {
        sqlx::query("UPDATE audit SET hash = $2 WHERE seq = $1")
            .bind(record.seq)
            .bind(hex::decode(record.hash).unwrap())
            .execute(audit.database.pool())
            .await
            .unwrap();
    }
    let findings = audit.verify().await.unwrap().findings;
    assert_eq!((findings.len(), findings[0].seq), (100, 1));
}

#[tokio::test]
async fn a_log_written_anew_with_its_key_is_found_by_an_anchor_kept_elsewhere() {
    let (folder, audit) = log_of(10).await;
    let anchor = audit.verify().await.unwrap().head.unwrap();
    audit.append(&[entry(11)]).await.unwrap();
    let same = audit.verify_against(anchor.clone()).await.unwrap();
    assert!(same.findings.is_empty());

    let old_head = std::fs::read(folder.path().join("audit.head")).unwrap();
    change(&audit, "DELETE FROM audit").await;
    let forged: Vec<Entry> = (21..=40).map(entry).collect();
    audit.append(&forged).await.unwrap();
    assert_eq!(first_bad(&audit).await, None);
    let findings = audit.verify_against(anchor).await.unwrap().findings;
    assert_eq!((findings.len(), findings[0].seq), (1, 10));

    std::fs::write(folder.path().join("audit.head"), old_head).unwrap();
    assert_eq!(first_bad(&audit).await, Some(11));
    std::fs::remove_file(folder.path().join("audit.head")).unwrap();
    assert_eq!(first_bad(&audit).await, Some(20));
}

#[tokio::test]
async fn a_clock_that_went_back_is_told_and_a_little_is_not() {
    let (_folder, audit) = log_of(3).await;
    let later = [entry(2 * HOUR), entry(HOUR), entry(3 * HOUR), entry(2 * HOUR - 1)];
    audit.append(&later).await.unwrap();
    let findings = audit.verify().await.unwrap().findings;
    assert_eq!(findings.len(), 1);
    assert!(
        findings[0].seq == 7 && findings[0].what.contains("clock back"),
        "{findings:?}"
    );
}

#[tokio::test]
async fn a_head_behind_the_log_is_no_finding() {
    let (folder, audit) = log_of(5).await;
    let head = std::fs::read(folder.path().join("audit.head")).unwrap();
    audit.append(&[entry(6), entry(7)]).await.unwrap();
    std::fs::write(folder.path().join("audit.head"), head).unwrap();
    assert_eq!(first_bad(&audit).await, None);
}

#[tokio::test]
async fn ten_thousand_records_are_verified_in_a_moment() {
    let (_folder, audit) = log_of(10_000).await;
    let begun = std::time::Instant::now();
    let verified = audit.verify().await.unwrap();
    let took = begun.elapsed();
    println!("10,000 records verified in {took:?}");
    assert_eq!(
        (verified.records, verified.findings.as_slice()),
        (10_000, &[][..])
    );
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
}

async fn two_make_one_chain(places: Places) {
    let (_folder, place, first) = log_in(places, 0).await;
    let second = Audit::open(&place).await.unwrap();
    let append = async |audit: &Audit| {
        for at in 1..=25 {
            audit.append(&[entry(at), entry(at)]).await.unwrap();
        }
    };
    tokio::join!(append(&first), append(&second));
    let verified = first.verify().await.unwrap();
    assert_eq!((verified.records, verified.findings.as_slice()), (100, &[][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_append_at_once_make_one_chain() {
    two_make_one_chain(sqlite).await;
}

async fn are_read_in_three_ways(places: Places) {
    let (_folder, _, audit) = log_in(places, 5).await;
    let other = Entry {
        who: "other".to_owned(),
        operation: "search".to_owned(),
        ..entry(6)
    };
    audit.append(std::slice::from_ref(&other)).await.unwrap();
    let numbers = |records: Vec<Record>| records.iter().map(|record| record.seq).collect::<Vec<_>>();
    assert_eq!(numbers(audit.page(2, 3).await.unwrap()), [3, 4, 5]);
    assert_eq!(numbers(audit.newest(2, None, None).await.unwrap()), [6, 5]);
    assert_eq!(numbers(audit.newest(9, Some("other"), None).await.unwrap()), [6]);
    assert!(
        audit
            .newest(9, Some("other"), Some("query"))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(audit.page(5, 1).await.unwrap()[0].entry, other);
    let batch = audit.page_as_batch(0, 100).await.unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (6, 13));
}

#[tokio::test]
async fn records_are_read_by_page_by_token_and_as_rows() {
    are_read_in_three_ways(sqlite).await;
}

#[test]
fn the_digest_of_an_input_does_not_depend_on_the_order_of_its_keys() {
    let digest = |text: &str| input_digest(&serde_json::from_str(text).unwrap());
    assert_eq!(digest(r#"{"a":1,"b":[2]}"#), digest(r#"{"b":[2],"a":1}"#));
    assert_ne!(digest(r#"{"a":1}"#), digest(r#"{"a":2}"#));
    assert_eq!(digest("null").len(), INPUT_DIGITS);
}
