//! Search by meaning: where its model may be, what is said when it cannot be opened or has read nothing, and that there are
//! as many rows as were asked for.

use crate::it::lab::Lab;
use serde_json::{Map, Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use store::embedder::DEFAULT_TRANSFORMER;

const NOTES: &str =
    "[[pipeline]]\nname = \"notes\"\nsource = { kind = \"documents\", roots = [\"notes\"] }\n";

/// What the model knows: each word, and its vector.
const WORDS: [(&str, [f32; 2]); 4] = [
    ("[UNK]", [0.0, 0.0]),
    ("boat", [1.0, 0.0]),
    ("ship", [0.9, 0.4]),
    ("swarm", [0.0, 1.0]),
];

/// Puts a static model into a folder of the lab: a text means what the words that it knows mean. Models of other weights
/// are other models.
fn put_model(lab: &Lab, folder: &str, weight: f32) {
    let vocabulary: Map<String, Value> = WORDS
        .iter()
        .enumerate()
        .map(|(id, (word, _))| ((*word).to_owned(), json!(id)))
        .collect();
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                        "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                   "max_input_chars_per_word": 20, "vocab": vocabulary },
    });
    let vectors: Vec<u8> = WORDS
        .iter()
        .flat_map(|(_, vector)| vector.map(|number| number * weight))
        .flat_map(f32::to_le_bytes)
        .collect();
    let header = json!({
        "embeddings": { "dtype": "F32", "shape": [WORDS.len(), 2], "data_offsets": [0, vectors.len()] },
    });
    let header = header.to_string().into_bytes();
    let length = (header.len() as u64).to_le_bytes();
    let model = [length.as_slice(), header.as_slice(), vectors.as_slice()].concat();
    lab.write(format!("{folder}/tokenizer.json"), tokenizer.to_string());
    lab.write(format!("{folder}/config.json"), r#"{"normalize":true}"#);
    lab.write(format!("{folder}/model.safetensors"), model);
}

/// A lab with three notes, not collected, whose folder of models is `models`.
fn with_notes(model: &str) -> Lab {
    let lab = Lab::new(&format!("[search]\nmodel = {model:?}\n{NOTES}"));
    let models = lab.path("models");
    let lab = lab.with("DKC_MODELS", models.to_str().unwrap());
    lab.write("notes/boat.md", "# Boat\n\nThe boat lies there.\n");
    lab.write("notes/ship.md", "# Ship\n\nThe ship left.\n");
    lab.write("notes/swarm.md", "# Swarm\n\nThe swarm is gone.\n");
    lab
}

/// The titles that a search finds, and its notes as one text.
fn found(lab: &Lab, arguments: &[&str]) -> (Vec<String>, String) {
    let answer = lab.json(&[&["search"], arguments].concat());
    let hits = answer["hits"].as_array().unwrap().iter();
    let title = |hit: &Value| hit["title"].as_str().unwrap().to_owned();
    (hits.map(title).collect(), answer["notes"].to_string())
}

/// That words answer with a note that says this, and meaning is refused with it.
fn only_words_answer(lab: &Lab, why: &str) {
    let (titles, notes) = found(lab, &["boat"]);
    assert_eq!(titles, ["Boat"]);
    assert!(
        notes.contains("searched by words only") && notes.contains(why),
        "{notes}"
    );
    // Beside operators within OR as well.
    let (titles, _) = found(lab, &["(boat OR path:ship.md)"]);
    assert_eq!(titles.len(), 2, "{titles:?}");
    let said = lab.said(&["search", "--json", "--meaning", "boat"]);
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.err.contains(why), "{said:#?}");
}

#[test]
fn a_model_is_found_again_by_its_path() {
    let lab = with_notes("./elsewhere/toy");
    put_model(&lab, "elsewhere/toy", 1.0);
    // A static model reads in moments: a run does not leave that to a build.
    lab.runs();
    let all = ["Boat", "Ship", "Swarm"].map(str::to_owned).to_vec();
    assert_eq!(
        found(&lab, &["--meaning", "boat"]),
        (all.clone(), "[]".to_owned())
    );
    assert_eq!(found(&lab, &["boat"]), (all, "[]".to_owned()));
    let status = lab.json(&["index", "status"]);
    let mut of_datasets = status.as_array().unwrap().iter();
    let documents = of_datasets
        .find(|status| status["dataset"] == "documents")
        .unwrap();
    let models = documents["models"].as_array().unwrap();
    assert_eq!(models.len(), 1, "{documents:#}");
    assert_eq!(
        (&models[0]["name"], &models[0]["is_asked_first"]),
        (&"toy".into(), &true.into())
    );
}

#[test]
fn where_a_model_cannot_be_opened_words_answer_and_the_index_is_made_anew_all_the_same() {
    let lab = with_notes("toy");
    put_model(&lab, "models/toy", 1.0);
    lab.runs();
    for (file, damage) in [
        ("tokenizer.json", None),
        ("tokenizer.json", Some("{")),
        ("model.safetensors", Some("rot")),
        ("config.json", None),
    ] {
        let path = lab.path("models/toy").join(file);
        let whole = fs::read(&path).unwrap();
        match damage {
            None => fs::remove_file(&path).unwrap(),
            Some(damage) => fs::write(&path, damage).unwrap(),
        }
        only_words_answer(&lab, "toy");
        let said = lab.said(&["index", "build", "--anew"]);
        assert_eq!(said.code, Some(0), "{file} {damage:?}: {said:#?}");
        assert!(said.err.contains("`toy` reads nothing"), "{said:#?}");
        assert_eq!(lab.said(&["run"]).code, Some(0));
        only_words_answer(&lab, "toy");
        fs::write(&path, whole).unwrap();
        lab.output(&["index", "build"]);
        let (titles, notes) = found(&lab, &["--meaning", "boat"]);
        assert_eq!((titles.len(), notes.as_str()), (3, "[]"), "{file} {damage:?}");
    }
}

#[test]
fn without_onnx_runtime_words_answer_and_the_index_is_made_anew_all_the_same() {
    let lab = with_notes(DEFAULT_TRANSFORMER);
    let library = "libonnxruntime.so";
    fs::create_dir(lab.path("models")).unwrap();
    for entry in [library, DEFAULT_TRANSFORMER] {
        symlink(
            fixtures::corpus::models().join(entry),
            lab.path("models").join(entry),
        )
        .unwrap();
    }
    lab.runs();
    lab.output(&["index", "build"]);
    let (titles, notes) = found(&lab, &["--meaning", "boat"]);
    assert_eq!((titles[0].as_str(), notes.as_str()), ("Boat", "[]"));
    fs::remove_file(lab.path("models").join(library)).unwrap();
    only_words_answer(&lab, "ONNX Runtime");
    let said = lab.said(&["index", "build", "--anew"]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.err.contains("reads nothing"), "{said:#?}");
    only_words_answer(&lab, "ONNX Runtime");
}

#[test]
fn an_older_model_that_is_gone_is_missed_until_the_new_one_has_read() {
    let lab = with_notes("old");
    put_model(&lab, "models/old", 1.0);
    put_model(&lab, "models/new", 2.0);
    lab.runs();
    lab.write("dkc.toml", format!("[search]\nmodel = \"new\"\n{NOTES}"));
    let (titles, notes) = found(&lab, &["--meaning", "boat"]);
    assert_eq!((titles.len(), notes.as_str()), (3, "[]"));
    fs::remove_dir_all(lab.path("models/old")).unwrap();
    only_words_answer(&lab, "models/old");
    lab.output(&["index", "build"]);
    for arguments in [&["--meaning", "boat"][..], &["boat"]] {
        let (titles, notes) = found(&lab, arguments);
        assert_eq!((titles.len(), notes.as_str()), (3, "[]"), "{arguments:?}");
    }
    // What it alone has read is missed, and all else is found.
    lab.write("notes/ship.md", "# Ship\n\nThe ship left, and another ship.\n");
    put_model(&lab, "models/old", 1.0);
    lab.write("dkc.toml", format!("[search]\nmodel = \"old\"\n{NOTES}"));
    lab.runs();
    lab.write("dkc.toml", format!("[search]\nmodel = \"new\"\n{NOTES}"));
    fs::remove_dir_all(lab.path("models/old")).unwrap();
    let (titles, notes) = found(&lab, &["--meaning", "boat"]);
    assert_eq!(titles, ["Boat", "Swarm"]);
    assert!(notes.contains("without the vectors of `old`"), "{notes}");
}

#[test]
fn where_no_model_has_read_anything_the_command_that_lets_it_is_told() {
    let lab = with_notes("toy");
    lab.runs();
    put_model(&lab, "models/toy", 1.0);
    let (titles, notes) = found(&lab, &["--meaning", "boat"]);
    assert!(titles.is_empty(), "{titles:?}");
    assert!(
        notes.contains("dkc index build") && !notes.contains("nothing has"),
        "{notes}"
    );
    let (titles, notes) = found(&lab, &["boat"]);
    assert_eq!(titles, ["Boat"]);
    assert!(notes.contains("dkc index build"), "{notes}");
    lab.output(&["index", "build"]);
    for arguments in [&["--meaning", "boat"][..], &["boat"]] {
        let (titles, notes) = found(&lab, arguments);
        assert_eq!((titles.len(), notes.as_str()), (3, "[]"), "{arguments:?}");
    }
}

#[test]
fn one_long_text_does_not_take_the_place_of_other_rows() {
    let lab = with_notes("toy");
    put_model(&lab, "models/toy", 1.0);
    let sections =
        (0..60).map(|number| format!("## Part {number}\n\nThe boat is sold, number {number}.\n\n"));
    lab.write(
        "notes/long.md",
        format!("# Long\n\n{}", sections.collect::<String>()),
    );
    lab.runs();
    let (titles, _) = found(&lab, &["--meaning", "boat", "--limit", "4"]);
    assert_eq!(titles.len(), 4, "{titles:?}");
    assert_eq!(titles[2..], ["Ship", "Swarm"]);
    // What must not be there is not among the nearest that are looked at.
    let (titles, _) = found(&lab, &["--meaning", "boat -sold", "--limit", "1"]);
    assert_eq!(titles, ["Boat"]);
    let (titles, _) = found(&lab, &["--meaning", "boat -sold -lies", "--limit", "2"]);
    assert_eq!(titles, ["Ship", "Swarm"]);
}
