//! A static model out of a transformer, by Model2Vec's recipe: what the transformer says of each word of its
//! vocabulary alone, in fewer dimensions, and rare words weighing more than common ones.
//!
//! - In: the folder of a transformer. Out: the folder of a static model, in Model2Vec's format.
//! - Not here: running it (`embedder`).

use super::transformer::pooling;
use super::{DEFAULT_STATIC, DEFAULT_TRANSFORMER, EmbedError, minilm, read, runtime, tokenizer};
use fastembed::Pooling;
use hashbrown::HashMap;
use nalgebra::{DMatrix, DVector, SymmetricEigen};
use ort::session::Session;
use ort::value::Tensor;
use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefMutIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSlice as _;
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::Path;

/// Numbers in a vector of a static model: Model2Vec's choice; more gave nothing on its authors' tasks.
pub const STATIC_DIMENSION: usize = 256;

/// How strongly common words are played down: a word of this share of a text weighs half (SIF; Arora et al. 2017).
const SIF: f64 = 1e-4;

/// Words that go through the transformer at once.
const BATCH: usize = 64;

/// Makes [`DEFAULT_STATIC`] from [`DEFAULT_TRANSFORMER`] in `models`, in place of an older one. It takes all cores for
/// some ten seconds.
///
/// # Errors
/// [`EmbedError`] when the transformer is not there, or the files cannot be written.
pub fn distil(models: &Path) -> Result<(), EmbedError> {
    let from = models.join(DEFAULT_TRANSFORMER);
    let into = models.join(DEFAULT_STATIC);
    if !from.join("model.onnx").is_file() {
        return Err(EmbedError::Absent { path: from });
    }
    let tokens = read(&from.join("tokenizer.json"))?;
    let vocabulary = tokenizer(&tokens)?;
    let id = |token: &str| vocabulary.token_to_id(token).map(i64::from);
    let (Some(first), Some(last)) = (id("[CLS]"), id("[SEP]")) else {
        return Err(EmbedError::Unfit {
            reason: "the transformer's vocabulary has no [CLS] and [SEP]".to_owned(),
        });
    };
    let size = vocabulary.get_vocab_size(true);
    let words: Vec<usize> = (0..size)
        .filter(|&id| is_word(vocabulary.id_to_token(id as u32).as_deref()))
        .collect();
    let spoken = speak(models, &from, &words, (first, last))?;
    let small = principal(&spoken, STATIC_DIMENSION)?;

    // Vocabularies are in order of frequency, more or less, and frequencies follow Zipf's law.
    let total: f64 = (0..words.len()).map(|rank| 1.0 / (rank + 2) as f64).sum();
    let mut bytes = vec![0_u8; size * STATIC_DIMENSION];
    let mut weights = vec![0.0_f32; size];
    for (rank, (&id, row)) in words.iter().zip(small.row_iter()).enumerate() {
        let share = 1.0 / ((rank + 2) as f64 * total);
        let largest = row.amax();
        let step = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        if let (Some(bytes), Some(weight)) = (
            bytes.chunks_exact_mut(STATIC_DIMENSION).nth(id),
            weights.get_mut(id),
        ) {
            *weight = step * (SIF / (SIF + share)) as f32;
            for (byte, value) in bytes.iter_mut().zip(row.iter()) {
                *byte = ((value / step).round() as i8).cast_unsigned();
            }
        }
    }
    let weights: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let unfit = |error: safetensors::SafeTensorError| EmbedError::Unfit {
        reason: format!("the static model cannot be written: {error}"),
    };
    let tensors = [
        (
            "embeddings",
            TensorView::new(Dtype::I8, vec![size, STATIC_DIMENSION], &bytes).map_err(unfit)?,
        ),
        (
            "weights",
            TensorView::new(Dtype::F32, vec![size], &weights).map_err(unfit)?,
        ),
    ];
    let model = safetensors::serialize(tensors, None).map_err(unfit)?;
    write(
        &into,
        &[
            ("tokenizer.json", &tokens),
            ("config.json", br#"{"normalize":true}"#),
            ("model.safetensors", &model),
        ],
    )
}

/// Whether a token stands for part of a text.
fn is_word(token: Option<&str>) -> bool {
    token.is_some_and(|token| !(token.starts_with('[') && token.ends_with(']') && token.len() > 2))
}

/// What the transformer says of each word, a row each.
fn speak(
    models: &Path,
    from: &Path,
    words: &[usize],
    (first, last): (i64, i64),
) -> Result<DMatrix<f32>, EmbedError> {
    let runtime = runtime::load(models)?;
    let packed = read(&from.join("model.onnx"))?;
    let weights = match minilm::knows(&format!("{:x}", Sha256::digest(&packed))) {
        true => minilm::faster(&packed)?,
        false => packed,
    };
    let pooling = pooling(from)?;
    let threads = rayon::current_num_threads();
    let mut sessions = (0..threads)
        .map(|_| {
            let mut session = Session::builder(&runtime)?.with_intra_threads(1)?;
            session.commit_from_memory(&weights)
        })
        .collect::<Result<Vec<_>, ort::Error>>()?;
    let share = words.len().div_ceil(threads).max(1);
    let parts = sessions
        .par_iter_mut()
        .zip(words.par_chunks(share))
        .map(|(session, words)| {
            let mut rows = Vec::new();
            for batch in words.chunks(BATCH) {
                rows.extend(speak_batch(session, batch, (first, last), &pooling)?);
            }
            Ok(rows)
        })
        .collect::<Result<Vec<Vec<f32>>, EmbedError>>()?
        .concat();
    Ok(DMatrix::from_row_slice(
        words.len(),
        rows_of(parts.len(), words.len()),
        &parts,
    ))
}

/// Numbers a row.
fn rows_of(numbers: usize, rows: usize) -> usize {
    numbers.checked_div(rows).unwrap_or_default()
}

fn speak_batch(
    session: &mut Session,
    words: &[usize],
    (first, last): (i64, i64),
    pooling: &Pooling,
) -> Result<Vec<f32>, EmbedError> {
    let ids: Vec<i64> = words
        .iter()
        .flat_map(|&word| [first, word as i64, last])
        .collect();
    let all = |value: i64| Tensor::from_array(([words.len(), 3], vec![value; ids.len()]));
    let mut inputs = HashMap::new();
    inputs.insert("attention_mask", all(1)?);
    if session
        .inputs()
        .iter()
        .any(|input| input.name() == "token_type_ids")
    {
        inputs.insert("token_type_ids", all(0)?);
    }
    inputs.insert("input_ids", Tensor::from_array(([words.len(), 3], ids))?);
    let inputs: Vec<_> = inputs.into_iter().collect();
    let outputs = session.run(inputs)?;
    let Some((_, states)) = outputs.iter().next() else {
        return Ok(Vec::new());
    };
    let (_, states) = states.try_extract_tensor::<f32>()?;
    let width = rows_of(states.len(), words.len() * 3);
    let pool = |word: &[f32]| match pooling {
        Pooling::Cls => word.iter().take(width).copied().collect::<Vec<f32>>(),
        Pooling::Mean => {
            let mut sum = vec![0.0; width];
            for state in word.chunks_exact(width) {
                for (sum, value) in sum.iter_mut().zip(state) {
                    *sum += value / 3.0;
                }
            }
            sum
        }
    };
    Ok(states.chunks_exact((width * 3).max(1)).flat_map(pool).collect())
}

/// Rows in the `dimension` directions in which they differ most, around their middle.
fn principal(rows: &DMatrix<f32>, dimension: usize) -> Result<DMatrix<f32>, EmbedError> {
    if rows.ncols() < dimension {
        return Err(EmbedError::Unfit {
            reason: format!(
                "the transformer's vectors have {} numbers, fewer than {dimension}",
                rows.ncols()
            ),
        });
    }
    let middle = rows.row_mean();
    let mut around = rows.clone();
    for mut row in around.row_iter_mut() {
        row -= &middle;
    }
    let spread = around.tr_mul(&around).cast::<f64>() / rows.nrows().max(1) as f64;
    let found = SymmetricEigen::new(spread);
    let mut order: Vec<usize> = (0..found.eigenvalues.len()).collect();
    let value = |place: usize| found.eigenvalues.get(place).copied().unwrap_or_default();
    order.sort_by(|&a, &b| value(b).total_cmp(&value(a)));
    let directions: Vec<DVector<f64>> = order
        .iter()
        .take(dimension)
        .map(|&place| found.eigenvectors.column(place).into_owned())
        .collect();
    Ok(around * DMatrix::from_columns(&directions).cast::<f32>())
}

/// Writes a folder so that it is there whole or not at all.
fn write(folder: &Path, files: &[(&str, &[u8])]) -> Result<(), EmbedError> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| EmbedError::Io { action, path, source }
    };
    let above = folder.parent().unwrap_or(folder);
    let new = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(above)
        .map_err(io("write", above))?;
    for (name, bytes) in files {
        let path = new.path().join(name);
        fs::write(&path, bytes).map_err(io("write", &path))?;
    }
    if folder.is_dir() {
        fs::remove_dir_all(folder).map_err(io("delete", folder))?;
    }
    let new = new.keep();
    fs::rename(&new, folder).map_err(io("write", folder))
}
