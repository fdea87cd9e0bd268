//! The vectors of one model for one dataset, by the digest of what the model read: a text that comes again, in another
//! row or after a rebuild, has its vector already.
//!
//! - In: the chunks of a dataset, vectors. Out: which chunks have none yet; vectors.
//! - Not here: computing them (`embedder`), searching in memory (`hot`).

use super::chunks::{ADDRESS, BODY, Chunks, DIGEST_BYTES, PART, compact};
use super::digest::what_models_read;
use super::{VectorError, collect};
use crate::embedder::ModelStamp;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, TimestampMicrosecondType, UInt64Type};
use arrow_array::{Array as _, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, col, lit};
use futures::TryStreamExt as _;
use hashbrown::{HashMap, HashSet};
use lancedb::database::CreateTableMode;
use lancedb::index::Index;
use lancedb::index::vector::IvfSqIndexBuilder;
use lancedb::query::{ExecutableQuery as _, QueryBase as _, Select};
use lancedb::table::{OptimizeAction, OptimizeOptions};
use lancedb::{Connection, DistanceType, Table};
use std::sync::Arc;

/// A digest as it is in a table.
pub type Digest = [u8; DIGEST_BYTES as usize];

/// What stamps a table with its model.
const MODEL: &str = "dkc.model";

/// Up to so many vectors, reading all is as fast as an index.
const SMALL: usize = 100_000;

/// Parts of the index that are read, each of some 8,000 vectors, as bytes. A graph (HNSW) over all is read quicker, and took
/// 12 minutes to make of 500,000.
const PROBES: usize = 16;

/// Vectors of one model, as they were when this was opened or last wrote.
#[derive(Clone, Debug)]
pub struct Space {
    table: Table,
    model: ModelStamp,
}

/// A text that has no vector yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    digest: Digest,
    /// Address of a chunk that says it.
    address: u64,
}

/// What chunks say beside what there are vectors of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Vectors.
    pub vectors: usize,
    /// The texts that have none yet, those of the newest chunks first.
    pub pending: Vec<Pending>,
    /// Vectors of texts that no chunk says any more.
    pub stale: usize,
}

/// How many vectors there are, and how many there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceState {
    /// Vectors.
    pub vectors: usize,
    /// Texts that have none yet.
    pub pending: usize,
    /// Vectors of texts that no chunk says any more.
    pub stale: usize,
}

impl Space {
    pub(super) async fn create(
        connection: &Connection,
        name: &str,
        model: &ModelStamp,
    ) -> Result<Self, VectorError> {
        let stamp = serde_json::to_string(model).unwrap_or_default();
        let schema = Schema::new_with_metadata(fields(model.dimension), [(MODEL.to_owned(), stamp)].into());
        let table = connection
            .create_empty_table(name, Arc::new(schema))
            .mode(CreateTableMode::Overwrite)
            .execute()
            .await;
        Ok(Self {
            table: table.map_err(VectorError::of(name))?,
            model: model.clone(),
        })
    }

    pub(super) async fn open(
        connection: &Connection,
        name: &str,
        model: &ModelStamp,
    ) -> Result<Self, VectorError> {
        let table = connection
            .open_table(name)
            .execute()
            .await
            .map_err(VectorError::of(name))?;
        let there = stamp(&table).await?;
        match there == *model {
            true => Ok(Self { table, model: there }),
            false => Err(VectorError::OtherModel {
                table: name.to_owned(),
                there: Box::new(there),
                asked: Box::new(model.clone()),
            }),
        }
    }

    pub(super) async fn stamp_of(connection: &Connection, name: &str) -> Result<ModelStamp, VectorError> {
        let table = connection
            .open_table(name)
            .execute()
            .await
            .map_err(VectorError::of(name))?;
        stamp(&table).await
    }

    /// The model of these vectors.
    pub fn model(&self) -> &ModelStamp {
        &self.model
    }

    fn failed(&self) -> impl FnOnce(lancedb::Error) -> VectorError + use<> {
        VectorError::of(self.table.name().to_owned())
    }

    /// What chunks say beside what there are vectors of; it reads the digests of both once.
    ///
    /// # Errors
    /// [`VectorError`] when a table cannot be read.
    pub async fn compared(&self, chunks: &Chunks) -> Result<Compared, VectorError> {
        let there = self.digests().await?;
        let said = texts_of(chunks).await?;
        let stale = there.iter().filter(|digest| !said.contains_key(*digest)).count();
        let mut pending: Vec<(Option<i64>, Pending)> = said
            .into_iter()
            .filter(|(digest, _)| !there.contains(digest))
            .map(|(digest, (date, address))| (date, Pending { digest, address }))
            .collect();
        pending.sort_by(|(a, at_a), (b, at_b)| b.cmp(a).then(at_a.address.cmp(&at_b.address)));
        Ok(Compared {
            vectors: there.len(),
            pending: pending.into_iter().map(|(_, pending)| pending).collect(),
            stale,
        })
    }

    /// What the model should read of pending texts, in their order.
    ///
    /// # Errors
    /// [`VectorError`] when the chunks cannot be read.
    pub async fn texts(chunks: &Chunks, pending: &[Pending]) -> Result<Vec<String>, VectorError> {
        let addresses: Vec<u64> = pending.iter().map(|pending| pending.address).collect();
        let columns: &[&str] = match chunks.has("title").await? {
            true => &["title", "text"],
            false => &["text"],
        };
        Ok(what_models_read(&chunks.at(&addresses, columns).await?))
    }

    /// Keeps the vectors of pending texts, one after the other. Only for whoever holds the writer's lock: two that
    /// write at once could both keep one.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be written.
    pub async fn put(&self, of: &[Pending], vectors: Vec<f32>) -> Result<(), VectorError> {
        let digests = FixedSizeBinaryArray::try_from_iter(of.iter().map(|pending| pending.digest))?;
        let vectors = FixedSizeListArray::try_new(
            Arc::new(Field::new("item", DataType::Float32, true)),
            i32::try_from(self.model.dimension).unwrap_or(i32::MAX),
            Arc::new(Float32Array::from(vectors)),
            None,
        )?;
        let schema = Arc::new(Schema::new(fields(self.model.dimension)));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(digests), Arc::new(vectors)])?;
        self.table.add(batch).execute().await.map_err(self.failed())?;
        Ok(())
    }

    /// Calls `take` with the digests and vectors of all texts, or of those that `wanted` has, batch by batch.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read.
    pub async fn each(
        &self,
        wanted: Option<&[Digest]>,
        mut take: impl FnMut(&FixedSizeBinaryArray, &[f32]),
    ) -> Result<(), VectorError> {
        let query = self.table.query();
        let query = match wanted {
            Some(wanted) => query.only_if_expr(is_one_of(wanted)),
            None => query,
        };
        let mut batches = query.execute().await.map_err(self.failed())?;
        while let Some(batch) = batches.try_next().await.map_err(self.failed())? {
            let digests = batch
                .column_by_name("digest")
                .and_then(|column| column.as_fixed_size_binary_opt());
            let vectors = batch
                .column_by_name("vector")
                .and_then(|column| column.as_fixed_size_list_opt());
            let numbers = vectors.and_then(|vectors| vectors.values().as_primitive_opt::<Float32Type>());
            if let (Some(digests), Some(numbers)) = (digests, numbers) {
                take(digests, numbers.values());
            }
        }
        Ok(())
    }

    pub(super) async fn count(&self) -> Result<usize, VectorError> {
        self.table.count_rows(None).await.map_err(self.failed())
    }

    /// Sees what others wrote since; whether they did.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read.
    pub async fn see_latest(&self) -> Result<bool, VectorError> {
        super::chunks::see_latest(&self.table).await
    }

    /// The digests of the texts nearest to a vector, as LanceDB finds them: by its index where there is one, else by
    /// reading all. For a process that asks once; [`super::Hot`] is for one that stays.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read.
    pub async fn nearest(&self, vector: &[f32], most: usize) -> Result<Vec<(Digest, f32)>, VectorError> {
        let query = self
            .table
            .query()
            .nearest_to(vector)
            .map_err(self.failed())?
            .distance_type(DistanceType::Dot)
            // So many candidates are compared exactly for each that is wanted.
            .refine_factor(4)
            .nprobes(PROBES)
            .map_err(self.failed())?
            .select(Select::columns(&["digest", "_distance"]))
            .limit(most);
        let batches = collect(&self.table, &query).await?;
        let mut found = Vec::new();
        for batch in &batches {
            let digests = batch
                .column_by_name("digest")
                .and_then(|column| column.as_fixed_size_binary_opt());
            let distances = batch
                .column_by_name("_distance")
                .and_then(|column| column.as_primitive_opt::<Float32Type>());
            if let (Some(digests), Some(distances)) = (digests, distances) {
                let hits = digests.iter().flatten().zip(distances.values());
                // LanceDB's distance of this kind is 1 less the product.
                found.extend(
                    hits.filter_map(|(digest, distance)| Some((digest.try_into().ok()?, 1.0 - distance))),
                );
            }
        }
        Ok(found)
    }

    /// Makes queries fast again, and forgets vectors of texts that no chunk says. Only for whoever holds the writer's
    /// lock.
    ///
    /// # Errors
    /// [`VectorError`] when a table cannot be read or written.
    pub async fn optimize(&self, chunks: &Chunks) -> Result<(), VectorError> {
        let said = texts_of(chunks).await?;
        let stale: Vec<Digest> = self
            .digests()
            .await?
            .into_iter()
            .filter(|digest| !said.contains_key(digest))
            .collect();
        if !stale.is_empty() {
            self.table
                .delete(&is_one_of(&stale))
                .await
                .map_err(self.failed())?;
        }
        self.index().await
    }

    /// Makes queries fast again. Only for whoever holds the writer's lock.
    ///
    /// # Errors
    /// [`VectorError`] when the table cannot be read or written.
    pub async fn index(&self) -> Result<(), VectorError> {
        compact(&self.table).await?;
        let is_indexed = !self.table.list_indices().await.map_err(self.failed())?.is_empty();
        if !is_indexed && self.table.count_rows(None).await.map_err(self.failed())? > SMALL {
            let index = IvfSqIndexBuilder::default().distance_type(DistanceType::Dot);
            self.table
                .create_index(&["vector"], Index::IvfSq(index))
                .execute()
                .await
                .map_err(self.failed())?;
        }
        let action = OptimizeAction::Index(OptimizeOptions::default());
        self.table.optimize(action).await.map_err(self.failed())?;
        Ok(())
    }

    /// How many vectors there are, and how many there should be.
    ///
    /// # Errors
    /// [`VectorError`] when a table cannot be read.
    pub async fn state(&self, chunks: &Chunks) -> Result<SpaceState, VectorError> {
        let compared = self.compared(chunks).await?;
        Ok(SpaceState {
            vectors: compared.vectors,
            pending: compared.pending.len(),
            stale: compared.stale,
        })
    }

    async fn digests(&self) -> Result<HashSet<Digest>, VectorError> {
        let query = self.table.query().select(Select::columns(&["digest"]));
        let mut batches = query.execute().await.map_err(self.failed())?;
        let mut digests = HashSet::new();
        while let Some(batch) = batches.try_next().await.map_err(self.failed())? {
            if let Some(column) = batch.column(0).as_fixed_size_binary_opt() {
                digests.extend(
                    column
                        .iter()
                        .flatten()
                        .filter_map(|digest| Digest::try_from(digest).ok()),
                );
            }
        }
        Ok(digests)
    }
}

/// Each text that chunks say, by its digest: the newest date it was said, and the address of a chunk that says it.
async fn texts_of(chunks: &Chunks) -> Result<HashMap<Digest, (Option<i64>, u64)>, VectorError> {
    let columns: &[&str] = match chunks.has("date").await? {
        true => &["digest", "date"],
        false => &["digest"],
    };
    // What a reply repeats, and signatures, have no vector: they are not what the mail means.
    let own = match chunks.has(PART).await? {
        true => Some(col(PART).eq(lit(BODY))),
        false => None,
    };
    let batch = chunks.all(columns, own).await?;
    let column = |name| batch.column_by_name(name);
    let dates = column("date").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let (Some(digests), Some(addresses)) = (
        column("digest").and_then(|column| column.as_fixed_size_binary_opt()),
        column(ADDRESS).and_then(|column| column.as_primitive_opt::<UInt64Type>()),
    ) else {
        return Ok(HashMap::new());
    };
    let mut texts: HashMap<Digest, (Option<i64>, u64)> = HashMap::with_capacity(batch.num_rows());
    for (row, (digest, &address)) in digests.iter().zip(addresses.values()).enumerate() {
        let Some(digest) = digest.and_then(|digest| Digest::try_from(digest).ok()) else {
            continue;
        };
        let date = dates
            .filter(|dates| dates.is_valid(row))
            .map(|dates| dates.value(row));
        let text = texts.entry(digest).or_insert((date, address));
        text.0 = text.0.max(date);
    }
    Ok(texts)
}

fn fields(dimension: usize) -> Vec<Field> {
    let numbers = Arc::new(Field::new("item", DataType::Float32, true));
    let dimension = i32::try_from(dimension).unwrap_or(i32::MAX);
    vec![
        Field::new("digest", DataType::FixedSizeBinary(DIGEST_BYTES), false),
        Field::new("vector", DataType::FixedSizeList(numbers, dimension), false),
    ]
}

fn is_one_of(digests: &[Digest]) -> Expr {
    let literal = |digest: &Digest| lit(ScalarValue::FixedSizeBinary(DIGEST_BYTES, Some(digest.to_vec())));
    col("digest").in_list(digests.iter().map(literal).collect(), false)
}

async fn stamp(table: &Table) -> Result<ModelStamp, VectorError> {
    let schema = table.schema().await.map_err(VectorError::of(table.name()))?;
    let stamp = schema
        .metadata()
        .get(MODEL)
        .and_then(|stamp| serde_json::from_str(stamp).ok());
    stamp.ok_or_else(|| VectorError::Outdated {
        table: table.name().to_owned(),
        reason: "it does not say which model made it".to_owned(),
    })
}
