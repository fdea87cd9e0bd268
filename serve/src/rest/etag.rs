//! The names of answers (entity tags, RFC 9110 §8.8.3), and what of them a client has (`If-None-Match`, §13.1.2).
//!
//! - A strong tag is of these very bytes. What may be sent compressed has a weak one, which is the same for each coding
//!   (§8.8.1), and so has what is named before it is made.
//! - Not here: what comes of it that a client has an answer (`rest`).

use super::coding::may_be_compressed;
use super::reply::type_of;
use crate::caller::Caller;
use crate::dispatcher::Gateway;
use crate::operation::{Operation, Original};
use axum::http::{HeaderMap, header};
use serde_json::Value;
use std::sync::LazyLock;
use store::export::Format;
use uuid::Uuid;

/// Tells the states of runs that this process has counted from those of one before it.
static PROCESS: LazyLock<String> = LazyLock::new(|| Uuid::now_v7().simple().to_string());

/// What a weak tag begins with.
const WEAK: &str = "W/";

/// The name of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Tag(String);

impl Tag {
    /// That of the answer to what is asked, before there is one: by the snapshot, the input, what the caller may see, the
    /// format.
    pub(super) fn of_asked(
        gateway: &Gateway,
        caller: &Caller,
        operation: &Operation,
        input: &Value,
        format: Format,
    ) -> Self {
        let head = gateway.lake.head();
        let named = (
            operation.name,
            input,
            &*caller.view,
            format.name(),
            (head.snapshot, head.state, &*PROCESS),
            &head.fares.collected,
        );
        let digest = blake3::hash(&serde_json::to_vec(&named).unwrap_or_default()).to_hex();
        let digest = digest.get(..24).unwrap_or_default();
        Self(format!("{WEAK}\"{}-{digest}\"", head.snapshot))
    }

    /// That of bytes: their digest, whatever else the lake has by now.
    pub(super) fn of_bytes(original: &Original) -> Self {
        let weak = match may_be_compressed(&type_of(original)) {
            true => WEAK,
            false => "",
        };
        Self(format!("{weak}\"{}\"", original.sha256))
    }

    /// It as `ETag` has it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether other bytes may have it too, which say the same.
    pub(super) fn is_weak(&self) -> bool {
        self.0.starts_with(WEAK)
    }
}

/// What a request says that its client has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a>(&'a HeaderMap);

impl<'a> Known<'a> {
    /// That of a request with these headers.
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        Self(headers)
    }

    /// Whether that is anything there is (`*`), by whatever name.
    pub(super) fn is_any(self) -> bool {
        let mut lines = self.lines();
        lines.next().is_some_and(|line| line.trim_ascii() == b"*") && lines.next().is_none()
    }

    /// Whether that is an answer of this name, or one that says the same (weak comparison, §8.8.3.2).
    pub(super) fn has(self, tag: &Tag) -> bool {
        // No tag of ours has a comma in it, and a part of another's is without one of its quotes.
        let mut tags = self.lines().flat_map(|line| line.split(|byte| *byte == b','));
        let own = opaque(tag.as_str().as_bytes());
        self.is_any() || tags.any(|known| opaque(known.trim_ascii()) == own)
    }

    fn lines(self) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.0.get_all(header::IF_NONE_MATCH).iter();
        lines.map(|line| line.as_bytes())
    }
}

/// A tag without what makes it weak.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(WEAK.as_bytes()).unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use bytes::Bytes;

    fn of(media_type: &str) -> Tag {
        Tag::of_bytes(&Original {
            media_type: media_type.to_owned(),
            name: String::new(),
            sha256: "00ff".to_owned(),
            bytes: Bytes::new(),
        })
    }

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::IF_NONE_MATCH, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    #[test]
    fn only_what_is_never_compressed_has_a_strong_name() {
        for (media_type, tag) in [
            ("image/jpeg", "\"00ff\""),
            ("IMAGE/PNG", "\"00ff\""),
            ("application/vnd.apache.parquet", "\"00ff\""),
            ("image/svg+xml", "W/\"00ff\""),
            ("message/rfc822", "W/\"00ff\""),
            // It is sent as any bytes.
            ("image/png\r\nX-Other: a", "W/\"00ff\""),
        ] {
            assert_eq!(of(media_type).as_str(), tag, "{media_type}");
            assert_eq!(of(media_type).is_weak(), tag.starts_with('W'), "{media_type}");
        }
    }

    #[test]
    fn what_a_client_has_is_found_in_every_list_whether_weak_or_strong() {
        for media_type in ["image/jpeg", "text/plain"] {
            let tag = of(media_type);
            let has = |lines: &[&[u8]]| Known::of(&headers(lines)).has(&tag);
            assert!(has(&[b"\"00ff\""]));
            assert!(has(&[b"W/\"00ff\""]));
            assert!(has(&[b" \"a\" ,, W/\"b\",\t\"00ff\" "]));
            assert!(has(&[b"\"a\"", b"\"b\", \"00ff\""]));
            // Tags of others may have commas and any bytes.
            assert!(has(&[b"\"a,b\", \"\xff\", \"00ff\""]));
            assert!(has(&[b"*"]) && has(&[b" * "]));
            assert!(!has(&[]));
            assert!(!has(&[
                b"\"00\"",
                b"00ff",
                b"\"00FF\"",
                b"w/\"00ff\"",
                b"W/W/\"00ff\""
            ]));
            // It stands alone, or is none.
            assert!(!has(&[b"\"a\", *"]) && !has(&[b"*", b"\"a\""]) && !has(&[b"\"*\""]));
        }
    }
}
