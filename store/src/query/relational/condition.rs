//! Which rows of a table of the database are wanted, as the database is told it.
//!
//! - In: the filters of a plan. Out: a condition in SQL, and the values that are bound to it.
//! - Only what means the same there: comparisons of a column with a value, joined by AND and OR.

use super::{is_in_bytes, quoted};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use schemas::{Dataset, Kind};

/// Values of one filter that are given to the database; it takes a limited number, and so deep an expression.
const MOST_VALUES: usize = 100;

/// Which rows are wanted, in the words of the database.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    /// Of this dataset.
    pub(super) dataset: &'static Dataset,
    /// All of them hold.
    pub(super) texts: Vec<String>,
    /// What is `$1`, `$2` and so on.
    pub(super) values: Vec<Bound>,
}

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Bound {
    /// A text.
    Text(String),
    /// An integer, or a moment in microseconds.
    Int(i64),
}

impl Condition {
    /// All rows of a dataset.
    pub(super) fn of(dataset: &'static Dataset) -> Self {
        Self {
            dataset,
            texts: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Adds a filter, if the database says of each row what DataFusion would; else what it has is of no use any more.
    pub(super) fn push(&mut self, filter: &Expr) -> Option<()> {
        let most = self.values.len() + MOST_VALUES;
        let text = self.said(filter, most)?;
        self.texts.push(text);
        Some(())
    }

    fn said(&mut self, expression: &Expr, most: usize) -> Option<String> {
        match expression {
            Expr::BinaryExpr(BinaryExpr { left, op, right })
                if matches!(op, Operator::And | Operator::Or) =>
            {
                let (left, right) = (self.said(left, most)?, self.said(right, most)?);
                let word = if *op == Operator::And { "AND" } else { "OR" };
                Some(format!("({left} {word} {right})"))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), Expr::Literal(value, _)) => {
                    self.compared(&column.name, *op, value, most)
                }
                (Expr::Literal(value, _), Expr::Column(column)) => {
                    self.compared(&column.name, op.swap()?, value, most)
                }
                _ => None,
            },
            Expr::InList(InList {
                expr,
                list,
                negated: false,
            }) => {
                let Expr::Column(column) = expr.as_ref() else {
                    return None;
                };
                let mut texts = Vec::new();
                for value in list {
                    let Expr::Literal(value, _) = value else {
                        return None;
                    };
                    texts.push(self.compared(&column.name, Operator::Eq, value, most)?);
                }
                (!texts.is_empty()).then(|| format!("({})", texts.join(" OR ")))
            }
            _ => None,
        }
    }

    /// The comparison of a column with a value that is not null.
    fn compared(
        &mut self,
        name: &str,
        operator: Operator,
        value: &ScalarValue,
        most: usize,
    ) -> Option<String> {
        let column = self.dataset.columns.iter().find(|column| column.name == name)?;
        let value = match (column.kind, value) {
            // What is compared with the digits is no text there.
            (Kind::Text, _) if is_in_bytes(self.dataset, column) => return None,
            // How texts are sorted is another matter in each database.
            (Kind::Text, value) if matches!(operator, Operator::Eq | Operator::NotEq) => {
                Bound::Text(value.try_as_str()??.to_owned())
            }
            (Kind::Int, ScalarValue::Int64(Some(value))) => Bound::Int(*value),
            (Kind::Instant, ScalarValue::TimestampMicrosecond(Some(value), _)) => Bound::Int(*value),
            _ => return None,
        };
        // Postgres takes no text with NUL.
        let is_taken = !matches!(&value, Bound::Text(text) if text.contains('\0'));
        if !is_taken || self.values.len() == most {
            return None;
        }
        let sign = match operator {
            Operator::Eq => "=",
            Operator::NotEq => "<>",
            Operator::Lt => "<",
            Operator::LtEq => "<=",
            Operator::Gt => ">",
            Operator::GtEq => ">=",
            _ => return None,
        };
        self.values.push(value);
        Some(format!("{} {sign} ${}", quoted(column), self.values.len()))
    }
}
