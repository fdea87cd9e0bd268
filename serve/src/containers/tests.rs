//! Containers, with a daemon on a socket that answers as the Docker Engine API does.

use super::*;
use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const ID: &str = "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2";
const OTHER: &str = "bdf0123456786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2";

/// What was asked, in order.
type Asked = Arc<Mutex<Vec<String>>>;

fn inspected(name: &str, id: &str) -> Value {
    json!({
        "Id": id,
        "Created": "2026-10-01T08:00:00.123456789Z",
        "Path": "nginx",
        "Args": ["--password", "SECRET"],
        "Name": format!("/{name}"),
        "RestartCount": 3,
        "Image": "sha256:1111",
        "Mounts": [{"Type": "bind", "Source": "/home/SECRET", "Destination": "/data", "Mode": "", "RW": true, "Propagation": "rprivate"}],
        "State": {
            "Status": "running", "Running": true, "Paused": false, "Restarting": false, "OOMKilled": false,
            "Dead": false, "Pid": 1234, "ExitCode": 0, "Error": "",
            "StartedAt": "2026-10-02T08:00:00.5Z", "FinishedAt": "0001-01-01T00:00:00Z",
            "Health": {"Status": "unhealthy", "FailingStreak": 2, "Log": (0..7).map(|at| json!({
                "Start": format!("2026-10-02T09:0{at}:00Z"), "End": format!("2026-10-02T09:0{at}:01Z"),
                "ExitCode": 1, "Output": "x".repeat(2_000),
            })).collect::<Vec<_>>()},
        },
        "Config": {"Hostname": "web", "Image": "nginx:1.27", "Env": ["TOKEN=SECRET"], "Labels": {"a": "SECRET"}},
    })
}

fn frame(stream: u8, text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[stream, 0, 0, 0], length.as_slice(), text.as_bytes()].concat()
}

fn restarts(asked: &Asked) -> usize {
    let asked = asked.lock().unwrap();
    asked.iter().filter(|line| line.starts_with("POST")).count()
}

/// It tells nothing any more after the second restart.
async fn daemon(State(asked): State<Asked>, method: Method, uri: Uri) -> Response {
    asked.lock().unwrap().push(format!("{method} {uri}"));
    let json = |value: Value| ([("content-type", "application/json")], value.to_string()).into_response();
    let Some(path) = uri.path().strip_prefix("/containers/") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["json"] => json(json!([
            {"Id": ID, "Names": ["/web"], "Image": "nginx:1.27", "State": "running", "Status": "Up 2 hours (unhealthy)",
             "Command": "nginx SECRET", "Labels": {"a": "SECRET"}},
            {"Id": OTHER, "Names": ["/hidden"], "Image": "postgres", "State": "running", "Status": "Up 2 hours"},
        ])),
        ["web" | ID, "json"] if restarts(&asked) > 1 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        ["web" | ID, "json"] => json(inspected("web", ID)),
        // The beginning of another's id.
        ["bdf", "json"] => json(inspected("hidden", OTHER)),
        [ID, "logs"] => {
            let parts = [
                frame(1, "one\n"),
                frame(2, "\u{1b}[31mtwo\u{1b}[0m\n"),
                frame(1, "three API_TOKEN=abc"),
            ];
            parts.concat().into_response()
        }
        [ID, "restart"] => StatusCode::NO_CONTENT.into_response(),
        _ => (
            StatusCode::NOT_FOUND,
            r#"{"message":"No such container: /home/SECRET"}"#,
        )
            .into_response(),
    }
}

async fn started() -> (TempDir, Config, Asked) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let asked = Asked::default();
    let router = Router::new().fallback(daemon).with_state(asked.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = Config {
        docker: Some(Docker {
            socket,
            containers: vec![
                "web".to_owned(),
                "gone".to_owned(),
                "bdf".to_owned(),
                "../x?y".to_owned(),
            ],
        }),
        ..Config::default()
    };
    (folder, config, asked)
}

fn never() -> CancellationToken {
    CancellationToken::new()
}

#[tokio::test]
async fn only_containers_of_the_list_are_shown() {
    let (_folder, config, asked) = started().await;
    let shown = list(&config).await.unwrap();
    let told: Vec<_> = shown
        .iter()
        .map(|entry| (entry.container.as_str(), entry.state.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("web", "running"),
            ("gone", "absent"),
            ("bdf", "absent"),
            ("../x?y", "absent")
        ]
    );
    assert_eq!(shown[0].status.as_deref(), Some("Up 2 hours (unhealthy)"));
    assert!(!serde_json::to_string(&shown).unwrap().contains("SECRET"));
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_container_is_told_with_its_health_and_without_its_secrets() {
    let (_folder, config, _) = started().await;
    let found = look(&config, "web").await.unwrap();
    assert_eq!((found.state.as_str(), found.restarts), ("running", 3));
    assert_eq!(found.image.as_deref(), Some("nginx:1.27"));
    assert_eq!(found.started_at.as_deref(), Some("2026-10-02T08:00:00.5Z"));
    assert_eq!((found.finished_at.as_ref(), found.exit_code), (None, None));
    assert!(!serde_json::to_string(&found).unwrap().contains("SECRET"));
    let health = found.health.unwrap();
    assert_eq!((health.status.as_str(), health.failing_streak), ("unhealthy", 2));
    assert_eq!(health.checks.len(), CHECKS);
    assert_eq!(health.checks[4].at.as_deref(), Some("2026-10-02T09:06:00Z"));
    assert_eq!(health.checks[4].output.len(), MOST_CHECK);
}

#[tokio::test]
async fn a_name_that_is_the_beginning_of_anothers_id_finds_nothing() {
    let (_folder, config, asked) = started().await;
    for name in ["gone", "bdf"] {
        let problem = look(&config, name).await.unwrap_err();
        assert_eq!(problem.kind, Kind::NotFound, "{name}");
        assert!(!problem.detail.contains("SECRET"));
        assert_eq!(restart(&config, name).await.unwrap_err().kind, Kind::NotFound);
    }
    assert!(!asked.lock().unwrap().iter().any(|line| line.starts_with("POST")));
    let before = asked.lock().unwrap().len();
    assert_eq!(
        look(&config, "../x?y").await.unwrap_err().kind,
        Kind::Unprocessable
    );
    assert_eq!(asked.lock().unwrap().len(), before);
}

#[tokio::test]
async fn a_log_keeps_its_escapes_and_its_order() {
    let (_folder, config, asked) = started().await;
    let log = logs(&config, "web", 50, Some("2026-10-02T08:00:00Z"), &never())
        .await
        .unwrap();
    assert_eq!(log.text, "one\n\u{1b}[31mtwo\u{1b}[0m\nthree API_TOKEN=***");
    assert_eq!((log.lines, log.left_out_bytes), (3, 0));
    let last = asked.lock().unwrap().last().unwrap().clone();
    assert!(last.contains(&format!("/containers/{ID}/logs?")), "{last}");
    for wanted in ["tail=50", "follow=false", "since=1790928000"] {
        assert!(last.contains(wanted), "{last}");
    }
    let problem = logs(&config, "web", 50, Some("yesterday"), &never())
        .await
        .unwrap_err();
    assert_eq!(problem.kind, Kind::Unprocessable);
}

#[tokio::test]
async fn a_restart_is_planned_on_the_state_and_done_to_the_id() {
    let (_folder, config, asked) = started().await;
    let plan = plan_restart(&config, "web").await.unwrap();
    assert_eq!(plan.summary, "restarts the container `web`");
    assert_eq!(
        plan.state,
        json!({"id": ID, "started_at": "2026-10-02T08:00:00.5Z", "state": "running"})
    );
    assert!(plan.is_destructive);
    assert!(!asked.lock().unwrap().iter().any(|line| line.starts_with("POST")));
    assert_eq!(restart(&config, "web").await.unwrap().state, "running");
    let posted: Vec<String> = asked
        .lock()
        .unwrap()
        .iter()
        .filter(|line| line.starts_with("POST"))
        .cloned()
        .collect();
    assert_eq!(posted, [format!("POST /containers/{ID}/restart?t=10")]);
    // It is restarted, whether or not the daemon tells how it is.
    assert_eq!(restart(&config, "web").await.unwrap().state, "unknown");
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_told_without_its_path() {
    let (folder, mut config, _) = started().await;
    let socket = folder.path().join("nowhere.sock");
    config.docker.as_mut().unwrap().socket = socket;
    let problem = look(&config, "web").await.unwrap_err();
    assert_eq!(problem.kind, Kind::Unavailable);
    assert!(!problem.detail.contains("nowhere"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_name_that_is_not_on_the_list_reaches_the_daemon(name in "\\PC{0,40}|[-a-z./?%]{0,12}|hidden|we?b?") {
        prop_assume!(!["web", "gone", "bdf", "../x?y"].contains(&name.as_str()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_folder, config, asked) = started().await;
            assert_eq!(look(&config, &name).await.unwrap_err().kind, Kind::NotFound);
            assert_eq!(logs(&config, &name, 1, None, &never()).await.unwrap_err().kind, Kind::NotFound);
            assert_eq!(plan_restart(&config, &name).await.unwrap_err().kind, Kind::NotFound);
            assert_eq!(restart(&config, &name).await.unwrap_err().kind, Kind::NotFound);
            assert_eq!(*asked.lock().unwrap(), Vec::<String>::new());
        });
    }
}
