//! The chunks of a dataset, and the index of their words.
//!
//! - In: all chunks of the rows that changed. Out: which chunks have the words of a query, best first (BM25).
//! - Not here: vectors (`space`), filters (`hot`).
//!
//! Columns that must be there: `id` (32 bytes, no two chunks share it), `row_key` and `text`. If there are `title`,
//! `date` and `part`, the title is searched too, the newest chunks are embedded first, and those that are not `body` not
//! at all. Any others are kept for filters and snippets. `digest`, of what a model reads of a chunk, is added here.

use super::digest::{add_digest, with_digest};
use super::version::Version;
use super::{VectorError, collect};
use arrow_array::{RecordBatch, RecordBatchIterator};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::{Expr, col, lit};
use lancedb::database::CreateTableMode;
use lancedb::index::Index;
use lancedb::index::scalar::FtsIndexBuilder;
use lancedb::query::{QueryBase as _, Select};
use lancedb::table::{Duration, NativeTable, OptimizeAction, OptimizeOptions};
use lancedb::{Connection, Table};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Bytes of an id or digest.
pub const DIGEST_BYTES: i32 = 32;

/// The address of a chunk in one version of the table.
pub(super) const ADDRESS: &str = "_rowid";

/// The column that says what part of a row a chunk is of.
pub(super) const PART: &str = "part";

/// What its author wrote, as [`PART`].
pub const BODY: &str = "body";

/// The columns whose words are indexed.
pub(super) const WORDS: [&str; 2] = ["text", "title"];

/// Where the table says what it follows.
const FOLLOWED: &str = "dkc.followed";

/// Longer words are what a machine wrote; nobody asks for them.
const LONGEST_WORD: usize = 40;

/// Why a table cannot be read as files.
pub(super) const ELSEWHERE: &str = "it is not on this machine";

/// The chunks of one dataset, as they were when this was opened or last wrote.
#[derive(Clone, Debug)]
pub struct Chunks {
    pub(super) table: Table,
    /// What was opened of the version that this and its clones saw last.
    pub(super) opened: Arc<Mutex<Option<Arc<Version>>>>,
}

/// A chunk that has words of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WordHit {
    /// Its address.
    pub address: u64,
    /// BM25.
    pub score: f32,
}

/// How much is there, and how much of it a query finds fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordState {
    /// Chunks.
    pub chunks: usize,
    /// Chunks that the index of words does not know yet; a query reads them one by one.
    pub unindexed: usize,
    /// What the chunks follow.
    pub followed: Option<Followed>,
}

/// What chunks were made of, and how.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Followed {
    /// The snapshot of the lake up to which they are right.
    pub snapshot: i64,
    /// What counted their tokens: with another, texts are cut elsewhere.
    pub tokens: String,
}

impl Chunks {
    pub(super) async fn open(connection: &Connection, name: &str) -> Result<Self, VectorError> {
        let table = connection
            .open_table(name)
            .execute()
            .await
            .map_err(VectorError::of(name))?;
        Ok(Self {
            table,
            opened: Arc::default(),
        })
    }

    pub(super) async fn create(
        connection: &Connection,
        name: &str,
        columns: SchemaRef,
    ) -> Result<Self, VectorError> {
        let schema = with_digest(&columns);
        let made = connection
            .create_empty_table(name, schema)
            .mode(CreateTableMode::Overwrite)
            .execute()
            .await;
        Ok(Self {
            table: made.map_err(VectorError::of(name))?,
            opened: Arc::default(),
        })
    }

    pub(super) async fn check(&self, columns: &Schema) -> Result<(), VectorError> {
        let kinds = |schema: &Schema| -> Vec<(String, DataType)> {
            let fields = schema.fields().iter();
            fields
                .map(|field| (field.name().clone(), field.data_type().clone()))
                .collect()
        };
        let there = self.table.schema().await.map_err(self.failed())?;
        match kinds(&there) == kinds(&with_digest(columns)) {
            true => Ok(()),
            false => Err(outdated(&self.table, "it has other columns")),
        }
    }

    pub(super) fn failed(&self) -> impl FnOnce(lancedb::Error) -> VectorError + use<> {
        VectorError::of(self.table.name().to_owned())
    }

    fn native(&self) -> Result<&NativeTable, VectorError> {
        self.table.as_native().ok_or_else(|| VectorError::Outdated {
            table: self.table.name().to_owned(),
            reason: ELSEWHERE.to_owned(),
        })
    }

    /// Puts `chunks` in the place of all chunks of the rows with the keys `rows`. To do so twice is as good as once. Only for
    /// whoever holds the writer's lock.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be written.
    pub async fn replace(&self, rows: &[String], chunks: &RecordBatch) -> Result<(), VectorError> {
        if rows.is_empty() {
            return Ok(());
        }
        let chunks = add_digest(chunks)?;
        let keys = rows.iter().map(|key| lit(key.as_str())).collect();
        let of_rows = col("row_key").in_list(keys, false);
        // Most rows are new, and a merge reads the whole table, all its columns.
        if self.all(&["row_key"], Some(of_rows.clone())).await?.num_rows() == 0 {
            if chunks.num_rows() > 0 {
                self.table.add(chunks).execute().await.map_err(self.failed())?;
            }
            return Ok(());
        }
        let schema = chunks.schema();
        let mut merge = self.table.merge_insert(&["id"]);
        merge
            .when_matched_update_all(None)
            .when_not_matched_insert_all()
            .when_not_matched_by_source_delete_expr(of_rows);
        let source = RecordBatchIterator::new([Ok(chunks)], schema);
        merge.execute(Box::new(source)).await.map_err(self.failed())?;
        Ok(())
    }

    /// Says what the chunks follow. Until it says so, they are replaced again.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be written.
    pub async fn set_followed(&self, followed: &Followed) -> Result<(), VectorError> {
        let followed = serde_json::to_string(followed).unwrap_or_default();
        let entry = (FOLLOWED.to_owned(), followed);
        self.native()?.update_config([entry]).await.map_err(self.failed())
    }

    /// What the chunks follow; `None` before the first.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read.
    pub async fn followed(&self) -> Result<Option<Followed>, VectorError> {
        let manifest = self.native()?.manifest().await.map_err(self.failed())?;
        let followed = manifest.config.get(FOLLOWED);
        Ok(followed.and_then(|followed| serde_json::from_str(followed).ok()))
    }

    /// Its table.
    pub(super) fn name(&self) -> &str {
        self.table.name()
    }

    /// Its columns.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read.
    pub async fn columns(&self) -> Result<SchemaRef, VectorError> {
        self.table.schema().await.map_err(self.failed())
    }

    /// Whether there is a column of this name.
    pub(super) async fn has(&self, column: &str) -> Result<bool, VectorError> {
        Ok(self.columns().await?.field_with_name(column).is_ok())
    }

    /// Sees what others wrote since, and so do clones of this; whether they did. `&mut`: no query that has words of one
    /// version may read texts of the next.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read.
    pub async fn see_latest(&mut self) -> Result<bool, VectorError> {
        see_latest(&self.table).await
    }

    /// Columns of the chunks at these addresses, in that order, of the version that this sees.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read, or has no chunk at one of them.
    pub async fn at(&self, addresses: &[u64], columns: &[&str]) -> Result<RecordBatch, VectorError> {
        let found = self.version().await?.texts.at(addresses, columns).await;
        let found = found.map_err(|error| self.failed()(error.into()))?;
        match found.num_rows() == addresses.len() {
            true => Ok(found),
            false => Err(outdated(&self.table, "it was written meanwhile")),
        }
    }

    /// Columns of all chunks, with their addresses, that fit `filter` if there is one.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read.
    pub async fn all(&self, columns: &[&str], filter: Option<Expr>) -> Result<RecordBatch, VectorError> {
        let query = self.table.query().select(Select::columns(columns)).with_row_id();
        let query = match filter {
            Some(filter) => query.only_if_expr(filter),
            None => query,
        };
        let batches = collect(&self.table, &query).await?;
        self.concat(&batches, columns).await
    }

    async fn concat(&self, batches: &[RecordBatch], columns: &[&str]) -> Result<RecordBatch, VectorError> {
        let schema = match batches.first() {
            Some(batch) => batch.schema(),
            None => {
                let schema = self.table.schema().await.map_err(self.failed())?;
                let fields = columns.iter().map(|name| schema.field_with_name(name).cloned());
                let mut fields = fields.collect::<Result<Vec<Field>, _>>()?;
                fields.push(Field::new(ADDRESS, DataType::UInt64, true));
                Arc::new(Schema::new(fields))
            }
        };
        Ok(arrow::compute::concat_batches(&schema, batches)?)
    }

    /// Makes queries fast again: few files, all words indexed, versions that nobody reads any more deleted. Only for
    /// whoever holds the writer's lock.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read or written.
    pub async fn optimize(&self) -> Result<(), VectorError> {
        compact(&self.table).await?;
        let there = self.table.list_indices().await.map_err(self.failed())?;
        let schema = self.table.schema().await.map_err(self.failed())?;
        for column in WORDS {
            let is_indexed = there.iter().any(|index| index.columns == [column]);
            if is_indexed || schema.field_with_name(column).is_err() {
                continue;
            }
            self.table
                .create_index(&[column], Index::FTS(analysis()))
                .execute()
                .await
                .map_err(self.failed())?;
        }
        let action = OptimizeAction::Index(OptimizeOptions::default());
        self.table.optimize(action).await.map_err(self.failed())?;
        Ok(())
    }

    /// How many chunks there are.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read.
    pub async fn count(&self) -> Result<usize, VectorError> {
        self.table.count_rows(None).await.map_err(self.failed())
    }

    /// How much is there.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read.
    pub async fn state(&self) -> Result<WordState, VectorError> {
        let chunks = self.count().await?;
        let mut unindexed = chunks;
        for index in self.table.list_indices().await.map_err(self.failed())? {
            if index.columns == ["text"] {
                let stats = self.table.index_stats(&index.name).await.map_err(self.failed())?;
                unindexed = stats.map_or(chunks, |stats| stats.num_unindexed_rows);
            }
        }
        Ok(WordState {
            chunks,
            unindexed,
            followed: self.followed().await?,
        })
    }
}

/// Sees what others wrote to a table since; whether they did.
///
/// # Errors
/// [`VectorError::Outdated`] when it was made anew: LanceDB keeps the higher of two versions, and would see nothing of it.
pub(super) async fn see_latest(table: &Table) -> Result<bool, VectorError> {
    let failed = || VectorError::of(table.name());
    let seen = table.dataset().ok_or_else(|| outdated(table, ELSEWHERE))?;
    let before = seen.get().await.map_err(failed())?;
    let latest = before.latest_manifest().await;
    let (latest, _) = latest.map_err(|error| failed()(error.into()))?;
    let had = before.manifest();
    let is_other = latest.version == had.version && latest.timestamp_nanos != had.timestamp_nanos;
    if latest.version < had.version || is_other {
        return Err(outdated(table, "it was made anew meanwhile"));
    }
    table.checkout_latest().await.map_err(failed())?;
    Ok(table.version().await.map_err(failed())? != had.version)
}

pub(super) fn outdated(table: &Table, reason: &str) -> VectorError {
    VectorError::Outdated {
        table: table.name().to_owned(),
        reason: reason.to_owned(),
    }
}

/// How texts become words. Those of scripts without blanks (Chinese, Japanese, Thai, …) are told apart by the dictionaries of ICU;
/// everywhere a word ends at what is no letter or digit. English endings and accents do not count.
pub(crate) fn analysis() -> FtsIndexBuilder {
    // Words that mean little stay, for phrases; BM25 makes little of them.
    FtsIndexBuilder::default()
        .base_tokenizer("icu/split".to_owned())
        .with_position(true)
        .remove_stop_words(false)
        .max_token_length(Some(LONGEST_WORD))
}

/// Merges small files, and deletes versions that are older than any reader's.
pub(super) async fn compact(table: &Table) -> Result<(), VectorError> {
    let failed = || VectorError::of(table.name());
    let compact = OptimizeAction::Compact {
        options: lancedb::table::CompactionOptions::default(),
        remap_options: None,
    };
    table.optimize(compact).await.map_err(failed())?;
    // A reader sees the latest version again with each refresh; ten minutes are long for a query.
    let prune = OptimizeAction::Prune {
        older_than: Some(Duration::minutes(10)),
        delete_unverified: Some(true),
        error_if_tagged_old_versions: None,
    };
    table.optimize(prune).await.map_err(failed())?;
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Vectors;
    use super::*;
    use arrow_array::builder::FixedSizeBinaryBuilder;
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::UInt64Type;
    use arrow_array::{ArrayRef, StringArray};

    /// Chunks of a row each, whose key is what it says.
    pub(in crate::vectors) fn saying(texts: &[&str]) -> RecordBatch {
        let text = |name| Field::new(name, DataType::Utf8, false);
        let id = Field::new("id", DataType::FixedSizeBinary(DIGEST_BYTES), false);
        let mut ids = FixedSizeBinaryBuilder::new(DIGEST_BYTES);
        for said in texts {
            let mut id = [0; DIGEST_BYTES as usize];
            id[..said.len()].copy_from_slice(said.as_bytes());
            ids.append_value(id).unwrap();
        }
        let said: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
        let columns = Schema::new(vec![id, text("row_key"), text("text")]);
        RecordBatch::try_new(columns.into(), vec![Arc::new(ids.finish()), said.clone(), said]).unwrap()
    }

    pub(in crate::vectors) fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|&key| key.to_owned()).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_table_that_was_made_anew_is_told_from_one_that_was_written_to() {
        let data = tempfile::tempdir().unwrap();
        let vectors = Vectors::open(data.path()).await.unwrap();
        let first = saying(&["a", "b"]);
        let chunks = vectors.chunks_with("letters", first.schema()).await.unwrap();
        chunks.replace(&keys(&["a", "b"]), &first).await.unwrap();
        let mut reader = vectors.chunks("letters").await.unwrap().unwrap();
        assert!(!reader.see_latest().await.unwrap());
        chunks.replace(&keys(&["a"]), &saying(&["a"])).await.unwrap();
        assert!(reader.see_latest().await.unwrap());
        std::fs::remove_dir_all(data.path().join("vectors/letters.lance")).unwrap();
        vectors.chunks_with("letters", first.schema()).await.unwrap();
        let seen = reader.see_latest().await;
        assert!(matches!(seen, Err(VectorError::Outdated { .. })), "{seen:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn chunks_come_in_the_order_of_their_addresses_and_one_that_is_gone_is_told() {
        let data = tempfile::tempdir().unwrap();
        let vectors = Vectors::open(data.path()).await.unwrap();
        let (first, second) = (saying(&["a", "b", "c", "d"]), saying(&["e", "f"]));
        let chunks = vectors.chunks_with("letters", first.schema()).await.unwrap();
        chunks
            .replace(&keys(&["a", "b", "c", "d"]), &first)
            .await
            .unwrap();
        chunks.replace(&keys(&["e", "f"]), &second).await.unwrap();

        let all = chunks.all(&["text"], None).await.unwrap();
        let said = all.column_by_name("text").unwrap().as_string::<i32>().clone();
        let addresses = all.column_by_name(ADDRESS).unwrap().as_primitive::<UInt64Type>();
        let addresses = addresses.values().to_vec();
        let at_of = |text: &str| addresses[said.iter().position(|said| said == Some(text)).unwrap()];
        for asked in [&["f", "a", "d"][..], &["b"], &["a", "b", "c"], &["c", "e"], &[]] {
            let addresses: Vec<u64> = asked.iter().map(|text| at_of(text)).collect();
            let read = chunks.at(&addresses, &["text", "row_key"]).await.unwrap();
            let told: Vec<_> = read
                .column_by_name("text")
                .unwrap()
                .as_string::<i32>()
                .iter()
                .flatten()
                .collect();
            assert_eq!(told, asked);
        }

        chunks.replace(&keys(&["b", "g"]), &saying(&["g"])).await.unwrap();
        assert!(chunks.at(&[at_of("a"), at_of("b")], &["text"]).await.is_err());
        let rest = chunks.at(&[at_of("c"), at_of("a")], &["text"]).await.unwrap();
        assert_eq!(rest.num_rows(), 2);
    }
}
