//! The one trait of a collector, what it pushes, what it warns of, and what it is told.

use crate::error::{CollectError, ConfigError};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use async_trait::async_trait;
use schemas::{Cursor, Dataset, Instant, Location, Provenance, RawItem, Reject, Touched};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Fetches from one source, and only fetches.
#[async_trait]
pub trait Collector: Send {
    /// Pushes what is new since `from` into `sink`, batch by batch, and returns at the end of the source.
    ///
    /// `from` is the cursor of the last batch that was stored; without one, nothing in `known` is
    /// trusted to be unchanged and all bytes are read again (equal bytes are still recognised).
    ///
    /// # Errors
    /// [`CollectError`] when the source as a whole cannot be read. One bad item is a [`Reject`] in a batch.
    async fn collect(
        &mut self,
        from: Option<Cursor>,
        known: Arc<Known>,
        sink: Sink,
    ) -> Result<(), CollectError>;
}

/// A kind of collector: its name, its words, and how its `source` table builds it.
pub struct Descriptor {
    /// The value of `kind` in a `source` table.
    pub kind: &'static str,
    /// One sentence: what it collects.
    pub about: &'static str,
    /// A command line that adds one, for help texts.
    pub example: &'static str,
    /// Datasets whose rows of an item go when it vanishes: those its items become; `raw` too where originals stay at
    /// the source.
    pub datasets: &'static [&'static str],
    /// Keys of the table whose values are secrets; they are written as references and arrive resolved.
    pub secrets: &'static [&'static str],
    /// Keys of the table that hold paths; they arrive absolute, with `~` expanded.
    pub paths: &'static [&'static str],
    /// JSON Schema of the table without `kind`.
    pub schema: fn() -> schemars::Schema,
    /// Why a path of the source that is there may not be what was meant, as a sentence without an end. It looks at few
    /// of its entries, however many there are.
    pub doubt: fn(&Path) -> Option<String>,
    /// Builds it from the table without `kind`.
    pub build: fn(toml_edit::Table) -> Result<Box<dyn Collector>, ConfigError>,
}

impl std::fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Descriptor")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// What the lake knows of a source when a run begins.
#[derive(Debug, Default)]
pub struct Known {
    /// Looks up more, for whoever needs it.
    pub stored: StoredRows,
    /// All places where items of the source were seen, in no order.
    pub locations: Vec<Location>,
    /// Places that could not be read in earlier runs ([`Reject::item`]), in no order.
    pub rejected: Vec<String>,
}

/// Rows that a dataset holds of a source, looked up when somebody asks: a source that speaks rows has no places to
/// remember them by.
#[derive(Default)]
pub struct StoredRows(Option<LookUp>);

type LookUp =
    Box<dyn Fn(&'static Dataset, &[&'static str]) -> Result<Vec<RecordBatch>, CollectError> + Send + Sync>;

impl StoredRows {
    /// Looks them up by `look_up`, which is given the columns that matter, and may block.
    pub fn new(
        look_up: impl Fn(&'static Dataset, &[&'static str]) -> Result<Vec<RecordBatch>, CollectError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Some(Box::new(look_up)))
    }

    /// Calls `seen` with text columns of each row of a dataset, in no order. Only from a thread that may block.
    ///
    /// # Errors
    /// [`CollectError::Lake`] when the lake cannot be read.
    pub(crate) fn each<const N: usize>(
        &self,
        dataset: &'static Dataset,
        columns: [&'static str; N],
        mut seen: impl FnMut([&str; N]),
    ) -> Result<(), CollectError> {
        let Some(look_up) = &self.0 else {
            return Ok(());
        };
        for batch in look_up(dataset, &columns)? {
            let texts = columns.map(|name| batch.column_by_name(name)?.as_string_opt::<i32>());
            for row in 0..batch.num_rows() {
                seen(texts.map(|column| column.map_or("", |column| column.value(row))));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for StoredRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredRows")
    }
}

/// What a collector hands over at once. It is stored wholly or not at all, together with its cursor.
#[derive(Debug)]
pub struct Batch {
    /// New originals. Their items are not known yet. One by reference has its rows in `rows`, and comes again when
    /// its file lies elsewhere.
    pub originals: Vec<RawItem>,
    /// Rows, where the source speaks rows: a new or changed item with all its rows in each dataset.
    pub rows: Vec<(&'static Dataset, RecordBatch)>,
    /// Items that these rows tell of and that have no place in `located`.
    pub described: u64,
    /// Known items whose attributes changed.
    pub touched: Vec<Touched>,
    /// Known items that are nowhere at the source any more.
    pub vanished: Vec<String>,
    /// Places that are new or changed.
    pub located: Vec<Location>,
    /// Known places ([`Location::location`]) that are gone.
    pub unlocated: Vec<String>,
    /// Places that could not be read.
    pub rejects: Vec<Reject>,
    /// Places of [`Known::rejected`] that are gone, or were looked at again; those that this run rejected
    /// again stay rejected. Only in a last batch.
    pub forgiven: Vec<String>,
    /// Places looked at that are as they were.
    pub unchanged: u64,
    /// Where to begin once this batch is stored.
    pub cursor: Cursor,
}

impl Batch {
    /// An empty batch that ends at `cursor`.
    pub fn at(cursor: Cursor) -> Self {
        Self {
            originals: Vec::new(),
            rows: Vec::new(),
            described: 0,
            touched: Vec::new(),
            vanished: Vec::new(),
            located: Vec::new(),
            unlocated: Vec::new(),
            rejects: Vec::new(),
            forgiven: Vec::new(),
            unchanged: 0,
            cursor,
        }
    }
}

/// Items per batch. Fewer: more to hand over. More: more memory, whatever the size of the messages.
pub const BATCH_ITEMS: usize = 2_048;

/// Bytes of originals per batch: it bounds memory, whatever the size of the messages.
pub const BATCH_BYTES: usize = 2 << 20;

/// Where batches go. Waits while the store is behind, so that few batches are in memory.
#[derive(Clone)]
pub struct Sink {
    batches: mpsc::Sender<Batch>,
    progress: Arc<Progress>,
    provenance: Provenance,
}

impl Sink {
    /// A sink and the end it is read from.
    pub fn channel(progress: Arc<Progress>, provenance: Provenance) -> (Self, mpsc::Receiver<Batch>) {
        let (batches, receiver) = mpsc::channel(1);
        let sink = Self {
            batches,
            progress,
            provenance,
        };
        (sink, receiver)
    }

    /// What the rows of this run carry.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Hands over a batch.
    ///
    /// # Errors
    /// [`CollectError::Stopped`] when nobody takes batches any more.
    pub async fn push(&self, batch: Batch) -> Result<(), CollectError> {
        self.batches.send(batch).await.map_err(|_| CollectError::Stopped)
    }

    /// Hands over a batch from a blocking thread.
    ///
    /// # Errors
    /// [`CollectError::Stopped`] when nobody takes batches any more.
    pub fn push_blocking(&self, batch: Batch) -> Result<(), CollectError> {
        self.batches
            .blocking_send(batch)
            .map_err(|_| CollectError::Stopped)
    }

    /// Where progress is told.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// Warnings of a run that are kept. Nobody reads more, and a source may be amiss in a million places.
const WARNINGS: usize = 100;

/// Warnings beyond those that are counted, each once: a server that breaks off is asked again, and warned of again.
const COUNTED: usize = 10_000;

/// Bytes of a warning that are kept: it may quote a server, which says as much as it likes.
const LONGEST: usize = 2_048;

/// How far a run has come and what it warned of, for whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    seen: AtomicU64,
    expected: AtomicU64,
    warned: Mutex<Warned>,
}

/// What a run warned of.
#[derive(Debug, Default)]
struct Warned {
    /// In their order, each once.
    kept: Vec<String>,
    /// Hashes of those that came after.
    more: HashSet<u64>,
}

impl Progress {
    /// Adds items looked at.
    pub fn add_seen(&self, items: u64) {
        self.seen.fetch_add(items, Ordering::Relaxed);
    }
    /// Adds items that the source says it has; 0 as long as it is not known.
    pub fn add_expected(&self, items: u64) {
        self.expected.fetch_add(items, Ordering::Relaxed);
    }
    /// Items looked at.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
    /// Items that the source says it has.
    pub fn expected(&self) -> u64 {
        self.expected.load(Ordering::Relaxed)
    }
    /// Warns of what is amiss with the source and does not end the run, in words for a person. The same words count once.
    pub fn warn(&self, mut warning: String) {
        warning.truncate(warning.floor_char_boundary(LONGEST));
        let mut warned = self.warned();
        if warned.kept.contains(&warning) {
            return;
        }
        if warned.kept.len() < WARNINGS {
            warned.kept.push(warning);
        } else if warned.more.len() <= COUNTED {
            let mut hash = DefaultHasher::new();
            warning.hash(&mut hash);
            warned.more.insert(hash.finish());
        }
    }
    /// What was warned of, in its order: the first hundred.
    pub fn warnings(&self) -> Vec<String> {
        self.warned().kept.clone()
    }
    /// How many more warnings there were than [`Progress::warnings`] has, in words.
    pub fn more_warnings(&self) -> Option<String> {
        match self.warned().more.len() {
            0 => None,
            more if more > COUNTED => Some(format!("and more than {COUNTED} more")),
            more => Some(format!("and {more} more")),
        }
    }

    fn warned(&self) -> MutexGuard<'_, Warned> {
        self.warned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a collector that reads files away from the threads that others wait on; its panic goes on here.
///
/// # Errors
/// Its own, or [`CollectError::Stopped`] when the program is ending.
pub(crate) async fn on_own_thread(
    collect: impl FnOnce() -> Result<(), CollectError> + Send + 'static,
) -> Result<(), CollectError> {
    match tokio::task::spawn_blocking(collect).await {
        Ok(result) => result,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(CollectError::Stopped),
        },
    }
}

/// The moment now.
pub(crate) fn now() -> Instant {
    jiff::Timestamp::now().as_microsecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hundred_warnings_are_kept_and_the_others_are_counted_each_once() {
        let progress = Progress::default();
        for n in 0..WARNINGS {
            progress.warn(format!("{n}"));
            progress.warn("0".to_owned());
        }
        assert_eq!(progress.more_warnings(), None);
        for n in [0, 1, 2, 1, 0] {
            progress.warn(format!("late {n}"));
        }
        let expected: Vec<String> = (0..WARNINGS).map(|n| n.to_string()).collect();
        assert_eq!(progress.warnings(), expected);
        assert_eq!(progress.more_warnings().as_deref(), Some("and 3 more"));
        for n in 3..2 * COUNTED {
            progress.warn(format!("late {n}"));
        }
        assert_eq!(
            progress.more_warnings().as_deref(),
            Some("and more than 10000 more")
        );
        assert_eq!(progress.warnings().len(), WARNINGS);
    }

    #[test]
    fn a_warning_is_cut_where_a_server_says_too_much() {
        let progress = Progress::default();
        progress.warn("x".to_owned() + &"é".repeat(LONGEST));
        let [kept]: [String; 1] = progress.warnings().try_into().unwrap();
        assert_eq!(kept, "x".to_owned() + &"é".repeat(LONGEST / 2 - 1));
    }
}
