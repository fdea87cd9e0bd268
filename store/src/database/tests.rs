//! Places for tests, and what is promised of them.

use super::*;
use futures::future::join_all;
use secrecy::ExposeSecret;
use std::fs;
use tempfile::TempDir;

/// A fresh place of its own, all in files.
pub(crate) fn sqlite() -> (TempDir, Place) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::from(folder.path());
    (folder, place)
}

/// A fresh place of its own, with its tables in Postgres.
pub(crate) fn postgres() -> (TempDir, Place) {
    let (folder, mut place) = sqlite();
    place.postgres = Some(fixtures::postgres::fresh().into());
    (folder, place)
}

async fn number(database: &Database, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(database.pool()).await.unwrap()
}

async fn write(database: &Database) {
    let mut transaction = database.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO tainted VALUES ($1, 'why', 1) ON CONFLICT (who) DO UPDATE SET until = tainted.until + 1",
    )
    .bind("agent")
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_path_may_have_any_name() {
    let parent = tempfile::tempdir().unwrap();
    for name in [
        "a b",
        "50%41 off",
        "what?mode=ro",
        "#1",
        "größe",
        "a&b=c;d",
        "'\"",
        "tab\there",
    ] {
        let data = parent.path().join(name);
        fs::create_dir(&data).unwrap();
        let database = Database::open(&Place::from(&data), Part::State).await.unwrap();
        write(&database).await;
        database.close().await;
        assert!(data.join("state.sqlite").metadata().unwrap().len() > 0, "{name}");
        let reads = Database::open_to_read(&Place::from(&data), Part::State)
            .await
            .unwrap();
        assert_eq!(number(&reads, "SELECT until FROM tainted").await, 1, "{name}");
    }
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 8);
}

#[tokio::test]
async fn sqlite_waits_for_locks_and_for_the_disk() {
    let (_folder, place) = sqlite();
    for (durability, synchronous) in [(Durability::Full, 2), (Durability::Process, 1)] {
        let database = Database::open_with(&place, Part::State, durability)
            .await
            .unwrap();
        assert_eq!(number(&database, "PRAGMA synchronous").await, synchronous);
        let waits = number(&database, "PRAGMA busy_timeout").await;
        assert_eq!(waits, BUSY.as_millis() as i64);
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
            .fetch_one(database.pool())
            .await
            .unwrap();
        assert_eq!(mode, "wal");
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_cannot_be_read() {
    let (folder, place) = sqlite();
    assert!(Database::open_to_read(&place, Part::State).await.is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "and is not made");
}

/// Opened at once by several, written by one at a time, watched, and not written to by who only reads.
async fn is_shared(place: &Place) {
    let opened = join_all((0..6).map(|_| Database::open(place, Part::State))).await;
    let opened: Vec<Database> = opened.into_iter().map(Result::unwrap).collect();
    let mut watch = opened[0].watch().await.unwrap();
    assert!(watch.has_changed().await.unwrap());
    assert!(!watch.has_changed().await.unwrap());
    join_all(opened.iter().map(write)).await;
    assert!(watch.has_changed().await.unwrap());
    assert_eq!(number(&opened[0], "SELECT until FROM tainted").await, 6);
    assert!(!watch.has_changed().await.unwrap());

    let reads = Database::open_to_read(place, Part::State).await.unwrap();
    assert_eq!(number(&reads, "SELECT until FROM tainted").await, 6);
    let refused = sqlx::query("DELETE FROM tainted").execute(reads.pool()).await;
    assert!(refused.is_err());
    let refused = match reads.native().unwrap() {
        Native::Sqlite(pool) => sqlx::query("DELETE FROM tainted").execute(&pool).await.is_err(),
        Native::Postgres(pool) => sqlx::query("DELETE FROM tainted").execute(&pool).await.is_err(),
    };
    assert!(refused);
    // One that could write lends nobody a way to do so either.
    let refused = match opened[0].native().unwrap() {
        Native::Sqlite(pool) => sqlx::query("DELETE FROM tainted").execute(&pool).await.is_err(),
        Native::Postgres(pool) => sqlx::query("DELETE FROM tainted").execute(&pool).await.is_err(),
    };
    assert!(refused);
    assert_eq!(number(&reads, "SELECT until FROM tainted").await, 6);
}

/// Of those who add up in transactions of their own, none is lost.
async fn has_one_writer_at_a_time(place: &Place) {
    let database = Database::open(place, Part::State).await.unwrap();
    write(&database).await;
    let add = async || {
        let mut transaction = database.begin_alone().await.unwrap();
        let before: i64 = sqlx::query_scalar("SELECT until FROM tainted")
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        sqlx::query("UPDATE tainted SET until = $1")
            .bind(before + 1)
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    };
    join_all((0..20).map(|_| add())).await;
    assert_eq!(number(&database, "SELECT until FROM tainted").await, 21);
}

#[tokio::test]
async fn several_share_files() {
    let (_folder, place) = sqlite();
    is_shared(&place).await;
    let (_folder, place) = sqlite();
    has_one_writer_at_a_time(&place).await;
}

#[tokio::test]
async fn several_share_a_postgres() {
    let (_folder, place) = postgres();
    is_shared(&place).await;
    let (_folder, place) = postgres();
    has_one_writer_at_a_time(&place).await;
}

#[tokio::test]
async fn a_data_directory_of_an_older_dkc_opens() {
    let (folder, place) = sqlite();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("state.sqlite"))
        .create_if_missing(true);
    let old = SqlitePool::connect_with(options).await.unwrap();
    for made in [
        include_str!("../../migrations/sqlite/state/0001_runs.sql"),
        include_str!("../../migrations/sqlite/state/0002_tokens.sql"),
        include_str!("../../migrations/sqlite/state/0004_events.sql"),
        include_str!("../../migrations/sqlite/state/0005_approvals.sql"),
        "INSERT INTO tainted VALUES ('agent', 'why', 7)",
    ] {
        sqlx::raw_sql(made).execute(&old).await.unwrap();
    }
    old.close().await;
    for _ in 0..2 {
        let database = Database::open(&place, Part::State).await.unwrap();
        assert_eq!(number(&database, "SELECT until FROM tainted").await, 7);
        database.close().await;
    }
    let database = Database::open(&place, Part::State).await.unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (999, 'later', '', 1, x'00', 0)")
        .execute(database.pool())
        .await
        .unwrap();
    let refused = Database::open(&place, Part::State).await;
    assert!(matches!(refused, Err(StoreError::Newer { .. })), "{refused:?}");
}

#[tokio::test]
async fn no_error_tells_the_password() {
    let (_folder, mut place) = postgres();
    let right = place.postgres.clone().unwrap();
    let password = fixtures::postgres::PASSWORD;
    assert!(right.expose_secret().contains(password));
    let database = Database::open(&place, Part::Audit).await.unwrap();
    assert!(
        database.name().starts_with("postgres://127.0.0.1:"),
        "{database:?}"
    );
    let told = |error: StoreError| {
        let mut words = format!("{place:?} {database:?} {error:?}");
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            words.push_str(&error.to_string());
            cause = error.source();
        }
        words
    };
    let failed = sqlx::query("SELECT nothing").execute(database.pool()).await;
    assert!(!told(database.failed()(failed.unwrap_err())).contains(password));
    let port = fixtures::postgres::Postgres::shared().port();
    let wrong = [
        format!("postgres://dkc:{password}@127.0.0.1:1/dkc"),
        format!("mysql://dkc:{password}@127.0.0.1/dkc"),
        format!("dkc:{password}@127.0.0.1"),
        format!("postgres://dkc:{password}@127.0.0.1:{port}/none"),
        right.expose_secret().replace(password, &format!("{password}!")),
    ];
    for url in wrong {
        let place = Place {
            postgres: Some(url.into()),
            ..place.clone()
        };
        let error = Database::open(&place, Part::Audit).await.unwrap_err();
        assert!(!told(error).contains(password));
    }
    place.postgres = Some(format!("postgres://dkc:{password}@127.0.0.1:1/dkc").into());
    let error = Database::open(&place, Part::Audit).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn what_the_restart_of_a_server_cut_off_is_connected_again() {
    let server = fixtures::postgres::Postgres::start();
    let (_folder, mut place) = sqlite();
    place.postgres = Some(server.database().into());
    let database = Database::open(&place, Part::State).await.unwrap();
    let mut watch = database.watch().await.unwrap();
    write(&database).await;
    server.stop_fast();
    server.start_again();
    write(&database).await;
    assert!(watch.has_changed().await.unwrap());
    let schema: String = sqlx::query_scalar("SELECT CAST(current_schema() AS TEXT)")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert_eq!(schema, Part::State.schema());
}

#[tokio::test]
async fn what_waiting_does_not_cure_is_refused_with_what_to_do() {
    let (_folder, mut place) = postgres();
    let right = place.postgres.clone().unwrap();
    let right = right.expose_secret();
    place.reach().await.unwrap();
    assert!(!place.has_postgres().await.unwrap(), "and nothing is made");
    let password = fixtures::postgres::PASSWORD;
    let port = fixtures::postgres::Postgres::shared().port();
    let at = format!("postgres://127.0.0.1:{port}/");
    let none = format!("{at}none");
    for (url, database, words) in [
        (
            right.replace(password, "wrong-horse"),
            at.as_str(),
            "its user or its password is wrong",
        ),
        (
            format!("postgres://dkc:{password}@127.0.0.1:{port}/none?sslmode=disable"),
            none.as_str(),
            "there is no such database; `createdb",
        ),
        (
            right.replace("sslmode=disable", "sslmode=require"),
            at.as_str(),
            "`sslmode`",
        ),
        (
            format!("mysql://dkc:{password}@127.0.0.1/dkc"),
            "Postgres",
            "begin with postgres://",
        ),
        (password.to_owned(), "Postgres", "it is no URL"),
        (
            format!("postgres://dkc:12#{password}@127.0.0.1/dkc"),
            "Postgres",
            "%23",
        ),
        (
            format!("postgres://dkc:12/{password}@127.0.0.1/dkc"),
            "Postgres",
            "%2F",
        ),
    ] {
        place.postgres = Some(url.into());
        let error = place.reach().await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
        let told = error.to_string();
        assert!(told.starts_with(&format!("`{database}")), "{database}: {told}");
        assert!(told.contains(words), "{words}: {told}");
        assert!(
            !told.contains(password) && !told.contains("wrong-horse"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_port() {
    let (_folder, mut place) = sqlite();
    place.reach().await.unwrap();
    place.postgres = Some("postgres://dkc:pw@127.0.0.1:1/dkc".to_owned().into());
    let error = place.reach().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    let told = error.to_string();
    assert!(
        told.contains("`postgres://127.0.0.1:1/dkc`") && told.contains("nothing listens there"),
        "{told}"
    );
}
