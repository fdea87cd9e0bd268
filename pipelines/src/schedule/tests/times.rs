//! Proof T18: times where clocks are put forward and back. The table is written from the rules of the zones:
//!
//! - Europe/Madrid, 2026: on 29 March at 01:00Z from 02:00 (+01) to 03:00 (+02); on 25 October at 01:00Z from 03:00 to 02:00.
//! - America/Sao_Paulo: on 15 October 2017 at 03:00Z from 00:00 (-03) to 01:00 (-02); on 18 February 2018 at 02:00Z from
//!   00:00 to 23:00 of the day before.
//! - Australia/Lord_Howe, 2026: on 4 April at 15:00Z from 02:00 (+11) to 01:30 (+10:30); on 3 October at 15:30Z from
//!   02:00 to 02:30.

use super::wall::{FROM, WALLS};
use super::*;

/// Zone, pattern, a moment, the times after it.
const TABLE: &[(&str, &str, &str, &[&str])] = &[
    // Madrid, forward: 02:30 is not there and comes at 03:00.
    (
        "Europe/Madrid",
        "30 2 * * *",
        "2026-03-28T00:00Z",
        &["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"],
    ),
    (
        "Europe/Madrid",
        "0 2 * * *",
        "2026-03-28T12:00Z",
        &["2026-03-29T01:00Z", "2026-03-30T00:00Z"],
    ),
    (
        "Europe/Madrid",
        "0 3 * * *",
        "2026-03-28T12:00Z",
        &["2026-03-29T01:00Z", "2026-03-30T01:00Z"],
    ),
    (
        "Europe/Madrid",
        "*/30 * * * *",
        "2026-03-29T00:29Z",
        &["2026-03-29T00:30Z", "2026-03-29T01:00Z", "2026-03-29T01:30Z"],
    ),
    (
        "Europe/Madrid",
        "0 */2 * * *",
        "2026-03-28T23:30Z",
        &["2026-03-29T02:00Z", "2026-03-29T04:00Z"],
    ),
    (
        "Europe/Madrid",
        "0 2,14 * * *",
        "2026-03-28T13:00Z",
        &["2026-03-29T01:00Z", "2026-03-29T12:00Z", "2026-03-30T00:00Z"],
    ),
    (
        "Europe/Madrid",
        "15,45 2-3 * * *",
        "2026-03-28T12:00Z",
        &[
            "2026-03-29T01:00Z",
            "2026-03-29T01:15Z",
            "2026-03-29T01:45Z",
            "2026-03-30T00:15Z",
        ],
    ),
    (
        "Europe/Madrid",
        "@daily",
        "2026-03-28T12:00Z",
        &["2026-03-28T23:00Z", "2026-03-29T22:00Z"],
    ),
    (
        "Europe/Madrid",
        "30 30 2 * * *",
        "2026-03-29T00:00Z",
        &["2026-03-29T01:00Z"],
    ),
    (
        "Europe/Madrid",
        "0 0 1 * * *",
        "2026-03-28T12:00Z",
        &["2026-03-29T00:00Z", "2026-03-29T23:00Z"],
    ),
    (
        "Europe/Madrid",
        "*/20 2 * * *",
        "2026-03-28T12:00Z",
        &["2026-03-30T00:00Z"],
    ),
    // Madrid, back: 02:30 is there twice and comes the first time.
    (
        "Europe/Madrid",
        "30 2 * * *",
        "2026-10-24T12:00Z",
        &["2026-10-25T00:30Z", "2026-10-26T01:30Z"],
    ),
    (
        "Europe/Madrid",
        "30 2 * * *",
        "2026-10-25T00:30Z",
        &["2026-10-26T01:30Z"],
    ),
    (
        "Europe/Madrid",
        "30 2 * * *",
        "2026-10-25T01:10Z",
        &["2026-10-26T01:30Z"],
    ),
    (
        "Europe/Madrid",
        "*/30 * * * *",
        "2026-10-24T23:59Z",
        &[
            "2026-10-25T00:00Z",
            "2026-10-25T00:30Z",
            "2026-10-25T01:00Z",
            "2026-10-25T01:30Z",
            "2026-10-25T02:00Z",
        ],
    ),
    (
        "Europe/Madrid",
        "@hourly",
        "2026-10-25T00:00Z",
        &["2026-10-25T01:00Z", "2026-10-25T02:00Z"],
    ),
    (
        "Europe/Madrid",
        "0 2,14 * * *",
        "2026-10-24T12:00Z",
        &["2026-10-25T00:00Z", "2026-10-25T13:00Z", "2026-10-26T01:00Z"],
    ),
    (
        "Europe/Madrid",
        "0 3 * * *",
        "2026-10-24T12:00Z",
        &["2026-10-25T02:00Z"],
    ),
    (
        "Europe/Madrid",
        "@daily",
        "2026-10-24T12:00Z",
        &["2026-10-24T22:00Z", "2026-10-25T23:00Z"],
    ),
    (
        "Europe/Madrid",
        "*/20 2 * * *",
        "2026-10-24T12:00Z",
        &[
            "2026-10-25T00:00Z",
            "2026-10-25T00:20Z",
            "2026-10-25T00:40Z",
            "2026-10-25T01:00Z",
            "2026-10-25T01:20Z",
            "2026-10-25T01:40Z",
            "2026-10-26T01:00Z",
        ],
    ),
    // São Paulo, forward: there is no midnight.
    (
        "America/Sao_Paulo",
        "0 0 * * *",
        "2017-10-14T12:00Z",
        &["2017-10-15T03:00Z", "2017-10-16T02:00Z"],
    ),
    (
        "America/Sao_Paulo",
        "30 0 * * *",
        "2017-10-14T12:00Z",
        &["2017-10-15T03:00Z", "2017-10-16T02:30Z"],
    ),
    (
        "America/Sao_Paulo",
        "0 0,12 * * *",
        "2017-10-14T15:00Z",
        &["2017-10-15T03:00Z", "2017-10-15T14:00Z", "2017-10-16T02:00Z"],
    ),
    (
        "America/Sao_Paulo",
        "@hourly",
        "2017-10-15T01:30Z",
        &["2017-10-15T02:00Z", "2017-10-15T03:00Z", "2017-10-15T04:00Z"],
    ),
    (
        "America/Sao_Paulo",
        "0 0 * * SUN",
        "2017-10-09T00:00Z",
        &["2017-10-15T03:00Z", "2017-10-22T02:00Z"],
    ),
    (
        "America/Sao_Paulo",
        "0 0 15 10 *",
        "2017-01-01T00:00Z",
        &["2017-10-15T03:00Z"],
    ),
    // São Paulo, back: the hour before midnight is there twice, and midnight once.
    (
        "America/Sao_Paulo",
        "30 23 * * *",
        "2018-02-17T12:00Z",
        &["2018-02-18T01:30Z", "2018-02-19T02:30Z"],
    ),
    (
        "America/Sao_Paulo",
        "0 0 * * *",
        "2018-02-17T12:00Z",
        &["2018-02-18T03:00Z", "2018-02-19T03:00Z"],
    ),
    (
        "America/Sao_Paulo",
        "*/30 * * * *",
        "2018-02-18T00:45Z",
        &[
            "2018-02-18T01:00Z",
            "2018-02-18T01:30Z",
            "2018-02-18T02:00Z",
            "2018-02-18T02:30Z",
            "2018-02-18T03:00Z",
        ],
    ),
    (
        "America/Sao_Paulo",
        "0 23 * * SAT",
        "2018-02-12T00:00Z",
        &["2018-02-18T01:00Z", "2018-02-25T02:00Z"],
    ),
    // Lord Howe, forward by half an hour.
    (
        "Australia/Lord_Howe",
        "15 2 * * *",
        "2026-10-03T00:00Z",
        &["2026-10-03T15:30Z", "2026-10-04T15:15Z"],
    ),
    (
        "Australia/Lord_Howe",
        "0 2 * * *",
        "2026-10-03T00:00Z",
        &["2026-10-03T15:30Z", "2026-10-04T15:00Z"],
    ),
    (
        "Australia/Lord_Howe",
        "30 2 * * *",
        "2026-10-03T00:00Z",
        &["2026-10-03T15:30Z", "2026-10-04T15:30Z"],
    ),
    (
        "Australia/Lord_Howe",
        "*/15 * * * *",
        "2026-10-03T15:05Z",
        &["2026-10-03T15:15Z", "2026-10-03T15:30Z", "2026-10-03T15:45Z"],
    ),
    (
        "Australia/Lord_Howe",
        "@hourly",
        "2026-10-03T14:00Z",
        &["2026-10-03T14:30Z", "2026-10-03T16:00Z", "2026-10-03T17:00Z"],
    ),
    // Lord Howe, back by half an hour.
    (
        "Australia/Lord_Howe",
        "45 1 * * *",
        "2026-04-04T00:00Z",
        &["2026-04-04T14:45Z", "2026-04-05T15:15Z"],
    ),
    (
        "Australia/Lord_Howe",
        "*/15 * * * *",
        "2026-04-04T14:20Z",
        &[
            "2026-04-04T14:30Z",
            "2026-04-04T14:45Z",
            "2026-04-04T15:00Z",
            "2026-04-04T15:15Z",
            "2026-04-04T15:30Z",
        ],
    ),
    (
        "Australia/Lord_Howe",
        "0 2 * * *",
        "2026-04-04T12:00Z",
        &["2026-04-04T15:30Z", "2026-04-05T15:30Z"],
    ),
    (
        "Australia/Lord_Howe",
        "@hourly",
        "2026-04-04T13:30Z",
        &["2026-04-04T14:00Z", "2026-04-04T15:30Z"],
    ),
    (
        "Australia/Lord_Howe",
        "@daily",
        "2026-04-04T00:00Z",
        &["2026-04-04T13:00Z", "2026-04-05T13:30Z"],
    ),
];

#[test]
fn times_where_clocks_change_are_those_of_the_rules() {
    let mut checked = 0;
    for (zone_name, pattern, after, expected) in TABLE {
        let expected: Vec<Timestamp> = expected.iter().map(|text| at(text)).collect();
        let found = upcoming(&when(pattern), &zone(zone_name), at(after), expected.len());
        assert_eq!(found, expected, "{pattern} in {zone_name} after {after}");
        checked += expected.len();
    }
    assert!(checked >= 60, "{checked}");
}

#[test]
fn three_years_of_times_are_what_the_wall_clock_shows() {
    for wall in &WALLS {
        let shown = wall.times();
        let from = Timestamp::from_second(FROM - 1).unwrap();
        let found = upcoming(&when(wall.text), &zone(wall.zone), from, shown.len());
        let found: Vec<i64> = found.iter().map(|at| at.as_second()).collect();
        let differs = found.iter().zip(&shown).find(|(found, shown)| found != shown);
        assert_eq!(differs, None, "{} in {}", wall.text, wall.zone);
        assert_eq!(found.len(), shown.len(), "{} in {}", wall.text, wall.zone);
    }
}

#[test]
fn the_next_time_is_the_same_wherever_one_asks_before_it() {
    // From each half hour of the nights on which the clocks change, and from the seconds around them.
    let changes = [
        ("Europe/Madrid", "2026-03-29T01:00Z"),
        ("Europe/Madrid", "2026-10-25T01:00Z"),
        ("America/Sao_Paulo", "2017-10-15T03:00Z"),
        ("America/Sao_Paulo", "2018-02-18T02:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T15:30Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00Z"),
    ];
    let patterns = [
        "30 2 * * *",
        "0 0,12 * * *",
        "45 1,23 * * *",
        "*/10 * * * *",
        "@hourly",
        "*/20 23,0-2 * * *",
    ];
    for (zone_name, change) in changes {
        let (zone, change) = (zone(zone_name), at(change).as_second());
        for pattern in patterns {
            let when = when(pattern);
            let times = upcoming(
                &when,
                &zone,
                Timestamp::from_second(change - 86_400).unwrap(),
                400,
            );
            for step in -40..40 {
                for by in [-1_000, -1, 0, 1] {
                    let after = Timestamp::from_millisecond((change + step * 900) * 1_000 + by).unwrap();
                    let expected = times.iter().find(|at| **at > after);
                    let found = when.next(after, &zone);
                    assert_eq!(found.as_ref(), expected, "{pattern} in {zone_name} after {after}");
                }
            }
        }
    }
}

#[test]
fn a_pattern_of_years_that_are_over_has_no_next_time() {
    let when = when("0 0 0 1 1 * 2020");
    let utc = TimeZone::UTC;
    assert_eq!(
        when.next(at("2019-06-01T00:00Z"), &utc),
        Some(at("2020-01-01T00:00Z"))
    );
    assert_eq!(when.next(at("2020-06-01T00:00Z"), &utc), None);
    assert_eq!(upcoming(&when, &utc, at("2019-06-01T00:00Z"), 5).len(), 1);
}
