//! Where a part of a store is reached: options of connections, and a name that tells nobody a password.
//!
//! - In: a [`Place`]. Out: an [`Address`]. Not here: connecting.

use super::{Part, Place};
use crate::error::StoreError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions;
use sqlx::any::AnyConnectOptions;
use sqlx::postgres::PgConnectOptions;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// What of a path is not written as it is in a URL.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');

/// What stands for the name of a Postgres whose address cannot be read.
const NAMELESS: &str = "Postgres";

/// What every connection to Postgres is told: how long locks are waited for, as in SQLite; and that a machine which is
/// gone must not hold any for long.
const POSTGRES: &[(&str, &str)] = &[
    ("lock_timeout", "30s"),
    ("idle_in_transaction_session_timeout", "5min"),
    ("tcp_keepalives_idle", "60"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "6"),
];

/// What is done with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It is read only.
    Read,
    /// It is written to.
    Write(Durability),
}

/// What a commit outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A power cut.
    Full,
    /// The end of the process. The last moments before a power cut may be lost, and nothing is ever half there.
    Process,
}

/// Where a part of a store is reached.
pub(super) struct Address {
    pub(super) options: AnyConnectOptions,
    pub(super) name: Arc<str>,
    pub(super) is_postgres: bool,
}

impl Address {
    /// Where a part is.
    ///
    /// # Errors
    /// [`StoreError`] when the data directory is not there, or the address of a Postgres is none.
    pub(super) fn of(place: &Place, part: Part, access: Access) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        match &place.postgres {
            Some(url) => Self::of_postgres(url, part, access),
            None => Self::of_sqlite(place, part, access),
        }
    }

    fn of_sqlite(place: &Place, part: Part, access: Access) -> Result<Self, StoreError> {
        let name: Arc<str> = place.data.join(part.file()).display().to_string().into();
        // A URL has neither relative paths nor `..`.
        let data = fs::canonicalize(&place.data).map_err(StoreError::io("read", &place.data))?;
        let path = data.join(part.file());
        let path = percent_encode(path.as_os_str().as_bytes(), PATH);
        let mode = match access {
            Access::Read => "ro",
            Access::Write(_) => "rwc",
        };
        let options: Result<AnyConnectOptions, _> = format!("sqlite://{path}?mode={mode}").parse();
        Ok(Self {
            options: options.map_err(StoreError::database(name.clone(), false))?,
            name,
            is_postgres: false,
        })
    }

    fn of_postgres(url: &SecretString, part: Part, access: Access) -> Result<Self, StoreError> {
        let failed = StoreError::database(NAMELESS.into(), true);
        let malformed = |why: &str| failed(sqlx::Error::Configuration(why.into()));
        let options: Result<AnyConnectOptions, _> = url.expose_secret().parse();
        let mut options = options.map_err(|_| malformed("it is no URL"))?;
        let url = &mut options.database_url;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(malformed("it must begin with postgres://"));
        }
        // A password with such a sign in it ends there, and its rest would be shown as if it was the host or the database.
        let rest = [url.path(), url.query().unwrap_or_default()];
        if url.fragment().is_some() || rest.iter().any(|rest| rest.contains('@')) {
            return Err(malformed(
                "a password has `/`, `?`, `#` and `@` written as %2F, %3F, %23 and %40",
            ));
        }
        let known = PgConnectOptions::from_url(url).map_err(&failed)?;
        let host = match known.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => known.get_host().to_owned(),
        };
        let database = known.get_database().unwrap_or(known.get_username());
        let name = format!("postgres://{host}:{}/{database}", known.get_port());
        let mut settings = POSTGRES.to_vec();
        settings.push(("search_path", part.schema()));
        match access {
            Access::Read => settings.push(("default_transaction_read_only", "on")),
            Access::Write(Durability::Process) => settings.push(("synchronous_commit", "off")),
            Access::Write(Durability::Full) => {}
        }
        // As settings of the connection they hold again after the server was restarted.
        for (setting, value) in settings {
            url.query_pairs_mut()
                .append_pair(&format!("options[{setting}]"), value);
        }
        Ok(Self {
            options,
            name: name.into(),
            is_postgres: true,
        })
    }
}
