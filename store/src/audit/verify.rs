//! Is the log as it was written?
//!
//! - In: the log, its key, its head, and a head that its owner kept elsewhere. Out: what is wrong, by record.
//! - Not here: who did it. Whoever can read the key can write the log anew; only a head kept elsewhere tells then.

use super::{Audit, Entry, Head, before_the_first, entry_of};
use crate::error::StoreError;
use schemas::Instant;
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::{fs, io};

/// Records in memory at once.
const PAGE: u32 = 1_000;

/// Findings that are told. A log that was written anew has one for each record.
const TOLD: usize = 100;

/// How far a clock may go back unremarked, in microseconds: requests end in another order than they came, and clocks
/// are set right.
const CLOCK_BACK: Instant = 3_600_000_000;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Records in the log.
    pub records: u64,
    /// The last one. To keep elsewhere, as the anchor of [`Audit::verify_against`].
    pub head: Option<Head>,
    /// What is wrong, by record; the first 100.
    pub findings: Vec<Finding>,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Number of the first record that it is about.
    pub seq: i64,
    /// What is wrong.
    pub what: String,
}

impl Audit {
    /// Reads the whole log and compares it with its hashes and its head.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn verify(&self) -> Result<Verified, StoreError> {
        self.walk(None).await
    }

    /// The same, and that the record of `anchor` is still what it was.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn verify_against(&self, anchor: Head) -> Result<Verified, StoreError> {
        self.walk(Some(anchor)).await
    }

    async fn walk(&self, anchor: Option<Head>) -> Result<Verified, StoreError> {
        let mut walk = Walk::new(self);
        // Read before the records: who adds some meanwhile makes the log longer than the head, never shorter.
        let head = self.kept_head();
        let has_head = !matches!(head, Ok(None));
        match head {
            Ok(head) => walk.promised.extend(head.map(|head| ("`audit.head`", head))),
            Err(error) => walk.note(1, format!("`audit.head` cannot be read: {error}")),
        }
        walk.promised.extend(anchor.map(|head| ("the anchor", head)));
        // No number is too small to be looked at: a record may have been put before the first.
        let mut after = i64::MIN;
        loop {
            let rows = self.rows(after, PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = last.try_get("seq").map_err(self.database.failed())?;
            for row in &rows {
                walk.step(row)?;
            }
        }
        if walk.records > 0 && !has_head {
            walk.note(walk.seq, "`audit.head` is missing".to_owned());
        }
        Ok(walk.end())
    }

    /// The head in its file; none when there is no file.
    fn kept_head(&self) -> io::Result<Option<Head>> {
        match fs::read(&self.head) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// How far the log is read.
struct Walk<'a> {
    audit: &'a Audit,
    /// Heads that are still to be met, and who says so.
    promised: Vec<(&'static str, Head)>,
    records: u64,
    /// Number of the last record.
    seq: i64,
    /// Its hash.
    hash: Vec<u8>,
    /// When it says its request came.
    at: Instant,
    findings: Vec<Finding>,
}

impl<'a> Walk<'a> {
    fn new(audit: &'a Audit) -> Self {
        Self {
            audit,
            promised: Vec::new(),
            records: 0,
            seq: 0,
            hash: before_the_first(),
            at: Instant::MIN,
            findings: Vec::new(),
        }
    }

    fn note(&mut self, seq: i64, what: String) {
        if self.findings.len() < TOLD {
            self.findings.push(Finding { seq, what });
        }
    }

    /// The next record. What cannot be read in it is a finding.
    fn step(&mut self, row: &AnyRow) -> Result<(), StoreError> {
        let failed = self.audit.database.failed();
        let seq: i64 = row.try_get("seq").map_err(&failed)?;
        let hash: Vec<u8> = row.try_get("hash").unwrap_or_default();
        match entry_of(row) {
            Ok(entry) => self.compare(seq, &hash, &entry)?,
            Err(error) => self.note(seq, format!("the record cannot be read: {error}")),
        }
        let found = hex::encode(&hash);
        while let Some(place) = self.promised.iter().position(|(_, head)| head.seq == seq) {
            let (who, head) = self.promised.swap_remove(place);
            if head.hash != found {
                self.note(
                    seq,
                    format!("{who} has another hash of this record: the log was written anew"),
                );
            }
        }
        self.records += 1;
        (self.seq, self.hash) = (seq, hash);
        Ok(())
    }

    fn compare(&mut self, seq: i64, hash: &[u8], entry: &Entry) -> Result<(), StoreError> {
        let expected = self.seq.saturating_add(1);
        if seq != expected {
            // Its hash is of a record that is not there.
            self.note(
                expected,
                format!("the record is missing: after {} comes {seq}", self.seq),
            );
        } else if self.audit.hash(&self.hash, seq, entry)? != *hash {
            self.note(
                seq,
                "the hash is not that of this record after the one before it: it was changed, moved or put there"
                    .to_owned(),
            );
        }
        let back = self.at.saturating_sub(entry.at);
        if back > CLOCK_BACK {
            let minutes = back / 60_000_000;
            self.note(
                seq,
                format!("clock back: {minutes} minutes before the record before it"),
            );
        }
        self.at = entry.at;
        Ok(())
    }

    fn end(mut self) -> Verified {
        for (who, head) in std::mem::take(&mut self.promised) {
            self.note(
                head.seq.min(self.seq.saturating_add(1)),
                format!(
                    "the log lacks record {}, which {who} names: its end was cut off",
                    head.seq
                ),
            );
        }
        self.findings.sort_by_key(|finding| finding.seq);
        let head = (self.records > 0).then(|| Head {
            seq: self.seq,
            hash: hex::encode(&self.hash),
        });
        Verified {
            records: self.records,
            head,
            findings: self.findings,
        }
    }
}
