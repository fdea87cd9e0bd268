//! Which files of the lake are gone, as far as is known.
//!
//! - In: the catalog, what time it is. Out: the files that are lost. All are looked for at the start and each hour, new ones
//!   with each snapshot; while some are lost, all are looked for more often, so that it is seen when they are back.
//! - A disk may take its time: it is asked meanwhile, and what it said is told at a later look.
//! - Not here: how files are looked for (`store::lake::lost`).

use schemas::Instant;
use std::path::PathBuf;
use std::time::Duration;
use store::StoreError;
use store::lake::catalog::Catalog;
use store::lake::lost::lost_files;
use tokio::task::JoinSet;

/// For so long a look waits for what the disk says.
const WAIT: Duration = Duration::from_secs(3);

/// How often all files are looked for, in microseconds.
const APART: u64 = 3_600 * 1_000_000;

/// The same while some are lost.
const APART_IF_LOST: u64 = 5 * 60 * 1_000_000;

/// What is known of the files.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The snapshot up to which all were looked for.
    until: Option<i64>,
    /// When all were.
    whole_at: Option<Instant>,
    lost: Vec<PathBuf>,
    at_work: JoinSet<Checked>,
}

/// What was found.
#[derive(Debug)]
struct Checked {
    until: i64,
    whole_at: Instant,
    lost: Result<Vec<PathBuf>, StoreError>,
}

impl Files {
    /// The files that are lost; none at all while that is not known.
    ///
    /// # Errors
    /// [`StoreError`] when the catalog cannot be read. The next look tries again.
    pub(super) async fn look(
        &mut self,
        catalog: &Catalog,
        now: Instant,
    ) -> Result<Option<&[PathBuf]>, StoreError> {
        if self.at_work.is_empty() {
            let head = catalog.head().await?.id;
            self.begin(catalog, head, now);
        }
        let Ok(done) = tokio::time::timeout(WAIT, self.at_work.join_next()).await else {
            return Ok(None);
        };
        if let Some(checked) = done {
            let checked = checked?;
            self.lost = checked.lost?;
            self.until = Some(checked.until);
            self.whole_at = Some(checked.whole_at);
        }
        Ok(self.whole_at.is_some().then_some(self.lost.as_slice()))
    }

    /// Begins to look for what is to be looked for now.
    fn begin(&mut self, catalog: &Catalog, head: i64, now: Instant) {
        let apart = match self.lost.is_empty() {
            true => APART,
            false => APART_IF_LOST,
        };
        let known = self.until.zip(self.whole_at);
        // A clock that was set back, or a catalog that was restored from a backup, begins anew.
        let recent = known.filter(|(until, at)| *until <= head && now.abs_diff(*at) < apart);
        let (since, whole_at) = match recent {
            Some((until, _)) if until == head || !self.lost.is_empty() => return,
            Some((until, at)) => (Some(until), at),
            None => (None, now),
        };
        let catalog = catalog.clone();
        self.at_work.spawn(async move {
            Checked {
                until: head,
                whole_at,
                lost: lost_files(&catalog, since).await,
            }
        });
    }
}
