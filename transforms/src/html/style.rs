//! What an element declares of whether it is shown.
//!
//! - In: the value of its attribute `style`. Out: what that says of the properties that hide.
//! - The last declaration of a property counts, also after one that is `!important`.
//! - Not here: style sheets; what is there for whoever looks closely: white on white, no size, far away; `opacity`, which
//!   scripts change for what they let appear.

use memchr::{memchr, memchr_iter};
use std::iter::once;

/// What is declared; the last declaration of a property counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Declared {
    /// Whether it is there at all: `display`.
    is_there: Option<bool>,
    /// `visibility: hidden` and the like.
    is_invisible: bool,
}

impl Declared {
    /// What a `style` says.
    pub(super) fn of(style: &[u8]) -> Self {
        let quick = Self::of_all(at_semicolons(style));
        // What hides may stand in quotes. Few styles hide, so few are read byte by byte.
        if quick.hides() {
            Self::of_all(outside_quotes(style))
        } else {
            quick
        }
    }

    /// Whether it hides the element.
    pub(super) fn hides(self) -> bool {
        self.is_there == Some(false) || self.is_invisible
    }

    /// Whether it says how the element is shown.
    pub(super) fn displays(self) -> bool {
        self.is_there == Some(true)
    }

    fn of_all<'a>(declarations: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut declared = Self::default();
        for declaration in declarations {
            declared.add(declaration.trim_ascii_start());
        }
        declared
    }

    fn add(&mut self, declaration: &[u8]) {
        // Most others are told from those that hide by their first letter.
        if !matches!(declaration.first(), Some(b'd' | b'D' | b'v' | b'V')) {
            return;
        }
        let Some((property, value)) =
            memchr(b':', declaration).and_then(|at| declaration.split_at_checked(at))
        else {
            return;
        };
        let value = value.get(1..).unwrap_or_default();
        let value = value.get(..memchr(b'!', value).unwrap_or(value.len()));
        let value = value.unwrap_or_default().trim_ascii();
        let is = |word: &[u8]| value.eq_ignore_ascii_case(word);
        match property.trim_ascii_end() {
            property if property.eq_ignore_ascii_case(b"display") => self.is_there = Some(!is(b"none")),
            property if property.eq_ignore_ascii_case(b"visibility") => {
                self.is_invisible = is(b"hidden") || is(b"collapse");
            }
            _ => {}
        }
    }
}

/// What is between semicolons.
fn at_semicolons(style: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr_iter(b';', style).chain(once(style.len()));
    ends.scan(0, move |start, end| {
        let declaration = style.get(*start..end);
        *start = end + 1;
        declaration
    })
}

/// What is between semicolons that are not in quotes or brackets.
fn outside_quotes(style: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quote = None;
    let mut brackets = 0_usize;
    let mut is_escaped = false;
    style.split(move |byte| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        match (quote, *byte) {
            (_, b'\\') => is_escaped = true,
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, b'(') => brackets += 1,
            (None, b')') => brackets = brackets.saturating_sub(1),
            (None, _) => {}
        }
        *byte == b';' && quote.is_none() && brackets == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_found_however_it_is_written() {
        for style in [
            "display:none",
            "DISPLAY : none !important",
            " color: red; display\n:\tNone;",
            "display:none;max-height:0;overflow:hidden",
            "font-family:'Segoe UI', \"Arial\";display:none",
            "background:url(a;b);visibility:hidden",
            "visibility: collapse",
            "content:'\\'';display:none",
            "display:block;display:none",
        ] {
            assert!(Declared::of(style.as_bytes()).hides(), "{style}");
        }
    }

    #[test]
    fn what_only_looks_like_it_hides_does_not() {
        for style in [
            "",
            "display",
            ";;:;",
            "display:none-ish",
            "display:block",
            "display:none;display:block",
            "content:\"display:none\"",
            "content:\"x;display:none;y\"",
            "content:'\\';display:none;'",
            "background:url(data:x;display:none;y)",
            "background:url(x);content:\"(;display:none;)\"",
            "font-family:'Arial;display:none",
            "-x-display:none",
            "display-x:none",
            "/*display:none*/",
            "backface-visibility:hidden",
            "visibility:visible",
            "visibility:hidden;visibility:visible",
            "font-size:0",
            "opacity:0",
            "overflow:hidden",
        ] {
            assert!(!Declared::of(style.as_bytes()).hides(), "{style}");
        }
    }
}
