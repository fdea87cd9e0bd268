//! How long a text is for a model, without the model.
//!
//! - In: the folder of a model, texts. Out: numbers of tokens.

use super::{digest, read, tokenizer};
use std::path::Path;
use tokenizers::models::ModelWrapper;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{Model as _, Tokenizer};

/// Bytes of a token of English prose, about.
const BYTES: usize = 4;

/// Counts tokens: those of a model, or, where there is none, as many as there might be.
#[derive(Debug)]
pub struct Tokens {
    name: String,
    tokenizer: Option<Tokenizer>,
    /// Where the tokenizer counts printable ASCII as [`count_plain`] does: whether it makes letters small.
    plain: Option<bool>,
}

impl Tokens {
    /// Those of a model, by its name in `models`.
    pub fn of(models: &Path, model: &str) -> Self {
        let file = read(&models.join(model).join("tokenizer.json"));
        let opened = file.and_then(|json| Ok((digest([&json]), tokenizer(&json)?)));
        match opened {
            Ok((name, tokenizer)) => Self {
                name,
                plain: plainly(&tokenizer),
                tokenizer: Some(tokenizer),
            },
            Err(_) => Self {
                name: format!("{BYTES} bytes"),
                plain: None,
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
            Some(tokenizer) => {
                let plain = self
                    .plain
                    .and_then(|lowercase| count_plain(tokenizer, lowercase, text));
                plain.unwrap_or_else(|| {
                    tokenizer
                        .encode_fast(text, false)
                        .map_or(0, |tokens| tokens.len())
                })
            }
            None => text.len().div_ceil(BYTES),
        }
    }
}

/// Whether a tokenizer is of BERT's kind, for [`count_plain`], and makes letters small.
fn plainly(tokenizer: &Tokenizer) -> Option<bool> {
    let (
        ModelWrapper::WordPiece(_),
        Some(PreTokenizerWrapper::BertPreTokenizer(_)),
        Some(NormalizerWrapper::BertNormalizer(normalizer)),
    ) = (
        tokenizer.get_model(),
        tokenizer.get_pre_tokenizer(),
        tokenizer.get_normalizer(),
    )
    else {
        return None;
    };
    let mut added = tokenizer
        .get_added_vocabulary()
        .get_added_tokens_decoder()
        .values();
    added
        .all(|token| token.content.starts_with('['))
        .then_some(normalizer.lowercase)
}

/// The tokens of printable ASCII by a tokenizer of BERT's kind, as `encode_fast` counts them. Of its steps only the
/// cutting of words does anything to such a text but change its case, and the others take five times as long as that.
fn count_plain(tokenizer: &Tokenizer, lowercase: bool, text: &str) -> Option<usize> {
    let ModelWrapper::WordPiece(words) = tokenizer.get_model() else {
        return None;
    };
    // Tokens that are looked for before anything else, such as `[SEP]`, begin with a bracket.
    let is_plain = |byte| matches!(byte, b' '..=b'Z' | b'\\'..=b'~' | b'\t' | b'\n' | b'\r');
    if !text.bytes().all(is_plain) {
        return None;
    }
    match lowercase {
        true => count_words(words, &text.to_ascii_lowercase()),
        false => count_words(words, text),
    }
}

/// Words end at blanks, and each mark is a word.
fn count_words(model: &WordPiece, text: &str) -> Option<usize> {
    let mut count = 0;
    for word in text.split_ascii_whitespace() {
        for (at, part) in word.split(|c: char| c.is_ascii_punctuation()).enumerate() {
            count += usize::from(at > 0);
            if !part.is_empty() {
                count += model.tokenize(part).ok()?.len();
            }
        }
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    /// A tokenizer of BERT's kind that knows some words, and their letters but for `z`.
    fn bert(lowercase: bool) -> Tokenizer {
        let letters = ('a'..='y').flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
        let words = [
            "[UNK]", "[CLS]", "[SEP]", "the", "##ing", "mail", "!", "-", "A", "Mail",
        ];
        let vocabulary: Map<String, Value> = words
            .iter()
            .map(|word| (*word).to_owned())
            .chain(letters)
            .enumerate()
            .map(|(id, word)| (word, json!(id)))
            .collect();
        let added = |id: u32, content: &str| {
            json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        };
        let json = json!({
            "version": "1.0",
            "added_tokens": [added(1, "[CLS]"), added(2, "[SEP]")],
            "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                            "strip_accents": null, "lowercase": lowercase },
            "pre_tokenizer": { "type": "BertPreTokenizer" },
            "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                       "max_input_chars_per_word": 20, "vocab": vocabulary },
        });
        tokenizer(json.to_string().as_bytes()).unwrap()
    }

    proptest! {
        #[test]
        fn plain_texts_are_counted_as_the_tokenizer_counts_them(
            text in "([ -~\t\n\r]{0,60}|(the|mail|Mailing|zebra|[a-z]{1,30}|[!-/]| |\\[SEP\\]|é|\u{1}){0,20})",
            lowercase in any::<bool>(),
        ) {
            let tokenizer = bert(lowercase);
            let whole = tokenizer.encode_fast(text.as_str(), false).unwrap().len();
            let plain = count_plain(&tokenizer, plainly(&tokenizer).unwrap(), &text);
            prop_assert!(plain.is_none_or(|plain| plain == whole), "{:?} {}", plain, whole);
            let can_be = text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'[');
            prop_assert!(!can_be || plain.is_some());
        }
    }
}
