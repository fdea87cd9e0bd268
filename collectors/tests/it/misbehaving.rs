//! `imap` against servers that lack, break or abuse the protocol (proof T14): each case ends as its line says, in
//! time, and a second run finds the same. More of them, one by one, are in `imap`; memory is measured in the
//! tests of the binary.

use super::imap::{Lake, bodies, folder, is_body_of, scripted, three};
use collectors::CollectError;
use fixtures::imap_server::{Folder, ImapServer, Reaction, fetched};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How a run ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Whole, with so many messages placed and so many rejected.
    Whole(usize, usize),
    /// The server did not let the user in.
    Refused,
    /// The server broke its protocol.
    Protocol,
    /// The connection was lost, again and again.
    Lost,
}

type Script = Box<dyn Fn(usize, &str) -> Reaction + Send + Sync>;

/// What a server has, how it misbehaves, and how the run ends.
struct Case {
    name: &'static str,
    capabilities: &'static str,
    folders: Vec<Folder>,
    more: &'static str,
    script: Script,
    end: End,
}

fn case(
    name: &'static str,
    end: End,
    script: impl Fn(usize, &str) -> Reaction + Send + Sync + 'static,
) -> Case {
    Case {
        name,
        capabilities: "",
        folders: vec![three()],
        more: "",
        script: Box::new(script),
        end,
    }
}

/// A server that answers a command of that beginning with this, and everything else well.
fn says(begins: &'static str, text: impl Into<Vec<u8>>) -> impl Fn(usize, &str) -> Reaction {
    let text = text.into();
    move |_, command| {
        if command.starts_with(begins) {
            Reaction::Say(text.clone())
        } else {
            Reaction::Well
        }
    }
}

/// The same, and hangs up after it.
fn leaves(begins: &'static str, text: impl Into<Vec<u8>>) -> impl Fn(usize, &str) -> Reaction {
    let says = says(begins, text);
    move |number, command| match says(number, command) {
        Reaction::Say(text) => Reaction::SayAndLeave(text),
        other => other,
    }
}

/// A server that begins so to answer a command of that beginning, and goes on byte by byte.
fn drips(begins: &'static str, text: &'static str) -> impl Fn(usize, &str) -> Reaction {
    let says = says(begins, text);
    move |number, command| match says(number, command) {
        Reaction::Say(text) => Reaction::Drip(text),
        other => other,
    }
}

/// Says this to the bodies of messages that include the second, else answers well.
fn second(text: impl Into<Vec<u8>>) -> impl Fn(usize, &str) -> Reaction {
    let text = text.into();
    move |_, command| {
        if is_body_of(command, 2) {
            Reaction::Say(text.clone())
        } else {
            Reaction::Well
        }
    }
}

fn second_leaves(text: impl Into<Vec<u8>>) -> impl Fn(usize, &str) -> Reaction {
    let second = second(text);
    move |number, command| match second(number, command) {
        Reaction::Say(text) => Reaction::SayAndLeave(text),
        other => other,
    }
}

fn modseq(folder: Folder) -> Folder {
    Folder {
        highestmodseq: Some(9),
        ..folder
    }
}

#[expect(clippy::too_many_lines, reason = "a list")]
fn cases() -> Vec<Case> {
    use End::{Lost, Protocol, Refused, Whole};
    let mut cases = vec![
        // What a server may lack.
        case("no extension at all", Whole(3, 0), |_, _| Reaction::Well),
        Case {
            capabilities: "CONDSTORE",
            folders: vec![modseq(three())],
            ..case("CONDSTORE without ENABLE", Whole(3, 0), |_, _| Reaction::Well)
        },
        Case {
            capabilities: "CONDSTORE ENABLE",
            folders: vec![modseq(three())],
            ..case(
                "ENABLE is refused",
                Whole(3, 0),
                says("ENABLE", "TAG NO not now\r\n"),
            )
        },
        Case {
            capabilities: "CONDSTORE ENABLE",
            ..case("CONDSTORE, and a folder with NOMODSEQ", Whole(3, 0), |_, _| {
                Reaction::Well
            })
        },
        case("no UIDNEXT on EXAMINE", Whole(3, 0), |_, command| {
            match command.split_once(" 1:3 ") {
                Some(("UID FETCH", _)) => {
                    let inbox = three();
                    let all = inbox.messages.iter().enumerate();
                    let all = all.flat_map(|(at, message)| fetched(at + 1, message, command));
                    Reaction::Say(all.chain(*b"TAG OK done\r\n").collect())
                }
                _ if command.starts_with("EXAMINE") => {
                    Reaction::Say(b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\nTAG OK done\r\n".to_vec())
                }
                _ if command.starts_with("UID SEARCH") => {
                    Reaction::Say(b"* SEARCH 3\r\nTAG OK done\r\n".to_vec())
                }
                _ => Reaction::Well,
            }
        }),
        Case {
            folders: vec![folder("INBOX", &[])],
            ..case("an empty folder", Whole(0, 0), |_, _| Reaction::Well)
        },
        case("no folder at all", Whole(0, 0), says("LIST", "TAG OK done\r\n")),
        case(
            "a STATUS that is refused",
            Whole(0, 0),
            says("STATUS", "TAG NO no\r\n"),
        ),
        case(
            "an EXAMINE that is refused",
            Whole(0, 0),
            says("EXAMINE", "TAG NO no\r\n"),
        ),
        // Names.
        Case {
            folders: vec![folder("\"Entw&APw-rfe\"", &["a"]), folder("\"R&-D\"", &["b"])],
            ..case("names in modified UTF-7", Whole(2, 0), |_, _| Reaction::Well)
        },
        Case {
            folders: vec![folder("\"Entwürfe/日本語\"", &["a"])],
            ..case("a name in UTF-8", Whole(1, 0), |_, _| Reaction::Well)
        },
        Case {
            folders: vec![folder("\"a&!!!-\"", &["a"]), folder("\"&2D0-\"", &["b"])],
            ..case("names in broken UTF-7", Whole(2, 0), |_, _| Reaction::Well)
        },
        case(
            "a name with a line break, in a literal",
            Whole(3, 0),
            says(
                "LIST",
                "* LIST () \"/\" {6}\r\na\r\nLOG\r\n* LIST () \"/\" INBOX\r\nTAG OK done\r\n",
            ),
        ),
        case(
            "folders listed twice, and ones that cannot be opened",
            Whole(3, 0),
            says(
                "LIST",
                "* LIST () \"/\" INBOX\r\n* LIST (\\Noselect) \"/\" up\r\n* LIST (\\NonExistent) \"/\" x\r\n\
                 * LIST () NIL INBOX\r\nTAG OK done\r\n",
            ),
        ),
        // Hanging up.
        case(
            "BYE instead of a greeting",
            Lost,
            leaves("GREETING", "* BYE busy\r\n"),
        ),
        case("nothing but a closed door", Lost, leaves("GREETING", "")),
        case(
            "BYE after signing in",
            Lost,
            leaves("LIST", "* BYE restarting\r\n"),
        ),
        case(
            "a door closed in the middle of LIST",
            Lost,
            leaves("LIST", "* LIST () \"/\" INB"),
        ),
        case("BYE in the middle of a FETCH, once", Whole(3, 0), {
            let text = [bodies(&three(), 2), b"* BYE restarting\r\n".to_vec()].concat();
            move |number, command| match is_body_of(command, 3) && number == 1 {
                true => Reaction::SayAndLeave(text.clone()),
                false => Reaction::Well,
            }
        }),
        case(
            "BYE in the middle of each FETCH",
            Lost,
            |_, command| match command.contains("BODY") {
                true => Reaction::SayAndLeave(b"* BYE restarting\r\n".to_vec()),
                false => Reaction::Well,
            },
        ),
        case(
            "a literal that is cut",
            Whole(2, 1),
            second_leaves("* 2 FETCH (UID 2 BODY[] {500}\r\nSubject: t"),
        ),
        case(
            "a literal that is cut in its announcement",
            Whole(2, 1),
            second_leaves("* 2 FETCH (UID 2 BODY[] {50"),
        ),
        case(
            "a listing of sizes that is cut",
            Lost,
            |_, command| match command.contains("RFC822.SIZE") {
                true => Reaction::SayAndLeave(b"* 1 FETCH (UID 1 RFC82".to_vec()),
                false => Reaction::Well,
            },
        ),
        // Silence.
        case(
            "silence instead of a greeting",
            Lost,
            |_, command| match command {
                "GREETING" => Reaction::Silence,
                _ => Reaction::Well,
            },
        ),
        case("silence after LOGIN", Lost, |_, command| {
            match command.starts_with("LOGIN") {
                true => Reaction::Silence,
                false => Reaction::Well,
            }
        }),
        case(
            "a message that stops in its middle",
            Lost,
            |_, command| match command.contains("BODY") {
                true => Reaction::Say(b"* 1 FETCH (UID 1 BODY[] {500}\r\nSubject: t".to_vec()),
                false => Reaction::Well,
            },
        ),
        // Words that drip: each comes in time, and all of them never.
        case("a greeting that drips", Lost, drips("GREETING", "* OK ")),
        case("a line that drips", Lost, drips("LIST", "* LIST () \"/\" ")),
        case("a message that drips", Lost, |_, command| {
            match command.contains("BODY") {
                true => Reaction::Drip(b"* 1 FETCH (UID 1 BODY[] {5000}\r\nSubject: t".to_vec()),
                false => Reaction::Well,
            }
        }),
        // Lies about sizes.
        case(
            "an announced literal of 4 GiB",
            Whole(2, 1),
            second("* 2 FETCH (UID 2 BODY[] {4294967295}\r\nSubject: t"),
        ),
        case(
            "an announced literal of 512 MiB",
            Whole(2, 1),
            second("* 2 FETCH (UID 2 BODY[] {536870912}\r\nSubject: t"),
        ),
        case(
            "an announced literal of 10^30 bytes",
            Whole(2, 1),
            second("* 2 FETCH (UID 2 BODY[] {1000000000000000000000000000000}\r\n"),
        ),
        case("a line without end", Whole(2, 1), second("x".repeat(3 << 20))),
        case("responses without end", Protocol, |_, command| {
            match command.starts_with("LIST") {
                true => Reaction::Say(b"* 5 EXISTS\r\n".repeat(300_000)),
                false => Reaction::Well,
            }
        }),
        // Other things than IMAP.
        case(
            "another protocol",
            Protocol,
            says("GREETING", "SSH-2.0-OpenSSH_9.2\r\n"),
        ),
        case(
            "a web page",
            Protocol,
            says("GREETING", "HTTP/1.1 400 Bad Request\r\n\r\n<html>"),
        ),
        case(
            "rubbish among the bodies",
            Whole(2, 1),
            second(&b"\x00\xff rubbish\r\n"[..]),
        ),
        case("BAD to a FETCH", Whole(2, 1), second("TAG BAD what?\r\n")),
        case("NO to a FETCH", Whole(2, 1), second("TAG NO [SERVERBUG] no\r\n")),
        case(
            "an end of a command never sent",
            Whole(2, 1),
            second("Z999 OK done\r\n"),
        ),
        case("a body that is NIL", Whole(2, 1), {
            let all = [
                fetched(1, &three().messages[0], "BODY.PEEK[]"),
                b"* 2 FETCH (UID 2 BODY[] NIL)\r\n".to_vec(),
                fetched(3, &three().messages[2], "BODY.PEEK[]"),
                b"TAG OK done\r\n".to_vec(),
            ];
            second(all.concat())
        }),
        case(
            "messages nobody asked for",
            Whole(3, 0),
            |_, command| match command.contains("BODY") {
                true => Reaction::SayFirst(
                    b"* 7 FETCH (UID 70 BODY[] {2}\r\nhi)\r\n* 9 FETCH (FLAGS (\\Seen))\r\n* 1 EXPUNGE\r\n"
                        .to_vec(),
                ),
                false => Reaction::Well,
            },
        ),
        case(
            "a wrong password",
            Refused,
            says("LOGIN", "TAG NO [AUTHENTICATIONFAILED] no\r\n"),
        ),
        case(
            "a user who is locked out",
            Refused,
            says("LOGIN", "TAG BAD too many\r\n"),
        ),
        case(
            "a server that is over its limit",
            Lost,
            says("LOGIN", "TAG NO [LIMIT] later\r\n"),
        ),
    ];
    for (name, size, placed) in [
        ("RFC822.SIZE smaller than the message", 1, 3),
        ("RFC822.SIZE larger than the message", 3_000, 3),
        ("RFC822.SIZE larger than allowed", 1 << 30, 2),
    ] {
        let mut inbox = three();
        inbox.messages[1].size = Some(size);
        cases.push(Case {
            folders: vec![inbox],
            ..case(name, Whole(placed, 3 - placed), |_, _| Reaction::Well)
        });
    }
    let mut inbox = three();
    inbox.messages[1].text.resize(5_000, b'x');
    inbox.messages[1].size = Some(10);
    cases.push(Case {
        folders: vec![inbox],
        more: "max_message_bytes = 4000",
        ..case(
            "a message larger than allowed that is said to be small",
            Whole(2, 1),
            |_, _| Reaction::Well,
        )
    });
    cases
}

async fn end_of(lake: &mut Lake, table: &str) -> End {
    match lake.run(table).await {
        Ok(report) => End::Whole(lake.places(), report.rejects.len()),
        Err(CollectError::Refused { .. }) => End::Refused,
        Err(CollectError::Protocol { .. }) => End::Protocol,
        Err(CollectError::Disconnected { .. }) => End::Lost,
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_server_does_the_run_ends_in_time_and_says_how() {
    let cases = cases();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert!(
        names.len() == cases.len() && cases.len() >= 40,
        "{} cases",
        cases.len()
    );
    let mut running = tokio::task::JoinSet::new();
    for case in cases {
        running.spawn(tried(case));
    }
    let mut wrong = Vec::new();
    while let Some(ended) = running.join_next().await {
        wrong.extend(ended.unwrap().err());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Runs twice against a server; what went otherwise than it should.
async fn tried(case: Case) -> Result<(), String> {
    let Case {
        name,
        capabilities,
        folders,
        more,
        script,
        end,
    } = case;
    let server = ImapServer::start(capabilities, folders, script);
    let mut lake = Lake::default();
    let began = Instant::now();
    let first = end_of(&mut lake, &scripted(&server, more)).await;
    let is = |what: bool, found: &dyn std::fmt::Debug| match what {
        true => Ok(()),
        false => Err(format!("{name}: {found:?}")),
    };
    is(first == end, &first)?;
    is(began.elapsed() < Duration::from_secs(10), &began.elapsed())?;
    if let End::Whole(placed, rejected) = end {
        // What was rejected is dealt with: it is not asked for again.
        let again = end_of(&mut lake, &scripted(&server, more)).await;
        is(again == End::Whole(placed, 0), &again)?;
        is(lake.rejected.len() == rejected, &lake.rejected)?;
    }
    let commands = server.commands();
    let changes = |command: &&String| command.contains("SELECT") || command.contains("BODY[");
    is(!commands.iter().any(|command| changes(&command)), &commands)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_size_is_not_told_is_fetched_all_the_same() {
    for size in [
        "",
        " RFC822.SIZE NIL",
        " RFC822.SIZE -1",
        " RFC822.SIZE 4294967296",
    ] {
        let server = ImapServer::start("", vec![three()], move |_, command| {
            match command.contains("RFC822.SIZE") && command.starts_with("UID FETCH 1:3 ") {
                true => Reaction::Say(
                    format!(
                        "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 36)\r\n* 2 FETCH (UID 2 FLAGS (){size})\r\n\
                         * 3 FETCH (UID 3 FLAGS () RFC822.SIZE 40)\r\n* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n\
                         TAG OK done\r\n"
                    )
                    .into_bytes(),
                ),
                false => Reaction::Well,
            }
        });
        let mut lake = Lake::default();
        let first = lake.run(&scripted(&server, "")).await.unwrap();
        assert_eq!(
            (first.downloaded, first.rejects.len(), lake.places()),
            (3, 0, 3),
            "{size}: {first:?}"
        );
        let second = lake.run(&scripted(&server, "")).await.unwrap();
        assert_eq!(
            (second.downloaded, second.unchanged),
            (0, 1),
            "{size}: 2 and 3 got flags"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_whose_date_is_nil_are_fetched_without_dates() {
    let folders = vec![three(), folder("\"Other\"", &["four"])];
    let server = ImapServer::start("", folders, |_, command| {
        match command.contains("INTERNALDATE") && command.starts_with("UID FETCH 1:3 ") {
            true => Reaction::Say(
                b"* 1 FETCH (UID 1 FLAGS () INTERNALDATE NIL RFC822.SIZE 36)\r\nTAG OK done\r\n".to_vec(),
            ),
            false => Reaction::Well,
        }
    });
    let mut lake = Lake::default();
    let first = lake.run(&scripted(&server, "")).await.unwrap();
    assert_eq!(
        (first.downloaded, first.rejects.len(), lake.places()),
        (4, 0, 4),
        "{first:?}"
    );
    let commands = server.commands();
    let asked = |items: &str| commands.iter().any(|command| command == items);
    assert!(asked("UID FETCH 1:3 (FLAGS RFC822.SIZE)"), "{commands:?}");
    assert!(
        asked("UID FETCH 1:1 (FLAGS INTERNALDATE RFC822.SIZE)"),
        "{commands:?}"
    );
    let second = lake.run(&scripted(&server, "")).await.unwrap();
    assert_eq!((second.downloaded, second.unchanged), (0, 4), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_folders_removes_no_mail() {
    let mut lake = Lake::default();
    let well = ImapServer::start("", vec![three()], |_, _| Reaction::Well);
    lake.run(&scripted(&well, "")).await.unwrap();
    let cursor = lake.cursor.clone();
    let empty = ImapServer::start("", vec![three()], says("LIST", "TAG OK done\r\n"));
    let error = lake.run(&scripted(&empty, "")).await.unwrap_err();
    assert!(
        matches!(&error, CollectError::Protocol { reason, .. } if reason.contains("not even INBOX")),
        "{error:?}"
    );
    assert_eq!((lake.places(), &lake.cursor), (3, &cursor));
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_whose_names_read_alike_are_both_collected() {
    let folders = vec![folder("\"A&-B\"", &["one"]), folder("\"A&B\"", &["two"])];
    let server = ImapServer::start("", folders, |_, _| Reaction::Well);
    let mut lake = Lake::default();
    let first = lake.run(&scripted(&server, "")).await.unwrap();
    assert_eq!((first.downloaded, lake.places()), (2, 2), "{first:?}");
    let second = lake.run(&scripted(&server, "")).await.unwrap();
    assert_eq!((second.downloaded, second.unchanged), (0, 2), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encryption_that_drips_is_given_up() {
    // The first bytes of a record of 16 KiB (RFC 8446 §5.1).
    let server = ImapServer::start("", vec![three()], |_, _| {
        Reaction::Drip(b"\x16\x03\x03\x40\x00".to_vec())
    });
    let table = scripted(&server, "").replace("tls = 'none'", "tls = 'implicit'");
    let began = Instant::now();
    let error = Lake::default().run(&table).await.unwrap_err();
    assert!(
        matches!(error, CollectError::Disconnected { .. }) && error.is_transient(),
        "{error:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn mod_sequences_that_end_in_mid_life_cost_a_comparison_and_nothing_else() {
    let server = |highestmodseq, flags: &str| {
        let mut inbox = Folder {
            highestmodseq,
            ..three()
        };
        inbox.messages[1].flags = flags.to_owned();
        ImapServer::start("CONDSTORE ENABLE", vec![inbox], |_, _| Reaction::Well)
    };
    let mut lake = Lake::default();
    lake.run(&scripted(&server(Some(9), "\\Seen"), "")).await.unwrap();
    let without = server(None, "\\Flagged");
    let second = lake.run(&scripted(&without, "")).await.unwrap();
    assert_eq!((second.downloaded, second.unchanged), (0, 2), "one flag changed");
    let again = server(Some(4), "\\Seen");
    let third = lake.run(&scripted(&again, "")).await.unwrap();
    assert_eq!((third.downloaded, third.unchanged), (0, 2), "and back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_matches_no_folder_is_told_with_the_nearest_until_it_does() {
    let folders = || vec![folder("INBOX", &["a"]), folder("\"Archive/2024\"", &["b"])];
    let server = ImapServer::start("", folders(), |_, _| Reaction::Well);
    let mut lake = Lake::default();
    let table = |patterns| scripted(&server, &format!("folders = {patterns}"));
    let first = lake.run(&table("['INBOX', 'Archiv/*', 'Sent']")).await.unwrap();
    assert_eq!((first.downloaded, first.rejects.len()), (1, 2));
    assert_eq!(first.rejects[0].item, "Archiv/*");
    assert!(
        first.reasons()[0].contains("nearest is `Archive/2024`"),
        "{first:?}"
    );
    assert_eq!(
        lake.run(&table("['INBOX', 'Archiv/*']"))
            .await
            .unwrap()
            .rejects
            .len(),
        1
    );
    assert_eq!(
        lake.rejected.len(),
        1,
        "what is not asked for any more is not told any more"
    );
    let mended = lake.run(&table("['INBOX', 'Archive/*']")).await.unwrap();
    assert_eq!(
        (mended.downloaded, mended.rejects.len(), lake.rejected.len()),
        (1, 0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_warned_of_once_in_words() {
    let folders = vec![three(), folder("\"Archive/2024\"", &["four"])];
    let server = ImapServer::start("", folders, |_, command| {
        let is_locked = command.starts_with("EXAMINE") && command.contains("Archive");
        match is_locked || is_body_of(command, 2) {
            true => Reaction::Say(b"TAG NO not now\r\n".to_vec()),
            false => Reaction::Well,
        }
    });
    let table = scripted(&server, "folders = ['INBOX', 'Archive/*', 'Archiv/*']");
    let run = Lake::default().run(&table).await.unwrap();
    // The second message is asked for twice: with the others, and alone.
    assert_eq!(
        run.warnings,
        [
            "no folder on the server matches `Archiv/*` of `folders`; the nearest is `Archive/2024`",
            "the folder `Archive/2024` cannot be opened and was left out; what was collected from it stays as it is, \
             and the next run tries again",
            "the server refuses to send some messages of the folder `INBOX`: not now",
        ]
    );
    assert_eq!((run.downloaded, run.rejects.len()), (2, 2), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_too_large_is_fetched_when_the_limit_is_raised() {
    for (capabilities, highestmodseq) in [("", None), ("CONDSTORE ENABLE", Some(9))] {
        let mut inbox = Folder {
            highestmodseq,
            ..folder("INBOX", &["one", "two", "three", "four"])
        };
        inbox.messages[1].text.resize(5_000, b'x');
        inbox.messages[2].text.resize(50_000, b'x');
        let server = ImapServer::start(capabilities, vec![inbox], |_, _| Reaction::Well);
        let mut lake = Lake::default();
        let mut asked = 0;
        for (limit, downloaded, rejects, left) in [
            (4_000, 2, 2, 2),
            (4_000, 0, 0, 2),
            (3_000, 0, 0, 2),
            (10_000, 1, 1, 1),
            (10_000, 0, 0, 1),
            (100_000, 1, 0, 0),
            (200_000, 0, 0, 0),
        ] {
            let table = scripted(&server, &format!("max_message_bytes = {limit}"));
            let before = lake.cursor.clone();
            let run = lake.run(&table).await.unwrap();
            assert_eq!(
                (run.downloaded, run.rejects.len(), lake.rejected.len()),
                (downloaded, rejects, left),
                "{limit}: {run:?}"
            );
            assert_eq!(run.unchanged as usize + downloaded + left, 4, "{run:?}");
            let bodies = server
                .commands()
                .iter()
                .filter(|command| command.contains("BODY"))
                .count();
            assert_eq!(bodies > asked, downloaded > 0, "{limit}: {:?}", server.commands());
            asked = bodies;
            assert_eq!(lake.cursor == before, downloaded == 0, "{limit}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reject_goes_with_its_message_its_folder_and_its_uidvalidity() {
    let large = |name, uidvalidity| {
        let mut folder = Folder {
            uidvalidity,
            ..folder(name, &["one", "two", "three"])
        };
        folder.messages[1].size = Some(1 << 30);
        folder.messages[2].size = Some(1 << 30);
        folder
    };
    let mut lake = Lake::default();
    let runs = |folders: Vec<Folder>| {
        let server = ImapServer::start("", folders, |_, _| Reaction::Well);
        let table = scripted(&server, "");
        (server, table)
    };
    let (_one, table) = runs(vec![large("INBOX", 7), large("Other", 7)]);
    assert_eq!(lake.run(&table).await.unwrap().rejects.len(), 4);
    let mut fewer = large("INBOX", 7);
    fewer.messages.remove(1);
    let (_two, table) = runs(vec![fewer.clone(), large("Other", 7)]);
    lake.run(&table).await.unwrap();
    let left: Vec<&str> = lake.rejected.iter().map(String::as_str).collect();
    assert_eq!(left, ["INBOX/7/3", "Other/7/2", "Other/7/3"]);
    let (_three, table) = runs(vec![fewer]);
    lake.run(&table).await.unwrap();
    let left: Vec<&str> = lake.rejected.iter().map(String::as_str).collect();
    assert_eq!(left, ["INBOX/7/3"]);
    let (_four, table) = runs(vec![large("INBOX", 8)]);
    lake.run(&table).await.unwrap();
    let left: Vec<&str> = lake.rejected.iter().map(String::as_str).collect();
    assert_eq!(left, ["INBOX/8/2", "INBOX/8/3"]);
}
