//! What the tree promises about itself: who imports whom, how files begin, how long they are, what they are
//! called, where links lead. Each test lists everything it finds, so that one run is enough to mend it all.
//!
//! - In: the files of the workspace, as `.gitignore` leaves them. Out: findings, `file: what is wrong`.
//! - Not here: behaviour, and style that rustfmt and clippy see.

use pulldown_cmark::{Event, Options, Parser, Tag};
use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use toml_edit::DocumentMut;

type Outcome = Result<(), Box<dyn Error>>;

/// Lines a file may have without its tests. Longer is a room that wants a wall.
const LINES: usize = 400;

/// A crate of ours, and what its layer allows.
struct Layer {
    name: &'static str,
    /// Crates of ours that it may depend on.
    ours: &'static [&'static str],
    /// Crates of others that it must not depend on: they belong to another layer.
    never: &'static [&'static str],
}

/// All layers from the bottom up: a crate depends only on crates above its own line here.
const LAYERS: &[Layer] = &[
    Layer {
        name: "schemas",
        ours: &[],
        never: &[
            "async-imap",
            "axum",
            "datafusion",
            "object_store",
            "polars",
            "reqwest",
            "sqlx",
            "tokio",
        ],
    },
    Layer {
        name: "fixtures",
        ours: &["schemas"],
        never: &[],
    },
    Layer {
        name: "collectors",
        ours: &["schemas"],
        never: &["axum", "datafusion", "lancedb", "polars", "sqlx"],
    },
    Layer {
        name: "transforms",
        ours: &["schemas"],
        never: &["async-imap", "jiff", "reqwest", "sqlx", "tokio"],
    },
    Layer {
        name: "store",
        ours: &["schemas"],
        never: &["async-imap", "axum", "polars", "rmcp"],
    },
    Layer {
        name: "pipelines",
        ours: &["schemas", "collectors", "transforms", "store"],
        never: &["axum", "rmcp"],
    },
    Layer {
        name: "serve",
        ours: &["schemas", "store"],
        never: &["async-imap", "datafusion", "lancedb", "polars", "sqlx"],
    },
    Layer {
        name: "cli",
        ours: &[
            "schemas",
            "collectors",
            "transforms",
            "store",
            "pipelines",
            "serve",
        ],
        never: &[],
    },
    Layer {
        name: "benches",
        ours: &[
            "schemas",
            "fixtures",
            "collectors",
            "transforms",
            "store",
            "pipelines",
            "serve",
            "cli",
        ],
        never: &[],
    },
    Layer {
        name: "xtask",
        ours: &[],
        never: &[],
    },
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "manager", "misc", "util", "utils"];

fn root() -> PathBuf {
    // Tests run in their package's folder; a path from build time may be that of another clone.
    PathBuf::from("..")
}

/// Every file that git keeps or would keep, relative to the root, with `/` between its parts.
fn files() -> Result<Vec<String>, Box<dyn Error>> {
    let root = root();
    let mut files = Vec::new();
    let walk = ignore::WalkBuilder::new(&root)
        .hidden(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    for entry in walk {
        let entry = entry?;
        if entry.file_type().is_some_and(|kind| kind.is_file()) {
            files.push(
                entry
                    .path()
                    .strip_prefix(&root)?
                    .to_string_lossy()
                    .replace('\\', "/"),
            );
        }
    }
    files.sort();
    Ok(files)
}

fn files_ending(suffix: &str) -> Result<Vec<String>, Box<dyn Error>> {
    Ok(files()?
        .into_iter()
        .filter(|file| file.ends_with(suffix))
        .collect())
}

fn read(file: &str) -> Result<String, Box<dyn Error>> {
    fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}").into())
}

fn toml(file: &str) -> Result<DocumentMut, Box<dyn Error>> {
    read(file)?
        .parse()
        .map_err(|error| format!("{file}: {error}").into())
}

/// Fails with all findings, one a line.
fn none_found(findings: &[String]) -> Outcome {
    if findings.is_empty() {
        Ok(())
    } else {
        Err(format!("\n{}\n", findings.join("\n")).into())
    }
}

/// Members of the workspace, in the manifest's order.
fn members() -> Result<Vec<String>, Box<dyn Error>> {
    let manifest = toml("Cargo.toml")?;
    let members = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("members"));
    let members = members
        .and_then(|members| members.as_array())
        .ok_or("Cargo.toml has no workspace.members")?;
    Ok(members
        .iter()
        .filter_map(|member| member.as_str())
        .map(str::to_owned)
        .collect())
}

/// What a crate depends on under the table `kind`, on every platform.
fn dependencies(manifest: &DocumentMut, kind: &str) -> BTreeSet<String> {
    let tables = manifest.get("target").and_then(|target| target.as_table_like());
    let for_platforms = tables
        .into_iter()
        .flat_map(|tables| tables.iter().map(|(_, table)| table.get(kind)));
    std::iter::once(manifest.get(kind))
        .chain(for_platforms)
        .filter_map(|table| table?.as_table_like())
        .flat_map(|table| table.iter().map(|(name, _)| name.to_owned()))
        .collect()
}

#[test]
fn dependencies_point_only_downwards() -> Outcome {
    let mut findings = Vec::new();
    let ours: BTreeSet<&str> = LAYERS.iter().map(|layer| layer.name).collect();
    for member in members()? {
        let file = format!("{member}/Cargo.toml");
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == member) else {
            findings.push(format!(
                "{file}: no layer of that name; give it a line in LAYERS and in ARCHITECTURE.md"
            ));
            continue;
        };
        let manifest = toml(&file)?;
        for name in
            dependencies(&manifest, "dependencies").union(&dependencies(&manifest, "build-dependencies"))
        {
            if ours.contains(name.as_str()) && !layer.ours.contains(&name.as_str()) {
                findings.push(format!("{file}: `{member}` must not import `{name}`"));
            }
            if name == "fixtures" && member != "benches" {
                findings.push(format!(
                    "{file}: `fixtures` is for tests only; make it a dev-dependency"
                ));
            }
            if layer.never.contains(&name.as_str()) {
                findings.push(format!(
                    "{file}: `{name}` belongs to another layer than `{member}`"
                ));
            }
        }
        for name in dependencies(&manifest, "dev-dependencies") {
            let allowed = layer.ours.contains(&name.as_str()) || (name == "fixtures" && member != "schemas");
            if ours.contains(name.as_str()) && !allowed {
                findings.push(format!(
                    "{file}: the tests of `{member}` must not import `{name}`"
                ));
            }
        }
    }
    none_found(&findings)
}

#[test]
fn every_layer_lies_above_what_it_imports() {
    for (place, layer) in LAYERS.iter().enumerate() {
        let below: Vec<&str> = LAYERS.iter().take(place).map(|layer| layer.name).collect();
        for name in layer.ours {
            assert!(
                below.contains(name),
                "LAYERS: `{}` imports `{name}`, which is not below it",
                layer.name
            );
        }
    }
}

#[test]
fn every_rust_file_says_what_it_is() -> Outcome {
    let mut findings = Vec::new();
    for file in files_ending(".rs")? {
        if !read(&file)?.starts_with("//!") {
            findings.push(format!(
                "{file}: does not open with `//!`: what it is, in, out, what is not there"
            ));
        }
    }
    none_found(&findings)
}

/// Lines of a file without its items under a `#[cfg(test)]` of the outermost level.
fn lines_without_tests(text: &str) -> usize {
    let (mut lines, mut in_test) = (0, false);
    for line in text.lines() {
        in_test |= line == "#[cfg(test)]";
        lines += usize::from(!in_test);
        // Such an item ends with `}` or `;` in the first column's block: `mod tests { … }`, `mod contract;`.
        let ends = line == "}" || (line.ends_with(';') && !line.starts_with(char::is_whitespace));
        in_test &= !ends;
    }
    lines
}

#[test]
fn lines_of_tests_do_not_count() {
    let text =
        "//! It.\n#[cfg(test)]\nmod contract;\nfn f() {\n}\n#[cfg(test)]\nmod tests {\n    use a;\n}\n";
    assert_eq!(lines_without_tests(text), 3);
}

#[test]
fn no_file_is_longer_than_a_person_reads() -> Outcome {
    let mut findings = Vec::new();
    for file in files_ending(".rs")? {
        let is_test =
            file.contains("/tests/") || file.ends_with("/tests.rs") || file.ends_with("/contract.rs");
        let lines = lines_without_tests(&read(&file)?);
        if !is_test && lines > LINES {
            findings.push(format!("{file}: {lines} lines without tests; {LINES} at most"));
        }
    }
    none_found(&findings)
}

#[test]
fn files_are_named_for_what_they_hold() -> Outcome {
    let mut findings = Vec::new();
    for file in files_ending(".rs")? {
        for part in file.trim_end_matches(".rs").split('/') {
            let last_word = part.rsplit(['_', '-']).next().unwrap_or(part);
            if EMPTY_NAMES.contains(&last_word) {
                findings.push(format!("{file}: `{part}` says nothing; name what is inside"));
            }
        }
        if file.ends_with("/mod.rs") {
            findings.push(format!("{file}: write `foo.rs` beside `foo/`"));
        }
    }
    none_found(&findings)
}

#[test]
fn no_module_hides_a_crate_it_uses() -> Outcome {
    let mut findings = Vec::new();
    let files = files_ending(".rs")?;
    for member in members()? {
        let manifest = toml(&format!("{member}/Cargo.toml"))?;
        for name in dependencies(&manifest, "dependencies") {
            let module = format!("{member}/src/{}.rs", name.replace('-', "_"));
            if files.contains(&module) {
                findings.push(format!("{module}: hides the crate `{name}`"));
            }
        }
    }
    none_found(&findings)
}

/// Targets of links and images that lead to files of the tree, and texts set as code.
fn links_and_code(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut links, mut code) = (Vec::new(), Vec::new());
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                let target = dest_url.split('#').next().unwrap_or_default();
                if !target.is_empty() && !target.contains(':') {
                    links.push(target.to_owned());
                }
            }
            Event::Code(words) => code.push(words.into_string()),
            _ => {}
        }
    }
    (links, code)
}

#[test]
fn every_link_leads_somewhere() -> Outcome {
    let mut findings = Vec::new();
    for file in files_ending(".md")? {
        let folder = root().join(&file);
        let folder = folder.parent().ok_or("a file without a folder")?;
        for link in links_and_code(&read(&file)?).0 {
            if !folder.join(&link).exists() {
                findings.push(format!("{file}: `{link}` is not there"));
            }
        }
    }
    none_found(&findings)
}

#[test]
fn every_page_of_the_documentation_is_in_its_index() -> Outcome {
    const INDEX: &str = "docs/README.md";
    let links = links_and_code(&read(INDEX)?).0;
    let linked: BTreeSet<String> = links.iter().map(|link| format!("docs/{link}")).collect();
    let mut findings = Vec::new();
    for file in files_ending(".md")? {
        if file.starts_with("docs/") && file != INDEX && !linked.contains(&file) {
            findings.push(format!("{INDEX}: no link leads to `{file}`"));
        }
    }
    none_found(&findings)
}

/// The map names files as `crate/src/file.rs`, and tests as `crate/…/file.rs::name_of_the_test`.
#[test]
fn the_map_shows_what_is_there() -> Outcome {
    const MAP: &str = "ARCHITECTURE.md";
    let mut findings = Vec::new();
    for code in links_and_code(&read(MAP)?).1 {
        let (file, test) = code
            .split_once("::")
            .map_or((code.as_str(), None), |(file, test)| (file, Some(test)));
        let is_file = file.contains('/')
            && [".rs", ".py", ".sh", ".sql", ".toml"]
                .iter()
                .any(|end| file.ends_with(end));
        if !is_file {
            continue;
        }
        match read(file) {
            Err(_) => findings.push(format!("{MAP}: `{file}` is not there")),
            Ok(text) => {
                if let Some(test) = test.filter(|test| !text.contains(&format!("fn {test}("))) {
                    findings.push(format!("{MAP}: `{file}` has no test `{test}`"));
                }
            }
        }
    }
    none_found(&findings)
}

#[test]
fn nothing_names_one_machine_or_registry() -> Outcome {
    // Written apart, so that this file does not find itself.
    let mut words: Vec<String> = [
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("npmjs", ".org"),
        concat!("deb.debian", ".org"),
    ]
    .map(str::to_owned)
    .to_vec();
    words.push(format!("{}/", root().canonicalize()?.display()));
    let mut findings = Vec::new();
    for file in files()? {
        // Bytes that are not text (a mail, an image) name nothing; Cargo writes its lock file itself.
        let Ok(text) = read(&file) else { continue };
        for word in words
            .iter()
            .filter(|word| file != "Cargo.lock" && text.contains(word.as_str()))
        {
            findings.push(format!(
                "{file}: names `{word}`, which is not the same everywhere"
            ));
        }
    }
    none_found(&findings)
}

#[test]
fn the_example_configuration_is_toml() -> Outcome {
    toml("dkc.example.toml").map(|_| ())
}
