//! Originals and attachments out of the lake again, byte for byte.

use crate::it::lab::{Lab, MAIL};
use fixtures::corpus;
use schemas::Digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

fn with_mails(number: usize) -> Lab {
    let lab = Lab::new(MAIL);
    lab.deliver("", &corpus::sample(number));
    lab.run();
    lab
}

fn text<'a>(row: &'a Value, column: &str) -> &'a str {
    row[column].as_str().unwrap()
}

/// Digests of the files of a folder that dkc did not write about itself, and how often each is there.
fn digests(lab: &Lab, folder: &str) -> BTreeMap<String, usize> {
    let mut digests = BTreeMap::new();
    for entry in fs::read_dir(lab.path(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            *digests
                .entry(Digest::of(&fs::read(path).unwrap()).to_string())
                .or_default() += 1;
        }
    }
    digests
}

fn manifest(lab: &Lab, folder: &str) -> Vec<Value> {
    let file = fs::read(lab.path(folder).join("originals.manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&file).unwrap();
    manifest["content"]["originals"].as_array().unwrap().clone()
}

#[test]
fn mails_come_out_as_they_went_in() {
    let lab = with_mails(400);
    let export = ["export", "emails", "--originals", "--to", "out"];
    let said = lab.json(&export);
    assert_eq!((&said["problems"], &said["unchanged"]), (&json!([]), &json!(0)));
    let (went_in, came_out) = (digests(&lab, "mail/cur"), digests(&lab, "out"));
    assert!(went_in.len() > 390);
    assert_eq!(
        came_out.keys().collect::<Vec<_>>(),
        went_in.keys().collect::<Vec<_>>()
    );
    assert_eq!(manifest(&lab, "out").len(), 400);
    assert_eq!(lab.said(&["export", "--verify", "out"]).code, Some(0));

    // Once more writes nothing; what was deleted comes again, and what was changed is not replaced unasked.
    let files = manifest(&lab, "out");
    let [gone, changed] = [0, 1].map(|n| lab.path("out").join(text(&files[n], "file")));
    fs::remove_file(&gone).unwrap();
    fs::write(&changed, "edited").unwrap();
    assert!(
        lab.said(&["export", "--verify", "out"])
            .out
            .contains("cannot be read")
    );
    let again = lab.said(&export);
    assert_eq!(again.code, Some(1), "{again:#?}");
    assert!(
        again
            .out
            .contains("1 file written, 398 there already, 1 not written"),
        "{again:#?}"
    );
    assert_eq!(fs::read(&changed).unwrap(), b"edited");
    lab.output(&[&export[..], &["--force"]].concat());
    assert_eq!(lab.said(&["export", "--verify", "out"]).code, Some(0));
    assert_eq!(digests(&lab, "out"), came_out);
}

#[test]
fn attachments_come_out_decoded_and_each_is_the_one_of_its_row() {
    let lab = with_mails(2_000);
    lab.output(&["export", "email_attachments", "--attachments", "--to", "out"]);
    let mut wanted =
        lab.sql("SELECT _item AS item, ordinal, sha256, size_bytes AS bytes FROM email_attachments");
    let mut found: Vec<Value> = manifest(&lab, "out")
        .into_iter()
        .map(|file| {
            let bytes = fs::read(lab.path("out").join(text(&file, "file"))).unwrap();
            json!({
                "item": file["item"],
                "ordinal": file["ordinal"],
                "sha256": Digest::of(&bytes).to_string(),
                "bytes": bytes.len(),
            })
        })
        .collect();
    assert!(wanted.len() > 20, "{}", wanted.len());
    let by_item = |row: &Value| (text(row, "item").to_owned(), row["ordinal"].as_i64());
    wanted.sort_by_key(by_item);
    found.sort_by_key(by_item);
    assert_eq!(found, wanted);

    // Only those that a query names.
    let one = format!(
        "SELECT _source, _item, ordinal FROM email_attachments WHERE _item = '{}'",
        text(&wanted[0], "item")
    );
    lab.output(&["export", "--query", &one, "--attachments", "--to", "one"]);
    assert!(
        manifest(&lab, "one")
            .iter()
            .all(|file| file["item"] == wanted[0]["item"])
    );
}

#[test]
fn what_cannot_come_out_is_said_and_the_rest_comes() {
    let lab = with_mails(3);
    let query = "SELECT _source, _item FROM emails UNION ALL SELECT 'mail', 'never.collected'";
    let said = lab.said(&["export", "--query", query, "--originals", "--to", "out"]);
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(
        said.out.contains("never.collected") && said.out.contains("no original of it"),
        "{said:#?}"
    );
    assert_eq!(manifest(&lab, "out").len(), 3);

    let unnamed = lab.said(&[
        "export",
        "--query",
        "SELECT subject FROM emails",
        "--originals",
        "--to",
        "b",
    ]);
    assert!(
        unnamed.code == Some(1) && unnamed.err.contains("_source"),
        "{unnamed:#?}"
    );
    let inside = lab.said(&["export", "emails", "--originals", "--to", "data/out"]);
    assert!(
        inside.code == Some(1) && inside.err.contains("data directory"),
        "{inside:#?}"
    );
    // Another export has the folder.
    let other = lab.said(&[
        "export",
        "--query",
        "SELECT * FROM emails",
        "--originals",
        "--to",
        "out",
    ]);
    assert!(
        other.code == Some(1) && other.err.contains("--force"),
        "{other:#?}"
    );
}
