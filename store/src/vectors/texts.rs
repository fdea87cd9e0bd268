//! Rows of a table by their addresses, from files that stay open.
//!
//! - In: one version of a table, addresses. Out: some columns of the rows there, in that order.
//! - Lance opens the files of a table anew each time that rows are taken by their addresses, and projects them by a plan of
//!   DataFusion. For the ten rows of an answer that takes longer than to read them.

use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt64Type;
use arrow_array::{RecordBatch, UInt64Array};
use futures::future::try_join_all;
use lance::Error;
use lance::dataset::Dataset;
use lance::dataset::fragment::{FragReadConfig, FragmentReader};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::Mutex;

/// The column of addresses that a reader adds.
const ADDRESS: &str = "_rowaddr";

/// So many sets of columns are read of one version: whoever asks for more of them has each opened anew.
const MOST_OPEN: usize = 64;

/// Columns, and the part of a table that has them.
type Part = (String, usize);

/// One version of a table, with files that are open.
pub(super) struct Texts {
    dataset: Arc<Dataset>,
    open: Mutex<HashMap<Part, Arc<FragmentReader>>>,
}

impl Texts {
    /// Those of this version; nothing is opened yet.
    pub(super) fn new(dataset: Arc<Dataset>) -> Self {
        Self {
            dataset,
            open: Mutex::default(),
        }
    }

    /// Columns of the rows at these addresses, in that order. Of rows that are not there any more there is nothing.
    pub(super) async fn at(&self, addresses: &[u64], columns: &[&str]) -> lance::Result<RecordBatch> {
        let mut parts: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for address in addresses {
            // An address is the number of a part and that of a row in it.
            let row = u32::try_from(address & u64::from(u32::MAX)).unwrap_or(u32::MAX);
            parts.entry(address >> 32).or_default().push(row);
        }
        let read = parts.into_iter().map(async |(part, mut rows)| {
            rows.sort_unstable();
            rows.dedup();
            match self.reader(part, columns).await? {
                Some(reader) => reader.take_as_batch(&rows, None).await.map(Some),
                None => Ok(None),
            }
        });
        let read: Vec<RecordBatch> = try_join_all(read).await?.into_iter().flatten().collect();
        let Some(first) = read.first() else {
            let schema = self.dataset.schema().project(columns)?;
            return Ok(RecordBatch::new_empty(Arc::new((&schema).into())));
        };
        let all = arrow::compute::concat_batches(first.schema_ref(), &read)?;
        let there = all
            .column_by_name(ADDRESS)
            .and_then(|there| there.as_primitive_opt::<UInt64Type>())
            .ok_or_else(|| Error::internal("a reader gave no addresses"))?;
        let places: HashMap<u64, u64> = there.values().iter().copied().zip(0..).collect();
        let order = addresses
            .iter()
            .filter_map(|address| places.get(address).copied());
        let order: UInt64Array = order.collect::<Vec<u64>>().into();
        let wanted = columns.iter().map(|column| all.schema_ref().index_of(column));
        let wanted = all.project(&wanted.collect::<Result<Vec<usize>, _>>()?)?;
        Ok(arrow::compute::take_record_batch(&wanted, &order)?)
    }

    async fn reader(&self, part: u64, columns: &[&str]) -> lance::Result<Option<Arc<FragmentReader>>> {
        let part = usize::try_from(part).unwrap_or(usize::MAX);
        let key = (columns.join(","), part);
        if let Some(reader) = self.open.lock().await.get(&key) {
            return Ok(Some(Arc::clone(reader)));
        }
        let Some(fragment) = self.dataset.get_fragment(part) else {
            return Ok(None);
        };
        let schema = self.dataset.schema().project(columns)?;
        let with_address = FragReadConfig::default().with_row_address(true);
        let reader = Arc::new(fragment.open(&schema, with_address).await?);
        let mut open = self.open.lock().await;
        if open.len() >= MOST_OPEN {
            open.clear();
        }
        open.insert(key, Arc::clone(&reader));
        Ok(Some(reader))
    }
}
