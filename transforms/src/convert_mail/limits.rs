//! What a message may ask of the parser, checked before it is parsed.
//!
//! - In: the bytes of a message. Out: bytes that mail-parser reads in linear time, bounded memory and
//!   constant stack, or the limit that the message breaks.
//! - Not here: parsing.
//!
//! mail-parser 0.11 nests a `Message` in a `Message`, so dropping 10,000 of them overflows the stack; it
//! searches the rest of the message once for each multipart whose boundary is missing; it has no limit on
//! headers and parts. All of that is triggered by a media type (`type/subtype`) or by sheer number.

use memchr::{memchr_iter, memmem};
use std::borrow::Cow;

/// Bytes of a message's own header. Real ones stay below 100 kB; Postfix cuts at 100 kB.
const HEADER_BYTES: usize = 1 << 20;
/// Messages up to this size cannot hold enough parts or headers to matter.
const SMALL: usize = 1 << 20;
/// Parts, and header fields of parts, in a larger message: at about 200 bytes each, 80 MB.
const PARTS: usize = 200_000;
/// Bytes the parser may look at while it searches boundaries: about half a second.
const SEARCHED_BYTES: usize = 500_000_000;

/// The bytes to parse in place of `raw`: of the same length, but for a blank line at the end of a message
/// that is all header, and with the subtypes that nest messages changed as [`unmask`] tells.
///
/// # Errors
/// A sentence that names the limit `raw` breaks.
pub(super) fn tame(raw: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let mut bytes = Cow::Borrowed(raw);
    if !has_header_end(raw)? {
        bytes.to_mut().extend_from_slice(b"\n\n");
    }
    if raw.len() > SMALL {
        limit_parts(raw)?;
    }
    let mut multiparts = 0;
    for slash in memchr_iter(b'/', raw) {
        let (before, after) = raw.split_at(slash);
        multiparts += usize::from(names_multipart(before));
        let after = after.get(1..).unwrap_or_default();
        let spaces = after
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        let subtype = after.get(spaces..).unwrap_or_default();
        let at = slash + 1 + spaces;
        let nests = [&b"rfc822"[..], b"global", b"digest"].iter().any(|name| {
            subtype
                .get(..6)
                .is_some_and(|start| start.eq_ignore_ascii_case(name))
        });
        // A comment after the slash may hide a subtype: without the slash there is none.
        let hides = subtype.first() == Some(&b'(');
        if (nests || hides)
            && let Some(byte) = bytes.to_mut().get_mut(if nests { at } else { slash })
        {
            *byte = MASK;
        }
    }
    if multiparts.saturating_mul(raw.len()) > SEARCHED_BYTES && multiparts > 32 {
        return Err(format!(
            "it names {multiparts} multiparts, too many for {} bytes",
            raw.len()
        ));
    }
    Ok(bytes)
}

/// First letter of a subtype that would nest messages.
const MASK: u8 = b'~';

/// The subtype as it was before [`tame`].
pub(super) fn unmask(subtype: &str) -> Cow<'_, str> {
    [("~fc822", "rfc822"), ("~lobal", "global"), ("~igest", "digest")]
        .iter()
        .find_map(|(masked, name)| {
            subtype
                .strip_prefix(masked)
                .map(|rest| format!("{name}{rest}").into())
        })
        .unwrap_or(subtype.into())
}

/// Whether a blank line ends the header.
fn has_header_end(raw: &[u8]) -> Result<bool, String> {
    let start = raw.get(..raw.len().min(HEADER_BYTES + 2)).unwrap_or_default();
    let ends = start.first() == Some(&b'\n')
        || memchr_iter(b'\n', start).any(|at| {
            let next = start.get(at + 1..).unwrap_or_default();
            next.starts_with(b"\n") || next.starts_with(b"\r\n")
        });
    if !ends && raw.len() > HEADER_BYTES {
        return Err(format!("its header is larger than {HEADER_BYTES} bytes"));
    }
    Ok(ends)
}

/// Whether a media type that ends here is `multipart`, or may be, hidden by a comment.
fn names_multipart(before: &[u8]) -> bool {
    let Some(last @ (b't' | b'T' | b')' | b' ' | b'\t')) = before.last() else {
        return false;
    };
    if matches!(last, b't' | b'T') {
        return before.len() >= 9
            && before
                .get(before.len() - 9..)
                .is_some_and(|b| b.eq_ignore_ascii_case(b"multipart"));
    }
    *last == b')'
        || before
            .get(before.len().saturating_sub(64)..)
            .is_some_and(|b| memmem::find(b, b"ultipart").is_some())
}

/// Counts what could be parts and their header fields: lines after a `--` up to the next blank one.
fn limit_parts(raw: &[u8]) -> Result<(), String> {
    let (mut boundaries, mut blanks, mut fields) = (0_usize, 0_usize, 0_usize);
    let mut in_header = false;
    let mut start = 0;
    for end in memchr_iter(b'\n', raw) {
        let line = raw.get(start..end).unwrap_or_default();
        start = end + 1;
        if line.trim_ascii().is_empty() {
            blanks += 1;
            in_header = false;
        } else if memmem::find(line, b"--").is_some() {
            boundaries += 1;
            in_header = true;
        } else if in_header && memchr::memchr(b':', line).is_some() {
            fields += 1;
        }
    }
    if boundaries.min(blanks) > PARTS || fields > PARTS {
        return Err(format!(
            "it has more than {PARTS} parts or header fields of parts"
        ));
    }
    Ok(())
}
