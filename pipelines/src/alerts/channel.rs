//! What alerts are told by, and how each fares.
//!
//! - In: messages. Out: how many of them arrived, and why no more did.
//! - A channel that fails rests, longer each time, so that a wrong password does not lock an account.

use super::{DeadMan, Message, Ntfy, Smtp, Webhook, held};
use crate::run::with_causes;
use backon::ExponentialBuilder;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant as Clock;

/// A channel rests no longer than this after it failed.
const LONGEST_REST: Duration = Duration::from_secs(3_600);

/// Whoever is to be told, and how. By default nobody is, and what lasts is told again once a day.
#[derive(Debug, Clone)]
pub struct Channels {
    /// By an HTTP request with JSON.
    pub webhook: Option<Webhook>,
    /// By ntfy.
    pub ntfy: Option<Ntfy>,
    /// By mail.
    pub smtp: Option<Smtp>,
    /// Who notices that dkc itself is silent.
    pub dead_man: Option<DeadMan>,
    /// After how long what is still open is told again.
    pub repeat: Duration,
}

impl Default for Channels {
    fn default() -> Self {
        Self {
            webhook: None,
            ntfy: None,
            smtp: None,
            dead_man: None,
            repeat: Duration::from_secs(24 * 3_600),
        }
    }
}

impl Channels {
    pub(super) fn split(self) -> (Vec<Channel>, Option<DeadMan>) {
        let ways = [
            self.webhook.map(Way::Webhook),
            self.ntfy.map(Way::Ntfy),
            self.smtp.map(|smtp| Way::Smtp(Box::new(smtp))),
        ];
        let channels = ways.into_iter().flatten().map(|way| Channel {
            way,
            health: Mutex::default(),
        });
        (channels.collect(), self.dead_man)
    }
}

/// How long is waited for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For an answer over HTTP.
    pub answer: Duration,
    /// For a mail to be taken: servers make strangers wait before they greet them.
    pub mail: Duration,
    /// Before the second of three tries; before the third, twice as long.
    pub pause: Duration,
    /// For everything that a channel is told at once: less than a claim lasts (`store::alerts`).
    pub whole: Duration,
    /// After a channel first failed.
    pub rest: Duration,
    /// Until it is told that the state database cannot be read: it may be starting again.
    pub blind: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            mail: Duration::from_secs(20),
            pause: Duration::from_secs(1),
            whole: Duration::from_secs(100),
            rest: Duration::from_secs(60),
            blind: Duration::from_secs(300),
        }
    }
}

impl Patience {
    /// Three tries.
    pub fn pauses(&self) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(self.pause)
            .with_max_times(2)
    }
}

/// Why a channel failed. It names no secret, and an address may be one.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The address is not one of the web.
    #[error("its address does not begin with http:// or https://")]
    Address,
    /// No answer came.
    #[error("it cannot be reached: {}", with_causes(.0))]
    Unreachable(reqwest::Error),
    /// The answer was another than yes.
    #[error("it answered with status {0}; only 2xx means that it was told, and redirects are not followed")]
    Refused(u16),
    /// It took too long.
    #[error("it took longer than {} s", .0.as_secs_f32())]
    TooLong(Duration),
    /// An address of mail is none.
    #[error("`{0}` is not an address of mail")]
    Mailbox(String),
    /// No mail can be made of it.
    #[error("no mail can be made of it: {0}")]
    Mail(#[from] lettre::error::Error),
    /// The mail server did not take it.
    #[error("the mail server did not take it: {}", with_causes(.0))]
    Server(lettre::transport::smtp::Error),
    /// The file of certificates cannot be read.
    #[error("cannot read the certificates in `{}`: {}", .0.display(), .1)]
    Certificates(PathBuf, std::io::Error),
    /// A password would be sent for all to read.
    #[error("the password could be read on the way; set tls to \"starttls\" or \"implicit\"")]
    Plaintext,
    /// A worker thread ended early.
    #[error("a worker thread ended early")]
    Worker(#[from] tokio::task::JoinError),
}

impl ChannelError {
    /// Whether the same message, a moment later, can arrive.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(error) => !error.is_builder(),
            Self::Refused(status) => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::TooLong(_) => true,
            Self::Server(error) => !(error.is_permanent() || error.is_client()),
            _ => false,
        }
    }
}

#[derive(Debug)]
enum Way {
    Webhook(Webhook),
    Ntfy(Ntfy),
    Smtp(Box<Smtp>),
}

/// What alerts are told by.
#[derive(Debug)]
pub(super) struct Channel {
    way: Way,
    health: Mutex<Health>,
}

/// How a channel fares.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: u32,
    rests_until: Option<Clock>,
}

impl Health {
    /// Notes how it went, and says so in the log if it went otherwise before.
    pub fn heard(&mut self, name: &str, failure: Option<&ChannelError>, patience: &Patience) {
        let Some(error) = failure else {
            if self.failures > 0 {
                tracing::info!(channel = name, "alerts arrive again");
            }
            *self = Self::default();
            return;
        };
        if self.failures == 0 {
            tracing::warn!(channel = name, %error, "alerts do not arrive");
        }
        let factor = 2_u32.saturating_pow(self.failures);
        let rest = patience.rest.saturating_mul(factor).min(LONGEST_REST);
        self.failures = self.failures.saturating_add(1);
        self.rests_until = Some(Clock::now() + rest);
    }
}

impl Channel {
    /// What it is called, in the configuration and in the table of who was told.
    pub fn name(&self) -> &'static str {
        match self.way {
            Way::Webhook(_) => "webhook",
            Way::Ntfy(_) => "ntfy",
            Way::Smtp(_) => "smtp",
        }
    }

    /// Whether it failed a short while ago.
    pub fn rests(&self) -> bool {
        held(&self.health)
            .rests_until
            .is_some_and(|end| Clock::now() < end)
    }

    /// Notes how it went.
    pub fn heard(&self, failure: Option<&ChannelError>, patience: &Patience) {
        held(&self.health).heard(self.name(), failure, patience);
    }

    /// Sends messages, and counts in `sent` those that arrived: the first ones.
    pub async fn send(
        &self,
        messages: &[Message],
        patience: &Patience,
        sent: &mut usize,
    ) -> Result<(), ChannelError> {
        let sending = async {
            match &self.way {
                Way::Webhook(webhook) => {
                    for message in messages {
                        webhook.send(message, patience).await?;
                        *sent += 1;
                    }
                }
                Way::Ntfy(ntfy) => {
                    for message in messages {
                        ntfy.send(message, patience).await?;
                        *sent += 1;
                    }
                }
                Way::Smtp(smtp) => {
                    smtp.send(messages, patience).await?;
                    *sent = messages.len();
                }
            }
            Ok::<(), ChannelError>(())
        };
        let whole = tokio::time::timeout(patience.whole, sending).await;
        whole.unwrap_or(Err(ChannelError::TooLong(patience.whole)))
    }
}
