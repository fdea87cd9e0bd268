//! A simulated year for each of six schedules under each policy: the machine sleeps, its clock jumps, the process is
//! killed before it can write down what it decided, runs take their time. Each decision is held against what the
//! simplest reading of the policy makes of the times that the wall clock shows.

use super::wall::WALLS;
use super::*;
use proptest::prelude::*;
use std::sync::OnceLock;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// 2017-07-01T00:00Z: within a year from then, all three zones change their clocks twice.
const START: i64 = 1_498_867_200 * SECOND;

/// The intervals among the six schedules; the others are the first of [`WALLS`].
const INTERVALS: [(&str, i64); 2] = [("every 30m", 30 * MINUTE), ("every 7h", 7 * HOUR)];
const PATTERNS: usize = 4;

const CATCH_UPS: [CatchUp; 3] = [CatchUp::Skip, CatchUp::One, CatchUp::All];
const OVERLAPS: [Overlap; 3] = [Overlap::Skip, Overlap::Queue, Overlap::Replace];

/// The times of a pattern as the wall clock shows them, in microseconds.
fn shown(pattern: usize) -> &'static [i64] {
    static SHOWN: [OnceLock<Vec<i64>>; PATTERNS] = [const { OnceLock::new() }; PATTERNS];
    let look = || -> Vec<i64> { WALLS[pattern].times().iter().map(|at| at * SECOND).collect() };
    SHOWN[pattern].get_or_init(look)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        i64::try_from((mixed ^ (mixed >> 31)) % most).unwrap()
    }
}

/// What happens next. Lengths are in seconds.
#[derive(Debug, Clone)]
enum Step {
    /// Time passes, awake or asleep.
    Wait(i64),
    /// Time passes until the next time that is due, and so much longer; six hours at most.
    Next(i64),
    /// Somebody sets the clock.
    Jump(i64),
    /// The process is killed after it decided and before that was written; so is the run at work.
    Crash,
}

/// What the simplest reading makes of a moment.
struct Expected {
    /// All times that are due by now and were not decided.
    times: Vec<i64>,
    /// Those that get a run, and whether they are late.
    requests: Vec<(i64, bool)>,
}

/// How often something was seen.
#[derive(Debug, Default)]
struct Seen {
    times: usize,
    on_time: usize,
    made_up: usize,
    skipped: usize,
    cancelled: usize,
    anew: usize,
}

struct World {
    plan: Plan,
    /// The times of a pattern; none of an interval.
    shown: Option<&'static [i64]>,
    /// The length of an interval.
    period: i64,
    /// The true time, and by how much the clock is wrong.
    real: i64,
    wrong_by: i64,
    until: i64,
    next_due: Option<i64>,
    /// Queued and running runs; the first may be at work, until then in true time.
    active: Vec<Run>,
    at_work_until: Option<i64>,
    random: Random,
    seen: Seen,
}

impl World {
    fn new(schedule: usize, catch_up: CatchUp, overlap: Overlap, seed: u64) -> Self {
        let (text, zone_name, shown, period) = match schedule.checked_sub(PATTERNS) {
            None => (
                WALLS[schedule].text,
                WALLS[schedule].zone,
                Some(shown(schedule)),
                0,
            ),
            Some(nth) => (INTERVALS[nth].0, "Europe/Madrid", None, INTERVALS[nth].1),
        };
        let mut plan = plan(text, zone_name);
        plan.catch_up = catch_up;
        plan.overlap = overlap;
        let mut world = Self {
            plan,
            shown,
            period,
            real: START,
            wrong_by: 0,
            until: START,
            next_due: None,
            active: Vec::new(),
            at_work_until: None,
            random: Random(seed),
            seen: Seen::default(),
        };
        let first = decide(&world.plan, &world.plan.when[0], None, &[], true, micros(START));
        assert!(first.requests.is_empty() && first.skipped.is_empty());
        assert_eq!(first.decided.until, START);
        world.next_due = first.decided.next_due;
        world
    }

    fn clock(&self) -> i64 {
        self.real + self.wrong_by
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Wait(seconds) => self.pass(seconds * SECOND),
            Step::Next(late) => {
                let left = self.next_due.unwrap() - self.clock();
                self.pass(left.clamp(0, 6 * HOUR) + late * SECOND);
            }
            Step::Jump(seconds) => self.wrong_by += seconds * SECOND,
            Step::Crash => {
                self.look(false);
                if self.at_work_until.take().is_some() {
                    self.active.remove(0);
                }
                self.pass(5 * SECOND);
            }
        }
        self.look(true);
    }

    /// True time passes: runs end, and the next begin.
    fn pass(&mut self, length: i64) {
        let now = self.real + length;
        let mut free = self.real;
        loop {
            if let Some(end) = self.at_work_until {
                if end > now {
                    break;
                }
                self.active.remove(0);
                self.at_work_until = None;
                free = end;
            }
            if self.active.is_empty() {
                break;
            }
            self.active[0].state = RunState::Running;
            // Minutes, at times hours, and once in a while days.
            let takes = match self.random.below(400) {
                0 => 3 * DAY,
                1..20 => 3 * HOUR,
                _ => MINUTE + self.random.below(240) * SECOND,
            };
            self.at_work_until = Some(free + takes);
        }
        self.real = now;
    }

    /// A decision is made, and held against what is expected. If it is kept, it is carried out.
    fn look(&mut self, is_kept: bool) {
        let now = self.clock();
        let decided = Decided {
            until: self.until,
            next_due: self.next_due,
        };
        let when = &self.plan.when[0];
        let decision = decide(&self.plan, when, Some(decided), &self.active, true, micros(now));
        let scene = || {
            format!(
                "{when:?} {:?} {:?}: decided up to {}, now {}, {} active: {decision:?}",
                self.plan.catch_up,
                self.plan.overlap,
                micros(self.until),
                micros(now),
                self.active.len()
            )
        };
        let most_back = if self.shown.is_some() { DAY } else { self.period };
        let is_anew = self.until - now > most_back;
        let until = if is_anew {
            assert_anew(&decision, &scene);
            now
        } else {
            let expected = self.expected(now);
            self.assert_as_expected(&decision, &expected, &scene);
            match self.shown {
                Some(_) => self.until.max(now),
                None => expected.times.last().copied().unwrap_or(self.until),
            }
        };
        assert_eq!(decision.decided.until, until, "{}", scene());
        assert_eq!(decision.decided.next_due, self.next_after(until), "{}", scene());
        if is_kept {
            self.keep(decision, is_anew);
        }
    }

    fn keep(&mut self, decision: Decision, is_anew: bool) {
        let late = decision.requests.iter().filter(|due| is_late(due)).count();
        self.seen.made_up += late;
        self.seen.on_time += decision.requests.len() - late;
        self.seen.skipped += decision.skipped.len();
        self.seen.cancelled += decision.cancel.len();
        self.seen.anew += usize::from(is_anew);
        if !is_anew {
            self.seen.times += self.due(decision.decided.until).len();
        }
        if !decision.cancel.is_empty() {
            self.active.clear();
            self.at_work_until = None;
        }
        let queued = decision
            .requests
            .iter()
            .map(|due| run_of(due.at, RunState::Queued));
        self.active.extend(queued);
        self.until = decision.decided.until;
        self.next_due = decision.decided.next_due;
    }

    /// The times after what is decided, up to a moment.
    fn due(&self, now: i64) -> Vec<i64> {
        match self.shown {
            Some(shown) => {
                let from = shown.partition_point(|at| *at <= self.until);
                let to = shown.partition_point(|at| *at <= now);
                shown.get(from..to).unwrap_or_default().to_vec()
            }
            None => (1..)
                .map(|nth| self.until + nth * self.period)
                .take_while(|at| *at <= now)
                .collect(),
        }
    }

    fn next_after(&self, until: i64) -> Option<i64> {
        match self.shown {
            Some(shown) => shown.get(shown.partition_point(|at| *at <= until)).copied(),
            None => Some(until + self.period),
        }
    }

    fn expected(&self, now: i64) -> Expected {
        let times = self.due(now);
        let late = |at: &&i64| **at <= now - MINUTE;
        let missed: Vec<i64> = times.iter().filter(late).copied().collect();
        let on_time = times.iter().filter(|at| !late(at));
        let mut wanted: Vec<(i64, bool)> = match self.plan.catch_up {
            CatchUp::Skip => Vec::new(),
            CatchUp::One if missed.len() < times.len() => Vec::new(),
            CatchUp::One => missed.last().map(|at| (*at, true)).into_iter().collect(),
            CatchUp::All => {
                let young = missed.iter().filter(|at| **at > now - 7 * DAY);
                young.take(1_000).map(|at| (*at, true)).collect()
            }
        };
        wanted.extend(on_time.map(|at| (*at, false)));
        let queued = self.active.iter().filter(|run| run.state == RunState::Queued);
        let room = 100_usize.saturating_sub(queued.count());
        let requests = match self.plan.overlap {
            Overlap::Replace => wanted.last().copied().into_iter().collect(),
            Overlap::Queue => wanted.into_iter().take(room).collect(),
            Overlap::Skip if !self.active.is_empty() => Vec::new(),
            Overlap::Skip => {
                let late = wanted.iter().filter(|(_, is_late)| *is_late).count();
                wanted.into_iter().take(late.clamp(1, room)).collect()
            }
        };
        Expected { times, requests }
    }

    fn assert_as_expected(&self, decision: &Decision, expected: &Expected, scene: &dyn Fn() -> String) {
        let Expected { times, requests } = expected;
        let requested: Vec<(i64, bool)> = decision
            .requests
            .iter()
            .map(|due| (due.at.as_microsecond(), is_late(due)))
            .collect();
        assert_eq!(&requested, requests, "{}", scene());
        if self.plan.overlap == Overlap::Replace && !requests.is_empty() {
            let active = self.active.iter().map(|run| &run.run);
            assert!(active.eq(&decision.cancel), "{}", scene());
        } else {
            assert!(decision.cancel.is_empty(), "{}", scene());
        }
        // Each line is of a time that is due, no two are of one, and together they are about all.
        let lines = || decision.requests.iter().chain(&decision.skipped);
        let mut named: Vec<i64> = lines().map(|due| due.at.as_microsecond()).collect();
        assert!(
            named.iter().all(|at| times.binary_search(at).is_ok()),
            "{}",
            scene()
        );
        let count = named.len();
        named.sort_unstable();
        named.dedup();
        assert_eq!(named.len(), count, "{}", scene());
        match lines().map(about).sum::<Option<usize>>() {
            Some(told) => assert_eq!(told, times.len(), "{}", scene()),
            None => assert!(times.len() > 1_000, "{}", scene()),
        }
        assert!(
            decision.skipped.iter().all(|due| due.reason.is_some()),
            "{}",
            scene()
        );
    }
}

fn micros(at: i64) -> Timestamp {
    Timestamp::from_microsecond(at).unwrap()
}

fn is_late(due: &Due) -> bool {
    due.trigger == Trigger::CatchUp
}

fn assert_anew(decision: &Decision, scene: &dyn Fn() -> String) {
    assert!(
        decision.requests.is_empty() && decision.cancel.is_empty(),
        "{}",
        scene()
    );
    let [line] = decision.skipped.as_slice() else {
        panic!("{}", scene())
    };
    let reason = line.reason.as_deref().unwrap_or_default();
    assert!(reason.starts_with("the clock was set back"), "{}", scene());
}

/// How many times a line is about, in its own words; none if they are more than it counts.
fn about(due: &Due) -> Option<usize> {
    // A run on time that makes up for others is about itself, too.
    let own = usize::from(!is_late(due));
    let reason = due.reason.as_deref().unwrap_or_default();
    if reason.starts_with("the time of ") {
        return Some(1 + own);
    }
    let Some((number, rest)) = reason.split_once(" times ") else {
        return Some(1);
    };
    if number == "more than 1,000" {
        return None;
    }
    let number: usize = number.parse().unwrap();
    Some(match rest.starts_with("were missed") {
        true => number + own,
        false => number,
    })
}

/// A year of one schedule under each policy.
fn live_through_a_year(schedule: usize) {
    for (nth, catch_up) in CATCH_UPS.into_iter().enumerate() {
        for (mth, overlap) in OVERLAPS.into_iter().enumerate() {
            let seed = u64::try_from(100 * schedule + 10 * nth + mth).unwrap();
            let mut world = World::new(schedule, catch_up, overlap, seed);
            let mut dice = Random(!seed);
            let mut was_away = false;
            while world.real < START + 365 * DAY {
                if !was_away && world.real > START + 100 * DAY {
                    was_away = true;
                    world.apply(&Step::Wait(30 * 86_400));
                }
                let step = match dice.below(1_000) {
                    0..600 => Step::Next(dice.below(20)),
                    600..800 => Step::Wait(1 + dice.below(90)),
                    800..910 => Step::Wait(1 + dice.below(3_600)),
                    910..970 => Step::Wait(1 + dice.below(6 * 3_600)),
                    970..985 => Step::Crash,
                    // It is never wrong for long by more than some hours.
                    985..992 if world.wrong_by > -6 * HOUR => Step::Jump(-7_200),
                    985..997 if world.wrong_by > -6 * HOUR => Step::Jump(-dice.below(3 * 3_600)),
                    _ => Step::Jump(dice.below(5 * 3_600)),
                };
                world.apply(&step);
                if world.wrong_by > 6 * HOUR {
                    let back = world.wrong_by / SECOND;
                    world.apply(&Step::Jump(-back));
                }
            }
            let scene = format!("{schedule} {catch_up:?} {overlap:?}: {:?}", world.seen);
            if let Some(shown) = world.shown {
                // The whole year again: no time is missing, none was decided twice.
                let year = shown.iter().filter(|at| (START + 1..=world.until).contains(*at));
                assert_eq!(world.seen.times, year.count(), "{scene}");
                assert_eq!(world.seen.anew, 0, "{scene}");
            }
            assert!(world.seen.on_time > 20, "{scene}");
            assert_eq!(world.seen.made_up > 0, catch_up != CatchUp::Skip, "{scene}");
            assert!(world.seen.skipped > 0 || catch_up == CatchUp::One, "{scene}");
            assert!(
                world.seen.cancelled == 0 || overlap == Overlap::Replace,
                "{scene}"
            );
            // Those that come often come while a run is at work, and their clock goes back further than they are long.
            if schedule == 0 || schedule == PATTERNS {
                let is_met = match overlap {
                    Overlap::Replace => world.seen.cancelled > 0,
                    Overlap::Skip | Overlap::Queue => world.seen.skipped > 0,
                };
                assert!(is_met, "{scene}");
                assert_eq!(world.seen.anew > 0, schedule == PATTERNS, "{scene}");
            }
        }
    }
}

#[test]
fn each_half_hour_of_a_year_in_madrid() {
    live_through_a_year(0);
}

#[test]
fn each_night_of_a_year_in_madrid() {
    live_through_a_year(1);
}

#[test]
fn each_noon_and_midnight_of_a_year_in_sao_paulo() {
    live_through_a_year(2);
}

#[test]
fn each_third_hour_of_a_year_on_lord_howe() {
    live_through_a_year(3);
}

#[test]
fn each_thirty_minutes_of_a_year() {
    live_through_a_year(4);
}

#[test]
fn each_seven_hours_of_a_year() {
    live_through_a_year(5);
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_i64..21_600).prop_map(Step::Wait),
        4 => (0_i64..90).prop_map(Step::Next),
        1 => (86_400_i64..172_800).prop_map(Step::Wait),
        2 => (-172_800_i64..172_800).prop_map(Step::Jump),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_each_time_is_decided_once(
        schedule in 0..PATTERNS + INTERVALS.len(),
        catch_up in 0..CATCH_UPS.len(),
        overlap in 0..OVERLAPS.len(),
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(schedule, CATCH_UPS[catch_up], OVERLAPS[overlap], seed);
        for step in &steps {
            world.apply(step);
        }
    }
}
