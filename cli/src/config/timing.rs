//! The keys of a `[[pipeline]]` that say when it runs, and how much a run may take.
//!
//! - In: the keys as they were read. Out: a [`Plan`], or what is wrong with them.
//! - Not here: what a schedule means (`pipelines::schedule`), and other pipelines (`read`).

use super::length::Length;
use super::mistake::closest;
use jiff::tz::{self, TimeZone};
use pipelines::schedule::{BadSchedule, CatchUp, Overlap, Plan, When};
use schemars::JsonSchema;
use schemas::SourceName;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::num::NonZeroU64;

/// How far back what was missed is caught up with, unless the configuration says otherwise.
const WINDOW: Length = Length::of_secs(7 * 24 * 3_600);

/// The keys. Their documentation is that of the JSON Schema.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Timing {
    /// When it is due, a text or a list of texts: cron with five, six or seven fields, `@daily` and the like, `every 10m`,
    /// `after NAME` (when that pipeline has run well), `on change` (of its files).
    pub schedule: Schedule,
    /// The time zone of its schedule, such as Europe/Madrid; the system's without it.
    pub time_zone: Option<String>,
    /// How much later than its schedule says it may begin, at random, so that not everything begins at once.
    pub jitter: Length,
    /// What becomes of the times that were missed while nothing ran: one run for all of them, none, or each.
    pub catch_up: CatchUp,
    /// How far back missed times count.
    pub catch_up_window: Length,
    /// What becomes of a time that comes while an earlier run is still at work: none, a run after it, or a run instead.
    pub overlap: Overlap,
    /// How long a run may take before it is stopped and tried again; without end if absent.
    pub timeout: Option<Length>,
    /// How often a run that failed is tried again, later each time, where another try can help.
    pub retries: u32,
    /// Which run begins first when many wait: the one with more.
    pub priority: i64,
    /// How old its last good run may be before you are told; twice the time between two of its times if absent.
    pub fresh_within: Option<Length>,
    /// Minutes of a run beyond which you are told.
    pub most_minutes_per_run: Option<NonZeroU64>,
    /// MiB that it stores in a day beyond which you are told.
    pub most_mb_per_day: Option<NonZeroU64>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            time_zone: None,
            jitter: Length::of_secs(0),
            catch_up: CatchUp::default(),
            catch_up_window: WINDOW,
            overlap: Overlap::default(),
            timeout: None,
            retries: 4,
            priority: 0,
            fresh_within: None,
            most_minutes_per_run: None,
            most_mb_per_day: None,
        }
    }
}

/// What a pipeline may take before its owner is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Minutes of a run.
    pub minutes_per_run: Option<NonZeroU64>,
    /// MiB stored in a day.
    pub mb_per_day: Option<NonZeroU64>,
}

/// The texts of a schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum Schedule {
    /// Only when somebody asks for it.
    #[default]
    #[schemars(skip)]
    Never,
    /// One.
    One(String),
    /// Any of several.
    Any(Vec<String>),
}

impl Schedule {
    /// Its texts, in their order.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Never => &[],
            Self::One(text) => std::slice::from_ref(text),
            Self::Any(texts) => texts,
        }
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Texts)
    }
}

/// Reads a text or a list of texts. An enum without tags would only say that nothing matched.
struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = Schedule;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Schedule, E> {
        Ok(Schedule::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Schedule, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = seq.next_element()? {
            texts.push(text);
        }
        Ok(Schedule::Any(texts))
    }
}

/// What is wrong with one of the keys.
pub(super) struct Fault {
    /// The key.
    pub key: &'static str,
    /// Which text of its list, where it has several.
    pub nth: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right; empty where the message says so.
    pub help: String,
}

impl Fault {
    fn new(key: &'static str, nth: usize, message: String, help: String) -> Self {
        Self {
            key,
            nth,
            message,
            help,
        }
    }
}

/// The plan that the keys make of a pipeline, and what is wrong with them. `has_paths` is whether its source lies in files.
pub(super) fn settle(timing: &Timing, pipeline: &SourceName, has_paths: bool) -> (Plan, Budget, Vec<Fault>) {
    let mut faults = Vec::new();
    let zone = zone(timing.time_zone.as_deref(), &mut faults);
    let mut when: Vec<When> = Vec::new();
    for (nth, text) in timing.schedule.texts().iter().enumerate() {
        let mut wrong = |message: String, help: &str| {
            faults.push(Fault::new("schedule", nth, message, help.to_owned()));
        };
        match text.parse::<When>() {
            Err(error) => {
                let (message, help) = in_our_words(&error);
                wrong(format!("`schedule`: {message}"), help);
            }
            Ok(When::OnChange) if !has_paths => wrong(
                "`schedule`: its source is not in files of this machine, so no change is seen".to_owned(),
                "ask now and then instead: \"every 10m\"",
            ),
            Ok(new) if when.iter().any(|old| old.text() == new.text()) => {
                wrong(
                    format!("`schedule`: `{text}` is there twice"),
                    "leave one of them out",
                );
            }
            Ok(new) => when.push(new),
        }
    }
    for (key, length) in [("timeout", timing.timeout), ("fresh_within", timing.fresh_within)] {
        if length.is_some_and(Length::is_zero) {
            let message = format!("`{key}`: it is no time at all");
            faults.push(Fault::new(
                key,
                0,
                message,
                "leave it out for no such bound".to_owned(),
            ));
        }
    }
    let plan = Plan {
        pipeline: pipeline.clone(),
        when,
        zone,
        jitter: timing.jitter.whole(),
        catch_up: timing.catch_up,
        window: timing.catch_up_window.signed(),
        overlap: timing.overlap,
        timeout: timing.timeout.map(Length::whole),
        retries: timing.retries,
        priority: timing.priority,
        fresh_within: timing.fresh_within.map(Length::signed),
    };
    let budget = Budget {
        minutes_per_run: timing.most_minutes_per_run,
        mb_per_day: timing.most_mb_per_day,
    };
    (plan, budget, faults)
}

/// What is wrong with the text of a schedule, and what would be right: libraries have words of their own for it.
fn in_our_words(error: &BadSchedule) -> (String, &'static str) {
    match error {
        BadSchedule::Pattern { text, .. } => (
            format!("`{text}` is no schedule"),
            "write minute (0-59), hour (0-23), day (1-31), month (1-12) and weekday (0-6), perhaps with seconds before them or \
             years behind them, such as `*/15 * * * *`; or `@daily`, `every 10m`, `after NAME`, `on change`",
        ),
        BadSchedule::Length { text, .. } => {
            let why = text.parse::<Length>().err().unwrap_or_default();
            (
                format!("`every {text}`: {why}"),
                "such as \"every 10m\", \"every 1h 30m\" or \"every 2 days\"",
            )
        }
        error => (error.to_string(), ""),
    }
}

fn zone(name: Option<&str>, faults: &mut Vec<Fault>) -> TimeZone {
    let Some(name) = name else {
        return TimeZone::system();
    };
    TimeZone::get(name).unwrap_or_else(|_| {
        let names: Vec<String> = tz::db().available().map(|name| name.to_string()).collect();
        let help = match closest(name, names.iter().map(String::as_str)) {
            Some(close) => format!("did you mean `{close}`?"),
            None if names.is_empty() => "this machine knows none; install tzdata".to_owned(),
            None => "write a name of the IANA database, such as Europe/Madrid, or UTC".to_owned(),
        };
        let message = format!("`time_zone`: there is no time zone `{name}`");
        faults.push(Fault::new("time_zone", 0, message, help));
        TimeZone::UTC
    })
}
