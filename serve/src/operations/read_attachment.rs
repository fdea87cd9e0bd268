//! `read_attachment`: what is attached to a mail, for who cannot open files: text, the text of a document, a picture.
//!
//! - Other bytes are not given: an agent cannot read them, and what is packed in them nobody has looked at.
//! - One that is named as secrets are is withheld, as files are (`roots`).
//! - Not here: how documents are read ([`ReadDocument`](crate::dispatcher::ReadDocument)); the bytes (`get_attachment`).

use super::get_attachment::{GetAttachment, cut};
use super::get_original::named;
use crate::operation::{Call, Effect, Method, Operation, Original, Output, Reply, TRUSTED, parse};
use crate::problem::{Kind, Problem};
use crate::roots::{NEVER_READ, is_secret};
use crate::toolset;
use bytes::Bytes;
use schemas::Digest;
use std::path::Path;
use tokio::sync::Semaphore;

/// Documents are read so many at once, whoever asks.
static READING: Semaphore = Semaphore::const_new(2);

/// Media types of keys.
const KEYS: [&str; 3] = [
    "application/pgp-keys",
    "application/pkcs8",
    "application/x-pem-file",
];

/// How pictures begin: PNG, JPEG, GIF. WebP has its name after its size.
const PICTURES: [&[u8]; 3] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8"];

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "read_attachment",
    about: "Gives what is attached to a mail: text, the text of a document, or a picture.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/datasets/{dataset}/items/{item}/attachments/{ordinal}/preview",
    is_heavy: true,
    is_cacheable: true,
    input: |types| types.subschema_for::<GetAttachment>(),
    example: r#"{"dataset": "emails", "item": "the _item of a row", "ordinal": 0}"#,
    output: Output::Bytes,
    toolset: &toolset::EMAILS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { read(call, parse(input)?).await }),
};

async fn read(call: Call<'_>, input: GetAttachment) -> Result<Reply, Problem> {
    let ordinal = input.ordinal;
    let (attachment, bytes) = cut(call, input).await?;
    let media_type = attachment.media_type;
    let name = attachment.filename;
    let name = name.unwrap_or_else(|| named(&format!("attachment-{ordinal}"), &media_type));
    if looks_secret(&name) || KEYS.contains(&media_type.as_str()) {
        return Err(Problem::new(
            Kind::Forbidden,
            format!("the attachment {NEVER_READ}"),
        ));
    }
    let original = Original {
        media_type,
        name,
        sha256: attachment.sha256,
        bytes: bytes.into(),
    };
    if original.is_picture() && begins_as_picture(&original.bytes) {
        return Ok(Reply::Bytes(original));
    }
    let text = Bytes::from(text_of(call, &original).await?);
    Ok(Reply::Bytes(Original {
        media_type: "text/plain; charset=utf-8".to_owned(),
        sha256: Digest::of(&text).to_string(),
        bytes: text,
        ..original
    }))
}

/// Whether an attachment is named as if it held a secret. Programs of Windows send paths as they write them.
fn looks_secret(name: &str) -> bool {
    is_secret(Path::new(name.replace('\\', "/").trim()))
}

/// Whether it is a picture, whatever it is declared to be. What is packed could be declared a picture.
fn begins_as_picture(bytes: &[u8]) -> bool {
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    is_webp || PICTURES.iter().any(|begin| bytes.starts_with(begin))
}

/// Whether other files stand in it as text: nobody has looked at their names.
fn holds_others(original: &Original) -> bool {
    let ending = Path::new(&original.name)
        .extension()
        .and_then(|ending| ending.to_str());
    let ending = ending.unwrap_or_default().to_ascii_lowercase();
    matches!(ending.as_str(), "mbox" | "mht" | "mhtml")
        || original.media_type.starts_with("multipart/")
        || matches!(
            original.media_type.as_str(),
            "application/mbox" | "message/partial"
        )
        || original.bytes.starts_with(b"From ")
}

/// The text of a document, or of whatever else is text.
async fn text_of(call: Call<'_>, original: &Original) -> Result<String, Problem> {
    if holds_others(original) {
        return Err(Problem::unprocessable(
            "the attachment holds other files; its owner can get it over REST",
        ));
    }
    let read = call.gateway.readers.read;
    let (media_type, name) = (original.media_type.clone(), original.name.clone());
    let bytes = original.bytes.clone();
    // Whoever asked may be gone long before it is read.
    let turn = READING
        .acquire()
        .await
        .map_err(|error| Problem::internal(&error))?;
    let reading = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        read(&media_type, &name, bytes)
    });
    let said = reading.await.map_err(|error| Problem::internal(&error))?;
    let said = said
        .map_err(|reason| Problem::unprocessable(format!("the attachment cannot be read: {reason}")))?
        .or_else(|| plain(&original.bytes));
    let Some(text) = said else {
        return Err(Problem::unprocessable(
            "the attachment is no text, no document that can be read, and no picture; its owner can get it over REST",
        ));
    };
    if text.trim().is_empty() && !original.bytes.is_empty() {
        return Err(Problem::unprocessable(
            "the attachment has no text; it may be a scan. Its owner can get it over REST",
        ));
    }
    Ok(text)
}

fn plain(bytes: &Bytes) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attachment_is_known_for_a_secret_by_its_name_wherever_it_was() {
        for name in [
            ".env",
            "C:\\Users\\me\\id_rsa",
            "../.ssh/config",
            "server.PEM",
            " id_ed25519 ",
        ] {
            assert!(looks_secret(name), "{name}");
        }
        for name in ["plan.md", "attachment-0.txt", "id_rsa.pub", "a\\b.pdf", ""] {
            assert!(!looks_secret(name), "{name}");
        }
    }

    #[test]
    fn what_holds_other_files_is_no_text() {
        let one = |name: &str, media_type: &str, bytes: &'static [u8]| Original {
            media_type: media_type.to_owned(),
            name: name.to_owned(),
            sha256: String::new(),
            bytes: Bytes::from_static(bytes),
        };
        for (name, media_type) in [
            ("Old.MBOX", "text/plain"),
            ("a", "application/mbox"),
            ("page.mht", "text/html"),
        ] {
            assert!(holds_others(&one(name, media_type, b"x")), "{name} {media_type}");
        }
        assert!(holds_others(&one(
            "a",
            "application/octet-stream",
            b"From me@example.org Fri Mar  1\n"
        )));
        assert!(!holds_others(&one("a.txt", "text/plain", b"Dear all,\n")));
    }

    #[test]
    fn a_picture_is_known_by_how_it_begins() {
        assert!(begins_as_picture(b"\x89PNG\r\n\x1a\n"));
        assert!(begins_as_picture(b"RIFF\x10\0\0\0WEBPVP8 "));
        assert!(!begins_as_picture(b"PK\x03\x04"));
    }

    #[test]
    fn what_has_zero_bytes_is_no_text() {
        assert_eq!(plain(&Bytes::from_static(b"a,b\n")).as_deref(), Some("a,b\n"));
        assert_eq!(plain(&Bytes::from_static(b"a\0b")), None);
        assert_eq!(plain(&Bytes::from_static(b"\xff")), None);
    }
}
