//! One question to GitHub's REST API.
//!
//! - In: an address below the configured one. Out: the bytes of its answer, or what a refusal means and what to do.
//! - No redirect is followed, nothing is asked twice, and of an answer so much is read and no more.
//! - Not here: which addresses there are (`github`).

use crate::config::GitHub;
use crate::problem::{Kind, Problem};
use jiff::Timestamp;
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Client, Method, Response, StatusCode, Url};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::OnceLock;
use std::time::Duration;

/// How long GitHub may take.
const TIME: Duration = Duration::from_secs(20);

/// Bytes of an answer of GitHub's.
pub(super) const MOST_BODY: usize = 4 << 20;

/// Seconds after which to try again, where GitHub does not say.
const LATER: u64 = 60;

fn client() -> Result<&'static Client, Problem> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client);
    }
    let client = Client::builder()
        .user_agent("dkc")
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIME)
        // Calls are rare, and a kept connection is mostly a dead one.
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| Problem::internal(&error))?;
    Ok(CLIENT.get_or_init(|| client))
}

/// What GitHub answers at an address.
///
/// # Errors
/// As [`send`], and when the answer is another.
pub(super) async fn get<T: DeserializeOwned>(github: &GitHub, url: Url) -> Result<T, Problem> {
    let body = send(github, Method::GET, url, None).await?;
    serde_json::from_slice(&body).map_err(|error| {
        tracing::warn!(%error, "an answer of GitHub's cannot be read");
        Problem::new(
            Kind::Unavailable,
            "GitHub's answer cannot be read; see that `api` under [serve.github] is the address of its REST API",
        )
    })
}

/// Asks GitHub once, and reads what it answers if it is well.
///
/// # Errors
/// [`Problem`] when it cannot be reached, refuses, or answers too much.
pub(super) async fn send(
    github: &GitHub,
    method: Method,
    url: Url,
    body: Option<&Value>,
) -> Result<Vec<u8>, Problem> {
    let mut request = client()?
        .request(method, url)
        .header(ACCEPT, "application/vnd.github+json")
        .header("X-GitHub-Api-Version", "2022-11-28");
    if let Some(token) = &github.token {
        request = request.bearer_auth(token.expose_secret());
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.map_err(unreachable)?;
    if !answer.status().is_success() {
        return Err(refusal(answer.status(), answer.headers()));
    }
    bounded(answer).await
}

async fn bounded(mut answer: Response) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + part.len() > MOST_BODY {
            return Err(Problem::new(
                Kind::TooLarge,
                "GitHub's answer is larger than 4 MiB; ask for fewer with `limit`",
            ));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

fn unreachable(error: reqwest::Error) -> Problem {
    let error = error.without_url();
    tracing::warn!(%error, "GitHub cannot be reached");
    Problem::new(
        Kind::Unavailable,
        "GitHub cannot be reached, or took longer than 20 s; see whether this machine is online, then try again",
    )
    .after(LATER)
}

/// What a status of GitHub's means, and what to do.
fn refusal(status: StatusCode, headers: &HeaderMap) -> Problem {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<i64>().ok();
    let is_limited = number("x-ratelimit-remaining") == Some(0) || number("retry-after").is_some();
    match status.as_u16() {
        429 | 403 if is_limited || status == StatusCode::TOO_MANY_REQUESTS => {
            let reset = number("x-ratelimit-reset").map(|reset| reset - Timestamp::now().as_second());
            let seconds = number("retry-after")
                .or(reset)
                .and_then(|seconds| u64::try_from(seconds).ok());
            let seconds = seconds.unwrap_or(LATER).max(1);
            Problem::new(
                Kind::Unavailable,
                format!("GitHub has had enough requests for now; try again in {seconds} s"),
            )
            .after(seconds)
        }
        401 => Problem::new(
            Kind::Unavailable,
            "GitHub does not take the token; make a new one and put it under [serve.github]",
        ),
        403 => Problem::new(
            Kind::Unavailable,
            "GitHub's token may not do this; it needs to read pull requests and to read and write actions of the repository",
        ),
        404 => Problem::new(
            Kind::NotFound,
            "GitHub shows the token no such repository, workflow or branch; see their names, and what the token may see",
        ),
        409 | 422 => Problem::unprocessable(
            "GitHub cannot do this; see that the branch is there and that the workflow has `workflow_dispatch`",
        ),
        300..=399 => Problem::new(
            Kind::Unavailable,
            "GitHub says that the repository is elsewhere; put its new name under [serve.github]",
        ),
        status => {
            tracing::warn!(status, "GitHub failed");
            Problem::new(
                Kind::Unavailable,
                format!("GitHub answered with status {status}; try again later"),
            )
            .after(LATER)
        }
    }
}
