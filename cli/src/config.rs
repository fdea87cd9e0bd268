//! `dkc.toml`, all of it, in one struct; secrets are resolved here and nowhere else.
//!
//! - In: the text of the file. Out: pipelines that can be built, limits; or every mistake in it at once,
//!   each with its line, its key and the nearest valid one.
//! - Not here: what the keys of a `source` mean. Its collector says so, see [`collectors::Descriptor`].

mod alerts;
mod finding;
mod gateway;
mod length;
mod mistake;
mod read;
mod redact;
mod runs;
mod schema;
mod secret;
mod timing;

pub use alerts::{Alerts, Tls};
pub use gateway::{Certificates, Serve};
pub use length::Length;
pub use mistake::{Misconfigured, is_mistake, nearest};
pub use runs::Runs;
pub use schema::json_schema;
pub use secret::{Reference, look_up};
pub use timing::Budget;

use collectors::{Collector, Descriptor};
use miette::{Report, Result, miette};
use pipelines::schedule::{Plan, When};
use schemars::JsonSchema;
use schemas::SourceName;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::io::{self, Read};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

/// The configuration.
#[derive(Debug)]
pub struct Config {
    /// The file it was read from, absolute.
    pub path: PathBuf,
    /// Where the tables are, if not in the data directory.
    postgres: Option<Secret>,
    /// Bounds on queries.
    pub limits: Limits,
    /// How search works.
    pub search: Search,
    /// How it is served.
    pub serve: Serve,
    /// How many runs at once, and how long they are remembered.
    pub runs: Runs,
    /// Who is told when something is wrong.
    pub alerts: Alerts,
    /// The pipelines, in the order of the file.
    pub pipelines: Vec<Pipeline>,
}

/// Bounds on what one query may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of one query in MiB; beyond it, sorts and joins use files, and then the query fails. Without it an
    /// eighth of the machine's, and no less than 512.
    pub query_memory_mb: Option<NonZeroU64>,
    /// Seconds until a query is stopped.
    pub query_seconds: NonZeroU64,
    /// Threads of a query and of the converters; all cores without it.
    pub threads: Option<NonZeroUsize>,
}

impl Default for Limits {
    fn default() -> Self {
        // `NonZero::new` would give an option to unwrap.
        Self {
            query_memory_mb: None,
            query_seconds: NonZeroU64::MIN.saturating_add(59),
            threads: None,
        }
    }
}

impl Limits {
    /// What a query may use.
    pub fn of_a_query(self) -> store::query::Limits {
        let cores = std::thread::available_parallelism();
        store::query::Limits {
            memory_bytes: usize::try_from(self.query_memory_bytes()).unwrap_or(usize::MAX),
            time: std::time::Duration::from_secs(self.query_seconds.get()),
            threads: self
                .threads
                .map_or_else(|| cores.map_or(2, NonZeroUsize::get), NonZeroUsize::get),
            rows: None,
            bytes: None,
        }
    }

    fn query_memory_bytes(self) -> u64 {
        let by_default = || (machine_memory() / 8).max(512 << 20);
        self.query_memory_mb
            .map_or_else(by_default, |mb| mb.get().saturating_mul(1 << 20))
    }
}

/// Bytes of memory that this machine has; 0 where nobody says.
#[cfg(target_os = "linux")]
fn machine_memory() -> u64 {
    let machine = rustix::system::sysinfo();
    (machine.totalram as u64).saturating_mul(machine.mem_unit.into())
}
#[cfg(not(target_os = "linux"))]
fn machine_memory() -> u64 {
    0
}

/// How search works.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// The model by which search by meaning compares texts: one that `dkc index model` lists, the path of a folder, or
    /// a name of fastembed.
    pub model: String,
    /// The cross-encoder that puts what was found in another order where a search asks for it: a folder among the
    /// models, the path of one, or a name of fastembed. Without it nothing is reranked.
    pub reranker: Option<String>,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            model: store::embedder::DEFAULT_TRANSFORMER.to_owned(),
            reranker: None,
        }
    }
}

/// What the configuration says beside pipelines, or would say by default when there is none.
///
/// # Errors
/// Every mistake of a configuration that is there.
pub fn settings(context: &crate::context::Context) -> Result<(Limits, Search)> {
    if !context.config_path()?.exists() {
        return Ok(Default::default());
    }
    let config = context.load_config()?;
    Ok((config.limits, config.search))
}

/// One `[[pipeline]]`.
#[derive(Debug)]
pub struct Pipeline {
    /// Its name, and the `_source` of what it collects.
    pub name: SourceName,
    /// When it is due, and what becomes of times that come late or too early.
    pub plan: Plan,
    /// What it may take before its owner is told.
    pub budget: Budget,
    /// The kind of its source.
    pub descriptor: &'static Descriptor,
    /// Its `source` table without `kind`: paths are absolute, secrets are still references.
    source: toml_edit::Table,
    secrets: Vec<Secret>,
    place: mistake::Place,
}

/// A key whose value is a secret.
#[derive(Debug)]
struct Secret {
    key: String,
    reference: Reference,
    place: mistake::Place,
}

impl Secret {
    /// Looks it up; an error says whose it is.
    fn resolve(&self, whose: &str) -> Result<SecretString> {
        self.reference.resolve().map_err(|error| {
            let help = format!("{}; it is {whose}", error.next_step());
            Report::new(self.place.mistake(error.to_string(), Some(help)))
        })
    }
}

/// More is not a configuration but a mistaken path, perhaps one without end.
const MOST_BYTES: u64 = 4 << 20;

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(io::Error::other("it is over 4 MiB, so hardly a configuration"));
    }
    Ok(text)
}

impl Config {
    /// Reads and checks a file. No secret is looked up.
    ///
    /// # Errors
    /// Every mistake in it, or that the file cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let text = read_text(path).map_err(|error| {
            miette!(
                help = "check that it is a text file that you may read",
                "cannot read `{}`: {error}",
                path.display()
            )
        })?;
        Self::parse(&text, path, &path.display().to_string())
    }

    /// Checks the text of a configuration that is, or will be, at `path`; messages call it `title`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str, path: &Path, title: &str) -> Result<Self> {
        read::read(text, path, title).map_err(|mistakes| mistakes.into_report())
    }

    /// Where a store is whose data directory is `data`.
    ///
    /// # Errors
    /// That the secret of its database is not where it should be.
    pub fn place(&self, data: &Path) -> Result<store::Place> {
        let postgres = self.postgres.as_ref();
        Ok(store::Place {
            data: data.to_owned(),
            postgres: postgres
                .map(|secret| secret.resolve("where the tables are"))
                .transpose()?,
        })
    }

    /// The folder of the file: where its paths begin.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The pipelines of these names, in this order; all of them without names.
    ///
    /// # Errors
    /// When a name is of no pipeline, or there are none at all.
    pub fn chosen(&self, names: &[String]) -> Result<Vec<&Pipeline>> {
        if self.pipelines.is_empty() {
            return Err(Misconfigured::report(
                format!("`{}` has no pipeline", self.path.display()),
                Some("`dkc add maildir path=~/Mail name=mail` adds one".to_owned()),
            ));
        }
        if names.is_empty() {
            return Ok(self.pipelines.iter().collect());
        }
        names.iter().map(|name| self.pipeline(name)).collect()
    }

    /// The pipeline of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn pipeline(&self, name: &str) -> Result<&Pipeline> {
        self.pipelines
            .iter()
            .find(|pipeline| pipeline.name.as_str() == name)
            .ok_or_else(|| {
                let names = self.pipelines.iter().map(|pipeline| pipeline.name.as_str());
                miette!(help = nearest(name, names), "there is no pipeline `{name}`")
            })
    }
}

/// The keys of the files that a source lies in: those it cannot be without. A file of certificates is none.
fn file_keys(descriptor: &Descriptor) -> Vec<&'static str> {
    let schema = (descriptor.schema)();
    let needed: Vec<&str> = schema::required(&schema).collect();
    let keys = descriptor.paths.iter().copied();
    keys.filter(|key| needed.contains(key)).collect()
}

impl Pipeline {
    /// When it is due, as written, if it has a schedule.
    pub fn schedule(&self) -> Option<String> {
        let texts: Vec<String> = self.plan.when.iter().map(When::text).collect();
        Some(texts.join(", ")).filter(|schedule| !schedule.is_empty())
    }

    /// The host that it asks, if it asks one.
    pub fn host(&self) -> Option<String> {
        let host = self.source.get("host")?.as_str()?;
        Some(host.to_ascii_lowercase())
    }

    /// The files and folders that its source lies in.
    pub fn files(&self) -> Vec<PathBuf> {
        self.paths(&file_keys(self.descriptor))
    }

    fn paths(&self, keys: &[&str]) -> Vec<PathBuf> {
        let values = |key: &&str| self.source.get(key).and_then(toml_edit::Item::as_value);
        let texts = |value: &toml_edit::Value| -> Vec<PathBuf> {
            let text = |one: &toml_edit::Value| one.as_str().map(PathBuf::from);
            match value {
                toml_edit::Value::Array(all) => all.iter().filter_map(text).collect(),
                one => text(one).into_iter().collect(),
            }
        };
        keys.iter().filter_map(values).flat_map(texts).collect()
    }

    /// The first path of its source that cannot be reached, with the reason.
    pub fn missing(&self) -> Option<String> {
        self.paths(self.descriptor.paths).into_iter().find_map(|path| {
            let error = std::fs::metadata(&path).err()?;
            Some(format!("`{}`: {error}", path.display()))
        })
    }

    /// Why the files and folders that its source lies in may not be those that were meant.
    pub fn doubts(&self) -> Vec<String> {
        let files = self.files();
        files
            .iter()
            .filter_map(|path| (self.descriptor.doubt)(path))
            .collect()
    }

    /// Its collector, with its secrets looked up now.
    ///
    /// # Errors
    /// Where and why, when a secret cannot be read, or the collector refuses the table.
    pub fn collector(&self) -> Result<Box<dyn Collector>> {
        let mut table = self.source.clone();
        let mut values = Vec::new();
        for secret in &self.secrets {
            let value = secret.resolve(&format!("the `{}` of pipeline `{}`", secret.key, self.name))?;
            table.insert(&secret.key, toml_edit::value(value.expose_secret()));
            values.push(value);
        }
        (self.descriptor.build)(table).map_err(|error| {
            let message = values
                .iter()
                .fold(error.message, |message, value| secret::hide(&message, value));
            let place = self.place.at(error.span);
            Report::new(place.mistake(format!("`source` of `{}`: {message}", self.name), None))
        })
    }
}

#[cfg(test)]
mod tests;
