//! Spans of time in a query.
//!
//! - In: `2024`, `2024-03`, `2024-03-15`, `15.03.2024`, `March 2024`, `2024-03-15T10:00`, the same with an offset or a Z, as
//!   the reader's clock shows it, `today`, `last-week`, and what jiff reads as a span, `2weeks`, which counts back from now. Out: the first moment that is meant and the first that
//!   is not any more, of the reader's clock.
//! - Not here: time zones; reading of numbers, which jiff does.

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan, Zoned};
use schemas::Operator;
use std::fmt::{self, Display};

/// A span of time, of the reader's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub from: Option<DateTime>,
    /// The first moment after it.
    pub until: Option<DateTime>,
}

/// What to write for a date.
pub(super) const USAGE: &str = "write 2024, 2024-03, 2024-03-15, two of them with .. between them, a span as 2weeks, or \
     today, yesterday, this-week, last-week, this-month, last-month, this-year, last-year";

/// How dates are written, and how much each means.
const FORMATS: &[(&str, Unit)] = &[
    ("%Y-%m-%d", Unit::Day),
    ("%Y/%m/%d", Unit::Day),
    ("%d.%m.%Y", Unit::Day),
    ("%Y%m%d", Unit::Day),
    ("%Y-%m", Unit::Month),
    ("%Y/%m", Unit::Month),
    ("%B %Y", Unit::Month),
    ("%b %Y", Unit::Month),
    ("%Y", Unit::Year),
];

#[derive(Clone, Copy)]
enum Unit {
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    /// Reads the value of an operator of dates; none if it is no date.
    pub(super) fn read(operator: Operator, text: &str, now: &Zoned) -> Option<Self> {
        let period = match (operator, text.split_once("..")) {
            (Operator::Before, None) => Self {
                from: None,
                until: Some(moment(text, now)?.0),
            },
            (Operator::After, None) => Self {
                from: Some(moment(text, now)?.0),
                until: None,
            },
            (Operator::Date, None) => {
                let (from, until) = match time(text, now) {
                    Some(time) => (time, Some(end_of_time(time))),
                    None => moment(text, now)?,
                };
                Self {
                    from: Some(from),
                    until,
                }
            }
            (Operator::Date, Some((from, until))) => {
                let end = |text: &str| match text.trim() {
                    "" => Some(None),
                    text => moment(text, now).map(Some),
                };
                Self {
                    from: end(from)?.map(|(from, _)| from),
                    until: end(until)?.map(|(begin, end)| end.unwrap_or(begin)),
                }
            }
            _ => return None,
        };
        (period.from.is_some() || period.until.is_some()).then_some(period)
    }

    /// Whether it ends before it begins.
    pub(super) fn is_backwards(&self) -> bool {
        matches!((self.from, self.until), (Some(from), Some(until)) if from >= until)
    }

    /// The operator that it prints as.
    pub(super) fn operator(&self) -> Operator {
        match (self.from, self.until) {
            (Some(_), None) => Operator::After,
            (None, Some(_)) => Operator::Before,
            _ => Operator::Date,
        }
    }

    /// It in microseconds since 1970, by the clock of a zone; none for an end that it has not, or that is out of range.
    pub fn instants(&self, zone: &TimeZone) -> (Option<i64>, Option<i64>) {
        let instant = |time: DateTime| Some(time.to_zoned(zone.clone()).ok()?.timestamp().as_microsecond());
        (self.from.and_then(instant), self.until.and_then(instant))
    }
}

impl Display for Period {
    /// As its operator takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.until) {
            (Some(from), Some(until)) => {
                // A day as an end is meant with all its hours.
                let last = until.yesterday().ok().filter(|_| until.start_of_day() == until);
                write!(f, "{}..{}", Shown(from), Shown(last.unwrap_or(until)))
            }
            (Some(time), None) | (None, Some(time)) => write!(f, "{}", Shown(time)),
            (None, None) => f.write_str(".."),
        }
    }
}

/// A moment, as a day if it is the first one of a day.
struct Shown(DateTime);

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.start_of_day() == self.0 {
            write!(f, "{}", self.0.date())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// The first moment that a text means, and, unless it means just that one, the first after it.
fn moment(text: &str, now: &Zoned) -> Option<(DateTime, Option<DateTime>)> {
    let text = text.trim();
    let whole = |date: Date, unit: Unit| Some((date.into(), Some(end(date, unit))));
    for (format, unit) in FORMATS {
        if let Ok(read) = BrokenDownTime::parse(format, text) {
            // `%Y` takes a few digits too, and they may be anything.
            let year = read.year().filter(|year| *year >= 1000)?;
            let (month, day) = (read.month().unwrap_or(1), read.day().unwrap_or(1));
            return whole(Date::new(year, month, day).ok()?, *unit);
        }
    }
    let today = now.date();
    let monday = today
        .checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days())
        .ok()?;
    let month = today.first_of_month();
    let year = today.first_of_year();
    match text.to_lowercase().replace(['-', '_'], " ").as_str() {
        "today" => return whole(today, Unit::Day),
        "yesterday" => return whole(today.yesterday().ok()?, Unit::Day),
        "this week" => return whole(monday, Unit::Week),
        "last week" => return whole(monday.checked_sub(1.week()).ok()?, Unit::Week),
        "this month" => return whole(month, Unit::Month),
        "last month" => return whole(month.checked_sub(1.month()).ok()?, Unit::Month),
        "this year" => return whole(year, Unit::Year),
        "last year" => return whole(year.checked_sub(1.year()).ok()?, Unit::Year),
        _ => {}
    }
    if let Some(time) = time(text, now) {
        return Some((time, None));
    }
    let span = text.parse::<Span>().ok()?.abs();
    if span.is_zero() {
        return None;
    }
    let then = now.checked_sub(span).ok()?;
    let has_hours = span.get_hours() != 0 || span.get_minutes() != 0 || span.get_seconds() != 0;
    let then = match has_hours {
        true => then.datetime().with().subsec_nanosecond(0).build().ok()?,
        false => then.date().into(),
    };
    Some((then, None))
}

/// A day and an hour; of an offset or a Z, what the reader's clock shows then.
fn time(text: &str, now: &Zoned) -> Option<DateTime> {
    let text = text.trim();
    match text.parse::<Timestamp>() {
        Ok(instant) => Some(instant.to_zoned(now.time_zone().clone()).datetime()),
        Err(_) if text.contains(':') => text.parse().ok(),
        Err(_) => None,
    }
}

/// The first moment after a minute, or after a second if that is not its first.
fn end_of_time(time: DateTime) -> DateTime {
    let length = match time.second() {
        0 => 1.minute(),
        _ => 1.second(),
    };
    time.saturating_add(length)
}

/// The first moment after a day, week, month or year; of the last year the last one.
fn end(date: Date, unit: Unit) -> DateTime {
    let length = match unit {
        Unit::Day => 1.day(),
        Unit::Week => 1.week(),
        Unit::Month => 1.month(),
        Unit::Year => 1.year(),
    };
    date.checked_add(length).map_or(DateTime::MAX, DateTime::from)
}
