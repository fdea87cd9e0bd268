//! Moments that are written as texts: `TIMESTAMP '3000-01-01'`, `date > '0001-01-01'`; and days that stand beside moments:
//! `date < DATE '9999-12-31'`, `coalesce(date, DATE '9999-12-31')`. They are of microseconds, as those of columns are.
//!
//! - The engine makes nanoseconds of them, of which there are none before 1677 and after 2262, and makes such of a whole
//!   column that stands beside a text or a day. What is compared with `now()` it leaves in microseconds.
//! - In: a statement ([`of_microseconds`]), and later its plan ([`Moments`]), where columns have types. Out: the same.
//! - Not here: numbers, texts of a column and rows of VALUES, which the engine casts as ever.

use super::parameters::{Parameters, name_of};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, Case, Cast};
use datafusion::logical_expr::expr_rewriter::{NamePreserver, coerce_plan_expr_for_schema};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, Union};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::{self, VisitMut, VisitorMut};
use serde_json::Value;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Digits of a second that columns have.
const DIGITS: u64 = 6;

/// Functions that make one type of those of all their arguments.
const UNIFORM: &[&str] = &["coalesce", "greatest", "least", "make_array", "nullif", "nvl2"];

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

/// Makes the texts and days that stand beside moments in a plan such themselves. It stands before the engine's own coercion.
#[derive(Debug)]
pub(super) struct Moments;

impl AnalyzerRule for Moments {
    fn name(&self) -> &str {
        "moments"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut changes = false;
        let plan = plan.transform_up_with_subqueries(|plan| {
            let plan = with_moments(plan)?;
            changes |= plan.transformed;
            match changes {
                // What stands above has to know the new types.
                true => plan.map_data(|plan| plan.recompute_schema()),
                false => Ok(plan),
            }
        })?;
        Ok(plan.data)
    }
}

fn with_moments(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::Union(union) = plan {
        return united(union);
    }
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let alike = expr.transform_up(|expr| alike(expr, &schema))?;
        Ok(alike.update_data(|expr| name.restore(expr)))
    })
}

/// Where the parts of an expression become of one type, and one of them is a moment: the texts and days among them as such.
fn alike(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Case(case) => Ok(branches_alike(case, schema)),
        expr if is_uniform(&expr) => {
            let mut of = None;
            expr.apply_children(|part| {
                of = moments(part, schema);
                Ok(match of {
                    Some(_) => TreeNodeRecursion::Stop,
                    None => TreeNodeRecursion::Continue,
                })
            })?;
            expr.map_children(|mut part| {
                let changes = make_moment(&mut part, of.as_ref(), schema);
                Ok(Transformed::new_transformed(part, changes))
            })
        }
        other => Ok(Transformed::no(other)),
    }
}

/// What a CASE compares is of one type, and what it gives of another.
fn branches_alike(mut case: Case, schema: &DFSchema) -> Transformed<Expr> {
    let whens = case.when_then_expr.iter().map(|(when, _)| when);
    let compared = case
        .expr
        .iter()
        .chain(whens)
        .find_map(|part| moments(part, schema));
    let thens = case.when_then_expr.iter().map(|(_, then)| then);
    let given = case
        .else_expr
        .iter()
        .chain(thens)
        .find_map(|part| moments(part, schema));
    let mut changes = false;
    if let Some(part) = &mut case.expr {
        changes |= make_moment(part, compared.as_ref(), schema);
    }
    for (when, then) in &mut case.when_then_expr {
        changes |= make_moment(when, compared.as_ref(), schema);
        changes |= make_moment(then, given.as_ref(), schema);
    }
    if let Some(part) = &mut case.else_expr {
        changes |= make_moment(part, given.as_ref(), schema);
    }
    Transformed::new_transformed(Expr::Case(case), changes)
}

/// The days in a column of a union as moments, if there are moments in it.
fn united(union: Union) -> Result<Transformed<LogicalPlan>> {
    // In a union by name each input says that it has the types of the first, whatever it has.
    let inputs = union.inputs.into_iter().map(|input| {
        let input = Arc::unwrap_or_clone(input).recompute_schema()?;
        Ok(Arc::new(input))
    });
    let inputs: Vec<Arc<LogicalPlan>> = inputs.collect::<Result<_>>()?;
    let moment = |place: usize| {
        let fields = inputs
            .iter()
            .filter_map(|input| input.schema().fields().get(place));
        let types: Vec<&DataType> = fields.map(|field| field.data_type()).collect();
        let moment = types.iter().find_map(|one| moment_of(one))?;
        types.iter().any(|one| is_day(one)).then_some(moment)
    };
    let moments: Vec<Option<DataType>> = (0..union.schema.fields().len()).map(moment).collect();
    let changes = moments.iter().any(Option::is_some);
    let inputs = inputs.into_iter().map(|input| {
        let schema = retyped(input.schema(), |place, own| match moments.get(place) {
            Some(Some(moment)) if is_day(own) => moment.clone(),
            _ => own.clone(),
        })?;
        let input = coerce_plan_expr_for_schema(Arc::unwrap_or_clone(input), &schema)?;
        Ok(Arc::new(input))
    });
    let inputs: Vec<Arc<LogicalPlan>> = inputs.collect::<Result<_>>()?;
    // The engine begins with the types of the first, as it was.
    let schema = retyped(&union.schema, |place, own| {
        let first = inputs.first();
        let first = first.and_then(|first| first.schema().fields().get(place));
        first.map_or_else(|| own.clone(), |field| field.data_type().clone())
    })?;
    let union = Union {
        inputs,
        schema: Arc::new(schema),
    };
    Ok(Transformed::new_transformed(LogicalPlan::Union(union), changes))
}

/// A schema with other types, by the places of its columns.
fn retyped(schema: &DFSchema, of: impl Fn(usize, &DataType) -> DataType) -> Result<DFSchema> {
    let fields = schema.iter().enumerate().map(|(place, (table, field))| {
        let data_type = of(place, field.data_type());
        let field = field.as_ref().clone().with_data_type(data_type);
        (table.cloned(), Arc::new(field))
    });
    DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone())
}

/// Whether the engine makes one type of those of its parts.
fn is_uniform(expr: &Expr) -> bool {
    match expr {
        // What a text is that is taken from a moment the engine does not know: it may be an interval.
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Minus,
            right,
        }) => !is_text(left) && !is_text(right),
        Expr::BinaryExpr(BinaryExpr { op, .. }) => compares(*op),
        Expr::Between(_) | Expr::InList(_) => true,
        Expr::ScalarFunction(function) => UNIFORM.contains(&function.func.name()),
        _ => false,
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

/// What a text or a day becomes that stands beside an expression, if that is of moments.
fn moments(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    // Where it has no type, as in the query around this one, the engine goes its own way.
    moment_of(&expr.get_type(schema).ok()?)
}

/// The type of a text or a day beside one of moments. A coarser one is met in microseconds: the text may be finer than it.
fn moment_of(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => None,
        DataType::Timestamp(_, zone) => Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
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

fn is_day(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Date64)
}

/// Whether it is a text that is written out, or a day, of whatever the day is made.
fn is_coarse(expr: &Expr, schema: &DFSchema) -> bool {
    is_text(expr) || expr.get_type(schema).is_ok_and(|data_type| is_day(&data_type))
}

/// Makes a text a moment of that type, and a day its begin; whether it was one of them.
fn make_moment(expr: &mut Expr, of: Option<&DataType>, schema: &DFSchema) -> bool {
    match of {
        Some(of) if is_coarse(expr, schema) => {
            let coarse = Box::new(std::mem::take(expr));
            *expr = Expr::Cast(Cast::new(coarse, of.clone()));
            true
        }
        _ => false,
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
