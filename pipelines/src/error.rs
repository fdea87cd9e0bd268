//! Why a run, or the index of search, ended early.

use collectors::CollectError;
use store::StoreError;
use store::embedder::EmbedError;
use store::export::ExportError;
use store::vectors::VectorError;
use transforms::TransformError;

/// What stopped a run. What it had committed stays, and the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source could not be read.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// The store could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rows were not what a transform takes.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// A row does not fit its dataset: a mistake in dkc.
    #[error("a row of dkc's own making does not fit its dataset; please report it")]
    Misfit(#[from] schemas::Misfit),
    /// Arrow could not build or change a batch.
    #[error("cannot build rows")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A worker thread ended early.
    #[error("a worker thread ended early")]
    Worker(#[from] tokio::task::JoinError),
    /// Originals could not be written to a folder.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The dataset is not made from originals.
    #[error(
        "`{0}` is not made from originals in the lake, so it cannot be rebuilt; choose one of {1}, or read the source again: `dkc cursor clear NAME`, then `dkc run NAME`"
    )]
    NotDerived(String, String),
    /// What hands out runs ended early.
    #[error("the worker ended early: {0}")]
    Engine(String),
}

/// What stopped the index of search from following the lake. What it has stays, and the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The lake could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index could not be read or written.
    #[error(transparent)]
    Vector(#[from] VectorError),
    /// The model could not be opened, or failed.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// Rows were not what is cut into chunks.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// Arrow could not build or change a batch.
    #[error("cannot build chunks")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A worker thread ended early.
    #[error("a worker thread ended early")]
    Worker(#[from] tokio::task::JoinError),
}
