//! What is to be done for a schedule now: which of its times are on time, which were missed, which get a run, and why not.
//!
//! - In: a plan, one of its schedules, what was decided before, the runs of the pipeline, the time. Out: a [`Decision`].
//! - The work is bounded, however long nothing ran: see [`Times`].
//! - Not here: which times a schedule has (`when`).

use super::times::{Times, moment, shown};
use super::{CatchUp, Decision, Due, Overlap, Plan, When};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemas::Digest;
use schemas::datasets::runs::{Run, RunState, Trigger};
use std::time::Duration;
use store::queue::Decided;

/// A time that came no longer ago is on time.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// So many runs of a pipeline wait at most.
const MOST_QUEUED: usize = 100;

/// So many skipped times are told one by one; more are told as one.
const TOLD_APART: usize = 10;

/// A clock that goes back further than this was wrong before. Patterns would wait until it is as late again, which can
/// be years.
const MOST_BACK: SignedDuration = SignedDuration::from_hours(24);

/// Decides what is to be done for one schedule of a plan now. `active` are the queued and running runs of the
/// pipeline, oldest first; `ever_ran` is whether it ever began a run.
///
/// - What is seen for the first time has no past; but a pipeline that never ran is begun, unless it makes up for nothing.
/// - Where the clock is put back, no time comes twice: patterns wait until it is as late again. An interval waits no
///   longer than twice its length, and is counted anew if the clock went back further than that.
/// - Where it is put forward, the times between were missed, as in sleep.
pub fn decide(
    plan: &Plan,
    when: &When,
    decided: Option<Decided>,
    active: &[Run],
    ever_ran: bool,
    now: Timestamp,
) -> Decision {
    // Whole microseconds, as the store keeps them.
    let now = moment(now.as_microsecond());
    let Some(decided) = decided else {
        return first_sight(plan, when, active, ever_ran, now);
    };
    let most_back = match when {
        When::Cron(..) => MOST_BACK,
        When::Every(period) => *period,
        When::After(_) | When::OnChange => return nothing(now, None),
    };
    let until = moment(decided.until);
    if until.duration_since(now) > most_back {
        return counted_anew(plan, when, until, now);
    }
    let next = when.next(until, &plan.zone);
    if next.is_none_or(|next| next > now) {
        return nothing(reached(when, until, now), next);
    }
    let mut draft = Draft {
        plan,
        when,
        now,
        end: until,
        decision: nothing(now, None),
    };
    let candidates = draft.candidates();
    draft.settle(candidates, active);
    let until = reached(when, draft.end, now);
    draft.decision.decided = told(until, when.next(until, &plan.zone));
    draft.decision
}

fn first_sight(plan: &Plan, when: &When, active: &[Run], ever_ran: bool, now: Timestamp) -> Decision {
    let mut decision = nothing(now, when.next(now, &plan.zone));
    // Of several schedules the first begins it, so that it is begun once.
    let begins = plan.when.iter().find(|when| !matches!(when, When::After(_))) == Some(when);
    if begins && !ever_ran && active.is_empty() && plan.catch_up != CatchUp::Skip {
        decision.requests.push(Due {
            at: now,
            begin: now,
            trigger: Trigger::Schedule,
            reason: Some("it has never collected".to_owned()),
        });
    }
    decision
}

fn counted_anew(plan: &Plan, when: &When, until: Timestamp, now: Timestamp) -> Decision {
    let mut decision = nothing(now, when.next(now, &plan.zone));
    decision.skipped.push(Due {
        at: now,
        begin: now,
        trigger: Trigger::Schedule,
        reason: Some(format!(
            "the clock was set back: times were decided up to {}, and are counted from {} now",
            shown(until, &plan.zone),
            shown(now, &plan.zone)
        )),
    });
    decision
}

/// A decision that nothing is to be done.
fn nothing(until: Timestamp, next: Option<Timestamp>) -> Decision {
    Decision {
        requests: Vec::new(),
        skipped: Vec::new(),
        cancel: Vec::new(),
        decided: told(until, next),
    }
}

fn told(until: Timestamp, next: Option<Timestamp>) -> Decided {
    Decided {
        until: until.as_microsecond(),
        next_due: next.map(Timestamp::as_microsecond),
    }
}

/// Up to where all is decided when all times up to `end` are. An interval is counted from its last time, which must
/// not move with the clock; a pattern is decided up to now.
fn reached(when: &When, end: Timestamp, now: Timestamp) -> Timestamp {
    match when {
        When::Every(_) => end,
        _ => end.max(now),
    }
}

fn before(at: Timestamp, length: SignedDuration) -> Timestamp {
    at.checked_sub(length).unwrap_or(Timestamp::MIN)
}

/// A time that gets a run, if no other is in its way.
struct Candidate {
    at: Timestamp,
    /// Whether it was missed.
    is_late: bool,
    /// The times that its run makes up for, beside or including its own.
    missed: Option<String>,
}

/// A decision that is being made.
struct Draft<'a> {
    plan: &'a Plan,
    when: &'a When,
    now: Timestamp,
    /// All times up to this one are dealt with.
    end: Timestamp,
    decision: Decision,
}

impl Draft<'_> {
    /// The times that are next, up to a moment; they count as dealt with.
    fn times(&mut self, last: Timestamp) -> Times {
        let times = Times::between(self.when, &self.plan.zone, self.end, last);
        self.end = times.newest.unwrap_or(self.end);
        times
    }

    /// Goes through all times up to now: those that are to get a run, in their order. The others are skipped here.
    fn candidates(&mut self) -> Vec<Candidate> {
        let late = before(self.now, GRACE);
        let mut candidates = Vec::new();
        let mut made_up = None;
        match self.plan.catch_up {
            CatchUp::Skip => {
                let missed = self.times(late);
                self.skip(&missed, true, "missed, and `catch_up` is `skip`");
            }
            CatchUp::One => made_up = Some(self.times(late)),
            CatchUp::All => {
                let old = self.times(late.min(before(self.now, self.plan.window)));
                let why = format!("missed longer than {:#} ago", self.plan.window);
                self.skip(&old, true, &why);
                let missed = Times::between(self.when, &self.plan.zone, self.end, late);
                self.end = missed.listed.last().copied().unwrap_or(self.end);
                let rest = self.times(late);
                self.skip(&rest, true, "missed, after 1,000 others that are made up for");
                candidates.extend(missed.listed.into_iter().map(|at| Candidate {
                    at,
                    is_late: true,
                    missed: None,
                }));
            }
        }
        let on_time = self.times(self.now);
        candidates.extend(on_time.listed.into_iter().map(|at| Candidate {
            at,
            is_late: false,
            missed: None,
        }));
        if let Some(missed) = made_up {
            self.make_up(&missed, &mut candidates);
        }
        candidates
    }

    /// Lets one run make up for all missed times: that of a time that is on time, if there is one.
    fn make_up(&self, missed: &Times, candidates: &mut Vec<Candidate>) {
        let zone = &self.plan.zone;
        let Some(newest) = missed.newest else { return };
        let text = match missed.listed.as_slice() {
            [at] => format!("the time of {} was missed", shown(*at, zone)),
            _ => missed.count(" were missed", zone),
        };
        // The one that gets its run: the first, or the one that replaces the others.
        let runs = match self.plan.overlap {
            Overlap::Replace => candidates.last_mut(),
            Overlap::Skip | Overlap::Queue => candidates.first_mut(),
        };
        match runs {
            Some(on_time) => on_time.missed = Some(text),
            None => candidates.push(Candidate {
                at: newest,
                is_late: true,
                missed: Some(text),
            }),
        }
    }

    /// Requests runs for the candidates, as far as the runs that there are let them.
    fn settle(&mut self, mut candidates: Vec<Candidate>, active: &[Run]) {
        let mut left = Vec::new();
        if self.plan.overlap == Overlap::Replace {
            let Some(last) = candidates.pop() else { return };
            let why = format!("replaced by the run of {}", shown(last.at, &self.plan.zone));
            left.extend(candidates.into_iter().map(|candidate| (candidate, why.clone())));
            self.decision.cancel = active.iter().map(|run| run.run.clone()).collect();
            self.request(last);
        } else {
            let busy = busy(active, &self.plan.zone);
            let waiting = active.iter().filter(|run| run.state == RunState::Queued);
            let mut waiting = waiting.count();
            for candidate in candidates {
                if let Some(why) = self.hindrance(&candidate, busy.as_deref(), waiting) {
                    left.push((candidate, why));
                } else {
                    waiting += 1;
                    self.request(candidate);
                }
            }
        }
        self.leave(&left);
    }

    /// Why a candidate gets no run.
    fn hindrance(&self, candidate: &Candidate, busy: Option<&str>, waiting: usize) -> Option<String> {
        if self.plan.overlap == Overlap::Skip {
            if let Some(busy) = busy {
                return Some(busy.to_owned());
            }
            // Those that are made up for are a row: they do not come too early for one another.
            if !candidate.is_late
                && let Some(first) = self.decision.requests.first()
            {
                let at = shown(first.at, &self.plan.zone);
                return Some(format!("the run of {at} is still queued"));
            }
        }
        (waiting >= MOST_QUEUED).then(|| format!("{MOST_QUEUED} runs of it are queued already"))
    }

    fn request(&mut self, candidate: Candidate) {
        let reason = match candidate.missed {
            Some(missed) => Some(format!("{missed}; this makes up for it")),
            None if candidate.is_late => Some("its time was missed; this makes up for it".to_owned()),
            None => None,
        };
        self.decision.requests.push(Due {
            at: candidate.at,
            begin: match candidate.is_late {
                true => self.now,
                false => jittered(self.plan, candidate.at),
            },
            trigger: trigger(candidate.is_late),
            reason,
        });
    }

    /// Records candidates that get no run. What one of them would have made up for is told with it.
    fn leave(&mut self, left: &[(Candidate, String)]) {
        let is_like = |(one, why): &(Candidate, String), (other, other_why): &(Candidate, String)| {
            let makes_up = one.missed.is_some() || other.missed.is_some();
            !makes_up && one.is_late == other.is_late && why == other_why
        };
        for group in left.chunk_by(is_like) {
            let Some((first, why)) = group.first() else {
                continue;
            };
            let why = match &first.missed {
                Some(missed) => format!("{missed}; {why}"),
                None => why.clone(),
            };
            let listed: Vec<Timestamp> = group.iter().map(|(candidate, _)| candidate.at).collect();
            let times = Times {
                newest: listed.last().copied(),
                listed,
                has_more: false,
            };
            self.skip(&times, first.is_late, &why);
        }
    }

    /// Records times that get no run: each, or if they are many, the newest for all of them.
    fn skip(&mut self, times: &Times, is_late: bool, why: &str) {
        let due = |at: Timestamp, reason: String| Due {
            at,
            begin: at,
            trigger: trigger(is_late),
            reason: Some(reason),
        };
        if times.has_more || times.listed.len() > TOLD_APART {
            let reason = format!("{}: {why}", times.count("", &self.plan.zone));
            let newest = times.newest.map(|at| due(at, reason));
            self.decision.skipped.extend(newest);
        } else {
            let each = times.listed.iter().map(|at| due(*at, why.to_owned()));
            self.decision.skipped.extend(each);
        }
    }
}

fn trigger(is_late: bool) -> Trigger {
    match is_late {
        true => Trigger::CatchUp,
        false => Trigger::Schedule,
    }
}

/// What the pipeline is busy with.
fn busy(active: &[Run], zone: &TimeZone) -> Option<String> {
    let at_work = active.iter().find(|run| run.state == RunState::Running);
    let run = at_work.or(active.first())?;
    let at = shown(moment(run.due_at.unwrap_or(run.started_at)), zone);
    Some(match at_work {
        Some(_) => format!("the run of {at} is still at work"),
        None => format!("the run of {at} is still queued"),
    })
}

/// A time and a part of the jitter: the same part whenever and wherever it is asked, another for each pipeline and time.
fn jittered(plan: &Plan, at: Timestamp) -> Timestamp {
    let name = format!("{} {}", plan.pipeline, at.as_microsecond());
    let part = Digest::of(name.as_bytes()).0.first_chunk::<8>().copied();
    let part = u64::from_be_bytes(part.unwrap_or_default());
    let most = u64::try_from(plan.jitter.as_nanos()).unwrap_or(u64::MAX);
    // Less than the whole: the high half of the product.
    let nanos = (u128::from(most) * u128::from(part)) >> 64;
    let delay = Duration::from_nanos(u64::try_from(nanos).unwrap_or(most));
    at.checked_add(delay).unwrap_or(at)
}
