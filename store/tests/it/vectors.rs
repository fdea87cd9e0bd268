//! Chunks and vectors in LanceDB: what a query finds after changes, crashes, damage and another model.

use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::{RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::logical_expr::{col, lit};
use lancedb::index::scalar::{FtsQuery, MatchQuery, PhraseQuery};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use store::embedder::ModelStamp;
use store::vectors::chunks::Followed;
use store::vectors::{Chunks, Facts, Hot, Space, VectorError, Vectors, WordHit};

fn columns() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::FixedSizeBinary(32), false),
        text("row_key"),
        Field::new("title", DataType::Utf8, true),
        text("text"),
        Field::new("date", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        text("sender"),
    ]))
}

/// Chunks of rows: key, text, sender.
fn batch(rows: &[(&str, &str, &str)]) -> RecordBatch {
    let mut ids = FixedSizeBinaryBuilder::new(32);
    for (key, text, _) in rows {
        ids.append_value(Sha256::digest(format!("{key} {text}"))).unwrap();
    }
    let texts = |of: fn(&(&str, &str, &str)) -> String| {
        Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as arrow_array::ArrayRef
    };
    let dates = TimestampMicrosecondArray::from_iter_values((0..).take(rows.len()));
    let columns_of = vec![
        Arc::new(ids.finish()) as arrow_array::ArrayRef,
        texts(|row| row.0.to_owned()),
        texts(|_| "Letters".to_owned()),
        texts(|row| row.1.to_owned()),
        Arc::new(dates),
        texts(|row| row.2.to_owned()),
    ];
    RecordBatch::try_new(columns(), columns_of).unwrap()
}

fn keys(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|&key| key.to_owned()).collect()
}

async fn open(data: &Path) -> (Vectors, Chunks) {
    let vectors = Vectors::open(data).await.unwrap();
    let chunks = vectors.chunks_with("letters", columns()).await.unwrap();
    (vectors, chunks)
}

fn followed(snapshot: i64) -> Followed {
    Followed {
        snapshot,
        tokens: "words".to_owned(),
    }
}

fn stamp(digest: &str) -> ModelStamp {
    ModelStamp {
        name: "org/toy".to_owned(),
        dimension: 2,
        digest: digest.to_owned(),
    }
}

/// A model of two words: how many letters are `a`, how many are `b`.
fn toy(texts: &[String]) -> Vec<f32> {
    let count = |text: &str, letter| text.matches(letter).count() as f32;
    let vector = |text: &String| {
        let (a, b) = (count(text, 'a') + 0.01, count(text, 'b') + 0.01);
        let length = a.hypot(b);
        [a / length, b / length]
    };
    texts.iter().flat_map(vector).collect()
}

/// Embeds all that has no vector; returns what the model read.
async fn embed(chunks: &Chunks, space: &Space) -> Vec<String> {
    let pending = space.compared(chunks).await.unwrap().pending;
    let texts = Space::texts(chunks, &pending).await.unwrap();
    if !texts.is_empty() {
        space.put(&pending, toy(&texts)).await.unwrap();
    }
    texts
}

fn words(terms: &str) -> FtsQuery {
    MatchQuery::new(terms.to_owned())
        .with_column(Some("text".to_owned()))
        .into()
}

/// The texts that have some words, best first.
async fn found(chunks: &Chunks, query: FtsQuery) -> Vec<String> {
    let (hits, _) = chunks.find(&query, 10, None).await.unwrap();
    assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
    let addresses: Vec<u64> = hits.iter().map(|hit| hit.address).collect();
    texts(&chunks.at(&addresses, &["text"]).await.unwrap())
}

fn texts(batch: &RecordBatch) -> Vec<String> {
    let texts = batch.column_by_name("text").unwrap();
    let texts = texts.as_any().downcast_ref::<StringArray>().unwrap();
    texts.iter().map(|text| text.unwrap().to_owned()).collect()
}

async fn everything(chunks: &Chunks) -> Vec<(String, String)> {
    let all = chunks.all(&["row_key", "text"], None).await.unwrap();
    let column = |at: usize| all.column(at).as_any().downcast_ref::<StringArray>().unwrap();
    let mut all: Vec<_> = column(0)
        .iter()
        .zip(column(1))
        .map(|(key, text)| (key.unwrap().to_owned(), text.unwrap().to_owned()))
        .collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_changed_are_replaced_and_others_stay() {
    let data = tempfile::tempdir().unwrap();
    let (vectors, chunks) = open(data.path()).await;
    assert_eq!(chunks.followed().await.unwrap(), None);
    let first = batch(&[
        ("1", "apples", "ann"),
        ("1", "bananas", "ann"),
        ("2", "cherries", "bob"),
    ]);
    chunks.replace(&keys(&["1", "2"]), &first).await.unwrap();
    chunks.set_followed(&followed(7)).await.unwrap();
    let space = vectors.space_or_new("letters", &stamp("x")).await.unwrap();
    assert_eq!(embed(&chunks, &space).await.len(), 3);

    // Row 1 loses one chunk and gains one, row 2 goes, row 3 is new and says what row 2 said.
    let second = batch(&[
        ("1", "apples", "ann"),
        ("1", "dates", "ann"),
        ("3", "cherries", "cid"),
    ]);
    for _ in 0..2 {
        chunks.replace(&keys(&["1", "2", "3"]), &second).await.unwrap();
    }
    chunks.set_followed(&followed(8)).await.unwrap();
    let expected = [("1", "apples"), ("1", "dates"), ("3", "cherries")];
    let there = everything(&chunks).await;
    assert_eq!(
        there
            .iter()
            .map(|(key, text)| (&**key, &**text))
            .collect::<Vec<_>>(),
        expected
    );
    assert_eq!(
        embed(&chunks, &space).await,
        ["Letters\ndates"],
        "only what nobody said before is embedded"
    );
    assert_eq!(found(&chunks, words("bananas")).await, Vec::<String>::new());

    let (vectors, again) = open(data.path()).await;
    assert_eq!(again.followed().await.unwrap(), Some(followed(8)));
    assert_eq!(vectors.models("letters").await.unwrap(), [stamp("x")]);
    let state = space.state(&again).await.unwrap();
    assert_eq!((state.vectors, state.pending, state.stale), (4, 0, 1));
    space.optimize(&again).await.unwrap();
    assert_eq!(space.state(&again).await.unwrap().stale, 0);
    // All rows of a dataset may go.
    again.replace(&keys(&["1", "2", "3"]), &batch(&[])).await.unwrap();
    assert!(everything(&again).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_found_whether_or_not_the_index_knows_them_yet() {
    let data = tempfile::tempdir().unwrap();
    let (_, chunks) = open(data.path()).await;
    let rows = batch(&[
        ("1", "The invoice of the hosting company", "ann"),
        ("2", "Invoices, invoices, invoices", "bob"),
        ("3", "A company of hosts was hosting", "cid"),
    ]);
    chunks.replace(&keys(&["1", "2", "3"]), &rows).await.unwrap();
    chunks.optimize().await.unwrap();
    assert_eq!(chunks.state().await.unwrap().unindexed, 0);
    assert_eq!(
        found(&chunks, words("invoice")).await.len(),
        2,
        "words are reduced to their stem"
    );
    assert_eq!(
        found(&chunks, words("invoice")).await[0],
        "Invoices, invoices, invoices"
    );
    let phrase = |words: &str| {
        PhraseQuery::new(words.to_owned())
            .with_column(Some("text".to_owned()))
            .into()
    };
    assert_eq!(
        found(&chunks, phrase("hosting company")).await,
        ["The invoice of the hosting company"]
    );

    chunks
        .replace(&keys(&["4"]), &batch(&[("4", "Another invoice", "dan")]))
        .await
        .unwrap();
    assert_eq!(chunks.state().await.unwrap().unindexed, 1);
    assert_eq!(found(&chunks, words("invoice")).await.len(), 3);
    assert!(
        found(&chunks, words("another"))
            .await
            .contains(&"Another invoice".to_owned())
    );
    chunks.optimize().await.unwrap();
    assert_eq!(chunks.state().await.unwrap().unindexed, 0);
    assert_eq!(found(&chunks, words("invoice")).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_follows_what_is_on_disk() {
    let data = tempfile::tempdir().unwrap();
    let (vectors, chunks) = open(data.path()).await;
    let rows = batch(&[
        ("1", "aaa", "ann"),
        ("2", "aab", "bob"),
        ("3", "bbb", "ann"),
        ("4", "aaa", "bob"),
    ]);
    chunks.replace(&keys(&["1", "2", "3", "4"]), &rows).await.unwrap();
    let space = vectors.space_or_new("letters", &stamp("x")).await.unwrap();
    assert_eq!(
        embed(&chunks, &space).await.len(),
        3,
        "equal texts are embedded once"
    );

    let reader = Vectors::open(data.path()).await.unwrap();
    let read = reader.chunks("letters").await.unwrap().unwrap();
    let mut facts = Facts::load(read, &["row_key", "sender"]).await.unwrap();
    let space_read = reader.space("letters", &stamp("x")).await.unwrap().unwrap();
    let mut hot = Hot::load(&facts, space_read).await.unwrap();
    assert_eq!(hot.with_vector(), 4);
    let near = |facts: &Facts, hot: &Hot, most, fitting: Option<&_>| {
        let row_keys = facts.batch().column_by_name("row_key").unwrap().clone();
        let row_keys = row_keys.as_any().downcast_ref::<StringArray>().unwrap().clone();
        let near = hot.nearest(&[1.0, 0.0], most, fitting);
        near.iter()
            .map(|near| row_keys.value(near.chunk).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(near(&facts, &hot, 10, None), ["1", "4", "2", "3"]);
    assert_eq!(near(&facts, &hot, 1, None), ["1"]);
    let of_bob = facts.fitting(&col("sender").eq(lit("bob")), &[]).unwrap();
    assert_eq!(near(&facts, &hot, 10, Some(&of_bob)), ["4", "2"]);
    let known = [("is_of_bob".to_owned(), of_bob.clone())];
    let of_others = facts.fitting(&col("is_of_bob").is_not_true(), &known).unwrap();
    assert_eq!(near(&facts, &hot, 10, Some(&of_others)), ["1", "3"]);
    let (hits, _) = facts.chunks().find(&words("aaa"), 10, None).await.unwrap();
    let position = |hit: &WordHit| facts.position(hit.address).unwrap();
    let of_bob = hits.iter().filter(|hit| of_bob.value(position(hit)));
    assert_eq!((hits.len(), of_bob.count()), (2, 1));
    assert!(facts.fitting(&col("nothing").eq(lit(1)), &[]).is_err());

    chunks
        .replace(
            &keys(&["1", "2", "5"]),
            &batch(&[("1", "aabb", "ann"), ("5", "aaaab", "eve")]),
        )
        .await
        .unwrap();
    chunks.optimize().await.unwrap();
    assert_eq!(
        near(&facts, &hot, 10, None),
        ["1", "4", "2", "3"],
        "a reader sees what it saw"
    );
    facts.refresh().await.unwrap();
    hot.refresh(&facts, true).await.unwrap();
    assert_eq!(
        near(&facts, &hot, 10, None),
        ["4", "3"],
        "a chunk without a vector is not near anything"
    );
    embed(&chunks, &space).await;
    facts.refresh().await.unwrap();
    hot.refresh(&facts, true).await.unwrap();
    assert_eq!(near(&facts, &hot, 10, None), ["4", "5", "1", "3"]);
    space.optimize(&chunks).await.unwrap();
    facts.refresh().await.unwrap();
    hot.refresh(&facts, true).await.unwrap();
    assert_eq!(near(&facts, &hot, 10, None), ["4", "5", "1", "3"]);
    // LanceDB says the same.
    let nearest = space.nearest(&[1.0, 0.0], 2).await.unwrap();
    assert!(
        (nearest[0].1 - hot.nearest(&[1.0, 0.0], 1, None)[0].cosine).abs() < 1e-3,
        "{nearest:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_another_model_are_refused_with_the_way_out() {
    let data = tempfile::tempdir().unwrap();
    let (vectors, _) = open(data.path()).await;
    vectors.space_or_new("letters", &stamp("x")).await.unwrap();
    let error = vectors.space_or_new("letters", &stamp("y")).await.unwrap_err();
    assert!(matches!(error, VectorError::OtherModel { .. }));
    assert!(
        error.to_string().contains("org/toy") && error.to_string().contains("dkc index build"),
        "{error}"
    );
    vectors.forget_space("letters", "org/toy").unwrap();
    vectors.space_or_new("letters", &stamp("y")).await.unwrap();
    assert_eq!(vectors.models("letters").await.unwrap(), [stamp("y")]);

    let other = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, false)]));
    let error = vectors.chunks_with("letters", other).await.unwrap_err();
    assert!(matches!(error, VectorError::Outdated { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_an_error_that_says_how_to_repair_it() {
    let data = tempfile::tempdir().unwrap();
    let (vectors, chunks) = open(data.path()).await;
    let rows = batch(&[("1", "apples", "ann")]);
    chunks.replace(&keys(&["1"]), &rows).await.unwrap();
    let space = vectors.space_or_new("letters", &stamp("x")).await.unwrap();
    embed(&chunks, &space).await;
    drop((vectors, chunks));
    for file in walk(&data.path().join("vectors/letters.lance")) {
        fs::write(file, "rot").unwrap();
    }
    let vectors = Vectors::open(data.path()).await.unwrap();
    let error = vectors.chunks_with("letters", columns()).await.unwrap_err();
    assert!(error.to_string().contains("dkc index build --anew"), "{error}");
    let made = vectors.behind().chunks_with("letters", columns()).await.unwrap();
    made.replace(&keys(&["1"]), &rows).await.unwrap();
    vectors.switch("letters").unwrap();
    let chunks = vectors.chunks("letters").await.unwrap().unwrap();
    assert!(
        embed(&chunks, &space).await.is_empty(),
        "the vectors are still there"
    );
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    folders
        .iter()
        .flat_map(|folder| walk(folder))
        .chain(files)
        .collect()
}

/// What each snapshot of an imagined lake says of each row.
const HISTORY: [&[(&str, &str)]; 3] = [
    &[("1", "apples"), ("2", "bananas"), ("3", "cherries")],
    &[("1", "apples and dates"), ("2", "bananas"), ("4", "cherries")],
    &[("2", "elderberries"), ("4", "cherries"), ("5", "figs")],
];

/// Follows [`HISTORY`] from where the table stands, as a run does.
async fn catch_up(data: &Path) {
    let (vectors, chunks) = open(data).await;
    let from = chunks
        .followed()
        .await
        .unwrap()
        .map_or(0, |followed| followed.snapshot as usize);
    for (number, snapshot) in HISTORY.iter().enumerate().skip(from) {
        let before = number.checked_sub(1).map_or(&[][..], |before| HISTORY[before]);
        let (now, then): (BTreeSet<_>, BTreeSet<_>) = (snapshot.iter().collect(), before.iter().collect());
        let changed: BTreeSet<&str> = now.symmetric_difference(&then).map(|(key, _)| *key).collect();
        let rows: Vec<_> = snapshot
            .iter()
            .filter(|(key, _)| changed.contains(key))
            .map(|(key, text)| (*key, *text, "ann"))
            .collect();
        chunks
            .replace(&keys(&changed.into_iter().collect::<Vec<_>>()), &batch(&rows))
            .await
            .unwrap();
        chunks.set_followed(&followed(number as i64 + 1)).await.unwrap();
        embed_and_tidy(&vectors, &chunks).await;
    }
    // Whoever was killed between following and tidying left this to the next run.
    embed_and_tidy(&vectors, &chunks).await;
}

async fn embed_and_tidy(vectors: &Vectors, chunks: &Chunks) {
    let space = vectors.space_or_new("letters", &stamp("x")).await.unwrap();
    embed(chunks, &space).await;
    chunks.optimize().await.unwrap();
    space.optimize(chunks).await.unwrap();
}

/// Where the process that is to be killed writes.
const KILLED: &str = "DKC_TEST_KILLED";

/// Not a test: what `killed_anywhere` starts and kills.
#[tokio::test(flavor = "multi_thread")]
async fn catch_up_to_be_killed() {
    if let Some(data) = std::env::var_os(KILLED) {
        catch_up(Path::new(&data)).await;
    }
}

#[test]
fn a_kill_at_any_write_leaves_no_missing_and_no_doubled_chunk() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut killed = 0;
    for (call, points) in [
        ("openat", [200, 400, 800]),
        ("write", [3, 9, 30]),
        ("rename,renameat2,link,linkat", [1, 3, 7]),
    ] {
        for n in points {
            let data = tempfile::tempdir().unwrap();
            let inject = format!("inject={call}:signal=SIGKILL:when={n}");
            #[expect(clippy::disallowed_methods, reason = "tests kill programs")]
            let status = Command::new("strace")
                .args([
                    "-f",
                    "-qq",
                    "-o",
                    "/dev/null",
                    "-e",
                    &format!("trace={call}"),
                    "-e",
                    &inject,
                ])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", "it::vectors::catch_up_to_be_killed", "--nocapture"])
                .env(KILLED, data.path())
                .output()
                .unwrap()
                .status;
            killed += usize::from(!status.success());
            let there = runtime.block_on(async {
                catch_up(data.path()).await;
                let (vectors, chunks) = open(data.path()).await;
                let space = vectors.space("letters", &stamp("x")).await.unwrap().unwrap();
                let state = space.state(&chunks).await.unwrap();
                assert_eq!(
                    (state.vectors, state.pending, state.stale),
                    (3, 0, 0),
                    "{call} {n}"
                );
                assert_eq!(
                    space.nearest(&[1.0, 0.0], 10).await.unwrap().len(),
                    3,
                    "{call} {n}"
                );
                everything(&chunks).await
            });
            let there: Vec<_> = there.iter().map(|(key, text)| (&**key, &**text)).collect();
            assert_eq!(there, HISTORY[2], "{call} {n}");
        }
    }
    assert!(killed >= 5, "only {killed} of 9 were killed before they ended");
}
