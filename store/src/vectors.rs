//! What search reads, in LanceDB: pieces of rows with an index of their words, and vectors of what they say.
//!
//! - In: chunks of rows that changed. Out: which chunks have given words, or lie near a vector.
//! - Everything here follows the lake and can be made again from it; nothing leads.
//! - Not here: cutting rows into chunks (`transforms`), models (`embedder`), queries as people write them (`search`).
//!
//! ```text
//! DATA/vectors/DATASET.lance          chunks, their words, and up to which snapshot of the lake they are right
//! DATA/vectors/DATASET-NUMBER.lance   the same, once they were made anew: the highest number answers
//! DATA/vectors/DATASET-behind.lance   the same, while they are made anew
//! DATA/vectors/DATASET.MODEL.lance    vectors of a model, by the digest of the text
//! ```

pub mod chunks;
mod digest;
mod error;
pub mod facts;
mod generations;
pub mod hot;
mod planes;
pub mod space;
mod texts;
mod version;
mod words;

pub use chunks::{Chunks, WordHit};
pub use error::VectorError;
pub use facts::Facts;
pub use hot::{Hot, Near};
pub use space::{Compared, Space};
pub use words::Among;

use crate::embedder::ModelStamp;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::TryStreamExt as _;
use lancedb::query::ExecutableQuery;
use lancedb::{Connection, ObjectStoreRegistry, Session, Table};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of indexes that stay in memory between queries. An index of the words of 60,000 mails has some 40 MB.
const INDEX_CACHE: usize = 128 << 20;

/// Bytes of what is known of files that stay in memory between queries.
const FILE_CACHE: usize = 64 << 20;

/// Its folder in a data directory.
const DIRECTORY: &str = "vectors";

/// The vector store of a data directory.
#[derive(Clone)]
pub struct Vectors {
    directory: PathBuf,
    connection: Connection,
    /// Whether its chunks are those that are made behind the ones that answer.
    is_behind: bool,
}

impl std::fmt::Debug for Vectors {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Vectors")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Vectors {
    /// Whether a data directory has one.
    pub fn is_at(data: &Path) -> bool {
        data.join(DIRECTORY).is_dir()
    }

    /// Opens it; it is made if it is not there.
    ///
    /// # Errors
    /// [`VectorError`] when it cannot be made or read.
    pub async fn open(data: &Path) -> Result<Self, VectorError> {
        let directory = data.join(DIRECTORY);
        fs::create_dir_all(&directory).map_err(VectorError::io("create", &directory))?;
        let session = Session::new(INDEX_CACHE, FILE_CACHE, Arc::new(ObjectStoreRegistry::default()));
        let connection = lancedb::connect(&directory.to_string_lossy())
            .session(Arc::new(session))
            .execute()
            .await
            .map_err(VectorError::of("the vector store"))?;
        Ok(Self {
            directory,
            connection,
            is_behind: false,
        })
    }

    /// The chunks of a dataset, if there are any.
    ///
    /// # Errors
    /// [`VectorError`] when they are there but cannot be read.
    pub async fn chunks(&self, dataset: &str) -> Result<Option<Chunks>, VectorError> {
        if_there(Chunks::open(&self.connection, &self.table_of(dataset)?).await)
    }

    /// The chunks of a dataset, with exactly these columns; made if there are none. See [`chunks`] for the columns.
    ///
    /// # Errors
    /// [`VectorError::Outdated`] when there are chunks of other columns.
    pub async fn chunks_with(&self, dataset: &str, columns: SchemaRef) -> Result<Chunks, VectorError> {
        let Some(chunks) = self.chunks(dataset).await? else {
            return Chunks::create(&self.connection, &self.table_of(dataset)?, columns).await;
        };
        chunks.check(&columns).await?;
        Ok(chunks)
    }

    /// The vectors of a model for a dataset, if there are any.
    ///
    /// # Errors
    /// [`VectorError::OtherModel`] when they are of another model by the same name.
    pub async fn space(&self, dataset: &str, model: &ModelStamp) -> Result<Option<Space>, VectorError> {
        let name = space_name(dataset, &model.name);
        if_there(Space::open(&self.connection, &name, model).await)
    }

    /// The vectors of a model for a dataset; made if there are none.
    ///
    /// # Errors
    /// [`VectorError::OtherModel`] when they are of another model by the same name.
    pub async fn space_or_new(&self, dataset: &str, model: &ModelStamp) -> Result<Space, VectorError> {
        match self.space(dataset, model).await? {
            Some(space) => Ok(space),
            None => Space::create(&self.connection, &space_name(dataset, &model.name), model).await,
        }
    }

    /// The models that a dataset has vectors of.
    ///
    /// # Errors
    /// [`VectorError`] when they cannot be read.
    pub async fn models(&self, dataset: &str) -> Result<Vec<ModelStamp>, VectorError> {
        let mut models = Vec::new();
        for name in self.spaces(dataset).await? {
            models.extend(if_there(Space::stamp_of(&self.connection, &name).await)?);
        }
        Ok(models)
    }

    /// Removes the vectors of a model, by its name, whether or not they can be read.
    ///
    /// # Errors
    /// [`VectorError::Io`] when files cannot be deleted.
    pub fn forget_space(&self, dataset: &str, model: &str) -> Result<(), VectorError> {
        self.delete(&space_name(dataset, model))
    }

    /// Removes the vectors of a dataset that cannot be read.
    ///
    /// # Errors
    /// [`VectorError`] when the directory cannot be read, or files cannot be deleted.
    pub async fn forget_unreadable(&self, dataset: &str) -> Result<(), VectorError> {
        for name in self.spaces(dataset).await? {
            let read = async {
                let stamp = Space::stamp_of(&self.connection, &name).await?;
                let space = Space::open(&self.connection, &name, &stamp).await?;
                space.each(None, |_, _| {}).await
            };
            if read.await.is_err() {
                self.delete(&name)?;
            }
        }
        Ok(())
    }

    /// The tables of a dataset's vectors.
    async fn spaces(&self, dataset: &str) -> Result<Vec<String>, VectorError> {
        let names = self.connection.table_names().execute().await;
        let names = names.map_err(VectorError::of("the vector store"))?.into_iter();
        let is_of = |name: &String| {
            name.strip_prefix(dataset)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        Ok(names.filter(is_of).collect())
    }

    /// The folder of a table.
    fn path(&self, table: &str) -> PathBuf {
        self.directory.join(format!("{table}.lance"))
    }

    fn delete(&self, table: &str) -> Result<(), VectorError> {
        let path = self.path(table);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(VectorError::io("delete", &path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// All that a query of a table gives.
async fn collect(table: &Table, query: &impl ExecutableQuery) -> Result<Vec<RecordBatch>, VectorError> {
    let failed = || VectorError::of(table.name());
    let batches = query.execute().await.map_err(failed())?;
    batches.try_collect().await.map_err(failed())
}

/// A folder that a crash left before there was a table in it is none.
fn if_there<T>(opened: Result<T, VectorError>) -> Result<Option<T>, VectorError> {
    match opened {
        Err(VectorError::Lance { source, .. }) if matches!(*source, lancedb::Error::TableNotFound { .. }) => {
            Ok(None)
        }
        opened => opened.map(Some),
    }
}

/// The table of a model's vectors. Names of models may have `/`; names of tables may not.
fn space_name(dataset: &str, model: &str) -> String {
    let model: String = model
        .chars()
        .map(|char| {
            if char.is_ascii_alphanumeric() || "-_.".contains(char) {
                char
            } else {
                '-'
            }
        })
        .collect();
    format!("{dataset}.{model}")
}
