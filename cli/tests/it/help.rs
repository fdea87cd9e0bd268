//! Help, versions, exit codes, JSON errors.

use crate::said;
use serde_json::Value;

const COMMANDS: [&[&str]; 44] = [
    &["init"],
    &["add"],
    &["run"],
    &["daemon"],
    &["pipelines"],
    &["runs"],
    &["runs", "show"],
    &["runs", "logs"],
    &["runs", "retry"],
    &["runs", "cancel"],
    &["alerts"],
    &["alerts", "test"],
    &["search"],
    &["search", "eval"],
    &["sql"],
    &["changes"],
    &["export"],
    &["serve"],
    &["mcp"],
    &["mcp", "cost"],
    &["why"],
    &["schema"],
    &["cursor"],
    &["cursor", "show"],
    &["cursor", "set"],
    &["cursor", "clear"],
    &["rebuild"],
    &["compact"],
    &["migrate"],
    &["index"],
    &["index", "status"],
    &["index", "build"],
    &["index", "optimize"],
    &["index", "model"],
    &["verify"],
    &["doctor"],
    &["token"],
    &["token", "create"],
    &["token", "list"],
    &["token", "revoke"],
    &["approve"],
    &["audit"],
    &["audit", "list"],
    &["audit", "verify"],
];

#[test]
fn every_command_has_help_with_an_example_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        let (code, out, _) = said(folder.path(), &[command, &["--help"]].concat());
        assert_eq!(code, 0, "{command:?}");
        let example = out
            .split("Example:")
            .nth(1)
            .unwrap_or_else(|| panic!("{command:?}: {out}"));
        assert!(
            example.contains(&format!("dkc {}", command.join(" "))),
            "{command:?}: {example}"
        );
    }
}

#[test]
fn global_options_go_before_a_subcommand_too() {
    let folder = tempfile::tempdir().unwrap();
    for command in COMMANDS.iter().filter(|command| command.len() == 2) {
        let [first, second] = [command[0], command[1]];
        for global in [&["--json"][..], &["-v"], &["--data", "there"]] {
            let arguments = [&[first][..], global, &[second, "--help"]].concat();
            let (code, out, err) = said(folder.path(), &arguments);
            assert_eq!(code, 0, "{arguments:?}: {err}");
            // The help is that of the subcommand: its name was not taken for something else.
            let example = out.split("Example:").nth(1).unwrap();
            let name = format!("dkc {first} {second}");
            assert!(example.contains(&name), "{arguments:?}: {out}");
        }
    }
    // What is the command's own does not go with a subcommand.
    for (own, arguments) in [
        ("--limit", &["runs", "--limit", "5", "show", "5f3a9c21"][..]),
        ("--state", &["runs", "--state", "failed", "logs", "5f3a9c21"]),
        ("--grouped", &["mcp", "--grouped", "cost"]),
        ("--token", &["mcp", "--token", "env:TOKEN", "cost"]),
        ("--words", &["search", "--words", "eval", "judged.json"]),
    ] {
        let (code, out, err) = said(folder.path(), arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(
            err.contains("cannot be used with") && err.contains(own),
            "{arguments:?}: {err}"
        );
    }
    // A word that is looked for may be one of a subcommand.
    for words in [&["search", "letter", "eval"][..], &["search", "--", "eval"]] {
        let (_, _, err) = said(folder.path(), words);
        assert!(!err.contains("Usage"), "{words:?}: {err}");
    }
}

#[test]
fn the_first_help_lists_every_command_tested_here() {
    let folder = tempfile::tempdir().unwrap();
    let (_, out, _) = said(folder.path(), &["--help"]);
    let listed: Vec<&str> = out
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    let tested: Vec<&str> = COMMANDS
        .iter()
        .filter(|command| command.len() == 1)
        .map(|command| command[0])
        .collect();
    assert_eq!(listed, tested);
}

#[test]
fn the_index_of_the_documentation_names_every_command() {
    let index = std::fs::read_to_string("../docs/README.md").unwrap();
    let rows: Vec<&str> = index.lines().filter(|line| line.starts_with("| `dkc ")).collect();
    let names = COMMANDS.iter().filter(|command| command.len() == 1);
    assert_eq!(rows.len(), names.count(), "{rows:#?}");
    for command in COMMANDS {
        let first = format!("| `dkc {}` |", command[0]);
        let row = rows.iter().find(|row| row.starts_with(&first));
        let row = row.unwrap_or_else(|| panic!("{command:?}: {rows:#?}"));
        let parts = row.rsplit('|').nth(1).unwrap();
        let wanted: Vec<String> = command[1..].iter().map(|part| format!("`{part}`")).collect();
        assert!(
            wanted.iter().all(|part| parts.contains(part)),
            "{command:?}: {row}"
        );
    }
}

#[test]
fn a_wrong_argument_is_exit_code_2_and_a_failure_1() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(said(folder.path(), &["--version"]).0, 0);
    for wrong in [
        &["rnu"][..],
        &["run", "--nope"],
        &["sql", "--format", "xml"],
        &["compact", "--expire-older-than", "soon"],
        &[],
    ] {
        let (code, out, err) = said(folder.path(), wrong);
        assert_eq!((code, out.as_str()), (2, ""), "{wrong:?}");
        assert!(!err.is_empty());
    }
    assert_eq!(said(folder.path(), &["run"]).0, 1);
}

#[test]
fn with_json_errors_are_json_too() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, err) = said(folder.path(), &["rnu", "--json"]);
    let error = &serde_json::from_str::<Value>(&err).unwrap()["error"];
    assert_eq!(
        (code, error["message"].as_str().unwrap()),
        (2, "unrecognized subcommand 'rnu'")
    );

    let (code, _, err) = said(folder.path(), &["run", "--json"]);
    let error = &serde_json::from_str::<Value>(&err).unwrap()["error"];
    assert_eq!(code, 1);
    assert!(
        error["message"].as_str().unwrap().contains("no configuration"),
        "{error}"
    );
    assert!(error["help"].as_str().unwrap().contains("dkc init"), "{error}");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    #[expect(clippy::disallowed_methods, reason = "a test starts what it tests")]
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("dkc"));
    let output = command
        .args(["schema"])
        .env("HOME", folder.path())
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}

#[test]
fn the_schema_of_a_dataset_is_a_table_or_a_json_schema() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, _) = said(folder.path(), &["schema", "emails"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("│ message_id") && out.contains("RFC 5322 §3.6.4"),
        "{out}"
    );

    let (_, out, _) = said(folder.path(), &["schema", "emails", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["title"], "emails");
    let (_, out, _) = said(folder.path(), &["schema", "--json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap()["runs"]["title"],
        "runs"
    );

    let (code, _, err) = said(folder.path(), &["schema", "email"]);
    assert_eq!(code, 1);
    assert!(err.contains("did you mean `emails`?"), "{err}");
}

#[test]
fn the_schema_of_the_configuration_has_a_variant_for_each_collector_and_no_loose_end() {
    let folder = tempfile::tempdir().unwrap();
    let (_, out, _) = said(folder.path(), &["schema", "config"]);
    let schema: Value = serde_json::from_str(&out).unwrap();
    let sources = &schema["properties"]["pipeline"]["items"]["properties"]["source"]["oneOf"];
    let kinds: Vec<&str> = sources
        .as_array()
        .unwrap()
        .iter()
        .map(|of| of["properties"]["kind"]["const"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["documents", "git", "imap", "maildir", "mbox", "photos"]);
    for part in out.split("\"#/").skip(1) {
        let pointer = format!("/{}", part.split('"').next().unwrap());
        assert!(schema.pointer(&pointer).is_some(), "{pointer}");
    }
}
