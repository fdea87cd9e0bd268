//! XLSX: a workbook with one sheet, in the types that Excel knows.
//!
//! - In: batches. Out: a header that stays in sight and filters, and a row for each row. Numbers, moments (UTC, as
//!   Excel has no zones) and truth values are such; everything else is text, also what looks like a formula.
//! - What Excel cannot hold exactly is text too: whole numbers of more than 15 digits, moments before March 1900.
//! - Its limits are errors, never a cut. Rows go to a temporary file until the last is there: memory does not grow.

use super::encode::Rows;
use super::{ExportError, Form, cells};
use arrow::compute::cast;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Schema, TimeUnit};
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use rust_xlsxwriter::{DocProperties, Format, Workbook};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Rows of a sheet, with its header (ECMA-376 as Excel implements it: "Excel specifications and limits").
const ROWS: u32 = 1_048_576;
/// UTF-16 units of a cell.
const CELL_UNITS: usize = 32_767;
/// Columns of a sheet.
const COLUMNS: usize = 16_384;
/// Digits of a whole number that Excel keeps.
const DIGITS: usize = 15;
/// Characters of a sheet's name.
const NAME_UNITS: usize = 31;

const ELSEWHERE: &str = "write .csv or .parquet, which have no such limit";

pub(super) struct Sheet<W: Write> {
    workbook: Workbook,
    names: Vec<String>,
    date: Format,
    moment: Format,
    blank: Format,
    rows: u32,
    scratch: PathBuf,
    out: W,
}

impl<W: Write + Send> Sheet<W> {
    pub(super) fn new(form: Form<'_>, schema: &Schema, out: W) -> Result<Self, ExportError> {
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        if names.len() > COLUMNS {
            return Err(ExportError::Sheet {
                what: format!("there are {} columns", names.len()),
                most: "16,384",
                way_out: ELSEWHERE.to_owned(),
            });
        }
        let scratch = form.scratch.map_or_else(std::env::temp_dir, Into::into);
        let mut workbook = Workbook::new();
        workbook.set_tempdir(&scratch)?;
        if let Some(moment) = form.moment {
            let moment = moment.to_zoned(TimeZone::UTC).datetime();
            workbook.set_properties(&DocProperties::new().set_creation_datetime(&moment));
        }
        let sheet = workbook.add_worksheet_with_constant_memory()?;
        sheet.set_name(sheet_name(form.name))?.set_freeze_panes(1, 0)?;
        let bold = Format::new().set_bold();
        for (column, field) in (0..).zip(schema.fields()) {
            too_long(field.name(), field.name(), 1)?;
            sheet.write_string_with_format(0, column, field.name(), &bold)?;
            sheet.set_column_width(column, width(field.data_type()))?;
        }
        Ok(Self {
            workbook,
            names,
            date: Format::new().set_num_format("yyyy-mm-dd"),
            moment: Format::new().set_num_format("yyyy-mm-dd hh:mm:ss"),
            blank: Format::new().set_num_format("@"),
            rows: 0,
            scratch,
            out,
        })
    }

    fn write_rows(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        let batch = cells::flat(batch)?;
        let options = FormatOptions::default();
        let columns = batch
            .columns()
            .iter()
            .map(|column| Column::new(column, &options))
            .collect::<Result<Vec<_>, _>>()?;
        let sheet = self.workbook.worksheet_from_index(0)?;
        for row in 0..batch.num_rows() {
            self.rows += 1;
            if self.rows >= ROWS {
                return Err(ExportError::Sheet {
                    what: format!("there are more than {} rows", self.rows - 1),
                    most: "1,048,576 with the header",
                    way_out: format!("{ELSEWHERE}, or ask for fewer with LIMIT and OFFSET"),
                });
            }
            let mut is_blank = true;
            for ((number, column), name) in (0..).zip(&columns).zip(&self.names) {
                let at = (self.rows, number);
                match column.cell(row) {
                    Cell::Absent => continue,
                    Cell::Bool(value) => sheet.write_boolean(at.0, at.1, value)?,
                    Cell::Number(value) => sheet.write_number(at.0, at.1, value)?,
                    Cell::Date(value) => sheet.write_datetime_with_format(at.0, at.1, value, &self.date)?,
                    Cell::Moment(value) => {
                        sheet.write_datetime_with_format(at.0, at.1, value, &self.moment)?
                    }
                    Cell::Text(text) => {
                        too_long(&text, name, self.rows + 1)?;
                        sheet.write_string(at.0, at.1, text)?
                    }
                };
                is_blank = false;
            }
            if is_blank {
                // Without a cell there would be no row.
                sheet.write_blank(self.rows, 0, &self.blank)?;
            }
        }
        Ok(())
    }

    fn save(&mut self) -> Result<(), ExportError> {
        let last = u16::try_from(self.names.len().saturating_sub(1)).unwrap_or(u16::MAX);
        let rows = self.rows;
        self.workbook
            .worksheet_from_index(0)?
            .autofilter(0, 0, rows, last)?;
        Ok(self.workbook.save_to_writer(&mut self.out)?)
    }
}

impl<W: Write + Send> Rows for Sheet<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        let scratch = self.scratch.clone();
        unless_full(scratch, || self.write_rows(batch))
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, ExportError> {
        let scratch = self.scratch.clone();
        unless_full(scratch, || self.save())?;
        Ok(Vec::new())
    }
}

/// rust_xlsxwriter panics when it cannot write to its temporary file.
fn unless_full(scratch: PathBuf, write: impl FnOnce() -> Result<(), ExportError>) -> Result<(), ExportError> {
    catch_unwind(AssertUnwindSafe(write)).unwrap_or(Err(ExportError::Scratch(scratch)))
}

fn too_long(text: &str, column: &str, row: u32) -> Result<(), ExportError> {
    // A UTF-16 unit is at least a byte of UTF-8.
    if text.len() <= CELL_UNITS {
        return Ok(());
    }
    match text.encode_utf16().count() {
        units if units > CELL_UNITS => Err(ExportError::Sheet {
            what: format!("`{column}` has {units} characters in row {row}"),
            most: "32,767 in a cell",
            way_out: format!(
                "{ELSEWHERE}, leave the column out, or shorten it in a query: `left(\"{column}\", 16383)` always fits"
            ),
        }),
        _ => Ok(()),
    }
}

/// `name` as a sheet may be named: at most 31 characters, none of `[]:*?/\`, no apostrophe at its ends.
fn sheet_name(name: &str) -> String {
    let mut units = 0;
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_control() || "[]:*?/\\".contains(c) {
                '_'
            } else {
                c
            }
        })
        .take_while(|c| {
            units += c.len_utf16();
            units <= NAME_UNITS
        })
        .collect();
    match name.trim_matches(|c: char| c == '\'' || c.is_whitespace()) {
        "" => "rows".to_owned(),
        // Excel keeps this name for itself.
        name if name.eq_ignore_ascii_case("history") => format!("{name}_"),
        name => name.to_owned(),
    }
}

/// Characters wide.
fn width(data_type: &DataType) -> f64 {
    match data_type {
        DataType::Timestamp(..) | DataType::Date64 => 19.0,
        DataType::Utf8 | DataType::LargeUtf8 => 24.0,
        data_type if data_type.is_nested() => 24.0,
        _ => 12.0,
    }
}

enum Cell {
    Absent,
    Bool(bool),
    Number(f64),
    Date(civil::DateTime),
    Moment(civil::DateTime),
    Text(String),
}

/// A column, as cells are made of it.
struct Column<'a> {
    array: &'a ArrayRef,
    /// Its moments, if it is of such.
    moments: Option<ArrayRef>,
    /// Its values as numbers, if they are with a fraction.
    fractions: Option<ArrayRef>,
    text: ArrayFormatter<'a>,
}

impl<'a> Column<'a> {
    fn new(array: &'a ArrayRef, options: &FormatOptions<'a>) -> Result<Self, ArrowError> {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let is_moment = matches!(
            array.data_type(),
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
        );
        let in_type = |is: bool, to: &DataType| is.then(|| cast(array, to)).transpose();
        Ok(Self {
            array,
            moments: in_type(is_moment, &micros)?,
            fractions: in_type(array.data_type().is_floating(), &DataType::Float64)?,
            text: ArrayFormatter::try_new(array.as_ref(), options)?,
        })
    }

    fn cell(&self, row: usize) -> Cell {
        if self.array.is_null(row) || self.array.data_type() == &DataType::Null {
            return Cell::Absent;
        }
        if let Some(bools) = self.array.as_boolean_opt() {
            return Cell::Bool(bools.value(row));
        }
        if let Some(moment) = self.moments.as_ref().and_then(|moments| moment(moments, row)) {
            return match self.array.data_type() {
                DataType::Date32 => Cell::Date(moment),
                _ => Cell::Moment(moment),
            };
        }
        let fraction = self
            .fractions
            .as_ref()
            .and_then(|fractions| fractions.as_primitive_opt::<Float64Type>());
        if let Some(fraction) = fraction.map(|fractions| fractions.value(row))
            && fraction.is_finite()
        {
            return Cell::Number(fraction);
        }
        let text = self.text.value(row).to_string();
        let is_whole = self.array.data_type().is_numeric() && self.fractions.is_none();
        match text.parse() {
            // Excel has no empty text.
            _ if text.is_empty() => Cell::Absent,
            Ok(number) if is_whole && text.chars().filter(char::is_ascii_digit).count() <= DIGITS => {
                Cell::Number(number)
            }
            _ => Cell::Text(text),
        }
    }
}

/// The moment in UTC, if it is in Excel's calendar, whose February 1900 has a day too many.
fn moment(moments: &ArrayRef, row: usize) -> Option<civil::DateTime> {
    let micros = moments.as_primitive_opt::<TimestampMicrosecondType>()?.value(row);
    let moment = Timestamp::from_microsecond(micros)
        .ok()?
        .to_zoned(TimeZone::UTC)
        .datetime();
    (civil::date(1900, 3, 1)..=civil::date(9999, 12, 31))
        .contains(&moment.date())
        .then_some(moment)
}
