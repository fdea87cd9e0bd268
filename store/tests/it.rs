//! What the store promises, told through its public face.

// Tests may panic, and so may what serves them.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod it {
    mod embedder;
    mod lake;
    mod postgres;
    mod query;
    mod vectors;
}

use arrow_array::RecordBatch;
use schemas::datasets::emails::{DATASET, Email};
use schemas::datasets::raw;
use schemas::{Attributes, Cursor, Dataset, Digest, Original, Provenance, RawItem, Rows, RunId, SourceName};
use std::path::Path;
use std::time::Duration;
use store::lake::as_of::AsOf;
use store::query::{Limits, Query};
use store::{Commit, Committed, Committer, Items, Merged, Store};

fn source() -> SourceName {
    SourceName::new("mail").unwrap()
}

fn emails(rows: &[(&str, &str)]) -> (&'static Dataset, RecordBatch) {
    let mut batch = Rows::of_lake(
        &DATASET,
        Provenance {
            source: source(),
            run: RunId("run".to_owned()),
        },
    );
    for (item, subject) in rows {
        let email = Email {
            item: (*item).to_owned(),
            subject: Some((*subject).to_owned()),
            folders: vec!["INBOX".to_owned()],
            date: Some(1_700_000_000_000_000),
            ..Email::default()
        };
        batch.push(&email).unwrap();
    }
    (&DATASET, batch.finish().unwrap())
}

/// The originals of the same rows.
fn originals(rows: &[(&str, &str)]) -> (&'static Dataset, RecordBatch) {
    let mut batch = Rows::of_lake(
        &raw::DATASET,
        Provenance {
            source: source(),
            run: RunId("run".to_owned()),
        },
    );
    for (item, subject) in rows {
        let original = RawItem {
            item: (*item).to_owned(),
            media_type: "message/rfc822",
            fetched_at: 0,
            sha256: Digest::of(subject.as_bytes()),
            original: Original::Bytes(subject.as_bytes().to_vec().into()),
            attributes: Attributes::default(),
        };
        batch.push(&raw::RawRow::from(&original)).unwrap();
    }
    (&raw::DATASET, batch.finish().unwrap())
}

fn cursor(at: u64) -> Cursor {
    Cursor(serde_json::json!({ "at": at }))
}

fn batch(rows: &[(&str, &str)], gone: &[&str], at: u64) -> Commit {
    Commit {
        run: RunId("run".to_owned()),
        source: source(),
        upserts: vec![emails(rows), originals(rows)],
        differ: false,
        removals: vec![(&DATASET, gone.iter().map(|item| (*item).to_owned()).collect())],
        cursor: Some(cursor(at)),
        items: Items {
            new: rows.len() as u64,
            gone: gone.len() as u64,
        },
        message: None,
    }
}

async fn commit(committer: &mut Committer, rows: &[(&str, &str)], gone: &[&str], at: u64) -> Committed {
    committer.commit(batch(rows, gone, at)).await.unwrap()
}

/// A store with one mail in it.
async fn with_one_mail(data: &Path) -> Store {
    let store = Store::open_writer(data).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    commit(&mut committer, &[("a", "one")], &[], 1).await;
    store
}

fn merged(new: u64, changed: u64, unchanged: u64, vanished: u64) -> Merged {
    Merged {
        new,
        changed,
        unchanged,
        vanished,
    }
}

fn limits() -> Limits {
    Limits {
        memory_bytes: 64 << 20,
        time: Duration::from_secs(20),
        threads: 2,
        rows: None,
        bytes: None,
    }
}

/// What a query answers, as `a|b` lines.
async fn ask(store: &Store, sql: &str) -> String {
    ask_as_of(store, None, sql).await
}

/// The same, as of a snapshot.
async fn ask_as_of(store: &Store, as_of: Option<i64>, sql: &str) -> String {
    use store::export::{Format, write_stream};
    let query = Query {
        as_of: as_of.map(AsOf::Snapshot),
        ..Query::from(sql)
    };
    let rows = store.reader(limits()).answer(&query).await.unwrap();
    let mut text = Vec::new();
    write_stream(rows, Format::Csv, &mut text).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    text.lines().skip(1).collect::<Vec<_>>().join("\n")
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
