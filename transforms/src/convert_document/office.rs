//! DOCX (ECMA-376) and ODT (OpenDocument 1.3) → text with headings.
//!
//! - In: the bytes of the archive. Members are read up to a limit, whatever they claim (F11).
//! - Not here: tables as tables, footnotes' places, drawings.

use super::outline::Outline;
use crate::text::printable;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use std::collections::HashMap;
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// Bytes that one member of an archive may unpack to, and all together.
const MOST_UNPACKED: u64 = 128 << 20;

/// Deepest nesting of elements.
const DEEPEST: usize = 1_000;

/// An archive whose members are read within limits.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    left: u64,
}

impl<'a> Archive<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("damaged archive: {error}"))?;
        Ok(Self {
            zip,
            left: MOST_UNPACKED,
        })
    }

    /// Whether there is a member of that name.
    pub fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// The text of a member.
    pub fn member(&mut self, name: &str) -> Result<String, String> {
        let damaged = |error: &dyn std::fmt::Display| format!("damaged archive: `{name}`: {error}");
        let member = self.zip.by_name(name).map_err(|error| damaged(&error))?;
        let mut bytes = Vec::new();
        let read = member.take(self.left + 1).read_to_end(&mut bytes);
        let read = read.map_err(|error| damaged(&error))? as u64;
        self.left = self.left.checked_sub(read).ok_or_else(too_much)?;
        // Not twice in memory where it is what it should be.
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Whether all of it unpacks to what is allowed.
    pub fn check(&mut self) -> Result<(), String> {
        for index in 0..self.zip.len() {
            let damaged = |error: &dyn std::fmt::Display| format!("damaged archive: {error}");
            let member = self.zip.by_index(index).map_err(|error| damaged(&error))?;
            let mut within = member.take(self.left + 1);
            let read = std::io::copy(&mut within, &mut std::io::sink()).map_err(|error| damaged(&error))?;
            self.left = self.left.checked_sub(read).ok_or_else(too_much)?;
        }
        Ok(())
    }
}

fn too_much() -> String {
    format!("it unpacks to more than {} MiB", MOST_UNPACKED >> 20)
}

/// Attributes of an element, by their names without prefix.
pub(super) type Attributes = HashMap<String, String>;

/// Calls `each` at the end of every element, with its name without prefix, its attributes, and the text that stands
/// directly in it.
pub(super) fn elements(xml: &str, each: &mut dyn FnMut(&str, &Attributes, &str)) -> Result<(), String> {
    let mut open: Vec<(String, Attributes, String)> = Vec::new();
    walk(xml, &mut |event| match event {
        Walked::Start(name, attributes) => open.push((name.to_owned(), attributes, String::new())),
        Walked::Text(text) => {
            if let Some((.., said)) = open.last_mut() {
                said.push_str(text);
            }
        }
        Walked::End(_) => {
            if let Some((name, attributes, said)) = open.pop() {
                each(&name, &attributes, &said);
            }
        }
    })
}

/// A part of XML.
enum Walked<'a> {
    Start(&'a str, Attributes),
    Text(&'a str),
    End(&'a str),
}

fn walk(xml: &str, each: &mut dyn FnMut(Walked<'_>)) -> Result<(), String> {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().expand_empty_elements = true;
    let mut depth = 0_usize;
    loop {
        let event = reader
            .read_event()
            .map_err(|error| format!("damaged XML: {error}"))?;
        match &event {
            Event::Start(element) => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(format!("nested deeper than {DEEPEST} levels"));
                }
                each(Walked::Start(local(element.name().as_ref()), attributes(element)));
            }
            Event::Text(text) => each(Walked::Text(text)),
            Event::CData(text) => each(Walked::Text(text)),
            Event::GeneralRef(reference) => {
                let entity = format!("&{};", &**reference);
                each(Walked::Text(&unescape(&entity).unwrap_or_default()));
            }
            Event::End(element) => {
                depth = depth.saturating_sub(1);
                each(Walked::End(local(element.name().as_ref())));
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

fn attributes(element: &BytesStart<'_>) -> Attributes {
    let all = element.attributes().flatten();
    all.map(|attribute| {
        let name = local(attribute.key.as_ref()).to_owned();
        (name, unescape(&attribute.value).unwrap_or_default().into_owned())
    })
    .collect()
}

/// Reads a DOCX: headings are paragraphs whose style is called so, in English whatever the program speaks.
pub(super) fn docx(bytes: &[u8]) -> Result<Outline, String> {
    let mut archive = Archive::open(bytes)?;
    let mut levels: HashMap<String, i64> = HashMap::new();
    let mut style = None;
    // Without styles there are no headings.
    let styles = archive.member("word/styles.xml").unwrap_or_default();
    walk(&styles, &mut |event| match event {
        Walked::Start("style", attributes) => style = attributes.get("styleId").cloned(),
        Walked::Start("name", attributes) => {
            let name = attributes.get("val").map(|name| name.to_ascii_lowercase());
            let level = name.and_then(|name| name.strip_prefix("heading ")?.parse().ok());
            if let (Some(style), Some(level)) = (style.clone(), level) {
                levels.insert(style, level);
            }
        }
        _ => {}
    })?;
    let mut outline = Outline {
        title: own_title(&mut archive, "docProps/core.xml"),
        ..Outline::default()
    };
    // A text box has paragraphs of its own within the paragraph that it hangs on.
    let (mut open, mut ended) = (Vec::<Paragraph>::new(), Vec::<Paragraph>::new());
    let (mut in_text, mut is_said, mut skipped) = (false, false, 0_usize);
    walk(&archive.member("word/document.xml")?, &mut |event| match event {
        // What a program shows that does not know the choice before it: a text box once more. Of some signs it is the
        // only text.
        Walked::Start("Fallback", _) if is_said || skipped > 0 => skipped += 1,
        Walked::End("Fallback") if skipped > 0 => skipped -= 1,
        _ if skipped > 0 => {}
        Walked::Start("Choice", _) => is_said = false,
        Walked::Start("p", _) => open.push(Paragraph::default()),
        Walked::Start("pStyle", attributes) => {
            let style = attributes.get("val");
            if let Some(paragraph) = open.last_mut() {
                paragraph.level = style.and_then(|style| levels.get(style)).copied();
            }
        }
        Walked::Start("t", _) => in_text = true,
        Walked::End("t") => in_text = false,
        Walked::Start("tab", _) => say(&mut open, "\t"),
        Walked::Start("br" | "cr", _) => say(&mut open, "\n"),
        Walked::Text(text) if in_text => {
            is_said = true;
            say(&mut open, text);
        }
        Walked::End("p") => {
            ended.extend(open.pop());
            if open.is_empty() && !ended.is_empty() {
                // What is in its boxes comes after it.
                ended.rotate_right(1);
                for Paragraph { said, level } in ended.drain(..) {
                    end_paragraph(&mut outline, level, &said);
                }
            }
        }
        _ => {}
    })?;
    Ok(outline)
}

/// A paragraph as far as it is read.
#[derive(Default)]
struct Paragraph {
    said: String,
    level: Option<i64>,
}

/// Adds to the innermost paragraph.
fn say(open: &mut [Paragraph], text: &str) {
    if let Some(paragraph) = open.last_mut() {
        paragraph.said.push_str(text);
    }
}

/// Reads an ODT.
pub(super) fn odt(bytes: &[u8]) -> Result<Outline, String> {
    let mut archive = Archive::open(bytes)?;
    let mut outline = Outline {
        title: own_title(&mut archive, "meta.xml"),
        ..Outline::default()
    };
    let (mut said, mut level, mut in_paragraph) = (String::new(), None, 0_usize);
    let mut skipped = 0_usize;
    walk(&archive.member("content.xml")?, &mut |event| match event {
        // What was deleted, and what others said of the text, are not the text.
        Walked::Start("tracked-changes" | "annotation", _) => skipped += 1,
        Walked::End("tracked-changes" | "annotation") => skipped = skipped.saturating_sub(1),
        _ if skipped > 0 => {}
        Walked::Start("p" | "h", _) if in_paragraph > 0 => {
            // A paragraph within one is a note, or in a frame.
            said.push(' ');
            in_paragraph += 1;
        }
        Walked::Start("h", attributes) => {
            let of = attributes
                .get("outline-level")
                .and_then(|level| level.parse().ok());
            (level, in_paragraph) = (Some(of.unwrap_or(1)), 1);
        }
        Walked::Start("p", _) => in_paragraph = 1,
        Walked::Start("tab", _) if in_paragraph > 0 => said.push('\t'),
        Walked::Start("line-break", _) if in_paragraph > 0 => said.push('\n'),
        Walked::Start("s", attributes) if in_paragraph > 0 => {
            let count = attributes
                .get("c")
                .and_then(|count| count.parse().ok())
                .unwrap_or(1_usize);
            said.extend(std::iter::repeat_n(' ', count.min(100)));
        }
        Walked::Text(text) if in_paragraph > 0 => said.push_str(text),
        Walked::End("p" | "h") => {
            in_paragraph = in_paragraph.saturating_sub(1);
            if in_paragraph == 0 {
                end_paragraph(&mut outline, level.take(), &std::mem::take(&mut said));
            }
        }
        _ => {}
    })?;
    Ok(outline)
}

fn end_paragraph(outline: &mut Outline, level: Option<i64>, said: &str) {
    let Some(said) = printable(said) else { return };
    match level {
        Some(level) => outline.push_heading(level, &said.replace('\n', " ")),
        None => outline.push_paragraph(&said),
    }
}

/// The title among what an archive says of itself (Dublin Core).
fn own_title(archive: &mut Archive<'_>, member: &str) -> Option<String> {
    let mut title = None;
    let about = archive.member(member).ok()?;
    let _ = elements(&about, &mut |name, _, text| {
        if name == "title" && title.is_none() {
            title = printable(text);
        }
    });
    title
}
