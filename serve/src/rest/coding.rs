//! Which answers may be sent compressed (content codings, RFC 9110 §8.4).
//!
//! - In: what kind of thing an answer is. Out: whether it may be compressed where a client accepts that. The layer that
//!   compresses asks here, and so does whoever names answers (`etag`): both have to say the same.
//! - Not here: which codings a client accepts (tower-http).

use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};

/// How media types begin of what is packed already, and of events, which are sent as they come.
const PLAIN: [&str; 4] = [
    "application/vnd.apache.arrow",
    "application/vnd.apache.parquet",
    "image/",
    "text/event-stream",
];

/// Pictures that are text.
const DRAWING: &str = "image/svg+xml";

/// Whether what is of a media type may be compressed.
pub(super) fn may_be_compressed(media_type: &str) -> bool {
    media_type.starts_with(DRAWING) || !PLAIN.iter().any(|plain| media_type.starts_with(plain))
}

/// The same of an answer, as the layer asks it.
pub(super) fn compresses(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    may_be_compressed(media_type.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_already_is_not_compressed() {
        for media_type in [
            "application/json",
            "text/csv",
            "message/rfc822",
            "image/svg+xml",
            "",
        ] {
            assert!(may_be_compressed(media_type), "{media_type}");
        }
        for media_type in [
            "image/jpeg",
            "application/vnd.apache.parquet",
            "application/vnd.apache.arrow.stream",
            "text/event-stream",
        ] {
            assert!(!may_be_compressed(media_type), "{media_type}");
        }
    }
}
