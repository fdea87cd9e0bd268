//! A stream of IMAP responses with a limit on each and on their number, whatever the server announces.
//!
//! - In: bytes from a server. Out: the same, until a response is larger than any that was asked for, or they do
//!   not end, or come slower than over any link: an error.
//! - async-imap makes room for as many bytes as a literal announces, up to 512 MiB, before they come, and reads a
//!   line without end up to there too. It parses a response from its beginning whenever more of it has come, and
//!   goes into brackets without asking how deep. So all of that is looked at before it sees it.
//! - In `pace`: how slow is too slow.
//! - Not here: parsing. A text that ends in `{5}` and is no literal is counted as one; nothing else follows from it.

use super::pace::Pace;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a response may have beside a message. A `SEARCH` of 65,536 UIDs has 720 KiB.
const ROOM: u64 = 2 << 20;

/// Responses between two commands, four times what the largest asks for: what is held of them has an end.
const RESPONSES: u32 = 4 << 16;

/// Literals in a response; what we ask for has one, and one more for a name.
const LITERALS: u32 = 16;

/// Brackets within brackets; what we ask for has three.
const DEPTH: u32 = 64;

/// A transport whose responses are watched while they are read.
#[derive(Debug)]
pub(super) struct Limited<T> {
    inner: T,
    watch: Watch,
    pace: Pace,
}

impl<T> Limited<T> {
    /// Lets responses pass that hold a message of `max_message_bytes`, and a little more: who lies a little about
    /// a size is told so by the message. The socket itself ends a silence of `timeout`.
    pub fn new(inner: T, max_message_bytes: u32, timeout: Duration) -> Self {
        let watch = Watch {
            most: u64::from(max_message_bytes) + ROOM,
            responses: 0,
            response: 0,
            line: 0,
            literals: 0,
            depth: 0,
            literal: 0,
            announced: Announced::No,
            is_broken: false,
        };
        let pace = Pace::new(timeout);
        Self { inner, watch, pace }
    }

    /// The transport.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

/// Where in a response the stream is.
#[derive(Debug)]
struct Watch {
    most: u64,
    /// Since something was last sent.
    responses: u32,
    /// Bytes of this response so far, with a literal that is announced.
    response: u64,
    /// Those of them outside literals.
    line: u64,
    /// Literals in this response so far, and brackets that are open.
    literals: u32,
    depth: u32,
    /// Bytes of a literal that are still to come.
    literal: u64,
    announced: Announced,
    /// A limit was broken: nothing more is read.
    is_broken: bool,
}

/// How much of `{123}` at the end of a line was read (RFC 3501 §9, `literal`).
#[derive(Debug, Clone, Copy)]
enum Announced {
    No,
    Open(u64),
    Closed(u64),
}

impl Watch {
    /// Bytes of the response that is being read, as far as they came.
    fn of_response(&self) -> u64 {
        self.response.saturating_sub(self.literal)
    }

    /// Follows what was read. What comes before the byte that breaks a limit may still be used: its length.
    fn see(&mut self, read: &[u8]) -> Result<(), usize> {
        let mut bytes = read;
        loop {
            let skipped = self.literal.min(bytes.len() as u64);
            self.literal -= skipped;
            bytes = bytes.get(skipped as usize..).unwrap_or_default();
            let Some((&byte, rest)) = bytes.split_first() else {
                return Ok(());
            };
            bytes = rest;
            self.response += 1;
            self.line += 1;
            self.announced = match (byte, self.announced) {
                (b'{', _) => Announced::Open(0),
                (b'0'..=b'9', Announced::Open(number)) => {
                    let digit = u64::from(byte - b'0');
                    Announced::Open(number.saturating_mul(10).saturating_add(digit))
                }
                // LITERAL+ (RFC 7888) is not for servers; some say it all the same.
                (b'+', announced) => announced,
                (b'}', Announced::Open(number)) => Announced::Closed(number),
                (b'\r', announced @ Announced::Closed(_)) => announced,
                (b'\n', Announced::Closed(number)) => {
                    self.literal = number;
                    self.literals += 1;
                    self.response = self.response.saturating_add(number);
                    Announced::No
                }
                (b'\n', _) => {
                    (self.response, self.line, self.literals, self.depth) = (0, 0, 0, 0);
                    self.responses += 1;
                    Announced::No
                }
                (b'(', _) => {
                    self.depth += 1;
                    Announced::No
                }
                (b')', _) => {
                    self.depth = self.depth.saturating_sub(1);
                    Announced::No
                }
                _ => Announced::No,
            };
            let is_large = self.response > self.most || self.line > ROOM || self.literals > LITERALS;
            if is_large || self.depth > DEPTH || self.responses > RESPONSES {
                self.is_broken = true;
                return Err(read.len() - bytes.len() - 1);
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Limited<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.watch.is_broken {
            return Poll::Ready(Err(io::Error::other("more than was asked for")));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        let Self { watch, pace, .. } = &mut *self;
        pace.asked(Instant::now(), read.is_pending(), watch.of_response() > 0);
        let new = buffer.filled().get(before..).unwrap_or_default();
        let responses = watch.responses;
        let seen = watch.see(new);
        pace.got(new.len() as u64, watch.responses != responses);
        if !pace.is_kept(watch.of_response()) {
            let cause = "it sends, but slower than over any link";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, cause)));
        }
        match read {
            Poll::Ready(Ok(())) => {
                match seen {
                    // Nothing read would be the end of the stream.
                    Err(0) => Poll::Ready(Err(io::Error::other("more than was asked for"))),
                    Err(usable) => {
                        buffer.set_filled(before + usable);
                        Poll::Ready(Ok(()))
                    }
                    Ok(()) => Poll::Ready(Ok(())),
                }
            }
            other => other,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Limited<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watch.responses = 0;
        self.pace.sent();
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(max_message_bytes: u32, responses: &[u8], at_once: usize) -> bool {
        let mut watch = Limited::new((), max_message_bytes, Duration::MAX).watch;
        responses.chunks(at_once).all(|bytes| watch.see(bytes).is_ok())
    }

    #[test]
    fn a_literal_is_refused_by_its_announcement_however_it_is_cut() {
        let small = b"* 1 FETCH (BODY[] {4000}\r\n".as_slice();
        let large = b"* 1 FETCH (BODY[] {99999999}\r\n".as_slice();
        let endless = b"* 1 FETCH (BODY[] {99999999999999999999999999999}\r\n".as_slice();
        for at_once in 1..50 {
            assert!(passes(4_000, small, at_once));
            assert!(!passes(4_000, large, at_once));
            assert!(!passes(4_000, endless, at_once));
        }
    }

    #[test]
    fn what_is_in_a_literal_counts_for_nothing_but_its_length() {
        let text = b"{99999999}\r\n{99999999}\r\n";
        let head = format!("* 1 FETCH (BODY[] {{{}}}\r\n", text.len());
        let responses = [head.as_bytes(), text, b")\r\n* OK {99999999}no\r\n"]
            .concat()
            .repeat(3);
        for at_once in 1..50 {
            assert!(passes(4_000, &responses, at_once));
        }
    }

    #[test]
    fn many_responses_pass_and_a_line_without_end_does_not() {
        let lines = b"* 1 FETCH (UID 1 FLAGS ())\r\n".repeat(200_000);
        assert!(passes(0, &lines, 4_096));
        assert!(!passes(0, &b"* 5 EXISTS\r\n".repeat(300_000), 4_096));
        assert!(!passes(u32::MAX, &vec![b'x'; ROOM as usize + 1], 4_096));
        let literals = b"* 1 FETCH (BODY[] {4000}\r\n"
            .iter()
            .chain(&[b'x'; 4_000])
            .copied()
            .collect::<Vec<u8>>();
        let more = [&b" BODY[] {0}\r\n"[..]; 20].concat();
        assert!(passes(4_000, &[&literals[..], &more[..100]].concat(), 4_096));
        assert!(
            !passes(4_000, &[&literals[..], &more].concat(), 4_096),
            "literal after literal"
        );
        let large = [&literals[..], &b" BODY[] {2100000}\r\n"[..]].concat();
        assert!(!passes(4_000, &large, 4_096), "more in two literals than in one");
        assert!(!passes(
            4_000,
            &b"* 1 FETCH (BODYSTRUCTURE "
                .iter()
                .chain(&[b'('; 100])
                .copied()
                .collect::<Vec<_>>(),
            7
        ));
        assert!(passes(4_000, &b"* 1 FETCH (FLAGS ())\r\n".repeat(100), 7));
    }
}
