//! GitHub: as much of its REST API as dkc asks, on loopback.
//!
//! - It knows the repository `me/site` with the branches `main` and `feature/x`, and its workflow `deploy.yml`.

use super::serve;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// What every question is about.
const REPOSITORY: &str = "/repos/me/site/";

/// The API; it ends when this is dropped.
pub struct GitHub {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _stop: oneshot::Sender<()>,
}

/// What it was asked, and how many commits came.
#[derive(Default)]
struct Seen {
    asked: Vec<String>,
    commits: usize,
}

impl GitHub {
    /// Starts it.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let router = Router::new().fallback(api).with_state(Arc::clone(&seen));
        Self {
            address,
            seen,
            _stop: serve(|| tokio::net::TcpListener::from_std(listener).unwrap(), router),
        }
    }

    /// The part of a configuration that allows its repository and workflow.
    pub fn table(&self) -> String {
        format!(
            "[serve.github]\napi = \"http://{}\"\nrepositories = [\"me/site\"]\nworkflows = [\"deploy.yml\"]\n",
            self.address
        )
    }

    /// What it was asked, in order: method, address and body.
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

    /// Somebody else commits.
    pub fn move_on(&self) {
        self.seen.lock().unwrap().commits += 1;
    }
}

async fn api(State(seen): State<Arc<Mutex<Seen>>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let mut seen = seen.lock().unwrap();
    let body = String::from_utf8_lossy(&body).into_owned();
    seen.asked.push(format!("{method} {uri} {body}"));
    match (method.as_str(), uri.path().strip_prefix(REPOSITORY)) {
        ("GET", Some("commits/heads/main" | "commits/heads/feature/x")) => {
            json!({ "sha": format!("{:040x}", 0xc0ffee + seen.commits) })
                .to_string()
                .into_response()
        }
        ("POST", Some("actions/workflows/deploy.yml/dispatches"))
            if serde_json::from_str::<Value>(&body).is_ok_and(|body| body["ref"].is_string()) =>
        {
            StatusCode::NO_CONTENT.into_response()
        }
        _ => (StatusCode::NOT_FOUND, r#"{"message":"Not Found"}"#).into_response(),
    }
}
