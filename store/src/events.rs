//! What happened: a small table of the state database, from which whoever listens goes on where they stopped.
//!
//! - In: what there is now. Out: events, each announced once, whoever announces it and however often.
//! - Events of the lake are of its state, not of each commit: what happened while nobody looked is one event.
//! - Not here: who listens (`serve`).

use crate::database::{Database, Part, Place};
use crate::error::StoreError;
use crate::inventory::Holding;
use schemas::datasets::runs::Run;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::any::AnyRow;

/// So many are kept.
const KEPT: i64 = 100_000;

/// The kind of events about the rows of a dataset.
pub const ROWS: &str = "rows";
/// The kind of events about a run.
pub const RUN: &str = "run";
/// The kind of events about alerts; [`crate::alerts`] writes them.
pub use crate::alerts::EVENT as ALERT;
/// The kind of events about whether all is well.
pub const HEALTH: &str = "health";

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its number; later ones have higher numbers.
    pub seq: i64,
    /// When it was noticed, in microseconds since 1970.
    pub at: i64,
    /// [`ROWS`], [`RUN`], [`HEALTH`] or [`ALERT`].
    pub kind: String,
    /// The dataset or the pipeline.
    pub subject: String,
    /// What is to be told.
    pub data: Value,
}

/// The table `events`.
#[derive(Debug, Clone)]
pub struct Events {
    database: Database,
}

impl Events {
    /// Opens the events of a place.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn open(place: impl Into<Place>) -> Result<Self, StoreError> {
        let place = place.into();
        let database = Database::open(&place, Part::State).await?;
        Ok(Self { database })
    }

    /// Announces what there is of a dataset, if that is news.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn rows(&self, holding: &Holding) -> Result<(), StoreError> {
        let Some(snapshot) = holding.changed_at else {
            return Ok(());
        };
        let failed = self.database.failed();
        let before: Option<String> = sqlx::query_scalar(
            "SELECT data FROM events WHERE kind = $1 AND subject = $2 ORDER BY seq DESC LIMIT 1",
        )
        .bind(ROWS)
        .bind(&holding.dataset)
        .fetch_optional(self.database.pool())
        .await
        .map_err(&failed)?;
        let before: Option<Value> = before.and_then(|data| serde_json::from_str(&data).ok());
        let rows = before
            .as_ref()
            .and_then(|data| data.get("rows"))
            .and_then(Value::as_i64);
        let data = json!({
            "dataset": holding.dataset,
            "snapshot": snapshot,
            "rows": holding.rows,
            "rows_before": rows.unwrap_or(0),
        });
        let once = format!("{ROWS}:{}:{snapshot}:{}", holding.dataset, holding.rows);
        self.announce(ROWS, &holding.dataset, &once, &data).await
    }

    /// Announces how far a run has come, if that is news.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn run(&self, run: &Run) -> Result<(), StoreError> {
        let once = format!(
            "{RUN}:{}:{}:{}",
            run.run.0,
            run.state.as_str(),
            run.counts.items_seen
        );
        let data = json!({
            "pipeline": run.pipeline,
            "run": run.run.0,
            "state": run.state.as_str(),
            "items_seen": run.counts.items_seen,
            "items_stored": run.counts.items_stored,
            "items_rejected": run.counts.items_rejected,
        });
        self.announce(RUN, run.pipeline.as_str(), &once, &data).await
    }

    /// Announces whether all is well, if that is another than when it was last announced.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn health(&self, data: &Value) -> Result<(), StoreError> {
        let last: Option<(i64, String)> =
            sqlx::query_as("SELECT seq, data FROM events WHERE kind = $1 ORDER BY seq DESC LIMIT 1")
                .bind(HEALTH)
                .fetch_optional(self.database.pool())
                .await
                .map_err(self.database.failed())?;
        let (seq, last) = last.unwrap_or_default();
        match serde_json::from_str::<Value>(&last).ok().as_ref() == Some(data) {
            true => Ok(()),
            // Two that notice it at once announce it once.
            false => self.announce(HEALTH, "", &format!("{HEALTH}:{seq}"), data).await,
        }
    }

    async fn announce(&self, kind: &str, subject: &str, once: &str, data: &Value) -> Result<(), StoreError> {
        let failed = self.database.failed();
        // What is known already must write nothing: whoever watches the database would look again.
        let known: Option<i64> = sqlx::query_scalar("SELECT seq FROM events WHERE once = $1")
            .bind(once)
            .fetch_optional(self.database.pool())
            .await
            .map_err(&failed)?;
        if known.is_some() {
            return Ok(());
        }
        // One at a time: whoever has read up to a number never finds a lower one later.
        let mut transaction = self.database.begin_alone().await?;
        sqlx::query(
            "INSERT INTO events (seq, at, kind, subject, once, data)
             SELECT coalesce(max(seq), 0) + 1, $1, $2, $3, $4, $5 FROM events WHERE TRUE
             ON CONFLICT (once) DO NOTHING",
        )
        .bind(jiff::Timestamp::now().as_microsecond())
        .bind(kind)
        .bind(subject)
        .bind(once)
        .bind(data.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)
    }

    /// Forgets the oldest beyond those that are kept.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn forget(&self) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM events WHERE seq <= (SELECT MAX(seq) FROM events) - $1")
            .bind(KEPT)
            .execute(self.database.pool())
            .await
            .map_err(self.database.failed())?;
        Ok(())
    }

    /// The numbers of the oldest event that is kept and of the newest; both 0 when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn ends(&self) -> Result<(i64, i64), StoreError> {
        sqlx::query_as("SELECT COALESCE(MIN(seq), 0), COALESCE(MAX(seq), 0) FROM events")
            .fetch_one(self.database.pool())
            .await
            .map_err(self.database.failed())
    }

    /// Events after one, in their order, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn after(&self, seq: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let failed = self.database.failed();
        let rows = sqlx::query(
            "SELECT seq, at, kind, subject, data FROM events WHERE seq > $1 ORDER BY seq LIMIT $2",
        )
        .bind(seq)
        .bind(i64::from(limit))
        .fetch_all(self.database.pool())
        .await
        .map_err(&failed)?;
        rows.iter()
            .map(event_of)
            .collect::<Result<_, _>>()
            .map_err(&failed)
    }
}

fn event_of(row: &AnyRow) -> Result<Event, sqlx::Error> {
    let data: String = row.try_get("data")?;
    Ok(Event {
        seq: row.try_get("seq")?,
        at: row.try_get("at")?,
        kind: row.try_get("kind")?,
        subject: row.try_get("subject")?,
        data: serde_json::from_str(&data).map_err(|error| sqlx::Error::Decode(error.into()))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::tests::{postgres, sqlite};

    fn holding(rows: i64, changed_at: i64) -> Holding {
        Holding {
            dataset: "emails".to_owned(),
            rows,
            bytes: 1,
            files: 1,
            changed_at: Some(changed_at),
            sources: Default::default(),
        }
    }

    async fn no_news_is_not_announced(place: &Place) {
        let events = Events::open(place).await.unwrap();
        let other = Events::open(place).await.unwrap();
        for events in [&events, &other, &events] {
            events.rows(&holding(3, 1)).await.unwrap();
            events.health(&json!({ "status": "ready" })).await.unwrap();
        }
        other.rows(&holding(5, 2)).await.unwrap();
        let all = events.after(0, 10).await.unwrap();
        let told: Vec<(&str, Option<i64>, Option<i64>)> = all
            .iter()
            .map(|event| {
                let number = |name| event.data.get(name).and_then(Value::as_i64);
                (event.kind.as_str(), number("rows_before"), number("rows"))
            })
            .collect();
        assert_eq!(
            told,
            [
                (ROWS, Some(0), Some(3)),
                (HEALTH, None, None),
                (ROWS, Some(3), Some(5))
            ]
        );
        let first = all.first().unwrap().seq;
        assert_eq!(events.after(first, 10).await.unwrap().len(), 2);
        assert_eq!(events.ends().await.unwrap(), (1, 3));
        events.forget().await.unwrap();
        assert_eq!(events.ends().await.unwrap(), (1, 3));
    }

    #[tokio::test]
    async fn what_is_no_news_is_not_announced_again() {
        let (_folder, place) = sqlite();
        no_news_is_not_announced(&place).await;
    }

    #[tokio::test]
    async fn it_is_not_on_postgres_either() {
        let (_folder, place) = postgres();
        no_news_is_not_announced(&place).await;
    }
}
