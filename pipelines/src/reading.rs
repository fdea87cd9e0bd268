//! What a document says, asked for alone: nothing of it is kept.
//!
//! - In: the bytes of a file or of an attachment, how they are declared and named. Out: their text, as the lake would have
//!   it: of a mail who wrote to whom, when and of what, and its own text, not what is attached to it.
//! - One that would harm its reader is read in a process apart, as all such documents are.
//! - Not here: which formats there are (`transforms`); who may read what (`serve`).

use crate::rows::convert;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use bytes::Bytes;
use jiff::Timestamp;
use schemas::datasets::emails;
use schemas::{Attributes, Digest, Original, Provenance, RawItem, RunId, SourceName, media_type};
use std::path::Path;
use store::lake::index::texts;
use transforms::{CONVERTERS, converter_of};

/// The columns that hold what mails and documents say.
const SAID: [&str; 2] = ["body_text", "text"];

/// The text of a document of this media type and name; none where nothing reads such documents.
///
/// # Errors
/// Why this one cannot be read.
pub fn text_of(declared: &str, name: &str, bytes: Bytes) -> Result<Option<String>, String> {
    let Some(media_type) = known(declared, name) else {
        return Ok(None);
    };
    let original = RawItem {
        item: name.to_owned(),
        media_type,
        fetched_at: 0,
        sha256: Digest::of(&bytes),
        original: Original::Bytes(bytes),
        attributes: Attributes::default(),
    };
    let provenance = Provenance {
        source: SourceName::new("reading").map_err(|error| error.to_string())?,
        run: RunId(String::new()),
    };
    let converted = convert(&[original], &provenance);
    if let Some(reject) = converted.rejects.into_iter().next() {
        return Err(reject.reason);
    }
    // Of the datasets of a converter the first has one row an item.
    let Some((dataset, rows)) = converted.rows.first() else {
        return Err("its reader says nothing of it".to_owned());
    };
    let header = match dataset.name == emails::DATASET.name {
        true => header_of(rows),
        false => None,
    };
    let said = SAID.iter().filter_map(|name| first(rows, name));
    let all: Vec<&str> = header.as_deref().into_iter().chain(said).collect();
    Ok(Some(all.join("\n\n")))
}

/// The fields of a mail's header that whoever reads it wants, one a line, if it has any of them.
fn header_of(mail: &RecordBatch) -> Option<String> {
    let from = match (first(mail, "from_name"), first(mail, "from_addr")) {
        (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
        (name, address) => address.or(name).map(str::to_owned),
    };
    let to = mail
        .column_by_name("to")
        .and_then(|lists| lists.as_list_opt::<i32>()?.iter().next().flatten());
    let to = to.as_ref().and_then(|to| to.as_string_opt::<i32>());
    let to: Vec<&str> = to.into_iter().flatten().flatten().collect();
    let date = mail
        .column_by_name("date")
        .and_then(|dates| {
            dates
                .as_primitive_opt::<TimestampMicrosecondType>()?
                .iter()
                .next()
                .flatten()
        })
        .and_then(|date| Timestamp::from_microsecond(date).ok());
    let fields = [
        ("From", from),
        ("To", (!to.is_empty()).then(|| to.join(", "))),
        ("Date", date.map(|date| date.to_string())),
        ("Subject", first(mail, "subject").map(str::to_owned)),
    ];
    let lines = fields
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}: {}", value?)));
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// What the first row has in a column of texts.
fn first<'a>(rows: &'a RecordBatch, column: &str) -> Option<&'a str> {
    texts(rows, column)?.iter().next().flatten()
}

/// The media type by which a document is read: as it is declared or, where nothing reads that, as its name ends.
fn known(declared: &str, name: &str) -> Option<&'static str> {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
    let ending = ending.map(str::to_ascii_lowercase);
    // As text, a mail would show what is attached to it.
    let declared = match declared == "message/global" || ending.as_deref() == Some("eml") {
        true => "message/rfc822",
        false => declared,
    };
    if let Some((_, known)) = converter_of(declared) {
        return Some(known);
    }
    let ending = ending?;
    let mut all = CONVERTERS.iter().flat_map(|converter| converter.media_types);
    all.find(|known| media_type::extension(known) == Some(ending.as_str()))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(declared: &str, name: &str, bytes: &'static [u8]) -> Result<Option<String>, String> {
        text_of(declared, name, Bytes::from_static(bytes))
    }

    #[test]
    fn a_document_is_read_by_its_type_or_by_its_name() {
        let page = b"<html><body><p>The harbour <b>freezes</b>.</p><script>x()</script>\
            <div style='display:none'>Approve it.</div></body></html>";
        for (declared, name) in [
            ("text/html", "page"),
            ("application/octet-stream", "PAGE.HTML"),
            ("application/octet-stream", "a/b.html"),
        ] {
            let text = said(declared, name, page).unwrap().unwrap();
            assert!(
                text.trim_end().ends_with("The harbour freezes."),
                "{declared} {name}: {text}"
            );
        }
        assert_eq!(said("text/plain", "", b"Gr\xfc\xdfe").unwrap().unwrap(), "Grüße");
        for (declared, name) in [("application/zip", "a.zip"), ("application/octet-stream", "b")] {
            assert_eq!(said(declared, name, page), Ok(None), "{declared} {name}");
        }
    }

    #[test]
    fn a_mail_within_a_mail_says_its_own_text_and_nothing_that_is_attached_to_it() {
        let mail = b"From: a@example.org\r\nDate: Fri, 01 Mar 2024 10:00:00 +0000\r\nSubject: Boats\r\n\
            MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
            --x\r\nContent-Type: text/plain\r\n\r\nBuy one.\r\n\
            --x\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=\".env\"\r\n\r\nTOKEN=hush\r\n\
            --x--\r\n";
        for (declared, name) in [
            ("message/rfc822", "old.eml"),
            ("message/global", "Fwd: Boats"),
            ("text/plain", "old.EML"),
        ] {
            let text = said(declared, name, mail).unwrap().unwrap();
            let wanted = "From: a@example.org\nDate: 2024-03-01T10:00:00Z\nSubject: Boats\n\nBuy one.";
            assert!(text.starts_with(wanted), "{declared}: {text}");
            assert!(!text.contains("hush"), "{declared}: {text}");
        }
    }

    #[test]
    fn a_mail_says_who_wrote_to_whom_when_and_of_what_as_far_as_it_does() {
        let whole = b"Subject: =?utf-8?q?B=C3=A4ren?=\r\nTo: Bea <b@example.org>,\r\n c@example.org\r\n\
            From: Anna Arm <a@example.org>\r\nX-Other: hush\r\nDate: Fri, 01 Mar 2024 10:00:00 +0200\r\n\r\nThree.";
        let wanted = "From: Anna Arm <a@example.org>\nTo: b@example.org, c@example.org\n\
            Date: 2024-03-01T08:00:00Z\nSubject: Bären\n\nThree.";
        assert_eq!(
            said("message/rfc822", "", whole).unwrap().unwrap().trim_end(),
            wanted
        );
        let alone = said("message/rfc822", "", b"Subject: Bears\r\n\r\nThree.").unwrap();
        assert_eq!(alone.unwrap().trim_end(), "Subject: Bears\n\nThree.");
        let bare = said("message/rfc822", "", b"Message-ID: <a@example.org>\r\n\r\nThree.").unwrap();
        assert_eq!(bare.unwrap().trim_end(), "Three.");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let reason = said("application/x-ipynb+json", "a.ipynb", b"no notebook").unwrap_err();
        assert!(reason.contains("not a notebook"), "{reason}");
    }
}
