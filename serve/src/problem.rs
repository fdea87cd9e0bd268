//! What went wrong, as a problem document (RFC 9457): one shape for all faces.
//!
//! - Not here: paths, stack traces, words of libraries about the inside. Those go to the log, under the request's id.

use schemars::JsonSchema;
use schemas::near;
use serde::{Deserialize, Serialize};
use store::error::Refusal;
use store::query::QueryError;

/// The kinds of problems, each with its status (RFC 9110) and title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The request cannot be read.
    BadRequest,
    /// A parameter that the operation does not have.
    UnknownParameter,
    /// No token, or none that is valid.
    Unauthorized,
    /// The token does not allow this.
    Forbidden,
    /// There is no such thing, or not for this token.
    NotFound,
    /// The path knows other methods.
    MethodNotAllowed,
    /// The answer has none of the formats that the client accepts.
    NotAcceptable,
    /// The client took too long to ask.
    RequestTimeout,
    /// It is not in a state in which this can be done.
    Conflict,
    /// It was there, and is kept no longer.
    Gone,
    /// The request, or its answer, is larger than allowed.
    TooLarge,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// The request can be read, and asks for what cannot be.
    Unprocessable,
    /// Too many requests of this token.
    TooManyRequests,
    /// A failure of dkc.
    Internal,
    /// Not now.
    Unavailable,
}

impl Kind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::BadRequest,
        Self::UnknownParameter,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::Conflict,
        Self::Gone,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Unprocessable,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
    ];

    /// Its status.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::UnknownParameter => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::RequestTimeout => 408,
            Self::Conflict => 409,
            Self::Gone => 410,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Unprocessable => 422,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// Its name, as in its type.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::UnknownParameter => "unknown-parameter",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::NotAcceptable => "not-acceptable",
            Self::RequestTimeout => "request-timeout",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::TooLarge => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::Unprocessable => "unprocessable",
            Self::TooManyRequests => "too-many-requests",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }

    /// Its title.
    pub fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "the request cannot be read",
            Self::UnknownParameter => "there is no such parameter",
            Self::Unauthorized => "a valid token is needed",
            Self::Forbidden => "this token does not allow it",
            Self::NotFound => "there is no such thing",
            Self::MethodNotAllowed => "this path knows other methods",
            Self::NotAcceptable => "none of the formats asked for is known",
            Self::RequestTimeout => "the request took too long",
            Self::Conflict => "it cannot be done in this state",
            Self::Gone => "it is kept no longer",
            Self::TooLarge => "there is too much of it",
            Self::UnsupportedMediaType => "the body must be JSON",
            Self::Unprocessable => "what is asked for cannot be",
            Self::TooManyRequests => "too many requests",
            Self::Internal => "something failed inside",
            Self::Unavailable => "not now",
        }
    }
}

/// Seconds after which somebody asks again whether the database is back.
const AWAY: u64 = 5;

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub kind: Kind,
    /// What happened, and what to do next.
    pub detail: String,
    /// Seconds after which to try again.
    pub retry_after: Option<u64>,
}

/// A problem as it is written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct Document<'a> {
    /// What kind it is; does not change between releases.
    pub r#type: String,
    /// The kind in words.
    pub title: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// What happened, and what to do next.
    pub detail: &'a str,
    /// The request, as in the log and the audit record.
    pub request_id: &'a str,
}

impl Problem {
    /// A problem, with what happened and what to do next.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// There is no such thing, with the names that there are, the nearest first.
    pub fn not_found<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> Self {
        Self::no_such(Kind::NotFound, what, name, names)
    }

    /// As [`Self::not_found`], where the thing is only a part of what is asked.
    pub fn no_such<'a>(kind: Kind, what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> Self {
        Self::new(kind, near::no_such(what, name, names))
    }

    /// The request can be read, and asks for what cannot be.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(Kind::Unprocessable, detail)
    }

    /// A failure inside: the cause goes to the log.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        let causes: Vec<String> = std::iter::successors(Some(error), |error| error.source())
            .map(ToString::to_string)
            .collect();
        tracing::error!(cause = causes.join(": "), "an operation failed");
        Self::new(
            Kind::Internal,
            "it is not the request's fault; the log says more under this request's id",
        )
    }

    /// The database does not answer.
    pub fn away() -> Self {
        Self::new(
            Kind::Unavailable,
            "the database does not answer, so dkc cannot either; try again once it is back",
        )
        .after(AWAY)
    }

    /// The database does not let dkc in.
    pub fn refused(why: &Refusal) -> Self {
        Self::refused_as(&why.plain())
    }

    fn refused_as(why: &str) -> Self {
        Self::new(
            Kind::Unavailable,
            format!("the database refuses dkc: {why}; then start dkc again if its own settings were wrong"),
        )
        .after(AWAY)
    }

    /// It, with when to try again.
    pub fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// It as it is written.
    pub fn document<'a>(&'a self, request_id: &'a str) -> Document<'a> {
        Document {
            r#type: format!("urn:dkc:problem:{}", self.kind.name()),
            title: self.kind.title(),
            status: self.kind.status(),
            detail: &self.detail,
            request_id,
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::NoWorker(_) => {
                tracing::error!(%error, "no process for a query");
                Self::new(
                    Kind::Unavailable,
                    "no process can be started for the query; try again",
                )
                .after(1)
            }
            QueryError::Away(_) => Self::away(),
            QueryError::Refused { plain, .. } => Self::refused_as(&plain),
            QueryError::Lost { .. } => {
                tracing::error!(%error, "a query found the lake damaged");
                // Which file it is is for whoever reads the log.
                Self::new(
                    Kind::Internal,
                    "a data file of the lake is missing or damaged, so this has no answer; `dkc verify` and the log name it",
                )
            }
            QueryError::TooMuch { .. } => Self::new(Kind::TooLarge, error.to_string()),
            error => Self::unprocessable(error.to_string()),
        }
    }
}

impl From<store::StoreError> for Problem {
    fn from(error: store::StoreError) -> Self {
        match error {
            store::StoreError::NoSnapshot { .. } => Self::new(Kind::NotFound, error.to_string()),
            // The log has it once, and not for each that asks.
            store::StoreError::Unreachable { .. } => Self::away(),
            store::StoreError::Refused { ref why, .. } => {
                // Connections that were made before may live on, so that nobody else notices.
                tracing::error!(%error, "a connection to the database is refused");
                Self::refused(why)
            }
            error => Self::internal(&error),
        }
    }
}

impl From<arrow_schema::ArrowError> for Problem {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::internal(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_named_in_the_log_alone() {
        let problem = Problem::from(QueryError::Lost {
            file: "lake/main/emails/a.parquet".to_owned(),
            how: "is gone".to_owned(),
        });
        assert_eq!(problem.kind, Kind::Internal);
        assert!(!problem.detail.contains("parquet"), "{problem:?}");
    }
}
