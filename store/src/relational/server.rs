//! A PostgreSQL, reached by its own driver: for what the dialects do not share.
//!
//! - In: the address in a place, which may hold a password. Out: connections, and errors that do not tell it.

use crate::database::Place;
use crate::error::StoreError;
use secrecy::ExposeSecret as _;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

/// How long a server may take to greet.
const GREETING: Duration = Duration::from_secs(10);

/// What a connection is told. Whoever reads a table for an hour must not have all others wait behind this one, and a
/// machine that is gone must not hold its locks for long.
const SETTINGS: &str = "SET lock_timeout = '60s'; SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 10;
    SET tcp_keepalives_count = 6; SET idle_in_transaction_session_timeout = '10min'; SET client_min_messages = warning";

/// A server, and which of its databases.
#[derive(Clone)]
pub(crate) struct Server {
    options: PgConnectOptions,
    name: Arc<str>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its options hold the password.
        formatter.debug_tuple("Server").field(&self.name).finish()
    }
}

impl Server {
    /// The one of a place, if it has one. Nothing is connected yet.
    ///
    /// # Errors
    /// [`StoreError`] when its address is none.
    pub(crate) fn of(place: &Place) -> Result<Option<Self>, StoreError> {
        let Some(url) = &place.postgres else {
            return Ok(None);
        };
        let options: PgConnectOptions = url
            .expose_secret()
            .parse()
            .map_err(StoreError::database("Postgres".into(), true))?;
        let host = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => options.get_host().to_owned(),
        };
        let database = options.get_database().unwrap_or(options.get_username());
        let name = format!("postgres://{host}:{}/{database}", options.get_port());
        Ok(Some(Self {
            // A statement that takes long here is no news.
            options: options.application_name("dkc").disable_statement_logging(),
            name: name.into(),
        }))
    }

    /// A connection of its own: where the future that holds it is dropped it is closed, and the server takes back all
    /// that was not committed.
    ///
    /// # Errors
    /// [`StoreError`] when nobody greets, or refuses.
    pub(crate) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let greeted = tokio::time::timeout(GREETING, self.options.connect()).await;
        let greeted = greeted.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())));
        let mut connection = greeted.map_err(self.failed())?;
        let told = sqlx::raw_sql(SETTINGS).execute(&mut connection).await;
        told.map_err(self.failed())?;
        Ok(connection)
    }

    /// Tells an error of it: by its name, and locks apart.
    pub(crate) fn failed(&self) -> impl Fn(sqlx::Error) -> StoreError + use<> {
        StoreError::database(self.name.clone(), true)
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}
