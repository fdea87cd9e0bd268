//! A stream of mbox bytes → its messages, in constant memory.
//!
//! RFC 4155 leaves open how a `From ` at the start of a body line is told from a separator. Here a separator is
//! a line with `From `, anything, and a date; after a blank line also one without a date, when a header field
//! follows, or the first line of the file has none either. A `Content-Length` (mboxcl2) is believed when a
//! separator or the end of the file follows there: quoting would have changed the length, so such a message was
//! not quoted either.

use jiff::fmt::rfc2822::DateTimeParser;
use memchr::{memchr, memmem};
use schemas::Instant;
use std::io::{self, Read};

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// Longest separator line, and how far to look for its end.
const LINE: usize = 4 << 10;

/// Longest header that is searched for a `Content-Length`.
const HEADER: usize = 256 << 10;

/// One message as it lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Where its `From ` line begins.
    pub offset: u64,
    /// Date of the `From ` line.
    pub received_at: Option<Instant>,
    /// Its bytes, as quoted as they are in the file; `None` when there are more than the limit.
    pub bytes: Option<Vec<u8>>,
    /// Its end was found by `Content-Length`, so nothing in it is quoted.
    pub is_counted: bool,
}

/// Reads messages one after another.
pub(super) struct Splitter<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Begin of what is not handed out yet.
    at: usize,
    offset: u64,
    limit: usize,
    believes_length: bool,
    /// `From ` lines after a blank one need no date: [`start`](Self::start) tells by the first.
    pub is_loose: bool,
    /// Why the next read fails.
    failed: Option<io::Error>,
}

impl<R: Read> Splitter<R> {
    /// Reads from `reader`, whose first byte lies at `offset`. A message may have `limit` bytes.
    pub fn new(reader: R, offset: u64, limit: u64, believes_length: bool) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            reader,
            buffer: Vec::new(),
            at: 0,
            offset,
            limit,
            believes_length,
            is_loose: false,
            failed: None,
        }
    }

    /// Goes to the first message: `None` when there is nothing but blank lines, `false` when something else is
    /// there.
    pub fn start(&mut self) -> io::Result<Option<bool>> {
        self.skip_blank_lines()?;
        if self.rest().is_empty() {
            return Ok(None);
        }
        let end = self.line_end(0)?;
        let line = self.rest().get(..end).unwrap_or_default();
        let is_from = line.starts_with(b"From ");
        self.is_loose = is_from && from_line(line).is_none();
        Ok(Some(is_from))
    }

    /// Where the next message begins, or the end.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next message.
    pub fn next(&mut self) -> io::Result<Option<Message>> {
        self.skip_blank_lines()?;
        if self.rest().is_empty() {
            return Ok(None);
        }
        let offset = self.offset;
        let body = self.line_end(0)?;
        let received_at = from_line(self.rest().get(..body).unwrap_or_default()).flatten();
        if self.believes_length
            && let Some(end) = self.counted_end(body)?
        {
            let bytes = self.rest().get(body..end).map(<[u8]>::to_vec);
            self.advance(end);
            return Ok(Some(Message {
                offset,
                received_at,
                bytes,
                is_counted: true,
            }));
        }
        let bytes = self.scan(body)?;
        Ok(Some(Message {
            offset,
            received_at,
            bytes,
            is_counted: false,
        }))
    }

    /// Takes everything up to the next separator.
    fn scan(&mut self, body: usize) -> io::Result<Option<Vec<u8>>> {
        let separator = memmem::Finder::new(b"\nFrom ");
        let mut is_dropped = false;
        // The separator may follow the `From ` line at once: its line break counts.
        let mut from = body.saturating_sub(1);
        let end = loop {
            if let Some(found) = self.rest().get(from..).and_then(|rest| separator.find(rest)) {
                let line = from + found + 1;
                if self.is_separator(line)? {
                    break line;
                }
                from = line;
                continue;
            }
            let scanned = self.rest().len().saturating_sub(separator.needle().len() - 1);
            from = from.max(scanned);
            if is_dropped || self.rest().len().saturating_sub(body) > self.limit.saturating_add(2) {
                is_dropped = true;
                // One byte more than needed, to tell whether a blank line comes before.
                let dropped = from.saturating_sub(2);
                self.advance(dropped);
                from -= dropped;
            }
            if !self.fill()? {
                break self.rest().len();
            }
        };
        let bytes = self
            .rest()
            .get(body..end)
            .filter(|_| !is_dropped)
            .map(without_blank_line);
        let bytes = bytes
            .filter(|bytes| bytes.len() <= self.limit)
            .map(<[u8]>::to_vec);
        self.advance(end);
        Ok(bytes)
    }

    /// Where the message ends by its `Content-Length`, if that is true.
    fn counted_end(&mut self, body: usize) -> io::Result<Option<usize>> {
        let Some((header, text)) = self.header(body)? else {
            return Ok(None);
        };
        let length = self.rest().get(body..header).and_then(content_length);
        let Some(end) = length.and_then(|length| text.checked_add(length)) else {
            return Ok(None);
        };
        if end - body > self.limit {
            return Ok(None);
        }
        while self.rest().len() < end.saturating_add(LINE) && self.fill()? {}
        let Some(after) = self.rest().get(end..) else {
            return Ok(None);
        };
        let blank = after
            .iter()
            .take(4)
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        let starts_line =
            blank > 0 || end.checked_sub(1).and_then(|last| self.rest().get(last)) == Some(&b'\n');
        let is_end = after.len() == blank || (starts_line && self.is_separator(end + blank)?);
        Ok(is_end.then_some(end))
    }

    /// End of the header without its last line break, and begin of the text.
    fn header(&mut self, body: usize) -> io::Result<Option<(usize, usize)>> {
        let mut from = body.saturating_sub(1);
        loop {
            let rest = self.rest();
            match rest.get(from..).and_then(|rest| memchr(b'\n', rest)) {
                Some(found) => {
                    let next = from + found + 1;
                    let after = rest.get(next..).unwrap_or_default();
                    if after.starts_with(b"\n") {
                        return Ok(Some((next, next + 1)));
                    } else if after.starts_with(b"\r\n") {
                        return Ok(Some((next, next + 2)));
                    } else if after.starts_with(b"From ") {
                        return Ok(None);
                    } else if after.len() >= b"From ".len() {
                        from = next;
                    } else if !self.fill()? {
                        return Ok(None);
                    }
                }
                None if rest.len() - body > HEADER || !self.fill()? => return Ok(None),
                None => {}
            }
        }
    }

    fn is_separator(&mut self, line: usize) -> io::Result<bool> {
        let end = self.line_end(line)?;
        let rest = self.rest();
        let text = rest.get(line..end).unwrap_or_default();
        let before = rest.get(..line).unwrap_or_default();
        let follows_blank = before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n");
        if !text.starts_with(b"From ") {
            return Ok(false);
        }
        if from_line(text).is_some() || (self.is_loose && follows_blank) {
            return Ok(true);
        }
        if !follows_blank || !text.ends_with(b"\n") {
            return Ok(false);
        }
        let next = self.line_end(end)?;
        Ok(self.rest().get(end..next).is_some_and(is_field))
    }

    /// End of the line that begins at `from`, with its line break; a longer line is cut at [`LINE`] bytes.
    fn line_end(&mut self, from: usize) -> io::Result<usize> {
        loop {
            let line = self.rest().get(from..).unwrap_or_default();
            let line = line.get(..LINE).unwrap_or(line);
            match memchr(b'\n', line) {
                Some(end) => return Ok(from + end + 1),
                None if line.len() == LINE || !self.fill()? => return Ok(from + self.line_rest(from)),
                None => {}
            }
        }
    }

    fn line_rest(&self, from: usize) -> usize {
        self.rest().len().saturating_sub(from).min(LINE)
    }

    fn skip_blank_lines(&mut self) -> io::Result<()> {
        loop {
            let blank = self
                .rest()
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count();
            self.advance(blank);
            if !self.rest().is_empty() || !self.fill()? {
                return Ok(());
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, by: usize) {
        self.at += by;
        self.offset += by as u64;
    }

    /// Reads more; `false` at the end. Positions in [`rest`](Self::rest) stay as they are.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.at);
        self.at = 0;
        // One very long message should not hold its memory to the end.
        if self.buffer.capacity() > 4 * CHUNK && self.buffer.len() < CHUNK {
            self.buffer.shrink_to(2 * CHUNK);
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let before = self.buffer.len();
        let result = (&mut self.reader)
            .take(CHUNK as u64)
            .read_to_end(&mut self.buffer);
        let is_more = self.buffer.len() > before;
        match result {
            // What was read before the failure counts first.
            Err(error) if is_more => self.failed = Some(error),
            result => drop(result?),
        }
        Ok(is_more)
    }
}

/// Without the blank line that precedes a separator and is not part of the message.
fn without_blank_line(bytes: &[u8]) -> &[u8] {
    match bytes {
        [rest @ .., b'\n', b'\r', b'\n'] => bytes.get(..=rest.len()).unwrap_or(bytes),
        [rest @ .., b'\n', b'\n'] => bytes.get(..=rest.len()).unwrap_or(bytes),
        [b'\n'] | [b'\r', b'\n'] => &[],
        _ => bytes,
    }
}

/// Whether a line begins as a header field does. No blank after the colon may be a URL.
fn is_field(line: &[u8]) -> bool {
    let Some((name, [b':', value @ ..])) = memchr(b':', line).map(|colon| line.split_at(colon)) else {
        return false;
    };
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.iter().all(is_letter) && value.first().is_some_and(u8::is_ascii_whitespace)
}

fn content_length(header: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    header.split(|&byte| byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        let value = name.eq_ignore_ascii_case(NAME).then_some(value)?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    })
}

/// A `From ` line with a date: `None` when it has none; the inner `None` when the date is not a real one.
///
/// Both orders that occur are read, `Fri Jul  8 12:08:34 [zone] 2011 [zone]` (RFC 4155, asctime) and
/// `Fri, 8 Jul 2011 12:08:34 zone`. Without a zone it is UTC, as RFC 4155 asks.
fn from_line(line: &[u8]) -> Option<Option<Instant>> {
    let line = String::from_utf8_lossy(line.strip_prefix(b"From ")?);
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let dates = words
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair.first().is_some_and(|word| is_weekday(word)));
    let start = dates.map(|(at, _)| at).find_map(|at| date(words.get(at + 1..)?));
    let (day, month, year, time, zone) = start?;
    let parser = DateTimeParser::new();
    let at = |zone: &str| {
        parser
            .parse_timestamp(format!("{day} {month} {year} {time} {zone}"))
            .ok()
    };
    Some(
        at(zone)
            .or_else(|| at("+0000"))
            .map(|moment| moment.as_microsecond()),
    )
}

/// Day, month, year, time, zone of the words after a weekday.
fn date<'a>(words: &[&'a str]) -> Option<(&'a str, &'a str, &'a str, &'a str, &'a str)> {
    let is_number = |word: &str, digits: std::ops::RangeInclusive<usize>| {
        digits.contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_time =
        |word: &str| word.contains(':') && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    let is_zone =
        |word: &str| word.starts_with(['+', '-']) || word.bytes().all(|byte| byte.is_ascii_uppercase());
    let (day, month, year, time, zone) = match *words {
        [month, day, time, year, zone, ..] if is_number(year, 4..=4) && is_zone(zone) => {
            (day, month, year, time, zone)
        }
        [month, day, time, year, ..] if is_number(year, 4..=4) => (day, month, year, time, "+0000"),
        [month, day, time, zone, year, ..] if is_number(year, 4..=4) => (day, month, year, time, zone),
        [day, month, year, time, zone, ..] if is_number(year, 4..=4) => (day, month, year, time, zone),
        [day, month, year, time] if is_number(year, 4..=4) => (day, month, year, time, "+0000"),
        _ => return None,
    };
    (is_number(day, 1..=2) && is_month(month) && is_time(time)).then_some((day, month, year, time, zone))
}

fn is_weekday(word: &str) -> bool {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    DAYS.contains(&word.trim_end_matches(','))
}

fn is_month(word: &str) -> bool {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    MONTHS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(mbox: &[u8], limit: u64) -> Vec<Message> {
        let mut splitter = Splitter::new(mbox, 0, limit, true);
        assert_eq!(splitter.start().unwrap(), Some(true));
        std::iter::from_fn(|| splitter.next().unwrap()).collect()
    }

    fn texts(mbox: &str) -> Vec<String> {
        let text = |message: Message| String::from_utf8(message.bytes.unwrap()).unwrap();
        split(mbox.as_bytes(), 1 << 20).into_iter().map(text).collect()
    }

    fn moment(line: &str) -> Option<Option<String>> {
        let text = |at| jiff::Timestamp::from_microsecond(at).unwrap().to_string();
        from_line(line.as_bytes()).map(|at| at.map(text))
    }

    #[test]
    fn messages_end_before_the_blank_line_of_the_next_separator() {
        let mbox = "\nFrom a@b Sat Jan  3 01:05:34 1996\nSubject: 1\n\none\n\n\
                    From c d  Tue Jul 23 19:39:23 2002\nSubject: 2\n\ntwo\n";
        assert_eq!(texts(mbox), ["Subject: 1\n\none\n", "Subject: 2\n\ntwo\n"]);
        assert_eq!(
            texts(&mbox.replace('\n', "\r\n")),
            ["Subject: 1\r\n\r\none\r\n", "Subject: 2\r\n\r\ntwo\r\n"]
        );
    }

    #[test]
    fn a_body_line_that_only_begins_like_a_separator_is_text() {
        let mbox = "From a Sat Jan  3 01:05:34 1996\n\nDear all,\n\nFrom now on\nFrom Monday to Fri\n";
        assert_eq!(texts(mbox), ["\nDear all,\n\nFrom now on\nFrom Monday to Fri\n"]);
    }

    #[test]
    fn a_file_whose_separators_have_no_date_is_split_after_blank_lines() {
        assert_eq!(
            texts("From -\nA: 1\n\nx\nFrom y\n\nFrom -\nA: 2\n"),
            ["A: 1\n\nx\nFrom y\n", "A: 2\n"]
        );
    }

    #[test]
    fn a_separator_without_a_date_is_one_after_a_blank_line_and_before_a_field() {
        let from = "From a Sat Jan  3 01:05:34 1996\n";
        let mbox = format!(
            "{from}A: 1\n\nx\n\nFrom MAILER-DAEMON\nReturn-Path: <>\n\ny\n\n\
             From x 2024-01-05T10:00:00Z\nB: 2\n\nz\nFrom y\nC: 3\n\nFrom here\nhttp://a\n"
        );
        let expected = [
            "A: 1\n\nx\n",
            "Return-Path: <>\n\ny\n",
            "B: 2\n\nz\nFrom y\nC: 3\n\nFrom here\nhttp://a\n",
        ];
        assert_eq!(texts(&mbox), expected);
        let crlf = expected.map(|text| text.replace('\n', "\r\n"));
        assert_eq!(texts(&mbox.replace('\n', "\r\n")), crlf);
    }

    #[test]
    fn a_true_content_length_covers_separators_and_a_false_one_is_ignored() {
        let from = "From a Sat Jan  3 01:05:34 1996\n";
        let body = format!("hi\n\n{from}not a message\n");
        let mbox = |length: usize| format!("{from}content-length: {length}\n\n{body}\n{from}A: 2\n\nx\n");
        let whole = split(mbox(body.len()).as_bytes(), 1 << 20);
        assert_eq!(
            whole.iter().map(|message| message.is_counted).collect::<Vec<_>>(),
            [true, false]
        );
        assert!(whole[0].bytes.as_ref().unwrap().ends_with(body.as_bytes()));
        for wrong in [0, 1, body.len() - 3, body.len() + 3, 1 << 19, usize::MAX] {
            assert_eq!(split(mbox(wrong).as_bytes(), 1 << 20).len(), 3, "{wrong}");
        }
    }

    #[test]
    fn offsets_are_those_of_the_separators() {
        let mbox = "From a Sat Jan  3 01:05:34 1996\nA: 1\n\nx\n\nFrom b Sat Jan  3 01:05:35 1996\nB: 1\n\n";
        let messages = split(mbox.as_bytes(), 100);
        assert_eq!(messages[0].offset, 0);
        assert!(mbox[messages[1].offset as usize..].starts_with("From b"));
    }

    #[test]
    fn a_message_over_the_limit_is_passed_over_in_constant_memory() {
        let from = "From a Sat Jan  3 01:05:34 1996\n";
        let long = "x".repeat(4 * CHUNK) + "\n" + &"y\n".repeat(3 * CHUNK);
        let mbox = format!("{from}A: 1\n\n{long}\n{from}A: 2\n\nok\n");
        let mut splitter = Splitter::new(mbox.as_bytes(), 0, 1_000, true);
        splitter.start().unwrap();
        let first = splitter.next().unwrap().unwrap();
        assert_eq!(
            (first.bytes, splitter.offset()),
            (None, mbox.rfind("From a").unwrap() as u64)
        );
        assert!(splitter.buffer.capacity() <= 4 * CHUNK);
        assert_eq!(splitter.next().unwrap().unwrap().bytes.unwrap(), b"A: 2\n\nok\n");
        assert_eq!(splitter.next().unwrap(), None);
    }

    #[test]
    fn dates_of_separators_are_read_as_utc_unless_they_name_a_zone() {
        let is = |line: &str, at: &str| assert_eq!(moment(line), Some(Some(at.to_owned())), "{line}");
        is("From a@b Fri Jul  8 12:08:34 2011", "2011-07-08T12:08:34Z");
        is("From - Fri Jul 08 12:08:34 2011\r\n", "2011-07-08T12:08:34Z");
        is(
            "From 12@xxx Fri Jul 08 12:08:34 +0200 2011",
            "2011-07-08T10:08:34Z",
        );
        is(
            "From a at b.c  Fri Jul  8 12:08:34 2011 -0100",
            "2011-07-08T13:08:34Z",
        );
        is("From a Fri Jul  8 12:08:34 EST 2011", "2011-07-08T17:08:34Z");
        is("From a@b Fri, 8 Jul 2011 12:08:34 +0000", "2011-07-08T12:08:34Z");
        is(
            "From a Fri Jul  8 12:08:34 2011 remote from b",
            "2011-07-08T12:08:34Z",
        );
        assert_eq!(moment("From a Fri Jul 99 12:08:34 2011"), Some(None));
        assert_eq!(moment("From Fri to Mon, at 12:00"), None);
        assert_eq!(moment("From here"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_after_a_separator_end(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let mut mbox = b"From a Sat Jan  3 01:05:34 1996\n".to_vec();
            mbox.extend(&bytes);
            let mut splitter = Splitter::new(&*mbox, 0, 500, true);
            prop_assert_eq!(splitter.start().unwrap(), Some(true));
            while splitter.next().unwrap().is_some() {}
            prop_assert_eq!(splitter.offset(), mbox.len() as u64);
        }

        #[test]
        fn what_was_written_is_read(bodies in proptest::collection::vec("([a-zF>][a-z From:>]{0,30}\n){1,20}", 1..10)) {
            let mut mbox = String::new();
            for body in &bodies {
                mbox += &format!("From a Sat Jan  3 01:05:34 1996\nA: b\n\n{body}\n");
            }
            let read = texts(&mbox);
            prop_assert_eq!(read.len(), bodies.len());
            for (read, body) in read.iter().zip(&bodies) {
                prop_assert_eq!(read, &format!("A: b\n\n{body}"));
            }
        }
    }
}
