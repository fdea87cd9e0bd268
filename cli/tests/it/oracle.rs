//! 6,046 real mails, out of each kind of mailbox, say what Python's `email` says of them.

use crate::it::lab::{Lab, MAIL, count, mbox, program, values};
use fixtures::corpus::{self, MAILS};
use fixtures::dovecot::Dovecot;
use schemas::Digest;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// Folders that the mails are dealt to, as Maildir++ and as a server name them.
const FOLDERS: [(&str, &str); 4] = [
    ("", "INBOX"),
    (".Archive", "Archive"),
    (".Archive.2002", "Archive/2002"),
    (".Spam", "Spam"),
];

/// In how many of the mails a field may differ, and why. All else is equal.
const MAY_DIFFER: &[(&str, usize, &str)] = &[
    (
        "date",
        11,
        "offsets like `+-0500` and `01800`, which Python reads as none",
    ),
    ("date_offset_min", 11, "the same mails"),
    (
        "subject",
        1,
        "a trade mark sign in windows-1252, labelled as latin-1",
    ),
    (
        "from_name",
        2,
        "an encoded word inside of a word, and an address twice",
    ),
    (
        "from_addr",
        6,
        "encoded words and quoted @ before the @, which no address may have",
    ),
    (
        "to",
        29,
        "lists without commas, groups without end, bare words: what spammers write",
    ),
    ("cc", 1, "an empty local part in quotes"),
];

/// What Python says, by the SHA-256 of the mail.
fn opinions(mails: &[Vec<u8>]) -> HashMap<String, Value> {
    let folder = tempfile::tempdir().unwrap();
    for (n, mail) in mails.iter().enumerate() {
        fs::write(folder.path().join(n.to_string()), mail).unwrap();
    }
    let mut python = corpus::oracle("mail_oracle.py");
    python.arg(folder.path());
    values(python)
        .into_iter()
        .map(|opinion| (opinion["sha256"].as_str().unwrap().to_owned(), opinion))
        .collect()
}

/// Asserts that the lake holds exactly these mails, and says of them what Python says.
fn agrees(lab: &Lab, mails: &[Vec<u8>]) {
    let opinions = opinions(mails);
    let mut attachments: HashMap<String, BTreeMap<i64, Value>> = HashMap::new();
    for row in lab.sql("SELECT _item, ordinal, filename FROM email_attachments") {
        let of_mail = attachments
            .entry(row["_item"].as_str().unwrap().to_owned())
            .or_default();
        of_mail.insert(row["ordinal"].as_i64().unwrap(), row["filename"].clone());
    }
    let rows = lab.sql(r#"SELECT _item, message_id, subject, date, date_offset_min, from_name, from_addr, "to", cc FROM emails"#);
    assert_eq!(rows.len(), opinions.len());
    let mut differ: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for row in rows {
        let item = row["_item"].as_str().unwrap();
        let python = opinions
            .get(item)
            .unwrap_or_else(|| panic!("{item} is no mail of the source"));
        let names = attachments
            .remove(item)
            .unwrap_or_default()
            .into_values()
            .collect::<Vec<_>>();
        for (field, ours, theirs) in [
            ("message_id", row["message_id"].clone(), &python["message_id"]),
            ("subject", row["subject"].clone(), &python["subject"]),
            ("date", row["date"].clone(), &python["date"]),
            (
                "date_offset_min",
                row["date_offset_min"].clone(),
                &python["offset_min"],
            ),
            ("from_name", row["from_name"].clone(), &python["from_name"]),
            ("from_addr", row["from_addr"].clone(), &python["from_addr"]),
            ("to", row["to"].clone(), &python["to"]),
            ("cc", row["cc"].clone(), &python["cc"]),
            ("attachments", json!(names), &python["attachments"]),
        ] {
            if ours != *theirs {
                differ
                    .entry(field)
                    .or_default()
                    .push(format!("{item}\n  dkc    {ours}\n  python {theirs}"));
            }
        }
    }
    assert!(attachments.is_empty(), "attachments of no mail: {attachments:?}");
    let too_many = differ.iter().filter(|(field, mails)| {
        let most = MAY_DIFFER
            .iter()
            .find(|(name, ..)| name == *field)
            .map_or(0, |(_, most, _)| *most);
        mails.len() > most
    });
    let told: Vec<String> = too_many
        .map(|(field, mails)| format!("{field} differs in {}:\n{}", mails.len(), mails.join("\n")))
        .collect();
    assert!(
        told.is_empty(),
        "more than explained in {MAY_DIFFER:?}:\n{}",
        told.join("\n")
    );
}

/// Asserts that the first run stores all mails, and a second nothing.
fn is_taken_in_once(lab: &Lab, mails: usize) {
    let first = lab.run();
    assert_eq!(
        (count(&first, "items_seen"), count(&first, "items_stored")),
        (mails as u64, mails as u64),
        "{first:#}"
    );
    let snapshot = lab.snapshot();
    let again = lab.run();
    assert_eq!(
        (count(&again, "items_seen"), count(&again, "items_unchanged")),
        (mails as u64, mails as u64),
        "{again:#}"
    );
    assert_eq!(count(&again, "snapshots"), 0);
    assert_eq!(
        lab.snapshot(),
        snapshot,
        "a run with nothing new leaves the lake alone"
    );
    let in_history =
        "SELECT count(*) FROM runs WHERE items_seen = items_stored + items_unchanged + items_rejected";
    assert_eq!(lab.number(in_history), 2);
    assert_eq!(lab.number("SELECT count(*) FROM rejects"), 0);
    lab.is_whole();
}

/// Asserts how many mails each folder has.
fn folders_are(lab: &Lab, expected: &BTreeMap<String, usize>) {
    let rows = lab.sql("SELECT folders FROM emails");
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for folder in rows.iter().flat_map(|row| row["folders"].as_array().unwrap()) {
        *found.entry(folder.as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(&found, expected);
}

/// The mails of a folder: every fourth.
fn dealt(mails: &[Vec<u8>], folder: usize) -> Vec<&[u8]> {
    mails
        .iter()
        .skip(folder)
        .step_by(FOLDERS.len())
        .map(Vec::as_slice)
        .collect()
}

fn sizes(mails: &[Vec<u8>]) -> BTreeMap<String, usize> {
    FOLDERS
        .iter()
        .enumerate()
        .map(|(n, (_, name))| ((*name).to_owned(), dealt(mails, n).len()))
        .collect()
}

#[test]
fn a_maildir_says_what_python_says() {
    let mails = corpus::mails();
    let lab = Lab::new(MAIL);
    for (n, (folder, _)) in FOLDERS.iter().enumerate() {
        lab.deliver(folder, &dealt(&mails, n));
    }
    is_taken_in_once(&lab, MAILS);
    folders_are(&lab, &sizes(&mails));
    agrees(&lab, &mails);
}

#[test]
fn an_mbox_says_what_python_says_and_so_does_a_gzipped_one() {
    let mut mails = corpus::mails();
    // An mbox cannot tell whether the last line had an end.
    mails
        .iter_mut()
        .filter(|mail| !mail.ends_with(b"\n"))
        .for_each(|mail| mail.push(b'\n'));
    let pipeline = |name: &str, path: &str| {
        format!("[[pipeline]]\nname = \"{name}\"\nsource = {{ kind = \"mbox\", path = \"{path}\" }}\n")
    };
    let plain = Lab::new(&pipeline("plain", "all.mbox"));
    plain.write("all.mbox", mbox(&mails));
    is_taken_in_once(&plain, MAILS);
    agrees(&plain, &mails);

    let packed = Lab::new(&pipeline("packed", "all.mbox.gz"));
    fs::copy(plain.path("all.mbox"), packed.path("all.mbox")).unwrap();
    assert!(
        program("gzip")
            .arg("-1")
            .arg(packed.path("all.mbox"))
            .status()
            .unwrap()
            .success()
    );
    is_taken_in_once(&packed, MAILS);
    let same = "SELECT _item, thread_id, subject FROM emails ORDER BY _item";
    assert_eq!(plain.sql(same), packed.sql(same));
}

/// The mail as a server hands it out.
fn over_the_wire(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + mail.len() / 40);
    let mut before = 0;
    for &byte in mail {
        if byte == b'\n' && before != b'\r' {
            out.push(b'\r');
        }
        // IMAP has no NUL; Dovecot puts this in its place.
        out.push(if byte == 0 { 0x80 } else { byte });
        before = byte;
    }
    out
}

fn imap(name: &str, port: u16, more: &str) -> String {
    format!(
        "[[pipeline]]\nname = \"{name}\"\nsource = {{ kind = \"imap\", host = \"localhost\", port = {port}, \
         user = \"me\", password = \"file:password\", {more} }}\n"
    )
}

#[test]
fn a_server_says_what_python_says_with_tls_and_without() {
    let mails = corpus::mails();
    let server = Dovecot::start();
    for (n, (_, folder)) in FOLDERS.iter().enumerate() {
        server.deliver(&folder.replace('/', "."), dealt(&mails, n));
    }
    let ca_file = |path: &Path| path.display().to_string();
    let secure = format!("ca_file = \"{}\"", ca_file(&server.ca_file()));
    let plain = Lab::new(&imap("plain", server.port_plain(), "tls = \"none\""));
    let encrypted = Lab::new(&imap("encrypted", server.port_tls(), &secure));
    let mails: Vec<Vec<u8>> = mails.iter().map(|mail| over_the_wire(mail)).collect();
    for lab in [&plain, &encrypted] {
        lab.write("password", server.password());
        is_taken_in_once(lab, MAILS);
        folders_are(lab, &sizes(&mails));
    }
    agrees(&plain, &mails);
    let same = "SELECT _item, folders, flags, received_at, thread_id, subject FROM emails ORDER BY _item";
    assert_eq!(plain.sql(same), encrypted.sql(same));
    let items: BTreeMap<String, ()> = mails
        .iter()
        .map(|mail| (Digest::of(mail).to_string(), ()))
        .collect();
    assert_eq!(items.len(), MAILS);
}
