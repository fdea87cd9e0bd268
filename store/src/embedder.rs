//! Texts → vectors, or how well each answers a query, by models that lie on this machine.
//!
//! - In: the folder of a model, texts. Out: one vector a text, of length 1, so that the dot product of two is their
//!   cosine; from a [`Reranker`] one score a text.
//! - Not here: how texts are cut (`transforms`), where vectors are kept (`vectors`), how models get here
//!   (`scripts/models.sh`).
//!
//! ```text
//! MODELS/libonnxruntime.so     ONNX Runtime
//! MODELS/NAME/model.onnx       a transformer, with tokenizer.json; 1_Pooling/config.json says how it pools
//! MODELS/NAME/model.safetensors   a static model as Model2Vec writes it, with tokenizer.json and config.json
//! MODELS/hub/                  what fastembed downloads
//! ```

mod distil;
mod error;
mod minilm;
mod onnx;
mod reranker;
mod runtime;
mod tokens;
mod transformer;

pub use distil::{STATIC_DIMENSION, distil};
pub use error::EmbedError;
pub use reranker::Reranker;
pub use tokens::Tokens;

use fastembed::{EmbeddingModel, ModelInfo, TextEmbedding};
use hashbrown::HashMap;
use model2vec_rs::model::StaticModel;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;
use transformer::Transformer;

/// The transformer that `scripts/models.sh` installs.
pub const DEFAULT_TRANSFORMER: &str = "all-minilm-l6-v2";

/// The static model that [`distil`] makes of [`DEFAULT_TRANSFORMER`].
pub const DEFAULT_STATIC: &str = "all-minilm-l6-v2-static";

/// The static model that reads texts in moments, before a model does: that of its name, the model itself if it is static,
/// else [`DEFAULT_STATIC`].
pub fn static_of(models: &Path, model: &str) -> String {
    let own = format!("{}-static", model.trim_end_matches('/'));
    let is_static = |name: &str| models.join(name).join("model.safetensors").is_file();
    if is_static(&own) {
        own
    } else if is_static(model) {
        model.to_owned()
    } else {
        DEFAULT_STATIC.to_owned()
    }
}

/// Which model made a vector. Vectors of different models cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ModelStamp {
    /// What [`Embedder::stamp_name`] says.
    pub name: String,
    /// Numbers in a vector.
    pub dimension: usize,
    /// SHA-256, in hex, of its files and of how they are computed.
    pub digest: String,
}

/// An open model.
#[derive(Debug)]
pub struct Embedder {
    stamp: ModelStamp,
    kind: Kind,
    tokens: Tokenizer,
}

#[derive(Debug)]
enum Kind {
    Static(StaticModel),
    Transformer(Transformer),
}

impl Embedder {
    /// Opens a model: the name of a folder in `models`, the path of a folder anywhere, or the name of a model that
    /// fastembed knows, which is downloaded if it is not there.
    ///
    /// `threads` compute at once; each of a transformer holds the weights once.
    ///
    /// # Errors
    /// [`EmbedError::Absent`] when there is no such model; else what is wrong with its files.
    pub fn open(models: &Path, name: &str, threads: NonZeroUsize) -> Result<Self, EmbedError> {
        let folder = models.join(name);
        if folder.join("model.safetensors").is_file() {
            Self::open_static(&folder)
        } else if folder.join("model.onnx").is_file() {
            let runtime = runtime::load(models)?;
            let (transformer, stamp, tokens) = Transformer::open(&folder, &runtime, threads)?;
            Ok(Self {
                stamp,
                kind: Kind::Transformer(transformer),
                tokens,
            })
        } else if let Some(known) = known(name) {
            let runtime = runtime::load(models)?;
            let (transformer, stamp, tokens) = Transformer::of_hub(known, models, &runtime, threads)?;
            Ok(Self {
                stamp,
                kind: Kind::Transformer(transformer),
                tokens,
            })
        } else {
            Err(EmbedError::Absent { path: folder })
        }
    }

    /// Whether [`Self::open`] would find a model, as far as can be told without opening it.
    ///
    /// # Errors
    /// [`EmbedError::Absent`] when there is none.
    pub fn look_for(models: &Path, name: &str) -> Result<(), EmbedError> {
        let folder = models.join(name);
        match is_in(&folder) || known(name).is_some() {
            true => Ok(()),
            false => Err(EmbedError::Absent { path: folder }),
        }
    }

    /// The name that the vectors of a model have: the last part of its folder's path, or the name of its files in the hub
    /// of fastembed.
    pub fn stamp_name(models: &Path, name: &str) -> String {
        let folder = models.join(name);
        let of_hub = if is_in(&folder) { None } else { known(name) };
        of_hub.map_or_else(|| name_of(&folder), |known| known.model_code)
    }

    fn open_static(folder: &Path) -> Result<Self, EmbedError> {
        let read = |name: &str| read(&folder.join(name));
        let (weights, tokens, config) = (
            read("model.safetensors")?,
            read("tokenizer.json")?,
            read("config.json")?,
        );
        let model = StaticModel::from_bytes(&tokens, &weights, &config, Some(true)).map_err(|error| {
            EmbedError::Unfit {
                reason: format!(
                    "the static model in `{}` cannot be read: {error:#}",
                    folder.display()
                ),
            }
        })?;
        Ok(Self {
            stamp: ModelStamp {
                name: name_of(folder),
                dimension: model.dim(),
                digest: digest([&weights, &tokens, &config]),
            },
            kind: Kind::Static(model),
            tokens: tokenizer(&tokens)?,
        })
    }

    /// Which model this is.
    pub fn stamp(&self) -> &ModelStamp {
        &self.stamp
    }

    /// Whether it knows words and not their order.
    pub fn is_static(&self) -> bool {
        matches!(self.kind, Kind::Static(_))
    }

    /// How many tokens of a text fit into a vector; what is beyond is not seen. `None`: any number.
    pub fn most_tokens(&self) -> Option<usize> {
        match &self.kind {
            Kind::Static(_) => None,
            Kind::Transformer(transformer) => Some(transformer.most_tokens()),
        }
    }

    /// How many tokens a text has, without those that begin and end it.
    pub fn count_tokens(&self, text: &str) -> usize {
        // A text that cannot be cut into tokens is not known to tokenizers of this kind.
        self.tokens
            .encode_fast(text, false)
            .map_or(0, |tokens| tokens.len())
    }

    /// The vectors of `texts`, one after the other, [`ModelStamp::dimension`] numbers each. Equal texts are
    /// computed once. Takes long: not for a thread that others wait for.
    ///
    /// # Errors
    /// [`EmbedError`] when the model fails.
    pub fn embed(&self, texts: &[String]) -> Result<Vec<f32>, EmbedError> {
        let mut places = HashMap::new();
        let mut once = Vec::new();
        let of: Vec<usize> = texts
            .iter()
            .map(|text| {
                *places.entry(text).or_insert_with(|| {
                    once.push(text.clone());
                    once.len() - 1
                })
            })
            .collect();
        let vectors = match &self.kind {
            Kind::Static(model) => model.encode_flat_with_args(&once, None),
            Kind::Transformer(transformer) => transformer.embed(&once)?,
        };
        if once.len() == texts.len() {
            return Ok(vectors);
        }
        let rows: Vec<&[f32]> = vectors.chunks_exact(self.stamp.dimension).collect();
        Ok(of
            .iter()
            .filter_map(|&place| rows.get(place))
            .copied()
            .flatten()
            .copied()
            .collect())
    }
}

/// What fastembed knows by a name: its own, or that of the files in its hub.
fn known(name: &str) -> Option<ModelInfo<EmbeddingModel>> {
    let mut models = TextEmbedding::list_supported_models().into_iter();
    models.find(|known| format!("{:?}", known.model).eq_ignore_ascii_case(name) || known.model_code == name)
}

/// Whether a folder holds a model.
fn is_in(folder: &Path) -> bool {
    ["model.onnx", "model.safetensors"]
        .iter()
        .any(|file| folder.join(file).is_file())
}

/// The name of a folder's model.
fn name_of(folder: &Path) -> String {
    folder
        .file_name()
        .unwrap_or(folder.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn read(path: &Path) -> Result<Vec<u8>, EmbedError> {
    fs::read(path).map_err(|source| EmbedError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

/// SHA-256 in hex of parts, each after its length.
fn digest<'a>(parts: impl IntoIterator<Item = &'a Vec<u8>>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    format!("{:x}", digest.finalize())
}

/// A tokenizer that counts: it neither pads nor cuts.
fn tokenizer(json: &[u8]) -> Result<Tokenizer, EmbedError> {
    let unfit = |error: tokenizers::Error| EmbedError::Unfit {
        reason: format!("`tokenizer.json` cannot be used: {error}"),
    };
    let mut tokenizer = Tokenizer::from_bytes(json).map_err(unfit)?;
    tokenizer
        .with_padding(None)
        .with_truncation(None)
        .map_err(unfit)?;
    Ok(tokenizer)
}

/// The folders of `models` that hold a model, by name.
///
/// # Errors
/// [`EmbedError::Io`] when `models` is there but cannot be read.
pub fn installed(models: &Path) -> Result<Vec<PathBuf>, EmbedError> {
    let io = |source| EmbedError::Io {
        action: "read",
        path: models.to_owned(),
        source,
    };
    if !models.is_dir() {
        return Ok(Vec::new());
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(models).map_err(io)? {
        let folder = entry.map_err(io)?.path();
        if is_in(&folder) {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
}
