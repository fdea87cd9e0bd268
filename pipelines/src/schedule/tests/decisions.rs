//! Decisions one by one. All in UTC, all of the pattern `0 * * * *` unless a test says otherwise.

use super::*;

const HOURLY: &str = "0 * * * *";

fn hourly() -> Plan {
    plan(HOURLY, "UTC")
}

/// What `plan` does with its first schedule.
fn decide_at(plan: &Plan, until: &str, now: &str, active: &[Run]) -> Decision {
    let decided = Decided {
        until: at(until).as_microsecond(),
        next_due: None,
    };
    decide(plan, &plan.when[0], Some(decided), active, true, at(now))
}

/// The time, whether it is late, and why, of each.
fn lines(dues: &[Due]) -> Vec<(String, bool, &str)> {
    dues.iter()
        .map(|due| {
            let reason = due.reason.as_deref().unwrap_or_default();
            (due.at.to_string(), due.trigger == Trigger::CatchUp, reason)
        })
        .collect()
}

fn line(at: &str, is_late: bool, reason: &'static str) -> (String, bool, &'static str) {
    (at.to_owned(), is_late, reason)
}

fn is_nothing(decision: &Decision) -> bool {
    decision.requests.is_empty() && decision.skipped.is_empty() && decision.cancel.is_empty()
}

fn until(decision: &Decision) -> Timestamp {
    Timestamp::from_microsecond(decision.decided.until).unwrap()
}

fn next(decision: &Decision) -> Option<Timestamp> {
    decision
        .decided
        .next_due
        .map(|at| Timestamp::from_microsecond(at).unwrap())
}

#[test]
fn what_is_seen_first_has_no_past_but_is_begun_if_it_never_ran() {
    let mut plan = hourly();
    plan.when.push(when("every 1h"));
    plan.when.insert(0, when("after photos"));
    let now = at("2026-01-01T10:30:00Z");
    let first = |plan: &Plan, nth: usize, active: &[Run], ever_ran| {
        decide(plan, &plan.when[nth], None, active, ever_ran, now)
    };
    let begun = first(&plan, 1, &[], false);
    assert_eq!(
        lines(&begun.requests),
        [line("2026-01-01T10:30:00Z", false, "it has never collected")]
    );
    assert_eq!(until(&begun), now);
    assert_eq!(next(&begun), Some(at("2026-01-01T11:00:00Z")));
    // The others leave it to the first that does not wait for another pipeline.
    assert!(is_nothing(&first(&plan, 0, &[], false)));
    let interval = first(&plan, 2, &[], false);
    assert!(is_nothing(&interval));
    assert_eq!(next(&interval), Some(at("2026-01-01T11:30:00Z")));
    // It ran before; it is at work; its past does not matter to it.
    assert!(is_nothing(&first(&plan, 1, &[], true)));
    assert!(is_nothing(&first(
        &plan,
        1,
        &[run_of(now, RunState::Running)],
        false
    )));
    plan.catch_up = CatchUp::Skip;
    assert!(is_nothing(&first(&plan, 1, &[], false)));
}

#[test]
fn a_time_that_has_come_gets_its_run_and_no_other_does() {
    let plan = hourly();
    let early = decide_at(&plan, "2026-01-01T10:30:00Z", "2026-01-01T10:59:59.999999Z", &[]);
    assert!(is_nothing(&early));
    assert_eq!(until(&early), at("2026-01-01T10:59:59.999999Z"));
    assert_eq!(next(&early), Some(at("2026-01-01T11:00:00Z")));
    for now in [
        "2026-01-01T11:00:00Z",
        "2026-01-01T11:00:00.2Z",
        "2026-01-01T11:00:59.9Z",
    ] {
        let decision = decide_at(&plan, "2026-01-01T10:30:00Z", now, &[]);
        assert_eq!(
            lines(&decision.requests),
            [line("2026-01-01T11:00:00Z", false, "")]
        );
        assert_eq!(decision.requests[0].begin, at("2026-01-01T11:00:00Z"));
        assert!(decision.skipped.is_empty());
        assert_eq!(until(&decision), at(now));
        assert_eq!(next(&decision), Some(at("2026-01-01T12:00:00Z")));
    }
    // Once it is decided, it is not due again.
    assert!(is_nothing(&decide_at(
        &plan,
        "2026-01-01T11:00:00Z",
        "2026-01-01T11:00:00.2Z",
        &[]
    )));
}

#[test]
fn three_hours_down_are_made_up_for_once() {
    let plan = hourly();
    let decision = decide_at(&plan, "2026-01-01T10:00:00Z", "2026-01-01T13:05:00Z", &[]);
    let why = "3 times were missed since 2026-01-01T11:00:00+00:00; this makes up for it";
    assert_eq!(
        lines(&decision.requests),
        [line("2026-01-01T13:00:00Z", true, why)]
    );
    assert_eq!(decision.requests[0].begin, at("2026-01-01T13:05:00Z"));
    assert!(decision.skipped.is_empty());
    assert!(is_nothing(&decide_at(
        &plan,
        "2026-01-01T13:05:00Z",
        "2026-01-01T13:05:01Z",
        &[]
    )));
    // A run that is on time makes up for what was missed.
    let decision = decide_at(&plan, "2026-01-01T10:00:00Z", "2026-01-01T13:00:30Z", &[]);
    let why = "2 times were missed since 2026-01-01T11:00:00+00:00; this makes up for it";
    assert_eq!(
        lines(&decision.requests),
        [line("2026-01-01T13:00:00Z", false, why)]
    );
    assert!(decision.skipped.is_empty());
    let decision = decide_at(&plan, "2026-01-01T10:30:00Z", "2026-01-01T11:05:00Z", &[]);
    let why = "the time of 2026-01-01T11:00:00+00:00 was missed; this makes up for it";
    assert_eq!(
        lines(&decision.requests),
        [line("2026-01-01T11:00:00Z", true, why)]
    );
}

#[test]
fn a_clock_set_back_two_hours_repeats_no_time() {
    let plan = hourly();
    let back = decide_at(&plan, "2026-01-01T12:00:10Z", "2026-01-01T10:00:10Z", &[]);
    assert!(is_nothing(&back));
    assert_eq!(until(&back), at("2026-01-01T12:00:10Z"));
    assert_eq!(next(&back), Some(at("2026-01-01T13:00:00Z")));
    for now in [
        "2026-01-01T11:00:00Z",
        "2026-01-01T12:00:00Z",
        "2026-01-01T12:59:59Z",
    ] {
        assert!(is_nothing(&decide_at(&plan, "2026-01-01T12:00:10Z", now, &[])));
    }
    let decision = decide_at(&plan, "2026-01-01T12:00:10Z", "2026-01-01T13:00:00Z", &[]);
    assert_eq!(
        lines(&decision.requests),
        [line("2026-01-01T13:00:00Z", false, "")]
    );
}

#[test]
fn an_interval_is_counted_anew_when_the_clock_goes_back_further_than_it_is_long() {
    let plan_of = |text| plan(text, "UTC");
    let long = decide_at(
        &plan_of("every 3h"),
        "2026-01-01T12:00:00Z",
        "2026-01-01T10:00:00Z",
        &[],
    );
    assert!(is_nothing(&long));
    assert_eq!(next(&long), Some(at("2026-01-01T15:00:00Z")));
    let short = decide_at(
        &plan_of("every 30m"),
        "2026-01-01T12:00:00Z",
        "2026-01-01T10:00:00Z",
        &[],
    );
    assert!(short.requests.is_empty());
    assert_eq!(short.skipped.len(), 1);
    let reason = short.skipped[0].reason.as_deref().unwrap();
    assert!(reason.starts_with("the clock was set back: "), "{reason}");
    assert_eq!(until(&short), at("2026-01-01T10:00:00Z"));
    assert_eq!(next(&short), Some(at("2026-01-01T10:30:00Z")));
}

#[test]
fn a_clock_that_was_years_ahead_does_not_stop_a_pattern_for_years() {
    let decision = decide_at(&hourly(), "2099-01-01T00:00:00Z", "2026-01-01T10:30:00Z", &[]);
    assert!(decision.requests.is_empty());
    assert_eq!(decision.skipped.len(), 1);
    assert_eq!(until(&decision), at("2026-01-01T10:30:00Z"));
    assert_eq!(next(&decision), Some(at("2026-01-01T11:00:00Z")));
}

#[test]
fn an_interval_keeps_its_step_however_often_one_asks() {
    let plan = plan("every 10m", "UTC");
    let decision = decide_at(&plan, "2026-01-01T12:00:00Z", "2026-01-01T12:09:59Z", &[]);
    assert!(is_nothing(&decision));
    assert_eq!(until(&decision), at("2026-01-01T12:00:00Z"));
    let decision = decide_at(&plan, "2026-01-01T12:00:00Z", "2026-01-01T12:10:03Z", &[]);
    assert_eq!(
        lines(&decision.requests),
        [line("2026-01-01T12:10:00Z", false, "")]
    );
    assert_eq!(until(&decision), at("2026-01-01T12:10:00Z"));
    let decision = decide_at(&plan, "2026-01-01T12:00:00Z", "2026-01-01T13:35:00Z", &[]);
    let why = "9 times were missed since 2026-01-01T12:10:00+00:00; this makes up for it";
    assert_eq!(
        lines(&decision.requests),
        [line("2026-01-01T13:30:00Z", true, why)]
    );
    assert_eq!(until(&decision), at("2026-01-01T13:30:00Z"));
    assert_eq!(next(&decision), Some(at("2026-01-01T13:40:00Z")));
}

#[test]
fn missed_times_that_are_not_made_up_for_are_told_and_many_as_one() {
    let mut plan = hourly();
    plan.catch_up = CatchUp::Skip;
    let decision = decide_at(&plan, "2026-01-01T10:00:00Z", "2026-01-01T12:30:00Z", &[]);
    assert!(decision.requests.is_empty());
    let why = "missed, and `catch_up` is `skip`";
    assert_eq!(
        lines(&decision.skipped),
        [
            line("2026-01-01T11:00:00Z", true, why),
            line("2026-01-01T12:00:00Z", true, why)
        ]
    );
    let decision = decide_at(&plan, "2026-01-01T10:00:00Z", "2026-01-02T10:00:00Z", &[]);
    let why = "23 times since 2026-01-01T11:00:00+00:00: missed, and `catch_up` is `skip`";
    assert_eq!(
        lines(&decision.skipped),
        [line("2026-01-02T09:00:00Z", true, why)]
    );
    assert_eq!(
        lines(&decision.requests),
        [line("2026-01-02T10:00:00Z", false, "")]
    );
}

#[test]
fn each_missed_time_within_the_window_is_made_up_for() {
    let mut plan = hourly();
    plan.catch_up = CatchUp::All;
    plan.window = SignedDuration::from_hours(24);
    let decision = decide_at(&plan, "2026-01-01T00:00:00Z", "2026-01-11T00:30:00Z", &[]);
    let why = "216 times since 2026-01-01T01:00:00+00:00: missed longer than 24h ago";
    assert_eq!(
        lines(&decision.skipped),
        [line("2026-01-10T00:00:00Z", true, why)]
    );
    let requests = lines(&decision.requests);
    assert_eq!(requests.len(), 24);
    let why = "its time was missed; this makes up for it";
    assert_eq!(requests[0], line("2026-01-10T01:00:00Z", true, why));
    assert_eq!(requests[23], line("2026-01-11T00:00:00Z", true, why));
    assert!(
        decision
            .requests
            .iter()
            .all(|due| due.begin == at("2026-01-11T00:30:00Z"))
    );
}

#[test]
fn runs_that_are_made_up_for_are_a_row_and_the_next_time_comes_too_early() {
    let mut plan = hourly();
    plan.catch_up = CatchUp::All;
    let decision = decide_at(&plan, "2026-01-01T10:00:00Z", "2026-01-01T13:00:20Z", &[]);
    let why = "its time was missed; this makes up for it";
    assert_eq!(
        lines(&decision.requests),
        [
            line("2026-01-01T11:00:00Z", true, why),
            line("2026-01-01T12:00:00Z", true, why)
        ]
    );
    let why = "the run of 2026-01-01T11:00:00+00:00 is still queued";
    assert_eq!(
        lines(&decision.skipped),
        [line("2026-01-01T13:00:00Z", false, why)]
    );
}

#[test]
fn a_time_that_comes_too_early_is_skipped_with_what_is_in_its_way() {
    let plan = hourly();
    let ten = at("2026-01-01T10:00:00Z");
    let queued = run_of(ten, RunState::Queued);
    let running = run_of(ten, RunState::Running);
    let ask = |now, active: &[Run]| decide_at(&plan, "2026-01-01T10:30:00Z", now, active);
    let decision = ask("2026-01-01T11:00:00Z", &[queued]);
    let why = "the run of 2026-01-01T10:00:00+00:00 is still queued";
    assert_eq!(
        lines(&decision.skipped),
        [line("2026-01-01T11:00:00Z", false, why)]
    );
    let decision = ask("2026-01-01T13:30:00Z", &[running]);
    assert!(decision.requests.is_empty());
    let why = "3 times were missed since 2026-01-01T11:00:00+00:00; the run of 2026-01-01T10:00:00+00:00 is still at work";
    assert_eq!(
        lines(&decision.skipped),
        [line("2026-01-01T13:00:00Z", true, why)]
    );
    // A person's run has no time: it is known by when it began.
    let mut begun = Run::new(plan.pipeline.clone(), Trigger::Person, ten.as_microsecond());
    begun.state = RunState::Running;
    let decision = ask("2026-01-01T11:00:00Z", &[begun]);
    let why = "the run of 2026-01-01T10:00:00+00:00 is still at work";
    assert_eq!(
        lines(&decision.skipped),
        [line("2026-01-01T11:00:00Z", false, why)]
    );
}

#[test]
fn a_run_waits_for_the_earlier_one_but_never_more_than_a_hundred() {
    let mut plan = hourly();
    plan.overlap = Overlap::Queue;
    let running = run_of(at("2026-01-01T10:00:00Z"), RunState::Running);
    let decision = decide_at(
        &plan,
        "2026-01-01T10:30:00Z",
        "2026-01-01T11:00:00Z",
        std::slice::from_ref(&running),
    );
    assert_eq!(
        lines(&decision.requests),
        [line("2026-01-01T11:00:00Z", false, "")]
    );
    assert!(decision.cancel.is_empty());
    plan.catch_up = CatchUp::All;
    plan.window = SignedDuration::from_hours(24 * 30);
    let mut active = vec![running];
    active.extend((0..30).map(|_| run_of(at("2026-01-01T10:00:00Z"), RunState::Queued)));
    let decision = decide_at(&plan, "2026-01-01T10:00:00Z", "2026-01-09T18:00:30Z", &active);
    // 199 were missed and one is on time.
    assert_eq!(decision.requests.len(), 70);
    let why = "129 times since 2026-01-04T09:00:00+00:00: 100 runs of it are queued already";
    assert_eq!(
        lines(&decision.skipped),
        [
            line("2026-01-09T17:00:00Z", true, why),
            line("2026-01-09T18:00:00Z", false, "100 runs of it are queued already")
        ]
    );
}

#[test]
fn a_run_replaces_what_is_queued_and_at_work() {
    let mut plan = hourly();
    plan.overlap = Overlap::Replace;
    let active = [
        run_of(at("2026-01-01T09:00:00Z"), RunState::Running),
        run_of(at("2026-01-01T10:00:00Z"), RunState::Queued),
    ];
    let ids = [active[0].run.clone(), active[1].run.clone()];
    let decision = decide_at(&plan, "2026-01-01T10:30:00Z", "2026-01-01T11:00:00Z", &active);
    assert_eq!(decision.cancel, ids);
    assert_eq!(
        lines(&decision.requests),
        [line("2026-01-01T11:00:00Z", false, "")]
    );
    assert!(decision.skipped.is_empty());
    // Nothing is due: nothing is cancelled.
    assert!(is_nothing(&decide_at(
        &plan,
        "2026-01-01T11:00:00Z",
        "2026-01-01T11:10:00Z",
        &active
    )));
    plan.catch_up = CatchUp::All;
    let decision = decide_at(&plan, "2026-01-01T10:30:00Z", "2026-01-01T12:30:00Z", &active);
    let why = "its time was missed; this makes up for it";
    assert_eq!(
        lines(&decision.requests),
        [line("2026-01-01T12:00:00Z", true, why)]
    );
    let why = "replaced by the run of 2026-01-01T12:00:00+00:00";
    assert_eq!(
        lines(&decision.skipped),
        [line("2026-01-01T11:00:00Z", true, why)]
    );
}

#[test]
fn jitter_is_of_the_pipeline_and_the_time_and_never_more_than_it_may_be() {
    let mut plan = hourly();
    plan.jitter = Duration::from_secs(300);
    let delays = |plan: &Plan| -> Vec<SignedDuration> {
        let times = upcoming(&plan.when[0], &plan.zone, at("2026-01-01T00:00:00Z"), 200);
        let delay = |time: &Timestamp| {
            let before = time.as_microsecond() - 1;
            let decided = Decided {
                until: before,
                next_due: None,
            };
            let decision = decide(plan, &plan.when[0], Some(decided), &[], true, *time);
            decision.requests[0].begin.duration_since(*time)
        };
        times.iter().map(delay).collect()
    };
    let first = delays(&plan);
    assert_eq!(first, delays(&plan));
    assert!(
        first
            .iter()
            .all(|delay| !delay.is_negative() && delay.as_secs() < 300)
    );
    // They are spread: each fifth of the jitter has its share.
    for part in 0..5 {
        let share = first.iter().filter(|delay| delay.as_secs() / 60 == part).count();
        assert!((15..=70).contains(&share), "{part}: {share}");
    }
    plan.pipeline = SourceName::new("photos").unwrap();
    assert_ne!(first, delays(&plan));
}

#[test]
fn a_year_of_seconds_costs_no_year_of_work() {
    let begun = std::time::Instant::now();
    for text in ["* * * * * *", "every 1s", "*/5 * 3 * * *"] {
        let mut plan = plan(text, "Europe/Madrid");
        let decision = decide_at(&plan, "2025-01-01T00:00:00Z", "2026-01-01T02:30:00Z", &[]);
        let reason = decision.requests[0].reason.as_deref().unwrap();
        let expected = "more than 1,000 times were missed since 2025-01-01T";
        assert!(reason.starts_with(expected), "{text}: {reason}");
        assert_eq!(
            decision.requests.len(),
            1,
            "{text}: the others come while the first is queued"
        );
        // A pattern is decided up to now; the interval up to its last second, which is now.
        assert_eq!(until(&decision), at("2026-01-01T02:30:00Z"), "{text}");
        plan.catch_up = CatchUp::All;
        let decision = decide_at(&plan, "2025-01-01T00:00:00Z", "2026-01-01T02:30:00Z", &[]);
        assert_eq!(decision.requests.len(), 100, "{text}");
        assert!(decision.skipped.len() <= 4, "{text}: {:?}", decision.skipped);
        assert_eq!(until(&decision), at("2026-01-01T02:30:00Z"), "{text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn ten_thousand_schedules_cost_little_while_nothing_is_due() {
    let plan = plan("0 3 * * *", "Europe/Madrid");
    let begun = std::time::Instant::now();
    for _ in 0..10_000 {
        let decision = decide_at(&plan, "2026-01-01T10:00:00Z", "2026-01-01T10:00:01Z", &[]);
        assert!(is_nothing(&decision));
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
