//! Where the tables of the engine are: SQLite files in the data directory, or schemas of a Postgres database.
//!
//! - In: a [`Place`], a [`Part`] of it. Out: a [`Database`]: connections, transactions, errors that tell its name.
//! - Both speak the same SQL, but where [`Database::sql`] tells them apart.
//! - The address of a Postgres may hold a password: it is in the options of connections, and in no name or error.
//! - Not here: what tables there are (`migrations`), what is in them.

mod address;
mod migrations;
mod place;
mod words;

pub(crate) use address::Durability;
pub use place::Place;
pub(crate) use place::has_lake;
pub use words::Refusal;
pub(crate) use words::{absence, is_absent, refusal};

use crate::directory::make_private;
use crate::error::StoreError;
use crate::lake::catalog::is_of_another;
use crate::watch::Watch;
use address::{Access, Address};
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions, Connection, Executor, Transaction};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a lock held elsewhere is waited for before it is told.
const BUSY: Duration = Duration::from_secs(30);

/// What every connection to SQLite is told; [`BUSY`] in milliseconds. At every commit it waits for the disk, which is
/// SQLite's default.
const SQLITE: &str = "PRAGMA busy_timeout = 30000";

/// What one that must not write is told, too.
const SQLITE_READS: &str = "PRAGMA busy_timeout = 30000; PRAGMA query_only = ON";

/// Connections of one pool.
const CONNECTIONS: u32 = 8;

/// How long one is waited for: a server that is restarted comes back meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same for who only reads, whom somebody waits for.
const PATIENCE_OF_READERS: Duration = Duration::from_secs(5);

/// A server has a fixed number of connections for everybody: one that is not used for so long is given back.
const IDLE: Duration = Duration::from_secs(60);

/// How often a lock that SQLite does not wait for by itself is looked at.
const LOOKS: Duration = Duration::from_millis(10);

/// The parts of a store: in SQLite a file each, in Postgres a schema each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The catalog of the lake.
    Lake,
    /// What changes without being collected.
    State,
    /// What was asked.
    Audit,
}

impl Part {
    /// Its file in the data directory.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Self::Lake => "lake/catalog.sqlite",
            Self::State => "state.sqlite",
            Self::Audit => "audit.sqlite",
        }
    }

    /// Its schema, which is all of the search path of its connections.
    pub(crate) const fn schema(self) -> &'static str {
        match self {
            Self::Lake => "dkc_lake",
            Self::State => "dkc_state",
            Self::Audit => "dkc_audit",
        }
    }

    /// The advisory lock of [`Database::begin_alone`]: `dkc part` and a number in ASCII.
    const fn lock(self) -> i64 {
        let number = match self {
            Self::Lake => b'1',
            Self::State => b'2',
            Self::Audit => b'3',
        };
        i64::from_be_bytes([b'd', b'k', b'c', b'p', b'a', b'r', b't', number])
    }
}

/// One part of a store. Clones share its connections.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pool: AnyPool,
    name: Arc<str>,
    part: Part,
    is_postgres: bool,
}

/// Connections of their own kind, which cannot write.
#[derive(Debug, Clone)]
pub(crate) enum Native {
    /// To SQLite.
    Sqlite(SqlitePool),
    /// To Postgres.
    Postgres(PgPool),
}

impl Native {
    /// Ends their use.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Database {
    /// Opens a part of a store; its data directory and tables are made if they are not there.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses, or was made by a newer dkc.
    pub(crate) async fn open(place: &Place, part: Part) -> Result<Self, StoreError> {
        Self::open_with(place, part, Durability::Full).await
    }

    /// The same, with commits that last as long as that.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub(crate) async fn open_with(
        place: &Place,
        part: Part,
        durability: Durability,
    ) -> Result<Self, StoreError> {
        if place.postgres.is_none() {
            make_private(&place.data)?;
        }
        let address = Address::of(place, part, Access::Write(durability))?;
        let options = address.options.clone();
        let database = Self::at(address, part, Access::Write(durability));
        let failed = database.failed();
        let made = if database.is_postgres {
            // Not through the pool, which would wait for a server that does not run, and then tell only that it waited.
            let mut connection = place::greeted(&options).await.map_err(&failed)?;
            // The lake sees to that itself.
            if part != Part::Lake
                && is_of_another(&mut connection, &place.data)
                    .await
                    .map_err(&failed)?
            {
                return Err(StoreError::OtherDirectory {
                    database: database.name.to_string(),
                    data: place.data.clone(),
                });
            }
            make_private(&place.data)?;
            let made = migrations::run(&mut connection, part).await;
            // What comes of saying goodbye is of no interest.
            let _ = connection.close().await;
            made
        } else {
            let mut connection = database.pool.acquire().await.map_err(&failed)?;
            log_ahead(&mut connection).await.map_err(&failed)?;
            migrations::run(&mut connection, part).await
        };
        made.map_err(|error| database.not_made(error))?;
        Ok(database)
    }

    /// Opens one that is there, with no way to write to it.
    ///
    /// # Errors
    /// [`StoreError`] when there is none. That a server cannot be reached is told when it is first asked.
    pub(crate) async fn open_to_read(place: &Place, part: Part) -> Result<Self, StoreError> {
        let database = Self::at(Address::of(place, part, Access::Read)?, part, Access::Read);
        if !database.is_postgres {
            // That there is none.
            let there = database.pool.acquire().await;
            there.map_err(database.failed())?;
        }
        Ok(database)
    }

    fn at(address: Address, part: Part, access: Access) -> Self {
        let Address {
            options,
            name,
            is_postgres,
        } = address;
        let mut pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .idle_timeout(IDLE)
            .acquire_timeout(match access {
                Access::Read => PATIENCE_OF_READERS,
                Access::Write(_) => PATIENCE,
            });
        if !is_postgres {
            pool = pool.after_connect(move |connection, _| {
                Box::pin(async move {
                    let settings = match access {
                        Access::Read => SQLITE_READS,
                        Access::Write(_) => SQLITE,
                    };
                    (&mut *connection).execute(settings).await?;
                    if access == Access::Write(Durability::Process) {
                        // Where it cannot be set the file cannot be read: whatever is asked next tells why.
                        let _ = connection.execute("PRAGMA synchronous = NORMAL").await;
                    }
                    Ok(())
                })
            });
        }
        Self {
            pool: pool.connect_lazy_with(options),
            name,
            part,
            is_postgres,
        }
    }

    /// Its connections.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Whether it is in Postgres.
    pub(crate) fn is_postgres(&self) -> bool {
        self.is_postgres
    }

    /// Its name for people: the path of a file, or the server and the name of a database.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its name among the parts of its store: of a file or of a schema.
    pub(crate) fn label(&self) -> &'static str {
        self.sql(self.part.file(), self.part.schema())
    }

    /// Which part of the store it is.
    pub(crate) fn part(&self) -> Part {
        self.part
    }

    /// A transaction that will write. In SQLite nobody else writes meanwhile; in Postgres others may.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses, or others write for too long.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        // IMMEDIATE: a deferred transaction that later writes gets BUSY at once, without waiting (F6).
        self.pool
            .begin_with(self.sql("BEGIN IMMEDIATE", "BEGIN"))
            .await
            .map_err(self.failed())
    }

    /// A transaction that will write what only such transactions write: of this part there is one at a time.
    ///
    /// # Errors
    /// As [`Database::begin`].
    pub(crate) async fn begin_alone(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let mut transaction = self.begin().await?;
        if self.is_postgres {
            lock(&mut transaction, self.part).await.map_err(self.failed())?;
        }
        Ok(transaction)
    }

    /// A transaction that reads: whoever commits meanwhile is not seen.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub(crate) async fn begin_to_read(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.pool
            .begin_with(self.sql("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            .await
            .map_err(self.failed())
    }

    /// Tells an error of it: by its name, and locks apart.
    pub(crate) fn failed(&self) -> impl Fn(sqlx::Error) -> StoreError + use<> {
        StoreError::database(self.name.clone(), self.is_postgres)
    }

    fn not_made(&self, error: MigrateError) -> StoreError {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => self.failed()(error),
            MigrateError::VersionMissing(_) => StoreError::Newer {
                database: self.name.to_string(),
            },
            error => self.failed()(error.into()),
        }
    }

    /// One of two texts of SQL: where the dialects differ.
    pub(crate) fn sql(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        if self.is_postgres { postgres } else { sqlite }
    }

    /// Watches it from now on.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub(crate) async fn watch(&self) -> Result<Watch, StoreError> {
        Watch::new(self).await
    }

    /// Connections to it that cannot write, for a library that wants its own; none is made yet.
    ///
    /// # Errors
    /// [`StoreError`] when the address is not what such a connection understands.
    pub(crate) fn native(&self) -> Result<Native, StoreError> {
        let failed = self.failed();
        let address = self.pool.connect_options();
        if self.is_postgres {
            let options = PgConnectOptions::from_url(&address.database_url).map_err(&failed)?;
            let pool = PgPoolOptions::new()
                .max_connections(CONNECTIONS)
                .idle_timeout(IDLE)
                .acquire_timeout(PATIENCE_OF_READERS);
            let options = options.options([("default_transaction_read_only", "on")]);
            return Ok(Native::Postgres(pool.connect_lazy_with(options)));
        }
        let options = SqliteConnectOptions::from_url(&address.database_url).map_err(&failed)?;
        let options = options
            .create_if_missing(false)
            .busy_timeout(BUSY)
            .pragma("query_only", "ON");
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS);
        Ok(Native::Sqlite(pool.connect_lazy_with(options)))
    }

    /// Ends all use of it; what is in SQLite's write-ahead log moves into the file.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Whether a connection is one to Postgres.
pub(crate) fn is_postgres(connection: &AnyConnection) -> bool {
    connection.backend_name() == "PostgreSQL"
}

/// One of two texts of SQL, for who has a connection and no [`Database`].
pub(crate) fn sql(connection: &AnyConnection, sqlite: &'static str, postgres: &'static str) -> &'static str {
    if is_postgres(connection) { postgres } else { sqlite }
}

/// Takes the lock of a part, to the end of the transaction. Postgres only.
async fn lock(connection: &mut AnyConnection, part: Part) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(part.lock())
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes SQLite write to a log ahead of the file, so that reading and writing do not wait for each other. The file keeps
/// it. While it changes SQLite waits for nobody, so this does.
async fn log_ahead(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let since = Instant::now();
    loop {
        let done: Result<String, sqlx::Error> = sqlx::query_scalar("PRAGMA journal_mode = WAL")
            .fetch_one(&mut *connection)
            .await;
        match done {
            Err(error) if StoreError::is_locked(&error, false) && since.elapsed() < BUSY => {
                tokio::time::sleep(LOOKS).await;
            }
            done => return done.map(drop),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
