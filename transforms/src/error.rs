//! What can go wrong with a whole batch; what is wrong with one item is a [`schemas::Reject`].

use arrow_schema::ArrowError;

/// Why a transform gave up on a batch.
#[derive(Debug, thiserror::Error)]
pub enum TransformError {
    /// The batch is not one of the dataset the transform reads.
    #[error("the batch has no column `{column}` of type {kind}; pass rows of `{dataset}`")]
    Column {
        /// The dataset the transform reads.
        dataset: &'static str,
        /// The column that is missing.
        column: &'static str,
        /// The Arrow type it should have.
        kind: &'static str,
    },
    /// Arrow refused the result.
    #[error("cannot build a batch of `{dataset}`")]
    Arrow {
        /// The dataset being built.
        dataset: &'static str,
        /// What Arrow says.
        #[source]
        source: ArrowError,
    },
}
