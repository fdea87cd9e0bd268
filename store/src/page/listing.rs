//! The rows of a dataset at one snapshot, in memory: a page of them takes microseconds.
//!
//! - In: the live files of a dataset that is small enough. Out: pages. A column is read when it is first asked for. What is
//!   long (bytes, texts that are searched) is not kept.
//! - An order is made when it is first asked for, and finds equal values and ranges by bisection.
//! - Not here: keeping it as new as the lake (`serve`).

use super::fitting::fitting;
use super::order::{self, Order};
use super::{After, Cell, Compare, Filter, Page, key_of};
use crate::Store;
use crate::error::StoreError;
use crate::lake::catalog::LiveFile;
use crate::lake::{data_file, index};
use arrow::compute::{concat, take};
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array, new_empty_array};
use arrow_schema::{ArrowError, FieldRef, Schema};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use schemas::to_arrow::arrow_schema;
use schemas::{Column, Dataset, Home, Kind};
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;

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
    files: Vec<LiveFile>,
    columns: Vec<Kept>,
    by_key: OnceLock<Order>,
    /// Bytes of all columns that were read, of one more than may be kept where they are too many.
    bytes: AtomicUsize,
    reading: Mutex<()>,
}

/// A column, once it was asked for.
#[derive(Debug)]
struct Kept {
    field: FieldRef,
    values: OnceLock<ArrayRef>,
    /// See [`order::ranks`].
    ranks: OnceLock<Vec<u32>>,
    order: OnceLock<Arc<Order>>,
}

/// Places of an order that stand together.
type Span = (Arc<Order>, Range<usize>);

impl Listing {
    /// Opens a dataset at a snapshot; `None` if there is too much of it, or it is not in the lake.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog cannot be read.
    pub async fn open(
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
        let schema = arrow_schema(dataset);
        let columns = kept(dataset).map(|column| {
            let (_, field) = schema.fields().find(column.name)?;
            Some(Kept {
                field: field.clone(),
                values: OnceLock::new(),
                ranks: OnceLock::new(),
                order: OnceLock::new(),
            })
        });
        Ok(Some(Self {
            dataset,
            snapshot,
            files,
            columns: columns.flatten().collect(),
            by_key: OnceLock::new(),
            bytes: AtomicUsize::new(0),
            reading: Mutex::new(()),
        }))
    }

    /// The snapshot that it shows.
    pub fn snapshot(&self) -> i64 {
        self.snapshot
    }

    /// Reads and orders what a page asks for and is not in memory yet. Whether all of it is: some columns are too long to be, or
    /// would be with the others.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub async fn read(self: &Arc<Self>, page: &Page) -> Result<bool, StoreError> {
        let wanted: Option<Vec<usize>> = page.read().map(|column| self.position(column)).collect();
        let Some(wanted) = wanted.filter(|_| page.dataset == self.dataset) else {
            return Ok(false);
        };
        let ranges = page.filters.iter().filter(|filter| filter.is_range());
        let mut ordered: Vec<&'static Column> = ranges.map(|filter| filter.column).collect();
        ordered.retain(|column| *column != page.order);
        ordered.push(page.order);
        let is_read = |at: &usize| {
            self.columns
                .get(*at)
                .is_some_and(|kept| kept.values.get().is_some())
        };
        let is_ordered = |column: &&Column| {
            self.kept(column)
                .is_ok_and(|(kept, _)| kept.order.get().is_some())
        };
        let is_ready = || wanted.iter().all(is_read) && ordered.iter().all(is_ordered);
        if is_ready() {
            return Ok(true);
        }
        let _reading = self.reading.lock().await;
        if is_ready() {
            return Ok(true);
        }
        let mut missing: Vec<usize> = wanted.iter().copied().filter(|at| !is_read(at)).collect();
        let mut ranked = ordered.clone();
        if self.by_key.get().is_none() {
            let key = key_of(self.dataset).into_iter();
            ranked.extend(key.filter(|column| !ordered.contains(column)));
        }
        let is_ranked = |at: usize| ranked.iter().any(|column| self.position(column) == Some(at));
        // What takes longest is begun first.
        missing.sort_unstable_by_key(|&at| (!is_ranked(at), at));
        missing.dedup();
        if !missing.is_empty() && self.bytes.load(Relaxed) > MOST_BYTES {
            return Ok(false);
        }
        let listing = self.clone();
        tokio::task::spawn_blocking(move || {
            let read = missing.par_iter().filter_map(|&at| listing.columns.get(at));
            let read: Vec<bool> = read.map(|kept| listing.load(kept)).collect::<Result<_, _>>()?;
            if read.contains(&false) {
                return Ok(false);
            }
            ranked
                .par_iter()
                .try_for_each(|column| listing.ranks(column).map(drop))?;
            listing.by_key()?;
            ordered
                .par_iter()
                .try_for_each(|column| listing.order(column).map(drop))?;
            Ok(true)
        })
        .await?
    }

    /// Reads one column by itself: what it was put together from is free again for the next.
    fn load(&self, kept: &Kept) -> Result<bool, StoreError> {
        let name = [kept.field.name().as_str()];
        let mut parts: Vec<ArrayRef> = Vec::new();
        for file in &self.files {
            for batch in index::read_live_or_error(file, Some(&name)) {
                let batch = data_file::to_columns(self.dataset, &name, &batch?)?;
                let bytes = batch.get_array_memory_size();
                if self.bytes.fetch_add(bytes, Relaxed) + bytes > MOST_BYTES {
                    return Ok(false);
                }
                parts.extend(batch.columns().first().cloned());
            }
        }
        let values = match parts.as_slice() {
            [] => new_empty_array(kept.field.data_type()),
            [one] => one.clone(),
            several => concat(&several.iter().map(AsRef::as_ref).collect::<Vec<_>>())?,
        };
        let _ = kept.values.set(values);
        Ok(true)
    }

    fn position(&self, column: &Column) -> Option<usize> {
        self.columns
            .iter()
            .position(|kept| kept.field.name() == column.name)
    }

    fn kept(&self, column: &Column) -> Result<(&Kept, &ArrayRef), ArrowError> {
        let kept = self.position(column).and_then(|at| self.columns.get(at));
        let found = kept.and_then(|kept| Some((kept, kept.values.get()?)));
        found.ok_or_else(|| ArrowError::SchemaError(format!("`{}` is not in memory", column.name)))
    }

    fn column(&self, column: &Column) -> Result<&ArrayRef, ArrowError> {
        Ok(self.kept(column)?.1)
    }

    fn ranks(&self, column: &Column) -> Result<&[u32], ArrowError> {
        let (kept, values) = self.kept(column)?;
        if let Some(ranks) = kept.ranks.get() {
            return Ok(ranks);
        }
        let ranks = order::ranks(values)?;
        Ok(kept.ranks.get_or_init(|| ranks))
    }

    fn by_key(&self) -> Result<&Order, ArrowError> {
        if let Some(order) = self.by_key.get() {
            return Ok(order);
        }
        let mut order: Option<Order> = None;
        for column in key_of(self.dataset).into_iter().rev() {
            let ranks = self.ranks(column)?;
            let before = order.unwrap_or_else(|| Order::none(ranks.len()));
            order = Some(before.sorted_by(ranks, ranks.len()));
        }
        Ok(self
            .by_key
            .get_or_init(|| order.unwrap_or_else(|| Order::none(0))))
    }

    fn order(&self, column: &'static Column) -> Result<Arc<Order>, ArrowError> {
        let (kept, values) = self.kept(column)?;
        if let Some(order) = kept.order.get() {
            return Ok(order.clone());
        }
        let valued = values.len() - values.null_count();
        let order = Arc::new(self.by_key()?.sorted_by(self.ranks(column)?, valued));
        let _ = kept.order.set(order.clone());
        Ok(order)
    }

    /// The rows of a page: its own columns, and those that tell where it ended; see [`Self::read`].
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
            let few = span.1.len() < order.rows.len() / WALKED_PART;
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
        let rows = UInt32Array::from(rows);
        let mut wanted: Vec<usize> = page.given().filter_map(|column| self.position(column)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for kept in wanted.into_iter().filter_map(|at| self.columns.get(at)) {
            let Some(values) = kept.values.get() else {
                continue;
            };
            fields.push(kept.field.clone());
            columns.push(take(values, &rows, None)?);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
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
        if !filter.is_range() {
            return Ok(None);
        }
        let order = self.order(filter.column)?;
        let values = self.column(filter.column)?;
        let valued = order.rows.get(..order.valued).unwrap_or_default();
        let below = valued.partition_point(|&row| filter.value.order_of(values, row as usize).is_lt());
        let up_to = valued.partition_point(|&row| filter.value.order_of(values, row as usize).is_le());
        let range = match filter.compare {
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
