//! One value of a column, to be compared, written and read.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use jiff::Timestamp;
use schemas::{Column, Kind};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// None; after all others.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Microseconds since 1970, UTC.
    Instant(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
}

impl Cell {
    /// What a text means as a value of a column; `None` where it means nothing.
    pub fn parse(text: &str, column: &Column) -> Option<Self> {
        Some(match column.kind {
            Kind::Text | Kind::TextList => Self::Text(text.to_owned()),
            Kind::Int => Self::Int(text.parse().ok()?),
            Kind::Float => Self::Float(text.parse().ok().filter(|number: &f64| number.is_finite())?),
            Kind::Bool => Self::Bool(text.parse().ok()?),
            Kind::Instant => Self::Instant(moment(text)?.as_microsecond()),
            Kind::Bytes => return None,
        })
    }

    /// The value of a row; of lists and bytes none.
    pub fn of(column: &ArrayRef, row: usize) -> Self {
        if column.is_null(row) {
            return Self::Null;
        }
        match column.data_type() {
            DataType::Utf8 => Self::Text(column.as_string::<i32>().value(row).to_owned()),
            DataType::Utf8View => Self::Text(column.as_string_view().value(row).to_owned()),
            DataType::Int64 => Self::Int(column.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => Self::Float(column.as_primitive::<Float64Type>().value(row)),
            DataType::Boolean => Self::Bool(column.as_boolean().value(row)),
            DataType::Timestamp(..) => match column.as_primitive_opt::<TimestampMicrosecondType>() {
                Some(moments) => Self::Instant(moments.value(row)),
                None => Self::Null,
            },
            _ => Self::Null,
        }
    }

    /// How the value of a row stands to this one.
    pub(super) fn order_of(&self, column: &ArrayRef, row: usize) -> Ordering {
        if column.is_null(row) {
            return match self {
                Self::Null => Ordering::Equal,
                _ => Ordering::Greater,
            };
        }
        match self {
            Self::Null => Ordering::Less,
            Self::Bool(value) => column
                .as_boolean_opt()
                .map_or(Ordering::Less, |all| all.value(row).cmp(value)),
            Self::Int(value) => {
                let all = column.as_primitive_opt::<Int64Type>();
                all.map_or(Ordering::Less, |all| all.value(row).cmp(value))
            }
            Self::Instant(value) => {
                let all = column.as_primitive_opt::<TimestampMicrosecondType>();
                all.map_or(Ordering::Less, |all| all.value(row).cmp(value))
            }
            Self::Float(value) => {
                let all = column.as_primitive_opt::<Float64Type>();
                all.map_or(Ordering::Less, |all| all.value(row).total_cmp(value))
            }
            Self::Text(value) => match column.data_type() {
                DataType::Utf8View => column.as_string_view().value(row).cmp(value.as_str()),
                _ => {
                    let all = column.as_string_opt::<i32>();
                    all.map_or(Ordering::Less, |all| all.value(row).cmp(value.as_str()))
                }
            },
        }
    }

    /// It as a parameter of a query.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Float(value) => (*value).into(),
            Self::Text(value) => value.as_str().into(),
            Self::Instant(value) => match Timestamp::from_microsecond(*value) {
                Ok(moment) => moment.to_string().into(),
                Err(_) => serde_json::Value::Null,
            },
        }
    }
}

/// A time with an offset, or a day or time of UTC.
fn moment(text: &str) -> Option<Timestamp> {
    let utc = || {
        let local: jiff::civil::DateTime = text.parse().ok()?;
        Some(local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    text.parse().ok().or_else(utc)
}
