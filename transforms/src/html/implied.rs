//! Where elements end that have no end tag (HTML standard, §13.1.2.4, and §13.2.6.4 for `a` and `button`).
//!
//! - In: the name of an element that is open, the name of a tag that comes. Out: whether that tag ends it.
//! - Not here: what is open.

use super::is_block;

/// Whether an element ends where another begins that cannot stand in it, unless one is open in it that
/// [`keeps`] it open.
pub(super) fn ends_before(open: &[u8], next: &[u8]) -> bool {
    match open {
        b"p" => ends_paragraph(next),
        b"li" => next == b"li",
        b"dd" | b"dt" => matches!(next, b"dd" | b"dt"),
        b"rp" | b"rt" => matches!(next, b"rp" | b"rt"),
        b"option" => matches!(next, b"hr" | b"optgroup" | b"option"),
        b"optgroup" => matches!(next, b"hr" | b"optgroup"),
        b"caption" | b"td" | b"th" => matches!(next, b"td" | b"th") || begins_rows(next),
        b"tr" => begins_rows(next),
        b"tbody" | b"tfoot" | b"thead" => next != b"tr" && begins_rows(next),
        // A link in a link, and a button in a button, stands beside it.
        b"a" | b"button" => next == open,
        _ => false,
    }
}

/// Whether an element ends with the one around it, unless that was begun within it: then it [`keeps`] it open.
pub(super) fn ends_within(open: &[u8], around: &[u8]) -> bool {
    match open {
        b"p" => around != b"p" && ends_paragraph(around),
        b"li" => is_list(around),
        b"dd" | b"dt" => around == b"dl",
        b"rp" | b"rt" => around == b"ruby",
        b"option" => around == b"optgroup" || is_choice(around),
        b"optgroup" => is_choice(around),
        b"td" | b"th" => matches!(around, b"table" | b"tbody" | b"tfoot" | b"thead" | b"tr"),
        b"tr" => matches!(around, b"table" | b"tbody" | b"tfoot" | b"thead"),
        b"caption" | b"tbody" | b"tfoot" | b"thead" => around == b"table",
        _ => false,
    }
}

/// Whether an element stays open as long as another is open in it, whatever tags come: an item of a list stays so while
/// there is a list in it.
pub(super) fn keeps(open: &[u8], within: &[u8]) -> bool {
    let keeps = match open {
        b"li" => is_list(within),
        b"dd" | b"dt" => within == b"dl",
        b"rp" | b"rt" => within == b"ruby",
        b"optgroup" | b"option" => is_choice(within),
        b"a" | b"button" | b"caption" | b"tbody" | b"td" | b"tfoot" | b"th" | b"thead" | b"tr" => {
            within == b"table"
        }
        _ => return false,
    };
    keeps || within == b"template"
}

fn is_list(name: &[u8]) -> bool {
    matches!(name, b"dir" | b"menu" | b"ol" | b"ul")
}

fn is_choice(name: &[u8]) -> bool {
    matches!(name, b"datalist" | b"select")
}

fn begins_rows(name: &[u8]) -> bool {
    matches!(name, b"tbody" | b"tfoot" | b"thead" | b"tr")
}

/// Whether a paragraph that is open ends where such an element begins or ends. Other elements stand within one.
fn ends_paragraph(name: &[u8]) -> bool {
    match name {
        b"body" | b"td" | b"th" => true,
        b"optgroup" | b"option" => false,
        name => is_block(name),
    }
}
