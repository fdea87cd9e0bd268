//! Conversations, whatever the order of mails.

use super::*;
use proptest::prelude::*;
use schemas::datasets::emails::Email;
use schemas::{Provenance, Row, Rows, RunId, SourceName};
use std::collections::{BTreeMap, BTreeSet};

/// A mail by numbers: its id, the references, what it answers.
type Mail = (Option<u8>, Vec<u8>, Vec<u8>);

fn id(number: u8) -> String {
    format!("{number}@example.org")
}

fn batch(mails: &[Mail]) -> RecordBatch {
    let provenance = Provenance {
        source: SourceName::new("mail").unwrap(),
        run: RunId("run".to_owned()),
    };
    let mut rows = Rows::of_lake(Email::DATASET, provenance);
    for (own, references, in_reply_to) in mails {
        // Copies of a mail have different items, mails without an id are told apart by it.
        let item = format!("item {own:?} {references:?} {in_reply_to:?}");
        let email = Email {
            message_id: own.map(id),
            references: references.iter().map(|n| id(*n)).collect(),
            in_reply_to: in_reply_to.iter().map(|n| id(*n)).collect(),
            item,
            ..Email::default()
        };
        rows.push(&email).unwrap();
    }
    rows.finish().unwrap()
}

fn threads(mails: &[Mail]) -> Threads {
    let mut threads = Threads::new();
    threads.add(&batch(mails)).unwrap();
    threads
}

fn ids(threads: &Threads, mails: &[Mail]) -> Vec<String> {
    let assigned = threads.assign(&batch(mails)).unwrap();
    text(&assigned, THREAD_ID)
        .unwrap()
        .iter()
        .map(|id| id.unwrap().to_owned())
        .collect()
}

fn thread_named(number: u8) -> String {
    hex::encode(key_of_id(&id(number)))
}

/// Checks the threads of some mails: the number of the id that names each.
fn check(mails: &[Mail], expected: &[u8]) {
    let expected: Vec<String> = expected.iter().map(|number| thread_named(*number)).collect();
    assert_eq!(ids(&threads(mails), mails), expected);
}

/// The smaller of two ids, by key.
fn smaller(a: u8, b: u8) -> u8 {
    if key_of_id(&id(a)) < key_of_id(&id(b)) {
        a
    } else {
        b
    }
}

#[test]
fn answers_belong_to_the_mail_they_answer() {
    check(
        &[
            (Some(1), vec![], vec![]),
            (Some(2), vec![1], vec![1]),
            (Some(3), vec![1, 2], vec![2]),
            (Some(4), vec![], vec![]),
        ],
        &[1, 1, 1, 4],
    );
}

#[test]
fn a_missing_parent_holds_its_children_together() {
    check(&[(Some(2), vec![1], vec![]), (Some(3), vec![], vec![1])], &[1, 1]);
}

#[test]
fn broken_references_are_mended_by_other_mails() {
    // 4 names only 3; that 3 answers 2 and 2 answers 1 is known from others.
    check(
        &[
            (Some(4), vec![], vec![3]),
            (Some(3), vec![2], vec![]),
            (Some(2), vec![1], vec![]),
        ],
        &[1, 1, 1],
    );
}

#[test]
fn two_roots_give_the_smaller_one() {
    let root = smaller(1, 2);
    check(
        &[(Some(3), vec![1], vec![]), (Some(3), vec![2], vec![])],
        &[root, root],
    );
}

#[test]
fn a_cycle_is_one_thread() {
    let root = smaller(1, 2);
    check(
        &[(Some(1), vec![2], vec![]), (Some(2), vec![1], vec![])],
        &[root, root],
    );
}

#[test]
fn a_mail_that_names_itself_is_its_own_root() {
    check(&[(Some(1), vec![1], vec![1])], &[1]);
    check(&[(Some(1), vec![1, 2], vec![])], &[2]);
}

#[test]
fn in_reply_to_may_name_an_earlier_reference() {
    check(&[(Some(3), vec![1, 2], vec![1])], &[1]);
}

#[test]
fn copies_are_one_node_and_mails_without_id_are_their_own() {
    let mails = [
        (None, vec![], vec![]),
        (None, vec![1], vec![]),
        (Some(1), vec![], vec![]),
    ];
    let found = ids(&threads(&mails), &mails);
    assert_eq!(found[1], thread_named(1));
    assert_eq!(found[2], thread_named(1));
    assert_ne!(found[0], thread_named(1));
}

#[test]
fn what_is_assigned_while_mails_come_is_mostly_what_all_give() {
    let mut so_far = Threads::new();
    for mail in [
        (Some(1), vec![], vec![]),
        (Some(2), vec![1], vec![]),
        (Some(4), vec![1, 2, 3], vec![]),
        (Some(9), vec![], vec![]),
    ] {
        let one = batch(&[mail]);
        so_far.add(&one).unwrap();
        assert_eq!(so_far.assign_so_far(&one).unwrap(), so_far.assign(&one).unwrap());
    }
    // The thread of a parent that comes later is told by `stale`, whatever was assigned.
    let early = batch(&[(Some(9), vec![], vec![])]);
    so_far.add(&batch(&[(Some(5), vec![1, 9], vec![])])).unwrap();
    assert_eq!(
        so_far.assign_so_far(&early).unwrap(),
        so_far.assign(&early).unwrap()
    );
}

#[test]
fn stale_rows_are_those_whose_thread_changed() {
    let early = [(Some(3), vec![2], vec![]), (Some(5), vec![], vec![])];
    let mut threads = threads(&early);
    let stored = threads.assign(&batch(&early)).unwrap();
    assert_eq!(threads.stale(&stored).unwrap(), []);
    threads.add(&batch(&[(Some(2), vec![1], vec![])])).unwrap();
    let items = Own::of(&stored).unwrap().items.value(0).to_owned();
    assert_eq!(threads.stale(&stored).unwrap(), [(items, thread_named(1))]);
}

#[test]
fn the_provisional_thread_of_a_mail_is_its_thread_when_it_is_alone() {
    for (own, references, in_reply_to) in [
        (Some(1), vec![], vec![]),
        (Some(2), vec![1], vec![]),
        (Some(2), vec![], vec![1]),
        (None, vec![], vec![]),
    ] {
        let mails = [(own, references.clone(), in_reply_to.clone())];
        let rows = batch(&mails);
        let item = text(&rows, "_item").unwrap().value(0);
        let texts = |numbers: &[u8]| numbers.iter().map(|n| id(*n)).collect::<Vec<_>>();
        let provisional = thread_of(
            item,
            own.map(id).as_deref(),
            &texts(&in_reply_to),
            &texts(&references),
        );
        assert_eq!(ids(&threads(&mails), &mails), [provisional]);
    }
}

#[test]
fn another_dataset_is_refused() {
    let rows = Rows::of_lake(
        &schemas::datasets::raw::DATASET,
        Provenance {
            source: SourceName::new("mail").unwrap(),
            run: RunId("run".to_owned()),
        },
    )
    .finish()
    .unwrap();
    let error = Threads::new().add(&rows).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the batch has no column `message_id` of type Utf8; pass rows of `emails`"
    );
}

/// The definition, word by word: edges, then sets by closure, then the root of each.
fn naive(mails: &[Mail]) -> Vec<String> {
    let mut edges: BTreeSet<(Key, Key)> = BTreeSet::new();
    let mut neighbours: BTreeMap<Key, BTreeSet<Key>> = BTreeMap::new();
    let rows = batch(mails);
    let items = text(&rows, "_item").unwrap();
    let mut own_keys = Vec::new();
    for (row, (own, references, in_reply_to)) in mails.iter().enumerate() {
        let own = own_key(items.value(row), own.map(id).as_deref());
        own_keys.push(own);
        let mut chain: Vec<Key> = Vec::new();
        for key in references.iter().chain(in_reply_to).map(|n| key_of_id(&id(*n))) {
            if key != own && !chain.contains(&key) {
                chain.push(key);
            }
        }
        chain.push(own);
        neighbours.entry(own).or_default();
        for pair in chain.windows(2) {
            edges.insert((pair[0], pair[1]));
            neighbours.entry(pair[0]).or_default().insert(pair[1]);
            neighbours.entry(pair[1]).or_default().insert(pair[0]);
        }
    }
    own_keys
        .iter()
        .map(|own| {
            let mut set = BTreeSet::from([*own]);
            let mut open = vec![*own];
            while let Some(key) = open.pop() {
                open.extend(neighbours[&key].iter().filter(|key| set.insert(**key)));
            }
            let orphan = set
                .iter()
                .find(|key| !edges.iter().any(|(_, child)| child == *key));
            hex::encode(orphan.or(set.first()).unwrap())
        })
        .collect()
}

fn any_mail() -> impl Strategy<Value = Mail> {
    let some_ids = || prop::collection::vec(0_u8..24, 0..4);
    (
        prop::option::weighted(0.9, 0_u8..24),
        some_ids(),
        prop::collection::vec(0_u8..24, 0..2),
    )
}

proptest! {
    #[test]
    fn threads_are_what_the_definition_says_in_any_order(
        (mails, shuffled) in prop::collection::vec(any_mail(), 0..24)
            .prop_flat_map(|mails| (Just(mails.clone()), Just(mails).prop_shuffle())),
        cut in 0_usize..24,
    ) {
        let expected = naive(&mails);
        prop_assert_eq!(&ids(&threads(&mails), &mails), &expected);
        let (first, second) = shuffled.split_at(cut.min(shuffled.len()));
        let mut in_parts = threads(first);
        let _ = ids(&in_parts, first);
        in_parts.add(&batch(second)).unwrap();
        prop_assert_eq!(ids(&in_parts, &mails), expected);
    }
}

/// `cargo nextest run -p transforms --run-ignored only --no-capture measure_threads`
#[test]
#[ignore = "measures; run by hand"]
#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn measure_threads() {
    let count = 200_000_u32;
    let rows: Vec<Vec<String>> = (0..count)
        .map(|n| {
            (0..=n % 4)
                .map(|k| format!("{}.{k}@mail.example.org", n / 4))
                .collect()
        })
        .collect();
    let provenance = Provenance {
        source: SourceName::new("mail").unwrap(),
        run: RunId("run".to_owned()),
    };
    let mut builder = Rows::of_lake(Email::DATASET, provenance);
    for ids in &rows {
        let (own, references) = ids.split_last().unwrap();
        let email = Email {
            item: own.clone(),
            message_id: Some(own.clone()),
            references: references.to_vec(),
            ..Email::default()
        };
        builder.push(&email).unwrap();
    }
    let batch = builder.finish().unwrap();
    let mut threads = Threads::new();
    for (name, result) in [
        ("add", {
            let start = std::time::Instant::now();
            threads.add(&batch).unwrap();
            start.elapsed()
        }),
        ("stale", {
            let start = std::time::Instant::now();
            threads.stale(&batch).unwrap();
            start.elapsed()
        }),
        ("stale again", {
            let start = std::time::Instant::now();
            threads.stale(&batch).unwrap();
            start.elapsed()
        }),
    ] {
        println!("{name}: {:?} a mail", result / count);
    }
}
