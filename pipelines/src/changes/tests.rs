//! What watchers tell, as they would tell it; and files that are really written.

use super::*;
use crate::schedule::{Overlap, Plan, When};
use crate::service::Pipeline;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use notify::event::{CreateKind, Flag, ModifyKind};
use schemas::SourceName;
use schemas::datasets::runs::{Run, RunState};
use std::fs;
use store::queue::Queue;
use store::runs::Runs;

/// Longer than this, and it does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

fn marks() -> Marks {
    let marks = Marks {
        data: PathBuf::from("/home/me/.local/share/dkc"),
        ..Marks::default()
    };
    let roots = [("/home/me", 0), ("/srv/mail", 1)];
    marks.watch(roots.into_iter().map(|(root, nth)| (PathBuf::from(root), nth)));
    marks
}

fn event(kind: EventKind, path: &str) -> notify::Result<Event> {
    Ok(Event::new(kind).add_path(PathBuf::from(path)))
}

fn marked(marks: &Marks) -> Vec<(usize, Seen)> {
    let mut marked: Vec<_> = marks
        .marks()
        .iter()
        .map(|(nth, mark)| (*nth, mark.seen))
        .collect();
    marked.sort_unstable_by_key(|(nth, _)| *nth);
    marked
}

#[test]
fn a_change_is_for_whom_the_file_is() {
    let marks = marks();
    let modified = EventKind::Modify(ModifyKind::Any);
    let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
    let read = EventKind::Access(AccessKind::Close(AccessMode::Read));
    for untold in [
        event(opened, "/srv/mail/cur/1"),
        event(read, "/srv/mail/cur/1"),
        event(modified, "/srv/mailbox"),
        event(modified, "/home/me/.local/share/dkc/state.sqlite-wal"),
    ] {
        marks.see(untold);
    }
    assert!(marked(&marks).is_empty());
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    marks.see(event(written, "/srv/mail/cur/1"));
    assert_eq!(marked(&marks), [(1, Seen::Change)]);
    marks.see(event(EventKind::Create(CreateKind::File), "/home/me/notes.md"));
    assert_eq!(marked(&marks), [(0, Seen::Change), (1, Seen::Change)]);
}

#[test]
fn what_was_lost_is_read_again() {
    let of_all = marks();
    of_all.see(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    assert_eq!(marked(&of_all), [(0, Seen::Overflow), (1, Seen::Overflow)]);

    let of_one = marks();
    let full = notify::Error::new(ErrorKind::MaxFilesWatch).add_path(PathBuf::from("/srv/mail/new"));
    of_one.see(Err(full));
    assert_eq!(marked(&of_one), [(1, Seen::Overflow)]);
    assert_eq!(of_one.take_partly(), HashSet::from([1]));
    assert!(of_one.take_partly().is_empty());
}

#[test]
fn a_burst_is_one_change_and_waits_no_longer_than_it_may() {
    let marks = marks();
    assert_eq!(marks.next(QUIET, LONGEST), None);
    marks.set(0, Seen::Change);
    marks.set(0, Seen::Change);
    let next = marks.next(QUIET, LONGEST).unwrap();
    assert!(next > Instant::now());
    assert!(marks.take(QUIET, LONGEST).is_empty());
    let taken = marks.take(Duration::ZERO, LONGEST);
    assert_eq!(taken.len(), 1);
    assert_eq!(marks.next(QUIET, LONGEST), None);

    let (first, last) = (Instant::now(), Instant::now() + Duration::from_secs(29));
    let mark = Mark {
        first,
        last,
        seen: Seen::Change,
    };
    assert_eq!(mark.due(QUIET, LONGEST), first + LONGEST);
    // Whoever else saw the change begins a run once it was quiet, and that is late enough.
    let before = now();
    let mark_now = Mark {
        first: Instant::now(),
        last: Instant::now(),
        seen: Seen::Change,
    };
    let seen_after = mark_now.seen_after(QUIET);
    let quiet = i64::try_from(QUIET.as_micros()).unwrap();
    assert!(
        (before + 1..before + quiet).contains(&seen_after),
        "{before} {seen_after}"
    );
    assert_eq!(
        mark.due(QUIET, Duration::from_secs(60)),
        last + Duration::from_secs(2)
    );
}

/// The next run of a pipeline that is asked for, taken and ended; and so are those of others.
async fn next_run(queue: &Queue, pipeline: &str) -> Run {
    let began = Instant::now();
    loop {
        if let Some(claimed) = queue.claim("one", 1, 1, PATIENCE).await.unwrap().pop() {
            let over = Run {
                state: RunState::Succeeded,
                ..claimed.run
            };
            assert!(queue.finish(&over, None).await.unwrap().is_some());
            if over.pipeline.as_str() == pipeline {
                return over;
            }
        }
        assert!(began.elapsed() < PATIENCE, "no run of {pipeline} is asked for");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn files_that_are_written_are_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let (folder, single) = (files.path().join("folder"), files.path().join("single.mbox"));
    fs::create_dir(&folder).unwrap();
    fs::write(&single, "one").unwrap();
    let pipeline = |name: &str, path: &Path| Pipeline {
        plan: Plan {
            pipeline: SourceName::new(name).unwrap(),
            when: vec![When::OnChange],
            zone: TimeZone::UTC,
            jitter: Duration::ZERO,
            catch_up: CatchUp::One,
            window: SignedDuration::from_hours(168),
            overlap: Overlap::Skip,
            timeout: None,
            retries: 4,
            priority: 0,
            fresh_within: None,
        },
        paths: vec![path.to_owned()],
        host: None,
    };
    let queue = Queue::open(data.path()).await.unwrap();
    let asker = Asker::new(
        queue.clone(),
        Runs::open(data.path()).await.unwrap(),
        vec![pipeline("folder", &folder), pipeline("single", &single)],
        Arc::new(Notify::new()),
    );
    let stop = CancellationToken::new();
    let impatient = (Duration::from_millis(50), Duration::from_millis(500));
    let watching = tokio::spawn(watch_with(asker, data.path().to_owned(), stop.clone(), impatient));
    // For whatever was written before; both are watched by then.
    assert_eq!(next_run(&queue, "folder").await.trigger, Trigger::CatchUp);
    fs::create_dir(folder.join("new")).unwrap();
    fs::write(folder.join("new/note.md"), "two").unwrap();
    assert_eq!(next_run(&queue, "folder").await.trigger, Trigger::Change);
    // As those do who save: a new file in the place of the old one.
    for _ in 0..2 {
        fs::write(files.path().join("single.tmp"), "three").unwrap();
        fs::rename(files.path().join("single.tmp"), &single).unwrap();
        let run = next_run(&queue, "single").await;
        assert!(
            matches!(run.trigger, Trigger::Change | Trigger::CatchUp),
            "{run:?}"
        );
    }
    stop.cancel();
    watching.await.unwrap();
}
