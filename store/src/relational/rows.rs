//! Rows → what `COPY … (FORMAT binary)` takes: values as sqlx sends them, each after its length.
//!
//! - In: batches with the columns of a table, in its order. Out: bytes, and what could not be said as it was.
//! - Source: PostgreSQL manual, COPY, "Binary Format".

use crate::error::StoreError;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, BinaryViewArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::DataType;
use schemas::Instant;
use sqlx::Postgres;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArgumentBuffer;
use std::borrow::Cow;

/// What the format begins with: its signature, no flags, no extension.
const BEGIN: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What it ends with.
const END: [u8; 2] = (-1_i16).to_be_bytes();

/// Bytes of an index entry: PostgreSQL takes 2,704, and a little of it is its own.
const LONGEST_KEY: usize = 2_600;

/// 2000-01-01, from which PostgreSQL counts.
const EPOCH: Instant = 946_684_800_000_000;

/// The first moment that PostgreSQL knows, counted from [`EPOCH`]. Its last is later than any of ours.
const FIRST: i64 = -211_813_488_000_000_000;

/// How many rows there are, and how many values PostgreSQL does not take as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Rows.
    pub rows: u64,
    /// Texts with a character U+0000, which is U+FFFD there.
    pub zeros: u64,
    /// Moments before its calendar, which are minus infinity there.
    pub moments: u64,
    /// Rows that are left out, because their key is too long for an index.
    pub long_keys: u64,
}

/// A column of a batch, by what PostgreSQL calls its type.
#[derive(Debug)]
enum Cells<'a> {
    Text(&'a StringArray),
    Texts(&'a ListArray, &'a StringArray),
    BigInt(&'a Int64Array),
    Double(&'a Float64Array),
    Boolean(&'a BooleanArray),
    Moment(&'a TimestampMicrosecondArray),
    Bytes(&'a BinaryViewArray),
}

/// Bytes that are to be sent.
#[derive(Debug, Default)]
pub struct Rows {
    buffer: PgArgumentBuffer,
    key: Vec<usize>,
    taken: Taken,
}

impl Rows {
    /// None, of a table whose key are the columns at these places.
    pub fn new(key: Vec<usize>) -> Self {
        let mut rows = Self {
            key,
            ..Self::default()
        };
        rows.buffer.extend_from_slice(BEGIN);
        rows
    }

    /// What is to be sent.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.as_slice()
    }

    /// That it was sent.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    /// Ends them; what was taken.
    pub fn end(&mut self) -> Taken {
        self.buffer.extend_from_slice(&END);
        self.taken
    }

    /// Appends the row at that place of a batch.
    ///
    /// # Errors
    /// [`StoreError`] when the batch has a column of another type, or a value is longer than 2 GB.
    pub fn push(&mut self, batch: &Batch<'_>, row: usize) -> Result<(), StoreError> {
        let unfit = |error: BoxDynError| StoreError::Unfit {
            reason: error.to_string(),
        };
        let before = self.buffer.len();
        let columns = i16::try_from(batch.0.len()).map_err(|error| unfit(error.into()))?;
        self.buffer.extend_from_slice(&columns.to_be_bytes());
        let mut key = 0;
        for (place, cells) in batch.0.iter().enumerate() {
            let length = self.push_cell(cells, row).map_err(unfit)?;
            if self.key.contains(&place) {
                key += length;
            }
        }
        if key > LONGEST_KEY {
            self.buffer.truncate(before);
            self.taken.long_keys += 1;
        } else {
            self.taken.rows += 1;
        }
        Ok(())
    }

    /// Appends a value after its length, and tells that length.
    fn push_cell(&mut self, cells: &Cells<'_>, row: usize) -> Result<usize, BoxDynError> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        let buffer = &mut self.buffer;
        let taken = &mut self.taken;
        let is_null = match cells {
            Cells::Text(texts) => put(
                buffer,
                texts
                    .is_valid(row)
                    .then(|| without_zeros(texts.value(row), taken)),
            ),
            Cells::Texts(lists, texts) if lists.is_valid(row) => {
                let offset = |row: usize| {
                    lists
                        .value_offsets()
                        .get(row)
                        .map_or(0, |offset| *offset as usize)
                };
                let there = (offset(row)..offset(row + 1)).filter(|place| texts.is_valid(*place));
                let list: Vec<Cow<'_, str>> = there
                    .map(|place| without_zeros(texts.value(place), taken))
                    .collect();
                put(buffer, list.as_slice())
            }
            Cells::Texts(..) => Ok(IsNull::Yes),
            Cells::BigInt(ints) => put(buffer, ints.is_valid(row).then(|| ints.value(row))),
            Cells::Double(floats) => put(buffer, floats.is_valid(row).then(|| floats.value(row))),
            Cells::Boolean(flags) => put(buffer, flags.is_valid(row).then(|| flags.value(row))),
            Cells::Moment(moments) => put(
                buffer,
                moments.is_valid(row).then(|| moment(moments.value(row), taken)),
            ),
            Cells::Bytes(bytes) => put(buffer, bytes.is_valid(row).then(|| bytes.value(row))),
        }?;
        let length = self.buffer.len() - start - 4;
        let said = match is_null {
            IsNull::Yes => -1,
            IsNull::No => i32::try_from(length)?,
        };
        if let Some(place) = self.buffer.get_mut(start..start + 4) {
            place.copy_from_slice(&said.to_be_bytes());
        }
        Ok(length)
    }
}

/// The columns of a batch.
#[derive(Debug)]
pub struct Batch<'a>(Vec<Cells<'a>>);

impl<'a> Batch<'a> {
    /// Looks at a batch.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] when it has a column of a type that no dataset has.
    pub fn of(batch: &'a RecordBatch) -> Result<Self, StoreError> {
        let cells = |column: &'a dyn Array| match column.data_type() {
            DataType::Utf8 => column.as_string_opt().map(Cells::Text),
            DataType::List(_) => column
                .as_list_opt::<i32>()
                .and_then(|lists| Some(Cells::Texts(lists, lists.values().as_string_opt()?))),
            DataType::Int64 => column.as_primitive_opt::<Int64Type>().map(Cells::BigInt),
            DataType::Float64 => column.as_primitive_opt::<Float64Type>().map(Cells::Double),
            DataType::Boolean => column.as_boolean_opt().map(Cells::Boolean),
            DataType::Timestamp(..) => column
                .as_primitive_opt::<TimestampMicrosecondType>()
                .map(Cells::Moment),
            DataType::BinaryView => column.as_binary_view_opt().map(Cells::Bytes),
            _ => None,
        };
        let columns = batch.columns().iter().map(|column| {
            cells(column.as_ref()).ok_or_else(|| StoreError::Unfit {
                reason: format!("no column of PostgreSQL holds {}", column.data_type()),
            })
        });
        columns.collect::<Result<_, _>>().map(Self)
    }
}

fn put<'q>(buffer: &mut PgArgumentBuffer, value: impl Encode<'q, Postgres>) -> Result<IsNull, BoxDynError> {
    value.encode_by_ref(buffer)
}

/// A text that PostgreSQL takes.
fn without_zeros<'a>(text: &'a str, taken: &mut Taken) -> Cow<'a, str> {
    if !text.contains('\0') {
        return Cow::Borrowed(text);
    }
    taken.zeros += 1;
    Cow::Owned(text.replace('\0', "\u{fffd}"))
}

/// A moment as PostgreSQL counts it; the smallest number is minus infinity.
fn moment(moment: Instant, taken: &mut Taken) -> i64 {
    let counted = moment.saturating_sub(EPOCH);
    if counted >= FIRST {
        return counted;
    }
    taken.moments += 1;
    i64::MIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::datasets::emails::{DATASET, Email};
    use std::sync::Arc;

    fn pushed(batch: &RecordBatch, key: Vec<usize>) -> (Vec<u8>, Taken) {
        let mut rows = Rows::new(key);
        let seen = Batch::of(batch).unwrap();
        for row in 0..batch.num_rows() {
            rows.push(&seen, row).unwrap();
        }
        let taken = rows.end();
        (rows.bytes().to_vec(), taken)
    }

    fn one(name: &str, column: arrow_array::ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([(name, column)]).unwrap()
    }

    #[test]
    fn values_are_written_as_the_manual_says() {
        let texts = Arc::new(StringArray::from(vec![Some("é"), None]));
        let (bytes, _) = pushed(&one("a", texts), vec![]);
        assert_eq!(&bytes[..19], BEGIN);
        assert_eq!(
            &bytes[19..],
            [
                &[0, 1, 0, 0, 0, 2][..],
                "é".as_bytes(),
                &[0, 1, 0xff, 0xff, 0xff, 0xff],
                &[0xff, 0xff]
            ]
            .concat()
        );
        let ints = Arc::new(Int64Array::from(vec![-2]));
        let (bytes, taken) = pushed(&one("a", ints), vec![]);
        assert_eq!(
            &bytes[19..33],
            [
                &[0, 1, 0, 0, 0, 8][..],
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]
            ]
            .concat()
        );
        assert_eq!(taken.rows, 1);
    }

    #[test]
    fn what_postgres_cannot_say_is_counted() {
        let texts = Arc::new(StringArray::from(vec!["a\0b"]));
        let (bytes, taken) = pushed(&one("a", texts), vec![]);
        assert!(bytes.windows(5).any(|part| part == "a\u{fffd}b".as_bytes()));
        assert_eq!(taken.zeros, 1);

        let mut taken = Taken::default();
        assert_eq!(moment(EPOCH, &mut taken), 0);
        assert_eq!(moment(0, &mut taken), -EPOCH);
        assert_eq!(moment(i64::MAX, &mut taken), i64::MAX - EPOCH);
        assert_eq!(taken.moments, 0);
        assert_eq!(moment(i64::MIN, &mut taken), i64::MIN);
        assert_eq!(moment(FIRST + EPOCH - 1, &mut taken), i64::MIN);
        assert_eq!(taken.moments, 2);

        let keys = Arc::new(StringArray::from(vec![
            "k".repeat(LONGEST_KEY + 1),
            "k".to_owned(),
        ]));
        let (bytes, taken) = pushed(&one("a", keys), vec![0]);
        assert_eq!((taken.rows, taken.long_keys), (1, 1));
        assert!(bytes.len() < 40);
    }

    #[test]
    fn every_dataset_has_only_columns_that_can_be_written() {
        for dataset in schemas::datasets::ALL {
            Batch::of(&RecordBatch::new_empty(schemas::to_arrow::arrow_schema(dataset))).unwrap();
        }
        let mut rows = schemas::Rows::of_lake(&DATASET, fixtures::provenance());
        rows.push(&Email::default()).unwrap();
        let (_, taken) = pushed(&rows.finish().unwrap(), vec![0, 1]);
        assert_eq!(taken.rows, 1);
    }
}
