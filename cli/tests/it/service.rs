//! The service that is always on, as its users meet it: `dkc daemon`, the commands that ask it and look at what it did, and
//! what is true after it was killed.

use crate::it::gateway::{Served, answered};
use crate::it::interrupted::Scene;
use crate::it::lab::{Lab, MAIL, Said, program, until};
use arrow_array::FixedSizeBinaryArray;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use fixtures::imap_server::{ImapServer, Reaction};
use schemas::SourceName;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};
use store::embedder::DEFAULT_TRANSFORMER;
use store::queue::{Decided, Queue};
use store::vectors::Vectors;

/// A `dkc daemon` that is at work; killed when it is dropped.
struct Daemon {
    child: Child,
    /// Nobody prints to whoever has left.
    _out: BufReader<ChildStdout>,
    /// What it said first.
    said: String,
    lab: Lab,
}

impl Daemon {
    fn start(lab: &Lab) -> Self {
        let mut child = lab
            .command::<&str>(&[], &["daemon"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(lab.path("daemon.err")).unwrap())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        out.read_line(&mut said).unwrap();
        let daemon = Self {
            child,
            _out: out,
            said,
            lab: lab.clone(),
        };
        assert!(daemon.said.contains("pipeline"), "{}", daemon.err());
        daemon
    }

    /// What it has said on standard error.
    fn err(&self) -> String {
        std::fs::read_to_string(self.lab.path("daemon.err")).unwrap()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = program("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(sent.success());
    }

    /// `kill -9`.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as a service manager does; its exit code, and how long it took.
    fn stop(mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        self.signal("TERM");
        let code = self.child.wait().unwrap().code();
        (code, began.elapsed())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The runs of a pipeline, newest first.
fn runs(lab: &Lab, pipeline: &str) -> Vec<Value> {
    let listed = lab.json(&["runs", "--pipeline", pipeline, "--limit", "1000"]);
    listed["runs"].as_array().unwrap().clone()
}

/// The newest run of a pipeline for which something holds, once there is one.
fn run_that(lab: &Lab, pipeline: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    until(&format!("a run of {pipeline} that is {what}"), || {
        runs(lab, pipeline).into_iter().find(|run| holds(run))
    })
}

fn is(run: &Value, key: &str, value: &str) -> bool {
    run[key] == value
}

fn id(run: &Value) -> &str {
    run["run"].as_str().unwrap()
}

/// A pipeline over a Maildir, with these keys.
fn maildir(name: &str, keys: &str) -> String {
    format!("[[pipeline]]\nname = \"{name}\"\n{keys}\nsource = {{ kind = \"maildir\", path = \"mail\" }}\n")
}

/// A pipeline over a mail server on this machine, with these keys.
fn imap(port: u16, keys: &str) -> String {
    format!(
        "[[pipeline]]\nname = \"inbox\"\n{keys}\nsource = {{ kind = \"imap\", host = \"127.0.0.1\", port = {port}, \
         user = \"me\", password = \"env:PASSWORD\", tls = \"none\" }}\n"
    )
}

fn mails(from: usize, count: usize) -> Vec<String> {
    let mail = |n: usize| {
        format!(
            "From: a@example.org\r\nMessage-ID: <{n}@example.org>\r\nSubject: {n}\r\n\r\nThis is {n}.\r\n"
        )
    };
    (from..from + count).map(mail).collect()
}

fn count_of_mails(lab: &Lab) -> i64 {
    lab.number("SELECT count(*) FROM emails")
}

#[test]
fn what_is_due_is_collected_and_the_service_ends_when_it_is_told_to() {
    let lab = Lab::new(&maildir("mail", "schedule = \"every 1s\""));
    lab.deliver("", &mails(0, 3));
    let daemon = Daemon::start(&lab);
    assert!(
        daemon
            .said
            .starts_with("1 pipeline, 1 with a schedule; next: mail at "),
        "{}",
        daemon.said
    );
    until("the first mails", || (count_of_mails(&lab) == 3).then_some(()));
    lab.deliver("", &mails(3, 2));
    until("the next mails", || (count_of_mails(&lab) == 5).then_some(()));

    let listed = lab.json(&["pipelines"]);
    let pipeline = &listed["pipelines"][0];
    assert_eq!(pipeline["schedule"][0], "every 1s");
    assert!(
        pipeline["next_due"].is_i64() && pipeline["last_good"].is_i64(),
        "{pipeline:#}"
    );
    let times = lab.json(&["pipelines", "--upcoming", "4"]);
    let times: Vec<i64> = times["times"]
        .as_array()
        .unwrap()
        .iter()
        .map(|time| time["at"].as_i64().unwrap())
        .collect();
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000) && times.len() == 4,
        "{times:?}"
    );
    let doctor = lab.json(&["doctor"]);
    let checks = doctor["checks"].as_array().unwrap();
    let service = checks.iter().find(|check| check["check"] == "service").unwrap();
    assert_eq!(service["status"], "ok", "{service:#}");

    let (code, took) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    lab.is_whole();
    assert_eq!(count_of_mails(&lab), 5);
}

#[test]
fn a_run_beside_one_that_is_at_work_says_so_and_that_one_can_be_followed_and_cancelled() {
    let server = ImapServer::start("", Vec::new(), |_, _| Reaction::Silence);
    let config = format!("{}{MAIL}", imap(server.port(), "schedule = \"@yearly\""));
    let lab = Lab::new(&config).with("PASSWORD", "secret");
    lab.deliver("", &mails(0, 2));
    let daemon = Daemon::start(&lab);
    let at_work = run_that(&lab, "inbox", "at work", |run| is(run, "state", "running"));
    let short = &id(&at_work)[28..];

    let said = lab.said(&["run"]);
    assert_eq!(said.code, Some(1), "{said:#?}");
    let flat = said.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat.contains(&format!("run {short} is at work since"))
            && flat.contains(&format!("dkc runs logs -f {short}")),
        "{said:#?}"
    );
    // The others go on.
    assert!(said.out.contains("mail: succeeded: 2 seen"), "{said:#?}");

    let told = lab.json(&["runs", "show", short]);
    assert_eq!(told["run"]["trigger"], "schedule");
    assert_eq!(told["run"]["reason"], "it has never collected");
    assert!(told["next"].as_str().unwrap().contains("runs cancel"), "{told:#}");
    until("the first line of its log", || {
        let log = lab.output(&["runs", "logs", short]);
        log.contains("begins attempt 1").then_some(())
    });

    let follower = lab
        .command::<&str>(&[], &["runs", "logs", "-f", id(&at_work)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let cancelled = lab.json(&["runs", "cancel", short]);
    assert_eq!(cancelled["runs"][0]["became"], "asked to end");
    let over = run_that(&lab, "inbox", "cancelled", |run| is(run, "state", "cancelled"));
    assert_eq!(id(&over), id(&at_work));
    let followed = follower.wait_with_output().unwrap();
    let text = String::from_utf8(followed.stdout).unwrap();
    assert!(followed.status.success() && text.contains("stopped"), "{text}");

    // What is over cannot be cancelled, but can be had once more.
    let Said { code, err, .. } = lab.said(&["runs", "cancel", short]);
    assert!(code == Some(1) && err.contains("over already"), "{err}");
    let again = lab.json(&["runs", "retry", short]);
    let again = again["runs"][0]["run"].as_str().unwrap();
    let again = run_that(&lab, "inbox", "begun again", |run| {
        id(run) == again && is(run, "state", "running")
    });
    assert_eq!(again["retry_of"], at_work["run"]);
    daemon.kill();
}

#[test]
fn what_time_can_mend_is_tried_again_and_a_wrong_password_is_not() {
    let refuses = ImapServer::start("", Vec::new(), |_, command| match command.starts_with("LOGIN") {
        true => Reaction::Say(b"TAG NO [AUTHENTICATIONFAILED] wrong password\r\n".to_vec()),
        false => Reaction::Well,
    });
    // Whoever has it now will not listen.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let config = format!(
        "{}{}",
        imap(refuses.port(), ""),
        imap(closed, "retries = 1").replace("\"inbox\"", "\"away\"")
    );
    let lab = Lab::new(&config).with("PASSWORD", "hunter2");
    let daemon = Daemon::start(&lab);
    let asked = lab.json(&["run", "--queue"]);
    assert_eq!(asked["runs"].as_array().unwrap().len(), 2);

    let failed = run_that(&lab, "inbox", "over", |run| is(run, "state", "failed"));
    assert_eq!(
        (failed["run"].clone(), failed["trigger"].clone()),
        (asked["runs"][0]["run"].clone(), "person".into())
    );
    let next = run_that(&lab, "away", "to come", |run| {
        is(run, "state", "queued") && run["attempt"] == 2
    });
    assert_eq!(next["trigger"], "retry");
    let first = run_that(&lab, "away", "over", |run| is(run, "state", "failed"));
    assert_eq!(next["retry_of"], first["run"]);
    let told = lab.json(&["runs", "show", id(&first)]);
    assert_eq!(told["tries"].as_array().unwrap().len(), 2);
    assert!(
        told["next"].as_str().unwrap().contains("another try is queued"),
        "{told:#}"
    );
    // A decision that nothing follows is made with the end of a run, so none comes later.
    assert_eq!(runs(&lab, "inbox").len(), 1);
    let states = lab.json(&["runs", "--state", "queued"]);
    assert_eq!(states["runs"].as_array().unwrap().len(), 1);

    let retried = lab.json(&["runs", "retry", "--failed"]);
    let retried: Vec<&Value> = retried["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["pipeline"])
        .collect();
    assert_eq!(retried, ["inbox"]);
    let log = lab.output(&["runs", "logs", id(&failed)]);
    assert!(log.contains("failed:") && !log.contains("hunter2"), "{log}");
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_pipeline_runs_when_its_files_change_and_another_after_it() {
    let config =
        maildir("mail", "schedule = \"on change\"") + &maildir("follows", "schedule = \"after mail\"");
    let lab = Lab::new(&config);
    lab.deliver("", &mails(0, 1));
    let daemon = Daemon::start(&lab);
    run_that(&lab, "mail", "over", |run| is(run, "state", "succeeded"));
    run_that(&lab, "follows", "over", |run| {
        is(run, "trigger", "after") && is(run, "state", "succeeded")
    });
    lab.deliver("", &mails(1, 2));
    let of = |pipeline: &str| {
        lab.number(&format!(
            "SELECT count(*) FROM emails WHERE _source = '{pipeline}'"
        ))
    };
    until("the new mails", || (of("mail") == 3).then_some(()));
    run_that(&lab, "mail", "over, and begun by a change", |run| {
        is(run, "trigger", "change") && is(run, "state", "succeeded")
    });
    until("the new mails where they follow", || {
        (of("follows") == 3).then_some(())
    });
    let follows = runs(&lab, "follows");
    assert!(
        follows.iter().all(|run| is(run, "trigger", "after")),
        "{follows:#?}"
    );
    assert!(
        follows[0]["reason"]
            .as_str()
            .unwrap()
            .starts_with("mail has run well"),
        "{follows:#?}"
    );
    assert_eq!(daemon.stop().0, Some(0));
}

/// The dates of the mails that the transformer has read, as it read them, and how many it has not read.
async fn read(lab: &Lab) -> (Vec<i64>, usize) {
    let vectors = Vectors::open(lab.data()).await.unwrap();
    let stamps = vectors.models("emails").await.unwrap();
    let stamp = stamps.iter().find(|stamp| stamp.name == DEFAULT_TRANSFORMER);
    let (Some(chunks), Some(stamp)) = (vectors.chunks("emails").await.unwrap(), stamp) else {
        return Default::default();
    };
    let all = chunks.all(&["digest", "date"], None).await.unwrap();
    let digests = all.column_by_name("digest").unwrap().as_fixed_size_binary();
    let dates = all.column_by_name("date").unwrap();
    let dates = dates.as_primitive::<TimestampMicrosecondType>().values();
    let date_of: HashMap<&[u8], i64> = digests.iter().flatten().zip(dates.iter().copied()).collect();
    let space = vectors.space("emails", stamp).await.unwrap().unwrap();
    let mut read: Vec<i64> = Vec::new();
    let take = |digests: &FixedSizeBinaryArray, _: &[f32]| {
        read.extend(digests.iter().flatten().filter_map(|digest| date_of.get(digest)));
    };
    space.each(None, take).await.unwrap();
    (read, space.state(&chunks).await.unwrap().pending)
}

#[test]
fn a_model_reads_what_was_collected_the_newest_first() {
    let lab = Lab::new(&maildir("mail", "schedule = \"every 1s\""));
    let lab = lab.with("DKC_MODELS", fixtures::corpus::models().to_str().unwrap());
    let mail = |day: usize| {
        format!(
            "From: a@example.org\r\nMessage-ID: <{day}@example.org>\r\nSubject: Day {day}\r\n\
             Date: {day} Mar 2024 10:00:00 +0000\r\n\r\nThis was day {day}.\r\n"
        )
    };
    lab.deliver("", &[mail(12), mail(14), mail(11), mail(13)]);
    let daemon = Daemon::start(&lab);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let all_of = |count: usize| {
        until("the vectors", || {
            let (read, pending) = runtime.block_on(read(&lab));
            (read.len() == count && pending == 0).then_some(read)
        })
    };
    let first = all_of(4);
    assert!(first.is_sorted_by(|a, b| a > b), "{first:?}");
    until("that it says so", || {
        let err = daemon.err();
        let begins = err.contains("`all-minilm-l6-v2` reads 4 texts while no run is at work");
        (begins && err.contains("has read 4 texts, and none is left")).then_some(())
    });
    // And again what comes later: not before the first is over, or the same reading might take both.
    lab.deliver("", &[mail(10)]);
    assert_eq!(all_of(5)[..4], first);
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_configuration_that_is_broken_is_not_taken_and_one_that_is_whole_is() {
    let config = maildir("mail", "schedule = \"every 1s\"");
    let lab = Lab::new(&config);
    lab.deliver("", &mails(0, 1));
    let daemon = Daemon::start(&lab);
    until("the first mail", || (count_of_mails(&lab) == 1).then_some(()));
    // Commands need a configuration that is whole, so these look from a folder of their own.
    let looks = Lab::new(&config);
    let data = lab.data().to_str().unwrap();
    let count = || {
        let arguments = [
            "--data",
            data,
            "sql",
            "-c",
            "SELECT count(*) AS n FROM emails",
            "--format",
            "ndjson",
        ];
        let mut command = program(assert_cmd::cargo::cargo_bin!("dkc"));
        command.current_dir(looks.path("")).args(arguments);
        crate::it::lab::said(command).out
    };
    lab.write("dkc.toml", config.replace("every 1s", "every now and then"));
    daemon.signal("HUP");
    until("what is wrong", || {
        daemon.err().contains("the one before counts").then_some(())
    });
    assert!(daemon.err().contains("every now and then"), "{}", daemon.err());
    lab.deliver("", &mails(1, 1));
    until("a mail by the old configuration", || {
        count().contains("{\"n\":2}").then_some(())
    });

    lab.write("dkc.toml", config.replace("\"mail\"\ns", "\"other\"\ns"));
    daemon.signal("HUP");
    run_that(&lab, "other", "over", |run| is(run, "state", "succeeded"));
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_service_that_was_killed_in_a_run_is_started_again_and_nothing_is_lost_or_twice() {
    let scene = Scene::first();
    let lab = scene.fresh("killed");
    let asked = lab.json(&["run", "--queue"])["runs"][0]["run"].clone();
    let daemon = Daemon::start(&lab);
    // Some of it is written, and not all: the large mails fill more than one snapshot.
    until("the first of its files", || {
        (!lab.parquet_files().is_empty()).then_some(())
    });
    daemon.kill();
    let daemon = Daemon::start(&lab);
    let over = run_that(&lab, "mail", "over", |run| {
        ["succeeded", "partly_succeeded"].contains(&run["state"].as_str().unwrap())
    });
    assert_eq!(daemon.stop().0, Some(0));
    let all = runs(&lab, "mail");
    let first = all.iter().find(|run| run["run"] == asked).unwrap();
    assert_eq!(first["state"], "failed", "{all:#?}");
    assert!(
        first["error"].as_str().unwrap().contains("without a word"),
        "{first:#}"
    );
    assert_eq!((&over["retry_of"], over["attempt"].clone()), (&asked, 2.into()));
    assert_eq!(all.len(), 2, "{all:#?}");
    lab.is_whole();
    scene.assert_equal(std::slice::from_ref(&lab));
}

#[test]
fn what_a_service_left_that_was_killed_is_finished_by_a_run_by_hand() {
    let scene = Scene::changes();
    let lab = scene.fresh("by-hand");
    lab.output(&["run", "--queue"]);
    let daemon = Daemon::start(&lab);
    let files = lab.parquet_files().len();
    until("a file of the new run", || {
        (lab.parquet_files().len() > files).then_some(())
    });
    daemon.kill();
    scene.try_again(&lab);
    scene.assert_equal(std::slice::from_ref(&lab));
}

#[test]
fn alerts_are_listed_and_a_test_goes_through_each_channel() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let hook = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut piece = [0; 4_096];
        // The body is one line of JSON, and ends the request.
        while !asked.ends_with(b"}") {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&asked));
            asked.extend(&piece[..read]);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
        String::from_utf8(asked).unwrap()
    });
    let lab = Lab::new(&format!("[alerts]\nwebhook = \"env:HOOK\"\n{MAIL}")).with("HOOK", &url);
    assert_eq!(lab.json(&["alerts"])["alerts"], Value::Array(Vec::new()));
    let told = lab.json(&["alerts", "test"]);
    assert_eq!(told["channels"][0]["channel"], "webhook");
    assert_eq!(told["channels"][0]["arrived"], true, "{told:#}");
    assert!(hook.join().unwrap().starts_with("POST /hook "));

    // Nobody listens there any more.
    let said = lab.said(&["alerts", "test"]);
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(
        said.err.contains("1 of 1 channel failed") && !said.out.contains("/hook"),
        "{said:#?}"
    );

    let none = Lab::new(MAIL).said(&["alerts", "test"]);
    assert!(
        none.code == Some(1) && none.err.contains("names no channel"),
        "{none:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn that_no_service_is_at_work_and_a_pipeline_fails_is_told_the_same_by_whoever_is_asked() {
    let lab = Lab::new(&maildir("mail", "schedule = \"@daily\"\nfresh_within = \"9h\""));
    lab.deliver("", &mails(0, 1));
    lab.run();
    let keys = |alerts: &Value| -> Vec<Value> {
        let alerts = alerts["alerts"].as_array().unwrap().iter();
        alerts.map(|alert| alert["key"].clone()).collect()
    };
    let told = lab.json(&["alerts"]);
    assert_eq!(keys(&told), ["stalled:schedules"]);
    assert_eq!(told["alerts"][0]["since"], Value::Null, "none was ever there");

    // One was, and has not seen the last time.
    let hour = 3_600_000_000;
    let due = jiff::Timestamp::now().as_microsecond() - hour;
    let decided = Decided {
        until: due - hour,
        next_due: Some(due),
    };
    let mail = SourceName::new("mail").unwrap();
    let queue = Queue::open(lab.data()).await.unwrap();
    let decided = [(mail, "@daily".to_owned(), decided)];
    queue.decide(&decided, &[], &[], &[]).await.unwrap();
    queue.close().await;
    assert_eq!(lab.json(&["alerts"])["alerts"][0]["since"], due);
    let told = lab.json(&["pipelines"]);
    assert_eq!(told["unattended"]["since"], due, "{told:#}");
    assert_eq!(told["pipelines"][0]["next_due"], due, "{told:#}");
    let said = lab.said(&["pipelines"]);
    assert!(said.err.contains("no service has seen"), "{said:#?}");
    assert!(said.out.contains("overdue"), "{said:#?}");
    let doctor = lab.json(&["doctor"]);
    let checks = doctor["checks"].as_array().unwrap();
    let service = checks.iter().find(|check| check["check"] == "service").unwrap();
    assert_eq!(service["status"], "warning", "{service:#}");

    let (served, said) = Served::start_telling(&lab, &["--no-runs"], Stdio::null());
    let token = said["token"].as_str().unwrap();
    // It serves what there is, so it is ready.
    let ready = answered(&served, "", "/readyz", |status, _| status == 200).await;
    assert_eq!(ready["reasons"], json!([]));
    let note = ready["notes"][0].as_str().unwrap();
    assert!(note.contains("no service has seen"), "{note}");
    let told = answered(&served, token, "/api/v1/pipelines", |status, _| status == 200).await;
    assert!(told["unattended"]["since"].is_string(), "{told:#}");
    assert_eq!(
        told["pipelines"][0]["next_due"], told["unattended"]["since"],
        "{told:#}"
    );

    // It fails, and nobody looks.
    std::fs::rename(lab.path("mail"), lab.path("gone")).unwrap();
    assert_eq!(lab.said(&["run"]).code, Some(1));
    let told = lab.json(&["alerts"]);
    assert_eq!(keys(&told), ["stalled:schedules", "failing:mail"]);
    let listed = lab.json(&["pipelines"]);
    assert_eq!(listed["pipelines"][0]["is_failing"], true, "{listed:#}");
    assert_eq!(listed["pipelines"][0]["is_late"], false, "{listed:#}");
    let ready = answered(&served, "", "/readyz", |status, _| status == 503).await;
    assert_eq!(
        ready["reasons"],
        json!(["1 of 1 pipelines failed when they last ran"])
    );
    let alerts = answered(&served, token, "/api/v1/monitoring/alerts", |status, _| {
        status == 200
    })
    .await;
    let there = keys(&alerts);
    assert!(
        there.contains(&"stalled:schedules".into()) && there.contains(&"failing:mail".into()),
        "{alerts:#}"
    );
    let told = answered(&served, token, "/api/v1/pipelines", |status, _| status == 200).await;
    assert_eq!(told["pipelines"][0]["is_failing"], true, "{told:#}");

    // A good run ends it, whoever began it.
    std::fs::rename(lab.path("gone"), lab.path("mail")).unwrap();
    lab.run();
    assert_eq!(keys(&lab.json(&["alerts"])), ["stalled:schedules"]);
    answered(&served, "", "/readyz", |status, _| status == 200).await;
    assert_eq!(served.stop(), Some(0));
}
