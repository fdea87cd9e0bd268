//! A moment of the lake's past, as a person writes it: a snapshot, or a time.

use crate::error::StoreError;
use crate::lake::catalog::time_text;
use jiff::{Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A moment of the lake's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AsOf {
    /// The snapshot of this id.
    Snapshot(i64),
    /// The newest snapshot that was there at this time.
    Time(Timestamp),
}

/// Why a text names no moment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is neither the number of a snapshot nor a time; write 12, 2026-11-25, 2026-11-25T10:00 or 2026-11-25T10:00:00Z"
)]
pub struct NoMoment(String);

impl FromStr for AsOf {
    type Err = NoMoment;

    /// A number is a snapshot. A time without an offset is local; a date is its first moment.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(snapshot) = text.parse() {
            return Ok(Self::Snapshot(snapshot));
        }
        if let Ok(time) = text.parse() {
            return Ok(Self::Time(time));
        }
        let local = text.parse::<civil::DateTime>().ok();
        let time = local.and_then(|local| local.to_zoned(TimeZone::system()).ok());
        time.map(|time| Self::Time(time.timestamp()))
            .ok_or_else(|| NoMoment(text.to_owned()))
    }
}

impl std::fmt::Display for AsOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Snapshot(id) => write!(f, "snapshot {id}"),
            Self::Time(time) => write!(f, "snapshot as old as {time}"),
        }
    }
}

impl AsOf {
    /// The id of the snapshot that it means, among all, newest first, with their times.
    ///
    /// # Errors
    /// [`StoreError::NoSnapshot`] when it was forgotten or never was.
    pub fn among(self, snapshots: &[(i64, String)]) -> Result<i64, StoreError> {
        let found = snapshots.iter().find(|(id, time)| match self {
            Self::Snapshot(wanted) => *id == wanted,
            Self::Time(wanted) => *time <= time_text(wanted),
        });
        match (found, snapshots.first(), snapshots.last()) {
            (Some((id, _)), ..) => Ok(*id),
            (None, Some((newest, _)), Some((oldest, time))) => Err(StoreError::NoSnapshot {
                asked: self.to_string(),
                oldest: *oldest,
                time: time.clone(),
                newest: *newest,
            }),
            (None, ..) => Err(StoreError::Unfit {
                reason: "its catalog has no snapshot".to_owned(),
            }),
        }
    }

    /// As it is written: what [`AsOf::from_str`] reads.
    pub fn written(self) -> String {
        match self {
            Self::Snapshot(id) => id.to_string(),
            Self::Time(time) => time.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_number_a_time_or_a_date() {
        assert_eq!("12".parse(), Ok(AsOf::Snapshot(12)));
        let time = |text: &str| Ok(AsOf::Time(text.parse().unwrap()));
        assert_eq!("2026-11-25T10:00:00+01:00".parse(), time("2026-11-25T09:00:00Z"));
        for local in ["2026-11-25", "2026-11-25T10:00", "2026-11-25 10:00:30"] {
            assert!(matches!(local.parse(), Ok(AsOf::Time(_))), "{local}");
        }
        assert!("yesterday".parse::<AsOf>().is_err());
        for written in ["12", "2026-11-25T09:00:00Z"] {
            assert_eq!(written.parse::<AsOf>().unwrap().written(), written);
        }
    }
}
