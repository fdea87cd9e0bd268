//! Alerts by an HTTP request: each message a POST of JSON, see [`Message`] for its keys.

use super::channel::{ChannelError, Patience};
use super::post::Question;
use super::text::{Message, json};
use secrecy::{ExposeSecret as _, SecretString};

/// Where alerts are posted.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The address; whoever knows it may post there, so it is a secret.
    pub url: SecretString,
    /// A bearer token, if the address alone does not do.
    pub token: Option<SecretString>,
}

impl Webhook {
    pub(super) async fn send(&self, message: &Message, patience: &Patience) -> Result<(), ChannelError> {
        let question = Question {
            address: self.url.expose_secret(),
            token: self.token.as_ref(),
            body: Some(json(message)),
        };
        question.ask(patience).await
    }
}
