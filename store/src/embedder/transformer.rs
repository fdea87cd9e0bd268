//! A transformer, run by fastembed on ONNX Runtime.
//!
//! - In: the folder of a model, texts. Out: vectors.
//! - Not here: equal texts (`embedder`).
//!
//! One text at a time on one thread, as many at once as there are threads. Nothing is padded, no thread waits for
//! another within a matrix, and a text's vector does not depend on its neighbours; batches were no faster
//! (docs/decisions/0007).

use super::{EmbedError, ModelStamp, digest, minilm, name_of, read, reranker, tokenizer};
use fastembed::{
    EmbeddingModel, InitOptionsUserDefined, ModelInfo, Pooling, TextEmbedding, TextInitOptions,
    TokenizerFiles, UserDefinedEmbeddingModel,
};
use ort::environment::Environment;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use tokenizers::Tokenizer;

/// What sentence-transformers' smaller models were trained to see, where a model does not say.
const MOST_TOKENS: usize = 256;

/// Settings of ONNX Runtime: fusing the sum before a normalisation costs ten times what it saves, and processors
/// without AVX-512 VNNI would cut off sums of products of bytes.
pub(super) const SETTINGS: [(&str, &str); 2] = [
    ("optimization.disable_specified_optimizers", "SkipLayerNormFusion"),
    ("session.x64quantprecision", "1"),
];

/// Sessions of one model, one for each thread.
pub(super) struct Transformer {
    sessions: Vec<Mutex<TextEmbedding>>,
    dimension: usize,
    most_tokens: usize,
}

impl std::fmt::Debug for Transformer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Transformer");
        shown
            .field("sessions", &self.sessions.len())
            .finish_non_exhaustive()
    }
}

impl Transformer {
    /// Opens the model of a folder.
    pub(super) fn open(
        folder: &Path,
        runtime: &Environment,
        threads: NonZeroUsize,
    ) -> Result<(Self, ModelStamp, Tokenizer), EmbedError> {
        let file = folder.join("model.onnx");
        let weights = read(&file)?;
        let tokens = read(&folder.join("tokenizer.json"))?;
        if reranker::is_cross_encoder(&file, &weights)? {
            return Err(EmbedError::CrossEncoder {
                path: folder.to_owned(),
            });
        }
        let pooling = pooling(folder)?;
        let most_tokens = most_tokens(folder)?.unwrap_or(MOST_TOKENS);
        let is_known = minilm::knows(&format!("{:x}", Sha256::digest(&weights)));
        let recipe = if is_known { minilm::RECIPE } else { "" };
        let how = format!("{pooling:?} {most_tokens} {recipe}").into_bytes();
        let digest = digest([&weights, &tokens, &how]);
        let weights = if is_known {
            minilm::faster(&weights)?
        } else {
            weights
        };
        let files = tokenizer_files(tokens.clone(), most_tokens);
        let sessions = (0..threads.get())
            .map(|_| {
                let model = UserDefinedEmbeddingModel::new(weights.clone(), files.clone())
                    .with_pooling(pooling.clone());
                let options = InitOptionsUserDefined::new()
                    .with_environment(runtime.clone())
                    .with_intra_threads(1)
                    .with_max_length(most_tokens);
                let options = SETTINGS.iter().fold(options, |options, (key, value)| {
                    options.with_session_config(*key, *value)
                });
                TextEmbedding::try_new_from_user_defined(model, options)
            })
            .collect::<Result<Vec<_>, _>>()?;
        Self::of_sessions(
            sessions,
            most_tokens,
            name_of(folder),
            digest,
            tokenizer(&tokens)?,
        )
    }

    /// Opens a model that fastembed knows; it downloads the files into `models/hub` unless they are there.
    pub(super) fn of_hub(
        known: ModelInfo<EmbeddingModel>,
        models: &Path,
        runtime: &Environment,
        threads: NonZeroUsize,
    ) -> Result<(Self, ModelStamp, Tokenizer), EmbedError> {
        let hub = models.join("hub");
        let sessions = (0..threads.get())
            .map(|_| {
                TextEmbedding::try_new(
                    TextInitOptions::new(known.model.clone())
                        .with_environment(runtime.clone())
                        .with_cache_dir(hub.clone())
                        .with_intra_threads(1)
                        .with_max_length(MOST_TOKENS)
                        .with_show_download_progress(false),
                )
            })
            .collect::<Result<Vec<_>, _>>()?;
        // The hub names a model's files by the commit that they are of.
        let commit = read(&hub.join(format!(
            "models--{}/refs/main",
            known.model_code.replace('/', "--")
        )))?;
        let file = known.model_file.clone().into_bytes();
        let Some(tokens) = sessions.first().map(|session| session.tokenizer.clone()) else {
            return Err(EmbedError::Unfit {
                reason: format!("`{}` has no session", known.model_code),
            });
        };
        let json = tokens.to_string(false).unwrap_or_default();
        let tokens = tokenizer(json.as_bytes())?;
        Self::of_sessions(
            sessions,
            MOST_TOKENS,
            known.model_code,
            digest([&file, &commit]),
            tokens,
        )
    }

    fn of_sessions(
        sessions: Vec<TextEmbedding>,
        most_tokens: usize,
        name: String,
        digest: String,
        tokens: Tokenizer,
    ) -> Result<(Self, ModelStamp, Tokenizer), EmbedError> {
        let mut opened = Self {
            sessions: sessions.into_iter().map(Mutex::new).collect(),
            dimension: 0,
            most_tokens,
        };
        // The model says how long its vectors are by making one.
        opened.dimension = opened.embed(&[String::from("a")])?.len();
        let stamp = ModelStamp {
            name,
            dimension: opened.dimension,
            digest,
        };
        Ok((opened, stamp, tokens))
    }

    pub(super) fn most_tokens(&self) -> usize {
        // Two are taken by what begins and ends a text.
        self.most_tokens.saturating_sub(2)
    }

    /// The vectors of `texts`, one after the other. The longest are computed first, so that the threads end together.
    pub(super) fn embed(&self, texts: &[String]) -> Result<Vec<f32>, EmbedError> {
        if let ([text], Some(session)) = (texts, self.sessions.first()) {
            return one(session, text);
        }
        let mut longest_first: Vec<(usize, &String)> = texts.iter().enumerate().collect();
        longest_first.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
        let next = AtomicUsize::new(0);
        let parts = thread::scope(|scope| {
            let work = |session| {
                let mut done = Vec::new();
                while let Some((place, text)) = longest_first.get(next.fetch_add(1, Ordering::Relaxed)) {
                    done.push((*place, one(session, text)?));
                }
                Ok(done)
            };
            let threads: Vec<_> = self
                .sessions
                .iter()
                .map(|session| scope.spawn(move || work(session)))
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect::<Result<Vec<_>, EmbedError>>()
        })?;
        let mut vectors = vec![0.0; texts.len() * self.dimension];
        let mut rows: Vec<&mut [f32]> = vectors.chunks_exact_mut(self.dimension.max(1)).collect();
        for (place, vector) in parts.into_iter().flatten() {
            if let Some(row) = rows.get_mut(place) {
                row.copy_from_slice(&vector);
            }
        }
        Ok(vectors)
    }
}

fn one(session: &Mutex<TextEmbedding>, text: &str) -> Result<Vec<f32>, EmbedError> {
    let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(session.embed([text], None)?.into_iter().flatten().collect())
}

/// How the vectors of tokens become one, as sentence-transformers writes it down; the mean where nothing is written.
pub(super) fn pooling(folder: &Path) -> Result<Pooling, EmbedError> {
    #[derive(serde::Deserialize)]
    struct Config {
        #[serde(default)]
        pooling_mode_cls_token: bool,
    }
    let config = config::<Config>(&folder.join("1_Pooling/config.json"))?;
    Ok(match config.is_some_and(|config| config.pooling_mode_cls_token) {
        true => Pooling::Cls,
        false => Pooling::Mean,
    })
}

/// The files of a tokenizer, of which fastembed wants four. Small ones suffice: everything else is in `tokenizer.json`.
pub(super) fn tokenizer_files(tokens: Vec<u8>, most_tokens: usize) -> TokenizerFiles {
    TokenizerFiles {
        tokenizer_file: tokens,
        config_file: b"{}".to_vec(),
        special_tokens_map_file: b"{}".to_vec(),
        tokenizer_config_file: format!(r#"{{"model_max_length":{most_tokens},"pad_token":"[PAD]"}}"#)
            .into_bytes(),
    }
}

/// How many tokens a model sees, as sentence-transformers writes it down.
pub(super) fn most_tokens(folder: &Path) -> Result<Option<usize>, EmbedError> {
    #[derive(serde::Deserialize)]
    struct Config {
        max_seq_length: usize,
    }
    let config = config::<Config>(&folder.join("sentence_bert_config.json"))?;
    Ok(config.map(|config| config.max_seq_length))
}

fn config<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, EmbedError> {
    if !fs::exists(path).unwrap_or(true) {
        return Ok(None);
    }
    serde_json::from_slice(&read(path)?)
        .map(Some)
        .map_err(|error| EmbedError::Unfit {
            reason: format!("`{}` cannot be read: {error}", path.display()),
        })
}
