//! The text of a schedule: what is taken, what is refused with which words.

use super::*;
use proptest::prelude::*;

#[test]
fn a_schedule_prints_as_it_reads() {
    for (text, printed) in [
        ("*/15 * * * *", "*/15 * * * *"),
        (" 0 30 2 * * * ", "0 30 2 * * *"),
        ("0 0 0 1 1 * 2030", "0 0 0 1 1 * 2030"),
        ("0 9 * * MON-FRI", "0 9 * * MON-FRI"),
        ("0 0 L * *", "0 0 L * *"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("@daily", "@daily"),
        ("@Yearly", "@Yearly"),
        ("every 10m", "every 10m"),
        ("every 1h 30m", "every 1h 30m"),
        ("every  90 minutes", "every 1h 30m"),
        ("every 2 hours", "every 2h"),
        ("every 1s", "every 1s"),
        ("every 2 days", "every 48h"),
        ("every 1 week", "every 168h"),
        ("every 366 days", "every 8784h"),
        ("after photos", "after photos"),
        ("after   my-mail_2", "after my-mail_2"),
        ("on  change", "on change"),
    ] {
        let when = when(text);
        assert_eq!(when.text(), printed, "{text}");
        assert_eq!(printed.parse::<When>().unwrap(), when, "{text}");
    }
}

#[test]
fn seconds_and_years_are_optional() {
    let after = at("2026-01-01T00:00:00Z");
    for (text, expected) in [
        ("5 * * * *", "2026-01-01T00:05:00Z"),
        ("5 * * * * *", "2026-01-01T00:00:05Z"),
        ("5 0 0 1 1 * 2030", "2030-01-01T00:00:05Z"),
        ("@monthly", "2026-02-01T00:00:00Z"),
        ("@weekly", "2026-01-04T00:00:00Z"),
        ("every 2 days", "2026-01-03T00:00:00Z"),
    ] {
        assert_eq!(
            when(text).next(after, &TimeZone::UTC),
            Some(at(expected)),
            "{text}"
        );
    }
    assert_eq!(when("after photos").next(after, &TimeZone::UTC), None);
    assert_eq!(when("on change").next(after, &TimeZone::UTC), None);
}

#[test]
fn what_is_wrong_is_told_with_what_would_be_right() {
    for (text, words) in [
        ("", "it is empty; write"),
        ("  ", "it is empty; write"),
        ("61 * * * *", "5 fields"),
        ("* * * *", "5 fields"),
        ("5/10 * * * *", "5 fields"),
        ("* * * * * * * *", "5 fields"),
        ("daily", "`@daily`"),
        ("on boot", "`on change`"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        (", * * * *", "never comes"),
        ("0 0 * , *", "never comes"),
        ("0 0 0 1 1 * 1960", "never comes"),
        ("@fortnightly", "@weekly"),
        ("@reboot", "@hourly"),
        ("every", "`every 10m`"),
        ("every day", "`every 2 days`"),
        ("every 1 month", "`every 2 days`"),
        ("every 500ms", "`every 1s`"),
        ("every 1.5s", "whole seconds"),
        ("every 0s", "`every 1s`"),
        ("every -5m", "`every 1s`"),
        ("every 367 days", "`every 366 days`"),
        ("after", "the name of another pipeline"),
        ("after My Mail", "lower case letters"),
    ] {
        let told = text.parse::<When>().unwrap_err().to_string();
        assert!(told.contains(words), "{text}: {told}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,30}|[0-9*,/LW#+@ -]{0,20}|(every|after|on|@)[ a-z0-9.-]{0,12}") {
        match text.parse::<When>() {
            Ok(when) => {
                let again = when.text().parse::<When>();
                prop_assert_eq!(again.ok(), Some(when));
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
