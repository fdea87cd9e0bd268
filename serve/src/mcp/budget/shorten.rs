//! Shortening the long strings of an item that does not fit, which says so in each of them.
//!
//! - In: an item, the room for it. Out: the item with as much of its strings as fits. Nothing is built to see whether it
//!   fits, and what is built is built once, from the item itself.
//! - Not here: which items (`budget`).

use super::TOKEN;
use super::meter::{measure, measure_as};
use serde_json::Value;
use std::borrow::Cow;

/// The fewest characters that are left of a string in an item that does not fit.
const FEWEST: usize = 24;
/// So many characters are not worth a note that they are missing.
const SPARED: usize = 64;
/// The most characters of a name.
const LONGEST_NAME: usize = 200;
/// How deep arrays and objects may be within each other where not all fits.
pub(super) const DEEPEST: usize = 32;
/// What stands for what is deeper.
pub(super) const TOO_DEEP: &str = "… [nested too deep to be shown]";

/// How an item is written that does not fit.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// How many characters of each string are left.
    left: usize,
    /// How deep within the item it is.
    depth: usize,
}

impl Form {
    /// So many characters of each string, from the outside of an item on.
    fn with_at_most(left: usize) -> Self {
        Self { left, depth: 0 }
    }

    /// The same one level further in.
    pub(super) fn deeper(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }

    /// Whether arrays and objects are no longer shown here.
    pub(super) fn is_too_deep(self) -> bool {
        self.depth >= DEEPEST
    }

    /// What is left of a string and what is not, if it is shortened.
    fn halves(self, text: &str) -> Option<(&str, &str)> {
        let (end, _) = text.char_indices().nth(self.left)?;
        let (begin, rest) = text.split_at_checked(end)?;
        // What the note takes must be less than what it spares.
        rest.chars().nth(SPARED).map(|_| (begin, rest))
    }

    /// A string as it is written, or one that takes no less: it does not read further than what is left.
    pub(super) fn bound(self, text: &str) -> Cow<'_, str> {
        match self.halves(text) {
            None => Cow::Borrowed(text),
            Some((begin, rest)) => Cow::Owned(with_note(begin, rest.len())),
        }
    }

    /// The item, so written.
    fn made(self, item: Value) -> Value {
        #[cfg(test)]
        super::meter::visit();
        match item {
            Value::Array(_) | Value::Object(_) if self.is_too_deep() => Value::from(TOO_DEEP),
            Value::Array(items) => {
                let items = items.into_iter().map(|item| self.deeper().made(item));
                Value::Array(items.collect())
            }
            Value::Object(members) => {
                let members = members.into_iter().enumerate().map(|(number, (member, value))| {
                    let member = name(&member, number).into_owned();
                    (member, self.deeper().made(value))
                });
                Value::Object(members.collect())
            }
            Value::String(text) => match self.halves(&text) {
                Some((begin, rest)) => Value::from(with_note(begin, rest.chars().count())),
                None => Value::String(text),
            },
            item => item,
        }
    }
}

/// The beginning of a string that says how much is missing.
fn with_note(begin: &str, more: usize) -> String {
    format!("{begin}… [{more} more characters; ask again with a larger max_tokens]")
}

/// The name of a member as it is written where not all fits. The number of the member keeps those apart that begin alike.
pub(super) fn name(name: &str, number: usize) -> Cow<'_, str> {
    match name.char_indices().nth(LONGEST_NAME) {
        None => Cow::Borrowed(name),
        Some((end, _)) => Cow::Owned(format!("{}… {number}", name.get(..end).unwrap_or_default())),
    }
}

/// An item whose long strings are as short as they must be for it to fit, and what it takes at most. When it does not fit
/// whatever is done, they are as short as can be.
pub(super) fn shortened(item: Value, room: usize) -> (Value, usize) {
    let fit = |left| measure_as(Some(Form::with_at_most(left)), &item, room);
    let Some(mut cost) = fit(FEWEST) else {
        let shortest = Form::with_at_most(FEWEST).made(item);
        let cost = measure(&shortest, usize::MAX).unwrap_or(usize::MAX / 2);
        return (shortest, cost);
    };
    let mut best = FEWEST;
    // More characters to a token are rare, and then less is left than could be.
    let (mut least, mut most) = (FEWEST + 1, (room / TOKEN).saturating_mul(8).max(FEWEST));
    while least <= most {
        let left = least.midpoint(most);
        match fit(left) {
            Some(more) => {
                (best, cost) = (left, more);
                least = left + 1;
            }
            None => most = left - 1,
        }
    }
    (Form::with_at_most(best).made(item), cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_it_says_it_takes_is_enough() {
        let item = json!([1, "Wörter und mehr ".repeat(900), {"n".repeat(300): "b".repeat(5000)}]);
        for room in [12_000, 20_000, 100_000] {
            let (short, cost) = shortened(item.clone(), room);
            assert!(cost <= room, "{cost} > {room}");
            assert!(measure(&short, cost).is_some());
            let names: Vec<&String> = short[2].as_object().unwrap().keys().collect();
            assert_eq!(names, [&format!("{}… 0", "n".repeat(200))]);
        }
        assert!(shortened(item, 100).1 > 100);
    }

    #[test]
    fn what_is_too_deep_is_told() {
        let mut item = json!("in ".repeat(2000));
        for _ in 0..100 {
            item = json!([item]);
        }
        let (short, cost) = shortened(item, 10_000);
        assert!(cost <= 10_000);
        assert_eq!(
            short.to_string(),
            format!("{}\"{TOO_DEEP}\"{}", "[".repeat(32), "]".repeat(32))
        );
    }
}
