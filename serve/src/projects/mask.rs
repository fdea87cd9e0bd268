//! What looks like a credential in a line of a manifest or of a log, hidden.
//!
//! - In: a text. Out: the text with `***` for the user's part of addresses, for values of names such as `NPM_TOKEN`, for
//!   the password in `-u user:password` and for what begins as tokens of known services do.
//! - Not here: secrets that look like nothing.

use regex::{Captures, Regex};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::LazyLock;

/// What stands for what is hidden.
const HIDDEN: &str = "***";

/// `scheme://user:password@`, all that is before the last `@` of it.
static ADDRESS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?i)([a-z][a-z0-9+.-]*://)([^\s/?#"']+)@"#).ok());

/// `NAME=value` and `--name value` where the name is that of a credential, and what follows `Bearer`.
static VALUE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let long =
        r"[\w-]*(?:token|secret|passw(?:or)?d|api[_-]?key|access[_-]?key|authorization|signature)[\w-]*";
    // Only as the last word of a name: `PATH` and `--pattern` are none.
    let short = r"(?:[\w-]*[_-])?(?:pass|pwd|pat)";
    let name = format!("(?:{long}|{short})");
    Regex::new(&format!(
        r#"(?i)(\b{name}=|--{name}\s+|\bbearer\s+)("[^"]*"|'[^']*'|[^\s&;"']+)"#
    ))
    .ok()
});

/// `-u user:password`, as curl has it. `-u 1000:1000` is a user and a group.
static LOGIN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i)((?:^|\s)(?:-u|--user)[\s=]\s*["']?[a-z_][^\s:"']*:)([^\s/"'][^\s"']*)"#).ok()
});

/// Tokens of GitHub, GitLab, npm, Slack, OpenAI and its like, and ids of keys of AWS, by how they begin.
static TOKEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?x) \b (?: gh[oprsu]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,} | glpat-[A-Za-z0-9_-]{20,}
            | npm_[A-Za-z0-9]{36} | xox[abprs]-[A-Za-z0-9-]{10,} | sk-[A-Za-z0-9_-]{20,} | A(?:KI|SI)A[A-Z0-9]{16}\b )",
    )
    .ok()
});

/// A text without what looks like a credential.
pub(crate) fn hidden(text: &str) -> String {
    let (Some(address), Some(value), Some(login), Some(token)) = (&*ADDRESS, &*VALUE, &*LOGIN, &*TOKEN)
    else {
        return HIDDEN.to_owned();
    };
    let text = address.replace_all(text, |found: &Captures<'_>| {
        let part = |at: usize| found.get(at).map_or("", |part| part.as_str());
        // The name that every client of such a server has.
        match part(2) {
            "git" => format!("{}git@", part(1)),
            _ => format!("{}{HIDDEN}@", part(1)),
        }
    });
    let text: Cow<'_, str> = value.replace_all(&text, format!("${{1}}{HIDDEN}"));
    let text = login.replace_all(&text, format!("${{1}}{HIDDEN}"));
    token.replace_all(&text, HIDDEN).into_owned()
}

/// A value, each text in it without what looks like a credential.
pub(super) fn hidden_in(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(hidden(&text)),
        Value::Array(all) => Value::Array(all.into_iter().map(hidden_in).collect()),
        Value::Object(all) => {
            let all = all.into_iter().map(|(name, value)| (name, hidden_in(value)));
            Value::Object(all.collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn credentials_are_hidden_and_the_rest_stays() {
        for (text, expected) in [
            ("https://u:p@x.test/a", "https://***@x.test/a"),
            ("git+https://u:p@ss@x.test/a@v1", "git+https://***@x.test/a@v1"),
            ("ssh://git@x.test/a", "ssh://git@x.test/a"),
            ("https://x.test/@scope/a", "https://x.test/@scope/a"),
            (
                "https://x.test/a?access_token=abc&b=1",
                "https://x.test/a?access_token=***&b=1",
            ),
            ("NPM_TOKEN=abc npm publish", "NPM_TOKEN=*** npm publish"),
            ("PASSWORD='a b' run", "PASSWORD=*** run"),
            ("deploy --api-key abc --to x", "deploy --api-key *** --to x"),
            (
                "Tokens: a library of secret things",
                "Tokens: a library of secret things",
            ),
            ("^1.2.3", "^1.2.3"),
            (
                "curl -u admin:hunter2 https://x.test",
                "curl -u admin:*** https://x.test",
            ),
            ("curl --user 'me:a' x.test", "curl --user 'me:***' x.test"),
            ("docker run -u 1000:1000 a", "docker run -u 1000:1000 a"),
            ("curl -u http://x.test", "curl -u http://x.test"),
            ("DB_PASS=abc GH_PAT=abc run", "DB_PASS=*** GH_PAT=*** run"),
            ("login --pass abc --to x", "login --pass *** --to x"),
            (
                "PATH=/bin BYPASS=1 run --path a --pattern b --passthrough c",
                "PATH=/bin BYPASS=1 run --path a --pattern b --passthrough c",
            ),
            ("use AKIAIOSFODNN7EXAMPLE now", "use *** now"),
            (
                "sk-SK npm_config_registry task-a",
                "sk-SK npm_config_registry task-a",
            ),
            (
                "node build.js --mode=production",
                "node build.js --mode=production",
            ),
        ] {
            assert_eq!(hidden(text), expected);
        }
        for begin in ["ghp_", "github_pat_", "glpat-", "npm_", "sk-", "xoxb-"] {
            let text = format!("login {begin}{} now", "a1".repeat(18));
            assert_eq!(hidden(&text), "login *** now");
        }
        assert_eq!(
            hidden_in(json!({"a": ["https://u:p@x.test", 1]})),
            json!({"a": ["https://***@x.test", 1]})
        );
    }
}
