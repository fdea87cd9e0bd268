//! The service that is always on, as the configuration has it: what `dkc daemon` and `dkc serve` share.
//!
//! - In: a configuration. Out: a service that runs until it is told to stop; at SIGHUP it reads the configuration anew.
//! - Not here: what the service does (`pipelines::service`; between runs, `reading`), how it is reached (`serve`), what a
//!   run does.

mod reading;

use super::alerts::channels;
use super::compact::KEPT;
use super::index::Fresh;
use super::reach::{opened, reach};
use super::run::{publish, words};
use crate::config::Config;
use crate::context::Context;
use crate::print;
use futures::future::BoxFuture;
use miette::{IntoDiagnostic, Report, Result};
use pipelines::alerts::{Alerts, Budget, Channels, Watched};
use pipelines::service::{self, AfterRun, Pipeline, Prepare, PrepareError, Prepared, Retention, work_of};
use schemas::SourceName;
use schemas::datasets::runs::Run;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use store::Store;
use store::alerts::AlertLog;
use store::queue::Queue;
use store::run_log::{Level, RunLog};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, Notify};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

/// MiB → bytes.
const MB: u64 = 1 << 20;

/// A service that is ready to run.
pub struct Service {
    tools: Arc<Tools>,
    config: Arc<Config>,
    channels: Channels,
    /// Says that the configuration is to be read anew.
    reload: Signal,
}

/// What its runs use.
struct Tools {
    context: Context,
    store: Arc<Store>,
    queue: Queue,
    log: RunLog,
    alerts: AlertLog,
    /// Whether there may be something that search does not see yet.
    is_behind: AtomicBool,
    /// Held by whoever indexes or merges.
    tending: Mutex<()>,
    /// Told when there may be something that the model has not read.
    indexed: Notify,
}

impl Service {
    /// Looks its secrets up, waits for its database and opens what the service needs; none where everything is to stop
    /// before.
    ///
    /// # Errors
    /// That the store cannot be opened, or that a secret of its alerts is not where it should be.
    pub async fn open(config: Config, context: &Context, stop: &CancellationToken) -> Result<Option<Self>> {
        // First, so that no signal ends it from here on.
        let reload = signal(SignalKind::hangup()).into_diagnostic()?;
        let context = context.clone();
        let looked_up = spawn_blocking(move || {
            let channels = checked(&config)?;
            Ok::<_, Report>((config, channels, context))
        });
        let (config, channels, context) = looked_up.await.into_diagnostic()??;
        if !reach(&context.place()?, stop).await? {
            return Ok(None);
        }
        Ok(Some(Self {
            tools: Arc::new(Tools::open(context).await?),
            config: Arc::new(config),
            channels,
            reload,
        }))
    }

    /// The configuration that counts.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The queue of its runs.
    pub fn queue(&self) -> &Queue {
        &self.tools.queue
    }

    /// Works until it is to stop, and as long as it takes to end what is at work.
    ///
    /// # Errors
    /// That a part of it ended early.
    pub async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let watchdog = tokio::spawn(feed_watchdog());
        let ended = self.run_and_reload(&stop).await;
        watchdog.abort();
        ended
    }

    async fn run_and_reload(&mut self, stop: &CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            let end = stop.child_token();
            let reading = self.read_on(end.clone());
            let mut running = Box::pin(self.service().run(end.clone()));
            let read = loop {
                tokio::select! {
                    ended = &mut running => break Err(ended),
                    Some(()) = self.reload.recv() => {}
                }
                match self.tools.read_again().await {
                    Ok(read) => break Ok(read),
                    Err(report) => print::error(
                        &report.wrap_err("the configuration is not read anew, and the one before counts"),
                        self.tools.context.json,
                    ),
                }
            };
            // What is at work ends first: a pipeline may not be the same any more.
            end.cancel();
            if let Err(error) = reading.await {
                tracing::warn!(%error, "the model does not read in the background any more");
            }
            let (config, channels) = match read {
                Ok(read) => read,
                Err(ended) => return ended.into_diagnostic(),
            };
            running.await.into_diagnostic()?;
            print::note(
                &format!(
                    "the configuration was read anew: {}",
                    print::counted(config.pipelines.len(), "pipeline")
                ),
                &self.tools.context,
            );
            (self.config, self.channels) = (Arc::new(config), channels);
        }
        Ok(())
    }

    /// Lets the model read beside the runs until it is to stop, on a thread of its own: it computes much.
    fn read_on(&self, end: CancellationToken) -> JoinHandle<()> {
        let (tools, config, runtime) = (self.tools.clone(), self.config.clone(), Handle::current());
        spawn_blocking(move || runtime.block_on(tools.read_on(&config, &end)))
    }

    /// The service as the configuration has it.
    fn service(&self) -> service::Service {
        let Tools {
            store, queue, log, ..
        } = &*self.tools;
        let config = &self.config;
        let after = {
            let (tools, config) = (self.tools.clone(), config.clone());
            let after: AfterRun = Arc::new(move |run: Run| -> BoxFuture<'static, Run> {
                let (tools, config) = (tools.clone(), config.clone());
                Box::pin(async move { tools.tend(run, config).await })
            });
            after
        };
        service::Service {
            store: store.clone(),
            queue: queue.clone(),
            log: log.clone(),
            pipelines: config
                .pipelines
                .iter()
                .map(|pipeline| Pipeline {
                    plan: pipeline.plan.clone(),
                    paths: pipeline.files(),
                    host: pipeline.host(),
                })
                .collect(),
            slots: config.runs.at_once.get(),
            per_host: config.runs.per_host.get(),
            work: work_of(
                store.clone(),
                queue.clone(),
                log.clone(),
                prepare(config.clone()),
                after,
            ),
            alerts: Some(alerts(
                config,
                store.clone(),
                self.tools.alerts.clone(),
                self.channels.clone(),
            )),
            keep: Retention {
                age: Duration::from_secs(u64::from(config.runs.keep_days.get()) * 24 * 3_600),
                ..Retention::default()
            },
        }
    }
}

/// The channels of alerts. A pipeline whose secret is missing is told of at once, and not only at night; it stops no other.
fn checked(config: &Config) -> Result<Channels> {
    for pipeline in &config.pipelines {
        if let Err(report) = pipeline.collector() {
            tracing::warn!("{}", words(&report));
        }
    }
    channels(config)
}

/// What watches over a configuration's pipelines.
pub(super) fn alerts(config: &Config, store: Arc<Store>, log: AlertLog, channels: Channels) -> Alerts {
    let now = jiff::Timestamp::now();
    let watched = config
        .pipelines
        .iter()
        .map(|pipeline| Watched::of(&pipeline.plan, pipeline.descriptor.datasets, now));
    let budgets = config.pipelines.iter().map(|pipeline| Budget {
        pipeline: pipeline.name.clone(),
        most_bytes_per_day: pipeline.budget.mb_per_day.map(|mb| mb.get().saturating_mul(MB)),
        most_minutes_per_run: pipeline.budget.minutes_per_run.map(|minutes| minutes.get()),
    });
    Alerts::new(
        store,
        log,
        watched.collect(),
        budgets.collect(),
        channels,
        config.alerts.disk_free_percent,
    )
}

/// Makes collectors of the pipelines of a configuration.
fn prepare(config: Arc<Config>) -> Prepare {
    let failed = |report: Report| PrepareError {
        message: words(&report),
        is_transient: false,
    };
    Arc::new(move |name: &SourceName| -> Result<Prepared, PrepareError> {
        let pipeline = config.pipeline(name.as_str()).map_err(failed)?;
        Ok(Prepared {
            collector: pipeline.collector().map_err(failed)?,
            descriptor: pipeline.descriptor,
        })
    })
}

impl Tools {
    async fn open(context: Context) -> Result<Self> {
        let place = context.place()?;
        Ok(Self {
            store: Arc::new(opened(Store::open_writer(&place).await)?),
            queue: opened(Queue::open(&place).await)?,
            log: opened(RunLog::open(&place).await)?,
            alerts: opened(AlertLog::open(&place).await)?,
            context,
            // Somebody may have collected before and not indexed it.
            is_behind: AtomicBool::new(true),
            tending: Mutex::new(()),
            indexed: Notify::new(),
        })
    }

    /// The configuration as it is now, whole and with its secrets found.
    async fn read_again(&self) -> Result<(Config, Channels)> {
        let context = self.context.clone();
        let read = spawn_blocking(move || {
            let config = context.load_config()?;
            let channels = checked(&config)?;
            Ok::<_, Report>((config, channels))
        });
        let read = read.await.into_diagnostic()??;
        // What is at work waits for a database that is away; what begins would end.
        self.queue.next_due().await.into_diagnostic()?;
        Ok(read)
    }

    /// What follows a run: the published tables and search see what is new, and many small files become one.
    async fn tend(self: Arc<Self>, mut run: Run, config: Arc<Config>) -> Run {
        if run.counts.snapshots > 0 {
            self.is_behind.store(true, Ordering::Relaxed);
        }
        if !self.is_behind.load(Ordering::Relaxed) {
            return run;
        }
        let began = Instant::now();
        // Whoever no longer waits for it ends it.
        let cancel = CancellationToken::new();
        let _ends = cancel.clone().drop_guard();
        let (tools, runtime) = (self.clone(), Handle::current());
        // It computes much, and nobody who serves may wait for that.
        let tended = spawn_blocking(move || runtime.block_on(tools.index_and_merge(&config, &cancel)));
        let tended = tended.await.into_diagnostic();
        if let Err(report) = tended.and_then(|tended| tended) {
            let message = format!("what is new is stored, and not all see it yet: {report}");
            tracing::warn!(run = %run.run, "{message}");
            let now = jiff::Timestamp::now().as_microsecond();
            let line = (run.run.clone(), now, Level::Warn, message);
            if let Err(error) = self.log.append(&[line]).await {
                tracing::warn!(%error, "a line of a run's log is lost");
            }
        }
        run.stages.index_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        run
    }

    async fn index_and_merge(&self, config: &Config, cancel: &CancellationToken) -> Result<()> {
        let _alone = self.tending.lock().await;
        // Whoever was before may have done it for both.
        if !self.is_behind.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let done = self.index_and_merge_alone(config, cancel).await;
        if done.is_err() || cancel.is_cancelled() {
            self.is_behind.store(true, Ordering::Relaxed);
        }
        done
    }

    async fn index_and_merge_alone(&self, config: &Config, cancel: &CancellationToken) -> Result<()> {
        let fresh = Fresh {
            store: &self.store,
            context: &self.context,
            limits: config.limits,
            search: &config.search,
            waits: false,
            cancel,
        };
        publish(&self.store).await?;
        fresh.all(&[]).await?;
        self.indexed.notify_one();
        if !cancel.is_cancelled() && self.store.is_worn().await.into_diagnostic()? {
            let before = jiff::Timestamp::now() - KEPT;
            self.store.compact(before).await.into_diagnostic()?;
        }
        Ok(())
    }
}

/// What a process that runs no pipelines owes a service manager all the same, until it is to stop: to say that it lives,
/// and not to end when it is to read its configuration anew.
///
/// # Errors
/// That the signal cannot be heard.
pub async fn none(stop: CancellationToken) -> Result<()> {
    let mut reload = signal(SignalKind::hangup()).into_diagnostic()?;
    let watchdog = tokio::spawn(feed_watchdog());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(()) = reload.recv() => {
                tracing::warn!("no pipelines are run here; what the configuration says now counts from the next start on");
            }
        }
    }
    watchdog.abort();
    Ok(())
}

/// Tells the service manager that this lives, as often as it wants to hear it.
async fn feed_watchdog() {
    let Some(within) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut ticks = tokio::time::interval((within / 2).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        // Where nobody listens any more, nobody is told.
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}

/// The service of the configuration, if there is one and it is not to stop before it began.
///
/// # Errors
/// Every mistake in it, or that it cannot be opened.
pub async fn of(context: &Context, stop: &CancellationToken) -> Result<Option<Service>> {
    if !context.config_path()?.exists() {
        return Ok(None);
    }
    let config = context.load_config()?;
    if config.pipelines.is_empty() {
        return Ok(None);
    }
    Service::open(config, context, stop).await
}
