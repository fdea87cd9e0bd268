//! `tree_structure`: a folder and what is beneath it, as an indented text.
//!
//! - Not here: the walk, and what it passes over (`roots::walk`).

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::roots::beneath::EntryKind;
use crate::roots::walk::{Step, walk};
use crate::roots::{Roots, apart};
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "tree_structure",
    about: "Shows a folder and what is beneath it as an indented text.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/files/tree",
    is_heavy: true,
    is_cacheable: false,
    input: |types| types.subschema_for::<TreeStructure>(),
    example: r#"{"path": "a root, as list_project names it", "depth": 2}"#,
    output: Output::Json(|types| types.subschema_for::<FolderTree>()),
    toolset: &toolset::FILES,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&tree(call, parse(input)?).await?) }),
};

/// Which folder.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TreeStructure {
    /// `ROOT` or `ROOT/folder`.
    #[schemars(length(min = 1, max = 4096))]
    path: String,
    /// Levels.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 8))]
    depth: u8,
    /// Lines at most.
    #[serde(default = "three_hundred")]
    #[schemars(range(min = 1, max = 2000))]
    limit: u16,
}

fn three() -> u8 {
    3
}

fn three_hundred() -> u16 {
    300
}

/// A folder and what is beneath it.
#[derive(Debug, Serialize, JsonSchema)]
struct FolderTree {
    /// The folder.
    path: String,
    /// A name a line, two spaces a level; `/` after folders, `/ …` after those not looked into, `@` after links.
    tree: String,
    /// Folders to that depth.
    folders: usize,
    /// Files to that depth.
    files: usize,
    /// Folders that were not looked into, because of the depth.
    not_opened: usize,
    /// Entries to that depth without a line, because of the limit.
    not_shown: usize,
    /// What else was left out.
    notes: Vec<String>,
}

async fn tree(call: Call<'_>, input: TreeStructure) -> Result<FolderTree, Problem> {
    let roots = Roots::of(&call.gateway.config);
    apart(call.cancel, move |stop| tree_of(&roots, &input, stop)).await
}

fn tree_of(roots: &Roots, input: &TreeStructure, stop: &CancellationToken) -> Result<FolderTree, Problem> {
    let place = roots.place(&input.path)?.resolved()?;
    let mut told = FolderTree {
        path: place.shown(),
        tree: String::new(),
        folders: 0,
        files: 0,
        not_opened: 0,
        not_shown: 0,
        notes: Vec::new(),
    };
    let mut room = usize::from(input.limit);
    let tally = walk(&place, stop, &mut |walked| {
        let is_deepest = walked.depth >= usize::from(input.depth);
        let (mark, step) = match walked.kind {
            EntryKind::Folder if is_deepest => ("/ …", Step::Past),
            EntryKind::Folder => ("/", Step::Into),
            EntryKind::Link => ("@", Step::Past),
            EntryKind::File | EntryKind::Other => ("", Step::Past),
        };
        told.files += usize::from(walked.kind == EntryKind::File);
        told.folders += usize::from(walked.kind == EntryKind::Folder);
        told.not_opened += usize::from(walked.kind == EntryKind::Folder && is_deepest);
        if room == 0 {
            told.not_shown += 1;
            return step;
        }
        room -= 1;
        for _ in 1..walked.depth {
            told.tree.push_str("  ");
        }
        let name = walked.path.file_name().unwrap_or_default().to_string_lossy();
        // A name with a new line in it would be two entries.
        told.tree.extend(
            name.chars()
                .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }),
        );
        told.tree.push_str(mark);
        told.tree.push('\n');
        step
    })?;
    told.notes = tally.notes();
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Root};
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tree_says_what_it_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a/b/c/d.txt", "a/two\nlines", "z.txt", ".hidden"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        symlink("a", folder.path().join("link")).unwrap();
        let roots = Roots::of(&Config {
            roots: vec![Root {
                name: "home".to_owned(),
                path: folder.path().to_owned(),
            }],
            ..Config::default()
        });
        let tree = |path: &str, depth: u8, limit: u16| {
            let path = path.to_owned();
            tree_of(
                &roots,
                &TreeStructure { path, depth, limit },
                &CancellationToken::new(),
            )
            .unwrap()
        };
        let told = tree("home", 2, 100);
        assert_eq!(told.tree, "a/\n  b/ …\n  two\u{fffd}lines\nlink@\nz.txt\n");
        assert_eq!(
            (told.folders, told.files, told.not_opened, told.not_shown),
            (2, 2, 1, 0)
        );
        assert!(
            told.notes[0].starts_with("1 entries were passed over"),
            "{:?}",
            told.notes
        );
        let told = tree("home/link", 8, 2);
        assert_eq!((told.path.as_str(), told.tree.as_str()), ("home/a", "b/\n  c/\n"));
        assert_eq!((told.folders, told.files, told.not_shown), (2, 2, 2));
    }
}
