//! A query's operators → a filter over the columns of a dataset, built as an expression: no text of a query is ever SQL.
//!
//! - In: a query, a dataset that says how it is searched, the reader's time zone, and what stands for words and for what
//!   another dataset has, as attachments or changed files. Out: an expression that is true of the rows that may be found.
//! - A column that is null has nothing: `-from:jane` finds a mail without a sender.
//! - Not here: which rows have words, or something in another dataset.

use super::language::{Condition, Period, Query};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::functions::math::expr_fn::{cos, power, radians, sin};
use datafusion::functions::regex::expr_fn::regexp_like;
use datafusion::functions_nested::expr_fn::array_to_string;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Expr, lit, when};
use datafusion::prelude::ident;
use jiff::tz::TimeZone;
use schemas::{Dataset, Field, Kind, Operator, Search, datasets};

/// The mean radius of the Earth in kilometres (IUGG).
const EARTH_KM: f64 = 6_371.008_8;

/// What stands for a word, a phrase, or what another dataset has.
pub type Given<'a> = dyn Fn(&Query) -> Option<Expr> + 'a;

/// What a query asks of a row of a dataset beside its words; none if that is nothing.
///
/// # Errors
/// When something is not given, or cannot be an expression.
pub fn filter(
    query: &Query,
    dataset: &'static Dataset,
    zone: &TimeZone,
    given: &Given<'_>,
) -> Result<Option<Expr>> {
    let Some(search) = &dataset.search else {
        return Ok(Some(lit(false)));
    };
    let of = Filter {
        dataset,
        search,
        zone,
        given,
    };
    let exprs = of.exprs(query.conditions())?;
    // What holds for every row asks nothing.
    Ok(conjunction(exprs.into_iter().filter(|expr| *expr != lit(true))))
}

struct Filter<'a> {
    dataset: &'static Dataset,
    search: &'static Search,
    zone: &'a TimeZone,
    given: &'a Given<'a>,
}

impl Filter<'_> {
    fn expr(&self, query: &Query) -> Result<Expr> {
        if let Some(known) = query.known_of(self.dataset) {
            return Ok(lit(known));
        }
        if let Some(given) = (self.given)(query) {
            return Ok(given);
        }
        match query {
            Query::All(queries) => Ok(conjunction(self.exprs(queries)?).unwrap_or_else(|| lit(true))),
            Query::Any(queries) => Ok(disjunction(self.exprs(queries)?).unwrap_or_else(|| lit(false))),
            Query::Not(query) => Ok(self.expr(query)?.is_not_true()),
            Query::Word(_) | Query::Phrase(_) => {
                Err(DataFusionError::Plan(format!("`{query}` is not given")))
            }
            Query::Where(condition) => self.condition(condition),
        }
    }

    /// What queries ask, each once.
    fn exprs<'q>(&self, queries: impl IntoIterator<Item = &'q Query>) -> Result<Vec<Expr>> {
        let mut exprs = Vec::new();
        for query in queries {
            let expr = self.expr(query)?;
            if !exprs.contains(&expr) {
                exprs.push(expr);
            }
        }
        Ok(exprs)
    }

    fn condition(&self, condition: &Condition) -> Result<Expr> {
        let operator = condition.operator();
        let field = self.search.field(operator);
        match (condition, field) {
            (Condition::Date(period), _) => self.date(period),
            (Condition::Text { value, .. }, Some(field)) if field.of.is_none() => {
                Ok(self.field(field, value))
            }
            (Condition::Text { .. }, Some(_)) => {
                Err(DataFusionError::Plan(format!("`{condition}` is not given")))
            }
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

    fn field(&self, field: &Field, value: &str) -> Expr {
        // The name of a file is the last part of its path.
        let is_last_part = field.operator == Operator::Filename;
        let columns = field.columns.iter();
        any_of(columns.map(|name| matches(self.text(name), field.operator, value, is_last_part)))
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

/// What a condition asks of rows of another dataset, and which one that is. Rows of the same `_item` belong together.
pub fn of_another(search: &Search, condition: &Condition) -> Option<(&'static Dataset, Expr)> {
    let Condition::Text { operator, value } = condition else {
        return None;
    };
    let field = search.field(*operator)?;
    let other = datasets::by_name(field.of?)?;
    let columns = field.columns.iter();
    let found = any_of(columns.map(|name| matches(text_of(other, name), *operator, value, false)));
    Some((other, found))
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
    // Each star of some that follow each other would have its own turn at each letter.
    let mut letters: Vec<char> = value.chars().collect();
    letters.dedup_by(|next, last| *next == '*' && *last == '*');
    let value: String = letters.into_iter().collect();
    if !has_star && !is_last_part {
        return text.ilike(contains(&value));
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
