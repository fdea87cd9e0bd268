//! The text of a mail → what its author wrote, what an earlier mail said, signatures.
//!
//! - RFC 3676: quoted lines begin with `>`, a signature with the line `-- `. Programs put a line before quoted text that
//!   says who wrote it, each in the language of its user; Outlook puts headers before it and no marks, and HTML loses
//!   them: from such lines on, all is quoted.
//! - Not here: MIME, HTML.

use super::Part;
use std::ops::Range;

/// Words of the line that introduces quoted text: `On 2 May 2024, Jane wrote:`.
const WROTE: &[&str] = &[
    "wrote",
    "writes",
    "schrieb",
    "écrit",
    "ecrit",
    "escribi",
    "scritto",
    "scrisse",
    "escreveu",
    "schreef",
    "skrev",
    "kirjoitti",
    "napisał",
    "napsal",
    "napísal",
    "писал",
    "пишет",
    "пише",
    "yazdı",
    "írta",
    "έγραψε",
    "a scris",
    "写道",
    "寫道",
    "書きました",
    "のメール",
    "작성",
    "đã viết",
];

/// What such a line begins with, as far as it can be told from other text by that.
const OPENERS: &[&str] = &[
    "On ", "At ", "Am ", "Le ", "El ", "Il ", "Em ", "Op ", "Den ", "Pe ", "W dniu ", "Dne ", "Dňa ", "В ",
    "在",
];

/// What programs write between dashes before an earlier mail.
const DIVIDERS: &[&str] = &[
    "original message",
    "forwarded message",
    "ursprüngliche nachricht",
    "originalnachricht",
    "weitergeleitete nachricht",
    "message d'origine",
    "message d’origine",
    "message original",
    "message transféré",
    "mensaje original",
    "mensaje reenviado",
    "messaggio originale",
    "messaggio inoltrato",
    "mensagem original",
    "mensagem encaminhada",
    "oorspronkelijk bericht",
    "doorgestuurd bericht",
    "ursprungligt meddelande",
    "originalmeddelande",
    "oprindelig meddelelse",
    "opprinnelig melding",
    "alkuperäinen viesti",
    "oryginalna wiadomość",
    "wiadomość oryginalna",
    "původní zpráva",
    "исходное сообщение",
    "пересылаемое сообщение",
    "原始邮件",
    "原始郵件",
    "元のメッセージ",
    "원본 메시지",
];

/// The same from a program that writes no dashes.
const FORWARDED: &[&str] = &[
    "Begin forwarded message:",
    "Anfang der weitergeleiteten Nachricht:",
    "Début du message réexpédié",
    "Inicio del mensaje reenviado:",
    "Inizio messaggio inoltrato:",
    "Início da mensagem encaminhada:",
    "Begin doorgestuurd bericht:",
];

/// Names of the headers that Outlook puts there: sender; then date, recipient, subject.
const FROM: &[&str] = &[
    "From",
    "Von",
    "De",
    "Da",
    "Van",
    "Från",
    "Fra",
    "Lähettäjä",
    "Od",
    "От",
    "发件人",
    "差出人",
];
const OTHERS: [&[&str]; 3] = [
    &[
        "Sent",
        "Date",
        "Gesendet",
        "Datum",
        "Envoyé",
        "Enviado",
        "Fecha",
        "Inviato",
        "Data",
        "Enviada",
        "Verzonden",
        "Skickat",
        "Sendt",
        "Lähetetty",
        "Wysłano",
        "Odesláno",
        "Отправлено",
        "Дата",
        "发送时间",
        "送信日時",
    ],
    &[
        "To",
        "An",
        "À",
        "Para",
        "A",
        "Aan",
        "Till",
        "Til",
        "Vastaanottaja",
        "Do",
        "Komu",
        "Кому",
        "收件人",
        "宛先",
    ],
    &[
        "Subject",
        "Betreff",
        "Objet",
        "Asunto",
        "Oggetto",
        "Assunto",
        "Onderwerp",
        "Ämne",
        "Emne",
        "Aihe",
        "Temat",
        "Předmět",
        "Тема",
        "主题",
        "件名",
    ],
];

/// Bytes of a line that are looked at: none of these lines is longer.
const SEEN: usize = 300;

/// Lines of a signature at most if it begins with a line of two dashes that lost its blank, or of a list's footer.
const SIGNATURE_LINES: usize = 15;

/// Underscores that a list's footer begins with at least; Outlook writes 32 before an earlier mail.
const FOOTER: usize = 40;

/// The parts of a mail's text, in its order, without a gap.
pub(super) fn parts(text: &str) -> Vec<(Range<usize>, Part)> {
    let mut lines = Lines::of(text);
    lines.classify();
    let mut parts: Vec<(Range<usize>, Part)> = Vec::new();
    for (line, part) in lines.ranges.iter().zip(&lines.parts) {
        match parts.last_mut() {
            Some((range, last)) if last == part => range.end = line.end,
            _ => parts.push((line.clone(), *part)),
        }
    }
    parts
}

struct Lines<'a> {
    text: &'a str,
    /// With their ends.
    ranges: Vec<Range<usize>>,
    parts: Vec<Part>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let mut start = 0;
        let ranges: Vec<Range<usize>> = memchr::memchr_iter(b'\n', text.as_bytes())
            .map(|at| at + 1)
            .chain([text.len()])
            .map(|end| std::mem::replace(&mut start, end)..end)
            .filter(|line| !line.is_empty())
            .collect();
        Self {
            text,
            parts: vec![Part::Body; ranges.len()],
            ranges,
        }
    }

    /// A line without its end; empty where there is none.
    fn line(&self, at: usize) -> &'a str {
        let line = self.ranges.get(at).and_then(|range| self.text.get(range.clone()));
        line.unwrap_or_default().trim_end_matches(['\n', '\r'])
    }

    fn set(&mut self, range: Range<usize>, part: Part) {
        if let Some(parts) = self.parts.get_mut(range) {
            parts.fill(part);
        }
    }

    fn classify(&mut self) {
        let end = self.ranges.len();
        let mut at = 0;
        while at < end {
            let line = self.line(at);
            if is_quoted(line) {
                let introduced = self.introduction_before(at);
                let after = self.quoted_until(at);
                self.set(introduced..after, Part::Quoted);
                at = after;
            } else if let Some(begin) = self.earlier_mail(at) {
                return self.set(begin..end, Part::Quoted);
            } else if let Some(after) = self.signature_until(at) {
                self.set(at..after, Part::Signature);
                at = after;
            } else {
                at += 1;
            }
        }
    }

    /// Where the quoted lines end that begin at a line; blank lines between them are theirs.
    fn quoted_until(&self, at: usize) -> usize {
        let mut after = at + 1;
        let mut next = after;
        while next < self.ranges.len() {
            let line = self.line(next);
            next += 1;
            if is_quoted(line) {
                after = next;
            } else if !line.trim().is_empty() {
                break;
            }
        }
        after
    }

    /// Where the line begins that introduces the quoted text at `at`; `at` itself if there is none.
    fn introduction_before(&self, at: usize) -> usize {
        let blank = |line: usize| self.line(line).trim().is_empty();
        let last = match at.checked_sub(1) {
            Some(last) if blank(last) => last.checked_sub(1),
            last => last,
        };
        match last {
            Some(last) if self.parts.get(last) == Some(&Part::Body) && introduces(self.line(last)) => {
                self.opener(last).unwrap_or(last)
            }
            _ => at,
        }
    }

    /// The line that opens an introduction which ends at `at`: programs break it in two or three.
    fn opener(&self, at: usize) -> Option<usize> {
        for line in (at.saturating_sub(2)..=at).rev() {
            let text = self.line(line);
            let ends = line < at && text.trim_end().ends_with(['.', ':', '!', '?']);
            if ends || text.trim().is_empty() || self.parts.get(line) != Some(&Part::Body) {
                return None;
            }
            if OPENERS.iter().any(|opener| text.starts_with(opener)) {
                return Some(line);
            }
        }
        None
    }

    /// Where an earlier mail without marks begins, if this line says that all from there on is one.
    fn earlier_mail(&self, at: usize) -> Option<usize> {
        let line = self.line(at);
        let seen = line.get(..line.floor_char_boundary(SEEN)).unwrap_or(line).trim();
        match seen.as_bytes() {
            [b'-', b'-', b'-', ..] => {
                let inner = seen.trim_matches('-').trim().to_lowercase();
                (seen.ends_with("---") && DIVIDERS.contains(&inner.as_str())).then_some(at)
            }
            [.., b':'] if FORWARDED.contains(&seen) => Some(at),
            [.., b':'] => self.dated_introduction(at).filter(|_| !self.is_before_quote(at)),
            _ => (header(seen, FROM) && self.headers_follow(at)).then_some(at),
        }
    }

    /// Where the lines begin that end at `at` and say who wrote, and when: enough to know what follows without marks.
    fn dated_introduction(&self, at: usize) -> Option<usize> {
        let begin = self.opener(at)?;
        let whole: Vec<&str> = (begin..=at).map(|line| self.line(line).trim()).collect();
        let whole = whole.join(" ");
        let digits = whole.bytes().filter(u8::is_ascii_digit).count();
        (digits >= 4 && whole.len() <= SEEN && says_wrote(&whole)).then_some(begin)
    }

    fn is_before_quote(&self, at: usize) -> bool {
        let next = (at + 1..=at + 2)
            .map(|line| self.line(line))
            .find(|line| !line.trim().is_empty());
        next.is_some_and(is_quoted)
    }

    /// Whether two of date, recipient and subject follow within a few lines, as after the sender.
    fn headers_follow(&self, at: usize) -> bool {
        let follows = |names: &[&str]| (at + 1..at + 7).any(|line| header(self.line(line), names));
        OTHERS.iter().filter(|names| follows(names)).count() >= 2
    }

    /// Where the signature ends that begins at a line, if one does: at quoted text, or with the mail.
    fn signature_until(&self, at: usize) -> Option<usize> {
        let line = self.line(at);
        if line.starts_with("-----BEGIN PGP SIGNATURE") {
            let end = (at..self.ranges.len()).find(|line| self.line(*line).starts_with("-----END PGP"));
            return Some(end.map_or(self.ranges.len(), |end| end + 1));
        }
        let is_sure = line == "-- ";
        let is_footer = line.len() >= FOOTER && line.bytes().all(|byte| byte == b'_');
        if !is_sure && !is_footer && line != "--" {
            return None;
        }
        let ends = |line: &usize| is_quoted(self.line(*line)) || self.earlier_mail(*line).is_some();
        let within = match is_sure {
            true => self.ranges.len(),
            false => self.ranges.len().min(at + 1 + SIGNATURE_LINES),
        };
        let end = (at + 1..within).find(ends);
        match end {
            Some(end) => Some(self.introduction_before(end).max(at + 1)),
            None => (within == self.ranges.len()).then_some(within),
        }
    }
}

/// `>` at the begin; `>From ` is what mboxes make of `From `.
fn is_quoted(line: &str) -> bool {
    let line = line.strip_prefix(' ').unwrap_or(line);
    line.starts_with('>') && !line.starts_with(">From ")
}

fn ends_with_colon(line: &str) -> bool {
    line.ends_with([':', '：'])
}

fn says_wrote(line: &str) -> bool {
    let line = line.to_lowercase();
    WROTE.iter().any(|word| line.contains(word))
}

/// Whether a line before quoted text says whose it is.
fn introduces(line: &str) -> bool {
    let line = line.trim();
    line.len() <= SEEN && ends_with_colon(line) && (line.contains('@') || says_wrote(line))
}

/// Whether a line is a header of one of these names; HTML mails leave stars of bold names.
fn header(line: &str, names: &[&str]) -> bool {
    let line = line.trim_start_matches([' ', '*']);
    let Some((name, _)) = line
        .get(..line.floor_char_boundary(40))
        .and_then(|line| line.split_once([':', '：']))
    else {
        return false;
    };
    names.contains(&name.trim_end_matches(['*', ' ', '\u{a0}']))
}
