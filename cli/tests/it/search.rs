//! Search: what is found, by words, by meaning and in SQL; what becomes of it when the lake changes, when a process is
//! killed, when files are damaged; what a hostile query gets.

use crate::it::lab::{self, Lab, MAIL};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use store::embedder::DEFAULT_TRANSFORMER;

const NOTES: &str =
    "[[pipeline]]\nname = \"notes\"\nsource = { kind = \"documents\", roots = [\"notes\"] }\n";

fn mail(from: &str, date: &str, subject: &str, body: &str) -> String {
    format!(
        "From: {from}\r\nTo: Me <me@example.org>\r\nDate: {date}\r\nSubject: {subject}\r\n\
         Message-ID: <{}@example.org>\r\n\r\n{body}\r\n",
        subject.replace([' ', ':'], "-")
    )
}

/// Mails and notes, collected.
fn collected() -> Lab {
    let lab = Lab::new(&format!("{MAIL}{NOTES}"));
    lab.deliver(
        "",
        &[
            mail(
                "Acme Hosting <billing@acme.example>",
                "Tue, 12 Mar 2024 10:00:00 +0000",
                "Your invoice for March",
                "Please find the invoice for your hosting plan attached.",
            ),
            mail(
                "Jane Doe <jane@example.org>",
                "Wed, 13 Mar 2024 10:00:00 +0000",
                "Re: Your invoice for March",
                "This is too expensive.\r\n\r\nOn Tue, 12 Mar 2024, Acme Hosting wrote:\r\n\
                 > Please find the invoice for your hosting plan attached.",
            ),
            mail(
                "Jane Doe <jane@example.org>",
                "Thu, 14 Mar 2024 10:00:00 +0000",
                "Holidays",
                "The harbour of Lisbon at night was beautiful.",
            ),
        ],
    );
    lab.write(
        "notes/plan.md",
        "# Plan\n\nBuy a boat.\n\n## Swarm\n\nWe decided to drop Docker Swarm, since nobody maintains it.\n",
    );
    lab.write(
        "notes/other.md",
        "# Other\n\nThe hosting of the site moves in spring.\n",
    );
    lab.runs();
    lab
}

fn hits(lab: &Lab, arguments: &[&str]) -> Vec<Value> {
    // Behind `--` an option would be a word.
    let out = lab.output(&[&["search", "--json"], arguments].concat());
    let answer: Value = serde_json::from_str(&out).unwrap();
    answer["hits"].as_array().unwrap().clone()
}

fn titles(lab: &Lab, arguments: &[&str]) -> Vec<String> {
    let hits = hits(lab, arguments);
    let title = |hit: &Value| hit["title"].as_str().unwrap_or_default().to_owned();
    hits.iter().map(title).collect()
}

/// How much is indexed of a dataset.
fn status(lab: &Lab, dataset: &str) -> Value {
    let all = lab.json(&["index", "status"]);
    let all = all.as_array().unwrap();
    all.iter()
        .find(|status| status["dataset"] == dataset)
        .unwrap_or_else(|| panic!("{all:#?}"))
        .clone()
}

#[test]
fn words_and_operators_find_rows_of_every_dataset() {
    let lab = collected();
    // Those with all words first, then those with some; a text that is only repeated counts less.
    let found = titles(&lab, &["invoice", "hosting"]);
    assert_eq!(
        found[..2],
        ["Your invoice for March", "Re: Your invoice for March"]
    );
    assert_eq!(found[2..], ["Other"]);
    assert_eq!(
        titles(&lab, &["from:jane"]),
        ["Holidays", "Re: Your invoice for March"]
    );
    assert_eq!(
        titles(&lab, &["invoice from:jane"]),
        ["Re: Your invoice for March"]
    );
    assert_eq!(
        titles(&lab, &["before:2024-03-13 in:emails"]),
        ["Your invoice for March"]
    );
    assert_eq!(
        titles(&lab, &["invoice", "--", "-expensive"]),
        ["Your invoice for March"]
    );
    assert_eq!(titles(&lab, &["(boat OR from:acme)"]).len(), 2);
    assert_eq!(titles(&lab, &["\"docker swarm\"", "--in", "documents"]), ["Plan"]);
    assert_eq!(titles(&lab, &["swarm path:notes/*.md"]), ["Plan"]);
    assert_eq!(titles(&lab, &["filename:*.pdf"]), Vec::<String>::new());
    let swarm = &hits(&lab, &["swarm"])[0];
    assert_eq!(swarm["heading"], "Swarm");
    assert!(
        swarm["snippet"].as_str().unwrap().contains("Docker Swarm"),
        "{swarm:#}"
    );
    assert!(!swarm["matches"].as_array().unwrap().is_empty());
    assert_eq!(swarm["why"]["words_rank"], 1);
    let text = lab.output(&["search", "swarm", "--explain"]);
    assert!(
        text.contains("Docker **Swarm**") && text.contains("BM25"),
        "{text}"
    );
}

#[test]
fn words_of_scripts_without_blanks_are_found_within_sentences() {
    let lab = Lab::new(NOTES);
    lab.write("notes/ja.md", "# 予定\n\n明日の会議は十時からです。\n");
    lab.write("notes/zh.md", "# 记录\n\n我们决定不再使用旧的服务器。\n");
    lab.write("notes/th.md", "# บันทึก\n\nวันนี้มีประชุมใหญ่\n");
    lab.write(
        "notes/en.md",
        "# Site\n\nWe run www.example.org on it; Müller runs it.\n",
    );
    lab.runs();
    for (query, title, marked) in [
        ("会議", "予定", "会議"),
        ("服务器", "记录", "服务器"),
        ("服务器 旧", "记录", "旧"),
        ("ประชุม", "บันทึก", "ประชุม"),
        ("example", "Site", "example"),
        ("muller", "Site", "Müller"),
        ("running", "Site", "run"),
    ] {
        let found = hits(&lab, &[query, "--words"]);
        assert_eq!(found.len(), 1, "{query}: {found:#?}");
        let (hit, snippet) = (&found[0], found[0]["snippet"].as_str().unwrap());
        assert_eq!(hit["title"], title, "{query}");
        let bound = |at: usize| usize::try_from(hit["matches"][0][at].as_u64().unwrap()).unwrap();
        let first: String = snippet.chars().take(bound(1)).skip(bound(0)).collect();
        assert_eq!(first, marked, "{query}: {hit:#}");
    }
}

#[test]
fn a_phrase_must_be_there_and_what_every_text_has_finds_nothing() {
    let lab = collected();
    let both = ["Your invoice for March", "Re: Your invoice for March"];
    // `Other` has one of the words, and not the phrase.
    assert_eq!(titles(&lab, &["\"hosting plan\" spring"]), both);
    assert_eq!(titles(&lab, &["\"plan hosting\" spring"]), Vec::<String>::new());
    // Both phrases, though in different sections of it.
    assert_eq!(
        titles(&lab, &["\"buy a boat\" \"docker swarm\" in:documents"]),
        ["Plan"]
    );
    assert_eq!(titles(&lab, &["what is the harbour of Lisbon"]), ["Holidays"]);
    let found = &hits(&lab, &["what was said of the swarm"])[0];
    assert!(!found["snippet"].as_str().unwrap().is_empty());
    for bound in found["matches"].as_array().unwrap() {
        let length = bound[1].as_u64().unwrap() - bound[0].as_u64().unwrap();
        assert_eq!(length, 5, "only what tells something is marked: {found:#}");
    }
}

#[test]
fn words_beside_operators_may_stand_anywhere_in_a_row() {
    let lab = collected();
    let (acme, reply, holidays) = ("Your invoice for March", "Re: Your invoice for March", "Holidays");
    for (query, found) in [
        // The reply says it in what it repeats.
        ("-(attached OR from:nobody)", vec![holidays]),
        ("-(expensive attached)", vec![holidays, acme]),
        ("-(expensive attached from:jane)", vec![holidays, acme]),
        ("-(harbour from:jane)", vec![reply, acme]),
        // As the index finds words elsewhere: by their stems, and whole.
        ("(invoices OR from:nobody)", vec![reply, acme]),
        ("(harb OR from:nobody)", vec![]),
        ("(\"of Lisbon\" OR from:nobody)", vec![holidays]),
        ("-(attached OR harbour)", vec![]),
        ("-filename:a.pdf -filename:b.pdf from:jane", vec![holidays, reply]),
    ] {
        assert_eq!(
            titles(&lab, &[format!("in:emails {query}").as_str()]),
            found,
            "{query}"
        );
    }
}

#[test]
fn words_beside_operators_need_not_be_near() {
    let lab = collected().with("DKC_MODELS", fixtures::corpus::models().to_str().unwrap());
    lab.output(&["index", "build"]);
    let found = hits(&lab, &["swarm OR from:jane"]);
    let titles: Vec<_> = found.iter().map(|hit| hit["title"].as_str().unwrap()).collect();
    assert_eq!(
        titles,
        ["Plan", "Holidays", "Re: Your invoice for March"],
        "{found:#?}"
    );
    assert!(found[0]["why"]["cosine"].as_f64().is_some(), "{found:#?}");
    assert!(found[1]["why"]["bm25"].is_null(), "{found:#?}");
}

#[test]
fn a_changed_a_moved_and_a_deleted_document_are_right_after_the_next_run() {
    let lab = collected();
    lab.write(
        "notes/plan.md",
        "# Plan\n\nSell the boat, said the harbourmaster.\n",
    );
    fs::rename(lab.path("notes/other.md"), lab.path("notes/moved.md")).unwrap();
    lab.write("notes/third.md", "# Third\n\nA lighthouse.\n");
    lab.runs();
    assert_eq!(titles(&lab, &["swarm", "in:documents"]), Vec::<String>::new());
    assert_eq!(titles(&lab, &["harbourmaster"]), ["Plan"]);
    assert_eq!(titles(&lab, &["spring path:moved.md"]), ["Other"]);
    assert_eq!(titles(&lab, &["path:other.md"]), Vec::<String>::new());
    fs::remove_file(lab.path("notes/third.md")).unwrap();
    lab.runs();
    assert_eq!(titles(&lab, &["lighthouse"]), Vec::<String>::new());
    let all = status(&lab, "documents");
    assert_eq!(
        (&all["chunks"], &all["snapshot"]),
        (&2.into(), &all["newest"]),
        "{all:#}"
    );
    // A compaction moves all rows and changes none.
    lab.output(&["compact", "--expire-older-than", "0d"]);
    lab.output(&["index", "build"]);
    assert_eq!(titles(&lab, &["harbourmaster"]), ["Plan"]);
    assert_eq!(status(&lab, "documents")["chunks"], 2);
}

#[test]
fn without_a_model_words_find_and_meaning_says_how_to_turn_it_on() {
    let lab = collected();
    let answer = lab.json(&["search", "boat"]);
    assert_eq!(answer["hits"].as_array().unwrap().len(), 1);
    let note = answer["notes"][0].as_str().unwrap();
    assert!(note.contains("dkc index model --install"), "{note}");
    let said = lab.said(&["search", "--meaning", "boat"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("dkc index model --install"), "{said:#?}");
    let empty = Lab::new(NOTES);
    assert_eq!(empty.said(&["search", "boat"]).code, Some(1));
}

#[test]
fn a_build_that_is_killed_again_and_again_leaves_what_was_there_and_ends_with_every_chunk_once() {
    let lab = Lab::new(NOTES);
    let find_some = || {
        for number in [0, 150, 299] {
            let word = format!("word{number}");
            assert_eq!(titles(&lab, &[word.as_str()]), [format!("Note {number}")]);
        }
    };
    for number in 0..300 {
        let text = format!(
            "# Note {number}\n\n{}",
            format!("word{number} and more. ").repeat(60)
        );
        lab.write(format!("notes/{number}.md"), text);
    }
    lab.runs();
    let whole = status(&lab, "documents");
    let anew = || {
        lab.command::<&str>(&[], &["index", "build", "--anew"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    for after in [5, 20, 60, 120, 200, 350, 600] {
        let mut build = anew();
        // The moment is what is tried; nothing waits for it.
        std::thread::sleep(Duration::from_millis(after));
        build.kill().unwrap();
        build.wait().unwrap();
        find_some();
        assert_eq!(status(&lab, "documents")["chunks"], whole["chunks"]);
    }
    // What was half made is worth nothing to what is there.
    lab.output(&["index", "build"]);
    assert!(!lab.data().join("vectors/documents-behind.lance").exists());
    assert_eq!(status(&lab, "documents"), whole);
    // Who searches meanwhile sees the one or the other.
    let mut build = anew();
    let ended = loop {
        find_some();
        if let Some(ended) = build.try_wait().unwrap() {
            break ended;
        }
    };
    assert!(ended.success());
    find_some();
    assert_eq!(status(&lab, "documents"), whole);
    // What comes next goes into the new one.
    lab.write("notes/new.md", "# New\n\nA lighthouse.\n");
    lab.runs();
    assert_eq!(titles(&lab, &["lighthouse"]), ["New"]);
}

#[test]
fn what_a_run_brings_while_a_model_reads_is_found_at_once() {
    let lab = Lab::new(&format!("[limits]\nthreads = 1\n{NOTES}"));
    let lab = lab.with("DKC_MODELS", fixtures::corpus::models().to_str().unwrap());
    for number in 0..600 {
        let text = format!(
            "# Note {number}\n\n{}",
            format!("word{number} and more. ").repeat(60)
        );
        lab.write(format!("notes/{number}.md"), text);
    }
    lab.runs();
    let mut build = lab
        .command::<&str>(&[], &["index", "build"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let read = || {
        let status = status(&lab, "documents");
        let models = status["models"].as_array().unwrap().clone();
        let mut models = models.into_iter();
        models.find(|model| model["name"] == DEFAULT_TRANSFORMER && model["vectors"] != 0)
    };
    let first = lab::until("the first texts that were read", read);
    assert_ne!(first["pending"], 0, "{first:#}");

    lab.write("notes/new.md", "# New\n\nA lighthouse.\n");
    let run = lab.said(&["run"]);
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert!(!run.err.contains("search does not see"), "{run:#?}");
    assert_eq!(titles(&lab, &["lighthouse", "--words"]), ["New"]);
    assert!(build.try_wait().unwrap().is_none(), "it reads still");
    build.kill().unwrap();
    build.wait().unwrap();
    let then = read().unwrap();
    assert!(
        then["vectors"].as_u64().unwrap() >= first["vectors"].as_u64().unwrap(),
        "what was read stays: {then:#}"
    );
}

#[test]
fn what_a_model_read_stays_when_another_is_configured() {
    let lab = Lab::new(NOTES).with("DKC_MODELS", fixtures::corpus::models().to_str().unwrap());
    lab.write("notes/first.md", "# First\n\nA lighthouse.\n");
    lab.write("notes/second.md", "# Second\n\nA harbour.\n");
    lab.runs();
    lab.output(&["index", "build"]);
    let optimized = || {
        lab.output(&["index", "optimize"]);
        let status = status(&lab, "documents");
        let models = status["models"].as_array().unwrap();
        let model = models.iter().find(|model| model["name"] == DEFAULT_TRANSFORMER);
        let model = model.unwrap();
        (
            model["vectors"].as_u64().unwrap(),
            model["stale"].as_u64().unwrap(),
        )
    };
    lab.write("dkc.toml", format!("[search]\nmodel = \"other\"\n{NOTES}"));
    fs::remove_file(lab.path("notes/second.md")).unwrap();
    lab.runs();
    assert_eq!(optimized(), (2, 1));
    lab.write("dkc.toml", NOTES);
    assert_eq!(optimized(), (1, 0));
}

#[test]
fn a_damaged_index_is_made_again_by_one_command() {
    let lab = collected();
    let mut harmed = 0;
    for entry in walk(&lab.data().join("vectors")) {
        if entry
            .extension()
            .is_some_and(|kind| kind == "lance" || kind == "manifest")
            && entry.is_file()
        {
            fs::write(&entry, b"rot").unwrap();
            harmed += 1;
        }
    }
    assert!(harmed > 2);
    let said = lab.said(&["search", "boat"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("dkc index build --anew"), "{said:#?}");
    let damaged = lab.copied_to("damaged");
    lab.output(&["index", "build", "--anew"]);
    assert_eq!(titles(&lab, &["boat"]), ["Plan"]);
    let whole = status(&lab, "documents");
    lab.output(&["index", "build"]);
    assert_eq!(status(&lab, "documents"), whole);
    // Nobody may be there to say it: the next run does it too, and tells.
    lab.write("notes/new.md", "# New\n\nA lighthouse.\n");
    let run = damaged.said(&["run"]);
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert!(run.err.contains("made again from the lake"), "{run:#?}");
    assert_eq!(titles(&damaged, &["boat"]), ["Plan"]);
    assert_eq!(titles(&damaged, &["lighthouse"]), ["New"]);
}

#[test]
fn an_old_index_that_cannot_be_removed_stops_no_run_and_hides_no_error() {
    let lab = collected();
    // A file is not removed as a folder is.
    let old = lab.data().join("vectors/emails-behind.lance");
    fs::write(&old, "").unwrap();
    let is_told = |err: &str| {
        let mut lines = err.lines();
        lines.any(|line| line.contains("WARN") && line.contains("emails-behind.lance"))
    };
    lab.write("notes/new.md", "# New\n\nA lighthouse.\n");
    for arguments in [&["run"][..], &["index", "build"], &["index", "optimize"]] {
        let said = lab.said(arguments);
        assert_eq!(said.code, Some(0), "{said:#?}");
        assert!(is_told(&said.err), "{said:#?}");
        assert!(!said.err.contains("search does not see"), "{said:#?}");
    }
    assert_eq!(titles(&lab, &["lighthouse"]), ["New"]);

    // Why a build fails is told, and not that what it left stays.
    let broken = lab.copied_to("broken");
    let is_of_documents = |file: &Path| file.parent().is_some_and(|folder| folder.ends_with("documents"));
    for file in broken.parquet_files() {
        if is_of_documents(&file) {
            fs::remove_file(file).unwrap();
        }
    }
    let said = broken.said(&["index", "build", "documents", "--anew", "--json"]);
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(is_told(&said.err), "{said:#?}");
    let mut lines = said.err.lines();
    let error = lines.find(|line| line.starts_with("{\"error\"")).unwrap();
    assert!(
        error.contains(".parquet") && !error.contains("emails-behind"),
        "{said:#?}"
    );
    // Nothing is made on top of what is left.
    let said = lab.said(&["index", "build", "emails", "--anew"]);
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert_eq!(titles(&lab, &["harbour"]), ["Holidays"]);

    // It is gone as soon as it can be removed.
    fs::remove_file(&old).unwrap();
    fs::create_dir(&old).unwrap();
    let said = lab.said(&["index", "build"]);
    assert!(!is_told(&said.err) && !old.exists(), "{said:#?}");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn hostile_queries_are_answered_or_refused_within_a_second() {
    let lab = collected();
    let many = |what: &str, times: usize| what.repeat(times);
    let numbered = |what: &str, times: usize| (0..times).map(|at| format!("{what}{at} ")).collect::<String>();
    let hostile = [
        "'; DROP TABLE emails; --".to_owned(),
        "\" OR 1=1 UNION SELECT * FROM raw".to_owned(),
        "\u{1b}[31mred\u{7} \u{202e}txet \u{0b}".to_owned(),
        many("a", 100_000),
        many("invoice ", 10_000),
        many("from:jane ", 10_000),
        many("from:jane ", 200),
        many("(", 5_000),
        many("-", 5_000),
        many("\"invoice hosting\" ", 900),
        "(a OR from:b) ".repeat(190),
        "(a OR from:b) ".repeat(8),
        "-the ".repeat(1_000),
        numbered("-invoice", 200),
        numbered("-w", 16),
        numbered("to:x OR ", 200),
        numbered("to:a", 20),
        numbered("filename:x", 20),
        numbered("path:x", 20),
        format!("subject:{}", many("*", 8_000)),
        format!("subject:{}", many("a*", 4_000)),
        format!("\"{}\"", many("the ", 3_000)),
        "* ** *.* from:* subject:**".to_owned(),
        "from:".to_owned(),
        "near:1,2,3,4,5 date:99999 has:nothing in:nowhere".to_owned(),
        "日本語 مرحبا 👩‍👩‍👧‍👦 ﷽".to_owned(),
        "... --- ...".to_owned(),
        "search('emails', 'x')".to_owned(),
    ];
    for query in hostile {
        let shown: String = query.chars().take(60).collect();
        let began = Instant::now();
        let said = lab.said(&["search", "--json", "--", &query]);
        let took = began.elapsed();
        assert!(matches!(said.code, Some(0..=2)), "{shown}: {said:#?}");
        assert!(!said.err.contains("panicked"), "{shown}: {said:#?}");
        assert!(took < Duration::from_secs(2), "{shown}: {took:?}");
        match said.code {
            Some(0) => assert!(serde_json::from_str::<Value>(&said.out).is_ok()),
            _ => assert!(!said.err.is_empty()),
        }
    }
    let wrong = lab.said(&["search", "form:jane"]);
    assert_eq!(wrong.code, Some(2), "{wrong:#?}");
}

#[test]
fn sql_joins_what_a_search_finds() {
    let lab = collected();
    let rows = lab.sql(
        "SELECT e.subject, s.score > 0 AS scored, s.snippet FROM text_search('emails', 'invoice -expensive', 5) s
         JOIN emails e USING (_source, _item) ORDER BY s.score DESC",
    );
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["subject"], "Your invoice for March");
    assert_eq!(rows[0]["scored"], true);
    assert_eq!(
        lab.number(
            "SELECT count(*) FROM search('documents', 'boat') JOIN document_sections USING (_source, _item)"
        ),
        2
    );
    let said = lab.said(&[
        "sql",
        "-c",
        "SELECT * FROM search('emails', :q, 1)",
        "--param",
        "q=from:jane",
    ]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    for (query, wanted) in [
        (
            "SELECT * FROM vector_search('emails', 'x')",
            "dkc index model --install",
        ),
        (
            "SELECT * FROM search('email', 'x')",
            "no dataset `email`; did you mean `emails`?",
        ),
        ("SELECT * FROM search('runs', 'x')", "`runs` cannot be searched"),
        ("SELECT * FROM search('emails', 'form:x')", "column"),
        ("SELECT * FROM search('emails', 'x', 0)", "a number from 1"),
        (
            "SELECT * FROM search('emails', subject) JOIN emails USING (_item)",
            "write search(",
        ),
    ] {
        let said = lab.said(&["sql", "-c", query]);
        assert_eq!(said.code, Some(1), "{query}: {said:#?}");
        let err = said.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(err.contains(wanted), "{query}: {err}");
    }
}

#[test]
fn conditions_of_sql_say_where_to_look_and_a_search_has_no_past() {
    let work = "[[pipeline]]\nname = \"work\"\nsource = { kind = \"documents\", roots = [\"work\"] }\n";
    let lab = Lab::new(&format!("{NOTES}{work}"));
    lab.write("notes/first.md", "# First\n\nboat boat boat\n");
    lab.write(
        "work/far.md",
        "# Far\n\nA boat, among many other words of a text that says little of it.\n",
    );
    lab.runs();
    let best = |condition: &str| -> Vec<String> {
        let sql = format!("SELECT s.title FROM search('documents', 'boat', 1) s {condition}");
        let rows = lab.sql(&sql);
        let title = |row: &Value| row["title"].as_str().unwrap().to_owned();
        rows.iter().map(title).collect()
    };
    assert_eq!(best(""), ["First"]);
    for condition in [
        "WHERE _source = 'work'",
        "WHERE s._source IN ('work', 'other') AND score > 0",
        "WHERE _source <> 'notes' AND _item LIKE '%'",
        "WHERE upper(title) = 'FAR'",
        "WHERE s._source = 'work' ORDER BY score DESC LIMIT 1",
    ] {
        assert_eq!(best(condition), ["Far"], "{condition}");
    }
    assert!(best("WHERE _source = 'other'").is_empty());
    // Of what was found.
    assert!(best("WHERE snippet LIKE '%among%'").is_empty());

    let query = "SELECT title FROM search('documents', 'boat', 1)";
    let snapshot = lab.snapshot().to_string();
    let said = lab.said(&["sql", "--as-of", &snapshot, "-c", query]);
    let err = said.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.code == Some(1) && err.contains("from the present only"),
        "{said:#?}"
    );
    // An export is of a snapshot, too, though nobody asked for one.
    let exported = lab.output(&["export", "--query", query, "--to", "-", "--format", "csv"]);
    assert!(exported.contains("First"), "{exported}");
}

#[test]
fn json_has_moments_in_utc_and_explain_says_what_there_is() {
    let lab = collected();
    let found = hits(&lab, &["invoice from:acme"]);
    assert_eq!(found[0]["date"], "2024-03-12T10:00:00Z");
    assert!(found[0]["others"].is_u64(), "{found:#?}");
    assert_eq!(found[0]["why"]["all_words"], true);
    let text = lab.output(&["search", "--explain", "invoice", "hosting"]);
    assert!(text.contains("some of them") && text.contains("score"), "{text}");
    let text = lab.output(&["search", "--explain", "from:jane"]);
    assert!(
        text.contains("by its date") && !text.contains("score 0"),
        "{text}"
    );
}

#[test]
fn judgements_that_fit_nothing_are_told() {
    let lab = collected();
    lab.write("topics.tsv", "1\tinvoice hosting\n2\tharbour\n");
    let eval = |judgements: &str, dataset: &str| {
        lab.write("topics.qrels", judgements);
        lab.said(&["search", "eval", "topics.tsv", "--in", dataset, "--json"])
    };
    let wrong = [
        ("9 0 plan 1\n", "documents", "topics that are judged: 0 of 2"),
        ("1 0 nowhere 1\n", "documents", "`documents` has: 0 of 1"),
        ("1 0 plan 1\n", "git_file_changes", "cannot be searched"),
    ];
    for (judgements, dataset, told) in wrong {
        let said = eval(judgements, dataset);
        assert!(said.code == Some(2) && said.err.contains(told), "{said:#?}");
    }
    let said = eval(
        "1 0 <Your-invoice-for-March@example.org> 1\n1 0 <gone@example.org> 1\n3 0 x 1\n",
        "emails",
    );
    assert_eq!(said.code, Some(0), "{said:#?}");
    for told in [
        "topics that are judged: 1 of 2",
        "judged topics without a query, which do not count: 1",
        "`emails` has: 1 of 2",
    ] {
        assert!(said.err.contains(told), "{told}: {said:#?}");
    }
    let rows: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&rows[0]["mode"], &rows[0]["reciprocal_rank"]),
        (&"words".into(), &json!(1.0)),
        "{rows:#}"
    );
}

/// Notes, collected, and models with one reranker, `counting`: the score of a text is how often it says `spring`.
fn with_reranker(named: &str) -> Lab {
    let lab = Lab::new(&format!("[search]\nreranker = {named:?}\n{NOTES}"));
    let models = lab.path("models");
    let lab = lab.with("DKC_MODELS", models.to_str().unwrap());
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/reranker");
    for file in ["model.onnx", "tokenizer.json"] {
        let bytes = fs::read(made.join(file)).unwrap();
        lab.write(format!("models/counting/{file}"), bytes);
    }
    let library = "libonnxruntime.so";
    symlink(fixtures::corpus::models().join(library), models.join(library)).unwrap();
    lab.write("notes/first.md", "# First\n\nhosting hosting hosting hosting\n");
    lab.write(
        "notes/second.md",
        "# Second\n\nThe hosting moves next spring, or the spring after that, if it moves.\n",
    );
    lab.write("notes/third.md", "# Third\n\nSpring is when the hosting ends.\n");
    lab.runs();
    lab
}

#[test]
fn a_reranker_orders_what_was_found() {
    let by_path = with_reranker("./models/counting");
    assert_eq!(titles(&by_path, &["hosting", "--rerank"])[0], "Second");
    let lab = with_reranker("counting");
    let listed = json!([
        { "name": "counting", "kind": "reranker", "dimension": null, "digest": null, "problem": null },
    ]);
    assert_eq!(lab.json(&["index", "model"]), listed);
    assert_eq!(titles(&lab, &["hosting"])[0], "First");
    for mode in ["--best", "--words"] {
        let found = hits(&lab, &["hosting", "--rerank", mode]);
        let told: Vec<_> = found
            .iter()
            .map(|hit| {
                (
                    hit["title"].as_str().unwrap(),
                    hit["why"]["reranked"].as_f64().unwrap(),
                )
            })
            .collect();
        assert_eq!(told, [("Second", 2.0), ("Third", 1.0), ("First", 0.0)]);
    }
    // The best of all three, and not the best of what would have been listed.
    assert_eq!(titles(&lab, &["hosting", "--rerank", "--limit", "1"]), ["Second"]);
    let plain = hits(&lab, &["hosting"]);
    assert!(
        plain.iter().all(|hit| hit["why"]["reranked"].is_null()),
        "{plain:#?}"
    );
    let text = lab.output(&["search", "hosting", "--rerank", "--explain"]);
    assert!(text.contains("reranked 2.000"), "{text}");
    let operators = lab.json(&["search", "in:documents", "--rerank"]);
    assert_eq!(operators["hits"].as_array().unwrap().len(), 3);
    assert!(
        operators["notes"].to_string().contains("not reranked"),
        "{operators:#}"
    );

    lab.write("topics.tsv", "1\thosting\n");
    lab.write("topics.qrels", "1 0 second 1\n");
    let rows = lab.json(&["search", "eval", "topics.tsv", "--rerank"]);
    let rank = |mode: &str| {
        let mut rows = rows.as_array().unwrap().iter();
        let row = rows.find(|row| row["mode"] == mode).unwrap();
        row["reciprocal_rank"].as_f64().unwrap()
    };
    assert!(rank("words") < 1.0, "{rows:#}");
    assert!((rank("reranked") - 1.0).abs() < 1e-9, "{rows:#}");
}

#[test]
fn without_a_reranker_or_its_files_what_to_do_is_told() {
    let lab = collected();
    lab.write("topics.tsv", "1\tinvoice\n");
    lab.write("topics.qrels", "1 0 plan 1\n");
    for arguments in [
        &["search", "hosting", "--rerank"][..],
        &["search", "eval", "topics.tsv", "--rerank"],
    ] {
        let said = lab.said(arguments);
        assert_eq!(said.code, Some(2), "{said:#?}");
        assert!(
            said.err.contains("reranker") && said.err.contains("[search]"),
            "{said:#?}"
        );
    }
    let lab = with_reranker("nowhere");
    let answer = lab.json(&["search", "hosting", "--rerank"]);
    let found = answer["hits"].as_array().unwrap();
    assert_eq!((found.len(), &found[0]["title"]), (3, &"First".into()));
    let notes = answer["notes"].to_string();
    assert!(
        notes.contains("not reranked") && notes.contains("nowhere"),
        "{notes}"
    );
    lab.write("topics.tsv", "1\thosting\n");
    lab.write("topics.qrels", "1 0 second 1\n");
    let said = lab.said(&["search", "eval", "topics.tsv", "--rerank"]);
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.err.contains("nowhere"), "{said:#?}");
}

#[test]
fn what_is_no_reranker_is_told_and_search_answers_without_it() {
    let lab = with_reranker("other");
    // Its output has another name, as that of a model whose outputs are vectors.
    let mut model = fs::read(lab.path("models/counting/model.onnx")).unwrap();
    while let Some(at) = model.windows(6).position(|name| name == b"logits") {
        model[at..at + 6].copy_from_slice(b"states");
    }
    lab.write("models/other/model.onnx", model);
    let tokenizer = fs::read(lab.path("models/counting/tokenizer.json")).unwrap();
    lab.write("models/other/tokenizer.json", tokenizer);
    let why = "is no cross-encoder";
    let answer = lab.json(&["search", "hosting", "--rerank"]);
    let found = answer["hits"].as_array().unwrap();
    assert_eq!((found.len(), &found[0]["title"]), (3, &"First".into()));
    let notes = answer["notes"].to_string();
    assert!(notes.contains("not reranked") && notes.contains(why), "{notes}");
    let told = lab.json(&["doctor"]);
    let mut checks = told["checks"].as_array().unwrap().iter();
    let check = checks.find(|check| check["check"] == "search.reranker").unwrap();
    assert_eq!(check["status"], "warning", "{check:#}");
    assert!(check["found"].as_str().unwrap().contains(why), "{check:#}");
    let said = lab.said(&["index", "model"]);
    assert!(
        said.err.contains("`search.reranker`") && said.err.contains(why),
        "{said:#?}"
    );
    lab.write("topics.tsv", "1\thosting\n");
    lab.write("topics.qrels", "1 0 second 1\n");
    let said = lab.said(&["search", "eval", "topics.tsv", "--rerank"]);
    assert!(
        said.code == Some(1) && said.err.contains("cross-encoder"),
        "{said:#?}"
    );
}

/// The floor of quality: judged answers over a public corpus, with the static model, which reads it in seconds.
#[test]
fn judged_answers_are_no_worse_than_they_were() {
    let cache = std::env::var_os("DKC_CACHE").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/dkc"),
        Into::into,
    );
    let judged = cache.join("judged");
    let lab = Lab::new(&format!(
        "[search]\nmodel = \"all-minilm-l6-v2-static\"\n[[pipeline]]\nname = \"judged\"\n\
         source = {{ kind = \"documents\", roots = [{:?}] }}\n",
        judged.join("documents")
    ));
    let with_model = |arguments: &[&str]| {
        let mut command = lab.command::<&str>(&[], arguments);
        command.env("DKC_MODELS", cache.join("models"));
        let said = lab::said(command);
        assert_eq!(said.code, Some(0), "{said:#?}");
        said.out
    };
    with_model(&["index", "model", "--install"]);
    with_model(&["run"]);
    with_model(&["index", "build"]);
    let topics = judged.join("test.tsv");
    let rows = with_model(&["search", "eval", topics.to_str().unwrap(), "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&rows).unwrap();
    let ndcg = |mode: &str| {
        let row = rows.iter().find(|row| row["mode"] == mode).unwrap();
        row["ndcg_at_10"].as_f64().unwrap()
    };
    let (words, meaning, best) = (ndcg("words"), ndcg("meaning"), ndcg("best"));
    assert!(
        best >= words.max(meaning),
        "best {best}, words {words}, meaning {meaning}"
    );
    assert!(words > 0.3 && meaning > 0.2 && best > 0.3, "{rows:#?}");
    // Something is always the nearest: it is not told where it is not near, nor where a phrase is not.
    for arguments in [
        ["--meaning", "dentist appointment on Thursday"],
        ["--meaning", "\"purple elephant\" networks"],
        ["--best", "\"purple elephant\" networks"],
    ] {
        let answer = with_model(&[&["search", "--json"], arguments.as_slice()].concat());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(
            answer["hits"].as_array().unwrap().len(),
            0,
            "{arguments:?}: {answer:#}"
        );
        let note = answer["notes"][0].as_str().unwrap();
        assert!(note.contains("nothing has the words"), "{note}");
    }
}
