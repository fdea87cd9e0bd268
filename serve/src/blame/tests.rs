//! Blame, beside `git blame` over real repositories.

use super::*;
use fixtures::git::git;
use std::fs;
use std::sync::Arc;
use tokio::sync::Mutex;

pub(super) fn init(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    git(folder, 0, &["init", "--quiet", "-b", "main"]);
}

pub(super) fn commit(folder: &Path, second: usize, file: &str, text: &[u8]) {
    fs::write(folder.join(file), text).unwrap();
    git(folder, second, &["add", "-A"]);
    git(folder, second, &["commit", "--quiet", "-m", "Change"]);
}

/// A file that many commits changed here and there, and one renamed. No line is there twice, so that there is one way to
/// compare two versions of it.
fn history(folder: &Path) {
    init(folder);
    let mut lines: Vec<String> = (0..20).map(|n| format!("first {n}\n")).collect();
    for second in 1..40 {
        let at = second * 7 % (lines.len() + 1);
        lines.insert(at, format!("line {second}\n"));
        if second % 3 == 0 {
            lines.remove(second * 5 % lines.len());
        }
        let file = if second < 20 { "old name.txt" } else { "new.txt" };
        if second == 20 {
            git(folder, second, &["mv", "old name.txt", "new.txt"]);
        }
        commit(folder, second, file, lines.concat().as_bytes());
    }
}

fn asked(repository: &Path, file: &str) -> Asked {
    Asked {
        repository: repository.to_owned(),
        secret_folders: Vec::new(),
        file: file.to_owned(),
        revision: "HEAD".to_owned(),
        from_line: 1,
        lines: 2_000,
    }
}

/// What is known of a history that was never read.
fn unread() -> OwnedMutexGuard<History> {
    Arc::<Mutex<History>>::default().try_lock_owned().unwrap()
}

fn ask(asked: &Asked) -> Result<Blamed, Problem> {
    blame(asked, unread(), &CancellationToken::new())
}

/// Commit and text of each line.
fn lines_of(blamed: &Blamed) -> Vec<(String, String)> {
    let runs = blamed.runs.iter();
    runs.flat_map(|run| {
        let lines: Vec<_> = run
            .text
            .split_inclusive('\n')
            .map(|line| (run.commit.clone(), line.trim_end_matches('\n').to_owned()))
            .collect();
        assert_eq!(lines.len(), run.until - run.from + 1);
        lines
    })
    .collect()
}

/// The same, as git says it.
fn lines_by_git(folder: &Path, arguments: &[&str]) -> Vec<(String, String)> {
    let arguments: Vec<&str> = ["blame", "--porcelain"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let mut commit = String::new();
    let mut lines = Vec::new();
    for line in git(folder, 0, &arguments).lines() {
        match line.strip_prefix('\t') {
            Some(text) => lines.push((commit.clone(), text.to_owned())),
            None => {
                let first = line.split(' ').next().unwrap();
                if first.len() == 40 && first.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    commit = first.to_owned();
                }
            }
        }
    }
    lines
}

#[test]
fn each_line_has_the_commit_that_git_gives_it() {
    let folder = tempfile::tempdir().unwrap();
    history(folder.path());
    let blamed = ask(&asked(folder.path(), "new.txt")).unwrap();
    let lines = lines_of(&blamed);
    assert_eq!(lines.len(), blamed.lines_total);
    assert_eq!(lines, lines_by_git(folder.path(), &["HEAD", "--", "new.txt"]));
    assert_eq!(blamed.next_line, None);
    let renamed = blamed.runs.iter().filter(|run| run.old_path.is_some());
    assert!(renamed.count() > 0, "no line is older than the rename");
    let newest = blamed
        .runs
        .iter()
        .find(|run| run.text.contains("line 38\n"))
        .unwrap();
    assert_eq!(newest.author, "Author 2");
    assert_eq!(newest.at.as_deref(), Some("2023-11-14T22:13:58Z"));
}

#[test]
fn some_lines_of_an_older_version() {
    let folder = tempfile::tempdir().unwrap();
    history(folder.path());
    let some = Asked {
        revision: "main~5".to_owned(),
        from_line: 4,
        lines: 6,
        ..asked(folder.path(), "new.txt")
    };
    let blamed = ask(&some).unwrap();
    let by_git = lines_by_git(folder.path(), &["-L", "4,9", "main~5", "--", "new.txt"]);
    assert_eq!(lines_of(&blamed), by_git);
    assert_eq!(
        blamed.commit,
        git(folder.path(), 0, &["rev-parse", "main~5"]).trim()
    );
    assert_eq!(blamed.runs[0].from, 4);
    assert_eq!(blamed.next_line, Some(10));
    let beyond = Asked {
        from_line: 4_000,
        ..some
    };
    let blamed = ask(&beyond).unwrap();
    assert!(blamed.runs.is_empty());
    assert_eq!(blamed.next_line, None);
}

#[test]
fn lines_of_both_sides_of_a_merge() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    init(path);
    commit(path, 1, "a", b"one\ntwo\nthree\nfour\nfive\n");
    git(path, 2, &["switch", "--quiet", "-c", "side"]);
    commit(path, 2, "a", b"ONE\ntwo\nthree\nfour\nfive\n");
    git(path, 3, &["switch", "--quiet", "main"]);
    commit(path, 3, "a", b"one\ntwo\nthree\nfour\nFIVE\n");
    git(path, 4, &["merge", "--quiet", "--no-edit", "side"]);
    let blamed = ask(&asked(path, "a")).unwrap();
    assert_eq!(lines_of(&blamed), lines_by_git(path, &["HEAD", "--", "a"]));
    let commits: std::collections::BTreeSet<_> = blamed.runs.iter().map(|run| &run.commit).collect();
    assert_eq!(commits.len(), 3);
}

#[test]
fn history_of_a_shallow_clone_begins_at_its_border() {
    let folder = tempfile::tempdir().unwrap();
    let (full, shallow) = (folder.path().join("full"), folder.path().join("shallow"));
    history(&full);
    let from = format!("file://{}", full.display());
    git(
        folder.path(),
        0,
        &[
            "clone",
            "--quiet",
            "--depth",
            "5",
            &from,
            shallow.to_str().unwrap(),
        ],
    );
    let blamed = ask(&asked(&shallow, "new.txt")).unwrap();
    let by_git = lines_by_git(&shallow, &["HEAD", "--", "new.txt"]);
    assert_eq!(lines_of(&blamed), by_git);
}

#[test]
fn a_bare_repository_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let (full, bare) = (folder.path().join("full"), folder.path().join("bare.git"));
    history(&full);
    git(
        folder.path(),
        0,
        &[
            "clone",
            "--quiet",
            "--bare",
            full.to_str().unwrap(),
            bare.to_str().unwrap(),
        ],
    );
    let blamed = ask(&asked(&bare, "new.txt")).unwrap();
    assert_eq!(lines_of(&blamed), lines_by_git(&full, &["HEAD", "--", "new.txt"]));
}

#[test]
fn what_configuration_and_attributes_name_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    history(folder.path());
    let trace = folder.path().join("it-ran");
    let touch = format!("touch '{}'; cat", trace.display());
    for key in [
        "diff.x.command",
        "diff.x.textconv",
        "filter.x.smudge",
        "core.fsmonitor",
    ] {
        git(folder.path(), 0, &["config", key, &touch]);
    }
    fs::write(
        folder.path().join(".git/info/attributes"),
        "*.txt diff=x filter=x\n",
    )
    .unwrap();
    let blamed = ask(&asked(folder.path(), "new.txt")).unwrap();
    assert!(!blamed.runs.is_empty());
    assert!(!trace.exists(), "a program of the configuration was run");
}

#[test]
fn what_is_no_text_of_the_commit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    init(path);
    fs::create_dir(path.join("sub")).unwrap();
    fs::write(path.join("sub/.env"), "TOKEN=x\n").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", path.join("link")).unwrap();
    commit(path, 1, "binary", b"a\0b\n");
    commit(path, 2, "sub/empty", b"");
    fs::write(path.join("untracked"), "x\n").unwrap();
    let kind = |file: &str| ask(&asked(path, file)).map(|_| ()).unwrap_err().kind;
    for file in [
        "untracked",
        "none",
        "../x",
        "/etc/hostname",
        "sub/../binary",
        "binary/x",
    ] {
        assert_eq!(kind(file), Kind::NotFound, "{file}");
    }
    for file in ["sub", "link", "binary"] {
        assert_eq!(kind(file), Kind::Unprocessable, "{file}");
    }
    for file in ["sub/.env", ".git/HEAD"] {
        assert_eq!(kind(file), Kind::Forbidden, "{file}");
    }
    assert_eq!(ask(&asked(path, "sub/empty")).unwrap().lines_total, 0);
    let within = Asked {
        secret_folders: vec![path.join("sub")],
        ..asked(path, "sub/empty")
    };
    assert_eq!(ask(&within).unwrap_err().kind, Kind::Forbidden);
    let at = |revision: &str| Asked {
        revision: revision.to_owned(),
        ..asked(path, "sub/empty")
    };
    assert_eq!(ask(&at("none")).unwrap_err().kind, Kind::NotFound);
    assert_eq!(ask(&at("HEAD~9")).unwrap_err().kind, Kind::NotFound);
    for revision in ["HEAD:sub", ":/Change", "HEAD^{/Change}", "@{1}", "HEAD~1..HEAD"] {
        assert_eq!(
            ask(&at(revision)).unwrap_err().kind,
            Kind::Unprocessable,
            "{revision}"
        );
    }
}

#[test]
fn what_is_not_wanted_any_more_ends() {
    let folder = tempfile::tempdir().unwrap();
    history(folder.path());
    let cancel = CancellationToken::new();
    cancel.cancel();
    let ended = blame(&asked(folder.path(), "new.txt"), unread(), &cancel);
    assert_eq!(ended.unwrap_err().kind, Kind::Unavailable);
}

#[test]
fn as_much_text_as_there_is_room_for() {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path());
    let long = "x".repeat(MOST_TEXT + 10);
    commit(folder.path(), 1, "a", format!("short\n{long}\nlast\n").as_bytes());
    let mut next = Some(1);
    let mut texts = Vec::new();
    while let Some(from) = next {
        let part = Asked {
            from_line: u32::try_from(from).unwrap(),
            ..asked(folder.path(), "a")
        };
        let blamed = ask(&part).unwrap();
        texts.extend(blamed.runs.iter().map(|run| run.text.len()));
        next = blamed.next_line;
    }
    assert_eq!(texts, [6, MOST_TEXT, 5]);
}

/// That a file is refused, and why.
fn refusal(folder: &Path, file: &str) -> String {
    let problem = ask(&asked(folder, file)).unwrap_err();
    assert_eq!(problem.kind, Kind::Forbidden, "{file}");
    problem.detail
}

#[test]
fn what_was_a_secret_is_one_in_all_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    init(path);
    let secret: String = (0..10).map(|n| format!("KEY {n}=hush\n")).collect();
    commit(path, 1, ".env", secret.as_bytes());
    git(path, 2, &["mv", ".env", "settings"]);
    commit(path, 2, "settings", secret.as_bytes());
    git(path, 3, &["mv", "settings", "conf"]);
    commit(path, 3, "conf", format!("{secret}own\n").as_bytes());
    commit(path, 4, "plain", b"told\n");

    let own = Asked {
        from_line: 11,
        lines: 1,
        ..asked(path, "conf")
    };
    assert_eq!(ask(&own).unwrap_err().kind, Kind::Forbidden);
    let why = refusal(path, "conf");
    assert!(
        why.contains("in some commit") && why.contains("looks like a secret"),
        "{why}"
    );
    assert_eq!(ask(&asked(path, "plain")).unwrap().runs[0].text, "told\n");
}

#[test]
fn what_a_merge_renamed_or_copied_is_a_secret_in_all_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    init(path);
    let secret: String = (0..10).map(|n| format!("KEY {n}=hush\n")).collect();
    fs::write(path.join("deploy.env"), "TOKEN=hush\n").unwrap();
    commit(path, 1, ".env", secret.as_bytes());
    git(path, 2, &["switch", "--quiet", "-c", "side"]);
    commit(path, 2, "side", b"new\n");
    git(path, 3, &["switch", "--quiet", "main"]);
    commit(path, 3, "plain", b"told\n");
    git(path, 4, &["merge", "--quiet", "--no-ff", "--no-commit", "side"]);
    git(path, 4, &["mv", ".env", "conf"]);
    fs::copy(path.join("deploy.env"), path.join("copy")).unwrap();
    commit(path, 4, "conf", format!("{secret}more\n").as_bytes());
    fs::write(path.join("copy"), "TOKEN=other\n").unwrap();
    commit(path, 5, "conf", format!("{secret}more\nown\n").as_bytes());

    refusal(path, "conf");
    refusal(path, "copy");
    assert_eq!(ask(&asked(path, "plain")).unwrap().runs[0].text, "told\n");
}
