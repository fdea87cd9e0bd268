//! Mistakes in `dkc.toml`, as they are told.

use crate::said;
use insta::assert_snapshot;
use serde_json::Value;
use std::fs;

/// What `dkc run` says about a configuration.
fn told(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("dkc.toml"), text).unwrap();
    let (code, out, err) = said(folder.path(), &["run"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(!err.contains("hunter2"), "{err}");
    let folder = folder.path().canonicalize().unwrap();
    err.replace(&folder.display().to_string(), "").trim().to_owned()
}

#[test]
fn a_syntax_error_names_its_place() {
    assert_snapshot!(told(
        r#"[[pipeline]
name = "mail"
"#
    ));
}

#[test]
fn a_syntax_error_does_not_show_a_secret() {
    assert_snapshot!(told(
        r#"source = { password = "hunter2 }
"#
    ));
}

#[test]
fn an_unknown_key_at_the_top() {
    assert_snapshot!(told(
        r#"[pipelines]
"#
    ));
}

#[test]
fn one_bracket_is_not_a_list() {
    assert_snapshot!(told(
        r#"[pipeline]
name = "mail"
"#
    ));
}

#[test]
fn an_unknown_key_of_a_pipeline() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "mail"
shedule = "@daily"
source = { kind = "maildir", path = "Mail" }
"#
    ));
}

#[test]
fn a_key_of_the_source_beside_it() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "mail"
path = "Mail"
source = { kind = "maildir", path = "Mail" }
"#
    ));
}

#[test]
fn an_unknown_kind() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "mail"
source = { kind = "mailbox", path = "Mail" }
"#
    ));
}

#[test]
fn a_missing_kind() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "mail"
source = { path = "Mail" }
"#
    ));
}

#[test]
fn an_unknown_key_of_a_source() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "mail"
source = { kind = "maildir", paht = "Mail" }
"#
    ));
}

#[test]
fn a_wrong_type_in_a_source() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "inbox"
source = { kind = "imap", host = "h", user = "u", password = "env:PW", port = "many" }
"#
    ));
}

#[test]
fn a_wrong_choice_in_a_source() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "inbox"
source = { kind = "imap", host = "h", user = "u", password = "env:PW", tls = "ssl" }
"#
    ));
}

#[test]
fn a_missing_required_key() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "inbox"
source = { kind = "imap", user = "u", password = "env:PW" }
"#
    ));
}

#[test]
fn a_missing_name_and_source() {
    assert_snapshot!(told(
        r#"[[pipeline]]
schedule = "@daily"
"#
    ));
}

#[test]
fn a_name_twice() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "mail"
source = { kind = "maildir", path = "a" }

[[pipeline]]
name = "mail"
source = { kind = "maildir", path = "b" }
"#
    ));
}

#[test]
fn a_bad_name() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "My Mail"
source = { kind = "maildir", path = "a" }
"#
    ));
}

#[test]
fn a_name_that_is_no_text() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = 5
source = { kind = "maildir", path = "a" }
"#
    ));
}

#[test]
fn a_secret_in_clear() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "inbox"
source = { kind = "imap", host = "h", user = "u", password = "hunter2" }
"#
    ));
}

#[test]
fn a_secret_in_clear_under_a_misspelt_key() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "inbox"
source = { kind = "imap", host = "h", user = "u", pasword = "hunter2" }
"#
    ));
}

#[test]
fn a_store_that_is_not_in_this_version() {
    assert_snapshot!(told(
        r#"[store]
postgres = "postgres://me:hunter2@host/db"
"#
    ));
}

#[test]
fn a_limit_of_nothing() {
    assert_snapshot!(told(
        r#"[limits]
query_seconds = 0
"#
    ));
}

#[test]
fn an_unknown_limit() {
    assert_snapshot!(told(
        r#"[limits]
query_memory = 512
"#
    ));
}

#[test]
fn an_unset_variable_is_missed_by_a_run() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "inbox"
source = { kind = "imap", host = "h", user = "u", password = "env:DKC_TEST_UNSET" }
"#
    ));
}

#[test]
fn an_unreadable_secret_file_is_missed_by_a_run() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "inbox"
source = { kind = "imap", host = "h", user = "u", password = "file:nowhere" }
"#
    ));
}

#[test]
fn another_users_home() {
    assert_snapshot!(told(
        r#"[[pipeline]]
name = "mail"
source = { kind = "maildir", path = "~root/Mail" }
"#
    ));
}

#[test]
fn all_mistakes_are_told_at_once_in_order() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("dkc.toml"),
        "[limit]\n[[pipeline]]\nname = \"A\"\n[[pipeline]]\nnme = \"b\"\n",
    )
    .unwrap();
    let (code, _, err) = said(folder.path(), &["run", "--json"]);
    assert_eq!(code, 2);
    let error: Value = serde_json::from_str(&err).unwrap();
    let mistakes = error["error"]["mistakes"].as_array().unwrap();
    let told: Vec<String> = mistakes
        .iter()
        .map(|of| format!("{}: {}", of["at"]["line"], of["message"].as_str().unwrap()))
        .collect();
    assert_snapshot!(told.join("\n"));
}

#[test]
fn a_secret_comes_from_a_file_without_its_line_end_and_a_shared_file_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pw"), "hunter2\n").unwrap();
    let source = "{ kind = \"imap\", host = \"h\", user = \"u\", password = \"file:pw\" }";
    fs::write(
        folder.path().join("dkc.toml"),
        format!("[[pipeline]]\nname = \"inbox\"\nsource = {source}\n"),
    )
    .unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder.path().join("pw"), fs::Permissions::from_mode(0o644)).unwrap();
    let (_, out, err) = said(folder.path(), &["run"]);
    assert!(err.contains("others may read the secret"), "{err}");
    assert!(!err.contains("hunter2") && !out.contains("hunter2"), "{err}");
    fs::set_permissions(folder.path().join("pw"), fs::Permissions::from_mode(0o600)).unwrap();
    let (_, _, err) = said(folder.path(), &["run"]);
    assert!(!err.contains("others may read"), "{err}");
}

#[test]
fn the_configuration_is_found_by_option_then_here_then_in_the_users_folder() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(".config/dkc");
    fs::create_dir_all(&own).unwrap();
    let complains = |arguments: &[&str], key: &str| {
        let (_, _, err) = said(folder.path(), arguments);
        assert!(err.contains(&format!("unknown key `{key}`")), "{err}");
    };
    fs::write(own.join("dkc.toml"), "own = 1").unwrap();
    complains(&["run"], "own");
    fs::write(folder.path().join("dkc.toml"), "here = 1").unwrap();
    complains(&["run"], "here");
    fs::write(folder.path().join("other.toml"), "given = 1").unwrap();
    complains(&["run", "--config", "other.toml"], "given");
}

#[test]
fn nothing_where_something_is_needed_is_refused() {
    for (source, words) in [
        ("kind = \"mbox\", path = \"\"", "the path is empty"),
        (
            "kind = \"imap\", host = \"\", user = \"u\", password = \"env:HOME\"",
            "`host` is empty",
        ),
        (
            "kind = \"imap\", host = \"h\", user = \"u\", password = \"env:HOME\", reply_timeout_secs = 0",
            "`source.reply_timeout_secs`: invalid value",
        ),
    ] {
        let told = told(&format!("[[pipeline]]\nname = \"a\"\nsource = {{ {source} }}\n"));
        assert!(told.contains(words) && told.contains("dkc.toml:3"), "{told}");
    }
}

#[test]
fn a_configuration_without_end_is_not_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, told) = said(folder.path(), &["--config", "/dev/zero", "run"]);
    assert!(
        code == 1 && told.contains("hardly a configuration"),
        "{code}: {told}"
    );
}

#[test]
fn doctor_tells_a_mistake_in_the_configuration_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("dkc.toml"), "[search]\nreranker = \" \"\n").unwrap();
    let (code, out, _) = said(folder.path(), &["doctor", "--json"]);
    assert_eq!(code, 1, "{out}");
    assert_eq!(out.matches("it is empty").count(), 1, "{out}");
}

#[test]
fn doctor_misses_a_path_that_is_not_there_and_doubts_one_with_nothing_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[pipeline]]\nname = \"a\"\nsource = { kind = \"maildir\", path = \"Mail\" }\n";
    fs::write(folder.path().join("dkc.toml"), text).unwrap();
    let checked = |status: &str| {
        let (_, out, _) = said(folder.path(), &["doctor", "--json"]);
        let told: Value = serde_json::from_str(&out).unwrap();
        let checks = told["checks"].as_array().unwrap();
        let check = checks
            .iter()
            .find(|check| check["check"] == "pipeline a")
            .unwrap();
        assert_eq!(check["status"], status, "{check:#}");
        check["found"].as_str().unwrap().to_owned()
    };
    assert!(checked("failure").contains("/Mail`: No such file"));
    fs::create_dir(folder.path().join("Mail")).unwrap();
    assert!(checked("warning").ends_with("/Mail` is empty"));
    fs::create_dir(folder.path().join("Mail/letters")).unwrap();
    assert!(checked("warning").contains("/Mail`: no `cur` or `new` in it"));
    fs::create_dir(folder.path().join("Mail/cur")).unwrap();
    checked("ok");
    let text = "[[pipeline]]\nname = \"a\"\nsource = { kind = \"git\", paths = [\".\"] }\n";
    fs::write(folder.path().join("dkc.toml"), text).unwrap();
    assert!(checked("warning").contains("has no repository beneath it"));
    fs::create_dir_all(folder.path().join("src/.git")).unwrap();
    assert!(checked("warning").contains("src` cannot be opened: "));
}
