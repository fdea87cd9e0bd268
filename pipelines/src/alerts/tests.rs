//! What is wrong is found, and told: over HTTP to a real server, by mail to a real one.

mod certificate;
mod http;
mod looks;
mod mail;
mod peer;

use super::*;
use store::alerts::Alert;
use tempfile::TempDir;

/// A second, in microseconds.
const SECOND: i64 = 1_000_000;

const MINUTE: i64 = 60 * SECOND;

/// When the stories begin: 2027-01-15T08:00:00Z.
const BEGIN: Instant = 1_800_000_000 * SECOND;

/// Servers of tests answer at once, on a busy machine a little later; and nobody rests.
const PATIENCE: Patience = Patience {
    answer: Duration::from_secs(20),
    mail: Duration::from_secs(20),
    pause: Duration::from_millis(1),
    whole: Duration::from_secs(60),
    rest: Duration::ZERO,
    blind: Duration::ZERO,
};

/// A store of its own, and its alerts.
struct Stage {
    folder: TempDir,
    store: Arc<Store>,
    log: AlertLog,
}

impl Stage {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).await.unwrap());
        let log = AlertLog::open(folder.path()).await.unwrap();
        Self { folder, store, log }
    }

    /// Alerts that are told by channels.
    fn alerts(&self, channels: Channels, patience: Patience) -> Alerts {
        self.watching(Vec::new(), Vec::new(), channels, patience)
    }

    fn watching(
        &self,
        watched: Vec<Watched>,
        budgets: Vec<Budget>,
        channels: Channels,
        patience: Patience,
    ) -> Alerts {
        let (store, log) = (Arc::clone(&self.store), self.log.clone());
        // The disk of the machine that tests run on may be full.
        Alerts::with_patience(store, log, (watched, budgets), channels, 0, patience)
    }

    /// Notes that a pipeline fails, or that none does.
    async fn fails(&self, names: &[&str], now: Instant) {
        let found: Vec<Alert> = names.iter().map(|name| failing(name)).collect();
        let looked = Looked::Kinds {
            kinds: &[AlertKind::Failing],
            undecided: &[],
        };
        self.log.settle(looked, &found, now).await.unwrap();
    }
}

fn failing(name: &str) -> Alert {
    wrong::failing(name, "0198", 3, Some("no such host"))
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
