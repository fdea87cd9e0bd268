//! `dkc runs`, as it stands: the newest runs.
//!
//! - On a terminal that is too narrow for all columns those go first that say nothing, or the same of every run.

use super::{STATES, seconds, short};
use crate::commands::own::Own;
use crate::config;
use crate::context::Context;
use crate::print;
use clap::Args;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use miette::{IntoDiagnostic, Result};
use schemas::datasets::runs::{Run, RunState};
use schemas::{Instant, SourceName};
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
    #[arg(long, value_name = "STATE", value_parser = PossibleValuesParser::new(STATES.map(RunState::as_str)))]
    state: Option<String>,
}

/// The columns, from left to right.
const HEADER: [&str; 13] = [
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
];

/// The columns that are left out where they say nothing, the first of them first. `dkc runs show` and `--json` have all.
const LEFT_OUT: [&str; 9] = [
    "vanished",
    "attempt",
    "unchanged",
    "rejected",
    "trigger",
    "why",
    "seen",
    "stored",
    "pipeline",
];

/// The columns that are left out then, whatever they say.
const LEFT_OUT_ANYWAY: [&str; 6] = ["vanished", "unchanged", "attempt", "seen", "seconds", "trigger"];

/// Characters of the last column that are enough: it goes on in the next line.
const ENOUGH: usize = 18;

/// Runs it.
pub async fn run(Own(arguments): Own<Arguments>, context: &Context) -> Result<()> {
    let pipeline = arguments.pipeline.map(SourceName::new);
    let pipeline = pipeline.transpose().into_diagnostic()?;
    let state = STATES
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
    let Some(width) = print::terminal_width() else {
        let rows = runs.into_iter().map(|run| row(run, print::moment));
        return print::table(HEADER, rows);
    };
    let rows = |moment: fn(Instant) -> String| -> Vec<[String; 13]> {
        runs.iter().cloned().map(|run| row(run, moment)).collect()
    };
    let whole = rows(print::moment);
    let (header, rows) = match width_of(&HEADER, &whole) <= width {
        true => fitted(whole, width),
        false => fitted(rows(minute), width),
    };
    print::table_of(&header, rows)
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

fn row(run: Run, moment: fn(Instant) -> String) -> [String; 13] {
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
        seconds(&run).unwrap_or_default(),
        run.error.or(run.reason).unwrap_or_default(),
    ]
}

/// A moment to the minute, on the clock of this machine; which year it was is known.
fn minute(instant: Instant) -> String {
    let at = Timestamp::from_microsecond(instant).map(|at| at.to_zoned(TimeZone::system()));
    at.map_or_else(|_| String::new(), |at| at.strftime("%m-%d %H:%M").to_string())
}

/// The columns that fit the width, with their cells.
fn fitted(rows: Vec<[String; 13]>, width: usize) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let mut header = HEADER.to_vec();
    let mut rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    let silent = LEFT_OUT.map(|name| (name, true));
    let anyway = LEFT_OUT_ANYWAY.map(|name| (name, false));
    for (name, if_silent) in silent.into_iter().chain(anyway) {
        if width_of(&header, &rows) <= width {
            break;
        }
        let Some(place) = header.iter().position(|column| *column == name) else {
            continue;
        };
        if if_silent && !says_nothing(name, rows.iter().filter_map(|row| row.get(place))) {
            continue;
        }
        header.remove(place);
        for row in &mut rows {
            row.remove(place);
        }
    }
    (header, rows)
}

/// Whether a column tells nothing of its runs, or does not tell them apart where that is all it is for.
fn says_nothing<'a>(name: &str, mut cells: impl Iterator<Item = &'a String>) -> bool {
    match name {
        "attempt" | "trigger" | "pipeline" => {
            let first = cells.next();
            cells.all(|cell| Some(cell) == first)
        }
        _ => cells.all(|cell| ["", "0"].contains(&cell.as_str())),
    }
}

/// How wide a table is, if its last column goes on in the next line.
fn width_of<R: AsRef<[String]>>(header: &[&str], rows: &[R]) -> usize {
    let length = |text: &str| text.chars().count();
    let widths = header.iter().enumerate().map(|(place, name)| {
        let cells = rows.iter().filter_map(|row| row.as_ref().get(place));
        let widest = cells.map(|cell| length(cell)).max().unwrap_or(0);
        let widest = if *name == "why" {
            widest.min(ENOUGH)
        } else {
            widest
        };
        // A blank on each side, and a line.
        widest.max(length(name)) + 3
    });
    widths.sum::<usize>() + 1
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
            row(run, |_| "07-29 18:03".to_owned())
        });
        rows.collect()
    }

    #[test]
    fn a_wide_terminal_has_all_columns() {
        let (header, rows) = fitted(rows(|_, _| {}), 200);
        assert_eq!(header, HEADER);
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
            let (header, rows) = fitted(told.clone(), width);
            assert!(width_of(&header, &rows) <= width, "{header:?}");
            for kept in ["run", "started", "state", "stored", "rejected", "why"] {
                assert!(header.contains(&kept), "{kept}: {header:?}");
            }
            let place = header.iter().position(|name| *name == "rejected").unwrap();
            let rejected: Vec<&str> = rows.iter().map(|row| row[place].as_str()).collect();
            assert_eq!(rejected, ["0", "1", "2"]);
        }
        // A hundred columns have room for more than eighty.
        assert!(fitted(told.clone(), 100).0.len() > fitted(told, 80).0.len());
    }

    #[test]
    fn of_a_single_run_all_that_it_says_stays() {
        let told = rows(|_, run| {
            run.counts.items_rejected = 3;
            run.error = Some("no route".to_owned());
        });
        let (header, _) = fitted(told.into_iter().take(1).collect(), 90);
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
        let (header, rows) = fitted(told, 80);
        assert!(width_of(&header, &rows) <= 80, "{header:?}");
        assert!(
            header.contains(&"pipeline") && header.contains(&"run"),
            "{header:?}"
        );
    }
}
