//! The text of a mail → what its author wrote, what an earlier mail said, signatures.
//!
//! - RFC 3676: quoted lines begin with `>`, a signature with the line `-- `. Programs put a line before quoted text that
//!   says who wrote it, each in the language of its user; Outlook puts headers before it and no marks: from such lines
//!   on, all is quoted.
//! - A mail without a word of its own says what it forwards.
//! - Not here: MIME, HTML; what programs write, in each language (`phrases`).

mod phrases;

use super::Part;
use phrases::{DIVIDERS, FORWARDED, FROM, OPENERS, OTHERS, SENT_FROM, WROTE};
use std::ops::Range;

/// Digits at least of a year, and of a moment with day, year and time.
const YEAR: usize = 4;
const MOMENT: usize = 8;

/// Bytes of a line that are looked at: none of these lines is longer.
const SEEN: usize = 300;

/// Lines of a signature at most if it begins with a line of two dashes that lost its blank, or of a list's footer.
const SIGNATURE_LINES: usize = 15;

/// Bytes of a line at most that a phone puts below a mail, without a link.
const SENT_FROM_BYTES: usize = 80;

/// Underscores that a list's footer begins with at least; Outlook writes 32 before an earlier mail.
const FOOTER: usize = 40;

/// The parts of a mail's text, in its order, without a gap.
pub(super) fn parts(text: &str) -> Vec<(Range<usize>, Part)> {
    let mut lines = Lines::of(text);
    lines.classify();
    lines.sign();
    lines.fall_back();
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

    /// Sets apart what phones put below a mail: the last that its author wrote.
    fn sign(&mut self) {
        let mut is_last = true;
        for at in (0..self.ranges.len()).rev() {
            let line = self.line(at);
            if line.trim().is_empty() {
                continue;
            }
            let is_body = self.parts.get(at) == Some(&Part::Body);
            if is_body && is_last && is_sent_from(line) {
                self.set(at..at + 1, Part::Signature);
            } else {
                is_last = !is_body;
            }
        }
    }

    /// Takes for the body what a mail without one quotes, as those do that only forward; else its signature.
    fn fall_back(&mut self) {
        for part in [Part::Quoted, Part::Signature] {
            let says = |(at, of): (usize, &Part)| *of == Part::Body && !self.line(at).trim().is_empty();
            if self.parts.iter().enumerate().any(says) {
                return;
            }
            let others = self.parts.iter_mut().filter(|of| **of == part);
            others.for_each(|of| *of = Part::Body);
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
        if seen.starts_with("---") {
            let inner = seen.trim_matches('-').trim().to_lowercase();
            return (seen.ends_with("---") && DIVIDERS.contains(&inner.as_str())).then_some(at);
        }
        match before_colon(seen) {
            Some(said) if FORWARDED.contains(&said) => Some(at),
            Some(_) => self.dated_introduction(at).filter(|_| !self.is_before_quote(at)),
            None => (header(seen, FROM) && self.headers_follow(at)).then(|| self.rule_before(at)),
        }
    }

    /// The line of underscores that Outlook puts before the headers at `at`; `at` itself if there is none.
    fn rule_before(&self, at: usize) -> usize {
        let is_rule = |line: &usize| {
            let line = self.line(*line).trim();
            !line.is_empty() && line.bytes().all(|byte| byte == b'_')
        };
        at.checked_sub(1).filter(is_rule).unwrap_or(at)
    }

    /// Where the lines begin that end at `at` and say who wrote, and when: enough to know what follows without marks.
    fn dated_introduction(&self, at: usize) -> Option<usize> {
        let opener = self.opener(at);
        let begin = opener.unwrap_or(at);
        let whole: Vec<&str> = (begin..=at).map(|line| self.line(line).trim()).collect();
        let whole = whole.join(" ");
        let digits = whole.bytes().filter(u8::is_ascii_digit).count();
        if whole.len() > SEEN || digits < YEAR {
            return None;
        }
        let wrote = says_wrote(&whole);
        let least = if wrote && opener.is_some() { YEAR } else { MOMENT };
        (digits >= least && (wrote || ends_with_address(&whole))).then_some(begin)
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

/// What a line says before the colon that it ends with, of whatever width, after a blank in French.
fn before_colon(line: &str) -> Option<&str> {
    line.strip_suffix([':', '：']).map(str::trim_end)
}

/// Whether a line ends with an address in brackets and a colon, as introductions in some languages do.
fn ends_with_address(line: &str) -> bool {
    before_colon(line).is_some_and(|said| said.ends_with('>') && said.contains('@'))
}

fn says_wrote(line: &str) -> bool {
    let line = line.to_lowercase();
    WROTE.iter().any(|word| line.contains(word))
}

/// Whether a line before quoted text says whose it is.
fn introduces(line: &str) -> bool {
    let line = line.trim();
    line.len() <= SEEN && before_colon(line).is_some() && (line.contains('@') || says_wrote(line))
}

/// Whether a line is what phones put below a mail; a link to the program may follow.
fn is_sent_from(line: &str) -> bool {
    let (said, _) = line.split_once('<').unwrap_or((line, ""));
    let said = said.trim().trim_end_matches('.');
    let is_it = |(begin, end): &(&str, &str)| said.starts_with(*begin) && said.ends_with(*end);
    said.len() <= SENT_FROM_BYTES && SENT_FROM.iter().any(is_it)
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
