//! The DuckLake 1.0 catalog in SQLite or Postgres: which files make up which table at which snapshot.
//!
//! datafusion-ducklake 0.7 reads it for queries. It is written here, because 0.7 commits one table a
//! snapshot (F16) and writes a shape DuckDB refuses (F12), while a batch of ours is rows of several
//! tables and a cursor that must appear together. See `docs/decisions/0001-own-catalog-transaction.md`.
//! Source: DuckLake specification 1.0, "Tables" and "Queries".

mod commit;
mod expire;
mod history;
mod owner;
mod seal;
mod tables;

pub use commit::{EndedFile, NewDeletes, On, TableChange};
pub(crate) use owner::{Claim, DATA_ID, is_of_another};
pub use seal::Seal;

use crate::database::{Database, Native, Part, Place, is_postgres};
use crate::error::StoreError;
use datafusion_ducklake::{MetadataProvider, PostgresMetadataProvider, SqliteMetadataProvider};
use futures::TryStreamExt;
use schemas::{Cursor, Dataset, RunId, SourceName};
use serde::{Deserialize, Serialize};
use sqlx::{Any, AnyConnection, AnyPool, Row, Transaction};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// DuckLake column id of `_source`, the first column of every table.
const SOURCE_COLUMN: i64 = 1;

/// The catalog and the directory its data files lie in.
#[derive(Debug, Clone)]
pub struct Catalog {
    database: Database,
    /// The data directory.
    data: PathBuf,
    files: PathBuf,
    /// The id that it shares with the directory, once that is known.
    owner: Option<Uuid>,
    native: Native,
    provider: Arc<dyn MetadataProvider>,
}

/// The newest snapshot and the counters it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id; ids rise by one.
    pub id: i64,
    schema_version: i64,
    next_catalog_id: i64,
    next_file_id: i64,
}

/// A data file that belongs to a table now.
#[derive(Debug, Clone)]
pub struct LiveFile {
    /// Its id in the catalog.
    pub id: i64,
    /// Where it lies.
    pub path: PathBuf,
    /// Rows in it, deleted ones too.
    pub rows: i64,
    /// Bytes.
    pub size: i64,
    /// Its delete file: id in the catalog and where it lies.
    pub deletes: Option<(i64, PathBuf)>,
    /// Rows that the delete file names.
    pub deleted: i64,
}

/// What travels with a snapshot, in `commit_extra_info`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CommitInfo {
    /// The run that committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Where each source named here begins next; null forgets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cursors: BTreeMap<String, Option<Cursor>>,
    /// Whether only files were rearranged: every row is as it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rearranged: bool,
    /// Digests of the catalog's content, by which `dkc verify` finds rot in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
}

/// A moment as DuckDB writes a TIMESTAMPTZ, and so as the catalog holds them.
pub(super) fn time_text(moment: jiff::Timestamp) -> String {
    let moment = moment.to_zoned(jiff::tz::TimeZone::UTC);
    moment.strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string()
}

fn now_text() -> String {
    time_text(jiff::Timestamp::now())
}

impl Catalog {
    /// Opens the catalog of a place as it is; [`Catalog::bootstrap`] makes what is missing in it.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub(crate) async fn connect(place: &Place) -> Result<Self, StoreError> {
        Self::of(place, Database::open(place, Part::Lake).await?)
    }

    /// Opens a catalog that is there, with no way to write to it.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub(crate) async fn open_to_read(place: &Place) -> Result<Self, StoreError> {
        Self::of(place, Database::open_to_read(place, Part::Lake).await?)
    }

    fn of(place: &Place, database: Database) -> Result<Self, StoreError> {
        let native = database.native()?;
        let provider: Arc<dyn MetadataProvider> = match native.clone() {
            Native::Sqlite(pool) => Arc::new(SqliteMetadataProvider::from_pool(pool)),
            Native::Postgres(pool) => Arc::new(PostgresMetadataProvider::from_pool(pool)),
        };
        Ok(Self {
            database,
            data: place.data.clone(),
            files: place.data.join("lake/files"),
            owner: None,
            native,
            provider,
        })
    }

    /// The connections, for whoever looks into the catalog by SQL.
    pub fn pool(&self) -> AnyPool {
        self.database.pool().clone()
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// By what datafusion-ducklake reads the catalog; it cannot write.
    pub(crate) fn provider(&self) -> Arc<dyn MetadataProvider> {
        Arc::clone(&self.provider)
    }

    /// Directory of all data files.
    pub fn files(&self) -> &Path {
        &self.files
    }

    /// Directory of a dataset's files.
    pub fn directory(&self, dataset: &Dataset) -> PathBuf {
        self.files.join("main").join(dataset.name)
    }

    fn failed(&self) -> impl Fn(sqlx::Error) -> StoreError + use<> {
        self.database.failed()
    }

    /// A transaction that will commit to the lake: nobody else does meanwhile, and those who read do not wait.
    async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let mut tx = self.database.begin().await?;
        hold(&mut tx).await.map_err(self.failed())?;
        self.is_still_ours(&mut tx).await?;
        Ok(tx)
    }

    /// The newest snapshot.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn head(&self) -> Result<Snapshot, StoreError> {
        let mut connection = self.database.pool().acquire().await.map_err(self.failed())?;
        head(&mut connection).await.map_err(self.failed())
    }

    /// The files of a table at a snapshot, oldest first; with a source, those that may hold rows of it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn files_at(
        &self,
        dataset: &Dataset,
        snapshot: i64,
        source: Option<&SourceName>,
    ) -> Result<Vec<LiveFile>, StoreError> {
        let rows = sqlx::query(
            "SELECT f.data_file_id, f.path, f.record_count, f.file_size_bytes,
                    d.delete_file_id, d.path, coalesce(d.delete_count, 0)
             FROM ducklake_table t
             JOIN ducklake_data_file f ON f.table_id = t.table_id
             LEFT JOIN ducklake_delete_file d ON d.data_file_id = f.data_file_id
                  AND d.begin_snapshot <= $2 AND (d.end_snapshot IS NULL OR d.end_snapshot > $2)
             LEFT JOIN ducklake_file_column_stats s ON s.data_file_id = f.data_file_id AND s.column_id = $4
             WHERE t.table_name = $1 AND t.end_snapshot IS NULL
               AND ($3 IS NULL OR s.min_value IS NULL OR $3 BETWEEN s.min_value AND s.max_value)
               AND f.begin_snapshot <= $2 AND (f.end_snapshot IS NULL OR f.end_snapshot > $2)
             ORDER BY f.data_file_id",
        )
        .bind(dataset.name)
        .bind(snapshot)
        .bind(source.map(SourceName::as_str))
        .bind(SOURCE_COLUMN)
        .fetch_all(self.database.pool())
        .await
        .map_err(self.failed())?;
        let directory = self.directory(dataset);
        rows.iter()
            .map(|row| {
                let deletes = match (
                    row.try_get::<Option<i64>, _>(4)?,
                    row.try_get::<Option<String>, _>(5)?,
                ) {
                    (Some(id), Some(name)) => Some((id, directory.join(name))),
                    _ => None,
                };
                Ok(LiveFile {
                    id: row.try_get(0)?,
                    path: directory.join(row.try_get::<String, _>(1)?),
                    rows: row.try_get(2)?,
                    size: row.try_get(3)?,
                    deletes,
                    deleted: row.try_get(6)?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()
            .map_err(self.failed())
    }

    /// Where a source begins next, from the newest snapshot that says so.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn cursor(&self, source: &SourceName) -> Result<Option<Cursor>, StoreError> {
        let name = source.as_str();
        // Of all texts with that name in them, the first in which it is that of a cursor.
        let mentions = format!("%\"{}\":%", name.replace('_', "\\_"));
        let mut texts = sqlx::query_scalar(
            "SELECT commit_extra_info FROM ducklake_snapshot_changes
             WHERE commit_extra_info LIKE $1 ESCAPE '\\' ORDER BY snapshot_id DESC",
        )
        .bind(mentions)
        .fetch(self.database.pool());
        while let Some(text) = texts.try_next().await.map_err(self.failed())? {
            let text: String = text;
            let info: Result<CommitInfo, _> = serde_json::from_str(&text);
            let mut info = info.map_err(|error| self.failed()(sqlx::Error::Decode(Box::new(error))))?;
            if let Some(cursor) = info.cursors.remove(name) {
                return Ok(cursor);
            }
        }
        Ok(None)
    }

    /// Snapshots, newest first: id, time, message, and what travels with it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn snapshots(&self) -> Result<Vec<(i64, String, String, CommitInfo)>, StoreError> {
        let rows = sqlx::query(self.database.sql(
            "SELECT s.snapshot_id, s.snapshot_time, coalesce(c.commit_message, ''), coalesce(c.commit_extra_info, '{}')
             FROM ducklake_snapshot s LEFT JOIN ducklake_snapshot_changes c USING (snapshot_id)
             ORDER BY s.snapshot_id DESC",
            "SELECT s.snapshot_id, to_char(s.snapshot_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US\"+00\"'),
                    coalesce(c.commit_message, ''), coalesce(c.commit_extra_info, '{}')
             FROM ducklake_snapshot s LEFT JOIN ducklake_snapshot_changes c USING (snapshot_id)
             ORDER BY s.snapshot_id DESC",
        ))
        .fetch_all(self.database.pool())
        .await
        .map_err(self.failed())?;
        rows.iter()
            .map(|row| {
                let info: String = row.try_get(3)?;
                let info = serde_json::from_str(&info).unwrap_or_default();
                Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, info))
            })
            .collect::<Result<_, sqlx::Error>>()
            .map_err(self.failed())
    }

    /// Every data and delete file that any snapshot still names.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn all_files(&self, dataset: &Dataset) -> Result<Vec<PathBuf>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT f.path FROM ducklake_data_file f JOIN ducklake_table t USING (table_id) WHERE t.table_name = $1
             UNION ALL
             SELECT d.path FROM ducklake_delete_file d JOIN ducklake_table t USING (table_id) WHERE t.table_name = $1",
        )
        .bind(dataset.name)
        .fetch_all(self.database.pool())
        .await
        .map_err(self.failed())?;
        let directory = self.directory(dataset);
        Ok(names.into_iter().map(|name| directory.join(name)).collect())
    }

    /// Ends all use of the database; what is in its write-ahead log moves into the file.
    pub async fn close(&self) {
        // Not last: the log is moved by whoever closes last, and must be free to.
        self.native.close().await;
        self.database.close().await;
    }
}

/// Keeps all others from committing to the lake, to the end of a transaction; those who read do not wait.
async fn hold(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    // In SQLite a transaction that writes does. This holds for DuckDB as well, which knows no lock of dkc's own.
    if is_postgres(connection) {
        sqlx::query("LOCK TABLE ducklake_snapshot IN EXCLUSIVE MODE")
            .execute(connection)
            .await?;
    }
    Ok(())
}

async fn head(connection: &mut AnyConnection) -> Result<Snapshot, sqlx::Error> {
    let row = sqlx::query(
        "SELECT snapshot_id, schema_version, next_catalog_id, next_file_id FROM ducklake_snapshot
         ORDER BY snapshot_id DESC LIMIT 1",
    )
    .fetch_one(connection)
    .await?;
    Ok(Snapshot {
        id: row.try_get(0)?,
        schema_version: row.try_get(1)?,
        next_catalog_id: row.try_get(2)?,
        next_file_id: row.try_get(3)?,
    })
}
