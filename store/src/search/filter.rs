//! A query's operators → a filter over the columns of a dataset, built as an expression: no text of a query is ever SQL.
//!
//! - In: a query, a dataset that says how it is searched, the reader's time zone, and how to scan another dataset where
//!   attachments or changed files are looked for. Out: an expression that is true of the rows that may be found.
//! - A column that is null has nothing: `-from:jane` finds a mail without a sender.
//! - Not here: words, unless they stand beside operators within an OR; those must be in the title or the text.

use super::language::{Condition, Period, Query};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::functions::math::expr_fn::{cos, power, radians, sin};
use datafusion::functions::regex::expr_fn::regexp_like;
use datafusion::functions_nested::expr_fn::array_to_string;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, in_subquery, lit, when};
use datafusion::prelude::ident;
use jiff::tz::TimeZone;
use schemas::{Dataset, Field, Kind, Operator, Search, datasets};
use std::sync::Arc;

/// The mean radius of the Earth in kilometres (IUGG).
const EARTH_KM: f64 = 6_371.008_8;

/// A scan of a dataset, as the session has it.
pub type Scan<'a> = dyn Fn(&'static Dataset) -> Result<LogicalPlan> + 'a;

/// What a query asks of a row of a dataset beside its words; none if that is nothing.
///
/// # Errors
/// When another dataset cannot be scanned.
pub fn filter(
    query: &Query,
    dataset: &'static Dataset,
    zone: &TimeZone,
    scan: &Scan<'_>,
) -> Result<Option<Expr>> {
    let Some(search) = &dataset.search else {
        return Ok(Some(lit(false)));
    };
    let of = Filter {
        dataset,
        search,
        zone,
        scan,
    };
    let exprs: Vec<Expr> = query
        .conditions()
        .map(|query| of.expr(query))
        .collect::<Result<_>>()?;
    // What holds for every row asks nothing.
    Ok(conjunction(exprs.into_iter().filter(|expr| *expr != lit(true))))
}

struct Filter<'a> {
    dataset: &'static Dataset,
    search: &'static Search,
    zone: &'a TimeZone,
    scan: &'a Scan<'a>,
}

impl Filter<'_> {
    fn expr(&self, query: &Query) -> Result<Expr> {
        if let Some(known) = query.known_of(self.dataset) {
            return Ok(lit(known));
        }
        match query {
            Query::All(queries) => Ok(conjunction(self.exprs(queries)?).unwrap_or_else(|| lit(true))),
            Query::Any(queries) => Ok(disjunction(self.exprs(queries)?).unwrap_or_else(|| lit(false))),
            Query::Not(query) => Ok(self.expr(query)?.is_not_true()),
            Query::Word(text) | Query::Phrase(text) => {
                let columns = self.search.title.iter().chain(self.search.text);
                Ok(any_of(columns.map(|name| self.text(name).ilike(contains(text)))))
            }
            Query::Where(condition) => self.condition(condition),
        }
    }

    fn exprs(&self, queries: &[Query]) -> Result<Vec<Expr>> {
        queries.iter().map(|query| self.expr(query)).collect()
    }

    fn condition(&self, condition: &Condition) -> Result<Expr> {
        let operator = condition.operator();
        let field = self.search.field(operator);
        match (condition, field) {
            (Condition::Date(period), _) => self.date(period),
            (Condition::Text { value, .. }, Some(field)) => self.field(field, value),
            (Condition::Attachment, Some(field)) => Ok(any_of(
                field.columns.iter().map(|name| ident(*name).gt(lit(0_i64))),
            )),
            (
                Condition::Near {
                    latitude,
                    longitude,
                    kilometres,
                },
                Some(field),
            ) => Ok(near(field, *latitude, *longitude, *kilometres)),
            // What a dataset does not answer, and which datasets are meant, is known without reading a row.
            (Condition::In(_), _) | (_, None) => Ok(lit(false)),
        }
    }

    /// A column as text; of a list, each on a line of its own.
    fn text(&self, name: &str) -> Expr {
        text_of(self.dataset, name)
    }

    fn field(&self, field: &Field, value: &str) -> Result<Expr> {
        let Some(other) = field.of else {
            // The name of a file is the last part of its path.
            let is_last_part = field.operator == Operator::Filename;
            let columns = field.columns.iter();
            return Ok(any_of(columns.map(|name| {
                matches(self.text(name), field.operator, value, is_last_part)
            })));
        };
        let other = datasets::by_name(other)
            .ok_or_else(|| DataFusionError::Plan(format!("there is no dataset `{other}`")))?;
        let columns = field.columns.iter();
        let found = any_of(columns.map(|name| matches(text_of(other, name), field.operator, value, false)));
        let items = LogicalPlanBuilder::from((self.scan)(other)?)
            .filter(found)?
            .project([ident("_item")])?
            .build()?;
        Ok(in_subquery(ident("_item"), Arc::new(items)))
    }

    fn date(&self, period: &Period) -> Result<Expr> {
        // `coalesce` by hand: it is known to planners only.
        let mut columns = self.search.date.iter().rev().map(|name| ident(*name));
        let last = columns.next().unwrap_or_else(|| lit(ScalarValue::Null));
        let date = columns.try_fold(last, |later, first| {
            when(first.clone().is_not_null(), first).otherwise(later)
        })?;
        let zone = if self.search.wall_clock {
            &TimeZone::UTC
        } else {
            self.zone
        };
        let (from, until) = period.instants(zone);
        let moment = |instant| {
            lit(ScalarValue::TimestampMicrosecond(
                Some(instant),
                Some("UTC".into()),
            ))
        };
        let from = from.map(|from| date.clone().gt_eq(moment(from)));
        let until = until.map(|until| date.lt(moment(until)));
        Ok(conjunction(from.into_iter().chain(until)).unwrap_or_else(|| lit(true)))
    }
}

fn any_of(exprs: impl Iterator<Item = Expr>) -> Expr {
    disjunction(exprs).unwrap_or_else(|| lit(false))
}

fn text_of(dataset: &Dataset, name: &str) -> Expr {
    let column = dataset.columns.iter().find(|column| column.name == name);
    match column.map(|column| column.kind) {
        Some(Kind::TextList) => array_to_string(ident(name), lit("\n")),
        _ => ident(name),
    }
}

/// A pattern of LIKE for texts that contain one.
fn contains(text: &str) -> Expr {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    lit(pattern)
}

/// Whether a text has a value in it, or is it where the value has a star.
fn matches(text: Expr, operator: Operator, value: &str, is_last_part: bool) -> Expr {
    let has_star = value.contains('*');
    if !has_star && !is_last_part {
        return text.ilike(contains(value));
    }
    // A star does not leave the line, as each element of a list has one, nor the part of a path that is meant.
    let any = if is_last_part { "[^/\\n]*" } else { ".*" };
    let parts: Vec<String> = value.split('*').map(regex::escape).collect();
    let pattern = parts.join(any);
    let is_path = is_last_part || operator == Operator::Path;
    let pattern = match (has_star, is_path) {
        (false, _) => format!("{pattern}[^/\\n]*$"),
        (true, true) => format!("(^|/){pattern}$"),
        (true, false) => format!("^{pattern}$"),
    };
    regexp_like(text, lit(pattern), Some(lit("im")))
}

/// Whether a place is near enough, by the haversine formula.
fn near(field: &Field, latitude: f64, longitude: f64, kilometres: f64) -> Expr {
    let [there_latitude, there_longitude] = field.columns else {
        return lit(false);
    };
    let (there_latitude, there_longitude) = (ident(*there_latitude), ident(*there_longitude));
    let half = |degrees: Expr| power(sin(radians(degrees) / lit(2.0)), lit(2.0));
    let chord = half(there_latitude.clone() - lit(latitude))
        + lit(latitude.to_radians().cos())
            * cos(radians(there_latitude.clone()))
            * half(there_longitude - lit(longitude));
    // The chord of the distance, squared as that of the two places is; half the way around is all there is.
    let most = (kilometres / (2.0 * EARTH_KM))
        .min(std::f64::consts::FRAC_PI_2)
        .sin()
        .powi(2);
    // Latitudes that are too far away need no sines.
    let degrees = (kilometres / EARTH_KM).to_degrees() + 0.001;
    there_latitude
        .between(lit(latitude - degrees), lit(latitude + degrees))
        .and(chord.lt_eq(lit(most)))
}

#[cfg(test)]
mod tests;
