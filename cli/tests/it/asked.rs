//! Runs that a person asks for: of several pipelines, one of which cannot be run; and of the service, which may have one
//! already.

use crate::it::lab::{Lab, Said, mbox};
use serde_json::{Value, json};

const PIPELINES: &str = r#"[[pipeline]]
name = "inbox"
source = { kind = "imap", host = "127.0.0.1", user = "me", password = "env:DKC_TEST_UNSET" }

[[pipeline]]
name = "mail"
source = { kind = "mbox", path = "mail.mbox" }
"#;

fn lab() -> Lab {
    let lab = Lab::new(PIPELINES);
    let mails = ["From: a@example.org\r\nMessage-ID: <1@example.org>\r\n\r\nThis is 1.\r\n"];
    lab.write("mail.mbox", mbox(&mails));
    lab
}

fn runs(lab: &Lab, pipeline: &str) -> Vec<Value> {
    let listed = lab.json(&["runs", "--pipeline", pipeline]);
    listed["runs"].as_array().unwrap().clone()
}

#[test]
fn a_secret_that_is_missing_stops_no_other_pipeline() {
    let lab = lab();
    let Said { code, out, err } = lab.said(&["run"]);
    assert_eq!(code, Some(1), "{out} {err}");
    assert!(out.contains("mail: succeeded: 1 seen"), "{out}");
    assert!(out.contains("inbox: failed"), "{out}");
    assert!(
        err.contains("DKC_TEST_UNSET") && err.contains("1 of 2 runs did not end whole"),
        "{err}"
    );
    let failed = runs(&lab, "inbox");
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert_eq!(failed[0]["state"], "failed");
    assert!(
        failed[0]["error"].as_str().unwrap().contains("DKC_TEST_UNSET"),
        "{failed:#?}"
    );

    // Alone there is nothing to run, and so no run.
    let alone = lab.said(&["run", "inbox"]);
    assert!(
        alone.code != Some(0) && alone.err.contains("DKC_TEST_UNSET"),
        "{alone:#?}"
    );
    assert_eq!(runs(&lab, "inbox").len(), 1);
}

#[test]
fn whose_output_nobody_reads_runs_all_the_same_and_says_by_its_exit_code_what_failed() {
    let lab = lab();
    let unread = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = lab.command::<&str>(&[], arguments);
        command.stdout(writer).status().unwrap().code()
    };
    assert_eq!(unread(&["run"]), Some(1), "one of two failed");
    assert_eq!((runs(&lab, "inbox").len(), runs(&lab, "mail").len()), (1, 1));
    assert_eq!(unread(&["run", "mail"]), Some(0));
    assert_eq!(unread(&["doctor"]), Some(1), "a secret is missing");
    assert_eq!(unread(&["verify"]), Some(0));
    for file in lab.parquet_files() {
        std::fs::remove_file(file).unwrap();
    }
    for arguments in [&["verify"][..], &["verify", "--json"]] {
        assert_eq!(unread(arguments), Some(1), "{arguments:?}");
    }
    assert_eq!(
        unread(&["pipelines"]),
        Some(0),
        "what only shows has shown enough"
    );
}

#[test]
fn one_that_waits_is_the_answer_to_who_asks_again() {
    let lab = lab();
    let ask = || lab.json(&["run", "mail", "--queue"])["runs"][0].clone();
    let (first, again) = (ask(), ask());
    assert_eq!(first["run"], again["run"]);
    assert_eq!(
        (first["known"].as_bool(), again["known"].as_bool()),
        (Some(false), Some(true))
    );
    let said = lab.output(&["run", "mail", "--queue"]);
    assert!(said.contains("is queued already"), "{said}");
    assert_eq!(runs(&lab, "mail").len(), 1);
}

#[test]
fn that_there_is_no_such_pipeline_is_json_beside_json() {
    let lab = lab();
    let asked = ["runs", "--pipeline", "mial"];
    let said = lab.said(&[&asked[..], &["--json"]].concat());
    assert_eq!(said.code, Some(0), "{said:#?}");
    let out: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(out, json!({ "runs": [] }));
    let err: Value = serde_json::from_str(&said.err).unwrap_or_else(|error| panic!("{error}: {said:#?}"));
    let note = err["note"].as_str().unwrap();
    assert!(
        note.contains("there is no pipeline `mial`") && note.contains("mail"),
        "{note}"
    );
    let said = lab.said(&asked);
    assert_eq!(said.err.trim_end(), note);
    let said = lab.said(&[&asked[..], &["--quiet"]].concat());
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
}
