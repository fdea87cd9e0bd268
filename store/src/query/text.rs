//! The text of queries as an editor and a script need it: what its parts are, and where statements end.
//!
//! - In: any text, finished or not. Out: parts that cover it without a gap; statements.
//! - Not here: whether it is valid, or allowed.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer, Whitespace};
use std::ops::Range;

/// What a part of a query is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A word that SQL knows; some are names of columns as well.
    Keyword,
    /// Any other word.
    Name,
    /// Text, with its quotes.
    Text,
    /// A number.
    Number,
    /// `:name` or `$name`.
    Parameter,
    /// Spaces, line ends.
    Space,
    /// A comment.
    Comment,
    /// The end of a statement.
    Semicolon,
    /// Operators, brackets, commas.
    Sign,
    /// What begins with a quote or a comment that has no end.
    Unfinished,
}

/// The parts of a text, in order.
pub fn parts(text: &str) -> Vec<(Part, Range<usize>)> {
    let mut tokens = Vec::new();
    // An error is about what comes after the last token.
    let _ = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location_into_buf(&mut tokens);
    let mut places = Places::new(text);
    let mut parts: Vec<(Part, Range<usize>)> = Vec::with_capacity(tokens.len());
    for token in &tokens {
        let span = places.byte(token.span.start)..places.byte(token.span.end);
        match (part(&token.token), parts.last_mut()) {
            // `:` and a name that touches it.
            (Part::Keyword | Part::Name, Some((before, colon)))
                if text.get(colon.clone()) == Some(":") && colon.end == span.start =>
            {
                *before = Part::Parameter;
                colon.end = span.end;
            }
            (part, _) => parts.push((part, span)),
        }
    }
    let end = parts.last().map_or(0, |(_, span)| span.end);
    if end < text.len() {
        parts.push((Part::Unfinished, end..text.len()));
    }
    parts
}

/// The statements of a text that a `;` ends, with it, and what comes after the last of them: nothing, if that is only
/// spaces and comments.
pub fn statements(text: &str) -> (Vec<&str>, &str) {
    let (mut done, mut begin, mut says_something) = (Vec::new(), 0, false);
    for (part, span) in parts(text) {
        match part {
            Part::Space | Part::Comment => {}
            Part::Semicolon => {
                if says_something {
                    done.extend(text.get(begin..span.end).map(str::trim));
                }
                (begin, says_something) = (span.end, false);
            }
            _ => says_something = true,
        }
    }
    let rest = text.get(begin..).filter(|_| says_something);
    (done, rest.unwrap_or_default().trim())
}

fn part(token: &Token) -> Part {
    match token {
        Token::Word(word) if word.quote_style.is_none() && word.keyword != Keyword::NoKeyword => {
            Part::Keyword
        }
        Token::Word(_) => Part::Name,
        Token::Number(..) => Part::Number,
        Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_) => Part::Text,
        Token::Placeholder(_) => Part::Parameter,
        Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)) => {
            Part::Comment
        }
        Token::Whitespace(_) => Part::Space,
        Token::SemiColon => Part::Semicolon,
        _ => Part::Sign,
    }
}

/// Walks through a text from one place to a later one.
struct Places<'a> {
    text: &'a str,
    at: Location,
    byte: usize,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        let at = Location { line: 1, column: 1 };
        Self { text, at, byte: 0 }
    }

    /// The byte at a place that is not before the last one asked for.
    fn byte(&mut self, place: Location) -> usize {
        let rest = self.text.get(self.byte..).unwrap_or_default();
        for c in rest.chars() {
            if self.at >= place {
                break;
            }
            self.byte += c.len_utf8();
            self.at = match c {
                '\n' => Location {
                    line: self.at.line + 1,
                    column: 1,
                },
                _ => Location {
                    line: self.at.line,
                    column: self.at.column + 1,
                },
            };
        }
        self.byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_text_and_say_what_they_are() {
        let text = "SELECT \"to\", 'it''s ü;' -- why; not\n, 1.5 FROM emails WHERE a = :who AND b = $x;";
        let parts = parts(text);
        let mut end = 0;
        for (_, span) in &parts {
            assert_eq!(span.start, end, "{parts:?}");
            end = span.end;
        }
        assert_eq!(end, text.len());
        let of = |wanted| {
            let found = parts.iter().filter(|(part, _)| *part == wanted);
            found.map(|(_, span)| &text[span.clone()]).collect::<Vec<_>>()
        };
        assert_eq!(of(Part::Text), ["'it''s ü;'"]);
        assert_eq!(of(Part::Comment), ["-- why; not\n"]);
        assert_eq!(of(Part::Number), ["1.5"]);
        assert_eq!(of(Part::Parameter), [":who", "$x"]);
        assert_eq!(of(Part::Semicolon), [";"]);
        assert!(of(Part::Keyword).contains(&"SELECT"));
        assert!(of(Part::Name).contains(&"\"to\""));
    }

    #[test]
    fn a_statement_ends_where_sql_says_so() {
        for (text, done, rest) in [
            ("", vec![], ""),
            (" -- nothing", vec![], ""),
            ("select 1", vec![], "select 1"),
            ("select 1;", vec!["select 1;"], ""),
            ("select 1;; -- end\n;", vec!["select 1;"], ""),
            (
                "select ';'; select 2;\n select",
                vec!["select ';';", "select 2;"],
                "select",
            ),
            ("select 'it", vec![], "select 'it"),
            ("select 1; /* a; ", vec!["select 1;"], "/* a;"),
            ("select \"a;b\", 1 -- ;\n;", vec!["select \"a;b\", 1 -- ;\n;"], ""),
            (
                "select 'ü日';\r\nselect 2;",
                vec!["select 'ü日';", "select 2;"],
                "",
            ),
        ] {
            assert_eq!(statements(text), (done, rest), "{text}");
        }
    }
}
