//! The gateway as the configuration has it, over the data directory: what `dkc serve` and `dkc mcp` share.
//!
//! - In: a [`Context`]. Out: [`Settings`], what they allow, and a gateway that is [`Opened`].
//! - Nothing here waits for what a call may need later: no index is opened, no model is loaded.
//! - Not here: how it is reached: ports and the first token (`serve`), agents (`mcp`).

use crate::config::{self, Limits, Search, Serve};
use crate::context::Context;
use miette::{IntoDiagnostic, Result};
use pipelines::alerts::Watched;
use pipelines::schedule::When;
use secrecy::SecretString;
use serve::config::{Build, Docker, GitHub, Machine, Pipeline, Proxy, Root, SavedQuery, Tls};
use serve::dispatcher::Readers;
use serve::{Config, Gateway};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use store::query::{Spare, Workers};
use tokio::runtime::Runtime;

/// Threads for queries of dkc's own making.
const QUERY_THREADS: usize = 2;

/// What the configuration says of the gateway; without one the defaults.
pub struct Settings {
    serve: Serve,
    limits: Limits,
    search: Search,
    pipelines: Vec<Pipeline>,
    /// The folder of the configuration: where its paths begin.
    folder: PathBuf,
}

impl Settings {
    /// Reads them. No secret is looked up.
    ///
    /// # Errors
    /// Every mistake of a configuration that is there.
    pub fn read(context: &Context) -> Result<Self> {
        let path = context.config_path()?;
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let (serve, limits, search, pipelines) = match path.exists() {
            false => Default::default(),
            true => {
                let config = context.load_config()?;
                let pipelines = config.pipelines.iter().map(told).collect();
                (config.serve, config.limits, config.search, pipelines)
            }
        };
        Ok(Self {
            serve,
            limits,
            search,
            pipelines,
            folder,
        })
    }

    /// How the gateway listens and what it allows: without a proxy, and without secrets.
    pub fn config(&self) -> Config {
        let Serve {
            listen,
            remote,
            hosts,
            origins,
            // `open` and `proxy` see to them.
            answer_rows: _,
            answer_mb: _,
            proxy: _,
            tls,
            queries,
            roots,
            agents,
            machines,
            docker,
            builds,
            github,
        } = self.serve.clone();
        let saved = queries.into_iter().map(|(name, query)| SavedQuery {
            name,
            about: query.about,
            sql: query.sql,
        });
        let machines = machines.into_iter().map(|(name, machine)| Machine {
            name,
            cloud: machine.cloud,
            id: machine.id,
            account: machine.account,
            location: machine.location,
            program: machine.program,
        });
        let builds = builds.into_iter().map(|(name, build)| Build {
            name,
            about: build.about,
            folder: build.folder,
            command: build.command,
            time: Duration::from_secs(u64::from(build.minutes.get()) * 60),
        });
        Config {
            listen,
            remote,
            hosts,
            origins,
            tls: tls.as_ref().map(files_of),
            pipelines: self.pipelines.clone(),
            saved: saved.collect(),
            roots: roots
                .into_iter()
                .map(|(name, path)| Root { name, path })
                .collect(),
            secret_folders: agents.secrets,
            trusted: agents.trusted,
            machines: machines.collect(),
            docker: docker.map(|docker| Docker {
                socket: docker.socket,
                containers: docker.containers,
            }),
            builds: builds.collect(),
            github: github.map(|github| GitHub {
                api: github.api,
                token: None,
                repositories: github.repositories,
                workflows: github.workflows,
            }),
            ..Config::default()
        }
    }

    /// Puts the secrets of services that agents reach into what [`Self::config`] gave.
    ///
    /// # Errors
    /// That a secret is not where it should be.
    pub fn look_up(&self, config: &mut Config) -> Result<()> {
        let text = self
            .serve
            .github
            .as_ref()
            .and_then(|github| github.token.as_deref());
        if let (Some(github), Some(text)) = (&mut config.github, text) {
            github.token = Some(self.secret("serve.github.token", text)?);
        }
        Ok(())
    }

    /// The proxy that says who asks, with its secret.
    ///
    /// # Errors
    /// That the secret is not where it should be.
    pub fn proxy(&self) -> Result<Option<Proxy>> {
        let Some(proxy) = &self.serve.proxy else {
            return Ok(None);
        };
        let secret = proxy
            .secret
            .as_deref()
            .map(|text| self.secret("serve.proxy.secret", text));
        Ok(Some(Proxy {
            addresses: proxy.addresses.clone(),
            user_header: proxy.user_header.to_ascii_lowercase(),
            groups_header: proxy.groups_header.to_ascii_lowercase(),
            roles: proxy.roles.clone(),
            secret: secret.transpose()?,
        }))
    }

    fn secret(&self, key: &str, text: &str) -> Result<SecretString> {
        config::look_up(key, text, &self.folder)
    }
}

/// What connections are encrypted with.
pub fn files_of(tls: &config::Certificates) -> Tls {
    Tls {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        clients: tls.clients.clone(),
    }
}

/// A pipeline as the gateway tells of it.
fn told(pipeline: &config::Pipeline) -> Pipeline {
    let plan = &pipeline.plan;
    let watched = Watched::of(plan, pipeline.descriptor.datasets, jiff::Timestamp::now());
    Pipeline {
        name: pipeline.name.to_string(),
        kind: pipeline.descriptor.kind.to_owned(),
        schedule: plan.when.iter().map(When::text).collect(),
        time_zone: plan.zone.iana_name().map(str::to_owned),
        fresh_within: watched.fresh_within,
        host: pipeline.host(),
        priority: plan.priority,
    }
}

/// A gateway, and what answers its queries.
pub struct Opened {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    _queries: Queries,
}

/// Threads for queries of dkc's own making: not those that serve requests, for a query may not give way for long (F3).
struct Queries(Option<Runtime>);

impl Drop for Queries {
    fn drop(&mut self) {
        // Whoever drops it may be a task, and a task must not wait for threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Opens the gateway over a data directory.
///
/// # Errors
/// That it cannot be opened, or that no process or thread can be started.
pub async fn open(config: Config, settings: Settings, store: Store, context: &Context) -> Result<Opened> {
    let mut limits = settings.limits.of_a_query();
    limits.rows = Some(settings.serve.answer_rows.get());
    limits.bytes = Some(settings.serve.answer_mb.get().saturating_mul(1 << 20));
    let models = super::models(context, settings.search)?;
    let program = std::env::current_exe().into_diagnostic()?;
    let workers = Workers::start(&program, context.place()?, limits, models.clone(), Spare::Asked);
    let queries = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(QUERY_THREADS)
        .enable_all()
        .build()
        .into_diagnostic()?;
    let handle = queries.handle().clone();
    let queries = Queries(Some(queries));
    let readers = Readers {
        cut: pipelines::originals::attachment,
        read: pipelines::reading::text_of,
    };
    let gateway = Gateway::open(config, store, workers, limits, models, handle, readers).await;
    Ok(Opened {
        gateway: Arc::new(gateway.into_diagnostic()?),
        _queries: queries,
    })
}
