//! Where a store is, and whether its database is to be had.
//!
//! - In: a data directory, the address of a Postgres. Out: a [`Place`], which everything that opens takes.
//! - Not here: connections that last (`database`), what an address means (`address`).

use super::Part;
use super::address::{Access, Address};
use crate::error::StoreError;
use secrecy::SecretString;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Connection as _};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a server may take to greet.
const GREETING: Duration = Duration::from_secs(10);

/// Where a store is: its data directory, and the Postgres that keeps its tables, if one does.
#[derive(Debug, Clone)]
pub struct Place {
    /// The data directory: files of the lake, keys, the index of search.
    pub data: PathBuf,
    /// The connection URL; absent: SQLite in the data directory.
    pub postgres: Option<SecretString>,
}

impl From<&Path> for Place {
    fn from(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            postgres: None,
        }
    }
}

impl From<&PathBuf> for Place {
    fn from(data: &PathBuf) -> Self {
        Self::from(data.as_path())
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Self {
        place.clone()
    }
}

impl Place {
    /// Sees whether its database lets dkc in now, without patience; one in files always does.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when it may do so later, [`StoreError::Refused`] when it will not.
    pub async fn reach(&self) -> Result<(), StoreError> {
        if self.postgres.is_none() {
            return Ok(());
        }
        let (connection, _) = self.connect(Part::State).await?;
        // What comes of saying goodbye is of no interest.
        let _ = connection.close().await;
        Ok(())
    }

    /// Whether the catalog of a lake is among the files in its data directory.
    pub fn has_files(&self) -> bool {
        self.data.join(Part::Lake.file()).is_file()
    }

    /// Whether its Postgres has the catalog of a lake, whosever that is. Nothing is made.
    ///
    /// # Errors
    /// As [`Place::reach`].
    pub async fn has_postgres(&self) -> Result<bool, StoreError> {
        if self.postgres.is_none() {
            return Ok(false);
        }
        let (mut connection, name) = self.connect(Part::Lake).await?;
        let found = has_lake(&mut connection).await;
        let _ = connection.close().await;
        found.map_err(StoreError::database(name, true))
    }

    /// A connection of its own to Postgres that only reads, and the name of the database.
    async fn connect(&self, part: Part) -> Result<(AnyConnection, Arc<str>), StoreError> {
        let address = Address::of(self, part, Access::Read)?;
        let greeted = greeted(&address.options).await;
        let connection = greeted.map_err(StoreError::database(address.name.clone(), true))?;
        Ok((connection, address.name))
    }
}

/// A connection to a server, which may be silent for ten seconds.
pub(super) async fn greeted(options: &AnyConnectOptions) -> Result<AnyConnection, sqlx::Error> {
    let greeted = timeout(GREETING, AnyConnection::connect_with(options)).await;
    greeted.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))
}

/// Whether a Postgres has the catalog of a lake.
pub(crate) async fn has_lake(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    let found: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_tables WHERE schemaname = $1 AND tablename = 'ducklake_snapshot'",
    )
    .bind(Part::Lake.schema())
    .fetch_one(connection)
    .await?;
    Ok(found > 0)
}
