//! Text for a column: printable, without controls.
//!
//! - In: decoded text. Out: text that Postgres and terminals can hold.
//! - Not here: charsets; markup (`html`).

use std::borrow::Cow;

/// The text trimmed, without control characters; nothing when nothing is left.
pub(crate) fn printable(text: &str) -> Option<String> {
    let text = text.trim();
    Some(without_controls(Cow::Borrowed(text)).into_owned()).filter(|text| !text.is_empty())
}

/// The text without NUL and the other control characters of ASCII but tab and line breaks, which are `\n`.
pub(crate) fn without_controls(text: Cow<'_, str>) -> Cow<'_, str> {
    // Folded so that the compiler makes vector code of it: this reads every byte of every body.
    let controls = text
        .bytes()
        .fold(false, |any, b| any | (b < 0x20 && b != b'\t' && b != b'\n'));
    if !controls {
        return text;
    }
    let text = if text.contains('\r') {
        text.replace("\r\n", "\n")
    } else {
        text.into_owned()
    };
    text.chars()
        .filter(|c| *c >= ' ' || matches!(c, '\t' | '\n' | '\r'))
        .collect::<String>()
        .into()
}
