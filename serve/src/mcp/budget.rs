//! How many tokens an answer takes, and keeping it under a limit: what does not come now comes when it is asked for.
//!
//! - In: a JSON value, how many tokens it may take, where to begin. Out: what fits, and where it goes on.
//! - The order is that of the document. What can be cut are arrays, between items, and long strings outside of them.
//!   Numbers, names and short strings stay in every part, so that each can be read alone; so do small arrays and objects,
//!   where there is room. What is large and comes before or after the part is empty in it: an array without items, an
//!   object without members, a string that says so.
//! - Each part gets on: by an item, or by some hundred characters, and by a part of what is repeated beside them, even if
//!   that takes more than it may. Nothing is cut within an item: one that does not fit has its strings shortened.
//! - What it costs grows with the size of the value, not with its depth: what may not fit is read no further than it could.
//! - Not here: how the place is told to the caller (`continuation`); what a token costs.

mod meter;
mod shorten;

use crate::problem::{Kind, Problem};
use meter::{Meter, measure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shorten::{DEEPEST, TOO_DEEP, shortened};

/// A string of so many characters is never cut outside of arrays, and of a longer one so many come in each part.
const SHORT: usize = 256;
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
        room,
        has_forced: false,
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

/// Where to begin in something that has no members.
fn offset(from: Option<Way<'_>>) -> Result<usize, Problem> {
    match from {
        None => Ok(0),
        Some(Way { steps: [], offset }) => Ok(offset),
        Some(_) => Err(changed()),
    }
}

/// Goes through a value in the order of the document.
struct Cutter {
    /// What the whole part may take.
    room: usize,
    /// Whether an item came for which there was no room.
    has_forced: bool,
    /// Where it is: names, escaped.
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
            Value::Array(_) | Value::Object(_) if self.at.len() >= DEEPEST => {
                self.has_moved = true;
                let value = Value::from(TOO_DEEP);
                let cost = cost(&value);
                Ok((value, cost))
            }
            Value::Array(items) => self.items(items, offset(from)?, room),
            Value::Object(members) => self.members(members, from, room),
            Value::String(text) => self.text(&text, offset(from)?, room),
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

    fn items(&mut self, items: Vec<Value>, first: usize, room: usize) -> Result<(Value, usize), Problem> {
        if first > 0 && first >= items.len() {
            return Err(changed());
        }
        let mut spent = BRACKETS;
        let mut taken = Vec::new();
        for (number, item) in items.into_iter().enumerate().skip(first) {
            let left = room.saturating_sub(spent + COMMA);
            let (item, cost) = match measure(&item, left) {
                Some(cost) => (item, cost),
                None if number > first || self.has_forced => {
                    self.stop(number);
                    break;
                }
                None => {
                    self.has_forced = true;
                    // What came before it is no reason to shorten what is not long.
                    shortened(item, left.max(self.room / 2))
                }
            };
            self.has_moved = true;
            spent = spent.saturating_add(cost).saturating_add(COMMA);
            taken.push(item);
        }
        Ok((Value::Array(taken), spent))
    }

    fn members(
        &mut self,
        members: Map<String, Value>,
        from: Option<Way<'_>>,
        mut room: usize,
    ) -> Result<(Value, usize), Problem> {
        let (place, mut within) = match from {
            None | Some(Way { steps: [], offset: 0 }) => (0, None),
            Some(Way { steps: [], .. }) => return Err(changed()),
            Some(Way {
                steps: [step, steps @ ..],
                offset,
            }) => {
                let mut names = members.keys().enumerate();
                let place = names.position(|(number, name)| shorten::name(name, number) == step.as_str());
                (place.ok_or_else(changed)?, Some(Way { steps, offset }))
            }
        };
        let is_begun = within.is_some();
        // First what is in every part; it leaves the room for the rest.
        let mut spent = BRACKETS;
        let mut small = room / 4;
        let mut found = Vec::with_capacity(members.len());
        for (number, (name, value)) in members.into_iter().enumerate() {
            let name = shorten::name(&name, number).into_owned();
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
        if !self.has_moved {
            // However much is in every part: the parts together do not take more than some times the whole.
            room = room.max(spent + room.max(spent) / 4);
        } else if spent > room {
            self.stop(0);
            return Ok((Value::Object(Map::new()), BRACKETS));
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
                    spent = spent.saturating_add(cost);
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
            if meter.total() + COMMA > room && (self.has_moved || characters >= SHORT) {
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
        if !is_whole && characters < SHORT {
            // Something else came: there is more room for it in the next part.
            self.stop(from);
            let value = elsewhere(text);
            let cost = cost(&value);
            return Ok((value, cost));
        }
        let is_near = |(_, end): (usize, usize)| end >= SHORT && end > characters - characters / 4;
        let (end, characters) = match is_whole {
            true => longest,
            false => [line, blank]
                .into_iter()
                .find(|end| is_near(*end))
                .unwrap_or(longest),
        };
        self.has_moved = true;
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

/// What stands for a value where it is not shown.
fn outline(value: &Value) -> Value {
    match value {
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Object(_) => Value::Object(Map::new()),
        Value::String(text) if !is_fixed(value) => elsewhere(text),
        value => value.clone(),
    }
}

/// What stands for a string that is not shown.
fn elsewhere(text: &str) -> Value {
    Value::from(format!("… [{} characters in another part]", text.chars().count()))
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
    fn an_item_that_holds_too_much_comes_all_the_same() {
        let value =
            json!({"threads": [{"id": 1, "mails": mails(300, 50)}, {"id": 2, "mails": mails(3, 50)}]});
        let parts = parts(&value, 1000);
        let position = parts[1].0.as_ref().unwrap();
        assert_eq!((position.pointer.as_str(), position.offset), ("/threads", 1));
        assert_eq!(whole(parts), value);
    }

    #[test]
    fn each_part_has_a_row_however_wide_the_rows_are() {
        let columns: Vec<String> = (0..25).map(|number| format!("column_{number}")).collect();
        let row: Vec<Value> = (0..25)
            .map(|number| match number % 5 {
                0 => json!("words of a long text ".repeat(200)),
                1 => json!("2024-05-02T10:30:00Z"),
                _ => json!(number * 1001),
            })
            .collect();
        let value = json!({"columns": columns, "rows": [row, row, row, row], "snapshot": 7});
        for most in [1, 100, 300, 500, 1000] {
            let mut seen = 0;
            for (_, part) in parts(&value, most) {
                assert_eq!(part["snapshot"], 7);
                for row in part["rows"].as_array().unwrap() {
                    assert_eq!(row.as_array().unwrap().len(), 25);
                    seen += 1;
                }
            }
            assert_eq!(seen, 4, "{most}");
        }
        // The place among rows is kept by who reads them: what it is given is always a beginning.
        for most in [300, 500, 1000] {
            let part = cut(value.clone(), None, most).unwrap();
            assert_eq!(
                part.rest.map(|rest| (rest.pointer, rest.offset)),
                Some(("/rows".to_owned(), 1)),
                "{most}"
            );
        }
    }

    #[test]
    fn much_that_is_in_every_part_does_not_make_the_parts_many() {
        let mut value = Map::new();
        for number in 0..40 {
            value.insert(format!("about_{number}"), json!("what a member is ".repeat(6)));
        }
        value.insert("text".to_owned(), json!("words of a long text ".repeat(200)));
        value.insert("columns".to_owned(), mails(40, 100));
        let value = Value::Object(value);
        let parts = parts(&value, 400);
        assert!(parts.len() < 25, "{}", parts.len());
        for (_, part) in &parts {
            assert_eq!(part["about_39"], value["about_39"]);
        }
        assert_eq!(whole(parts), value);
    }

    #[test]
    fn long_members_come_by_and_by_whatever_stands_for_the_others() {
        let members = (0..300).map(|number| (format!("member_{number}"), json!("words ".repeat(60))));
        let value = Value::Object(members.collect());
        let parts = parts(&value, 300);
        assert!((2..60).contains(&parts.len()), "{}", parts.len());
        assert_eq!(whole(parts), value);
    }

    #[test]
    fn short_members_come_all_at_once() {
        let members = (0..500).map(|number| (format!("member_{number}"), json!("words")));
        let value = Value::Object(members.collect());
        assert_eq!(cut(value.clone(), None, 200).unwrap(), Cut { value, rest: None });
    }

    #[test]
    fn a_long_name_is_cut_and_found_again() {
        let (one, other) = (format!("{}a", "n".repeat(300)), format!("{}b", "n".repeat(300)));
        let value = json!({one: mails(20, 100), other: mails(20, 100)});
        let mut counts = [0, 0];
        for (_, part) in parts(&value, 500) {
            for (count, (name, mails)) in counts.iter_mut().zip(part.as_object().unwrap()) {
                assert!(name.chars().count() < 210 && name.contains('…'));
                *count += mails.as_array().unwrap().len();
            }
        }
        assert_eq!(counts, [20, 20]);
    }

    #[test]
    fn what_is_deep_and_large_is_not_read_more_than_it_must() {
        let mut deep = Value::Array(vec![json!(1); 200_000]);
        for _ in 0..110 {
            deep = Value::Array(vec![deep]);
        }
        let mut members = Value::Array(vec![json!(1); 200_000]);
        for _ in 0..110 {
            members = Value::Object([("a".to_owned(), members)].into_iter().collect());
        }
        for value in [json!({"workspaces": deep}), members] {
            meter::VISITED.set(0);
            let part = cut(value, None, 200).unwrap();
            assert!(meter::VISITED.get() < 20_000, "{}", meter::VISITED.get());
            assert_eq!(part.rest, None);
            assert!(part.value.to_string().contains(TOO_DEEP));
        }
    }

    #[test]
    fn many_strings_are_read_a_few_times_at_most() {
        let strings = Value::Array(vec![json!("s".repeat(80)); 45_000]);
        meter::VISITED.set(0);
        let part = cut(json!({"workspaces": strings}), None, 200).unwrap();
        assert!(meter::VISITED.get() < 1000, "{}", meter::VISITED.get());
        assert!(part.rest.is_some_and(|rest| rest.offset > 0));
        // As one item they come all the same, at once.
        meter::VISITED.set(0);
        let part = cut(json!({"workspaces": [strings]}), None, 200).unwrap();
        assert!(meter::VISITED.get() < 150_000, "{}", meter::VISITED.get());
        assert_eq!(
            part,
            Cut {
                value: json!({"workspaces": [strings]}),
                rest: None
            }
        );
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
            ("", 1),
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
