//! What is known of the histories of repositories, from one call to the next.
//!
//! - In: where a repository is. Out: what is known of its history, for one call at a time.
//! - Callers of one repository wait for each other, those of two do not. Who waits holds no thread.
//! - Of most repositories a history is less than a MiB, of a large one a hundred. So bytes are bounded, and not
//!   repositories: hundreds that are asked for in turn stay, and memory has an end.
//! - Not here: what is known (`history`).

use super::history::{History, MOST_KEPT};
use crate::problem::{Kind, Problem};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// How long a call waits for others of its repository. It has its turn among heavy operations meanwhile, so it is less than
/// such a turn is waited for: who asks for another repository gets one.
const WAIT: Duration = Duration::from_secs(8);

/// What is known of the repositories that were asked for, of the last one first.
#[derive(Debug, Default)]
pub(crate) struct Histories(std::sync::Mutex<Vec<(PathBuf, Arc<Mutex<History>>)>>);

impl Histories {
    /// What is known of one, once no other call reads it.
    ///
    /// # Errors
    /// [`Problem`] when that takes long.
    pub(crate) async fn of(&self, repository: &Path) -> Result<OwnedMutexGuard<History>, Problem> {
        let history = self.kept(repository).lock_owned();
        tokio::time::timeout(WAIT, history).await.map_err(|_| {
            Problem::new(
                Kind::Unavailable,
                "the history of the repository is looked through for another call at this moment; ask again",
            )
            .after(5)
        })
    }

    /// What is kept of one. What there is no room for beside those that were asked for later is forgotten.
    fn kept(&self, repository: &Path) -> Arc<Mutex<History>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().position(|(path, _)| path == repository);
        let history = known.map_or_else(Arc::default, |at| kept.remove(at).1);
        kept.insert(0, (repository.to_owned(), history.clone()));
        let mut room = MOST_KEPT;
        kept.retain(|(_, history)| {
            // One that is being read stays in memory for as long anyway.
            let bytes = history.try_lock().map_or(0, |history| history.bytes);
            let left = room.checked_sub(bytes);
            room = left.unwrap_or(room);
            left.is_some()
        });
        history
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use std::pin::pin;

    async fn of(histories: &Histories, n: usize) -> OwnedMutexGuard<History> {
        histories.of(Path::new(&n.to_string())).await.unwrap()
    }

    #[tokio::test]
    async fn many_small_ones_stay() {
        let histories = Histories::default();
        for n in 0..200 {
            of(&histories, n).await.bytes = MOST_KEPT / 200;
        }
        for n in 0..200 {
            assert_eq!(of(&histories, n).await.bytes, MOST_KEPT / 200, "{n}");
        }
    }

    #[tokio::test]
    async fn those_that_were_asked_for_longest_ago_make_room() {
        let histories = Histories::default();
        for n in 0..10 {
            of(&histories, n).await.bytes = MOST_KEPT / 10;
        }
        of(&histories, 10).await.bytes = MOST_KEPT / 2;
        for n in 5..11 {
            assert_ne!(of(&histories, n).await.bytes, 0, "{n}");
        }
        for n in 0..5 {
            assert_eq!(of(&histories, n).await.bytes, 0, "{n}");
        }
    }

    #[tokio::test]
    async fn only_callers_of_one_repository_wait_for_each_other() {
        let histories = Histories::default();
        let first = of(&histories, 1).await;
        let mut second = pin!(of(&histories, 1));
        // There is one thread: if it were held, nothing would go on.
        assert!(second.as_mut().now_or_never().is_none());
        of(&histories, 2).await.bytes = MOST_KEPT;
        assert_eq!(of(&histories, 2).await.bytes, MOST_KEPT);
        drop(first);
        assert_eq!(second.await.bytes, 0);
    }
}
