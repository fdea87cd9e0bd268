//! Who may do what: the role of whoever asks.
//!
//! - In: a name. Out: a [`Role`]. Not here: who has which role (tokens of the store), and the checks themselves.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What whoever asks may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Anybody: reads data without their private columns.
    Public,
    /// The owner: reads everything, starts and cancels runs.
    User,
    /// Whoever tends dkc: what the owner may, and tokens, audit, metrics.
    Dev,
    /// A program or an agent: reads everything but secrets, starts runs.
    Automated,
}

/// Why a text is not a role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a role; use public, user, dev or automated")]
pub struct BadRole(String);

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Public, Self::User, Self::Dev, Self::Automated];

    /// The role's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::User => "user",
            Self::Dev => "dev",
            Self::Automated => "automated",
        }
    }
}

impl FromStr for Role {
    type Err = BadRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| BadRole(text.to_owned()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
