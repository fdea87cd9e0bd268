//! Why a Postgres is not to be had, in words for whoever wrote its address: what they may do, and no password.
//!
//! - In: what the driver says. Out: [`refusal`], which waiting does not cure, or [`absence`], which may be over soon.
//! - Not here: which server it is (`error` names it).

use sqlx::Error;
use std::io::ErrorKind;

/// Why a server will not let dkc in, however long it is waited for.
pub(crate) fn refusal(error: &Error) -> Option<String> {
    match error {
        Error::Configuration(why) => Some(format!(
            "its address is not one ({why}); it is like postgres://dkc:PASSWORD@db.example.org:5432/dkc"
        )),
        Error::Tls(why) => Some(format!(
            "it cannot be spoken with over TLS ({why}); `sslmode` and `sslrootcert` behind a `?` at the end of the address say how"
        )),
        Error::Database(error) => {
            let code = error.code()?;
            match code.as_ref() {
                // invalid_password
                "28P01" => Some(
                    "its user or its password is wrong; correct the address that `postgres` under `[store]` names"
                        .to_owned(),
                ),
                // invalid_authorization_specification
                "28000" => Some(format!(
                    "its user may not come in, or not from this machine or without TLS ({}); `pg_hba.conf` of the server says who may",
                    error.message()
                )),
                // invalid_catalog_name
                "3D000" => Some(
                    "there is no such database; `createdb --owner USER NAME` makes one, or correct the address that `postgres` under `[store]` names"
                        .to_owned(),
                ),
                // insufficient_privilege
                "42501" => Some(format!(
                    "its user lacks a right ({}); `ALTER DATABASE NAME OWNER TO USER` gives what dkc needs",
                    error.message()
                )),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Why a server cannot be reached now, and what to look at.
pub(crate) fn absence(error: &Error) -> &'static str {
    match error {
        Error::Io(error) => match error.kind() {
            // A socket that is a file is not there.
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
                "nothing listens there; see whether PostgreSQL runs, and whether host and port are right"
            }
            ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                "there is no answer; see whether the machine is up, and whether a firewall is between"
            }
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::UnexpectedEof => {
                "it ended the connection; see whether PostgreSQL was stopped"
            }
            _ => {
                "the connection fails; see whether the name of the host is right, and whether PostgreSQL runs"
            }
        },
        Error::Database(error) => match error.code().as_deref() {
            Some("53300") => {
                "it has no connection left; raise its `max_connections`, or let fewer programs connect"
            }
            // It says so itself: starting up, shutting down, recovering.
            _ => "it is starting or stopping",
        },
        _ => "it gave no connection in time; see whether it runs, and whether this machine may connect to it",
    }
}
