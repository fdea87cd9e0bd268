//! Folder names as people read them: IMAP servers and Maildir++ write them in modified UTF-7.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Modified base64 without padding (RFC 3501 §5.1.3).
const MODIFIED_BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads modified UTF-7 (RFC 3501 §5.1.3): `&` begins UTF-16 in modified base64, `-` ends it, `&-` is `&`.
///
/// Some programs write names in UTF-8, `Mom&Dad-photos`. What no encoder writes is none of UTF-7: half a unit, bits left
/// over, letters that need no code.
pub(crate) fn readable(raw: &str) -> Option<String> {
    let mut pieces = raw.split('&');
    let mut out = pieces.next()?.to_owned();
    for piece in pieces {
        let (coded, plain) = piece.split_once('-')?;
        if coded.is_empty() {
            out.push('&');
        } else {
            let bytes = MODIFIED_BASE64.decode(coded).ok()?;
            let units = bytes.chunks_exact(2);
            if !units.remainder().is_empty() {
                return None;
            }
            let units = units.map(|pair| u16::from_be_bytes(pair.try_into().unwrap_or_default()));
            let decoded = char::decode_utf16(units).collect::<Result<String, _>>().ok()?;
            if decoded.contains(|letter: char| matches!(letter, ' '..='~')) {
                return None;
            }
            out.push_str(&decoded);
        }
        out.push_str(plain);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn coded_letters_are_read_and_damaged_names_are_not_guessed() {
        assert_eq!(readable("Entw&APw-rfe").as_deref(), Some("Entwürfe"));
        assert_eq!(readable("A&-B").as_deref(), Some("A&B"));
        assert_eq!(readable("A&B"), None);
        assert_eq!(readable("&2D0-"), None, "half a pair");
        assert_eq!(readable("Mom&Dad-photos"), None, "bits left over");
        assert_eq!(readable("R&DA-2024"), None, "half a unit");
        assert_eq!(readable("&AGEAYg-"), None, "letters that need no code");
    }
}
