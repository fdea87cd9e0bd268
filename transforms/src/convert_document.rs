//! Documents → `documents`, `document_sections`, `document_links`.
//!
//! - In: text files ([`PLAIN`]); PDF and office files ([`PACKED`]), whose parsers may panic or eat memory (F11).
//! - Out: the text, cut at its headings, with the lines of each part; links of Markdown.
//! - Not here: which files, projects, paths: the collector says that in the attributes.

mod markdown;
mod office;
mod org;
mod outline;
mod packed;
mod structured;

use crate::convert::{Converted, Converter};
use crate::{html, text};
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use outline::{Mark, Outline};
use rayon::prelude::*;
use schemas::datasets::document_links::{self, DocumentLink};
use schemas::datasets::document_sections::{self, DocumentSection};
use schemas::datasets::documents::{self, Document};
use schemas::{Dataset, Original, Provenance, RawItem, Row, Rows};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const DATASETS: &[&Dataset] = &[
    &documents::DATASET,
    &document_sections::DATASET,
    &document_links::DATASET,
];

/// Text files.
pub const PLAIN: Converter = Converter {
    media_types: &[
        "text/markdown",
        "text/plain",
        "text/html",
        "text/org",
        "application/x-ipynb+json",
        "application/x-canvas+json",
    ],
    datasets: DATASETS,
    isolated: false,
    convert,
};

/// Files that are archives or programs for printers.
pub const PACKED: Converter = Converter {
    media_types: &[
        "application/pdf",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.oasis.opendocument.text",
        "application/epub+zip",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ],
    datasets: DATASETS,
    isolated: true,
    convert,
};

/// Documents a thread converts at once.
const CHUNK: usize = 32;

fn convert(items: &[RawItem], provenance: &Provenance) -> Converted {
    let parts: Vec<Converted> = items
        .par_chunks(CHUNK)
        .map(|items| convert_chunk(items, provenance))
        .collect();
    let mut all = Converted::default();
    for part in parts {
        all.add(part);
    }
    all
}

fn convert_chunk(items: &[RawItem], provenance: &Provenance) -> Converted {
    let mut converted = Converted::default();
    let mut tables = Tables {
        documents: Rows::of_lake(Document::DATASET, provenance.clone()),
        sections: Rows::of_lake(DocumentSection::DATASET, provenance.clone()),
        links: Rows::of_lake(DocumentLink::DATASET, provenance.clone()),
    };
    for item in items {
        // A parser that panics must not take the others along.
        let outline = catch_unwind(AssertUnwindSafe(|| read(item)))
            .unwrap_or_else(|_| Err("its parser gave up: it panicked".to_owned()));
        match outline {
            Ok(outline) => {
                if let Err(misfit) = tables.push(item, &outline) {
                    converted.rejects.push(item.reject(misfit.to_string()));
                }
            }
            Err(reason) => converted.rejects.push(item.reject(reason)),
        }
    }
    for (dataset, rows) in [
        (Document::DATASET, &mut tables.documents),
        (DocumentSection::DATASET, &mut tables.sections),
        (DocumentLink::DATASET, &mut tables.links),
    ] {
        match rows.finish() {
            Ok(batch) if batch.num_rows() > 0 => converted.rows.push((dataset, batch)),
            Ok(_) => {}
            // Cannot happen (see `Rows::finish`), and must not lose documents in silence if it does.
            Err(error) => {
                let reason = format!("its rows do not fit together: {error}");
                converted
                    .rejects
                    .extend(items.iter().map(|item| item.reject(reason.clone())));
            }
        }
    }
    converted
}

struct Tables {
    documents: Rows,
    sections: Rows,
    links: Rows,
}

impl Tables {
    fn push(&mut self, item: &RawItem, outline: &Outline) -> Result<(), schemas::Misfit> {
        let path = item.attributes.path.as_deref().unwrap_or_default();
        let stem = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
        let size = match &item.original {
            Original::Bytes(bytes) => bytes.len() as u64,
            Original::File { size, .. } => *size,
        };
        self.documents.push(&Document {
            item: &item.item,
            project: item.attributes.project.as_deref(),
            path,
            title: outline.title().unwrap_or(&stem),
            media_type: item.media_type,
            text: &outline.text,
            size_bytes: i64::try_from(size).unwrap_or(i64::MAX),
            words: outline.text.split_whitespace().count() as i64,
            modified_at: item.attributes.received_at,
        })?;
        for (ordinal, section) in (0..).zip(outline.sections()) {
            self.sections.push(&DocumentSection {
                item: &item.item,
                ordinal,
                ..section
            })?;
        }
        let lines = outline.line_starts();
        for (ordinal, link) in (0..).zip(&outline.links) {
            self.links.push(&DocumentLink {
                item: &item.item,
                ordinal,
                kind: link.kind,
                target: &link.target,
                text: Some(link.text.as_str()).filter(|text| !text.is_empty()),
                line: outline::line_of(&lines, link.at),
            })?;
        }
        Ok(())
    }
}

/// What a document says, or why it cannot be read.
fn read(item: &RawItem) -> Result<Outline, String> {
    let Original::Bytes(bytes) = &item.original else {
        return Err("no bytes: a document is kept in the lake, not by reference".to_owned());
    };
    if bytes.is_empty() {
        // Obsidian begins a canvas so, and an office document that is made by a file manager is no other.
        return Ok(Outline::default());
    }
    match item.media_type {
        "text/markdown" => Ok(markdown::read(decoded(bytes)?)),
        "text/html" => Ok(of_html(&decoded(bytes)?)),
        "text/org" => Ok(org::read(decoded(bytes)?)),
        "application/x-ipynb+json" => structured::notebook(&decoded(bytes)?),
        "application/x-canvas+json" => structured::canvas(&decoded(bytes)?),
        "application/pdf" => packed::pdf(bytes),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => office::docx(bytes),
        "application/vnd.oasis.opendocument.text" => office::odt(bytes),
        "application/epub+zip" => packed::epub(bytes),
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => packed::sheets(bytes),
        _ => Ok(Outline {
            text: decoded(bytes)?,
            ..Outline::default()
        }),
    }
}

fn of_html(page: &str) -> Outline {
    let page = html::read(page);
    let text = |range: &std::ops::Range<usize>| page.text.get(range.clone()).unwrap_or_default().trim();
    let headings = page.headings.iter().filter(|(_, range)| !text(range).is_empty());
    Outline {
        title: text::printable(&page.title),
        marks: headings
            .map(|(level, range)| Mark::heading(range.start, *level, text(range)))
            .collect(),
        text: page.text,
        ..Outline::default()
    }
}

/// The text of a file: UTF-8, or UTF-16 that says so, else what old Windows programs wrote.
fn decoded(bytes: &[u8]) -> Result<String, String> {
    let marked = Encoding::for_bom(bytes);
    if marked.is_none() && bytes.contains(&0) {
        return Err("not text: it has NUL bytes".to_owned());
    }
    let encoding = match marked {
        Some((encoding, _)) => encoding,
        None if std::str::from_utf8(bytes).is_ok() => UTF_8,
        None => WINDOWS_1252,
    };
    let (text, ..) = encoding.decode(bytes);
    Ok(text::without_controls(Cow::Borrowed(&text)).into_owned())
}

#[cfg(test)]
mod tests;
