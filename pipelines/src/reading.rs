//! What a document says, asked for alone: nothing of it is kept.
//!
//! - In: the bytes of a file or of an attachment, how they are declared and named. Out: their text, as the lake would have
//!   it: of a mail its subject and its own text, not what is attached to it.
//! - One that would harm its reader is read in a process apart, as all such documents are.
//! - Not here: which formats there are (`transforms`); who may read what (`serve`).

use crate::rows::convert;
use bytes::Bytes;
use schemas::{Attributes, Digest, Original, Provenance, RawItem, RunId, SourceName, media_type};
use std::path::Path;
use store::lake::index::texts;
use transforms::{CONVERTERS, converter_of};

/// The columns that hold what mails and documents say.
const SAID: [&str; 3] = ["subject", "body_text", "text"];

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
    let Some((_, rows)) = converted.rows.first() else {
        return Err("its reader says nothing of it".to_owned());
    };
    let columns = SAID.iter().filter_map(|name| texts(rows, name));
    let said: Vec<&str> = columns
        .filter_map(|column| column.iter().next().flatten())
        .collect();
    Ok(Some(said.join("\n\n")))
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
        let page = b"<html><body><p>The harbour <b>freezes</b>.</p><script>x()</script></body></html>";
        for (declared, name) in [
            ("text/html", "page"),
            ("application/octet-stream", "PAGE.HTML"),
            ("application/octet-stream", "a/b.html"),
        ] {
            let text = said(declared, name, page).unwrap().unwrap();
            assert!(
                text.contains("The harbour freezes") && !text.contains("x()"),
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
            assert!(text.starts_with("Boats\n\nBuy one."), "{declared}: {text}");
            assert!(!text.contains("hush"), "{declared}: {text}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let reason = said("application/x-ipynb+json", "a.ipynb", b"no notebook").unwrap_err();
        assert!(reason.contains("not a notebook"), "{reason}");
    }
}
