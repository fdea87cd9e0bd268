//! The rows of a dataset at one snapshot, in memory: a page of them takes microseconds.
//!
//! - In: the live files of a dataset that is small enough. Out: pages. What is long (bytes, texts that are searched) is
//!   not kept.
//! - An order is made when it is first asked for, and finds equal values and ranges by bisection.
//! - Not here: keeping it as new as the lake (`serve`).

use super::{After, Cell, Compare, Filter, Page, key_of};
use crate::Store;
use crate::error::StoreError;
use crate::lake::{data_file, index};
use arrow::compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::ArrowError;
use schemas::to_arrow::arrow_schema;
use schemas::{Column, Dataset, Home, Kind};
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// More rows, or bytes, are not kept.
const MOST_ROWS: i64 = 400_000;
const MOST_BYTES: usize = 160 << 20;

/// Where a filter leaves this part of the rows or more, the order is walked and each row looked at.
const WALKED_PART: usize = 8;

/// The rows of a dataset.
#[derive(Debug)]
pub struct Listing {
    dataset: &'static Dataset,
    snapshot: i64,
    batch: RecordBatch,
    orders: Vec<OnceLock<Arc<Order>>>,
}

/// Places of an order that stand together.
type Span = (Arc<Order>, Range<usize>);

/// The rows in the order of a column, then of the key.
#[derive(Debug)]
struct Order {
    rows: Vec<u32>,
    /// Where each row stands in it.
    places: Vec<u32>,
    /// So many rows have a value; the others come after them.
    valued: usize,
}

impl Order {
    /// Where a row stands in an order, or in one that is turned round.
    fn place(&self, row: u32, descending: bool) -> usize {
        let place = self.places.get(row as usize).map_or(0, |&place| place as usize);
        self.turned(place, descending)
    }

    /// Turning round maps places to places, and is its own reverse.
    fn turned(&self, place: usize, descending: bool) -> usize {
        match (descending, place < self.valued) {
            (false, _) => place,
            (true, true) => self.valued - 1 - place,
            (true, false) => self.valued + self.rows.len() - 1 - place,
        }
    }
}

impl Listing {
    /// Reads a dataset at a snapshot; `None` if there is too much of it, or it is not in the lake.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog or a file cannot be read.
    pub async fn load(
        store: &Store,
        dataset: &'static Dataset,
        snapshot: i64,
    ) -> Result<Option<Self>, StoreError> {
        if dataset.home != Home::Lake {
            return Ok(None);
        }
        let files = store.catalog().files_at(dataset, snapshot, None).await?;
        if files.iter().map(|file| file.rows).sum::<i64>() > MOST_ROWS {
            return Ok(None);
        }
        tokio::task::spawn_blocking(move || {
            let names: Vec<&'static str> = kept(dataset).map(|column| column.name).collect();
            let schema = arrow_schema(dataset);
            let positions = names
                .iter()
                .map(|name| schema.index_of(name))
                .collect::<Result<Vec<_>, _>>()?;
            let schema = Arc::new(schema.project(&positions)?);
            let (mut batches, mut bytes) = (Vec::new(), 0);
            for file in &files {
                for batch in index::read_live_or_error(file, Some(&names)) {
                    let batch = data_file::to_columns(dataset, &names, &batch?)?;
                    bytes += batch.get_array_memory_size();
                    if bytes > MOST_BYTES {
                        return Ok(None);
                    }
                    batches.push(batch);
                }
            }
            let batch = concat_batches(&schema, &batches)?;
            let orders = batch.columns().iter().map(|_| OnceLock::new()).collect();
            Ok(Some(Self {
                dataset,
                snapshot,
                batch,
                orders,
            }))
        })
        .await?
    }

    /// The snapshot that it shows.
    pub fn snapshot(&self) -> i64 {
        self.snapshot
    }

    /// Whether it has all that a page asks for.
    pub fn has(&self, page: &Page) -> bool {
        page.dataset == self.dataset && page.read().all(|column| self.position(column).is_some())
    }

    fn position(&self, column: &Column) -> Option<usize> {
        self.batch.schema_ref().index_of(column.name).ok()
    }

    fn column(&self, column: &Column) -> Result<&ArrayRef, ArrowError> {
        let found = self.batch.column_by_name(column.name);
        found.ok_or_else(|| ArrowError::SchemaError(format!("`{}` is not in memory", column.name)))
    }

    fn order(&self, column: &'static Column) -> Result<Arc<Order>, ArrowError> {
        let cell = self
            .position(column)
            .and_then(|position| self.orders.get(position));
        if let Some(order) = cell.and_then(OnceLock::get) {
            return Ok(order.clone());
        }
        let values = self.column(column)?;
        let mut by = vec![self.sorted_by(column)?];
        for key in key_of(self.dataset) {
            by.push(self.sorted_by(key)?);
        }
        let rows = lexsort_to_indices(&by, None)?.values().to_vec();
        let mut places = vec![0; rows.len()];
        for (place, &row) in (0..).zip(&rows) {
            if let Some(found) = places.get_mut(row as usize) {
                *found = place;
            }
        }
        let valued = values.len() - values.null_count();
        let order = Arc::new(Order { rows, places, valued });
        if let Some(cell) = cell {
            let _ = cell.set(order.clone());
        }
        Ok(order)
    }

    fn sorted_by(&self, column: &Column) -> Result<SortColumn, ArrowError> {
        Ok(SortColumn {
            values: self.column(column)?.clone(),
            options: Some(SortOptions {
                descending: false,
                nulls_first: false,
            }),
        })
    }

    /// The rows of a page: its own columns, and those that tell where it ended; see [`Self::has`].
    ///
    /// # Errors
    /// [`ArrowError`] when a column is not in memory.
    pub fn page(&self, page: &Page) -> Result<RecordBatch, ArrowError> {
        let order = self.order(page.order)?;
        let first = match &page.after {
            Some(after) => self.place_after(page, &order, after)?,
            None => 0,
        };
        let mut narrowest: Option<(usize, Span)> = None;
        for (number, filter) in page.filters.iter().enumerate() {
            let Some(span) = self.range(filter)? else {
                continue;
            };
            let few = span.1.len() < self.batch.num_rows() / WALKED_PART;
            if few
                && narrowest
                    .as_ref()
                    .is_none_or(|(_, (_, found))| span.1.len() < found.len())
            {
                narrowest = Some((number, span));
            }
        }
        // All that stand in the range fit the filter that it is of.
        let met = narrowest.as_ref().map(|(number, ..)| *number);
        let mut fits = Vec::new();
        for (number, filter) in page.filters.iter().enumerate() {
            if Some(number) != met {
                fits.push(fitting(filter, self.column(filter.column)?));
            }
        }
        let fits = |row: u32| fits.iter().all(|fits| fits(row as usize));
        let rows: Vec<u32> = match narrowest {
            Some((_, (by, range))) => {
                let some = by.rows.get(range).unwrap_or_default().iter().copied();
                let mut some: Vec<(usize, u32)> = some
                    .filter(|&row| fits(row))
                    .map(|row| (order.place(row, page.descending), row))
                    .filter(|(place, _)| *place >= first)
                    .collect();
                if page.rows < some.len() {
                    some.select_nth_unstable(page.rows);
                    some.truncate(page.rows);
                }
                some.sort_unstable();
                some.into_iter().map(|(_, row)| row).collect()
            }
            None => (first..order.rows.len())
                .filter_map(|place| order.rows.get(order.turned(place, page.descending)).copied())
                .filter(|&row| fits(row))
                .take(page.rows)
                .collect(),
        };
        let mut wanted: Vec<usize> = page.given().filter_map(|column| self.position(column)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        take_record_batch(&self.batch.project(&wanted)?, &UInt32Array::from(rows))
    }

    /// The first place after a row.
    fn place_after(&self, page: &Page, order: &Order, after: &After) -> Result<usize, ArrowError> {
        let values = self.column(page.order)?;
        let keys = key_of(self.dataset);
        let keys = keys
            .iter()
            .map(|key| self.column(key))
            .collect::<Result<Vec<_>, _>>()?;
        let compare = |row: u32| {
            let by_key = keys.iter().zip(&after.key);
            let by_key = by_key.map(|(column, value)| value.order_of(column, row as usize));
            let by_key = by_key.fold(Ordering::Equal, Ordering::then);
            after.value.order_of(values, row as usize).then(by_key)
        };
        if !page.descending {
            return Ok(order.rows.partition_point(|&row| compare(row).is_le()));
        }
        let (valued, others) = order.rows.split_at(order.valued);
        Ok(match after.value {
            Cell::Null => order.valued + others.len() - others.partition_point(|&row| compare(row).is_lt()),
            _ => valued.len() - valued.partition_point(|&row| compare(row).is_lt()),
        })
    }

    /// Where the rows that fit a filter stand in the order of its column, if they stand together.
    fn range(&self, filter: &Filter) -> Result<Option<Span>, ArrowError> {
        let compare = filter.compare;
        if matches!(
            compare,
            Compare::NotEqual | Compare::Contains | Compare::Has | Compare::IsNotNull
        ) {
            return Ok(None);
        }
        let order = self.order(filter.column)?;
        let values = self.column(filter.column)?;
        let valued = order.rows.get(..order.valued).unwrap_or_default();
        let below = valued.partition_point(|&row| filter.value.order_of(values, row as usize).is_lt());
        let up_to = valued.partition_point(|&row| filter.value.order_of(values, row as usize).is_le());
        let range = match compare {
            Compare::Equal => below..up_to,
            Compare::Less => 0..below,
            Compare::AtMost => 0..up_to,
            Compare::More => up_to..order.valued,
            Compare::AtLeast => below..order.valued,
            _ => order.valued..order.rows.len(),
        };
        Ok(Some((order, range)))
    }
}

/// The columns that are kept.
fn kept(dataset: &'static Dataset) -> impl Iterator<Item = &'static Column> {
    let long = dataset.search.as_ref().map_or(&[][..], |search| search.text);
    let titles = dataset.search.as_ref().map_or(&[][..], |search| search.title);
    dataset.all_columns().filter(move |column| {
        let is_long = long.contains(&column.name) && !titles.contains(&column.name);
        column.kind != Kind::Bytes && !is_long
    })
}

/// Whether a row fits.
fn fitting<'a>(filter: &'a Filter, column: &'a ArrayRef) -> Box<dyn Fn(usize) -> bool + 'a> {
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
