//! What each channel has to be told, once.
//!
//! - In: the name of a channel. Out: what it has to be told now; afterwards, that it was told.
//! - What a channel was not told because it was down, it is told when it is up again, if it is true still.

use super::{Alert, AlertLog, alert_of};
use crate::error::StoreError;
use schemas::Instant;
use sqlx::any::AnyRow;
use sqlx::{Any, Row};
use std::time::Duration;

/// For so long nobody else tells what somebody has begun to tell: longer than telling may take. In microseconds.
const CLAIM: i64 = 120_000_000;

/// So many are told at once; the others follow.
const TOGETHER: i64 = 100;

/// What a channel has to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What is or was wrong.
    pub alert: Alert,
    /// Since when that is or was known.
    pub since: Instant,
    /// Whether it is over.
    pub is_over: bool,
    /// Whether it was told before, and is open still.
    pub is_repeated: bool,
}

/// What a channel ($1) has to be told now ($2): what it was not told, or last before $3, and what is over of what it
/// was told. A claim that ends after $4 was made before the clock was set back.
const UNTOLD: &str = "
SELECT a.key, a.kind, a.subject, a.what, a.next_step, a.since, a.resolved_at, t.told_at
FROM alerts a LEFT JOIN alerts_told t ON t.key = a.key AND t.channel = $1
WHERE (t.claimed_until IS NULL OR t.claimed_until <= $2 OR t.claimed_until > $4)
  AND ((a.resolved_at IS NULL AND (t.told_at IS NULL OR t.told_at <= $3))
       OR (a.resolved_at IS NOT NULL AND t.told_at IS NOT NULL))
ORDER BY a.since, a.key LIMIT $5";

impl AlertLog {
    /// What a channel has to be told now: what is new, what is over, and what it was told longer ago than `repeat`.
    /// Whoever gets it tells it: for two minutes nobody else gets it, and without [`AlertLog::told`] it comes again.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn untold(
        &self,
        channel: &str,
        repeat: Duration,
        now: Instant,
    ) -> Result<Vec<News>, StoreError> {
        let failed = self.database.failed();
        let repeat = i64::try_from(repeat.as_micros()).unwrap_or(i64::MAX);
        let asked = || {
            sqlx::query::<Any>(UNTOLD)
                .bind(channel)
                .bind(now)
                .bind(now.saturating_sub(repeat))
                .bind(now.saturating_add(CLAIM))
                .bind(TOGETHER)
        };
        let there = asked().fetch_optional(self.database.pool()).await;
        if there.map_err(&failed)?.is_none() {
            return Ok(Vec::new());
        }
        let mut transaction = self.database.begin_alone().await?;
        let rows = asked().fetch_all(&mut *transaction).await.map_err(&failed)?;
        let news = rows.iter().map(news_of).collect::<Result<Vec<_>, _>>();
        let news = news.map_err(&failed)?;
        for one in &news {
            sqlx::query(
                "INSERT INTO alerts_told (key, channel, claimed_until) VALUES ($1, $2, $3)
                 ON CONFLICT (key, channel) DO UPDATE SET claimed_until = excluded.claimed_until",
            )
            .bind(one.alert.key.as_str())
            .bind(channel)
            .bind(now.saturating_add(CLAIM))
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(news)
    }

    /// Notes that a channel was told.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn told(&self, channel: &str, news: &[News], now: Instant) -> Result<(), StoreError> {
        if news.is_empty() {
            return Ok(());
        }
        let failed = self.database.failed();
        let mut transaction = self.database.begin_alone().await?;
        for one in news {
            let statement = match one.is_over {
                // Should it have opened again meanwhile, that is news again.
                true => sqlx::query("DELETE FROM alerts_told WHERE key = $1 AND channel = $2"),
                false => sqlx::query(
                    "UPDATE alerts_told SET told_at = $3, claimed_until = NULL WHERE key = $1 AND channel = $2",
                ),
            };
            let statement = statement.bind(one.alert.key.as_str()).bind(channel);
            let statement = match one.is_over {
                true => statement,
                false => statement.bind(now),
            };
            statement.execute(&mut *transaction).await.map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }
}

fn news_of(row: &AnyRow) -> Result<News, sqlx::Error> {
    let resolved_at: Option<Instant> = row.try_get("resolved_at")?;
    let told_at: Option<Instant> = row.try_get("told_at")?;
    Ok(News {
        alert: alert_of(row)?,
        since: row.try_get("since")?,
        is_over: resolved_at.is_some(),
        is_repeated: resolved_at.is_none() && told_at.is_some(),
    })
}
