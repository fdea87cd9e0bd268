//! Which files of the lake are gone? Asks the disk for each file that the catalog names now, and reads none.
//!
//! - In: the catalog. Out: files that are not there, or not as long as they were written.
//! - A compaction may take files away meanwhile: what is missing counts only if the catalog names it still.
//! - Not here: whether the bytes are those that were written (`verify`).

use crate::error::StoreError;
use crate::lake::catalog::Catalog;
use futures::{StreamExt as _, TryStreamExt as _};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// So many are found at most: whoever has lost more knows enough.
pub const MOST_LOST: usize = 1_000;

/// Files that the disk is asked for at once.
const CHUNK: usize = 1_000;

/// Data and delete files of the newest snapshot that came after one.
const LIVE: &str = "
SELECT f.data_file_id AS id, t.table_name AS dataset, f.path AS path, f.file_size_bytes AS size
FROM ducklake_data_file f JOIN ducklake_table t ON t.table_id = f.table_id AND t.end_snapshot IS NULL
WHERE f.end_snapshot IS NULL AND f.begin_snapshot > $1
UNION ALL
SELECT d.delete_file_id, t.table_name, d.path, d.file_size_bytes
FROM ducklake_delete_file d JOIN ducklake_table t ON t.table_id = d.table_id AND t.end_snapshot IS NULL
WHERE d.end_snapshot IS NULL AND d.begin_snapshot > $1";

/// Which of some files the newest snapshot names. Data and delete files have numbers of one kind.
const SQLITE_NAMED: &str = "
SELECT data_file_id FROM ducklake_data_file
WHERE end_snapshot IS NULL AND data_file_id IN (SELECT value FROM json_each($1))
UNION ALL
SELECT delete_file_id FROM ducklake_delete_file
WHERE end_snapshot IS NULL AND delete_file_id IN (SELECT value FROM json_each($1))";

/// The same.
const POSTGRES_NAMED: &str = "
SELECT data_file_id FROM ducklake_data_file WHERE end_snapshot IS NULL AND data_file_id IN
(SELECT CAST(id AS BIGINT) FROM jsonb_array_elements_text(CAST($1 AS JSONB)) AS ids (id))
UNION ALL
SELECT delete_file_id FROM ducklake_delete_file WHERE end_snapshot IS NULL AND delete_file_id IN
(SELECT CAST(id AS BIGINT) FROM jsonb_array_elements_text(CAST($1 AS JSONB)) AS ids (id))";

/// A file that the catalog names.
#[derive(Debug)]
struct Named {
    id: i64,
    /// Below the data directory.
    path: PathBuf,
    size: Option<i64>,
}

impl Named {
    fn of(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let (dataset, name): (String, String) = (row.try_get("dataset")?, row.try_get("path")?);
        Ok(Self {
            id: row.try_get("id")?,
            path: Path::new("main").join(dataset).join(name),
            size: row.try_get("size")?,
        })
    }

    /// Whether it is there below `files`, and as long as it was written.
    fn is_whole(&self, files: &Path) -> bool {
        fs::metadata(files.join(&self.path)).is_ok_and(|file| {
            let is_as_long = |size: i64| u64::try_from(size).is_ok_and(|size| size == file.len());
            file.is_file() && self.size.is_none_or(is_as_long)
        })
    }
}

/// The files of the newest snapshot that are lost, [`MOST_LOST`] at most, by their paths below the data directory; with a
/// snapshot, of those that came after it.
///
/// # Errors
/// [`StoreError`] when the catalog cannot be read.
pub async fn lost_files(catalog: &Catalog, since: Option<i64>) -> Result<Vec<PathBuf>, StoreError> {
    let missing = missing(catalog, since).await?;
    let lost = still_named(catalog, missing).await?;
    let folder = Path::new("lake/files");
    let mut lost: Vec<PathBuf> = lost.into_iter().map(|file| folder.join(file.path)).collect();
    // Of the same files the first is always the same.
    lost.sort_unstable();
    Ok(lost)
}

/// The files that the catalog names and that are not there.
async fn missing(catalog: &Catalog, since: Option<i64>) -> Result<Vec<Named>, StoreError> {
    let database = catalog.database();
    let failed = database.failed();
    let mut missing = Vec::new();
    let rows = sqlx::query(LIVE)
        .bind(since.unwrap_or(-1))
        .fetch(database.pool())
        .map(|row| row.and_then(|row| Named::of(&row)));
    let mut chunks = rows.try_chunks(CHUNK);
    while let Some(chunk) = chunks.try_next().await.map_err(|error| failed(error.1))? {
        let files = catalog.files().to_owned();
        let gone = tokio::task::spawn_blocking(move || {
            let gone = chunk.into_iter().filter(|file| !file.is_whole(&files));
            gone.collect::<Vec<_>>()
        });
        missing.extend(gone.await?);
        if missing.len() >= MOST_LOST {
            missing.truncate(MOST_LOST);
            break;
        }
    }
    Ok(missing)
}

/// Those of them that the catalog names still. It never names again what it ceased to, so it did when they were looked for.
async fn still_named(catalog: &Catalog, mut missing: Vec<Named>) -> Result<Vec<Named>, StoreError> {
    if missing.is_empty() {
        return Ok(missing);
    }
    let database = catalog.database();
    let ids: Vec<i64> = missing.iter().map(|file| file.id).collect();
    let named: Vec<i64> = sqlx::query_scalar(database.sql(SQLITE_NAMED, POSTGRES_NAMED))
        .bind(serde_json::json!(ids).to_string())
        .fetch_all(database.pool())
        .await
        .map_err(database.failed())?;
    let named: HashSet<i64> = named.into_iter().collect();
    missing.retain(|file| named.contains(&file.id));
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::catalog::{CommitInfo, EndedFile, On, TableChange};
    use crate::{Commit, Items, Store};
    use schemas::datasets::emails::{DATASET, Email};
    use schemas::{Rows, RunId};
    use tempfile::TempDir;

    /// A store with so many mails, each in a file of its own.
    async fn store_of(mails: usize) -> (TempDir, Store) {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open_writer(data.path()).await.unwrap();
        let source = fixtures::provenance().source;
        let mut committer = store.committer(&source).await.unwrap();
        for number in 0..mails {
            let mut rows = Rows::of_lake(&DATASET, fixtures::provenance());
            let mail = Email {
                item: number.to_string(),
                ..Email::default()
            };
            rows.push(&mail).unwrap();
            let change = Commit {
                run: RunId("run".to_owned()),
                source: source.clone(),
                upserts: vec![(&DATASET, rows.finish().unwrap())],
                differ: false,
                removals: Vec::new(),
                cursor: None,
                items: Items::default(),
                message: None,
            };
            committer.commit(change).await.unwrap();
        }
        (data, store)
    }

    async fn files(store: &Store) -> Vec<PathBuf> {
        let head = store.catalog().head().await.unwrap();
        let files = store.catalog().files_at(&DATASET, head.id, None).await.unwrap();
        files.into_iter().map(|file| file.path).collect()
    }

    #[tokio::test]
    async fn what_is_gone_or_cut_short_is_found_and_what_came_before_is_left_out() {
        let (_data, store) = store_of(3).await;
        let catalog = store.catalog();
        assert!(lost_files(catalog, None).await.unwrap().is_empty());
        let files = files(&store).await;
        assert_eq!(files.len(), 3);
        let below = |file: &PathBuf| file.strip_prefix(store.data()).unwrap().to_owned();
        fs::rename(&files[0], files[0].with_extension("away")).unwrap();
        let whole = fs::read(&files[1]).unwrap();
        fs::write(&files[1], &whole[1..]).unwrap();
        let lost = lost_files(catalog, None).await.unwrap();
        assert_eq!(lost, [below(&files[0]), below(&files[1])]);
        let head = catalog.head().await.unwrap().id;
        assert!(lost_files(catalog, Some(head)).await.unwrap().is_empty());
        assert_eq!(
            lost_files(catalog, Some(head - 2)).await.unwrap(),
            [below(&files[1])]
        );
        fs::write(&files[1], &whole).unwrap();
        fs::rename(files[0].with_extension("away"), &files[0]).unwrap();
        assert!(lost_files(catalog, None).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_a_compaction_takes_away_meanwhile_is_not_lost() {
        let (_data, store) = store_of(2).await;
        let catalog = store.catalog();
        let head = catalog.head().await.unwrap();
        let live = catalog.files_at(&DATASET, head.id, None).await.unwrap();
        for file in &live {
            fs::remove_file(&file.path).unwrap();
        }
        // Both are missing when they are looked for, and one of them is not of the lake any more right after.
        let missing = missing(catalog, None).await.unwrap();
        assert_eq!(missing.len(), 2);
        let change = TableChange {
            dataset: &DATASET,
            added: Vec::new(),
            deletes: Vec::new(),
            ended: vec![EndedFile {
                data_file: live[0].id,
                deletes: None,
            }],
        };
        let info = CommitInfo::default();
        catalog
            .commit(head, On::Base, &[change], "end a file", &info)
            .await
            .unwrap();
        let lost = still_named(catalog, missing).await.unwrap();
        let ids: Vec<i64> = lost.iter().map(|file| file.id).collect();
        assert_eq!(ids, [live[1].id]);
    }
}
