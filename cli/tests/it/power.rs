//! A power cut, at any moment of a run or a compaction, loses nothing that was kept (proof T3).
//!
//! The run is traced once; what would be found on the disk is made for each moment, and tried: it opens, it is
//! whole, every snapshot that dkc went on from is there, and another run ends with the same rows as an undisturbed
//! one. Few moments by default, `DKC_CUTS` in `make crash`.

use crate::it::crash::{fraction, trace};
use crate::it::disk::{CALLS, Cut, Disk, Event};
use crate::it::interrupted::Scene;
use crate::it::lab::{Lab, program, said, setting};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the catalog consists of; its `-shm` is no more than an index of its log, made again by whoever opens it.
const FILES: [&str; 2] = ["catalog.sqlite", "catalog.sqlite-wal"];

#[test]
fn a_power_cut_in_the_first_run_loses_nothing() {
    powerless(&Scene::first());
}

#[test]
fn a_power_cut_in_a_later_run_loses_nothing() {
    powerless(&Scene::changes());
}

#[test]
fn a_power_cut_in_a_compaction_loses_nothing() {
    powerless(&Scene::compaction());
}

/// A third of `DKC_CUTS`: the scenes share them.
fn powerless(scene: &Scene) {
    let lab = scene.fresh("traced");
    let folder = lab.path("");
    let before = lab.data().exists().then(|| lab.copied_to("before"));
    let calls = format!("trace={CALLS}");
    let log = trace(
        &lab,
        scene.command,
        &["-y", "-xx", "-s", "100000000", "-e", &calls],
    );
    let lines: Vec<&str> = log.lines().collect();
    let disk = || match &before {
        Some(before) => Disk::of(&folder, lab.data(), before.data()),
        None => Disk::empty(&folder),
    };
    let moments = moments(&lines, disk());
    let cuts = setting("DKC_CUTS", 12).div_ceil(3);
    let mut seed = setting("DKC_SEED", 20_261_122) as u64;
    let chosen: BTreeSet<usize> = (0..cuts)
        .map(|n| moments[(2 * n + 1) * moments.len() / (2 * cuts)])
        .collect();
    assert_eq!(chosen.len(), cuts, "of {} moments", moments.len());

    let mut disk = disk();
    let mut catalogs = Catalogs::of(&lab);
    let mut kept = catalogs.seen(&disk);
    let mut tried = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        match disk.read(line) {
            // Whoever writes the next data file, or tells a person, was told that the commit before is kept.
            Event::Told => kept = catalogs.seen(&disk),
            Event::Made(name) if name.ends_with(".tmp") => kept = catalogs.seen(&disk),
            _ => {}
        }
        if !chosen.contains(&at) {
            continue;
        }
        let n = tried.len();
        let mut random = || fraction(&mut seed);
        let mut cut = match n % 2 {
            0 => Cut::Least,
            _ => Cut::Some(&mut random),
        };
        let spared = lab.path(format!("spared-{n}"));
        disk.spare(&spared, &mut cut);
        let found = lab.with_data(&format!("found-{n}"));
        let data = spared.join(lab.data().file_name().unwrap());
        if data.exists() {
            fs::rename(data, found.data()).unwrap();
        }
        let after = catalogs.copied(&found);
        tried.push((at, found, kept, catalogs.seen(&disk), after));
    }
    let snapshots = catalogs.snapshots();
    for (at, found, kept, now, after) in &tried {
        eprintln!("power cut after line {at} of {}", lines.len());
        // A compaction forgets snapshots: those that are written as forgotten may be gone.
        let expected = snapshots[*kept].intersection(&snapshots[*now]).copied();
        let lost: Vec<i64> = expected.filter(|id| !snapshots[*after].contains(id)).collect();
        assert!(lost.is_empty(), "line {at}: snapshots {lost:?} are lost");
        scene.try_again(found);
    }
    let is_kept = |(_, _, kept, ..): &(usize, Lab, usize, usize, usize)| !snapshots[*kept].is_empty();
    assert!(tried.iter().any(is_kept), "no snapshot was kept before any cut");
    let tried: Vec<Lab> = tried.into_iter().map(|(_, found, ..)| found).collect();
    scene.assert_equal(&tried);
}

/// The lines after which the disk, or what of it lasts, is another than before.
fn moments(lines: &[&str], mut disk: Disk) -> Vec<usize> {
    let mut moments = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if matches!(disk.read(line), Event::Changed | Event::Made(_)) {
            moments.push(at);
        }
    }
    moments
}

/// Copies of the catalog, to be asked for their snapshots at the end, all at once.
struct Catalogs<'a> {
    lab: &'a Lab,
    copies: Vec<PathBuf>,
    /// How often the files of the newest copy had been written to.
    writes: Option<[u64; 2]>,
    newest: usize,
}

impl<'a> Catalogs<'a> {
    fn of(lab: &'a Lab) -> Self {
        Self {
            lab,
            copies: Vec::new(),
            writes: None,
            newest: 0,
        }
    }

    fn add(&mut self, copy: impl Fn(&str, &Path)) -> usize {
        let folder = self.lab.path(format!("catalog-{}", self.copies.len()));
        fs::create_dir(&folder).unwrap();
        for name in FILES {
            copy(name, &folder.join(name));
        }
        self.copies.push(folder.join(FILES[0]));
        self.copies.len() - 1
    }

    /// The catalog as a program sees it at this moment.
    fn seen(&mut self, disk: &Disk) -> usize {
        let writes = FILES.map(|name| disk.writes(name));
        if self.writes != Some(writes) {
            self.writes = Some(writes);
            let lake = self.lab.data().join("lake");
            self.newest = self.add(|name, to| disk.copy(&lake.join(name), to));
        }
        self.newest
    }

    /// The catalog as it was found.
    fn copied(&mut self, found: &Lab) -> usize {
        let lake = found.data().join("lake");
        self.add(|name, to| {
            if lake.join(name).exists() {
                fs::copy(lake.join(name), to).unwrap();
            }
        })
    }

    /// Of each copy its snapshots.
    fn snapshots(&self) -> Vec<BTreeSet<i64>> {
        let script = r#"
import json, sqlite3, sys
for path in sys.argv[1:]:
    ask = sqlite3.connect(path).execute
    is_made = ("ducklake_snapshot",) in ask("SELECT name FROM sqlite_master").fetchall()
    ids = ask("SELECT snapshot_id FROM ducklake_snapshot") if is_made else []
    print(json.dumps([id for id, in ids]))
"#;
        let mut python = program("python3");
        python.arg("-c").arg(script).args(&self.copies);
        let said = said(python);
        assert_eq!(said.code, Some(0), "{said:#?}");
        said.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}
