//! Datasets as tables of Postgres, and a store that moves there and back.

use crate::{ask, batch, commit, cursor, source};
use fixtures::postgres::{Postgres, ask as ask_postgres, fresh};
use schemas::datasets::emails::{DATASET, Email};
use schemas::datasets::runs::{Run, Trigger};
use schemas::{Provenance, Role, Rows, RunId};
use secrecy::ExposeSecret as _;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;
use store::audit::{Audit, Entry};
use store::migrate::{Extent, MigrateError, migrate};
use store::queue::{Queue, Request};
use store::relational::{PublishedTable, Publisher};
use store::run_log::{Level, RunLog};
use store::tokens::{NewToken, Tokens};
use store::{Commit, Items, Place, Store, StoreError};
use tempfile::TempDir;

/// A store of its own, and a database that it publishes to.
async fn fresh_store() -> (TempDir, Store, Publisher, String) {
    let data = tempfile::tempdir().unwrap();
    let url = fresh();
    let place = Place {
        postgres: Some(url.clone().into()),
        ..Place::from(data.path())
    };
    let store = Store::open_writer(&place).await.unwrap();
    (data, store, Publisher::open(&place).unwrap().unwrap(), url)
}

/// The real mails, read as carelessly as a test may.
fn mails() -> Vec<Email> {
    let mails = fixtures::corpus::mails();
    let mails = mails.iter().enumerate().map(|(number, bytes)| {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let header = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned())
        };
        Email {
            item: format!("{number:05}"),
            message_id: header("Message-Id:"),
            thread_id: format!("thread {}", number % 100),
            from_addr: header("From:"),
            to: header("To:")
                .map(|to| to.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
            subject: header("Subject:"),
            body_text: Some(body.to_owned()),
            date: Some(i64::try_from(number).unwrap() * 1_234_567_891),
            size_bytes: i64::try_from(bytes.len()).unwrap(),
            ..Email::default()
        }
    });
    mails.collect()
}

async fn commit_mails(store: &Store, mails: &[Email], gone: &[&str]) {
    let mut committer = store.committer(&source()).await.unwrap();
    let mut gone = Some(gone.iter().map(|item| (*item).to_owned()).collect());
    for part in mails.chunks(2_000) {
        let mut rows = Rows::of_lake(
            &DATASET,
            Provenance {
                source: source(),
                run: RunId("run".to_owned()),
            },
        );
        part.iter().for_each(|mail| rows.push(mail).unwrap());
        let change = Commit {
            run: RunId("run".to_owned()),
            source: source(),
            upserts: vec![(&DATASET, rows.finish().unwrap())],
            differ: false,
            removals: vec![(&DATASET, gone.take().unwrap_or_default())],
            cursor: Some(cursor(1)),
            items: Items::default(),
            message: None,
        };
        committer.commit(change).await.unwrap();
    }
}

/// What of a mail is compared.
type Seen = (
    String,
    Option<String>,
    Option<String>,
    Vec<String>,
    Option<i64>,
    i64,
);

/// As Postgres has it.
fn seen(mail: &Email) -> Seen {
    let clean = |text: &String| text.replace('\0', "\u{fffd}");
    (
        mail.item.clone(),
        mail.subject.as_ref().map(clean),
        mail.body_text.as_ref().map(clean),
        mail.to.iter().map(clean).collect(),
        mail.date,
        mail.size_bytes,
    )
}

/// All mails that are published, by item.
async fn published(url: &str) -> Vec<Seen> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows = sqlx::query_as(
        "SELECT _item, subject, body_text, \"to\", (extract(epoch FROM date) * 1000000)::bigint, size_bytes
         FROM dkc.emails ORDER BY _item COLLATE \"C\"",
    );
    let rows = rows.fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// What was done to the table of mails.
fn emails_of(done: Vec<PublishedTable>) -> Option<PublishedTable> {
    done.into_iter().find(|table| table.dataset == "emails")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_what_the_lake_has() {
    let (_data, store, publisher, url) = fresh_store().await;
    let mut mails = mails();
    commit_mails(&store, &mails, &[]).await;
    let first = emails_of(publisher.follow(&store).await.unwrap()).unwrap();
    assert!(first.is_whole);
    assert_eq!(first.came.rows, 6_046);
    let with_zero = |text: &String| u64::from(text.contains('\0'));
    let zeros = mails.iter().flat_map(|mail| {
        let texts = [&mail.subject, &mail.body_text, &mail.from_addr, &mail.message_id];
        texts.into_iter().flatten().chain(&mail.to)
    });
    assert_eq!(first.came.zeros, zeros.map(with_zero).sum::<u64>());
    assert_eq!(published(&url).await, mails.iter().map(seen).collect::<Vec<_>>());
    let question =
        "select count(*), sum(size_bytes), count(subject), count(distinct thread_id), sum(length(subject))
                    from ";
    let here = ask(&store, &format!("{question} emails")).await;
    let there = ask_postgres(&url, &format!("{question} dkc.emails"));
    assert_eq!(there.replace('|', ","), here);

    // Nothing new, then some of it new, changed and gone.
    assert_eq!(publisher.follow(&store).await.unwrap(), []);
    for mail in mails.iter_mut().take(100) {
        mail.subject = Some("changed".to_owned());
    }
    mails.truncate(6_000);
    mails.push(Email {
        item: "new".to_owned(),
        ..mails[7].clone()
    });
    let gone: Vec<String> = (6_000..6_046).map(|number| format!("{number:05}")).collect();
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    commit_mails(&store, &mails, &gone).await;
    let second = emails_of(publisher.follow(&store).await.unwrap()).unwrap();
    assert!(!second.is_whole);
    assert_eq!((second.came.rows, second.left), (101, 146));
    assert_eq!(published(&url).await, mails.iter().map(seen).collect::<Vec<_>>());

    // Files that are only arranged anew are no news.
    store.compact(jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(publisher.follow(&store).await.unwrap(), []);
    // Snapshots that are forgotten are no hindrance.
    commit_mails(&store, &mails[..10], &["new"]).await;
    store.compact(jiff::Timestamp::now()).await.unwrap();
    emails_of(publisher.follow(&store).await.unwrap()).unwrap();
    mails.pop();
    assert_eq!(published(&url).await, mails.iter().map(seen).collect::<Vec<_>>());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_stopped_leaves_nothing_half_published() {
    let (_data, store, publisher, url) = fresh_store().await;
    let mut mails = mails();
    commit_mails(&store, &mails, &[]).await;
    let mut stopped = 0;
    for change in ["", "other "] {
        for mail in &mut mails {
            mail.subject = Some(format!("{change}{}", mail.item));
        }
        commit_mails(&store, &mails, &[]).await;
        let mut patience = Duration::from_millis(4);
        loop {
            let followed = tokio::time::timeout(patience, publisher.follow(&store)).await;
            let is_there = ask_postgres(&url, "select to_regclass('dkc.emails') is not null") == "t";
            let count = "select count(*), count(*) filter (where subject like 'other %') from dkc.emails";
            let counts = if is_there {
                ask_postgres(&url, count)
            } else {
                String::new()
            };
            if let Ok(followed) = followed {
                followed.unwrap();
                assert_eq!(counts, ["6046|0", "6046|6046"][usize::from(!change.is_empty())]);
                break;
            }
            let whole = ["", "6046|0", "6046|6046"];
            assert!(whole.contains(&counts.as_str()), "{counts} after {patience:?}");
            stopped += 1;
            patience = patience * 3 / 2;
        }
    }
    assert!(stopped > 4, "stopped only {stopped} times");
    assert_eq!(published(&url).await, mails.iter().map(seen).collect::<Vec<_>>());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_explain_themselves_and_are_indexed() {
    let (_data, store, publisher, url) = fresh_store().await;
    let strange = "\0 \"quoted\" it's {a,b} \\ \n\t\r NULL 😀 \u{10ffff}";
    commit(
        &mut store.committer(&source()).await.unwrap(),
        &[("a", strange), ("b", "")],
        &[],
        1,
    )
    .await;
    publisher.follow(&store).await.unwrap();
    let rows = published(&url).await;
    assert_eq!(
        rows[0].1.as_deref(),
        Some(strange.replace('\0', "\u{fffd}").as_str())
    );
    assert_eq!(rows[1].1.as_deref(), Some(""));
    assert_eq!(rows[0].4, Some(1_700_000_000_000_000));
    let lines = |sql: &str| -> BTreeSet<String> {
        let answer = ask_postgres(&url, sql);
        answer.lines().map(str::to_owned).collect()
    };
    let indexes = lines("select indexdef from pg_indexes where schemaname = 'dkc' and tablename = 'emails'");
    for index in [
        "UNIQUE INDEX emails_key ON dkc.emails USING btree (_source, _item)",
        "INDEX emails_by_date ON dkc.emails USING btree (date)",
    ] {
        assert!(
            indexes.contains(&format!("CREATE {index}")),
            "{index} is not in {indexes:?}"
        );
    }
    let uncommented = lines(
        "select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = 'dkc'::regnamespace and c.relkind = 'r' and c.relname <> 'dkc_published'
         and a.attnum > 0 and col_description(c.oid, a.attnum) is null",
    );
    assert_eq!(uncommented, BTreeSet::new());
    let about = ask_postgres(&url, "select obj_description('dkc.emails'::regclass)");
    assert!(about.starts_with(DATASET.about), "{about}");
    let tables = lines("select tablename from pg_tables where schemaname = 'dkc'");
    for dataset in schemas::datasets::ALL {
        let is_published = dataset.home == schemas::Home::Lake && dataset.name != "raw";
        assert_eq!(tables.contains(dataset.name), is_published, "{}", dataset.name);
    }

    // With a table that somebody made smaller, or removed, it begins anew.
    let columns = ["subject"];
    let narrow = publisher
        .follow_columns(&store, &DATASET, &columns)
        .await
        .unwrap();
    assert!(narrow.unwrap().is_whole);
    assert_eq!(
        ask_postgres(&url, "select * from dkc.emails where _item = 'b'"),
        "mail|b|"
    );
    ask_postgres(&url, "drop table dkc.emails");
    assert!(
        emails_of(publisher.follow(&store).await.unwrap())
            .unwrap()
            .is_whole
    );
    assert_eq!(published(&url).await, rows);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_published_to_again() {
    let server = Postgres::start();
    let data = tempfile::tempdir().unwrap();
    let store = Store::open_writer(data.path()).await.unwrap();
    let url = server.database();
    let place = Place {
        postgres: Some(url.clone().into()),
        ..Place::from(data.path())
    };
    let publisher = Publisher::open(&place).unwrap().unwrap();
    assert!(!format!("{publisher:?}").contains(fixtures::postgres::PASSWORD));
    let mut committer = store.committer(&source()).await.unwrap();
    commit(&mut committer, &[("a", "one")], &[], 1).await;
    publisher.follow(&store).await.unwrap();
    server.stop_fast();
    commit(&mut committer, &[("b", "two")], &[], 2).await;
    let refused = publisher.follow(&store).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unreachable { .. }), "{refused:?}");
    server.start_again();
    let done = emails_of(publisher.follow(&store).await.unwrap()).unwrap();
    assert_eq!((done.is_whole, done.came.rows), (false, 1));
    assert_eq!(ask_postgres(&url, "select count(*) from dkc.emails"), "2");
    store.close().await;
}

/// Something in every part of a store; the text of a token.
async fn fill(place: &Place) -> String {
    let store = Store::open_writer(place).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    commit(
        &mut committer,
        &[("a", "one"), ("b", "two"), ("c", "three")],
        &[],
        1,
    )
    .await;
    commit(&mut committer, &[("b", "zwei"), ("é 'q' \\", "four")], &["c"], 2).await;
    commit(&mut committer, &[("e", "five")], &["a"], 3).await;
    committer
        .commit(Commit {
            cursor: None,
            message: Some("said \"so\"\n".to_owned()),
            ..batch(&[("f", "six")], &[], 4)
        })
        .await
        .unwrap();
    store.close().await;
    let tokens = Tokens::open(place).await.unwrap();
    let token = NewToken {
        name: "a token".to_owned(),
        role: Role::User,
        datasets: Some(vec!["emails".to_owned()]),
        expires_at: None,
        requests_per_second: Some(7),
    };
    let (text, _) = tokens.create(token).await.unwrap();
    tokens.close().await;
    let run = Run::new(source(), Trigger::Schedule, 1_700_000_000_000_000);
    let queue = Queue::open(place).await.unwrap();
    let request = Request {
        run: run.clone(),
        priority: -3,
        host: Some("mail.example.org".to_owned()),
        once: Some("once".to_owned()),
    };
    queue.enqueue(&[request]).await.unwrap();
    queue.close().await;
    let log = RunLog::open(place).await.unwrap();
    let lines: Vec<_> = (0..2_500)
        .map(|number| (run.run.clone(), number, Level::Warn, format!("line {number}")))
        .collect();
    log.append(&lines).await.unwrap();
    log.close().await;
    let audit = Audit::open(place).await.unwrap();
    let entry = Entry {
        at: 1,
        who: "-".to_owned(),
        role: "-".to_owned(),
        operation: "sql".to_owned(),
        face: "rest".to_owned(),
        input: "{}".to_owned(),
        rows: 1,
        bytes: 2,
        outcome: "ok".to_owned(),
        duration_us: 3,
        request: "r".to_owned(),
    };
    audit.append(&[entry.clone(), entry]).await.unwrap();
    audit.close().await;
    text.expose_secret().to_owned()
}

/// What a store answers.
async fn answers(place: &Place) -> Vec<String> {
    let store = Store::open(place).await.unwrap();
    let verified = store.verify().await.unwrap();
    assert!(verified.problems.is_empty(), "{:?}", verified.problems);
    let mut answers = vec![format!("{:?}", store.cursor(&source()).await.unwrap())];
    for question in [
        "select _item, subject, date, folders from emails order by 1",
        "select _item, sha256 from raw order by 1",
        "select run, state, \"trigger\", started_at from runs order by 1",
    ] {
        answers.push(ask(&store, question).await);
    }
    store.close().await;
    let log = RunLog::open(place).await.unwrap();
    let queue = Queue::open(place).await.unwrap();
    let active = queue.active(&source()).await.unwrap();
    answers.push(format!("{active:?}"));
    answers.push(format!("{:?}", log.of(&active[0].run, 0, 5_000).await.unwrap()));
    log.close().await;
    queue.close().await;
    let audit = Audit::open(place).await.unwrap();
    answers.push(format!("{:?}", audit.page(0, 10).await.unwrap()));
    audit.close().await;
    answers
}

/// All rows of all tables of a file, as SQLite writes them.
async fn contents(file: &Path) -> BTreeMap<String, Vec<String>> {
    let url = format!("sqlite://{}?mode=rw", file.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT m.name, group_concat(quote(c.name), ' ') FROM sqlite_master m JOIN pragma_table_info(m.name) c
         WHERE m.type = 'table' AND m.name <> '_sqlx_migrations' AND substr(m.name, 1, 7) <> 'sqlite_' GROUP BY m.name",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut tables = BTreeMap::new();
    for (table, columns) in columns {
        // Both sides made their columns in the order of their files, but for those that came later.
        let mut names: Vec<&str> = columns.split(' ').map(|name| name.trim_matches('\'')).collect();
        names.sort_unstable();
        let cells: Vec<String> = names
            .iter()
            .map(|name| format!("coalesce(quote(\"{name}\"), '')"))
            .collect();
        let sql = format!("SELECT {} FROM \"{table}\"", cells.join(" || '|' || "));
        let mut rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        rows.sort_unstable();
        tables.insert(table, rows);
    }
    connection.close().await.unwrap();
    tables
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_to_postgres_and_back_with_nothing_lost() {
    let data = tempfile::tempdir().unwrap();
    let files = Place::from(data.path());
    let url = fresh();
    let postgres = Place {
        postgres: Some(url.clone().into()),
        ..files.clone()
    };
    let token = fill(&files).await;
    let before = answers(&files).await;
    let (up, down) = ((&files, &postgres), (&postgres, &files));

    // Not while somebody writes, nor while somebody has a file open.
    let writer = Store::open_writer(&files).await.unwrap();
    let refused = migrate(up.0, up.1, Extent::Move, |_| {}).await.unwrap_err();
    assert!(
        matches!(refused, MigrateError::Store(StoreError::InUse { .. })),
        "{refused:?}"
    );
    writer.close().await;
    let tokens = Tokens::open(&files).await.unwrap();
    let refused = migrate(up.0, up.1, Extent::Move, |_| {}).await.unwrap_err();
    assert!(
        matches!(refused, MigrateError::Store(StoreError::Locked { .. })),
        "{refused:?}"
    );
    tokens.close().await;

    let tried = migrate(up.0, up.1, Extent::Check, |_| {}).await.unwrap();
    assert_eq!(tried.set_aside, Vec::<String>::new());
    assert_eq!(answers(&files).await, before);
    let mut told = 0;
    let moved = migrate(up.0, up.1, Extent::Move, |_| told += 1).await.unwrap();
    assert_eq!(moved.tables, tried.tables);
    assert_eq!(told, moved.tables.len());
    let rows = |table: &str| {
        let mut tables = moved.tables.iter();
        tables.find(|moved| moved.table == table).unwrap().rows
    };
    assert_eq!((rows("dkc_state.run_log"), rows("dkc_audit.audit")), (2_500, 2));
    for part in ["state.sqlite", "audit.sqlite", "lake/catalog.sqlite"] {
        assert!(!data.path().join(part).exists(), "{part}");
        assert!(data.path().join(format!("{part}.migrated")).exists(), "{part}");
    }
    assert_eq!(answers(&postgres).await, before);
    assert_eq!(Some(id_in(&url)), id_of(data.path()));
    let tokens = Tokens::open(&postgres).await.unwrap();
    assert_eq!(tokens.verify(&token).await.unwrap().unwrap().name, "a token");
    tokens.close().await;
    // Numbers go on where they were.
    let next = "select nextval(pg_get_serial_sequence('dkc_state.run_log', 'seq'))";
    assert_eq!(ask_postgres(&url, next), "2501");
    let store = Store::open(&postgres).await.unwrap();
    let publisher = Publisher::open(&postgres).unwrap().unwrap();
    assert!(
        emails_of(publisher.follow(&store).await.unwrap())
            .unwrap()
            .is_whole
    );
    store.close().await;

    // Not into a directory that has none of the files.
    // A copy of the directory from before has the same id, and a catalog that is no longer the newest.
    let catalog = data.path().join("lake/catalog.sqlite");
    fs::copy(data.path().join("lake/catalog.sqlite.migrated"), &catalog).unwrap();
    let refused = Store::open_writer(up.1).await.unwrap_err();
    assert!(matches!(refused, StoreError::TwoCatalogs { .. }), "{refused:?}");
    fs::remove_file(&catalog).unwrap();
    let other = tempfile::tempdir().unwrap();
    let (theirs, here) = (on(other.path(), &url), Place::from(other.path()));
    let refused = migrate(&theirs, &here, Extent::Move, |_| {}).await.unwrap_err();
    assert!(
        matches!(refused, MigrateError::Store(StoreError::OtherDirectory { .. })),
        "{refused:?}"
    );
    assert!(!other.path().join("lake/catalog.sqlite").exists());
    migrate(down.0, down.1, Extent::Move, |_| {}).await.unwrap();
    assert_eq!(answers(&files).await, before);
    for part in ["state.sqlite", "audit.sqlite", "lake/catalog.sqlite"] {
        let old = contents(&data.path().join(format!("{part}.migrated"))).await;
        let new = contents(&data.path().join(part)).await;
        assert_eq!(
            old.keys().collect::<Vec<_>>(),
            new.keys().collect::<Vec<_>>(),
            "{part}"
        );
        for (table, old) in &old {
            let lost: Vec<&String> = old.iter().filter(|row| !new[table].contains(row)).collect();
            assert_eq!(lost, Vec::<&String>::new(), "{table}");
            // Each move is a snapshot.
            let moves = table.starts_with("ducklake_snapshot");
            assert_eq!(new[table].len(), old.len() + 2 * usize::from(moves), "{table}");
        }
    }
    let schemas =
        "select string_agg(nspname, ' ' order by nspname) from pg_namespace where nspname like 'dkc%'";
    assert_eq!(
        ask_postgres(&url, schemas),
        "dkc dkc_audit_migrated dkc_lake_migrated dkc_state_migrated"
    );
    // What was published knows the lake again.
    let store = Store::open(&files).await.unwrap();
    assert_eq!(publisher.follow(&store).await.unwrap(), []);
    store.close().await;
    let refused = migrate(&files, &files, Extent::Move, |_| {}).await.unwrap_err();
    assert!(matches!(refused, MigrateError::SameKind), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_moved_onto_another_store_or_while_a_run_is_at_work() {
    let data = tempfile::tempdir().unwrap();
    let files = Place::from(data.path());
    let postgres = Place {
        postgres: Some(fresh().into()),
        ..files.clone()
    };
    fill(&files).await;
    let queue = Queue::open(&files).await.unwrap();
    let claimed = queue
        .claim("worker", 1, 1, Duration::from_secs(60))
        .await
        .unwrap();
    queue.close().await;
    let refused = migrate(&files, &postgres, Extent::Move, |_| {})
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, MigrateError::AtWork(runs) if *runs == [claimed[0].run.run.0.clone()]),
        "{refused:?}"
    );
    let tokens = Tokens::open(&postgres).await.unwrap();
    let token = NewToken {
        name: "theirs".to_owned(),
        role: Role::User,
        datasets: None,
        expires_at: None,
        requests_per_second: None,
    };
    tokens.create(token).await.unwrap();
    tokens.close().await;
    let queue = Queue::open(&files).await.unwrap();
    queue.take_over(1, true).await.unwrap();
    queue.close().await;
    let before = answers_of_files(&files).await;
    let refused = migrate(&files, &postgres, Extent::Move, |_| {})
        .await
        .unwrap_err();
    assert!(matches!(refused, MigrateError::NotEmpty(_)), "{refused:?}");
    assert_eq!(answers_of_files(&files).await, before);
}

async fn answers_of_files(place: &Place) -> String {
    let store = Store::open(place).await.unwrap();
    let answer = ask(&store, "select _item, subject from emails order by 1").await;
    store.close().await;
    answer
}

/// A data directory whose tables are in that Postgres.
fn on(data: &Path, url: &str) -> Place {
    Place {
        postgres: Some(url.to_owned().into()),
        ..Place::from(data)
    }
}

/// The id that a database has beside its catalog.
fn id_in(url: &str) -> String {
    ask_postgres(
        url,
        "select value from dkc_lake.ducklake_metadata where key = 'dkc_data_id'",
    )
}

/// The id that a data directory has.
fn id_of(data: &Path) -> Option<String> {
    let text = fs::read_to_string(data.join("data.id")).ok()?;
    Some(text.trim().to_owned())
}

/// Takes the ids away, as if an older dkc had made both.
fn forget_ids(data: &Path, url: &str) {
    fs::remove_file(data.join("data.id")).unwrap();
    ask_postgres(
        url,
        "delete from dkc_lake.ducklake_metadata where key = 'dkc_data_id'",
    );
}

async fn commit_one(store: &Store, item: &str, at: u64) {
    let mut committer = store.committer(&source()).await.unwrap();
    commit(&mut committer, &[(item, "subject")], &[], at).await;
}

async fn is_refused(place: &Place) {
    for opened in [
        Store::open(place).await,
        Store::open_writer(place).await,
        Store::open_alone(place).await,
    ] {
        assert!(
            matches!(opened, Err(StoreError::OtherDirectory { .. })),
            "{opened:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_is_that_of_one_data_directory_wherever_that_is() {
    let folder = tempfile::tempdir().unwrap();
    let [here, there, moved] = ["here", "there", "moved"].map(|name| folder.path().join(name));
    let url = fresh();
    let store = Store::open_writer(&on(&here, &url)).await.unwrap();
    commit_one(&store, "a", 1).await;
    store.close().await;
    let id = id_in(&url);
    assert_eq!(id_of(&here), Some(id.clone()));
    assert_eq!(id.parse::<uuid::Uuid>().unwrap().get_version_num(), 7);

    // Another one, first without an id, then with one of its own.
    is_refused(&on(&there, &url)).await;
    let queue = Queue::open(&on(&there, &url)).await;
    assert!(
        matches!(queue, Err(StoreError::OtherDirectory { .. })),
        "{queue:?}"
    );
    assert_eq!(id_of(&there), None);
    Store::open_writer(&there).await.unwrap().close().await;
    assert!(id_of(&there).is_some());
    is_refused(&on(&there, &url)).await;
    let told = Store::open(&on(&there, &url)).await.unwrap_err().to_string();
    let names = ["127.0.0.1", "there", "data.id", "another database"];
    assert!(names.iter().all(|name| told.contains(name)), "{told}");
    assert!(!told.contains(fixtures::postgres::PASSWORD), "{told}");
    // Nothing of the lake was changed by it.
    assert_eq!(id_in(&url), id);
    let path = "select value from dkc_lake.ducklake_metadata where key = 'data_path'";
    assert!(ask_postgres(&url, path).contains("/here/"));

    fs::rename(&here, &moved).unwrap();
    let place = on(&moved, &url);
    let store = Store::open(&place).await.unwrap();
    assert_eq!(ask(&store, "select _item from emails").await, "a");
    store.close().await;
    let store = Store::open_writer(&place).await.unwrap();
    commit_one(&store, "b", 2).await;
    assert_eq!(ask(&store, "select count(*) from emails").await, "2");
    assert_eq!(store.verify().await.unwrap().problems, []);
    store.close().await;
    assert_eq!((id_of(&moved), id_in(&url)), (Some(id.clone()), id));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_missing_is_completed_by_who_has_the_files_and_writes() {
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = fresh();
    let place = on(data.path(), &url);
    let store = Store::open_writer(&place).await.unwrap();
    commit_one(&store, "a", 1).await;
    store.close().await;
    let first = id_in(&url);

    forget_ids(data.path(), &url);
    is_refused(&on(other.path(), &url)).await;
    Store::open(&place).await.unwrap().close().await;
    assert_eq!((id_of(data.path()), id_in(&url)), (None, String::new()));
    let store = Store::open_writer(&place).await.unwrap();
    let second = id_in(&url);
    assert_eq!(id_of(data.path()), Some(second.clone()));
    assert_ne!(first, second);
    // What was sealed without an id is whole with it.
    assert_eq!(store.verify().await.unwrap().problems, []);
    store.close().await;

    fs::remove_file(data.path().join("data.id")).unwrap();
    is_refused(&on(other.path(), &url)).await;
    Store::open_writer(&place).await.unwrap().close().await;
    assert_eq!((id_of(data.path()), id_in(&url)), (Some(second.clone()), second));

    // A copy that lacks what was stored since is not the one.
    forget_ids(data.path(), &url);
    let newest = crate::files(&data.path().join("lake/files/main/emails")).remove(0);
    let away = data.path().join("away");
    let raw = data.path().join("lake/files/main/raw");
    fs::rename(&raw, &away).unwrap();
    fs::rename(&newest, data.path().join("mail")).unwrap();
    is_refused(&place).await;
    fs::rename(data.path().join("mail"), &newest).unwrap();
    fs::rename(&away, &raw).unwrap();
    Store::open_writer(&place).await.unwrap().close().await;
    assert_eq!(id_of(data.path()), Some(id_in(&url)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_lake_is_anybodys_and_whoever_had_it_stores_nothing_more() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = fresh();
    let place = on(one.path(), &url);
    let store = Store::open_writer(&place).await.unwrap();
    assert_eq!(id_of(one.path()), Some(id_in(&url)));
    let mut committer = store.committer(&source()).await.unwrap();
    // Whoever only reads does not take it.
    Store::open(&on(other.path(), &url)).await.unwrap().close().await;
    assert_eq!(id_of(one.path()), Some(id_in(&url)));
    let taker = Store::open_writer(&on(other.path(), &url)).await.unwrap();
    assert_eq!(id_of(other.path()), Some(id_in(&url)));
    let refused = committer
        .commit(batch(&[("a", "one")], &[], 1))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, StoreError::OtherDirectory { .. }),
        "{refused:?}"
    );
    store.close().await;
    is_refused(&place).await;
    commit_one(&taker, "b", 1).await;
    assert_eq!(ask(&taker, "select _item from emails").await, "b");
    taker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_first_open_a_store_at_once_agree_on_its_id() {
    let data = tempfile::tempdir().unwrap();
    let url = fresh();
    let place = on(data.path(), &url);
    let opened = futures::future::join_all((0..4).map(|_| Store::open_writer(&place))).await;
    assert_eq!(id_of(data.path()), Some(id_in(&url)));
    for (number, store) in (1..).zip(opened) {
        let store = store.unwrap();
        commit_one(&store, &number.to_string(), number).await;
        store.close().await;
    }
    let store = Store::open(&place).await.unwrap();
    assert_eq!(ask(&store, "select count(*) from emails").await, "4");
    store.close().await;
}
