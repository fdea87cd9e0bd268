//! A daemon of containers: as much of the Docker Engine API as dkc asks, on a socket of its own, with nothing behind it.
//!
//! - It knows `web` and `db`, allowed by [`Docker::table`], and `hidden`, which is not.

use super::serve;
use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// Its containers; the id of each comes of its place.
const CONTAINERS: [&str; 3] = ["web", "db", "hidden"];

/// The daemon; it ends when this is dropped.
pub struct Docker {
    folder: TempDir,
    seen: Arc<Mutex<Seen>>,
    _stop: oneshot::Sender<()>,
}

/// What it was asked, and how often its containers were started anew.
#[derive(Default)]
struct Seen {
    asked: Vec<String>,
    starts: usize,
}

impl Docker {
    /// Starts it.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(socket(&folder)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let router = Router::new().fallback(daemon).with_state(Arc::clone(&seen));
        Self {
            folder,
            seen,
            _stop: serve(|| tokio::net::UnixListener::from_std(listener).unwrap(), router),
        }
    }

    /// The part of a configuration that allows two of its containers.
    pub fn table(&self) -> String {
        let socket = socket(&self.folder);
        format!(
            "[serve.docker]\nsocket = '{}'\ncontainers = [\"web\", \"db\"]\n",
            socket.display()
        )
    }

    /// What it was asked, in order.
    pub fn asked(&self) -> Vec<String> {
        self.seen.lock().unwrap().asked.clone()
    }

    /// How often something was done.
    pub fn acts(&self) -> usize {
        self.asked()
            .iter()
            .filter(|line| !line.starts_with("GET "))
            .count()
    }

    /// Somebody else starts the containers anew.
    pub fn move_on(&self) {
        self.seen.lock().unwrap().starts += 1;
    }
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("docker.sock")
}

fn id(place: usize) -> String {
    format!("{:064x}", 0xdcba_4321_usize + place)
}

async fn daemon(State(seen): State<Arc<Mutex<Seen>>>, method: Method, uri: Uri) -> Response {
    let mut seen = seen.lock().unwrap();
    let path = uri.path();
    seen.asked.push(format!("{method} {path}"));
    let json = |value: Value| ([("content-type", "application/json")], value.to_string()).into_response();
    let nothing = || (StatusCode::NOT_FOUND, r#"{"message":"No such container"}"#).into_response();
    let Some(rest) = path.strip_prefix("/containers/") else {
        return nothing();
    };
    let Some((name, what)) = rest.split_once('/') else {
        let listed = CONTAINERS.iter().enumerate().map(|(place, name)| {
            json!({
                "Id": id(place), "Names": [format!("/{name}")], "Image": "nginx:1.27", "State": "running",
                "Status": "Up 2 hours",
            })
        });
        return json(listed.collect());
    };
    let found = CONTAINERS
        .iter()
        .enumerate()
        .find(|(place, known)| **known == name || id(*place) == name);
    let Some((place, name)) = found else {
        return nothing();
    };
    match (method.as_str(), what) {
        ("GET", "json") => json(json!({
            "Id": id(place),
            "Name": format!("/{name}"),
            "Created": "2026-10-01T08:00:00.123456789Z",
            "RestartCount": 0,
            "Image": "sha256:1111",
            "State": {
                "Status": "running", "Running": true, "Paused": false, "Restarting": false, "OOMKilled": false,
                "Dead": false, "Pid": 1234, "ExitCode": 0, "Error": "",
                "StartedAt": format!("2026-10-02T08:00:{:02}Z", seen.starts), "FinishedAt": "0001-01-01T00:00:00Z",
            },
            "Config": {"Hostname": name, "Image": "nginx:1.27"},
        })),
        ("POST", "restart") => {
            seen.starts += 1;
            StatusCode::NO_CONTENT.into_response()
        }
        _ => nothing(),
    }
}
