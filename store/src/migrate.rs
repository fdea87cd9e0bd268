//! Moving a store: its tables from SQLite to Postgres, or back. The files of the lake, keys and the index of search stay.
//!
//! - In: two places of one data directory. Out: every row of every table at the new one, the old tables set aside.
//! - Nobody writes to either meanwhile. What arrived is read again and compared before it is kept.
//! - What tables there are is asked of both databases: a table that one of them lacks is told, not left behind.
//! - Not here: published tables (`relational`), which can be made again.

mod copy;
mod end;
mod error;
mod table;

pub use error::MigrateError;

use crate::Store;
use crate::database::{Database, Part, Place};
use crate::directory::Lock;
use crate::error::StoreError;
use crate::identity;
use crate::lake::catalog::{Catalog, CommitInfo, DATA_ID, On};
use crate::lake::data_file::sync_directory;
use crate::lake::lost::lost_files;
use crate::relational::Server;
use copy::copy;
use end::End;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

/// The parts of a store.
const PARTS: [Part; 3] = [Part::Lake, Part::State, Part::Audit];

/// The tables of the lake's catalog, which otherwise are made together with its first snapshot.
const SQLITE_LAKE: &str = include_str!("../migrations/sqlite/lake/0001_ducklake.sql");
const POSTGRES_LAKE: &str = include_str!("../migrations/postgres/lake/0001_ducklake.sql");

/// How long somebody who is just closing a file is waited for.
const BUSY: Duration = Duration::from_secs(5);

/// Whether a move is only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All is copied and compared, and then taken back.
    Check,
    /// All is moved.
    Move,
}

/// A table that was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MovedTable {
    /// The table, after the schema it has in Postgres.
    pub table: String,
    /// Rows in it.
    pub rows: u64,
    /// Texts with a character U+0000, which Postgres does not take: it is U+FFFD there.
    pub replaced: u64,
}

/// What a move came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Migrated {
    /// The tables, all of them equal at both places.
    pub tables: Vec<MovedTable>,
    /// What the old files or schemas are called now; none when it was only tried.
    pub set_aside: Vec<String>,
}

/// Whether the tables of a data directory are in its Postgres: the ids of both say so. From before there were ids, the files
/// that the catalog names now do.
///
/// # Errors
/// [`StoreError::OtherDirectory`] when it keeps the lake of another directory, [`StoreError::NotMoved`] when it keeps none of
/// this one; else as [`Store::open`].
pub async fn is_moved(place: &Place) -> Result<bool, StoreError> {
    let store = Store::open(place).await?;
    let moved = has_all_of(&store).await;
    store.close().await;
    moved
}

async fn has_all_of(store: &Store) -> Result<bool, StoreError> {
    let catalog = store.catalog();
    if let Some(id) = identity::of(store.data())? {
        let same: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM ducklake_metadata WHERE key = $1 AND value = $2 AND scope IS NULL",
        )
        .bind(DATA_ID)
        .bind(id.to_string())
        .fetch_one(&catalog.pool())
        .await
        .map_err(catalog.database().failed())?;
        if same > 0 {
            return Ok(true);
        }
    }
    Ok(lost_files(catalog, None).await?.is_empty())
}

/// Moves a store from one place to another; `told` hears of every table.
///
/// # Errors
/// [`MigrateError`]: the old place is as it was then.
pub async fn migrate(
    from: &Place,
    to: &Place,
    extent: Extent,
    told: impl FnMut(&MovedTable) + Send,
) -> Result<Migrated, MigrateError> {
    let data = fs::canonicalize(&from.data).map_err(StoreError::io("read", &from.data))?;
    let lock = Lock::take(&data).await?;
    if !lock.is_alone() {
        return Err(StoreError::InUse { path: data }.into());
    }
    let migrated = match (Server::of(from)?, Server::of(to)?) {
        (None, Some(server)) => to_postgres(&data, to, &server, extent, told).await?,
        (Some(server), None) => to_sqlite(&data, from, &server, extent, told).await?,
        _ => return Err(MigrateError::SameKind),
    };
    if extent == Extent::Move {
        seal(to).await?;
    }
    Ok(migrated)
}

/// Brings the tables of an older dkc to those of today, and sees whether the catalog is that of the data directory and as it
/// was written: what is not would be moved as if it was.
async fn prepare(from: &Place) -> Result<(), MigrateError> {
    bring_up_to_date(from).await?;
    let mut catalog = Catalog::connect(from).await?;
    if catalog.is_new().await? {
        return Err(MigrateError::NoStore(catalog.database().name().to_owned()));
    }
    catalog.claim().await?;
    let findings = catalog.integrity().await;
    catalog.close().await;
    let findings = findings?;
    if findings.is_empty() {
        Ok(())
    } else {
        Err(MigrateError::Damaged(findings))
    }
}

/// Makes a snapshot in which nothing is other than before, but the catalog: its digest is of the new place.
async fn seal(place: &Place) -> Result<(), StoreError> {
    let catalog = Catalog::connect(place).await?;
    let info = CommitInfo {
        rearranged: true,
        ..CommitInfo::default()
    };
    let head = catalog.head().await?;
    let sealed = catalog
        .commit(head, On::Base, &[], "move the catalog", &info)
        .await;
    catalog.close().await;
    sealed.map(drop)
}

/// Tables of an older dkc become those of today.
async fn bring_up_to_date(place: &Place) -> Result<(), StoreError> {
    for part in PARTS {
        Database::open(place, part).await?.close().await;
    }
    Ok(())
}

async fn to_postgres(
    data: &Path,
    to: &Place,
    server: &Server,
    extent: Extent,
    mut told: impl FnMut(&MovedTable) + Send,
) -> Result<Migrated, MigrateError> {
    let catalog = data.join(Part::Lake.file());
    if !catalog.is_file() {
        return Err(MigrateError::NoStore(catalog.display().to_string()));
    }
    prepare(&Place::from(data)).await?;
    bring_up_to_date(to).await?;
    let mut target = server.connect().await?;
    sql_of(&mut target, server, "BEGIN").await?;
    let (mut tables, mut sources) = (Vec::new(), Vec::new());
    for part in PARTS {
        let path = data.join(part.file());
        let mut source = open_sqlite(&path).await?;
        let mut from = End::sqlite(&mut source, &path);
        // Whoever comes now cannot even read, and so will not write to a file that is no longer read.
        from.run("BEGIN EXCLUSIVE".to_owned()).await?;
        let mut to = End::postgres(&mut target, server, part.schema());
        if part == Part::Lake && to.tables().await?.is_empty() {
            let make = format!("SET LOCAL search_path = {}; {POSTGRES_LAKE}", part.schema());
            to.run(make).await?;
        }
        tables.extend(copy(part, &mut from, &mut to, &mut told).await?);
        if part == Part::Lake {
            sign(&mut to, data).await?;
        }
        sources.push((source, path));
    }
    let mut set_aside = Vec::new();
    if extent == Extent::Move {
        sql_of(&mut target, server, "COMMIT").await?;
        for (_, path) in &sources {
            let name = free_name(path);
            fs::rename(path, &name).map_err(StoreError::io("rename", path))?;
            set_aside.push(name.display().to_string());
        }
        sync_parts(data)?;
    }
    // What was only tried the server takes back.
    target.close().await.map_err(server.failed())?;
    Ok(Migrated { tables, set_aside })
}

async fn to_sqlite(
    data: &Path,
    from: &Place,
    server: &Server,
    extent: Extent,
    mut told: impl FnMut(&MovedTable) + Send,
) -> Result<Migrated, MigrateError> {
    for path in PARTS.map(|part| data.join(part.file())) {
        if path.exists() {
            return Err(MigrateError::NotEmpty(path.display().to_string()));
        }
    }
    // All is made beside its place, and put there when it is whole.
    let beside = tempfile::Builder::new()
        .prefix(".migrate-")
        .tempdir_in(data)
        .map_err(StoreError::io("write", data))?;
    let lake = beside.path().join("lake");
    fs::create_dir(&lake).map_err(StoreError::io("create", &lake))?;
    prepare(from).await?;
    bring_up_to_date(&Place::from(beside.path())).await?;
    let mut source = server.connect().await?;
    sql_of(&mut source, server, "BEGIN").await?;
    let mut tables = Vec::new();
    for part in PARTS {
        let path = beside.path().join(part.file());
        let mut target = open_sqlite(&path).await?;
        let mut from = End::postgres(&mut source, server, part.schema());
        let mut to = End::sqlite(&mut target, &path);
        to.run("BEGIN IMMEDIATE".to_owned()).await?;
        if part == Part::Lake {
            to.run(SQLITE_LAKE.to_owned()).await?;
        }
        tables.extend(copy(part, &mut from, &mut to, &mut told).await?);
        if part == Part::Lake {
            unsign(&mut to).await?;
        }
        to.run("COMMIT".to_owned()).await?;
        let closed = target.close().await;
        closed.map_err(StoreError::database(path.display().to_string().into(), false))?;
    }
    let mut set_aside = Vec::new();
    if extent == Extent::Move {
        for part in PARTS {
            set_aside.push(set_schema_aside(&mut source, server, part).await?);
        }
        put_in_place(beside.path(), data)?;
        if let Err(error) = sql_of(&mut source, server, "COMMIT").await {
            // The server has them still.
            for path in PARTS.map(|part| data.join(part.file())) {
                fs::remove_file(&path).map_err(StoreError::io("delete", &path))?;
            }
            return Err(error.into());
        }
    }
    source.close().await.map_err(server.failed())?;
    Ok(Migrated { tables, set_aside })
}

/// Puts the id of the data directory beside a catalog, by which it is known there.
async fn sign(lake: &mut End<'_>, data: &Path) -> Result<(), StoreError> {
    let id = identity::give(data, Uuid::now_v7())?;
    unsign(lake).await?;
    let table = lake.named("ducklake_metadata");
    lake.run(format!(
        "INSERT INTO {table} (key, value) VALUES ('{DATA_ID}', '{id}')"
    ))
    .await
}

/// Takes it away: a catalog that lies in its data directory needs none.
async fn unsign(lake: &mut End<'_>) -> Result<(), StoreError> {
    let table = lake.named("ducklake_metadata");
    lake.run(format!("DELETE FROM {table} WHERE key = '{DATA_ID}'"))
        .await
}

/// Opens a file that nobody else has open: SQLite writes ahead in a log only where nobody changes that.
async fn open_sqlite(path: &Path) -> Result<SqliteConnection, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .journal_mode(SqliteJournalMode::Delete)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let opened = options.connect().await;
    opened.map_err(StoreError::database(path.display().to_string().into(), false))
}

async fn sql_of(connection: &mut PgConnection, server: &Server, sql: &'static str) -> Result<(), StoreError> {
    let done = sqlx::raw_sql(sql).execute(connection).await;
    done.map(drop).map_err(server.failed())
}

/// A name beside a file that nothing has.
fn free_name(path: &Path) -> PathBuf {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(".migrated");
        if number > 1 {
            name.push(format!("-{number}"));
        }
        PathBuf::from(name)
    };
    let free = (1..).map(name).find(|name| !name.exists());
    free.unwrap_or_else(|| name(1))
}

/// Renames the schema of a part to a name that nothing has; that name.
async fn set_schema_aside(
    connection: &mut PgConnection,
    server: &Server,
    part: Part,
) -> Result<String, StoreError> {
    let mut end = End::postgres(connection, server, part.schema());
    let mut name = format!("{}_migrated", part.schema());
    let mut number = 1;
    while end
        .number(format!(
            "SELECT count(*) FROM pg_namespace WHERE nspname = '{name}'"
        ))
        .await?
        > 0
    {
        number += 1;
        name = format!("{}_migrated_{number}", part.schema());
    }
    end.run(format!("ALTER SCHEMA {} RENAME TO {name}", part.schema()))
        .await?;
    Ok(name)
}

/// Moves new files to where a store has them.
fn put_in_place(beside: &Path, data: &Path) -> Result<(), StoreError> {
    let lake = data.join("lake");
    fs::create_dir_all(&lake).map_err(StoreError::io("create", &lake))?;
    for part in PARTS {
        let place = data.join(part.file());
        fs::rename(beside.join(part.file()), &place).map_err(StoreError::io("write", &place))?;
    }
    sync_parts(data)
}

/// Lets names outlive a power cut.
fn sync_parts(data: &Path) -> Result<(), StoreError> {
    sync_directory(&data.join("lake"))?;
    sync_directory(data)
}
