//! What a message is recognised by without reading its body: header, size and arrival.
//!
//! IMAP keeps all three when a message is moved or copied (RFC 3501 §2.3.3) and when its UID changes. A wrong
//! "not equal" costs a download, after which equal bytes are recognised.

use schemas::{Digest, Instant};

/// Size and arrival as the server tells them: they say, without a header, whether a message may be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Outline {
    /// `RFC822.SIZE`; 0 where the server does not say it, and then nothing is recognised by it.
    pub size: u32,
    /// `INTERNALDATE`.
    pub received_at: Option<Instant>,
}

impl Outline {
    /// The fingerprint of the message with this header: `HEADER:SIZE:ARRIVAL`.
    ///
    /// `text` is the header or the whole message: what follows the header does not count, nor do line ends at
    /// the header's end, in which servers differ.
    pub fn fingerprint(&self, text: &[u8]) -> String {
        let digest = Digest::of(header(text)).to_string();
        let half = digest.get(..32).unwrap_or_default();
        format!("{half}:{}:{}", self.size, self.received_at.unwrap_or_default())
    }

    /// The outline that a fingerprint was made with.
    pub fn of_fingerprint(fingerprint: &str) -> Option<Self> {
        let mut parts = fingerprint.split(':').skip(1);
        let size = parts.next()?.parse().ok()?;
        let received_at: Instant = parts.next()?.parse().ok()?;
        Some(Self {
            size,
            received_at: (received_at != 0).then_some(received_at),
        })
    }
}

/// All before the first empty line (RFC 5322 §2.1).
fn header(text: &[u8]) -> &[u8] {
    let mut end = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if line == b"\r\n" || line == b"\n" {
            break;
        }
        end += line.len();
    }
    text.get(..end).unwrap_or_default().trim_ascii_end()
}

/// The moment an `INTERNALDATE` names (RFC 3501 §9, `date-time`).
pub(super) fn moment(date_time: &str) -> Option<Instant> {
    let parsed = jiff::fmt::strtime::parse("%d-%b-%Y %H:%M:%S %z", date_time.trim_start()).ok()?;
    Some(parsed.to_timestamp().ok()?.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTLINE: Outline = Outline {
        size: 40,
        received_at: Some(1_700_000_000_000_000),
    };

    #[test]
    fn header_and_whole_message_have_the_same_fingerprint() {
        for (header, message) in [
            (
                &b"A: 1\r\nB: 2\r\n\r\n"[..],
                &b"A: 1\r\nB: 2\r\n\r\nbody\r\n\r\nmore"[..],
            ),
            (b"A: 1\r\n", b"A: 1\r\n\r\nbody"),
            (b"A: 1\r\n\r\n", b"A: 1\r\n"),
            (b"A: 1\r\n\r\n", b"A: 1"),
            (b"\r\n", b"\r\nbody"),
        ] {
            assert_eq!(
                OUTLINE.fingerprint(header),
                OUTLINE.fingerprint(message),
                "{message:?}"
            );
        }
        assert_ne!(
            OUTLINE.fingerprint(b"A: 1\r\n\r\n"),
            OUTLINE.fingerprint(b"A: 2\r\n\r\n")
        );
    }

    #[test]
    fn an_outline_is_found_in_its_fingerprint() {
        assert_eq!(Outline::of_fingerprint(&OUTLINE.fingerprint(b"")), Some(OUTLINE));
        let undated = Outline {
            received_at: None,
            ..OUTLINE
        };
        assert_eq!(Outline::of_fingerprint(&undated.fingerprint(b"")), Some(undated));
    }

    #[test]
    fn an_internal_date_is_read_with_its_zone_and_its_leading_blank() {
        assert_eq!(moment(" 1-Jan-2024 10:00:00 +0100"), Some(1_704_099_600_000_000));
        assert_eq!(moment("17-Jul-1996 02:44:25 -0700"), Some(837_596_665_000_000));
        assert_eq!(moment("yesterday"), None);
    }
}
