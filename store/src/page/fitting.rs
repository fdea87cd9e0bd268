//! Whether a row fits a filter, row by row.
//!
//! - In: a filter, the column that it is of. Out: what tells of a row whether it fits.
//! - Not here: finding what fits without looking at each (`listing`).

use super::{Cell, Compare, Filter};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use std::cmp::Ordering;

/// What tells whether a row fits a filter of this column.
pub(super) fn fitting<'a>(filter: &'a Filter, column: &'a ArrayRef) -> Box<dyn Fn(usize) -> bool + 'a> {
    let by_order = move |wanted: fn(Ordering) -> bool| -> Box<dyn Fn(usize) -> bool + 'a> {
        Box::new(move |row| column.is_valid(row) && wanted(filter.value.order_of(column, row)))
    };
    match filter.compare {
        Compare::IsNull => Box::new(move |row| column.is_null(row)),
        Compare::IsNotNull => Box::new(move |row| column.is_valid(row)),
        Compare::Equal => by_order(Ordering::is_eq),
        Compare::NotEqual => by_order(Ordering::is_ne),
        Compare::Less => by_order(Ordering::is_lt),
        Compare::AtMost => by_order(Ordering::is_le),
        Compare::More => by_order(Ordering::is_gt),
        Compare::AtLeast => by_order(Ordering::is_ge),
        Compare::Contains => {
            let Cell::Text(wanted) = &filter.value else {
                return Box::new(|_| false);
            };
            let wanted = wanted.to_lowercase();
            Box::new(move |row| match Cell::of(column, row) {
                Cell::Text(text) => text.to_lowercase().contains(&wanted),
                _ => false,
            })
        }
        Compare::Has => {
            let (Cell::Text(wanted), Some(lists)) = (&filter.value, column.as_list_opt::<i32>()) else {
                return Box::new(|_| false);
            };
            Box::new(move |row| {
                let list = lists.is_valid(row).then(|| lists.value(row));
                list.is_some_and(|list| (0..list.len()).any(|at| wanted_text(&list, at, wanted)))
            })
        }
    }
}

fn wanted_text(list: &ArrayRef, at: usize, wanted: &str) -> bool {
    matches!(Cell::of(list, at), Cell::Text(text) if text == wanted)
}
