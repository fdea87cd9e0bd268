//! When not even the table of alerts can be read: it is told all the same, straight to the channels.
//!
//! - A database that starts again is not worth a word, so this is told only when it lasts.
//! - Who was told is known to this process alone, since there is nowhere to write it.

use super::{Alerts, Message, held, now, wrong};
use schemas::Instant;
use store::alerts::News;
use tokio::time::Instant as Clock;

/// Since when nothing can be seen, and when that was told last.
#[derive(Debug, Default)]
pub(super) struct Blind {
    since: Option<(Clock, Instant)>,
    told_at: Option<Clock>,
}

impl Alerts {
    /// Notes that the state database cannot be read, and tells it if that lasts.
    pub(super) async fn cannot_see(&self) {
        let Some(since) = self.is_to_be_told() else {
            return;
        };
        self.tell_all(since, false).await;
    }

    /// Notes that the state database can be read, and tells it to whoever was told that it cannot.
    pub(super) async fn can_see(&self) {
        let blind = std::mem::take(&mut *held(&self.inner.blind));
        if let (Some((_, since)), Some(_)) = (blind.since, blind.told_at) {
            self.tell_all(since, true).await;
        }
    }

    fn is_to_be_told(&self) -> Option<Instant> {
        let mut blind = held(&self.inner.blind);
        let (begun, since) = *blind.since.get_or_insert_with(|| (Clock::now(), now()));
        let is_long = begun.elapsed() >= self.inner.patience.blind;
        let is_told = blind.told_at.is_some_and(|at| at.elapsed() < self.inner.repeat);
        if !is_long || is_told {
            return None;
        }
        blind.told_at = Some(Clock::now());
        Some(since)
    }

    async fn tell_all(&self, since: Instant, is_over: bool) {
        let news = News {
            alert: wrong::blind(),
            since,
            is_over,
            is_repeated: false,
        };
        let message = [Message::of(&news, &self.inner.host)];
        for channel in &self.inner.channels {
            let outcome = channel.send(&message, &self.inner.patience, &mut 0).await;
            channel.heard(outcome.as_ref().err(), &self.inner.patience);
        }
    }
}
