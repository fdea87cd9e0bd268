//! The text of a row → chunks: pieces short enough for an embedding model, cut where the text itself has borders.
//!
//! - In: the text of one row, its shape, a length function. Out: chunks with their place in the text, and ids that
//!   depend on nothing but the row's key and what the chunk says.
//! - Sections, quoted mail, signatures and blocks of paragraphs are cut apart first, so that an edit changes the chunks
//!   near it and no others; `text-splitter` cuts what is left.
//! - Not here: a tokenizer, which brings the length function; embedding.

mod blocks;
mod lengths;
mod mail;
pub mod rows;

use lengths::{Counted, Lengths};
use schemas::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::ops::Range;
use text_splitter::{ChunkConfig, TextSplitter};

/// What a part of a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// What its author wrote.
    Body,
    /// What an earlier mail said, with the line that introduces it.
    Quoted,
    /// Signatures, and footers of mailing lists.
    Signature,
}

impl Part {
    /// Its name, as tables have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Quoted => "quoted",
            Self::Signature => "signature",
        }
    }
}

/// Where a section of a text begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// Byte of the text.
    pub at: usize,
    /// Its heading.
    pub heading: Option<&'a str>,
}

/// What the borders within a text are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape<'a> {
    /// Paragraphs.
    Plain,
    /// Those of a mail: quoted text, signatures.
    Mail,
    /// Sections, in their order; what comes before the first is one too.
    Sections(&'a [Section<'a>]),
}

/// The text of one row.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// The row's dataset.
    pub dataset: &'a str,
    /// The row's key, as [`rows::keys`] writes it.
    pub key: &'a str,
    /// The text.
    pub text: &'a str,
    /// Its shape.
    pub shape: Shape<'a>,
}

/// A piece of a row's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Digest of dataset, row, part, heading and text, and of a count among equal ones of a row.
    pub id: Digest,
    /// Position among the chunks of the row, from 0.
    pub ordinal: usize,
    /// What it says, without white space around it: `text[start..end]` of the row's text.
    pub text: &'a str,
    /// Byte of the row's text where it begins.
    pub start: usize,
    /// Byte where it ends.
    pub end: usize,
    /// Heading of its section.
    pub heading: Option<&'a str>,
    /// What it is part of.
    pub part: Part,
}

/// Cuts texts. It remembers lengths of words, so keep one for each thread, for as long as there are texts.
pub struct Chunker<F> {
    limit: usize,
    overlap: usize,
    lengths: Lengths<F>,
}

impl<F: Fn(&str) -> usize> Chunker<F> {
    /// Makes chunks of at most `limit` in the unit of `length`, each of which repeats up to `overlap` of the one before
    /// if both are of one block of paragraphs.
    ///
    /// `length` counts tokens, say, without those that a model puts around a text. The length of a text must not be
    /// above its bytes, nor above the lengths of its pieces taken together; only a single character may be above
    /// `limit`, and is then a chunk of its own. It is asked for words, never for long texts.
    pub fn new(limit: usize, overlap: usize, length: F) -> Self {
        let limit = limit.max(1);
        Self {
            limit,
            overlap: overlap.min(limit - 1),
            lengths: Lengths::new(length),
        }
    }

    /// The chunks of a text, in its order. All of the text but white space is in one of them at least. A text that says
    /// nothing gives one chunk that says nothing, so that its row has a chunk for its title.
    pub fn chunks<'a>(&self, of: &Text<'a>) -> Vec<Chunk<'a>> {
        let mut chunks = Vec::new();
        let mut counts = HashMap::new();
        for span in spans(of) {
            let Some(spoken) = of.text.get(span.range.clone()) else {
                continue;
            };
            for block in blocks::blocks(spoken) {
                let Some(text) = spoken.get(block.clone()) else {
                    continue;
                };
                let start = span.range.start + block.start;
                for (at, text) in self.cut(text) {
                    chunks.push(chunk(of, &span, start + at, text, chunks.len(), &mut counts));
                }
            }
        }
        if chunks.is_empty() {
            let nothing = Span {
                range: 0..0,
                heading: None,
                part: Part::Body,
            };
            chunks.push(chunk(of, &nothing, 0, "", 0, &mut counts));
        }
        chunks
    }

    fn cut<'a>(&self, text: &'a str) -> Vec<(usize, &'a str)> {
        let trimmed = text.trim();
        if trimmed.len() <= self.limit {
            let at = text.len() - text.trim_start().len();
            return Vec::from_iter((!trimmed.is_empty()).then_some((at, trimmed)));
        }
        let counted = Counted::new(text, &self.lengths);
        let config = || ChunkConfig::new(self.limit).with_sizer(&counted);
        let config = config().with_overlap(self.overlap).unwrap_or_else(|_| config());
        TextSplitter::new(config).chunk_indices(text).collect()
    }
}

/// A part of a text that no chunk crosses.
struct Span<'a> {
    range: Range<usize>,
    heading: Option<&'a str>,
    part: Part,
}

fn spans<'a>(of: &Text<'a>) -> Vec<Span<'a>> {
    let whole = 0..of.text.len();
    let plain = |range, part| Span {
        range,
        heading: None,
        part,
    };
    match of.shape {
        Shape::Plain => vec![plain(whole, Part::Body)],
        Shape::Mail => {
            let parts = mail::parts(of.text).into_iter();
            parts.map(|(range, part)| plain(range, part)).collect()
        }
        Shape::Sections(sections) => {
            let mut spans = vec![plain(whole, Part::Body)];
            for section in sections {
                let at = of.text.floor_char_boundary(section.at);
                if let Some(last) = spans.last_mut() {
                    let at = at.max(last.range.start);
                    let rest = at..last.range.end;
                    last.range.end = at;
                    spans.push(Span {
                        range: rest,
                        heading: section.heading,
                        part: Part::Body,
                    });
                }
            }
            spans
        }
    }
}

fn chunk<'a>(
    of: &Text<'a>,
    span: &Span<'a>,
    start: usize,
    text: &'a str,
    ordinal: usize,
    counts: &mut HashMap<[u8; 32], u64>,
) -> Chunk<'a> {
    let mut digest = Sha256::new();
    for field in [
        of.dataset,
        of.key,
        span.part.name(),
        span.heading.unwrap_or_default(),
        text,
    ] {
        digest.update((field.len() as u64).to_le_bytes());
        digest.update(field);
    }
    let count = counts.entry(digest.clone().finalize().into()).or_default();
    digest.update(count.to_le_bytes());
    *count += 1;
    Chunk {
        id: Digest(digest.finalize().into()),
        ordinal,
        text,
        start,
        end: start + text.len(),
        heading: span.heading,
        part: span.part,
    }
}

#[cfg(test)]
mod tests;
