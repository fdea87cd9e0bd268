//! Models that lie on this machine: what their vectors are good for, and what is said when one is missing.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::symlink;
use std::path::Path;
use store::embedder::{
    DEFAULT_STATIC, DEFAULT_TRANSFORMER, EmbedError, Embedder, STATIC_DIMENSION, distil, installed, static_of,
};

const SENTENCES: [&str; 6] = [
    "The hosting company sent its invoice for April.",
    "We received the April bill from our web host.",
    "Docker Swarm was dropped in favour of plain systemd units.",
    "He decided to stop using Docker Swarm.",
    "A photo of Lisbon at night, taken from the river.",
    "The cat sleeps on the warm windowsill.",
];

fn sentences() -> Vec<String> {
    SENTENCES.map(str::to_owned).to_vec()
}

fn two() -> NonZeroUsize {
    NonZeroUsize::new(2).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A folder of models of its own, with the installed ones in it.
fn models() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in ["libonnxruntime.so", DEFAULT_TRANSFORMER] {
        symlink(fixtures::corpus::models().join(entry), folder.path().join(entry)).unwrap();
    }
    folder
}

fn assert_tells_apart(embedder: &Embedder) {
    let vectors = embedder.embed(&sentences()).unwrap();
    let rows: Vec<&[f32]> = vectors.chunks(embedder.stamp().dimension).collect();
    assert_eq!(rows.len(), SENTENCES.len());
    for row in &rows {
        assert!(
            (cosine(row, row) - 1.0).abs() < 1e-4,
            "a vector's length is not 1"
        );
    }
    for (a, b) in [(0, 1), (2, 3)] {
        let alike = cosine(rows[a], rows[b]);
        for other in (0..rows.len()).filter(|other| ![a, b].contains(other)) {
            let unlike = cosine(rows[a], rows[other]);
            assert!(
                alike > unlike + 0.1,
                "{} is nearer to {}",
                SENTENCES[a],
                SENTENCES[other]
            );
        }
    }
}

#[test]
fn the_transformer_knows_what_means_the_same() {
    let embedder = Embedder::open(&fixtures::corpus::models(), DEFAULT_TRANSFORMER, two()).unwrap();
    assert_eq!(embedder.stamp().dimension, 384);
    assert_eq!(embedder.stamp().digest.len(), 64);
    assert_eq!(embedder.most_tokens(), Some(254));
    assert_eq!(embedder.count_tokens("Docker Swarm"), 3);
    assert_tells_apart(&embedder);
}

#[test]
fn a_vector_depends_on_nothing_but_its_text() {
    let embedder = Embedder::open(&fixtures::corpus::models(), DEFAULT_TRANSFORMER, two()).unwrap();
    let mut texts = sentences();
    texts.push(String::new());
    texts.push("word ".repeat(5_000));
    texts.push(SENTENCES[0].to_owned());
    let together = embedder.embed(&texts).unwrap();
    for (text, vector) in texts.iter().zip(together.chunks(384)) {
        assert_eq!(
            embedder.embed(std::slice::from_ref(text)).unwrap(),
            vector,
            "{text:.40}"
        );
    }
}

#[test]
fn bytes_say_what_floats_say() {
    let models = models();
    let packed = fixtures::corpus::models().join(DEFAULT_TRANSFORMER);
    let as_packed = models.path().join("as-packed");
    fs::create_dir(&as_packed).unwrap();
    symlink(packed.join("tokenizer.json"), as_packed.join("tokenizer.json")).unwrap();
    // A field that no reader of ONNX knows: the model is the same, its digest is another.
    let mut weights = fs::read(packed.join("model.onnx")).unwrap();
    weights.extend([0xc0, 0x3e, 0x01]);
    fs::write(as_packed.join("model.onnx"), weights).unwrap();

    let open = |name| Embedder::open(models.path(), name, two()).unwrap();
    let (floats, bytes) = (open("as-packed"), open(DEFAULT_TRANSFORMER));
    assert_ne!(floats.stamp().digest, bytes.stamp().digest);
    let mut texts = sentences();
    let mails = fixtures::corpus::sample(40);
    texts.extend(mails.iter().map(|mail| {
        String::from_utf8_lossy(mail)
            .chars()
            .skip(2_000)
            .take(900)
            .collect()
    }));
    // What says nothing is nowhere in particular.
    texts.retain(|text: &String| text.len() > 20);
    let (floats, bytes) = (floats.embed(&texts).unwrap(), bytes.embed(&texts).unwrap());
    for ((a, b), text) in floats.chunks(384).zip(bytes.chunks(384)).zip(&texts) {
        assert!(cosine(a, b) > 0.995, "{} for {text:.60}", cosine(a, b));
    }
}

#[test]
fn a_static_model_is_distilled_on_the_spot() {
    let models = models();
    distil(models.path()).unwrap();
    let embedder = Embedder::open(models.path(), DEFAULT_STATIC, two()).unwrap();
    assert_eq!(embedder.stamp().dimension, STATIC_DIMENSION);
    assert_eq!(embedder.stamp().name, DEFAULT_STATIC);
    assert_tells_apart(&embedder);
    let names = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let found: Vec<String> = installed(models.path())
        .unwrap()
        .iter()
        .map(|path| names(path))
        .collect();
    assert_eq!(found, [DEFAULT_TRANSFORMER, DEFAULT_STATIC]);
    // Again, in its own place, and the same.
    distil(models.path()).unwrap();
    assert_eq!(
        Embedder::open(models.path(), DEFAULT_STATIC, two())
            .unwrap()
            .stamp(),
        embedder.stamp()
    );
}

#[test]
fn a_model_has_the_same_name_in_its_vectors_however_it_is_named() {
    let models = tempfile::tempdir().unwrap();
    let stamped = |name: &str| Embedder::stamp_name(models.path(), name);
    assert_eq!(stamped("toy"), "toy");
    assert_eq!(stamped("org/toy"), "toy");
    assert_eq!(stamped("/opt/models/toy/"), "toy");
    for name in ["BGESmallENV15", "bgesmallenv15", "Xenova/bge-small-en-v1.5"] {
        assert_eq!(stamped(name), "Xenova/bge-small-en-v1.5");
        Embedder::look_for(models.path(), name).unwrap();
    }
    // A folder comes before what could be downloaded.
    let own = models.path().join("BGESmallENV15");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("model.onnx"), "").unwrap();
    assert_eq!(stamped("BGESmallENV15"), "BGESmallENV15");
}

#[test]
fn what_reads_in_moments_is_the_static_model_that_is_there() {
    let models = tempfile::tempdir().unwrap();
    let put = |name: &str| {
        let folder = models.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("model.safetensors"), "").unwrap();
    };
    let quick = |name: &str| static_of(models.path(), name);
    assert_eq!(quick("toy"), DEFAULT_STATIC);
    assert_eq!(quick(DEFAULT_TRANSFORMER), DEFAULT_STATIC);
    put("toy");
    assert_eq!(quick("toy"), "toy");
    put("toy-static");
    assert_eq!(quick("toy"), "toy-static");
    let by_path = models.path().join("toy");
    assert_eq!(
        quick(&format!("{}/", by_path.display())),
        format!("{}-static", by_path.display())
    );
}

#[test]
fn what_is_missing_is_named_with_the_way_out() {
    let nothing = tempfile::tempdir().unwrap();
    let error = Embedder::open(nothing.path(), DEFAULT_TRANSFORMER, two()).unwrap_err();
    assert!(matches!(error, EmbedError::Absent { .. }));
    assert!(error.to_string().contains("dkc index model --install"), "{error}");

    symlink(
        fixtures::corpus::models().join(DEFAULT_TRANSFORMER),
        nothing.path().join(DEFAULT_TRANSFORMER),
    )
    .unwrap();
    let error = Embedder::open(nothing.path(), DEFAULT_TRANSFORMER, two()).unwrap_err();
    assert!(error.to_string().contains("libonnxruntime.so"), "{error}");

    let broken = models();
    let folder = broken.path().join("broken");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("model.onnx"), "not a model").unwrap();
    symlink(
        fixtures::corpus::models()
            .join(DEFAULT_TRANSFORMER)
            .join("tokenizer.json"),
        folder.join("tokenizer.json"),
    )
    .unwrap();
    let error = Embedder::open(broken.path(), "broken", two()).unwrap_err();
    assert!(matches!(error, EmbedError::NoOnnx { .. }), "{error:?}");
    let told = error.to_string();
    assert!(told.contains("broken/model.onnx` is no ONNX model"), "{told}");
    assert!(
        installed(nothing.path().join("nowhere").as_path())
            .unwrap()
            .is_empty()
    );
}
