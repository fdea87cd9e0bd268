//! Times where clocks are put forward and back (proof T18), texts, decisions one by one, and a simulated year of them.

mod decisions;
mod texts;
mod times;
mod wall;
mod year;

use super::*;
use schemas::datasets::runs::{Run, RunState};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn when(text: &str) -> When {
    text.parse().unwrap()
}

fn plan(text: &str, zone_name: &str) -> Plan {
    Plan {
        pipeline: SourceName::new("mail").unwrap(),
        when: vec![when(text)],
        zone: zone(zone_name),
        jitter: Duration::ZERO,
        catch_up: CatchUp::One,
        window: SignedDuration::from_hours(7 * 24),
        overlap: Overlap::Skip,
        timeout: None,
        retries: 4,
        priority: 0,
        fresh_within: None,
    }
}

/// A run of that time.
fn run_of(due: Timestamp, state: RunState) -> Run {
    let pipeline = SourceName::new("mail").unwrap();
    let mut run = Run::new(pipeline, Trigger::Schedule, due.as_microsecond());
    run.state = state;
    run.due_at = Some(due.as_microsecond());
    run
}
