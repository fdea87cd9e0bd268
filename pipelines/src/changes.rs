//! Files that change: pipelines that are to run then are asked for.
//!
//! - In: where their files lie. Out: a request, once what changes has been quiet for a moment.
//! - Reading is no change: collectors only read. Nor is what dkc itself writes, where its data lie among the files.
//! - Of several services that watch the same files each sees a change, and one run comes of it: one that began after the
//!   change is enough, whoever asked for it.
//! - What cannot be watched is asked for now and then instead, and tried again; a path that is not there is waited for.
//! - Not here: how a request becomes a run (`scheduler::ask`).

mod roots;

use crate::away::Away;
use crate::run::now;
use crate::schedule::CatchUp;
use crate::scheduler::Asker;
use notify::event::{AccessKind, AccessMode};
use notify::{ErrorKind, Event, EventKind};
use roots::Roots;
use schemas::datasets::runs::Trigger;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long it has to be quiet: who writes one file writes another.
const QUIET: Duration = Duration::from_secs(2);

/// How long a change waits at most, where it is never quiet.
const LONGEST: Duration = Duration::from_secs(30);

/// How often it is looked whether what is watched is still there, and what is not there has come.
const LOOKS: Duration = Duration::from_secs(60);

/// How often what cannot be watched is asked for.
const ASKS: Duration = Duration::from_secs(600);

/// Asks for pipelines whose files change, until it is to stop. What lies in `data` is not looked at.
pub(crate) async fn watch(asker: Asker, data: PathBuf, stop: CancellationToken) {
    watch_with(asker, data, stop, (QUIET, LONGEST)).await;
}

async fn watch_with(
    asker: Asker,
    data: PathBuf,
    stop: CancellationToken,
    (quiet, longest): (Duration, Duration),
) {
    let marks = Arc::new(Marks {
        data,
        ..Marks::default()
    });
    let mut roots = Roots::default();
    for (nth, pipeline) in asker.pipelines.iter().enumerate() {
        if pipeline.is_watched() {
            roots.add(nth, &pipeline.paths);
        }
    }
    if roots.is_empty() {
        return;
    }
    match look(roots, &marks).await {
        Some(back) => roots = back,
        None => return,
    }
    // From here on they are watched: a run that begins later, whoever asks for it, sees all that was missed.
    for (nth, pipeline) in asker.pipelines.iter().enumerate() {
        if pipeline.is_watched() && pipeline.plan.catch_up != CatchUp::Skip {
            marks.set(nth, Seen::Unwatched);
        }
    }
    let mut away = Away::new("changes");
    let mut looks = interval_at(Instant::now() + LOOKS, LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = marks.next(quiet, longest);
        tokio::select! {
            () = stop.cancelled() => return,
            () = marks.changed.notified() => continue,
            () = until(next) => {}
            _ = looks.tick() => {
                match look(roots, &marks).await {
                    Some(back) => roots = back,
                    None => return,
                }
                continue;
            }
        }
        for (nth, mark) in marks.take(quiet, longest) {
            let Some(pipeline) = asker.pipelines.get(nth) else {
                continue;
            };
            let (trigger, reason) = mark.seen.words();
            let since = Some(mark.seen_after(quiet));
            match asker.ask(pipeline, trigger, reason.to_owned(), None, since).await {
                Ok(()) => away.is_over(),
                Err(error) => {
                    marks.put_back(nth, mark);
                    away.wait(&error, &stop).await;
                }
            }
        }
    }
}

/// Looks after what is watched; nothing comes back when that broke off.
async fn look(mut roots: Roots, marks: &Arc<Marks>) -> Option<Roots> {
    let marks = marks.clone();
    // Folders are walked through there.
    let looked = tokio::task::spawn_blocking(move || {
        roots.look(&marks);
        roots
    });
    looked
        .await
        .inspect_err(|error| tracing::error!(%error, "files are not watched any more; this is a bug of dkc"))
        .ok()
}

async fn until(next: Option<Instant>) {
    match next {
        Some(next) => sleep_until(next).await,
        None => std::future::pending().await,
    }
}

/// What was seen to change, for who asks. Watchers write it from a thread of their own.
#[derive(Default)]
struct Marks {
    /// Where dkc itself writes.
    data: PathBuf,
    /// Folders and files, and whose they are.
    watched: Mutex<Vec<(PathBuf, usize)>>,
    marks: Mutex<HashMap<usize, Mark>>,
    /// Whose new folders could not be watched.
    partly: Mutex<HashSet<usize>>,
    changed: Notify,
}

/// That files of a pipeline changed.
#[derive(Debug, Clone, Copy)]
struct Mark {
    first: Instant,
    last: Instant,
    seen: Seen,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// A change.
    Change,
    /// That there was more than could be taken in.
    Overflow,
    /// Nothing, because nobody watched.
    Unwatched,
}

impl Seen {
    fn words(self) -> (Trigger, &'static str) {
        match self {
            Self::Change => (Trigger::Change, "its files changed"),
            Self::Overflow => (Trigger::Change, "its files changed faster than could be followed"),
            Self::Unwatched => (
                Trigger::CatchUp,
                "its files may have changed while nobody watched",
            ),
        }
    }
}

impl Marks {
    fn marks(&self) -> MutexGuard<'_, HashMap<usize, Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> MutexGuard<'_, Vec<(PathBuf, usize)>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a pipeline.
    fn set(&self, nth: usize, seen: Seen) {
        let now = Instant::now();
        let mut marks = self.marks();
        let is_first = marks.is_empty();
        let mark = marks.entry(nth).or_insert(Mark {
            first: now,
            last: now,
            seen,
        });
        mark.last = now;
        if seen != Seen::Unwatched {
            mark.seen = seen;
        }
        drop(marks);
        // A burst wakes nobody but for its first.
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Tells what is watched now, and whose it is.
    fn watch(&self, watched: impl Iterator<Item = (PathBuf, usize)>) {
        *self.watched() = watched.collect();
    }

    /// Whose new folders could not be watched since this was last asked.
    fn take_partly(&self) -> HashSet<usize> {
        std::mem::take(&mut *self.partly.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_back(&self, nth: usize, mark: Mark) {
        self.marks().entry(nth).or_insert(mark);
    }

    /// When the first of them is to be asked for.
    fn next(&self, quiet: Duration, longest: Duration) -> Option<Instant> {
        self.marks().values().map(|mark| mark.due(quiet, longest)).min()
    }

    /// Those that are to be asked for now.
    fn take(&self, quiet: Duration, longest: Duration) -> Vec<(usize, Mark)> {
        let now = Instant::now();
        let mut marks = self.marks();
        marks
            .extract_if(|_, mark| mark.due(quiet, longest) <= now)
            .collect()
    }

    /// Takes in what a watcher tells.
    fn see(&self, told: notify::Result<Event>) {
        match told {
            Ok(event) if event.need_rescan() => {
                tracing::warn!(
                    "files changed faster than could be followed; all that are watched are read again"
                );
                self.set_all(&self.theirs(&[]), Seen::Overflow);
            }
            Ok(event) if is_change(event.kind) => {
                let paths = event.paths.iter().filter(|path| !path.starts_with(&self.data));
                let paths: Vec<&Path> = paths.map(PathBuf::as_path).collect();
                if !paths.is_empty() {
                    self.set_all(&self.theirs(&paths), Seen::Change);
                }
            }
            Ok(_) => {}
            Err(error) => {
                let paths: Vec<&Path> = error.paths.iter().map(PathBuf::as_path).collect();
                let theirs = self.theirs(&paths);
                if matches!(error.kind, ErrorKind::MaxFilesWatch) {
                    // The next look says so, and what is done.
                    let mut partly = self.partly.lock().unwrap_or_else(PoisonError::into_inner);
                    partly.extend(&theirs);
                } else {
                    tracing::warn!(%error, "files cannot be watched as they should; they are read again");
                }
                self.set_all(&theirs, Seen::Overflow);
            }
        }
    }

    /// Whose files these are; without any, everybody.
    fn theirs(&self, paths: &[&Path]) -> Vec<usize> {
        let watched = self.watched();
        let theirs = watched
            .iter()
            .filter(|(root, _)| paths.is_empty() || paths.iter().any(|path| path.starts_with(root)));
        theirs.map(|(_, nth)| *nth).collect()
    }

    fn set_all(&self, all: &[usize], seen: Seen) {
        for nth in all {
            self.set(*nth, seen);
        }
    }
}

impl Mark {
    fn due(&self, quiet: Duration, longest: Duration) -> Instant {
        (self.last + quiet).min(self.first + longest)
    }

    /// Whatever begins after this moment of the wall clock has seen the change. Whoever saw the same change asks once it
    /// has been quiet; half of that is left for clocks of machines that differ.
    fn seen_after(&self, quiet: Duration) -> schemas::Instant {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let last = now().saturating_sub(micros(self.last.elapsed()));
        last.saturating_add(micros(quiet / 2))
    }
}

/// Whether something is other than it was. That a file was read, or opened for it, is no change.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
