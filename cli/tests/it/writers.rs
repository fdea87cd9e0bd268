//! Several processes that write to one lake at once, and one that merges and forgets beside them: every commit is there
//! once, in one line of snapshots, and no file is missing or left over (proofs T8 and T9).
//!
//! `DKC_WRITER_COMMITS` says how often each of the eight writers commits; `DKC_COMPACTIONS` how often is merged.

use crate::it::lab::{self, Lab, setting};
use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Writers at once.
const WRITERS: usize = 8;

/// The ids of the snapshots that are kept, and the files that the catalog names, from the catalog itself.
const CATALOG: &str = "
import json, sqlite3, sys
catalog = sqlite3.connect(sys.argv[1])
ids = [row[0] for row in catalog.execute('SELECT snapshot_id FROM ducklake_snapshot ORDER BY 1')]
files = [row[0] for row in catalog.execute('SELECT path FROM ducklake_data_file UNION SELECT path FROM ducklake_delete_file')]
print(json.dumps({'snapshots': ids, 'files': files}))";

/// What the catalog says; see [`CATALOG`].
fn catalog(lab: &Lab, what: &str) -> Vec<serde_json::Value> {
    let mut python = lab::program("python3");
    python
        .args(["-c", CATALOG])
        .arg(lab.data().join("lake/catalog.sqlite"));
    lab::values(python).remove(0)[what].as_array().unwrap().clone()
}

/// A lab with a Maildir for each writer.
fn lab_of_writers() -> Lab {
    let mut config = String::new();
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
    let (commits, compactions) = (setting("DKC_WRITER_COMMITS", 4), setting("DKC_COMPACTIONS", 3));
    let lab = lab_of_writers();
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
    let snapshots: Vec<i64> = catalog(&lab, "snapshots")
        .iter()
        .filter_map(|id| id.as_i64())
        .collect();
    assert!(snapshots.len() as i64 > mails, "{snapshots:?}");
    assert!(
        snapshots.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "{snapshots:?}"
    );
    lab.is_whole();
    // Whoever is alone clears what is left over; then every file is one that the catalog names.
    lab.output(&["run"]);
    let named = catalog(&lab, "files");
    for file in lab.parquet_files() {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(named.iter().any(|path| path == name), "{}", file.display());
    }
    assert_eq!(lab.number("SELECT count(*) FROM emails"), mails);
}
