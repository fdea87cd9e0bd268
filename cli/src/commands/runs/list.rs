//! `dkc runs`, as it stands: the newest runs.
//!
//! - Not here: how a narrow terminal gets fewer columns (`print::fit`).

use super::{seconds, short};
use crate::commands::own::Own;
use crate::config;
use crate::context::Context;
use crate::print::{self, Columns, LeftOut, Moment};
use clap::Args;
use clap::builder::PossibleValuesParser;
use miette::{IntoDiagnostic, Result};
use schemas::SourceName;
use schemas::datasets::runs::{Run, RunState};
use store::Store;

/// Which runs are listed.
#[derive(Debug, Args)]
pub struct Arguments {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// Of this pipeline alone
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// In this state alone
    #[arg(long, value_name = "STATE", value_parser = PossibleValuesParser::new(RunState::ALL.map(RunState::as_str)))]
    state: Option<String>,
}

/// The columns. `dkc runs show` and `--json` have all.
const COLUMNS: Columns<13> = Columns {
    header: [
        "run",
        "started",
        "pipeline",
        "state",
        "trigger",
        "attempt",
        "seen",
        "stored",
        "unchanged",
        "rejected",
        "vanished",
        "seconds",
        "why",
    ],
    goes_on: "why",
    left_out: &[
        LeftOut::Empty("vanished"),
        LeftOut::Alike("attempt"),
        LeftOut::Empty("unchanged"),
        LeftOut::Empty("rejected"),
        LeftOut::Alike("trigger"),
        LeftOut::Empty("why"),
        LeftOut::Empty("seen"),
        LeftOut::Empty("stored"),
        LeftOut::Alike("pipeline"),
        LeftOut::Anyway("vanished"),
        LeftOut::Anyway("unchanged"),
        LeftOut::Anyway("attempt"),
        LeftOut::Anyway("seen"),
        LeftOut::Anyway("seconds"),
        LeftOut::Anyway("trigger"),
    ],
};

/// Runs it.
pub async fn run(Own(arguments): Own<Arguments>, context: &Context) -> Result<()> {
    let pipeline = arguments.pipeline.map(SourceName::new);
    let pipeline = pipeline.transpose().into_diagnostic()?;
    let state = RunState::ALL
        .into_iter()
        .find(|state| Some(state.as_str()) == arguments.state.as_deref());
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let runs = store
        .runs()
        .newest(pipeline.as_ref(), state, arguments.limit)
        .await
        .into_diagnostic()?;
    if let Some(pipeline) = pipeline.filter(|_| runs.is_empty()) {
        doubt(&pipeline, &store, context).await?;
    }
    store.close().await;
    if context.json {
        return print::json(&serde_json::json!({ "runs": runs }));
    }
    let rows = |moment: Moment| -> Vec<_> { runs.iter().map(|run| row(run, moment)).collect() };
    print::table_fitted(&COLUMNS, rows)
}

/// Says so when there is no such pipeline, and what its name may be.
async fn doubt(pipeline: &SourceName, store: &Store, context: &Context) -> Result<()> {
    let mut names = store.runs().pipelines().await.into_diagnostic()?;
    if context.config_path()?.exists() {
        let configured = context.load_config()?.pipelines;
        names.extend(configured.into_iter().map(|pipeline| pipeline.name.to_string()));
    }
    names.sort();
    names.dedup();
    if names.iter().any(|name| name == pipeline.as_str()) {
        return Ok(());
    }
    let hint = match names.is_empty() {
        true => "nothing has run yet, and no configuration names a pipeline".to_owned(),
        false => config::nearest(pipeline.as_str(), names.iter().map(String::as_str)),
    };
    print::note(&format!("there is no pipeline `{pipeline}`: {hint}"), context);
    Ok(())
}

fn row(run: &Run, moment: Moment) -> [String; 13] {
    let why = run.error.as_ref().or(run.reason.as_ref());
    [
        short(&run.run),
        moment(run.started_at),
        run.pipeline.to_string(),
        run.state.as_str().to_owned(),
        run.trigger.as_str().to_owned(),
        run.attempt.to_string(),
        run.counts.items_seen.to_string(),
        run.counts.items_stored.to_string(),
        run.counts.items_unchanged.to_string(),
        run.counts.items_rejected.to_string(),
        run.counts.items_vanished.to_string(),
        seconds(run).unwrap_or_default(),
        why.cloned().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::datasets::runs::Trigger;

    fn rows(change: impl Fn(usize, &mut Run)) -> Vec<[String; 13]> {
        let rows = (0..3).map(|place| {
            let mut run = Run::new(SourceName::new("mail").unwrap(), Trigger::Schedule, 1);
            run.state = RunState::Succeeded;
            run.ended_at = Some(2_000_000);
            change(place, &mut run);
            row(&run, |_| "07-29 18:03".to_owned())
        });
        rows.collect()
    }

    #[test]
    fn a_wide_terminal_has_all_columns() {
        let (header, rows) = COLUMNS.fitted(rows(|_, _| {}), 200);
        assert_eq!(header, COLUMNS.header);
        assert!(rows.iter().all(|row| row.len() == 13));
    }

    #[test]
    fn what_says_nothing_or_the_same_of_every_run_goes_first() {
        let told = rows(|place, run| {
            run.counts.items_rejected = place as u64;
            run.counts.items_stored = 10 + place as u64;
            run.error = (place == 1).then(|| "no route to host, whatever was tried".to_owned());
        });
        for width in [80, 100] {
            let (header, rows) = COLUMNS.fitted(told.clone(), width);
            assert!(COLUMNS.width(&header, &rows) <= width, "{header:?}");
            for kept in ["run", "started", "state", "stored", "rejected", "why"] {
                assert!(header.contains(&kept), "{kept}: {header:?}");
            }
            let place = header.iter().position(|name| *name == "rejected").unwrap();
            let rejected: Vec<&str> = rows.iter().map(|row| row[place].as_str()).collect();
            assert_eq!(rejected, ["0", "1", "2"]);
        }
        // A hundred columns have room for more than eighty.
        assert!(COLUMNS.fitted(told.clone(), 100).0.len() > COLUMNS.fitted(told, 80).0.len());
    }

    #[test]
    fn of_a_single_run_all_that_it_says_stays() {
        let told = rows(|_, run| {
            run.counts.items_rejected = 3;
            run.error = Some("no route".to_owned());
        });
        let (header, _) = COLUMNS.fitted(told.into_iter().take(1).collect(), 90);
        assert!(
            header.contains(&"rejected") && header.contains(&"why"),
            "{header:?}"
        );
        assert!(!header.contains(&"attempt"), "{header:?}");
    }

    #[test]
    fn on_eighty_columns_there_is_room_for_what_tells_runs_apart() {
        let told = rows(|place, run| {
            let names = ["mail", "notes", "photos"];
            run.pipeline = SourceName::new(names[place]).unwrap();
            run.attempt = place as u32;
            run.counts.items_seen = place as u64;
            run.counts.items_unchanged = place as u64;
        });
        let (header, rows) = COLUMNS.fitted(told, 80);
        assert!(COLUMNS.width(&header, &rows) <= 80, "{header:?}");
        assert!(
            header.contains(&"pipeline") && header.contains(&"run"),
            "{header:?}"
        );
    }
}
