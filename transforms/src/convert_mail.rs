//! `message/rfc822` → `emails`, `email_attachments`.
//!
//! - In: mails as bytes (RFC 5322, MIME), with the folders and flags their source gave them. Out: one row a
//!   mail, one row an attachment; a reason for each mail that cannot be read.
//! - What mail-parser reads, with repairs where it gives up: see `headers` and `parts`.
//! - Threads are provisional: what the message itself says; `thread_emails` joins them.
//! - Not here: what is inside an attachment; nothing is unpacked, shown or fetched.

mod headers;
mod limits;
mod parts;
mod segments;

use crate::convert::{Converted, Converter};
use crate::thread_emails::thread_of;
use headers::Headers;
use mail_parser::{HeaderName, MessageParser};
use parts::Parts;
use rayon::prelude::*;
use schemas::datasets::email_attachments::{self, EmailAttachment};
use schemas::datasets::emails::{self, Email};
use schemas::{Instant, Original, Provenance, RawItem, Row, Rows};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

/// Mails.
pub const CONVERTER: Converter = Converter {
    media_types: &["message/rfc822"],
    isolated: false,
    datasets: &[&emails::DATASET, &email_attachments::DATASET],
    convert,
};

/// Mails a core converts at a time: the row batches are of this size, whatever the number of cores.
const CHUNK: usize = 64;

/// Only what the tree of parts needs is parsed by it; other fields are left as bytes for [`headers`].
static PARSER: LazyLock<MessageParser> = LazyLock::new(|| {
    MessageParser::new()
        .header_content_type(HeaderName::ContentType)
        .header_content_type(HeaderName::ContentDisposition)
        .header_text(HeaderName::ContentTransferEncoding)
        .header_id(HeaderName::ContentId)
        .default_header_ignore()
});

fn convert(items: &[RawItem], provenance: &Provenance) -> Converted {
    let chunks: Vec<Converted> = items
        .par_chunks(CHUNK)
        .map(|chunk| convert_chunk(chunk, provenance))
        .collect();
    let mut all = Converted::default();
    for chunk in chunks {
        all.add(chunk);
    }
    all
}

fn convert_chunk(items: &[RawItem], provenance: &Provenance) -> Converted {
    let mut emails = Rows::of_lake(Email::DATASET, provenance.clone());
    let mut attachments = Rows::of_lake(EmailAttachment::DATASET, provenance.clone());
    let mut converted = Converted::default();
    for item in items {
        if let Err(reason) = convert_item(item, &mut emails, &mut attachments) {
            converted.rejects.push(item.reject(reason));
        }
    }
    for (dataset, rows) in [
        (Email::DATASET, &mut emails),
        (EmailAttachment::DATASET, &mut attachments),
    ] {
        match rows.finish() {
            Ok(batch) if batch.num_rows() > 0 => converted.rows.push((dataset, batch)),
            Ok(_) => {}
            // Cannot happen (see `Rows::finish`), and must not lose mails in silence if it does.
            Err(error) => {
                let reason = format!("its rows do not fit together: {error}");
                let rejects = items.iter().map(|item| item.reject(reason.clone()));
                converted.rejects.extend(rejects);
            }
        }
    }
    converted
}

/// Appends the rows of a mail, or says why there are none.
fn convert_item(item: &RawItem, emails: &mut Rows, attachments: &mut Rows) -> Result<(), String> {
    let Original::Bytes(raw) = &item.original else {
        return Err("no bytes: a mail is kept in the lake, not by reference".to_owned());
    };
    let (email, attached) = unless_it_panics(|| read(item, raw))?;
    emails.push(&email).map_err(|misfit| misfit.to_string())?;
    attached
        .iter()
        .try_for_each(|row| attachments.push(row))
        .map_err(|misfit| misfit.to_string())
}

/// The parser says it never panics; a mailbox must not depend on it.
fn unless_it_panics<T>(parse: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(parse))
        .unwrap_or_else(|_| Err("the parser gave up: it panicked".to_owned()))
}

/// Calls `each` with the rows of `email_attachments` that a mail gives, and the decoded bytes of each.
///
/// # Errors
/// Why it is no mail that can be read; then `each` is not called.
pub fn cut_attachments(
    item: &str,
    raw: &[u8],
    each: &mut dyn FnMut(EmailAttachment, &[u8]),
) -> Result<(), String> {
    unless_it_panics(|| {
        let bytes = limits::tame(raw)?;
        let message = PARSER
            .parse(&bytes)
            .ok_or_else(|| "not a mail: no header field".to_owned())?;
        let masked = matches!(bytes, Cow::Owned(_));
        Parts {
            message: &message,
            raw,
            masked,
        }
        .each_attachment(item, each);
        Ok(())
    })
}

/// When a mail says it was sent, and its subject, where they can be read.
pub fn date_and_subject(raw: &[u8]) -> (Option<Instant>, Option<String>) {
    let read = unless_it_panics(|| {
        let bytes = limits::tame(raw)?;
        Ok(PARSER.parse_headers(&*bytes).map(|message| {
            let headers = Headers {
                fields: message.headers(),
                bytes: raw,
            };
            let date = headers.date().map(|(instant, _)| instant);
            (date, headers.text(HeaderName::Subject))
        }))
    });
    read.ok().flatten().unwrap_or_default()
}

fn read(item: &RawItem, raw: &[u8]) -> Result<(Email, Vec<EmailAttachment>), String> {
    let bytes = limits::tame(raw)?;
    let not_a_mail = || "not a mail: no header field".to_owned();
    let message = PARSER.parse(&bytes).ok_or_else(not_a_mail)?;
    let headers = Headers {
        fields: message.headers(),
        bytes: raw,
    };
    if !headers.look_real() {
        return Err(not_a_mail());
    }
    let masked = matches!(bytes, Cow::Owned(_));
    let (body_text, attachments) = Parts {
        message: &message,
        raw,
        masked,
    }
    .text_and_attachments(&item.item);
    let message_id = headers.id(HeaderName::MessageId);
    let references = headers.message_ids(HeaderName::References);
    let in_reply_to = headers.message_ids(HeaderName::InReplyTo);
    let date = headers.date();
    let (from_name, from_addr) = headers
        .mailboxes(HeaderName::From)
        .into_iter()
        .next()
        .unwrap_or_default();
    let email = Email {
        item: item.item.clone(),
        thread_id: thread_of(&item.item, message_id.as_deref(), &in_reply_to, &references),
        message_id,
        in_reply_to,
        references,
        date: date.map(|(instant, _)| instant),
        date_offset_min: date.map(|(_, offset)| offset),
        from_name,
        from_addr,
        to: headers.addresses(HeaderName::To),
        cc: headers.addresses(HeaderName::Cc),
        bcc: headers.addresses(HeaderName::Bcc),
        reply_to: headers.addresses(HeaderName::ReplyTo),
        subject: headers.text(HeaderName::Subject),
        body_text,
        folders: item.attributes.folders.clone(),
        flags: item.attributes.flags.clone(),
        received_at: item.attributes.received_at,
        list_id: headers.id(HeaderName::ListId),
        size_bytes: i64::try_from(raw.len()).unwrap_or(i64::MAX),
        attachment_count: i64::try_from(attachments.len()).unwrap_or(i64::MAX),
    };
    Ok((email, attachments))
}

#[cfg(test)]
mod tests;
