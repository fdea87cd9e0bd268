//! `dkc serve`: everything the command line gives, over HTTP.

use crate::commands;
use crate::config::{self, Reference, Serve};
use crate::context::Context;
use crate::print;
use clap::Args;
use miette::{IntoDiagnostic, Result, miette};
use schemas::Role;
use secrecy::{ExposeSecret as _, SecretString};
use serve::{Config, Gateway};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use store::Store;
use store::query::Workers;
use store::tokens::{NewToken, Tokens};
use tokio_util::sync::CancellationToken;

/// The first token lasts so long: enough to make others.
const FIRST_TOKEN: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// Threads for queries of dkc's own making.
const QUERY_THREADS: usize = 2;

/// Serves the datasets, SQL and search over HTTP, with Swagger UI at /docs, until it is told to stop. It listens on this
/// machine alone unless the configuration says otherwise. The first time it makes a token and prints it, once.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dkc serve\n  dkc serve --listen 127.0.0.1:9000\n  curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8427/api/v1/datasets"
)]
pub struct Arguments {
    /// Where to listen, instead of what [serve] in the configuration says; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let (settings, pipelines) = settings(context)?;
    let mut config = gateway_config(&settings, context)?;
    config.pipelines = pipelines;
    config.listen = arguments.listen.unwrap_or(config.listen);
    let store = Store::open(&context.data).await.into_diagnostic()?;
    let tokens = Tokens::open(&context.data).await.into_diagnostic()?;
    let has_token = !tokens.is_empty().await.into_diagnostic()?;
    config
        .check(has_token)
        .map_err(|problem| miette!("{}", problem.detail))?;
    let listener = TcpListener::bind(config.listen).map_err(|error| {
        miette!(
            help =
                "`--listen 127.0.0.1:0` takes any port that is free; perhaps another `dkc serve` is at work",
            "cannot listen on `{}`: {error}",
            config.listen
        )
    })?;
    config.listen = listener.local_addr().into_diagnostic()?;
    let (mut limits, models) = commands::asking(context)?;
    limits.rows = Some(settings.answer_rows.get());
    limits.bytes = Some(settings.answer_mb.get().saturating_mul(1 << 20));
    let program = std::env::current_exe().into_diagnostic()?;
    let workers = Workers::start(&program, &context.data, limits, models.clone(), true);
    // Not the threads that serve requests: a query may not give way for long (F3).
    let queries = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(QUERY_THREADS)
        .enable_all()
        .build()
        .into_diagnostic()?;
    let listen = config.listen;
    let gateway = Gateway::open(config, store, workers, limits, models, queries.handle().clone());
    let gateway = Arc::new(gateway.await.into_diagnostic()?);
    let token = match has_token {
        true => None,
        false => Some(first_token(&tokens).await?),
    };
    let stop = CancellationToken::new();
    tokio::spawn(super::run::cancel_on_signal(stop.clone()));
    let token = token.as_ref().map(|token| token.expose_secret());
    if context.json {
        print::json(&serde_json::json!({ "listening": format!("http://{listen}"), "token": token }))?;
    } else {
        // Also with --quiet: it is shown here and nowhere else.
        if let Some(token) = token {
            print::text(&format!(
                "token for the first day, shown this once: {token}\n`dkc token create NAME` makes one that lasts\n"
            ))?;
        }
        print::note(
            &format!("listening on http://{listen}; /docs shows what there is"),
            context,
        );
    }
    let served = serve::rest::listen(gateway, listener, stop)
        .await
        .into_diagnostic();
    queries.shutdown_background();
    served
}

/// How to serve, and the pipelines, as the configuration has them; without one the defaults.
fn settings(context: &Context) -> Result<(Serve, Vec<serve::config::Pipeline>)> {
    if !context.config_path()?.exists() {
        return Ok(Default::default());
    }
    let config = context.load_config()?;
    let pipelines = config.pipelines.iter().map(|pipeline| serve::config::Pipeline {
        name: pipeline.name.to_string(),
        kind: pipeline.descriptor.kind.to_owned(),
        schedule: pipeline.schedule.clone(),
    });
    Ok((config.serve.clone(), pipelines.collect()))
}

fn gateway_config(settings: &Serve, context: &Context) -> Result<Config> {
    let folder = context.config_path()?;
    let folder = folder.parent().unwrap_or(Path::new("/"));
    let proxy = settings.proxy.as_ref().map(|proxy| {
        let roles = proxy.roles.iter().map(|(group, role)| {
            let role: Role = role.parse().map_err(|_| {
                let names = Role::ALL.iter().map(|role| role.as_str());
                miette!(help = config::nearest(role, names), "there is no role `{role}`")
            })?;
            Ok((group.clone(), role))
        });
        let secret = proxy.secret.as_ref().map(|text| match Reference::parse(text, folder) {
            Some(Ok(reference)) => reference.resolve().into_diagnostic(),
            Some(Err(reason)) => Err(miette!("`serve.proxy.secret`: {reason}")),
            None => Err(miette!("`serve.proxy.secret` is a secret and must not be in the file: use env:, file: or keyring:")),
        });
        Ok::<_, miette::Report>(serve::config::Proxy {
            addresses: proxy.addresses.clone(),
            user_header: proxy.user_header.to_ascii_lowercase(),
            groups_header: proxy.groups_header.to_ascii_lowercase(),
            roles: roles.collect::<Result<_>>()?,
            secret: secret.transpose()?,
        })
    });
    let saved = settings
        .queries
        .iter()
        .map(|(name, query)| serve::config::SavedQuery {
            name: name.clone(),
            about: query.about.clone(),
            sql: query.sql.clone(),
        });
    Ok(Config {
        listen: settings.listen,
        remote: settings.remote,
        hosts: settings.hosts.clone(),
        origins: settings.origins.clone(),
        proxy: proxy.transpose()?,
        saved: saved.collect(),
        ..Config::default()
    })
}

/// Makes the first token.
async fn first_token(tokens: &Tokens) -> Result<SecretString> {
    let expires = jiff::Timestamp::now() + FIRST_TOKEN;
    let new = NewToken {
        name: "first".to_owned(),
        role: Role::Dev,
        datasets: None,
        expires_at: Some(expires.as_microsecond()),
        requests_per_second: None,
    };
    Ok(tokens.create(new).await.into_diagnostic()?.0)
}
