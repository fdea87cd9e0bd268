//! Why a search has no answer.

use crate::embedder::EmbedError;
use crate::error::StoreError;
use crate::vectors::VectorError;

/// Why a search has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The index cannot be read.
    #[error(transparent)]
    Vector(#[from] VectorError),
    /// Search by meaning was asked for, and there is no model.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// Reranking was asked for, and the configuration names no model that does it.
    #[error(
        "no reranker is set; name a cross-encoder as `reranker` under `[search]` in the configuration: docs/guides/models.md"
    )]
    NoReranker,
    /// The model that reranks cannot be opened, or failed.
    #[error("cannot rerank")]
    Rerank(#[source] EmbedError),
    /// The lake cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What an operator asks for cannot be computed.
    #[error("cannot tell which rows fit")]
    Filter(#[from] datafusion::error::DataFusionError),
    /// A thread ended early.
    #[error("a thread ended early")]
    Thread(#[from] tokio::task::JoinError),
    /// Nothing has been indexed.
    #[error("nothing is indexed yet; `dkc index build` does it, and so does each `dkc run`")]
    Empty,
}
