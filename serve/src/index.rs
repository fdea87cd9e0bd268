//! The index of search, opened once and kept as new as it is on the disk.

use crate::Gateway;
use std::time::{Duration, Instant};
use store::search::{SearchError, Searcher};
use tokio::sync::RwLockReadGuard;

/// How often it is looked at anew.
const INDEX_AGE: Duration = Duration::from_secs(5);

impl Gateway {
    /// Answers searches; opens the index at the first, and sees what was indexed since.
    ///
    /// # Errors
    /// [`SearchError`] when there is no index, or it cannot be read.
    pub async fn searcher(&self) -> Result<RwLockReadGuard<'_, Searcher>, SearchError> {
        let is_new = |searcher: &Option<(Searcher, Instant)>| {
            searcher
                .as_ref()
                .is_some_and(|(_, looked)| looked.elapsed() < INDEX_AGE)
        };
        let current = self.searcher.read().await;
        let current = match is_new(&current) {
            true => current,
            false => {
                drop(current);
                let mut searcher = self.searcher.write().await;
                if !is_new(&searcher) {
                    let seen = match searcher.take() {
                        Some((mut opened, _)) => match opened.see_latest().await {
                            Ok(()) => Some(opened),
                            // It was made anew meanwhile.
                            Err(_) => None,
                        },
                        None => None,
                    };
                    let opened = match seen {
                        Some(opened) => opened,
                        None => {
                            let place = self.lake.store().place();
                            let opened = Searcher::open(place, &self.models, self.limits).await?;
                            opened.keep_facts().await?;
                            opened
                        }
                    };
                    *searcher = Some((opened, Instant::now()));
                }
                searcher.downgrade()
            }
        };
        RwLockReadGuard::try_map(current, |searcher| searcher.as_ref().map(|(opened, _)| opened))
            .map_err(|_| SearchError::Empty)
    }
}
