//! The values of operators → conditions.
//!
//! - In: an operator and what was written after its colon. Out: a condition, or what is wrong and what to write.

use super::period::{self, Period};
use super::{Condition, MOST_STARS};
use jiff::Zoned;
use schemas::{Dataset, Operator, datasets};

/// What an operator asks for, or what is wrong with its value.
pub(super) fn condition_of(operator: Operator, value: &str, now: &Zoned) -> Result<Condition, String> {
    let shown = shown(value);
    match operator {
        Operator::After | Operator::Before | Operator::Date => {
            let period = Period::read(operator, value, now);
            let period = period.ok_or_else(|| format!("`{shown}` is no date; {}", period::USAGE))?;
            if period.is_backwards() {
                return Err(format!(
                    "`{shown}` ends before it begins; write the earlier date first"
                ));
            }
            Ok(Condition::Date(period))
        }
        Operator::Near => near(value).ok_or_else(|| {
            format!(
                "`{shown}` is no place; write latitude, longitude and kilometres, as {}",
                operator.example()
            )
        }),
        Operator::Has => match value.to_ascii_lowercase().as_str() {
            "attachment" | "attachments" => Ok(Condition::Attachment),
            _ => Err(format!(
                "`{shown}` cannot be asked for; write {}",
                operator.example()
            )),
        },
        Operator::In => {
            let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
            let datasets = names.map(searchable).collect::<Result<Vec<_>, _>>()?;
            match datasets.is_empty() {
                true => Err(format!("no dataset is named; write {}", operator.example())),
                false => Ok(Condition::In(datasets)),
            }
        }
        _ => {
            let stars = value.split(|c| c != '*').filter(|stars| !stars.is_empty());
            match stars.count() > MOST_STARS {
                true => Err(format!(
                    "`{shown}` has too many stars; a value has at most {MOST_STARS}"
                )),
                false => Ok(Condition::Text {
                    operator,
                    value: value.trim().to_owned(),
                }),
            }
        }
    }
}

fn searchable(name: &str) -> Result<&'static Dataset, String> {
    let shown = shown(name);
    let mut all = datasets::ALL
        .iter()
        .copied()
        .filter(|dataset| dataset.search.is_some());
    let found = all
        .clone()
        .find(|dataset| dataset.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let nearest = all
            .clone()
            .find(|dataset| strsim::osa_distance(dataset.name, name) <= 2);
        let names = all
            .by_ref()
            .map(|dataset| dataset.name)
            .collect::<Vec<_>>()
            .join(", ");
        match nearest {
            Some(dataset) => format!(
                "there is no dataset `{shown}` to search; did you mean `{}`?",
                dataset.name
            ),
            None => format!("there is no dataset `{shown}` to search; there are {names}"),
        }
    })
}

/// The begin of a value: a mistake is told in a line.
fn shown(value: &str) -> String {
    let mut shown: String = value.chars().take(40).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    shown
}

/// Latitude, longitude and, unless it is 10, the distance in kilometres.
fn near(value: &str) -> Option<Condition> {
    let value = value.trim().to_ascii_lowercase();
    let numbers = value.trim_end_matches("km").split(',');
    let numbers: Vec<f64> = numbers
        .map(|number| number.trim().parse().ok())
        .collect::<Option<_>>()?;
    let (latitude, longitude, kilometres) = match numbers.as_slice() {
        [latitude, longitude] => (*latitude, *longitude, 10.0),
        [latitude, longitude, kilometres] => (*latitude, *longitude, *kilometres),
        _ => return None,
    };
    // Half the way around the Earth is everywhere.
    let is_place = (-90.0..=90.0).contains(&latitude)
        && (-180.0..=180.0).contains(&longitude)
        && (0.0..=20_040.0).contains(&kilometres);
    is_place.then_some(Condition::Near {
        latitude,
        longitude,
        kilometres,
    })
}

/// The operator that was meant by a name that is none: one slip away, and with a value that fits. Shorter names are
/// too often words of their own.
pub(super) fn near_miss(name: &str, value: &str, now: &Zoned) -> Option<Operator> {
    let name = name.to_ascii_lowercase();
    let begins_path = value.starts_with(['/', '\\']);
    let near = Operator::ALL.iter().copied().filter(|operator| {
        name.len() >= 4 && operator.name().len() >= 4 && strsim::osa_distance(operator.name(), &name) == 1
    });
    let mut fitting = near
        .filter(|operator| !value.is_empty() && !begins_path && condition_of(*operator, value, now).is_ok());
    fitting.next()
}
