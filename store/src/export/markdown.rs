//! Tables of GitHub Flavored Markdown (GFM 0.29 §4.10).

use super::encode::Rows;
use super::{ExportError, cells, visible};
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use std::io::Write;

pub(super) struct Markdown<W>(W);

impl<W: Write> Markdown<W> {
    pub(super) fn new(schema: &Schema, out: W) -> Result<Self, ExportError> {
        let mut markdown = Self(out);
        markdown.row(schema.fields().iter().map(|field| escaped(field.name())))?;
        markdown.row(schema.fields().iter().map(|_| "---".to_owned()))?;
        Ok(markdown)
    }

    fn row(&mut self, cells: impl Iterator<Item = String>) -> Result<(), ExportError> {
        let mut line = "|".to_owned();
        for cell in cells {
            line.push(' ');
            line.push_str(&cell);
            line.push_str(" |");
        }
        line.push('\n');
        Ok(self.0.write_all(line.as_bytes())?)
    }
}

impl<W: Write> Rows for Markdown<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        cells::each_row(batch, "", |row| self.row(row.iter().map(|cell| escaped(cell))))
    }

    fn finish(self: Box<Self>) -> Result<Vec<String>, ExportError> {
        Ok(Vec::new())
    }
}

/// `text` such that a renderer shows it as it is: no markup, no link, no image that would be fetched.
fn escaped(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for (n, line) in text.lines().enumerate() {
        if n > 0 {
            cell.push_str("<br>");
        }
        for c in visible(line).chars() {
            match c {
                '<' => cell.push_str("&lt;"),
                '>' => cell.push_str("&gt;"),
                '&' => cell.push_str("&amp;"),
                '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' => cell.extend(['\\', c]),
                _ => cell.push(c),
            }
        }
    }
    cell
}
