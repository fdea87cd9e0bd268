//! `dkc init` and `dkc add`.

use crate::said;
use insta::assert_snapshot;
use std::fs;

#[test]
fn init_writes_a_configuration_that_loads_and_a_private_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, _) = said(folder.path(), &["init"]);
    assert_eq!(code, 0);
    assert!(out.contains("dkc.toml"), "{out}");
    use std::os::unix::fs::PermissionsExt;
    let data = folder.path().join(".local/share/dkc");
    assert_eq!(data.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let (_, _, err) = said(folder.path(), &["run"]);
    assert!(err.contains("has no pipeline"), "{err}");
}

#[test]
fn init_never_loses_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dkc.toml");
    fs::write(&path, "# mine\n").unwrap();
    let (code, _, err) = said(folder.path(), &["init"]);
    assert_eq!(code, 1);
    assert!(err.contains("exists"), "{err}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "# mine\n");

    for _ in 0..2 {
        assert_eq!(said(folder.path(), &["init", "--force"]).0, 0);
    }
    assert_eq!(
        fs::read_to_string(folder.path().join("dkc.toml.old")).unwrap(),
        "# mine\n"
    );
    assert!(folder.path().join("dkc.toml.old2").exists());
}

#[test]
fn add_appends_and_leaves_the_rest_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dkc.toml");
    let before = "# mine\n[limits]\nquery_seconds = 5 # short\n\n# the end";
    fs::write(&path, before).unwrap();
    let (code, out, err) = said(folder.path(), &["add", "maildir", "path=~/Mail", "name=mail"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("Added `mail`") && err.contains("dkc run mail"),
        "{out}{err}"
    );
    let arguments = [
        "add",
        "imap",
        "host=mail.example.org",
        "port=1143",
        "user=me \"x\"",
        "password=env:PW",
        "folders=INBOX,Sent",
        "schedule=@daily",
    ];
    assert_eq!(said(folder.path(), &arguments).0, 0);
    let after = fs::read_to_string(&path).unwrap();
    assert_snapshot!(after.strip_prefix(before).unwrap());
}

#[test]
fn add_of_every_kind_works_as_its_example_says() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(said(folder.path(), &["init"]).0, 0);
    let (_, help, _) = said(folder.path(), &["add", "--help"]);
    let examples: Vec<&str> = help
        .lines()
        .filter_map(|line| line.trim().strip_prefix("dkc "))
        .collect();
    assert_eq!(examples.len(), 6, "{help}");
    for example in examples {
        let (code, _, err) = said(folder.path(), &example.split(' ').collect::<Vec<_>>());
        assert_eq!(code, 0, "{example}: {err}");
    }
}

#[test]
fn add_writes_nothing_when_the_result_would_be_wrong() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(said(folder.path(), &["init"]).0, 0);
    assert_eq!(said(folder.path(), &["add", "maildir", "path=~/Mail"]).0, 0);
    let path = folder.path().join("dkc.toml");
    let before = fs::read_to_string(&path).unwrap();
    let imap = ["add", "imap", "host=h", "user=u", "name=inbox"];
    for (wrong, expected, why) in [
        (
            vec!["add", "maildir", "path=~/Other"],
            2,
            "second pipeline `maildir`",
        ),
        (
            vec!["add", "maildir", "pth=~/Other", "name=o"],
            2,
            "did you mean `path`?",
        ),
        (
            vec!["add", "maildir", "path=~/Other", "name=Other Mail"],
            2,
            "not a pipeline name",
        ),
        (
            [&imap[..], &["password=hunter2"]].concat(),
            2,
            "must not be in the file",
        ),
        (
            [&imap[..], &["password=env:PW", "port=many"]].concat(),
            2,
            "source.port",
        ),
        (
            [&imap[..], &["password=env:PW", "user=again"]].concat(),
            1,
            "given twice",
        ),
    ] {
        let (code, _, err) = said(folder.path(), &wrong);
        assert_eq!(code, expected, "{wrong:?}");
        assert!(err.contains(why), "{wrong:?}: {err}");
        assert!(!err.contains("hunter2"), "{err}");
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }
    assert_eq!(said(folder.path(), &["add", "pop3", "path=x"]).0, 2);
}

#[test]
fn add_makes_a_path_absolute_when_the_configuration_is_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    let config = ["--config", "etc/dkc.toml"];
    assert_eq!(said(folder.path(), &[&["init"], &config[..]].concat()).0, 0);
    assert_eq!(
        said(
            folder.path(),
            &[&["add", "maildir", "path=Mail"], &config[..]].concat()
        )
        .0,
        0
    );
    let text = fs::read_to_string(folder.path().join("etc/dkc.toml")).unwrap();
    let here = folder.path().canonicalize().unwrap();
    assert!(
        text.contains(&format!("path = \"{}\"", here.join("Mail").display())),
        "{text}"
    );
}

#[test]
fn add_needs_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, err) = said(folder.path(), &["add", "maildir", "path=Mail"]);
    assert_eq!(code, 1);
    assert!(err.contains("dkc init"), "{err}");
}
