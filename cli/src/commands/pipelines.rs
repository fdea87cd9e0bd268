//! `dkc pipelines`: what is collected, when it is due next, and when it last went well.

use super::alerts;
use crate::config::Pipeline;
use crate::context::Context;
use crate::print::{self, Columns, LeftOut, Moment};
use clap::Args;
use jiff::Timestamp;
use miette::{IntoDiagnostic, Result};
use pipelines::schedule::{When, upcoming, upcoming_since};
use schemas::datasets::runs::Run;
use schemas::{Instant, SourceName};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::slice;
use store::Store;
use store::alerts::{AlertLog, Unattended};
use store::queue::{Decided, Queue};

/// What the service has decided, by pipeline and schedule.
type Schedules = HashMap<(SourceName, String), Decided>;

/// The columns of the list. `--json` has all.
const COLUMNS: Columns<7> = Columns {
    header: [
        "name",
        "kind",
        "schedule",
        "next due",
        "last good",
        "last run",
        "wrong",
    ],
    goes_on: "schedule",
    left_out: &[
        LeftOut::Empty("wrong"),
        LeftOut::Alike("kind"),
        LeftOut::Empty("last run"),
        LeftOut::Anyway("kind"),
        LeftOut::Anyway("last run"),
        LeftOut::Anyway("last good"),
    ],
};

/// The columns of the times to come.
const TIMES: Columns<3> = Columns {
    header: ["at", "pipeline", "schedule"],
    goes_on: "schedule",
    left_out: &[],
};

/// Lists the pipelines of the configuration: their sources, when they are due next, when they last collected well. A time
/// that came and that no service has seen stays what is due next. A narrow terminal gets fewer columns, `--json` has all.
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
        return list_times(&times, unattended, context);
    }
    let mut listed = Vec::new();
    for (pipeline, expected) in config.pipelines.iter().zip(&expected) {
        let name = &pipeline.name;
        let newest = store.runs().newest(Some(name), None, 1).await;
        let own = fares.unattended(slice::from_ref(expected), moment);
        listed.push(Listed {
            pipeline,
            next: expected.next_due(&fares.schedules),
            good: fares.collected.get(name.as_str()).copied(),
            last: newest.into_diagnostic()?.into_iter().next(),
            is_failing: fares.failing.contains_key(name.as_str()),
            is_late: fares.late_since(expected, moment).is_some(),
            is_overdue: own.is_some_and(|own| own.since.is_some()),
        });
    }
    store.close().await;
    if context.json {
        let listed: Vec<_> = listed.iter().map(Listed::as_json).collect();
        return print::json(&json!({ "pipelines": listed, "unattended": unattended }));
    }
    let rows = |moment: Moment| -> Vec<_> { listed.iter().map(|one| one.row(moment)).collect() };
    print::table_fitted(&COLUMNS, rows)?;
    warn(unattended, context);
    Ok(())
}

/// A pipeline, and how it fares.
struct Listed<'a> {
    pipeline: &'a Pipeline,
    /// When it is due next, or has been since.
    next: Option<Instant>,
    /// When it last collected well.
    good: Option<Instant>,
    last: Option<Run>,
    is_failing: bool,
    is_late: bool,
    /// Whether that time came, and no service has seen it.
    is_overdue: bool,
}

impl Listed<'_> {
    fn as_json(&self) -> Value {
        let plan = &self.pipeline.plan;
        json!({
            "name": self.pipeline.name,
            "kind": self.pipeline.descriptor.kind,
            "schedule": plan.when.iter().map(When::text).collect::<Vec<_>>(),
            "time_zone": plan.zone.iana_name(),
            "next_due": self.next,
            "last_good": self.good,
            "state": self.last.as_ref().map(|run| run.state),
            "is_failing": self.is_failing,
            "is_late": self.is_late,
        })
    }

    fn row(&self, moment: Moment) -> [String; 7] {
        let wrong = [
            (self.is_failing, "failing"),
            (self.is_late, "late"),
            (self.is_overdue, "overdue"),
        ];
        let wrong: Vec<&str> = wrong
            .into_iter()
            .filter_map(|(is_so, word)| is_so.then_some(word))
            .collect();
        let last = self.last.as_ref().map(|run| run.state.as_str().to_owned());
        let schedule = self.pipeline.schedule();
        [
            self.pipeline.name.to_string(),
            self.pipeline.descriptor.kind.to_owned(),
            schedule.unwrap_or_else(|| "when asked".to_owned()),
            self.next.map(moment).unwrap_or_default(),
            self.good.map(moment).unwrap_or_default(),
            last.unwrap_or_default(),
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

fn list_times(times: &[Time<'_>], unattended: Option<Unattended>, context: &Context) -> Result<()> {
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
    let row = |time: &Time<'_>, moment: Moment| {
        [
            moment(time.at.as_microsecond()),
            time.pipeline.name.to_string(),
            time.when.text(),
        ]
    };
    let rows = |moment: Moment| -> Vec<_> { times.iter().map(|time| row(time, moment)).collect() };
    print::table_fitted(&TIMES, rows)?;
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
                .and_then(|decided| Timestamp::from_microsecond(decided.next_due?).ok());
            let all = match decided {
                Some(next) if next > now => {
                    let mut all = vec![next];
                    all.extend(upcoming(when, zone, next, n.saturating_sub(1)));
                    all
                }
                // It is being made up for, or nobody sees it; the others stay what they are.
                Some(missed) => upcoming_since(when, zone, missed, now, n),
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
    use schemas::datasets::runs::Trigger;
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

    const CONFIG: &str = "[[pipeline]]\nname = \"mail\"\nschedule = [\"every 2h\", \"@daily\"]\n\
                          source = { kind = \"maildir\", path = \"a\" }\n\
                          [[pipeline]]\nname = \"photos\"\nschedule = \"*/15 8-18 * * 1-5\"\n\
                          source = { kind = \"photos\", roots = [\"b\"] }\n";

    #[test]
    fn a_time_that_nobody_saw_stays_what_is_due_next_and_the_others_do_not_move_with_the_clock() {
        let config = Config::parse(CONFIG, Path::new("/dkc.toml"), "dkc.toml").unwrap();
        let mail = &config.pipelines[0];
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let missed = at("2026-01-01T00:30:00Z");
        let schedules: Schedules = [
            ("every 2h", Some(missed.as_microsecond())),
            ("@daily", Some(at("2026-01-02T00:00:00Z").as_microsecond())),
            // Was configured once.
            ("every 1h", Some(0)),
        ]
        .map(|(when, next_due)| {
            (
                (mail.name.clone(), when.to_owned()),
                Decided { until: 0, next_due },
            )
        })
        .into();
        let expected = &alerts::expected(&config);
        assert_eq!(
            expected[0].next_due(&schedules),
            Some(missed.as_microsecond()),
            "though it is later by now"
        );
        assert_eq!(expected[1].next_due(&schedules), None);
        for now in ["2026-01-01T09:00:00Z", "2026-01-01T10:29:59Z"] {
            let times = times(slice::from_ref(mail), &schedules, at(now), 2);
            let times: Vec<Timestamp> = times.iter().map(|time| time.at).collect();
            assert_eq!(
                times,
                [at("2026-01-01T10:30:00Z"), at("2026-01-01T12:30:00Z")],
                "{now}"
            );
        }
    }

    #[test]
    fn eighty_columns_have_room_for_what_is_due_and_what_is_wrong() {
        let config = Config::parse(CONFIG, Path::new("/dkc.toml"), "dkc.toml").unwrap();
        let listed: Vec<Listed<'_>> = config
            .pipelines
            .iter()
            .map(|pipeline| Listed {
                pipeline,
                next: Some(1_774_746_000_000_000),
                good: Some(1_774_742_400_000_000),
                last: Some(Run::new(pipeline.name.clone(), Trigger::Schedule, 0)),
                is_failing: true,
                is_late: false,
                is_overdue: true,
            })
            .collect();
        let rows = |moment: Moment| -> Vec<_> { listed.iter().map(|one| one.row(moment)).collect() };
        let (header, rows) = COLUMNS.shown(rows, 80);
        assert!(COLUMNS.width(&header, &rows) <= 80, "{header:?}");
        assert_eq!(header, ["name", "schedule", "next due", "last good", "wrong"]);
        let next = print::minute(1_774_746_000_000_000);
        assert_eq!(rows[1][2], next);
        assert_eq!(rows[1][4], "failing, overdue");
    }
}
