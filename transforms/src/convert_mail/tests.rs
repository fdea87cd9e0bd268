//! Mails as they come, and as they should not.

use super::*;
use bytes::Bytes;
use insta::assert_snapshot;
use proptest::prelude::*;
use schemas::{Attributes, Digest, RunId, SourceName};

fn item(raw: &[u8]) -> RawItem {
    RawItem {
        item: Digest::of(raw).to_string(),
        media_type: "message/rfc822",
        fetched_at: 0,
        sha256: Digest::of(raw),
        original: Original::Bytes(Bytes::copy_from_slice(raw)),
        attributes: Attributes::default(),
    }
}

fn provenance() -> Provenance {
    Provenance {
        source: SourceName::new("mail").unwrap(),
        run: RunId("run".to_owned()),
    }
}

/// What became of one mail.
fn rows_of(raw: &[u8]) -> Result<(Email, Vec<EmailAttachment>), String> {
    let item = item(raw);
    let converted = convert(std::slice::from_ref(&item), &provenance());
    let rows: usize = converted
        .rows
        .iter()
        .filter(|(d, _)| d.name == "emails")
        .map(|(_, b)| b.num_rows())
        .sum();
    assert_eq!(rows + converted.rejects.len(), 1, "a mail is a row or a reject");
    match converted.rejects.into_iter().next() {
        Some(reject) => Err(reject.reason),
        None => read(&item, raw),
    }
}

fn email(raw: impl AsRef<[u8]>) -> Email {
    rows_of(raw.as_ref()).unwrap().0
}

fn attachments(raw: impl AsRef<[u8]>) -> Vec<String> {
    let show = |a: EmailAttachment| {
        format!(
            "{} {:?} {} bytes",
            a.media_type,
            a.filename.as_deref(),
            a.size_bytes
        )
    };
    rows_of(raw.as_ref()).unwrap().1.into_iter().map(show).collect()
}

fn subject(value: impl AsRef<[u8]>) -> Option<String> {
    email([b"Subject: ", value.as_ref(), b"\n\n"].concat()).subject
}

fn from(value: &str) -> String {
    let email = email(format!("From: {value}\n\n"));
    format!(
        "{:?} {:?}",
        email.from_name.as_deref(),
        email.from_addr.as_deref()
    )
}

fn date(value: &str) -> Option<(i64, i64)> {
    let email = email(format!("Date: {value}\n\n"));
    email.date.map(|date| date / 1_000_000).zip(email.date_offset_min)
}

#[test]
fn a_mail_becomes_a_row() {
    let email = email(concat!(
        "From list@example.org  Tue Jul 30 08:30:04 2002\n",
        "Message-ID: <3@example.org>\nReferences: <1@example.org>\n\t<2@example.org>\n",
        "In-Reply-To: <2@example.org>\nDate: Mon, 1 Jan 2024 10:00:00 +0100\n",
        "From: \"Doe, Jo\" <jo@example.org>\nTo: a@example.org, B <b@example.org>\nCc: Team: c@example.org;\n",
        "List-Id: The list <list.example.org>\nSubject: hello\n  again\n\nText.\n",
    ));
    assert_eq!(email.message_id.as_deref(), Some("3@example.org"));
    assert_eq!(email.references, ["1@example.org", "2@example.org"]);
    assert_eq!(email.thread_id, thread_of("", Some("1@example.org"), &[], &[]));
    assert_eq!(
        (email.date, email.date_offset_min),
        (Some(1_704_099_600_000_000), Some(60))
    );
    assert_eq!(
        (email.from_name.as_deref(), email.from_addr.as_deref()),
        (Some("Doe, Jo"), Some("jo@example.org"))
    );
    assert_eq!(email.to, ["a@example.org", "b@example.org"]);
    assert_eq!(email.cc, ["c@example.org"]);
    assert_eq!(email.list_id.as_deref(), Some("list.example.org"));
    assert_eq!(email.subject.as_deref(), Some("hello  again"));
    assert_eq!(email.body_text.as_deref(), Some("Text.\n"));
}

#[test]
fn a_subject_survives_its_encoding() {
    assert_eq!(subject("=?utf-8?b?w6k=?= =?utf-8?q?_b?=").as_deref(), Some("é b"));
    // é split over two words, once in each encoding.
    assert_eq!(
        subject("=?utf-8?q?caf=C3?=\n =?UTF-8?Q?=A9?=").as_deref(),
        Some("café")
    );
    assert_eq!(
        subject("=?utf-8?b?Y2Fmww==?= =?utf-8?b?qQ==?=").as_deref(),
        Some("café")
    );
    // Without padding, as some senders have it.
    assert_eq!(
        subject("=?utf-8?B?YQ?= =?utf-8?B?YmM?= =?utf-8?b?ZA?=").as_deref(),
        Some("abcd")
    );
    assert_eq!(subject("=?utf-8?B?w6k?=").as_deref(), Some("é"));
    // Cut anywhere.
    assert_eq!(
        subject("=?utf-8?B?Y2Fmw?= =?utf-8?B?6k=?=").as_deref(),
        Some("café")
    );
    assert_eq!(
        subject("=?utf-8?B?Y2F?= =?utf-8?B?mw6k=?=").as_deref(),
        Some("café")
    );
    // Two words in a charset with escapes.
    assert_eq!(
        subject("=?iso-2022-jp?B?GyRCJTkbKEI=?= =?iso-2022-jp?B?GyRCJVEbKEI=?=").as_deref(),
        Some("スパ")
    );
    assert_eq!(subject("raw caf\u{e9}").as_deref(), Some("raw café"));
    assert_eq!(subject(b"raw caf\xe9").as_deref(), Some("raw café"));
    assert_eq!(subject("=?no-such-charset?q?caf?=").as_deref(), Some("caf"));
    assert_eq!(subject("a\0b\x1b[31mc").as_deref(), Some("ab[31mc"));
    assert_eq!(subject("=?utf-8?q").as_deref(), Some("=?utf-8?q"));
    assert_eq!(subject(" "), None);
    // A media type in a header is text, whatever the parser must be kept from.
    assert_eq!(
        subject("about message/rfc822").as_deref(),
        Some("about message/rfc822")
    );
}

#[test]
fn a_sender_survives_its_spelling() {
    assert_snapshot!(from("jo@example.org (Jo Doe)"), @r#"Some("Jo Doe") Some("jo@example.org")"#);
    assert_snapshot!(from("jo@example.org"), @r#"None Some("jo@example.org")"#);
    assert_snapshot!(from("root"), @r#"None Some("root")"#);
    assert_snapshot!(from("=?iso-8859-1?q?J=F6?= Doe <jo@example.org>"), @r#"Some("Jö Doe") Some("jo@example.org")"#);
    assert_snapshot!(from("Jo <jo@example.org"), @r#"Some("Jo") Some("jo@example.org")"#);
    assert_snapshot!(from("\"jo\"@example.org"), @r#"None Some("jo@example.org")"#);
    assert_snapshot!(from("Friends: jo@example.org, al@example.org;"), @r#"None Some("jo@example.org")"#);
    assert_snapshot!(from("undisclosed-recipients:;"), @"None None");
}

#[test]
fn a_date_keeps_its_instant_and_offset() {
    assert_eq!(
        date("Mon, 1 Jan 2024 10:00:00 -0330"),
        Some((1_704_115_800, -210))
    );
    assert_eq!(date("1 Jan 24 10:00 EST"), Some((1_704_121_200, -300)));
    assert_eq!(date("Mon, 01 Jan 124 10:00:00 GMT"), Some((1_704_103_200, 0)));
    assert_eq!(date("Mon, 1 Jan 2024 10:00:00"), Some((1_704_103_200, 0)));
    assert_eq!(date("Mon Jan  1 10:00:00 2024"), Some((1_704_103_200, 0)));
    assert_eq!(date("Sat, 31 Dec 2016 23:59:60 +0000"), Some((1_483_228_799, 0)));
    for damaged in [
        "",
        "yesterday",
        "Mon, 31 Feb 2024 10:00:00 +0000",
        "Mon, 1 Jan 2024 25:00:00 +0000",
    ] {
        assert_eq!(date(damaged), None, "{damaged}");
    }
}

#[test]
fn an_address_in_in_reply_to_is_no_message_id() {
    let ids = |value: &str| email(format!("In-Reply-To: {value}\n\n")).in_reply_to;
    assert_eq!(
        ids("Message from Jo <jo@example.org> of \"Tue\" <1@example.org>"),
        ["1@example.org"]
    );
    assert_eq!(
        ids("<1@example.org> <2@example.org>"),
        ["1@example.org", "2@example.org"]
    );
    assert_eq!(ids("1@example.org"), ["1@example.org"]);
    assert_eq!(ids("your mail"), Vec::<String>::new());
}

fn multipart(subtype: &str, parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|part| format!("--=_b\n{part}\n")).collect();
    format!(
        "Subject: s\nContent-Type: multipart/{subtype}; boundary=\"=_b\"\n\npreamble\n{parts}--=_b--\nepilogue\n"
    )
}

#[test]
fn text_is_what_a_reader_sees() {
    let plain = "Content-Type: text/plain\n\nplain";
    let html = "Content-Type: text/html; charset=iso-8859-1\n\n<b>caf\u{e9}</b>";
    let text = |raw: String| email(raw).body_text.unwrap();
    assert_eq!(text(multipart("alternative", &[plain, html])), "plain");
    assert_eq!(text(multipart("mixed", &[plain, plain])), "plain\n\nplain");
    assert_eq!(
        text(multipart(
            "mixed",
            &["Content-Type: text/html\n\n<p>one<p>two", plain]
        )),
        "one\n\ntwo\n\nplain"
    );
    assert_eq!(
        text(multipart(
            "alternative",
            &["Content-Type: text/plain\n\n \n", "Content-Type: text/html\n\nx"]
        )),
        "x"
    );
    assert_eq!(
        email(b"A: b\nSubject: c\n\ncaf\xe9\r\n\x00x")
            .body_text
            .as_deref(),
        Some("café\nx")
    );
    assert_eq!(
        email("Subject: s\nContent-Type: text/plain; charset=big5\n\n\u{1}").body_text,
        None
    );
    assert_eq!(
        text("Content-Type: multipart/mixed; boundary=gone\n\nonly text\n".to_owned()),
        "only text\n"
    );
}

#[test]
fn html_is_read_as_a_browser_shows_it() {
    let read = |html: &str| crate::html::text_of_mail(html);
    assert_eq!(
        read("<head><title>t</title><style type=a>p{}</style></head><p>a &amp; b&nbsp;c&#8364;"),
        "a & b c€"
    );
    assert_eq!(
        read("<script>if (a<b) x()</script>one<br>two<div>three</div>four"),
        "one\ntwo\nthree\nfour"
    );
    assert_eq!(
        read("<h1>Title</h1>text<ul><li>a<li>b</ul><table><tr><td>1<td>2<tr><td>3</table>"),
        "Title\n\ntext\na\nb\n1 2\n3"
    );
    assert_eq!(read("a<!-- hidden --->b <b>c</b>d\n e"), "ab cd e");
    assert_eq!(read("<div><div><p>x</p></div></div><style>never closed"), "x");
}

#[test]
fn attachments_are_listed_with_name_type_and_size() {
    let found = attachments(multipart(
        "mixed",
        &[
            "Content-Type: text/plain\n\ntext",
            "Content-Type: application/zip; name=old.zip\nContent-Disposition: attachment; filename*=utf-8''caf%C3%A9.zip\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n",
            "Content-Type: image/png\nContent-ID: <logo>\nContent-Disposition: inline\nContent-Transfer-Encoding: base64\n\naGVsbG8\n",
            "Content-Type: text/plain; name=\"=?utf-8?b?w6kudHh0?=\"\n\nlisted",
            "Content-Type: application/octet-stream; name*0=\"long \"; name*1=\"name.bin\"\n\n",
            "Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n!!aGVs!bG8=\n",
        ],
    ));
    assert_snapshot!(found.join("\n"), @r#"
    application/zip Some("café.zip") 5 bytes
    image/png None 5 bytes
    text/plain Some("é.txt") 6 bytes
    application/octet-stream Some("long name.bin") 0 bytes
    application/pdf None 5 bytes
    "#);
}

#[test]
fn a_file_name_in_segments_is_decoded_as_a_whole() {
    let name = |parameters: &str| {
        let part = format!("Content-Type: a/b\nContent-Disposition: attachment; {parameters}\n\n");
        rows_of(multipart("mixed", &[&part]).as_bytes())
            .unwrap()
            .1
            .remove(0)
            .filename
    };
    for (parameters, expected) in [
        ("filename*0*=iso-8859-1''caf%E9; filename*1*=%E9.txt", "caféé.txt"),
        ("filename*0*=utf-8''%E2%82;\n filename*1*=%AC.pdf", "€.pdf"),
        ("filename*1*=%AC.pdf; FILENAME*0*=UTF-8'en'%E2%82", "€.pdf"),
        ("filename=\"x.txt\"; filename*0=\"a\"; filename*1=\"b\"", "ab"),
        (
            "filename*0*=utf-8''%C3%A9; filename*1=\"5%20*0*.txt\"",
            "é5%20*0*.txt",
        ),
        ("filename=\"2*0.txt\"", "2*0.txt"),
    ] {
        assert_eq!(name(parameters).as_deref(), Some(expected), "{parameters}");
    }
}

#[test]
fn what_is_kept_from_the_parser_comes_back() {
    let part = |header: &str, body: &str| {
        let part = format!("Content-Type: application/json\n{header}\n\n{body}");
        rows_of(multipart("mixed", &[&part]).as_bytes())
            .unwrap()
            .1
            .remove(0)
    };
    for name in ["Q3/Global sales.xlsx", "a/(1).jpg", "a/rfc822", "x/digest.md"] {
        let header = format!("Content-Disposition: attachment; filename=\"{name}\"");
        let attachment = part(&header, "");
        assert_eq!(attachment.filename.as_deref(), Some(name));
    }
    let id = part("Content-ID: <a/digest@b>", "").content_id;
    assert_eq!(id.as_deref(), Some("a/digest@b"));
    let body = "[\"/digest\", \"/global\",\n\"/rfc822\", \"/(é)\"]";
    let encoded = body.replace('é', "=C3=\n=A9");
    let attachment = part("Content-Transfer-Encoding: quoted-printable", &encoded);
    assert_eq!(attachment.sha256, EmailAttachment::digest(body.as_bytes()));
}

#[test]
fn an_attached_message_is_an_attachment_and_so_is_what_is_attached_to_it() {
    let inner = "Subject: inner\nContent-Type: multipart/mixed; boundary=in\n\n--in\n\ntext\n--in\nContent-Type: image/gif; name=a.gif\n\nGIF\n--in--\n";
    let found = attachments(multipart(
        "mixed",
        &["\nouter", &format!("Content-Type: message/rfc822\n\n{inner}")],
    ));
    assert_snapshot!(found.join("\n"), @r#"
    message/rfc822 None 123 bytes
    image/gif Some("a.gif") 3 bytes
    "#);
    let digest = attachments(multipart(
        "digest",
        &["\nSubject: one\n\n1", "\nSubject: two\n\n2"],
    ));
    assert_snapshot!(digest.join("\n"), @r#"
    message/rfc822 None 15 bytes
    message/rfc822 None 15 bytes
    "#);
}

#[test]
fn what_is_no_mail_is_rejected_with_a_reason() {
    let reason = |raw: &[u8]| rows_of(raw).unwrap_err();
    assert_eq!(reason(b""), "not a mail: no header field");
    assert_eq!(reason(b"\n\nbody only"), "not a mail: no header field");
    assert_eq!(
        reason(b"\x7fELF\x02\x01\x01\0\0\0:\0\0\n\n"),
        "not a mail: no header field"
    );
    let mut file = item(b"");
    file.original = Original::File {
        path: "/photos/a.jpg".to_owned(),
        size: 0,
    };
    let converted = convert(&[file], &provenance());
    assert_eq!(
        converted.rejects[0].reason,
        "no bytes: a mail is kept in the lake, not by reference"
    );
    assert_eq!(converted.rejects[0].raw.as_deref(), Some("/photos/a.jpg"));
}

#[test]
fn rows_come_in_the_order_of_the_items() {
    let items: Vec<RawItem> = (0..1_000)
        .map(|n| item(format!("Subject: {n}\n\n").as_bytes()))
        .collect();
    let converted = convert(&items, &provenance());
    let order: Vec<String> = converted
        .rows
        .iter()
        .flat_map(|(_, batch)| {
            let array = batch.column_by_name("_item").unwrap().clone();
            let texts: &arrow_array::StringArray = array.as_any().downcast_ref().unwrap();
            texts
                .iter()
                .map(|text| text.unwrap().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        order,
        items.iter().map(|item| item.item.clone()).collect::<Vec<_>>()
    );
}

#[test]
fn a_mail_cut_anywhere_is_a_row_or_a_reject() {
    let whole = multipart(
        "mixed",
        &[
            "Content-Type: multipart/alternative; boundary=in\n\n--in\n\ntext\n--in\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<b>=C3=A9</b>\n--in--\n",
            "Content-Type: message/rfc822\n\nSubject: =?utf-8?b?w6k=?=\n\n1",
            "Content-Type: image/png; name*=utf-8''%C3%A9\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n",
        ],
    );
    for end in 0..whole.len() {
        let _ = rows_of(&whole.as_bytes()[..end]);
        let _ = rows_of(whole[..end].replace('\n', "\r\n").as_bytes());
    }
    assert_eq!(
        rows_of(b"Subject: cut").unwrap().0.subject.as_deref(),
        Some("cut")
    );
}

/// Runs a hostile mail on a small stack and checks that it is over soon.
#[expect(
    clippy::disallowed_methods,
    reason = "a time limit needs a clock, a small stack a thread"
)]
fn survives(name: &str, raw: Vec<u8>) -> Result<usize, String> {
    let start = std::time::Instant::now();
    let run = std::thread::Builder::new()
        .stack_size(512 << 10)
        .spawn(move || rows_of(&raw).map(|(_, a)| a.len()));
    let result = run.unwrap().join().unwrap();
    // Each mail is converted twice here, and tests run beside each other.
    assert!(
        start.elapsed().as_secs_f32() < 6.0,
        "{name} took {:?}",
        start.elapsed()
    );
    println!("{name}: {:?} {result:?}", start.elapsed());
    result
}

#[test]
fn hostile_mails_end_soon_on_a_small_stack() {
    let nested = |head: fn(usize) -> String| (0..10_000).map(head).collect::<String>().into_bytes();
    let _ = survives(
        "nested multiparts",
        nested(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")),
    );
    let _ = survives(
        "multiparts without end",
        [
            nested(|n| format!("--x\nContent-Type: multipart/mixed; boundary=no{n}\n\n")),
            vec![b'.'; 10 << 20],
        ]
        .concat(),
    );
    let _ = survives(
        "nested messages",
        nested(|_| "Content-Type: message/rfc822\n\n".to_owned()),
    );
    let _ = survives(
        "nested messages, spelled oddly",
        nested(|_| "content-type:Message\t/\tRFC822;\n\n".to_owned()),
    );
    let _ = survives(
        "nested digests",
        nested(|n| format!("Content-Type: multipart/digest; boundary=b{n}\n\n--b{n}\n\n")),
    );
    let flat = |part: &str, count: usize| multipart("mixed", &vec![part; count]).into_bytes();
    assert_eq!(
        survives("many parts", flat("Content-Type: a/b\n\n", 10_000)),
        Ok(10_000)
    );
    assert!(
        survives("too many parts", flat("\n", 1_000_000))
            .unwrap_err()
            .contains("more than 200000 parts")
    );
    let lines = |count: usize| "A: b\n".repeat(count);
    assert_eq!(
        survives("a million header lines", lines(1_000_000).into_bytes()).unwrap_err(),
        "its header is larger than 1048576 bytes"
    );
    assert!(
        survives("a million header lines in a part", flat(&lines(1_000_000), 1))
            .unwrap_err()
            .contains("header fields")
    );
    assert!(
        survives(
            "one header of 20 MB",
            ["Subject: ".to_owned(), "x".repeat(20 << 20)]
                .concat()
                .into_bytes()
        )
        .is_err()
    );
    for value in [
        "<",
        "(",
        "\"",
        "a,",
        "=?utf-8?q?",
        "=?utf-8?b?",
        ":",
        "\\",
        "a@b;",
        "<a@b>",
        "=?a?q?x?= ",
    ] {
        for name in ["From", "Subject", "References", "Date", "In-Reply-To"] {
            let _ = survives(
                &format!("{name}: {value}…"),
                format!("{name}: {}\n\n", value.repeat(1_000_000 / value.len())).into_bytes(),
            );
        }
    }
    let parameters: String = (0..20_000).map(|n| format!("; p{n}*0=v")).collect();
    let _ = survives(
        "parameters",
        format!("Content-Type: a/b{parameters}\n\n").into_bytes(),
    );
    let _ = survives(
        "base64 garbage",
        flat(
            &format!("Content-Transfer-Encoding: base64\n\n{}", "!a=".repeat(5_000_000)),
            1,
        ),
    );
    let zip = "UEsDBBQ=".repeat(1_000_000);
    let zip =
        format!("Content-Type: application/zip; name=bomb.zip\nContent-Transfer-Encoding: base64\n\n{zip}");
    assert_eq!(survives("archive", flat(&zip, 1)), Ok(1));
    let _ = survives(
        "tags",
        format!("Content-Type: text/html\n\n{}", "<div><p>".repeat(500_000)).into_bytes(),
    );
    let _ = survives(
        "boundary never comes",
        format!(
            "Content-Type: multipart/mixed; boundary=b\n\n{}",
            "--c\n".repeat(1_000_000)
        )
        .into_bytes(),
    );
}

proptest! {
    #[test]
    fn any_bytes_are_a_row_or_a_reject(raw in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = rows_of(&raw);
    }

    #[test]
    fn any_mix_of_mail_is_a_row_or_a_reject(
        words in prop::collection::vec(prop::sample::select(vec![
            "Subject: ", "From: ", "Date: ", "Content-Type: ", "multipart/mixed", "multipart/digest", "message/rfc822",
            "; boundary=b", "; charset=utf-7", "text/html", "\n", "\r\n", "\n\n", "\n ", "--b", "--b--", "=?utf-8?b?", "?=",
            "<a@b>", "Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: quoted-printable", "aGk=", "=C3", "é",
            "Content-Disposition: attachment; filename*0*=utf-8''", "\"", "(", ")", ":", ";", "1 Jan 2024 10:00", "References: ",
        ]), 0..60),
    ) {
        let _ = rows_of(words.concat().as_bytes());
        let _ = rows_of(format!("Subject: s\nContent-Type: multipart/mixed; boundary=b\n\n{}", words.concat()).as_bytes());
    }
}

/// What a mail costs; `MAILS` is a folder of mails:
/// `MAILS=… cargo nextest run -p transforms --run-ignored only --no-capture measure_convert`
#[test]
#[ignore = "measures; run by hand"]
#[expect(clippy::disallowed_methods, reason = "a measurement needs mails and a clock")]
fn measure_convert() {
    let Ok(folder) = std::env::var("MAILS") else {
        return;
    };
    let paths = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let items: Vec<RawItem> = paths.map(|path| item(&std::fs::read(path).unwrap())).collect();
    let timed = |name: &str, run: &dyn Fn() -> usize| {
        let start = std::time::Instant::now();
        let count = run();
        println!(
            "{name}: {:?} a mail, {count}",
            start.elapsed() / u32::try_from(items.len()).unwrap()
        );
    };
    let parse_all = |parser: &MessageParser| {
        let bytes = items.iter().filter_map(|item| match &item.original {
            Original::Bytes(bytes) => Some(bytes),
            Original::File { .. } => None,
        });
        bytes
            .filter_map(|bytes| parser.parse(bytes).map(|message| message.parts.len()))
            .sum::<usize>()
    };
    for _ in 0..3 {
        timed("mail-parser as it is", &|| parse_all(&MessageParser::default()));
        timed("mail-parser as we use it", &|| parse_all(&PARSER));
        timed("convert, one core", &|| {
            items
                .chunks(CHUNK)
                .map(|c| convert_chunk(c, &provenance()).rows.len())
                .sum()
        });
        timed("convert, all cores", &|| {
            convert(&items, &provenance()).rows.len()
        });
    }
}
