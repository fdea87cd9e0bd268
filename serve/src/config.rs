//! How the gateway listens and what it allows.

use crate::problem::Problem;
use schemas::Role;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How the gateway listens and what it allows.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether it may listen where other machines reach it.
    pub remote: bool,
    /// Names, beside those of this machine, by which clients reach it.
    pub hosts: Vec<String>,
    /// Origins of pages that may read its answers in a browser.
    pub origins: Vec<String>,
    /// The proxy that says who asks, if there is one.
    pub proxy: Option<Proxy>,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// How long an answer may take to begin.
    pub answer_time: Duration,
    /// Heavy operations at once.
    pub heavy: usize,
    /// The pipelines of the configuration.
    pub pipelines: Vec<Pipeline>,
    /// Queries with a name.
    pub saved: Vec<SavedQuery>,
}

/// A pipeline, as the configuration has it.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// The kind of its source.
    pub kind: String,
    /// When it is due, as written.
    pub schedule: Option<String>,
}

/// A query with a name, so that whoever asks it need know no SQL.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct SavedQuery {
    /// Its name.
    pub name: String,
    /// What it answers.
    pub about: String,
    /// One statement; `:name` is a parameter.
    pub sql: String,
}

/// A proxy that has asked who somebody is, as Authelia behind nginx does (forward authentication).
#[derive(Debug, Clone)]
pub struct Proxy {
    /// The addresses it comes from; what others say is not heard.
    pub addresses: Vec<IpAddr>,
    /// The header with the user's name.
    pub user_header: String,
    /// The header with the user's groups, with commas between.
    pub groups_header: String,
    /// The role of a group; who is in none has none.
    pub roles: BTreeMap<String, Role>,
    /// A secret that the proxy sends as `X-Dkc-Proxy-Secret`, where others share its address.
    pub secret: Option<secrecy::SecretString>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8427)),
            remote: false,
            hosts: Vec::new(),
            origins: Vec::new(),
            proxy: None,
            body_bytes: 1 << 20,
            answer_time: Duration::from_secs(60),
            heavy: 4,
            pipelines: Vec::new(),
            saved: Vec::new(),
        }
    }
}

impl Config {
    /// Refuses what would let strangers in by mistake.
    ///
    /// # Errors
    /// That it listens beyond this machine without having been told so, or without a token.
    pub fn check(&self, has_token: bool) -> Result<(), Problem> {
        let is_local = self.listen.ip().is_loopback();
        let refuse = |detail: String| Err(Problem::unprocessable(detail));
        if !is_local && !self.remote {
            return refuse(format!(
                "`{}` can be reached from other machines; `remote = true` under [serve] allows it",
                self.listen
            ));
        }
        if !is_local && !has_token {
            return refuse(format!(
                "`{}` can be reached from other machines, and there is no token yet: `dkc token create NAME` first",
                self.listen
            ));
        }
        Ok(())
    }
}
