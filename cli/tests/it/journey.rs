//! One mailbox through all commands: collected, changed, asked, exported, rebuilt, explained, and kept private
//! (proof T36).

use crate::it::lab::{self, Lab, MAIL, Said, count};
use fixtures::corpus;
use fixtures::dovecot::Dovecot;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The rows of `emails`, by item.
fn emails(lab: &Lab) -> BTreeMap<String, Value> {
    let rows = lab.sql("SELECT * FROM emails");
    rows.into_iter()
        .map(|row| (row["_item"].as_str().unwrap().to_owned(), row))
        .collect()
}

#[test]
fn what_changes_in_a_maildir_changes_in_the_lake_and_nothing_else() {
    let lab = Lab::new(MAIL);
    let mails = corpus::sample(36);
    let names = lab.deliver("", &mails[..30]);
    lab.deliver(".Archive", &mails[30..35]);
    assert_eq!(count(&lab.run(), "items_stored"), 35);
    let before = emails(&lab);
    let item = |n: usize| schemas::Digest::of(&mails[n]).to_string();

    lab.rename(&format!("cur/{}:2,", names[3]), &format!("cur/{}:2,FS", names[3]));
    lab.rename(
        &format!("cur/{}:2,", names[7]),
        &format!(".Archive/cur/{}:2,", names[7]),
    );
    fs::remove_file(lab.path(format!("mail/cur/{}:2,", names[11]))).unwrap();
    lab.write("mail/new/just-arrived", &mails[35]);
    let run = lab.run();
    let counts = [
        "items_seen",
        "items_stored",
        "items_unchanged",
        "items_rejected",
        "items_vanished",
    ];
    assert_eq!(counts.map(|name| count(&run, name)), [35, 3, 32, 0, 1], "{run:#}");

    let mut expected = before.clone();
    expected.remove(&item(11)).unwrap();
    for (n, column, value) in [
        (3, "flags", json!(["\\Flagged", "\\Seen"])),
        (7, "folders", json!(["Archive"])),
    ] {
        let row = expected.get_mut(&item(n)).unwrap();
        row[column] = value;
        row["_run"] = run["run"].clone();
    }
    let mut after = emails(&lab);
    let arrived = after.remove(&item(35)).unwrap();
    assert_eq!(
        (&arrived["folders"], &arrived["_run"]),
        (&json!(["INBOX"]), &run["run"])
    );
    assert_eq!(after, expected);
    assert_eq!(
        lab.number("SELECT count(*) FROM raw"),
        36,
        "the original of the deleted mail stays"
    );
    assert_eq!(lab.number("SELECT count(*) FROM locations"), 35);

    let snapshot = lab.snapshot();
    assert_eq!(count(&lab.run(), "items_unchanged"), 35);
    assert_eq!(lab.snapshot(), snapshot);
}

#[test]
fn a_cleared_cursor_costs_time_and_changes_no_row() {
    let lab = Lab::new(MAIL);
    let mails = corpus::sample(100);
    lab.deliver("", &mails);
    // A second copy in the same folder, and one in another.
    lab.deliver("", &mails[..5]);
    lab.deliver(".Copies", &mails[..10]);
    lab.run();
    let before = lab::duckdb(&[(&lab, None)]);
    lab.output(&["cursor", "clear", "mail"]);
    assert_eq!(lab.json(&["cursor", "show", "mail"]), Value::Null);
    let again = lab.run();
    assert_eq!(
        (count(&again, "items_seen"), count(&again, "items_vanished")),
        (115, 0)
    );
    assert_eq!(lab::duckdb(&[(&lab, None)]), before);
    assert_eq!(count(&lab.run(), "items_unchanged"), 115);

    let cursor = lab.output(&["cursor", "show", "mail"]);
    lab.output(&["cursor", "set", "mail", cursor.trim()]);
    assert_eq!(lab.output(&["cursor", "show", "mail"]), cursor);
    assert_eq!(
        lab.said(&["cursor", "set", "mail", "7"]).code,
        Some(1),
        "a cursor is an object"
    );

    let snapshot = lab.snapshot();
    for wrong in [
        &["cursor", "clear", "mial"][..],
        &["cursor", "set", "mial", "{}"],
        &["cursor", "show", "mial"],
    ] {
        let said = lab.said(wrong);
        assert_eq!(said.code, Some(1), "{said:#?}");
        assert!(
            said.err.contains("there is no pipeline `mial`") && said.err.contains("`mail`"),
            "{said:#?}"
        );
    }
    assert_eq!(lab.snapshot(), snapshot);
    // A pipeline that is not configured any more has its cursor still.
    lab.write("dkc.toml", MAIL.replace("\"mail\"\n", "\"post\"\n"));
    assert_eq!(lab.output(&["cursor", "show", "mail"]), cursor);
    lab.output(&["cursor", "clear", "mail"]);
}

#[test]
fn a_rebuild_from_the_originals_gives_the_same_rows_without_the_source() {
    let lab = Lab::new(MAIL);
    let names = lab.deliver("", &corpus::sample(300));
    lab.run();
    fs::remove_file(lab.path(format!("mail/cur/{}:2,", names[5]))).unwrap();
    lab.rename(&format!("cur/{}:2,", names[6]), &format!("cur/{}:2,S", names[6]));
    lab.run();
    let before = lab::duckdb(&[(&lab, None)]);
    let snapshot = lab.snapshot();
    fs::rename(lab.path("mail"), lab.path("gone")).unwrap();
    for (dataset, items) in [
        ("emails", 299),
        (
            "email_attachments",
            lab.number("SELECT count(DISTINCT _item) FROM email_attachments"),
        ),
    ] {
        let rebuilt = lab.json(&["rebuild", dataset]);
        assert_eq!(count(&rebuilt, "changed"), 0, "{dataset}: {rebuilt:#}");
        assert_eq!(count(&rebuilt, "unchanged"), items as u64, "{dataset}");
    }
    assert_eq!(lab::duckdb(&[(&lab, None)]), before);
    assert_eq!(lab.snapshot(), snapshot);
    let refused = lab.said(&["rebuild", "raw"]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("emails"),
        "it says what can be rebuilt: {}",
        refused.err
    );
    // A source that is gone is an error of its own, and takes nothing with it.
    assert_eq!(lab.said(&["run"]).code, Some(1));
    assert_eq!(lab::duckdb(&[(&lab, None)]), before);
}

#[test]
fn a_rebuild_takes_in_a_reject_that_converts_now_and_keeps_one_that_does_not() {
    let lab = Lab::new(MAIL);
    let with_attachment = b"From: a@b.example\nSubject: two parts\nMIME-Version: 1.0\n\
        Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/plain\n\nhello\n\
        --x\nContent-Type: text/csv\nContent-Disposition: attachment; filename=a.csv\n\n1,2\n--x--\n";
    let all_header = format!("Subject: {}\n\nhello\n", "x".repeat(2 << 20));
    lab.deliver(
        "",
        &[&with_attachment[..], all_header.as_bytes(), b"Subject: c\n\nd\n"],
    );
    assert_eq!(count(&lab.run(), "items_rejected"), 1);
    let tables = [
        "SELECT _item, subject FROM emails",
        "SELECT _item, filename FROM email_attachments",
    ];
    let rows = || tables.map(|query| lab.sql(&format!("{query} ORDER BY _item")));
    let (before, rejects) = (rows(), lab.sql("SELECT * FROM rejects"));
    assert_eq!((before[0].len(), before[1].len(), rejects.len()), (2, 1, 1));
    for dataset in ["emails", "email_attachments"] {
        reject_as_an_older_version(&lab, &schemas::Digest::of(with_attachment).to_string());
        assert_eq!(rows().map(|rows| rows.len()), [1, 0]);
        assert_eq!(lab.number("SELECT count(*) FROM rejects"), 2);
        let rebuilt = lab.json(&["rebuild", dataset]);
        assert_eq!(
            (count(&rebuilt, "changed"), count(&rebuilt, "rejected")),
            (1, 1),
            "{dataset}"
        );
        assert_eq!(rows(), before, "{dataset}");
        assert_eq!(lab.sql("SELECT * FROM rejects"), rejects, "{dataset}");
    }
    let snapshot = lab.snapshot();
    assert_eq!(count(&lab.json(&["rebuild", "emails"]), "unchanged"), 2);
    assert_eq!(lab.snapshot(), snapshot);
}

/// Makes a reject of a mail that was taken in, as if a dkc that could not read it had collected it.
fn reject_as_an_older_version(lab: &Lab, item: &str) {
    use schemas::datasets::{email_attachments, emails, rejects};
    let source = schemas::SourceName::new("mail".to_owned()).unwrap();
    let run = schemas::RunId("older".to_owned());
    let provenance = schemas::Provenance {
        source: source.clone(),
        run: run.clone(),
    };
    let mut rows = schemas::Rows::of_lake(&rejects::DATASET, provenance);
    let reject = schemas::Reject {
        item: item.to_owned(),
        reason: "too new".to_owned(),
        raw: Some(format!("sha256:{item}")),
    };
    rows.push(&rejects::RejectRow {
        source: &source,
        reject: &reject,
    })
    .unwrap();
    let commit = store::Commit {
        run,
        source: source.clone(),
        upserts: vec![(&rejects::DATASET, rows.finish().unwrap())],
        differ: false,
        removals: [&emails::DATASET, &email_attachments::DATASET]
            .map(|dataset| (dataset, vec![item.to_owned()]))
            .to_vec(),
        cursor: None,
        items: store::Items::default(),
        message: Some("older".to_owned()),
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = store::Store::open_writer(lab.data()).await.unwrap();
        let mut committer = store.committer(&source).await.unwrap();
        committer.commit(commit).await.unwrap();
        store.close().await;
    });
}

#[test]
fn why_leads_from_a_row_to_its_original_its_place_and_its_run() {
    let lab = Lab::new(MAIL);
    let mut mails = corpus::sample(20);
    mails.push(
        [
            b"Subject: bytes\n\n".as_slice(),
            &(0..=255).collect::<Vec<u8>>(),
            b"\r\n\0no end",
        ]
        .concat(),
    );
    let names = lab.deliver(".Archive", &mails);
    let run = lab.run();
    for (mail, name) in mails.iter().zip(&names).skip(18) {
        let item = schemas::Digest::of(mail).to_string();
        let why = lab.json(&["why", "emails", &item]);
        assert_eq!(why["run"]["run"], run["run"]);
        assert_eq!(why["original"][0]["sha256"], item.as_str());
        assert_eq!(why["original"][0]["size_bytes"], mail.len());
        assert_eq!(why["locations"][0]["location"], format!(".Archive/{name}"));
        assert_eq!(why["rows"][0]["_item"], item.as_str());
        let original = lab
            .command::<&str>(&[], &["why", "emails", &item, "--original"])
            .output()
            .unwrap();
        assert!(original.status.success());
        assert_eq!(&original.stdout, mail);
    }
    let nothing = lab.said(&["why", "emails", "' OR 1=1 --"]);
    assert_eq!(nothing.code, Some(1), "{nothing:#?}");
    assert!(
        lab.said(&["why", "email", "x"]).err.contains("emails"),
        "the nearest name is said"
    );
}

#[test]
fn sql_only_reads_and_reads_nothing_but_the_lake() {
    let lab = Lab::new(MAIL);
    lab.deliver("", &corpus::sample(30));
    lab.run();
    let snapshot = lab.snapshot();
    lab.write("secret.csv", "a,b\n1,2\n");
    let secret = lab.path("secret.csv");
    let (secret, out) = (secret.display(), lab.path("out"));
    let chain = format!("SELECT 1{}", "+1".repeat(20_000));
    for refused in [
        "DELETE FROM emails",
        "INSERT INTO emails SELECT * FROM emails",
        "UPDATE emails SET subject = ''",
        "DROP TABLE emails",
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "SET datafusion.execution.batch_size = 1",
        "SELECT 1; SELECT 2",
        "SHOW ALL",
        "",
        "SELEKT 1",
        &chain,
        &format!("COPY emails TO '{}'", out.display()),
        &format!("EXPLAIN ANALYZE COPY emails TO '{}'", out.display()),
        &format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{secret}'"),
        &format!("SELECT * FROM '{secret}'"),
        &format!("SELECT * FROM read_csv('{secret}')"),
        &format!(
            "SELECT * FROM read_parquet('{}/lake/files/main/raw/*.parquet')",
            lab.data().display()
        ),
        "SELECT * FROM information_schema.df_settings",
        "SELECT * FROM nowhere",
    ] {
        let said = lab.said(&["sql", "-c", refused]);
        let text: String = refused.chars().take(60).collect();
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{text}: {said:#?}");
        assert!(
            !said.err.is_empty() && !said.err.contains("panicked"),
            "{text}: {said:#?}"
        );
    }
    assert!(!out.exists());
    assert_eq!(lab.snapshot(), snapshot);
    lab.is_whole();
}

#[test]
fn sql_answers_in_every_format_from_an_argument_a_file_or_standard_input() {
    let lab = Lab::new(MAIL);
    lab.deliver("", &corpus::sample(3));
    lab.run();
    let query = "SELECT 'a|b' AS x, 1 AS n, date FROM emails ORDER BY date LIMIT 1";
    let of = |format: &str| lab.output(&["sql", "-c", query, "--format", format]);
    let row: Value = serde_json::from_str(&of("ndjson")).unwrap();
    assert_eq!((&row["x"], &row["n"]), (&json!("a|b"), &json!(1)));
    let date = row["date"].as_str().unwrap().to_owned();
    assert!(date.ends_with('Z'));
    assert_eq!(serde_json::from_str::<Value>(&of("json")).unwrap(), json!([row]));
    assert_eq!(lab.json(&["sql", "-c", query]), json!([row]));
    let commented = format!("-- the first mail\n{query}");
    assert_eq!(lab.json(&["sql", "-c", &commented]), json!([row]));
    assert_eq!(of("csv"), format!("x,n,date\na|b,1,{date}\n"));
    assert!(of("markdown").contains(r"a\|b"));
    assert!(of("table").contains(&date));
    lab.write("q.sql", query);
    let file = lab.path("q.sql");
    assert_eq!(
        lab.output(&["sql", "-f", file.to_str().unwrap(), "--format", "csv"]),
        of("csv")
    );
    let piped = lab.command(
        &["sh", "-c", "cat q.sql | \"$0\" \"$@\""],
        &["sql", "--format", "csv"],
    );
    assert_eq!(lab::said(piped).out, of("csv"));
}

#[test]
fn an_export_is_read_back_by_others_with_every_row() {
    let lab = Lab::new(MAIL);
    lab.deliver("", &corpus::sample(500));
    lab.run();
    let script = "import csv, json, sys, pyarrow.parquet, pyarrow.csv\n\
        csv.field_size_limit(1 << 30)\n\
        path = sys.argv[1]\n\
        rows = {\n\
        'csv': lambda: [r['_item'] for r in csv.DictReader(open(path, newline='', encoding='utf-8'))],\n\
        'json': lambda: [r['_item'] for r in json.load(open(path))],\n\
        'ndjson': lambda: [json.loads(line)['_item'] for line in open(path, newline='\\n')],\n\
        'md': lambda: [line.split('|')[2].strip() for line in open(path, newline='\\n')][2:],\n\
        'parquet': lambda: pyarrow.parquet.read_table(path)['_item'].to_pylist()}[path.rsplit('.')[-1]]()\n\
        print(len(rows), len(set(rows)))";
    lab.write("read.py", script);
    for dataset in ["emails", "raw"] {
        for format in ["csv", "json", "ndjson", "md", "parquet"] {
            let file = lab.path(format!("{dataset}.{format}"));
            let arguments = ["export", dataset, "--to", file.to_str().unwrap()];
            assert_eq!(count(&lab.json(&arguments), "rows"), 500);
            let mut python = corpus::python();
            python.arg(lab.path("read.py")).arg(&file);
            let said = lab::said(python);
            assert_eq!(said.out, "500 500\n", "{dataset}.{format}: {}", said.err);
            assert_eq!(mode(&file), 0o600);
            assert_eq!(
                lab.said(&arguments).code,
                Some(1),
                "a file that is there is not replaced"
            );
        }
    }
    assert_eq!(
        lab.said(&["export", "emails", "--to", "emails.xml"]).code,
        Some(1)
    );
    let few = lab.path("few.csv");
    lab.output(&[
        "export",
        "--query",
        "SELECT _item FROM emails LIMIT 7",
        "--to",
        few.to_str().unwrap(),
    ]);
    assert_eq!(fs::read_to_string(few).unwrap().lines().count(), 8);

    // The lake's own files are not to be replaced, nor a file left where it would be swept.
    let file = lab.parquet_files().remove(0);
    let said = lab.said(&["export", "emails", "--to", file.to_str().unwrap(), "--force"]);
    assert!(
        said.code == Some(1) && said.err.contains("dkc's own"),
        "{said:#?}"
    );
    lab.is_whole();
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// Whether the bytes are in any file below.
fn is_in(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => is_in(&path, bytes),
            false => fs::read(&path)
                .unwrap()
                .windows(bytes.len())
                .any(|window| window == bytes),
        }
    })
}

#[test]
fn a_secret_stays_where_it_is_and_the_data_are_for_their_owner_alone() {
    const CANARY: &str = "canary-e1f7a0c4";
    let server = Dovecot::with_settings(&format!(
        "passdb {{\n driver = static\n args = password={CANARY}\n}}\n"
    ));
    let mails = corpus::sample(10);
    server.deliver("INBOX", mails.iter().map(Vec::as_slice));
    let pipeline = |name: &str, port: u16| {
        format!(
            "[[pipeline]]\nname = \"{name}\"\nsource = {{ kind = \"imap\", host = \"127.0.0.1\", port = {port}, user = \"me\", password = \"env:CANARY\", tls = \"none\" }}\n"
        )
    };
    let lab = Lab::new(&pipeline("inbox", server.port_plain()));
    let tell = |arguments: &[&str], canary: &str| -> Said {
        let log = lab.path("exec.log");
        let wrapper = [
            "strace",
            "-f",
            "-qq",
            "-e",
            "trace=execve",
            "-o",
            log.to_str().unwrap(),
        ];
        let mut command = lab.command(&wrapper, arguments);
        command.env("CANARY", canary).env("DKC_LOG", "trace");
        let said = lab::said(command);
        let started = fs::read_to_string(&log)
            .unwrap()
            .lines()
            .filter(|line| line.contains("execve("))
            .count();
        assert_eq!(
            started, 1,
            "dkc starts no other program, which would inherit its environment"
        );
        for line in said.out.lines().chain(said.err.lines()) {
            assert!(!line.contains(CANARY), "{arguments:?}: {line}");
        }
        said
    };
    assert_eq!(tell(&["run", "--json", "-vv"], CANARY).code, Some(0));
    assert_eq!(lab.number("SELECT count(*) FROM emails"), 10);
    tell(&["doctor"], CANARY);
    tell(&["runs", "--json"], CANARY);
    // Refused by the server: the error is not about the secret's text either.
    let refused = tell(&["run", "-vv"], &format!("{CANARY}-wrong"));
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.err.contains("password"), "{refused:#?}");
    assert!(!is_in(lab.data(), CANARY.as_bytes()));
    assert_eq!(mode(lab.data()), 0o700);
    // Written by mistake into the configuration itself, it is not repeated.
    let pasted = Lab::new(&pipeline("inbox", 1).replace("env:CANARY", CANARY));
    let said = pasted.said(&["run"]);
    assert_eq!(said.code, Some(2));
    assert!(
        !said.err.contains(CANARY) && said.err.contains("env:NAME"),
        "{said:#?}"
    );
}
