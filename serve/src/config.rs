//! How the gateway listens and what it allows.

use crate::problem::Problem;
use jiff::SignedDuration;
use schemas::Role;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
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
    /// What connections are encrypted with; they are not if absent.
    pub tls: Option<Tls>,
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
    /// Folders whose files may be found and read; beyond them nothing is.
    pub roots: Vec<Root>,
    /// Folders of credentials: what is in them is named, and never read.
    pub secret_folders: Vec<PathBuf>,
    /// Operations that act and that the owner trusts: they need no approval of each act.
    pub trusted: Vec<String>,
    /// The virtual machines that may be looked at, started and stopped.
    pub machines: Vec<Machine>,
    /// The containers that may be looked at and restarted.
    pub docker: Option<Docker>,
    /// The builds that may be run.
    pub builds: Vec<Build>,
    /// The repositories on GitHub that may be looked at, and their workflows run.
    pub github: Option<GitHub>,
}

/// A folder whose files may be found and read.
#[derive(Debug, Clone)]
pub struct Root {
    /// What it is called; paths in answers begin with it.
    pub name: String,
    /// Where it is, absolute.
    pub path: PathBuf,
}

/// The program that knows a virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cloud {
    /// Google Cloud, by `gcloud`.
    Gcloud,
    /// Oracle Cloud Infrastructure, by `oci`.
    Oci,
}

/// A virtual machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What it is called here.
    pub name: String,
    /// Whose it is.
    pub cloud: Cloud,
    /// Its name in gcloud, its OCID in oci.
    pub id: String,
    /// Its project (gcloud), or the profile of the configuration file (oci); the program's own default without it.
    pub account: Option<String>,
    /// Its zone (gcloud) or region (oci); the program's own default without it.
    pub location: Option<String>,
    /// The program, if it is not on the path.
    pub program: Option<PathBuf>,
}

/// Containers of a Docker or Podman daemon.
#[derive(Debug, Clone)]
pub struct Docker {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The names of the containers that may be seen and restarted.
    pub containers: Vec<String>,
}

/// A build.
#[derive(Debug, Clone)]
pub struct Build {
    /// What it is called.
    pub name: String,
    /// What it makes, in a sentence.
    pub about: String,
    /// Where it runs.
    pub folder: PathBuf,
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// How long it may take.
    pub time: Duration,
}

/// Repositories on GitHub.
#[derive(Debug, Clone)]
pub struct GitHub {
    /// The address of its REST API, without a slash at the end.
    pub api: String,
    /// A token of GitHub's.
    pub token: Option<secrecy::SecretString>,
    /// The repositories, as `owner/name`.
    pub repositories: Vec<String>,
    /// The files of the workflows that may be started, such as `deploy.yml`.
    pub workflows: Vec<String>,
}

/// A pipeline, as the configuration has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// The kind of its source.
    pub kind: String,
    /// When it is due, each as the table `schedules` names it; only when asked for if there is none.
    pub schedule: Vec<String>,
    /// The time zone of these; that of the machine if absent.
    pub time_zone: Option<String>,
    /// How old its last good run may be.
    pub fresh_within: Option<SignedDuration>,
    /// The host that it asks: runs of one host share a limit.
    pub host: Option<String>,
    /// Which run begins first when many wait: the one with more.
    pub priority: i64,
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

/// Files, in PEM, that connections are encrypted with (TLS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities that sign certificates of programs. With them, a token of the role `automated` is good only beside such
    /// a certificate.
    pub clients: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8427)),
            remote: false,
            hosts: Vec::new(),
            origins: Vec::new(),
            proxy: None,
            tls: None,
            body_bytes: 1 << 20,
            answer_time: Duration::from_secs(60),
            heavy: 4,
            pipelines: Vec::new(),
            saved: Vec::new(),
            roots: Vec::new(),
            secret_folders: Vec::new(),
            trusted: Vec::new(),
            machines: Vec::new(),
            docker: None,
            builds: Vec::new(),
            github: None,
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
