//! What breaks around a run is said clearly, ends it with exit code 1, and loses nothing (proofs T4 and T11).

use crate::it::crash::fraction;
use crate::it::interrupted::Scene;
use crate::it::lab::{self, Lab, MAIL, Said, count, program, setting};
use fixtures::imap_server::{ImapServer, Reaction};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// Asserts that a run ended with a clear error: one of these words, in a sentence, about a file of the lab.
fn is_clear(said: &Said, lab: &Lab, words: &[&str]) {
    let text = format!("{}{}", said.out, said.err);
    assert_eq!(said.code, Some(1), "{said:#?}");
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.iter().any(|word| flat.contains(word)),
        "none of {words:?}: {said:#?}"
    );
    assert!(
        flat.contains(
            lab.data()
                .parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
        ),
        "no place is named: {said:#?}"
    );
    assert!(!text.contains("panicked"), "{said:#?}");
}

/// Lets the n-th of some system calls of a thread fail, for some n until no thread makes so many.
fn each_fails(scene: &Scene, inject: &str, words: &[&str]) {
    let calls = inject.split_once(':').unwrap().0;
    let mut labs = Vec::new();
    for n in [1, 2, 3, 5, 8, 13, 21, 34] {
        let lab = scene.fresh(&format!("fault-{n}"));
        let inject = format!("inject={}", inject.replace('#', &n.to_string()));
        let wrapper = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={calls}"),
            "-e",
            &inject,
        ];
        let said = lab.said_under(&wrapper, scene.command);
        if said.code == Some(0) {
            break;
        }
        is_clear(&said, &lab, words);
        scene.try_again(&lab);
        labs.push(lab);
    }
    assert!(labs.len() > 3, "only {} calls failed", labs.len());
    scene.assert_equal(&labs);
}

#[test]
fn an_fsync_that_fails_ends_the_run_and_loses_nothing() {
    each_fails(
        &Scene::first(),
        "fsync,fdatasync:error=EIO:when=#",
        &["Input/output error", "disk I/O error"],
    );
}

#[test]
fn an_fsync_that_fails_in_a_later_run_loses_nothing() {
    each_fails(
        &Scene::changes(),
        "fsync,fdatasync:error=EIO:when=#",
        &["Input/output error", "disk I/O error"],
    );
}

#[test]
fn a_database_that_finds_no_space_ends_the_run_and_loses_nothing() {
    let words = [
        "No space left on device",
        "database or disk is full",
        "disk I/O error",
    ];
    each_fails(&Scene::changes(), "pwrite64:error=ENOSPC:when=#+", &words);
}

#[test]
fn a_disk_that_is_full_ends_the_run_and_loses_nothing() {
    let lab = Lab::new(MAIL);
    let noise: Vec<Vec<u8>> = (1..=5).map(large_noise).collect();
    lab.deliver("", &[fixtures::corpus::sample(200), noise].concat());
    let undisturbed = lab.with_data("undisturbed");
    undisturbed.run();
    // A disk of its own, which ends with the processes; what is on it is kept in the end.
    let script = r#"mount -t tmpfs -o size=16m,mode=700 tmpfs "$1" || exit 90
        data=$1; kept=$2; shift 2; "$@"; code=$?; cp -a "$data/." "$kept/"; exit $code"#;
    let (full, kept) = (lab.with_data("full"), lab.with_data("kept"));
    for data in [full.data(), kept.data()] {
        fs::create_dir(data).unwrap();
    }
    let paths = [full.data(), kept.data()].map(|path| path.to_str().unwrap());
    let tail = ["--mount", "sh", "-c", script, "sh", paths[0], paths[1]];
    let said = [&["unshare"][..], &["unshare", "--user", "--map-root-user"]]
        .into_iter()
        .map(|head| full.said_under(&[head, &tail].concat(), &["run"]))
        .find(|said| !said.err.contains("unshare:") && said.code != Some(90));
    let said = said.expect("a disk of its own needs root or a user namespace");
    is_clear(
        &said,
        &full,
        &["No space left on device", "database or disk is full"],
    );
    kept.is_whole();
    kept.run();
    kept.is_whole();
    let facts = lab::duckdb(&[(&undisturbed, None), (&kept, None)]);
    for table in facts[0].as_object().unwrap().keys() {
        assert_eq!(facts[0][table]["content"], facts[1][table]["content"], "{table}");
    }
}

/// A mail of 6 MB that cannot be compressed.
fn large_noise(seed: u64) -> Vec<u8> {
    let mut mail = format!(
        "Message-ID: <noise-{seed}@test>\nSubject: noise\nContent-Type: application/octet-stream\n\n"
    )
    .into_bytes();
    let mut state = seed;
    for _ in 0..750_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        mail.extend((state ^ (state >> 29)).to_le_bytes());
    }
    mail
}

/// A Python that holds a lock until it is dropped.
struct Holder(Child);

impl Holder {
    fn of(database: &Path, statement: &str) -> Self {
        let script = "import sqlite3, sys\n\
            c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
            for statement in sys.argv[2].split(';'): c.execute(statement).fetchall()\n\
            print('held', flush=True)\nsys.stdin.read()";
        let mut python = program("python3");
        python
            .arg("-c")
            .arg(script)
            .arg(database)
            .arg(statement)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut holder = python.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "held\n");
        Self(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn a_catalog_that_another_program_writes_to_is_said_to_be_locked() {
    let scene = Scene::changes();
    let lab = scene.fresh("locked");
    let before = lab.snapshot();
    for statement in ["BEGIN IMMEDIATE", "PRAGMA locking_mode=EXCLUSIVE;BEGIN EXCLUSIVE"] {
        let holder = Holder::of(&lab.data().join("lake/catalog.sqlite"), statement);
        let said = lab.said(&["run"]);
        is_clear(&said, &lab, &["locked by another program"]);
        drop(holder);
        assert_eq!(lab.snapshot(), before, "nothing was committed");
    }
    scene.try_again(&lab);
    scene.assert_equal(&[lab]);
}

#[test]
fn a_second_dkc_works_beside_the_first_but_for_what_must_be_alone() {
    let silent = silent_server();
    let lab = with_silent(&silent);
    let mut first = start_silent(&lab, &silent);
    assert_eq!(
        count(&lab.json(&["run", "mail"])["runs"][0], "items_unchanged"),
        20
    );
    lab.output(&["compact"]);
    for writes in [&["rebuild", "emails"][..], &["cursor", "clear", "mail"]] {
        is_clear(&lab.said(writes), &lab, &["another dkc is at work"]);
    }
    assert_eq!(lab.number("SELECT count(*) FROM emails"), 20);
    lab.is_whole();
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(
        count(&lab.json(&["run", "mail"])["runs"][0], "items_unchanged"),
        20
    );
    let ended = lab.sql("SELECT state, error FROM runs WHERE pipeline = 'silent'");
    assert_eq!(
        ended[0]["state"], "failed",
        "a run that was killed is not left running"
    );
}

#[test]
fn a_run_that_is_told_to_stop_says_so_and_keeps_what_it_has() {
    let silent = silent_server();
    let lab = with_silent(&silent);
    let run = start_silent(&lab, &silent);
    assert!(
        program("kill")
            .args(["-TERM", &run.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let ended = lab.sql("SELECT state, error FROM runs WHERE pipeline = 'silent'");
    assert_eq!(ended[0]["state"], "cancelled");
    assert_eq!(lab.number("SELECT count(*) FROM emails"), 20);
    lab.is_whole();
}

/// A server that takes a connection and says nothing.
fn silent_server() -> ImapServer {
    ImapServer::start("", Vec::new(), |_, _| Reaction::Silence)
}

/// A lab with 20 mails collected, and a pipeline to a silent server.
fn with_silent(server: &ImapServer) -> Lab {
    let lab = Lab::new(&format!(
        "{MAIL}[[pipeline]]\nname = \"silent\"\nsource = {{ kind = \"imap\", host = \"127.0.0.1\", port = {}, \
         user = \"me\", password = \"env:PASSWORD\", tls = \"none\" }}\n",
        server.port()
    ));
    lab.deliver("", &fixtures::corpus::sample(20));
    lab.output(&["run", "mail"]);
    lab
}

/// A run that waits for the silent server, and has the data directory for itself.
fn start_silent(lab: &Lab, server: &ImapServer) -> Child {
    let mut command = lab.command::<&str>(&[], &["run", "silent"]);
    command
        .env("PASSWORD", "x")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut run = command.spawn().unwrap();
    while server.commands().is_empty() {
        assert!(run.try_wait().unwrap().is_none(), "the run ended");
        std::thread::yield_now();
    }
    run
}

#[test]
fn a_flipped_byte_in_any_file_is_found_and_the_file_named() {
    let lab = Lab::new(MAIL);
    let names = lab.deliver("", &fixtures::corpus::sample(300));
    lab.run();
    for name in names.iter().step_by(7) {
        lab.rename(&format!("cur/{name}:2,"), &format!("cur/{name}:2,S"));
    }
    lab.run();
    lab.is_whole();
    let files = lab.parquet_files();
    assert!(
        files.len() >= 7,
        "data files of four tables, of two runs, and delete files: {files:?}"
    );
    for (n, file) in files.iter().enumerate() {
        let mut bytes = fs::read(file).unwrap();
        let place = (n * 7_919 + 11) % bytes.len();
        bytes[place] ^= 1 << (n % 8);
        overwrite(file, &bytes);
    }
    finds(&lab, &files);
    for file in &files {
        let size = file.metadata().unwrap().len();
        File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_len(size / 2)
            .unwrap();
    }
    finds(&lab, &files);
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
    finds(&lab, &files);
}

#[test]
fn a_query_that_lacks_a_data_file_names_it_and_what_to_do() {
    let lab = Lab::new(MAIL);
    lab.deliver("", &["Subject: one\r\n\r\n1\r\n"]);
    lab.run();
    let files = lab.parquet_files().into_iter();
    let mut of_mails = files.filter(|file| file.parent().unwrap().ends_with("emails"));
    let file = of_mails.next().unwrap();
    let below = file.strip_prefix(lab.data()).unwrap().display().to_string();
    let whole = fs::read(&file).unwrap();
    // Wherever a line of the terminal ends.
    let flat = |text: &str| text.replace(|sign: char| sign.is_whitespace() || sign == '│', "");
    for (left, how) in [
        (None, "is missing"),
        (Some(whole.len() / 2), "is cut off or damaged"),
    ] {
        match left {
            None => fs::remove_file(&file).unwrap(),
            Some(left) => fs::write(&file, &whole[..left]).unwrap(),
        }
        let said = lab.said(&["sql", "-c", "SELECT subject FROM emails"]);
        assert_ne!(said.code, Some(0), "{said:#?}");
        let told = flat(&said.err);
        assert!(told.contains(&flat(&format!("`{below}` {how}"))), "{said:#?}");
        assert!(
            told.contains("`dkcverify`") && told.contains("backup"),
            "{said:#?}"
        );
    }
    fs::write(&file, &whole).unwrap();
    assert_eq!(lab.value("SELECT subject FROM emails"), "one");
}

#[test]
fn a_catalog_that_is_lost_does_not_take_the_originals_with_it() {
    let lab = Lab::new(MAIL);
    lab.deliver("", &fixtures::corpus::sample(3));
    lab.run();
    let (catalog, files) = (lab.data().join("lake/catalog.sqlite"), lab.parquet_files());
    let bytes = fs::read(&catalog).unwrap();
    fs::remove_file(&catalog).unwrap();
    // Missing, then empty: a run would sweep all files that the new catalog does not name.
    for _ in 0..2 {
        for command in ["run", "verify"] {
            let said = lab.said(&[command]);
            assert!(
                said.code == Some(1) && said.err.contains("catalog.sqlite") && said.err.contains("backup"),
                "{said:#?}"
            );
            assert_eq!(lab.parquet_files(), files);
        }
        fs::write(&catalog, "").unwrap();
    }
    fs::write(&catalog, bytes).unwrap();
    lab.is_whole();
    assert_eq!(count(&lab.run(), "items_unchanged"), 3);
}

#[test]
fn rot_in_the_history_of_runs_is_found_and_the_file_named() {
    let lab = Lab::new(MAIL);
    lab.deliver("", &fixtures::corpus::sample(3));
    let run = lab.run();
    lab.is_whole();
    let state = lab.data().join("state.sqlite");
    let bytes = fs::read(&state).unwrap();
    let id = run["run"].as_str().unwrap();
    // In the row and in indexes: the one no longer has what the other says.
    for (text, what) in [(id, "index"), ("succeeded", "index")] {
        let mut rotten = bytes.clone();
        let place = bytes
            .windows(text.len())
            .rposition(|window| window == text.as_bytes());
        rotten[place.unwrap()] ^= 1;
        overwrite(&state, &rotten);
        let said = lab.said(&["verify", "--json"]);
        assert_eq!(said.code, Some(1), "{said:#?}");
        let found: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let problems = found["problems"].as_array().unwrap();
        assert!(
            problems.iter().all(|problem| problem["place"] == "state.sqlite") && !problems.is_empty(),
            "{problems:#?}"
        );
        assert!(
            said.out.contains(what) && said.out.contains("move it away"),
            "{said:#?}"
        );
    }
    // What cannot be opened at all is named too.
    overwrite(&state, &vec![b'?'; bytes.len()]);
    let said = lab.said(&["verify"]);
    assert!(
        said.code == Some(1) && said.err.contains("state.sqlite"),
        "{said:#?}"
    );
    fs::remove_file(&state).unwrap();
    lab.is_whole();
    assert_eq!(count(&lab.run(), "items_unchanged"), 3);
}

#[test]
fn one_flipped_bit_anywhere_in_the_lake_is_found_unless_nothing_is_changed_by_it() {
    let lab = Lab::new(MAIL);
    let names = lab.deliver("", &fixtures::corpus::sample(200));
    for step in [5, 7, 11] {
        for name in names.iter().step_by(step) {
            let flags = |step: usize| format!("cur/{name}:2,{}", "S".repeat(step % 2));
            if lab.path("mail").join(flags(0)).exists() {
                lab.rename(&flags(0), &flags(1));
            }
        }
        lab.run();
    }
    let catalog = lab.data().join("lake/catalog.sqlite");
    let files = lab.parquet_files();
    let mut seed = setting("DKC_SEED", 20_261_122) as u64;
    let (mut found, mut unfound) = (0, Vec::new());
    for n in 0..setting("DKC_FLIPS", 40) {
        // Half of them in the catalog, which is one file among many.
        let file = match n % 2 {
            0 => &catalog,
            _ => &files[(fraction(&mut seed) * files.len() as f64) as usize],
        };
        let copy = lab.copied_to(&format!("flipped-{n}"));
        let file = copy.data().join(file.strip_prefix(lab.data()).unwrap());
        let mut bytes = fs::read(&file).unwrap();
        // Most of a small database is space that was never used, and zero.
        let used: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
        let place = used[(fraction(&mut seed) * used.len() as f64) as usize];
        let bit = (fraction(&mut seed) * 8.0) as u32;
        bytes[place] ^= 1 << bit;
        overwrite(&file, &bytes);
        let said = copy.said(&["verify", "--json"]);
        let text = format!("{}{}", said.out, said.err);
        assert!(!text.contains("panicked"), "byte {place}, bit {bit}: {said:#?}");
        if said.code == Some(0) {
            unfound.push((copy, place, bit));
        } else {
            found += 1;
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(
                said.code == Some(1) && text.contains(name),
                "byte {place}, bit {bit}: {said:#?}"
            );
        }
    }
    // SQLite has bytes that mean nothing: in free space, counters, hints to other programs.
    let catalogs = unfound
        .iter()
        .map(|(copy, ..)| copy.data().join("lake/catalog.sqlite"));
    let contents = contents(&[catalog].into_iter().chain(catalogs).collect::<Vec<_>>());
    for ((_, place, bit), content) in unfound.iter().zip(&contents[1..]) {
        assert_eq!(
            content, &contents[0],
            "byte {place}, bit {bit} of the catalog changes what it says"
        );
    }
    eprintln!(
        "{found} found and named; {} in bytes of the catalog that mean nothing",
        unfound.len()
    );
}

/// All that databases hold, as Python reads them: one line each.
fn contents(databases: &[PathBuf]) -> Vec<String> {
    let script = r#"
import hashlib, sqlite3, sys
for path in sys.argv[1:]:
    database = sqlite3.connect(path)
    database.text_factory = bytes
    ask = lambda query: sorted(map(repr, database.execute(query)))
    shape = ask("SELECT type, name, tbl_name, sql FROM sqlite_master")
    names = [name.decode() for name, in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    tables = [(name, ask(f'SELECT * FROM "{name}"')) for name in sorted(names)]
    # Where the lake lies is corrected whenever it is opened.
    tables = [(name, [row for row in rows if "b'data_path'" not in row]) for name, rows in tables]
    rows = sum(len(rows) for _, rows in tables)
    print(rows, hashlib.sha256(repr((shape, tables)).encode()).hexdigest())
"#;
    let mut python = program("python3");
    python.arg("-c").arg(script).args(databases);
    let said = lab::said(python);
    assert_eq!(said.code, Some(0), "{said:#?}");
    said.out.lines().map(str::to_owned).collect()
}

fn overwrite(file: &Path, bytes: &[u8]) {
    File::options()
        .write(true)
        .open(file)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

/// Asserts that `dkc verify` fails and names each file.
fn finds(lab: &Lab, files: &[PathBuf]) {
    let said = lab.said(&["verify", "--json"]);
    assert_eq!(said.code, Some(1), "{said:#?}");
    let found: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let places: Vec<&str> = found["problems"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|p| p["place"].as_str())
        .collect();
    for file in files {
        let named = places.iter().any(|place| {
            Path::new(place)
                == fs::canonicalize(lab.data())
                    .unwrap()
                    .join(file.strip_prefix(lab.data()).unwrap())
        });
        assert!(named, "{} is not among {places:#?}", file.display());
    }
}
