//! Where the links of a document lead.
//!
//! - In: links as they are written, the path of their document. Out: the same with the path of the document that each
//!   leads to, if the lake has it.
//! - Obsidian names a note by its name alone, or by the end of its path; of several the one nearest to the link counts.
//! - Not here: which links there are (`transforms`).

use crate::operation::Call;
use crate::problem::Problem;
use crate::rows::{select, several};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use store::query::Parameters;

/// Links of a section that are shown at most.
pub(crate) const MOST_LINKS: usize = 200;

/// Names, and paths, that are looked for at most.
const MOST_TARGETS: usize = 80;

/// Documents of these names that are looked at at most.
const MOST_DOCUMENTS: usize = 2_000;

/// A link, as the lake has it.
#[derive(Deserialize)]
pub(crate) struct LinkRow {
    kind: String,
    target: Option<String>,
    text: Option<String>,
    line: i64,
}

/// A link in a section.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SectionLink {
    /// `wikilink`, `embed`, `image`, `url` or `path`.
    kind: String,
    /// Where it leads, as written.
    target: Option<String>,
    /// What is shown for it, if that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Its line.
    line: i64,
    /// The file of the document that it leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    leads_to: Option<String>,
}

/// What a link asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// A place in its own document.
    Own,
    /// A note, by the end of its path in small letters.
    Note(String),
    /// A file.
    File(String),
}

/// Links with where they lead, from a document of this path.
pub(crate) async fn led(
    call: Call<'_>,
    links: Vec<LinkRow>,
    from: &str,
) -> Result<Vec<SectionLink>, Problem> {
    #[derive(Deserialize)]
    struct Named {
        path: Option<String>,
    }
    let wanted: Vec<Option<Wanted>> = links.iter().map(|link| wanted(link, from)).collect();
    let (mut names, mut files) = (BTreeSet::new(), BTreeSet::new());
    for wanted in wanted.iter().flatten() {
        match wanted {
            Wanted::Own => {}
            Wanted::Note(note) => {
                let name = note.rsplit('/').next().unwrap_or_default();
                names.extend([name.to_owned(), format!("{name}.md")]);
            }
            Wanted::File(file) => {
                files.insert(file.as_str());
            }
        }
    }
    let mut parameters = Parameters::new();
    let mut conditions = Vec::new();
    // Each note has two names.
    let names = names.iter().map(String::as_str).take(2 * MOST_TARGETS);
    let names = several("name", names, &mut parameters);
    if !names.is_empty() {
        conditions.push(format!("lower(regexp_replace(path, '^.*/', '')) IN ({names})"));
    }
    let files = several("file", files.into_iter().take(MOST_TARGETS), &mut parameters);
    if !files.is_empty() {
        conditions.push(format!("path IN ({files})"));
    }
    let known: Vec<Named> = match conditions.is_empty() {
        true => Vec::new(),
        false => {
            let text = format!(
                "SELECT DISTINCT path FROM documents WHERE {} ORDER BY path LIMIT {MOST_DOCUMENTS}",
                conditions.join(" OR ")
            );
            select(call, text, parameters).await?
        }
    };
    let known: Vec<String> = known.into_iter().filter_map(|named| named.path).collect();
    let led = links.into_iter().zip(wanted).map(|(link, wanted)| SectionLink {
        leads_to: wanted.and_then(|wanted| place(&wanted, from, &known)),
        text: link.text.filter(|text| link.target.as_ref() != Some(text)),
        kind: link.kind,
        target: link.target,
        line: link.line,
    });
    Ok(led.collect())
}

/// What a link in a document of this path asks for; nothing that is a document.
fn wanted(link: &LinkRow, from: &str) -> Option<Wanted> {
    let target = link.target.as_deref()?;
    let (name, _) = target.split_once('#').unwrap_or((target, ""));
    let name = name.trim();
    match link.kind.as_str() {
        "wikilink" | "embed" | "path" if name.is_empty() => Some(Wanted::Own),
        "wikilink" | "embed" => {
            let name = name.split('|').next().unwrap_or_default();
            Some(Wanted::Note(name.trim().trim_start_matches('/').to_lowercase()))
        }
        "path" => {
            let name = percent_decode_str(name).decode_utf8().ok()?;
            let folder = Path::new(from).parent()?;
            Some(Wanted::File(plain(&folder.join(&*name))?))
        }
        _ => None,
    }
}

/// A path without `.` and `..`, as they are written.
fn plain(path: &Path) -> Option<String> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    Some(plain.to_str()?.to_owned())
}

/// The document that is wanted, among those that are known.
fn place(wanted: &Wanted, from: &str, known: &[String]) -> Option<String> {
    let found = match wanted {
        Wanted::Own => return Some(from.to_owned()).filter(|from| !from.is_empty()),
        Wanted::File(file) => known.iter().find(|path| *path == file),
        Wanted::Note(note) => {
            let (whole, named) = (format!("/{note}"), format!("/{note}.md"));
            let fitting = known.iter().filter(|path| {
                let path = path.to_lowercase();
                path.ends_with(&whole) || path.ends_with(&named)
            });
            fitting.min_by_key(|path| (Reverse(together(path, from)), *path))
        }
    };
    found.cloned()
}

/// How many folders two paths have in common.
fn together(one: &str, other: &str) -> usize {
    let parts = one.split('/').zip(other.split('/'));
    parts.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(kind: &str, target: &str) -> LinkRow {
        LinkRow {
            kind: kind.to_owned(),
            target: Some(target.to_owned()),
            text: None,
            line: 1,
        }
    }

    fn leads(kind: &str, target: &str) -> Option<String> {
        let known = ["/n/app/Costs.md", "/n/plans/costs.md", "/n/plans/deep/ice.md"];
        let from = "/n/plans/storage.md";
        let wanted = wanted(&link(kind, target), from)?;
        place(&wanted, from, &known.map(str::to_owned))
    }

    #[test]
    fn a_note_is_found_by_its_name_the_nearest_first() {
        for (target, path) in [
            ("Costs", Some("/n/plans/costs.md")),
            ("costs#A14) Winter", Some("/n/plans/costs.md")),
            ("app/Costs", Some("/n/app/Costs.md")),
            ("ice.md", Some("/n/plans/deep/ice.md")),
            ("#Winter", Some("/n/plans/storage.md")),
            ("sts", None),
        ] {
            assert_eq!(leads("wikilink", target).as_deref(), path, "{target}");
        }
    }

    #[test]
    fn a_path_leads_from_the_folder_of_its_document() {
        assert_eq!(
            leads("path", "../app/Costs.md#x").as_deref(),
            Some("/n/app/Costs.md")
        );
        assert_eq!(
            leads("path", "./deep/ice.md").as_deref(),
            Some("/n/plans/deep/ice.md")
        );
        assert_eq!(leads("path", "../../../../etc/passwd"), None);
        assert_eq!(leads("url", "https://example.org/Costs.md"), None);
    }
}
