//! Lengths of time as people write them: `90s`, `1h 30m`, `7 days`.

use jiff::{SignedDuration, Span, SpanRelativeTo};
use schemars::JsonSchema;
use serde::Deserialize;
use std::str::FromStr;
use std::time::Duration;

/// A length of time, such as `90s`, `1h 30m` or `7 days`. A day has 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Length(SignedDuration);

impl Length {
    /// So many seconds.
    pub const fn of_secs(secs: i64) -> Self {
        Self(SignedDuration::from_secs(secs))
    }

    /// It, for arithmetic with moments. It is never negative.
    pub const fn signed(self) -> SignedDuration {
        self.0
    }

    /// It, for clocks.
    pub const fn whole(self) -> Duration {
        self.0.unsigned_abs()
    }

    /// Whether it is nothing at all.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span: Span = text.parse().map_err(|_| {
            "this is no length of time; write a number and a unit, such as 90s, 12h or 30d".to_owned()
        })?;
        let length = span
            .to_duration(SpanRelativeTo::days_are_24_hours())
            .map_err(|_| "months and years are not of one length; write days, such as 30d".to_owned())?;
        match length.is_negative() {
            true => Err("it must not be negative; write such as 30d".to_owned()),
            false => Ok(Self(length)),
        }
    }
}

impl TryFrom<String> for Length {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_people_write_them() {
        let seconds = |text: &str| text.parse::<Length>().map(|length| length.signed().as_secs());
        for (text, wanted) in [
            ("90s", 90),
            ("1h 30m", 5_400),
            ("7 days", 604_800),
            ("2w", 1_209_600),
            ("0s", 0),
        ] {
            assert_eq!(seconds(text), Ok(wanted), "{text}");
        }
        for wrong in ["", "90", "soon", "-1h", "1 month", "1 year", "99999999999999h"] {
            let words = seconds(wrong).unwrap_err();
            assert!(words.contains("30d"), "{wrong}: {words}");
        }
    }
}
