//! The `imap` collector against a real Dovecot, and against a server that misbehaves.

use collectors::collect::{BATCH_BYTES, Batch, Known, Progress, Sink};
use collectors::{CollectError, ConfigError};
use fixtures::dovecot::Dovecot;
use fixtures::imap_server::{Folder, ImapServer, Message, Reaction, fetched};
use schemas::{Attributes, Cursor, Digest, Location, Original, Reject};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;

/// What a store would keep.
#[derive(Default, Clone)]
pub struct Lake {
    locations: BTreeMap<String, Location>,
    items: BTreeMap<String, Attributes>,
    pub cursor: Option<Cursor>,
    /// Places that could not be read.
    pub rejected: BTreeSet<String>,
}

/// What one run did.
#[derive(Default, Debug)]
pub struct Report {
    pub downloaded: usize,
    pub unchanged: u64,
    batches: usize,
    pub rejects: Vec<Reject>,
    pub warnings: Vec<String>,
    took: Duration,
}

impl Report {
    pub fn reasons(&self) -> Vec<&str> {
        self.rejects.iter().map(|reject| reject.reason.as_str()).collect()
    }
}

impl Lake {
    fn store(&mut self, batch: Batch, report: &mut Report) {
        report.downloaded += batch.originals.len();
        report.unchanged += batch.unchanged;
        report.batches += 1;
        self.rejected
            .extend(batch.rejects.iter().map(|reject| reject.item.clone()));
        report.rejects.extend(batch.rejects);
        for place in batch.forgiven {
            if !report.rejects.iter().any(|reject| reject.item == place) {
                assert!(
                    self.rejected.remove(&place),
                    "an unknown reject is forgiven: {place}"
                );
            }
        }
        for original in batch.originals {
            let Original::Bytes(bytes) = &original.original else {
                panic!("not bytes")
            };
            assert_eq!(Digest::of(bytes), original.sha256);
            let before = self.items.insert(original.item.clone(), original.attributes);
            assert!(before.is_none(), "an item is pushed once: {}", original.item);
        }
        for touched in batch.touched {
            self.items
                .insert(touched.item, touched.attributes)
                .expect("only known items are touched");
        }
        for location in batch.located {
            self.rejected.remove(&location.location);
            self.locations.insert(location.location.clone(), location);
        }
        for location in batch.unlocated {
            self.locations.remove(&location).expect("only known places go");
        }
        for item in batch.vanished {
            self.items.remove(&item).expect("only known items vanish");
        }
        self.cursor = Some(batch.cursor);
    }

    fn known(&self) -> Arc<Known> {
        Arc::new(Known {
            locations: self.locations.values().cloned().collect(),
            rejected: self.rejected.iter().cloned().collect(),
            ..Known::default()
        })
    }

    /// Runs the collector to its end and stores what it pushes.
    pub async fn run(&mut self, table: &str) -> Result<Report, CollectError> {
        self.run_and(table, |_| ()).await
    }

    async fn run_and(&mut self, table: &str, mut after: impl FnMut(usize)) -> Result<Report, CollectError> {
        let start = Instant::now();
        let mut report = Report::default();
        let progress = Arc::new(Progress::default());
        let (task, mut batches) = collect(table, self.cursor.clone(), self.known(), progress.clone());
        while let Some(batch) = batches.recv().await {
            self.store(batch, &mut report);
            after(report.batches);
        }
        task.await.expect("the collector does not panic")?;
        report.took = start.elapsed();
        report.warnings = progress.warnings();
        self.check();
        Ok(report)
    }

    /// Items and places agree.
    fn check(&self) {
        let mut items: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
        let mut per_folder = BTreeSet::new();
        for location in self.locations.values() {
            assert!(
                per_folder.insert((&location.folder, &location.item)),
                "one item a message in a folder"
            );
            let (folders, flags) = items.entry(&location.item).or_default();
            folders.insert(&location.folder);
            flags.extend(location.flags.iter().map(String::as_str));
        }
        let kept: BTreeMap<&str, _> = self
            .items
            .iter()
            .map(|(item, attributes)| {
                let folders = attributes.folders.iter().map(String::as_str).collect();
                (
                    item.as_str(),
                    (folders, attributes.flags.iter().map(String::as_str).collect()),
                )
            })
            .collect();
        assert_eq!(kept, items);
    }

    /// How many places hold a message.
    pub fn places(&self) -> usize {
        self.locations.len()
    }

    /// The digests of a folder's messages, sorted.
    fn folder(&self, folder: &str) -> Vec<String> {
        let here = self
            .locations
            .values()
            .filter(|location| location.folder == folder);
        let mut digests: Vec<String> = here
            .map(|location| location.item.split('-').next().unwrap().to_owned())
            .collect();
        digests.sort();
        digests
    }

    fn flags(&self, message: &[u8]) -> Vec<String> {
        self.items[&digest(message)].flags.clone()
    }
}

fn collect(
    table: &str,
    from: Option<Cursor>,
    known: Arc<Known>,
    progress: Arc<Progress>,
) -> (tokio::task::JoinHandle<Result<(), CollectError>>, Receiver<Batch>) {
    let mut collector = build(table).unwrap();
    let (sink, batches) = Sink::channel(progress, fixtures::provenance());
    (
        tokio::spawn(async move { collector.collect(from, known, sink).await }),
        batches,
    )
}

fn build(table: &str) -> Result<Box<dyn collectors::Collector>, ConfigError> {
    let document: toml_edit::DocumentMut = table.parse().unwrap();
    (collectors::by_kind("imap").unwrap().build)(document.as_table().clone())
}

fn mail(n: usize) -> Vec<u8> {
    let body = format!("Line {n} of a message.\n").repeat(1 + n % 90);
    format!(
        "From: a{n}@example.org\nTo: me@example.org\nSubject: Number {n}\nMessage-ID: <{n}@example.org>\n\n{body}"
    )
    .into_bytes()
}

fn mails(range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    range.map(mail).collect()
}

/// Digest of a message as IMAP carries it, with CRLF.
fn digest(message: &[u8]) -> String {
    let text = String::from_utf8(message.to_vec()).unwrap();
    Digest::of(text.replace("\r\n", "\n").replace('\n', "\r\n").as_bytes()).to_string()
}

fn digests<'a>(messages: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<String> {
    let mut digests: Vec<String> = messages.into_iter().map(|message| digest(message)).collect();
    digests.sort();
    digests
}

fn deliver(dovecot: &Dovecot, folder: &str, messages: &[Vec<u8>]) {
    dovecot.deliver(folder, messages.iter().map(Vec::as_slice));
}

fn table(dovecot: &Dovecot, more: &str) -> String {
    format!(
        "host = '127.0.0.1'\nport = {}\nuser = '{}'\npassword = '{}'\ntls = 'none'\n{more}\n",
        dovecot.port_plain(),
        dovecot.user(),
        dovecot.password()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_encryption_gives_the_same_mail_and_a_second_run_fetches_nothing() {
    let dovecot = Dovecot::start();
    let messages = mails(0..300);
    deliver(&dovecot, "INBOX", &messages);
    let (plain, tls, ca) = (dovecot.port_plain(), dovecot.port_tls(), dovecot.ca_file());
    for keys in [
        format!("port = {plain}\ntls = 'none'"),
        format!("port = {plain}\ntls = 'starttls'\nca_file = '{}'", ca.display()),
        format!("port = {tls}\nca_file = '{}'", ca.display()),
    ] {
        let table = format!("host = '127.0.0.1'\nuser = 'me'\npassword = 'secret'\n{keys}");
        let mut lake = Lake::default();
        let first = lake.run(&table).await.unwrap();
        assert_eq!((first.downloaded, first.rejects.len()), (300, 0), "{keys}");
        assert_eq!(lake.folder("INBOX"), digests(&messages));
        let received = lake.items[&digest(&messages[7])].received_at;
        assert_eq!(received, Some((1_577_836_800 + 7) * 1_000_000));
        let before = lake.cursor.clone();
        let second = lake.run(&table).await.unwrap();
        assert_eq!((second.downloaded, second.unchanged, second.batches), (0, 300, 1));
        assert_eq!(lake.cursor, before);
    }
    let again = format!("host = '127.0.0.1'\nuser = 'me'\npassword = 'secret'\nport = {tls}");
    let error = Lake::default().run(&again).await.unwrap_err();
    assert!(
        matches!(&error, CollectError::Protocol { reason, .. } if reason.contains("ca_file")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn new_flagged_moved_copied_and_expunged_messages_are_seen_at_once() {
    let dovecot = Dovecot::start();
    let messages = mails(0..200);
    dovecot.doveadm(&["mailbox", "create", "-u", "me", "Archive"]);
    deliver(&dovecot, "INBOX", &messages);
    let table = table(&dovecot, "");
    let mut lake = Lake::default();
    lake.run(&table).await.unwrap();
    lake.run(&table).await.unwrap();

    deliver(&dovecot, "INBOX", &[mail(1_000)]);
    dovecot.doveadm(&[
        "flags",
        "add",
        "-u",
        "me",
        "\\Flagged $Work",
        "mailbox",
        "INBOX",
        "uid",
        "3",
    ]);
    dovecot.doveadm(&["move", "-u", "me", "Archive", "mailbox", "INBOX", "uid", "5"]);
    dovecot.doveadm(&["copy", "-u", "me", "Archive", "mailbox", "INBOX", "uid", "6"]);
    dovecot.doveadm(&["expunge", "-u", "me", "mailbox", "INBOX", "uid", "8"]);
    let third = lake.run(&table).await.unwrap();

    assert_eq!((third.downloaded, third.rejects.len()), (1, 0), "{third:?}");
    let mut inbox = messages.clone();
    inbox.push(mail(1_000));
    assert_eq!(lake.folder("Archive"), digests([&messages[4], &messages[5]]));
    assert_eq!(
        lake.folder("INBOX"),
        digests(
            inbox
                .iter()
                .filter(|it| **it != messages[4] && **it != messages[7])
        )
    );
    assert_eq!(lake.flags(&messages[2]), ["$Work", "\\Flagged"]);
    assert_eq!(lake.items[&digest(&messages[5])].folders, ["Archive", "INBOX"]);
    assert!(third.took < Duration::from_millis(800), "{:?}", third.took);
    let before = lake.cursor.clone();
    let fourth = lake.run(&table).await.unwrap();
    assert_eq!((fourth.downloaded, fourth.unchanged), (0, 201));
    assert_eq!(lake.cursor, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_uidvalidity_brings_no_duplicate_and_no_download() {
    let dovecot = Dovecot::start();
    let messages = mails(0..150);
    deliver(&dovecot, "INBOX", &messages);
    let table = table(&dovecot, "");
    let mut lake = Lake::default();
    lake.run(&table).await.unwrap();
    dovecot.doveadm(&[
        "mailbox",
        "update",
        "-u",
        "me",
        "--uid-validity",
        "4000000000",
        "INBOX",
    ]);
    let second = lake.run(&table).await.unwrap();
    assert_eq!(second.downloaded, 0);
    assert_eq!(lake.folder("INBOX"), digests(&messages));
    assert!(
        lake.locations
            .keys()
            .all(|location| location.starts_with("INBOX/4000000000/"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_renamed_deleted_and_made_again() {
    let dovecot = Dovecot::start();
    let messages = mails(0..60);
    for name in ["Entwürfe", "R&D", "a \"quoted\" name", "Old/日本語"] {
        dovecot.doveadm(&["mailbox", "create", "-u", "me", name]);
    }
    deliver(&dovecot, "INBOX", &messages);
    let into = |name: &str, uids: &str| {
        dovecot.doveadm(&["move", "-u", "me", name, "mailbox", "INBOX", "uid", uids])
    };
    into("Entwürfe", "1:10");
    into("R&D", "11:20");
    into("a \"quoted\" name", "21:30");
    into("Old/日本語", "31:40");
    let table = table(&dovecot, "");
    let mut lake = Lake::default();
    assert_eq!(lake.run(&table).await.unwrap().downloaded, 60);
    assert_eq!(lake.folder("Entwürfe"), digests(&messages[..10]));
    assert_eq!(lake.folder("R&D"), digests(&messages[10..20]));
    assert_eq!(lake.folder("a \"quoted\" name"), digests(&messages[20..30]));
    assert_eq!(lake.folder("Old/日本語"), digests(&messages[30..40]));

    dovecot.doveadm(&["mailbox", "rename", "-u", "me", "Entwürfe", "Drafts"]);
    dovecot.doveadm(&["move", "-u", "me", "INBOX", "mailbox", "R&D", "uid", "1:5"]);
    dovecot.doveadm(&["mailbox", "delete", "-u", "me", "R&D"]);
    dovecot.doveadm(&["mailbox", "create", "-u", "me", "R&D"]);
    dovecot.doveadm(&["move", "-u", "me", "R&D", "mailbox", "INBOX", "uid", "60"]);
    let second = lake.run(&table).await.unwrap();
    assert_eq!((second.downloaded, second.rejects.len()), (0, 0));
    assert_eq!(lake.folder("Entwürfe"), Vec::<String>::new());
    assert_eq!(lake.folder("Drafts"), digests(&messages[..10]));
    assert_eq!(lake.folder("R&D"), digests(&messages[59..]));
    assert_eq!(lake.items.len(), 55);

    let some = format!("{table}folders = ['inbox', 'Old*']\nexclude = ['*本*']\n");
    let mut lake = Lake::default();
    lake.run(&some).await.unwrap();
    let folders: BTreeSet<&str> = lake
        .locations
        .values()
        .map(|location| location.folder.as_str())
        .collect();
    assert_eq!(folders, BTreeSet::from(["INBOX"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_messages_in_one_folder_are_all_counted() {
    let dovecot = Dovecot::start();
    let messages = [mail(1), mail(1), mail(2), mail(1)];
    deliver(&dovecot, "INBOX", &messages);
    let table = table(&dovecot, "");
    let mut lake = Lake::default();
    lake.run(&table).await.unwrap();
    assert_eq!(lake.folder("INBOX"), digests(&messages));
    dovecot.doveadm(&["copy", "-u", "me", "INBOX", "mailbox", "INBOX", "uid", "3"]);
    lake.run(&table).await.unwrap();
    assert_eq!(lake.folder("INBOX"), digests(messages.iter().chain([&mail(2)])));
    dovecot.doveadm(&[
        "mailbox",
        "update",
        "-u",
        "me",
        "--uid-validity",
        "4000000000",
        "INBOX",
    ]);
    let third = lake.run(&table).await.unwrap();
    assert_eq!(third.downloaded, 0);
    assert_eq!(lake.folder("INBOX"), digests(messages.iter().chain([&mail(2)])));
}

/// More than two batches of mail.
fn heavy_mails() -> Vec<Vec<u8>> {
    let body = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n".repeat(16 << 10);
    let count = 5 * BATCH_BYTES / 2 / body.len();
    (0..count)
        .map(|n| format!("Subject: heavy {n}\n\n{body}").into_bytes())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_in_the_middle_is_read_to_the_end() {
    let mut dovecot = Dovecot::start();
    let messages = heavy_mails();
    deliver(&dovecot, "INBOX", &messages);
    let table = table(&dovecot, "");
    let mut lake = Lake::default();
    let report = lake
        .run_and(&table, |batches| {
            if batches == 1 {
                dovecot.stop();
                dovecot.resume();
            }
        })
        .await
        .unwrap();
    assert_eq!((report.downloaded, report.rejects.len()), (messages.len(), 0));
    assert_eq!(lake.folder("INBOX"), digests(&messages));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cut_off_goes_on_without_downloading_again() {
    let dovecot = Dovecot::start();
    let messages = heavy_mails();
    deliver(&dovecot, "INBOX", &messages);
    let table = table(&dovecot, "");
    let (mut lake, mut first) = (Lake::default(), Report::default());
    let (task, mut batches) = collect(&table, None, lake.known(), Arc::default());
    lake.store(batches.recv().await.unwrap(), &mut first);
    drop(batches);
    assert!(matches!(task.await.unwrap(), Err(CollectError::Stopped)));
    dovecot.doveadm(&["expunge", "-u", "me", "mailbox", "INBOX", "uid", "2"]);
    let second = lake.run(&table).await.unwrap();
    assert_eq!(first.downloaded + second.downloaded, messages.len());
    assert_eq!(
        lake.folder("INBOX"),
        digests(messages.iter().filter(|it| **it != messages[1]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_at_once() {
    let dovecot = Dovecot::start();
    let table = table(&dovecot, "").replace("'secret'", "'wrong'");
    let start = Instant::now();
    let error = Lake::default().run(&table).await.unwrap_err();
    assert!(
        matches!(&error, CollectError::Refused { user, .. } if user == "me"),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains("wrong"));
    assert!(start.elapsed() < Duration::from_secs(4));
}

// From here on the server is a scripted one.

pub fn folder(name: &str, texts: &[&str]) -> Folder {
    let messages = texts.iter().enumerate().map(|(at, text)| Message {
        uid: at as u32 + 1,
        flags: "\\Seen".to_owned(),
        size: None,
        text: format!("Subject: {text}\r\n\r\nIt says {text}.\r\n").into_bytes(),
    });
    Folder {
        name: name.to_owned(),
        uidvalidity: 7,
        highestmodseq: None,
        messages: messages.collect(),
    }
}

pub fn three() -> Folder {
    folder("INBOX", &["one", "two", "three"])
}

pub fn scripted(server: &ImapServer, more: &str) -> String {
    format!(
        "host = '127.0.0.1'\nport = {}\nuser = 'me'\npassword = 'secret'\ntls = 'none'\nreply_timeout_secs = 1\n{more}",
        server.port()
    )
}

/// Collects twice from a server that misbehaves; the second run finds the same.
async fn check(
    capabilities: &str,
    folders: Vec<Folder>,
    more: &str,
    script: impl Fn(usize, &str) -> Reaction + Send + Sync + 'static,
) -> (Lake, Report, Vec<String>) {
    let server = ImapServer::start(capabilities, folders, script);
    let mut lake = Lake::default();
    let report = lake.run(&scripted(&server, more)).await.unwrap();
    assert!(report.took < Duration::from_secs(5), "{:?}", report.took);
    let commands = server.commands();
    for command in &commands {
        assert!(
            !command.contains("SELECT") && !command.contains("BODY["),
            "{command}"
        );
    }
    (lake, report, commands)
}

async fn fails(
    more: &str,
    script: impl Fn(usize, &str) -> Reaction + Send + Sync + 'static,
) -> (CollectError, usize) {
    let server = ImapServer::start("", vec![three()], script);
    let start = Instant::now();
    let error = Lake::default().run(&scripted(&server, more)).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    (
        error,
        server
            .commands()
            .iter()
            .filter(|command| *command == "GREETING")
            .count(),
    )
}

pub fn is_body_of(command: &str, uid: u32) -> bool {
    let uids = command
        .strip_prefix("UID FETCH ")
        .and_then(|rest| rest.split_once(" (BODY.PEEK[])"));
    uids.is_some_and(|(uids, _)| {
        uids.split(',').any(|range| {
            let (low, high) = range.split_once(':').unwrap_or((range, range));
            (low.parse().unwrap()..=high.parse().unwrap()).contains(&uid)
        })
    })
}

/// The `FETCH` responses of a folder's first messages.
pub fn bodies(folder: &Folder, count: usize) -> Vec<u8> {
    let messages = folder.messages.iter().take(count).enumerate();
    messages
        .flat_map(|(at, message)| fetched(at + 1, message, "BODY.PEEK[]"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_server_without_extensions_is_enough() {
    let server = ImapServer::start("", vec![three()], |_, _| Reaction::Well);
    let mut lake = Lake::default();
    let first = lake.run(&scripted(&server, "")).await.unwrap();
    assert_eq!((first.downloaded, lake.folder("INBOX").len()), (3, 3));
    let before = lake.cursor.clone();
    let second = lake.run(&scripted(&server, "")).await.unwrap();
    assert_eq!((second.downloaded, second.unchanged), (0, 3));
    assert_eq!(lake.cursor, before);
    assert_eq!(
        server
            .commands()
            .iter()
            .filter(|command| command.contains("BODY"))
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_mod_sequences_is_compared_on_a_server_that_has_them() {
    let folders = vec![
        three(),
        Folder {
            highestmodseq: Some(9),
            ..folder("Other", &["four"])
        },
    ];
    let server = ImapServer::start("CONDSTORE ENABLE", folders, |_, _| Reaction::Well);
    let mut lake = Lake::default();
    assert_eq!(lake.run(&scripted(&server, "")).await.unwrap().downloaded, 4);
    let first = server.commands().len();
    assert_eq!(lake.run(&scripted(&server, "")).await.unwrap().unchanged, 4);
    let commands = server.commands().split_off(first);
    assert!(commands.contains(&"ENABLE CONDSTORE".to_owned()));
    assert!(
        commands.contains(&"EXAMINE \"INBOX\"".to_owned()) || commands.contains(&"EXAMINE INBOX".to_owned())
    );
    assert!(
        !commands
            .iter()
            .any(|command| command.starts_with("EXAMINE") && command.contains("Other"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lies_about_sizes_is_believed_by_the_bytes() {
    let mut inbox = three();
    inbox.messages[0].size = Some(1);
    inbox.messages[1].size = Some(70_000);
    inbox.messages[2].text.resize(5_000, b'x');
    inbox.messages[2].size = Some(10);
    let (lake, report, commands) =
        check("", vec![inbox], "max_message_bytes = 4000", |_, _| Reaction::Well).await;
    assert_eq!((report.downloaded, lake.items.len()), (1, 1));
    assert_eq!(report.reasons().len(), 2);
    assert!(
        report
            .reasons()
            .iter()
            .all(|reason| reason.contains("max_message_bytes")),
        "{report:?}"
    );
    assert!(
        !commands.iter().any(|command| is_body_of(command, 2)),
        "what is too large is not asked for"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_text_is_rejected() {
    let say = [
        bodies(&three(), 1),
        b"* 2 FETCH (UID 2 BODY[] NIL)\r\nTAG OK done\r\n".to_vec(),
    ]
    .concat();
    let script = move |_: usize, command: &str| {
        if is_body_of(command, 2) {
            Reaction::Say(say.clone())
        } else {
            Reaction::Well
        }
    };
    let (lake, report, _) = check("", vec![three()], "", script).await;
    assert_eq!((report.downloaded, lake.items.len()), (1, 1));
    assert_eq!(
        report.reasons(),
        [
            "the server has no text for this message",
            "the server lists this message but does not send it"
        ]
    );
    assert_eq!(report.rejects[0].item, "INBOX/7/2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_in_the_middle_is_followed_by_another_connection() {
    let say = [bodies(&three(), 2), b"* BYE restarting\r\n".to_vec()].concat();
    let script = move |number: usize, command: &str| {
        if number == 1 && is_body_of(command, 3) {
            Reaction::SayAndLeave(say.clone())
        } else {
            Reaction::Well
        }
    };
    let (lake, report, commands) = check("", vec![three()], "", script).await;
    assert_eq!(
        (report.downloaded, lake.items.len(), report.rejects.len()),
        (3, 3, 0)
    );
    let again: Vec<&String> = commands
        .iter()
        .filter(|command| command.contains("BODY"))
        .collect();
    assert_eq!(
        again,
        ["UID FETCH 1:3 (BODY.PEEK[])", "UID FETCH 3 (BODY.PEEK[])"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_whose_middle_the_server_hangs_up_is_rejected_alone() {
    let cut = [
        bodies(&three(), 1),
        b"* 2 FETCH (UID 2 BODY[] {500}\r\nSubject: t".to_vec(),
    ]
    .concat();
    let alone = b"* 2 FETCH (UID 2 BODY[] {500}\r\nSubject: t".to_vec();
    let script = move |_: usize, command: &str| match (is_body_of(command, 1), is_body_of(command, 2)) {
        (true, true) => Reaction::SayAndLeave(cut.clone()),
        (false, true) => Reaction::SayAndLeave(alone.clone()),
        _ => Reaction::Well,
    };
    let (lake, report, _) = check("", vec![three()], "", script).await;
    assert_eq!(
        (report.downloaded, lake.items.len(), report.rejects.len()),
        (2, 2, 1)
    );
    assert_eq!(report.rejects[0].item, "INBOX/7/2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_arrives_as_rubbish_is_rejected_alone() {
    let script = move |_: usize, command: &str| {
        if is_body_of(command, 2) {
            Reaction::Say(b"\x00\xff rubbish\r\n".to_vec())
        } else {
            Reaction::Well
        }
    };
    let (lake, report, _) = check("", vec![folder("INBOX", &["one", "two"])], "", script).await;
    assert_eq!((lake.items.len(), report.rejects.len()), (1, 1), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_goes_between_list_and_examine_is_left_out() {
    let script = |_: usize, command: &str| match command {
        "EXAMINE \"Gone\"" => Reaction::Say(b"TAG NO [NONEXISTENT] no such folder\r\n".to_vec()),
        _ => Reaction::Well,
    };
    let folders = vec![folder("\"Gone\"", &["four"]), folder("\"INBOX\"", &["one"])];
    let (lake, report, _) = check("", folders, "", script).await;
    assert_eq!(
        (
            report.downloaded,
            lake.folder("INBOX").len(),
            lake.folder("Gone").len()
        ),
        (1, 1, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_told_unasked_are_no_messages() {
    let script = |_: usize, command: &str| {
        if command.contains("BODY") {
            Reaction::SayFirst(
                b"* 9 EXISTS\r\n* 1 FETCH (FLAGS (\\Deleted))\r\n* 2 FETCH (UID 2 FLAGS ())\r\n".to_vec(),
            )
        } else {
            Reaction::Well
        }
    };
    let (lake, report, _) = check("", vec![three()], "", script).await;
    assert_eq!(
        (report.downloaded, lake.items.len(), report.rejects.len()),
        (3, 3, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_server_have_names() {
    let (error, attempts) = fails("", |_, command| match command {
        it if it.starts_with("LOGIN") => Reaction::Say(b"TAG NO [AUTHENTICATIONFAILED] no\r\n".to_vec()),
        _ => Reaction::Well,
    })
    .await;
    assert!(matches!(error, CollectError::Refused { .. }), "{error:?}");
    assert_eq!(attempts, 1);

    let (error, attempts) = fails("", |_, _| Reaction::Say(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())).await;
    assert!(matches!(error, CollectError::Protocol { .. }), "{error:?}");
    assert_eq!(attempts, 1);

    let (error, attempts) = fails("", |_, _| Reaction::SayAndLeave(b"* BYE busy\r\n".to_vec())).await;
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(attempts, 6);

    let (error, _) = fails("", |_, command| match command {
        it if it.contains("BODY") => Reaction::Silence,
        _ => Reaction::Well,
    })
    .await;
    assert!(error.is_transient(), "{error:?}");

    let (error, _) = fails("", |_, command| match command {
        it if it.contains("BODY") => {
            Reaction::Say(b"* 1 FETCH (UID 1 BODY[] {4000000000}\r\nSubject".to_vec())
        }
        _ => Reaction::Well,
    })
    .await;
    assert!(matches!(error, CollectError::Protocol { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_signs_in() {
    let script = |_: usize, command: &str| match command {
        "AUTHENTICATE XOAUTH2" => Reaction::Say(b"+ \r\n".to_vec()),
        // user=me^Aauth=Bearer secret^A^A
        "dXNlcj1tZQFhdXRoPUJlYXJlciBzZWNyZXQBAQ==" => Reaction::Say(b"A0001 OK in\r\n".to_vec()),
        _ => Reaction::Well,
    };
    let (lake, ..) = check("AUTH=XOAUTH2", vec![three()], "auth = 'xoauth2'", script).await;
    assert_eq!(lake.items.len(), 3);
    let (error, _) = fails("auth = 'xoauth2'", |_, command| match command {
        "AUTHENTICATE XOAUTH2" => Reaction::Say(b"+ \r\n".to_vec()),
        "" => Reaction::Say(b"A0001 NO expired\r\n".to_vec()),
        "dXNlcj1tZQFhdXRoPUJlYXJlciBzZWNyZXQBAQ==" => {
            Reaction::Say(b"+ eyJzdGF0dXMiOiI0MDAifQ==\r\n".to_vec())
        }
        _ => Reaction::Well,
    })
    .await;
    assert!(matches!(error, CollectError::Refused { .. }), "{error:?}");
}

#[test]
fn plain_text_over_a_network_needs_to_be_allowed() {
    let table = "host = 'mail.example.org'\nuser = 'me'\npassword = 'x'\ntls = 'none'\n";
    let error = build(table).err().unwrap();
    assert!(error.message.contains("allow_plaintext"), "{error}");
    assert!(build(&format!("{table}allow_plaintext = true\n")).is_ok());
    let error = build("host = 'h'\nuser = 'me'\npassword = 'x'\nfolder = []\n")
        .err()
        .unwrap();
    assert!(error.message.contains("unknown field `folder`"), "{error}");
}

/// Measures: `DKC_CORPUS=DIR cargo nextest run -p collectors --run-ignored only speed --no-capture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a corpus, and measures"]
async fn speed() {
    let corpus = std::env::var("DKC_CORPUS").expect("DKC_CORPUS names a directory of mails");
    let mut files: Vec<_> = std::fs::read_dir(corpus)
        .unwrap()
        .flat_map(|entry| std::fs::read_dir(entry.unwrap().path()).into_iter().flatten())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    files.sort();
    let dovecot = Dovecot::start();
    deliver(&dovecot, "INBOX", &files);
    println!(
        "port {} maildir {}",
        dovecot.port_plain(),
        dovecot.maildir().display()
    );
    for round in ["cold index", "warm index"] {
        let mut lake = Lake::default();
        let report = lake.run(&table(&dovecot, "")).await.unwrap();
        let rate = report.downloaded as f64 / report.took.as_secs_f64();
        println!(
            "{round}: {} of {} in {:?}: {rate:.0} msg/s",
            report.downloaded,
            files.len(),
            report.took
        );
        let again = lake.run(&table(&dovecot, "")).await.unwrap();
        println!("again: {:?} unchanged {}", again.took, again.unchanged);
    }
    if let Ok(command) = std::env::var("DKC_COMPARE") {
        #[expect(clippy::disallowed_methods, reason = "measures another program")]
        let status = std::process::Command::new("sh")
            .args(["-c", &command])
            .env("PORT", dovecot.port_plain().to_string())
            .status()
            .unwrap();
        assert!(status.success());
    }
}
