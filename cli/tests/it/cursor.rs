//! A cursor is never ahead of its rows: dkc is killed at each step between the first data file of a batch and the
//! end of the run, and the next run ends with the same rows as an undisturbed one (proof T5).
//!
//! strace kills it at the n-th call of a kind on one path; with another seed n is another. One seed by default,
//! `DKC_SEEDS` in `make crash`.

use crate::it::crash::{fraction, strace, trace};
use crate::it::interrupted::Scene;
use crate::it::lab::{Lab, setting};

/// What was done last when dkc is killed, the call that is then not made any more, and on what of the data
/// directory.
const POINTS: [(&str, &str, &str); 6] = [
    ("a data file is written, and has no name", "rename", ""),
    (
        "data files are named, not for sure",
        "fsync",
        "lake/files/main/emails",
    ),
    (
        "data files are there, in no catalog",
        "pwrite64",
        "lake/catalog.sqlite-wal",
    ),
    (
        "rows and cursor are in the catalog, not for sure",
        "fsync,fdatasync",
        "lake/catalog.sqlite-wal",
    ),
    (
        "rows and cursor are kept, the run is not known to have ended",
        "pwrite64",
        "state.sqlite-wal",
    ),
    ("the run has ended, the databases are still open", "unlink", ""),
];

#[test]
fn a_cursor_is_never_ahead_of_the_rows_of_a_first_run() {
    killed_at_each_point(&Scene::first());
}

#[test]
fn a_cursor_is_never_ahead_of_the_rows_of_a_later_run() {
    killed_at_each_point(&Scene::changes());
}

/// Half of `DKC_SEEDS`: the scenes share them.
fn killed_at_each_point(scene: &Scene) {
    let seeds = setting("DKC_SEEDS", 2).div_ceil(2);
    let mut seed = setting("DKC_SEED", 20_261_122) as u64;
    let mut labs = Vec::new();
    for (place, call, path) in POINTS {
        let traced = scene.fresh(&format!("traced-{}", labs.len()));
        let only = only(&traced, call, path);
        let only: Vec<&str> = only.iter().map(String::as_str).collect();
        let log = trace(&traced, scene.command, &only);
        let is_call = |line: &&str| call.split(',').any(|call| line.contains(&format!(" {call}(")));
        let calls = log.lines().filter(is_call).count();
        assert!(calls > 0, "{place}: never");
        let mut killed = 0;
        // strace counts by thread, so the n-th call of one thread may never come: then an earlier one.
        while killed < seeds {
            let mut n = 1 + (fraction(&mut seed) * calls as f64) as usize;
            loop {
                let lab = scene.fresh(&format!("killed-{}", labs.len()));
                let code = killed_at(&lab, scene, call, path, n);
                let is_killed = code != Some(0);
                eprintln!("{place}, {call} {n} of {calls}: {code:?}");
                scene.try_again(&lab);
                labs.push(lab);
                if is_killed {
                    break;
                }
                assert!(n > 1, "{place}: never");
                n = n.div_ceil(2);
            }
            killed += 1;
        }
    }
    eprintln!("killed {} times", seeds * POINTS.len());
    scene.assert_equal(&labs);
}

/// How many snapshots the last run made.
pub const LAST_SNAPSHOTS: &str = "SELECT snapshots FROM runs ORDER BY started_at DESC LIMIT 1";

/// Kills dkc as soon as each commit is in the catalog, so before anything that follows it.
pub fn killed_at_each_commit(scene: &Scene) -> Vec<Lab> {
    let (call, path) = ("fsync,fdatasync", "lake/catalog.sqlite-wal");
    let mut labs = Vec::new();
    let mut missed = 0;
    loop {
        let n = labs.len() + 1;
        let lab = scene.fresh(&format!("commit-{n}-{missed}"));
        if killed_at(&lab, scene, call, path, n) == Some(0) {
            // Compared with this run: another may have waited longer for its source, and made more.
            let snapshots = lab.number(LAST_SNAPSHOTS);
            if labs.len() as i64 >= snapshots {
                break;
            }
            // strace counts by thread, and now and then the commits are not all of one.
            missed += 1;
            assert!(missed < 5, "{} kills of {snapshots}", labs.len());
            continue;
        }
        eprintln!("killed at commit {n}");
        scene.try_again(&lab);
        labs.push(lab);
    }
    labs
}

/// What to tell strace to see only these calls.
fn only(lab: &Lab, call: &str, path: &str) -> Vec<String> {
    let mut only = vec!["-e".to_owned(), format!("trace={call}")];
    if !path.is_empty() {
        only.extend(["-P".to_owned(), lab.data().join(path).display().to_string()]);
    }
    only
}

fn killed_at(lab: &Lab, scene: &Scene, call: &str, path: &str, n: usize) -> Option<i32> {
    let inject = format!("inject={call}:signal=SIGKILL:when={n}");
    let only = only(lab, call, path);
    let only: Vec<&str> = only.iter().map(String::as_str).collect();
    let wrapper = [&["-o", "/dev/null", "-e", &inject], &only[..]].concat();
    let said = lab.said_under(&strace(&wrapper), scene.command);
    assert!(!said.err.contains("strace:"), "{}", said.err);
    said.code
}
