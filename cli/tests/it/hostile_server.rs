//! Whatever a mail server announces or sends, the run ends and its memory stays within bounds (proof T14).

use crate::it::lab::{self, Lab, Said};
use fixtures::imap_server::{Folder, ImapServer, Message, Reaction};
use std::time::{Duration, Instant};

/// KiB that a run may have in memory at its peak.
const MOST: u64 = 300 << 10;

/// What a run said, and the KiB it had in memory at its peak.
fn run(server: &ImapServer, more: &str) -> (Said, u64) {
    let lab = Lab::new(&format!(
        "[[pipeline]]\nname = \"mail\"\nsource = {{ kind = \"imap\", host = \"127.0.0.1\", port = {}, user = \"me\", \
         password = \"env:PASSWORD\", tls = \"none\", reply_timeout_secs = 2{more} }}\n",
        server.port()
    ));
    let script = r#"
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"#;
    let mut command = lab.command(&["python3", "-c", script], &["run", "--json"]);
    command.env("PASSWORD", "x");
    let began = Instant::now();
    let said = lab::said(command);
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}: {said:#?}",
        began.elapsed()
    );
    let peak = said
        .err
        .lines()
        .find_map(|line| line.strip_prefix("peak ")?.parse().ok());
    let peak = peak.unwrap_or_else(|| panic!("{said:#?}"));
    lab.is_whole();
    (said, peak)
}

/// Three mails, of which the second has this many bytes and is said to have others.
fn inbox(bytes: usize, said: Option<usize>) -> Folder {
    let message = |uid, text: String, size| Message {
        uid,
        flags: String::new(),
        size,
        text: format!("Subject: {uid}\r\n\r\n{text}").into_bytes(),
    };
    let line = "A line of a mail that is far too long.\r\n";
    Folder {
        name: "INBOX".to_owned(),
        uidvalidity: 7,
        highestmodseq: None,
        messages: vec![
            message(1, "one".to_owned(), None),
            message(2, line.repeat(bytes / line.len()), said),
            message(3, "three".to_owned(), None),
        ],
    }
}

/// Asserts that a run stores and rejects so many, within bounds.
fn stores(name: &str, server: &ImapServer, more: &str, stored: u64, rejected: u64) {
    let (said, peak) = run(server, more);
    eprintln!("{name}: {} MiB", peak >> 10);
    assert_eq!(said.code, Some(0), "{name}: {said:#?}");
    let found: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let run = &found["runs"][0];
    let counts = (lab::count(run, "items_stored"), lab::count(run, "items_rejected"));
    assert_eq!(counts, (stored, rejected), "{name}: {said:#?}");
    assert!(peak < MOST, "{name}: {} MiB", peak >> 10);
}

/// A server that says this to whoever asks for the body of the second message.
fn instead(text: Vec<u8>) -> ImapServer {
    ImapServer::start("", vec![inbox(0, None)], move |_, command| {
        let uids = command.strip_prefix("UID FETCH ").unwrap_or_default();
        let has_second = ["1:3", "2:3", "1:2", "2"]
            .iter()
            .any(|set| uids.starts_with(&format!("{set} (BODY.PEEK[])")));
        if has_second {
            Reaction::Say(text.clone())
        } else {
            Reaction::Well
        }
    })
}

fn literal(announced: u64) -> Vec<u8> {
    format!("* 2 FETCH (UID 2 BODY[] {{{announced}}}\r\nSubject: 2\r\n").into_bytes()
}

#[test]
fn a_literal_that_is_announced_takes_no_memory_until_it_comes() {
    for announced in [u64::from(u32::MAX), 512 << 20, (512 << 20) - 8_192, 100 << 20] {
        stores(
            &format!("{announced} bytes announced"),
            &instead(literal(announced)),
            "",
            2,
            1,
        );
    }
    // As much as is allowed, and then nothing: the run waits for it as long as it was told to.
    let (said, peak) = run(&instead(literal(60 << 20)), "");
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(peak < MOST, "{} MiB", peak >> 10);
}

#[test]
fn what_has_no_end_is_cut_off() {
    stores(
        "a line without end",
        &instead([b"* OK ".to_vec(), vec![b'x'; 8 << 20]].concat()),
        "",
        2,
        1,
    );
    let literals = [
        literal(20),
        vec![b'x'; 8],
        b" BODY[] {20}\r\n01234567890123456789".repeat(1 << 18),
    ]
    .concat();
    stores(
        "literals without end",
        &instead(literals),
        ", max_message_bytes = 1000000",
        2,
        1,
    );
    let nested = [b"* 2 FETCH (UID 2 BODYSTRUCTURE ".to_vec(), vec![b'('; 1 << 20]].concat();
    stores("brackets without end", &instead(nested), "", 2, 1);
    let responses = b"* 2 FETCH (UID 2 FLAGS ())\r\n".repeat(1 << 19);
    stores("responses without end", &instead(responses), "", 2, 1);
}

#[test]
fn a_mail_of_a_hundred_megabytes_is_rejected_or_stored_as_it_is_configured() {
    let server = |said| ImapServer::start("", vec![inbox(100_000_000, said)], |_, _| Reaction::Well);
    stores("100 MB", &server(None), "", 2, 1);
    stores("100 MB that are said to be 10 bytes", &server(Some(10)), "", 2, 1);
    let (said, peak) = run(&server(None), ", max_message_bytes = 200000000");
    eprintln!("100 MB that are wanted: {} MiB", peak >> 10);
    // It is there several times while it is converted and written; whoever allows more per mail needs more.
    assert!(peak < 6 * (100_000_000 >> 10), "{} MiB", peak >> 10);
    assert_eq!(said.code, Some(0), "{said:#?}");
    let server = ImapServer::start("", vec![inbox(60_000_000, None)], |_, _| Reaction::Well);
    let (_, peak) = run(&server, "");
    eprintln!("60 MB, as is allowed by default: {} MiB", peak >> 10);
    // What dkc may need at most, whatever it collects.
    assert!(peak < 400 << 10, "{} MiB", peak >> 10);
}
