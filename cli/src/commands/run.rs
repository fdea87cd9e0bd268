//! `dkc run`: from the sources into the lake.

use crate::commands::compact::KEPT;
use crate::commands::index;
use crate::context::Context;
use crate::print;
use clap::Args;
use collectors::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use miette::IntoDiagnostic;
use miette::Result;
use pipelines::Request;
use schemas::datasets::runs::{Run, RunState};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio_util::sync::CancellationToken;

/// Collects what is new since the last run, pipeline by pipeline, and stores it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc run\n  dkc run inbox --json")]
pub struct Arguments {
    /// Names of pipelines; all without one
    #[arg(value_name = "PIPELINE")]
    pub pipelines: Vec<String>,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let config = context.load_config()?;
    let chosen = config.chosen(&arguments.pipelines)?;
    // All of them, before the first begins: a secret that is missing should not be found at night.
    let collectors = chosen
        .iter()
        .map(|pipeline| pipeline.collector())
        .collect::<Result<Vec<_>>>()?;
    let store = Store::open_writer(&context.data).await.into_diagnostic()?;
    let cancel = CancellationToken::new();
    tokio::spawn(cancel_on_signal(cancel.clone()));
    let mut runs = Vec::new();
    for (pipeline, collector) in chosen.iter().zip(collectors) {
        let progress = Arc::new(Progress::default());
        let shown = show(pipeline.name.as_str(), &progress, context);
        let request = Request {
            pipeline: pipeline.name.clone(),
            collector,
            descriptor: pipeline.descriptor,
            progress,
            cancel: cancel.clone(),
        };
        let run = pipelines::run(&store, request).await;
        shown.abort();
        let (run, error) = run.into_diagnostic()?;
        if let Some(error) = error {
            let report = Err::<(), _>(error).into_diagnostic();
            if let Err(report) = report {
                print::error(
                    &report.wrap_err(format!("pipeline `{}` failed", run.pipeline)),
                    context.json,
                );
            }
        }
        if !context.json {
            print::text(&summary(&run))?;
        }
        runs.push(run);
        if cancel.is_cancelled() {
            break;
        }
    }
    if !cancel.is_cancelled() && store.is_worn().await.into_diagnostic()? {
        let compacted = store
            .compact(jiff::Timestamp::now() - KEPT)
            .await
            .into_diagnostic()?;
        print::note(
            &format!(
                "merged {} data files into {}",
                compacted.files_before, compacted.files_after
            ),
            context,
        );
    }
    if !cancel.is_cancelled() {
        // What was collected is safe; search sees it when it can.
        let fresh = index::Fresh {
            store: &store,
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
    }
    store.close().await;
    if context.json {
        print::json(&serde_json::json!({ "runs": runs }))?;
    }
    let bad = runs
        .iter()
        .filter(|run| matches!(run.state, RunState::Failed | RunState::Cancelled))
        .count();
    if bad > 0 {
        miette::bail!(
            help = "`dkc runs` lists them; what was committed stays, and the next run goes on from there",
            "{bad} of {} runs did not end whole",
            runs.len()
        );
    }
    Ok(())
}

pub(super) async fn cancel_on_signal(cancel: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    cancel.cancel();
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
