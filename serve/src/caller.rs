//! Who asks, and what they may see.
//!
//! - In: a token, or what a trusted proxy says. Out: a [`Caller`].
//! - Not here: tokens and how they are kept (`store::tokens`).

use crate::problem::{Kind, Problem};
use governor::DefaultDirectRateLimiter;
use governor::clock::{Clock as _, DefaultClock};
use governor::{Quota, RateLimiter};
use schemas::{Privacy, Role, View};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::tokens::{Token, Tokens};
use tokio::sync::Semaphore;

/// A token that was found good is not looked up again for so long; a revoked one is refused by then.
const BELIEVED: Duration = Duration::from_millis(250);

/// Requests a second of programs and the public, unless their token says otherwise. People have no limit.
const REQUESTS: u32 = 200;

/// Heavy operations of one caller at once: one who does not read must leave room for the others.
const TURNS: usize = 2;

/// Tokens that are remembered, and users of a proxy.
const MOST_REMEMBERED: usize = 10_000;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The id of the token, or the name that a proxy gives.
    pub who: Arc<str>,
    /// Their role.
    pub role: Role,
    /// What they may see.
    pub view: Arc<View>,
    /// Heavy operations of theirs that may be at work at once.
    pub(crate) turns: Arc<Semaphore>,
    limiter: Option<Arc<DefaultDirectRateLimiter>>,
}

impl Caller {
    /// Somebody of a role who may see these datasets, all if absent.
    pub fn new(who: &str, role: Role, datasets: Option<&[String]>, requests_per_second: Option<u32>) -> Self {
        let hidden = match role {
            Role::Public => Some(Privacy::Private),
            Role::Automated => Some(Privacy::Secret),
            Role::User | Role::Dev => None,
        };
        let view = View {
            datasets: datasets.map(|datasets| datasets.iter().cloned().collect()),
            hidden,
            hides_audit: role != Role::Dev,
        };
        let limit = requests_per_second.or(match role {
            Role::Public | Role::Automated => Some(REQUESTS),
            Role::User | Role::Dev => None,
        });
        let limit = limit.and_then(NonZeroU32::new);
        Self {
            who: who.into(),
            role,
            view: Arc::new(view),
            turns: Arc::new(Semaphore::new(TURNS)),
            limiter: limit.map(|limit| Arc::new(RateLimiter::direct(Quota::per_second(limit)))),
        }
    }

    /// The same who asks through an agent: the log of what was asked is for people.
    #[must_use]
    pub fn by_agent(mut self) -> Self {
        Arc::make_mut(&mut self.view).hides_audit = true;
        self
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`Kind::TooManyRequests`] when there were too many.
    pub fn count(&self) -> Result<(), Problem> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        limiter.check().map_err(|wait| {
            let seconds = wait.wait_time_from(DefaultClock::default().now()).as_secs() + 1;
            Problem::new(
                Kind::TooManyRequests,
                "this token has had its requests of this second; wait, or have it made with a higher `--rate`",
            )
            .after(seconds)
        })
    }
}

/// The callers behind tokens, remembered for a moment, and those whom a proxy names.
#[derive(Debug)]
pub struct Callers {
    tokens: Tokens,
    known: Mutex<HashMap<[u8; 32], Known>>,
    /// Those whom a proxy names.
    proxied: Mutex<HashMap<(String, Role), Caller>>,
    /// When each token was last used, until it is written down.
    used: Mutex<HashMap<String, i64>>,
}

#[derive(Debug, Clone)]
struct Known {
    caller: Caller,
    since: Instant,
}

impl Callers {
    /// Callers of these tokens.
    pub fn new(tokens: Tokens) -> Self {
        Self {
            tokens,
            known: Mutex::default(),
            proxied: Mutex::default(),
            used: Mutex::default(),
        }
    }

    /// The tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Who has a token.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`] when nobody has, any more or yet.
    pub async fn of_token(&self, text: &str) -> Result<Caller, Problem> {
        let digest = *blake3::hash(text.as_bytes()).as_bytes();
        let known = self.known().get(&digest).cloned();
        if let Some(known) = known
            && known.since.elapsed() < BELIEVED
        {
            return Ok(known.caller);
        }
        let Some(token) = self.tokens.verify(text).await? else {
            self.known().remove(&digest);
            return Err(Problem::new(
                Kind::Unauthorized,
                "the token is unknown, expired or revoked; `dkc token create NAME` makes one",
            ));
        };
        let now = jiff::Timestamp::now().as_microsecond();
        let used = &self.used;
        used.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(token.id.clone(), now);
        let mut all = self.known();
        if all.len() >= MOST_REMEMBERED && !all.contains_key(&digest) {
            all.clear();
        }
        let since = Instant::now();
        // Its count of requests goes on, and requests that were looked up at once share one.
        let new = || Known {
            caller: caller_of(&token),
            since,
        };
        let known = all.entry(digest).or_insert_with(new);
        known.since = since;
        Ok(known.caller.clone())
    }

    /// Whom a proxy names, the same each time: what they ask is counted, and takes turns.
    pub(crate) fn of_proxy(&self, user: &str, role: Role) -> Caller {
        let mut all = self.proxied.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_REMEMBERED {
            all.clear();
        }
        let new = || Caller::new(&format!("proxy:{user}"), role, None, None);
        all.entry((user.to_owned(), role)).or_insert_with(new).clone()
    }

    /// Whether somebody who listens may go on. Who has no token has none that ends.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`] once their token has expired or is revoked.
    pub(crate) async fn check(&self, caller: &Caller) -> Result<(), Problem> {
        let now = jiff::Timestamp::now().as_microsecond();
        let tokens = self.tokens.list().await?;
        match tokens
            .iter()
            .any(|token| *token.id == *caller.who && !token.is_live(now))
        {
            true => Err(Problem::new(
                Kind::Unauthorized,
                "the token has expired or was revoked meanwhile",
            )),
            false => Ok(()),
        }
    }

    /// Writes down when tokens were last used.
    ///
    /// # Errors
    /// [`store::StoreError`] when SQLite refuses.
    pub async fn write_used(&self) -> Result<(), store::StoreError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let used: Vec<(String, i64)> = used.into_iter().collect();
        match used.is_empty() {
            true => Ok(()),
            false => self.tokens.touch(&used).await,
        }
    }

    /// Forgets what is remembered: a token was revoked.
    pub fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn caller_of(token: &Token) -> Caller {
    Caller::new(
        &token.id,
        token.role,
        token.datasets.as_deref(),
        token.requests_per_second,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;
    use store::tokens::NewToken;

    #[test]
    fn only_dev_sees_the_audit_and_of_some_datasets_only_if_it_is_one() {
        for role in Role::ALL {
            let of = |datasets: Option<&[&str]>| {
                let names =
                    datasets.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
                Caller::new("x", role, names.as_deref(), None).view.shows("audit")
            };
            let is_dev = role == Role::Dev;
            assert_eq!(of(None), is_dev, "{role}");
            assert_eq!(of(Some(&["audit", "photos"])), is_dev, "{role}");
            assert!(!of(Some(&["photos"])), "{role}");
            let agent = Caller::new("x", role, None, None).by_agent();
            assert!(!agent.view.shows("audit"), "{role}");
            assert!(agent.view.shows("photos"), "{role}");
        }
    }

    #[tokio::test]
    async fn requests_that_come_at_once_with_a_token_not_seen_before_share_its_limits() {
        let folder = tempfile::tempdir().unwrap();
        let callers = Callers::new(Tokens::open(folder.path()).await.unwrap());
        let new = NewToken {
            name: "agent".to_owned(),
            role: Role::Automated,
            datasets: None,
            expires_at: None,
            requests_per_second: Some(1),
        };
        let (text, _) = callers.tokens().create(new).await.unwrap();
        let text = text.expose_secret();
        let (one, other) = tokio::join!(callers.of_token(text), callers.of_token(text));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(Arc::ptr_eq(&one.turns, &other.turns));
        one.count().unwrap();
        let problem = other.count().unwrap_err();
        assert_eq!(
            (problem.kind, problem.retry_after),
            (Kind::TooManyRequests, Some(1))
        );
    }

    #[tokio::test]
    async fn who_comes_by_a_proxy_has_the_limits_of_one_caller() {
        let folder = tempfile::tempdir().unwrap();
        let callers = Callers::new(Tokens::open(folder.path()).await.unwrap());
        let asked = || callers.of_proxy("anna", Role::Public).count();
        assert!((0..=10 * REQUESTS).any(|_| asked().is_err()));
        assert!(callers.of_proxy("bert", Role::Public).count().is_ok());
        assert!(callers.of_proxy("anna", Role::User).count().is_ok());
        let turns = callers.of_proxy("anna", Role::User).turns;
        assert!(Arc::ptr_eq(&turns, &callers.of_proxy("anna", Role::User).turns));
        assert!(!Arc::ptr_eq(&turns, &callers.of_proxy("bert", Role::User).turns));
    }
}
