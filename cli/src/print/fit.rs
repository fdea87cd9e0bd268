//! Tables on a terminal that is too narrow for all of their columns: first those go that say nothing, and moments are
//! shown to the minute.
//!
//! - In: columns, their cells, how wide the terminal is, which columns may go. Out: what is shown.
//! - Not here: how wide the terminal is, printing.

use super::{minute, moment};
use schemas::Instant;

/// Characters of the column that goes on in the next line that are enough.
const ENOUGH: usize = 18;

/// How a moment is written.
pub type Moment = fn(Instant) -> String;

/// A table that can do with fewer columns.
#[derive(Debug)]
pub struct Columns<const N: usize> {
    /// Their names, from left to right.
    pub header: [&'static str; N],
    /// The one whose text goes on in the next line.
    pub goes_on: &'static str,
    /// Those that may be left out, the first of them first.
    pub left_out: &'static [LeftOut],
}

/// A column that may be left out.
#[derive(Debug, Clone, Copy)]
pub enum LeftOut {
    /// Where all its cells are empty, or 0.
    Empty(&'static str),
    /// Where all its cells are the same: telling rows apart is all that it is for.
    Alike(&'static str),
    /// Whatever it says.
    Anyway(&'static str),
}

impl LeftOut {
    fn name(self) -> &'static str {
        match self {
            Self::Empty(name) | Self::Alike(name) | Self::Anyway(name) => name,
        }
    }

    /// Whether a column of these cells is to go.
    fn is_to_go<'a>(self, mut cells: impl Iterator<Item = &'a String>) -> bool {
        match self {
            Self::Empty(_) => cells.all(|cell| ["", "0"].contains(&cell.as_str())),
            Self::Alike(_) => {
                let first = cells.next();
                cells.all(|cell| Some(cell) == first)
            }
            Self::Anyway(_) => true,
        }
    }
}

impl<const N: usize> Columns<N> {
    /// The columns that are shown on a terminal of that width, with their cells. `rows` writes moments as it is told.
    pub fn shown(
        &self,
        rows: impl Fn(Moment) -> Vec<[String; N]>,
        width: usize,
    ) -> (Vec<&'static str>, Vec<Vec<String>>) {
        let whole = rows(moment);
        match self.width(&self.header, &whole) <= width {
            true => (self.header.to_vec(), whole.into_iter().map(Vec::from).collect()),
            false => self.fitted(rows(minute), width),
        }
    }

    /// The columns that fit the width, with their cells.
    pub fn fitted(&self, rows: Vec<[String; N]>, width: usize) -> (Vec<&'static str>, Vec<Vec<String>>) {
        let mut header = self.header.to_vec();
        let mut rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
        for left_out in self.left_out {
            if self.width(&header, &rows) <= width {
                break;
            }
            let Some(place) = header.iter().position(|column| *column == left_out.name()) else {
                continue;
            };
            if !left_out.is_to_go(rows.iter().filter_map(|row| row.get(place))) {
                continue;
            }
            header.remove(place);
            for row in &mut rows {
                row.remove(place);
            }
        }
        (header, rows)
    }

    /// How wide a table is, if the column that may goes on in the next line.
    pub fn width<R: AsRef<[String]>>(&self, header: &[&str], rows: &[R]) -> usize {
        let length = |text: &str| text.chars().count();
        let widths = header.iter().enumerate().map(|(place, name)| {
            let cells = rows.iter().filter_map(|row| row.as_ref().get(place));
            let widest = cells.map(|cell| length(cell)).max().unwrap_or(0);
            let widest = if *name == self.goes_on {
                widest.min(ENOUGH)
            } else {
                widest
            };
            // A blank on each side, and a line.
            widest.max(length(name)) + 3
        });
        widths.sum::<usize>() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns<4> = Columns {
        header: ["name", "at", "kind", "why"],
        goes_on: "why",
        left_out: &[
            LeftOut::Empty("why"),
            LeftOut::Alike("kind"),
            LeftOut::Anyway("at"),
        ],
    };

    fn rows(kinds: [&str; 2], why: &str) -> impl Fn(Moment) -> Vec<[String; 4]> {
        move |moment| {
            let row = |kind: &str| ["mail".to_owned(), moment(0), kind.to_owned(), why.to_owned()];
            kinds.map(row).to_vec()
        }
    }

    fn header(rows: impl Fn(Moment) -> Vec<[String; 4]>, width: usize) -> Vec<&'static str> {
        let (header, cells) = COLUMNS.shown(rows, width);
        assert!(cells.iter().all(|row| row.len() == header.len()), "{cells:?}");
        header
    }

    #[test]
    fn columns_go_in_their_order_and_only_where_they_may() {
        let long = "no route to host, whatever was tried";
        assert_eq!(header(rows(["a", "b"], long), 100), ["name", "at", "kind", "why"]);
        assert_eq!(header(rows(["a", "b"], ""), 30), ["name", "at", "kind"]);
        assert_eq!(header(rows(["a", "a"], long), 45), ["name", "at", "why"]);
        assert_eq!(header(rows(["a", "b"], long), 45), ["name", "kind", "why"]);
        assert_eq!(header(rows(["a", "a"], ""), 10), ["name"]);
    }

    #[test]
    fn moments_are_whole_where_there_is_room() {
        let at = |width| COLUMNS.shown(rows(["a", "b"], ""), width).1[0][1].clone();
        assert_eq!(at(80), moment(0));
        assert_eq!(at(40), minute(0));
    }
}
