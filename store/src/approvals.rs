//! Approvals: acts that wait for their owner, and who has read what others wrote. Two tables of the state database.
//!
//! - In: what somebody wants to do; the owner's word. Out: what waits; whether an act may be done, this once.
//! - Not here: which acts need an approval, what a plan is, who counts as the owner: the gateway knows.

mod request;

pub use request::{Approval, AskError, Decision, Request, State};

use crate::database::{Database, Part, Place};
use crate::error::StoreError;
use crate::keys::random_bytes;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use request::approval_of;
use schemas::Instant;
use std::path::PathBuf;

/// Characters of an id: 48 random bits as base64url (RFC 4648 §5).
const ID: usize = 8;

const MINUTE: Instant = 60_000_000;
const HOUR: Instant = 60 * MINUTE;
const DAY: Instant = 24 * HOUR;

/// So long a request waits for its owner.
const WAITS: Instant = HOUR;

/// So long an approval may be used: the world is as the owner was told for a while only.
const USABLE: Instant = 10 * MINUTE;

/// So long what was asked is kept.
const KEPT: Instant = 30 * DAY;

/// Requests of one asker that may wait at once: nobody reads more.
const MOST_WAITING: i64 = 100;

/// So long it is remembered, at least, that somebody read what others wrote.
const TAINTED: Instant = DAY;

/// The tables `approvals` and `tainted`.
#[derive(Debug, Clone)]
pub struct Approvals {
    database: Database,
    /// The data directory.
    data: PathBuf,
}

impl Approvals {
    /// Opens the approvals of a place; what is missing is made.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn open(place: impl Into<Place>) -> Result<Self, StoreError> {
        let place = place.into();
        Ok(Self {
            database: Database::open(&place, Part::State).await?,
            data: place.data,
        })
    }

    /// The approval of a request: the one that waits or is approved, else a new one, which waits.
    ///
    /// # Errors
    /// [`AskError::TooMany`] when as many of the asker wait as may; [`StoreError`] when the database refuses.
    pub async fn ask(&self, request: &Request) -> Result<Approval, AskError> {
        self.ask_at(request, now()).await
    }

    async fn ask_at(&self, request: &Request, now: Instant) -> Result<Approval, AskError> {
        let failed = self.database.failed();
        // Two that ask for the same at once get the same.
        let mut transaction = self.database.begin_alone().await?;
        sqlx::query("DELETE FROM approvals WHERE asked_at < $1")
            .bind(now.saturating_sub(KEPT))
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        let there = sqlx::query(
            "SELECT * FROM approvals
             WHERE digest = $1 AND who = $2 AND state IN ('waiting', 'approved') AND expires_at > $3
             ORDER BY asked_at DESC LIMIT 1",
        )
        .bind(&request.digest)
        .bind(&request.who)
        .bind(now)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(&failed)?;
        if let Some(row) = there {
            let mut approval = approval_of(&row, now).map_err(&failed)?;
            // The owner, who has not decided yet, must hear what the asker has read meanwhile.
            if approval.state == State::Waiting && request.untrusted && !approval.request.untrusted {
                sqlx::query("UPDATE approvals SET untrusted = 1 WHERE id = $1")
                    .bind(&approval.id)
                    .execute(&mut *transaction)
                    .await
                    .map_err(&failed)?;
                approval.request.untrusted = true;
            }
            transaction.commit().await.map_err(&failed)?;
            return Ok(approval);
        }
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM approvals WHERE state = 'waiting' AND expires_at > $1 AND who = $2",
        )
        .bind(now)
        .bind(&request.who)
        .fetch_one(&mut *transaction)
        .await
        .map_err(&failed)?;
        if waiting >= MOST_WAITING {
            return Err(AskError::TooMany);
        }
        let approval = Approval {
            id: self.new_id()?,
            request: request.clone(),
            state: State::Waiting,
            asked_at: now,
            decided_at: None,
            decided_by: None,
            expires_at: now.saturating_add(WAITS),
        };
        sqlx::query("INSERT INTO approvals VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL, NULL, $10)")
            .bind(&approval.id)
            .bind(&request.digest)
            .bind(&request.who)
            .bind(&request.operation)
            .bind(&request.summary)
            .bind(i64::from(request.is_destructive))
            .bind(i64::from(request.untrusted))
            .bind(approval.state.as_str())
            .bind(approval.asked_at)
            .bind(approval.expires_at)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(approval)
    }

    fn new_id(&self) -> Result<String, StoreError> {
        loop {
            let text = URL_SAFE_NO_PAD.encode(random_bytes(&self.data)?);
            // An id that begins with `-` would be an option on a command line.
            if !text.starts_with('-') {
                return Ok(text.chars().take(ID).collect());
            }
        }
    }

    /// Those that wait for their owner, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn waiting(&self) -> Result<Vec<Approval>, StoreError> {
        self.waiting_at(now()).await
    }

    async fn waiting_at(&self, now: Instant) -> Result<Vec<Approval>, StoreError> {
        let failed = self.database.failed();
        let rows = sqlx::query(
            "SELECT * FROM approvals WHERE state = 'waiting' AND expires_at > $1 ORDER BY asked_at, id",
        )
        .bind(now)
        .fetch_all(self.database.pool())
        .await
        .map_err(&failed)?;
        rows.iter()
            .map(|row| approval_of(row, now))
            .collect::<Result<_, _>>()
            .map_err(&failed)
    }

    /// One, in whatever state.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn get(&self, id: &str) -> Result<Option<Approval>, StoreError> {
        self.get_at(id, now()).await
    }

    async fn get_at(&self, id: &str, now: Instant) -> Result<Option<Approval>, StoreError> {
        let failed = self.database.failed();
        let row = sqlx::query("SELECT * FROM approvals WHERE id = $1")
            .bind(id)
            .fetch_optional(self.database.pool())
            .await
            .map_err(&failed)?;
        row.map(|row| approval_of(&row, now)).transpose().map_err(&failed)
    }

    /// Approves or refuses one that waits. Who asked for it cannot.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses; nothing is decided then.
    pub async fn decide(&self, id: &str, by: &str, approve: bool) -> Result<Decision, StoreError> {
        self.decide_at(id, by, approve, now()).await
    }

    async fn decide_at(
        &self,
        id: &str,
        by: &str,
        approve: bool,
        now: Instant,
    ) -> Result<Decision, StoreError> {
        let failed = self.database.failed();
        // Of two who decide at once, the second hears what the first decided.
        let mut transaction = self.database.begin_alone().await?;
        let row = sqlx::query("SELECT * FROM approvals WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(&failed)?;
        let Some(row) = row else {
            return Ok(Decision::Unknown);
        };
        let mut approval = approval_of(&row, now).map_err(&failed)?;
        if approval.request.who == by {
            return Ok(Decision::OwnRequest);
        }
        if approval.state != State::Waiting {
            return Ok(Decision::NotWaiting(approval.state));
        }
        approval.decided_at = Some(now);
        approval.decided_by = Some(by.to_owned());
        if approve {
            approval.state = State::Approved;
            approval.expires_at = now.saturating_add(USABLE);
        } else {
            approval.state = State::Refused;
        }
        sqlx::query(
            "UPDATE approvals SET state = $2, decided_at = $3, decided_by = $4, expires_at = $5 WHERE id = $1",
        )
        .bind(&approval.id)
        .bind(approval.state.as_str())
        .bind(now)
        .bind(by)
        .bind(approval.expires_at)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(Decision::Done(approval))
    }

    /// Uses an approval up: true once, for one caller. Of somebody who has read what others wrote, only one that was given
    /// when the owner was told so.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn take(&self, digest: &str, who: &str, untrusted: bool) -> Result<bool, StoreError> {
        self.take_at(digest, who, untrusted, now()).await
    }

    async fn take_at(
        &self,
        digest: &str,
        who: &str,
        untrusted: bool,
        now: Instant,
    ) -> Result<bool, StoreError> {
        let failed = self.database.failed();
        // Nobody comes between looking and writing.
        let mut transaction = self.database.begin_alone().await?;
        let taken = sqlx::query(
            "UPDATE approvals SET state = 'used' WHERE id =
             (SELECT id FROM approvals
              WHERE digest = $1 AND who = $2 AND state = 'approved' AND expires_at > $3
                AND (untrusted = 1 OR $4 = 0)
              ORDER BY asked_at LIMIT 1)",
        )
        .bind(digest)
        .bind(who)
        .bind(now)
        .bind(i64::from(untrusted))
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(taken.rows_affected() == 1)
    }

    /// Whether the owner refused this in the last hour.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn is_refused(&self, digest: &str, who: &str) -> Result<bool, StoreError> {
        let refused: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM approvals
             WHERE digest = $1 AND who = $2 AND state = 'refused' AND decided_at > $3",
        )
        .bind(digest)
        .bind(who)
        .bind(now().saturating_sub(WAITS))
        .fetch_one(self.database.pool())
        .await
        .map_err(self.database.failed())?;
        Ok(refused > 0)
    }

    /// Remembers for a day that somebody was shown, by this operation, text that others wrote.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn taint(&self, who: &str, why: &str) -> Result<(), StoreError> {
        self.taint_at(who, why, now()).await
    }

    async fn taint_at(&self, who: &str, why: &str, now: Instant) -> Result<(), StoreError> {
        let failed = self.database.failed();
        let end = now.saturating_add(TAINTED);
        // Who reads much is written down once a minute, not at each answer: it is remembered a minute longer for that.
        if self.is_tainted_at(who, end.saturating_sub(1)).await? {
            return Ok(());
        }
        let mut transaction = self.database.begin().await?;
        sqlx::query("DELETE FROM tainted WHERE until <= $1")
            .bind(now)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        sqlx::query(
            "INSERT INTO tainted VALUES ($1, $2, $3)
             ON CONFLICT (who) DO UPDATE SET until = excluded.until WHERE excluded.until > tainted.until",
        )
        .bind(who)
        .bind(why)
        .bind(end.saturating_add(MINUTE))
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)
    }

    /// Whether somebody was shown text that others wrote, in the last day.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn is_tainted(&self, who: &str) -> Result<bool, StoreError> {
        self.is_tainted_at(who, now()).await
    }

    async fn is_tainted_at(&self, who: &str, now: Instant) -> Result<bool, StoreError> {
        let tainted: i64 = sqlx::query_scalar("SELECT count(*) FROM tainted WHERE who = $1 AND until > $2")
            .bind(who)
            .bind(now)
            .fetch_one(self.database.pool())
            .await
            .map_err(self.database.failed())?;
        Ok(tainted > 0)
    }

    /// Ends all use of the database.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

fn now() -> Instant {
    jiff::Timestamp::now().as_microsecond()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::tests::{postgres, sqlite};
    use futures::future::join_all;

    /// A moment.
    const T: Instant = 1_800_000_000_000_000;

    fn request(digest: &str) -> Request {
        Request {
            digest: digest.to_owned(),
            who: "agent".to_owned(),
            operation: "restart_container".to_owned(),
            summary: "restarts the container `web`".to_owned(),
            is_destructive: true,
            untrusted: false,
        }
    }

    fn state(decision: Decision) -> State {
        match decision {
            Decision::Done(approval) => approval.state,
            other => panic!("{other:?}"),
        }
    }

    async fn waits_once(place: &Place) {
        let approvals = Approvals::open(place).await.unwrap();
        let other = Approvals::open(place).await.unwrap();
        let wanted = request("a");
        let asked = join_all(
            (0..8)
                .map(|n| if n % 2 == 0 { &approvals } else { &other })
                .map(|one| one.ask(&wanted)),
        )
        .await;
        let first = asked.first().unwrap().as_ref().unwrap();
        assert!(
            asked.iter().all(|one| one.as_ref().unwrap() == first),
            "{asked:?}"
        );
        assert_eq!(first.id.len(), ID);
        assert!(!first.id.starts_with('-'));
        let theirs = Request {
            who: "other".to_owned(),
            ..wanted
        };
        let theirs = approvals.ask(&theirs).await.unwrap();
        assert_ne!(theirs.id, first.id);
        assert_eq!(approvals.waiting().await.unwrap(), [first.clone(), theirs]);
    }

    #[tokio::test]
    async fn what_is_asked_twice_waits_once_and_another_asker_has_their_own() {
        let (_folder, place) = sqlite();
        waits_once(&place).await;
    }

    async fn is_used_once(place: &Place) {
        let approvals = Approvals::open(place).await.unwrap();
        let other = Approvals::open(place).await.unwrap();
        let asked = approvals.ask(&request("a")).await.unwrap();
        assert!(!approvals.take("a", "agent", false).await.unwrap());
        assert_eq!(
            state(approvals.decide(&asked.id, "cli", true).await.unwrap()),
            State::Approved
        );
        assert_eq!(approvals.ask(&request("a")).await.unwrap().state, State::Approved);
        for (digest, who) in [("b", "agent"), ("a", "other")] {
            assert!(
                !approvals.take(digest, who, false).await.unwrap(),
                "{digest} {who}"
            );
        }
        let taken = join_all(
            (0..8)
                .map(|n| if n % 2 == 0 { &approvals } else { &other })
                .map(|one| one.take("a", "agent", false)),
        )
        .await;
        let taken: Vec<bool> = taken.into_iter().map(Result::unwrap).collect();
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "{taken:?}");
        assert_eq!(
            approvals.get(&asked.id).await.unwrap().unwrap().state,
            State::Used
        );
        // What was used up is asked for anew.
        let again = approvals.ask(&request("a")).await.unwrap();
        assert_eq!((again.id == asked.id, again.state), (false, State::Waiting));
    }

    #[tokio::test]
    async fn an_approval_is_used_once_by_whoever_is_first() {
        let (_folder, place) = sqlite();
        is_used_once(&place).await;
    }

    async fn is_decided_once(place: &Place) {
        let approvals = Approvals::open(place).await.unwrap();
        let other = Approvals::open(place).await.unwrap();
        let asked = approvals.ask(&request("a")).await.unwrap();
        for approve in [true, false] {
            let decision = approvals.decide(&asked.id, "agent", approve).await.unwrap();
            assert_eq!(decision, Decision::OwnRequest);
        }
        assert_eq!(approvals.waiting().await.unwrap(), std::slice::from_ref(&asked));
        let (yes, no) = tokio::join!(
            approvals.decide(&asked.id, "phone", true),
            other.decide(&asked.id, "cli", false)
        );
        let decisions = [yes.unwrap(), no.unwrap()];
        let kept = approvals.get(&asked.id).await.unwrap().unwrap();
        assert!(decisions.contains(&Decision::Done(kept.clone())), "{decisions:?}");
        assert!(
            decisions.contains(&Decision::NotWaiting(kept.state)),
            "{decisions:?}"
        );
        assert!(kept.decided_at.is_some() && kept.decided_by.is_some());
        let unknown = approvals.decide("nobody", "cli", true).await.unwrap();
        assert_eq!(unknown, Decision::Unknown);
    }

    #[tokio::test]
    async fn one_is_decided_once_and_not_by_who_asked() {
        let (_folder, place) = sqlite();
        is_decided_once(&place).await;
    }

    async fn is_not_taken_when_refused(place: &Place) {
        let approvals = Approvals::open(place).await.unwrap();
        let asked = approvals.ask(&request("a")).await.unwrap();
        assert_eq!(
            state(approvals.decide(&asked.id, "cli", false).await.unwrap()),
            State::Refused
        );
        assert!(!approvals.take("a", "agent", false).await.unwrap());
        assert!(approvals.waiting().await.unwrap().is_empty());
        assert_ne!(approvals.ask(&request("a")).await.unwrap().id, asked.id);
    }

    #[tokio::test]
    async fn what_was_refused_is_never_taken() {
        let (_folder, place) = sqlite();
        is_not_taken_when_refused(&place).await;
    }

    async fn waits_for_an_hour(place: &Place) {
        let approvals = Approvals::open(place).await.unwrap();
        let asked = approvals.ask_at(&request("a"), T).await.unwrap();
        let state_at = async |at| approvals.get_at(&asked.id, at).await.unwrap().unwrap().state;
        assert_eq!(state_at(T + HOUR - 1).await, State::Waiting);
        assert_eq!(state_at(T + HOUR).await, State::Expired);
        assert_eq!(approvals.waiting_at(T + HOUR - 1).await.unwrap().len(), 1);
        assert!(approvals.waiting_at(T + HOUR).await.unwrap().is_empty());
        let late = approvals
            .decide_at(&asked.id, "cli", true, T + HOUR)
            .await
            .unwrap();
        assert_eq!(late, Decision::NotWaiting(State::Expired));
        let again = approvals.ask_at(&request("a"), T + HOUR).await.unwrap();
        assert_ne!(again.id, asked.id);
    }

    #[tokio::test]
    async fn what_waits_ends_after_an_hour() {
        let (_folder, place) = sqlite();
        waits_for_an_hour(&place).await;
    }

    async fn is_usable_for_ten_minutes(place: &Place) {
        let approvals = Approvals::open(place).await.unwrap();
        let end = T + HOUR - 1 + USABLE;
        let mut ids = Vec::new();
        for digest in ["early", "late"] {
            let asked = approvals.ask_at(&request(digest), T).await.unwrap();
            let decision = approvals.decide_at(&asked.id, "cli", true, T + HOUR - 1).await;
            assert_eq!(state(decision.unwrap()), State::Approved);
            ids.push(asked.id);
        }
        assert!(approvals.take_at("early", "agent", false, end - 1).await.unwrap());
        assert!(!approvals.take_at("late", "agent", false, end).await.unwrap());
        let state_at = async |id: &str| approvals.get_at(id, end).await.unwrap().unwrap().state;
        assert_eq!(state_at(&ids[0]).await, State::Used);
        assert_eq!(state_at(&ids[1]).await, State::Expired);
    }

    #[tokio::test]
    async fn what_is_approved_ends_after_ten_minutes() {
        let (_folder, place) = sqlite();
        is_usable_for_ten_minutes(&place).await;
    }

    async fn outlives_a_restart(place: &Place) {
        let approvals = Approvals::open(place).await.unwrap();
        let approved = approvals.ask(&request("a")).await.unwrap();
        let waiting = approvals.ask(&request("b")).await.unwrap();
        let Decision::Done(approved) = approvals.decide(&approved.id, "cli", true).await.unwrap() else {
            panic!("it waited");
        };
        approvals.taint("agent", "search").await.unwrap();
        approvals.close().await;
        let approvals = Approvals::open(place).await.unwrap();
        assert_eq!(approvals.get(&approved.id).await.unwrap(), Some(approved));
        assert_eq!(approvals.waiting().await.unwrap(), [waiting]);
        assert!(approvals.is_tainted("agent").await.unwrap());
        assert!(approvals.take("a", "agent", false).await.unwrap());
    }

    #[tokio::test]
    async fn a_restart_keeps_everything() {
        let (_folder, place) = sqlite();
        outlives_a_restart(&place).await;
    }

    async fn is_one_of_a_hundred(place: &Place) {
        let approvals = Approvals::open(place).await.unwrap();
        for number in 0..MOST_WAITING {
            approvals.ask_at(&request(&number.to_string()), T).await.unwrap();
        }
        let refused = approvals.ask_at(&request("more"), T).await;
        assert!(matches!(refused, Err(AskError::TooMany)), "{refused:?}");
        // What waits already may be asked for, others may ask, and room comes back.
        approvals.ask_at(&request("0"), T).await.unwrap();
        let theirs = Request {
            who: "other".to_owned(),
            ..request("more")
        };
        approvals.ask_at(&theirs, T).await.unwrap();
        approvals.ask_at(&request("more"), T + HOUR).await.unwrap();
    }

    #[tokio::test]
    async fn no_more_than_a_hundred_of_one_asker_wait() {
        let (_folder, place) = sqlite();
        is_one_of_a_hundred(&place).await;
    }

    async fn is_forgotten_when_old(place: &Place) {
        let approvals = Approvals::open(place).await.unwrap();
        let old = approvals.ask_at(&request("a"), T).await.unwrap();
        approvals.ask_at(&request("b"), T + KEPT).await.unwrap();
        assert!(approvals.get_at(&old.id, T + KEPT).await.unwrap().is_some());
        approvals.ask_at(&request("b"), T + KEPT + 1).await.unwrap();
        assert!(approvals.get_at(&old.id, T + KEPT).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn old_ones_are_forgotten() {
        let (_folder, place) = sqlite();
        is_forgotten_when_old(&place).await;
    }

    async fn tells_what_was_read_later(place: &Place) {
        let approvals = Approvals::open(place).await.unwrap();
        let asked = approvals.ask(&request("a")).await.unwrap();
        let untrusted = Request {
            untrusted: true,
            ..request("a")
        };
        let again = approvals.ask(&untrusted).await.unwrap();
        assert_eq!(
            (again.id.as_str(), again.request.untrusted),
            (asked.id.as_str(), true)
        );
        // It is not taken back.
        approvals.ask(&request("a")).await.unwrap();
        assert_eq!(approvals.waiting().await.unwrap(), [again]);
    }

    #[tokio::test]
    async fn the_owner_hears_what_the_asker_read_after_asking() {
        let (_folder, place) = sqlite();
        tells_what_was_read_later(&place).await;
    }

    async fn is_remembered_for_a_day(place: &Place) {
        let approvals = Approvals::open(place).await.unwrap();
        assert!(!approvals.is_tainted_at("agent", T).await.unwrap());
        approvals.taint_at("agent", "search", T).await.unwrap();
        approvals.taint_at("agent", "get_item", T + MINUTE).await.unwrap();
        assert!(
            approvals
                .is_tainted_at("agent", T + MINUTE + DAY - 1)
                .await
                .unwrap()
        );
        approvals.taint_at("agent", "get_item", T + HOUR).await.unwrap();
        assert!(
            approvals
                .is_tainted_at("agent", T + HOUR + DAY - 1)
                .await
                .unwrap()
        );
        assert!(
            !approvals
                .is_tainted_at("agent", T + HOUR + DAY + MINUTE)
                .await
                .unwrap()
        );
        assert!(!approvals.is_tainted_at("other", T).await.unwrap());
    }

    #[tokio::test]
    async fn a_taint_is_remembered_for_a_day_after_the_last_reading() {
        let (_folder, place) = sqlite();
        is_remembered_for_a_day(&place).await;
    }

    #[tokio::test]
    async fn all_of_it_holds_on_postgres() {
        waits_once(&postgres().1).await;
        is_used_once(&postgres().1).await;
        is_decided_once(&postgres().1).await;
        is_not_taken_when_refused(&postgres().1).await;
        waits_for_an_hour(&postgres().1).await;
        is_usable_for_ten_minutes(&postgres().1).await;
        outlives_a_restart(&postgres().1).await;
        is_one_of_a_hundred(&postgres().1).await;
        is_forgotten_when_old(&postgres().1).await;
        tells_what_was_read_later(&postgres().1).await;
        is_remembered_for_a_day(&postgres().1).await;
    }
}
