//! What a reader's SQL must be before it is planned: short, flat, and one statement that only reads.
//!
//! - In: a text. Out: a parsed statement, or why it is refused.
//! - Not here: limits while it runs (`query`).

use super::QueryError;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// Longer texts are refused before they are parsed (F1).
const MAX_TEXT_BYTES: usize = 64 << 10;

/// More operators in one statement are refused: a flat chain of some thousands overflows the planner's
/// stack (F1).
const MAX_OPERATORS: usize = 500;

/// Deeper brackets are refused: past 50 levels the parser gives up, and goes back to try every other reading of
/// each level before, twice as long for every one.
const MAX_DEPTH: usize = 40;

/// Parses a text that must be one read-only statement.
pub(super) fn read_only_statement(text: &str) -> Result<Statement, QueryError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(QueryError::TooLarge {
            what: format!("{} bytes", text.len()),
            most: MAX_TEXT_BYTES,
        });
    }
    let dialect = GenericDialect {};
    // A text that cannot be split into tokens cannot be parsed either; the parser words it better.
    if let Ok(tokens) = Tokenizer::new(&dialect, text).tokenize() {
        let operators = tokens.iter().filter(|token| is_operator(token)).count();
        if operators > MAX_OPERATORS {
            return Err(QueryError::TooLarge {
                what: format!("{operators} operators"),
                most: MAX_OPERATORS,
            });
        }
        let depth = depth(&tokens);
        if depth > MAX_DEPTH {
            return Err(QueryError::TooLarge {
                what: format!("{depth} brackets within brackets"),
                most: MAX_DEPTH,
            });
        }
    }
    let mut statements = DFParser::parse_sql_with_dialect(text, &dialect)?;
    let statement = statements.pop_front().ok_or(QueryError::NotReadOnly {
        found: "there is none".to_owned(),
    })?;
    if !statements.is_empty() {
        return Err(QueryError::NotReadOnly {
            found: format!("there are {}", statements.len() + 1),
        });
    }
    let mut innermost = &statement;
    while let Statement::Explain(explain) = innermost {
        innermost = &explain.statement;
    }
    match innermost {
        Statement::Statement(inner)
            if matches!(
                **inner,
                ast::Statement::Query(_) | ast::Statement::ExplainTable { .. }
            ) =>
        {
            Ok(statement)
        }
        other => {
            let mut found = other.to_string();
            found.truncate(found.floor_char_boundary(60));
            Err(QueryError::NotReadOnly {
                found: format!("`{found}` is something else"),
            })
        }
    }
}

/// The most brackets that are open at once.
fn depth(tokens: &[Token]) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for token in tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => open += 1,
            Token::RParen | Token::RBracket | Token::RBrace => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => [
            "AND",
            "OR",
            "NOT",
            "UNION",
            "EXCEPT",
            "INTERSECT",
            "LIKE",
            "ILIKE",
            "IS",
            "BETWEEN",
            "CASE",
            "JOIN",
        ]
        .iter()
        .any(|operator| word.quote_style.is_none() && word.value.eq_ignore_ascii_case(operator)),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Comma
        | Token::Period
        | Token::Whitespace(_)
        | Token::SemiColon
        | Token::EOF => false,
        other => matches!(
            other.to_string().as_str(),
            "+" | "-"
                | "*"
                | "/"
                | "%"
                | "||"
                | "="
                | "=="
                | "<>"
                | "!="
                | "<"
                | ">"
                | "<="
                | ">="
                | "&"
                | "|"
                | "^"
                | "<<"
                | ">>"
                | "~"
                | "!~"
                | "~*"
                | "!~*"
                | "->"
                | "->>"
                | "@>"
                | "<@"
                | "::"
                | "["
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_reading_statement_passes() {
        for text in [
            "select 1",
            "values (1)",
            "explain select 1",
            "describe emails",
            "with a as (select 1) select * from a;",
        ] {
            assert!(read_only_statement(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "select 1; select 2",
            "insert into emails values (1)",
            "copy (select 1) to '/tmp/x'",
            "explain analyze copy (select 1) to '/tmp/x'",
            "create table a as select 1",
            "create external table a stored as csv location '/etc/passwd'",
            "set datafusion.execution.batch_size = 1",
            "show all",
            "drop table emails",
            "prepare a as select 1",
            "begin",
        ] {
            assert!(read_only_statement(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_flat_chain_is_refused_before_it_is_planned() {
        let chain = format!("select 1{}", "+1".repeat(5_000));
        assert!(matches!(
            read_only_statement(&chain),
            Err(QueryError::TooLarge { .. })
        ));
    }

    #[test]
    fn brackets_without_end_are_refused_before_they_are_parsed() {
        let nested = |times| format!("select {}1{}", "cast(".repeat(times), " as int)".repeat(times));
        assert!(read_only_statement(&nested(MAX_DEPTH)).is_ok());
        assert!(matches!(
            read_only_statement(&nested(60)),
            Err(QueryError::TooLarge { .. })
        ));
    }
}
