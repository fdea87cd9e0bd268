//! Tells agents when what they watch has changed.
//!
//! - A resource has changed when its dataset has: the gateway looks five times a second whether any did. What is about runs
//!   changes with them.
//! - Not here: reading it again, which the agent does.

use super::listing;
use super::options::Options;
use crate::caller::Caller;
use crate::dispatcher::Gateway;
use crate::lake::Head;
use crate::operation::Face;
use crate::problem::{Kind, Problem};
use crate::resources;
use rmcp::ErrorData;
use rmcp::model::ResourceUpdatedNotificationParam;
use rmcp::service::{Peer, RoleServer, SubscriptionContext};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// Addresses that one agent may watch.
const MOST: usize = 100;

/// How often it is seen whether a token has ended.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The addresses that an agent of the earlier protocol watches.
#[derive(Clone, Default)]
pub(super) struct Subscribed {
    uris: Arc<Mutex<BTreeSet<String>>>,
}

impl Subscribed {
    fn uris(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.uris.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches an address.
    ///
    /// # Errors
    /// That there is no such resource, or too many are watched.
    pub(super) fn add(
        &self,
        gateway: &Arc<Gateway>,
        caller: &Caller,
        options: &Options,
        uri: &str,
        peer: &Peer<RoleServer>,
    ) -> Result<(), ErrorData> {
        if state(gateway, caller, options, &gateway.lake.head(), uri).is_none() {
            return Err(ErrorData::resource_not_found(
                "there is no such resource to watch",
                None,
            ));
        }
        let is_first = {
            let mut uris = self.uris();
            if uris.len() >= MOST {
                return Err(ErrorData::invalid_request(
                    "as many resources are watched as may be",
                    None,
                ));
            }
            let is_first = uris.is_empty();
            uris.insert(uri.to_owned());
            is_first
        };
        if is_first {
            let (own, gateway, caller, options, peer) = (
                self.clone(),
                gateway.clone(),
                caller.clone(),
                options.clone(),
                peer.clone(),
            );
            tokio::spawn(async move {
                let mut heads = gateway.lake.heads();
                let mut before = heads.borrow_and_update().clone();
                loop {
                    tokio::select! {
                        changed = heads.changed() => if changed.is_err() { return },
                        () = gateway.stop.cancelled() => return,
                    }
                    match gateway.callers.check(&caller).await {
                        Ok(()) => {}
                        Err(problem) if problem.kind == Kind::Unauthorized => return,
                        // The database is away: it is told once that is back.
                        Err(_) => continue,
                    }
                    let now = heads.borrow_and_update().clone();
                    let uris = own.uris().clone();
                    if uris.is_empty() {
                        return;
                    }
                    for uri in changed(&gateway, &caller, &options, &before, &now, uris.iter()) {
                        let updated = ResourceUpdatedNotificationParam::new(uri);
                        if peer.notify_resource_updated(updated).await.is_err() {
                            return;
                        }
                    }
                    before = now;
                }
            });
        }
        Ok(())
    }

    /// Watches an address no longer.
    pub(super) fn remove(&self, uri: &str) {
        self.uris().remove(uri);
    }
}

/// Tells what changes until the agent has heard enough.
///
/// # Errors
/// That too many listen already, the caller asks too often, or their token has ended.
pub(super) async fn listen(
    gateway: &Gateway,
    caller: &Caller,
    options: &Options,
    context: &SubscriptionContext,
) -> Result<(), ErrorData> {
    let refused = |problem: Problem| ErrorData::invalid_request(problem.detail, None);
    caller.count().map_err(refused)?;
    let _listens = gateway
        .listeners
        .try_acquire()
        .map_err(|_| ErrorData::invalid_request("too many listen already; read again instead", None))?;
    let id = Uuid::now_v7().simple().to_string();
    let _ticket = gateway.ticket("listen", Some(caller), Face::Mcp, &Value::Null, &id);
    let uris: Vec<String> = context
        .accepted()
        .resource_subscriptions
        .iter()
        .flatten()
        .take(MOST)
        .cloned()
        .collect();
    let mut heads = gateway.lake.heads();
    let mut before = heads.borrow_and_update().clone();
    loop {
        tokio::select! {
            changed = heads.changed() => if changed.is_err() { return Ok(()) },
            () = gateway.stop.cancelled() => return Ok(()),
            () = context.cancelled() => return Ok(()),
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        gateway.callers.check(caller).await.map_err(refused)?;
        let now = heads.borrow_and_update().clone();
        for uri in changed(gateway, caller, options, &before, &now, uris.iter()) {
            if context.sink().notify_resource_updated(uri).await.is_err() {
                return Ok(());
            }
        }
        before = now;
    }
}

/// Those whose data is another now.
fn changed<'a>(
    gateway: &Gateway,
    caller: &Caller,
    options: &Options,
    before: &Head,
    now: &Head,
    uris: impl Iterator<Item = &'a String>,
) -> Vec<String> {
    let is_other = |uri: &&String| {
        state(gateway, caller, options, before, uri) != state(gateway, caller, options, now, uri)
    };
    uris.filter(is_other).cloned().collect()
}

/// What tells one state of a resource from the next; `None` where there is none for the caller.
fn state(
    gateway: &Gateway,
    caller: &Caller,
    options: &Options,
    head: &Head,
    uri: &str,
) -> Option<(Option<i64>, u64)> {
    let (resource, entry, _) = resources::find(uri)?;
    listing::operation(gateway, caller, options, entry)?;
    Some(match resource.toolset.dataset {
        Some(dataset) => {
            let holding = head.holdings.get(dataset);
            (holding.and_then(|holding| holding.changed_at), 0)
        }
        None => (None, head.state),
    })
}
