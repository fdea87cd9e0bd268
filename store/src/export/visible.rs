//! Control characters made visible, so that collected text cannot send commands to a terminal.

use std::borrow::Cow;

/// Whether a terminal could act on `c` instead of showing it: control characters (ECMA-48 C0, DEL, C1),
/// the line and paragraph separators, and the marks that reorder text (Unicode UAX #9).
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` with a visible sign for each character that [`is_unsafe`]: a control picture such as `␛`, else
/// its code such as `\u{9b}`. A line end is `↵`, a tab a space.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push('↵'),
            '\t' => shown.push(' '),
            '\u{7f}' => shown.push('␡'),
            c if c < ' ' => shown.extend(char::from_u32(0x2400 + u32::from(c))),
            c if is_unsafe(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}
