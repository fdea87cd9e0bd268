//! Text for a column: decoded, printable, without markup.
//!
//! - In: decoded text or HTML. Out: text that Postgres and terminals can hold.
//! - Not here: transfer encodings and charsets (`parts`).

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Emitter, ForwardingEmitter, Span, Tokenizer};
use std::borrow::Cow;
use std::convert::Infallible;

/// The text trimmed, without control characters; nothing when nothing is left.
pub(super) fn printable(text: &str) -> Option<String> {
    let text = text.trim();
    Some(without_controls(Cow::Borrowed(text)).into_owned()).filter(|text| !text.is_empty())
}

/// The text without NUL and the other control characters of ASCII but tab and line breaks, which are `\n`.
pub(super) fn without_controls(text: Cow<'_, str>) -> Cow<'_, str> {
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

/// What a reader of the HTML sees, blocks on lines of their own.
pub(super) fn text_of_html(html: &str) -> String {
    let mut page = Page {
        text: String::with_capacity(html.len() / 2),
        blank: false,
        hidden: false,
    };
    let mut events = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| -> Option<Infallible> {
        match event {
            CallbackEvent::OpenStartTag { name } => page.tag(name, true),
            CallbackEvent::EndTag { name } => page.tag(name, false),
            CallbackEvent::String { value } => page.words(value),
            _ => {}
        }
        None
    });
    events.naively_switch_states(true);
    let Ok(()) = Tokenizer::new_with_emitter(html, Shown(events)).try_for_each(|event| event.map(|_| ()));
    page.text.truncate(page.text.trim_end().len());
    page.text
}

/// Of what the tokenizer finds, what is shown: half of its work would be to check and to gather the rest.
struct Shown<E>(E);

impl<E: Emitter> ForwardingEmitter for Shown<E> {
    type Token = E::Token;

    fn inner(&mut self) -> &mut impl Emitter<Token = E::Token> {
        &mut self.0
    }
    fn should_emit_errors(&mut self) -> bool {
        false
    }
    fn push_attribute_name(&mut self, _: &[u8]) {}
    fn push_attribute_value(&mut self, _: &[u8]) {}
    fn push_comment(&mut self, _: &[u8]) {}
}

/// A page being read.
struct Page {
    text: String,
    /// Whether blanks came since the last word.
    blank: bool,
    /// Whether we are inside an element that shows nothing.
    hidden: bool,
}

impl Page {
    fn tag(&mut self, name: &[u8], opens: bool) {
        match name {
            b"script" | b"style" | b"template" | b"title" => self.hidden = opens,
            b"br" | b"hr" => self.line(1),
            b"address" | b"article" | b"blockquote" | b"center" | b"dd" | b"div" | b"dl" | b"dt"
            | b"footer" | b"form" | b"header" | b"li" | b"ol" | b"option" | b"pre" | b"section"
            | b"table" | b"tr" | b"ul" => self.block(1),
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"p" => self.block(2),
            b"td" | b"th" => self.blank = true,
            _ => {}
        }
    }

    /// Ends the line, if there is one, and leaves `breaks - 1` empty lines.
    fn block(&mut self, breaks: usize) {
        let ended = self.text.bytes().rev().take_while(|byte| *byte == b'\n').count();
        if !self.text.is_empty() {
            self.line(breaks.saturating_sub(ended));
        }
    }

    fn line(&mut self, breaks: usize) {
        self.text.extend(std::iter::repeat_n('\n', breaks));
        self.blank = false;
    }

    fn words(&mut self, value: &[u8]) {
        if self.hidden {
            return;
        }
        // Much quicker than the lossy reading of what is whole, as text of a `str` is.
        let value = std::str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::Borrowed);
        self.blank |= value.starts_with(char::is_whitespace);
        for (at, word) in value.split_whitespace().enumerate() {
            if (at > 0 || self.blank) && !self.text.is_empty() && !self.text.ends_with('\n') {
                self.text.push(' ');
            }
            self.text.push_str(word);
            self.blank = false;
        }
        self.blank |= value.ends_with(char::is_whitespace);
    }
}
