//! Header fields of a message → texts, addresses, ids, dates.
//!
//! - In: the fields mail-parser found, with their raw bytes. Out: the values of `emails`.
//! - Not here: bodies; headers of parts (`parts`).
//!
//! The values are read by mail-parser's field parsers, after three repairs it does not make itself:
//! bytes that are not UTF-8 are taken for windows-1252, encoded words that continue each other are joined
//! (senders split characters over two), and folds are undone by removing the line break only.

use crate::text::printable;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::parsers::MessageStream;
use mail_parser::parsers::fields::date::MONTH;
use mail_parser::{DateTime, Header, HeaderName, HeaderValue};
use memchr::memmem;
use schemas::Instant;
use std::borrow::Cow;

/// The header fields of a message.
pub(super) struct Headers<'x> {
    /// The fields, in order.
    pub(super) fields: &'x [Header<'x>],
    /// The bytes their offsets point into.
    pub(super) bytes: &'x [u8],
}

/// A display name and an address; one of them is there.
pub(super) type Mailbox = (Option<String>, Option<String>);

impl<'x> Headers<'x> {
    /// Whether the message begins like one: with a field every mail may have, or at least a well-formed name.
    pub(super) fn look_real(&self) -> bool {
        let known = |field: &Header<'_>| !matches!(field.name, HeaderName::Other(_));
        // RFC 5322 §2.2: printable ASCII without a colon.
        let well_formed = |name: &str| name.len() > 1 && name.bytes().all(|b| b.is_ascii_graphic());
        self.fields.iter().any(known)
            || self
                .fields
                .first()
                .is_some_and(|field| well_formed(field.name()) && field.offset_field == 0)
    }

    /// The repaired bytes of each field of that name; each ends in a line break.
    fn values(&self, name: HeaderName<'static>) -> impl Iterator<Item = Cow<'x, [u8]>> {
        let bytes = self.bytes;
        self.fields
            .iter()
            .filter(move |field| field.name == name)
            .filter_map(move |field| {
                bytes
                    .get(field.offset_start as usize..bytes.len().min(field.offset_end as usize))
                    .map(repair)
            })
    }

    /// The first field of that name as text.
    pub(super) fn text(&self, name: HeaderName<'static>) -> Option<String> {
        let value = self.values(name).next()?;
        let value = unfold(&value);
        if memmem::find(&value, b"=?").is_some() {
            let mut line = value.into_owned();
            line.push(b'\n');
            let HeaderValue::Text(text) = MessageStream::new(&line).parse_unstructured() else {
                return None;
            };
            return printable(&text);
        }
        printable(&String::from_utf8_lossy(&value))
    }

    /// All mailboxes in all fields of that name, groups flattened.
    pub(super) fn mailboxes(&self, name: HeaderName<'static>) -> Vec<Mailbox> {
        let mut mailboxes = Vec::new();
        for value in self.values(name) {
            let HeaderValue::Address(found) = MessageStream::new(&value).parse_address() else {
                continue;
            };
            mailboxes.extend(found.iter().filter_map(|found| {
                let name = found.name.as_deref().and_then(printable);
                match (name, found.address.as_deref().and_then(printable)) {
                    (None, None) => None,
                    // `From: root` is a local address, and `"a"@b` has its first half in quotes.
                    (Some(name), None) if !name.contains(char::is_whitespace) => Some((None, Some(name))),
                    (Some(name), Some(address)) if address.starts_with('@') && !name.contains(' ') => {
                        Some((None, Some(name + &address)))
                    }
                    (name, address) => Some((name.map(single_spaced), address)),
                }
            }));
        }
        mailboxes
    }

    /// The addresses in all fields of that name.
    pub(super) fn addresses(&self, name: HeaderName<'static>) -> Vec<String> {
        self.mailboxes(name)
            .into_iter()
            .filter_map(|(_, address)| address)
            .collect()
    }

    /// The first id in angle brackets, or the whole value where there are none.
    pub(super) fn id(&self, name: HeaderName<'static>) -> Option<String> {
        let value = self.values(name).next()?;
        ids(&value)
            .into_iter()
            .next()
            .or_else(|| printable(&String::from_utf8_lossy(&unfold(&value))))
    }

    /// The message ids in all fields of that name, in order.
    ///
    /// Old programs write `Message from NAME <ADDRESS> of "DATE" <ID>` into In-Reply-To: with words outside
    /// the brackets only the last one is an id. Without brackets, words with an `@` are ids.
    pub(super) fn message_ids(&self, name: HeaderName<'static>) -> Vec<String> {
        let mut all = Vec::new();
        for value in self.values(name) {
            let mut ids = ids(&value);
            if ids.is_empty() {
                let text = String::from_utf8_lossy(&value);
                let words = text
                    .split_whitespace()
                    .filter(|word| word.contains('@') && text.len() < 1_000);
                ids.extend(words.filter_map(printable));
            } else if ids.len() > 1 && has_words_before_id(&value) {
                ids.drain(..ids.len() - 1);
            }
            all.append(&mut ids);
        }
        all
    }

    /// The moment and the offset in minutes of the first Date.
    pub(super) fn date(&self) -> Option<(Instant, i64)> {
        let value = self.values(HeaderName::Date).next()?;
        parse_date(&value).or_else(|| {
            let text = String::from_utf8_lossy(value.trim_ascii());
            let words: Vec<&str> = text.split_ascii_whitespace().take(7).collect();
            let in_order = match words.as_slice() {
                // `Sat Sep 21 08:18:08 2002`, as C's `asctime` has it.
                [_, month, day, time, year] if time.contains(':') && year.parse::<u16>().is_ok() => {
                    format!("{day} {month} {year} {time} +0000\n")
                }
                // `10:00 EST`: mail-parser needs seconds before a zone by name.
                [date @ .., zone] if zone.bytes().all(|b| b.is_ascii_alphabetic()) => {
                    format!("{}:00 {zone}\n", date.join(" "))
                }
                // RFC 5322 §3.3 demands a zone; without one, UTC.
                date => format!("{} +0000\n", date.join(" ")),
            };
            parse_date(in_order.as_bytes())
        })
    }
}

/// The words of a name, one blank between.
fn single_spaced(name: String) -> String {
    if name.bytes().any(|b| b.is_ascii_whitespace() && b != b' ') || name.contains("  ") {
        return name.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    }
    name
}

/// The ids in angle brackets.
fn ids(value: &[u8]) -> Vec<String> {
    if memchr::memchr(b'<', value).is_none() {
        return Vec::new();
    }
    let unfolded = |id: &Cow<'_, str>| match id.contains('\n') {
        true => printable(&id.replace(['\r', '\n'], "")),
        false => printable(id),
    };
    match MessageStream::new(value).parse_id() {
        HeaderValue::Text(id) => unfolded(&id).into_iter().collect(),
        HeaderValue::TextList(ids) => ids.iter().filter_map(unfolded).collect(),
        _ => Vec::new(),
    }
}

/// Whether there is a word before the first bracket.
fn has_words_before_id(value: &[u8]) -> bool {
    value
        .iter()
        .take_while(|byte| **byte != b'<')
        .any(|byte| byte.is_ascii_alphanumeric())
}

fn parse_date(value: &[u8]) -> Option<(Instant, i64)> {
    let HeaderValue::DateTime(date) = MessageStream::new(value).parse_date() else {
        return None;
    };
    // Years of three digits count from 1900 (RFC 5322 §4.3), a leap second is the second before it, and the
    // 31st of a shorter month is no day.
    let year = if date.year < 1_000 {
        date.year + 1_900
    } else {
        date.year
    };
    let date = DateTime {
        year,
        second: date.second.min(59),
        ..date
    };
    let local = date.to_timestamp_local();
    // mail-parser takes the hour for the month when the words stand in another order.
    let month = MONTH.get(usize::from(date.month).checked_sub(1)?)?.as_bytes();
    if !value.windows(3).any(|word| word.eq_ignore_ascii_case(month)) {
        return None;
    }
    if !date.is_valid() || DateTime::from_timestamp(local).day != date.day {
        return None;
    }
    let offset = i64::from(date.tz_hour) * 60 + i64::from(date.tz_minute);
    let offset = if date.tz_before_gmt { -offset } else { offset };
    Some(((local - offset * 60) * 1_000_000, offset))
}

/// The value in UTF-8, with encoded words joined and a line break at the end.
pub(super) fn repair(value: &[u8]) -> Cow<'_, [u8]> {
    let mut value = match (std::str::from_utf8(value), charset_decoder(b"windows-1252")) {
        (Err(_), Some(decode)) => Cow::Owned(decode(value).into_bytes()),
        _ => Cow::Borrowed(value),
    };
    if memmem::find(&value, b"=?").is_some() {
        value = Cow::Owned(join_words(&value));
    }
    if value.last() != Some(&b'\n') {
        value.to_mut().push(b'\n');
    }
    value
}

/// The value without its line breaks (RFC 5322 §2.2.3); blanks stay as they are.
fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    match memchr::memchr(b'\n', value) {
        None => Cow::Borrowed(value),
        Some(_) => Cow::Owned(
            value
                .iter()
                .copied()
                .filter(|byte| !matches!(byte, b'\r' | b'\n'))
                .collect(),
        ),
    }
}

/// Makes one encoded word (RFC 2047) of neighbours in the same charset and encoding. Words in ISO-2022, which
/// switches between character sets, stay apart: each begins and ends in ASCII.
fn join_words(value: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memmem::find(rest, b"=?") {
        let (before, from_word) = rest.split_at(at);
        let start = word_start(from_word);
        let begins = if start.is_empty() { &b"=?"[..] } else { start };
        joined.extend_from_slice(before);
        joined.extend_from_slice(begins);
        rest = from_word.get(begins.len()..).unwrap_or_default();
        let joins = !start.is_empty()
            && !start
                .get(2..10)
                .is_some_and(|c| c.eq_ignore_ascii_case(b"iso-2022"));
        // The payloads of the words that go on where this one ends.
        while let Some((payload, after)) = joins.then(|| split_word(rest)).flatten() {
            let next = after.trim_ascii_start();
            let next_start = word_start(next);
            if next.len() == after.len() || !start.eq_ignore_ascii_case(next_start) {
                break;
            }
            joined.extend_from_slice(payload);
            joined.extend_from_slice(padding(start, payload));
            rest = next.get(next_start.len()..).unwrap_or_default();
        }
        // Padding and end, `=?=`, look like the beginning of a word.
        if let Some((payload, after)) = (!start.is_empty()).then(|| split_word(rest)).flatten() {
            joined.extend_from_slice(payload);
            joined.extend_from_slice(padding(start, payload));
            joined.extend_from_slice(b"?=");
            rest = after;
        }
    }
    joined.extend_from_slice(rest);
    joined
}

/// What a payload in base64 lacks: without it the last letter is lost, or runs into the next word.
///
/// Where bits are left over, the sender cut anywhere; such words are whole only together.
fn padding(start: &[u8], payload: &[u8]) -> &'static [u8] {
    if !matches!(start, [.., b'B' | b'b', b'?']) {
        return b"";
    }
    match (payload.len() % 4, payload.last()) {
        (2, Some(b'A' | b'Q' | b'g' | b'w')) => b"==",
        (3, Some(last)) if b"AEIMQUYcgkosw048".contains(last) => b"=",
        _ => b"",
    }
}

/// The payload of a word, and what stands behind its `?=`.
fn split_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (payload, end) = text.split_at(memchr::memchr(b'?', text)?);
    end.strip_prefix(b"?=").map(|after| (payload, after))
}

/// `=?charset?encoding?` at the beginning of `text`, or nothing.
fn word_start(text: &[u8]) -> &[u8] {
    let charset = text.get(2..).unwrap_or_default();
    let Some(end) = charset
        .iter()
        .take(64)
        .position(|byte| *byte == b'?' || byte.is_ascii_whitespace())
    else {
        return b"";
    };
    match charset.get(end..end + 3) {
        Some([b'?', b'B' | b'b' | b'Q' | b'q', b'?']) => text.get(..end + 5).unwrap_or_default(),
        _ => b"",
    }
}
