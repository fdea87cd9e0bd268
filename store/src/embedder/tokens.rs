//! How long a text is for a model, without the model.
//!
//! - In: the folder of a model, texts. Out: numbers of tokens.

use super::{digest, read, tokenizer};
use std::path::Path;
use tokenizers::Tokenizer;

/// Bytes of a token of English prose, about.
const BYTES: usize = 4;

/// Counts tokens: those of a model, or, where there is none, as many as there might be.
#[derive(Debug)]
pub struct Tokens {
    name: String,
    tokenizer: Option<Tokenizer>,
}

impl Tokens {
    /// Those of a model, by its name in `models`.
    pub fn of(models: &Path, model: &str) -> Self {
        let file = read(&models.join(model).join("tokenizer.json"));
        let opened = file.and_then(|json| Ok((digest([&json]), tokenizer(&json)?)));
        match opened {
            Ok((name, tokenizer)) => Self {
                name,
                tokenizer: Some(tokenizer),
            },
            Err(_) => Self {
                name: format!("{BYTES} bytes"),
                tokenizer: None,
            },
        }
    }

    /// What counts: the digest of a tokenizer.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many tokens a text has, without those that begin and end it.
    pub fn count(&self, text: &str) -> usize {
        match &self.tokenizer {
            // A text that cannot be cut into tokens is not known to tokenizers of this kind.
            Some(tokenizer) => tokenizer
                .encode_fast(text, false)
                .map_or(0, |tokens| tokens.len()),
            None => text.len().div_ceil(BYTES),
        }
    }
}
