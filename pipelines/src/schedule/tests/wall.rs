//! What a pattern means, told again in the simplest way: somebody looks at the wall clock each minute.

use super::*;

/// The first second they look.
pub(super) const FROM: i64 = 1_467_331_200; // 2016-07-01T00:00Z

/// The second they stop.
const TO: i64 = 1_561_939_200; // 2019-07-01T00:00Z

/// A pattern, as text and as what is looked for; an empty list: any.
pub(super) struct Wall {
    pub text: &'static str,
    pub zone: &'static str,
    minutes: &'static [i64],
    hours: &'static [i64],
    /// From Sunday.
    weekdays: &'static [i64],
    /// Whether it comes once, when the clock first shows it or later.
    is_fixed: bool,
}

/// Patterns; the first four are those of the simulated year.
pub(super) const WALLS: [Wall; 11] = [
    repeated("*/30 * * * *", "Europe/Madrid", &[0, 30], &[]),
    fixed("30 2 * * *", "Europe/Madrid", &[30], &[2], &[]),
    fixed("0 0,12 * * *", "America/Sao_Paulo", &[0], &[0, 12], &[]),
    repeated(
        "0 */3 * * *",
        "Australia/Lord_Howe",
        &[0],
        &[0, 3, 6, 9, 12, 15, 18, 21],
    ),
    fixed("15 2 * * *", "Australia/Lord_Howe", &[15], &[2], &[]),
    fixed("45 1 * * *", "Australia/Lord_Howe", &[45], &[1], &[]),
    fixed("30 23 * * SAT", "America/Sao_Paulo", &[30], &[23], &[6]),
    fixed(
        "5,35 1-3 * * MON-FRI",
        "America/New_York",
        &[5, 35],
        &[1, 2, 3],
        &[1, 2, 3, 4, 5],
    ),
    repeated("*/20 2 * * *", "Europe/Madrid", &[0, 20, 40], &[2]),
    repeated("*/20 0,23 * * *", "America/Sao_Paulo", &[0, 20, 40], &[0, 23]),
    repeated("@hourly", "Australia/Lord_Howe", &[0], &[]),
];

const fn repeated(
    text: &'static str,
    zone: &'static str,
    minutes: &'static [i64],
    hours: &'static [i64],
) -> Wall {
    Wall {
        text,
        zone,
        minutes,
        hours,
        weekdays: &[],
        is_fixed: false,
    }
}

const fn fixed(
    text: &'static str,
    zone: &'static str,
    minutes: &'static [i64],
    hours: &'static [i64],
    weekdays: &'static [i64],
) -> Wall {
    Wall {
        text,
        zone,
        minutes,
        hours,
        weekdays,
        is_fixed: true,
    }
}

impl Wall {
    /// Its times in seconds.
    pub(super) fn times(&self) -> Vec<i64> {
        let zone = zone(self.zone);
        let mut times = Vec::new();
        // The latest minute that was shown so far.
        let mut latest = i64::MIN;
        for at in (FROM..TO).step_by(60) {
            let offset = zone.to_offset(Timestamp::from_second(at).unwrap()).seconds();
            let minute = (at + i64::from(offset)).div_euclid(60);
            let is_due = if self.is_fixed {
                let first = (latest + 1).max(minute - 1_440);
                latest != i64::MIN && (first..=minute).any(|minute| self.has(minute))
            } else {
                self.has(minute)
            };
            if is_due {
                times.push(at);
            }
            latest = latest.max(minute);
        }
        times
    }

    /// Whether it is looked for at that minute since 1970 of the wall clock.
    fn has(&self, minute: i64) -> bool {
        let is_in = |list: &[i64], value: i64| list.is_empty() || list.contains(&value);
        let day = minute.div_euclid(1_440);
        // 1 January 1970 was a Thursday.
        is_in(self.weekdays, (day + 4).rem_euclid(7))
            && is_in(self.hours, minute.rem_euclid(1_440) / 60)
            && is_in(self.minutes, minute.rem_euclid(60))
    }
}
