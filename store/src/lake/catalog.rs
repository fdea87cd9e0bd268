//! The DuckLake 1.0 catalog in SQLite: which files make up which table at which snapshot.
//!
//! datafusion-ducklake 0.7 reads it for queries. It is written here, because 0.7 commits one table a
//! snapshot (F16) and writes a shape DuckDB refuses (F12), while a batch of ours is rows of several
//! tables and a cursor that must appear together. See `docs/decisions/0001-own-catalog-transaction.md`.
//! Source: DuckLake specification 1.0, "Tables" and "Queries".

use crate::error::StoreError;
use crate::lake::data_file::{WrittenFile, column_ids};
use schemas::{Column, Cursor, Dataset, Home, Kind, RunId, SourceName};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, Sqlite, Transaction};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a lock held elsewhere is waited for before it is told.
const BUSY: Duration = Duration::from_secs(5);

/// The catalog and the directory its data files lie in.
#[derive(Debug, Clone)]
pub struct Catalog {
    pool: SqlitePool,
    path: PathBuf,
    files: PathBuf,
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

/// A delete file just written for a live data file, in place of the one before.
#[derive(Debug)]
pub struct NewDeletes {
    /// The data file.
    pub data_file: i64,
    /// The delete file before this one.
    pub before: Option<i64>,
    /// The new one: all positions, those of the one before too.
    pub file: WrittenFile,
}

/// What a commit does to one table.
#[derive(Debug)]
pub struct TableChange {
    /// The table.
    pub dataset: &'static Dataset,
    /// New data files.
    pub added: Vec<WrittenFile>,
    /// New delete files.
    pub deletes: Vec<NewDeletes>,
    /// Data files of which no row is left.
    pub ended: Vec<i64>,
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
}

fn ducklake_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "varchar",
        Kind::TextList => "list",
        Kind::Int => "int64",
        Kind::Float => "float64",
        Kind::Bool => "boolean",
        Kind::Instant => "timestamptz",
        Kind::Bytes => "blob",
    }
}

fn now_text() -> String {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string()
}

/// Opens an SQLite database the way both of ours are used: WAL, fsync at every commit.
pub(crate) async fn open_sqlite(path: &Path) -> Result<SqlitePool, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY);
    SqlitePoolOptions::new().max_connections(4).connect_with(options).await.map_err(StoreError::database(path))
}

impl Catalog {
    /// Opens the catalog at `path`, making it if it is new, with a table for every lake dataset.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite refuses, or when a table there does not fit its dataset.
    pub async fn open(path: &Path, files: &Path) -> Result<Self, StoreError> {
        let pool = open_sqlite(path).await?;
        let catalog = Self { pool, path: path.to_owned(), files: files.to_owned() };
        catalog.bootstrap().await?;
        Ok(catalog)
    }

    /// The connection pool, for datafusion-ducklake to read with.
    pub fn pool(&self) -> SqlitePool {
        self.pool.clone()
    }

    /// Directory of a dataset's files.
    pub fn directory(&self, dataset: &Dataset) -> PathBuf {
        self.files.join("main").join(dataset.name)
    }

    fn failed(&self) -> impl Fn(sqlx::Error) -> StoreError + use<> {
        StoreError::database(&self.path)
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        // IMMEDIATE: a deferred transaction that later writes gets BUSY at once, without waiting (F6).
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(self.failed())
    }

    async fn bootstrap(&self) -> Result<(), StoreError> {
        let failed = self.failed();
        let data_path = format!("{}/", self.files.display());
        let is_new = "SELECT count(*) = 0 FROM sqlite_master WHERE name = 'ducklake_snapshot'";
        let known_path = "SELECT value FROM ducklake_metadata WHERE key = 'data_path' AND scope IS NULL";
        let needs_making: bool = sqlx::query_scalar(is_new).fetch_one(&self.pool).await.map_err(&failed)?;
        if !needs_making {
            let path: Option<String> =
                sqlx::query_scalar(known_path).fetch_optional(&self.pool).await.map_err(&failed)?;
            if path.as_deref() == Some(data_path.as_str()) && self.missing().await?.is_empty() {
                return Ok(());
            }
        }
        let mut tx = self.begin().await?;
        let needs_making: bool = sqlx::query_scalar(is_new).fetch_one(&mut *tx).await.map_err(&failed)?;
        if needs_making {
            sqlx::raw_sql(include_str!("../../migrations/0001_ducklake.sql"))
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
            sqlx::query("INSERT INTO ducklake_snapshot VALUES (0, $1, 0, 1, 0)")
                .bind(now_text())
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
            sqlx::query("INSERT INTO ducklake_snapshot_changes VALUES (0, 'created_schema:\"main\"', 'dkc', NULL, NULL)")
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
            sqlx::query("INSERT INTO ducklake_schema VALUES (0, $1, 0, NULL, 'main', 'main/', 1)")
                .bind(uuid::Uuid::now_v7().to_string())
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
        }
        // The data directory may have moved since; DuckDB reads the path from here.
        sqlx::query("DELETE FROM ducklake_metadata WHERE key = 'data_path' AND scope IS NULL")
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        sqlx::query("INSERT INTO ducklake_metadata (key, value) VALUES ('data_path', $1)")
            .bind(&data_path)
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        self.create_missing(&mut tx).await?;
        tx.commit().await.map_err(&failed)
    }

    /// The columns that each lake dataset has and its table does not; a new table lacks all of them.
    async fn missing(&self) -> Result<Vec<(&'static Dataset, Vec<(&'static Column, i64)>)>, StoreError> {
        let rows = sqlx::query(
            "SELECT t.table_name, c.column_id, c.column_name, c.column_type
             FROM ducklake_table t JOIN ducklake_column c ON c.table_id = t.table_id
             WHERE t.end_snapshot IS NULL AND c.end_snapshot IS NULL AND c.parent_column IS NULL",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(self.failed())?;
        let mut there: HashMap<(String, String), (i64, String)> = HashMap::new();
        for row in rows {
            let cell = |i: usize| row.try_get::<String, _>(i).map_err(self.failed());
            there.insert((cell(0)?, cell(2)?), (row.try_get(1).map_err(self.failed())?, cell(3)?));
        }
        let mut missing = Vec::new();
        for dataset in schemas::datasets::ALL.iter().filter(|d| d.home == Home::Lake) {
            let mut lacks = Vec::new();
            for (column, id) in column_ids(dataset) {
                match there.get(&(dataset.name.to_owned(), column.name.to_owned())) {
                    None => lacks.push((column, id)),
                    Some((found, kind)) if *found == id && kind == ducklake_type(column.kind) => {}
                    Some((found, kind)) => {
                        return Err(StoreError::Unfit {
                            reason: format!(
                                "column {}.{} is {kind} with id {found}, and should be {} with id {id}",
                                dataset.name,
                                column.name,
                                ducklake_type(column.kind)
                            ),
                        });
                    }
                }
            }
            if !lacks.is_empty() {
                missing.push((*dataset, lacks));
            }
        }
        Ok(missing)
    }

    /// Creates the tables and columns that [`Catalog::missing`] finds, in one snapshot.
    async fn create_missing(&self, tx: &mut Transaction<'static, Sqlite>) -> Result<(), StoreError> {
        let failed = self.failed();
        let mut head = head(tx).await.map_err(&failed)?;
        let id = head.id + 1;
        let mut changes = Vec::new();
        for dataset in schemas::datasets::ALL.iter().filter(|d| d.home == Home::Lake) {
            let known: Option<i64> = sqlx::query_scalar(
                "SELECT table_id FROM ducklake_table WHERE table_name = $1 AND end_snapshot IS NULL",
            )
            .bind(dataset.name)
            .fetch_optional(&mut **tx)
            .await
            .map_err(&failed)?;
            let table_id = known.unwrap_or(head.next_catalog_id);
            if known.is_none() {
                head.next_catalog_id += 1;
                sqlx::query("INSERT INTO ducklake_table VALUES ($1, $2, $3, NULL, 0, $4, $5, 1)")
                    .bind(table_id)
                    .bind(uuid::Uuid::now_v7().to_string())
                    .bind(id)
                    .bind(dataset.name)
                    .bind(format!("{}/", dataset.name))
                    .execute(&mut **tx)
                    .await
                    .map_err(&failed)?;
                sqlx::query("INSERT INTO ducklake_table_stats VALUES ($1, 0, 0, 0)")
                    .bind(table_id)
                    .execute(&mut **tx)
                    .await
                    .map_err(&failed)?;
                sqlx::query("INSERT INTO ducklake_tag VALUES ($1, $2, NULL, 'comment', $3)")
                    .bind(table_id)
                    .bind(id)
                    .bind(dataset.about)
                    .execute(&mut **tx)
                    .await
                    .map_err(&failed)?;
                changes.push(format!("created_table:\"main\".\"{}\"", dataset.name));
            }
            let present: HashSet<String> = sqlx::query_scalar(
                "SELECT column_name FROM ducklake_column
                 WHERE table_id = $1 AND end_snapshot IS NULL AND parent_column IS NULL",
            )
            .bind(table_id)
            .fetch_all(&mut **tx)
            .await
            .map_err(&failed)?
            .into_iter()
            .collect();
            let mut added = false;
            for (column, column_id) in column_ids(dataset) {
                if !present.contains(column.name) {
                    insert_column(tx, table_id, id, column, column_id).await.map_err(&failed)?;
                    added = true;
                }
            }
            if added {
                if known.is_some() {
                    changes.push(format!("altered_table:{table_id}"));
                }
                sqlx::query("INSERT INTO ducklake_schema_versions VALUES ($1, $2, $3)")
                    .bind(id)
                    .bind(head.schema_version + 1)
                    .bind(table_id)
                    .execute(&mut **tx)
                    .await
                    .map_err(&failed)?;
            }
        }
        if !changes.is_empty() {
            head.schema_version += 1;
            insert_snapshot(tx, head, &changes.join(","), "create tables", &CommitInfo::default())
                .await
                .map_err(&failed)?;
        }
        Ok(())
    }

    /// The newest snapshot.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite fails.
    pub async fn head(&self) -> Result<Snapshot, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(self.failed())?;
        head(&mut connection).await.map_err(self.failed())
    }

    /// The files of a table at a snapshot, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite fails.
    pub async fn files_at(&self, dataset: &Dataset, snapshot: i64) -> Result<Vec<LiveFile>, StoreError> {
        let rows = sqlx::query(
            "SELECT f.data_file_id, f.path, f.record_count, f.file_size_bytes,
                    d.delete_file_id, d.path, coalesce(d.delete_count, 0)
             FROM ducklake_table t
             JOIN ducklake_data_file f ON f.table_id = t.table_id
             LEFT JOIN ducklake_delete_file d ON d.data_file_id = f.data_file_id
                  AND d.begin_snapshot <= $2 AND (d.end_snapshot IS NULL OR d.end_snapshot > $2)
             WHERE t.table_name = $1 AND t.end_snapshot IS NULL
               AND f.begin_snapshot <= $2 AND (f.end_snapshot IS NULL OR f.end_snapshot > $2)
             ORDER BY f.data_file_id",
        )
        .bind(dataset.name)
        .bind(snapshot)
        .fetch_all(&self.pool)
        .await
        .map_err(self.failed())?;
        let directory = self.directory(dataset);
        rows.iter()
            .map(|row| {
                let deletes = match (row.try_get::<Option<i64>, _>(4)?, row.try_get::<Option<String>, _>(5)?) {
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

    /// Commits changes of several tables and what travels with them as one snapshot on top of `base`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another program has committed since `base`; else SQLite's refusal.
    /// Nothing of the commit is visible then.
    pub async fn commit(
        &self,
        base: Snapshot,
        tables: &[TableChange],
        message: &str,
        info: &CommitInfo,
    ) -> Result<i64, StoreError> {
        let failed = self.failed();
        let mut tx = self.begin().await?;
        let mut head = head(&mut tx).await.map_err(&failed)?;
        if head != base {
            return Err(StoreError::Conflict { expected: base.id, found: head.id });
        }
        let snapshot = head.id + 1;
        let mut changes = BTreeSet::new();
        for change in tables {
            apply(&mut tx, change, snapshot, &mut head.next_file_id, &mut changes).await.map_err(&failed)?;
        }
        let changes = changes.into_iter().collect::<Vec<_>>().join(",");
        insert_snapshot(&mut tx, head, &changes, message, info).await.map_err(&failed)?;
        tx.commit().await.map_err(&failed)?;
        Ok(snapshot)
    }

    /// Where a source begins next, from the newest snapshot that says so.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite fails.
    pub async fn cursor(&self, source: &SourceName) -> Result<Option<Cursor>, StoreError> {
        let text: Option<Option<String>> = sqlx::query_scalar(
            "SELECT json_extract(commit_extra_info, $1 || '') FROM ducklake_snapshot_changes
             WHERE json_type(commit_extra_info, $1) IS NOT NULL ORDER BY snapshot_id DESC LIMIT 1",
        )
        .bind(format!("$.cursors.\"{source}\""))
        .fetch_optional(&self.pool)
        .await
        .map_err(self.failed())?;
        // SQLite gives objects as JSON text and a bare string without its quotes; cursors are objects.
        let value = text.flatten().and_then(|text| serde_json::from_str(&text).ok());
        Ok(value.map(Cursor))
    }

    /// Snapshots, newest first: id, time, message, and what travels with it.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite fails.
    pub async fn snapshots(&self) -> Result<Vec<(i64, String, String, CommitInfo)>, StoreError> {
        let rows = sqlx::query(
            "SELECT s.snapshot_id, s.snapshot_time, coalesce(c.commit_message, ''), coalesce(c.commit_extra_info, '{}')
             FROM ducklake_snapshot s LEFT JOIN ducklake_snapshot_changes c USING (snapshot_id)
             ORDER BY s.snapshot_id DESC",
        )
        .fetch_all(&self.pool)
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

    /// Names of all data and delete files that any snapshot, or the list of files to delete, still names.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite fails.
    pub async fn named_files(&self) -> Result<HashSet<String>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT path FROM ducklake_data_file UNION ALL SELECT path FROM ducklake_delete_file
             UNION ALL SELECT path FROM ducklake_files_scheduled_for_deletion",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(self.failed())?;
        // Scheduled files are named from the data path; only the last part is ours.
        Ok(names.into_iter().map(|n| n.rsplit('/').next().unwrap_or_default().to_owned()).collect())
    }

    /// Every data and delete file that any snapshot still names.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite fails.
    pub async fn all_files(&self, dataset: &Dataset) -> Result<Vec<PathBuf>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT f.path FROM ducklake_data_file f JOIN ducklake_table t USING (table_id) WHERE t.table_name = $1
             UNION ALL
             SELECT d.path FROM ducklake_delete_file d JOIN ducklake_table t USING (table_id) WHERE t.table_name = $1",
        )
        .bind(dataset.name)
        .fetch_all(&self.pool)
        .await
        .map_err(self.failed())?;
        let directory = self.directory(dataset);
        Ok(names.into_iter().map(|name| directory.join(name)).collect())
    }

    /// What SQLite itself finds wrong with the file; empty when nothing.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite fails.
    pub async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let found: Vec<String> =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&self.pool).await.map_err(self.failed())?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }

    /// Forgets snapshots older than `before` (but never the newest) and what only they used; the
    /// cursors they carried must travel with a newer snapshot. Files that nothing names any more are put on
    /// the list of [`Catalog::scheduled`]. Returns the number of snapshots.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite fails.
    pub async fn expire(&self, before: &str) -> Result<u64, StoreError> {
        let failed = self.failed();
        let mut tx = self.begin().await?;
        let expired = sqlx::query(
            "DELETE FROM ducklake_snapshot WHERE snapshot_time < $1
             AND snapshot_id < (SELECT max(snapshot_id) FROM ducklake_snapshot)",
        )
        .bind(before)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?
        .rows_affected();
        sqlx::query("DELETE FROM ducklake_snapshot_changes WHERE snapshot_id NOT IN (SELECT snapshot_id FROM ducklake_snapshot)")
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        for (table, id) in [("ducklake_data_file", "data_file_id"), ("ducklake_delete_file", "delete_file_id")] {
            let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
                "SELECT f.{id}, t.table_name, f.path FROM {table} f JOIN ducklake_table t USING (table_id)
                 WHERE f.end_snapshot IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ducklake_snapshot s
                       WHERE s.snapshot_id >= f.begin_snapshot AND s.snapshot_id < f.end_snapshot)"
            )))
            .fetch_all(&mut *tx)
            .await
            .map_err(&failed)?;
            for row in rows {
                let (file, dataset, name): (i64, String, String) =
                    (row.try_get(0).map_err(&failed)?, row.try_get(1).map_err(&failed)?, row.try_get(2).map_err(&failed)?);
                sqlx::query("INSERT INTO ducklake_files_scheduled_for_deletion VALUES ($1, $2, 1, $3)")
                    .bind(file)
                    .bind(format!("main/{dataset}/{name}"))
                    .bind(now_text())
                    .execute(&mut *tx)
                    .await
                    .map_err(&failed)?;
                if table == "ducklake_data_file" {
                    for statement in [
                        "DELETE FROM ducklake_file_column_stats WHERE data_file_id = $1",
                        "DELETE FROM ducklake_data_file WHERE data_file_id = $1",
                    ] {
                        sqlx::query(statement).bind(file).execute(&mut *tx).await.map_err(&failed)?;
                    }
                } else {
                    sqlx::query("DELETE FROM ducklake_delete_file WHERE delete_file_id = $1")
                        .bind(file)
                        .execute(&mut *tx)
                        .await
                        .map_err(&failed)?;
                }
            }
        }
        tx.commit().await.map_err(&failed)?;
        Ok(expired)
    }

    /// Where the files lie that are scheduled for deletion.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite fails.
    pub async fn scheduled(&self) -> Result<Vec<PathBuf>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar("SELECT path FROM ducklake_files_scheduled_for_deletion")
            .fetch_all(&self.pool)
            .await
            .map_err(self.failed())?;
        Ok(names.into_iter().map(|name| self.files.join(name)).collect())
    }

    /// Forgets the list of files scheduled for deletion, once they are deleted.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite fails.
    pub async fn forget_scheduled(&self) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM ducklake_files_scheduled_for_deletion")
            .execute(&self.pool)
            .await
            .map_err(self.failed())?;
        Ok(())
    }

    /// Ends all use of the database; what is in its write-ahead log moves into the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn head(connection: &mut sqlx::SqliteConnection) -> Result<Snapshot, sqlx::Error> {
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

/// Inserts the snapshot after `head`, with the counters as they stand in it.
async fn insert_snapshot(
    tx: &mut Transaction<'static, Sqlite>,
    head: Snapshot,
    changes: &str,
    message: &str,
    info: &CommitInfo,
) -> Result<(), sqlx::Error> {
    let info = serde_json::to_string(info).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
    sqlx::query("INSERT INTO ducklake_snapshot VALUES ($1, $2, $3, $4, $5)")
        .bind(head.id + 1)
        .bind(now_text())
        .bind(head.schema_version)
        .bind(head.next_catalog_id)
        .bind(head.next_file_id)
        .execute(&mut **tx)
        .await?;
    sqlx::query("INSERT INTO ducklake_snapshot_changes VALUES ($1, $2, 'dkc', $3, $4)")
        .bind(head.id + 1)
        .bind(changes)
        .bind(message)
        .bind(info)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn insert_column(
    tx: &mut Transaction<'static, Sqlite>,
    table_id: i64,
    snapshot: i64,
    column: &Column,
    column_id: i64,
) -> Result<(), sqlx::Error> {
    let mut rows = vec![(column_id, column.name, ducklake_type(column.kind), column.nullable, None)];
    if column.kind == Kind::TextList {
        rows.push((column_id + 1, "element", ducklake_type(Kind::Text), true, Some(column_id)));
    }
    for (id, name, kind, nullable, parent) in rows {
        sqlx::query("INSERT INTO ducklake_column VALUES ($1, $2, NULL, $3, $1, $4, $5, NULL, 'NULL', $6, $7, 'literal', 'duckdb')")
            .bind(id)
            .bind(snapshot)
            .bind(table_id)
            .bind(name)
            .bind(kind)
            .bind(nullable)
            .bind(parent)
            .execute(&mut **tx)
            .await?;
    }
    sqlx::query("INSERT INTO ducklake_column_tag VALUES ($1, $2, $3, NULL, 'comment', $4)")
        .bind(table_id)
        .bind(column_id)
        .bind(snapshot)
        .bind(column.doc)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn apply(
    tx: &mut Transaction<'static, Sqlite>,
    change: &TableChange,
    snapshot: i64,
    next_file_id: &mut i64,
    changes: &mut BTreeSet<String>,
) -> Result<(), sqlx::Error> {
    let table_id: i64 =
        sqlx::query_scalar("SELECT table_id FROM ducklake_table WHERE table_name = $1 AND end_snapshot IS NULL")
            .bind(change.dataset.name)
            .fetch_one(&mut **tx)
            .await?;
    let mut take_id = || {
        let id = *next_file_id;
        *next_file_id += 1;
        id
    };
    for file in &change.added {
        changes.insert(format!("inserted_into_table:{table_id}"));
        let id = take_id();
        sqlx::query(
            "INSERT INTO ducklake_data_file
             SELECT $1, $2, $3, NULL, NULL, $4, 1, 'parquet', $5, $6, $7, next_row_id, NULL, NULL, NULL, NULL
             FROM ducklake_table_stats WHERE table_id = $2",
        )
        .bind(id)
        .bind(table_id)
        .bind(snapshot)
        .bind(&file.name)
        .bind(file.rows)
        .bind(file.size)
        .bind(file.footer_size)
        .execute(&mut **tx)
        .await?;
        sqlx::query(
            "UPDATE ducklake_table_stats SET record_count = record_count + $2,
             next_row_id = next_row_id + $2, file_size_bytes = file_size_bytes + $3 WHERE table_id = $1",
        )
        .bind(table_id)
        .bind(file.rows)
        .bind(file.size)
        .execute(&mut **tx)
        .await?;
        for column in &file.statistics {
            let (low, high) = column.bounds.clone().unzip();
            sqlx::query("INSERT INTO ducklake_file_column_stats VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL, NULL)")
                .bind(id)
                .bind(table_id)
                .bind(column.column_id)
                .bind(column.size)
                .bind(column.values)
                .bind(column.nulls)
                .bind(low)
                .bind(high)
                .execute(&mut **tx)
                .await?;
        }
    }
    for deletes in &change.deletes {
        changes.insert(format!("deleted_from_table:{table_id}"));
        sqlx::query("UPDATE ducklake_delete_file SET end_snapshot = $2 WHERE delete_file_id = $1")
            .bind(deletes.before)
            .bind(snapshot)
            .execute(&mut **tx)
            .await?;
        sqlx::query("INSERT INTO ducklake_delete_file VALUES ($1, $2, $3, NULL, $4, $5, 1, 'parquet', $6, $7, $8, NULL, NULL)")
            .bind(take_id())
            .bind(table_id)
            .bind(snapshot)
            .bind(deletes.data_file)
            .bind(&deletes.file.name)
            .bind(deletes.file.rows)
            .bind(deletes.file.size)
            .bind(deletes.file.footer_size)
            .execute(&mut **tx)
            .await?;
    }
    for file in &change.ended {
        changes.insert(format!("deleted_from_table:{table_id}"));
        for statement in [
            "UPDATE ducklake_table_stats AS t SET record_count = t.record_count - f.record_count,
                    file_size_bytes = t.file_size_bytes - f.file_size_bytes
             FROM ducklake_data_file f WHERE f.data_file_id = $1 AND t.table_id = f.table_id AND $2 > 0",
            "UPDATE ducklake_data_file SET end_snapshot = $2 WHERE data_file_id = $1",
            "UPDATE ducklake_delete_file SET end_snapshot = $2 WHERE data_file_id = $1 AND end_snapshot IS NULL",
        ] {
            sqlx::query(statement).bind(file).bind(snapshot).execute(&mut **tx).await?;
        }
    }
    Ok(())
}
