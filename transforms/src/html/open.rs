//! Which elements are open, and whether what stands in them is shown.
//!
//! - In: start and end tags in their order, with what each declares. Out: whether what comes next is shown.
//! - No tree: of its construction (HTML standard, §13.2.6) this is what decides where an element ends. Where it is
//!   simpler than that, an element ends sooner, so that text is shown rather than lost.
//! - Not here: attributes (`declared`); text.

use super::declared::Declared;

/// Elements that are deeper lie beside each other, as in browsers.
const DEPTH: usize = 512;

/// The elements that are open, the outermost first.
#[derive(Debug, Default)]
pub(super) struct Open {
    elements: Vec<Element>,
    /// Elements that were opened so far.
    opened: usize,
    /// Those that hide nothing, whatever they declare, by when they were opened.
    pub(super) shown: Vec<usize>,
}

#[derive(Debug)]
struct Element {
    name: u64,
    kind: Kind,
    /// How many were opened before it.
    number: usize,
    declared: Declared,
    look: Look,
}

/// What makes that something is not shown: all that is declared for it and around it.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    is_gone: bool,
    is_invisible: bool,
    has_no_size: bool,
}

impl Look {
    fn with(self, declared: Declared) -> Self {
        Self {
            is_gone: self.is_gone || declared.is_there == Some(false) || declared.is_transparent,
            is_invisible: declared
                .is_visible
                .map_or(self.is_invisible, |is_visible| !is_visible),
            has_no_size: declared.has_size.map_or(self.has_no_size, |has_size| !has_size),
        }
    }

    fn is_shown(self) -> bool {
        !(self.is_gone || self.is_invisible || self.has_no_size)
    }
}

/// What the rules of opening and closing are for an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It holds nothing, or no elements.
    Empty,
    /// There is one of it, whatever tags say: `html`, `head`, `body`. One that is hidden waits for a script.
    Page,
    /// Any that is not named below.
    Phrase,
    /// It may end while what was opened in it goes on.
    Formatting,
    Paragraph,
    Heading,
    /// It ends an open paragraph.
    Block,
    /// `li`, `dt`, `dd`.
    Item,
    Table,
    /// Of a table: `tbody` and the like.
    Section,
    Row,
    Cell,
    /// Not shown, and what is in it does not end what is around it.
    Template,
}

impl Kind {
    fn of(name: &[u8]) -> Self {
        match name {
            b"area" | b"base" | b"basefont" | b"bgsound" | b"br" | b"col" | b"embed" | b"frame" | b"hr"
            | b"iframe" | b"img" | b"input" | b"keygen" | b"link" | b"meta" | b"noembed" | b"noscript"
            | b"param" | b"script" | b"source" | b"style" | b"title" | b"track" | b"wbr" => Self::Empty,
            b"body" | b"head" | b"html" => Self::Page,
            b"a" | b"b" | b"big" | b"code" | b"em" | b"font" | b"i" | b"nobr" | b"s" | b"small"
            | b"strike" | b"strong" | b"tt" | b"u" => Self::Formatting,
            b"p" => Self::Paragraph,
            [b'h', b'1'..=b'6'] => Self::Heading,
            b"address" | b"article" | b"aside" | b"blockquote" | b"center" | b"details" | b"dialog"
            | b"dir" | b"div" | b"dl" | b"fieldset" | b"figcaption" | b"figure" | b"footer" | b"form"
            | b"header" | b"hgroup" | b"main" | b"menu" | b"nav" | b"ol" | b"pre" | b"search"
            | b"section" | b"summary" | b"ul" => Self::Block,
            b"dd" | b"dt" | b"li" => Self::Item,
            b"table" => Self::Table,
            b"colgroup" | b"tbody" | b"tfoot" | b"thead" => Self::Section,
            b"tr" => Self::Row,
            b"caption" | b"td" | b"th" => Self::Cell,
            b"template" => Self::Template,
            _ => Self::Phrase,
        }
    }

    fn is_of_table(self) -> bool {
        matches!(self, Self::Section | Self::Row | Self::Cell)
    }

    /// Whether an end tag of another element, inside of it, ends nothing that is around it.
    fn is_border(self) -> bool {
        matches!(self, Self::Cell | Self::Table | Self::Template)
    }

    /// Whether its end tag may be left out: then it ends with what comes next.
    fn may_lack_end(self) -> bool {
        matches!(self, Self::Paragraph | Self::Item) || self.is_of_table()
    }
}

/// What tells names apart: the eight bytes that they begin with are enough for all of HTML. Those whose end tags end
/// each other have one.
fn key(name: &[u8]) -> u64 {
    let name: &[u8] = match name {
        [b'h', b'1'..=b'6'] => b"h",
        b"dd" => b"dt",
        name => name,
    };
    let first = name.iter().take(8);
    first.fold(0, |key, byte| (key << 8) | u64::from(*byte))
}

impl Open {
    /// Whether text that stands here is shown.
    pub(super) fn is_shown(&self) -> bool {
        self.around(self.elements.len(), false).is_shown()
    }

    /// Opens an element, unless it is `closed` by its own tag. Whether it is shown.
    pub(super) fn start(&mut self, name: &[u8], mut declared: Declared, closed: bool) -> bool {
        let kind = Kind::of(name);
        let is_placed = match kind {
            Kind::Page => return self.is_shown(),
            Kind::Section => self.back_to(&[Kind::Table]),
            Kind::Row => self.back_to(&[Kind::Table, Kind::Section]),
            Kind::Cell => self.back_to(&[Kind::Table, Kind::Section, Kind::Row]),
            _ => {
                self.end_before(name, kind);
                true
            }
        };
        if !is_placed {
            // Outside of a table they are nothing.
            return self.is_shown();
        }
        match kind {
            Kind::Template => declared.is_there = Some(false),
            // Without a doctype, a table's text has no less size for what is around it (quirks mode).
            Kind::Table => declared.has_size = declared.has_size.or(Some(true)),
            _ => {}
        }
        if closed || kind == Kind::Empty {
            let around = self.around(self.elements.len(), kind.is_of_table());
            return around.with(declared).is_shown();
        }
        if self.elements.len() == DEPTH {
            self.elements.pop();
        }
        if self.shown.binary_search(&self.opened).is_ok() {
            declared = Declared::default();
        }
        let look = self
            .around(self.elements.len(), kind.is_of_table())
            .with(declared);
        self.elements.push(Element {
            name: key(name),
            kind,
            number: self.opened,
            declared,
            look,
        });
        self.opened += 1;
        look.is_shown()
    }

    /// Ends an element, and what is open in it. Whether it was shown; what was not open was.
    pub(super) fn end(&mut self, name: &[u8]) -> bool {
        let (kind, name) = (Kind::of(name), key(name));
        let stops = |around: Kind| match kind {
            Kind::Phrase => !matches!(around, Kind::Phrase | Kind::Formatting),
            Kind::Table | Kind::Section | Kind::Row | Kind::Cell => {
                matches!(around, Kind::Table | Kind::Template)
            }
            Kind::Template => false,
            _ => around.is_border(),
        };
        let mut all = self.elements.iter();
        let Some(at) = all.rposition(|open| open.name == name || stops(open.kind)) else {
            return true;
        };
        let Some(ended) = self.elements.get(at).filter(|open| open.name == name) else {
            return true;
        };
        let was_shown = ended.look.is_shown();
        if kind == Kind::Formatting {
            self.elements.remove(at);
            for inner in at..self.elements.len() {
                let is_of_table = |open: &Element| open.kind.is_of_table();
                let around = self.around(inner, self.elements.get(inner).is_some_and(is_of_table));
                if let Some(open) = self.elements.get_mut(inner) {
                    open.look = around.with(open.declared);
                }
            }
        } else {
            self.elements.truncate(at);
        }
        was_shown
    }

    /// What hides and is still open although it needs an end tag, by when it was opened.
    pub(super) fn unended(&self) -> Vec<usize> {
        let elements = self.elements.iter();
        let unended = elements.filter(|open| open.declared.hides() && !open.kind.may_lack_end());
        unended.map(|open| open.number).collect()
    }

    /// The look of what stands in the first so many elements. In a table, what no cell holds is shown before it
    /// (foster parenting).
    fn around(&self, elements: usize, is_of_table: bool) -> Look {
        let elements = self.elements.get(..elements).unwrap_or_default();
        let Some(innermost) = elements.last() else {
            return Look::default();
        };
        if is_of_table || !matches!(innermost.kind, Kind::Table | Kind::Section | Kind::Row) {
            return innermost.look;
        }
        let is_border = |open: &Element| matches!(open.kind, Kind::Table | Kind::Template);
        let table = elements.iter().rposition(is_border).unwrap_or_default();
        match elements.get(..=table) {
            Some([.., around, table]) if table.kind == Kind::Table => around.look,
            Some([table]) if table.kind == Kind::Table => Look::default(),
            _ => innermost.look,
        }
    }

    /// Ends what a start tag ends.
    fn end_before(&mut self, name: &[u8], kind: Kind) {
        match kind {
            Kind::Paragraph | Kind::Block => self.end_paragraph(),
            Kind::Heading => {
                self.end_paragraph();
                self.elements.pop_if(|open| open.kind == kind);
            }
            Kind::Item => {
                self.end_item(key(name));
                self.end_paragraph();
            }
            Kind::Table => {
                self.end_paragraph();
                let innermost = self.elements.last().map(|open| open.kind);
                if matches!(innermost, Some(Kind::Table | Kind::Section | Kind::Row)) {
                    self.end(name);
                }
            }
            Kind::Empty if name == b"hr" => self.end_paragraph(),
            Kind::Formatting if name == b"a" => {
                self.end(name);
            }
            Kind::Phrase if matches!(name, b"option" | b"optgroup") => {
                let option = key(b"option");
                self.elements.pop_if(|open| open.name == option);
            }
            _ => {}
        }
    }

    fn end_paragraph(&mut self) {
        let ends = |open: &Element| open.kind == Kind::Paragraph || open.kind.is_border();
        if let Some(at) = self.elements.iter().rposition(ends)
            && self
                .elements
                .get(at)
                .is_some_and(|open| open.kind == Kind::Paragraph)
        {
            self.elements.truncate(at);
        }
    }

    /// Ends the item of the same list.
    fn end_item(&mut self, name: u64) {
        let (address, div) = (key(b"address"), key(b"div"));
        let ends = |open: &Element| match open.kind {
            Kind::Phrase | Kind::Formatting | Kind::Paragraph => false,
            _ => open.name != address && open.name != div,
        };
        if let Some(at) = self.elements.iter().rposition(ends)
            && self.elements.get(at).is_some_and(|open| open.name == name)
        {
            self.elements.truncate(at);
        }
    }

    /// Ends what is open in the innermost element of these kinds. Whether there is one.
    fn back_to(&mut self, kinds: &[Kind]) -> bool {
        let holds = |open: &Element| kinds.contains(&open.kind) || open.kind == Kind::Template;
        let at = self.elements.iter().rposition(holds);
        if let Some(at) = at {
            self.elements.truncate(at + 1);
        }
        at.is_some()
    }
}
