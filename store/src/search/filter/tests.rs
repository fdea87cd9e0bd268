//! What operators find in rows, through the engine itself.

use super::*;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, in_subquery};
use datafusion::prelude::SessionContext;
use jiff::Zoned;
use proptest::prelude::*;
use schemas::datasets::document_sections;
use schemas::datasets::documents::{self, Document};
use schemas::datasets::email_attachments::{self, EmailAttachment};
use schemas::datasets::emails::{self, Email};
use schemas::datasets::git_commits::{self, GitCommit, Signature};
use schemas::datasets::git_file_changes::{self, Change, GitFileChange};
use schemas::datasets::photos::{self, Photo};
use schemas::{Instant, Provenance, Row, Rows, RunId, SourceName};
use std::sync::Arc;
use std::time::Duration;

fn batch<R: Row>(rows: &[R]) -> RecordBatch {
    let provenance = Provenance {
        source: SourceName::new("test").unwrap(),
        run: RunId("1".to_owned()),
    };
    let mut built = Rows::of_lake(R::DATASET, provenance);
    rows.iter().for_each(|row| built.push(row).unwrap());
    built.finish().unwrap()
}

fn table(batches: &[(&'static Dataset, RecordBatch)], dataset: &Dataset) -> Result<LogicalPlan> {
    let (_, batch) = batches
        .iter()
        .find(|(of, _)| of.name == dataset.name)
        .expect("a table");
    let table = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]])?;
    LogicalPlanBuilder::scan(dataset.name, provider_as_source(Arc::new(table)), None)?.build()
}

/// The items that a query finds.
fn found(batches: &[(&'static Dataset, RecordBatch)], dataset: &'static Dataset, text: &str) -> String {
    let now: Zoned = "2026-11-25T10:30:00+01:00[Europe/Berlin]".parse().unwrap();
    let query = Query::parse(text, &now).unwrap_or_else(|error| panic!("{text}: {error}"));
    let given = |query: &Query| {
        let search = dataset.search.as_ref()?;
        match query {
            Query::Word(text) | Query::Phrase(text) => {
                let columns = search.title.iter().chain(search.text);
                Some(any_of(
                    columns.map(|name| text_of(dataset, name).ilike(contains(text))),
                ))
            }
            Query::Where(condition) => {
                let (other, expr) = of_another(search, condition)?;
                let items = LogicalPlanBuilder::from(table(batches, other).unwrap())
                    .filter(expr)
                    .and_then(|plan| plan.project([ident("_item")]))
                    .and_then(LogicalPlanBuilder::build)
                    .unwrap();
                Some(in_subquery(ident("_item"), Arc::new(items)))
            }
            _ => None,
        }
    };
    let expr = filter(&query, dataset, now.time_zone(), &given)
        .unwrap()
        .unwrap_or(lit(true));
    let plan = LogicalPlanBuilder::from(table(batches, dataset).unwrap())
        .filter(expr)
        .and_then(|plan| plan.project([ident("_item")]))
        .and_then(LogicalPlanBuilder::build)
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rows = runtime.block_on(async {
        SessionContext::new()
            .execute_logical_plan(plan)
            .await?
            .collect()
            .await
    });
    let rows = rows.unwrap_or_else(|error| panic!("{text}: {error}"));
    let items = rows
        .iter()
        .flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten());
    let mut items: Vec<&str> = items.collect();
    items.sort_unstable();
    items.join(" ")
}

fn at(text: &str) -> Option<Instant> {
    Some(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn mails() -> Vec<(&'static Dataset, RecordBatch)> {
    let email = |item: &str, from: Option<(&str, &str)>, subject: &str| Email {
        item: item.to_owned(),
        from_name: from.map(|(name, _)| name.to_owned()),
        from_addr: from.map(|(_, address)| address.to_owned()),
        subject: Some(subject.to_owned()),
        ..Email::default()
    };
    let emails = [
        Email {
            to: texts(&["joe@example.org", "max@example.net"]),
            // 00:30 in Berlin on the first of March.
            date: at("2024-02-29T23:30:00Z"),
            attachment_count: 1,
            ..email("a", Some(("Jane Doe", "jane@example.org")), "100% sure_thing")
        },
        Email {
            cc: texts(&["Joe@Example.org"]),
            received_at: at("2024-03-31T12:00:00Z"),
            list_id: Some("devel.lists.debian.org".to_owned()),
            body_text: Some("The invoice".to_owned()),
            ..email("b", Some(("Ärger", "max@example.org")), "100 percent")
        },
        Email {
            date: at("2025-01-01T12:00:00Z"),
            attachment_count: 1,
            ..email("c", None, "C:\\temp* and surething")
        },
    ];
    let attachment = |item: &str, filename: Option<&str>| EmailAttachment {
        item: item.to_owned(),
        ordinal: 0,
        filename: filename.map(str::to_owned),
        media_type: "application/pdf".to_owned(),
        disposition: None,
        content_id: None,
        size_bytes: 1,
        sha256: String::new(),
    };
    let attachments = [attachment("a", Some("Report.PDF")), attachment("c", None)];
    vec![
        (&emails::DATASET, batch(&emails)),
        (&email_attachments::DATASET, batch(&attachments)),
    ]
}

#[test]
fn mails_are_found_by_their_operators() {
    let mails = mails();
    for (text, items) in [
        ("from:JANE", "a"),
        ("from:jane@", "a"),
        ("from:ärger", "b"),
        ("-from:jane", "b c"),
        ("NOT (from:jane OR from:max)", "c"),
        ("to:joe", "a b"),
        ("to:joe@*", "a b"),
        ("to:joe*net", ""),
        ("from:*@example.org", "a b"),
        ("from:*@example.org to:max", "a"),
        ("subject:100%", "a"),
        ("subject:100*", "a b"),
        ("subject:100***", "a b"),
        ("subject:***sure**thing", "a c"),
        ("subject:***", "a b c"),
        ("subject:sure_thing", "a"),
        ("subject:C:\\temp", "c"),
        ("subject:\"' OR 1=1 --\"", ""),
        ("list:debian", "b"),
        ("has:attachment", "a c"),
        ("-has:attachment", "b"),
        ("filename:report", "a"),
        ("filename:*.pdf", "a"),
        ("filename:*.PDF has:attachment", "a"),
        ("-filename:report", "b c"),
        ("filename:report OR from:max", "a b"),
        ("date:2024-02", ""),
        ("date:2024-03", "a b"),
        ("date:2024-03-01", "a"),
        ("before:2025", "a b"),
        ("after:2024-03-31", "b c"),
        ("-date:2024", "c"),
        ("in:emails", "a b c"),
        ("in:photos", ""),
        ("-in:photos from:jane", "a"),
        ("camera:canon", ""),
        ("-camera:canon", "a b c"),
        ("camera:canon OR from:jane", "a"),
        ("invoice OR from:jane", "a b"),
        ("-(invoice OR from:jane)", "c"),
        ("INVOICE words from:max", "b"),
    ] {
        assert_eq!(found(&mails, &emails::DATASET, text), items, "{text}");
    }
}

#[test]
fn photos_are_found_by_place_camera_and_the_clock_of_the_place() {
    let photo = |item: &str, place: Option<(f64, f64)>| Photo {
        item: item.to_owned(),
        path: format!("/home/jane/Pictures/{item}/IMG_1.jpg"),
        latitude: place.map(|(latitude, _)| latitude),
        longitude: place.map(|(_, longitude)| longitude),
        ..Photo::default()
    };
    let photos = [
        Photo {
            camera_make: Some("Canon".to_owned()),
            // The wall clock, whatever the zone.
            taken_at: at("2024-03-01T00:30:00Z"),
            ..photo("lisbon", Some((38.7223, -9.1393)))
        },
        Photo {
            camera_model: Some("X100".to_owned()),
            taken_at: at("2024-02-29T23:30:00Z"),
            ..photo("porto", Some((41.1579, -8.6291)))
        },
        photo("fiji", Some((-17.7134, 178.065))),
        photo("pole", Some((90.0, 0.0))),
        photo("nowhere", None),
    ];
    let photos = vec![(&photos::DATASET as &'static Dataset, batch(&photos))];
    for (text, items) in [
        ("near:38.72,-9.14,25", "lisbon"),
        // 274 km apart.
        ("near:38.7223,-9.1393,273", "lisbon"),
        ("near:38.7223,-9.1393,276", "lisbon porto"),
        // Across the date line.
        ("near:-17.7134,-179.9,300", "fiji"),
        ("near:89.9,180,30", "pole"),
        ("near:0,0,20040", "fiji lisbon pole porto"),
        ("-near:38.72,-9.14,25", "fiji nowhere pole porto"),
        ("camera:canon", "lisbon"),
        ("date:2024-03-01", "lisbon"),
        ("date:2024-02-29", "porto"),
        ("filename:img_1", "fiji lisbon nowhere pole porto"),
        ("filename:jane", ""),
        ("filename:*.jpg path:porto", "porto"),
        ("filename:img*jpeg", ""),
        ("path:porto/*.jpg", "porto"),
        ("path:orto/*.jpg", ""),
    ] {
        assert_eq!(found(&photos, &photos::DATASET, text), items, "{text}");
    }
}

#[test]
fn commits_and_documents_are_found_by_path() {
    let commit = |id: &str| GitCommit {
        item: id.to_owned(),
        repository: "tools/dkc".to_owned(),
        commit: id.to_owned(),
        author: Signature {
            name: "Jane".to_owned(),
            time: at("2024-03-01T00:00:00Z"),
            ..Signature::default()
        },
        parents: Vec::new(),
        committer: Signature::default(),
        recorded_author_name: String::new(),
        recorded_author_email: String::new(),
        subject: String::new(),
        body: String::new(),
        insertions: 0,
        deletions: 0,
        files_changed: 1,
    };
    let change = |id: &str, path: &str| GitFileChange {
        item: id.to_owned(),
        repository: "tools/dkc".to_owned(),
        commit: id.to_owned(),
        path: path.to_owned(),
        old_path: None,
        change: Change::Added,
        similarity: None,
        lines: None,
        path_bytes: None,
    };
    let commits = vec![
        (
            &git_commits::DATASET as &'static Dataset,
            batch(&[commit("one"), commit("two")]),
        ),
        (
            &git_file_changes::DATASET as &'static Dataset,
            batch(&[change("one", "src/main.rs"), change("two", "docs/main.md")]),
        ),
    ];
    for (text, items) in [
        ("path:src/*.rs", "one"),
        ("path:main", "one two"),
        ("path:main -path:docs", "one"),
        ("repo:dkc author:jane", "one two"),
        ("repo:other", ""),
        ("date:2024-03 path:docs", "two"),
    ] {
        assert_eq!(found(&commits, &git_commits::DATASET, text), items, "{text}");
    }
    let document = |item: &'static str, path: &'static str| Document {
        item,
        project: (item == "a").then_some("website"),
        path,
        title: "Title",
        media_type: "text/markdown",
        text: "",
        size_bytes: 0,
        words: 0,
        modified_at: None,
    };
    let documents = [document("a", "/notes/plan.md"), document("b", "/plan/notes.txt")];
    let documents = vec![(&documents::DATASET as &'static Dataset, batch(&documents))];
    for (text, items) in [
        ("filename:plan", "a"),
        ("path:plan", "a b"),
        ("project:website", "a"),
        ("-project:website", "b"),
        ("subject:title", "a b"),
        ("date:2024", ""),
        ("-date:2024", "a b"),
    ] {
        assert_eq!(found(&documents, &documents::DATASET, text), items, "{text}");
    }
}

#[test]
fn a_dataset_that_is_not_searched_gives_nothing_and_words_alone_no_filter() {
    let now: Zoned = "2026-11-25T10:30:00+01:00[Europe/Berlin]".parse().unwrap();
    let given = |query: &Query| -> Option<Expr> { panic!("{query} is no condition") };
    let of = |text: &str, dataset| {
        let query = Query::parse(text, &now).unwrap();
        filter(&query, dataset, now.time_zone(), &given).unwrap()
    };
    assert_eq!(of("a \"b c\" -d", &emails::DATASET), None);
    assert_eq!(of("a", &document_sections::DATASET), Some(lit(false)));
}

#[test]
fn what_is_asked_twice_is_compared_once() {
    let now: Zoned = "2026-11-25T10:30:00+01:00[Europe/Berlin]".parse().unwrap();
    let of = |text: &str| {
        let query = Query::parse(text, &now).unwrap();
        filter(&query, &emails::DATASET, now.time_zone(), &|_: &Query| None).unwrap()
    };
    assert_eq!(of("to:joe OR to:joe OR to:joe"), of("to:joe"));
    assert_eq!(of("to:joe from:max to:joe"), of("to:joe from:max"));
    assert_ne!(of("to:joe to:max"), of("to:joe"));
}

#[test]
fn thousands_of_stars_are_one() {
    let mails: Vec<Email> = (0..2_000)
        .map(|at| Email {
            item: at.to_string(),
            subject: Some(format!("{at} and a subject that is long enough")),
            ..Email::default()
        })
        .collect();
    let batches = vec![(&emails::DATASET as &'static Dataset, batch(&mails))];
    let begun = std::time::Instant::now();
    let stars = "*".repeat(5_000);
    let query = format!("subject:{stars}9{stars}and{stars}enough");
    let nines = (0..2_000).filter(|at| at.to_string().contains('9')).count();
    assert_eq!(
        found(&batches, &emails::DATASET, &query).split(' ').count(),
        nines
    );
    assert!(begun.elapsed() < Duration::from_secs(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever its signs mean to SQL, to patterns or to the engine, a value is looked for as it is.
    #[test]
    fn a_value_is_looked_for_as_it_is(
        subjects in prop::collection::vec("[aA%_\\\\'\"(.)|\\[$^+? -]{0,8}", 4),
        value in "[aA%_\\\\'\"(.)|\\[$^+?-]{1,3}",
    ) {
        let mails: Vec<Email> = subjects
            .iter()
            .enumerate()
            .map(|(at, subject)| Email {
                item: at.to_string(),
                subject: Some(subject.clone()),
                ..Email::default()
            })
            .collect();
        let quoted = format!("subject:\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
        let expected: Vec<String> = subjects
            .iter()
            .enumerate()
            .filter(|(_, subject)| subject.to_lowercase().contains(&value.to_lowercase()))
            .map(|(at, _)| at.to_string())
            .collect();
        let batches = vec![(&emails::DATASET as &'static Dataset, batch(&mails))];
        prop_assert_eq!(found(&batches, &emails::DATASET, &quoted), expected.join(" "));
    }
}
