//! The datasets of the lake as plain tables of PostgreSQL, for whatever speaks SQL to it.
//!
//! - In: what came to a dataset and what left it since it was last published. Out: the same in a table of schema `dkc`.
//! - A dataset is brought from one snapshot to another in one transaction: whoever reads sees one or the other.
//! - Everything here follows the lake and can be made again from it; nothing leads.
//! - Not here: the SQL of a table (`table`), how rows are written (`rows`, `write`), when this is done.

mod rows;
mod server;
mod table;
mod write;

pub use rows::Taken;
pub(crate) use server::Server;

use crate::Store;
use crate::database::Place;
use crate::error::StoreError;
use crate::lake::changed::Changed;
use schemas::Dataset;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use table::Table;
use write::{Came, run};

/// Names the lock that only one publisher of a database holds.
const LOCK: i64 = i64::from_be_bytes(*b"dkcpubli");

/// Where it is written up to which snapshot each table is right, and what that table looks like.
const FOLLOWED: &str = "CREATE TABLE dkc.dkc_published (dataset text PRIMARY KEY, snapshot bigint NOT NULL,
     made_at text NOT NULL, shape text NOT NULL, published_at timestamp with time zone NOT NULL);
     COMMENT ON TABLE dkc.dkc_published IS 'Up to which snapshot of the lake each table of this schema is right.'";

/// Publishes to one database.
#[derive(Debug, Clone)]
pub struct Publisher {
    server: Server,
}

/// What was done to one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedTable {
    /// The dataset.
    pub dataset: &'static str,
    /// The snapshot of the lake that it shows now.
    pub snapshot: i64,
    /// Whether all of it was written.
    pub is_whole: bool,
    /// Rows that came.
    pub came: Taken,
    /// Rows that left, those too that came again.
    pub left: u64,
}

/// How far a table has come.
#[derive(Debug)]
struct Followed {
    snapshot: i64,
    /// When that snapshot was made, by which a lake of another history is known.
    made_at: String,
    /// What the table looks like: [`Table::fingerprint`].
    shape: String,
}

/// How far the lake and all tables have come.
struct State {
    /// Ids and times of the snapshots, newest first.
    snapshots: Vec<(i64, String)>,
    tables: HashMap<String, Followed>,
}

impl State {
    /// The snapshot that a table shows; absent when it is to be written whole.
    fn since(&self, table: &Table, shape: &str) -> Option<i64> {
        let followed = self.tables.get(table.dataset.name)?;
        let is_of_this_lake = self
            .snapshots
            .iter()
            .any(|(id, made_at)| *id == followed.snapshot && *made_at == followed.made_at);
        (is_of_this_lake && followed.shape == shape).then_some(followed.snapshot)
    }
}

impl Publisher {
    /// What publishes to the PostgreSQL of a place; absent when it has none. Nothing is connected yet.
    ///
    /// # Errors
    /// [`StoreError`] when its address is none.
    pub fn open(place: &Place) -> Result<Option<Self>, StoreError> {
        Ok(Server::of(place)?.map(|server| Self { server }))
    }

    /// Brings every table to where its dataset is; those that had something to do.
    ///
    /// # Errors
    /// [`StoreError`] when PostgreSQL refuses or the lake cannot be read. Tables that were done before stay done.
    pub async fn follow(&self, store: &Store) -> Result<Vec<PublishedTable>, StoreError> {
        let tables: Vec<Table> = Table::all().collect();
        self.follow_tables(store, &tables).await
    }

    /// Brings the table of one dataset there, with these columns only, and those of its key.
    ///
    /// # Errors
    /// As [`Publisher::follow`].
    pub async fn follow_columns(
        &self,
        store: &Store,
        dataset: &'static Dataset,
        columns: &[&str],
    ) -> Result<Option<PublishedTable>, StoreError> {
        let table = Table::new(dataset, |column| columns.contains(&column.name));
        Ok(self.follow_tables(store, &[table]).await?.pop())
    }

    async fn follow_tables(
        &self,
        store: &Store,
        tables: &[Table],
    ) -> Result<Vec<PublishedTable>, StoreError> {
        // A connection of its own: when this future is dropped it is closed, and the server takes all back.
        let mut connection = self.server.connect().await?;
        self.prepare(&mut connection).await?;
        let state = self.state(&mut connection, store).await?;
        let mut done = Vec::new();
        for table in tables {
            if let Some(published) = self.follow_table(&mut connection, store, table, &state).await? {
                tell(&published);
                done.push(published);
            }
        }
        connection.close().await.map_err(self.failed())?;
        Ok(done)
    }

    /// Waits until no other publisher is at work, and makes what the first one needs.
    async fn prepare(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let failed = self.failed();
        sqlx::query("SELECT pg_advisory_lock($1)")
            .bind(LOCK)
            .execute(&mut *connection)
            .await
            .map_err(&failed)?;
        let (has_schema, has_table, encoding): (bool, bool, String) = sqlx::query_as(
            "SELECT to_regnamespace('dkc') IS NOT NULL, to_regclass('dkc.dkc_published') IS NOT NULL,
             current_setting('server_encoding')",
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(&failed)?;
        if encoding != "UTF8" {
            let reason = format!(
                "it is encoded as {encoding}, which has not all characters: make one with ENCODING 'UTF8'"
            );
            return Err(failed(sqlx::Error::Configuration(reason.into())));
        }
        if !has_schema {
            run(connection, "CREATE SCHEMA dkc".to_owned())
                .await
                .map_err(&failed)?;
        }
        if !has_table {
            run(connection, FOLLOWED.to_owned()).await.map_err(&failed)?;
        }
        Ok(())
    }

    async fn state(&self, connection: &mut PgConnection, store: &Store) -> Result<State, StoreError> {
        let rows: Vec<(String, i64, String, String)> = sqlx::query_as(
            "SELECT dataset, snapshot, made_at, shape FROM dkc.dkc_published
             WHERE to_regclass(format('dkc.%I', dataset)) IS NOT NULL",
        )
        .fetch_all(connection)
        .await
        .map_err(self.failed())?;
        let tables = rows.into_iter().map(|(dataset, snapshot, made_at, shape)| {
            let followed = Followed {
                snapshot,
                made_at,
                shape,
            };
            (dataset, followed)
        });
        Ok(State {
            tables: tables.collect(),
            snapshots: store.catalog().snapshot_times().await?,
        })
    }

    /// Brings a table to where its dataset is; absent when its rows were right.
    async fn follow_table(
        &self,
        connection: &mut PgConnection,
        store: &Store,
        table: &Table,
        state: &State,
    ) -> Result<Option<PublishedTable>, StoreError> {
        let failed = self.failed();
        let shape = table.fingerprint();
        let since = state.since(table, &shape);
        if since.is_some() && since == state.snapshots.first().map(|(id, _)| *id) {
            return Ok(None);
        }
        let columns = table.column_names();
        let Changed {
            until,
            is_whole,
            left,
            mut came,
        } = store.changed(table.dataset, columns, since).await?;
        let first = came.recv().await.transpose()?;
        let is_same = !is_whole && left.is_empty() && first.is_none();
        let is_right = is_same || is_rearranged(store, since, until).await?;
        let snapshots = store.catalog().snapshot_times().await?;
        let made_at = snapshots.into_iter().find(|(id, _)| *id == until);
        let now = Followed {
            snapshot: until,
            made_at: made_at.unwrap_or_default().1,
            shape,
        };
        let mut transaction = connection.begin().await.map_err(&failed)?;
        let rows = Came::first_of(first, came);
        let written = if is_right {
            None
        } else if is_whole {
            Some((self.rewrite(&mut transaction, table, rows).await?, 0))
        } else {
            Some(self.merge(&mut transaction, table, left, rows).await?)
        };
        note(&mut transaction, table, &now).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(written.map(|(came, left)| PublishedTable {
            dataset: table.dataset.name,
            snapshot: until,
            is_whole,
            came,
            left,
        }))
    }

    fn failed(&self) -> impl Fn(sqlx::Error) -> StoreError + use<> {
        self.server.failed()
    }
}

/// Whether all that happened between two snapshots is that files were arranged anew: no row is another.
async fn is_rearranged(store: &Store, since: Option<i64>, until: i64) -> Result<bool, StoreError> {
    let Some(since) = since else { return Ok(false) };
    let snapshots = store.catalog().snapshots().await?;
    let between = snapshots
        .iter()
        .filter(|(id, ..)| (since + 1..=until).contains(id));
    let rearranged = between.filter(|(.., info)| info.rearranged).count();
    Ok(i64::try_from(rearranged) == Ok(until - since))
}

/// Writes how far a table has come.
async fn note(connection: &mut PgConnection, table: &Table, now: &Followed) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO dkc.dkc_published (dataset, snapshot, made_at, shape, published_at)
         VALUES ($1, $2, $3, $4, now()) ON CONFLICT (dataset) DO UPDATE SET snapshot = EXCLUDED.snapshot,
         made_at = EXCLUDED.made_at, shape = EXCLUDED.shape, published_at = EXCLUDED.published_at",
    )
    .bind(table.dataset.name)
    .bind(now.snapshot)
    .bind(&now.made_at)
    .bind(&now.shape)
    .execute(connection)
    .await?;
    Ok(())
}

/// Says in the log what was done, and what of it is not as the lake has it.
fn tell(published: &PublishedTable) {
    let PublishedTable {
        dataset, came, left, ..
    } = published;
    tracing::info!(dataset, came = came.rows, left, "published");
    if came.zeros > 0 {
        tracing::warn!(
            dataset,
            texts = came.zeros,
            "PostgreSQL takes no U+0000; published with U+FFFD in its place"
        );
    }
    if came.moments > 0 {
        tracing::warn!(
            dataset,
            moments = came.moments,
            "moments before PostgreSQL's calendar are published as minus infinity"
        );
    }
    if came.long_keys > 0 {
        tracing::warn!(
            dataset,
            rows = came.long_keys,
            "rows whose key is too long for PostgreSQL's indexes are not published"
        );
    }
}
