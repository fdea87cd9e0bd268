//! Whose lake a Postgres keeps: beside the catalog there is the id of the one data directory that has its files.
//!
//! - It is a key of `ducklake_metadata`. By the DuckLake specification its keys are arbitrary; DuckDB keeps those it does not
//!   know as options that it never asks for, and datafusion-ducklake asks for `data_path` alone.
//! - A catalog in SQLite lies in its data directory, so it needs none. The directory gets its own all the same, for the day
//!   when the catalog moves.
//! - Not here: the id of the directory (`identity`).

use super::{Catalog, hold};
use crate::database::{Part, Place, has_lake};
use crate::directory::{has_data_files, is_empty};
use crate::error::StoreError;
use crate::identity;
use sqlx::{AnyConnection, AssertSqlSafe};
use std::path::Path;
use uuid::Uuid;

/// The key.
pub(crate) const DATA_ID: &str = "dkc_data_id";

/// What whoever opens a lake does where an id is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Puts it there: it will write to the lake.
    Make,
    /// Leaves it to those who write.
    Leave,
}

/// Whose a lake is, as seen from a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of this directory: both have the same id.
    Ours,
    /// Of this directory, which has its files; an id is missing.
    Unsigned,
    /// Of whoever first writes to it: it is empty, and an id is missing.
    Free,
}

/// What is known of a lake before it is used.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) whose: Whose,
    /// Where its files lie, as the catalog says.
    pub(super) data_path: Option<String>,
    /// The id that the catalog has.
    theirs: Option<Uuid>,
}

impl Known {
    /// Whether nothing more is to be done about ids.
    pub(super) fn is_enough_for(&self, claim: Claim) -> bool {
        claim == Claim::Leave || self.whose == Whose::Ours
    }

    /// The id that directory and catalog share.
    pub(super) fn owner(&self) -> Option<Uuid> {
        self.theirs.filter(|_| self.whose == Whose::Ours)
    }
}

impl Catalog {
    /// What is known of the lake.
    ///
    /// # Errors
    /// [`StoreError::OtherDirectory`] when it is that of another data directory; [`StoreError::NotMoved`] when it is empty,
    /// and the directory has files of another one; else when the database fails.
    pub(super) async fn known(&self, connection: &mut AnyConnection) -> Result<Known, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT key, value FROM ducklake_metadata WHERE key IN ('data_path', $1) AND scope IS NULL",
        )
        .bind(DATA_ID)
        .fetch_all(&mut *connection)
        .await
        .map_err(self.failed())?;
        let value = |key: &str| {
            let row = rows.iter().find(|(known, _)| known == key);
            row.map(|(_, value)| value.clone())
        };
        let data_path = value("data_path");
        if !self.database.is_postgres() {
            let is_signed = identity::is_there(&self.data);
            return Ok(Known {
                whose: if is_signed { Whose::Ours } else { Whose::Unsigned },
                data_path,
                theirs: None,
            });
        }
        let theirs: Option<Uuid> = value(DATA_ID)
            .map(|id| id.parse::<Uuid>())
            .transpose()
            .map_err(|_| StoreError::Unfit {
                reason: format!("`{DATA_ID}` in `{}` is no id", self.database.name()),
            })?;
        let whose = match (identity::of(&self.data)?, theirs) {
            (Some(own), Some(theirs)) if own == theirs => {
                self.alone()?;
                Whose::Ours
            }
            (Some(_), Some(_)) => return Err(self.of_another()),
            _ => self.whose_by_files(connection).await?,
        };
        Ok(Known {
            whose,
            data_path,
            theirs,
        })
    }

    /// Whose it is where an id is missing. A directory that lacks the newest file is another one, or a copy that is too old.
    async fn whose_by_files(&self, connection: &mut AnyConnection) -> Result<Whose, StoreError> {
        let newest: Option<(String, String)> = sqlx::query_as(
            "SELECT t.table_name, f.path FROM ducklake_data_file f JOIN ducklake_table t USING (table_id)
             ORDER BY f.data_file_id DESC LIMIT 1",
        )
        .fetch_optional(connection)
        .await
        .map_err(self.failed())?;
        match newest {
            Some((table, file)) if self.files.join("main").join(&table).join(&file).is_file() => {
                Ok(Whose::Unsigned)
            }
            Some(_) => Err(self.of_another()),
            None => self.is_moved().map(|()| Whose::Free),
        }
    }

    /// Sees that the directory has no catalog of its own: a copy from before the lake was moved has the same id.
    fn alone(&self) -> Result<(), StoreError> {
        let file = self.data.join(Part::Lake.file());
        match is_empty(&file) {
            true => Ok(()),
            false => Err(StoreError::TwoCatalogs {
                database: self.database.name().to_owned(),
                file,
            }),
        }
    }

    fn of_another(&self) -> StoreError {
        StoreError::OtherDirectory {
            database: self.database.name().to_owned(),
            data: self.data.clone(),
        }
    }

    /// Puts the same id in the directory and in the catalog, where it is missing. To be called while nobody else commits.
    ///
    /// # Errors
    /// [`StoreError`] when the file or the database refuses.
    pub(super) async fn sign(
        &mut self,
        connection: &mut AnyConnection,
        known: &Known,
    ) -> Result<(), StoreError> {
        let kept = known.theirs.filter(|_| known.whose != Whose::Free);
        let id = identity::give(&self.data, kept.unwrap_or_else(Uuid::now_v7))?;
        if !self.database.is_postgres() {
            return Ok(());
        }
        if known.theirs != Some(id) {
            let failed = self.failed();
            sqlx::query("DELETE FROM ducklake_metadata WHERE key = $1 AND scope IS NULL")
                .bind(DATA_ID)
                .execute(&mut *connection)
                .await
                .map_err(&failed)?;
            sqlx::query("INSERT INTO ducklake_metadata (key, value) VALUES ($1, $2)")
                .bind(DATA_ID)
                .bind(id.to_string())
                .execute(connection)
                .await
                .map_err(&failed)?;
        }
        self.owner = Some(id);
        Ok(())
    }

    /// Sees whose the lake is, and puts the id where it is missing, for who does nothing else to it.
    ///
    /// # Errors
    /// [`StoreError::OtherDirectory`] when it is that of another data directory; else as when it is opened.
    pub(crate) async fn claim(&mut self) -> Result<(), StoreError> {
        let failed = self.failed();
        let mut tx = self.database.begin_alone().await?;
        hold(&mut tx).await.map_err(&failed)?;
        let known = self.known(&mut tx).await?;
        self.sign(&mut tx, &known).await?;
        tx.commit().await.map_err(&failed)
    }

    /// Sees that the lake is still that of this directory, before something is committed: while it was empty, another one
    /// may have taken it.
    ///
    /// # Errors
    /// [`StoreError::OtherDirectory`] when it is not; else when the database fails.
    pub(super) async fn is_still_ours(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        let Some(owner) = self.owner else {
            return Ok(());
        };
        let others: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM ducklake_metadata WHERE key = $1 AND value <> $2 AND scope IS NULL",
        )
        .bind(DATA_ID)
        .bind(owner.to_string())
        .fetch_one(connection)
        .await
        .map_err(self.failed())?;
        match others {
            0 => Ok(()),
            _ => Err(self.of_another()),
        }
    }
}

impl Place {
    /// Sees that its Postgres, if it has one, is that of its data directory, before anything is opened. Nothing is made,
    /// neither here nor there.
    ///
    /// # Errors
    /// [`StoreError::OtherDirectory`], [`StoreError::NotMoved`] or [`StoreError::TwoCatalogs`] when it is not; else when the
    /// database refuses.
    pub async fn check(&self) -> Result<(), StoreError> {
        if self.postgres.is_none() {
            return Ok(());
        }
        // First: whether it answers is told soon so.
        let has_lake = self.has_postgres().await?;
        let catalog = Catalog::open_to_read(self).await?;
        let checked = catalog.check(has_lake).await;
        catalog.close().await;
        checked
    }
}

impl Catalog {
    async fn check(&self, is_there: bool) -> Result<(), StoreError> {
        if !is_there {
            return self.is_moved();
        }
        let mut connection = self.database.pool().acquire().await.map_err(self.failed())?;
        self.known(&mut connection).await.map(drop)
    }

    /// Sees that the directory has no files of a lake, where the database has none.
    fn is_moved(&self) -> Result<(), StoreError> {
        match has_data_files(&self.files)? {
            // Whoever writes would sweep them.
            true => Err(StoreError::NotMoved {
                database: self.database.name().to_owned(),
                data: self.data.clone(),
            }),
            false => Ok(()),
        }
    }
}

/// Whether a Postgres keeps the lake of another data directory: what else it keeps is not this one's, either. Where there
/// is no id it is nobody's yet, or the lake is asked, which knows more.
///
/// # Errors
/// The database's refusal; an id of the directory that cannot be read is told by the lake.
pub(crate) async fn is_of_another(connection: &mut AnyConnection, data: &Path) -> Result<bool, sqlx::Error> {
    if !has_lake(connection).await? {
        return Ok(false);
    }
    let lake = Part::Lake.schema();
    let id = format!("SELECT value FROM {lake}.ducklake_metadata WHERE key = $1 AND scope IS NULL");
    let theirs: Option<String> = sqlx::query_scalar(AssertSqlSafe(id))
        .bind(DATA_ID)
        .fetch_optional(&mut *connection)
        .await?;
    match (identity::of(data), theirs) {
        (Ok(Some(own)), Some(theirs)) => Ok(own.to_string() != theirs),
        // An empty lake is anybody's.
        (Ok(None), Some(_)) if !has_data_files(&data.join("lake/files")).unwrap_or(true) => {
            let any =
                format!("SELECT count(*) FROM (SELECT 1 FROM {lake}.ducklake_data_file LIMIT 1) AS one");
            let files: i64 = sqlx::query_scalar(AssertSqlSafe(any))
                .fetch_one(connection)
                .await?;
            Ok(files > 0)
        }
        _ => Ok(false),
    }
}
