//! Git histories, compared with what git itself lists: generated ones with everything that is hard to follow, and
//! the ways in which a repository changes between two runs.

use crate::it::lab::{Lab, count, program, rerun_is_quiet, values};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// All repositories below `src`, as a pipeline.
const CODE: &str = "[[pipeline]]\nname = \"code\"\nsource = { kind = \"git\", paths = [\"src\"] }\n";

/// Runs git in a repository of the lab, and gives what it says.
pub fn git(repository: &Path, arguments: &[&str]) -> String {
    let mut git = program("git");
    git.arg("-C").arg(repository).args(arguments);
    for (name, value) in [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_AUTHOR_NAME", "Ada"),
        ("GIT_AUTHOR_EMAIL", "ada@example.org"),
        ("GIT_COMMITTER_NAME", "Ada"),
        ("GIT_COMMITTER_EMAIL", "ada@example.org"),
        ("GIT_ALLOW_PROTOCOL", "file"),
    ] {
        git.env(name, value);
    }
    let output = git.output().unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A new repository in the lab.
pub fn init(lab: &Lab, name: &str) -> std::path::PathBuf {
    let path = lab.path(name);
    fs::create_dir_all(&path).unwrap();
    git(&path, &["init", "--quiet", "-b", "main"]);
    path
}

/// A commit that sets a file.
pub fn commit(repository: &Path, file: &str, text: &str) -> String {
    fs::write(repository.join(file), text).unwrap();
    git(repository, &["add", "-A"]);
    git(
        repository,
        &["commit", "--quiet", "-m", &format!("Change {file}")],
    );
    git(repository, &["rev-parse", "HEAD"])
}

/// Fills a repository with a generated history.
fn generate(repository: &Path, seed: &str, commits: &str, more: &[&str]) {
    let mut generator = fixtures::corpus::oracle("make_repository.py");
    let mut generator = generator
        .args([seed, commits])
        .args(more)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let imported = program("git")
        .arg("-C")
        .arg(repository)
        .args(["fast-import", "--quiet", "--done"])
        .stdin(generator.stdout.take().unwrap())
        .status()
        .unwrap();
    assert!(imported.success() && generator.wait().unwrap().success());
}

/// Asserts that the rows of a repository are what git lists.
fn equals_git(lab: &Lab, repository: &Path, name: &str) -> Value {
    for table in ["git_commits", "git_file_changes"] {
        let query = format!("SELECT * FROM {table} WHERE repository = '{name}'");
        let to = format!("{table}.ndjson");
        lab.output(&["export", "--force", "--query", &query, "--to", &to]);
    }
    let mut oracle = fixtures::corpus::oracle("git_oracle.py");
    oracle.arg(repository).args([
        lab.path("git_commits.ndjson"),
        lab.path("git_file_changes.ndjson"),
    ]);
    let found = values(oracle).remove(0);
    assert_eq!(found["differing"], 0, "{found:#}");
    found
}

#[test]
fn a_history_with_everything_hard_is_what_git_lists() {
    let lab = Lab::new(CODE);
    let repository = init(&lab, "src/hard");
    generate(&repository, "3", "300", &[]);
    git(&repository, &["config", "core.quotePath", "false"]);
    lab.write(
        "src/hard/.git/info/attributes",
        "*.md binary\nsrc/*.c diff\n*.txt diff=words\n",
    );
    let run = lab.run();
    let found = equals_git(&lab, &repository, "hard");
    assert_eq!(found["commits"], 300);
    assert!(found["changes"].as_u64() > Some(1_000), "{found:#}");
    assert_eq!(count(&run, "items_stored"), 301, "300 commits, a repository");
    rerun_is_quiet(&lab);
    lab.is_whole();
    for wanted in ["renamed", "type_changed", "deleted"] {
        let rows = lab.number(&format!(
            "SELECT count(*) FROM git_file_changes WHERE change = '{wanted}'"
        ));
        assert!(rows > 0, "{wanted}");
    }
}

#[test]
fn later_runs_follow_pushes_forced_pushes_and_deleted_branches() {
    let lab = Lab::new(CODE);
    let repository = init(&lab, "src/tool");
    for n in 0..5 {
        commit(&repository, "a.txt", &format!("{n}\n"));
    }
    git(&repository, &["checkout", "--quiet", "-b", "side"]);
    commit(&repository, "side.txt", "one\n");
    git(&repository, &["checkout", "--quiet", "main"]);
    lab.run();
    equals_git(&lab, &repository, "tool");

    // Some more, and a merge: only they are read.
    git(&repository, &["merge", "--quiet", "--no-ff", "--no-edit", "side"]);
    commit(&repository, "b.txt", "b\n");
    let run = lab.run();
    assert_eq!(
        count(&run, "items_stored"),
        3,
        "two commits, the repository: {run:#}"
    );
    equals_git(&lab, &repository, "tool");

    // Rewritten, and what was there before is gone for good.
    git(&repository, &["reset", "--quiet", "--hard", "HEAD~3"]);
    git(&repository, &["branch", "-D", "side"]);
    commit(&repository, "c.txt", "c\n");
    git(&repository, &["reflog", "expire", "--expire=now", "--all"]);
    git(&repository, &["gc", "--quiet", "--prune=now"]);
    let run = lab.run();
    assert_eq!(count(&run, "items_vanished"), 4, "{run:#}");
    let found = equals_git(&lab, &repository, "tool");
    assert_eq!(found["commits"], 5);
    rerun_is_quiet(&lab);

    // A branch that only a reference kept.
    git(&repository, &["checkout", "--quiet", "-b", "short", "HEAD~1"]);
    let lost = commit(&repository, "d.txt", "d\n");
    git(&repository, &["checkout", "--quiet", "main"]);
    lab.run();
    assert_eq!(
        lab.number(&format!(
            "SELECT count(*) FROM git_commits WHERE commit = '{lost}'"
        )),
        1
    );
    git(&repository, &["branch", "-D", "short"]);
    let run = lab.run();
    assert_eq!(count(&run, "items_vanished"), 1, "{run:#}");
    equals_git(&lab, &repository, "tool");

    // An address that the mailmap corrects, in commits that are there already.
    commit(
        &repository,
        ".mailmap",
        "Ada Lovelace <ada@lovelace.example> <ada@example.org>\n",
    );
    lab.run();
    equals_git(&lab, &repository, "tool");
    assert_eq!(
        lab.value("SELECT DISTINCT author_name FROM git_commits"),
        "Ada Lovelace"
    );
    rerun_is_quiet(&lab);
    lab.is_whole();

    // The folder goes, and its rows with it. One that is left empty might be one that is not mounted.
    lab.write("src/README", "What I work on.\n");
    fs::remove_dir_all(&repository).unwrap();
    lab.run();
    for table in [
        "git_commits",
        "git_file_changes",
        "git_repositories",
        "git_branches",
    ] {
        assert_eq!(lab.number(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
}

#[test]
fn repositories_of_all_kinds_are_found_once() {
    let lab = Lab::new(CODE);
    let origin = init(&lab, "src/origin");
    for n in 0..4 {
        commit(&origin, "a.txt", &format!("{n}\n"));
    }
    let url = format!("file://{}", origin.display());
    let at = |name: &str| lab.path(name).display().to_string();
    git(
        &origin,
        &["clone", "--quiet", "--bare", &url, &at("src/group/bare.git")],
    );
    git(&origin, &["clone", "--quiet", &url, &at("src/group/clone")]);
    git(
        &origin,
        &["clone", "--quiet", "--depth", "2", &url, &at("src/shallow")],
    );
    git(
        &origin,
        &["worktree", "add", "--quiet", &at("src/linked"), "-b", "linked"],
    );
    commit(&lab.path("src/linked"), "linked.txt", "here\n");
    let clone = lab.path("src/group/clone");
    commit(&clone, "mine.txt", "mine\n");
    git(&clone, &["submodule", "--quiet", "add", &url, "module"]);
    git(&clone, &["commit", "--quiet", "-m", "Take in a module"]);
    commit(&origin, "b.txt", "b\n");
    git(&clone, &["fetch", "--quiet"]);
    fs::write(clone.join("a.txt"), "changed\n").unwrap();
    git(
        &clone,
        &[
            "remote",
            "set-url",
            "origin",
            "https://me:secret@git.example.org/origin.git",
        ],
    );
    std::os::unix::fs::symlink("..", lab.path("src/group/loop")).unwrap();

    lab.run();
    let names = lab.sql("SELECT repository FROM git_repositories ORDER BY 1");
    let names: Vec<&str> = names
        .iter()
        .map(|row| row["repository"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "group/bare.git",
            "group/clone",
            "group/clone/module",
            "origin",
            "shallow"
        ]
    );
    for (name, path) in [
        ("group/bare.git", "src/group/bare.git"),
        ("group/clone", "src/group/clone"),
        ("group/clone/module", "src/group/clone/module"),
        ("origin", "src/origin"),
        ("shallow", "src/shallow"),
    ] {
        equals_git(&lab, &lab.path(path), name);
    }
    let row = &lab.sql("SELECT * FROM git_repositories WHERE repository = 'group/clone'")[0];
    for (column, value) in [
        ("ahead", Value::from(2)),
        ("behind", Value::from(1)),
        ("is_dirty", Value::from(true)),
        ("is_bare", Value::from(false)),
        ("head_branch", Value::from("main")),
        ("upstream", Value::from("origin/main")),
        ("remote_url", Value::from("https://git.example.org/origin.git")),
    ] {
        assert_eq!(row[column], value, "{column}: {row:#}");
    }
    let shallow = "SELECT count(*) FROM git_commits WHERE repository = 'shallow'";
    assert_eq!(lab.number(shallow), 2);
    rerun_is_quiet(&lab);

    // What the clone lacked comes in, and the commit at its border is compared with its parent now.
    git(&lab.path("src/shallow"), &["fetch", "--quiet", "--unshallow"]);
    lab.run();
    equals_git(&lab, &lab.path("src/shallow"), "shallow");
    lab.is_whole();
}

#[test]
fn a_broken_repository_is_rejected_and_the_others_are_read() {
    let lab = Lab::new(CODE);
    let good = init(&lab, "src/good");
    commit(&good, "a.txt", "a\n");
    let broken = init(&lab, "src/broken");
    for n in 0..3 {
        commit(&broken, "a.txt", &format!("{n}\n"));
    }
    // The tree of the second commit is not there, nor what a branch leads to.
    let tree = git(&broken, &["rev-parse", "HEAD~1^{tree}"]);
    fs::remove_file(broken.join(".git/objects").join(&tree[..2]).join(&tree[2..])).unwrap();
    fs::write(
        broken.join(".git/refs/heads/nowhere"),
        format!("{}\n", "1".repeat(40)),
    )
    .unwrap();
    fs::write(broken.join(".git/refs/heads/garbled"), "nonsense").unwrap();
    let odd = init(&lab, "src/odd");
    fs::write(odd.join(".git/HEAD"), "nonsense").unwrap();

    let runs = lab.json(&["run"]);
    let run = &runs["runs"][0];
    crate::it::lab::adds_up(run);
    assert_eq!(run["state"], "partly_succeeded", "{run:#}");
    assert!(
        run["warnings"].as_array().unwrap().is_empty(),
        "`rejects` alone names what is broken: {run:#}"
    );
    let rejects = lab.sql("SELECT item, reason FROM rejects ORDER BY item");
    let items: Vec<&str> = rejects.iter().map(|row| row["item"].as_str().unwrap()).collect();
    // The second commit and the third, which is compared with it; the branches; the repository with no HEAD.
    assert_eq!(
        items.iter().filter(|item| item.starts_with("broken@")).count(),
        2,
        "{items:?}"
    );
    for branch in ["nowhere", "garbled"] {
        let item = format!("broken:refs/heads/{branch}");
        assert!(items.contains(&item.as_str()), "{items:?}");
    }
    assert!(items.iter().any(|item| item.contains("odd")), "{items:?}");
    equals_git(&lab, &good, "good");
    let rows = "SELECT count(*) FROM git_commits WHERE repository = 'broken'";
    assert_eq!(lab.number(rows), 1);
    lab.is_whole();
}
