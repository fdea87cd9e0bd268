//! What was in a folder: which flags changed, what vanished, and what was too large then.
//!
//! - In: the known places of a folder. Out: those still there, marked in the walk's mailbox.
//! - What is not marked goes when the run ends; nothing is removed before.

use super::take_in::set;
use super::{ASKED, WINDOW, Walk};
use crate::error::CollectError;
use crate::imap::connection::Connection;
use crate::imap::folders::Shown;
use crate::imap::state::FolderState;
use crate::mailbox::Seen;
use schemas::Location;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

impl Walk {
    pub(super) fn all_unchanged(&mut self, name: &str, uidvalidity: u32) {
        let places = self
            .places
            .remove(&(name.to_owned(), uidvalidity))
            .unwrap_or_default();
        for &(_, index) in &places {
            if let Some(location) = self.known.locations.get(index) {
                self.mailbox.unchanged(&location.location);
            }
        }
        self.sink.progress().add_seen(places.len() as u64);
    }

    /// Compares what was there: flags, and what vanished. What is not found is not marked as seen, and goes when
    /// the run ends.
    pub(super) async fn compare(
        &mut self,
        connection: &mut Connection,
        old: &FolderState,
        shown: &Shown,
        all_there: bool,
    ) -> Result<(), CollectError> {
        let key = (self.open.name.clone(), self.open.uidvalidity);
        let places = self.places.get(&key).cloned().unwrap_or_default();
        let below = places.partition_point(|&(uid, _)| uid < old.uidnext);
        let known = Arc::clone(&self.known);
        for places in places
            .get(self.open.kept..below)
            .unwrap_or_default()
            .chunks(WINDOW as usize)
        {
            let (Some((low, _)), Some((high, _))) = (places.first(), places.last()) else {
                continue;
            };
            let uids = format!("{low}:{high}");
            let (changed, complete) = match (old.highestmodseq, shown.highestmodseq) {
                (Some(then), Some(now)) if then == now => (Vec::new(), false),
                (Some(then), Some(_)) => (
                    connection
                        .fetch(&uids, &format!("(FLAGS) (CHANGEDSINCE {then})"))
                        .await?,
                    false,
                ),
                _ => (connection.fetch(&uids, "(FLAGS)").await?, true),
            };
            let mut changed: HashMap<u32, Option<Vec<String>>> = changed
                .into_iter()
                .map(|message| (message.uid, message.flags))
                .collect();
            let there = match (complete, all_there) {
                (true, _) => Some(changed.keys().copied().collect()),
                (false, true) => None,
                (false, false) => Some(connection.search(&uids).await?),
            };
            for (uid, index) in places {
                let Some(location) = known.locations.get(*index) else {
                    continue;
                };
                if there
                    .as_ref()
                    .is_some_and(|there: &HashSet<u32>| !there.contains(uid))
                {
                    continue;
                }
                let flags = changed
                    .remove(uid)
                    .flatten()
                    .unwrap_or_else(|| location.flags.clone());
                self.still(location, flags);
            }
            self.open.kept += places.len();
            self.steps += 1;
            self.cut_if_full().await?;
        }
        Ok(())
    }

    /// UIDs of messages of a folder that were too large in earlier runs and may not be now.
    pub(super) fn to_try_again(&self, name: &str, old: &FolderState) -> Vec<u32> {
        let is_raised = old
            .rejected_over
            .is_some_and(|then| then < self.max_message_bytes);
        let places = self.rejected.get(name).filter(|_| is_raised);
        let before = places
            .into_iter()
            .flatten()
            .filter(|(uidvalidity, uid)| *uidvalidity == old.uidvalidity && *uid < old.uidnext);
        let uids: BTreeSet<u32> = before.map(|&(_, uid)| uid).collect();
        uids.into_iter().collect()
    }

    /// Takes in what was too large for earlier runs and may not be for this one.
    pub(super) async fn try_again(
        &mut self,
        connection: &mut Connection,
        old: &FolderState,
    ) -> Result<(), CollectError> {
        let again = self.to_try_again(&self.open.name, old);
        if again.is_empty() {
            self.open.rejected_over = old.rejected_over;
        }
        for some in again.chunks(ASKED) {
            let there = self.listed(connection, some).await?;
            self.take_in(connection, there).await?;
        }
        Ok(())
    }

    /// Forgives what was rejected in the open folder in earlier runs and is gone.
    pub(super) async fn forgive(&mut self, connection: &mut Connection) -> Result<(), CollectError> {
        let Some(places) = self.rejected.get(&self.open.name) else {
            return Ok(());
        };
        let uids: BTreeSet<u32> = places
            .iter()
            .filter(|(uidvalidity, _)| *uidvalidity == self.open.uidvalidity)
            .map(|&(_, uid)| uid)
            .collect();
        let mut there = HashSet::new();
        for some in uids.iter().collect::<Vec<_>>().chunks(ASKED) {
            there.extend(connection.search(&set(some.iter().copied())).await?);
        }
        let is_gone = |&&(uidvalidity, uid): &&(u32, u32)| {
            uidvalidity != self.open.uidvalidity || !there.contains(&uid)
        };
        let gone = places.iter().filter(is_gone);
        let names = gone.map(|(uidvalidity, uid)| format!("{}/{uidvalidity}/{uid}", self.open.name));
        self.forgiven.extend(names);
        Ok(())
    }

    /// A known place that is still there, with these flags.
    pub(super) fn still(&mut self, location: &Location, flags: Vec<String>) {
        self.sink.progress().add_seen(1);
        if location.flags == flags {
            self.mailbox.unchanged(&location.location);
            return;
        }
        let seen = Seen {
            location: location.location.clone(),
            folder: location.folder.clone(),
            version: location.version.clone(),
            flags,
            received_at: location.received_at,
        };
        self.located += 1;
        if !self.mailbox.place_known(seen, &location.item) {
            self.mailbox.keep(&location.location);
        }
    }
}
