//! Why a Postgres is not to be had, in words for whoever wrote its address: what they may do, and no password.
//!
//! - In: what the driver says. Out: [`refusal`], which waiting does not cure, or [`absence`], which may be over soon. Each
//!   code of SQLSTATE that tells either is in [`meaning`], and nowhere else.
//! - Not here: which server it is (`error` names it).

use sqlx::Error;
use sqlx::error::DatabaseError;
use std::fmt::{self, Display, Formatter};
use std::io::ErrorKind;

/// Why a server will not let dkc in, however long it is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    what: &'static str,
    /// What the server or the driver says itself, where that tells more.
    said: Option<String>,
    next_step: &'static str,
}

impl Refusal {
    /// It without what the server says itself, which may name machines and users: for who only asks the store something.
    pub fn plain(&self) -> String {
        format!("{}; {}", self.what, self.next_step)
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.said {
            Some(said) => write!(f, "{} ({said}); {}", self.what, self.next_step),
            None => f.write_str(&self.plain()),
        }
    }
}

/// What a server says of itself, and not of a statement.
enum Meaning {
    /// It does not let dkc in.
    Refuses(Refusal),
    /// It is not there now, and what to look at.
    IsAbsent(&'static str),
}

/// What a code of SQLSTATE says of the server.
fn meaning(error: &dyn DatabaseError) -> Option<Meaning> {
    let refuses = |what, next_step| Refusal {
        what,
        said: None,
        next_step,
    };
    let quoting = |what, next_step| Refusal {
        said: Some(error.message().to_owned()),
        ..refuses(what, next_step)
    };
    let code = error.code()?;
    Some(match code.as_ref() {
        // invalid_password
        "28P01" => Meaning::Refuses(refuses(
            "its user or its password is wrong",
            "correct the address that `postgres` under `[store]` names",
        )),
        // invalid_authorization_specification
        "28000" => Meaning::Refuses(quoting(
            "its user may not come in, or not from this machine or without TLS",
            "`pg_hba.conf` of the server says who may",
        )),
        // invalid_catalog_name
        "3D000" => Meaning::Refuses(refuses(
            "there is no such database",
            "`createdb --owner USER NAME` makes one, or correct the address that `postgres` under `[store]` names",
        )),
        // insufficient_privilege
        "42501" => Meaning::Refuses(quoting(
            "its user lacks a right",
            "`ALTER DATABASE NAME OWNER TO USER` gives what dkc needs",
        )),
        // admin_shutdown, crash_shutdown, cannot_connect_now
        "57P01" | "57P02" | "57P03" => Meaning::IsAbsent("it is starting or stopping"),
        // too_many_connections
        "53300" => Meaning::IsAbsent(
            "it has no connection left; raise its `max_connections`, or let fewer programs connect",
        ),
        _ => return None,
    })
}

/// Why a server will not let dkc in, however long it is waited for.
pub(crate) fn refusal(error: &Error) -> Option<Refusal> {
    match error {
        Error::Configuration(why) => Some(Refusal {
            what: "its address is not one",
            said: Some(why.to_string()),
            next_step: "it is like postgres://dkc:PASSWORD@db.example.org:5432/dkc",
        }),
        Error::Tls(why) => Some(Refusal {
            what: "it cannot be spoken with over TLS",
            said: Some(why.to_string()),
            next_step: "`sslmode` and `sslrootcert` behind a `?` at the end of the address say how",
        }),
        Error::Database(error) => match meaning(error.as_ref())? {
            Meaning::Refuses(refusal) => Some(refusal),
            Meaning::IsAbsent(_) => None,
        },
        _ => None,
    }
}

/// Whether a server is not there, or not yet, or not any more.
pub(crate) fn is_absent(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::PoolTimedOut => true,
        Error::Database(error) => matches!(meaning(error.as_ref()), Some(Meaning::IsAbsent(_))),
        _ => false,
    }
}

/// Why a server that [`is_absent`] cannot be reached now, and what to look at.
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
        Error::Database(error) => match meaning(error.as_ref()) {
            Some(Meaning::IsAbsent(words)) => words,
            _ => "it fails",
        },
        _ => "it gave no connection in time; see whether it runs, and whether this machine may connect to it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::error::ErrorKind as Kind;
    use std::borrow::Cow;

    /// What a server says, by its code.
    #[derive(Debug)]
    struct Said(&'static str);

    impl Display for Said {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            f.write_str(self.message())
        }
    }

    impl std::error::Error for Said {}

    impl DatabaseError for Said {
        fn message(&self) -> &str {
            "no entry for host \"10.0.0.5\""
        }
        fn code(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed(self.0))
        }
        fn kind(&self) -> Kind {
            Kind::Other
        }
        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }
        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }
        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }
    }

    #[test]
    fn a_code_tells_a_refusal_or_an_absence_and_never_both() {
        for code in ["28P01", "28000", "3D000", "42501"] {
            let error = Error::Database(Box::new(Said(code)));
            let refusal = refusal(&error).unwrap();
            assert!(!is_absent(&error), "{code}");
            assert!(!refusal.plain().contains("10.0.0.5"), "{code}");
        }
        for code in ["57P01", "57P02", "57P03", "53300"] {
            let error = Error::Database(Box::new(Said(code)));
            assert!(is_absent(&error) && refusal(&error).is_none(), "{code}");
        }
        // A statement was wrong.
        let error = Error::Database(Box::new(Said("42601")));
        assert!(!is_absent(&error) && refusal(&error).is_none());
    }

    #[test]
    fn what_the_server_says_itself_is_told_to_whoever_set_it_up() {
        let refusal = refusal(&Error::Database(Box::new(Said("28000")))).unwrap();
        assert!(
            refusal
                .to_string()
                .contains("(no entry for host \"10.0.0.5\"); `pg_hba.conf`")
        );
    }
}
