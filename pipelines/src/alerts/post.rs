//! HTTP, as alerts need it: one question, three tries, and nothing of the answer but whether it is yes.
//!
//! - No redirect is followed, and certificates are verified: what is sent may only go where its owner said.

use super::channel::{ChannelError, Patience};
use backon::Retryable as _;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::OnceLock;
use std::time::Duration;

/// A question.
pub(super) struct Question<'a> {
    /// Where it goes; it may be a secret.
    pub address: &'a str,
    /// Who asks, as a bearer token (RFC 6750 §2.1).
    pub token: Option<&'a SecretString>,
    /// JSON that is posted; without it, the question is a GET.
    pub body: Option<String>,
}

impl Question<'_> {
    /// Asks, three times if need be.
    ///
    /// # Errors
    /// [`ChannelError`] when no answer is yes.
    pub async fn ask(&self, patience: &Patience) -> Result<(), ChannelError> {
        let url = Url::parse(self.address).map_err(|_| ChannelError::Address)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ChannelError::Address);
        }
        let client = client()?;
        let once = || self.once(client, url.clone(), patience.answer);
        once.retry(patience.pauses())
            .when(ChannelError::is_transient)
            .await
    }

    async fn once(&self, client: &Client, url: Url, answer: Duration) -> Result<(), ChannelError> {
        let request = match &self.body {
            Some(body) => client
                .post(url)
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone()),
            None => client.get(url),
        };
        let request = match self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let answer = request.timeout(answer).send().await;
        let answer = answer.map_err(|error| ChannelError::Unreachable(error.without_url()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(ChannelError::Refused(status.as_u16())),
        }
    }
}

fn client() -> Result<&'static Client, ChannelError> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client);
    }
    let client = Client::builder()
        .user_agent("dkc")
        .redirect(Policy::none())
        // Alerts are rare, and a kept connection is mostly a dead one.
        .pool_max_idle_per_host(0)
        .build()
        .map_err(ChannelError::Unreachable)?;
    Ok(CLIENT.get_or_init(|| client))
}
