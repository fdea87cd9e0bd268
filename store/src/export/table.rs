//! Tables for people: aligned, fitted to the terminal, nothing in them that a terminal would obey.

use super::encode::Rows;
use super::{ExportError, Form, Format, cells, visible};
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use std::io::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Rows aligned with one another. More: columns shift less often; fewer: the first rows show sooner.
const PAGE_ROWS: usize = 1_000;

/// Narrowest column worth reading. Where not all columns get it, each row becomes a table of its own.
const LEAST_WIDTH: usize = 8;

pub(super) struct Table<W> {
    out: W,
    header: Vec<String>,
    width: Option<usize>,
    /// Whether each row becomes a table of its own.
    is_by_row: bool,
    page: Vec<Vec<String>>,
    rows: u64,
    shortened: u64,
}

impl<W: Write> Table<W> {
    pub(super) fn new(schema: &Schema, form: Form<'_>, out: W) -> Self {
        let header = schema
            .fields()
            .iter()
            .map(|field| visible(field.name()).into_owned())
            .collect();
        Self {
            out,
            header,
            width: form.width,
            is_by_row: form.format == Format::Line,
            page: Vec::new(),
            rows: 0,
            shortened: 0,
        }
    }

    fn show(&mut self) -> Result<(), ExportError> {
        let page = std::mem::take(&mut self.page);
        let lines = std::iter::once(&self.header).chain(&page);
        let mut widths = vec![0; self.header.len()];
        for line in lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.width());
            }
        }
        match self
            .width
            .map_or(Some(widths.clone()), |width| fitted(&widths, width))
        {
            Some(widths) if !self.is_by_row => self.show_columns(page, &widths)?,
            _ => self.show_records(page)?,
        }
        Ok(())
    }

    fn show_columns(&mut self, page: Vec<Vec<String>>, widths: &[usize]) -> Result<(), ExportError> {
        let mut table = comfy_table::Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        let header: Vec<_> = self.header.clone().into_iter().zip(widths).collect();
        table.set_header(
            header
                .into_iter()
                .map(|(cell, width)| self.shorten(cell, *width))
                .collect::<Vec<_>>(),
        );
        for row in page {
            table.add_row(
                row.into_iter()
                    .zip(widths)
                    .map(|(cell, width)| self.shorten(cell, *width))
                    .collect::<Vec<_>>(),
            );
        }
        Ok(writeln!(self.out, "{table}")?)
    }

    /// One table a row: column, value.
    fn show_records(&mut self, page: Vec<Vec<String>>) -> Result<(), ExportError> {
        let names = self.header.iter().map(|name| name.width()).max().unwrap_or(0);
        let values = self.width.map_or(usize::MAX, |width| {
            width.saturating_sub(names + 7).max(LEAST_WIDTH)
        });
        let first = self.rows - page.len() as u64;
        for (n, row) in page.into_iter().enumerate() {
            let mut table = comfy_table::Table::new();
            table.load_style(UTF8_FULL_CONDENSED);
            table.set_header(["row".to_owned(), (first + n as u64 + 1).to_string()]);
            for (name, value) in self.header.clone().into_iter().zip(row) {
                table.add_row([name, self.shorten(value, values)]);
            }
            writeln!(self.out, "{table}")?;
        }
        Ok(())
    }

    fn shorten(&mut self, text: String, width: usize) -> String {
        if text.len() <= width || text.width() <= width {
            return text;
        }
        self.shortened += 1;
        let mut left = width.saturating_sub(1);
        let mut short: String = text
            .chars()
            .take_while(|c| {
                let fits = c.width().unwrap_or(0) <= left;
                left = left.saturating_sub(c.width().unwrap_or(0));
                fits
            })
            .collect();
        short.push('…');
        short
    }
}

/// The widest columns, all equally bounded, whose table is no wider than `width`; `None` where a column
/// would get less than [`LEAST_WIDTH`].
fn fitted(natural: &[usize], width: usize) -> Option<Vec<usize>> {
    let room = width.checked_sub(3 * natural.len() + 1)?;
    let bounded = |bound: usize| natural.iter().map(move |natural| (*natural).min(bound));
    (LEAST_WIDTH..=width)
        .rev()
        .find(|bound| bounded(*bound).sum::<usize>() <= room)
        .map(|bound| bounded(bound).collect())
}

impl<W: Write> Rows for Table<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        // A cell cannot show more than a line, so more of it need not be kept.
        let most = self.width.unwrap_or(usize::MAX);
        cells::each_row(batch, "NULL", |row| {
            let row = row
                .iter()
                .map(|cell| visible(cell).into_owned())
                .collect::<Vec<_>>();
            let row = row.into_iter().map(|cell| {
                if cell.len() > most.saturating_mul(4) {
                    self.shorten(cell, most)
                } else {
                    cell
                }
            });
            let row = row.collect();
            self.page.push(row);
            self.rows += 1;
            if self.page.len() == PAGE_ROWS {
                self.show()
            } else {
                Ok(())
            }
        })
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, ExportError> {
        if !self.page.is_empty() || self.rows == 0 {
            self.show()?;
        }
        Ok(match self.shortened {
            0 => Vec::new(),
            _ => vec![
                "values were shortened to fit the terminal, see `…`; csv and json give them whole".to_owned(),
            ],
        })
    }
}
