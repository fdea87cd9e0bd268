//! Several roots of one pipeline, of which one is gone for a while: the others are followed, and nothing of it is lost.

use crate::it::git::{commit, git, init};
use crate::it::lab::{self, Lab, adds_up, count, lake, rerun_is_quiet};
use crate::it::photos::sample;
use crate::it::sources::pipeline;
use serde_json::Value;
use std::fs;

/// Asserts that these warnings tell, once, that `away` is missing, why, and what to do.
fn tells(warnings: &[String], cause: &str) {
    let [warning] = warnings else {
        panic!("{warnings:#?}")
    };
    for words in ["/away` cannot be read: ", cause, "Mount its disk"] {
        assert!(warning.contains(words), "{warning}");
    }
}

/// Runs the only pipeline, which must do what it can and tell that `away` is missing, why, and what to do.
fn misses(lab: &Lab, cause: &str) -> Value {
    let said = lab.said(&["run", "--json"]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    let runs: Value = serde_json::from_str(&said.out).unwrap();
    let run = runs["runs"][0].clone();
    adds_up(&run);
    assert_eq!(run["state"], "partly_succeeded", "{run:#}");
    assert!(!said.err.contains("/away"), "it is told in the run: {said:#?}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let warnings: Vec<String> = run["warnings"].as_array().unwrap().iter().map(text).collect();
    tells(&warnings, cause);
    let log = lab.json(&["runs", "logs", run["run"].as_str().unwrap()]);
    let lines = log["lines"].as_array().unwrap().iter();
    let logged = lines.filter(|line| line["level"] == "warn" && text(&line["message"]).contains("/away"));
    let logged: Vec<String> = logged.map(|line| text(&line["message"])).collect();
    tells(&logged, cause);
    let rejects = lab.sql("SELECT item, reason FROM rejects");
    assert_eq!(rejects.len(), 1, "{rejects:#?}");
    assert!(
        rejects[0]["item"].as_str().unwrap().ends_with("/away"),
        "{rejects:#?}"
    );
    let alerts = lab.json(&["alerts"]);
    let key = alerts["alerts"][0]["key"].as_str().unwrap();
    assert_eq!(key, format!("rejected:{}", run["pipeline"].as_str().unwrap()));
    let reason = rejects[0]["reason"].as_str().unwrap();
    for words in [cause, "Mount its disk", "take it out of the configuration"] {
        assert!(reason.contains(words), "{reason}");
    }
    run
}

/// Asserts that another run finds the same, and leaves the lake as it is.
fn misses_again(lab: &Lab, cause: &str) {
    let before = lab.snapshot();
    let run = misses(lab, cause);
    assert_eq!(
        (count(&run, "items_stored"), count(&run, "items_vanished")),
        (0, 0),
        "{run:#}"
    );
    assert_eq!(lab.snapshot(), before, "{run:#}");
}

/// Asserts that nothing is amiss any more, and that the lake holds what an undisturbed one does.
fn is_as_undisturbed(lab: &Lab) {
    assert_eq!(lab.number("SELECT count(*) FROM rejects"), 0);
    rerun_is_quiet(lab);
    let fresh = lab.with_data("undisturbed");
    fresh.run();
    let facts = lab::duckdb(&[(lab, None), (&fresh, None)]);
    // Originals of what was deleted stay.
    for dataset in lake().filter(|dataset| dataset.name != "raw") {
        for fact in ["rows", "keys", "content"] {
            let (found, expected) = (&facts[0][dataset.name][fact], &facts[1][dataset.name][fact]);
            assert_eq!(found, expected, "{fact} of {}", dataset.name);
        }
    }
    lab.is_whole();
}

/// Asserts that a run fails while no root is there, and takes nothing away.
fn fails_without_any(lab: &Lab, table: &str) {
    let rows = || lab.number(&format!("SELECT count(*) FROM {table}"));
    let before = (lab.snapshot(), rows());
    fs::rename(lab.path("here"), lab.path("here too")).unwrap();
    let said = lab.said(&["run"]);
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.err.contains("cannot read"), "{said:#?}");
    assert_eq!((lab.snapshot(), rows()), before);
    fs::rename(lab.path("here too"), lab.path("here")).unwrap();
}

/// Rows of a table of git's that are of a repository.
fn rows_of(lab: &Lab, table: &str, repository: &str) -> i64 {
    lab.number(&format!(
        "SELECT count(*) FROM {table} WHERE repository LIKE '{repository}'"
    ))
}

#[test]
fn a_root_that_is_gone_is_told_of_once_under_the_line_of_its_run() {
    let lab = Lab::new(&pipeline("documents", "roots = [\"here\", \"away\"]"));
    lab.write("here/1.md", "# One\n");
    let together = ["sh", "-c", "exec \"$0\" \"$@\" 2>&1"];
    let said = lab.said_under(&together, &["run"]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    let lines: Vec<String> = said.out.lines().map(str::to_owned).collect();
    let line = lines
        .iter()
        .position(|line| line.starts_with("documents: partly_succeeded: 2 seen"));
    let warning = lines.iter().position(|line| line.starts_with("  warning: `"));
    assert!(line.is_some() && line.map(|at| at + 1) == warning, "{said:#?}");
    let told: Vec<String> = lines.into_iter().filter(|line| line.contains("/away")).collect();
    tells(&told, "No such file");

    // Whoever wants no chatter, as a crontab does, is warned all the same.
    let said = lab.said(&["run", "--quiet"]);
    let told = said.err.lines().filter(|line| line.contains("/away"));
    tells(&told.map(str::to_owned).collect::<Vec<_>>(), "No such file");
    let runs = lab.json(&["runs"]);
    let log = lab.output(&["runs", "logs", runs["runs"][0]["run"].as_str().unwrap()]);
    assert!(log.contains("rejected: 1; the table `rejects` says why"), "{log}");
}

#[test]
fn repositories_of_a_root_that_is_gone_stay_and_go_on_when_it_is_back() {
    let lab = Lab::new(&pipeline("git", "paths = [\"here\", \"away\"]"));
    let tool = init(&lab, "here/tool");
    commit(&tool, "a.txt", "a\n");
    commit(&init(&lab, "here/gone"), "a.txt", "a\n");
    let kept = init(&lab, "away/kept");
    for n in 0..2 {
        commit(&kept, "a.txt", &format!("{n}\n"));
    }
    let first = lab.run();

    fs::rename(lab.path("away"), lab.path("elsewhere")).unwrap();
    let new = commit(&tool, "b.txt", "b\n");
    fs::remove_dir_all(lab.path("here/gone")).unwrap();
    let run = misses(&lab, "No such file");
    assert_eq!(
        lab.number(&format!(
            "SELECT count(*) FROM git_commits WHERE commit = '{new}'"
        )),
        1
    );
    assert_eq!(
        count(&run, "items_vanished"),
        2,
        "a repository of the other root is gone, with a commit: {run:#}"
    );
    let cursor_of = |run: &Value| run["cursor_after"]["repositories"]["kept"].clone();
    assert!(cursor_of(&first).is_object(), "{first:#}");
    assert_eq!(cursor_of(&run), cursor_of(&first), "{run:#}");
    misses_again(&lab, "No such file");
    fails_without_any(&lab, "git_commits");
    // Where nothing is mounted, a folder may be that is empty.
    fs::create_dir(lab.path("away")).unwrap();
    misses(&lab, "is its disk mounted?");
    misses_again(&lab, "is its disk mounted?");
    for (table, rows) in [
        ("git_commits", 2),
        ("git_file_changes", 2),
        ("git_repositories", 1),
        ("git_branches", 1),
    ] {
        assert_eq!(rows_of(&lab, table, "kept"), rows, "{table}");
    }

    fs::remove_dir(lab.path("away")).unwrap();
    commit(&lab.path("elsewhere/kept"), "c.txt", "c\n");
    fs::rename(lab.path("elsewhere"), lab.path("away")).unwrap();
    let run = lab.run();
    assert_eq!(run["state"], "succeeded", "{run:#}");
    assert_eq!(
        count(&run, "items_stored"),
        2,
        "the new commit, and its repository: {run:#}"
    );
    is_as_undisturbed(&lab);
}

#[test]
fn a_repository_does_not_take_the_name_of_one_that_is_away() {
    let lab = Lab::new(&pipeline("git", "paths = [\"here\", \"away\"]"));
    commit(&init(&lab, "here/other"), "a.txt", "a\n");
    let tool = init(&lab, "away/tool");
    for n in 0..3 {
        commit(&tool, "a.txt", &format!("{n}\n"));
    }
    lab.run();
    fs::rename(lab.path("away"), lab.path("elsewhere")).unwrap();
    commit(&init(&lab, "here/tool"), "b.txt", "b\n");
    misses(&lab, "No such file");
    assert_eq!(rows_of(&lab, "git_commits", "tool"), 3);
    assert_eq!(rows_of(&lab, "git_commits", "%here/tool"), 1);
    misses_again(&lab, "No such file");

    // There are two of one name now, so both are named by their folders too.
    fs::rename(lab.path("elsewhere"), lab.path("away")).unwrap();
    lab.run();
    assert_eq!(rows_of(&lab, "git_commits", "tool"), 0);
    assert_eq!(rows_of(&lab, "git_commits", "%away/tool"), 3);
    is_as_undisturbed(&lab);
    // And they keep them while one cannot be looked at.
    fs::rename(lab.path("away"), lab.path("elsewhere")).unwrap();
    misses(&lab, "No such file");
    assert_eq!(rows_of(&lab, "git_commits", "%away/tool"), 3);
    assert_eq!(rows_of(&lab, "git_commits", "%here/tool"), 1);
}

#[test]
fn a_repository_that_is_away_keeps_rows_and_name_although_the_cursor_is_cleared() {
    let lab = Lab::new(&pipeline("git", "paths = [\"here\", \"away\"]"));
    commit(&init(&lab, "here/other"), "a.txt", "a\n");
    let tool = init(&lab, "away/tool");
    for n in 0..3 {
        commit(&tool, "a.txt", &format!("{n}\n"));
    }
    lab.run();
    fs::rename(lab.path("away"), lab.path("elsewhere")).unwrap();
    commit(&init(&lab, "here/tool"), "b.txt", "b\n");
    lab.output(&["cursor", "clear", "git"]);
    let run = misses(&lab, "No such file");
    assert_eq!(count(&run, "items_vanished"), 0, "{run:#}");
    for repository in ["tool", "here/tool", "other"] {
        let commits = if repository == "tool" { 3 } else { 1 };
        assert_eq!(rows_of(&lab, "git_commits", repository), commits, "{repository}");
        assert_eq!(rows_of(&lab, "git_repositories", repository), 1, "{repository}");
    }
    misses_again(&lab, "No such file");
    fs::rename(lab.path("elsewhere"), lab.path("away")).unwrap();
    lab.run();
    is_as_undisturbed(&lab);
}

#[test]
fn a_repository_that_breaks_keeps_its_rows_while_others_come_and_go() {
    let lab = Lab::new(&pipeline("git", "paths = [\"src\"]"));
    let broken = init(&lab, "src/broken");
    commit(&broken, "a.txt", "a\n");
    commit(&init(&lab, "src/gone"), "a.txt", "a\n");
    let tool = init(&lab, "src/tool");
    commit(&tool, "a.txt", "a\n");
    lab.run();
    let head = fs::read(broken.join(".git/HEAD")).unwrap();
    fs::write(broken.join(".git/HEAD"), "nonsense").unwrap();
    fs::remove_dir_all(lab.path("src/gone")).unwrap();
    commit(&tool, "b.txt", "b\n");
    let runs = lab.json(&["run"]);
    assert_eq!(runs["runs"][0]["state"], "partly_succeeded", "{runs:#}");
    for (repository, commits) in [("broken", 1), ("gone", 0), ("tool", 2)] {
        assert_eq!(rows_of(&lab, "git_commits", repository), commits, "{repository}");
    }
    let rejects = lab.sql("SELECT item FROM rejects");
    assert_eq!(rejects.len(), 1, "{rejects:#?}");
    fs::write(broken.join(".git/HEAD"), head).unwrap();
    lab.run();
    is_as_undisturbed(&lab);

    // The same of one whose last commit is damaged.
    let tip = git(&tool, &["rev-parse", "HEAD"]);
    let (folder, file) = tip.trim().split_at(2);
    let object = tool.join(".git/objects").join(folder).join(file);
    let whole = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    fs::write(&object, "garbage").unwrap();
    let runs = lab.json(&["run"]);
    assert_eq!(runs["runs"][0]["state"], "partly_succeeded", "{runs:#}");
    assert_eq!(rows_of(&lab, "git_commits", "tool"), 2);
    fs::write(&object, whole).unwrap();
    lab.run();
    is_as_undisturbed(&lab);
}

#[test]
fn a_photo_that_is_deleted_while_its_copy_is_away_lies_where_that_is_once_it_is_back() {
    let lab = Lab::new(&pipeline("photos", "roots = [\"album\", \"away\"]"));
    for root in ["album", "away"] {
        lab.write(format!("{root}/both.jpg"), sample("GPS.jpg"));
    }
    lab.write("album/other.jpg", sample("Canon.jpg"));
    lab.run();
    fs::rename(lab.path("away"), lab.path("elsewhere")).unwrap();
    fs::remove_file(lab.path("album/both.jpg")).unwrap();
    let run = misses(&lab, "No such file");
    assert_eq!(count(&run, "items_vanished"), 0, "{run:#}");
    assert_eq!(lab.number("SELECT count(*) FROM photos"), 2);

    fs::rename(lab.path("elsewhere"), lab.path("away")).unwrap();
    lab.run();
    for table in ["photos", "raw"] {
        let path = lab.value(&format!("SELECT path FROM {table} WHERE path LIKE '%/both.jpg'"));
        assert!(
            path.as_str().unwrap().ends_with("/away/both.jpg"),
            "{table}: {path}"
        );
    }
    is_as_undisturbed(&lab);
}

/// Files of a root that is gone for a while: one by itself, and one that another root has, too.
fn files_stay_and_are_followed_when_they_are_back(kind: &str, extension: &str, contents: [Vec<u8>; 5]) {
    let lab = Lab::new(&pipeline(kind, "roots = [\"here\", \"away\"]"));
    let name = |name: &str| format!("{name}.{extension}");
    let [one, both, two, new, edited] = contents;
    lab.write(name("here/1"), &one);
    lab.write(name("here/both"), &both);
    lab.write(name("away/both"), &both);
    lab.write(name("away/2"), &two);
    lab.run();
    let rows = || lab.number(&format!("SELECT count(*) FROM {kind}"));
    let places = || lab.number("SELECT count(*) FROM locations WHERE location LIKE '%/away/%'");
    let both = || {
        let path = lab.value(&format!("SELECT path FROM {kind} WHERE path LIKE '%/both.%'"));
        path.as_str().unwrap().to_owned()
    };
    assert_eq!((rows(), places()), (3, 2));
    assert!(both().contains("/away/"), "{}", both());

    fs::rename(lab.path("away"), lab.path("elsewhere")).unwrap();
    fs::remove_file(lab.path(name("here/1"))).unwrap();
    lab.write(name("here/new"), &new);
    let run = misses(&lab, "No such file");
    assert_eq!(
        count(&run, "items_vanished"),
        1,
        "what was deleted elsewhere: {run:#}"
    );
    assert_eq!(count(&run, "items_stored"), 1, "{run:#}");
    misses_again(&lab, "No such file");
    fails_without_any(&lab, kind);
    // Where nothing is mounted, a folder may be that is empty.
    fs::create_dir(lab.path("away")).unwrap();
    misses(&lab, "is its disk mounted?");
    misses_again(&lab, "is its disk mounted?");
    assert_eq!((rows(), places()), (3, 2));
    assert!(both().contains("/away/"), "{}", both());
    // All is to be read again, and cannot.
    lab.output(&["cursor", "clear", kind]);
    let run = misses(&lab, "is its disk mounted?");
    assert_eq!(count(&run, "items_unchanged"), 0, "{run:#}");
    assert_eq!((rows(), places()), (3, 2));

    fs::remove_dir(lab.path("away")).unwrap();
    fs::rename(lab.path("elsewhere"), lab.path("away")).unwrap();
    lab.write(name("away/2"), &edited);
    let run = lab.run();
    assert_eq!(run["state"], "succeeded", "{run:#}");
    assert_eq!(
        (count(&run, "items_stored"), count(&run, "items_unchanged")),
        (3, 1),
        "what could not be read again is read again now, and the copy of it beside which it was not looked at: {run:#}"
    );
    is_as_undisturbed(&lab);
}

#[test]
fn documents_of_a_root_that_is_gone_stay_and_go_on_when_it_is_back() {
    let contents = ["# One\n", "# Both\n", "# Two\n", "# New\n", "# Two, edited\n"];
    files_stay_and_are_followed_when_they_are_back(
        "documents",
        "md",
        contents.map(|text| text.as_bytes().to_vec()),
    );
}

#[test]
fn photos_of_a_root_that_is_gone_stay_and_go_on_when_it_is_back() {
    let contents = ["Canon.jpg", "GPS.jpg", "Nikon.jpg", "Sony.jpg", "Pentax.jpg"].map(sample);
    files_stay_and_are_followed_when_they_are_back("photos", "jpg", contents);
}
