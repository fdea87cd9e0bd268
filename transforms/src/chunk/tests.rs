//! What must be true of chunks, whatever the text.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

fn plain(text: &str) -> Text<'_> {
    Text {
        dataset: "documents",
        key: "notes\u{1f}1",
        text,
        shape: Shape::Plain,
    }
}

fn mail(text: &str) -> Text<'_> {
    Text {
        dataset: "emails",
        shape: Shape::Mail,
        ..plain(text)
    }
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// As a tokenizer counts that knows short words only.
fn tokens(text: &str) -> usize {
    text.split_whitespace().map(|word| word.len().div_ceil(4)).sum()
}

const LENGTHS: [fn(&str) -> usize; 4] = [characters, str::len, words, tokens];

/// What texts are made of: words, scripts without blanks, marks, the lines that programs write into mails.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z]{1,12}",
        2 => " {1,3}",
        2 => Just("\n".to_owned()),
        1 => Just("\n\n".to_owned()),
        1 => Just("\r\n".to_owned()),
        1 => Just("\n> ".to_owned()),
        1 => Just("\n-- \n".to_owned()),
        1 => Just("\n-----Original Message-----\n".to_owned()),
        1 => Just("\nOn 2 May 2024, Jane wrote:\n".to_owned()),
        1 => "\\PC{1,8}",
        1 => "[一-龥]{1,40}",
        1 => "[\u{300}-\u{36f}\u{200d}\u{1F468}-\u{1F469}]{1,8}",
        1 => any::<char>().prop_map(String::from),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..80).prop_map(|pieces| pieces.concat())
}

fn is_covered(text: &str, chunks: &[Chunk<'_>]) -> Option<usize> {
    let mut covered = vec![false; text.len()];
    for chunk in chunks {
        covered[chunk.start..chunk.end].fill(true);
    }
    let lost = text
        .char_indices()
        .find(|(at, c)| !c.is_whitespace() && !covered[*at]);
    lost.map(|(at, _)| at)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn nothing_is_lost_and_nothing_is_too_long(
        text in text(),
        marks in prop::collection::vec(0..400_usize, 0..4),
        shape in 0..3_usize,
        limit in 1..60_usize,
        overlap in 0..30_usize,
        length in 0..LENGTHS.len(),
    ) {
        let sections: Vec<Section<'_>> = marks.iter().map(|at| Section { at: *at, heading: Some("A") }).collect();
        let shape = [Shape::Plain, Shape::Mail, Shape::Sections(&sections)][shape];
        let length = LENGTHS[length];
        let chunks = Chunker::new(limit, overlap, &length).chunks(&Text { shape, ..plain(&text) });
        prop_assert_eq!(is_covered(&text, &chunks), None);
        for (ordinal, chunk) in chunks.iter().enumerate() {
            prop_assert_eq!(chunk.ordinal, ordinal);
            prop_assert_eq!(&text[chunk.start..chunk.end], chunk.text);
            prop_assert_eq!(chunk.text.trim(), chunk.text);
            prop_assert!(length(chunk.text) <= limit || chunk.text.chars().count() == 1, "{:?}", chunk);
            prop_assert!(!chunk.text.is_empty() || chunks.len() == 1);
        }
        for pair in chunks.windows(2) {
            prop_assert!(pair[0].start < pair[1].start && pair[0].end < pair[1].end, "{:?}", pair);
        }
        let ids: HashSet<Digest> = chunks.iter().map(|chunk| chunk.id).collect();
        prop_assert_eq!(ids.len(), chunks.len());
    }

    #[test]
    fn an_edit_in_one_section_leaves_the_others_alone(
        bodies in prop::collection::vec(text(), 2..6),
        edited in any::<prop::sample::Index>(),
        new in text(),
    ) {
        let headings: Vec<String> = (0..bodies.len()).map(|at| format!("Heading {at}")).collect();
        let ids = |bodies: &[String]| {
            let mut whole = String::new();
            let mut sections = Vec::new();
            for (heading, body) in headings.iter().zip(bodies) {
                sections.push(Section { at: whole.len(), heading: Some(heading) });
                whole.push_str(&format!("# {heading}\n\n{body}\n\n"));
            }
            let text = Text { shape: Shape::Sections(&sections), ..plain(&whole) };
            let chunks = Chunker::new(20, 5, &tokens).chunks(&text);
            let ids = chunks.iter().map(|chunk| (chunk.heading.unwrap().to_owned(), chunk.id));
            ids.collect::<Vec<_>>()
        };
        let edited = edited.index(bodies.len());
        let mut changed = bodies.clone();
        changed[edited] = new;
        let others = |ids: Vec<(String, Digest)>| {
            ids.into_iter().filter(|(heading, _)| *heading != headings[edited]).collect::<Vec<_>>()
        };
        prop_assert_eq!(others(ids(&bodies)), others(ids(&changed)));
    }

    #[test]
    fn the_parts_of_a_mail_are_the_whole_mail(text in text()) {
        let parts = mail::parts(&text);
        let whole: String = parts.iter().map(|(range, _)| &text[range.clone()]).collect();
        prop_assert_eq!(whole, text);
    }

    #[test]
    fn blocks_are_the_whole_text(text in text(), times in 1..60_usize) {
        let text = text.repeat(times);
        let whole: String = blocks::blocks(&text).into_iter().map(|range| &text[range]).collect();
        prop_assert_eq!(whole, text);
    }
}

/// Paragraphs of different words.
fn long_text(paragraphs: usize) -> String {
    let paragraph = |at: usize| {
        let words = (0..40 + at % 50).map(|word| format!("w{}", (at * 7919 + word * 104_729) % 5_003));
        words.collect::<Vec<_>>().join(" ")
    };
    (0..paragraphs).map(paragraph).collect::<Vec<_>>().join("\n\n")
}

#[test]
fn a_word_put_into_a_long_text_changes_the_chunks_near_it_only() {
    let before = long_text(1_000);
    let chunker = Chunker::new(100, 10, &tokens);
    let ids = |text: &str| {
        chunker
            .chunks(&plain(text))
            .iter()
            .map(|chunk| chunk.id)
            .collect::<HashSet<_>>()
    };
    let old = ids(&before);
    for place in [0, before.len() / 2, before.len() - 10] {
        let mut after = before.clone();
        after.insert_str(before.floor_char_boundary(place), "inserted words ");
        let new = ids(&after);
        let changed = new.difference(&old).count();
        assert!(
            (1..=60).contains(&changed),
            "{changed} of {} chunks changed by a word at {place}",
            new.len()
        );
    }
}

#[test]
fn equal_texts_of_a_row_have_ids_of_their_own_and_rows_do_not_share_them() {
    let text = "same\n\n".repeat(3);
    let chunker = Chunker::new(4, 0, &characters);
    let ids = |of: Text<'_>| {
        chunker
            .chunks(&of)
            .iter()
            .map(|chunk| chunk.id)
            .collect::<Vec<_>>()
    };
    let once = ids(plain(&text));
    assert_eq!(once.len(), 3);
    let others = [
        Text {
            key: "2",
            ..plain(&text)
        },
        Text {
            dataset: "emails",
            ..plain(&text)
        },
    ];
    let all: HashSet<Digest> = others.into_iter().flat_map(ids).chain(once.clone()).collect();
    assert_eq!(all.len(), 9);
    assert_eq!(ids(plain(&text)), once, "the same in every run");
}

#[test]
fn neighbours_overlap_and_begin_at_words() {
    let text = long_text(3);
    let chunks = Chunker::new(40, 10, &words).chunks(&plain(&text));
    let overlaps = chunks
        .windows(2)
        .filter(|pair| pair[1].start < pair[0].end)
        .count();
    assert!(overlaps > 0, "{chunks:?}");
    for chunk in &chunks {
        assert!(
            text[..chunk.start].is_empty() || text[..chunk.start].ends_with([' ', '\n']),
            "{chunk:?}"
        );
    }
}

#[test]
fn a_text_that_says_nothing_gives_one_chunk() {
    for text in ["", " \n\n\t "] {
        let chunks = Chunker::new(10, 2, &words).chunks(&mail(text));
        assert_eq!(chunks.len(), 1);
        assert_eq!((chunks[0].text, chunks[0].start, chunks[0].end), ("", 0, 0));
    }
}

/// The parts of a mail as `b`, `q` and `s`, one for each line.
fn letters(text: &str) -> String {
    let parts = mail::parts(text);
    let letters = parts.iter().flat_map(|(range, part)| {
        let letter = &part.name()[..1];
        std::iter::repeat_n(letter, text[range.clone()].lines().count())
    });
    letters.collect()
}

#[test]
fn quoted_text_and_its_introduction_are_set_apart() {
    for (text, parts) in [
        (
            "Yes.\n\nOn Mon, 2 May 2024 at 10:00, Jane <jane@x.org> wrote:\n> Shall we?\n>\n> Jane\n",
            "bbqqqq",
        ),
        (
            "On Mon, 2 May 2024 at 10:00,\nJane <jane@x.org>\nwrote:\n\n> Shall we?\nYes.",
            "qqqqqb",
        ),
        (
            "Am 02.05.24 um 10:00 schrieb Jane:\n> Wollen wir?\nJa.\n> Wann?\nHeute.",
            "qqbqb",
        ),
        (
            "Le 2 mai 2024 à 10:00, Jane a écrit :\n> On y va ?\n\nOui.",
            "qqbb",
        ),
        ("El 2/5/24, Jane escribió:\n> ¿Vamos?\nSí", "qqb"),
        ("Il 2/5/24, Jane ha scritto:\n> Andiamo?\nSì", "qqb"),
        ("Em 2/5/24, Jane escreveu:\n> Vamos?\nSim", "qqb"),
        ("Op 2 mei 2024 schreef Jane:\n> Gaan we?\nJa", "qqb"),
        ("Den 2 maj 2024 skrev Jane:\n> Ska vi?\nJa", "qqb"),
        ("W dniu 2.05.2024 Jane napisała:\n> Idziemy?\nTak", "qqb"),
        ("2 мая 2024 Яна написала:\n> Идём?\nДа", "qqb"),
        ("2024年5月2日 Jane <jane@x.org>:\n> 行く？\nはい", "qqb"),
        ("在 2024年5月2日，Jane写道：\n> 去吗\n好", "qqb"),
        ("On this I agree.\nJane wrote:\n> Good.\n", "bqq"),
        // Text that only looks a little like it.
        ("He wrote:\nthis and that 2024\n", "bb"),
        ("Look:\n> quoted without a word of whose\n", "bq"),
        (">From what I know, yes.\n", "b"),
        ("if a -> b then\n", "b"),
    ] {
        assert_eq!(letters(text), parts, "{text}");
    }
}

#[test]
fn an_earlier_mail_without_marks_is_quoted_to_the_end() {
    for (text, parts) in [
        (
            "Yes.\n\n-----Original Message-----\nFrom: Jane\nSubject: x\n\nShall we?\n",
            "bbqqqqq",
        ),
        (
            "Ja.\n-----Ursprüngliche Nachricht-----\nVon: Jane\n\nWollen wir?",
            "bqqqq",
        ),
        (
            "FYI\n---------- Forwarded message ---------\nFrom: Jane\nText",
            "bqqq",
        ),
        (
            "Yes.\n\nFrom: Jane\nSent: Monday, 2 May 2024 10:00\nTo: Joe\nSubject: RE: x\n\nShall we?",
            "bbqqqqqq",
        ),
        (
            "Ja\n*Von:* Jane\n*Gesendet:* Montag\n*An:* Joe\n*Betreff:* x\nWollen wir?",
            "bqqqqq",
        ),
        (
            "Oui\nDe : Jane\nEnvoyé : lundi\nÀ : Joe\nObjet : x\nOn y va ?",
            "bqqqqq",
        ),
        (
            "Yes.\nOn Mon, May 2, 2024 at 10:00 AM Jane <jane@x.org> wrote:\nShall we?\nJane",
            "bqqq",
        ),
        ("FYI\n\nBegin forwarded message:\n\nFrom: Jane\n\nText", "bbqqqqq"),
        (
            "Oui.\n\nDébut du message réexpédié :\n\nDe: Jane\nObjet: Bail\n",
            "bbqqqq",
        ),
        ("Oui.\nDébut du message transféré\u{a0}:\nDe: Jane\n", "bqq"),
        (
            "Yes.\n________________________________\nFrom: Jane\nSent: Monday\nTo: Joe\n\nShall we?",
            "bqqqqqq",
        ),
        ("On Monday I come.\n-----Original Message-----\nFrom: Jane", "bqq"),
        // Text that only looks a little like it.
        ("From: here\nwe go on\n", "bb"),
        (
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nText\n",
            "bbbb",
        ),
        ("----------\nA table\n----------\n", "bbb"),
    ] {
        assert_eq!(letters(text), parts, "{text}");
    }
}

#[test]
fn earlier_mails_are_known_in_many_languages() {
    for introduction in [
        "在 2024年5月2日，Jane <jane@x.org> 写道：",
        "Jane <jane@x.org> 於 2024年5月2日 週四 上午10:00寫道：",
        "2024年5月2日(木) 10:00 Jane <jane@x.org>:",
        "2024년 5월 2일 (목) 오전 10:00, Jane <jane@x.org>님이 작성:",
        "чт, 2 мая 2024 г. в 10:00, Jane <jane@x.org>:",
        "czw., 2 maj 2024 o 10:00 Jane <jane@x.org> napisał(a):",
        "tor. 2. mai 2024 kl. 10:00 skrev Jane <jane@x.org>:",
        "to 2. toukok. 2024 klo 10.00 Jane (jane@x.org) kirjoitti:",
        "-------- Original-Nachricht --------",
        "-----Eredeti üzenet-----",
        "-------- İletilen İleti --------",
        "-----Αρχικό μήνυμα-----",
        "-----원본 메시지-----",
        "-------- 轉寄郵件 --------",
    ] {
        let text = format!("Yes.\n\n{introduction}\nShall we?\n");
        assert_eq!(letters(&text), "bbqq", "{text}");
    }
    for headers in [
        "보낸 사람: Jane\n보낸 날짜: 2024년 5월 2일\n받는 사람: Joe\n제목: 임대",
        "Kimden: Jane\nGönderildi: 2 Mayıs 2024\nKime: Joe\nKonu: Kira",
        "Feladó: Jane\nElküldve: 2024. május 2.\nCímzett: Joe\nTárgy: Bérlet",
        "Από: Jane\nΣτάλθηκε: 2 Μαΐου 2024\nΠρος: Joe\nΘέμα: Μίσθωση",
        "寄件者: Jane\n寄件日期: 2024年5月2日\n收件者: Joe\n主旨: 租約",
    ] {
        let text = format!("Yes.\n\n{headers}\n\nShall we?\n");
        assert_eq!(letters(&text), "bbqqqqqq", "{text}");
    }
    // Text that only looks a little like it.
    for line in [
        "Open from 02.05.2024, 10:00:",
        "Changed 2024-05-02 10:00 by jane@x.org:",
        "For these ask Jane <jane@x.org>:",
    ] {
        let text = format!("Yes.\n\n{line}\nShall we?\n");
        assert_eq!(letters(&text), "bbbb", "{text}");
    }
}

#[test]
fn what_is_quoted_in_html_is_set_apart() {
    for (html, parts) in [
        // Gmail, with an answer below.
        (
            "<div dir=ltr>Yes.</div><br><div class=gmail_quote><div class=gmail_attr>On Mon, 2 May 2024 at 10:00, \
             Jane &lt;<a href='mailto:jane@x.org'>jane@x.org</a>&gt; wrote:<br></div><blockquote class=gmail_quote>\
             <div>Shall we?</div><br><blockquote>When?</blockquote></blockquote></div><div>At ten.</div>",
            "bbqqqqb",
        ),
        // Thunderbird.
        (
            "<div class=moz-cite-prefix>On 02.05.24 10:00, Jane wrote:<br></div>\
             <blockquote type=cite><p>Shall we?</p></blockquote><p>Yes.</p>",
            "qqqbb",
        ),
        // A phone.
        (
            "Yes.<br><br><div>Sent from my iPhone</div><div><br><blockquote type=cite>On May 2, 2024, at 10:00, \
             Jane wrote:<br><br></blockquote></div><blockquote type=cite><div>Shall we?</div></blockquote>",
            "bbsbqqq",
        ),
        (
            "<br><div>Sent from my iPhone</div><br><blockquote type=cite><div>Begin forwarded message:</div><br>\
             <div><b>From: </b>Jane</div><div>It ends in May.</div></blockquote>",
            "bsbbbbb",
        ),
    ] {
        let text = crate::html::text_of_mail(html);
        assert_eq!(letters(&text), parts, "{text}");
    }
}

#[test]
fn a_mail_without_words_of_its_own_says_what_it_forwards() {
    for (text, parts) in [
        ("Begin forwarded message:\n\nFrom: Jane\n\nText", "bbbbb"),
        (
            "\n\nSent from my iPhone\n\nBegin forwarded message:\n\n> From: Jane\n>\n> It ends in May.\n",
            "bbsbbbbbb",
        ),
        (
            "---------- Forwarded message ---------\nFrom: Jane\nSubject: Lease\n\nIt ends in May.\n-- \nJane\n",
            "bbbbbbb",
        ),
        (
            "-- \nJoe\n\n________________________________\nFrom: Jane\nSent: Monday\nTo: Joe\n\nIt ends in May.\n",
            "sssbbbbbb",
        ),
        // Nor is there anything that it forwards.
        ("Sent from my iPhone\n", "b"),
        ("\n-- \nJane\n", "bbb"),
    ] {
        assert_eq!(letters(text), parts, "{text}");
    }
}

#[test]
fn what_phones_put_below_a_mail_is_its_signature() {
    for (text, parts) in [
        ("Yes.\n\nSent from my iPhone\n", "bbs"),
        (
            "Yes.\n\nSent from my iPhone\n\n> On May 2, 2024, at 10:00, Jane wrote:\n>\n> Shall we?\n",
            "bbsbqqq",
        ),
        (
            "Ja.\n\nVon meinem iPhone gesendet\n\n> Am 02.05.2024 um 10:00 schrieb Jane:\n> Wollen wir?\n",
            "bbsbqq",
        ),
        ("Ja.\nVon meinem Samsung Galaxy Smartphone gesendet.\n", "bs"),
        ("Oui.\nEnvoyé de mon iPhone\n", "bs"),
        ("はい\niPhoneから送信\n", "bs"),
        (
            "Yes.\nSent from my Galaxy\n\n\n-------- Original message --------\nFrom: Jane\n",
            "bsbbqq",
        ),
        (
            "Yes.\n\nGet Outlook for iOS<https://aka.ms/o0ukef>\n________________________________\n\
             From: Jane\nSent: Monday\nTo: Joe\n\nShall we?\n",
            "bbsqqqqqq",
        ),
        (
            "Yes.\nSent from Mail<https://go.microsoft.com/fwlink/?LinkId=550986> for Windows\n",
            "bs",
        ),
        ("Yes.\nSent from my iPhone\n-- \nList\n", "bsss"),
        // What is not the last of it, and what is longer.
        ("Sent from my old address, it came back.\nCan you look?\n", "bb"),
        (
            "Sent from my old address it came back three times, and nobody at the office could tell me why.\n",
            "b",
        ),
    ] {
        assert_eq!(letters(text), parts, "{text}");
    }
}

#[test]
fn signatures_and_footers_are_set_apart() {
    for (text, parts) in [
        ("Text\n-- \nJane\nExample Ltd\n", "bsss"),
        ("Text\n--\nJane\n", "bss"),
        (
            "Yes.\n-- \nJane\n\nOn 2 May 2024, Joe wrote:\n> Shall we?\n",
            "bsssqq",
        ),
        (
            "Yes.\n-- \nJane\n-----Original Message-----\nFrom: Joe\n",
            "bssqq",
        ),
        (
            "Text\n_______________________________________________\nlist mailing list\nlist@x.org\n",
            "bsss",
        ),
        (
            "Text\n-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\nmore\n",
            "bssssb",
        ),
        ("-- two dashes\nof a list\n", "bb"),
    ] {
        assert_eq!(letters(text), parts, "{text}");
    }
    let far = format!("Text\n--\n{}", "more text\n".repeat(40));
    assert_eq!(
        letters(&far),
        "b".repeat(42),
        "a line between parts of a long text"
    );
}

#[test]
fn the_parts_of_a_mail_are_chunks_of_their_own() {
    let text = "Yes, let us.\n\nOn 2 May 2024, Joe wrote:\n> Shall we?\n-- \nJane";
    let chunks = Chunker::new(100, 10, &words).chunks(&mail(text));
    let found: Vec<_> = chunks.iter().map(|chunk| (chunk.part, chunk.text)).collect();
    assert_eq!(
        found,
        [
            (Part::Body, "Yes, let us."),
            (Part::Quoted, "On 2 May 2024, Joe wrote:\n> Shall we?"),
            (Part::Signature, "-- \nJane"),
        ]
    );
}
