//! `dkc serve`: everything the command line gives, over HTTP.

use super::gateway::{self, Settings};
use super::reach::{opened, reach};
use super::service::{self, Service};
use crate::config::Misconfigured;
use crate::context::Context;
use crate::print;
use clap::Args;
use miette::{IntoDiagnostic, Result, miette};
use schemas::Role;
use secrecy::{ExposeSecret as _, SecretString};
use serve::rest::Encryption;
use std::net::{SocketAddr, TcpListener};
use store::Store;
use store::tokens::{NewToken, Tokens};
use tokio_util::sync::CancellationToken;

/// The first token lasts so long: enough to make others.
const FIRST_TOKEN: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// Serves the datasets, SQL and search over HTTP, with Swagger UI at /docs, until it is told to stop, and meanwhile
/// collects what is due, as `dkc daemon` does. It listens on this machine alone unless the configuration says otherwise.
/// The first time it makes a token and prints it, once.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dkc serve\n  dkc serve --listen 127.0.0.1:9000\n  curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8427/api/v1/datasets"
)]
pub struct Arguments {
    /// Where to listen, instead of what [serve] in the configuration says; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Leave collecting to others, such as `dkc daemon`
    #[arg(long)]
    pub no_runs: bool,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let stop = CancellationToken::new();
    tokio::spawn(super::run::cancel_on_signal(stop.clone()));
    let settings = Settings::read(context)?;
    let mut config = settings.config();
    settings.look_up(&mut config)?;
    config.proxy = settings.proxy()?;
    config.listen = arguments.listen.unwrap_or(config.listen);
    let place = context.place()?;
    if !reach(&place, &stop).await? {
        return Ok(());
    }
    let store = opened(Store::open(&place).await)?;
    let tokens = opened(Tokens::open(&place).await)?;
    let has_token = !tokens.is_empty().await.into_diagnostic()?;
    config
        .check(has_token)
        .map_err(|problem| Misconfigured::report(problem.detail, None))?;
    let encryption = config.tls.as_ref().map(Encryption::open).transpose();
    let encryption =
        encryption.map_err(|error| Misconfigured::report(format!("[serve.tls]: {error}"), None))?;
    let listener = TcpListener::bind(config.listen).map_err(|error| {
        miette!(
            help =
                "`--listen 127.0.0.1:0` takes any port that is free; perhaps another `dkc serve` is at work",
            "cannot listen on `{}`: {error}",
            config.listen
        )
    })?;
    config.listen = listener.local_addr().into_diagnostic()?;
    let scheme = if encryption.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://{}", config.listen);
    let gateway = gateway::open(config, settings, store, context).await?;
    let service = match arguments.no_runs {
        true => None,
        false => service::of(context, &stop).await?,
    };
    let token = match has_token {
        true => None,
        false => Some(first_token(&tokens).await?),
    };
    let token = token.as_ref().map(|token| token.expose_secret());
    if context.json {
        print::json(&serde_json::json!({ "listening": address, "token": token }))?;
    } else {
        // Also with --quiet: it is shown here and nowhere else.
        if let Some(token) = token {
            print::text(&format!(
                "token for the first day, shown this once: {token}\n`dkc token create NAME` makes one that lasts\n"
            ))?;
        }
        print::note(
            &format!("listening on {address}; /docs shows what there is"),
            context,
        );
    }
    // Where one of the two ends early, both do.
    let serving = async {
        let served = serve::rest::listen(gateway.gateway.clone(), listener, encryption, stop.clone()).await;
        stop.cancel();
        served.into_diagnostic()
    };
    let collecting = async {
        let collected = collect(service, stop.clone()).await;
        stop.cancel();
        collected
    };
    let (served, collected) = tokio::join!(serving, collecting);
    served.and(collected)
}

/// Collects what is due until it is to stop, if that is wanted.
async fn collect(service: Option<Service>, stop: CancellationToken) -> Result<()> {
    match service {
        Some(service) => service.run(stop).await,
        None => service::none(stop).await,
    }
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
