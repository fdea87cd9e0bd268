//! Several processes that write to one lake at once, and one that merges and forgets beside them: every commit is there
//! once, in one line of snapshots, and no file is missing or left over (proofs T8 and T9).
//!
//! `DKC_WRITER_COMMITS` says how often each of the eight writers commits; `DKC_COMPACTIONS` how often is merged.

use crate::it::lab::{self, Lab, POSTGRES, setting};
use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Writers at once.
const WRITERS: usize = 8;

/// The ids of the snapshots that are kept, and the names of the files that the catalog knows.
struct InCatalog {
    snapshots: Vec<i64>,
    files: Vec<String>,
}

/// What the catalog says, with `|` between its lines' columns.
const CATALOG: &str = "SELECT 'snapshot', CAST(snapshot_id AS TEXT) FROM dkc_lake.ducklake_snapshot
    UNION ALL SELECT 'file', path FROM dkc_lake.ducklake_data_file
    UNION ALL SELECT 'file', path FROM dkc_lake.ducklake_delete_file";

fn catalog_of_sqlite(lab: &Lab) -> InCatalog {
    let script = "import sqlite3, sys\nfor row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]): print('|'.join(row))";
    let mut python = lab::program("python3");
    python
        .args(["-c", script])
        .arg(lab.data().join("lake/catalog.sqlite"))
        .arg(CATALOG.replace("dkc_lake.", ""));
    read(&lab::said(python).out)
}

fn catalog_of_postgres(url: &str) -> InCatalog {
    read(&fixtures::postgres::ask(url, CATALOG))
}

fn read(lines: &str) -> InCatalog {
    let pairs = || lines.lines().filter_map(|line| line.split_once('|'));
    let of = |kind: &'static str| pairs().filter(move |pair| pair.0 == kind).map(|pair| pair.1);
    let mut snapshots: Vec<i64> = of("snapshot").map(|id| id.parse().unwrap()).collect();
    snapshots.sort_unstable();
    InCatalog {
        snapshots,
        files: of("file").map(str::to_owned).collect(),
    }
}

/// A lab with a Maildir for each writer.
fn lab_of_writers(start: &str) -> Lab {
    let mut config = start.to_owned();
    for writer in 0..WRITERS {
        writeln!(
            config,
            "[[pipeline]]\nname = \"w{writer}\"\nsource = {{ kind = \"maildir\", path = \"w{writer}\" }}\n"
        )
        .unwrap();
    }
    let lab = Lab::new(&config);
    for writer in 0..WRITERS {
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(lab.path(format!("w{writer}/{part}"))).unwrap();
        }
    }
    lab
}

/// One writer's mail number `n`; every third commit also changes the flags of the mail before, so that rows are deleted.
fn change(lab: &Lab, writer: usize, n: usize) {
    let cur = format!("w{writer}/cur");
    let mail = format!(
        "From: a@example.org\r\nMessage-ID: <{writer}.{n}@example.org>\r\nSubject: {n} of {writer}\r\n\r\nThis is {n}.\r\n"
    );
    lab.write(format!("{cur}/{n}.host:2,"), mail);
    if n % 3 == 2 {
        let before = n - 1;
        let from = lab.path(format!("{cur}/{before}.host:2,"));
        fs::rename(from, lab.path(format!("{cur}/{before}.host:2,S"))).unwrap();
    }
}

#[test]
fn writers_beside_each_other_lose_nothing_and_a_compaction_meanwhile_neither() {
    story(&lab_of_writers(""), &|lab| catalog_of_sqlite(lab));
}

#[test]
fn writers_beside_each_other_on_postgres_lose_nothing_either() {
    let url = fixtures::postgres::fresh();
    let lab = lab_of_writers(POSTGRES).with("DKC_POSTGRES", &url);
    story(&lab, &|_| catalog_of_postgres(&url));
}

fn story(lab: &Lab, catalog: &dyn Fn(&Lab) -> InCatalog) {
    let (commits, compactions) = (setting("DKC_WRITER_COMMITS", 4), setting("DKC_COMPACTIONS", 3));
    let writing = AtomicUsize::new(WRITERS);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (lab, writing) = (lab.clone(), &writing);
            scope.spawn(move || {
                for n in 0..commits {
                    change(&lab, writer, n);
                    let run = lab.json(&["run", &format!("w{writer}")]);
                    assert_eq!(run["runs"][0]["state"], "succeeded", "{run}");
                    let stored = 1 + u64::from(n % 3 == 2);
                    assert_eq!(run["runs"][0]["items_stored"].as_u64(), Some(stored), "{run}");
                }
                writing.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let (lab, writing) = (lab.clone(), &writing);
        scope.spawn(move || {
            let mut done = 0;
            while done < compactions && writing.load(Ordering::SeqCst) > 0 {
                lab.output(&["compact", "--expire-older-than", "1m"]);
                done += 1;
            }
            eprintln!("{done} compactions beside {WRITERS} writers");
        });
    });
    let mails = (WRITERS * commits) as i64;
    assert_eq!(lab.number("SELECT count(*) FROM emails"), mails);
    assert_eq!(lab.number("SELECT count(DISTINCT message_id) FROM emails"), mails);
    let seen = (0..commits).filter(|n| n % 3 == 2).count() * WRITERS;
    let flagged = "SELECT count(*) FROM emails WHERE array_length(flags) > 0";
    assert_eq!(lab.number(flagged), seen as i64);
    // A snapshot a commit at least, and no number left out.
    let snapshots = catalog(lab).snapshots;
    assert!(snapshots.last() > Some(&mails), "{snapshots:?}");
    assert!(
        snapshots.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "{snapshots:?}"
    );
    lab.is_whole();
    // Whoever is alone clears what is left over; then every file is one that the catalog names.
    lab.output(&["run"]);
    let named = catalog(lab).files;
    for file in lab.parquet_files() {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(named.iter().any(|path| path == name), "{}", file.display());
    }
    assert_eq!(lab.number("SELECT count(*) FROM emails"), mails);
}
