//! Patches, beside `git show` over real repositories.

use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Mutex;

fn git(folder: &Path, arguments: &[&str]) -> String {
    fixtures::git::git(folder, 0, arguments)
}

fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "--quiet", "-b", "main"]);
    folder
}

fn write(folder: &Path, file: &str, text: impl AsRef<[u8]>) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Commits all that is there, and gives the id.
fn commit(folder: &Path) -> String {
    git(folder, &["add", "-A"]);
    git(
        folder,
        &["commit", "--quiet", "--allow-empty", "-m", "Change\n\nWhy."],
    );
    head(folder)
}

fn head(folder: &Path) -> String {
    git(folder, &["rev-parse", "HEAD"]).trim().to_owned()
}

fn numbered(lines: usize) -> String {
    (0..lines).map(|n| format!("line {n}\n")).collect()
}

/// The renames of a commit, as they are collected.
fn renames(folder: &Path, commit: &str) -> HashMap<String, String> {
    let said = git(
        folder,
        &["show", "-M", "--format=", "--name-status", "-z", commit],
    );
    let mut words = said.split('\0');
    let mut renames = HashMap::new();
    while let Some(status) = words.next().filter(|word| !word.is_empty()) {
        let path = words.next().unwrap().to_owned();
        if status.starts_with('R') {
            renames.insert(words.next().unwrap().to_owned(), path);
        }
    }
    renames
}

fn asked(folder: &Path, commit: &str) -> Asked {
    Asked {
        repository: folder.to_owned(),
        secret_folders: Vec::new(),
        commit: commit.to_owned(),
        file: None,
        renames: renames(folder, commit),
        lines: 5_000,
    }
}

/// What is known of a history that was never read.
fn unread() -> OwnedMutexGuard<History> {
    Arc::<Mutex<History>>::default().try_lock_owned().unwrap()
}

fn ask(asked: &Asked) -> Result<Patch, Problem> {
    patch(asked, unread(), &CancellationToken::new())
}

/// The whole patch of a commit.
fn whole(folder: &Path, commit: &str) -> String {
    let made = ask(&asked(folder, commit)).unwrap();
    assert_eq!(made.cut, None);
    made.text
}

/// The same, as git says it, without what is left out.
fn by_git(folder: &Path, commit: &str) -> String {
    let said = git(
        folder,
        &[
            "-c",
            "core.quotePath=false",
            "show",
            "--first-parent",
            "-M",
            "--format=",
            commit,
        ],
    );
    let lines = said.split_inclusive('\n');
    lines
        .filter(|line| !line.starts_with("index ") && !line.starts_with("similarity index "))
        .map(
            |line| match line.strip_prefix("@@ ").and_then(|rest| rest.split_once(" @@")) {
                Some((ranges, _)) => format!("@@ {ranges} @@\n"),
                None => line.to_owned(),
            },
        )
        .collect()
}

/// That a commit's patch is that of git, and says these lines.
fn same(folder: &Path, commit: &str, says: &[&str]) {
    let (ours, theirs) = (whole(folder, commit), by_git(folder, commit));
    assert_eq!(ours, theirs);
    for line in says {
        assert!(ours.lines().any(|said| said == *line), "{line:?} in {ours}");
    }
}

#[test]
fn files_that_come_change_and_go() {
    let folder = repository();
    let path = folder.path();
    write(path, "a.txt", numbered(40));
    write(path, "sub/b.txt", "one\n");
    write(path, "sub.txt", "x\n");
    write(path, "empty", "");
    let first = commit(path);
    same(
        path,
        &first,
        &["new file mode 100644", "@@ -0,0 +1,40 @@", "@@ -0,0 +1 @@"],
    );

    let text = numbered(40)
        .replace("line 3\n", "line three\n")
        .replace("line 20\n", "")
        .replace("line 38\n", "line 38\nand a half\n");
    write(path, "a.txt", text);
    write(path, "sub/b.txt", "one\ntwo\n");
    let second = commit(path);
    same(path, &second, &["-line 3", "+line three", "@@ -1 +1,2 @@"]);

    fs::remove_file(path.join("a.txt")).unwrap();
    fs::remove_file(path.join("empty")).unwrap();
    write(path, "sub/b.txt", "");
    let third = commit(path);
    same(
        path,
        &third,
        &["deleted file mode 100644", "+++ /dev/null", "@@ -1,2 +0,0 @@"],
    );

    let nothing = commit(path);
    same(path, &nothing, &[]);
}

#[test]
fn renames_modes_and_other_types() {
    let folder = repository();
    let path = folder.path();
    write(path, "old name.txt", numbered(30));
    write(path, "moved.txt", numbered(9));
    write(path, "tool.sh", "true\n");
    write(path, "kind", "a file\n");
    commit(path);

    fs::remove_file(path.join("old name.txt")).unwrap();
    write(path, "new name.txt", numbered(30).replace("line 7\n", "seven\n"));
    fs::create_dir(path.join("z")).unwrap();
    fs::rename(path.join("moved.txt"), path.join("z/moved.txt")).unwrap();
    fs::set_permissions(path.join("tool.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(path.join("kind")).unwrap();
    symlink("tool.sh", path.join("kind")).unwrap();
    let second = commit(path);
    same(
        path,
        &second,
        &[
            "rename from old name.txt",
            "--- a/old name.txt\t",
            "rename to z/moved.txt",
            "new mode 100755",
            "deleted file mode 100644",
            "new file mode 120000",
        ],
    );
}

#[test]
fn ends_of_lines_and_bytes_that_are_no_text() {
    let folder = repository();
    let path = folder.path();
    write(path, "no end", "one\ntwo");
    write(path, "windows", "one\r\ntwo\r\nthree\r\n");
    write(path, "latin", b"caf\xe9\nbar\n");
    write(path, "gr\u{fc}n \"x\".txt", "a\n");
    write(path, "image", b"\x89PNG\0\x01");
    same(
        path,
        &commit(path),
        &[
            "\\ No newline at end of file",
            "+caf\u{fffd}",
            "Binary files /dev/null and b/image differ",
        ],
    );

    write(path, "no end", "one\ntwo\n");
    write(path, "windows", "one\r\n2\r\nthree\n");
    write(path, "latin", b"caf\xe8\nbar\n");
    write(path, "gr\u{fc}n \"x\".txt", "b\n");
    write(path, "image", b"\x89PNG\0\x02");
    let second = commit(path);
    same(path, &second, &["Binary files a/image and b/image differ"]);
    assert!(whole(path, &second).contains("\n+2\r\n"));
}

#[test]
fn a_merge_is_compared_with_its_first_parent() {
    let folder = repository();
    let path = folder.path();
    write(path, "a", numbered(30));
    commit(path);
    git(path, &["switch", "--quiet", "-c", "side"]);
    write(path, "a", numbered(30).replace("line 2\n", "two\n"));
    write(path, "side", "new\n");
    commit(path);
    git(path, &["switch", "--quiet", "main"]);
    write(path, "a", numbered(30).replace("line 27\n", "27\n"));
    commit(path);
    git(path, &["merge", "--quiet", "--no-edit", "side"]);
    let merge = head(path);
    same(path, &merge, &["+two", "+new"]);
    assert!(!whole(path, &merge).contains("+27"));
}

#[test]
fn submodules_are_told_by_their_commits() {
    let folder = repository();
    let path = folder.path();
    let first = commit(path);
    git(
        path,
        &[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{first},module"),
        ],
    );
    git(path, &["commit", "--quiet", "-m", "Module"]);
    let line = format!("+Subproject commit {first}");
    same(path, &head(path), &["new file mode 160000", &line]);
}

#[test]
fn one_file_by_either_of_its_paths() {
    let folder = repository();
    let path = folder.path();
    write(path, "old", numbered(20));
    write(path, "other", "x\n");
    commit(path);
    git(path, &["mv", "old", "new"]);
    write(path, "new", numbered(20).replace("line 4\n", ""));
    write(path, "other", "y\n");
    let second = commit(path);
    let of = |file: &str| {
        ask(&Asked {
            file: Some(file.to_owned()),
            ..asked(path, &second)
        })
    };
    for file in ["old", "new"] {
        let text = of(file).unwrap().text;
        assert!(
            text.contains("rename to new") && text.contains("-line 4"),
            "{text}"
        );
        assert!(!text.contains("other"), "{text}");
    }
    assert_eq!(of("none").unwrap_err().kind, Kind::NotFound);
}

#[test]
fn what_is_too_much_is_left_out_and_counted() {
    let folder = repository();
    let path = folder.path();
    for n in 0..10 {
        write(path, &format!("file {n}"), numbered(5));
    }
    let id = commit(path);
    let all = whole(path, &id);
    let cut_at = |lines: usize| {
        let made = ask(&Asked {
            lines,
            ..asked(path, &id)
        });
        made.unwrap()
    };
    // Ten lines each: five of the file, five before them.
    for (lines, more) in [
        (15, "and 8 more files"),
        (20, "and 8 more files"),
        (1, "and 9 more files"),
    ] {
        let made = cut_at(lines);
        assert_eq!(made.text.lines().count(), lines);
        assert!(all.starts_with(&made.text));
        let cut = made.cut.unwrap();
        assert!(
            cut.contains(more) && cut.contains(&format!("after {lines} lines")),
            "{cut}"
        );
    }
    assert_eq!(cut_at(100).cut, None);

    write(path, "a long line", "x".repeat(MOST_TEXT));
    write(path, "zzz", "last\n");
    let made = ask(&asked(path, &commit(path))).unwrap();
    assert!(made.text.len() < MOST_TEXT);
    let cut = made.cut.unwrap();
    assert!(cut.contains("after 256 KiB, and 1 more files"), "{cut}");

    write(path, "large", vec![b'\n'; 5 << 20]);
    let text = whole(path, &commit(path));
    assert!(
        text.contains("Files /dev/null and b/large differ; more than 4 MiB are not compared"),
        "{text}"
    );
}

#[test]
fn secrets_are_named_and_never_shown() {
    let folder = repository();
    let path = folder.path();
    write(path, ".env", format!("TOKEN=hush\n{}", numbered(20)));
    write(path, "keys/inside", "hush\n");
    write(path, "plain", "told\n");
    let id = commit(path);
    let with_folder = |id: &str| Asked {
        secret_folders: vec![path.join("keys")],
        ..asked(path, id)
    };
    let text = ask(&with_folder(&id)).unwrap().text;
    assert!(text.contains("+told") && !text.contains("hush"), "{text}");
    assert_eq!(text.matches("\nwithheld: ").count(), 2, "{text}");
    assert!(
        text.contains("b/.env") && text.contains("b/keys/inside"),
        "{text}"
    );

    // What was a secret under its old name is one still.
    git(path, &["mv", ".env", "settings"]);
    write(path, "settings", format!("TOKEN=hush2\n{}", numbered(20)));
    let id = commit(path);
    let text = ask(&with_folder(&id)).unwrap().text;
    assert!(text.contains("rename to settings\nwithheld: "), "{text}");
    assert!(!text.contains("hush"), "{text}");

    // Also where no renames are known, as of a merge.
    write(path, ".env", "TOKEN=hush3\n");
    commit(path);
    git(path, &["switch", "--quiet", "-c", "side"]);
    git(path, &["mv", ".env", "moved"]);
    commit(path);
    git(path, &["switch", "--quiet", "main"]);
    git(path, &["merge", "--quiet", "--no-ff", "-m", "Merge", "side"]);
    let of_merge = Asked {
        renames: HashMap::new(),
        ..with_folder(&head(path))
    };
    let of_file = Asked {
        file: Some("moved".to_owned()),
        ..of_merge.clone()
    };
    for asked in [of_merge, of_file] {
        let text = ask(&asked).unwrap().text;
        assert!(text.contains("b/moved") && !text.contains("hush"), "{text}");
    }
}

#[test]
fn what_was_a_secret_is_withheld_after_its_rename_too() {
    let folder = repository();
    let path = folder.path();
    write(path, ".env", format!("TOKEN=hush\n{}", numbered(20)));
    commit(path);
    git(path, &["mv", ".env", "settings"]);
    commit(path);
    git(path, &["mv", "settings", "conf"]);
    commit(path);
    write(path, "conf", format!("TOKEN=hush2\n{}", numbered(20)));
    write(path, "plain", "told\n");
    let text = whole(path, &commit(path));
    assert!(text.contains("b/conf\nwithheld: it holds, or held"), "{text}");
    assert!(text.contains("+told") && !text.contains("hush"), "{text}");
}

#[test]
fn a_copy_of_a_secret_is_withheld_in_all_its_versions() {
    let folder = repository();
    let path = folder.path();
    write(path, ".env", "TOKEN=hush1\n");
    write(path, "copy in time", "TOKEN=hush1\n");
    let with_copy = commit(path);
    write(path, "copy", "TOKEN=hush1\n");
    let copied = commit(path);
    for n in 2..5 {
        write(path, "copy", format!("TOKEN=hush{n}\n"));
        let text = whole(path, &commit(path));
        assert!(!text.contains("hush"), "{text}");
    }
    // And a copy of that.
    write(path, "again", "TOKEN=hush4\n");
    let again = commit(path);
    write(path, "plain", "told\n");
    let last = commit(path);
    for id in [with_copy, copied, again] {
        let text = whole(path, &id);
        assert!(text.contains("withheld: ") && !text.contains("hush"), "{text}");
    }
    same(path, &last, &["+told"]);
}

#[test]
fn what_another_branch_tells_of_a_secret_counts() {
    let folder = repository();
    let path = folder.path();
    write(path, "plain", "told\n");
    commit(path);
    git(path, &["switch", "--quiet", "-c", "side"]);
    write(path, ".env", "TOKEN=hush\n");
    commit(path);
    git(path, &["switch", "--quiet", "main"]);
    write(path, "conf", "TOKEN=hush\n");
    let text = whole(path, &commit(path));
    assert!(text.contains("withheld: ") && !text.contains("hush"), "{text}");
}

#[test]
fn what_says_nothing_makes_no_other_file_a_secret() {
    let folder = repository();
    let path = folder.path();
    write(path, ".env", "");
    write(path, "secrets.json", "{}\n");
    write(path, "empty", "");
    write(path, "package.json", "{}\n");
    commit(path);
    git(path, &["rm", "--quiet", ".env", "secrets.json"]);
    write(path, "new", "told\n");
    write(path, "empty", "told too\n");
    write(path, "package.json", "{\"name\": \"told\"}\n");
    let text = whole(path, &commit(path));
    for line in ["+told", "+told too", "+{\"name\": \"told\"}"] {
        assert!(text.lines().any(|said| said == line), "{line}: {text}");
    }
}

/// A merge that is not committed yet.
fn begin_merge(folder: &Path) {
    git(folder, &["switch", "--quiet", "-c", "side"]);
    write(folder, "side", "new\n");
    commit(folder);
    git(folder, &["switch", "--quiet", "main"]);
    write(folder, "main", "new\n");
    commit(folder);
    git(folder, &["merge", "--quiet", "--no-ff", "--no-commit", "side"]);
}

#[test]
fn what_was_a_secret_is_withheld_after_a_merge_renamed_it() {
    let folder = repository();
    let path = folder.path();
    let secret = |n: usize| format!("TOKEN=hush{n}\n{}", numbered(20));
    write(path, "sub/.env", secret(1));
    commit(path);
    begin_merge(path);
    git(path, &["mv", "sub/.env", "settings"]);
    write(path, "settings", secret(2));
    // One secret may become two files.
    write(path, "sub/again", secret(1));
    let merge = commit(path);
    write(path, "settings", secret(3));
    write(path, "sub/again", secret(3));
    write(path, "plain", "told\n");
    let later = commit(path);
    git(path, &["mv", "settings", "conf"]);
    write(path, "conf", secret(4));
    let latest = commit(path);

    let of_merge = Asked {
        commit: merge,
        renames: HashMap::new(),
        ..asked(path, &later)
    };
    for (asked, names) in [
        (of_merge, ["b/settings", "b/sub/again"]),
        (asked(path, &later), ["b/settings", "b/sub/again"]),
        (asked(path, &latest), ["rename to conf", "rename from settings"]),
    ] {
        let text = ask(&asked).unwrap().text;
        assert!(names.iter().all(|name| text.contains(name)), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
    assert!(whole(path, &later).contains("+told"));
}

#[test]
fn a_secret_that_grew_while_it_was_renamed_is_one_still() {
    let folder = repository();
    let path = folder.path();
    let grown = |secret: &str, n: usize| format!("{}{secret}{}", numbered(n), numbered(90));
    write(path, ".env", "TOKEN=hush1\nPASSWORD=hush2");
    write(path, "old.env", "TOKEN=hush3\r\nPASSWORD=hush4\r\n");
    commit(path);
    begin_merge(path);
    git(path, &["mv", ".env", "merged"]);
    write(path, "merged", grown("TOKEN=hush1\nPASSWORD=hush2\n", 30));
    commit(path);
    git(path, &["mv", "old.env", "moved"]);
    write(path, "moved", grown("TOKEN=hush3\nPASSWORD=hush4\n", 40));
    write(path, "plain", "told\n");
    let moved = whole(path, &commit(path));
    assert!(moved.contains("+told") && !moved.contains("hush"), "{moved}");
    for secret in ["TOKEN=hush5\nPASSWORD=hush6\n", "TOKEN=hush7\nPASSWORD=hush8\n"] {
        write(path, "merged", grown(secret, 10));
        write(path, "moved", grown(secret, 20));
        let text = whole(path, &commit(path));
        assert_eq!(text.matches("\nwithheld: ").count(), 2, "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
}

#[test]
fn what_came_into_a_merge_with_a_parent_is_no_secret_of_another() {
    let folder = repository();
    let path = folder.path();
    write(path, ".env", format!("TOKEN=hush\n{}", numbered(20)));
    commit(path);
    begin_merge(path);
    commit(path);
    git(path, &["switch", "--quiet", "-c", "other"]);
    fs::remove_file(path.join(".env")).unwrap();
    commit(path);
    // As similar as a rename, and none.
    write(path, "example", format!("TOKEN=yours\n{}", numbered(20)));
    commit(path);
    git(path, &["switch", "--quiet", "main"]);
    write(path, "main", "newer\n");
    commit(path);
    git(path, &["merge", "--quiet", "--no-ff", "-m", "Merge", "other"]);
    write(path, "example", format!("TOKEN=told\n{}", numbered(20)));
    let id = commit(path);
    assert!(whole(path, &id).contains("+TOKEN=told"));
}

#[test]
fn nothing_that_configuration_names_is_run() {
    let folder = repository();
    let path = folder.path();
    write(path, "a.txt", "one\n");
    let id = commit(path);
    let trace = path.join("it-ran");
    let touch = format!("touch '{}'; cat", trace.display());
    for key in [
        "diff.x.command",
        "diff.x.textconv",
        "filter.x.smudge",
        "diff.external",
    ] {
        git(path, &["config", key, &touch]);
    }
    write(path, ".git/info/attributes", "*.txt diff=x filter=x\n");
    // Git itself would run it to tell the renames.
    let made = ask(&Asked {
        repository: path.to_owned(),
        secret_folders: Vec::new(),
        commit: id,
        file: None,
        renames: HashMap::new(),
        lines: 100,
    });
    assert!(made.unwrap().text.contains("+one"));
    assert!(!trace.exists(), "a program of the configuration was run");
}

#[test]
fn what_is_not_there_any_more_is_told() {
    let folder = repository();
    let path = folder.path();
    write(path, "a", "one\n");
    let first = commit(path);
    write(path, "a", "two\n");
    let second = commit(path);
    let asked = asked(path, &second);
    let of = |asked: &Asked| ask(asked).unwrap_err();

    let moved = Asked {
        repository: path.join("none"),
        ..asked.clone()
    };
    assert_eq!(of(&moved).kind, Kind::Unavailable);
    let unknown = Asked {
        commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        ..asked.clone()
    };
    assert_eq!(of(&unknown).kind, Kind::NotFound);
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert_eq!(
        patch(&asked, unread(), &cancel).unwrap_err().kind,
        Kind::Unavailable
    );

    assert!(ask(&asked).is_ok());
    let tree = git(path, &["rev-parse", &format!("{first}^{{tree}}")]);
    let (begin, end) = tree.trim().split_at(2);
    fs::remove_file(path.join(".git/objects").join(begin).join(end)).unwrap();
    let problem = of(&asked);
    assert_eq!(problem.kind, Kind::Unavailable);
    assert!(problem.detail.contains("cannot be read"), "{}", problem.detail);
}
