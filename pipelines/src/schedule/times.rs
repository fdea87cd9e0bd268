//! The times of a schedule between two moments, with bounded work: a year of seconds costs no more than an hour of them.
//!
//! - In: a schedule, a time zone, two moments. Out: the first times, the newest one, how many as far as that is known.
//! - Not here: what becomes of them (`decide`).

use super::{When, upcoming};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemas::Instant;

/// So many times are looked at one by one.
const MOST: usize = 1_000;

/// Times after one moment and up to another. Of more than [`MOST`] only the newest is looked for.
pub(super) struct Times {
    /// The first of them.
    pub listed: Vec<Timestamp>,
    /// The last of all.
    pub newest: Option<Timestamp>,
    /// Whether there are more than are listed.
    pub has_more: bool,
}

impl Times {
    /// Looks for them.
    pub fn between(when: &When, zone: &TimeZone, after: Timestamp, last: Timestamp) -> Self {
        let mut listed = Vec::new();
        let mut end = after;
        while let Some(at) = when.next(end, zone)
            && at <= last
        {
            if listed.len() == MOST {
                return Self {
                    listed,
                    newest: Some(newest(when, zone, end, last)),
                    has_more: true,
                };
            }
            listed.push(at);
            end = at;
        }
        Self {
            newest: listed.last().copied(),
            listed,
            has_more: false,
        }
    }

    /// How many they are, since when.
    pub fn count(&self, verb: &str, zone: &TimeZone) -> String {
        let since = self.listed.first().map_or(String::new(), |at| shown(*at, zone));
        if self.has_more {
            return format!("more than 1,000 times{verb} since {since}");
        }
        format!("{} times{verb} since {since}", self.listed.len())
    }
}

/// The next `n` times of a schedule after a moment. Those of an interval are counted from an earlier one that is known, so
/// that they do not move with the moment.
pub fn upcoming_since(
    when: &When,
    zone: &TimeZone,
    known: Timestamp,
    after: Timestamp,
    n: usize,
) -> Vec<Timestamp> {
    let from = match when {
        When::Every(_) if known <= after => newest(when, zone, known, after),
        _ => after,
    };
    upcoming(when, zone, from, n)
}

/// The newest time up to a moment, of which `from` is one and not the last.
fn newest(when: &When, zone: &TimeZone, from: Timestamp, last: Timestamp) -> Timestamp {
    if let When::Every(period) = when {
        let period = i64::try_from(period.as_micros()).unwrap_or(i64::MAX).max(1);
        let passed = last.as_microsecond().saturating_sub(from.as_microsecond());
        return moment(from.as_microsecond().saturating_add(passed / period * period));
    }
    // Halving: from the low second on there is a time up to the moment, from the high one on there is none.
    let (mut low, mut high) = (from.as_second(), last.as_second());
    let next = |second: i64| when.next(Timestamp::from_second(second).ok()?, zone);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if next(middle).is_some_and(|at| at <= last) {
            low = middle;
        } else {
            high = middle;
        }
    }
    next(low).unwrap_or(from)
}

/// A moment as the store keeps it.
pub(super) fn moment(at: Instant) -> Timestamp {
    Timestamp::from_microsecond(at).unwrap_or(if at < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// A moment as people of the time zone read it.
pub(super) fn shown(at: Timestamp, zone: &TimeZone) -> String {
    at.display_with_offset(zone.to_offset(at)).to_string()
}
