//! The dead man's switch: somebody else is asked now and then, and notices when that ends.
//!
//! - Made for services such as healthchecks.io: a GET of an address means that all is well.

use super::channel::{ChannelError, Health, Patience};
use super::held;
use super::post::Question;
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant as Clock;

/// Who notices that dkc is silent.
#[derive(Debug, Clone)]
pub struct DeadMan {
    /// The address; whoever knows it can say that all is well, so it is a secret.
    pub url: SecretString,
    /// How often it is asked.
    pub every: Duration,
}

#[derive(Debug)]
pub(super) struct Switch {
    dead_man: DeadMan,
    asked_at: Mutex<Option<Clock>>,
    health: Mutex<Health>,
}

impl Switch {
    pub fn new(dead_man: DeadMan) -> Self {
        Self {
            dead_man,
            asked_at: Mutex::default(),
            health: Mutex::default(),
        }
    }

    /// Asks, if it is time.
    pub async fn ping(&self, patience: &Patience) {
        {
            let mut asked_at = held(&self.asked_at);
            // Whoever calls as often as that may be a little early.
            let early = self.dead_man.every / 10;
            if asked_at.is_some_and(|at| at.elapsed() + early < self.dead_man.every) {
                return;
            }
            *asked_at = Some(Clock::now());
        }
        let outcome = self.ask(patience).await;
        held(&self.health).heard("dead_man", outcome.as_ref().err(), patience);
    }

    pub async fn ask(&self, patience: &Patience) -> Result<(), ChannelError> {
        let question = Question {
            address: self.dead_man.url.expose_secret(),
            token: None,
            body: None,
        };
        question.ask(patience).await
    }
}
