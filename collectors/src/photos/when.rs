//! Times and offsets as cameras and programs write them.
//!
//! - In: the text of a tag. Out: a clock reading in microseconds, with an offset if the text has one.
//! - Not here: which tag is to be believed (`facts`).

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use schemas::Instant;

/// What a clock showed: the wall time, counted as if it were UTC, and how far it was ahead of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    pub at: Instant,
    pub offset_min: Option<i64>,
}

/// Furthest that a clock on earth is from UTC: Kiribati is 14 hours ahead.
const FURTHEST_MIN: i64 = 14 * 60;

/// The zones that are no half hours from UTC: Nepal, Eucla, the Chatham Islands in winter and summer.
const ODD_ZONES: &[i64] = &[345, 525, 765, 825];

/// Furthest that a camera's clock and GPS may differ for the difference to be a zone: cameras drift, and GPS
/// receivers report their last fix.
const DRIFT: i64 = 120 * 1_000_000;

/// Characters of a date.
const DATE: usize = 10;

/// `2024:05:06 07:08:09` (Exif 2.32 §4.6.5) with the digits of a second's fraction that another tag has. Some programs
/// write a fraction and a zone into the text itself, or ISO 8601: as exiftool does, what the text says comes first.
pub(super) fn exif(text: &str, fraction: Option<&str>) -> Option<Clock> {
    let text = text.trim_matches(['\0', ' ']);
    let date: String = text
        .chars()
        .take(DATE)
        .map(|c| if c == ':' { '-' } else { c })
        .collect();
    let rest = text.get(date.len()..).unwrap_or_default();
    let mut clock = match DateTime::strptime("%Y-%m-%d %H:%M:%S", format!("{date}{rest}")) {
        Ok(at) => Clock {
            at: microseconds(at)?,
            offset_min: None,
        },
        Err(_) => iso(&format!("{date}{rest}"))?,
    };
    if clock.at % 1_000_000 == 0 {
        clock.at += fraction.and_then(fraction_us).unwrap_or(0);
    }
    Some(clock)
}

/// `2024-05-06T07:08:09.12+02:00` and its shorter forms down to a day (XMP part 1 §8.2.1.1).
pub(super) fn iso(text: &str) -> Option<Clock> {
    let pieces = Pieces::parse(text.trim()).ok()?;
    let at = pieces.date().to_datetime(pieces.time()?);
    Some(Clock {
        at: microseconds(at)?,
        offset_min: pieces.to_numeric_offset().and_then(minutes),
    })
}

/// Minutes of `+02:00`, `-0330` or `Z`.
pub(super) fn offset_min(text: &str) -> Option<i64> {
    let text = text.trim_matches(['\0', ' ']);
    if text == "Z" {
        return Some(0);
    }
    let parsed = strtime::parse("%:z", text).or_else(|_| strtime::parse("%z", text));
    minutes(parsed.ok()?.offset()?)
}

/// Minutes of an offset, if a clock on earth has it.
fn minutes(offset: Offset) -> Option<i64> {
    let minutes = i64::from(offset.seconds()) / 60;
    (minutes.abs() <= FURTHEST_MIN).then_some(minutes)
}

/// The zone that a difference between a clock and UTC is, if there is such a zone.
pub(super) fn zone_of(difference: i64) -> Option<i64> {
    const MINUTE: i64 = 60 * 1_000_000;
    const QUARTER: i64 = 15 * MINUTE;
    let minutes = (difference + QUARTER / 2).div_euclid(QUARTER) * 15;
    let is_zone = minutes % 30 == 0 || ODD_ZONES.contains(&minutes);
    let fits = (difference - minutes * MINUTE).abs() <= DRIFT && minutes.abs() <= FURTHEST_MIN;
    (is_zone && fits).then_some(minutes)
}

/// A date and time counted as if it were UTC.
pub(super) fn microseconds(at: DateTime) -> Option<Instant> {
    Offset::UTC.to_timestamp(at).ok().map(|at| at.as_microsecond())
}

/// Microseconds of the digits after a decimal point.
fn fraction_us(digits: &str) -> Option<i64> {
    let digits = digits.trim_matches(['\0', ' ']);
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let six: String = digits.chars().chain("000000".chars()).take(6).collect();
    if is_number { six.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(text: &str) -> Clock {
        let at: jiff::Timestamp = text.parse().unwrap();
        Clock {
            at: at.as_microsecond(),
            offset_min: None,
        }
    }

    #[test]
    fn exif_times_are_read_as_they_stand_or_not_at_all() {
        let at = clock("2004-02-29T23:59:58Z");
        assert_eq!(exif("2004:02:29 23:59:58", None), Some(at));
        assert_eq!(exif("2004:02:29 23:59:58\0", None), Some(at));
        assert_eq!(exif("2004-02-29 23:59:58", None), Some(at));
        let fine = exif("2004:02:29 23:59:58", Some("07 ")).unwrap();
        assert_eq!((fine.at, fine.offset_min), (at.at + 70_000, None));
        for bad in [
            "0000:00:00 00:00:00",
            "    :  :     :  :  ",
            "2004:02:30 00:00:00",
            "2004:02:29",
            "",
            "yesterday",
            "gestern früh um sieben",
        ] {
            assert_eq!(exif(bad, None), None, "{bad}");
        }
    }

    #[test]
    fn an_exif_time_may_have_a_zone_and_a_fraction_of_its_own_or_be_iso() {
        let at = clock("2004-02-29T23:59:58Z").at;
        for (text, fraction, after, offset_min) in [
            ("2004:02:29 23:59:58+02:00", None, 0, Some(120)),
            ("2004:02:29 23:59:58-0330", Some("5"), 500_000, Some(-210)),
            ("2004:02:29 23:59:58+23:00", None, 0, None),
            ("2004:02:29 23:59:58.12", None, 120_000, None),
            ("2004:02:29 23:59:58.12", Some("99"), 120_000, None),
            ("2004-02-29T23:59:58", None, 0, None),
            ("2004:02:29T23:59:58.5Z", None, 500_000, Some(0)),
        ] {
            let read = exif(text, fraction).map(|clock| (clock.at - at, clock.offset_min));
            assert_eq!(read, Some((after, offset_min)), "{text}");
        }
    }

    #[test]
    fn xmp_times_carry_their_zone() {
        let at = clock("2004-02-29T23:59:58.5Z").at;
        let read = |text| iso(text).map(|clock| (clock.at, clock.offset_min));
        assert_eq!(read("2004-02-29T23:59:58.5+05:45"), Some((at, Some(345))));
        assert_eq!(read("2004-02-29T23:59:58.5Z"), Some((at, Some(0))));
        assert_eq!(read("2004-02-29T23:59:58.5"), Some((at, None)));
        assert_eq!(read("2004-02-29T23:59"), Some((at - 58_500_000, None)));
        assert_eq!(read("2004-02-29"), None, "a day is no time");
        assert_eq!(read("2004"), None);
    }

    #[test]
    fn offsets_are_those_of_zones() {
        let all = ["+02:00", "-0330", "Z", "+00:00", "+99:00", "  :  ", "", "+15:00"];
        let expected = [Some(120), Some(-210), Some(0), Some(0), None, None, None, None];
        assert_eq!(all.map(offset_min), expected);
    }
}
