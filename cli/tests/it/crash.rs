//! `kill -9`, anywhere in a run or a compaction, loses nothing and doubles nothing (proofs T1 and T2).
//!
//! Few repetitions by default; `make crash` makes many: `DKC_KILLS` at random moments, `DKC_WRITES` at system
//! calls, `DKC_COMMITS` whose order of writing is checked.

use crate::it::interrupted::Scene;
use crate::it::lab::{self, Lab, program, setting};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[test]
fn a_kill_at_any_moment_of_the_first_run_loses_nothing() {
    killed_at_random_moments(&Scene::first());
}

#[test]
fn a_kill_at_any_moment_of_a_later_run_loses_nothing() {
    killed_at_random_moments(&Scene::changes());
}

#[test]
fn a_kill_at_any_write_of_the_first_run_loses_nothing() {
    killed_at_writes(&Scene::first());
}

#[test]
fn a_kill_at_any_write_of_a_later_run_loses_nothing() {
    killed_at_writes(&Scene::changes());
}

#[test]
fn a_kill_at_any_write_of_a_compaction_loses_nothing() {
    killed_at_writes(&Scene::compaction());
}

/// Half of `DKC_KILLS`: the scenes share them.
pub fn killed_at_random_moments(scene: &Scene) {
    scene.assert_equal(&killed_at_some_moments(
        scene,
        setting("DKC_KILLS", 12).div_ceil(2),
    ));
}

/// As many as `kills`, from the start to a little after the end.
pub fn killed_at_some_moments(scene: &Scene, kills: usize) -> Vec<Lab> {
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    let mut seed = setting("DKC_SEED", clock as usize) as u64;
    let mut labs = Vec::new();
    for n in 0..kills {
        let lab = scene.fresh(&format!("killed-{n}"));
        let moment = scene.took.mul_f64(fraction(&mut seed) * 1.1);
        kill_after(&lab, scene.command, moment);
        eprintln!("killed after {moment:?}; DKC_SEED={seed} gives the next moment");
        scene.try_again(&lab);
        labs.push(lab);
    }
    labs
}

/// A number from 0 to 1 (splitmix64).
pub fn fraction(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
}

/// Starts dkc in a process group of its own, and kills the group after a while.
fn kill_after(lab: &Lab, arguments: &[&str], moment: Duration) {
    let mut command = lab.command::<&str>(&[], arguments);
    let mut dkc = command
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Not a wait for anything: the moment is what is being tried.
    std::thread::sleep(moment);
    let group = format!("-{}", dkc.id());
    program("kill")
        .args(["-KILL", "--", &group])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    dkc.wait().unwrap();
}

/// The system calls that change what is on disk.
const CHANGES: [&str; 8] = [
    "write",
    "pwrite64",
    "rename",
    "fsync",
    "fdatasync",
    "ftruncate",
    "unlink",
    "openat",
];

/// A third of `DKC_WRITES`. strace counts calls by thread, so the n-th call of whichever thread comes first.
fn killed_at_writes(scene: &Scene) {
    let log = trace(
        &scene.fresh("traced"),
        scene.command,
        &["-e", &format!("trace={}", CHANGES.join(","))],
    );
    let mut calls: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (thread, call) in log.lines().filter_map(|line| line.split_once(' ')) {
        if let Some((name, _)) = call.trim_start().split_once('(') {
            *calls.entry((name, thread)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<&str, usize> = BTreeMap::new();
    for ((name, _), count) in calls.into_iter().filter(|((name, _), _)| CHANGES.contains(name)) {
        most.entry(name)
            .and_modify(|most| *most = count.max(*most))
            .or_insert(count);
    }
    let most: Vec<(&str, usize)> = CHANGES
        .into_iter()
        .filter_map(|name| Some((name, *most.get(name)?)))
        .collect();
    let points = setting("DKC_WRITES", 12).div_ceil(3);
    let total = |each: usize| most.iter().map(|(_, most)| each.min(*most)).sum::<usize>();
    let each = (1..1_000)
        .find(|each| total(*each) >= points)
        .unwrap_or(usize::MAX);
    // As many of each as there are, in the middle of equal parts: of two the second, of a hundred the fiftieth.
    let spread = |(name, most): (&'static str, usize)| {
        let each = each.min(most);
        (0..each).map(move |n| (name, 1 + (2 * n + 1) * most / (2 * each)))
    };
    let mut labs = Vec::new();
    let mut killed = 0;
    for (name, n) in most.iter().copied().flat_map(spread) {
        let lab = scene.fresh(&format!("{name}-{n}"));
        let inject = format!("inject={name}:signal=SIGKILL:when={n}");
        let said = lab.said_under(
            &strace(&["-o", "/dev/null", "-e", &format!("trace={name}"), "-e", &inject]),
            scene.command,
        );
        killed += usize::from(said.code != Some(0));
        assert!(!said.err.contains("strace:"), "{}", said.err);
        eprintln!("{name} {n}: {:?}", said.code);
        scene.try_again(&lab);
        labs.push(lab);
    }
    // Which thread does what differs from run to run, so a few may never reach their n-th call: two, or a fifth.
    assert!(
        (labs.len() - killed) * 5 <= labs.len().max(10),
        "only {killed} of {} were killed",
        labs.len()
    );
    scene.assert_equal(&labs);
}

pub fn strace<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["strace", "-f", "-qq"], arguments].concat()
}

/// The system calls of a command that ends well, a line each: thread, call, result.
pub fn trace(lab: &Lab, command: &[&str], arguments: &[&str]) -> String {
    let log = lab.path("strace.log");
    let said = lab.said_under(
        &strace(&[&["--seccomp-bpf", "-o", log.to_str().unwrap()], arguments].concat()),
        command,
    );
    assert_eq!(said.code, Some(0), "{said:#?}");
    // Names in it may be cut in the middle of a character.
    String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned()
}

#[test]
fn each_data_file_and_its_name_are_on_disk_before_the_catalog_names_it() {
    let mut config = String::new();
    let commits = setting("DKC_COMMITS", 30);
    for n in 0..commits {
        config += &format!(
            "[[pipeline]]\nname = \"box-{n}\"\nsource = {{ kind = \"mbox\", path = \"{n}.mbox\" }}\n"
        );
    }
    let lab = Lab::new(&config);
    for (n, mail) in fixtures::corpus::sample(commits).iter().enumerate() {
        lab.write(format!("{n}.mbox"), lab::mbox(std::slice::from_ref(mail)));
    }
    let calls =
        "trace=write,writev,pwrite64,pwritev,pwritev2,rename,renameat,renameat2,link,linkat,fsync,fdatasync";
    let log = trace(&lab, &["run"], &["-y", "-s", "8192", "-e", calls]);
    let mut order = Order::default();
    log.lines().for_each(|line| order.read(line));
    let files = lab.parquet_files();
    let on_disk: BTreeSet<&str> = files
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        order.named.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        on_disk
    );
    assert!(lab.snapshot() >= commits as i64);
    assert!(
        order.catalog_syncs >= commits,
        "{} for {commits} commits",
        order.catalog_syncs
    );
}

#[test]
fn the_check_of_that_order_sees_each_omission() {
    let name = format!("dkc-{}-{}.parquet", "0".repeat(36), "0".repeat(64));
    let log = [
        "1 fsync(3</d/x.tmp>) = 0".to_owned(),
        format!("2 rename(\"/d/x.tmp\", \"/d/{name}\") = 0"),
        "3 fsync(4</d> <unfinished ...>".to_owned(),
        "3 <... fsync resumed>) = 0".to_owned(),
        format!("1 pwrite64(5</l/catalog.sqlite-wal>, \"\\0{name}\\1\", 4096, 56) = 4096"),
    ];
    let check = |log: &[&String]| {
        let mut order = Order::default();
        log.iter().for_each(|line| order.read(line));
        assert!(order.named.contains(&name));
    };
    check(&log.each_ref());
    for (one, other) in [(0, 1), (1, 2), (2, 3), (3, 4)] {
        let without: Vec<&String> = log[..one].iter().chain(&log[one + 1..]).collect();
        assert!(
            std::panic::catch_unwind(|| check(&without)).is_err(),
            "without {}",
            log[one]
        );
        let mut swapped = log.each_ref();
        swapped.swap(one, other);
        assert!(
            std::panic::catch_unwind(|| check(&swapped)).is_err(),
            "{} too early",
            log[other]
        );
    }
}

/// What is on disk at each moment of a trace. A file counts once its fsync has returned, its name once an fsync
/// of the directory that began after the rename has returned.
#[derive(Default)]
struct Order {
    /// Calls that have begun, by thread, and the names that were there when they did.
    begun: HashMap<String, (String, Vec<String>)>,
    /// Paths whose bytes are on disk.
    whole: BTreeSet<String>,
    /// Paths that came into being by a rename.
    there: BTreeSet<String>,
    /// Names of files of which bytes and name are on disk.
    durable: BTreeSet<String>,
    /// File names that the catalog's log has been given.
    named: BTreeSet<String>,
    /// How often that log was brought to disk.
    catalog_syncs: usize,
}

impl Order {
    fn read(&mut self, line: &str) {
        let Some((thread, call)) = line.split_once(' ') else {
            return;
        };
        let call = call.trim_start();
        if call.starts_with("<...") {
            if let Some((begun, there)) = self.begun.remove(thread)
                && call.ends_with("= 0")
            {
                self.end(&begun, there);
            }
            return;
        }
        self.begin(call);
        let there = self.there_in(path_of(call));
        if call.ends_with("<unfinished ...>") {
            self.begun.insert(thread.to_owned(), (call.to_owned(), there));
        } else if call.ends_with("= 0") {
            self.end(call, there);
        }
    }

    /// The files that have their names in this folder now.
    fn there_in(&self, folder: &str) -> Vec<String> {
        let is_in = |path: &&String| path.rsplit_once('/').is_some_and(|(parent, _)| parent == folder);
        self.there.iter().filter(is_in).cloned().collect()
    }

    fn begin(&mut self, call: &str) {
        if !call.starts_with("write") && !call.starts_with("pwrite") {
            return;
        }
        let path = path_of(call);
        self.whole.remove(path);
        if path.ends_with("/catalog.sqlite-wal") || path.ends_with("/catalog.sqlite") {
            for name in names_in(call) {
                let is_durable = self.durable.contains(&name);
                assert!(
                    is_durable,
                    "the catalog names {name}, which may not be on disk yet"
                );
                self.named.insert(name);
            }
        }
    }

    fn end(&mut self, call: &str, there: Vec<String>) {
        if call.starts_with("fsync") || call.starts_with("fdatasync") {
            let path = path_of(call);
            self.catalog_syncs += usize::from(path.ends_with("/catalog.sqlite-wal"));
            self.whole.insert(path.to_owned());
            for named in there {
                assert!(
                    self.whole.contains(&named),
                    "{named} got its name before its bytes were on disk"
                );
                self.durable.extend(named.rsplit('/').next().map(str::to_owned));
            }
        } else if call.starts_with("rename") || call.starts_with("link") {
            let paths: Vec<&str> = call.split('"').skip(1).step_by(2).collect();
            let [from, to] = paths[..] else { panic!("{call}") };
            if self.whole.contains(from) {
                self.whole.insert(to.to_owned());
            }
            self.there.insert(to.to_owned());
        }
    }
}

/// The path of the file descriptor that a call begins with.
fn path_of(call: &str) -> &str {
    call.split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or("", |(path, _)| path)
}

/// The names of data files among what a call writes: `dkc-`, a UUID, `-`, a SHA-256, `.parquet`.
fn names_in(call: &str) -> Vec<String> {
    let length = 4 + 36 + 1 + 64 + 8;
    let names = call
        .match_indices("dkc-")
        .filter_map(|(start, _)| call.get(start..start + length));
    names
        .filter(|name| name.ends_with(".parquet"))
        .map(str::to_owned)
        .collect()
}
