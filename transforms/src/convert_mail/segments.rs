//! Parameters in numbered segments (RFC 2231 §4.1): `name*0*=charset'language'…; name*1*=…`.
//!
//! - In: a Content- field. Out: a parameter of it, put together before it is decoded.
//! - Not here: parameters in one piece.
//!
//! mail-parser decodes each segment alone, and those after the first as UTF-8. Without asterisks in its name each
//! is a parameter of its own, which it leaves as it is.

use mail_parser::decoders::charsets::DecoderFnc;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::hex::decode_hex;
use mail_parser::parsers::MessageStream;

/// Stands for `*` where the parser must not see one: no header holds it.
const STAR: char = '\x01';

/// The whole of parameter `key`; nothing where it has no segments.
pub(super) fn join_segments(field: &[u8], key: &str) -> Option<String> {
    let unstarred: Vec<u8> = field
        .iter()
        .map(|byte| if *byte == b'*' { STAR as u8 } else { *byte })
        .collect();
    let parsed = MessageStream::new(&unstarred).parse_content_type();
    let attributes = parsed.as_content_type()?.attributes()?;
    let mut segments: Vec<(usize, bool, String)> = attributes
        .iter()
        .filter_map(|attribute| {
            let place = attribute.name.strip_prefix(key)?.strip_prefix(STAR)?;
            let number = place.strip_suffix(STAR).unwrap_or(place);
            let value = attribute.value.replace(STAR, "*");
            Some((number.parse::<usize>().ok()?, place.ends_with(STAR), value))
        })
        .collect();
    segments.sort_by_key(|(number, ..)| *number);
    segments.dedup_by_key(|(number, ..)| *number);
    let mut decoder = None;
    let mut text = String::new();
    // A character may lie in two segments.
    let mut coded: Vec<u8> = Vec::new();
    let decoded = |decoder: Option<DecoderFnc>, bytes: &[u8]| match decoder {
        Some(decode) => decode(bytes),
        None => String::from_utf8_lossy(bytes).into_owned(),
    };
    for (at, (number, is_coded, value)) in segments.iter().enumerate() {
        if *number != at {
            break;
        }
        if !is_coded {
            text.push_str(&decoded(decoder, &std::mem::take(&mut coded)));
            text.push_str(value);
            continue;
        }
        let mut value = value.as_str();
        if at == 0
            && let Some((charset, after)) = value.split_once('\'')
            && let Some((_language, after)) = after.split_once('\'')
        {
            decoder = charset_decoder(charset.as_bytes());
            value = after;
        }
        match decode_hex(value.as_bytes()) {
            (true, bytes) => coded.extend(bytes),
            (false, _) => coded.extend_from_slice(value.as_bytes()),
        }
    }
    text.push_str(&decoded(decoder, &coded));
    Some(text).filter(|text| !text.is_empty())
}
