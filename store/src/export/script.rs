//! JavaScript: `const NAME = [ … ];`, one row a line, for a page that is opened from disk and may not fetch.
//!
//! - The array is JSON, and JSON is JavaScript (ECMA-262 §25.5) but for a key `__proto__`, which is refused.
//! - Within a page (HTML §13.2.5.15 and on) `</script` and `<!--` would end or change the script, and before 2019
//!   U+2028 and U+2029 ended a line. All are written as `\u` escapes, which mean the same.
//! - A number of JavaScript has 53 bits: a longer whole number would become another one, so it is written as text.

use super::encode::Rows;
use super::{ExportError, cells};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, JsonFormat, NullableEncoder};
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int64Type, UInt64Type};
use arrow_array::{Array, PrimitiveArray, RecordBatch};
use arrow_schema::{FieldRef, Schema};
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Arc;

/// The greatest whole number that JavaScript tells from its neighbours (ECMA-262, `Number.MAX_SAFE_INTEGER`).
const MOST_EXACT: u128 = (1 << 53) - 1;

/// Names that a constant of a script must not have: reserved words (ECMA-262 §12.7.2), and what every page has and
/// does not let go of.
const TAKEN: &[&str] = &[
    "arguments",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "document",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "Infinity",
    "instanceof",
    "interface",
    "let",
    "location",
    "NaN",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "top",
    "true",
    "try",
    "typeof",
    "undefined",
    "var",
    "void",
    "while",
    "window",
    "with",
    "yield",
];

/// `name` made into one that a constant can have: `cloud data` becomes `cloud_data`, `2026` `_2026`, `new` `new_`.
pub fn identifier(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    let mut identifier: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if identifier.starts_with(|c: char| c.is_ascii_digit()) || identifier.is_empty() {
        identifier.insert(0, '_');
    }
    if TAKEN.contains(&identifier.as_str()) {
        identifier.push('_');
    }
    identifier
}

pub(super) struct Script<W: Write>(arrow::json::Writer<Escaped<W>, Lines>);

impl<W: Write> Script<W> {
    pub(super) fn new(name: &str, schema: &Schema, mut out: W) -> Result<Self, ExportError> {
        if let Ok(field) = schema.field_with_name("__proto__") {
            return Err(ExportError::Column(field.name().clone()));
        }
        write!(out, "const {} = ", identifier(name))?;
        let out = Escaped {
            out,
            begun: Vec::new(),
        };
        let options = cells::json_options().with_encoder_factory(Arc::new(Exact));
        Ok(Self(options.build(out)))
    }
}

impl<W: Write> Rows for Script<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        Ok(self.0.write(batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, ExportError> {
        self.0.finish()?;
        let mut out = self.0.into_inner();
        out.write_all(b";\n")?;
        Ok(Vec::new())
    }
}

/// Encodes whole numbers so that none becomes another, wherever they stand.
#[derive(Debug)]
struct Exact;

impl EncoderFactory for Exact {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = if let Some(numbers) = array.as_primitive_opt::<Int64Type>() {
            Box::new(Whole(numbers))
        } else if let Some(numbers) = array.as_primitive_opt::<UInt64Type>() {
            Box::new(Whole(numbers))
        } else {
            return Ok(None);
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

/// Whole numbers of 64 bits.
struct Whole<'a, T: ArrowPrimitiveType>(&'a PrimitiveArray<T>);

impl<T: ArrowPrimitiveType> Encoder for Whole<'_, T>
where
    T::Native: Into<i128> + Display,
{
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let number = self.0.value(row);
        let whole: i128 = number.into();
        let quote = if whole.unsigned_abs() > MOST_EXACT {
            "\""
        } else {
            ""
        };
        out.extend_from_slice(format!("{quote}{number}{quote}").as_bytes());
    }
}

/// An array with a line for each element.
#[derive(Debug, Default)]
struct Lines;

impl JsonFormat for Lines {
    fn start_stream<W: Write>(&self, out: &mut W) -> Result<(), ArrowError> {
        Ok(out.write_all(b"[")?)
    }

    fn start_row<W: Write>(&self, out: &mut W, is_first_row: bool) -> Result<(), ArrowError> {
        Ok(out.write_all(if is_first_row { b"\n" } else { b",\n" })?)
    }

    fn end_stream<W: Write>(&self, out: &mut W) -> Result<(), ArrowError> {
        Ok(out.write_all(b"\n]")?)
    }
}

/// JSON that stays what it is wherever it stands in a page: the characters replaced occur only within its strings.
struct Escaped<W> {
    out: W,
    /// The first bytes of a separator whose last is still to come.
    begun: Vec<u8>,
}

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = std::mem::take(&mut self.begun);
        text.extend_from_slice(bytes);
        let mut rest = text.as_slice();
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'<' | 0xe2)) {
            let (plain, found) = rest.split_at(at);
            self.out.write_all(plain)?;
            // U+2028 and U+2029 in UTF-8.
            let (escape, taken): (&[u8], usize) = match found {
                [b'<', ..] => (b"\\u003c", 1),
                [0xe2, 0x80, 0xa8, ..] => (b"\\u2028", 3),
                [0xe2, 0x80, 0xa9, ..] => (b"\\u2029", 3),
                [0xe2] | [0xe2, 0x80] => {
                    self.begun = found.to_vec();
                    return Ok(bytes.len());
                }
                _ => (b"\xe2", 1),
            };
            self.out.write_all(escape)?;
            rest = found.get(taken..).unwrap_or_default();
        }
        self.out.write_all(rest)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_one_that_a_constant_can_have() {
        for (name, identifier) in [
            ("cloud_data", "cloud_data"),
            ("2026 costs.v2", "_2026_costs_v2"),
            ("größe", "gr__e"),
            ("new", "new_"),
            ("top", "top_"),
            ("", "_"),
            ("a;alert(1)//", "a_alert_1___"),
        ] {
            assert_eq!(super::identifier(name), identifier);
            assert_eq!(super::identifier(identifier), identifier, "once is enough");
        }
    }

    #[test]
    fn what_would_end_a_script_is_escaped_wherever_it_is_cut() {
        let text = "a</script><!--\u{2028}\u{2029}\u{20ac}\u{2027}é<";
        let wanted = "a\\u003c/script>\\u003c!--\\u2028\\u2029\u{20ac}\u{2027}é\\u003c";
        for cut in 0..=text.len() {
            let (one, other) = text.as_bytes().split_at(cut);
            let mut escaped = Escaped {
                out: Vec::new(),
                begun: Vec::new(),
            };
            escaped.write_all(one).unwrap();
            escaped.write_all(other).unwrap();
            assert_eq!(String::from_utf8(escaped.out).unwrap(), wanted, "{cut}");
        }
    }
}
