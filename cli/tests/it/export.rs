//! What leaves the lake is whole: every format read back by another program, manifests that notice a change.

use crate::it::lab::{self, Lab, MAIL, count};
use fixtures::corpus;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

const FORMATS: [&str; 9] = [
    "csv", "json", "ndjson", "js", "md", "parquet", "arrow", "arrows", "xlsx",
];

/// Texts that a format could take for something else, one a row.
const HOSTILE: &str = "SELECT n, text, n > 3 AS late, (n + 0.5) / 8 AS part, to_timestamp_micros(1704106800250000) AT TIME ZONE 'UTC' AS at \
    FROM (VALUES (1, 'a \"b\", ''c''; | d\\'), (2, 'line' || chr(10) || 'line' || chr(13) || chr(10) || 'tab' || chr(9)), \
    (3, '=cmd|''/c calc''!A1'), (4, '@SUM(1)'), (5, 'a' || chr(1) || chr(27) || '[2J'), \
    (6, chr(8232) || chr(8233) || chr(8238)), (7, '</script><script>alert(1)</script><!--'), (8, '🦀 é 日本'), \
    (9, left(LONG, 32767)), (10, ''), (11, NULL), (12, ' _x0041_ '), (13, '-1'), (14, '1e5'), (15, '007')) AS t (n, text) \
    ORDER BY n";

/// A text of 32,768 characters.
const LONG: &str = "replace(replace(replace(replace('xxxxxxxx', 'x', 'xxxxxxxx'), 'x', 'xxxxxxxx'), 'x', 'xxxxxxxx'), \
    'x', 'xxxxxxxx')";

fn python(lab: &Lab, arguments: &[&str]) -> Command {
    let mut python = corpus::oracle("read_export.py");
    python.args(arguments).current_dir(lab.path(""));
    python
}

/// The rows of a file, as another program reads them.
fn read_back(lab: &Lab, file: &str) -> Vec<Value> {
    lab::values(python(lab, &[file]))
}

fn manifest(lab: &Lab, file: &str) -> Value {
    serde_json::from_slice(&fs::read(lab.path(format!("{file}.manifest.json"))).unwrap()).unwrap()
}

fn with_mails(number: usize) -> Lab {
    let lab = Lab::new(MAIL);
    lab.deliver("", &corpus::sample(number));
    lab.run();
    lab
}

#[test]
fn hostile_texts_come_back_from_every_format_as_they_were() {
    let lab = Lab::new(MAIL);
    let hostile = &HOSTILE.replace("LONG", LONG);
    let wanted = lab.sql(hostile);
    assert_eq!(wanted.len(), 15);
    for format in FORMATS {
        let file = format!("rows.{format}");
        lab.output(&["export", "--query", hostile, "--to", &file]);
        let mut wanted = wanted.clone();
        for row in &mut wanted {
            match format {
                // What these formats cannot tell apart.
                "csv" | "md" | "xlsx" if row["text"] == "" => row["text"] = Value::Null,
                // Markdown shows signs for what a terminal would obey; a line end within a cell is one of two.
                "md" => {
                    let shown = row["text"].as_str().map(|text| {
                        let text = text.replace("\r\n", "\n").replace('\t', " ");
                        let lines: Vec<_> = text.split('\n').map(store::export::visible).collect();
                        lines.join("\n").trim().to_owned()
                    });
                    row["text"] = json!(shown);
                }
                _ => {}
            }
        }
        let found = read_back(&lab, &file);
        assert_eq!(found.len(), wanted.len(), "{format}");
        for (found, wanted) in found.iter().zip(&wanted) {
            assert_eq!(found, wanted, "{format}");
        }
    }
    // A script says so to a real engine too: the same rows, and nothing that would end it within a page.
    let script = fs::read_to_string(lab.path("rows.js")).unwrap();
    assert!(!script.contains("</") && !script.contains('\u{2028}'), "{script}");
    let mut node = lab::program("node");
    node.current_dir(lab.path("")).args([
        "-e",
        "require('vm').runInThisContext(require('fs').readFileSync('rows.js', 'utf8')); console.log(JSON.stringify(rows))",
    ]);
    let said = lab::said(node);
    assert_eq!(
        serde_json::from_str::<Value>(&said.out).unwrap(),
        json!(wanted),
        "{said:#?}"
    );
}

#[test]
fn a_text_with_a_nul_is_kept_or_escaped() {
    let lab = Lab::new(MAIL);
    let query = "SELECT 'a' || decode('00', 'hex')::text || 'b' AS text";
    let wanted = lab.sql(query);
    assert_eq!(wanted, [json!({"text": "a\0b"})]);
    for format in FORMATS.iter().filter(|format| **format != "md") {
        let file = format!("rows.{format}");
        lab.output(&["export", "--query", query, "--to", &file]);
        assert_eq!(read_back(&lab, &file), wanted, "{format}");
    }
}

#[test]
fn mails_come_back_from_every_format_and_twice_as_the_same_bytes() {
    let lab = with_mails(300);
    // Rows that are gone, and files of several runs, are what could change the order.
    fs::remove_file(lab.path("mail").join("cur/1577836803.000003.host:2,")).unwrap();
    lab.deliver(".Later", &corpus::sample(700)[..400]);
    lab.run();
    let columns = "_item, date, subject, \"to\", size_bytes, left(body_text, 16383) AS body_text";
    let query = format!("SELECT {columns} FROM emails ORDER BY _item");
    let wanted = lab.sql(&query);
    assert!(wanted.len() > 500);
    for format in FORMATS {
        let file = format!("mails.{format}");
        lab.output(&["export", "--query", &query, "--to", &file]);
        if format == "md" {
            assert_eq!(read_back(&lab, &file).len(), wanted.len());
            continue;
        }
        for (found, wanted) in read_back(&lab, &file).iter().zip(&wanted) {
            let mut wanted = wanted.clone();
            if matches!(format, "csv" | "xlsx") {
                for column in ["subject", "body_text"] {
                    if wanted[column] == "" {
                        wanted[column] = Value::Null;
                    }
                }
                wanted["to"] = json!(wanted["to"].to_string());
            }
            assert_eq!(found, &wanted, "{format}");
        }
    }
    let order = |file: &str| -> Vec<Value> {
        let rows = read_back(&lab, file).into_iter();
        rows.map(|row| row["_item"].clone()).collect()
    };
    for format in FORMATS.iter().filter(|format| **format != "xlsx") {
        let [one, other] = ["one", "other"].map(|name| format!("{name}.{format}"));
        lab.output(&["export", "emails", "--to", &one, "--name", "same"]);
        lab.output(&["export", "emails", "--to", &other, "--name", "same"]);
        let bytes = |file: &str| fs::read(lab.path(file)).unwrap();
        assert!(bytes(&one) == bytes(&other), "{format}");
        assert_eq!(manifest(&lab, &one)["content"]["table"]["rows"], wanted.len());
    }
    assert_eq!(order("one.csv"), order("one.parquet"));
}

#[test]
fn a_manifest_says_what_was_asked_and_verify_notices_every_change() {
    let lab = with_mails(40);
    let query = "SELECT _item, subject FROM emails";
    lab.output(&["export", "--query", query, "--to", "rows.csv"]);
    let written = manifest(&lab, "rows.csv");
    assert_eq!(written["origin"]["query"], query);
    assert_eq!(written["origin"]["snapshot"], lab.snapshot());
    let table = &written["content"]["table"];
    assert_eq!((&table["rows"], &table["file"]), (&json!(40), &json!("rows.csv")));
    assert_eq!(table["columns"][1], json!({"name": "subject", "type": "Utf8"}));
    let file = fs::read(lab.path("rows.csv")).unwrap();
    assert_eq!(table["sha256"], schemas::Digest::of(&file).to_string());
    assert_eq!(table["bytes"], file.len());

    let verify = |arguments: &[&str]| lab.said(&[&["export", "--verify"], arguments].concat());
    let good = verify(&["rows.csv", "rows.csv.manifest.json", "--json"]);
    assert_eq!(good.code, Some(0), "{good:#?}");
    let checked: Value = serde_json::from_str(&good.out).unwrap();
    assert_eq!(checked[1]["path"], "rows.csv");
    assert_eq!(checked[0]["rows"], 40);
    assert_eq!(
        checked[0]["compared"],
        json!(["bytes", "sha256", "rows", "columns"])
    );

    let mut flipped = file.clone();
    flipped[file.len() / 2] ^= 1;
    let edited = fs::read_to_string(lab.path("rows.csv.manifest.json")).unwrap();
    for (name, bytes, of_manifest, says) in [
        ("flipped", &flipped[..], edited.clone(), "SHA-256: "),
        ("cut", &file[..file.len() / 2], edited.clone(), "bytes: "),
        (
            "edited",
            &file[..],
            edited.replace("\"rows\": 40", "\"rows\": 41"),
            "was edited",
        ),
        ("foreign", &file[..], "{}".to_owned(), "is not a manifest"),
    ] {
        lab.write("bad.csv", bytes);
        lab.write("bad.csv.manifest.json", of_manifest);
        let bad = verify(&["rows.csv", "bad.csv"]);
        assert_eq!(bad.code, Some(1), "{name}: {bad:#?}");
        assert!(
            bad.out.contains(says) && bad.err.contains("1 of 2"),
            "{name}: {bad:#?}"
        );
    }
    fs::remove_file(lab.path("bad.csv")).unwrap();
    assert!(verify(&["bad.csv", "never.csv"]).err.contains("2 of 2"));

    // An existing file is replaced with its manifest, or not at all.
    let again = ["export", "emails", "--to", "rows.csv"];
    assert_eq!(lab.said(&again).code, Some(1));
    assert_eq!(manifest(&lab, "rows.csv"), written);
    lab.output(&[&again[..], &["--force"]].concat());
    assert_eq!(manifest(&lab, "rows.csv")["origin"]["dataset"], "emails");
    assert_eq!(verify(&["rows.csv"]).code, Some(0));
}

#[test]
fn the_rows_of_an_export_are_asked_for_again_until_their_snapshot_expires() {
    let lab = with_mails(60);
    lab.output(&["export", "emails", "--to", "emails.parquet"]);
    let query = "SELECT from_addr, count(*) AS n FROM emails GROUP BY 1";
    lab.output(&["export", "--query", query, "--to", "counts.xlsx"]);
    lab.output(&["export", "runs", "--to", "runs.json"]);
    let again = |file: &str| lab.said(&["export", "--verify", file, "--again"]);
    for file in ["emails.parquet", "counts.xlsx", "runs.json"] {
        let said = again(file);
        assert_eq!(said.code, Some(0), "{said:#?}");
        assert!(said.out.contains("rows of the lake"), "{said:#?}");
    }
    // Later runs change the lake and not the snapshot.
    lab.deliver(".Later", &corpus::sample(90)[60..]);
    lab.run();
    lab.output(&["compact"]);
    assert_eq!(again("emails.parquet").code, Some(0));
    assert_eq!(again("counts.xlsx").code, Some(0));
    let history = again("runs.json");
    assert_eq!(history.code, Some(1), "the history has no snapshots");
    assert!(history.out.contains("2, in the manifest 1"), "{history:#?}");

    let other = lab.with_data("other");
    other.run();
    let foreign = other.said(&["export", "--verify", "emails.parquet", "--again"]);
    assert_eq!(foreign.code, Some(1));
    assert!(foreign.out.contains("of another lake"), "{foreign:#?}");

    lab.output(&["compact", "--expire-older-than", "0s"]);
    let expired = again("emails.parquet");
    assert_eq!(expired.code, Some(1));
    assert!(expired.out.contains("the snapshot has expired"), "{expired:#?}");
    assert_eq!(lab.said(&["export", "--verify", "emails.parquet"]).code, Some(0));
}

#[test]
fn standard_output_takes_every_format_and_writes_no_manifest() {
    let lab = with_mails(20);
    for format in FORMATS {
        let file = format!("piped.{}", if format == "arrow" { "arrows" } else { format });
        let shell = format!("\"$0\" \"$@\" > {file}");
        let piped = lab.command(
            &["sh", "-c", &shell],
            &[
                "export",
                "--query",
                "SELECT _item, size_bytes FROM emails",
                "--to",
                "-",
                "--format",
                format,
            ],
        );
        let said = lab::said(piped);
        assert_eq!(said.code, Some(0), "{format}: {said:#?}");
        assert_eq!(read_back(&lab, &file).len(), 20, "{format}");
        assert!(!lab.path(format!("{file}.manifest.json")).exists());
    }
    let unnamed = lab.said(&["export", "emails", "--to", "-"]);
    assert!(
        unnamed.code == Some(1) && unnamed.err.contains("--format"),
        "{unnamed:#?}"
    );
}

#[test]
fn a_constant_and_a_sheet_have_names_that_they_may_have() {
    let lab = with_mails(5);
    let first = |file: &str| {
        let text = fs::read_to_string(lab.path(file)).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    lab.output(&["export", "--query", "SELECT 1 AS n", "--to", "2026 cloud-data.js"]);
    assert_eq!(first("2026 cloud-data.js"), "const _2026_cloud_data = [");
    lab.output(&[
        "export",
        "--query",
        "SELECT 1 AS n",
        "--to",
        "a.js",
        "--name",
        "COSTS",
    ]);
    assert_eq!(first("a.js"), "const COSTS = [");
    let refused = lab.said(&["export", "emails", "--to", "b.js", "--name", "x;alert(1)"]);
    assert!(
        refused.code == Some(1) && refused.err.contains("x_alert_1_"),
        "{refused:#?}"
    );
    assert!(!lab.path("b.js").exists());

    lab.output(&["export", "locations", "--to", "places.xlsx"]);
    let said = lab::said(python(&lab, &["--sheet", "places.xlsx"]));
    let sheet: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        sheet,
        json!({"name": "locations", "frozen": "A2", "bold": true, "filter": "A1:H6", "rows": 6}),
        "{said:#?}"
    );
    assert_eq!(
        count(&manifest(&lab, "places.xlsx")["content"]["table"], "rows"),
        5
    );
    let nothing = "SELECT * FROM (VALUES (1), (NULL), (NULL)) AS t (n)";
    lab.output(&["export", "--query", nothing, "--to", "nothing.xlsx"]);
    let checked = lab.json(&["export", "--verify", "nothing.xlsx"]);
    assert_eq!(checked[0]["rows"], 3, "a row of nothing is a row");
    // Too long for a cell: an error with a way out, and no file.
    let long = &format!("SELECT {LONG} AS body");
    let refused = lab.said(&["export", "--query", long, "--to", "long.xlsx"]);
    assert!(
        refused.code == Some(1) && refused.err.contains("16383"),
        "{refused:#?}"
    );
    assert!(!lab.path("long.xlsx").exists());
}
