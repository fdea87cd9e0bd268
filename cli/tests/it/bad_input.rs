//! Whatever lies in a mailbox, the run ends, its counts add up, `rejects` says why, and the good mails are there
//! (proofs T30 and T31).

use crate::it::lab::{self, Lab, MAIL, count, mbox, program};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

const GOOD: usize = 60;

/// Bytes of no pattern.
pub fn rubbish(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(next).collect()
}

fn header(more: &str) -> String {
    format!("Message-ID: <odd@test>\nFrom: odd@test\nMIME-Version: 1.0\n{more}")
}

/// `depth` parts, each in the one before.
fn nested(depth: usize) -> String {
    let mut mail = header("");
    for n in 0..depth {
        mail += &format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n");
    }
    mail + "Content-Type: text/plain\n\ninnermost\n"
}

/// A zip of 200 MB of zeros, as an attachment.
fn bomb() -> Vec<u8> {
    let script = "import base64, io, zipfile; f = io.BytesIO(); z = zipfile.ZipFile(f, 'w', zipfile.ZIP_DEFLATED, compresslevel=9)\n\
        with z.open('zeros', 'w') as member:\n  for _ in range(200): member.write(bytes(1 << 20))\n\
        z.close(); print(base64.encodebytes(f.getvalue()).decode())";
    let mut python = program("python3");
    python.arg("-c").arg(script);
    let zip = lab::said(python).out;
    (header("Content-Type: application/zip; name=bomb.zip\nContent-Disposition: attachment; filename=bomb.zip\nContent-Transfer-Encoding: base64\n\n") + &zip).into_bytes()
}

/// Mails that no mail program wrote, by what is odd about them.
fn odd() -> Vec<(&'static str, Vec<u8>)> {
    let mut odd: Vec<(&'static str, Vec<u8>)> = vec![
        (
            "header of 20 MB",
            (header("Subject: ") + &"long ".repeat(4 << 20) + "\n\nbody\n").into_bytes(),
        ),
        (
            "header without end",
            rubbish(1, 3_000_000).into_iter().map(|byte| byte | 1).collect(),
        ),
        (
            "a million headers",
            (header("") + &"X-Line: again\n".repeat(1_000_000) + "\nbody\n").into_bytes(),
        ),
        (
            "a million recipients",
            (header("To: ") + &"a@test, ".repeat(1_000_000) + "b@test\n\nbody\n").into_bytes(),
        ),
        ("nested 10,000 deep", nested(10_000).into_bytes()),
        (
            "mails in mails",
            header(&"Content-Type: message/rfc822\n\n".repeat(10_000)).into_bytes(),
        ),
        (
            "100,000 parts",
            (header("Content-Type: multipart/mixed; boundary=b\n\n") + &"--b\n\npart\n".repeat(100_000))
                .into_bytes(),
        ),
        (
            "html opened 200,000 times",
            (header("Content-Type: text/html\n\n") + &"<div><b>".repeat(200_000)).into_bytes(),
        ),
        (
            "encoded words without end",
            (header("Subject: ") + &"=?utf-8?q?a".repeat(100_000) + "\n\n").into_bytes(),
        ),
        ("zip bomb", bomb()),
        ("only blank lines", b"\n\n\n".to_vec()),
        ("one byte", b"x".to_vec()),
        ("zeros", vec![0; 100_000]),
        ("only a separator", b"From somebody\n".to_vec()),
        (
            "a date past all calendars",
            header("Date: Mon, 99 Foo 99999 99:99:99 +9999\n\nbody\n").into_bytes(),
        ),
        (
            "a charset that is none",
            header("Content-Type: text/plain; charset=klingon\n\n\u{ff}\u{fe}\n").into_bytes(),
        ),
    ];
    odd.extend((2..7).map(|seed| ("rubbish", rubbish(seed, 50_000))));
    let whole = fixtures::corpus::sample(300);
    let with_parts = whole
        .iter()
        .filter(|mail| mail.windows(9).any(|bytes| bytes == b"boundary="));
    for (n, mail) in with_parts.take(40).enumerate() {
        odd.push(("truncated", mail[..mail.len() * (n + 1) / 42].to_vec()));
    }
    odd.retain(|(_, mail)| !mail.is_empty());
    odd
}

/// Runs the only pipeline; its run, and the peak of memory in MiB.
pub fn peak_of(lab: &Lab) -> (serde_json::Value, u64) {
    let measured = "import resource, subprocess, sys\n\
        code = subprocess.run(sys.argv[1:]).returncode\n\
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, file=sys.stderr)\nsys.exit(code)";
    let said = lab.said_under(&["python3", "-c", measured], &["run", "--json", "--quiet"]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    let runs: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    (
        runs["runs"][0].clone(),
        said.err.lines().last().unwrap().parse().unwrap(),
    )
}

/// Asserts that every good mail is in `emails`.
fn good_are_there(lab: &Lab, good: &[Vec<u8>]) {
    for mail in good {
        let item = schemas::Digest::of(mail);
        assert_eq!(
            lab.number(&format!("SELECT count(*) FROM emails WHERE _item = '{item}'")),
            1,
            "{item}"
        );
    }
}

#[test]
fn odd_mails_are_kept_or_rejected_and_the_others_are_all_there() {
    let lab = Lab::new(MAIL);
    let good = fixtures::corpus::sample(GOOD);
    let odd = odd();
    lab.deliver("", &good);
    lab.deliver(".Odd", &odd.iter().map(|(_, mail)| mail).collect::<Vec<_>>());
    let run = lab.run();
    assert_eq!(count(&run, "items_seen"), (good.len() + odd.len()) as u64);
    let rejects = lab.sql("SELECT item, reason, raw FROM rejects");
    assert_eq!(rejects.len() as u64, count(&run, "items_rejected"));
    for reject in &rejects {
        assert!(reject["reason"].as_str().unwrap().len() > 5, "{reject}");
    }
    // What could be read is kept, whether it is a mail or not.
    let distinct: std::collections::BTreeSet<_> =
        odd.iter().map(|(_, mail)| schemas::Digest::of(mail)).collect();
    assert_eq!(
        lab.number("SELECT count(*) FROM raw"),
        (good.len() + distinct.len()) as i64
    );
    good_are_there(&lab, &good[..3]);
    let known = lab.number("SELECT count(*) FROM emails") + rejects.len() as i64;
    assert_eq!(
        known,
        (good.len() + distinct.len()) as i64,
        "each is a mail or a reject"
    );
    lab.is_whole();
    assert_eq!(
        count(&lab.run(), "items_stored"),
        0,
        "a second run takes nothing in again"
    );
}

#[test]
fn what_is_no_file_in_a_maildir_is_rejected_by_its_place() {
    let lab = Lab::new(MAIL);
    let good = fixtures::corpus::sample(GOOD);
    lab.deliver("", &good);
    let cur = lab.path("mail/cur");
    let mut bad = 0;
    let mut rejected = |made: std::io::Result<()>| {
        made.unwrap();
        bad += 1;
    };
    rejected(symlink("nowhere", cur.join("dangling:2,")));
    rejected(symlink("itself:2,", cur.join("itself:2,")));
    rejected(symlink("other:2,", cur.join("another:2,")));
    rejected(symlink("another:2,", cur.join("other:2,")));
    rejected(fs::create_dir(cur.join("directory:2,")));
    rejected(fs::write(cur.join("empty:2,S"), ""));
    rejected(symlink("/dev/zero", cur.join("endless:2,")));
    // Its metadata is that of a file, and nobody can read it.
    rejected(symlink("/proc/self/mem", cur.join("unreadable:2,")));
    rejected(UnixListener::bind(cur.join("socket")).map(drop));
    rejected(program("mkfifo").arg(cur.join("fifo:2,")).status().map(drop));
    fs::write(
        cur.join(OsStr::from_bytes(b"not\xffutf-8\xc3:2,S")),
        "Subject: not UTF-8\n\nbody\n",
    )
    .unwrap();
    fs::write(
        cur.join("line\nbreak 100%'\":2,"),
        "Subject: a line break\n\nbody\n",
    )
    .unwrap();
    fs::create_dir_all(lab.path("mail").join(OsStr::from_bytes(b".Odd\xff/cur"))).unwrap();
    fs::write(
        lab.path("mail").join(OsStr::from_bytes(b".Odd\xff/cur/1:2,")),
        "Subject: in an odd folder\n\n",
    )
    .unwrap();
    symlink(".", lab.path("mail/.Loop")).unwrap();
    symlink("..", lab.path("mail/up")).unwrap();
    fs::create_dir_all(lab.path("mail/deep/cur")).unwrap();
    symlink("../..", lab.path("mail/deep/up")).unwrap();

    let run = lab.run();
    assert_eq!(
        count(&run, "items_rejected"),
        bad,
        "{:#?}",
        lab.sql("SELECT item, reason FROM rejects")
    );
    assert_eq!(count(&run, "items_stored"), GOOD as u64 + 3);
    let reasons = lab.sql("SELECT item, reason FROM rejects");
    let reason = |name: &str| {
        let found = reasons
            .iter()
            .find(|row| row["item"].as_str().unwrap().contains(name));
        found.unwrap_or_else(|| panic!("{name}: {reasons:#?}"))["reason"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(reason("empty").contains("empty"));
    let place = lab.value("SELECT item FROM rejects WHERE item LIKE '%empty%'");
    let why = lab.json(&["why", "emails", place.as_str().unwrap()]);
    assert_eq!(why["rejects"][0]["reason"], reason("empty").as_str(), "{why:#}");
    assert_eq!(
        (&why["rows"], &why["run"]["run"]),
        (&serde_json::json!([]), &run["run"]),
        "{why:#}"
    );
    assert!(reason("fifo").contains("not a regular file"));
    assert!(reason("endless").contains("not a regular file"));
    assert!(reason("directory").contains("not a regular file"));
    assert!(reason("dangling").contains("No such file"));
    assert!(reason("itself").contains("symbolic links"));
    assert!(reason("unreadable").contains("cannot be read"));
    good_are_there(&lab, &good[..3]);
    for subject in ["not UTF-8", "a line break", "in an odd folder"] {
        assert_eq!(
            lab.number(&format!(
                "SELECT count(*) FROM emails WHERE subject = '{subject}'"
            )),
            1,
            "{subject}"
        );
    }
    lab.is_whole();

    let again = lab.run();
    assert_eq!(
        (count(&again, "items_rejected"), count(&again, "items_stored")),
        (bad, 0),
        "{again:#}"
    );
    fs::remove_file(cur.join("dangling:2,")).unwrap();
    fs::write(cur.join("empty:2,S"), "Subject: mended\n\nbody\n").unwrap();
    let mended = lab.run();
    assert_eq!(count(&mended, "items_rejected"), bad - 2, "{mended:#}");
    let empty = "SELECT count(*) FROM rejects WHERE item LIKE 'empty%'";
    assert_eq!(lab.number(empty), 0, "what is mended is no reject any more");
}

#[test]
fn what_is_no_mbox_among_mbox_files_is_rejected_by_its_name() {
    let lab = Lab::new("[[pipeline]]\nname = \"lists\"\nsource = { kind = \"mbox\", path = \"lists\" }\n");
    let mut good = fixtures::corpus::sample(GOOD);
    good.iter_mut()
        .filter(|mail| !mail.ends_with(b"\n"))
        .for_each(|mail| mail.push(b'\n'));
    let whole = mbox(&good);
    lab.write("lists/good", &whole);
    lab.write("lists/rubbish", rubbish(8, 100_000));
    lab.write("lists/empty", "");
    lab.write("lists/rubbish.gz", rubbish(9, 100_000));
    lab.write("lists/deep/cut", &whole[..whole.len() / 2 + 17]);
    lab.write("lists/cut.gz", "");
    let pack = |name: &str, script: &str| {
        let made = program("sh")
            .arg("-c")
            .arg(script)
            .arg(lab.path("lists/good"))
            .arg(lab.path("lists").join(name))
            .status();
        assert!(made.unwrap().success());
    };
    pack("cut.gz", r#"gzip -c "$0" | head -c 50000 > "$1""#);
    pack("bomb.gz", r#"head -c 400M /dev/zero | gzip -c > "$1""#);
    pack(
        "mail-bomb.gz",
        r#"(printf 'From a Wed Jan  1 00:00:00 2020\nSubject: bomb\n\n'; head -c 400M /dev/zero) | gzip -c > "$1""#,
    );
    pack("fifo", r#"mkfifo "$1""#);
    symlink("nowhere", lab.path("lists/dangling")).unwrap();
    symlink("..", lab.path("lists/up")).unwrap();
    symlink("/dev/zero", lab.path("lists/endless")).unwrap();
    fs::write(
        lab.path("lists").join(OsStr::from_bytes(b"\xff\xfe")),
        mbox(&["Subject: in a file of an odd name\n\n"]),
    )
    .unwrap();

    // Bombs are read as a stream.
    let (run, peak) = peak_of(&lab);
    assert!(peak < 400, "{peak} MiB");
    lab::adds_up(&run);
    good_are_there(&lab, &good[..3]);
    assert!(lab.number("SELECT count(*) FROM emails") > GOOD as i64);
    assert_eq!(
        lab.number("SELECT count(*) FROM emails WHERE subject = 'in a file of an odd name'"),
        1
    );
    let rejects = lab.sql("SELECT item, reason FROM rejects");
    assert_eq!(rejects.len() as u64, count(&run, "items_rejected"));
    for name in [
        "rubbish",
        "rubbish.gz",
        "cut.gz",
        "bomb.gz",
        "mail-bomb.gz",
        "fifo",
        "dangling",
        "endless",
    ] {
        let is_named =
            |row: &serde_json::Value| row["item"].as_str().unwrap().split('@').next() == Some(name);
        assert!(rejects.iter().any(is_named), "{name}: {rejects:#?}");
    }
    lab.is_whole();
    assert_eq!(count(&lab.run(), "items_stored"), 0);
}

#[test]
fn a_pipeline_that_is_not_there_is_told_with_the_name_that_was_meant() {
    let lab = Lab::new(MAIL);
    let said = lab.said(&["runs", "--pipeline", "mial"]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(
        said.err.contains("there is no pipeline `mial`") && said.err.contains("did you mean `mail`?"),
        "{said:#?}"
    );
    let said = lab.said(&["runs", "--quiet", "--pipeline", "mial"]);
    assert_eq!(said.err, "", "{said:#?}");
    // One that has yet to run is there, and so is one that ran and is configured no more.
    assert_eq!(lab.said(&["runs", "--pipeline", "mail"]).err, "");
    lab.deliver("", &[header("\nwords\n")]);
    lab.run();
    fs::remove_file(lab.path("dkc.toml")).unwrap();
    assert_eq!(
        lab.said(&["runs", "--pipeline", "mail", "--state", "queued"]).err,
        ""
    );
    let said = lab.said(&["runs", "--pipeline", "mial"]);
    assert!(said.err.contains("did you mean `mail`?"), "{said:#?}");
}
