//! Words for what is wrong: what, and what to do next.
//!
//! - Words stay the same as long as nothing new is known: what changes is written, and read by whoever watches.
//! - No path of this machine is told: messages leave it.

use super::text::{moment, quoted};
use super::{Budget, Watched};
use schemas::Instant;
use std::path::PathBuf;
use store::alerts::{Alert, AlertKind, ColumnsChanged, DISK, LAKE, QUEUE, Waiting};
use store::lake::lost::MOST_LOST;

/// What of the lake is lost, where files are.
const FILES: &str = "data files";

fn alert(kind: AlertKind, subject: &str, what: String, next_step: String) -> Alert {
    Alert {
        key: kind.key(subject),
        kind,
        subject: subject.to_owned(),
        what,
        next_step,
    }
}

/// A pipeline's last run failed.
pub(super) fn failing(pipeline: &str, run: &str, attempt: i64, error: Option<&str>) -> Alert {
    let tries = match attempt {
        ..=1 => String::new(),
        several => format!(" (try {several})"),
    };
    let why = error.map_or_else(
        || " without saying why".to_owned(),
        |error| format!("; its error, quoted: {}", quoted(error)),
    );
    alert(
        AlertKind::Failing,
        pipeline,
        format!("its run {run} failed{tries}{why}"),
        format!("look at `dkc runs show {run}`, mend what it says, then `dkc runs retry {run}`"),
    )
}

/// A pipeline has not collected well for too long.
pub(super) fn late(
    watched: &Watched,
    within: &str,
    good_at: Option<Instant>,
    tried_at: Option<Instant>,
) -> Alert {
    let good = good_at.map_or_else(
        || "it has never collected well".to_owned(),
        |at| format!("it last collected well at {}", moment(at)),
    );
    let tried = match tried_at {
        Some(at) if good_at.is_none_or(|good| at > good) => "runs have begun since, and none ended well",
        _ => "no run has begun since",
    };
    let old = match watched.datasets {
        [] => String::new(),
        datasets => format!("; so old is what it fills: {}", datasets.join(", ")),
    };
    let name = watched.pipeline.as_str();
    let next_step = match watched.has_schedule {
        true => format!(
            "see in `dkc runs` whether anything is at work, and in `dkc doctor` why not; then `dkc run {name}`"
        ),
        false => format!("it has no schedule; run `dkc run {name}`"),
    };
    alert(
        AlertKind::Late,
        name,
        format!("{good}, though it should every {within}; {tried}{old}"),
        next_step,
    )
}

/// A dataset has other columns than before.
pub(super) fn schema_changed(changed: &ColumnsChanged) -> Alert {
    let part = |words: &str, names: &[String]| match names {
        [] => None,
        names => Some(format!("{words}: {}", names.join(", "))),
    };
    let parts = [
        part("columns that came", &changed.added),
        part("columns that went", &changed.removed),
    ];
    let what: Vec<String> = parts.into_iter().flatten().collect();
    alert(
        AlertKind::SchemaChanged,
        &changed.dataset,
        what.join("; "),
        "see whether queries and exports of yours name these columns".to_owned(),
    )
}

/// A pipeline has stored more than was agreed.
pub(super) fn too_much(budget: &Budget, most: u64) -> Alert {
    let name = budget.pipeline.as_str();
    Alert {
        key: AlertKind::Budget.key(&format!("{name}:bytes")),
        ..alert(
            AlertKind::Budget,
            name,
            format!(
                "it stored more within 24 hours than the {} MiB of its budget",
                most >> 20
            ),
            format!(
                "see in `dkc runs` what came, then narrow its source or raise `most_mb_per_day` of `{name}`"
            ),
        )
    }
}

/// A run takes, or took, longer than was agreed.
pub(super) fn too_long(budget: &Budget, run: &str, most: u64) -> Alert {
    let name = budget.pipeline.as_str();
    Alert {
        key: AlertKind::Budget.key(&format!("{name}:minutes")),
        ..alert(
            AlertKind::Budget,
            name,
            format!("its run {run} takes longer than the {most} min of its budget"),
            format!(
                "look at `dkc runs show {run}`, which says where the time goes, or raise `most_minutes_per_run` of `{name}`"
            ),
        )
    }
}

/// The disk is nearly full.
pub(super) fn disk_full(least_free: u64) -> Alert {
    alert(
        AlertKind::DiskFull,
        DISK,
        format!("less than {least_free} % of the disk of the data directory is free"),
        "make room on it, or run `dkc compact`, which removes old snapshots".to_owned(),
    )
}

/// The lake cannot be read.
pub(super) fn lake_unreadable() -> Alert {
    alert(
        AlertKind::Unreadable,
        LAKE,
        "its catalog cannot be read, so that nothing is collected and answers are old".to_owned(),
        "run `dkc doctor`, then `dkc verify`; the log of the service says why".to_owned(),
    )
}

/// Files of the lake are gone, if there are any; the first is told by its path below the data directory.
pub(super) fn files_lost(lost: &[PathBuf]) -> Option<Alert> {
    let first = quoted(&lost.first()?.display().to_string());
    let what = match lost.len() {
        1 => format!("the data file {first} is gone or cut short, so that what is in it cannot be read"),
        MOST_LOST.. => format!(
            "{MOST_LOST} data files or more are gone or cut short, so that what is in them cannot be read; the first is {first}"
        ),
        several => format!(
            "{several} data files are gone or cut short, so that what is in them cannot be read; the first is {first}"
        ),
    };
    Some(alert(
        AlertKind::Unreadable,
        FILES,
        what,
        "see whether the disk is whole and who deletes there; restore from a backup what `dkc verify` names"
            .to_owned(),
    ))
}

/// The key of that.
pub(super) fn files_lost_key() -> String {
    AlertKind::Unreadable.key(FILES)
}

/// The data directory is gone.
pub(super) fn data_gone() -> Alert {
    alert(
        AlertKind::Unreadable,
        "data directory",
        "the system cannot find it, or may not enter it".to_owned(),
        "see whether its disk is there, then run `dkc doctor`".to_owned(),
    )
}

/// The state database cannot be read, and so neither can the history of runs.
pub(super) fn blind() -> Alert {
    alert(
        AlertKind::Unreadable,
        "state database",
        "the history of runs and the queue cannot be read, so that nothing is begun and nothing else is noticed"
            .to_owned(),
        "run `dkc doctor`; where it is PostgreSQL, see whether that is at work; the log of the service says why"
            .to_owned(),
    )
}

/// Runs wait, and nobody takes them.
pub(super) fn stalled(waiting: &Waiting) -> Alert {
    let Waiting { pipeline, run, since } = waiting;
    alert(
        AlertKind::Stalled,
        QUEUE,
        format!(
            "no worker takes what waits: the run {run} of `{pipeline}` could begin since {}",
            moment(*since)
        ),
        "see whether `dkc serve` or `dkc daemon` is at work and what its log says; start it again".to_owned(),
    )
}
