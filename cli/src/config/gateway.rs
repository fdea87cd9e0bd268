//! The table `serve`: how the gateway listens, and what agents may reach through it beside the lake.
//!
//! - Everything beside the lake is off until a key here allows it.
//! - Not here: what is wrong in it (`check`), looking up secrets, and what becomes of it all (`commands::gateway`).

mod check;

pub(super) use check::{check_address, is_here, settle};

use schemars::JsonSchema;
use schemas::Role;
use serde::Deserialize;
use serve::config::Cloud;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

/// How `dkc serve` listens, and what it and `dkc mcp` allow.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Serve {
    /// Where it listens: an address and a port.
    pub listen: SocketAddr,
    /// Whether it may listen where other machines reach it.
    pub remote: bool,
    /// Names, beside those of this machine, by which clients reach it.
    pub hosts: Vec<String>,
    /// Origins of pages that may read its answers in a browser, such as `https://home.example.org`.
    pub origins: Vec<String>,
    /// Rows of one answer; more is an error, never a cut.
    pub answer_rows: NonZeroU64,
    /// MiB of one answer, as it lies in memory.
    pub answer_mb: NonZeroU64,
    /// A proxy that has asked who somebody is (forward authentication), such as Authelia behind nginx.
    pub proxy: Option<Proxy>,
    /// Encryption of connections.
    pub tls: Option<Certificates>,
    /// Queries with a name, for whoever knows no SQL.
    pub queries: BTreeMap<String, SavedQuery>,
    /// Folders, each with a name, whose files agents may find and read.
    pub roots: BTreeMap<String, PathBuf>,
    /// What agents may do.
    pub agents: Agents,
    /// Virtual machines that agents may look at, each with a name.
    pub machines: BTreeMap<String, Machine>,
    /// Containers that agents may look at.
    pub docker: Option<Docker>,
    /// Builds that agents may run, each with a name.
    pub builds: BTreeMap<String, Build>,
    /// Repositories on GitHub that agents may look at.
    pub github: Option<GitHub>,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8427)),
            remote: false,
            hosts: Vec::new(),
            origins: Vec::new(),
            answer_rows: NonZeroU64::MIN.saturating_add(9_999_999),
            answer_mb: NonZeroU64::MIN.saturating_add(4_095),
            proxy: None,
            tls: None,
            queries: BTreeMap::new(),
            roots: BTreeMap::new(),
            agents: Agents::default(),
            machines: BTreeMap::new(),
            docker: None,
            builds: BTreeMap::new(),
            github: None,
        }
    }
}

/// A proxy that has asked who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// The addresses it comes from; what others say of themselves is not heard.
    pub addresses: Vec<IpAddr>,
    /// The header with the user's name.
    #[serde(default = "remote_user")]
    pub user_header: String,
    /// The header with the user's groups, with commas between.
    #[serde(default = "remote_groups")]
    pub groups_header: String,
    /// The role of each group: public, automated, user or dev.
    #[schemars(with = "BTreeMap<String, String>")]
    pub roles: BTreeMap<String, Role>,
    /// What the proxy sends as `X-Dkc-Proxy-Secret`, where other programs share its address: env:, file: or keyring:.
    #[serde(default)]
    pub secret: Option<String>,
}

fn remote_user() -> String {
    "Remote-User".to_owned()
}

fn remote_groups() -> String {
    "Remote-Groups".to_owned()
}

/// Encryption of connections. The files are in PEM, and read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificates {
    /// The file of the certificate, with those between it and its authority.
    pub certificate: PathBuf,
    /// The file of its private key.
    pub key: PathBuf,
    /// The file of the authorities that sign certificates of programs: with it, the role automated needs such a certificate
    /// beside its token.
    #[serde(default)]
    pub clients: Option<PathBuf>,
}

/// A query with a name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedQuery {
    /// What it answers.
    pub about: String,
    /// One statement; `:name` is a parameter.
    pub sql: String,
}

/// What agents may do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Agents {
    /// Folders of credentials: what is in them is named, and never read.
    pub secrets: Vec<PathBuf>,
    /// Operations that act and need no approval of each act.
    pub trusted: Vec<String>,
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The program that knows it: gcloud or oci.
    pub cloud: Cloud,
    /// Its name (gcloud) or OCID (oci).
    pub id: String,
    /// Its project (gcloud), or the profile of the configuration file (oci); the program's own default without it.
    #[serde(default)]
    pub account: Option<String>,
    /// Its zone (gcloud) or region (oci); the program's own default without it.
    #[serde(default)]
    pub location: Option<String>,
    /// Where the program is, if not on the path.
    #[serde(default)]
    pub program: Option<PathBuf>,
}

/// Containers of a Docker or Podman daemon.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Docker {
    /// The daemon's socket.
    #[serde(default = "docker_socket")]
    pub socket: PathBuf,
    /// The names of the containers that may be seen and restarted.
    pub containers: Vec<String>,
}

fn docker_socket() -> PathBuf {
    PathBuf::from("/run/docker.sock")
}

/// A build.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// What it makes, in a sentence.
    pub about: String,
    /// Where it runs.
    pub folder: PathBuf,
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// Minutes until it is stopped.
    #[serde(default = "half_an_hour")]
    pub minutes: NonZeroU32,
}

fn half_an_hour() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(29)
}

/// Repositories on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitHub {
    /// The address of its REST API: https, or http on this machine.
    #[serde(default = "github_api")]
    pub api: String,
    /// A token of GitHub's: env:, file: or keyring:.
    #[serde(default)]
    pub token: Option<String>,
    /// The repositories, as `owner/name`.
    pub repositories: Vec<String>,
    /// The files of the workflows that may be started, such as `deploy.yml`.
    #[serde(default)]
    pub workflows: Vec<String>,
}

fn github_api() -> String {
    "https://api.github.com".to_owned()
}
