//! The parts of a message: which are its text, which are attachments, and what they hold.
//!
//! - In: a parsed message. Out: its text, its attachments.
//! - Not here: header fields of the message itself (`headers`), limits (`limits`).
//!
//! The rule, for each leaf of the tree of parts: a `text/plain` or `text/html` part is text, unless it has
//! a file name or says it is an attachment. Everything else is an attachment. The only part of a message
//! is text even with a file name, when it is text. An attached message is one attachment; what is attached
//! to it follows, its text does not.

use super::PARSER;
use super::headers::repair;
use super::limits::{tame, unmask};
use super::segments::join_segments;
use crate::html::text_of_mail;
use crate::text::{printable, without_controls};
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;
use mail_parser::{ContentType, Encoding, Header, HeaderName, HeaderValue, Message, MessagePart, PartType};
use memchr::memmem;
use schemas::datasets::email_attachments::EmailAttachment;
use std::borrow::Cow;

/// How deep attachments of attached messages are followed; deeper ones stay inside their message.
const DEPTH: usize = 8;

/// A parsed message and its bytes as they came: `message` may have been parsed from masked ones.
pub(super) struct Parts<'x> {
    pub(super) message: &'x Message<'x>,
    pub(super) raw: &'x [u8],
    /// Whether they differ.
    pub(super) masked: bool,
}

/// A part that has no parts.
struct Leaf<'x> {
    part: &'x MessagePart<'x>,
    media_type: Cow<'x, str>,
    filename: Option<String>,
    disposition: Option<String>,
    /// The outermost `multipart/alternative` around it, by number of the part.
    alternative: Option<u32>,
    is_text: bool,
}

/// Who takes the attachments of a message.
struct Attachments<'a> {
    item: &'a str,
    /// Position of the next.
    next: i64,
    each: &'a mut dyn FnMut(EmailAttachment, &[u8]),
}

impl<'x> Parts<'x> {
    /// The leaves in the order in which they stand.
    fn leaves(&self) -> Vec<Leaf<'x>> {
        let mut leaves = Vec::new();
        let mut open = vec![(0_u32, None, false)];
        while let Some((id, alternative, in_digest)) = open.pop() {
            let Some(part) = self.message.part(id) else {
                continue;
            };
            let declared = content_type(part, HeaderName::ContentType);
            let PartType::Multipart(children) = &part.body else {
                leaves.push(self.leaf(part, declared, alternative, in_digest));
                continue;
            };
            let subtype = declared.and_then(ContentType::subtype).map(unmask);
            let alternative = alternative.or((subtype.as_deref() == Some("alternative")).then_some(id));
            let is_digest = subtype.as_deref() == Some("digest");
            // A part stands after the one it is in: this cannot go in circles.
            open.extend(
                children
                    .iter()
                    .rev()
                    .filter(|c| **c > id)
                    .map(|c| (*c, alternative, is_digest)),
            );
        }
        leaves
    }

    /// The text of the message: text parts, and HTML parts without markup where no text part says the same,
    /// with an empty line between.
    pub(super) fn text_and_attachments(&self, item: &str) -> (Option<String>, Vec<EmailAttachment>) {
        let leaves = self.leaves();
        let plain_in = |group: Option<u32>| {
            leaves.iter().any(|leaf| {
                leaf.is_text
                    && !leaf.is_html()
                    && leaf.alternative == group
                    && !self.text(leaf).trim().is_empty()
            })
        };
        let mut attachments = Vec::new();
        self.each_attachment(item, &mut |attachment, _| attachments.push(attachment));
        let mut body: Option<String> = None;
        for leaf in leaves.iter().filter(|leaf| leaf.is_text) {
            if leaf.is_html() && leaf.alternative.is_some() && plain_in(leaf.alternative) {
                continue;
            }
            let text = self.text(leaf);
            let text = if leaf.is_html() {
                Cow::Owned(text_of_mail(&text))
            } else {
                text
            };
            let text = without_controls(text);
            if text.trim().is_empty() {
                continue;
            }
            match &mut body {
                None => body = Some(text.into_owned()),
                Some(body) => {
                    body.truncate(body.trim_end().len());
                    body.push_str("\n\n");
                    body.push_str(text.trim_start_matches('\n'));
                }
            }
        }
        (body, attachments)
    }

    /// Calls `each` with the attachments and their bytes, in order.
    pub(super) fn each_attachment(&self, item: &str, each: &mut dyn FnMut(EmailAttachment, &[u8])) {
        let mut to = Attachments { item, next: 0, each };
        for leaf in self.leaves().iter().filter(|leaf| !leaf.is_text) {
            self.attach(leaf, DEPTH, &mut to);
        }
    }

    fn attach(&self, leaf: &Leaf<'x>, depth: usize, to: &mut Attachments<'_>) {
        let bytes = self.bytes(leaf.part);
        let attachment = EmailAttachment {
            item: to.item.to_owned(),
            ordinal: to.next,
            filename: leaf.filename.clone(),
            media_type: leaf.media_type.clone().into_owned(),
            disposition: leaf.disposition.clone(),
            content_id: self.content_id(leaf.part),
            size_bytes: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            sha256: EmailAttachment::digest(&bytes),
        };
        (to.each)(attachment, &bytes);
        to.next += 1;
        let is_message = matches!(leaf.media_type.as_ref(), "message/rfc822" | "message/global");
        if is_message
            && depth > 0
            && let Ok(tamed) = tame(&bytes)
            && let Some(message) = PARSER.parse(&tamed)
        {
            let masked = matches!(tamed, Cow::Owned(_));
            let parts = Parts {
                message: &message,
                raw: &bytes,
                masked,
            };
            for leaf in parts.leaves().iter().filter(|leaf| !leaf.is_text) {
                parts.attach(leaf, depth - 1, to);
            }
        }
    }

    fn leaf(
        &self,
        part: &'x MessagePart<'x>,
        declared: Option<&'x ContentType<'x>>,
        alternative: Option<u32>,
        in_digest: bool,
    ) -> Leaf<'x> {
        let media_type: Cow<'x, str> = match declared.map(|declared| (declared.ctype(), declared.subtype())) {
            None if in_digest => "message/rfc822".into(), // RFC 2046 §5.1.5
            Some(("text", Some("html"))) => "text/html".into(),
            // RFC 2045 §5.2; a multipart without parts is read as text too.
            None | Some((_, None) | ("text", Some("plain")) | ("multipart", _)) => "text/plain".into(),
            Some((kind, Some(subtype))) => format!("{kind}/{}", unmask(subtype)).into(),
        };
        let disposition = content_type(part, HeaderName::ContentDisposition);
        let filename = disposition
            .and_then(|declared| self.parameter(part, HeaderName::ContentDisposition, declared, "filename"))
            .or_else(|| declared.and_then(|d| self.parameter(part, HeaderName::ContentType, d, "name")));
        let disposition = disposition.map(|disposition| disposition.ctype().to_ascii_lowercase());
        let is_text = matches!(media_type.as_ref(), "text/plain" | "text/html")
            && disposition.as_deref() != Some("attachment")
            && (filename.is_none() || self.message.parts.len() == 1);
        Leaf {
            part,
            media_type,
            filename,
            disposition,
            alternative,
            is_text,
        }
    }

    /// A parameter of a Content- field, decoded: RFC 2231, and RFC 2047 where senders use it.
    fn parameter(
        &self,
        part: &MessagePart<'_>,
        name: HeaderName<'static>,
        declared: &ContentType<'_>,
        key: &str,
    ) -> Option<String> {
        let value = declared.attribute(key)?;
        let bytes = self.field(part.headers.iter().find(|header| header.name == name)?);
        let is_cut = memmem::find(bytes, b"*0").is_some();
        if !self.masked
            && !is_cut
            && memmem::find(bytes, b"=?").is_none()
            && !value.contains(char::REPLACEMENT_CHARACTER)
        {
            return printable(value);
        }
        let bytes = repair(bytes);
        if is_cut && let Some(joined) = join_segments(&bytes, key) {
            return printable(&joined);
        }
        let repaired = MessageStream::new(&bytes).parse_content_type();
        printable(repaired.as_content_type()?.attribute(key)?)
    }

    /// The first Content-ID.
    fn content_id(&self, part: &MessagePart<'_>) -> Option<String> {
        let first = |value: &HeaderValue<'_>| printable(value.as_text_list()?.first()?);
        let field = part.headers.iter().find(|h| h.name == HeaderName::ContentId)?;
        if !self.masked {
            return first(&field.value);
        }
        let bytes = repair(self.field(field));
        let value = MessageStream::new(&bytes).parse_id();
        first(&value)
    }

    /// The bytes of a field's value as they came.
    fn field(&self, field: &Header<'_>) -> &'x [u8] {
        let end = self.raw.len().min(field.offset_end as usize);
        self.raw.get(field.offset_start as usize..end).unwrap_or_default()
    }

    /// The bytes of a part without their transfer encoding.
    fn bytes(&self, part: &'x MessagePart<'x>) -> Cow<'x, [u8]> {
        let encoded = self
            .raw
            .get(part.offset_body as usize..part.offset_end as usize)
            .unwrap_or_default();
        match (&part.body, part.encoding) {
            (PartType::Binary(bytes) | PartType::InlineBinary(bytes), Encoding::QuotedPrintable) => {
                if !self.masked {
                    return Cow::Borrowed(bytes);
                }
                // The parser's way: damage in it is passed over.
                match MessageStream::new(encoded).decode_quoted_printable_mime(b"") {
                    (usize::MAX, _) => Cow::Borrowed(encoded),
                    (_, bytes) => bytes,
                }
            }
            // The parser drops a last group without padding. Masked, it is no base64, and not here.
            (PartType::Binary(bytes) | PartType::InlineBinary(bytes), Encoding::Base64)
                if is_padded(encoded) =>
            {
                Cow::Borrowed(bytes)
            }
            (_, Encoding::Base64) => base64_decode(encoded).map_or(encoded.into(), Cow::Owned),
            (_, Encoding::QuotedPrintable) => {
                quoted_printable_decode(encoded).map_or(encoded.into(), Cow::Owned)
            }
            // The parser gave up on damaged base64: what can be read of it.
            (_, Encoding::None) if part.is_encoding_problem && is_base64(part) => {
                let letters = encoded
                    .iter()
                    .copied()
                    .filter(|b| b.is_ascii_alphanumeric() || b"+/=".contains(b));
                base64_decode(&letters.collect::<Vec<_>>()).map_or(encoded.into(), Cow::Owned)
            }
            _ => Cow::Borrowed(encoded),
        }
    }

    /// The text of a part, in the charset it declares or seems to be in.
    fn text(&self, leaf: &Leaf<'x>) -> Cow<'x, str> {
        if let PartType::Text(text) | PartType::Html(text) = &leaf.part.body
            && !self.masked
            && !leaf.part.is_encoding_problem
            && !text.contains(char::REPLACEMENT_CHARACTER)
        {
            return Cow::Borrowed(text);
        }
        let bytes = self.bytes(leaf.part);
        let declared = content_type(leaf.part, HeaderName::ContentType)
            .and_then(|declared| declared.attribute("charset"))
            .filter(|charset| {
                !["utf-8", "utf8", "us-ascii"]
                    .iter()
                    .any(|c| charset.eq_ignore_ascii_case(c))
            })
            .and_then(|charset| charset_decoder(charset.as_bytes()));
        match (declared, charset_decoder(b"windows-1252")) {
            (Some(decode), _) => Cow::Owned(decode(&bytes)),
            (None, Some(decode)) if std::str::from_utf8(&bytes).is_err() => Cow::Owned(decode(&bytes)),
            _ => match bytes {
                Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
                Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
            },
        }
    }
}

impl Leaf<'_> {
    fn is_html(&self) -> bool {
        self.media_type == "text/html"
    }
}

fn content_type<'x>(part: &'x MessagePart<'x>, name: HeaderName<'static>) -> Option<&'x ContentType<'x>> {
    part.headers
        .iter()
        .find(|header| header.name == name)?
        .value
        .as_content_type()
}

fn is_padded(base64: &[u8]) -> bool {
    base64.iter().filter(|byte| !byte.is_ascii_whitespace()).count() % 4 == 0
}

fn is_base64(part: &MessagePart<'_>) -> bool {
    part.headers.iter().any(|header| {
        header.name == HeaderName::ContentTransferEncoding
            && header
                .value
                .as_text()
                .is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"))
    })
}
