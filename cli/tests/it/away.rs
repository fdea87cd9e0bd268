//! What happens while Postgres is away, or will not have dkc, as those see it who ask, and those who start a service.

use crate::it::gateway::{Served, answer, answered, mail};
use crate::it::lab::{Lab, MAIL, PATIENCE, POSTGRES, program, until};
use fixtures::postgres::{PASSWORD, Postgres, USER, ask, fresh};
use serde_json::Value;
use std::fs::File;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Longer than this nobody waits for an answer; what is left is for a busy machine.
const ANSWERED: Duration = Duration::from_secs(10);

/// Whether `/readyz` says that it is not ready, for such a reason.
fn is_unready(status: u16, told: &Value, words: &str) -> bool {
    let reason = told["reasons"][0].as_str();
    status == 503 && reason.is_some_and(|reason| reason.contains(words))
}

/// A lab whose store is in a database of that address.
fn lab(url: &str, config: &str) -> Lab {
    Lab::new(&format!("{POSTGRES}{config}")).with("DKC_POSTGRES", url)
}

/// A `dkc` that goes on; killed when it is dropped.
struct Running {
    child: Child,
    lab: Lab,
}

impl Running {
    fn start(lab: &Lab, arguments: &[&str]) -> Self {
        let child = lab
            .command::<&str>(&[], arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(lab.path("running.err")).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            lab: lab.clone(),
        }
    }

    /// What it has said on standard error.
    fn err(&self) -> String {
        std::fs::read_to_string(self.lab.path("running.err")).unwrap()
    }

    /// Ends it as a service manager does; its exit code.
    fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(program("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    fn waits_for(&mut self, words: &str) {
        until(words, || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.err());
            self.err().contains(words).then_some(())
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_while_postgres_is_away_is_told_so_soon_and_answered_once_it_is_back() {
    let server = Postgres::start();
    let lab = lab(&server.database(), MAIL);
    lab.deliver("", &[mail(1)]);
    lab.run();
    let (served, token) = Served::start(&lab);
    let paths = [
        "/api/v1/runs?limit=1",
        "/api/v1/datasets/emails/rows?limit=1",
        "/api/v1/datasets",
    ];
    for path in paths {
        let response = served.get(&token, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    server.stop_fast();
    let deadline = Instant::now() + PATIENCE;
    for path in paths {
        // The token is believed for a moment, and what needs no database is answered meanwhile.
        loop {
            let began = Instant::now();
            let response = served.get(&token, path).send().await.unwrap();
            assert!(began.elapsed() < ANSWERED, "{path}: {:?}", began.elapsed());
            let after = response.headers().get("retry-after").cloned();
            let (status, problem) = answer(response).await;
            if status != 200 {
                assert_eq!(status, 503, "{path}: {problem:#}");
                assert_eq!(problem["type"], "urn:dkc:problem:unavailable");
                let detail = problem["detail"].as_str().unwrap();
                assert!(detail.contains("the database does not answer"), "{detail}");
                assert!(after.is_some(), "{path}");
                break;
            }
            assert!(Instant::now() < deadline, "{path} is answered for ever");
        }
    }
    let is_away = |status: u16, told: &Value| is_unready(status, told, "the database does not answer");
    answered(&served, "", "/readyz", is_away).await;
    server.start_again();
    for path in paths {
        loop {
            let response = served.get(&token, path).send().await.unwrap();
            if response.status() == 200 {
                break;
            }
            assert_eq!(response.status(), 503, "{path}");
            assert!(Instant::now() < deadline, "{path} is not answered again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    answered(&served, "", "/readyz", |status, _| status == 200).await;
    assert_eq!(served.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_while_postgres_refuses_the_password_is_told_so_and_what_to_do() {
    const OTHER: &str = "wrong-horse-staple";
    let server = Postgres::start();
    let url = server.database();
    let lab = lab(&url, MAIL);
    lab.deliver("", &[mail(1)]);
    lab.run();
    let log = File::create(lab.path("served.err")).unwrap();
    let (served, said) = Served::start_telling(&lab, &[], log);
    let token = said["token"].as_str().unwrap();
    let paths = ["/api/v1/runs?limit=1", "/api/v1/datasets/emails/rows?limit=1"];
    for path in paths {
        answered(&served, token, path, |status, _| status == 200).await;
    }
    // Connections that are there would live on.
    ask(&url, &format!("ALTER ROLE {USER} PASSWORD '{OTHER}'"));
    server.stop_fast();
    server.start_again();
    let words = "its user or its password is wrong";
    let is_told = |status: u16, told: &Value| {
        let detail = told["detail"].as_str();
        status == 503 && detail.is_some_and(|detail| detail.contains(words))
    };
    for path in paths {
        let told = answered(&served, token, path, is_told).await;
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains("correct the address that `postgres`"), "{detail}");
        assert!(
            !detail.contains("does not answer") && !detail.contains("127.0.0.1"),
            "{detail}"
        );
    }
    let is_refused = |status: u16, told: &Value| is_unready(status, told, words);
    answered(&served, "", "/readyz", is_refused).await;
    let log = std::fs::read_to_string(lab.path("served.err")).unwrap();
    assert!(log.contains(words), "{log}");
    assert!(!log.contains(PASSWORD) && !log.contains(OTHER), "{log}");

    ask(
        &url.replace(PASSWORD, OTHER),
        &format!("ALTER ROLE {USER} PASSWORD '{PASSWORD}'"),
    );
    for path in paths {
        answered(&served, token, path, |status, _| status == 200).await;
    }
    answered(&served, "", "/readyz", |status, _| status == 200).await;
    assert_eq!(served.stop(), Some(0));
}

#[test]
fn a_daemon_that_is_started_before_postgres_begins_to_work_when_it_comes() {
    let server = Postgres::start();
    let lab = lab(
        &server.database(),
        "[[pipeline]]\nname = \"mail\"\nschedule = \"every 1s\"\nsource = { kind = \"maildir\", path = \"mail\" }\n",
    );
    lab.deliver("", &[mail(1)]);
    server.stop_fast();
    let mut daemon = Running::start(&lab, &["daemon"]);
    daemon.waits_for("nothing listens there");
    server.start_again();
    until("a mail", || {
        let found = lab.said(&["sql", "-c", "SELECT subject FROM emails", "--format", "ndjson"]);
        found.out.contains("Letter 1").then_some(())
    });
    let err = daemon.err();
    assert_eq!(err.matches("nothing listens there").count(), 1, "{err}");
    assert!(err.contains(&format!("127.0.0.1:{}", server.port())), "{err}");
    assert!(err.contains("the database answers"), "{err}");
    assert!(!err.contains(PASSWORD), "{err}");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_service_that_waits_for_postgres_ends_when_it_is_told_to() {
    let lab = lab(&format!("postgres://dkc:{PASSWORD}@127.0.0.1:1/dkc"), MAIL);
    for command in ["daemon", "serve"] {
        let mut service = Running::start(&lab, &[command]);
        service.waits_for("nothing listens there");
        assert_eq!(service.stop(), Some(0), "{command}");
    }
}

#[test]
fn what_only_an_edit_cures_ends_a_service_with_2_and_says_what_is_wrong() {
    let right = fresh();
    let server = right.split_once('@').unwrap().1.split_once('/').unwrap().0;
    for (url, words) in [
        (
            right.replace(PASSWORD, "wrong-horse"),
            [server, "its user or its password is wrong"],
        ),
        (
            format!("postgres://dkc:{PASSWORD}@{server}/none?sslmode=disable"),
            [server, "there is no such database"],
        ),
        (
            right.replace("sslmode=disable", "sslmode=require"),
            [server, "sslmode"],
        ),
        (
            format!("dkc:{PASSWORD}@{server}/dkc"),
            ["its address is not one", "postgres://dkc:PASSWORD@"],
        ),
    ] {
        let lab = lab(&url, MAIL);
        for command in ["daemon", "serve"] {
            let said = lab.said(&[command, "--json"]);
            assert_eq!(said.code, Some(2), "{said:#?}");
            let told = format!("{}{}", said.out, said.err);
            assert!(
                words.iter().all(|words| told.contains(words)),
                "{words:?}: {told}"
            );
            assert!(
                !told.contains(PASSWORD) && !told.contains("wrong-horse"),
                "{told}"
            );
        }
    }
    // A secret that is missing, whosever it is.
    for config in [
        format!("[alerts]\nwebhook = \"env:HOOK\"\n\n{MAIL}"),
        format!("[store]\npostgres = \"env:NOWHERE\"\n\n{MAIL}"),
    ] {
        let said = Lab::new(&config).said(&["daemon"]);
        assert_eq!(said.code, Some(2), "{said:#?}");
        assert!(said.err.contains("is not set"), "{said:#?}");
    }
}

/// Collects into files, and moves them to the Postgres of the configuration.
fn collected_and_moved(lab: &Lab) {
    let config = std::fs::read_to_string(lab.path("dkc.toml")).unwrap();
    lab.write("dkc.toml", MAIL);
    lab.run();
    lab.write("dkc.toml", &config);
    lab.output(&["migrate", "--to", "postgres"]);
}

#[test]
fn a_store_that_is_moved_already_is_said_to_be_and_another_directory_is_not() {
    let lab = lab(&fresh(), MAIL);
    lab.deliver("", &[mail(1)]);
    collected_and_moved(&lab);
    let again = lab.said(&["migrate", "--to", "postgres"]);
    assert_eq!(again.code, Some(0), "{again:#?}");
    assert!(
        again.out.contains("in Postgres") && again.out.contains("nothing was to be done"),
        "{again:#?}"
    );
    let other = lab.with_data("other").said(&["migrate", "--to", "postgres"]);
    assert_ne!(other.code, Some(0), "{other:#?}");
    lab.is_whole();

    let back = lab.said(&["migrate", "--to", "sqlite"]);
    assert_eq!(back.code, Some(0), "{back:#?}");
    assert!(back.err.contains("DROP SCHEMA dkc CASCADE;"), "{back:#?}");
    let again = lab.said(&["migrate", "--to", "sqlite"]);
    assert_eq!(again.code, Some(0), "{again:#?}");
    assert!(again.out.contains("nothing was to be done"), "{again:#?}");
    lab.write("dkc.toml", MAIL);
    lab.is_whole();
    assert_eq!(lab.number("SELECT count(*) FROM emails"), 1);
}

#[test]
fn a_mistyped_directory_is_refused_by_every_command_and_nothing_is_made_there() {
    let lab = lab(&fresh(), MAIL);
    lab.deliver("", &[mail(1)]);
    lab.run();
    let wrong = lab.with_data("typo/of/it");
    for arguments in [
        &["token", "list"][..],
        &["token", "create", "phone"],
        &["audit", "list"],
        &["audit", "verify"],
        &["alerts"],
        &["pipelines"],
        &["runs"],
        &["sql", "-c", "SELECT 1"],
        &["verify"],
        &["compact"],
        &["run"],
        &["cursor", "clear", "mail"],
        &["doctor"],
    ] {
        let said = wrong.said(&[arguments, &["--json"]].concat());
        assert_ne!(said.code, Some(0), "{arguments:?}: {said:#?}");
        // `dkc doctor` tells it among what else it found.
        let told = format!("{}{}", said.out, said.err);
        assert!(
            told.contains("keeps the lake of another data directory"),
            "{arguments:?}: {said:#?}"
        );
        assert!(!lab.path("typo").exists(), "{arguments:?}");
    }
    lab.is_whole();
}

#[test]
fn tokens_and_audit_of_a_postgres_are_shown_to_the_directory_that_it_belongs_to_alone() {
    let lab = lab(&fresh(), MAIL);
    lab.deliver("", &[mail(1)]);
    let config = std::fs::read_to_string(lab.path("dkc.toml")).unwrap();
    lab.write("dkc.toml", MAIL);
    lab.run();
    lab.output(&["token", "create", "phone"]);
    lab.write("dkc.toml", &config);
    let refuses = |lab: &Lab, words: &str| {
        for arguments in [["token", "list"], ["audit", "list"], ["audit", "verify"]] {
            let said = lab.said(&[&arguments[..], &["--json"]].concat());
            assert_ne!(said.code, Some(0), "{arguments:?}: {said:#?}");
            assert!(said.err.contains(words), "{arguments:?}: {said:#?}");
        }
    };
    // Its tokens are not lost: they are still in files.
    refuses(&lab, "move the store there with `dkc migrate`");
    let copy = lab.copied_to("copy");
    lab.output(&["migrate", "--to", "postgres"]);
    refuses(&copy, "are both catalogs");
    assert_eq!(lab.json(&["token", "list"])["tokens"][0]["name"], "phone");
    lab.output(&["audit", "verify"]);
}

#[test]
fn doctor_says_what_helps_where_the_directory_or_the_configuration_is_another_one() {
    let lab = lab(&fresh(), MAIL);
    lab.deliver("", &[mail(1)]);
    lab.run();
    let fix = |lab: &Lab, name: &str| -> String {
        let said = lab.said(&["doctor", "--json"]);
        assert_eq!(said.code, Some(1), "{said:#?}");
        let told: Value = serde_json::from_str(&said.out).unwrap();
        let checks = told["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["check"] == name).unwrap();
        assert_eq!(check["status"], "failure", "{check:#}");
        check["fix"].as_str().unwrap().to_owned()
    };
    let told = fix(&lab.with_data("other"), "database");
    assert!(
        told.contains("--data") && !told.contains("check that it runs"),
        "{told}"
    );
    // A configuration that names no Postgres, as if the catalog was lost; then none.
    lab.write("dkc.toml", MAIL);
    let told = fix(&lab, "data directory");
    assert!(
        told.contains("store.postgres") && told.contains("--config"),
        "{told}"
    );
    std::fs::remove_file(lab.path("dkc.toml")).unwrap();
    let told = fix(&lab, "configuration");
    assert!(
        told.contains("--config") && !told.contains("any command"),
        "{told}"
    );
}

#[test]
fn that_a_store_is_moved_is_known_by_its_id_and_without_one_by_its_files() {
    let lab = lab(&fresh(), MAIL);
    lab.deliver("", &[mail(1)]);
    collected_and_moved(&lab);
    // What was lost since is no reason to move it once more.
    let file = lab.parquet_files().pop().unwrap();
    std::fs::rename(&file, file.with_extension("away")).unwrap();
    let again = lab.said(&["migrate", "--to", "postgres"]);
    assert_eq!(again.code, Some(0), "{again:#?}");
    assert!(again.out.contains("nothing was to be done"), "{again:#?}");

    // A lake from before there were ids is known by the files that it has.
    std::fs::remove_file(lab.data().join("data.id")).unwrap();
    let lost = lab.said(&["migrate", "--to", "postgres"]);
    assert_ne!(lost.code, Some(0), "{lost:#?}");
    std::fs::rename(file.with_extension("away"), &file).unwrap();
    let whole = lab.said(&["migrate", "--to", "postgres"]);
    assert_eq!(whole.code, Some(0), "{whole:#?}");
    assert!(whole.out.contains("nothing was to be done"), "{whole:#?}");
}
