//! `dkc run`: from the sources into the lake.

mod ask;

use super::runs::short;
use crate::commands::compact::KEPT;
use crate::commands::index;
use crate::config::{Config, Pipeline};
use crate::context::Context;
use crate::print;
use clap::Args;
use collectors::{Collector, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use miette::{IntoDiagnostic, Report, Result, miette};
use pipelines::worker::{LEASE, name_of_process};
use pipelines::{Log, Request};
use schemas::RunId;
use schemas::datasets::runs::{Run, RunState, Trigger};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use store::export::visible;
use store::queue::{Begun, Queue};
use store::relational::Publisher;
use store::run_log::RunLog;
use tokio_util::sync::CancellationToken;

/// How often a run whose process was killed is tried again by a service.
const ATTEMPTS: u32 = 5;

/// Collects what is new since the last run, pipeline by pipeline, and stores it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc run\n  dkc run inbox --json\n  dkc run inbox --queue")]
pub struct Arguments {
    /// Names of pipelines; all without one
    #[arg(value_name = "PIPELINE")]
    pub pipelines: Vec<String>,
    /// Only ask for the runs: `dkc daemon` or `dkc serve` makes them. One that waits already is the answer; behind one
    /// that is at work another waits
    #[arg(long)]
    pub queue: bool,
    /// Leave search as it is: the next run without this, the service, or `dkc index build` brings it up to date
    #[arg(long, conflicts_with = "queue")]
    pub no_index: bool,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let config = context.load_config()?;
    let chosen = config.chosen(&arguments.pipelines)?;
    if arguments.queue {
        return ask::ask(&chosen, context).await;
    }
    // All of them, before the first begins: a secret that is missing should not be found at night.
    let collectors: Vec<Result<Box<dyn Collector>>> =
        chosen.iter().map(|pipeline| pipeline.collector()).collect();
    let is_only = collectors.len() == 1;
    let mut ready = Vec::new();
    for (pipeline, collector) in chosen.iter().zip(collectors) {
        match collector {
            Err(report) if is_only => return Err(report),
            // The others are run all the same.
            Err(report) => {
                ready.push((pipeline, Err(words(&report))));
                let failed = format!("pipeline `{}` failed", pipeline.name);
                print::error(&report.wrap_err(failed), context.json);
            }
            Ok(collector) => ready.push((pipeline, Ok(collector))),
        }
    }
    let here = Here::open(&config, context).await?;
    let cancel = CancellationToken::new();
    tokio::spawn(cancel_on_signal(cancel.clone()));
    let (mut runs, mut busy) = (Vec::new(), Vec::new());
    let mut printed = Ok(());
    for (pipeline, collector) in ready {
        match here.make(pipeline, collector, &cancel).await? {
            Made::Over(over) => {
                // Who leaves before the end, as `head` does, ends no run.
                printed = printed.and(tell(&over, context));
                runs.push(*over);
            }
            Made::Busy(other) => busy.push(*other),
        }
        if cancel.is_cancelled() {
            break;
        }
    }
    if !cancel.is_cancelled() && here.store.is_worn().await.into_diagnostic()? {
        let compacted = here
            .store
            .compact(jiff::Timestamp::now() - KEPT)
            .await
            .into_diagnostic()?;
        let before = print::counted(compacted.files_before, "data file");
        print::note(
            &format!("merged {before} into {}", compacted.files_after),
            context,
        );
    }
    if !cancel.is_cancelled()
        && let Err(report) = publish(&here.store).await
    {
        print::error(
            &report.wrap_err("the published tables do not have what is new; the next run tries again"),
            context.json,
        );
    }
    let mut index_ms = None;
    if !cancel.is_cancelled() && !arguments.no_index {
        // What was collected is safe; search sees it when it can.
        let began = Instant::now();
        let fresh = index::Fresh {
            store: &here.store,
            context,
            limits: config.limits,
            search: &config.search,
            waits: false,
            cancel: &cancel,
        };
        if let Err(report) = fresh.all(&[]).await {
            print::error(
                &report.wrap_err("search does not see what is new; `dkc index build` tries again"),
                context.json,
            );
        }
        index_ms = Some(began.elapsed().as_millis());
    }
    here.close().await;
    if context.json {
        printed = print::json(&json!({ "runs": runs, "busy": busy, "index_ms": index_ms }));
    }
    let whole = runs
        .iter()
        .filter(|over| !matches!(over.run.state, RunState::Failed | RunState::Cancelled))
        .count();
    let all = runs.len() + busy.len();
    if whole < all {
        miette::bail!(
            help = "`dkc runs` lists them; what was committed stays, and the next run goes on from there",
            "{} of {} did not end whole",
            all - whole,
            print::counted(all, "run")
        );
    }
    print::unless_left(printed)
}

/// Tells of a run that is over, and under it what its source warned of. JSON has that in the run.
fn tell(over: &Over, context: &Context) -> Result<()> {
    if context.json {
        return Ok(());
    }
    let printed = print::text(&summary(&over.run));
    for warning in &over.warnings {
        // In one line, whatever a server said.
        print::warning(&format!("  warning: {}", visible(warning)));
    }
    printed
}

/// Brings the tables that are published in Postgres, where there is one, in step with the lake.
pub(super) async fn publish(store: &Store) -> Result<()> {
    if let Some(publisher) = Publisher::open(store.place()).into_diagnostic()? {
        publisher.follow(store).await.into_diagnostic()?;
    }
    Ok(())
}

/// What a report says, and what to do.
pub(super) fn words(report: &Report) -> String {
    match report.help() {
        Some(help) => format!("{report}; {help}"),
        None => report.to_string(),
    }
}

/// What runs that this process makes need.
struct Here<'a> {
    store: Store,
    queue: Queue,
    log: RunLog,
    context: &'a Context,
}

/// What became of a pipeline.
enum Made {
    /// Its run is over.
    Over(Box<Over>),
    /// Another run of it is at work.
    Busy(Box<Run>),
}

/// A run that is over.
#[derive(Debug, Serialize)]
struct Over {
    #[serde(flatten)]
    run: Run,
    /// What its source warned of, in words.
    warnings: Vec<String>,
}

impl<'a> Here<'a> {
    async fn open(config: &Config, context: &'a Context) -> Result<Self> {
        let place = context.place()?;
        let here = Self {
            store: Store::open_writer(&place).await.into_diagnostic()?,
            queue: Queue::open(&place).await.into_diagnostic()?,
            log: RunLog::open(&place).await.into_diagnostic()?,
            context,
        };
        if here.store.is_alone() {
            // What is at work was left so by a kill. Without schedules nobody may ever make another try of it.
            let has_schedule = config
                .pipelines
                .iter()
                .any(|pipeline| !pipeline.plan.when.is_empty());
            let attempts = if has_schedule { ATTEMPTS } else { 1 };
            here.queue.take_over(attempts, false).await.into_diagnostic()?;
        }
        Ok(here)
    }

    /// Ends all use of the databases.
    async fn close(self) {
        self.log.close().await;
        self.queue.close().await;
        self.store.close().await;
    }

    /// Makes a run of a pipeline, unless another is at work. Without a collector, which was told already, it is one that
    /// failed.
    async fn make(
        &self,
        pipeline: &Pipeline,
        collector: Result<Box<dyn Collector>, String>,
        cancel: &CancellationToken,
    ) -> Result<Made> {
        let now = jiff::Timestamp::now().as_microsecond();
        let mut run = Run::new(pipeline.name.clone(), Trigger::Person, now);
        let begun = self.queue.begin(&run, name_of_process(), LEASE).await;
        if let Begun::Busy(other) = begun.into_diagnostic()? {
            print::error(&busy(&other), self.context.json);
            return Ok(Made::Busy(other));
        }
        run.state = RunState::Running;
        let collector = match collector {
            Ok(collector) => collector,
            Err(why) => return self.fail(run, why).await,
        };
        let progress = Arc::new(Progress::default());
        let shown = show(pipeline.name.as_str(), &progress, self.context);
        let cancel = cancel.child_token();
        let kept = tokio::spawn(keep(self.queue.clone(), run.run.clone(), cancel.clone()));
        let request = Request {
            log: Log::of(run.run.clone(), self.log.clone()),
            run,
            collector,
            descriptor: pipeline.descriptor,
            progress: progress.clone(),
            cancel,
            queue: self.queue.clone(),
            worker: name_of_process().to_owned(),
        };
        let (run, error) = pipelines::run(&self.store, request).await;
        kept.abort();
        shown.abort();
        let run = self.finish(run).await?;
        if let Some(error) = error {
            let report = Err::<(), _>(error).into_diagnostic();
            if let Err(report) = report {
                print::error(
                    &report.wrap_err(format!("pipeline `{}` failed", run.pipeline)),
                    self.context.json,
                );
            }
        }
        let mut warnings = progress.warnings();
        warnings.extend(progress.more_warnings());
        Ok(Made::Over(Box::new(Over { run, warnings })))
    }

    /// Keeps that a run failed before it could collect anything.
    async fn fail(&self, mut run: Run, why: String) -> Result<Made> {
        let log = Log::of(run.run.clone(), self.log.clone());
        log.error(why.clone());
        log.flush().await;
        run.state = RunState::Failed;
        run.ended_at = Some(jiff::Timestamp::now().as_microsecond());
        run.error = Some(why);
        let run = self.finish(run).await?;
        let warnings = Vec::new();
        Ok(Made::Over(Box::new(Over { run, warnings })))
    }

    /// Keeps how a run ended. It comes back as it is kept: somebody may have asked it to end, and said why.
    async fn finish(&self, run: Run) -> Result<Run> {
        let kept = self.queue.finish(&run, None).await.into_diagnostic()?;
        Ok(kept.unwrap_or_else(|| {
            tracing::warn!(run = %run.run, "this process was silent for so long that its run counts as failed");
            run
        }))
    }
}

/// Says again and again that a run is at work here, and ends it when somebody asks for that.
async fn keep(queue: Queue, run: RunId, cancel: CancellationToken) {
    loop {
        // As soon as that a run hears that it is to end.
        tokio::time::sleep(LEASE / 15).await;
        match queue.renew(name_of_process(), LEASE).await {
            Ok(to_end) if to_end.contains(&run) => cancel.cancel(),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot say that the run is at work"),
        }
    }
}

fn busy(other: &Run) -> Report {
    let id = short(&other.run);
    miette!(
        help = format!("`dkc runs logs -f {id}` follows it, `dkc runs cancel {id}` ends it"),
        "pipeline `{}`: run {id} is at work since {}",
        other.pipeline,
        print::moment(other.started_at)
    )
}

/// Cancels at SIGTERM and Ctrl-C. They are heard from now on, not only once the future is polled.
pub(super) fn cancel_on_signal(cancel: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
            return;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        cancel.cancel();
    }
}

/// Draws a bar on a terminal until aborted: items, rate, time left when the source says how many there are.
pub(super) fn show(pipeline: &str, progress: &Arc<Progress>, context: &Context) -> Shown {
    let bar = if context.quiet || context.json {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(0)
    };
    bar.set_prefix(pipeline.to_owned());
    let style = "{prefix} {wide_bar} {human_pos}/{human_len} ({per_sec}, {eta})";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    let (drawn, progress) = (bar.clone(), progress.clone());
    let task = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            drawn.set_length(progress.expected().max(progress.seen()));
            drawn.set_position(progress.seen());
        }
    });
    Shown { bar, task }
}

pub(super) struct Shown {
    bar: ProgressBar,
    task: tokio::task::JoinHandle<()>,
}

impl Shown {
    pub(super) fn abort(self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

fn summary(run: &Run) -> String {
    let counts = run.counts;
    let seconds = run
        .ended_at
        .map_or(0.0, |ended| (ended - run.started_at) as f64 / 1e6);
    format!(
        "{}: {}: {} seen = {} stored + {} unchanged + {} rejected; {} vanished; {seconds:.2} s",
        run.pipeline,
        run.state.as_str(),
        counts.items_seen,
        counts.items_stored,
        counts.items_unchanged,
        counts.items_rejected,
        counts.items_vanished,
    )
}
