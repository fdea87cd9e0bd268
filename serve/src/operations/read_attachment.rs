//! `read_attachment`: what is attached to a mail, for who cannot open files: text, the text of a document, a picture.
//!
//! - Other bytes are not given: an agent cannot read them, and what is packed in them nobody has looked at.
//! - One that is named as secrets are is withheld, as files are (`roots`).
//! - Not here: how documents are read ([`ReadDocument`](crate::dispatcher::ReadDocument)); the bytes (`get_attachment`).

use super::get_attachment::{GetAttachment, cut};
use super::get_original::named;
use crate::operation::{Call, Effect, Method, Operation, Original, Output, Reply, TRUSTED, parse};
use crate::problem::{Kind, Problem};
use crate::roots::is_secret;
use crate::toolset;
use bytes::Bytes;
use schemas::Digest;
use std::path::Path;

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
    if looks_secret(&name) {
        return Err(Problem::new(
            Kind::Forbidden,
            "the attachment looks like a secret; those are never read",
        ));
    }
    let original = Original {
        media_type,
        name,
        sha256: attachment.sha256,
        bytes: bytes.into(),
    };
    if original.is_picture() {
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

/// The text of a document, or of whatever else is text.
async fn text_of(call: Call<'_>, original: &Original) -> Result<String, Problem> {
    let read = call.gateway.readers.read;
    let (media_type, name) = (original.media_type.clone(), original.name.clone());
    let bytes = original.bytes.clone();
    let reading = tokio::task::spawn_blocking(move || read(&media_type, &name, bytes));
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
    fn what_has_zero_bytes_is_no_text() {
        assert_eq!(plain(&Bytes::from_static(b"a,b\n")).as_deref(), Some("a,b\n"));
        assert_eq!(plain(&Bytes::from_static(b"a\0b")), None);
        assert_eq!(plain(&Bytes::from_static(b"\xff")), None);
    }
}
