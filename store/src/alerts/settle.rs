//! What was found → what opens, stays and is over.
//!
//! - In: what was found to be wrong, and where was looked. Out: what has changed, written in one transaction.
//! - What opens and what is over is an event too, in the same transaction. It holds no collected text, since events are
//!   for everybody.

use super::{Alert, AlertKind, AlertLog, OPEN, Open, open_of};
use crate::error::StoreError;
use schemas::Instant;
use serde_json::json;
use sqlx::{Any, Transaction};
use std::collections::BTreeMap;

/// The kind of events about alerts.
pub const EVENT: &str = "alert";

/// For so long what is over is remembered: who was not told by then is not told. In microseconds.
const REMEMBERED: i64 = 30 * 24 * 3_600 * 1_000_000;

/// Where was looked: what is open there and was not found is over.
#[derive(Debug, Clone, Copy)]
pub enum Looked<'a> {
    /// For all that is wrong in these ways, but for some keys of which it could not be told.
    Kinds {
        /// The ways.
        kinds: &'a [AlertKind],
        /// The keys that stay as they are.
        undecided: &'a [String],
    },
    /// At these keys alone.
    Keys(&'a [String]),
}

impl Looked<'_> {
    fn covers(&self, alert: &Alert) -> bool {
        match self {
            Self::Kinds { kinds, undecided } => {
                kinds.contains(&alert.kind) && !undecided.contains(&alert.key)
            }
            Self::Keys(keys) => keys.contains(&alert.key),
        }
    }
}

/// What a look has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// What is wrong since now.
    pub opened: Vec<Alert>,
    /// What is over.
    pub over: Vec<Alert>,
}

impl Settled {
    /// Whether all is as it was.
    pub fn is_empty(&self) -> bool {
        self.opened.is_empty() && self.over.is_empty()
    }
}

impl AlertLog {
    /// Notes what was found: what is new opens, what is open stays and says what is wrong in the words of now, and what
    /// was looked for and not found is over. All of it or nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn settle(
        &self,
        looked: Looked<'_>,
        found: &[Alert],
        now: Instant,
    ) -> Result<Settled, StoreError> {
        // Mostly nothing changes, and then nothing is written: whoever watches the database would look again.
        if Changes::between(self.open_now().await?, looked, found).is_empty() {
            return Ok(Settled::default());
        }
        let failed = self.database.failed();
        let mut transaction = self.database.begin_alone().await?;
        let rows = sqlx::query(OPEN).fetch_all(&mut *transaction).await;
        let rows = rows.map_err(&failed)?;
        let open = rows.iter().map(open_of).collect::<Result<Vec<_>, _>>();
        let changes = Changes::between(open.map_err(&failed)?, looked, found);
        for alert in &changes.opens {
            write(&mut transaction, alert, now).await.map_err(&failed)?;
            announce(&mut transaction, "open", alert, now, now)
                .await
                .map_err(&failed)?;
        }
        for alert in &changes.renews {
            sqlx::query("UPDATE alerts SET what = $2, next_step = $3 WHERE key = $1")
                .bind(alert.key.as_str())
                .bind(alert.what.as_str())
                .bind(alert.next_step.as_str())
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
        }
        for open in &changes.ends {
            resolve(&mut transaction, open, now).await.map_err(&failed)?;
            announce(&mut transaction, "recovered", &open.alert, open.since, now)
                .await
                .map_err(&failed)?;
        }
        forget(&mut transaction, now).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(Settled {
            opened: changes.opens.into_iter().cloned().collect(),
            over: changes.ends.into_iter().map(|open| open.alert).collect(),
        })
    }
}

/// What a look changes.
struct Changes<'a> {
    opens: Vec<&'a Alert>,
    renews: Vec<&'a Alert>,
    ends: Vec<Open>,
}

impl<'a> Changes<'a> {
    fn between(open: Vec<Open>, looked: Looked<'_>, found: &'a [Alert]) -> Self {
        let mut new: BTreeMap<&str, &Alert> = BTreeMap::new();
        for alert in found {
            new.entry(alert.key.as_str()).or_insert(alert);
        }
        let (mut renews, mut ends) = (Vec::new(), Vec::new());
        for known in open {
            match new.remove(known.alert.key.as_str()) {
                Some(alert) if *alert != known.alert => renews.push(alert),
                None if looked.covers(&known.alert) => ends.push(known),
                Some(_) | None => {}
            }
        }
        Self {
            opens: new.into_values().collect(),
            renews,
            ends,
        }
    }

    fn is_empty(&self) -> bool {
        self.opens.is_empty() && self.renews.is_empty() && self.ends.is_empty()
    }
}

async fn write(
    transaction: &mut Transaction<'static, Any>,
    alert: &Alert,
    now: Instant,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO alerts (key, kind, subject, what, next_step, since, resolved_at)
         VALUES ($1, $2, $3, $4, $5, $6, NULL)
         ON CONFLICT (key) DO UPDATE SET kind = excluded.kind, subject = excluded.subject, what = excluded.what,
             next_step = excluded.next_step, since = excluded.since, resolved_at = NULL",
    )
    .bind(alert.key.as_str())
    .bind(alert.kind.as_str())
    .bind(alert.subject.as_str())
    .bind(alert.what.as_str())
    .bind(alert.next_step.as_str())
    .bind(now)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn resolve(
    transaction: &mut Transaction<'static, Any>,
    open: &Open,
    now: Instant,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE alerts SET resolved_at = $2 WHERE key = $1")
        .bind(open.alert.key.as_str())
        .bind(now)
        .execute(&mut **transaction)
        .await?;
    if open.alert.kind == AlertKind::SchemaChanged {
        sqlx::query("DELETE FROM alerts_told WHERE key = $1")
            .bind(open.alert.key.as_str())
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

async fn forget(transaction: &mut Transaction<'static, Any>, now: Instant) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM alerts WHERE resolved_at < $1")
        .bind(now.saturating_sub(REMEMBERED))
        .execute(&mut **transaction)
        .await?;
    sqlx::query("DELETE FROM alerts_told WHERE key NOT IN (SELECT key FROM alerts)")
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Writes the event: once, whoever else notices it.
async fn announce(
    transaction: &mut Transaction<'static, Any>,
    state: &str,
    alert: &Alert,
    since: Instant,
    now: Instant,
) -> Result<(), sqlx::Error> {
    let data = json!({
        "state": state,
        "key": alert.key,
        "kind": alert.kind.as_str(),
        "subject": alert.subject,
        "since": jiff::Timestamp::from_microsecond(since).ok().map(|at| at.to_string()),
    });
    sqlx::query(
        "INSERT INTO events (seq, at, kind, subject, once, data)
         SELECT coalesce(max(seq), 0) + 1, $1, $2, $3, $4, $5 FROM events WHERE TRUE
         ON CONFLICT (once) DO NOTHING",
    )
    .bind(now)
    .bind(EVENT)
    .bind(alert.subject.as_str())
    .bind(format!("{EVENT}:{}:{state}:{since}", alert.key))
    .bind(data.to_string())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
