//! Originals and attachments out of the lake again, byte for byte.

use crate::it::gateway::{Served, answer, token};
use crate::it::lab::{self, Lab, MAIL};
use crate::it::mcp::Agent;
use crate::it::photos::sample;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fixtures::corpus;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, IF_NONE_MATCH};
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

/// Asserts that bytes are named by their digest, weakly where they may come compressed, and not sent to whom has them.
async fn is_sent_once(served: &Served, token: &str, path: &str, sha256: &str, weak: &str) {
    let plain = format!("\"{sha256}\"");
    let tag = format!("{weak}{plain}");
    let one_of = format!("\"other\", W/{plain}");
    for (known, status) in [
        (tag.as_str(), 304_u16),
        (plain.as_str(), 304),
        ("\"other\"", 200),
        (one_of.as_str(), 304),
        ("*", 304),
    ] {
        for coding in ["identity", "gzip"] {
            let request = served.get(token, path).header(IF_NONE_MATCH, known);
            let got = request.header(ACCEPT_ENCODING, coding).send().await.unwrap();
            assert_eq!(got.status(), status, "{path} {known}");
            assert_eq!(got.headers()[ETAG], tag.as_str(), "{path} {known}");
            let is_coded = got.headers().contains_key(CONTENT_ENCODING);
            assert!(!is_coded || weak == "W/", "{path} {known}");
            let bytes = got.bytes().await.unwrap();
            match status {
                304 => assert!(bytes.is_empty(), "{path} {known}"),
                _ if is_coded => {}
                _ => assert_eq!(Digest::of(&bytes).to_string(), sha256, "{path}"),
            }
        }
    }
}

#[tokio::test]
async fn originals_and_small_pictures_that_a_client_has_are_not_sent_again() {
    let pictures =
        "[[pipeline]]\nname = \"pictures\"\nsource = { kind = \"photos\", roots = [\"pictures\"] }\n";
    let lab = Lab::new(&format!("{MAIL}{pictures}"));
    lab.deliver("", &[WITH_ATTACHMENTS]);
    lab.write("pictures/Canon.jpg", sample("Canon.jpg"));
    lab.runs();
    let (served, dev) = Served::start(&lab);
    let mail = lab.value("SELECT _item FROM emails");
    let photo = lab.value("SELECT _item FROM photos");
    let at = |dataset: &str, item: &Value, part: &str| {
        format!(
            "/api/v1/datasets/{dataset}/items/{}/{part}",
            item.as_str().unwrap()
        )
    };
    let of_mail = Digest::of(WITH_ATTACHMENTS.as_bytes()).to_string();
    is_sent_once(&served, &dev, &at("emails", &mail, "original"), &of_mail, "W/").await;
    let original = at("photos", &photo, "original");
    let of_photo = Digest::of(&sample("Canon.jpg")).to_string();
    is_sent_once(&served, &dev, &original, &of_photo, "").await;
    let small = at("photos", &photo, "thumbnail");
    let got = served.get(&dev, &small).send().await.unwrap();
    let of_small = Digest::of(&got.bytes().await.unwrap()).to_string();
    is_sent_once(&served, &dev, &small, &of_small, "").await;

    // Another file in its place is not the original, whatever a client has.
    lab.write("pictures/Canon.jpg", sample("Pentax.jpg"));
    let tag = format!("\"{of_photo}\"");
    let request = served.get(&dev, &original).header(IF_NONE_MATCH, &tag);
    let (status, problem) = answer(request.send().await.unwrap()).await;
    assert_eq!(status, 410, "{problem}");
    assert!(text(&problem, "detail").contains("another file"), "{problem}");
}

/// A mail with a page and bytes that are no text, both named by somebody who means harm or writes German.
const WITH_ATTACHMENTS: &str = "From: a@example.org\r\nTo: me@example.org\r\nDate: Fri, 01 Mar 2024 10:00:00 +0000\r\n\
    Subject: Look\r\nMessage-ID: <look@example.org>\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=x\r\n\r\n\
    --x\r\nContent-Type: text/plain\r\n\r\nLook.\r\n\
    --x\r\nContent-Type: text/html\r\n\
    Content-Disposition: attachment; filename=\"../../.a; b%41.html\"\r\n\
    Content-Transfer-Encoding: base64\r\n\r\nPHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pgo=\r\n\
    --x\r\nContent-Type: application/octet-stream\r\n\
    Content-Disposition: attachment; filename*=UTF-8''%C3%9Cbersicht%20%E2%82%AC.bin\r\n\
    Content-Transfer-Encoding: base64\r\n\r\nAAH+/w0KAA==\r\n\
    --x--\r\n";

#[tokio::test]
async fn an_attachment_comes_alone_byte_for_byte_and_does_no_harm() {
    let lab = Lab::new(MAIL);
    lab.deliver("", &[WITH_ATTACHMENTS]);
    lab.run();
    let rows = lab.sql("SELECT _item, sha256 FROM email_attachments ORDER BY ordinal");
    let (served, dev) = Served::start(&lab);
    let item = text(&rows[0], "_item");
    let at =
        |dataset: &str, part: &str| format!("/api/v1/datasets/{dataset}/items/{item}/attachments/{part}");
    let wanted: [(&[u8], &str, &str); 2] = [
        (
            b"<script>alert(1)</script>\n",
            "text/html",
            "attachment; filename=\"a_ b_41.html\"; filename*=UTF-8''a%3B%20b%2541.html",
        ),
        (
            b"\x00\x01\xfe\xff\r\n\x00",
            "application/octet-stream",
            "attachment; filename=\"_bersicht _.bin\"; filename*=UTF-8''%C3%9Cbersicht%20%E2%82%AC.bin",
        ),
    ];
    assert_eq!(rows.len(), wanted.len());
    for (ordinal, (bytes, media_type, disposition)) in wanted.into_iter().enumerate() {
        let path = at("emails", &ordinal.to_string());
        let got = served.get(&dev, &path).send().await.unwrap();
        assert_eq!(got.status(), 200, "{path}");
        is_sent_once(&served, &dev, &path, text(&rows[ordinal], "sha256"), "W/").await;
        for (header, value) in [
            ("content-type", media_type),
            ("content-disposition", disposition),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "sandbox; default-src 'none'"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(got.headers()[header], value, "{path}");
        }
        let got = got.bytes().await.unwrap();
        assert_eq!(&got[..], bytes, "{path}");
        assert_eq!(Digest::of(&got).to_string(), text(&rows[ordinal], "sha256"));
    }
    for (path, status, words) in [
        (at("emails", "2"), 404, "has no attachment 2"),
        (at("emails", "9223372036854775807"), 404, "has no attachment"),
        (at("emails", "-1"), 400, "at least 0"),
        (at("emails", "first"), 400, "integer"),
        (
            at("emails", "0").replace(item, "nothing"),
            404,
            "no row of the item",
        ),
        (at("emials", "0"), 404, "did you mean `emails`?"),
        (at("runs", "0"), 422, "no items"),
    ] {
        let (found, problem) = answer(served.get(&dev, &path).send().await.unwrap()).await;
        assert_eq!(found, status, "{path}: {problem}");
        assert!(text(&problem, "detail").contains(words), "{path}: {problem}");
    }

    // Whoever may have the original may have what is in it, and nobody else.
    for (name, options, status) in [
        ("of-mail", ["--role", "user", "--datasets", "emails"], 200),
        (
            "of-attachments",
            ["--role", "user", "--datasets", "email_attachments"],
            404,
        ),
        ("of-notes", ["--role", "user", "--datasets", "documents"], 404),
        ("program", ["--role", "automated", "--datasets", "emails"], 403),
    ] {
        let limited = token(&lab, name, &options);
        let original = format!("/api/v1/datasets/emails/items/{item}/original");
        let mut said = Vec::new();
        for path in [at("emails", "0"), original] {
            let (found, told) = answer(served.get(&limited, &path).send().await.unwrap()).await;
            assert_eq!(found, status, "{name} {path}: {told}");
            let detail = told["detail"].as_str().unwrap_or_default();
            said.push(detail.replace("get_attachment", "get_original"));
        }
        assert!(status == 200 || said[0] == said[1], "{name}: {said:?}");
    }
    let attached = token(
        &lab,
        "attached",
        &["--role", "user", "--datasets", "email_attachments"],
    );
    let (found, told) = answer(
        served
            .get(&attached, &at("email_attachments", "0"))
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!((found, told.as_str()), (200, Some("<script>alert(1)</script>\n")));
}

/// A mail with files attached: how each is declared, its name, its bytes.
fn with_files(files: &[(&str, &str, &[u8])]) -> String {
    let parts = files.iter().map(|(declared, name, bytes)| {
        format!(
            "--x\r\nContent-Type: {declared}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            STANDARD.encode(bytes)
        )
    });
    format!(
        "From: a@example.org\r\nTo: me@example.org\r\nDate: Fri, 01 Mar 2024 10:00:00 +0000\r\n\
         Subject: Look\r\nMessage-ID: <look@example.org>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=x\r\n\r\n\
         --x\r\nContent-Type: text/plain\r\n\r\nLook.\r\n{}--x--\r\n",
        parts.collect::<String>()
    )
}

#[tokio::test]
async fn an_agent_reads_what_is_attached_and_no_secret_of_it() {
    let lab = Lab::new(MAIL);
    let mut generator = corpus::oracle("make_documents.py");
    generator.arg("good").arg(lab.path("documents"));
    let made = lab::said(generator);
    assert_eq!(made.code, Some(0), "{made:#?}");
    let document = |name: &str| fs::read(lab.path("documents").join(name)).unwrap();
    let (pdf, docx) = (document("ice.pdf"), document("ice.docx"));
    let table: String = (0..2_000).map(|n| format!("{n},row {n}\n")).collect();
    lab.deliver(
        "",
        &[with_files(&[
            ("application/pdf", "ice.pdf", &pdf),
            ("application/octet-stream", "ICE.DOCX", &docx),
            ("text/csv", "rows.csv", table.as_bytes()),
            ("image/png", "dot.png", b"\x89PNG\r\n\x1a\n"),
            ("text/plain", ".env", b"TOKEN=hush\n"),
            ("application/octet-stream", "C:/keys/id_rsa", b"hush\n"),
            ("application/zip", "all.zip", b"PK\x03\x04\x00hush"),
        ])],
    );
    lab.run();
    let item = lab.value("SELECT _item FROM emails");
    let mut agent = Agent::start(&lab, &["--toolsets", "emails"]);
    agent.initialize("2025-11-25");
    let asked = |ordinal: usize| json!({ "item": item, "ordinal": ordinal });
    for ordinal in [0, 1] {
        let told = agent.call("read_attachment", &asked(ordinal));
        let words = text(&told["content"][0], "text");
        assert!(words.starts_with("<untrusted "), "{told}");
        assert!(words.contains("The harbour freezes in February."), "{told}");
    }
    let (mut part, mut parts) = (asked(2), Vec::new());
    part["max_tokens"] = json!(2_000);
    loop {
        let told = agent.call("read_attachment", &part);
        parts.push(text(&told["content"][0], "text").to_owned());
        match told["structuredContent"]["continue"].as_str() {
            Some(rest) => part["continue"] = rest.into(),
            None => break,
        }
        assert!(parts.len() < 100, "it goes on and on");
    }
    assert!(parts.len() > 2 && parts[0].contains("1,row 1"), "{parts:?}");
    assert!(!parts[0].contains("1999,row 1999"), "{}", parts[0]);
    assert!(parts.iter().any(|part| part.contains("1999,row 1999")));
    let picture = agent.call("read_attachment", &asked(3));
    assert_eq!(picture["content"][1]["type"], "image", "{picture}");
    for (ordinal, words) in [
        (4, "looks like a secret"),
        (5, "looks like a secret"),
        (6, "no document that can be read"),
        (7, "has no attachment 7"),
    ] {
        let refused = agent.call("read_attachment", &asked(ordinal));
        assert_eq!(refused["isError"], true, "{refused}");
        assert!(text(&refused["content"][0], "text").contains(words), "{refused}");
        assert!(!refused.to_string().contains("hush"), "{refused}");
    }
    let uri = format!(
        "dkc://emails/attachment?item={}&ordinal=0",
        item.as_str().unwrap()
    );
    let read = agent.ask("resources/read", &json!({ "uri": uri }));
    assert!(
        text(&read["result"]["contents"][0], "text").contains("The harbour freezes"),
        "{read}"
    );

    // A program may read it over REST as well; the bytes are for people.
    let (served, _) = Served::start(&lab);
    let program = token(&lab, "program", &["--role", "automated", "--datasets", "emails"]);
    let path = |rest: &str| {
        let item = item.as_str().unwrap();
        format!("/api/v1/datasets/emails/items/{item}/attachments/{rest}")
    };
    for (rest, status) in [
        ("0/preview", 200),
        ("4/preview", 403),
        ("6/preview", 422),
        ("0", 403),
    ] {
        let (found, told) = answer(served.get(&program, &path(rest)).send().await.unwrap()).await;
        assert_eq!(found, status, "{rest}: {told}");
        assert_eq!(
            told.to_string().contains("The harbour freezes"),
            status == 200,
            "{told}"
        );
    }
}
