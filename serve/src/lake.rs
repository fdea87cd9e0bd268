//! The lake as the gateway sees it: its newest snapshot, and small datasets in memory.
//!
//! - In: a store, its queue and alerts. Out: what there is, as of a quarter of a second ago at most; listings of it.
//! - Not here: what a page is (`store::page`).

use crate::problem::Problem;
use jiff::{SignedDuration, Timestamp};
use schemas::datasets::runs::RunState;
use schemas::{Dataset, Home, View, datasets};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::alerts::{AlertLog, Fares};
use store::inventory::Holding;
use store::lake::as_of::AsOf;
use store::page::Listing;
use store::query::QueryError;
use store::queue::Queue;
use store::watch::Watch;
use store::{Store, StoreError};
use tokio::sync::{Notify, OnceCell, watch};

/// How often the databases are asked whether anybody wrote to them.
const LOOKS: Duration = Duration::from_millis(500);

/// How long they may take to tell what is new.
const ANSWER: Duration = Duration::from_secs(5);

/// A run that could begin is taken within a moment where anybody works; after so long nobody does.
const STALLED: SignedDuration = SignedDuration::from_mins(10);

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// The newest snapshot.
    pub snapshot: i64,
    /// What it has of each dataset.
    pub holdings: Arc<BTreeMap<String, Holding>>,
    /// How pipelines fare, which tells what is wrong at a moment.
    pub fares: Arc<Fares>,
    /// Since when a run has been waiting to begin; `None` when none waits.
    pub waiting_since: Option<i64>,
    /// Whether a run is at work.
    pub is_at_work: bool,
    /// Grows when anything was written about runs.
    pub state: u64,
    /// Why none of this can be told any more.
    pub failure: Option<String>,
}

impl Head {
    /// When all sources of a dataset had last been collected well; `None` when one never was.
    pub fn collected_at(&self, dataset: &str) -> Option<Timestamp> {
        let sources = &self.holdings.get(dataset)?.sources;
        let oldest = sources
            .iter()
            .map(|source| self.fares.collected.get(source).copied())
            .min()??;
        Timestamp::from_microsecond(oldest).ok()
    }

    /// Since when runs wait although none is at work, if that is too long: then nobody takes them.
    pub fn stalled_since(&self, now: Timestamp) -> Option<Timestamp> {
        let since = Timestamp::from_microsecond(self.waiting_since?).ok()?;
        (!self.is_at_work && now.duration_since(since) > STALLED).then_some(since)
    }
}

/// The lake.
#[derive(Debug)]
pub struct Lake {
    store: Store,
    queue: Queue,
    alerts: AlertLog,
    head: watch::Sender<Arc<Head>>,
    again: Notify,
    listings: Mutex<HashMap<&'static str, Kept>>,
}

/// A dataset whose columns come into memory; `None` within where it is too large.
#[derive(Debug, Clone)]
struct Kept {
    snapshot: i64,
    listing: Arc<OnceCell<Option<Arc<Listing>>>>,
}

#[derive(Default)]
struct Watches {
    lake: Option<Watch>,
    runs: Option<Watch>,
}

impl Lake {
    /// The lake of a store. [`Self::follow`] keeps it new.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog cannot be read.
    pub async fn new(store: Store, queue: Queue, alerts: AlertLog) -> Result<Self, StoreError> {
        let (head, _) = watch::channel(Arc::default());
        let lake = Self {
            store,
            queue,
            alerts,
            head,
            again: Notify::new(),
            listings: Mutex::default(),
        };
        if let Some(head) = lake.look(&mut Watches::default()).await? {
            lake.head.send_replace(Arc::new(head));
        }
        Ok(lake)
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What there is.
    pub fn head(&self) -> Arc<Head> {
        self.head.borrow().clone()
    }

    /// What there is, and when that changes.
    pub fn heads(&self) -> watch::Receiver<Arc<Head>> {
        self.head.subscribe()
    }

    /// Looks anew, at once: a look that is under way waits for connections that a database which was away has not given
    /// it, and would wait on.
    pub(crate) fn look_again(&self) {
        self.again.notify_one();
    }

    /// Looks for what is new, for ever.
    pub async fn follow(&self) {
        let mut watches = Watches::default();
        let mut tick = tokio::time::interval(LOOKS);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.again.notified() => {}
            }
            // A database that is away is told soon, not only when its connections give up.
            let looked = tokio::select! {
                looked = tokio::time::timeout(ANSWER, self.look(&mut watches)) => looked,
                () = self.again.notified() => {
                    watches = Watches::default();
                    tick.reset_immediately();
                    continue;
                }
            };
            let head = match looked.map_err(|_| None).and_then(|looked| looked.map_err(Some)) {
                Ok(None) => continue,
                Ok(Some(head)) => head,
                Err(error) => {
                    let failure = error.map_or_else(
                        || "the database does not answer".to_owned(),
                        |error| error.to_string(),
                    );
                    watches = Watches::default();
                    let known = self.head();
                    if known.failure.is_none() {
                        tracing::error!(error = failure, "the lake cannot be read");
                    }
                    Head {
                        failure: Some(failure),
                        ..Head::clone(&known)
                    }
                }
            };
            self.head.send_if_modified(|known| {
                let is_new = **known != head;
                if is_new {
                    *known = Arc::new(head);
                }
                is_new
            });
        }
    }

    /// What there is, if anything changed since these watches were asked.
    async fn look(&self, watches: &mut Watches) -> Result<Option<Head>, StoreError> {
        let lake = match &mut watches.lake {
            Some(watch) => watch,
            none => none.insert(self.store.watch_lake().await?),
        };
        let runs = match &mut watches.runs {
            Some(watch) => watch,
            none => none.insert(self.store.watch_runs().await?),
        };
        let known = self.head();
        let (lake, runs) = (lake.has_changed().await?, runs.has_changed().await?);
        if !lake && !runs && known.failure.is_none() {
            return Ok(None);
        }
        let snapshot = self.store.catalog().head().await?.id;
        let holdings =
            match known.snapshot == snapshot && known.failure.is_none() && !known.holdings.is_empty() {
                true => known.holdings.clone(),
                false => {
                    let holdings = self.store.holdings(snapshot).await?.into_iter();
                    Arc::new(
                        holdings
                            .map(|holding| (holding.dataset.clone(), holding))
                            .collect(),
                    )
                }
            };
        let at_work = self.store.runs().newest(None, Some(RunState::Running), 1).await?;
        let fares = self.alerts.fares(&self.queue).await?;
        Ok(Some(Head {
            snapshot,
            holdings,
            fares: Arc::new(fares),
            waiting_since: self.queue.next_due().await?,
            is_at_work: !at_work.is_empty(),
            state: known.state + u64::from(runs),
            failure: None,
        }))
    }

    /// The snapshot that a request means: a number or a time as text, the newest without one.
    ///
    /// # Errors
    /// [`Problem`] when it is neither, or there is no such snapshot any more.
    pub async fn moment(&self, as_of: Option<&str>) -> Result<i64, Problem> {
        let Some(as_of) = as_of else {
            return Ok(self.head().snapshot);
        };
        let as_of: AsOf = as_of.parse().map_err(|_| {
            Problem::unprocessable(
                "`as_of` is neither the number of a snapshot nor a time such as 2026-11-01T12:00:00Z",
            )
        })?;
        Ok(self.store.resolve(as_of).await?)
    }

    /// The snapshot of a dataset that a request means, as [`Self::moment`].
    ///
    /// # Errors
    /// That too, and that a dataset which is not in the lake has no past.
    pub async fn moment_of(&self, dataset: &Dataset, as_of: Option<&str>) -> Result<i64, Problem> {
        match (dataset.home, as_of) {
            (Home::Lake, _) | (_, None) => self.moment(as_of).await,
            (_, Some(_)) => Err(QueryError::NotInLake(dataset.name.to_owned()).into()),
        }
    }

    /// A dataset whose columns come into memory, at the newest snapshot; `None` where it is too large.
    ///
    /// # Errors
    /// [`Problem`] when the catalog cannot be read.
    pub async fn listing(&self, dataset: &'static Dataset) -> Result<Option<Arc<Listing>>, Problem> {
        let snapshot = self.head().snapshot;
        let kept = {
            let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Kept {
                snapshot,
                listing: Arc::default(),
            };
            let kept = listings.entry(dataset.name).or_insert_with(new);
            if kept.snapshot != snapshot {
                *kept = new();
            }
            kept.listing.clone()
        };
        let load = async || {
            let listing = Listing::open(&self.store, dataset, snapshot).await?;
            Ok::<_, StoreError>(listing.map(Arc::new))
        };
        Ok(kept.get_or_try_init(load).await?.clone())
    }
}

/// The dataset of a name, if a caller may see it.
///
/// # Errors
/// [`crate::problem::Kind::NotFound`], the same for one that is not there and one that may not be seen.
pub fn visible(name: &str, view: &View) -> Result<&'static Dataset, Problem> {
    let found = datasets::table(name).filter(|dataset| view.shows(dataset.name));
    found.ok_or_else(|| {
        let names = datasets::tables().map(|dataset| dataset.name);
        Problem::not_found("dataset", name, names.filter(|name| view.shows(name)))
    })
}

/// The dataset of a name whose rows are given in pages and files, if a caller may see it.
///
/// # Errors
/// As [`visible`]; that `audit` is not one: each request makes it longer, also that which reads it, so no page or file of it
/// is of a snapshot.
pub fn readable(name: &str, view: &View) -> Result<&'static Dataset, Problem> {
    let dataset = visible(name, view)?;
    match dataset.name == datasets::audit::DATASET.name {
        true => Err(Problem::unprocessable(format!(
            "`{name}` is read in SQL, and newest first by GET /api/v1/audit"
        ))),
        false => Ok(dataset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_wait_while_none_is_at_work_are_stalled_after_a_while() {
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        let waits = Head {
            waiting_since: Some(0),
            ..Head::default()
        };
        assert_eq!(waits.stalled_since(at(600)), None);
        assert_eq!(waits.stalled_since(at(601)), Some(at(0)));
        let busy = Head {
            is_at_work: true,
            ..waits
        };
        assert_eq!(busy.stalled_since(at(9_999)), None);
        // One that is to begin later does not wait yet.
        let later = Head {
            waiting_since: Some(9_000_000_000),
            ..Head::default()
        };
        assert_eq!(later.stalled_since(at(601)), None);
        assert_eq!(Head::default().stalled_since(at(9_999)), None);
    }
}
