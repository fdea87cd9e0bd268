//! SQL that would write, read other files, change settings, or tell more than the data: refused by `dkc sql`, in
//! every disguise (T6).

use super::lab::{Lab, MAIL, Said, program, said};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What is in the file that nobody may read.
const CANARY: &str = "the canary sings";

/// What must be refused. `CANARY` stands for a file that is there, `PIPE` for one whose reader waits for ever, `OUT`
/// for one that is not there.
const HOSTILE: &[&str] = &[
    "copy (select 1) to 'OUT'",
    "copy emails to 'OUT' stored as csv",
    "copy emails to 'OUT' stored as parquet options ('compression' 'zstd')",
    "create external table t stored as csv location 'CANARY'",
    "create external table t stored as parquet location 'PIPE'",
    "create external table if not exists t (a int) stored as json location 'OUT'",
    "create unbounded external table t (a int) stored as csv location 'PIPE'",
    "create table t as select * from emails",
    "create table t (a int)",
    "create or replace view emails as select 1",
    "create temporary view v as select 1",
    "create schema s",
    "create database d",
    "create function f(double) returns double return $1 + 1",
    "create index i on emails (date)",
    "drop table emails",
    "drop view if exists emails",
    "drop schema main cascade",
    "drop function count",
    "insert into emails select * from emails",
    "insert into runs values (1)",
    "insert overwrite emails select * from emails",
    "update emails set subject = ''",
    "delete from emails",
    "truncate table emails",
    "merge into emails using runs on true when matched then delete",
    "alter table emails add column x int",
    "alter table emails rename to mails",
    "set datafusion.execution.batch_size = 1",
    "set time zone = '+01:00'",
    "set variable x = 1",
    "reset datafusion.execution.batch_size",
    "show all",
    "show datafusion.execution.batch_size",
    "show time zone",
    "show functions",
    "show create table emails",
    "prepare p as select 1",
    "execute p",
    "deallocate p",
    "begin",
    "start transaction",
    "commit",
    "rollback",
    "use other",
    "attach 'CANARY' as other",
    "pragma database_list",
    "vacuum",
    "analyze table emails compute statistics",
    "call f()",
    "load 'CANARY'",
    "grant all on emails to public",
    "comment on table emails is 'x'",
    "kill 1",
    "lock table emails",
    "select * from 'CANARY'",
    "select * from \"CANARY\"",
    "select * from 'file://CANARY'",
    "select * from 'PIPE'",
    "select * from \"PIPE\"",
    "select * from read_csv('CANARY')",
    "select * from read_parquet('PIPE')",
    "select * from read_json_auto('PIPE')",
    "select * from read_text('CANARY')",
    "select * from glob('/*')",
    "select * from parquet_metadata('PIPE')",
    "select * from sqlite_scan('CANARY', 't')",
    "select * into t from emails",
    "with t as (delete from emails returning *) select * from t",
    "with t as (insert into emails select * from emails returning *) select * from t",
    "with recursive n as (select 1 as i union all select i + 1 from n) select count(*) from n",
    "select * from generate_series(1, 10)",
    "select * from range(1, 10)",
    "select unnest(generate_series(1, 10))",
    "select repeat('x', 10)",
    "select array_repeat(1, 10)",
    "select lpad('x', 10)",
    "select version()",
    "select current_setting('x')",
    "select getenv('HOME')",
    "select pg_read_file('CANARY')",
    "select load_extension('CANARY')",
    "select * from information_schema.df_settings",
    "select * from information_schema.routines",
    "select * from information_schema.files",
    "select * from information_schema.snapshots",
    "select * from lake.information_schema.files",
    "select * from ducklake_data_file",
    "select * from sqlite_master",
    "select * from \"snapshot 1\".main.emails",
];

/// Disguises. `S` stands for the statement.
const DISGUISES: &[&str] = &[
    "S",
    "S;",
    "  \t\n S \n",
    "/* harmless */ S",
    "/* /* nested */ */ S",
    "-- harmless\nS",
    "S -- harmless",
    "select 1; S",
    "S; select 1",
    "select 1;; S;",
    "begin; S; commit",
    "explain S",
    "explain analyze S",
    "explain verbose S",
    "explain explain S",
    "(S)",
    "((S))",
    "with x as (S) select * from x",
    "select * from (S) as x",
    "select (S)",
    "select exists (S)",
    "select 1 where 1 in (S)",
    "values ((S))",
    "select 1 union all S",
    "S union all select 1",
    "describe S",
    "prepare p as S",
    "create view v as S",
    "copy (S) to 'OUT'",
    "\u{feff}S",
    "\u{a0}S",
    "\u{200b}S",
    "\u{202e}S",
    "select 'x'\u{0}; S",
    "execute immediate 'S'",
    "select * from (values (1)) x, lateral (S) y",
];

/// Each statement in every sixth disguise, beginning with another one each time, and plain.
fn corpus() -> Vec<String> {
    let mut corpus: Vec<String> = HOSTILE.iter().map(|statement| (*statement).to_owned()).collect();
    corpus.extend(HOSTILE.iter().map(|statement| statement.to_uppercase()));
    for (n, statement) in HOSTILE.iter().enumerate() {
        let disguises = DISGUISES.iter().skip(n % 6 + 1).step_by(6);
        corpus.extend(disguises.map(|disguise| disguise.replace('S', statement)));
    }
    corpus
}

/// Names and contents of all files below a folder, but for the logs that SQLite's readers make.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if path.is_file() && !name.ends_with("-shm") && !name.ends_with("-wal") {
            found.push((path.clone(), fs::read(&path).unwrap()));
        } else if !path.is_file() {
            found.push((path, Vec::new()));
        }
    }
    found.sort();
    found
}

#[test]
fn hostile_sql_is_refused_in_every_disguise_and_touches_nothing() {
    let lab = Lab::new(MAIL);
    lab.deliver("", &["Message-ID: <a@b>\r\nSubject: one\r\n\r\nbody\r\n"]);
    lab.run();
    lab.write("outside/canary.csv", format!("a,b\n1,{CANARY}\n"));
    let pipe = lab.path("outside/pipe");
    let mut made = program("mkfifo");
    made.arg(&pipe);
    assert_eq!(said(made).code, Some(0));
    let before = (contents(&lab.path("outside")), contents(lab.data()));
    let named = |statement: &str| {
        statement
            .replace("CANARY", &lab.path("outside/canary.csv").display().to_string())
            .replace("PIPE", &pipe.display().to_string())
            .replace("OUT", &lab.path("outside/out").display().to_string())
    };
    let corpus: Vec<String> = corpus().iter().map(|statement| named(statement)).collect();
    assert!(corpus.len() >= 300, "{}", corpus.len());
    let queue = Mutex::new(corpus.iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(statement) = queue.lock().unwrap().next() else {
                        break;
                    };
                    let answer = if statement.contains('\0') {
                        // It cannot be an argument.
                        let file = format!("asked-{:?}.sql", std::thread::current().id());
                        lab.write(&file, statement);
                        lab.said(&["sql", "-f", &file])
                    } else {
                        lab.said(&["sql", "-c", statement])
                    };
                    if !is_refused(&answer) {
                        wrong.lock().unwrap().push(format!("{statement}\n{answer:#?}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        corpus.len(),
        wrong.join("\n")
    );
    assert_eq!(before, (contents(&lab.path("outside")), contents(lab.data())));
    assert_eq!(lab.number("select count(*) from emails"), 1);
}

/// Whether it failed at once, with words about it and nothing else.
fn is_refused(said: &Said) -> bool {
    let died = ["took longer", "ended early", "more memory", "panicked", "bug"];
    said.code == Some(1)
        && said.out.is_empty()
        && said.err.trim().len() > 10
        && !said.err.contains(CANARY)
        && !died.iter().any(|words| said.err.contains(words))
}

#[test]
fn a_plan_tells_no_place_of_a_file() {
    let lab = Lab::new(MAIL);
    lab.deliver("", &["Message-ID: <a@b>\r\nSubject: one\r\n\r\nbody\r\n"]);
    lab.run();
    let folder = lab.path("").file_name().unwrap().to_string_lossy().into_owned();
    for explain in [
        "explain",
        "explain analyze",
        "explain verbose",
        "explain format tree",
        "explain analyze verbose",
    ] {
        let out = lab.output(&[
            "sql",
            "--format",
            "json",
            "-c",
            &format!("{explain} select subject from emails"),
        ]);
        assert!(!out.contains(&folder), "{explain}: {out}");
        assert!(
            out.to_lowercase().contains("parquet") || out.contains("emails"),
            "{explain}: {out}"
        );
    }
}

#[test]
fn tables_and_columns_can_be_shown() {
    let lab = Lab::new(MAIL);
    lab.deliver("", &["Message-ID: <a@b>\r\n\r\nbody\r\n"]);
    lab.run();
    let tables = lab.sql("show tables");
    let names: Vec<&str> = tables
        .iter()
        .map(|row| row["table_name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"emails") && names.contains(&"runs"), "{names:?}");
    let columns = lab.sql("show columns from emails");
    assert!(
        columns.iter().any(|row| row["column_name"] == "subject"),
        "{columns:?}"
    );
    assert!(lab.number("select count(*) from information_schema.columns where table_name = 'runs'") > 10);
    assert!(!lab.sql("describe emails").is_empty());
}

#[test]
fn a_parameter_is_a_value_and_never_a_part_of_the_query() {
    let lab = Lab::new(MAIL);
    lab.deliver(
        "",
        &["Message-ID: <a@b>\r\nSubject: it's\r\nDate: Thu, 1 Oct 2026 10:00:00 +0000\r\n\r\nbody\r\n"],
    );
    lab.run();
    let count = |query: &str, parameters: &[&str]| {
        let parameters = parameters.iter().flat_map(|parameter| ["--param", parameter]);
        let mut arguments = vec!["sql", "--format", "csv", "-c", query];
        arguments.extend(parameters);
        lab.output(&arguments).lines().nth(1).unwrap().to_owned()
    };
    let by_subject = "select count(*) from emails where subject = :subject";
    assert_eq!(count(by_subject, &["subject=it's"]), "1");
    assert_eq!(count(by_subject, &["subject=' or 1=1 --"]), "0");
    assert_eq!(count(by_subject, &["subject=null"]), "0");
    assert_eq!(
        count(
            "select count(*) from emails where date > $since",
            &["since=2026-09-30"]
        ),
        "1"
    );
    assert_eq!(
        count(
            "select count(*) from emails where date > :since",
            &["since=2026-10-02"]
        ),
        "0"
    );
    assert_eq!(count("select subject from emails limit :n", &["n=1"]), "it's");
    assert_eq!(count("select :a + :b", &["a=1", "b=2"]), "3");
    assert_eq!(
        count("select count(*) from as_of('emails', :then)", &["then=0"]),
        "0"
    );
    for (query, words) in [
        ("select :nothing", "the parameter `nothing` has no value"),
        ("select ?", "has no name"),
        ("select $1", "has no name"),
    ] {
        let said = lab.said(&["sql", "-c", query]);
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains(words), "{query}: {}", said.err);
    }
}
