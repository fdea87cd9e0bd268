//! How well texts answer a query, by a cross-encoder: it reads the query and a text at once, and so each text anew for
//! each query. fastembed runs it on ONNX Runtime.
//!
//! - In: the folder of a model, a query, texts. Out: scores; what they mean beside their order is the model's own.
//! - One text at a time, as the transformer does, so that nothing is padded; but all threads within one session: weights
//!   of some hundred megabytes are held once.
//! - Not here: which texts, and what becomes of their scores (`search::rerank`).

use super::onnx::{Outside, Value};
use super::transformer::{SETTINGS, most_tokens, tokenizer_files};
use super::{EmbedError, read, runtime};
use fastembed::{
    RerankInitOptions, RerankInitOptionsUserDefined, RerankerModel, TextRerank, UserDefinedRerankingModel,
};
use ort::environment::Environment;
use prost::Message as _;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;

/// Tokens of query and text together where a model does not say how many it sees: what BERT and its kin were trained with.
const MOST_TOKENS: usize = 512;

/// The output that has the scores.
const SCORES: &str = "logits";

/// An open cross-encoder.
#[derive(Debug)]
pub struct Reranker {
    session: TextRerank,
}

impl Reranker {
    /// Opens a model: the name of a folder in `models` or the path of a folder anywhere, with `model.onnx` and
    /// `tokenizer.json`, or a name that fastembed knows, whose files are downloaded if they are not there.
    ///
    /// # Errors
    /// [`EmbedError::NoReranker`] when there is no such model; else what is wrong with its files.
    pub fn open(models: &Path, name: &str, threads: NonZeroUsize) -> Result<Self, EmbedError> {
        Self::look_for(models, name)?;
        let folder = models.join(name);
        let runtime = runtime::load(models)?;
        let session = match name.parse() {
            Ok(known) if !is_in(&folder) => of_hub(known, models, &runtime, threads)?,
            _ => of_folder(&folder, &runtime, threads)?,
        };
        Ok(Self { session })
    }

    /// Whether [`Self::open`] would find a model, as far as can be told without opening it.
    ///
    /// # Errors
    /// [`EmbedError::NoReranker`] when there is none.
    pub fn look_for(models: &Path, name: &str) -> Result<(), EmbedError> {
        let folder = models.join(name);
        match is_in(&folder) || name.parse::<RerankerModel>().is_ok() {
            true => Ok(()),
            false => Err(EmbedError::NoReranker {
                name: name.to_owned(),
                path: folder,
                known: known(name),
            }),
        }
    }

    /// Whether [`Self::open`] would open a model, as far as its files tell without being downloaded. Reads all weights of
    /// one in a folder.
    ///
    /// # Errors
    /// What [`Self::open`] would say.
    pub fn check(models: &Path, name: &str) -> Result<(), EmbedError> {
        Self::look_for(models, name)?;
        let folder = models.join(name);
        if is_in(&folder) {
            check(&folder.join("model.onnx"))?;
        }
        runtime::load(models).map(|_| ())
    }

    /// How well each text answers the query, in the order of the texts: more is better. Takes long: not for a thread
    /// that others wait for.
    ///
    /// # Errors
    /// [`EmbedError`] when the model fails.
    pub fn scores(&mut self, query: &str, texts: &[String]) -> Result<Vec<f32>, EmbedError> {
        let unfit = |reason: &str| EmbedError::Unfit {
            reason: format!("the reranker {reason}"),
        };
        let documents: Vec<&str> = texts.iter().map(String::as_str).collect();
        let ranked = self.session.rerank(query, &documents, false, Some(1))?;
        if ranked.len() != texts.len() {
            return Err(unfit("does not give one score a text"));
        }
        // They come best first.
        let mut scores = vec![f32::NAN; texts.len()];
        for of_text in ranked {
            if let Some(score) = scores.get_mut(of_text.index) {
                *score = of_text.score;
            }
        }
        match scores.iter().any(|score| score.is_nan()) {
            true => Err(unfit("gives scores that are no numbers")),
            false => Ok(scores),
        }
    }
}

/// The names that fastembed knows, those that are most like a name first.
fn known(name: &str) -> String {
    let models = TextRerank::list_supported_models().into_iter();
    let mut names: Vec<String> = models.map(|model| model.model_code).collect();
    let name = name.to_lowercase();
    names.sort_by_cached_key(|known| strsim::damerau_levenshtein(&known.to_lowercase(), &name));
    names.join(", ")
}

/// Whether a folder has the files of a model.
fn is_in(folder: &Path) -> bool {
    ["model.onnx", "tokenizer.json"]
        .iter()
        .all(|file| folder.join(file).is_file())
}

fn of_folder(folder: &Path, runtime: &Environment, threads: NonZeroUsize) -> Result<TextRerank, EmbedError> {
    let weights = folder.join("model.onnx");
    check(&weights)?;
    let most_tokens = most_tokens(folder)?.unwrap_or(MOST_TOKENS);
    let files = tokenizer_files(read(&folder.join("tokenizer.json"))?, most_tokens);
    let options = RerankInitOptionsUserDefined::new()
        .with_environment(runtime.clone())
        .with_intra_threads(threads.get())
        .with_max_length(most_tokens);
    let options = SETTINGS.iter().fold(options, |options, (key, value)| {
        options.with_session_config(*key, *value)
    });
    // By its path, since weights may lie in another file beside it.
    let model = UserDefinedRerankingModel::new(weights, files);
    Ok(TextRerank::try_new_from_user_defined(model, options)?)
}

/// A model that fastembed knows; it downloads the files into `models/hub` unless they are there.
fn of_hub(
    model: RerankerModel,
    models: &Path,
    runtime: &Environment,
    threads: NonZeroUsize,
) -> Result<TextRerank, EmbedError> {
    let options = RerankInitOptions::new(model)
        .with_environment(runtime.clone())
        .with_cache_dir(models.join("hub"))
        .with_intra_threads(threads.get())
        .with_max_length(MOST_TOKENS)
        .with_show_download_progress(false);
    Ok(TextRerank::try_new(options)?)
}

/// Whether a model gives one score a text: fastembed panics on scores of another shape.
fn check(weights: &Path) -> Result<(), EmbedError> {
    match is_cross_encoder(weights, &read(weights)?)? {
        true => Ok(()),
        false => Err(EmbedError::Unfit {
            reason: format!(
                "`{}` has no output `{SCORES}` with one number a text, so it is no cross-encoder",
                weights.display()
            ),
        }),
    }
}

/// Whether the model in a file, which has these bytes, gives one score a text.
pub(super) fn is_cross_encoder(path: &Path, weights: &[u8]) -> Result<bool, EmbedError> {
    let no_onnx = |source: Box<dyn Error + Send + Sync>| EmbedError::NoOnnx {
        path: path.to_owned(),
        source,
    };
    let model = Outside::decode(weights).map_err(|error| no_onnx(error.into()))?;
    // So has an empty file none.
    let graph = model.graph.ok_or_else(|| no_onnx("it has no graph".into()))?;
    Ok(graph.outputs.iter().any(is_score))
}

/// Whether an output has one number for each text.
fn is_score(output: &Value) -> bool {
    let tensor = output.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    let dims = shape.map(|shape| shape.dims.as_slice());
    // A width that is not told may be one.
    output.name == SCORES && matches!(dims, Some([_, width]) if width.number.is_none_or(|width| width == 1))
}

#[cfg(test)]
mod tests {
    use super::super::Embedder;
    use super::super::onnx::{
        Attribute, Dim, FLOAT, Graph, INT64, Model, Node, Operators, Shape, Tensor, TensorKind, ValueKind,
    };
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A tokenizer of BERT's kind that knows few words, `spring` among them, and the model that [`counting`] makes.
    const MADE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/reranker");

    /// `spring`, as that tokenizer has it.
    const SPRING: i64 = 3;

    fn node(operator: &str, inputs: &[&str], output: &str, attribute: Option<Attribute>) -> Node {
        Node {
            inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
            outputs: vec![output.to_owned()],
            operator: operator.to_owned(),
            attributes: attribute.into_iter().collect(),
            domain: String::new(),
        }
    }

    fn numbers(name: &str, number: i64) -> Tensor {
        Tensor {
            dims: vec![1],
            kind: INT64,
            name: name.to_owned(),
            raw: number.to_le_bytes().to_vec(),
        }
    }

    fn output(name: &str, dims: Vec<Dim>) -> Value {
        Value {
            name: name.to_owned(),
            kind: Some(ValueKind {
                tensor: Some(TensorKind {
                    element: FLOAT,
                    shape: Some(Shape { dims }),
                }),
            }),
        }
    }

    fn batch() -> Dim {
        Dim {
            number: None,
            name: Some("batch".to_owned()),
        }
    }

    fn width(number: i64) -> Dim {
        Dim {
            number: Some(number),
            name: None,
        }
    }

    /// A model whose score is how often `spring` stands in the text, and not in the query.
    fn counting() -> Model {
        let to = |kind: i32| Some(Attribute::int("to", kind.into()));
        let keeps = Some(Attribute::int("keepdims", 1));
        Model {
            ir_version: 8,
            graph: Some(Graph {
                nodes: vec![
                    node("Equal", &["input_ids", "spring"], "is_it", None),
                    node("Cast", &["is_it"], "ones", to(INT64)),
                    node("Mul", &["ones", "attention_mask"], "seen", None),
                    node("Mul", &["seen", "token_type_ids"], "of_text", None),
                    node("ReduceSum", &["of_text", "axis"], "count", keeps),
                    node("Cast", &["count"], SCORES, to(FLOAT)),
                ],
                name: "counting".to_owned(),
                tensors: vec![numbers("spring", SPRING), numbers("axis", 1)],
                inputs: ["input_ids", "attention_mask", "token_type_ids"]
                    .map(|name| Value::sequences(name, INT64, 0))
                    .to_vec(),
                outputs: vec![output(SCORES, vec![batch(), width(1)])],
            }),
            operators: vec![Operators {
                domain: String::new(),
                version: 13,
            }],
        }
    }

    /// A folder of models with ONNX Runtime and one model, `made`.
    fn models(model: &Model) -> tempfile::TempDir {
        let models = tempfile::tempdir().unwrap();
        let library = "libonnxruntime.so";
        symlink(
            fixtures::corpus::models().join(library),
            models.path().join(library),
        )
        .unwrap();
        let folder = models.path().join("made");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("model.onnx"), model.encode_to_vec()).unwrap();
        fs::copy(
            Path::new(MADE).join("tokenizer.json"),
            folder.join("tokenizer.json"),
        )
        .unwrap();
        models
    }

    fn two() -> NonZeroUsize {
        NonZeroUsize::new(2).unwrap()
    }

    #[test]
    fn scores_are_the_models_and_in_the_order_of_the_texts() {
        let models = models(&counting());
        let texts = [
            "Nothing of it.",
            "Spring, and spring again.",
            "",
            "After winter comes spring",
            &"spring ".repeat(2_000),
        ]
        .map(str::to_owned);
        let mut by_name = Reranker::open(models.path(), "made", two()).unwrap();
        let scores = by_name.scores("spring or spring", &texts).unwrap();
        assert_eq!(scores[..4], [0.0, 2.0, 0.0, 1.0]);
        // Of a long text, what the model sees beside the query.
        assert!(scores[4] > 400.0 && scores[4] < 512.0, "{scores:?}");
        assert_eq!(by_name.scores("spring", &[]).unwrap(), Vec::<f32>::new());
        let path = models.path().join("made");
        let mut by_path = Reranker::open(models.path(), path.to_str().unwrap(), two()).unwrap();
        assert_eq!(by_path.scores("spring or spring", &texts).unwrap(), scores);
        let error = Embedder::open(models.path(), "made", two()).unwrap_err();
        assert!(matches!(error, EmbedError::CrossEncoder { .. }), "{error:?}");
        assert!(error.to_string().contains("makes no vectors"), "{error}");
    }

    #[test]
    fn the_model_that_other_tests_use_is_this_one() {
        let there = fs::read(Path::new(MADE).join("model.onnx")).unwrap();
        assert_eq!(Model::decode(there.as_slice()).unwrap(), counting());
    }

    #[test]
    fn what_is_no_cross_encoder_is_refused_with_the_way_out() {
        let of = |outputs: Vec<Value>| {
            let mut model = counting();
            model.graph.as_mut().unwrap().outputs = outputs;
            model
        };
        let unfit = [
            of(vec![output("seen", vec![batch(), width(1)])]),
            of(vec![output(SCORES, vec![batch()])]),
            of(vec![output(SCORES, vec![batch(), width(3)])]),
            of(Vec::new()),
        ];
        for model in unfit {
            let models = models(&model);
            let error = Reranker::open(models.path(), "made", two()).unwrap_err();
            assert!(matches!(error, EmbedError::Unfit { .. }), "{error:?}");
            assert!(error.to_string().contains("no cross-encoder"), "{error}");
            let checked = Reranker::check(models.path(), "made").unwrap_err();
            assert_eq!(checked.to_string(), error.to_string());
        }
        let models = models(&counting());
        Reranker::check(models.path(), "made").unwrap();
        for broken in ["not a model", ""] {
            fs::write(models.path().join("made/model.onnx"), broken).unwrap();
            let error = Reranker::open(models.path(), "made", two()).unwrap_err();
            assert!(error.to_string().contains("is no ONNX model"), "{error}");
            assert!(error.source().is_some(), "{error:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_the_way_out() {
        let models = models(&counting());
        let missing = |name: &str| {
            let error = Reranker::open(models.path(), name, two()).unwrap_err();
            assert!(matches!(error, EmbedError::NoReranker { .. }), "{error:?}");
            error.to_string()
        };
        let told = missing("nowhere");
        assert!(told.contains("nowhere") && told.contains("[search]"), "{told}");
        let nearest = "the nearest first: jinaai/jina-reranker-v1-turbo-en, ";
        let told = missing("jina-reranker-v1-turbo");
        assert!(
            told.contains(nearest) && told.contains("BAAI/bge-reranker-base"),
            "{told}"
        );
        fs::remove_file(models.path().join("made/tokenizer.json")).unwrap();
        assert!(missing("made").contains("tokenizer.json"));
        // One that fastembed can fetch is not missing.
        Reranker::look_for(models.path(), "BAAI/bge-reranker-base").unwrap();
        fs::remove_file(models.path().join("libonnxruntime.so")).unwrap();
        let error = Reranker::open(models.path(), "BAAI/bge-reranker-base", two()).unwrap_err();
        assert!(error.to_string().contains("libonnxruntime.so"), "{error}");
    }
}
