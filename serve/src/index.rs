//! The index of search, opened once and kept as new as it is on the disk.

use crate::Gateway;
use std::path::Path;
use std::time::{Duration, Instant};
use store::search::{Models, SearchError, Searcher};
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
                            opened.keep_in_memory().await?;
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

    /// What a search notes, without where on this machine models are: it goes to others.
    pub(crate) fn told(&self, notes: Vec<String>) -> Vec<String> {
        let Models {
            folder,
            first,
            reranker,
        } = &self.models;
        let named = [Some(first), reranker.as_ref()]
            .into_iter()
            .flatten()
            .map(Path::new);
        let places: Vec<&Path> = named
            .chain([folder.as_path()])
            .filter(|path| path.is_absolute())
            .collect();
        let hidden = |note: String| {
            places.iter().fold(note, |note, place| {
                let name = place.file_name().unwrap_or_default();
                note.replace(&place.display().to_string(), &name.to_string_lossy())
            })
        };
        notes.into_iter().map(hidden).collect()
    }
}
