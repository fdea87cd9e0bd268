//! When a pipeline is due: the text of a schedule, and the times that it means.
//!
//! - In: a text; a moment and a time zone. Out: the next time.
//! - Where the clock is put forward or back (FACTS T18), a pattern means:
//!   - *fixed times* (no `*` in seconds, minutes and hours: `30 2 * * *`, `0 2,14 * * *`, `@daily`): each once a day,
//!     when the wall clock first shows it or later. In a gap that is just after the gap; in an overlap the first time.
//!   - *repeated times* (a `*` in one of them: `*/15 * * * *`, `@hourly`, `*/20 2 * * *`): whenever the wall clock shows
//!     them. They follow elapsed time: what is in a gap never was, what is in an overlap comes twice.
//! - Not here: what is done at that time (`decide`), any clock.

use croner::parser::CronParser;
use croner::{Cron, Direction, TimeComponent};
use jiff::civil::{DateTime, date};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use schemas::SourceName;
use schemas::names::BadName;
use std::fmt;
use std::iter::successors;
use std::str::FromStr;

/// The shortest `every`.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

/// The longest `every`.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// The words for patterns.
const NICKNAMES: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

/// Where a pattern is looked for when it is read: a time after this is a time.
const BEGINNING: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

/// When a pipeline is due.
#[derive(Clone, PartialEq, Eq)]
pub enum When {
    /// When the wall clock fits a pattern; and the pattern as it was written.
    Cron(Box<Cron>, String),
    /// Every so often, whatever the wall clock shows.
    Every(SignedDuration),
    /// When that pipeline has run well.
    After(SourceName),
    /// When its files change.
    OnChange,
}

/// Why a text is not a schedule.
#[derive(Debug, thiserror::Error)]
pub enum BadSchedule {
    /// There is nothing in it.
    #[error("it is empty; write `*/15 * * * *`, `@daily`, `every 10m`, `after NAME` or `on change`")]
    Empty,
    /// It is not a pattern of cron, nor anything else.
    #[error(
        "`{text}` is no schedule ({why}); write 5 fields (minute, hour, day, month, weekday), 6 with seconds before them or 7 with years behind them, such as `*/15 * * * *`; or `@daily`, `every 10m`, `after NAME`, `on change`"
    )]
    Pattern {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// It is a pattern that no moment fits.
    #[error(
        "`{0}` never comes: no date has that day and month, or a field is empty; `0 0 28 2 *` would come"
    )]
    Never(String),
    /// It begins with `@` and is no word for a pattern.
    #[error("`{0}` is not known; write @yearly, @monthly, @weekly, @daily or @hourly")]
    Nickname(String),
    /// What is behind `every` is not a length of time.
    #[error(
        "`every {text}`: {why}; write a length of time such as `every 10m`, `every 1h 30m` or `every 2 days`"
    )]
    Length {
        /// The text behind `every`.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// It would come too often, too seldom, or at parts of seconds.
    #[error("`every {0}`: it must be whole seconds, from `every 1s` to `every 366 days`")]
    Bounds(String),
    /// What is behind `after` is not the name of a pipeline.
    #[error("`after` wants the name of another pipeline: {0}")]
    After(#[from] BadName),
}

impl FromStr for When {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim_start();
        match (word, rest) {
            ("", _) => Err(BadSchedule::Empty),
            ("every", _) => Ok(Self::Every(period(rest)?)),
            ("after", _) => Ok(Self::After(SourceName::new(rest)?)),
            ("on", "change") => Ok(Self::OnChange),
            _ => Ok(Self::Cron(Box::new(pattern(text)?), text.to_owned())),
        }
    }
}

fn period(text: &str) -> Result<SignedDuration, BadSchedule> {
    let wrong = |error: jiff::Error| BadSchedule::Length {
        text: text.to_owned(),
        why: error.to_string(),
    };
    let span: Span = text.parse().map_err(wrong)?;
    let period = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(wrong)?;
    if (SHORTEST..=LONGEST).contains(&period) && period.subsec_nanos() == 0 {
        Ok(period)
    } else {
        Err(BadSchedule::Bounds(text.to_owned()))
    }
}

fn pattern(text: &str) -> Result<Cron, BadSchedule> {
    let is_known = |nickname: &&str| nickname.eq_ignore_ascii_case(text);
    if text.starts_with('@') && !NICKNAMES.iter().any(is_known) {
        return Err(BadSchedule::Nickname(text.to_owned()));
    }
    let cron = CronParser::new()
        .parse(text)
        .map_err(|error| BadSchedule::Pattern {
            text: text.to_owned(),
            why: error.to_string().trim_end_matches('.').to_owned(),
        })?;
    if comes(&cron) {
        Ok(cron)
    } else {
        Err(BadSchedule::Never(text.to_owned()))
    }
}

/// Whether any moment since 1970 fits a pattern: it costs milliseconds to see that none does, which is too much for
/// each time that somebody asks for the next.
fn comes(cron: &Cron) -> bool {
    // croner takes `,` for a field and then looks at every hour of 3,000 years.
    let is_full = |component| {
        let found = cron
            .pattern
            .find_match_in_component(0, component, Direction::Forward);
        matches!(found, Ok(Some(_)))
    };
    is_full(TimeComponent::Second)
        && is_full(TimeComponent::Minute)
        && is_full(TimeComponent::Hour)
        && cron.find_next_occurrence(&BEGINNING, true).is_ok()
}

impl When {
    /// Its text: a pattern as it was written, the others in one way of writing. The key of the table `schedules`.
    pub fn text(&self) -> String {
        match self {
            Self::Cron(_, text) => text.clone(),
            Self::Every(period) => format!("every {period:#}"),
            Self::After(pipeline) => format!("after {pipeline}"),
            Self::OnChange => "on change".to_owned(),
        }
    }

    /// The first time after a moment; none if it has no times, or (a pattern with years) none any more.
    /// That of an interval is counted from the moment.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Cron(cron, _) if is_fixed(cron) => next_fixed(cron, after, zone),
            Self::Cron(cron, _) => {
                let found = cron.find_next_occurrence(&after.to_zoned(zone.clone()), false);
                Some(found.ok()?.timestamp())
            }
            Self::Every(period) => after.checked_add(*period).ok(),
            Self::After(_) | Self::OnChange => None,
        }
    }
}

impl fmt::Debug for When {
    /// The text: a parsed pattern is thousands of bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("When").field(&self.text()).finish()
    }
}

/// The next `n` times of a schedule after a moment. Those of an interval are counted from the moment.
pub fn upcoming(when: &When, zone: &TimeZone, after: Timestamp, n: usize) -> Vec<Timestamp> {
    successors(when.next(after, zone), |at| when.next(*at, zone))
        .take(n)
        .collect()
}

/// Whether a pattern names times of the day, as cron(8) tells them from those that are repeated.
///
/// croner takes only one single time a day for fixed. Then `0 0,12 * * *` loses its midnight where the clock is put
/// forward at midnight (America/Sao_Paulo until 2018), and `0 2,14 * * *` comes twice at 2 where it is put back.
fn is_fixed(cron: &Cron) -> bool {
    let pattern = &cron.pattern;
    !pattern.seconds.from_wildcard && !pattern.minutes.from_wildcard && !pattern.hours.from_wildcard
}

/// The next fixed time. croner only finds what the wall clock has to show; when it does is for jiff to say.
fn next_fixed(cron: &Cron, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let mut wall = zone.to_datetime(after);
    loop {
        wall = cron.find_next_occurrence(&wall, false).ok()?;
        let at = first_shown(wall, zone)?;
        // What is in the second half of an overlap was in the first; what is in a gap is all one moment.
        if at > after {
            return Some(at);
        }
    }
}

/// The first moment at which the wall clock shows a time or a later one.
fn first_shown(wall: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let found = zone.to_ambiguous_timestamp(wall);
    // In a gap, that is a moment shortly before it.
    let earlier = found.earlier().ok()?;
    match found.offset() {
        AmbiguousOffset::Gap { .. } => Some(zone.following(earlier).next()?.timestamp()),
        _ => Some(earlier),
    }
}
