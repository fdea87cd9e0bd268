//! What a reader's SQL must be before it is planned: short, flat, and one statement that only reads.
//!
//! - In: a text. Out: a parsed statement, or why it is refused.
//! - Not here: limits while it runs (`query`).

use super::{QueryError, found, functions, past};
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::{self, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use schemas::near;
use std::ops::ControlFlow;

/// Longer texts are refused before they are parsed (F1).
const MAX_TEXT_BYTES: usize = 64 << 10;

/// More operators in one statement are refused: a flat chain of some thousands overflows the planner's
/// stack (F1).
const MAX_OPERATORS: usize = 500;

/// Deeper brackets are refused: past 50 levels the parser gives up, and goes back to try every other reading of
/// each level before, twice as long for every one.
const MAX_DEPTH: usize = 40;

/// Operators that are words.
const OPERATORS: &[&str] = &[
    "AND",
    "AT",
    "BETWEEN",
    "CASE",
    "COLLATE",
    "DIV",
    "EXCEPT",
    "ILIKE",
    "INTERSECT",
    "IS",
    "JOIN",
    "LIKE",
    "NOT",
    "OR",
    "OVERLAPS",
    "REGEXP",
    "RLIKE",
    "SIMILAR",
    "UNION",
    "XOR",
];

/// Parses a text that must be one read-only statement of what a reader may use.
pub(super) fn read_only_statement(text: &str) -> Result<Statement, QueryError> {
    let dialect = GenericDialect {};
    measure(text, &dialect)?;
    let mut statements = DFParser::parse_sql_with_dialect(text, &dialect)?;
    let mut statement = statements.pop_front().ok_or(QueryError::NotReadOnly {
        found: "there is none".to_owned(),
    })?;
    if !statements.is_empty() {
        return Err(QueryError::NotReadOnly {
            found: format!("there are {}", statements.len() + 1),
        });
    }
    match innermost(&mut statement) {
        Statement::Statement(inner) if reads_only(inner) => match inner.visit(&mut Refusals) {
            ControlFlow::Break(refusal) => Err(refusal),
            ControlFlow::Continue(()) => Ok(statement),
        },
        other => {
            let mut found = other.to_string();
            found.truncate(found.floor_char_boundary(60));
            Err(QueryError::NotReadOnly {
                found: format!("`{found}` is something else"),
            })
        }
    }
}

fn reads_only(statement: &ast::Statement) -> bool {
    use ast::DescribeAlias::{Desc, Describe};
    match statement {
        ast::Statement::Query(_)
        | ast::Statement::ExplainTable { .. }
        | ast::Statement::ShowTables { .. }
        | ast::Statement::ShowColumns { .. } => true,
        ast::Statement::Explain {
            describe_alias: Desc | Describe,
            statement,
            ..
        } => matches!(**statement, ast::Statement::Query(_)),
        _ => false,
    }
}

/// The statement that an EXPLAIN explains, or the statement itself.
pub(super) fn innermost(statement: &mut Statement) -> &mut Statement {
    match statement {
        Statement::Explain(explain) => innermost(&mut explain.statement),
        other => other,
    }
}

/// Refuses a text that is too much for the parser or the planner.
fn measure(text: &str, dialect: &GenericDialect) -> Result<(), QueryError> {
    let most = |what: String, most| Err(QueryError::TooLarge { what, most });
    if text.len() > MAX_TEXT_BYTES {
        return most(format!("{} bytes", text.len()), MAX_TEXT_BYTES);
    }
    // A text that cannot be split into tokens cannot be parsed either; the parser words it better.
    let Ok(tokens) = Tokenizer::new(dialect, text).tokenize() else {
        return Ok(());
    };
    let operators = tokens.iter().filter(|token| is_operator(token)).count();
    if operators > MAX_OPERATORS {
        return most(format!("{operators} operators"), MAX_OPERATORS);
    }
    let depth = depth(&tokens);
    if depth > MAX_DEPTH {
        return most(format!("{depth} brackets within brackets"), MAX_DEPTH);
    }
    Ok(())
}

/// Looks for what only reads and is refused all the same, wherever it stands in a statement.
struct Refusals;

impl Refusals {
    fn function(name: &ast::ObjectName) -> ControlFlow<QueryError> {
        let last = name.0.last().and_then(|part| part.as_ident());
        match last.and_then(|ident| functions::refusal(&ident.value)) {
            Some(refusal) => ControlFlow::Break(refusal),
            None => ControlFlow::Continue(()),
        }
    }

    /// Refuses a table function that is none of ours: those of the engine are all absent.
    fn table_function(name: &ast::ObjectName) -> ControlFlow<QueryError> {
        let own = match name.0.as_slice() {
            [only] => only.as_ident().map(|ident| ident.value.clone()),
            _ => None,
        };
        let name = own.unwrap_or_else(|| name.to_string());
        let of_past = past::FUNCTIONS.iter().map(|(known, _)| *known);
        let known = of_past.chain(found::FUNCTIONS.iter().map(|(known, _)| *known));
        match known.clone().any(|known| name.eq_ignore_ascii_case(known)) {
            true => ControlFlow::Continue(()),
            false => {
                let told = near::no_such("table function", &name, known);
                ControlFlow::Break(QueryError::NoSuch(told))
            }
        }
    }
}

impl Visitor for Refusals {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<QueryError> {
        match &query.with {
            Some(with) if with.recursive => ControlFlow::Break(QueryError::NotAllowed {
                what: "WITH RECURSIVE".to_owned(),
                why: "it may never end; write one WITH query for each step".to_owned(),
            }),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<QueryError> {
        match expr {
            ast::Expr::Function(function) => Self::function(&function.name),
            // The parser gives it all that follows, where SQL gives it the next operand.
            ast::Expr::IsDistinctFrom(_, other) | ast::Expr::IsNotDistinctFrom(_, other)
                if matches!(
                    **other,
                    ast::Expr::BinaryOp {
                        op: ast::BinaryOperator::And | ast::BinaryOperator::Or | ast::BinaryOperator::Xor,
                        ..
                    }
                ) =>
            {
                ControlFlow::Break(QueryError::NotAllowed {
                    what: "AND or OR right after IS [NOT] DISTINCT FROM".to_owned(),
                    why: "it would be read otherwise than it is written; put the comparison in brackets"
                        .to_owned(),
                })
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, table: &ast::TableFactor) -> ControlFlow<QueryError> {
        match table {
            ast::TableFactor::Table {
                name, args: Some(_), ..
            }
            | ast::TableFactor::Function { name, .. } => {
                Self::function(name)?;
                Self::table_function(name)
            }
            _ => ControlFlow::Continue(()),
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

/// Whether a token makes an expression, or a FROM, deeper. What is of no other kind is an operator, so that none is
/// forgotten.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            word.quote_style.is_none()
                && OPERATORS
                    .iter()
                    .any(|operator| word.value.eq_ignore_ascii_case(operator))
        }
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Placeholder(_)
        | Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::RBracket
        | Token::LBrace
        | Token::RBrace
        | Token::Whitespace(_)
        | Token::SemiColon
        | Token::EOF => false,
        _ => true,
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
            "show tables",
            "show columns from emails",
            "select 1 where ('a' is distinct from 'b') and 'a' is not distinct from 'a'",
            "select 1 where 'a' is distinct from (true and false)",
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
            "with recursive n as (select 1 as i union all select i + 1 from n) select * from n",
            "select (with recursive n as (select 1 as i union all select i from n) select i from n)",
            "select * from generate_series(1, 10)",
            "select RePeat('x', 10)",
            "explain select array_repeat(1, 10)",
            "begin",
            "select 1 where 'a' is distinct from 'b' and true",
            "select * from (select 1 where ('a' = 'b') is not distinct from true or false)",
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
