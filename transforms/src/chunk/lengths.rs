//! Lengths of texts, each word measured once.
//!
//! A splitter asks for the length of many slices of one text, and a tokenizer takes its time for each. So pieces of
//! words are measured, and remembered; a slice is as long as its pieces.

use hashbrown::HashMap;
use std::cell::RefCell;
use text_splitter::ChunkSizer;

/// Bytes of a piece at most: scripts without blanks would else be measured again and again.
const PIECE_BYTES: usize = 32;

/// Pieces that are remembered at most: some megabytes.
const KNOWN: usize = 65_536;

/// A length function that remembers.
pub(super) struct Lengths<F> {
    length: F,
    known: RefCell<HashMap<Box<str>, usize>>,
}

impl<F: Fn(&str) -> usize> Lengths<F> {
    pub fn new(length: F) -> Self {
        Self {
            length,
            known: RefCell::default(),
        }
    }

    fn of(&self, piece: &str) -> usize {
        let mut known = self.known.borrow_mut();
        if let Some(length) = known.get(piece) {
            return *length;
        }
        let length = (self.length)(piece);
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(piece.into(), length);
        length
    }
}

/// A text whose pieces are measured. A piece begins with the blank before a word, as many tokenizers have it.
pub(super) struct Counted<'a, F> {
    text: &'a str,
    lengths: &'a Lengths<F>,
    /// Where each piece begins, and the length of all before it; last, the end of the text and its length.
    pieces: Vec<(usize, usize)>,
}

impl<'a, F: Fn(&str) -> usize> Counted<'a, F> {
    pub fn new(text: &'a str, lengths: &'a Lengths<F>) -> Self {
        let mut pieces = Vec::with_capacity(text.len() / 4);
        let (mut start, mut sum) = (0, 0);
        while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
            let most = rest.floor_char_boundary(PIECE_BYTES);
            let blank = rest
                .bytes()
                .take(most)
                .skip(1)
                .position(|byte| byte.is_ascii_whitespace());
            let end = start + blank.map_or(most, |at| at + 1);
            pieces.push((start, sum));
            sum += text.get(start..end).map_or(0, |piece| lengths.of(piece));
            start = end;
        }
        pieces.push((text.len(), sum));
        Self {
            text,
            lengths,
            pieces,
        }
    }

    /// The length of a part of one piece.
    fn within(&self, start: usize, end: usize) -> usize {
        let piece = self.text.get(start..end).filter(|piece| !piece.is_empty());
        piece.map_or(0, |piece| self.lengths.of(piece))
    }
}

impl<F: Fn(&str) -> usize> ChunkSizer for Counted<'_, F> {
    fn size(&self, slice: &str) -> usize {
        // The splitter asks for slices of the text; where they lie in it is not told otherwise.
        let start = (slice.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let end = start.wrapping_add(slice.len());
        if end > self.text.len() {
            return (self.lengths.length)(slice);
        }
        let first = self.pieces.partition_point(|(at, _)| *at < start);
        let last = self.pieces.partition_point(|(at, _)| *at <= end);
        let (Some(&(first_at, before)), Some(&(last_at, through))) =
            (self.pieces.get(first), self.pieces.get(last.wrapping_sub(1)))
        else {
            return (self.lengths.length)(slice);
        };
        if last_at < first_at {
            return self.within(start, end);
        }
        self.within(start, first_at) + (through - before) + self.within(last_at, end)
    }
}
