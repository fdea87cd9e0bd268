//! The audit: what was asked of dkc, by whom, and what came of it. A log in a database of its own that only grows, of
//! which each record's hash covers the record before it.
//!
//! - In: what a request was, when it is over. Out: numbered records; whether the log is as it was written (`verify`).
//! - Not here: what is asked. Of an input there is only a digest: inputs are private.

mod to_read;
mod verify;

pub(crate) use to_read::AuditToRead;
pub use verify::{Finding, Verified};

use crate::database::{Database, Part, Place};
use crate::error::StoreError;
use crate::keys::{Key, private_key};
use arrow_array::RecordBatch;
use schemas::datasets::audit::DATASET;
use schemas::{Instant, Rows, Value};
use serde::{Deserialize, Serialize};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, io};

/// Hexadecimal digits of an input's digest: 128 bits tell inputs apart.
const INPUT_DIGITS: usize = 32;

/// Columns of its table.
const COLUMNS: usize = 13;

/// Records that one statement adds: to go to the database and back costs more than to add one. Times [`COLUMNS`] it is far
/// below the parameters that SQLite (32,766) and Postgres (65,535) take.
const TOGETHER: usize = 64;

/// The log of a place.
///
/// ```text
/// DATA/audit.sqlite   the records, unless Postgres has them
/// DATA/audit.key      the key of their hashes
/// DATA/audit.head     number and hash of a late record: the log is never shorter
/// ```
#[derive(Debug, Clone)]
pub struct Audit {
    database: Database,
    head: PathBuf,
    key: Key,
}

/// What a request was, and what came of it. The order of the fields is that in which they are hashed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When it came.
    pub at: Instant,
    /// Id of the token that asked, or `-` when it was not known.
    pub who: String,
    /// As what it asked: a role, or `-` when it was not known who asks.
    pub role: String,
    /// What was asked for.
    pub operation: String,
    /// Where it was asked, such as `rest` or `mcp`.
    pub face: String,
    /// Digest of the input; see [`input_digest`].
    pub input: String,
    /// Rows of the answer.
    pub rows: i64,
    /// Bytes of the answer.
    pub bytes: i64,
    /// `ok`, or the name of the problem.
    pub outcome: String,
    /// How long it took, in microseconds.
    pub duration_us: i64,
    /// Id of the request.
    pub request: String,
}

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Its number: 1, 2, 3, …
    pub seq: i64,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
    /// Its hash, hexadecimal.
    pub hash: String,
}

/// Number and hash of a record. Who keeps one elsewhere can tell later that the log up to there is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The record's number.
    pub seq: i64,
    /// Its hash, hexadecimal.
    pub hash: String,
}

/// Why a text is not a head.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not the head of a log; write SEQ:HASH as `dkc audit verify` prints it")]
pub struct BadHead(String);

impl FromStr for Head {
    type Err = BadHead;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':');
        let head = parts.and_then(|(seq, hash)| {
            let (seq, hash) = (seq.parse().ok()?, blake3::Hash::from_hex(hash).ok()?.to_string());
            Some(Self { seq, hash })
        });
        head.ok_or_else(|| BadHead(text.to_owned()))
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// Digest of a request's input, the same however its keys are ordered.
pub fn input_digest(input: &serde_json::Value) -> String {
    let mut input = input.clone();
    input.sort_all_objects();
    let text = serde_json::to_vec(&input).unwrap_or_default();
    let mut digits = blake3::hash(&text).to_string();
    digits.truncate(INPUT_DIGITS);
    digits
}

impl Audit {
    /// Opens the log of a place; what is missing is made.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses, or the key cannot be made or read.
    pub async fn open(place: impl Into<Place>) -> Result<Self, StoreError> {
        let place = place.into();
        let database = Database::open(&place, Part::Audit).await?;
        let key = place.data.join("audit.key");
        let records: i64 =
            sqlx::query_scalar("SELECT count(*) FROM (SELECT 1 FROM audit LIMIT 1) AS any_record")
                .fetch_one(database.pool())
                .await
                .map_err(database.failed())?;
        if records > 0 && !key.exists() {
            // A new one would make a finding of every record.
            let lost = io::Error::new(
                io::ErrorKind::NotFound,
                "it is gone, and the log needs it: restore it from a backup",
            );
            return Err(StoreError::io("read", &key)(lost));
        }
        Ok(Self {
            database,
            head: place.data.join("audit.head"),
            key: private_key(&key)?,
        })
    }

    /// Adds records, all or none. They are on the disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses; nothing is added then.
    pub async fn append(&self, entries: &[Entry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let failed = self.database.failed();
        // Nobody else adds between reading the last record and writing the next.
        let mut transaction = self.database.begin_alone().await?;
        let last = sqlx::query("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
            .fetch_optional(&mut *transaction)
            .await
            .map_err(&failed)?;
        let (mut seq, mut hash): (i64, Vec<u8>) = match last {
            Some(row) => (
                row.try_get("seq").map_err(&failed)?,
                row.try_get("hash").map_err(&failed)?,
            ),
            None => (0, before_the_first()),
        };
        for entries in entries.chunks(TOGETHER) {
            let sql = self.insertion(entries.len());
            let insertion: Query<'_, Any, AnyArguments> = sqlx::query(AssertSqlSafe(sql));
            // Of fewer there is another statement each time, which is not worth keeping.
            let mut insertion = insertion.persistent(entries.len() == TOGETHER);
            for entry in entries {
                seq += 1;
                hash = self.hash(&hash, seq, entry)?.as_bytes().to_vec();
                insertion = insertion
                    .bind(seq)
                    .bind(entry.at)
                    .bind(&entry.who)
                    .bind(&entry.role)
                    .bind(&entry.operation)
                    .bind(&entry.face)
                    .bind(&entry.input)
                    .bind(entry.rows)
                    .bind(entry.bytes)
                    .bind(&entry.outcome)
                    .bind(entry.duration_us)
                    .bind(&entry.request)
                    .bind(hash.as_slice());
            }
            insertion.execute(&mut *transaction).await.map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)?;
        let hash = hex::encode(hash);
        let path = self.head.clone();
        let written = tokio::task::spawn_blocking(move || write_head(&path, &Head { seq, hash })).await;
        // The records are kept, and must not be added again; the next ones bring the next head.
        if let Err(error) = written.unwrap_or_else(|error| Err(error.into())) {
            tracing::warn!(%error, "the audit's head is not written");
        }
        Ok(())
    }

    /// A statement that adds so many records. SQLite searches names of parameters one by one, so there they have none.
    fn insertion(&self, records: usize) -> String {
        let mut places = (1..).map(|place| match self.database.is_postgres() {
            true => format!("${place}"),
            false => "?".to_owned(),
        });
        let mut record = || {
            let places: Vec<String> = places.by_ref().take(COLUMNS).collect();
            format!("({})", places.join(", "))
        };
        let records: Vec<String> = (0..records).map(|_| record()).collect();
        format!("INSERT INTO audit VALUES {}", records.join(", "))
    }

    /// The hash of a record: of the one before it, its number, and what it says.
    fn hash(&self, before: &[u8], seq: i64, entry: &Entry) -> Result<blake3::Hash, StoreError> {
        let mut bytes = before.to_vec();
        serde_json::to_writer(&mut bytes, &(seq, entry))
            .map_err(|error| StoreError::io("write", self.database.name())(error.into()))?;
        Ok(self.key.hash(&bytes))
    }

    /// Up to `limit` records after that number, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn page(&self, after: i64, limit: u32) -> Result<Vec<Record>, StoreError> {
        let rows = self.rows(after, limit).await?;
        let records = rows.iter().map(record_of).collect::<Result<_, _>>();
        records.map_err(self.database.failed())
    }

    async fn rows(&self, after: i64, limit: u32) -> Result<Vec<AnyRow>, StoreError> {
        sqlx::query("SELECT * FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(self.database.pool())
            .await
            .map_err(self.database.failed())
    }

    /// The newest records, newest first, of one token and one operation or of all.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn newest(
        &self,
        limit: u32,
        who: Option<&str>,
        operation: Option<&str>,
    ) -> Result<Vec<Record>, StoreError> {
        let failed = self.database.failed();
        let rows = sqlx::query(
            "SELECT * FROM audit WHERE ($1 IS NULL OR who = $1) AND ($2 IS NULL OR operation = $2)
             ORDER BY seq DESC LIMIT $3",
        )
        .bind(who)
        .bind(operation)
        .bind(i64::from(limit))
        .fetch_all(self.database.pool())
        .await
        .map_err(&failed)?;
        rows.iter()
            .map(record_of)
            .collect::<Result<_, _>>()
            .map_err(&failed)
    }

    /// The records of [`Audit::page`] as rows of the dataset.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn page_as_batch(&self, after: i64, limit: u32) -> Result<RecordBatch, StoreError> {
        let mut rows = Rows::of_relational(&DATASET);
        for Record { seq, entry, hash } in self.page(after, limit).await? {
            let values = [
                Value::Int(seq),
                Value::Instant(entry.at),
                Value::Text(&entry.who),
                Value::Text(&entry.role),
                Value::Text(&entry.operation),
                Value::Text(&entry.face),
                Value::Text(&entry.input),
                Value::Int(entry.rows),
                Value::Int(entry.bytes),
                Value::Text(&entry.outcome),
                Value::Int(entry.duration_us),
                Value::Text(&entry.request),
                Value::Text(&hash),
            ];
            rows.push_values(&entry.request, &values)
                .map_err(|misfit| StoreError::Unfit {
                    reason: misfit.to_string(),
                })?;
        }
        Ok(rows.finish()?)
    }

    /// Ends all use of the database.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// What stands for the hash before the first record.
fn before_the_first() -> Vec<u8> {
    vec![0; blake3::OUT_LEN]
}

/// Replaces the head's file. Another process may put an older head there at the same time; that one is true as well.
fn write_head(path: &Path, head: &Head) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        file.write_all(&serde_json::to_vec(head)?)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(StoreError::io("write", path))
}

fn record_of(row: &AnyRow) -> Result<Record, sqlx::Error> {
    let hash: Vec<u8> = row.try_get("hash")?;
    Ok(Record {
        seq: row.try_get("seq")?,
        entry: entry_of(row)?,
        hash: hex::encode(hash),
    })
}

fn entry_of(row: &AnyRow) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        at: row.try_get("at")?,
        who: row.try_get("who")?,
        role: row.try_get("role")?,
        operation: row.try_get("operation")?,
        face: row.try_get("face")?,
        input: row.try_get("input")?,
        rows: row.try_get("rows")?,
        bytes: row.try_get("bytes")?,
        outcome: row.try_get("outcome")?,
        duration_us: row.try_get("duration_us")?,
        request: row.try_get("request")?,
    })
}

#[cfg(test)]
mod tests;
