//! Documents: every format, what would harm its reader, and what becomes of files between two runs.

use crate::it::lab::{self, Lab, count, program};
use fixtures::corpus;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;

/// All documents below `notes`, as a pipeline.
const NOTES: &str =
    "[[pipeline]]\nname = \"notes\"\nsource = { kind = \"documents\", roots = [\"notes\"] }\n";

fn generated(which: &str) -> Lab {
    let lab = Lab::new(NOTES);
    let mut generator = corpus::oracle("make_documents.py");
    generator.arg(which).arg(lab.path("notes"));
    let said = lab::said(generator);
    assert_eq!(said.code, Some(0), "{said:#?}");
    lab
}

/// Names of the files that `documents` has, in order, as a list.
fn names(lab: &Lab) -> Vec<String> {
    let rows = lab.sql("SELECT regexp_replace(path, '.*/', '') AS name FROM documents ORDER BY 1");
    rows.iter()
        .map(|row| row["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_format_gives_its_title_its_sections_and_its_text() {
    let lab = generated("good");
    let run = lab.run();
    assert_eq!(
        (count(&run, "items_stored"), count(&run, "items_rejected")),
        (11, 0)
    );
    for row in lab.sql("SELECT media_type, title, text, path FROM documents") {
        let kind = row["media_type"].as_str().unwrap();
        assert!(
            row["text"]
                .as_str()
                .unwrap()
                .contains("The harbour freezes in February."),
            "{row:#}"
        );
        let title = match kind {
            "text/plain" | "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "ice",
            "application/x-canvas+json" => "A14) Winter",
            _ => "Ice",
        };
        assert_eq!(row["title"], title, "{kind}");
    }
    let sections = lab.sql(
        "SELECT d.media_type, s.section_id, s.heading, s.level FROM documents d JOIN document_sections s
         ON s._item = d._item WHERE s.section_id IS NOT NULL ORDER BY 1",
    );
    assert_eq!(sections.len(), 10, "{sections:#?}");
    for section in &sections {
        let wanted = match section["media_type"].as_str().unwrap() {
            "application/pdf" => json!(["page-1", null, null]),
            _ => json!(["A14", "A14) Winter", 1]),
        };
        assert_eq!(
            json!([section["section_id"], section["heading"], section["level"]]),
            wanted,
            "{section}"
        );
    }
    assert_eq!(lab.run()["snapshots"], 0);
    // The originals came along, and give the same rows again.
    let rebuilt = lab.json(&["rebuild", "documents"]);
    assert_eq!(
        (count(&rebuilt, "originals"), count(&rebuilt, "changed")),
        (11, 0),
        "{rebuilt:#}"
    );
    lab.output(&["export", "documents", "--originals", "--to", "out"]);
    lab.output(&["export", "--verify", "out"]);
}

#[test]
fn what_would_harm_its_reader_is_a_reject_and_the_others_are_read() {
    let lab = generated("bad");
    let notes = lab.path("notes");
    symlink(&notes, notes.join("loop")).unwrap();
    symlink("nowhere.md", notes.join("dangling.md")).unwrap();
    let mut pipe = program("mkfifo");
    pipe.arg(notes.join("pipe.md"));
    assert_eq!(lab::said(pipe).code, Some(0));
    fs::write(notes.join("good.md"), "# Good\n").unwrap();

    let run = lab.run();
    let [seen, stored, rejected] =
        ["items_seen", "items_stored", "items_rejected"].map(|name| count(&run, name));
    assert_eq!(seen, stored + rejected, "{run:#}");
    assert_eq!(run["state"], "partly_succeeded");
    assert!(names(&lab).contains(&"good.md".to_owned()));
    assert_eq!(
        lab.value("SELECT text FROM documents WHERE path LIKE '%latin.txt'"),
        "Grüße"
    );
    let rejects = lab.sql(
        "SELECT regexp_replace(coalesce(l.location, r.item), '.*/', '') AS name, reason FROM rejects r
         LEFT JOIN locations l ON l._item = r._item",
    );
    let reason = |name: &str| {
        let found = rejects.iter().find(|row| row["name"] == name);
        found
            .map(|row| row["reason"].as_str().unwrap())
            .unwrap_or_else(|| panic!("{name} in {rejects:#?}"))
    };
    for (name, words) in [
        ("bomb.docx", "unpacks to more than"),
        ("bomb.xlsx", "unpacks to more than"),
        ("bomb.pdf", "of memory"),
        ("fontless.pdf", "panicked"),
        ("cut5.pdf", "damaged PDF"),
        ("cut5.epub", "damaged archive"),
        ("deep.odt", "nested deeper"),
        ("deep.ipynb", "not a notebook"),
        ("binary.txt", "NUL"),
        ("pipe.md", "not a regular file"),
        ("dangling.md", "cannot be read"),
    ] {
        assert!(reason(name).contains(words), "{name}: {}", reason(name));
    }
    assert!(
        rejects
            .iter()
            .all(|row| row["reason"].as_str().unwrap().len() > 10),
        "{rejects:#?}"
    );
    assert_eq!(lab.run()["snapshots"], 0, "nothing new");
    lab.output(&["verify"]);
}

#[test]
fn later_runs_follow_what_is_edited_renamed_copied_ignored_and_deleted() {
    let lab = Lab::new(NOTES);
    for (name, text) in [
        ("a.md", "# One\n"),
        ("b.md", "# Two\n"),
        ("app/c.txt", "three"),
        ("app/d.txt", "four"),
    ] {
        lab.write(format!("notes/{name}"), text);
    }
    lab.write("notes/app/package.json", r#"{"name": "the-app"}"#);
    lab.run();
    assert_eq!(names(&lab), ["a.md", "b.md", "c.txt", "d.txt"]);
    assert_eq!(
        lab.number("SELECT count(*) FROM documents WHERE project = 'the-app'"),
        2
    );

    let notes = lab.path("notes");
    fs::rename(notes.join("a.md"), notes.join("z.md")).unwrap();
    fs::copy(notes.join("b.md"), notes.join("copy.md")).unwrap();
    fs::remove_file(notes.join("app/c.txt")).unwrap();
    lab.write("notes/app/d.txt", "four and more");
    lab.write("notes/app/package.json", r#"{"name": "new-name"}"#);
    let run = lab.run();
    assert_eq!(names(&lab), ["b.md", "d.txt", "z.md"]);
    assert_eq!(count(&run, "items_unchanged"), 1, "{run:#}");
    let row = lab.sql("SELECT project, text FROM documents WHERE path LIKE '%d.txt'");
    assert_eq!(row, [json!({"project": "new-name", "text": "four and more"})]);
    assert_eq!(lab.number("SELECT count(*) FROM locations"), 4);
    // The first of two equal files goes: the other tells.
    fs::remove_file(notes.join("b.md")).unwrap();
    lab.run();
    assert_eq!(names(&lab), ["copy.md", "d.txt", "z.md"]);
    assert_eq!(
        lab.value("SELECT heading FROM document_sections WHERE heading = 'Two'"),
        "Two"
    );

    lab.write("notes/.gitignore", "z*\n");
    lab.run();
    assert_eq!(names(&lab), ["copy.md", "d.txt"]);
    assert_eq!(lab.value("SELECT count(*) FROM rejects"), Value::from(0));
    lab.output(&["verify"]);
}

#[test]
fn files_named_as_secrets_are_rejected_with_their_reason() {
    let lab = Lab::new(NOTES);
    lab.write("notes/passwords.txt", "hunter2");
    lab.write("notes/tokens.md", "# Tokens\n");
    lab.write("notes/later.txt", "hunter3");
    lab.run();
    assert_eq!(names(&lab), ["later.txt", "tokens.md"]);
    let reasons =
        "SELECT regexp_replace(item, '.*/', '') AS name FROM rejects WHERE reason LIKE '%a secret%'";
    assert_eq!(lab.sql(reasons), [json!({"name": "passwords.txt"})]);
    // What was collected under another name goes with it.
    let notes = lab.path("notes");
    fs::rename(notes.join("later.txt"), notes.join("token.txt")).unwrap();
    lab.run();
    assert_eq!(names(&lab), ["tokens.md"]);
    assert_eq!(lab.sql(reasons).len(), 2);
    // And what is renamed is collected.
    fs::rename(notes.join("passwords.txt"), notes.join("about.txt")).unwrap();
    lab.run();
    assert_eq!(names(&lab), ["about.txt", "tokens.md"]);
    assert_eq!(lab.sql(reasons).len(), 1);
}
