//! HTML → what a reader sees of it.
//!
//! - In: decoded HTML, however broken. Out: text, blocks on lines of their own; title and headings.
//! - Left out is what a browser does not show: comments, scripts, templates, and elements that are hidden by an attribute
//!   of theirs. In doubt text is shown: what is hidden and never ends hides nothing.
//! - Of a mail, lines of a `blockquote` begin with `>`, as those of plain mails do.
//! - Where an element ends that has no end tag says `implied`; what a `style` says of being shown, `style`.
//! - Not here: charsets; control characters (`text`); style sheets.

mod implied;
mod style;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Emitter, ForwardingEmitter, Span, State, Tokenizer};
use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::Range;

/// What a reader of the HTML of a mail sees, blocks on lines of their own, quoted ones after `>`.
pub(crate) fn text_of_mail(html: &str) -> String {
    read_with(html, true).text
}

/// What a reader of the HTML sees, with its title and headings.
pub(crate) fn read(html: &str) -> Page {
    read_with(html, false)
}

fn read_with(html: &str, marks_quotes: bool) -> Page {
    let mut page = Page {
        text: String::with_capacity(html.len() / 2),
        marks_quotes,
        ..Page::default()
    };
    let mut events = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| -> Option<Infallible> {
        match event {
            CallbackEvent::OpenStartTag { name } => page.begin_tag(name),
            CallbackEvent::AttributeName { name } => page.tag.attribute(name),
            CallbackEvent::AttributeValue { value } => page.tag.value(value),
            CallbackEvent::CloseStartTag { self_closing } => page.start(self_closing),
            CallbackEvent::EndTag { name } => page.end(name),
            CallbackEvent::String { value } => page.words(value),
            _ => {}
        }
        None
    });
    events.naively_switch_states(true);
    let emitter = Shown {
        inner: events,
        attribute: Vec::new(),
        takes_value: false,
        is_closed: false,
        is_xml: html.trim_start().starts_with("<?xml"),
    };
    let Ok(()) = Tokenizer::new_with_emitter(html, emitter).try_for_each(|event| event.map(|_| ()));
    page.text.truncate(page.text.trim_end().len());
    page
}

/// Of what the tokenizer finds, what is shown, and what decides about that: most of its work would be to check and to
/// gather the rest.
struct Shown<E> {
    inner: E,
    /// Name of the attribute that is being read.
    attribute: Vec<u8>,
    takes_value: bool,
    /// Whether the tag closes itself.
    is_closed: bool,
    /// Whether the page is XHTML, in which CDATA is text. In HTML it is a comment.
    is_xml: bool,
}

impl<E: Emitter> Shown<E> {
    /// Hands on the name of an attribute, if it matters.
    fn end_name(&mut self) {
        self.takes_value = self.attribute == b"style";
        if self.takes_value || self.attribute == b"hidden" {
            self.inner.push_attribute_name(&self.attribute);
        }
        self.attribute.clear();
    }
}

impl<E: Emitter> ForwardingEmitter for Shown<E> {
    type Token = E::Token;

    fn inner(&mut self) -> &mut impl Emitter<Token = E::Token> {
        &mut self.inner
    }
    fn should_emit_errors(&mut self) -> bool {
        false
    }
    fn init_attribute(&mut self) {
        self.end_name();
        self.inner.init_attribute();
    }
    fn push_attribute_name(&mut self, name: &[u8]) {
        self.attribute.extend_from_slice(name);
    }
    fn init_attribute_value(&mut self) {
        self.end_name();
        self.inner.init_attribute_value();
    }
    fn push_attribute_value(&mut self, value: &[u8]) {
        if self.takes_value {
            self.inner.push_attribute_value(value);
        }
    }
    fn init_start_tag(&mut self) {
        self.is_closed = false;
        self.inner.init_start_tag();
    }
    fn set_self_closing(&mut self) {
        self.is_closed = true;
        self.inner.set_self_closing();
    }
    fn emit_current_tag(&mut self) -> Option<State> {
        self.end_name();
        let next = self.inner.emit_current_tag();
        // `<title/>` of XHTML holds nothing, or it would hold all that follows.
        next.filter(|_| !self.is_closed)
    }
    fn push_comment(&mut self, _: &[u8]) {}
    fn adjusted_current_node_present_but_not_in_html_namespace(&mut self) -> bool {
        self.is_xml
    }
}

/// A start tag being read.
#[derive(Debug, Default)]
struct Tag {
    name: Vec<u8>,
    /// What its first `style` says; another one does not count.
    style: Vec<u8>,
    has_style: bool,
    /// Whether the value that comes next is that of its first `style`.
    in_style: bool,
    is_hidden: bool,
}

impl Tag {
    fn attribute(&mut self, name: &[u8]) {
        let is_style = name == b"style";
        self.in_style = is_style && !self.has_style;
        self.has_style |= is_style;
        self.is_hidden |= name == b"hidden";
    }

    fn value(&mut self, value: &[u8]) {
        if self.in_style {
            self.style.extend_from_slice(value);
        }
    }

    /// Whether it hides what it is and holds. A page that is hidden waits for a script.
    fn hides(&self) -> bool {
        let declared = style::Declared::of(&self.style);
        // Another `display` counts for more than `hidden`.
        let is_hidden =
            declared.hides() || (self.is_hidden && !declared.displays()) || self.name == b"template";
        is_hidden && !matches!(&*self.name, b"body" | b"head" | b"html")
    }
}

/// Whether an element has no end tag (HTML standard, §13.1.2).
fn is_void(name: &[u8]) -> bool {
    matches!(
        name,
        b"area"
            | b"base"
            | b"br"
            | b"col"
            | b"embed"
            | b"hr"
            | b"img"
            | b"input"
            | b"link"
            | b"meta"
            | b"source"
            | b"track"
            | b"wbr"
    )
}

/// Whether what comes next stands on a line of its own.
fn is_block(name: &[u8]) -> bool {
    match name {
        b"address" | b"article" | b"aside" | b"blockquote" | b"caption" | b"center" | b"dd" | b"details"
        | b"dialog" | b"dir" | b"div" | b"dl" | b"dt" | b"fieldset" | b"figcaption" | b"figure"
        | b"footer" | b"form" | b"header" | b"hgroup" | b"hr" | b"legend" | b"li" | b"main" | b"menu"
        | b"nav" | b"ol" | b"optgroup" | b"option" | b"p" | b"pre" | b"search" | b"section" | b"summary"
        | b"table" | b"tbody" | b"tfoot" | b"thead" | b"tr" | b"ul" => true,
        [b'h', level] => matches!(level, b'1'..=b'6'),
        _ => false,
    }
}

/// Hidden elements within each other that are told apart; those that are deeper end with them.
const DEEPEST: usize = 16;

/// Marks of a quoted line at most: with one for each of very many quotations, a text were much longer than its page.
const MOST_MARKS: usize = 16;

/// An element that is hidden and still open, and where the page was before it: it goes back there when that ends.
#[derive(Debug)]
struct Hidden {
    name: Vec<u8>,
    /// Elements of that name that are open in it, and itself.
    depth: usize,
    /// Elements that are open in it and keep it open: [`implied::keeps`].
    within: usize,
    text: usize,
    headings: usize,
    blank: bool,
    quotes: usize,
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
    /// Whether lines of quotations are marked.
    marks_quotes: bool,
    /// Quotations that are open, within each other.
    quotes: usize,
    /// Whether blanks came since the last word.
    blank: bool,
    tag: Tag,
    /// The outermost first. One that never ends hides nothing, whatever is in it.
    hidden: Vec<Hidden>,
    /// Whether we are inside an element that holds no elements and shows nothing.
    is_raw: bool,
    in_title: bool,
}

impl Page {
    fn begin_tag(&mut self, name: &[u8]) {
        self.tag.name.clear();
        self.tag.name.extend_from_slice(name);
        self.tag.style.clear();
        (self.tag.has_style, self.tag.in_style, self.tag.is_hidden) = (false, false, false);
    }

    fn start(&mut self, is_closed: bool) {
        let tag = std::mem::take(&mut self.tag);
        let name: &[u8] = &tag.name;
        self.raw(name, !is_closed);
        self.end_before(|open| implied::ends_before(open, name));
        for hidden in self.hidden.iter_mut().filter(|_| !is_closed) {
            hidden.depth += usize::from(hidden.name == name);
            hidden.within += usize::from(implied::keeps(&hidden.name, name));
        }
        let (hides, is_empty) = (tag.hides(), is_closed || is_void(name));
        if hides && !is_empty && self.hidden.len() < DEEPEST {
            self.hidden.push(Hidden {
                name: name.to_owned(),
                depth: 1,
                within: 0,
                text: self.text.len(),
                headings: self.headings.len(),
                blank: self.blank,
                quotes: self.quotes,
            });
        }
        if !(hides && is_empty) {
            self.lay_out(name, true);
        }
        self.quotes += usize::from(name == b"blockquote" && !is_closed);
        // Its room is used again.
        self.tag = tag;
    }

    fn end(&mut self, name: &[u8]) {
        self.raw(name, false);
        self.end_before(|open| implied::ends_within(open, name));
        for hidden in &mut self.hidden {
            hidden.depth -= usize::from(hidden.name == name);
            let kept = usize::from(implied::keeps(&hidden.name, name));
            hidden.within = hidden.within.saturating_sub(kept);
        }
        match self.hidden.iter().position(|hidden| hidden.depth == 0) {
            Some(ended) => self.show(ended),
            None => {
                self.lay_out(name, false);
                self.quotes = self.quotes.saturating_sub(usize::from(name == b"blockquote"));
            }
        }
    }

    /// Ends a hidden element that has no end tag where a tag does that says so: what comes next is shown.
    fn end_before(&mut self, ends: impl Fn(&[u8]) -> bool) {
        let is_ended = |hidden: &Hidden| hidden.within == 0 && ends(&hidden.name);
        if let Some(ended) = self.hidden.iter().position(is_ended) {
            self.show(ended);
        }
    }

    /// Forgets what a hidden element held, which ends here, and those within it.
    fn show(&mut self, ended: usize) {
        if let Some(hidden) = self.hidden.drain(ended..).next() {
            self.text.truncate(hidden.text);
            self.headings.truncate(hidden.headings);
            if let Some((_, last)) = self.headings.last_mut() {
                last.end = last.end.min(hidden.text);
            }
            (self.blank, self.quotes) = (hidden.blank, hidden.quotes);
        }
    }

    fn raw(&mut self, name: &[u8], opens: bool) {
        match name {
            b"iframe" | b"noembed" | b"noscript" | b"script" | b"style" => self.is_raw = opens,
            b"title" => (self.is_raw, self.in_title) = (opens, opens),
            _ => {}
        }
    }

    fn lay_out(&mut self, name: &[u8], opens: bool) {
        match name {
            b"br" | b"hr" => self.line(1),
            b"p" => self.block(2),
            b"button" | b"select" | b"td" | b"textarea" | b"th" => self.blank = true,
            [b'h', level @ b'1'..=b'6'] => self.heading(i64::from(level - b'0'), opens),
            name if is_block(name) => self.block(1),
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

    /// Writes what plain mails have before a quoted line (RFC 3676, §4.5).
    fn begin_line(&mut self) {
        if self.marks_quotes && self.quotes > 0 {
            self.text
                .extend(std::iter::repeat_n('>', self.quotes.min(MOST_MARKS)));
            self.text.push(' ');
        }
    }

    fn words(&mut self, value: &[u8]) {
        if self.in_title {
            self.title.push_str(&String::from_utf8_lossy(value));
        }
        if self.is_raw {
            return;
        }
        // Much quicker than the lossy reading of what is whole, as text of a `str` is.
        let value = std::str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::Borrowed);
        self.blank |= value.starts_with(char::is_whitespace);
        for (at, word) in value.split_whitespace().enumerate() {
            if self.text.is_empty() || self.text.ends_with('\n') {
                self.begin_line();
            } else if at > 0 || self.blank {
                self.text.push(' ');
            }
            self.text.push_str(word);
            self.blank = false;
        }
        self.blank |= value.ends_with(char::is_whitespace);
    }
}

#[cfg(test)]
mod tests;
