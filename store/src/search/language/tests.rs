//! What is understood of queries, and what is refused.

use super::*;
use jiff::civil::{DateTime, datetime};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// A Wednesday.
fn now() -> Zoned {
    "2026-11-25T10:30:15.5+01:00[Europe/Berlin]".parse().unwrap()
}

fn read(text: &str) -> Query {
    Query::parse(text, &now()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> WrongQuery {
    match Query::parse(text, &now()) {
        Ok(query) => panic!("{text} is read as {query}"),
        Err(wrong) => wrong,
    }
}

fn word(text: &str) -> Query {
    Query::Word(text.to_owned())
}

fn text_of(operator: Operator, value: &str) -> Query {
    Query::Where(Condition::Text {
        operator,
        value: value.to_owned(),
    })
}

fn period(text: &str) -> (Option<DateTime>, Option<DateTime>) {
    match read(text) {
        Query::Where(Condition::Date(Period { from, until })) => (from, until),
        other => panic!("{text} is read as {other:?}"),
    }
}

#[test]
fn queries_are_read_as_people_mean_them() {
    for (text, same) in [
        ("invoice  hosting", "invoice hosting"),
        ("invoice AND hosting", "invoice hosting"),
        ("a b OR c d", "a (b OR c) d"),
        ("(a b) OR c", "(a b) OR c"),
        ("a OR (b OR c)", "a OR b OR c"),
        ("a (b c)", "a b c"),
        ("((a))", "a"),
        ("NOT a", "-a"),
        ("-(-a)", "a"),
        ("NOT NOT a", "a"),
        ("-(a OR b) c", "-(a OR b) c"),
        ("-from:jane", "-from:jane"),
        ("-\"two words\"", "-\"two words\""),
        ("“two words”", "\"two words\""),
        ("FROM:Jane", "from:Jane"),
        ("from: jane", "from:jane"),
        ("from:\"Jane Doe\"", "from:\"Jane Doe\""),
        ("subject:\"report\"", "subject:report"),
        ("has:attachments", "has:attachment"),
        ("in:Emails,documents", "in:emails,documents"),
        ("near:38.72,-9.14,25km", "near:38.72,-9.14,25"),
        ("near:38.72,-9.14,25KM", "near:38.72,-9.14,25"),
        ("near:38.72,-9.14", "near:38.72,-9.14,10"),
        ("date:2024-01..2024-03", "date:2024-01-01..2024-03-31"),
        ("a\u{0}b\tc", "a b c"),
        (
            "say \"he said \\\"no\\\" twice\"",
            "say \"he said \\\"no\\\" twice\"",
        ),
        ("cargo --release", "cargo --release"),
        ("NOT --release", "NOT --release"),
        ("a - b", "a - b"),
    ] {
        let query = read(text);
        assert_eq!(query.to_string(), same, "{text}: {query:?}");
        assert_eq!(read(same), query, "{text}");
    }
}

#[test]
fn words_with_a_colon_are_words() {
    for text in [
        "12:30",
        "Re:",
        "https://example.org/a?b=c",
        "C:\\path",
        "foo:bar",
        "std::fmt",
        "a:b:c",
        "data:image/png",
        "paths:/etc",
        "node:18",
        "note:this",
        "mailto:jane@example.org",
        ":-D",
        "::",
        "rom:",
    ] {
        assert_eq!(read(text), word(text));
    }
    assert_eq!(read("\"from:jane\""), Query::Phrase("from:jane".to_owned()));
}

#[test]
fn an_operator_that_was_meant_is_named() {
    for (text, meant) in [
        ("form:jane", "from:"),
        ("fro:jane", ""),
        ("subjct:report", "subject:"),
        ("befor:2024-03", "before:"),
        ("befor:lunch", ""),
        ("dates:2024", "date:"),
        ("camra:canon", "camera:"),
        ("a form:\"Jane Doe\"", "from:"),
        ("naer:38.7,-9.1", "near:"),
    ] {
        match Query::parse(text, &now()) {
            Ok(_) => assert_eq!(meant, "", "{text}"),
            Err(wrong) => assert!(!meant.is_empty() && wrong.what.contains(meant), "{text}: {wrong}"),
        }
    }
}

#[test]
fn dates_are_days_months_years_and_spans() {
    let day = |year, month, day| Some(datetime(year, month, day, 0, 0, 0, 0));
    for (text, from, until) in [
        ("date:2024", day(2024, 1, 1), day(2025, 1, 1)),
        ("date:2024-02", day(2024, 2, 1), day(2024, 3, 1)),
        ("date:2024-02-29", day(2024, 2, 29), day(2024, 3, 1)),
        ("date:2024/02/29", day(2024, 2, 29), day(2024, 3, 1)),
        ("date:29.02.2024", day(2024, 2, 29), day(2024, 3, 1)),
        ("date:20240229", day(2024, 2, 29), day(2024, 3, 1)),
        ("date:\"february 2024\"", day(2024, 2, 1), day(2024, 3, 1)),
        ("date:2024-01..2024-03", day(2024, 1, 1), day(2024, 4, 1)),
        ("date:2024..", day(2024, 1, 1), None),
        ("date:..2024", None, day(2025, 1, 1)),
        ("before:2024-03", None, day(2024, 3, 1)),
        ("after:2024-03", day(2024, 3, 1), None),
        ("date:today", day(2026, 11, 25), day(2026, 11, 26)),
        ("date:yesterday", day(2026, 11, 24), day(2026, 11, 25)),
        ("date:this-week", day(2026, 11, 23), day(2026, 11, 30)),
        ("date:last-week", day(2026, 11, 16), day(2026, 11, 23)),
        ("date:\"last week\"", day(2026, 11, 16), day(2026, 11, 23)),
        ("date:last-month", day(2026, 10, 1), day(2026, 11, 1)),
        ("date:last-year", day(2025, 1, 1), day(2026, 1, 1)),
        ("date:2weeks", day(2026, 11, 11), None),
        ("before:30d", None, day(2026, 10, 26)),
        ("date:2026-01..today", day(2026, 1, 1), day(2026, 11, 26)),
        (
            "after:2024-03-15T10:30",
            Some(datetime(2024, 3, 15, 10, 30, 0, 0)),
            None,
        ),
        (
            "after:2024-03-15T10:30:00Z",
            Some(datetime(2024, 3, 15, 11, 30, 0, 0)),
            None,
        ),
        (
            "before:2024-03-15T10:30+05:00",
            None,
            Some(datetime(2024, 3, 15, 6, 30, 0, 0)),
        ),
        (
            "date:2024-03-15T10:30",
            Some(datetime(2024, 3, 15, 10, 30, 0, 0)),
            Some(datetime(2024, 3, 15, 10, 31, 0, 0)),
        ),
        (
            "date:2024-03-15T23:59:59",
            Some(datetime(2024, 3, 15, 23, 59, 59, 0)),
            day(2024, 3, 16),
        ),
        (
            "date:2024-03-15T10:30..2024-03-15T10:45",
            Some(datetime(2024, 3, 15, 10, 30, 0, 0)),
            Some(datetime(2024, 3, 15, 10, 45, 0, 0)),
        ),
        ("date:2024..9999", day(2024, 1, 1), Some(DateTime::MAX)),
        ("date:9999-12", day(9999, 12, 1), Some(DateTime::MAX)),
        ("after:2h", Some(datetime(2026, 11, 25, 8, 30, 15, 0)), None),
    ] {
        assert_eq!(period(text), (from, until), "{text}");
        assert_eq!(read(&read(text).to_string()), read(text), "{text}");
    }
    for text in [
        "date:soon",
        "date:..",
        "date:2024-13",
        "date:2024-02-30",
        "date:15",
        "before:2024..2025",
        "date:last week",
        "date:0d",
        "date:-",
        "date:99999999y",
    ] {
        assert!(refused(text).what.contains("is no date"), "{text}");
    }
    assert!(
        refused("date:2024-03..2024-01")
            .what
            .contains("earlier date first")
    );
}

#[test]
fn a_mistake_has_its_column_and_what_to_do() {
    for (text, column, says) in [
        ("", 1, "write a word"),
        (" \t ", 1, "write a word"),
        ("a (b", 3, "not closed"),
        ("ä \"b c", 3, "not closed"),
        ("a) b", 2, "put it in quotes"),
        ("a ()", 3, "put them in quotes"),
        ("a \"\"", 3, "leave them out"),
        ("OR a", 1, "put it in quotes"),
        ("a OR", 3, "put it in quotes"),
        ("a OR OR b", 6, "put it in quotes"),
        ("a NOT", 3, "put it in quotes"),
        ("x from:", 3, "from:jane@example.org"),
        ("x from:(a OR b)", 3, "has no value"),
        ("in:mails", 4, "did you mean `emails`"),
        ("in:things", 4, "there are documents, emails, git_commits, photos"),
        ("in:runs", 4, "there is no dataset `runs`"),
        ("has:wings", 5, "has:attachment"),
        ("near:here", 6, "near:38.72,-9.14,25"),
        ("near:91,0,1", 6, "latitude"),
        ("near:1,2,-1", 6, "latitude"),
        ("near:NaN,2,1", 6, "latitude"),
        ("x date:soon", 8, "last-week"),
        ("日本 form:jane", 4, "from:"),
    ] {
        let wrong = refused(text);
        assert_eq!(wrong.column, column, "{text}: {wrong}");
        assert!(wrong.what.contains(says), "{text}: {wrong}");
        assert!(text.get(wrong.span.clone()).is_some(), "{text}: {wrong:?}");
    }
}

#[test]
fn too_much_is_refused_at_once() {
    let many = |what: &str, times| what.repeat(times);
    for text in [
        many("word ", 1_000_000 / 5),
        many("from:a ", 10_000),
        many("from:a ", MOST_OPERATORS + 1),
        many("a OR ", 3_000) + "a",
        many("(", 10_000),
        many("((a) ", 3_000),
        many("-(", 5_000),
        many("NOT ", 4_000) + "a",
        many("\"", 16_000),
        many("a:", 8_000),
        many("form:a OR ", 1_600),
        many("\u{0}", 16_000),
        many("\\", 16_000),
        many("\"\\\"", 5_000),
        format!("date:{}", many("x", 10_000)),
        format!("in:{}", many("x", 10_000)),
    ] {
        let begun = Instant::now();
        let outcome = Query::parse(&text, &now());
        assert!(begun.elapsed() < Duration::from_secs(1), "{:.20}", text);
        if let Err(wrong) = outcome {
            assert!(wrong.what.len() < 300 && !wrong.what.is_empty(), "{wrong}");
        }
    }
    let deep = |depth| format!("{}a{}", many("(", depth), many(")", depth));
    assert_eq!(read(&deep(MOST_DEPTH)), word("a"));
    assert!(refused(&deep(MOST_DEPTH + 1)).what.contains("more simply"));
    assert!(refused(&many("a ", MOST_WORDS + 1)).what.contains("1000 words"));
    read(&many("from:a ", MOST_OPERATORS));
}

#[test]
fn what_would_take_long_is_refused_where_it_is_too_much() {
    let many = |what: &str, times| what.repeat(times);
    let number = |from: &str, times| (0..times).map(|at| format!("{from}{at} ")).collect::<String>();
    for (text, column, says) in [
        (many("-the ", 1_000), 16 * 5 + 2, "at most 16 words that must not"),
        (
            number("-w", 20),
            10 * 4 + 6 * 5 + 2,
            "at most 16 words that must not",
        ),
        (
            format!("-({})", many("a ", 17)),
            35,
            "at most 16 words that must not",
        ),
        (
            format!("-{}", many("a.", 17)),
            2,
            "at most 16 words that must not",
        ),
        (
            format!("-\"{}\"", many("a ", 17)),
            2,
            "at most 16 words that must not",
        ),
        (number("to:x", 200), 10 * 6 + 10 * 7 + 1, "at most 20 operators"),
        (
            number("filename:x", 200),
            10 * 12 + 10 * 13 + 1,
            "at most 20 operators",
        ),
        (many("\"a b\" ", 7), 6 * 6 + 1, "at most 6 phrases"),
        (
            format!("x \"{}\"", many("a ", 65)),
            3,
            "at most 64 words in quotes",
        ),
        (many("a.", 1_001), 1, "at most 1000 words"),
        (many("(a OR from:b) ", 9), 1, "at most 8"),
        (format!("-({}from:b)", many("a OR ", 9)), 1, "at most 8"),
        (format!("x subject:{}", many("a*", 9)), 11, "at most 8"),
    ] {
        let wrong = refused(&text);
        assert_eq!(wrong.column, column, "{text:.40}: {wrong}");
        assert!(wrong.what.contains(says), "{text:.40}: {wrong}");
    }
    // Values are no phrases, and what is in brackets without NOT is wanted.
    read(&many("from:\"a b\" ", 10));
    read(&format!("-a ({}) -b", many("c ", 100)));
    read(&format!("subject:{}", many("*", 8_000)));
}

#[test]
fn words_and_operators_are_told_apart() {
    let query = read("invoice \"last spring\" -draft from:jane (a OR b) (c OR has:attachment)");
    let joined = |queries: Vec<&Query>| {
        queries
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" | ")
    };
    assert_eq!(
        joined(query.words().collect()),
        "invoice | \"last spring\" | a OR b"
    );
    assert_eq!(joined(query.unwanted().collect()), "draft");
    assert_eq!(
        joined(query.conditions().collect()),
        "from:jane | c OR has:attachment"
    );
    assert_eq!(query.wanted(), "invoice last spring a b c");
    assert_eq!(read("from:jane").words().count(), 0);
    assert_eq!(read("from:jane").wanted(), "");
}

#[test]
fn datasets_that_cannot_answer_are_not_searched() {
    let names = |text: &str| {
        let names: Vec<&str> = read(text).datasets().iter().map(|dataset| dataset.name).collect();
        names.join(" ")
    };
    for (text, datasets) in [
        ("x", "documents emails git_commits photos"),
        ("from:jane", "emails"),
        ("from:jane OR camera:canon", "emails photos"),
        ("from:jane camera:canon", ""),
        ("subject:x -from:jane", "documents emails git_commits photos"),
        ("in:documents,photos path:x", "documents photos"),
        ("-in:emails date:2024", "documents git_commits photos"),
        ("-(in:emails OR in:photos)", "documents git_commits"),
        ("repo:x OR project:y", "documents git_commits"),
    ] {
        assert_eq!(names(text), datasets, "{text}");
    }
}

#[test]
fn an_analysis_says_what_was_understood() {
    let query = read("from:jane (invoice OR \"credit note\") -draft date:2024-01..2024-03");
    let analysis = Analysis(&query);
    assert_eq!(
        analysis.to_string(),
        "all of\n  sender's name or address has this: jane\n  any of\n    word invoice\n    phrase \"credit note\"\n  \
         not: word draft\n  date from 2024-01-01T00:00:00 before 2024-04-01T00:00:00\nsearched: emails"
    );
    let json = analysis.json();
    assert_eq!(json["datasets"], serde_json::json!(["emails"]));
    assert_eq!(
        json["reads"]["all"][0],
        serde_json::json!({"operator": "from", "value": "jane"})
    );
    assert_eq!(
        json["reads"]["all"][2],
        serde_json::json!({"not": {"word": "draft"}})
    );
    assert_eq!(json["query"], query.to_string());
}

#[test]
fn every_example_of_an_operator_is_read() {
    for operator in Operator::ALL {
        let Query::Where(condition) = read(operator.example()) else {
            panic!("{operator:?}");
        };
        assert_eq!(condition.operator(), *operator, "{condition}");
    }
}

fn piece() -> impl Strategy<Value = String> {
    let operators: Vec<String> = Operator::ALL
        .iter()
        .map(|operator| operator.example().to_owned())
        .collect();
    prop_oneof![
        4 => "[a-zäß一]{1,6}",
        3 => Just(" ".to_owned()),
        1 => Just("(".to_owned()),
        1 => Just(")".to_owned()),
        1 => Just("\"".to_owned()),
        1 => Just("\\".to_owned()),
        1 => Just("-".to_owned()),
        1 => Just(" OR ".to_owned()),
        1 => Just(" AND ".to_owned()),
        1 => Just(" NOT ".to_owned()),
        2 => prop::sample::select(operators),
        1 => Just("subject:\"".to_owned()),
        1 => Just("from:".to_owned()),
        1 => "\\PC{1,4}",
        1 => any::<char>().prop_map(String::from),
    ]
}

fn tree() -> impl Strategy<Value = Query> {
    let leaf = prop_oneof![
        "[a-z]{1,6}".prop_filter_map("operator", |text| Some(word(&text))),
        "[a-z\"\\\\ ()]{0,6}[a-z]".prop_map(Query::Phrase),
        ("[a-z*\"\\\\()]{0,6}[a-z]").prop_map(|value| text_of(Operator::Subject, &value)),
        (-90.0..90.0_f64, -180.0..180.0_f64, 0.0..20_000.0_f64).prop_map(
            |(latitude, longitude, kilometres)| {
                Query::Where(Condition::Near {
                    latitude,
                    longitude,
                    kilometres,
                })
            }
        ),
        Just(Query::Where(Condition::Attachment)),
        (1990..2030_i16, 1..13_i8, 1..29_i8, 0..24_i8).prop_map(|(year, month, day, hour)| {
            let from = datetime(year, month, day, hour, 0, 0, 0);
            let until = from.date().last_of_month().tomorrow().unwrap();
            Query::Where(Condition::Date(Period {
                from: Some(from),
                until: Some(until.into()),
            }))
        }),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|queries| Query::all(queries).unwrap()),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|queries| Query::any(queries).unwrap()),
            inner.prop_map(Query::without),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_read_prints_as_it_reads(pieces in prop::collection::vec(piece(), 0..20)) {
        let text = pieces.concat();
        match Query::parse(&text, &now()) {
            Ok(query) => {
                let printed = query.to_string();
                let again = Query::parse(&printed, &now());
                prop_assert_eq!(&again, &Ok(query.clone()), "{}", printed);
                prop_assert_eq!(again.unwrap().to_string(), printed);
                Analysis(&query).json();
            }
            Err(wrong) => {
                prop_assert!(text.get(wrong.span.clone()).is_some(), "{:?}", wrong);
                prop_assert!(wrong.column <= text.chars().count() + 1);
                prop_assert!(!wrong.what.is_empty());
            }
        }
    }

    #[test]
    fn a_tree_prints_as_it_reads(tree in tree()) {
        match Query::parse(&tree.to_string(), &now()) {
            Err(wrong) if wrong.what.contains("at most") => {}
            read => prop_assert_eq!(read, Ok(tree)),
        }
    }

    #[test]
    fn anything_in_quotes_is_a_phrase(text in "\\PC{0,20}[a-z]") {
        let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        prop_assert_eq!(Query::parse(&quoted, &now()), Ok(Query::Phrase(text)));
    }
}
