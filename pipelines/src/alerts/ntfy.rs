//! Alerts by ntfy: each message is published as JSON to the server's root, so that the topic, a secret, stands in no
//! address and words may be of any language. Source: the ntfy manual, "Publish as JSON".

use super::channel::{ChannelError, Patience};
use super::post::Question;
use super::text::{self, Message};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

/// Where alerts are published.
#[derive(Debug, Clone)]
pub struct Ntfy {
    /// Address of the server.
    pub server: String,
    /// The topic; whoever knows it reads along, so it is a secret.
    pub topic: SecretString,
    /// An access token, if the server wants one.
    pub token: Option<SecretString>,
}

impl Ntfy {
    pub(super) async fn send(&self, message: &Message, patience: &Patience) -> Result<(), ChannelError> {
        // 4 is high, 3 the default: it lies there, but makes no noise of its own.
        let (priority, tag) = match message.is_over() {
            true => (3, "white_check_mark"),
            false => (4, "warning"),
        };
        let body = json!({
            "topic": self.topic.expose_secret(),
            "title": text::title(message),
            "message": text::paragraph(message),
            "priority": priority,
            "tags": [tag, message.kind],
        });
        let question = Question {
            address: &self.server,
            token: self.token.as_ref(),
            body: Some(body.to_string()),
        };
        question.ask(patience).await
    }
}
