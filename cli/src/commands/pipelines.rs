//! `dkc pipelines`: what is collected, when it is due next, and when it last went well.

use crate::config::Pipeline;
use crate::context::Context;
use crate::print;
use clap::Args;
use jiff::Timestamp;
use miette::{IntoDiagnostic, Result};
use pipelines::schedule::{When, upcoming};
use schemas::datasets::runs::{Run, RunState};
use schemas::{Instant, SourceName};
use serde_json::json;
use std::collections::HashMap;
use store::Store;
use store::queue::{Decided, Queue};

/// What the service has decided, by pipeline and schedule.
type Schedules = HashMap<(SourceName, String), Decided>;

/// Lists the pipelines of the configuration: their sources, when they are due next, when they last collected well.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc pipelines\n  dkc pipelines --upcoming 10")]
pub struct Arguments {
    /// List the next N times of all of them instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    upcoming: Option<u16>,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let config = context.load_config()?;
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let queue = Queue::open(context.place()?).await.into_diagnostic()?;
    let schedules = queue.schedules().await.into_diagnostic()?;
    let now = Timestamp::now();
    if let Some(n) = arguments.upcoming {
        store.close().await;
        return list_times(times(&config.pipelines, &schedules, now, usize::from(n)), context);
    }
    let mut listed = Vec::new();
    for pipeline in &config.pipelines {
        let last = last(&store, &pipeline.name, None).await?;
        let mut good = None;
        for state in [RunState::Succeeded, RunState::PartlySucceeded] {
            let run = self::last(&store, &pipeline.name, Some(state)).await?;
            good = good.max(run.and_then(|run| run.ended_at));
        }
        let next = times(std::slice::from_ref(pipeline), &schedules, now, 1);
        listed.push((pipeline, next.into_iter().next(), good, last));
    }
    store.close().await;
    if context.json {
        let listed: Vec<_> = listed
            .into_iter()
            .map(|(pipeline, next, good, last)| {
                json!({
                    "name": pipeline.name,
                    "kind": pipeline.descriptor.kind,
                    "schedule": pipeline.plan.when.iter().map(When::text).collect::<Vec<_>>(),
                    "time_zone": pipeline.plan.zone.iana_name(),
                    "next_due": next.map(|time| time.at.as_microsecond()),
                    "last_good": good,
                    "state": last.map(|run| run.state),
                })
            })
            .collect();
        return print::json(&json!({ "pipelines": listed }));
    }
    let header = ["name", "kind", "schedule", "next due", "last good", "last run"];
    let row = |(pipeline, next, good, last): (&Pipeline, Option<Time<'_>>, Option<Instant>, Option<Run>)| {
        [
            pipeline.name.to_string(),
            pipeline.descriptor.kind.to_owned(),
            pipeline.schedule().unwrap_or_else(|| "when asked".to_owned()),
            next.map(|time| time.local()).unwrap_or_default(),
            good.map(|good| local(good, pipeline)).unwrap_or_default(),
            last.map(|run| run.state.as_str().to_owned()).unwrap_or_default(),
        ]
    };
    print::table(header, listed.into_iter().map(row))
}

async fn last(store: &Store, pipeline: &SourceName, state: Option<RunState>) -> Result<Option<Run>> {
    let newest = store.runs().newest(Some(pipeline), state, 1).await;
    Ok(newest.into_diagnostic()?.into_iter().next())
}

fn list_times(times: Vec<Time<'_>>, context: &Context) -> Result<()> {
    if context.json {
        let times: Vec<_> = times
            .iter()
            .map(|time| {
                json!({
                    "at": time.at.as_microsecond(),
                    "pipeline": time.pipeline.name,
                    "schedule": time.when.text(),
                })
            })
            .collect();
        return print::json(&json!({ "times": times }));
    }
    if times.is_empty() {
        print::note("no pipeline has a schedule that comes at a time", context);
    }
    let row = |time: Time<'_>| [time.local(), time.pipeline.name.to_string(), time.when.text()];
    print::table(["at", "pipeline", "schedule"], times.into_iter().map(row))
}

/// A time at which a pipeline is due.
pub(super) struct Time<'a> {
    /// The time.
    pub at: Timestamp,
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// Which of its schedules says so.
    when: &'a When,
}

impl Time<'_> {
    /// The time as the clock there shows it.
    pub fn local(&self) -> String {
        shown(self.at, self.pipeline)
    }
}

fn local(at: Instant, pipeline: &Pipeline) -> String {
    Timestamp::from_microsecond(at).map_or_else(|_| String::new(), |at| shown(at, pipeline))
}

fn shown(at: Timestamp, pipeline: &Pipeline) -> String {
    let there = at.to_zoned(pipeline.plan.zone.clone());
    there.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// The next `n` times of pipelines, in their order. What the service has decided counts; without it, intervals begin now.
pub(super) fn times<'a>(
    pipelines: &'a [Pipeline],
    schedules: &Schedules,
    now: Timestamp,
    n: usize,
) -> Vec<Time<'a>> {
    let mut times: Vec<Time<'a>> = Vec::new();
    for pipeline in pipelines {
        for when in &pipeline.plan.when {
            let zone = &pipeline.plan.zone;
            let decided = schedules
                .get(&(pipeline.name.clone(), when.text()))
                .and_then(|decided| Timestamp::from_microsecond(decided.next_due?).ok())
                // What is in the past is being made up for.
                .filter(|next| *next > now);
            let all = match decided {
                Some(next) => {
                    let mut all = vec![next];
                    all.extend(upcoming(when, zone, next, n.saturating_sub(1)));
                    all
                }
                None => upcoming(when, zone, now, n),
            };
            times.extend(all.into_iter().map(|at| Time { at, pipeline, when }));
        }
    }
    times.sort_by_key(|time| time.at);
    times.truncate(n);
    times
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    #[test]
    fn times_of_all_pipelines_come_in_their_order_and_intervals_go_on_from_what_is_decided() {
        let text = "[[pipeline]]\nname = \"a\"\nschedule = [\"0 12 * * *\", \"on change\"]\ntime_zone = \"Asia/Tokyo\"\n\
                    source = { kind = \"maildir\", path = \"a\" }\n\
                    [[pipeline]]\nname = \"b\"\nschedule = \"every 2h\"\nsource = { kind = \"maildir\", path = \"b\" }\n";
        let config = Config::parse(text, Path::new("/dkc.toml"), "dkc.toml").unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let shown = |schedules: &Schedules| {
            let times = times(&config.pipelines, schedules, now, 3);
            let shown = times
                .iter()
                .map(|time| format!("{} {}", time.pipeline.name, time.local()));
            shown.collect::<Vec<_>>()
        };
        let zone = config.pipelines[1].plan.zone.clone();
        let b = |text: &str| {
            let at: Timestamp = text.parse().unwrap();
            format!("b {}", at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z"))
        };
        assert_eq!(
            shown(&Schedules::new()),
            [
                b("2026-01-01T02:00:00Z"),
                "a 2026-01-01 12:00:00 JST".to_owned(),
                b("2026-01-01T04:00:00Z"),
            ]
        );
        let key = (
            config.pipelines[1].name.clone(),
            config.pipelines[1].plan.when[0].text(),
        );
        let next: Timestamp = "2026-01-01T00:30:00Z".parse().unwrap();
        let decided = Decided {
            until: now.as_microsecond(),
            next_due: Some(next.as_microsecond()),
        };
        assert_eq!(
            shown(&Schedules::from([(key, decided)])),
            [
                b("2026-01-01T00:30:00Z"),
                b("2026-01-01T02:30:00Z"),
                "a 2026-01-01 12:00:00 JST".to_owned(),
            ]
        );
    }
}
