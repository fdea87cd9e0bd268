//! HTML → what a reader sees of it.
//!
//! - In: decoded HTML, however broken. Out: text, blocks on lines of their own; title and headings.
//! - Not here: charsets; control characters (`text`).

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Emitter, ForwardingEmitter, Span, Tokenizer};
use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::Range;

/// What a reader of the HTML sees, blocks on lines of their own.
pub(crate) fn text_of_html(html: &str) -> String {
    read(html).text
}

/// What a reader of the HTML sees, with its title and headings.
pub(crate) fn read(html: &str) -> Page {
    let mut page = Page {
        text: String::with_capacity(html.len() / 2),
        ..Page::default()
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
    page
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
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// What is shown.
    pub text: String,
    /// What stands in `title`.
    pub title: String,
    /// Levels of the headings, and where in the text each begins and ends.
    pub headings: Vec<(i64, Range<usize>)>,
    /// Whether blanks came since the last word.
    blank: bool,
    /// Whether we are inside an element that shows nothing.
    hidden: bool,
    in_title: bool,
}

impl Page {
    fn tag(&mut self, name: &[u8], opens: bool) {
        match name {
            b"script" | b"style" | b"template" => self.hidden = opens,
            b"title" => (self.hidden, self.in_title) = (opens, opens),
            b"br" | b"hr" => self.line(1),
            b"address" | b"article" | b"blockquote" | b"center" | b"dd" | b"div" | b"dl" | b"dt"
            | b"footer" | b"form" | b"header" | b"li" | b"ol" | b"option" | b"pre" | b"section"
            | b"table" | b"tr" | b"ul" => self.block(1),
            [b'h', level @ b'1'..=b'6'] => self.heading(i64::from(level - b'0'), opens),
            b"p" => self.block(2),
            b"td" | b"th" => self.blank = true,
            _ => {}
        }
    }

    fn heading(&mut self, level: i64, opens: bool) {
        let end = self.text.len();
        if !opens && let Some((_, last)) = self.headings.last_mut() {
            last.end = end;
        }
        self.block(2);
        if opens {
            self.headings.push((level, self.text.len()..self.text.len()));
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
        if self.in_title {
            self.title.push_str(&String::from_utf8_lossy(value));
        }
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
