//! A walk through a folder of a root and all that is beneath it.
//!
//! - In: a place, a visitor. Out: what was seen, and how much was not.
//! - Passed over: hidden names but for a few, what `.gitignore` says, `.git`, `node_modules`, `target`. Links are named
//!   and not followed. The order is that of the names, folders before what is in them.
//! - The crate `ignore` says what a `.gitignore` means. Its own walker is not taken: it opens whatever is called so, a
//!   pipe or a link to an endless device too, and goes by paths that can be exchanged meanwhile.

use super::beneath::{Beneath, EntryKind, Links, Named};
use super::{Place, refused};
use crate::problem::Problem;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec::IntoIter;
use tokio_util::sync::CancellationToken;

/// Entries that a walk looks at; then it stops, and says so.
pub(crate) const MOST_ENTRIES: usize = 200_000;

/// Bytes and lines of a `.gitignore` that are heeded.
const MOST_RULES: (u64, usize) = (64 << 10, 2_000);

/// Folders that others made.
const MADE: &[&str] = &[".git", "node_modules", "target"];

/// Hidden names that tell something of a project.
const SHOWN: &[&str] = &[
    ".cargo",
    ".ci",
    ".circleci",
    ".clippy.toml",
    ".devcontainer",
    ".dockerignore",
    ".editorconfig",
    ".forgejo",
    ".gitattributes",
    ".gitea",
    ".github",
    ".gitignore",
    ".gitlab",
    ".gitlab-ci.yml",
    ".gitmodules",
    ".nvmrc",
    ".pre-commit-config.yaml",
    ".python-version",
    ".rustfmt.toml",
    ".tool-versions",
];

/// What to do after an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Go on; into it, if it is a folder.
    Into,
    /// Go on, not into it.
    Past,
    /// Do not go on.
    Stop,
}

/// An entry of a walk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walked<'a> {
    /// Its path, relative to the root.
    pub(crate) path: &'a Path,
    /// What it is.
    pub(crate) kind: EntryKind,
    /// How far beneath the folder where the walk began: from 1.
    pub(crate) depth: usize,
}

/// What a walk did not show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Entries that were looked at.
    pub(crate) looked_at: usize,
    /// Those of them that were passed over.
    pub(crate) passed_over: usize,
    /// Folders that could not be opened.
    pub(crate) unreadable: usize,
    /// Whether it stopped before the end.
    pub(crate) is_cut: bool,
}

impl Tally {
    /// Adds what another walk did not show.
    pub(crate) fn add(&mut self, other: &Self) {
        self.looked_at += other.looked_at;
        self.passed_over += other.passed_over;
        self.unreadable += other.unreadable;
        self.is_cut |= other.is_cut;
    }

    /// What of this an asker should know.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_cut {
            notes.push(format!(
                "it stopped after {} entries and there are more: ask for a folder beneath",
                self.looked_at
            ));
        }
        if self.passed_over > 0 {
            notes.push(format!(
                "{} entries were passed over: hidden, in a .gitignore, or .git, node_modules, target; `list_project` \
                 names all",
                self.passed_over
            ));
        }
        if self.unreadable > 0 {
            notes.push(format!("{} folders could not be opened", self.unreadable));
        }
        notes
    }
}

/// The `.gitignore` of a folder, and of those above it.
struct Rules {
    own: Gitignore,
    above: Option<Arc<Self>>,
}

impl Rules {
    /// Whether they pass an entry over: the nearest one that says anything of it counts.
    fn pass_over(&self, path: &Path, is_folder: bool) -> bool {
        let mut rules = Some(self);
        while let Some(now) = rules {
            match now.own.matched(path, is_folder) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => rules = now.above.as_deref(),
            }
        }
        false
    }
}

/// A folder that the walk is in.
struct Level {
    path: PathBuf,
    entries: IntoIter<Named>,
    rules: Option<Arc<Rules>>,
}

/// Walks through a folder and all that is beneath it. A folder that is named is walked through even where a walk from
/// above would pass it over.
///
/// # Errors
/// [`Problem`] when the folder cannot be opened. Folders beneath it that cannot are counted.
pub(crate) fn walk(
    place: &Place<'_>,
    stop: &CancellationToken,
    visit: &mut dyn FnMut(&Walked<'_>) -> Step,
) -> Result<Tally, Problem> {
    walk_and(place, stop, &|_| false, visit)
}

/// As [`walk`], and files that it would pass over are visited where they are wanted.
///
/// # Errors
/// As [`walk`].
pub(crate) fn walk_and(
    place: &Place<'_>,
    stop: &CancellationToken,
    is_wanted: &dyn Fn(&Path) -> bool,
    visit: &mut dyn FnMut(&Walked<'_>) -> Step,
) -> Result<Tally, Problem> {
    let (beneath, start) = (&place.beneath, place.real()?);
    let (mut tally, mut listed) = (Tally::default(), 0);
    let mut rules = None;
    let mut above: Vec<&Path> = start.ancestors().skip(1).collect();
    above.reverse();
    for folder in above {
        rules = rules_of(beneath, folder, rules);
    }
    let first = level(beneath, &start, rules, &mut listed, &mut tally);
    let mut levels = vec![first.map_err(|error| refused(&place.shown(), &error))?];
    loop {
        let depth = levels.len();
        let Some(level_now) = levels.last_mut() else { break };
        if stop.is_cancelled() {
            tally.is_cut = true;
            break;
        }
        let Some(named) = level_now.entries.next() else {
            levels.pop();
            continue;
        };
        let path = level_now.path.join(&named.name);
        let rules = level_now.rules.clone();
        let is_folder = named.kind == EntryKind::Folder;
        tally.looked_at += 1;
        let is_asked_for = named.kind == EntryKind::File && is_wanted(&path);
        if !is_asked_for && is_passed_over(&named, &path, rules.as_deref()) {
            tally.passed_over += 1;
            continue;
        }
        let step = visit(&Walked {
            path: &path,
            kind: named.kind,
            depth,
        });
        match step {
            Step::Stop => break,
            Step::Into if is_folder => match level(beneath, &path, rules, &mut listed, &mut tally) {
                Ok(level) => levels.push(level),
                Err(_) => tally.unreadable += 1,
            },
            Step::Into | Step::Past => {}
        }
    }
    Ok(tally)
}

/// A folder's entries, and the rules that are for them. What waits on all levels together is bounded.
fn level(
    beneath: &Beneath,
    path: &Path,
    above: Option<Arc<Rules>>,
    listed: &mut usize,
    tally: &mut Tally,
) -> io::Result<Level> {
    let room = MOST_ENTRIES.saturating_sub(*listed);
    let (entries, has_more) = beneath.pin(path, Links::Never)?.list(room)?;
    *listed += entries.len();
    tally.is_cut |= has_more;
    let has_rules = entries.iter().any(|entry| entry.name == ".gitignore");
    Ok(Level {
        path: path.to_owned(),
        entries: entries.into_iter(),
        rules: match has_rules {
            true => rules_of(beneath, path, above),
            false => above,
        },
    })
}

fn is_passed_over(named: &Named, path: &Path, rules: Option<&Rules>) -> bool {
    let is_folder = named.kind == EntryKind::Folder;
    let is_any = |names: &[&str]| names.iter().any(|name| named.name == **name);
    let is_hidden = named.name.as_encoded_bytes().starts_with(b".");
    (is_hidden && !is_any(SHOWN))
        || (is_folder && is_any(MADE))
        || rules.is_some_and(|rules| rules.pass_over(path, is_folder))
}

/// The rules for what is in a folder: those in it, then those above.
fn rules_of(beneath: &Beneath, folder: &Path, above: Option<Arc<Rules>>) -> Option<Arc<Rules>> {
    let Some(text) = rules_text(beneath, &folder.join(".gitignore")) else {
        return above;
    };
    let mut rules = GitignoreBuilder::new(folder);
    for line in text.trim_start_matches('\u{feff}').lines().take(MOST_RULES.1) {
        // A line that is no pattern is passed over, as git does.
        let _ = rules.add_line(None, line);
    }
    match rules.build() {
        Ok(own) if !own.is_empty() => Some(Arc::new(Rules { own, above })),
        _ => above,
    }
}

/// The text of a `.gitignore`. Git follows no link to one either.
fn rules_text(beneath: &Beneath, path: &Path) -> Option<String> {
    let file = beneath.pin(path, Links::Never).ok()?.open().ok()?;
    let mut bytes = Vec::new();
    file.take(MOST_RULES.0).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Root};
    use crate::roots::Roots;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn with(files: &[(&str, &str)]) -> (TempDir, Roots) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let roots = Roots::of(&Config {
            roots: vec![Root {
                name: "home".to_owned(),
                path: folder.path().to_owned(),
            }],
            ..Config::default()
        });
        (folder, roots)
    }

    fn seen(roots: &Roots, path: &str) -> (Vec<String>, Tally) {
        let mut seen = Vec::new();
        let tally = walk(
            &roots.place(path).unwrap(),
            &CancellationToken::new(),
            &mut |walked| {
                seen.push(format!("{} {}", walked.depth, walked.path.display()));
                Step::Into
            },
        );
        (seen, tally.unwrap())
    }

    #[test]
    fn the_order_is_that_of_the_names() {
        let (folder, roots) = with(&[("b/2", ""), ("b/1", ""), ("c", ""), ("a", ""), ("B/x", "")]);
        symlink("b", folder.path().join("d")).unwrap();
        let expected = ["1 B", "2 B/x", "1 a", "1 b", "2 b/1", "2 b/2", "1 c", "1 d"];
        for _ in 0..3 {
            assert_eq!(seen(&roots, "home").0, expected);
        }
        assert_eq!(seen(&roots, "home/b").0, ["1 b/1", "1 b/2"]);
        assert_eq!(
            seen(&roots, "home/d").0,
            ["1 b/1", "1 b/2"],
            "the link that is named is followed"
        );
    }

    #[test]
    fn what_gitignore_says_is_passed_over() {
        let (_folder, roots) = with(&[
            (".gitignore", "*.log\nbuild/\n/only_here\n[\n"),
            ("a.log", ""),
            ("build/made", ""),
            ("only_here", ""),
            ("sub/only_here", ""),
            ("sub/b.log", ""),
            ("sub/kept/.gitignore", "!c.log"),
            ("sub/kept/c.log", ""),
            (".git/HEAD", ""),
            (".github/ci.yml", ""),
            (".hidden", ""),
            ("node_modules/x/package.json", ""),
        ]);
        let (paths, tally) = seen(&roots, "home");
        let expected = [
            "1 .github",
            "2 .github/ci.yml",
            "1 .gitignore",
            "1 sub",
            "2 sub/kept",
            "3 sub/kept/.gitignore",
            "3 sub/kept/c.log",
            "2 sub/only_here",
        ];
        assert_eq!(paths, expected);
        assert_eq!((tally.passed_over, tally.is_cut), (7, false));
        let (beneath, _) = seen(&roots, "home/sub");
        assert!(!beneath.contains(&"1 sub/b.log".to_owned()), "{beneath:?}");
        assert_eq!(seen(&roots, "home/build").0, ["1 build/made"], "it was named");
    }

    #[test]
    fn a_gitignore_that_is_a_pipe_or_a_link_is_not_opened() {
        let (folder, roots) = with(&[("a", ""), ("sub/b", "")]);
        symlink("/dev/zero", folder.path().join(".gitignore")).unwrap();
        let pipe = folder.path().join("sub/.gitignore");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let expected = ["1 .gitignore", "1 a", "1 sub", "2 sub/.gitignore", "2 sub/b"];
        assert_eq!(seen(&roots, "home").0, expected);
    }

    #[test]
    fn a_walk_that_nobody_waits_for_ends() {
        let (_folder, roots) = with(&[("a", ""), ("b", "")]);
        let stop = CancellationToken::new();
        let mut count = 0;
        let tally = walk(&roots.place("home").unwrap(), &stop, &mut |_| {
            count += 1;
            stop.cancel();
            Step::Into
        });
        assert_eq!((count, tally.unwrap().is_cut), (1, true));
    }

    #[test]
    fn a_file_is_no_folder_to_walk_through() {
        let (_folder, roots) = with(&[("a", "")]);
        let walked = walk(
            &roots.place("home/a").unwrap(),
            &CancellationToken::new(),
            &mut |_| Step::Into,
        );
        assert!(walked.unwrap_err().detail.contains("is no folder"));
    }
}
