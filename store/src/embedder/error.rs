//! What can go wrong between a text and its vector, or its score.

use std::io;
use std::path::PathBuf;

/// Why there is no vector, or no score.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// There is no such model.
    #[error(
        "there is no model in `{}`, so search knows words only; `dkc index model --install` installs one",
        path.display()
    )]
    Absent {
        /// Where it would be.
        path: PathBuf,
    },
    /// There is no such reranker.
    #[error(
        "`{name}` is neither a known reranker nor a folder with `model.onnx` and `tokenizer.json`: `{}`; name such a \
         folder as `reranker` under `[search]`, or one of these, the nearest first: {known}",
        path.display()
    )]
    NoReranker {
        /// What is named.
        name: String,
        /// Where it would be as a folder.
        path: PathBuf,
        /// The names that are known.
        known: String,
    },
    /// The model gives scores, which are no vectors.
    #[error(
        "the model in `{}` is a cross-encoder: it can be `search.reranker` and makes no vectors; choose another",
        path.display()
    )]
    CrossEncoder {
        /// Its folder.
        path: PathBuf,
    },
    /// A file is no ONNX model.
    #[error(
        "`{}` is no ONNX model; put the right one there, or, for the default model, remove it and run \
         `dkc index model --install`",
        path.display()
    )]
    NoOnnx {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// ONNX Runtime is not there or cannot be loaded.
    #[error("cannot load ONNX Runtime from `{}`; `dkc index model --install` installs it", path.display())]
    Runtime {
        /// The shared library.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of a model could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The files of a model are not what they should be.
    #[error("{reason}; install the model anew, or choose another")]
    Unfit {
        /// What is wrong.
        reason: String,
    },
    /// The model could not be opened, or failed on a text.
    #[error("the model failed")]
    Model(#[from] fastembed::Error),
    /// ONNX Runtime failed.
    #[error("ONNX Runtime failed")]
    Onnx(#[from] ort::Error),
}
