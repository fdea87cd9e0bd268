//! The opaque text with which an agent asks for the rest of an answer that was cut.
//!
//! - In: the tool, the digest of its input, where to go on. Out: one word of text; and back, if it belongs to the call.
//! - Nothing is kept for it: all it needs is in the text. It is no permission: whoever sends it back is authorised anew,
//!   so it needs no secret, only a check that it came back whole.
//! - Not here: cutting (`budget`).

use super::budget::Position;
use crate::problem::{Kind, Problem};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The longest text that is read, in bytes.
const LONGEST: usize = 8 * 1024;
/// How many bytes of the hash stand before the JSON, to tell what was damaged on its way.
const CHECK: usize = 4;
/// The members of an input that say how much of the answer to give, not which answer.
const HOW_MUCH: [&str; 2] = ["max_tokens", "continue"];

/// Where an answer goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Continuation {
    /// The tool that was called.
    pub(crate) tool: String,
    /// The [`digest`] of what it was called with.
    pub(crate) input: String,
    /// Where it goes on.
    pub(crate) position: Position,
    /// The snapshot that was read, if it was one.
    pub(crate) snapshot: Option<i64>,
}

impl Continuation {
    /// It as text: letters, digits, `-` and `_`.
    pub(crate) fn encode(&self) -> String {
        // Strings and numbers always have a form in JSON.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut bytes = check(&json).to_vec();
        bytes.extend(json);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What [`Self::encode`] wrote, for a call of the same tool with the same input.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] when it is damaged, or of another tool or input.
    pub(crate) fn decode(text: &str, tool: &str, input_digest: &str) -> Result<Self, Problem> {
        let damaged = || {
            Problem::new(
                Kind::BadRequest,
                "`continue` is damaged; send it exactly as it came, or leave it out to start again",
            )
        };
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(damaged());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| damaged())?;
        let (sum, json) = bytes.split_first_chunk::<CHECK>().ok_or_else(damaged)?;
        if *sum != check(json) {
            return Err(damaged());
        }
        let read: Self = serde_json::from_slice(json).map_err(|_| damaged())?;
        let of_another = |what: &str| {
            Problem::new(
                Kind::BadRequest,
                format!(
                    "`continue` is of a call {what}; send the same input as then, or leave it out to start again"
                ),
            )
        };
        if read.tool != tool {
            return Err(of_another("of another tool"));
        }
        if read.input != input_digest {
            return Err(of_another("with another input"));
        }
        Ok(read)
    }
}

/// What tells one input of a tool from another: a hash of it, whatever the order of its members, without
/// `max_tokens` and `continue`.
pub(crate) fn digest(input: &Value) -> String {
    let mut input = canonical(input);
    if let Value::Object(members) = &mut input {
        members.retain(|name, _| !HOW_MUCH.contains(&name.as_str()));
    }
    blake3::hash(input.to_string().as_bytes()).to_hex().to_string()
}

/// The same value, with the members of its objects in the order of their names.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            let members: Map<String, Value> = sorted
                .into_iter()
                .map(|(name, value)| (name.clone(), canonical(value)))
                .collect();
            Value::Object(members)
        }
        value => value.clone(),
    }
}

/// The first bytes of the hash of these bytes.
fn check(bytes: &[u8]) -> [u8; CHECK] {
    let hash = blake3::hash(bytes);
    hash.as_bytes()
        .first_chunk::<CHECK>()
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn of(tool: &str, input: &Value, pointer: &str, offset: usize) -> Continuation {
        Continuation {
            tool: tool.to_owned(),
            input: digest(input),
            position: Position {
                pointer: pointer.to_owned(),
                offset,
            },
            snapshot: Some(7),
        }
    }

    #[test]
    fn an_input_is_the_same_in_any_order_and_however_much_is_asked() {
        let one: Value = serde_json::from_str(r#"{"a": {"x": 1, "y": [2]}, "b": "c"}"#).unwrap();
        let two: Value =
            serde_json::from_str(r#"{"max_tokens": 9, "b": "c", "continue": "z", "a": {"y": [2], "x": 1}}"#)
                .unwrap();
        assert_eq!(digest(&one), digest(&two));
        assert_ne!(digest(&one), digest(&json!({"a": {"x": 1, "y": [3]}, "b": "c"})));
        // Only the input's own members say how much.
        assert_ne!(
            digest(&json!({"a": {"max_tokens": 1}})),
            digest(&json!({"a": {}}))
        );
    }

    #[test]
    fn it_is_of_one_tool_and_one_input() {
        let input = json!({"text": "x"});
        let text = of("search", &input, "/rows", 3).encode();
        let digest_of = digest(&input);
        assert!(Continuation::decode(&text, "search", &digest_of).is_ok());
        let other = Continuation::decode(&text, "read_rows", &digest_of).unwrap_err();
        assert_eq!(other.kind, Kind::BadRequest);
        assert!(other.detail.contains("another tool"));
        let other = Continuation::decode(&text, "search", &digest(&json!({}))).unwrap_err();
        assert!(other.detail.contains("another input"));
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let input = json!({});
        let text = of("search", &input, "/rows", 3).encode();
        for at in 0..text.len() {
            let mut wrong = text.clone();
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            wrong.replace_range(at..=at, other);
            assert!(
                Continuation::decode(&wrong, "search", &digest(&input)).is_err(),
                "{at}"
            );
        }
        for wrong in ["", "A", "!", "AAAA", &text[1..], &"A".repeat(LONGEST + 1)] {
            let error = Continuation::decode(wrong, "search", &digest(&input)).unwrap_err();
            assert_eq!(error.kind, Kind::BadRequest);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tool in "[a-z_]{1,20}", pointer in "(/\\PC{0,8}){0,6}", offset in any::<usize>()) {
            let input = json!({"a": offset});
            let continuation = of(&tool, &input, &pointer, offset);
            let text = continuation.encode();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            prop_assert_eq!(Continuation::decode(&text, &tool, &digest(&input)).unwrap(), continuation);
        }

        #[test]
        fn any_text_is_answered(text in "\\PC*") {
            prop_assert!(Continuation::decode(&text, "search", "").is_err());
        }
    }
}
