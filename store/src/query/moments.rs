//! Moments that are written as texts: `TIMESTAMP '3000-01-01'`, `date > '0001-01-01'`; and days that are compared with
//! moments: `date < DATE '9999-12-31'`. They are of microseconds, as those of columns are.
//!
//! - The engine makes nanoseconds of them, of which there are none before 1677 and after 2262, and makes such of a whole
//!   column that is compared with a text or a day. What is compared with `now()` it leaves in microseconds.
//! - In: a statement ([`of_microseconds`]), and later its plan ([`Moments`]), where columns have types. Out: the same.
//! - Not here: numbers, and texts of a column, which the engine casts as ever.

use super::parameters::{Parameters, name_of};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::{self, VisitMut, VisitorMut};
use serde_json::Value;
use std::ops::ControlFlow;

/// Digits of a second that columns have.
const DIGITS: u64 = 6;

/// Makes the texts that a statement casts to a moment such of microseconds, where it does not say how exact they are.
pub(super) fn of_microseconds(statement: &mut ast::Statement, given: &Parameters) {
    // It never breaks off.
    let _ = statement.visit(&mut Texts(given));
}

struct Texts<'a>(&'a Parameters);

impl Texts<'_> {
    fn is_text(&self, expr: &ast::Expr) -> bool {
        let ast::Expr::Value(value) = expr else {
            return false;
        };
        match &value.value {
            ast::Value::SingleQuotedString(_) => true,
            // A number is one of seconds or of nanoseconds.
            ast::Value::Placeholder(name) => matches!(self.0.get(name_of(name)), Some(Value::String(_))),
            _ => false,
        }
    }
}

impl VisitorMut for Texts<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        let data_type = match expr {
            ast::Expr::TypedString(typed) => Some(&mut typed.data_type),
            ast::Expr::Cast { expr, data_type, .. } if self.is_text(expr) => Some(data_type),
            _ => None,
        };
        if let Some(ast::DataType::Timestamp(digits @ None, _)) = data_type {
            *digits = Some(DIGITS);
        }
        ControlFlow::Continue(())
    }
}

/// Makes the texts and days that a plan compares with moments such themselves. It stands before the engine's own coercion.
#[derive(Debug)]
pub(super) struct Moments;

impl AnalyzerRule for Moments {
    fn name(&self) -> &str {
        "moments"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(with_moments)?.data)
    }
}

fn with_moments(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let compared = expr.transform_up(|expr| Ok(compared(expr, &schema)))?;
        Ok(compared.update_data(|expr| name.restore(expr)))
    })
}

fn compared(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) => {
            let (of_left, of_right) = (moments(&left, schema), moments(&right, schema));
            let changes = (of_left.is_some() && is_coarse(&right, schema))
                || (of_right.is_some() && is_coarse(&left, schema));
            let expr = BinaryExpr::new(
                Box::new(as_moment(*left, of_right.as_ref(), schema)),
                op,
                Box::new(as_moment(*right, of_left.as_ref(), schema)),
            );
            Transformed::new_transformed(Expr::BinaryExpr(expr), changes)
        }
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) => {
            let of = moments(&expr, schema);
            let changes = of.is_some() && (is_coarse(&low, schema) || is_coarse(&high, schema));
            let low = Box::new(as_moment(*low, of.as_ref(), schema));
            let high = Box::new(as_moment(*high, of.as_ref(), schema));
            let between = Between::new(expr, negated, low, high);
            Transformed::new_transformed(Expr::Between(between), changes)
        }
        Expr::InList(InList { expr, list, negated }) => {
            let of = moments(&expr, schema);
            let changes = of.is_some() && list.iter().any(|one| is_coarse(one, schema));
            let list = list.into_iter().map(|one| as_moment(one, of.as_ref(), schema));
            let list = InList::new(expr, list.collect(), negated);
            Transformed::new_transformed(Expr::InList(list), changes)
        }
        other => Transformed::no(other),
    }
}

fn compares(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// What a text or a day becomes that is compared with an expression, if that is of moments. A coarser one is compared in
/// microseconds: the text may be finer than it.
fn moments(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    // Where it has no type, as in the query around this one, the engine goes its own way.
    match expr.get_type(schema).ok()? {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => None,
        DataType::Timestamp(_, zone) => Some(DataType::Timestamp(TimeUnit::Microsecond, zone)),
        _ => None,
    }
}

fn is_text(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Literal(
            ScalarValue::Utf8(Some(_)) | ScalarValue::Utf8View(Some(_)) | ScalarValue::LargeUtf8(Some(_)),
            _
        )
    )
}

/// Whether it is a text that is written out, or a day, of whatever the day is made.
fn is_coarse(expr: &Expr, schema: &DFSchema) -> bool {
    is_text(expr) || matches!(expr.get_type(schema), Ok(DataType::Date32 | DataType::Date64))
}

/// A text as a moment of that type, a day as its begin; anything else as it is.
fn as_moment(expr: Expr, of: Option<&DataType>, schema: &DFSchema) -> Expr {
    match of {
        Some(of) if is_coarse(&expr, schema) => Expr::Cast(Cast::new(Box::new(expr), of.clone())),
        _ => expr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn texts_are_moments_of_microseconds_and_numbers_are_what_they_were() {
        let given = Parameters::from([
            ("text".to_owned(), Value::from("3000-01-01")),
            ("number".to_owned(), Value::from(1)),
        ]);
        for (written, read) in [
            ("TIMESTAMP '3000-01-01'", "TIMESTAMP(6) '3000-01-01'"),
            ("TIMESTAMP(9) '2000-01-01'", "TIMESTAMP(9) '2000-01-01'"),
            ("DATE '3000-01-01'", "DATE '3000-01-01'"),
            ("CAST('1' AS TIMESTAMP)", "CAST('1' AS TIMESTAMP(6))"),
            ("CAST($text AS TIMESTAMP)", "CAST($text AS TIMESTAMP(6))"),
            ("CAST($number AS TIMESTAMP)", "CAST($number AS TIMESTAMP)"),
            ("CAST(1 AS TIMESTAMP)", "CAST(1 AS TIMESTAMP)"),
            ("CAST(a AS TIMESTAMP)", "CAST(a AS TIMESTAMP)"),
        ] {
            let sql = format!("SELECT {written}");
            let mut statements = Parser::parse_sql(&GenericDialect {}, &sql).unwrap();
            of_microseconds(&mut statements[0], &given);
            assert_eq!(statements[0].to_string(), format!("SELECT {read}"), "{written}");
        }
    }
}
