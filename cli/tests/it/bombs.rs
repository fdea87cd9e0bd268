//! Queries that would take all memory, all time or the process with them: each ends, and whoever asked lives on (T7).

use super::lab::{Lab, MAIL, program};
use futures::StreamExt;
use schemas::View;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::query::{Limits, Query, QueryError, Spare, Workers};
use store::search::Models;

const TIME: Duration = Duration::from_secs(4);

/// How much later than its limit a query may end.
const GRACE: Duration = Duration::from_secs(2);

const ROWS: u64 = 100_000;

const BYTES: u64 = 16 << 20;

/// How many run at once.
const AT_ONCE: usize = 4;

fn limits() -> Limits {
    Limits {
        memory_bytes: 256 << 20,
        time: TIME,
        threads: 2,
        rows: Some(ROWS),
        bytes: Some(BYTES),
    }
}

/// Doubles a common table `n` times.
fn doubled(n: usize, first: &str, next: &str, last: &str) -> String {
    let mut sql = format!("with t0 as ({first})");
    for i in 1..=n {
        sql.push_str(&format!(
            ", t{i} as ({})",
            next.replace("BEFORE", &format!("t{}", i - 1))
        ));
    }
    sql + " " + &last.replace("LAST", &format!("t{n}"))
}

fn bombs() -> Vec<(&'static str, String)> {
    let cross = "emails a cross join emails b cross join emails c cross join emails d";
    let text = |name, sql: &str| (name, sql.to_owned());
    let twice = "select concat(x, x) as x from BEFORE";
    vec![
        ("10,000 terms", format!("select 1{}", "+1".repeat(10_000))),
        ("20,000 alternatives", format!("select 1 where 1=0{}", " or 1=0".repeat(20_000))),
        ("3,000 brackets", format!("select {}1{}", "(".repeat(3_000), ")".repeat(3_000))),
        ("490 terms", format!("select 1{}", "+1".repeat(490))),
        ("490 differences of texts", format!("select ''{}", "||subject".repeat(490) + " from emails")),
        ("39 casts in casts", format!("select {}1{}", "cast(".repeat(39), " as int)".repeat(39))),
        ("3,000 tables", format!("select 1 from {}", (0..3_000).map(|n| format!("emails e{n}")).collect::<Vec<_>>().join(","))),
        ("3,000 zones", format!("select now(){}", " at time zone 'UTC'".repeat(3_000))),
        ("20,000 parts of a name", format!("select a{} from emails", ".a".repeat(20_000))),
        ("5,000 indices", format!("select folders{} from emails", "[1]".repeat(5_000))),
        ("3,000 cases", format!("select case {} end from emails", "when subject = 'a' then 1 ".repeat(2_000))),
        ("a list of 10,000", format!("select 1 where 1 in ({})", vec!["1"; 10_000].join(","))),
        ("3,000 columns", format!("select {} from emails", (0..3_000).map(|n| format!("subject c{n}")).collect::<Vec<_>>().join(","))),
        ("490 unions", "select * from emails".to_owned() + &" union all select * from emails".repeat(490)),
        ("40 joins", "select count(*) from emails e0".to_owned()
            + &(1..40).map(|n| format!(" join emails e{n} on e{n}.size_bytes > e{}.size_bytes", n - 1)).collect::<String>()),
        text("range", "select count(*) from range(1, 300000000)"),
        text("generate_series", "select count(*) from generate_series(1, 100000000000)"),
        text("repeat", "select length(repeat('x', 2000000000))"),
        text("array_repeat", "select array_repeat(array_repeat(1, 20000), 20000)"),
        text("recursion", "with recursive n as (select 1 as i union all select i + 1 from n) select count(*) from n"),
        text("lpad", "select lpad('x', 2000000000, 'y')"),
        ("text doubled 30 times", doubled(30, "select subject as x from emails", twice, "select length(x) from LAST")),
        ("text doubled 24 times, shown", doubled(24, "select subject as x from emails", twice, "select x from LAST")),
        ("list doubled 28 times", doubled(28, "select make_array(1, 2) as x", "select array_concat(x, x) as x from BEFORE", "select cardinality(x) from LAST")),
        ("rows doubled 30 times", doubled(30, "select 1 as x", "select x from BEFORE union all select x from BEFORE", "select count(*) from LAST")),
        ("rows squared 6 times", doubled(6, "select 1 as x from emails", "select a.x from BEFORE a cross join BEFORE b", "select count(*) from LAST")),
        ("replace", doubled(12, "select 'aaaaaaaa' as x", "select replace(x, 'a', 'aaaaaaaa') as x from BEFORE", "select length(x) from LAST")),
        ("cross join, counted", format!("select count(*) from {cross}")),
        ("cross join, shown", format!("select * from {cross}")),
        ("cross join, few columns", format!("select a._item from {cross}")),
        ("cross join, sorted", format!("select a._item, b._item, c._item from {cross} order by d.subject, c.subject desc")),
        ("cross join, distinct", format!("select count(distinct concat(a._item, b._item, c._item, d._item)) from {cross}")),
        ("cross join, grouped", format!("select concat(a._item, b._item, c._item), count(*) from {cross} group by 1")),
        ("cross join, one text", format!("select string_agg(a.body_text, ',') from {cross}")),
        ("cross join, one list", format!("select array_agg(a.body_text) from {cross}")),
        ("cross join, list of lists", format!("select array_agg(x) from (select array_agg(a.subject) as x from {cross} group by a._item)")),
        ("window", format!("select sum(row_number) from (select row_number() over (partition by a.subject order by b.subject, c.subject) as row_number from {cross})")),
        ("median", format!("select median(length(concat(a.subject, b.subject)) + random()) from {cross}")),
        ("nested loops", "select count(*) from emails a join emails b on a.subject <> b.subject join emails c on b.subject <> c.subject join emails d on length(c.subject) + length(d.subject) <> 1".to_owned()),
        ("a large expression", format!("select count(*) from {cross} where regexp_like(concat(a.body_text, b.body_text), '(a|aa|aaa)*{{50}}b')")),
        ("a regular expression that is compiled for ever", "select regexp_like(subject, '((((a{1,100}){1,100}){1,100}){1,100})') from emails".to_owned()),
        ("digests", format!("select sum(length(sha512(sha512(concat(a.body_text, b.body_text))))) from {cross}")),
        ("all orders", format!("select max(levenshtein(a.body_text, b.body_text)) from {cross}")),
    ]
}

/// Kilobytes of this process: now, and at most so far.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// What becomes of a query: the rows and bytes of its answer, or why there is no whole one.
async fn end_of(workers: &Workers, sql: &str) -> Result<u64, QueryError> {
    let mut rows = workers.run_user_sql(&Query::from(sql)).await?;
    let mut answered = 0;
    while let Some(batch) = rows.next().await {
        match batch {
            Ok(batch) => answered += batch.num_rows() as u64,
            Err(error) => return Err(QueryError::clone(query_error(&error))),
        }
    }
    Ok(answered)
}

fn query_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a QueryError {
    let mut error = Some(error);
    while let Some(inner) = error {
        if let Some(found) = inner.downcast_ref() {
            return found;
        }
        error = inner.source();
    }
    panic!("an error without a type")
}

/// In a process of its own, as its memory is measured and other tests may share this one.
#[test]
fn every_bomb_ends_in_time_and_harms_nobody() {
    const ALONE: &str = "DKC_ALONE";
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        return runtime.unwrap().block_on(explode_all());
    }
    let name = "it::bombs::every_bomb_ends_in_time_and_harms_nobody";
    let alone = program(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .status();
    assert!(alone.unwrap().success());
}

async fn explode_all() {
    let lab = Lab::new(MAIL);
    let mails: Vec<String> = (0..400)
        .map(|n| {
            format!(
                "Message-ID: <{n}@b>\r\nSubject: mail {n}\r\n\r\n{}\r\n",
                format!("word{n} ").repeat(300)
            )
        })
        .collect();
    lab.deliver("", &mails);
    lab.run();
    let dkc = assert_cmd::cargo::cargo_bin!("dkc");
    let workers = Workers::start(dkc, lab.data(), limits(), Models::default(), Spare::First);
    let quick = Workers::start(dkc, lab.data(), limits(), Models::default(), Spare::Always);
    assert_eq!(end_of(&quick, "select 1").await, Ok(1));
    let (before, _) = memory();
    let bombs = bombs();
    assert!(bombs.len() >= 36, "{}", bombs.len());
    let queue = Arc::new(std::sync::Mutex::new(bombs.into_iter()));
    let mut fuses = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (queue, workers) = (Arc::clone(&queue), workers.clone());
        fuses.spawn(async move {
            let mut ends = Vec::new();
            while let Some((name, sql)) = { queue.lock().unwrap().next() } {
                let began = Instant::now();
                let end = end_of(&workers, &sql).await;
                ends.push((name, end, began.elapsed()));
            }
            ends
        });
    }
    let mut quick_ones = Vec::new();
    let mut ends = Vec::new();
    while !fuses.is_empty() {
        let began = Instant::now();
        assert_eq!(end_of(&quick, "select count(*) from emails").await, Ok(1));
        quick_ones.push(began.elapsed());
        while let Some(ended) = fuses.try_join_next() {
            ends.extend(ended.unwrap());
        }
    }
    let (_, most) = memory();
    let mut wrong = Vec::new();
    for (name, end, took) in &ends {
        eprintln!("{took:>10.2?}  {name}: {end:?}");
        if *took > TIME + GRACE {
            wrong.push(format!("{name} took {took:?}"));
        }
        match end {
            Ok(rows) if *rows > ROWS => wrong.push(format!("{name} answered {rows} rows")),
            Err(error) if error.to_string().len() < 20 => wrong.push(format!("{name}: {error}")),
            _ => {}
        }
    }
    quick_ones.sort();
    eprintln!(
        "{} quick queries meanwhile, the slowest {:?}",
        quick_ones.len(),
        quick_ones.last()
    );
    eprintln!("{before} kB before, {most} kB at most");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(most - before < 64 << 10, "{before} kB grew to {most} kB");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_large_is_an_error_and_not_a_part() {
    let lab = Lab::new(MAIL);
    lab.deliver(
        "",
        &(0..20)
            .map(|n| format!("Message-ID: <{n}@b>\r\n\r\nbody\r\n"))
            .collect::<Vec<_>>(),
    );
    lab.run();
    let few = Limits {
        rows: Some(19),
        ..limits()
    };
    let dkc = assert_cmd::cargo::cargo_bin!("dkc");
    let workers = Workers::start(dkc, lab.data(), few, Models::default(), Spare::Always);
    let said = end_of(&workers, "select _item from emails")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("more than 19 rows") && said.contains("LIMIT"),
        "{said}"
    );
    assert_eq!(
        end_of(&workers, "select _item from emails limit 19").await,
        Ok(19)
    );
    let small = Limits {
        bytes: Some(1000),
        ..limits()
    };
    let workers = Workers::start(dkc, lab.data(), small, Models::default(), Spare::First);
    let said = end_of(&workers, "select _item from emails")
        .await
        .unwrap_err()
        .to_string();
    assert!(said.contains("more than 1000 bytes"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_answers_query_after_query_until_one_fails_or_is_left() {
    let lab = Lab::new(MAIL);
    lab.deliver("", &["Message-ID: <1@b>\r\n\r\nbody\r\n"]);
    lab.run();
    let (program, log) = (lab.path("dkc"), lab.path("started"));
    let dkc = assert_cmd::cargo::cargo_bin!("dkc").display();
    let script = format!("#!/bin/sh\necho $$ >> {}\nexec {dkc} \"$@\"\n", log.display());
    lab.write("dkc", script);
    std::fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
    let started = || std::fs::read_to_string(&log).unwrap().lines().count();
    let workers = Workers::start(&program, lab.data(), limits(), Models::default(), Spare::Always);
    let mails = "select _item from emails";
    for _ in 0..20 {
        assert_eq!(end_of(&workers, mails).await, Ok(1));
    }
    assert_eq!(started(), 1);
    // It sees what was written since, and what its reader may see.
    lab.deliver("", &["Message-ID: <2@b>\r\n\r\nbody\r\n"]);
    lab.run();
    assert_eq!(end_of(&workers, mails).await, Ok(2));
    assert_eq!(started(), 1);
    let of_photos = Query {
        view: View {
            datasets: Some(["photos".to_owned()].into()),
            ..View::default()
        },
        ..Query::from(mails)
    };
    let said = workers.run_user_sql(&of_photos).await.err().unwrap().to_string();
    assert!(!said.contains("body") && said.contains("emails"), "{said}");
    assert_eq!(end_of(&workers, mails).await, Ok(2));
    assert_eq!(started(), 2);
    drop(workers.run_user_sql(&Query::from(mails)).await.unwrap());
    assert_eq!(end_of(&workers, mails).await, Ok(2));
    assert_eq!(started(), 3);
    drop(workers);
    // Where nobody has asked yet, none waits.
    let workers = Workers::start(&program, lab.data(), limits(), Models::default(), Spare::Asked);
    assert_eq!(started(), 3);
    for _ in 0..3 {
        assert_eq!(end_of(&workers, mails).await, Ok(2));
    }
    assert_eq!(started(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_after_an_answer_is_not_in_the_way_of_the_next() {
    let lab = Lab::new(MAIL);
    let mails = (0..400).map(|n| format!("Message-ID: <{n}@b>\r\nSubject: mail {n}\r\n\r\nbody\r\n"));
    lab.deliver("", &mails.collect::<Vec<_>>());
    lab.run();
    let dkc = assert_cmd::cargo::cargo_bin!("dkc");
    let workers = Workers::start(dkc, lab.data(), limits(), Models::default(), Spare::Always);
    // Its second part compares 64 million pairs, and its first is all that is wanted.
    let left = "select 1 union all select count(*) from emails a join emails b on a.subject || b.subject like '%x%y%' \
                join emails c on a.subject || c.subject like '%x%z%' or b.subject = 'mail 1' limit 1";
    for _ in 0..5 {
        assert_eq!(end_of(&workers, left).await, Ok(1));
        assert_eq!(end_of(&workers, "select _item from emails").await, Ok(400));
    }
}

#[test]
fn a_query_that_takes_too_long_or_too_much_says_so_and_leaves_nothing() {
    let lab = Lab::new(&format!(
        "[limits]\nquery_seconds = 1\nquery_memory_mb = 64\n{MAIL}"
    ));
    let mails: Vec<String> = (0..400)
        .map(|n| {
            format!(
                "Message-ID: <{n}@b>\r\nSubject: mail {n}\r\n\r\n{}\r\n",
                "word ".repeat(300)
            )
        })
        .collect();
    lab.deliver("", &mails);
    lab.run();
    let spill = lab.path("spill");
    std::fs::create_dir(&spill).unwrap();
    let cross = "from emails a cross join emails b cross join emails c";
    let began = Instant::now();
    for (sql, words) in [
        (
            format!("select sum(a.size_bytes - d.size_bytes) {cross} cross join emails d"),
            "longer than 1 s",
        ),
        (
            format!("select a.size_bytes, b.size_bytes {cross} order by random()"),
            "longer than 1 s",
        ),
        (
            format!("select length(string_agg(a.body_text, ',')) {cross}"),
            "query_memory_mb",
        ),
        // Each doubles the plan: 2^20 scans, minutes of planning in one go.
        (
            doubled(
                20,
                "select 1 as x",
                "select * from BEFORE union all select * from BEFORE",
                "select count(*) from LAST",
            ),
            "longer than 1 s",
        ),
    ] {
        let mut asked = lab.command::<&str>(&[], &["sql", "-c", &sql]);
        asked.env("TMPDIR", &spill);
        let said = super::lab::said(asked);
        assert_eq!(said.code, Some(1), "{sql}: {said:#?}");
        assert!(said.err.contains(words), "{sql}: {}", said.err);
    }
    assert!(
        began.elapsed() < 4 * (Duration::from_secs(1) + GRACE),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(std::fs::read_dir(&spill).unwrap().count(), 0);
}
