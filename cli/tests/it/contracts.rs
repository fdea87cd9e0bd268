//! What every collector and every dataset must keep, whichever they are: one list of promises, held against all that
//! are registered (`collectors::ALL`, `schemas::datasets::ALL`). A new kind fails here until `sources` has one of it,
//! a new dataset until a source fills it.
//!
//! Few kills by default; `make crash` makes more (`DKC_KILLS`).

use crate::it::crash::killed_at_some_moments;
use crate::it::cursor::{LAST_SNAPSHOTS, killed_at_each_commit};
use crate::it::interrupted::Scene;
use crate::it::lab::{self, Lab, agree, count, lake, setting};
use crate::it::sources::{self, Source};
use collectors::Descriptor;
use schemas::{Dataset, Home, datasets};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The collectors, one after the other; which one it is stands above what a failing test says.
fn kinds() -> impl Iterator<Item = &'static Descriptor> {
    let all = collectors::ALL.iter().copied();
    all.inspect(|collector| eprintln!("== {}", collector.kind))
}

/// A lake with all kinds of sources in it, collected, changed and collected again.
fn of_all_kinds() -> Lab {
    let sources: Vec<_> = collectors::ALL
        .iter()
        .map(|collector| (collector.kind, sources::of(collector.kind)))
        .collect();
    let pipelines = sources
        .iter()
        .map(|(kind, source)| sources::pipeline(kind, &source.table()));
    let lab = Lab::new(&pipelines.collect::<String>());
    sources.iter().for_each(|(_, source)| source.fill(&lab));
    lab.runs();
    sources.iter().for_each(|(_, source)| source.change(&lab));
    lab.runs();
    lab
}

// Every collector.

#[test]
fn a_key_that_a_collector_does_not_know_is_refused_with_the_one_that_was_meant() {
    for collector in kinds() {
        let table = sources::of(collector.kind).table();
        let schema = (collector.schema)().to_value();
        let keys: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert!(!keys.is_empty());
        for key in keys {
            let unknown = format!("{key}{}", key.chars().last().unwrap());
            let table = format!("{table}, {unknown} = 1");
            let lab = Lab::new(&sources::pipeline(collector.kind, &table));
            let said = lab.said(&["run"]);
            assert_eq!(said.code, Some(2), "{said:#?}");
            for words in [
                format!("unknown key `{unknown}`"),
                format!("did you mean `{key}`?"),
            ] {
                assert!(said.err.contains(&words), "{words}: {said:#?}");
            }
            assert!(!lab.data().exists(), "a refused configuration does nothing");
            // Whoever builds it without dkc's own look at the table is told too.
            let document: toml_edit::DocumentMut = format!("source = {{ {table} }}").parse().unwrap();
            let source = document["source"].clone().into_table().unwrap();
            let error = (collector.build)(source).err().map(|error| error.message);
            assert!(
                error.as_ref().is_some_and(|error| error.contains(&unknown)),
                "{unknown}: {error:?}"
            );
        }
    }
}

/// Asserts that another run finds all as it was, and leaves the lake as it is.
fn assert_quiet(lab: &Lab) {
    let state = || (lab.snapshot(), lab.parquet_files());
    let before: (i64, Vec<PathBuf>) = state();
    let run = lab.run();
    for of in ["items_stored", "items_vanished", "snapshots"] {
        assert_eq!(count(&run, of), 0, "{run:#}");
    }
    assert_eq!(run["cursor_before"], run["cursor_after"], "{run:#}");
    assert_eq!(state(), before, "{run:#}");
}

/// The rows of a dataset, but for when and by which run they came; of originals those of items that are still there,
/// since what is gone from a source stays in `raw`.
fn rows(lab: &Lab, dataset: &Dataset) -> Vec<Value> {
    let still = match dataset.name {
        "raw" => "WHERE _item IN (SELECT _item FROM locations)",
        _ => "",
    };
    let key = key_of(dataset);
    let mut rows = lab.sql(&format!("SELECT * FROM {} {still} ORDER BY {key}", dataset.name));
    for row in &mut rows {
        for column in ["_run", "fetched_at"] {
            row.as_object_mut().unwrap().remove(column);
        }
    }
    rows
}

#[test]
fn every_collector_goes_on_where_it_ended_without_gap_or_repeat() {
    for collector in kinds() {
        let (lab, source) = sources::filled(collector.kind);
        let first = lab.run();
        assert!(count(&first, "items_stored") > 0, "{first:#}");
        assert_quiet(&lab);
        source.change(&lab);
        let second = lab.run();
        for of in ["items_stored", "items_unchanged", "items_vanished"] {
            assert!(
                count(&second, of) > 0,
                "nothing tells a gap from a repeat: {second:#}"
            );
        }
        assert_eq!(second["cursor_before"], first["cursor_after"]);
        assert_quiet(&lab);
        let fresh = lab.with_data("fresh");
        fresh.run();
        for dataset in lake() {
            let (found, expected) = (rows(&lab, dataset), rows(&fresh, dataset));
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found, expected, "{}", dataset.name);
            }
            assert_eq!(found.len(), expected.len(), "{}", dataset.name);
        }
        lab.is_whole();
    }
}

#[test]
fn every_collector_ends_equal_wherever_its_first_run_is_killed() {
    for collector in kinds() {
        let (lab, source) = sources::filled(collector.kind);
        source.swell(&lab);
        killed_anywhere(Scene::of(lab, &["run"]), &*source);
    }
}

#[test]
fn every_collector_ends_equal_wherever_a_run_over_changes_is_killed() {
    for collector in kinds() {
        let (lab, source) = sources::filled(collector.kind);
        lab.run();
        source.change(&lab);
        source.swell(&lab);
        killed_anywhere(Scene::of(lab, &["run"]), &*source);
    }
}

/// At each commit, and at a share of `DKC_KILLS`: there are two such scenes of each collector.
fn killed_anywhere(mut scene: Scene, source: &dyn Source) {
    scene.originals_changed = source.keeps_originals();
    let snapshots = scene.undisturbed().number(LAST_SNAPSHOTS);
    assert!(
        snapshots > 1,
        "it is never killed between two snapshots: its `Source` has to swell more"
    );
    let mut labs = killed_at_each_commit(&scene);
    assert!(labs.len() > 1, "it was never killed between two snapshots");
    let scenes = 2 * collectors::ALL.len();
    labs.extend(killed_at_some_moments(
        &scene,
        setting("DKC_KILLS", 12).div_ceil(scenes),
    ));
    scene.assert_equal(&labs);
}

// Every dataset.

/// The type that DuckDB has for a column of a JSON Schema, and whether it may be null.
fn documented(column: &Value, required: &Value, name: &str) -> (String, bool) {
    let (of, nullable) = match &column["type"] {
        Value::Array(types) => (types[0].clone(), types.contains(&json!("null"))),
        of => (of.clone(), false),
    };
    let is_required = required.as_array().unwrap().contains(&json!(name));
    assert_eq!(nullable, !is_required, "{name}: {column:#}");
    let kind = match (
        of.as_str().unwrap(),
        &column["format"],
        &column["contentEncoding"],
    ) {
        ("string", Value::String(format), _) if format == "date-time" => "TIMESTAMP WITH TIME ZONE",
        ("string", _, Value::String(_)) => "BLOB",
        ("string", ..) => "VARCHAR",
        ("array", ..) => "VARCHAR[]",
        ("integer", ..) => "BIGINT",
        ("number", ..) => "DOUBLE",
        ("boolean", ..) => "BOOLEAN",
        _ => panic!("{name}: {column:#}"),
    };
    (kind.to_owned(), nullable)
}

#[test]
fn every_table_has_the_columns_that_are_documented_and_no_others() {
    let lab = Lab::new("");
    lab.output(&["sql", "-c", "SELECT 1"]);
    let schemas = lab.json(&["schema"]);
    let schemas = schemas.as_object().unwrap();
    let names: Vec<&str> = datasets::ALL.iter().map(|dataset| dataset.name).collect();
    assert_eq!(schemas.keys().collect::<Vec<_>>(), names);
    let listed = lab.output(&["schema"]);
    let outside = lab::columns(&lab);
    let tables: Vec<&str> = lake().map(|dataset| dataset.name).collect();
    let mut there: Vec<&String> = outside.as_object().unwrap().keys().collect();
    there.sort();
    assert_eq!(there, tables);
    for dataset in datasets::ALL {
        let name = dataset.name;
        assert!(listed.contains(name), "`dkc schema` lists no {name}");
        let schema = &schemas[name];
        assert!(!schema["description"].as_str().unwrap().is_empty(), "{name}");
        let columns = schema["properties"].as_object().unwrap();
        if dataset.home == Home::Lake {
            let there = outside[name].as_object().unwrap();
            assert_eq!(there.len(), columns.len(), "{name}: {:?}", there.keys());
        }
        for (column, told) in columns {
            let doc = told["description"].as_str().unwrap();
            assert!(doc.len() > 1 && doc.ends_with('.'), "{name}.{column}: {doc:?}");
            let (kind, nullable) = documented(told, &schema["required"], column);
            if dataset.home == Home::Lake {
                let expected = json!([kind, nullable, doc]);
                assert_eq!(outside[name][column], expected, "{name}.{column}");
            }
        }
        // As dkc itself has them (runs are nowhere else), in the order in which they are documented.
        let own = lab.sql(&format!("DESCRIBE {name}"));
        let own: Vec<&str> = own
            .iter()
            .map(|row| row["column_name"].as_str().unwrap())
            .collect();
        let all: Vec<&str> = dataset.all_columns().map(|column| column.name).collect();
        assert_eq!(own, all, "{name}");
    }
}

#[test]
fn every_dataset_is_filled_and_its_keys_name_one_row_each() {
    let lab = of_all_kinds();
    let mut broken = Vec::new();
    for dataset in datasets::ALL {
        let (name, key) = (dataset.name, key_of(dataset));
        if lab.number(&format!("SELECT count(*) FROM {name}")) == 0 {
            broken.push(format!(
                "no source of the suite fills {name}: let one do so, in cli/tests/it/sources.rs"
            ));
        }
        let again = format!("SELECT {key}, count(*) AS n FROM {name} GROUP BY {key} HAVING count(*) > 1");
        let again = lab.sql(&again);
        broken.extend(
            again
                .iter()
                .map(|row| format!("rows of {name} share a key: {row}")),
        );
        for column in dataset.key {
            if lab.number(&format!("SELECT count(*) FROM {name} WHERE \"{column}\" IS NULL")) > 0 {
                broken.push(format!("{name}.{column} is null, and belongs to the key"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    // Others find the same rows by the same keys.
    agree(
        &lab::own_facts(&lab),
        &lab::duckdb(&[(&lab, None)])[0],
        "from outside",
    );
    lab.is_whole();
}

/// The columns of a dataset's key, as SQL names them.
fn key_of(dataset: &Dataset) -> String {
    let names: Vec<String> = dataset.key.iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}
