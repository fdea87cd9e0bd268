//! A text from an agent → the message that it is, or what is answered to what is none.
//!
//! - In: a line of standard input, or the body of a request. Out: a message; an error of JSON-RPC 2.0 (§5.1).
//! - Where the id of what was asked cannot be read, the error has none: MCP leaves it out, where JSON-RPC writes `null`
//!   (MCP 2026-07-28, Basic, §Error Responses).
//! - Not here: what a message asks (`server`); how texts come (`lines`, `http`).

use rmcp::ErrorData;
use rmcp::model::{ClientJsonRpcMessage, JsonRpcError, RequestId};
use serde::Deserialize as _;
use serde_json::Value;

/// A text may begin with it, and it says nothing (RFC 8259 §8.1).
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The message that a text is.
///
/// # Errors
/// What is to be answered; nothing where it is a notification, which is never answered (JSON-RPC 2.0 §4.1).
pub(super) fn read(text: &[u8]) -> Result<ClientJsonRpcMessage, Option<Box<JsonRpcError>>> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if let Ok(message) = serde_json::from_slice(text) {
        return Ok(message);
    }
    let refused = |id, told| Err(Some(Box::new(JsonRpcError::new(id, told))));
    let said: Value = match serde_json::from_slice(text) {
        Ok(said) => said,
        Err(error) => {
            let told = format!("this is not JSON: {error}");
            return refused(None, ErrorData::parse_error(told, None));
        }
    };
    let (method, id) = (said.get("method").and_then(Value::as_str), said.get("id"));
    if method.is_some() && id.is_none() {
        return Err(None);
    }
    // What has no method may be an answer, and its id one of ours.
    let id = method.and(id).and_then(|id| RequestId::deserialize(id).ok());
    let told = "this is JSON, and no message of JSON-RPC 2.0";
    refused(id, ErrorData::invalid_request(told, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(text: &str) -> Value {
        let refused = read(text.as_bytes()).unwrap_err();
        serde_json::to_value(refused.unwrap_or_else(|| panic!("{text} is not answered"))).unwrap()
    }

    #[test]
    fn what_is_no_json_and_what_is_no_request_are_told_apart() {
        for text in ["nonsense", "{", "{\"jsonrpc\":\"2.0\",", "{} {}"] {
            let refused = refused(text);
            assert_eq!(refused["error"]["code"], -32700, "{text}: {refused}");
            assert_eq!((&refused["jsonrpc"], refused.get("id")), (&json!("2.0"), None));
        }
        let latin = read(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"caf\xe9\"}").unwrap_err();
        assert_eq!(latin.unwrap().error.code.0, -32700);
        for (text, id) in [
            ("{}", None),
            ("[]", None),
            ("7", None),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, None),
            (r#"{"jsonrpc":"2.0","id":3,"method":7}"#, None),
            // It may be an answer.
            (r#"{"jsonrpc":"2.0","id":3}"#, None),
            (r#"{"jsonrpc":"1.0","id":3,"method":"ping"}"#, Some(json!(3))),
            (r#"{"id":"a","method":"ping"}"#, Some(json!("a"))),
        ] {
            let refused = refused(text);
            assert_eq!(refused["error"]["code"], -32600, "{text}: {refused}");
            assert_eq!(refused.get("id"), id.as_ref(), "{text}: {refused}");
        }
    }

    #[test]
    fn a_message_is_read_and_a_notification_never_answered() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r",
            r#"{"jsonrpc":"2.0","id":1,"method":"no/such"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        ] {
            assert!(read(text.as_bytes()).is_ok(), "{text}");
        }
        assert_eq!(read(br#"{"method":"notifications/stderr"}"#).unwrap_err(), None);
    }
}
