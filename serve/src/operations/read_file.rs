//! `read_file`: the text of a file in an allowed folder, some lines of it at a time.
//!
//! - Not here: which files may be read (`roots`).

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::roots::{Roots, Text, apart};
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes of text in an answer: lines may be of any length.
const MOST_TEXT: usize = 256 << 10;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "read_file",
    about: "Reads lines of a text file in an allowed folder. Files that may hold secrets are refused.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/files/text",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ReadFile>(),
    example: r#"{"path": "a path, as find_file tells it", "lines": 100}"#,
    output: Output::Json(|types| types.subschema_for::<FileText>()),
    toolset: &toolset::FILES,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&read(call, parse(input)?).await?) }),
};

/// Which lines of which file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReadFile {
    /// `ROOT/path`.
    #[schemars(length(min = 1, max = 4096))]
    path: String,
    /// The first line, from 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 4_194_304))]
    from_line: u32,
    /// Lines at most.
    #[serde(default = "four_hundred")]
    #[schemars(range(min = 1, max = 5000))]
    lines: u16,
}

fn one() -> u32 {
    1
}

fn four_hundred() -> u16 {
    400
}

/// Lines of a file.
#[derive(Debug, Serialize, JsonSchema)]
struct FileText {
    /// The file.
    path: String,
    /// The first line of the text, from 1.
    from_line: usize,
    /// The last one.
    until_line: usize,
    /// Lines of the file.
    total_lines: usize,
    /// The lines.
    text: String,
    /// When the file was changed last.
    modified_at: Option<String>,
    /// Bytes of the file.
    size_bytes: u64,
    /// What the asker should know.
    notes: Vec<String>,
}

async fn read(call: Call<'_>, input: ReadFile) -> Result<FileText, Problem> {
    let roots = Roots::of(&call.gateway.config);
    apart(call.cancel, move |_| {
        lines_of(roots.read(&input.path)?, input.from_line, input.lines)
    })
    .await
}

fn lines_of(file: Text, from_line: u32, lines: u16) -> Result<FileText, Problem> {
    let total_lines = file.text.lines().count();
    let before = usize::try_from(from_line.saturating_sub(1)).unwrap_or(usize::MAX);
    if before > 0 && before >= total_lines {
        return Err(Problem::unprocessable(format!(
            "the file has {total_lines} lines; `from_line` is after its end"
        )));
    }
    let mut notes = Vec::new();
    if file.is_lossy {
        notes.push("some bytes are no UTF-8 and became U+FFFD".to_owned());
    }
    let (mut text, mut until_line) = (String::new(), before);
    for line in file.text.split_inclusive('\n').skip(before).take(lines.into()) {
        if text.len() + line.len() > MOST_TEXT {
            if text.is_empty() {
                let whole = line.floor_char_boundary(MOST_TEXT);
                text.push_str(line.get(..whole).unwrap_or_default());
                until_line += 1;
                notes.push(format!("line {until_line} has {} bytes and was cut", line.len()));
            }
            break;
        }
        text.push_str(line);
        until_line += 1;
    }
    if until_line < total_lines {
        notes.push(format!("it goes on at line {}", until_line + 1));
    }
    Ok(FileText {
        path: file.path,
        from_line: before + 1,
        until_line,
        total_lines,
        text,
        modified_at: file.modified_at,
        size_bytes: file.size_bytes,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Text {
        Text {
            path: "home/a.txt".to_owned(),
            text: text.to_owned(),
            is_lossy: false,
            size_bytes: text.len() as u64,
            modified_at: None,
        }
    }

    #[test]
    fn lines_are_those_that_are_asked_for() {
        let told = lines_of(of("one\ntwo\r\nthree"), 2, 1).unwrap();
        assert_eq!((told.from_line, told.until_line, told.total_lines), (2, 2, 3));
        assert_eq!((told.text.as_str(), told.notes.len()), ("two\r\n", 1));
        let told = lines_of(of("one\ntwo"), 2, 400).unwrap();
        assert_eq!(
            (told.text.as_str(), told.until_line, told.notes.len()),
            ("two", 2, 0)
        );
        let empty = lines_of(of(""), 1, 400).unwrap();
        assert_eq!(
            (empty.text.as_str(), empty.until_line, empty.total_lines),
            ("", 0, 0)
        );
        assert!(
            lines_of(of("one\n"), 2, 1)
                .unwrap_err()
                .detail
                .contains("has 1 lines")
        );
    }

    #[test]
    fn a_long_line_is_cut_and_said_to_be() {
        let long = "é".repeat(MOST_TEXT);
        let told = lines_of(of(&format!("{long}\nnext\n")), 1, 10).unwrap();
        assert!(told.text.len() <= MOST_TEXT && told.text.chars().all(|letter| letter == 'é'));
        assert_eq!((told.until_line, told.notes.len()), (1, 2));
        let told = lines_of(of(&format!("first\n{long}")), 1, 10).unwrap();
        assert_eq!((told.text.as_str(), told.until_line), ("first\n", 1));
    }
}
