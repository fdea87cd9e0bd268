//! PDF, EPUB and workbooks → text. The libraries that read them may panic, recurse without end or ask for all memory
//! (F11), so this runs in a process of its own.

use super::of_html;
use super::office::{Archive, elements};
use super::outline::{Mark, Outline};
use calamine::{Data, Reader, Xlsx};
use mail_parser::decoders::hex::decode_hex;
use pdf_extract::{Document, Object};
use std::collections::{HashMap, HashSet};
use std::io::Cursor;

/// Reads a PDF: a section for each page.
pub(super) fn pdf(bytes: &[u8]) -> Result<Outline, String> {
    let damaged = |error: &dyn std::fmt::Display| format!("damaged PDF: {error}");
    let document = Document::load_mem(bytes).map_err(|error| damaged(&error))?;
    if document.is_encrypted() {
        return Err("it is encrypted; save it without a password".to_owned());
    }
    let pages = pdf_extract::extract_text_from_mem_by_pages(bytes).map_err(|error| damaged(&error))?;
    let mut outline = Outline {
        title: pdf_title(&document),
        ..Outline::default()
    };
    for (number, page) in (1..).zip(&pages) {
        let page = crate::text::printable(page).unwrap_or_default();
        if page.is_empty() {
            continue;
        }
        outline.push_paragraph("");
        outline.marks.push(Mark {
            at: outline.text.len(),
            level: None,
            heading: None,
            section_id: Some(format!("page-{number}")),
        });
        outline.push_paragraph(&page);
    }
    Ok(outline)
}

fn pdf_title(document: &Document) -> Option<String> {
    let info = document.trailer.get(b"Info").ok()?;
    let info = document.dereference(info).ok()?.1.as_dict().ok()?;
    let (_, title) = document.dereference(info.get(b"Title").ok()?).ok()?;
    match title {
        Object::String(..) => crate::text::printable(&pdf_extract::decode_text_string(title).ok()?),
        _ => None,
    }
}

/// Reads a book: its chapters in their order (EPUB 3.3 §5).
pub(super) fn epub(bytes: &[u8]) -> Result<Outline, String> {
    let mut archive = Archive::open(bytes)?;
    let container = archive.member("META-INF/container.xml")?;
    let mut package = None;
    elements(&container, &mut |name, attributes, _| {
        if name == "rootfile" {
            package = package.take().or_else(|| attributes.get("full-path").cloned());
        }
    })?;
    let package = package.ok_or("its container names no package")?;
    let folder = package.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut title = None;
    let mut places: HashMap<String, String> = HashMap::new();
    let mut order = Vec::new();
    elements(
        &archive.member(&package)?,
        &mut |name, attributes, text| match name {
            "title" if title.is_none() => title = crate::text::printable(text),
            "item" => {
                if let (Some(id), Some(href)) = (attributes.get("id"), attributes.get("href")) {
                    places.insert(id.clone(), member_at(folder, href));
                }
            }
            "itemref" => order.extend(attributes.get("idref").cloned()),
            _ => {}
        },
    )?;
    let mut book = Outline {
        title,
        ..Outline::default()
    };
    let encrypted = encrypted(&mut archive)?;
    let mut chapters: Vec<&String> = order.iter().filter_map(|id| places.get(id)).collect();
    if chapters.iter().any(|chapter| encrypted.contains(*chapter)) {
        return Err("it is encrypted; save it without copy protection".to_owned());
    }
    let is_empty = chapters.is_empty();
    // A book whose makers forgot a chapter is a book.
    chapters.retain(|chapter| archive.has(chapter));
    if chapters.is_empty() && !is_empty {
        return Err("damaged archive: it has none of the chapters that it names".to_owned());
    }
    for chapter in chapters {
        let chapter = of_html(&archive.member(chapter)?);
        book.push_paragraph("");
        let begin = book.text.len();
        book.push_paragraph(&chapter.text);
        let marks = chapter.marks.into_iter();
        book.marks.extend(marks.map(|mark| Mark {
            at: begin + mark.at,
            ..mark
        }));
    }
    Ok(book)
}

/// The members of a book that are encrypted (EPUB OCF 3.3 §4.2.6.3.2); fonts often are, and hide no text.
fn encrypted(archive: &mut Archive<'_>) -> Result<HashSet<String>, String> {
    const LIST: &str = "META-INF/encryption.xml";
    let mut encrypted = HashSet::new();
    if archive.has(LIST) {
        elements(&archive.member(LIST)?, &mut |name, attributes, _| {
            if name == "CipherReference" {
                encrypted.extend(attributes.get("URI").map(|place| member_at("", place)));
            }
        })?;
    }
    Ok(encrypted)
}

/// The member that a reference in a folder leads to (RFC 3986 §5.2): decoded, without steps up and without a fragment.
fn member_at(folder: &str, href: &str) -> String {
    let path = href.split('#').next().unwrap_or_default();
    let (is_whole, decoded) = decode_hex(path.as_bytes());
    let path = if is_whole {
        String::from_utf8_lossy(&decoded).into_owned()
    } else {
        path.to_owned()
    };
    let folder = if path.starts_with('/') { "" } else { folder };
    let mut steps = Vec::new();
    for step in folder.split('/').chain(path.split('/')) {
        match step {
            "" | "." => {}
            ".." => {
                steps.pop();
            }
            step => steps.push(step),
        }
    }
    steps.join("/")
}

/// Reads a workbook: a section for each sheet, a line for each row, cells separated by tabs.
pub(super) fn sheets(bytes: &[u8]) -> Result<Outline, String> {
    // It bounds what is unpacked, before the library unpacks it.
    Archive::open(bytes)?.check()?;
    let damaged = |error: calamine::XlsxError| format!("damaged workbook: {error}");
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(damaged)?;
    let mut outline = Outline::default();
    for name in workbook.sheet_names() {
        let range = workbook.worksheet_range(&name).map_err(damaged)?;
        outline.push_heading(1, &name);
        let rows: Vec<String> = range
            .rows()
            .map(|row| {
                let cells: Vec<String> = row.iter().map(cell).collect();
                cells.join("\t").trim_end().to_owned()
            })
            .collect();
        outline.push_paragraph(&rows.join("\n"));
    }
    // A workbook's sheets are no titles of it.
    outline.title = Some(String::new());
    Ok(outline)
}

fn cell(cell: &Data) -> String {
    let text = match cell {
        Data::DateTime(moment) if moment.is_datetime() => {
            let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
                .trim_end_matches(" 00:00:00")
                .to_owned()
        }
        other => other.to_string(),
    };
    text.replace(['\n', '\r', '\t'], " ")
}
