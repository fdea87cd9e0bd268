//! What runs said while they were at work: the table `run_log`.
//!
//! - In: lines of runs. Out: the lines of one, oldest first, to read or to follow.
//! - A run keeps its newest lines, so many at most; where older ones were dropped, a line says so.
//! - Lines go with their run when it is forgotten (`queue`).
//! - Not here: what is worth saying, gathering lines (`pipelines`).

use crate::database::{Database, Durability, Part, Place};
use crate::error::StoreError;
use crate::runs::{text, word};
use schemas::{Instant, RunId};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use std::collections::HashSet;
use std::fmt;

/// So many lines of a run are kept.
const KEPT: i64 = 10_000;

/// Bytes of a line that are kept.
const LONGEST: usize = 8_192;

const DROP: &str = "DELETE FROM run_log WHERE run = $1 AND seq <= (
    SELECT seq FROM run_log WHERE run = $1 ORDER BY seq DESC LIMIT 1 OFFSET $2)";

const SAY_SO: &str = "UPDATE run_log SET level = 'warn', message = $2
    WHERE seq = (SELECT MIN(seq) FROM run_log WHERE run = $1)";

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// All is as it should be.
    Info,
    /// Somebody may want to look into it.
    Warn,
    /// Something went wrong.
    Error,
}

impl Level {
    /// The level as the table has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its number; later ones of the same run have higher numbers.
    pub seq: i64,
    /// When it was said.
    pub at: Instant,
    /// How much it matters.
    pub level: Level,
    /// What was said. It may quote a source.
    pub message: String,
}

/// The logs of all runs.
#[derive(Debug, Clone)]
pub struct RunLog {
    database: Database,
}

impl RunLog {
    /// Opens the logs of a place; what is missing is made.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn open(place: impl Into<Place>) -> Result<Self, StoreError> {
        // As the queue: a power cut may take the last second of it.
        let database = Database::open_with(&place.into(), Part::State, Durability::Process).await?;
        Ok(Self { database })
    }

    /// Writes lines, in their order, all or none.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses; nothing is written then.
    pub async fn append(&self, lines: &[(RunId, Instant, Level, String)]) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        let failed = self.database.failed();
        let mut transaction = self.database.begin().await?;
        for (run, at, level, message) in lines {
            sqlx::query("INSERT INTO run_log (run, at, level, message) VALUES ($1, $2, $3, $4)")
                .bind(run.0.as_str())
                .bind(*at)
                .bind(level.as_str())
                .bind(text(Some(&shortened(message))))
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
        }
        let runs: HashSet<&RunId> = lines.iter().map(|(run, ..)| run).collect();
        for run in runs {
            drop_oldest(&mut transaction, run).await.map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    /// Lines of a run after one, oldest first; after 0 from the beginning.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn of(&self, run: &RunId, after_seq: i64, limit: u32) -> Result<Vec<Line>, StoreError> {
        let failed = self.database.failed();
        let rows = sqlx::query(
            "SELECT seq, at, level, message FROM run_log WHERE run = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        )
        .bind(run.0.as_str())
        .bind(after_seq)
        .bind(i64::from(limit))
        .fetch_all(self.database.pool())
        .await
        .map_err(&failed)?;
        rows.iter()
            .map(line_of)
            .collect::<Result<_, _>>()
            .map_err(&failed)
    }

    /// Ends all use of the database.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// Drops the oldest lines of a run beyond those that are kept, and says so in the oldest that is.
async fn drop_oldest(connection: &mut AnyConnection, run: &RunId) -> Result<(), sqlx::Error> {
    let dropped = sqlx::query(DROP)
        .bind(run.0.as_str())
        .bind(KEPT)
        .execute(&mut *connection)
        .await?;
    if dropped.rows_affected() > 0 {
        sqlx::query(SAY_SO)
            .bind(run.0.as_str())
            .bind(format!(
                "older lines were dropped: of a run its newest {KEPT} are kept"
            ))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// What is kept of a message; that it is not all is said.
fn shortened(message: &str) -> String {
    let end = message.floor_char_boundary(LONGEST);
    match message.get(..end) {
        Some(kept) if end < message.len() => format!("{kept}… and {} bytes more", message.len() - end),
        _ => message.to_owned(),
    }
}

fn line_of(row: &AnyRow) -> Result<Line, sqlx::Error> {
    Ok(Line {
        seq: row.try_get("seq")?,
        at: row.try_get("at")?,
        level: word(row, "level")?,
        message: row.try_get("message")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::tests::{postgres, sqlite};

    fn lines(run: &RunId, numbers: std::ops::Range<i64>) -> Vec<(RunId, Instant, Level, String)> {
        numbers
            .map(|n| (run.clone(), n, Level::Info, n.to_string()))
            .collect()
    }

    async fn story(place: Place) {
        let log = RunLog::open(place.clone()).await.unwrap();
        let reader = RunLog::open(place).await.unwrap();
        let (one, other) = (RunId("one".to_owned()), RunId("other".to_owned()));
        log.append(&lines(&one, 0..3)).await.unwrap();
        log.append(&[
            (other.clone(), 9, Level::Error, "é".repeat(LONGEST)),
            (one.clone(), 3, Level::Warn, "it's \"odd\"\0".to_owned()),
        ])
        .await
        .unwrap();
        let said = reader.of(&one, 0, 9).await.unwrap();
        let told: Vec<_> = said
            .iter()
            .map(|line| (line.at, line.level, line.message.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (0, Level::Info, "0"),
                (1, Level::Info, "1"),
                (2, Level::Info, "2"),
                (3, Level::Warn, "it's \"odd\"\u{fffd}"),
            ]
        );
        // Whoever follows takes up where they were.
        let [first, second, ..] = said.as_slice() else {
            panic!("{said:?}")
        };
        assert_eq!(
            reader.of(&one, first.seq, 1).await.unwrap(),
            std::slice::from_ref(second)
        );
        let last = said.last().unwrap();
        assert!(reader.of(&one, last.seq, 9).await.unwrap().is_empty());
        let long = reader.of(&other, 0, 9).await.unwrap();
        let long = &long.first().unwrap().message;
        assert!(long.ends_with(&format!("é… and {LONGEST} bytes more")), "{long}");
        // One that says too much loses its oldest lines, and only they.
        log.append(&lines(&one, 4..KEPT + 7)).await.unwrap();
        for n in KEPT + 7..KEPT + 9 {
            log.append(&lines(&one, n..n + 1)).await.unwrap();
        }
        let kept = reader.of(&one, 0, u32::MAX).await.unwrap();
        assert_eq!(kept.len() as i64, KEPT);
        let oldest = kept.first().unwrap();
        assert!(
            oldest.level == Level::Warn && oldest.message.contains("dropped"),
            "{oldest:?}"
        );
        let rest: Vec<i64> = kept.iter().skip(1).map(|line| line.at).collect();
        assert_eq!(rest, (10..KEPT + 9).collect::<Vec<_>>());
        assert!(kept.iter().skip(1).all(|line| line.level == Level::Info));
        assert_eq!(reader.of(&other, 0, 9).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn lines_are_kept_in_their_order_in_sqlite() {
        let (_data, place) = sqlite();
        story(place).await;
    }

    #[tokio::test]
    async fn lines_are_kept_in_their_order_in_postgres() {
        let (_data, place) = postgres();
        story(place).await;
    }
}
