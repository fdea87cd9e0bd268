//! What is typed, in colours.

use nu_ansi_term::{Color, Style};
use reedline::{Highlighter, StyledText};
use store::query::FUNCTIONS;
use store::query::text::{Part, parts};

/// Colours the parts of a query.
pub struct Colours;

impl Highlighter for Colours {
    fn highlight(&self, line: &str, _: usize) -> StyledText {
        let mut text = StyledText::new();
        if line.starts_with('.') {
            text.push((Style::new().bold(), line.to_owned()));
            return text;
        }
        for (part, span) in parts(line) {
            let words = line.get(span).unwrap_or_default();
            text.push((style(part, words), words.to_owned()));
        }
        text
    }
}

fn style(part: Part, words: &str) -> Style {
    let plain = Style::new();
    let word = words.to_lowercase();
    match part {
        Part::Keyword | Part::Name if FUNCTIONS.contains(&word.as_str()) => plain.fg(Color::Cyan),
        // `date` and `subject` are words of SQL too, but here they are columns.
        Part::Keyword if !is_column(&word) => plain.fg(Color::Blue).bold(),
        Part::Text => plain.fg(Color::Green),
        Part::Number => plain.fg(Color::Purple),
        Part::Parameter => plain.fg(Color::Yellow),
        Part::Comment => plain.dimmed(),
        Part::Unfinished => plain.fg(Color::Red),
        Part::Keyword | Part::Name | Part::Space | Part::Semicolon | Part::Sign => plain,
    }
}

fn is_column(word: &str) -> bool {
    let mut columns = schemas::datasets::tables().flat_map(|dataset| dataset.all_columns());
    columns.any(|column| column.name == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_no_letter() {
        for line in [
            "SELECT date, count(*) FROM emails -- ü",
            "select 'it",
            ".tables",
            "",
        ] {
            let shown: String = Colours
                .highlight(line, 0)
                .buffer
                .into_iter()
                .map(|(_, text)| text)
                .collect();
            assert_eq!(shown, line);
        }
    }

    #[test]
    fn a_column_is_no_keyword() {
        assert_eq!(style(Part::Keyword, "date"), Style::new());
        assert_ne!(style(Part::Keyword, "SELECT"), Style::new());
    }
}
