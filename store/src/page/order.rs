//! The order of rows by a column.
//!
//! - In: columns. Out: which row stands where.
//! - Values are compared once, when they are ranked; all else sorts numbers.

use arrow::compute::{SortOptions, rank};
use arrow_array::ArrayRef;
use arrow_schema::ArrowError;

/// The place of each row among the values of a column, of equal values the same; rows without one are last.
///
/// # Errors
/// [`ArrowError`] for columns of lists.
pub(super) fn ranks(values: &ArrayRef) -> Result<Vec<u32>, ArrowError> {
    let ascending = SortOptions {
        descending: false,
        nulls_first: false,
    };
    rank(values, Some(ascending))
}

/// Rows in an order.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) rows: Vec<u32>,
    /// Where each row stands in it.
    places: Vec<u32>,
    /// So many rows have a value; the others come after them.
    pub(super) valued: usize,
}

impl Order {
    /// Rows as they are.
    pub(super) fn none(count: usize) -> Self {
        let rows: Vec<u32> = (0..).take(count).collect();
        Self {
            places: rows.clone(),
            rows,
            valued: count,
        }
    }

    /// Sorted by the ranks of a column, a stable sort. `valued` of the rows have a value.
    pub(super) fn sorted_by(&self, ranks: &[u32], valued: usize) -> Self {
        // A number is sorted several times as fast as a pair.
        let both = ranks.iter().zip(&self.places);
        let mut both: Vec<u64> = both
            .map(|(&rank, &place)| u64::from(rank) << 32 | u64::from(place))
            .collect();
        both.sort_unstable();
        let place = |both: &u64| (both & u64::from(u32::MAX)) as usize;
        let rows: Vec<u32> = both
            .iter()
            .filter_map(|both| self.rows.get(place(both)).copied())
            .collect();
        let mut places = vec![0; rows.len()];
        for (place, &row) in (0..).zip(&rows) {
            if let Some(found) = places.get_mut(row as usize) {
                *found = place;
            }
        }
        Self { rows, places, valued }
    }

    /// Where a row stands in an order, or in one that is turned round.
    pub(super) fn place(&self, row: u32, descending: bool) -> usize {
        let place = self.places.get(row as usize).map_or(0, |&place| place as usize);
        self.turned(place, descending)
    }

    /// Turning round maps places to places, and is its own reverse.
    pub(super) fn turned(&self, place: usize, descending: bool) -> usize {
        match (descending, place < self.valued) {
            (false, _) => place,
            (true, true) => self.valued - 1 - place,
            (true, false) => self.valued + self.rows.len() - 1 - place,
        }
    }
}
