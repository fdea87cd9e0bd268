//! How much of each dataset there is, where it came from, and since when.
//!
//! - In: the catalog at one snapshot, the history of runs. Out: numbers, without reading a file of the lake.

use crate::error::StoreError;
use crate::watch::Watch;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::{BTreeMap, BTreeSet};

/// What there is of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Its name.
    pub dataset: String,
    /// Rows.
    pub rows: i64,
    /// Bytes of its files.
    pub bytes: i64,
    /// Files.
    pub files: i64,
    /// The snapshot that brought the newest of them.
    pub changed_at: Option<i64>,
    /// The sources that its rows came from. Where files of several were merged, those whose names are between the first
    /// and the last are not told.
    pub sources: BTreeSet<String>,
}

/// Each table: rows, bytes, files, the newest snapshot; rows that are deleted; the first and last source of each file.
const FILES: &str = "
SELECT t.table_name AS name, COUNT(f.data_file_id) AS files,
       CAST(COALESCE(SUM(f.record_count), 0) AS BIGINT) AS rows,
       CAST(COALESCE(SUM(f.file_size_bytes), 0) AS BIGINT) AS bytes, MAX(f.begin_snapshot) AS changed,
       CAST(COALESCE(SUM((SELECT d.delete_count FROM ducklake_delete_file d WHERE d.data_file_id = f.data_file_id
            AND d.begin_snapshot <= $1 AND (d.end_snapshot IS NULL OR d.end_snapshot > $1))), 0) AS BIGINT) AS deleted
FROM ducklake_table t LEFT JOIN ducklake_data_file f
  ON f.table_id = t.table_id AND f.begin_snapshot <= $1 AND (f.end_snapshot IS NULL OR f.end_snapshot > $1)
WHERE t.end_snapshot IS NULL GROUP BY t.table_id, t.table_name";

const SOURCES: &str = "
SELECT DISTINCT t.table_name AS name, s.min_value AS first, s.max_value AS last
FROM ducklake_data_file f
JOIN ducklake_table t ON t.table_id = f.table_id AND t.end_snapshot IS NULL
JOIN ducklake_column c ON c.table_id = f.table_id AND c.column_name = '_source' AND c.end_snapshot IS NULL
JOIN ducklake_file_column_stats s ON s.data_file_id = f.data_file_id AND s.column_id = c.column_id
WHERE f.begin_snapshot <= $1 AND (f.end_snapshot IS NULL OR f.end_snapshot > $1)";

impl crate::Store {
    /// What there is of each dataset of the lake at a snapshot.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog cannot be read.
    pub async fn holdings(&self, snapshot: i64) -> Result<Vec<Holding>, StoreError> {
        let database = self.catalog.database();
        let failed = database.failed();
        let mut sources: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let rows = sqlx::query(SOURCES)
            .bind(snapshot)
            .fetch_all(database.pool())
            .await
            .map_err(&failed)?;
        for row in rows {
            let name: String = row.try_get("name").map_err(&failed)?;
            let ends = ["first", "last"].map(|end| row.try_get::<Option<String>, _>(end));
            let of_table = sources.entry(name).or_default();
            for end in ends {
                of_table.extend(end.map_err(&failed)?);
            }
        }
        let rows = sqlx::query(FILES)
            .bind(snapshot)
            .fetch_all(database.pool())
            .await
            .map_err(&failed)?;
        let holding = |row: &AnyRow| {
            let dataset: String = row.try_get("name")?;
            Ok::<_, sqlx::Error>(Holding {
                sources: sources.remove(&dataset).unwrap_or_default(),
                rows: row.try_get::<i64, _>("rows")? - row.try_get::<i64, _>("deleted")?,
                bytes: row.try_get("bytes")?,
                files: row.try_get("files")?,
                changed_at: row.try_get("changed")?,
                dataset,
            })
        };
        rows.iter()
            .map(holding)
            .collect::<Result<_, _>>()
            .map_err(&failed)
    }

    /// Watches the catalog from now on.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn watch_lake(&self) -> Result<Watch, StoreError> {
        self.catalog.database().watch().await
    }

    /// Watches the history of runs from now on.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn watch_runs(&self) -> Result<Watch, StoreError> {
        self.runs.database().watch().await
    }
}
