//! Shortening the long strings of an item that does not fit, which says so in each of them.
//!
//! - In: an item, the room for it. Out: the item with as much of its strings as fits.
//! - Not here: which items (`budget`).

use super::meter::measure;
use super::{SHORT, TOKEN};
use serde_json::Value;

/// The fewest characters that are left of a string in an item that does not fit.
const FEWEST: usize = 24;

/// An item whose long strings are as short as they must be for it to fit, and what it takes; `None` when it cannot.
pub(super) fn shortened(item: &Value, room: usize) -> Option<(Value, usize)> {
    let shortest = with_at_most(item, FEWEST);
    let cost = measure(&shortest, room)?;
    let mut best = Some((shortest, cost));
    // More characters to a token are rare, and then less is left than could be.
    let (mut least, mut most) = (FEWEST + 1, (room / TOKEN).saturating_mul(8).max(FEWEST));
    while least <= most {
        let left = least.midpoint(most);
        let short = with_at_most(item, left);
        match measure(&short, room) {
            Some(cost) => {
                best = Some((short, cost));
                least = left + 1;
            }
            None => most = left - 1,
        }
    }
    best
}

/// The value with at most so many characters of each string.
fn with_at_most(value: &Value, left: usize) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| with_at_most(item, left)).collect(),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| (name.clone(), with_at_most(value, left)))
                .collect(),
        ),
        Value::String(text) => match text.char_indices().nth(left) {
            None => value.clone(),
            Some((end, _)) => {
                let begin = text.get(..end).unwrap_or_default();
                let more = text.chars().count() - left;
                let long = format!("{begin}… [{more} more characters; ask again with a larger max_tokens]");
                // What the note takes must be less than what it spares.
                match more > SHORT {
                    true => Value::from(long),
                    false => value.clone(),
                }
            }
        },
        value => value.clone(),
    }
}
