//! What is kept of what a program writes: the last of it.
//!
//! - In: bytes, of one output or of two. Out: a [`Text`].

use std::collections::VecDeque;

/// The last of what was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text {
    /// The text; what was no UTF-8 is replaced.
    pub(crate) text: String,
    /// Bytes before it that were not kept.
    pub(crate) dropped_bytes: u64,
    /// Lines that there were in all.
    pub(crate) lines: u64,
}

/// Which of its outputs a program writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Errors,
}

/// The last bytes of something.
#[derive(Debug)]
pub(crate) struct Kept {
    bytes: VecDeque<u8>,
    most: usize,
    dropped: u64,
    newlines: u64,
    ends_line: bool,
    /// Whose line is the last one.
    line_of: Option<Stream>,
}

impl Kept {
    /// Keeps so many bytes at most.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            most,
            dropped: 0,
            newlines: 0,
            ends_line: true,
            line_of: None,
        }
    }

    /// Adds what comes next of one of several outputs. A line that another has yet to end is ended, so that no line is of
    /// two.
    pub(super) fn push_of(&mut self, stream: Stream, bytes: &[u8]) {
        if !self.ends_line && self.line_of != Some(stream) {
            self.push(b"\n");
        }
        self.line_of = Some(stream);
        self.push(bytes);
    }

    /// Adds what comes next.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.newlines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        if let Some(last) = bytes.last() {
            self.ends_line = *last == b'\n';
        }
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(self.most);
        self.bytes.drain(..excess);
        self.dropped = self.dropped.saturating_add(excess as u64);
    }

    /// What is kept.
    pub(crate) fn text(mut self) -> Text {
        Text {
            text: String::from_utf8_lossy(self.bytes.make_contiguous()).into_owned(),
            dropped_bytes: self.dropped,
            lines: self.newlines + u64::from(!self.ends_line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_text_is_of_two_outputs() {
        let told = |parts: &[(Stream, &str)]| {
            let mut kept = Kept::new(1_000);
            for (stream, part) in parts {
                kept.push_of(*stream, part.as_bytes());
            }
            let text = kept.text();
            (text.text, text.lines)
        };
        let (out, errors) = (Stream::Output, Stream::Errors);
        let parts = [(out, "one\n"), (out, "three"), (errors, "two\n")];
        assert_eq!(told(&parts), ("one\nthree\ntwo\n".to_owned(), 3));
        // What is last is as it was written, and what comes in pieces stays one line.
        let parts = [(errors, "two\n"), (out, "thr"), (out, "ee")];
        assert_eq!(told(&parts), ("two\nthree".to_owned(), 2));
    }
}
