//! The history of runs: the table `runs` of the state database, of which the queue is the other half.
//!
//! - In: a run. Out: runs, newest first; those of a part of an id; what cannot be read.
//! - Not here: which run is next and who works on it (`queue`), what runs said (`run_log`), runs as rows for SQL
//!   (`query::relational`).

use crate::database::{Database, Part, Place};
use crate::error::StoreError;
use futures::TryStreamExt;
use schemas::datasets::runs::{Counts, Run, RunState, Stages, Trigger};
use schemas::{Cursor, Instant, RunId, SourceName};
use serde::de::DeserializeOwned;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, Row};

/// The columns of a run, in the order of the dataset. An older table has them in another order, and newer ones may
/// have more: every statement names them.
macro_rules! columns {
    () => {
        "run, pipeline, state, trigger, reason, due_at, attempt, retry_of, started_at, ended_at, items_seen, \
         items_stored, items_unchanged, items_rejected, items_vanished, bytes_stored, snapshots, fetch_ms, convert_ms, \
         commit_ms, index_ms, cursor_before, cursor_after, error"
    };
}
pub(crate) use columns;

/// The beginning of a statement that writes a run whole, and maybe more columns; `whole` binds its values, those of
/// more columns are `$25` and so on.
macro_rules! insert_whole {
    ($columns:literal, $values:literal) => {
        concat!(
            "INSERT INTO runs (",
            crate::runs::columns!(),
            $columns,
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, \
             $22, $23, $24",
            $values,
            ")"
        )
    };
}
pub(crate) use insert_whole;

/// What is over stays as it was told: whoever writes later was taken over by somebody else.
const RECORD: &str = concat!(
    insert_whole!("", ""),
    " ON CONFLICT (run) DO UPDATE SET
        state = excluded.state, trigger = excluded.trigger, reason = excluded.reason, due_at = excluded.due_at,
        attempt = excluded.attempt, retry_of = excluded.retry_of, started_at = excluded.started_at,
        ended_at = excluded.ended_at, items_seen = excluded.items_seen, items_stored = excluded.items_stored,
        items_unchanged = excluded.items_unchanged, items_rejected = excluded.items_rejected,
        items_vanished = excluded.items_vanished, bytes_stored = excluded.bytes_stored,
        snapshots = excluded.snapshots, fetch_ms = excluded.fetch_ms, convert_ms = excluded.convert_ms,
        commit_ms = excluded.commit_ms, index_ms = excluded.index_ms, cursor_before = excluded.cursor_before,
        cursor_after = excluded.cursor_after, error = COALESCE(excluded.error, runs.error),
        worker = CASE WHEN excluded.state = 'running' THEN runs.worker END
      WHERE runs.state IN ('queued', 'running')"
);

/// A statement for the newest runs that meet a condition.
macro_rules! newest {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM runs",
            $condition,
            " ORDER BY started_at DESC, run DESC LIMIT $1"
        )
    };
}

/// Characters of the end of an id that the index `runs_by_end` has, as many as lists show.
const INDEXED_END: usize = 8;

/// A statement for the ids that begin with a text, or of which a condition holds. Each dialect has its own words by
/// which an index finds a beginning; Postgres' indexes cannot, as they sort by a language.
macro_rules! ids_like {
    (sqlite, $ends:literal) => {
        ids_like!("run >= $1 AND run < $1 || char(1114111)", $ends)
    };
    (postgres, $ends:literal) => {
        ids_like!("starts_with(run, $1)", $ends)
    };
    ($begins:literal, $ends:literal) => {
        concat!(
            "SELECT run FROM runs WHERE ",
            $begins,
            " UNION SELECT run FROM runs WHERE ",
            $ends,
            " ORDER BY run DESC LIMIT $2"
        )
    };
}

/// The history of runs.
#[derive(Debug, Clone)]
pub struct Runs {
    database: Database,
}

impl Runs {
    /// Opens the history of a place, making it if it is new.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn open(place: impl Into<Place>) -> Result<Self, StoreError> {
        let database = Database::open(&place.into(), Part::State).await?;
        Ok(Self { database })
    }

    /// Opens one that is there, with no way to write to it.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn open_to_read(place: impl Into<Place>) -> Result<Self, StoreError> {
        let database = Database::open_to_read(&place.into(), Part::State).await?;
        Ok(Self { database })
    }

    /// Writes a run, new or changed. One that is over already stays as it is.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses, or the run is to be at work and another of its pipeline is.
    pub async fn record(&self, run: &Run) -> Result<(), StoreError> {
        whole(RECORD, run)
            .execute(self.database.pool())
            .await
            .map_err(self.database.failed())?;
        Ok(())
    }

    /// Lets whoever asks first take over what is at work: those who worked on it are gone.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub(crate) async fn leave(&self) -> Result<(), StoreError> {
        sqlx::query("UPDATE runs SET lease_until = NULL WHERE state = 'running'")
            .execute(self.database.pool())
            .await
            .map_err(self.database.failed())?;
        Ok(())
    }

    /// The newest runs, newest first, of one pipeline or of all, in one state or in any.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn newest(
        &self,
        pipeline: Option<&SourceName>,
        state: Option<RunState>,
        limit: u32,
    ) -> Result<Vec<Run>, StoreError> {
        let failed = self.database.failed();
        // A condition that may or may not hold would keep SQLite from its indexes.
        let sql = match (pipeline, state) {
            (None, None) => newest!(""),
            (Some(_), None) => newest!(" WHERE pipeline = $2"),
            (None, Some(_)) => newest!(" WHERE state = $2"),
            (Some(_), Some(_)) => newest!(" WHERE pipeline = $2 AND state = $3"),
        };
        let mut query = sqlx::query(sql).bind(i64::from(limit));
        if let Some(pipeline) = pipeline {
            query = query.bind(pipeline.as_str());
        }
        if let Some(state) = state {
            query = query.bind(state.as_str());
        }
        let rows = query.fetch_all(self.database.pool()).await.map_err(&failed)?;
        rows.iter().map(run_of).collect::<Result<_, _>>().map_err(&failed)
    }

    /// The run of that id.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn get(&self, run: &str) -> Result<Option<Run>, StoreError> {
        let failed = self.database.failed();
        let row = sqlx::query(concat!("SELECT ", columns!(), " FROM runs WHERE run = $1"))
            .bind(run)
            .fetch_optional(self.database.pool())
            .await
            .map_err(&failed)?;
        row.as_ref().map(run_of).transpose().map_err(&failed)
    }

    /// The newest run that tries that one again.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn next_try(&self, run: &RunId) -> Result<Option<Run>, StoreError> {
        let failed = self.database.failed();
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM runs WHERE retry_of = $1 ORDER BY started_at DESC, run DESC LIMIT 1"
        ))
        .bind(&run.0)
        .fetch_optional(self.database.pool())
        .await
        .map_err(&failed)?;
        row.as_ref().map(run_of).transpose().map_err(&failed)
    }

    /// Up to `most` ids that begin or end with a text, the latest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn ids_like(&self, part: &str, most: u32) -> Result<Vec<RunId>, StoreError> {
        let failed = self.database.failed();
        // An index knows the last characters of each id, if they are as many.
        let sql = match part.chars().count() {
            INDEXED_END => self.database.sql(
                ids_like!(sqlite, "substr(run, -8) = $1"),
                ids_like!(postgres, "right(run, 8) = $1"),
            ),
            _ => self.database.sql(
                ids_like!(sqlite, "substr(run, -length($1)) = $1"),
                ids_like!(postgres, "right(run, length($1)) = $1"),
            ),
        };
        let ids: Vec<String> = sqlx::query_scalar(sql)
            .bind(part)
            .bind(i64::from(most))
            .fetch_all(self.database.pool())
            .await
            .map_err(&failed)?;
        Ok(ids.into_iter().map(RunId).collect())
    }

    /// The names of all pipelines that ever ran, or were to.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn pipelines(&self) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar("SELECT DISTINCT pipeline FROM runs ORDER BY pipeline")
            .fetch_all(self.database.pool())
            .await
            .map_err(self.database.failed())
    }

    /// What is wrong with the database's file or its content; empty when nothing. SQLite keeps no checksum of what
    /// a row says, so only what cannot be read is found there; Postgres looks after its own files.
    pub async fn integrity(&self) -> Vec<String> {
        let mut findings = Vec::new();
        if !self.database.is_postgres() {
            let checked = sqlx::query_scalar("PRAGMA integrity_check")
                .fetch_all(self.database.pool())
                .await;
            findings = checked.unwrap_or_else(|error| vec![error.to_string()]);
            findings.retain(|line: &String| line != "ok");
        }
        if findings.is_empty()
            && let Err(error) = self.read_all().await
        {
            findings.push(error.to_string());
        }
        for finding in &mut findings {
            finding.push_str(
                "; restore it from a backup, or move it away: it holds the history of runs and the tokens, no mail",
            );
        }
        findings
    }

    /// Reads every run, one after the other.
    async fn read_all(&self) -> Result<(), sqlx::Error> {
        sqlx::query(concat!("SELECT ", columns!(), " FROM runs"))
            .fetch(self.database.pool())
            .try_for_each(|row| std::future::ready(run_of(&row).map(drop)))
            .await
    }

    /// The database.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Ends all use of the database.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// A statement that `insert_whole` begins, with the values of a run.
pub(crate) fn whole(sql: &'static str, run: &Run) -> Query<'static, Any, AnyArguments> {
    let query = sqlx::query(sql)
        .bind(run.run.0.as_str())
        .bind(run.pipeline.as_str())
        .bind(run.state.as_str())
        .bind(run.trigger.as_str())
        .bind(text(run.reason.as_deref()))
        .bind(run.due_at)
        .bind(i64::from(run.attempt))
        .bind(run.retry_of.as_ref().map(|run| run.0.as_str()))
        .bind(run.started_at)
        .bind(run.ended_at);
    measured(query, run).bind(text(run.error.as_deref()))
}

/// Binds the 13 values of what a run counted, how long it took and where it is.
pub(crate) fn measured(
    query: Query<'static, Any, AnyArguments>,
    run: &Run,
) -> Query<'static, Any, AnyArguments> {
    let (counts, stages) = (run.counts, run.stages);
    query
        .bind(counts.items_seen as i64)
        .bind(counts.items_stored as i64)
        .bind(counts.items_unchanged as i64)
        .bind(counts.items_rejected as i64)
        .bind(counts.items_vanished as i64)
        .bind(counts.bytes_stored as i64)
        .bind(counts.snapshots as i64)
        .bind(stages.fetch_ms as i64)
        .bind(stages.convert_ms as i64)
        .bind(stages.commit_ms as i64)
        .bind(stages.index_ms as i64)
        .bind(text_of(&run.cursor_before))
        .bind(text_of(&run.cursor_after))
}

/// A text that may quote a source, as Postgres takes it: it has no character for NUL.
pub(crate) fn text(text: Option<&str>) -> Option<String> {
    text.map(|text| text.replace('\0', "\u{fffd}"))
}

fn text_of(cursor: &Option<Cursor>) -> Option<String> {
    cursor.as_ref().map(|cursor| cursor.0.to_string())
}

/// The run of a row that has its columns.
pub(crate) fn run_of(row: &AnyRow) -> Result<Run, sqlx::Error> {
    let count = |name: &str| row.try_get::<i64, _>(name).map(|count| count.max(0) as u64);
    let cursor = |name: &str| -> Result<Option<Cursor>, sqlx::Error> {
        let text: Option<String> = row.try_get(name)?;
        text.map(|text| {
            serde_json::from_str(&text)
                .map(Cursor)
                .map_err(|_| unreadable(&text, "cursor"))
        })
        .transpose()
    };
    let pipeline: String = row.try_get("pipeline")?;
    let attempt: i64 = row.try_get("attempt")?;
    Ok(Run {
        run: RunId(row.try_get("run")?),
        pipeline: SourceName::new(pipeline.clone()).map_err(|_| unreadable(&pipeline, "pipeline name"))?,
        state: word::<RunState>(row, "state")?,
        trigger: word::<Trigger>(row, "trigger")?,
        reason: row.try_get("reason")?,
        due_at: row.try_get::<Option<Instant>, _>("due_at")?,
        attempt: u32::try_from(attempt)
            .map_err(|_| unreadable(&attempt.to_string(), "number of an attempt"))?,
        retry_of: row.try_get::<Option<String>, _>("retry_of")?.map(RunId),
        started_at: row.try_get("started_at")?,
        ended_at: row.try_get::<Option<Instant>, _>("ended_at")?,
        counts: Counts {
            items_seen: count("items_seen")?,
            items_stored: count("items_stored")?,
            items_unchanged: count("items_unchanged")?,
            items_rejected: count("items_rejected")?,
            items_vanished: count("items_vanished")?,
            bytes_stored: count("bytes_stored")?,
            snapshots: count("snapshots")?,
        },
        stages: Stages {
            fetch_ms: count("fetch_ms")?,
            convert_ms: count("convert_ms")?,
            commit_ms: count("commit_ms")?,
            index_ms: count("index_ms")?,
        },
        cursor_before: cursor("cursor_before")?,
        cursor_after: cursor("cursor_after")?,
        error: row.try_get("error")?,
    })
}

/// A word that serde knows.
pub(crate) fn word<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(column)?;
    serde_json::from_value(text.clone().into()).map_err(|_| unreadable(&text, column))
}

fn unreadable(text: &str, what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("`{text}` is not a {what}").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::tests::{postgres, sqlite};
    use std::path::Path;

    fn run(pipeline: &str, now: Instant) -> Run {
        Run::new(SourceName::new(pipeline).unwrap(), Trigger::Schedule, now)
    }

    async fn story(place: Place) {
        let runs = Runs::open(place.clone()).await.unwrap();
        let reader = Runs::open(place).await.unwrap();
        let mut whole = run("mail", 1_000);
        whole.reason = Some("it's \"due\"".to_owned());
        whole.due_at = Some(999);
        whole.attempt = 3;
        whole.retry_of = Some(RunId("before".to_owned()));
        whole.state = RunState::Running;
        whole.counts.items_seen = 1 << 40;
        whole.counts.snapshots = 7;
        whole.stages = Stages {
            fetch_ms: 1,
            convert_ms: 2,
            commit_ms: 3,
            index_ms: 4,
        };
        whole.cursor_before = Some(Cursor(serde_json::json!({ "uid": [1, null] })));
        runs.record(&whole).await.unwrap();
        assert_eq!(reader.get(&whole.run.0).await.unwrap().as_ref(), Some(&whole));
        // It comes to its end, and no later word changes that.
        whole.state = RunState::Failed;
        whole.ended_at = Some(2_000);
        whole.error = Some("no\0route".to_owned());
        runs.record(&whole).await.unwrap();
        whole.error = Some("no\u{fffd}route".to_owned());
        let mut late = whole.clone();
        late.state = RunState::Succeeded;
        runs.record(&late).await.unwrap();
        assert_eq!(reader.get(&whole.run.0).await.unwrap().as_ref(), Some(&whole));
        let other = run("notes", 3_000);
        let newer = run("mail", 4_000);
        for run in [&newer, &other] {
            runs.record(run).await.unwrap();
        }
        let ids = async |pipeline: Option<&str>, state, limit| -> Vec<RunId> {
            let pipeline = pipeline.map(|name| SourceName::new(name).unwrap());
            let found = reader.newest(pipeline.as_ref(), state, limit).await.unwrap();
            found.into_iter().map(|run| run.run).collect()
        };
        let [whole, other, newer] = [whole.run, other.run, newer.run];
        let (failed, queued) = (Some(RunState::Failed), Some(RunState::Queued));
        assert_eq!(
            ids(None, None, 9).await,
            [newer.clone(), other.clone(), whole.clone()]
        );
        assert_eq!(ids(None, None, 1).await, std::slice::from_ref(&newer));
        assert_eq!(ids(Some("mail"), None, 9).await, [newer.clone(), whole.clone()]);
        assert_eq!(ids(None, failed, 9).await, [whole]);
        assert_eq!(ids(None, queued, 9).await, [newer.clone(), other]);
        assert_eq!(ids(Some("mail"), queued, 9).await, [newer]);
        assert!(ids(Some("notes"), failed, 9).await.is_empty());
        assert!(reader.get("none").await.unwrap().is_none());
        assert_eq!(reader.pipelines().await.unwrap(), ["mail", "notes"]);
        assert_eq!(reader.integrity().await, Vec::<String>::new());
        // What no run can say is found, in whichever column it is.
        sqlx::query("UPDATE runs SET cursor_after = '{' WHERE pipeline = 'notes'")
            .execute(runs.database.pool())
            .await
            .unwrap();
        let findings = reader.integrity().await;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains("`{` is not a cursor"), "{findings:?}");
    }

    async fn parts(place: Place) {
        let runs = Runs::open(place).await.unwrap();
        let ids = ["0199aaaa-11111111", "0199aaaa-22221111", "0199bbbb-33333333", "b"];
        for (at, id) in ids.into_iter().enumerate() {
            let run = Run {
                run: RunId(id.to_owned()),
                retry_of: ids.get(at + 1).map(|id| RunId((*id).to_owned())),
                ..run("mail", at as Instant)
            };
            runs.record(&run).await.unwrap();
        }
        let like = async |part: &str, most| -> Vec<String> {
            let ids = runs.ids_like(part, most).await.unwrap();
            ids.into_iter().map(|id| id.0).collect()
        };
        assert_eq!(like("0199b", 9).await, [ids[2]]);
        // Eight characters and fewer are found at the end.
        assert_eq!(like("22221111", 9).await, [ids[1]]);
        assert_eq!(like("1111", 9).await, [ids[1], ids[0]]);
        assert_eq!(like("-33333333", 9).await, [ids[2]]);
        assert_eq!(like("0199", 2).await, [ids[2], ids[1]]);
        assert_eq!(like("b", 9).await, [ids[3]]);
        // A text is no pattern.
        for none in ["%", "_", "*", "aaaa", "0199aaaa-11111111-and-more"] {
            assert!(like(none, 9).await.is_empty(), "{none}");
        }
        let next = runs.next_try(&RunId("b".to_owned())).await.unwrap();
        assert_eq!(next.unwrap().run.0, ids[2]);
        assert!(runs.next_try(&RunId(ids[0].to_owned())).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_run_is_found_by_its_beginning_its_end_and_what_it_tries_again_in_sqlite() {
        let (_data, place) = sqlite();
        parts(place).await;
    }

    #[tokio::test]
    async fn a_run_is_found_by_its_beginning_its_end_and_what_it_tries_again_in_postgres() {
        let (_data, place) = postgres();
        parts(place).await;
    }

    #[tokio::test]
    async fn runs_are_kept_as_they_are_told_in_sqlite() {
        let (_data, place) = sqlite();
        story(place).await;
    }

    #[tokio::test]
    async fn runs_are_kept_as_they_are_told_in_postgres() {
        let (_data, place) = postgres();
        story(place).await;
    }

    /// The state database of a dkc that had no queue, with what a crash left in it.
    async fn old(data: &Path) {
        let path = data.join(Part::State.file());
        let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}?mode=rwc", path.display()))
            .await
            .unwrap();
        sqlx::raw_sql(include_str!("../migrations/sqlite/state/0001_runs.sql"))
            .execute(&pool)
            .await
            .unwrap();
        sqlx::raw_sql(
            "INSERT INTO runs VALUES
             ('a', 'mail', 'succeeded', 1, 2, 3, 1, 1, 1, 0, 9, 1, NULL, '{\"n\":1}', NULL),
             ('b', 'mail', 'running', 3, NULL, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL),
             ('c', 'mail', 'running', 4, NULL, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL)",
        )
        .execute(&pool)
        .await
        .unwrap();
        pool.close().await;
    }

    #[tokio::test]
    async fn an_older_history_is_read_on() {
        let data = tempfile::tempdir().unwrap();
        old(data.path()).await;
        for _ in 0..2 {
            let runs = Runs::open(data.path()).await.unwrap();
            let all = runs.newest(None, None, 9).await.unwrap();
            let told: Vec<_> = all
                .iter()
                .map(|run| (run.run.0.as_str(), run.state, run.trigger, run.attempt))
                .collect();
            assert_eq!(
                told,
                [
                    ("c", RunState::Running, Trigger::Person, 1),
                    ("b", RunState::Failed, Trigger::Person, 1),
                    ("a", RunState::Succeeded, Trigger::Person, 1),
                ]
            );
            let oldest = all.last().unwrap();
            assert_eq!((oldest.counts.items_seen, oldest.counts.items_vanished), (3, 0));
            assert_eq!(oldest.cursor_after, Some(Cursor(serde_json::json!({ "n": 1 }))));
            runs.close().await;
        }
    }
}
