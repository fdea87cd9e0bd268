//! Long texts → blocks of paragraphs, whose borders depend on the text around them alone.
//!
//! Chunks follow each other from the begin of a block, so an inserted word moves all borders after it; at the next block
//! it has no effect any more. The method is content-defined chunking: a border is where a digest of the text has some
//! bits zero.

use memchr::memmem;
use schemas::Digest;
use std::ops::Range;

/// Bytes of a block at least, as a text shorter than some chunks gains nothing.
const LEAST: usize = 2 * 1024;

/// Bytes at most: the splitter's time grows with the square of the lines that it is given.
const MOST: usize = 16 * 1024;

/// A paragraph begins a block if these bits of its digest are zero: one in eight does.
const MASK: u8 = 0b111;

/// Bytes of a paragraph that its digest is made of.
const SEEN: usize = 64;

/// The blocks of a text, in its order, without a gap.
pub(super) fn blocks(text: &str) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut start = 0;
    let mut paragraphs = memmem::find_iter(text.as_bytes(), b"\n\n")
        .map(|at| at + 2)
        .peekable();
    while text.len() - start > LEAST {
        while paragraphs.next_if(|at| *at < start + LEAST).is_some() {}
        let most = text.floor_char_boundary(start.saturating_add(MOST));
        let mut end = None;
        let mut latest = None;
        while let Some(at) = paragraphs.next_if(|at| *at <= most) {
            latest = Some(at);
            if is_border(text, at) {
                end = latest;
                break;
            }
        }
        let end = match end {
            Some(end) => end,
            None if most == text.len() => break,
            None => latest.unwrap_or_else(|| gap(text, start + LEAST, most)),
        };
        blocks.push(start..end);
        start = end;
    }
    blocks.push(start..text.len());
    blocks
}

fn is_border(text: &str, at: usize) -> bool {
    let seen = text.as_bytes().get(at..).unwrap_or_default();
    let seen = seen.get(..SEEN).unwrap_or(seen);
    Digest::of(seen).0.first().is_some_and(|byte| byte & MASK == 0)
}

/// The last end of a line in a range, else of a word, else its end.
fn gap(text: &str, start: usize, end: usize) -> usize {
    let range = text.as_bytes().get(start..end).unwrap_or_default();
    let last = |is: fn(&u8) -> bool| range.iter().rposition(is).map(|at| start + at + 1);
    last(|byte| *byte == b'\n')
        .or_else(|| last(u8::is_ascii_whitespace))
        .unwrap_or(end)
}
