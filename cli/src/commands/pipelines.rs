//! `dkc pipelines`: what is collected, when it is due next, and when it last went well.

use super::alerts;
use crate::config::Pipeline;
use crate::context::Context;
use crate::print;
use clap::Args;
use jiff::Timestamp;
use miette::{IntoDiagnostic, Result};
use pipelines::schedule::{When, upcoming};
use schemas::datasets::runs::Run;
use schemas::{Instant, SourceName};
use serde_json::{Value, json};
use std::collections::HashMap;
use store::Store;
use store::alerts::{AlertLog, Unattended};
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
    let log = AlertLog::open(context.place()?).await.into_diagnostic()?;
    let fares = log.fares(&queue).await.into_diagnostic()?;
    let expected = alerts::expected(&config);
    let now = Timestamp::now();
    let moment = now.as_microsecond();
    let unattended = fares.unattended(&expected, moment);
    if let Some(n) = arguments.upcoming {
        store.close().await;
        let times = times(&config.pipelines, &fares.schedules, now, usize::from(n));
        return list_times(times, unattended, context);
    }
    let mut listed = Vec::new();
    for (pipeline, expected) in config.pipelines.iter().zip(&expected) {
        let name = &pipeline.name;
        let newest = store.runs().newest(Some(name), None, 1).await;
        let next = times(std::slice::from_ref(pipeline), &fares.schedules, now, 1);
        listed.push(Listed {
            pipeline,
            next: next.into_iter().next(),
            good: fares.collected.get(name.as_str()).copied(),
            last: newest.into_diagnostic()?.into_iter().next(),
            is_failing: fares.failing.contains_key(name.as_str()),
            is_late: fares.late_since(expected, moment).is_some(),
        });
    }
    store.close().await;
    if context.json {
        let listed: Vec<_> = listed.iter().map(Listed::as_json).collect();
        return print::json(&json!({ "pipelines": listed, "unattended": unattended }));
    }
    let header = [
        "name",
        "kind",
        "schedule",
        "next due",
        "last good",
        "last run",
        "wrong",
    ];
    print::table(header, listed.into_iter().map(Listed::row))?;
    warn(unattended, context);
    Ok(())
}

/// A pipeline, and how it fares.
struct Listed<'a> {
    pipeline: &'a Pipeline,
    next: Option<Time<'a>>,
    /// When it last collected well.
    good: Option<Instant>,
    last: Option<Run>,
    is_failing: bool,
    is_late: bool,
}

impl Listed<'_> {
    fn as_json(&self) -> Value {
        let plan = &self.pipeline.plan;
        json!({
            "name": self.pipeline.name,
            "kind": self.pipeline.descriptor.kind,
            "schedule": plan.when.iter().map(When::text).collect::<Vec<_>>(),
            "time_zone": plan.zone.iana_name(),
            "next_due": self.next.as_ref().map(|time| time.at.as_microsecond()),
            "last_good": self.good,
            "state": self.last.as_ref().map(|run| run.state),
            "is_failing": self.is_failing,
            "is_late": self.is_late,
        })
    }

    fn row(self) -> [String; 7] {
        let wrong = [(self.is_failing, "failing"), (self.is_late, "late")];
        let wrong: Vec<&str> = wrong
            .into_iter()
            .filter_map(|(is_so, word)| is_so.then_some(word))
            .collect();
        [
            self.pipeline.name.to_string(),
            self.pipeline.descriptor.kind.to_owned(),
            self.pipeline
                .schedule()
                .unwrap_or_else(|| "when asked".to_owned()),
            self.next.map(|time| time.local()).unwrap_or_default(),
            self.good.map(print::moment).unwrap_or_default(),
            self.last
                .map(|run| run.state.as_str().to_owned())
                .unwrap_or_default(),
            wrong.join(", "),
        ]
    }
}

/// Warns that the times to come will not happen.
fn warn(unattended: Option<Unattended>, context: &Context) {
    if let Some(unattended) = unattended {
        let note = format!("{}; {}", alerts::told(&unattended), unattended.next_step);
        print::note(&note, context);
    }
}

fn list_times(times: Vec<Time<'_>>, unattended: Option<Unattended>, context: &Context) -> Result<()> {
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
        return print::json(&json!({ "times": times, "unattended": unattended }));
    }
    if times.is_empty() {
        print::note("no pipeline has a schedule that comes at a time", context);
    }
    let row = |time: Time<'_>| [time.local(), time.pipeline.name.to_string(), time.when.text()];
    print::table(["at", "pipeline", "schedule"], times.into_iter().map(row))?;
    warn(unattended, context);
    Ok(())
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
    /// The time as the clock of this machine shows it.
    pub fn local(&self) -> String {
        print::moment(self.at.as_microsecond())
    }
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
        // On the clock of this machine, whatever the zone of the schedule.
        let at = |name: &str, text: &str| {
            let at: Timestamp = text.parse().unwrap();
            format!("{name} {}", print::moment(at.as_microsecond()))
        };
        assert_eq!(
            shown(&Schedules::new()),
            [
                at("b", "2026-01-01T02:00:00Z"),
                at("a", "2026-01-01T03:00:00Z"),
                at("b", "2026-01-01T04:00:00Z"),
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
                at("b", "2026-01-01T00:30:00Z"),
                at("b", "2026-01-01T02:30:00Z"),
                at("a", "2026-01-01T03:00:00Z"),
            ]
        );
    }
}
