//! `dkc token` and `dkc audit`.

use crate::it::lab::Lab;
use crate::said;

#[test]
fn a_token_is_shown_once_listed_without_its_text_and_revoked() {
    let lab = Lab::new("");
    let made = lab.json(&[
        "token",
        "create",
        "agent",
        "--role",
        "automated",
        "--datasets",
        "emails,photos",
        "--expires",
        "90d",
        "--rate",
        "5",
    ]);
    let (text, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert!(
        text.starts_with(&format!("dkc_{id}")) && text.len() == 47,
        "{made}"
    );

    let listed = lab.output(&["token", "list", "--json"]);
    assert!(!listed.contains(text), "{listed}");
    let token = &lab.json(&["token", "list"])["tokens"][0];
    for key in [
        "id",
        "name",
        "role",
        "datasets",
        "expires_at",
        "requests_per_second",
    ] {
        assert_eq!(token[key], made[key], "{key}");
    }
    assert!(token["revoked_at"].is_null(), "{token}");
    assert!(lab.output(&["token", "list"]).contains("emails, photos"));

    assert_eq!(lab.json(&["token", "revoke", id])["revoked"], true);
    assert!(lab.json(&["token", "list"])["tokens"][0]["revoked_at"].is_i64());
    let again = lab.said(&["token", "revoke", id]);
    assert!(
        again.code == Some(1) && again.err.contains("dkc token list"),
        "{again:#?}"
    );
}

#[test]
fn standard_output_is_the_token_alone() {
    let lab = Lab::new("");
    let made = lab.said(&["token", "create", "phone"]);
    assert!(made.out.starts_with("dkc_") && made.out.len() == 48, "{made:#?}");
    assert!(
        made.err.contains("this once") && !made.err.contains(made.out.trim()),
        "{made:#?}"
    );
}

#[test]
fn a_token_for_nothing_or_for_the_past_is_refused() {
    let lab = Lab::new("");
    let wrong = lab.said(&["token", "create", "phone", "--datasets", "email"]);
    assert!(
        wrong.code == Some(1) && wrong.err.contains("`emails`"),
        "{wrong:#?}"
    );
    for wrong in [["--expires", "2001-01-01"], ["--role", "king"], ["--rate", "0"]] {
        let said = lab.said(&[&["token", "create", "phone"][..], &wrong].concat());
        assert_eq!(said.code, Some(2), "{said:#?}");
    }
    assert!(
        lab.json(&["token", "list"])["tokens"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn an_empty_log_is_whole_and_an_anchor_that_it_lacks_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, _) = said(folder.path(), &["audit", "verify"]);
    assert_eq!((code, out.as_str()), (0, "0 records, whole\n"));
    let anchor = format!("3:{}", "0".repeat(64));
    let (code, out, err) = said(folder.path(), &["audit", "verify", "--anchor", &anchor]);
    assert!(
        code == 1 && out.contains("the anchor") && err.contains("record 1"),
        "{out}{err}"
    );
    assert_eq!(said(folder.path(), &["audit", "verify", "--anchor", "3"]).0, 2);
    let (code, out, _) = said(folder.path(), &["audit", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, listed), (0, serde_json::json!({ "records": [] })));
}
