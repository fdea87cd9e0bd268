//! How many tokens an answer takes, and keeping it under a limit: what does not come now comes when it is asked for.
//!
//! - In: a JSON value, how many tokens it may take, where to begin. Out: what fits, and where it goes on.
//! - The order is that of the document. What can be cut are arrays, between items, and long strings. Numbers, names and
//!   short strings stay in every part, so that each can be read alone; so do small arrays and objects, where there is room.
//!   What is large and comes before or after the part is empty in it: an array without items, a string that says so.
//! - Not here: how the place is told to the caller (`continuation`); what a token costs.

mod meter;
mod shorten;

use crate::problem::{Kind, Problem};
use meter::{Meter, measure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shorten::shortened;

/// A string of so many characters is never cut outside of arrays.
const SHORT: usize = 64;
/// What a token is in the unit of [`Meter`].
const TOKEN: usize = 100;
/// What a pair of brackets takes at most.
const BRACKETS: usize = 2 * COMMA;
/// What a comma takes at most.
const COMMA: usize = 100;

/// How many tokens a text takes; see [`Meter`] for how well that is known.
pub(crate) fn tokens(text: &str) -> usize {
    let mut meter = Meter::default();
    text.chars().for_each(|character| meter.push(character));
    meter.total().div_ceil(TOKEN)
}

/// A place in a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// The array or string that was cut (JSON pointer, RFC 6901), in the whole value.
    pub(crate) pointer: String,
    /// How many of its items, or characters, came before.
    pub(crate) offset: usize,
}

/// A part of a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cut {
    /// What fits.
    pub(crate) value: Value,
    /// Where it goes on, if it does.
    pub(crate) rest: Option<Position>,
}

/// As much of a value as `most` tokens hold, from a place on. There is always something, even if it takes more.
///
/// # Errors
/// [`Kind::Conflict`] when the value has no such place.
pub(crate) fn cut(value: Value, from: Option<&Position>, most: usize) -> Result<Cut, Problem> {
    let room = most.saturating_mul(TOKEN);
    let from = from.map(place).transpose()?;
    let mut cutter = Cutter {
        at: Vec::new(),
        has_moved: false,
        rest: None,
    };
    let (value, _) = cutter.take(value, from.as_ref().map(Place::borrowed), room)?;
    Ok(Cut {
        value,
        rest: cutter.rest,
    })
}

/// A [`Position`], taken apart.
struct Place {
    /// The names and numbers on the way.
    steps: Vec<String>,
    /// Where to go on there.
    offset: usize,
}

/// The rest of the way to a place.
#[derive(Clone, Copy)]
struct Way<'a> {
    /// The names and numbers that are left.
    steps: &'a [String],
    /// Where to go on there.
    offset: usize,
}

impl Place {
    fn borrowed(&self) -> Way<'_> {
        Way {
            steps: &self.steps,
            offset: self.offset,
        }
    }
}

fn place(position: &Position) -> Result<Place, Problem> {
    let mut steps = position.pointer.split('/');
    if steps.next() != Some("") {
        return Err(changed());
    }
    Ok(Place {
        steps: steps
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect(),
        offset: position.offset,
    })
}

fn changed() -> Problem {
    Problem::new(
        Kind::Conflict,
        "the answer has changed meanwhile; ask again from the start",
    )
}

/// Goes through a value in the order of the document.
struct Cutter {
    /// Where it is: names and numbers, escaped.
    at: Vec<String>,
    /// Whether anything came that did not come before.
    has_moved: bool,
    /// Where it stopped.
    rest: Option<Position>,
}

impl Cutter {
    /// What fits into the room, and what that takes.
    fn take(&mut self, value: Value, from: Option<Way<'_>>, room: usize) -> Result<(Value, usize), Problem> {
        if from.is_none()
            && let Some(cost) = measure(&value, room)
        {
            self.has_moved = true;
            return Ok((value, cost));
        }
        match value {
            Value::Array(items) => self.items(items, from, room),
            Value::Object(members) => self.members(members, from, room),
            Value::String(text) => {
                let from = match from {
                    None => 0,
                    Some(Way { steps: [], offset }) => offset,
                    Some(_) => return Err(changed()),
                };
                self.text(&text, from, room)
            }
            value if from.is_none() => {
                self.has_moved = true;
                let cost = cost(&value);
                Ok((value, cost))
            }
            _ => Err(changed()),
        }
    }

    /// Stops here, after so many items or characters of what is here.
    fn stop(&mut self, offset: usize) {
        let pointer = self.at.iter().map(|step| format!("/{step}")).collect();
        self.rest = Some(Position { pointer, offset });
    }

    fn items(
        &mut self,
        items: Vec<Value>,
        from: Option<Way<'_>>,
        room: usize,
    ) -> Result<(Value, usize), Problem> {
        // Either so many items came, or all before this one and a part of it.
        let (first, mut within) = match from {
            None => (0, None),
            Some(Way { steps: [], offset }) => (offset, None),
            Some(Way {
                steps: [step, steps @ ..],
                offset,
            }) => {
                let first = step.parse::<usize>().map_err(|_| changed())?;
                (first, Some(Way { steps, offset }))
            }
        };
        let count = items.len();
        if from.is_some() && first >= count {
            return Err(changed());
        }
        let mut spent = BRACKETS;
        let mut taken = Vec::new();
        for (number, item) in items.into_iter().enumerate().skip(first) {
            let room = room.saturating_sub(spent + COMMA);
            let from = within.take();
            let (item, cost) = match measure(&item, room).filter(|_| from.is_none()) {
                Some(cost) => {
                    self.has_moved = true;
                    (item, cost)
                }
                None if self.has_moved => {
                    self.stop(number);
                    break;
                }
                None => {
                    let shortened = match from {
                        None => shortened(&item, room),
                        Some(_) => None,
                    };
                    match shortened {
                        Some(shortened) => {
                            self.has_moved = true;
                            shortened
                        }
                        None => {
                            self.at.push(number.to_string());
                            let part = self.take(item, from, room)?;
                            self.at.pop();
                            part
                        }
                    }
                }
            };
            spent += cost + COMMA;
            taken.push(item);
            if self.rest.is_some() {
                break;
            }
        }
        Ok((Value::Array(taken), spent))
    }

    fn members(
        &mut self,
        members: Map<String, Value>,
        from: Option<Way<'_>>,
        room: usize,
    ) -> Result<(Value, usize), Problem> {
        let (place, mut within) = match from {
            None => (0, None),
            Some(Way { steps: [], .. }) => return Err(changed()),
            Some(Way {
                steps: [step, steps @ ..],
                offset,
            }) => {
                let place = members.keys().position(|name| name == step).ok_or_else(changed)?;
                (place, Some(Way { steps, offset }))
            }
        };
        let is_begun = within.is_some();
        // First what is in every part; it leaves the room for the rest.
        let mut spent = BRACKETS;
        let mut small = room / 4;
        let mut found = Vec::with_capacity(members.len());
        for (number, (name, value)) in members.into_iter().enumerate() {
            spent += name_cost(&name);
            let is_reached = is_begun && number == place;
            let fixed = match is_fixed(&value) {
                true => Some(cost(&value)),
                false => measure(&value, small.min(room / 16)).inspect(|cost| small -= cost),
            };
            let outlined = match fixed {
                Some(cost) if !is_reached => {
                    spent += cost;
                    None
                }
                _ => {
                    let outline = outline(&value);
                    let cost = cost(&outline);
                    spent += cost;
                    Some((outline, cost))
                }
            };
            found.push((name, value, outlined));
        }
        let mut taken = Map::new();
        for (number, (name, value, outlined)) in found.into_iter().enumerate() {
            let value = match outlined {
                None => value,
                Some((outline, _)) if number < place || self.rest.is_some() => outline,
                Some((_, cost)) => {
                    spent = spent.saturating_sub(cost);
                    self.at.push(name.replace('~', "~0").replace('/', "~1"));
                    let (value, cost) = self.take(value, within.take(), room.saturating_sub(spent))?;
                    self.at.pop();
                    spent += cost;
                    value
                }
            };
            taken.insert(name, value);
        }
        if self.rest.is_none() {
            self.has_moved = true;
        }
        Ok((Value::Object(taken), spent))
    }

    fn text(&mut self, text: &str, from: usize, room: usize) -> Result<(Value, usize), Problem> {
        let text = match from {
            0 => text,
            from => {
                let (begin, _) = text.char_indices().nth(from).ok_or_else(changed)?;
                text.get(begin..).unwrap_or_default()
            }
        };
        let mut meter = Meter::default();
        meter.push('"');
        // What fits, in bytes and characters: as long as can be; to the last end of a line; to the last blank.
        let (mut longest, mut line, mut blank) = ((0, 0), (0, 0), (0, 0));
        let mut characters = 0;
        for (begin, character) in text.char_indices() {
            meter.push_in_json(character);
            if meter.total() + COMMA > room && (self.has_moved || characters > 0) {
                break;
            }
            characters += 1;
            longest = (begin + character.len_utf8(), characters);
            if character == '\n' {
                line = longest;
            } else if character.is_whitespace() {
                blank = longest;
            }
        }
        let is_whole = longest.0 == text.len();
        let is_near = |(_, end): (usize, usize)| end > characters - characters / 4;
        let (end, characters) = match is_whole {
            true => longest,
            false => [line, blank]
                .into_iter()
                .find(|end| is_near(*end))
                .unwrap_or(longest),
        };
        if characters > 0 {
            self.has_moved = true;
        }
        if !is_whole {
            self.stop(from + characters);
        }
        let value = Value::from(text.get(..end).unwrap_or_default());
        let cost = cost(&value);
        Ok((value, cost))
    }
}

/// What a value takes, however much.
fn cost(value: &Value) -> usize {
    measure(value, usize::MAX).unwrap_or(usize::MAX / 2)
}

/// What the name of a member takes, with what stands around it.
fn name_cost(name: &str) -> usize {
    let mut meter = Meter::default();
    for character in [',', '"'] {
        meter.push(character);
    }
    name.chars().for_each(|character| meter.push_in_json(character));
    for character in ['"', ':'] {
        meter.push(character);
    }
    meter.total()
}

/// Whether a value is in every part.
fn is_fixed(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::String(text) => text.chars().nth(SHORT).is_none(),
        _ => true,
    }
}

/// A value without what can be cut.
fn outline(value: &Value) -> Value {
    match value {
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| (name.clone(), outline(value)))
                .collect(),
        ),
        Value::String(text) if !is_fixed(value) => {
            Value::from(format!("… [{} characters in another part]", text.chars().count()))
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// All parts, and where each began.
    fn parts(whole: &Value, most: usize) -> Vec<(Option<Position>, Value)> {
        let mut parts = Vec::new();
        let mut from = None;
        loop {
            let part = cut(whole.clone(), from.as_ref(), most).unwrap();
            parts.push((from, part.value));
            let Some(rest) = part.rest else { return parts };
            assert_ne!(parts.last().unwrap().0.as_ref(), Some(&rest), "it stands still");
            assert!(parts.len() < 20_000, "it does not end");
            from = Some(rest);
        }
    }

    /// What came so far, with a part that begins at the end of these steps.
    fn joined(before: Value, part: Value, steps: &[String], offset: usize) -> Value {
        match (before, part, steps) {
            (_, part, []) if offset == 0 => part,
            (Value::Array(mut before), Value::Array(part), []) => {
                assert_eq!(before.len(), offset);
                before.extend(part);
                Value::Array(before)
            }
            (Value::String(before), Value::String(part), []) => {
                assert_eq!(before.chars().count(), offset);
                Value::String(before + &part)
            }
            (Value::Array(mut before), Value::Array(part), [step, steps @ ..]) => {
                assert_eq!(before.len(), step.parse::<usize>().unwrap() + 1);
                let mut part = part.into_iter();
                let last = before.pop().unwrap();
                before.push(joined(last, part.next().unwrap(), steps, offset));
                before.extend(part);
                Value::Array(before)
            }
            (Value::Object(before), Value::Object(part), [step, steps @ ..]) => {
                let place = part.keys().position(|name| name == step).unwrap();
                let members = before.into_iter().zip(part).enumerate();
                let members = members.map(|(number, ((name, before), (_, part)))| {
                    let value = match number.cmp(&place) {
                        std::cmp::Ordering::Less => before,
                        std::cmp::Ordering::Equal => joined(before, part, steps, offset),
                        std::cmp::Ordering::Greater => part,
                    };
                    (name, value)
                });
                Value::Object(members.collect())
            }
            other => panic!("{other:?}"),
        }
    }

    fn whole(parts: Vec<(Option<Position>, Value)>) -> Value {
        parts
            .into_iter()
            .reduce(|(_, before), (from, part)| {
                let Place { steps, offset } = place(from.as_ref().unwrap()).unwrap();
                (None, joined(before, part, &steps, offset))
            })
            .unwrap()
            .1
    }

    fn mails(count: usize, characters: usize) -> Value {
        (0..count)
            .map(|number| json!({"id": number, "subject": "The minutes of the meeting", "body": "word ".repeat(characters / 5)}))
            .collect()
    }

    /// Values whose strings are too short to be shortened.
    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,30}".prop_map(Value::from),
            "[a-z \n]{60,85}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 128, 12, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
                prop::collection::hash_map("[a-z~/é]{0,6}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn what_fits_is_whole() {
        let value = json!({"rows": [1, 2, 3], "total": 3});
        let most = tokens(&value.to_string());
        assert_eq!(cut(value.clone(), None, most).unwrap(), Cut { value, rest: None });
    }

    #[test]
    fn rows_come_by_and_by_with_what_is_told_beside_them() {
        let value = json!({"columns": ["id", "subject"], "rows": mails(200, 200), "snapshot": 7});
        let parts = parts(&value, 2000);
        assert!((5..20).contains(&parts.len()), "{}", parts.len());
        for (from, part) in &parts {
            assert!(tokens(&part.to_string()) <= 2000);
            assert_eq!(part["snapshot"], 7);
            assert_eq!(part["columns"], value["columns"]);
            assert!(from.as_ref().is_none_or(|from| from.pointer == "/rows"));
        }
        assert_eq!(whole(parts), value);
    }

    #[test]
    fn a_long_text_comes_by_and_by_and_breaks_between_words() {
        let value =
            json!({"id": 1, "body": "Überall words\n".repeat(2000), "attachments": [{"name": "a.pdf"}]});
        let parts = parts(&value, 1000);
        assert!(parts.len() > 3);
        for (_, part) in &parts {
            assert!(tokens(&part.to_string()) <= 1000);
            assert_eq!(part["attachments"], value["attachments"]);
            assert!(part["body"].as_str().unwrap().ends_with('\n'));
        }
        assert_eq!(whole(parts), value);
    }

    #[test]
    fn two_that_are_large_come_one_after_the_other() {
        let value = json!({"a": mails(50, 100), "b": "c".repeat(9000), "d": mails(50, 100)});
        assert_eq!(whole(parts(&value, 500)), value);
    }

    #[test]
    fn an_item_that_is_too_long_is_shortened_and_says_so() {
        let value = json!({"rows": mails(5, 50_000)});
        let parts = parts(&value, 1000);
        let mut ids = Vec::new();
        for (_, part) in &parts {
            assert!(tokens(&part.to_string()) <= 1000);
            for row in part["rows"].as_array().unwrap() {
                ids.push(row["id"].as_u64().unwrap());
                let body = row["body"].as_str().unwrap();
                assert!(body.ends_with(" more characters; ask again with a larger max_tokens]"));
                assert!(body.len() > 1000);
            }
        }
        assert_eq!(ids, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn an_item_that_holds_too_much_is_cut_within() {
        let value =
            json!({"threads": [{"id": 1, "mails": mails(300, 50)}, {"id": 2, "mails": mails(3, 50)}]});
        let parts = parts(&value, 1000);
        let pointer = &parts[1].0.as_ref().unwrap().pointer;
        assert_eq!(pointer, "/threads/0/mails");
        assert_eq!(whole(parts), value);
    }

    #[test]
    fn a_place_that_is_not_there_is_a_conflict() {
        let value = json!({"rows": [1, 2], "text": "ab", "n": 1});
        for (pointer, offset) in [
            ("rows", 0),
            ("/rows", 2),
            ("/rows/2", 0),
            ("/rows/x", 0),
            ("/rows/0", 0),
            ("/text", 3),
            ("/text/0", 0),
            ("/n", 0),
            ("/other", 0),
            ("", 0),
        ] {
            let from = Position {
                pointer: pointer.to_owned(),
                offset,
            };
            let problem = cut(value.clone(), Some(&from), 100).unwrap_err();
            assert_eq!(problem.kind, Kind::Conflict, "{pointer}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(value in tree(), most in 1_usize..400) {
            prop_assert_eq!(whole(parts(&value, most)), value);
        }

        #[test]
        fn what_is_measured_is_not_less_than_what_is_written(value in tree()) {
            let written = tokens(&value.to_string());
            prop_assert!(written <= cost(&value).div_ceil(TOKEN));
        }

        #[test]
        fn lists_of_short_items_are_under_the_limit(items in prop::collection::vec("[a-z ]{0,40}", 0..200), most in 60_usize..600) {
            let value = json!({"items": items, "n": 1});
            for (_, part) in parts(&value, most) {
                prop_assert!(tokens(&part.to_string()) <= most);
            }
        }
    }
}
