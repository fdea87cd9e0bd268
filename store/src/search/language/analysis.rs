//! What was understood of a query, in words and as JSON.

use super::{Condition, Period, Query};
use schemas::Operator;
use serde_json::{Value, json};
use std::fmt::{self, Display};

/// What was understood of a query.
#[derive(Debug, Clone, Copy)]
pub struct Analysis<'a>(pub &'a Query);

impl Analysis<'_> {
    /// It as JSON: `query` as it could also be written, `datasets` that are searched, and `reads` as a tree of `all`, `any`,
    /// `not`, `word`, `phrase` and `operator`.
    pub fn json(&self) -> Value {
        json!({
            "query": self.0.to_string(),
            "datasets": self.datasets(),
            "reads": tree(self.0),
        })
    }

    fn datasets(&self) -> Vec<&'static str> {
        self.0.datasets().iter().map(|dataset| dataset.name).collect()
    }
}

impl Display for Analysis<'_> {
    /// A line for each term, indented, and one for the datasets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(self.0, 0, "", f)?;
        match self.datasets().as_slice() {
            [] => f.write_str("searched: nothing, as no dataset can have all of this"),
            datasets => write!(f, "searched: {}", datasets.join(", ")),
        }
    }
}

fn lines(query: &Query, depth: usize, before: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let many = |name: &str, queries: &[Query], f: &mut fmt::Formatter<'_>| {
        writeln!(f, "{:1$}{before}{name}", "", depth * 2)?;
        queries
            .iter()
            .try_for_each(|query| lines(query, depth + 1, "", f))
    };
    match query {
        Query::All(queries) => many("all of", queries, f),
        Query::Any(queries) => many("any of", queries, f),
        Query::Not(query) => lines(query, depth, "not: ", f),
        Query::Word(word) => writeln!(f, "{:1$}{before}word {word}", "", depth * 2),
        Query::Phrase(phrase) => writeln!(f, "{:1$}{before}phrase \"{phrase}\"", "", depth * 2),
        Query::Where(condition) => writeln!(f, "{:1$}{before}{2}", "", depth * 2, In(condition)),
    }
}

/// A condition in words.
struct In<'a>(&'a Condition);

impl Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = self.0.operator().about();
        match self.0 {
            Condition::Text { value, .. } => write!(f, "{about}: {value}"),
            Condition::Date(Period { from, until }) => {
                f.write_str("date")?;
                from.iter().try_for_each(|from| write!(f, " from {from}"))?;
                until.iter().try_for_each(|until| write!(f, " before {until}"))
            }
            Condition::Near {
                latitude,
                longitude,
                kilometres,
            } => write!(f, "place within {kilometres} km of {latitude}, {longitude}"),
            Condition::Attachment => f.write_str(about),
            Condition::In(datasets) => {
                let names: Vec<&str> = datasets.iter().map(|dataset| dataset.name).collect();
                write!(f, "{about}: {}", names.join(", "))
            }
        }
    }
}

fn tree(query: &Query) -> Value {
    let many = |queries: &[Query]| queries.iter().map(tree).collect::<Vec<_>>();
    match query {
        Query::All(queries) => json!({"all": many(queries)}),
        Query::Any(queries) => json!({"any": many(queries)}),
        Query::Not(query) => json!({"not": tree(query)}),
        Query::Word(word) => json!({"word": word}),
        Query::Phrase(phrase) => json!({"phrase": phrase}),
        Query::Where(condition) => match condition {
            Condition::Text { operator, value } => json!({"operator": operator.name(), "value": value}),
            Condition::Date(period) => json!({
                "operator": Operator::Date.name(),
                "from": period.from.map(|from| from.to_string()),
                "before": period.until.map(|until| until.to_string()),
            }),
            Condition::Near {
                latitude,
                longitude,
                kilometres,
            } => json!({
                "operator": Operator::Near.name(),
                "latitude": latitude,
                "longitude": longitude,
                "kilometres": kilometres,
            }),
            Condition::Attachment => json!({"operator": Operator::Has.name(), "value": "attachment"}),
            Condition::In(datasets) => json!({
                "operator": Operator::In.name(),
                "datasets": datasets.iter().map(|dataset| dataset.name).collect::<Vec<_>>(),
            }),
        },
    }
}
