//! Tells when something is wrong, and when nothing happens at all.
//!
//! - In: the history of runs, the lake, the disk, once a minute; each run that ended. Out: what opens and what is over in
//!   the table of alerts, which faces show, and messages to whoever is to be told.
//! - A channel that fails stops nothing: what it was not told, it is told later, if it is true still.
//! - Not here: when to look (`service`), the table and who was told (`store::alerts`), configuration.

mod blind;
mod channel;
mod look;
mod ntfy;
mod ping;
mod post;
mod smtp;
mod text;
mod webhook;
mod wrong;

pub use channel::{ChannelError, Channels};
pub use ntfy::Ntfy;
pub use ping::DeadMan;
pub use smtp::{Smtp, Tls};
pub use text::Message;
pub use webhook::Webhook;

use crate::error::RunError;
use crate::schedule::{Plan, When, upcoming};
use blind::Blind;
use channel::{Channel, Patience};
use jiff::{SignedDuration, Timestamp};
use look::{Disk, Found, Seen};
use ping::Switch;
use schemas::datasets::runs::{Run, RunState};
use schemas::{Instant, SourceName};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::alerts::{AlertKind, AlertLog, Expected, Looked, Settled, TOLD_AT};
use store::{Store, StoreError};
use tokio::task::JoinSet;
use tokio::time::Instant as Clock;

/// Times of a schedule that are looked at to tell how far apart they are: enough for each day of a week.
const TIMES: usize = 8;

/// However often a pipeline is due, it is not late sooner: its run takes its time, too.
const SOONEST: SignedDuration = SignedDuration::from_mins(5);

/// A look that is older says nothing of now.
const RECENT: Duration = Duration::from_secs(300);

/// A pipeline of which it is watched that it collects.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The pipeline.
    pub pipeline: SourceName,
    /// The datasets that it fills.
    pub datasets: &'static [&'static str],
    /// How old its last good run may be; without it, it is never late.
    pub fresh_within: Option<SignedDuration>,
    /// Whether it begins by itself.
    pub has_schedule: bool,
}

impl Watched {
    /// What a plan promises: what it says, else a good run within twice the time between two times of its schedule.
    pub fn of(plan: &Plan, datasets: &'static [&'static str], now: Timestamp) -> Self {
        let apart = plan.when.iter().filter_map(|when| {
            let times = upcoming(when, &plan.zone, now, TIMES);
            let gaps = times.iter().zip(times.iter().skip(1));
            gaps.map(|(one, next)| next.duration_since(*one)).max()
        });
        let usual = apart.min().map(|gap| gap.saturating_mul(2).max(SOONEST));
        Self {
            pipeline: plan.pipeline.clone(),
            datasets,
            fresh_within: plan.fresh_within.or(usual),
            has_schedule: !plan.when.is_empty(),
        }
    }
}

/// What is expected of a plan, for whoever asks how pipelines fare: the same as is watched.
pub fn expected(plan: &Plan, now: Timestamp) -> Expected {
    Expected {
        pipeline: plan.pipeline.to_string(),
        schedule: plan.when.iter().map(When::text).collect(),
        fresh_within: Watched::of(plan, &[], now).fresh_within,
    }
}

/// What a pipeline may take before its owner is told. It is measured by the history of runs.
#[derive(Debug, Clone)]
pub struct Budget {
    /// The pipeline.
    pub pipeline: SourceName,
    /// Bytes that it stores within 24 hours.
    pub most_bytes_per_day: Option<u64>,
    /// Minutes of a run.
    pub most_minutes_per_run: Option<u64>,
}

/// Finds what is wrong, and tells it.
#[derive(Debug, Clone)]
pub struct Alerts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<Store>,
    log: AlertLog,
    watched: Vec<Watched>,
    budgets: Vec<Budget>,
    /// Percent of the disk; 0: it is not looked at.
    least_free: u64,
    channels: Vec<Arc<Channel>>,
    switch: Option<Switch>,
    repeat: Duration,
    host: String,
    patience: Patience,
    /// What was seen so far. Whoever looks or notes how a run ended holds it, so that neither acts on what the other has
    /// just made old.
    seen: tokio::sync::Mutex<Seen>,
    /// When it was last seen that no pipeline is late.
    well_at: Mutex<Option<Clock>>,
    blind: Mutex<Blind>,
    tellings: Mutex<JoinSet<()>>,
}

fn now() -> Instant {
    Timestamp::now().as_microsecond()
}

impl Alerts {
    /// Watches a store, with channels to tell by. `least_free_percent` is of the disk of the data directory; 0 for never.
    pub fn new(
        store: Arc<Store>,
        log: AlertLog,
        watched: Vec<Watched>,
        budgets: Vec<Budget>,
        channels: Channels,
        least_free_percent: u8,
    ) -> Self {
        let patience = Patience::default();
        Self::with_patience(
            store,
            log,
            (watched, budgets),
            channels,
            least_free_percent,
            patience,
        )
    }

    fn with_patience(
        store: Arc<Store>,
        log: AlertLog,
        (watched, budgets): (Vec<Watched>, Vec<Budget>),
        channels: Channels,
        least_free_percent: u8,
        patience: Patience,
    ) -> Self {
        let repeat = channels.repeat;
        let (channels, dead_man) = channels.split();
        let inner = Inner {
            store,
            log,
            watched,
            budgets,
            least_free: u64::from(least_free_percent),
            channels: channels.into_iter().map(Arc::new).collect(),
            switch: dead_man.map(Switch::new),
            repeat,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            patience,
            seen: tokio::sync::Mutex::default(),
            well_at: Mutex::default(),
            blind: Mutex::default(),
            tellings: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Finds what is wrong now, and tells what was not told. To be called once a minute; it returns when all channels
    /// were told or did not answer, after two minutes at most.
    ///
    /// # Errors
    /// [`RunError`] when the state database cannot be read. If that lasts, it is told, too.
    pub async fn look(&self) -> Result<(), RunError> {
        self.look_at(now()).await
    }

    async fn look_at(&self, now: Instant) -> Result<(), RunError> {
        let looked = self.find_and_settle(now).await;
        let is_well = looked.as_ref().is_ok_and(|is_late| !is_late);
        *held(&self.inner.well_at) = is_well.then(Clock::now);
        match looked {
            Ok(_) => {
                self.can_see().await;
                self.tell(now).await;
                Ok(())
            }
            Err(error) => {
                self.cannot_see().await;
                Err(error.into())
            }
        }
    }

    /// Whether a pipeline is late.
    async fn find_and_settle(&self, now: Instant) -> Result<bool, StoreError> {
        // Not while what was seen is held: a disk may take its time to answer.
        let disk = Disk::of(self.inner.store.data()).await;
        let mut seen = self.inner.seen.lock().await;
        let Found {
            alerts,
            kinds,
            undecided,
            is_late,
        } = self.find(&mut seen, disk, now).await?;
        let looked = Looked::Kinds {
            kinds: &kinds,
            undecided: &undecided,
        };
        log(&self.inner.log.settle(looked, &alerts, now).await?);
        Ok(is_late)
    }

    /// Notes how a run ended: a failure opens at once if no other try is to come, or it was the third; a good end closes
    /// it at once. Whoever is to be told is told meanwhile; see [`Alerts::drained`].
    pub async fn after_run(&self, run: &Run, gives_up: bool) {
        let name = run.pipeline.as_str();
        let failing = AlertKind::Failing.key(name);
        let attempt = i64::from(run.attempt);
        let (keys, found) = match run.state {
            RunState::Failed if gives_up || attempt >= TOLD_AT => {
                let alert = wrong::failing(name, &run.run.0, attempt, run.error.as_deref());
                (vec![failing], vec![alert])
            }
            RunState::Succeeded | RunState::PartlySucceeded => {
                (vec![failing, AlertKind::Late.key(name)], Vec::new())
            }
            _ => return,
        };
        let settled = {
            let _seen = self.inner.seen.lock().await;
            self.inner.log.settle(Looked::Keys(&keys), &found, now()).await
        };
        match settled {
            Ok(settled) if settled.is_empty() => {}
            Ok(settled) => {
                log(&settled);
                self.tell_meanwhile();
            }
            // The next look finds the same.
            Err(error) => tracing::warn!(%error, pipeline = name, "cannot note how a run ended"),
        }
    }

    /// Asks the configured address, at most as often as configured, as long as no pipeline is late and looks succeed.
    /// To be called now and then; whoever is asked notices when that ends, and tells it.
    pub async fn ping(&self) {
        let well_at = *held(&self.inner.well_at);
        if let Some(switch) = &self.inner.switch
            && well_at.is_some_and(|at| at.elapsed() < RECENT)
        {
            switch.ping(&self.inner.patience).await;
        }
    }

    /// Sends a message that says it is a test to every channel, and how that went. The dead man's switch is asked, too.
    pub async fn test(&self) -> Vec<(&'static str, Result<(), ChannelError>)> {
        let message = [Message::test(&self.inner.host, now())];
        let mut outcomes = Vec::new();
        for channel in &self.inner.channels {
            let outcome = channel.send(&message, &self.inner.patience, &mut 0).await;
            outcomes.push((channel.name(), outcome));
        }
        if let Some(switch) = &self.inner.switch {
            outcomes.push(("dead_man", switch.ask(&self.inner.patience).await));
        }
        outcomes
    }

    /// Waits until what [`Alerts::after_run`] has to tell is told. To be called before the program ends.
    pub async fn drained(&self) {
        let mut tellings = std::mem::take(&mut *held(&self.inner.tellings));
        while tellings.join_next().await.is_some() {}
    }

    fn tell_meanwhile(&self) {
        let alerts = self.clone();
        let mut tellings = held(&self.inner.tellings);
        while tellings.try_join_next().is_some() {}
        tellings.spawn(async move { alerts.tell(now()).await });
    }

    /// Tells every channel what it was not told, all at once.
    async fn tell(&self, now: Instant) {
        let mut tellings = JoinSet::new();
        for channel in &self.inner.channels {
            let (alerts, channel) = (self.clone(), Arc::clone(channel));
            tellings.spawn(async move {
                if let Err(error) = alerts.tell_by(&channel, now).await {
                    tracing::warn!(%error, channel = channel.name(), "cannot see what is to be told");
                }
            });
        }
        while tellings.join_next().await.is_some() {}
    }

    async fn tell_by(&self, channel: &Channel, now: Instant) -> Result<(), StoreError> {
        if channel.rests() {
            return Ok(());
        }
        let inner = &self.inner;
        let news = inner.log.untold(channel.name(), inner.repeat, now).await?;
        if news.is_empty() {
            return Ok(());
        }
        let messages: Vec<Message> = news.iter().map(|one| Message::of(one, &inner.host)).collect();
        let mut sent = 0;
        let outcome = channel.send(&messages, &inner.patience, &mut sent).await;
        channel.heard(outcome.as_ref().err(), &inner.patience);
        let told = news.get(..sent).unwrap_or_default();
        inner.log.told(channel.name(), told, now).await
    }
}

/// What a lock protects; whoever panicked while holding it left it whole.
fn held<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says in the log what has changed.
fn log(settled: &Settled) {
    for alert in &settled.opened {
        tracing::warn!(key = alert.key, what = alert.what, "something is wrong");
    }
    for alert in &settled.over {
        tracing::info!(key = alert.key, "it is over");
    }
}

#[cfg(test)]
mod tests;
