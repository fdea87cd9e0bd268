//! `dkc mcp`: everything the gateway gives, to one agent that starts it, on standard input and output.
//!
//! - Standard output belongs to the protocol (MCP); what there is to say goes to standard error.
//! - It listens nowhere. Who starts it sees what a program may see, or what a token allows.
//! - Not here: the protocol (`serve::mcp`).

mod cost;

use super::gateway::{self, Settings};
use super::own::Own;
use crate::config::Reference;
use crate::context::Context;
use crate::print;
use clap::{Args, Subcommand};
use miette::{IntoDiagnostic, Result, miette};
use schemas::Role;
use secrecy::{ExposeSecret as _, SecretString};
use serve::Gateway;
use serve::caller::Caller;
use serve::mcp::Options;
use std::hash::{BuildHasher as _, RandomState};
use std::io::IsTerminal as _;
use std::path::Path;
use store::Store;
use tokio_util::sync::CancellationToken;

/// Serves one agent over MCP on standard input and output, until it leaves. The agent starts it: docs/agents.md tells
/// how to have yours do so. It may see everything but secrets, and what acts on the world outside needs your approval.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  claude mcp add dkc -- dkc mcp\n  dkc mcp --toolsets search,emails --grouped\n  dkc mcp --token file:agent.token"
)]
pub struct Arguments {
    #[command(flatten)]
    served: Own<Served>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What an agent is served.
#[derive(Debug, Args)]
struct Served {
    #[command(flatten)]
    chosen: Chosen,
    /// Where a token is, whose role and datasets the agent gets: env:NAME, file:PATH or keyring:SERVICE/USER
    #[arg(long, value_name = "REF")]
    token: Option<String>,
}

/// Which tools an agent is given, and how.
#[derive(Debug, Args)]
struct Chosen {
    /// The toolsets, with commas between, or all; those that most agents need if absent
    #[arg(long, value_name = "LIST")]
    toolsets: Option<String>,
    /// One tool for each toolset, which costs an agent less to know
    #[arg(long)]
    grouped: bool,
}

impl Chosen {
    fn options(&self) -> Result<Options> {
        Options::new(self.toolsets.as_deref(), self.grouped).map_err(|problem| miette!("{}", problem.detail))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell what it costs an agent to know the tools, in tokens
    Cost(cost::Arguments),
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let context = &context.away_from_here();
    if let Some(Command::Cost(arguments)) = arguments.command {
        return cost::run(&arguments, context);
    }
    let Own(served) = arguments.served;
    let options = served.chosen.options()?;
    let settings = Settings::read(context)?;
    let mut config = settings.config();
    settings.look_up(&mut config)?;
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let opened = gateway::open(config, settings, store, context).await?;
    let token = served.token.as_deref().map(token_at).transpose()?;
    let caller = match &token {
        Some(token) => caller_of(token, &opened.gateway).await?,
        None => Caller::new(&whoever_started_it(), Role::Automated, None, None),
    };
    if std::io::stdin().is_terminal() {
        print::note(
            "an agent starts this and speaks MCP with it; docs/agents.md tells how",
            context,
        );
    }
    let stop = CancellationToken::new();
    tokio::spawn(super::run::cancel_on_signal(stop.clone()));
    serve::mcp::stdio(opened.gateway.clone(), caller, token, options, stop)
        .await
        .into_diagnostic()
}

/// The token that lies there.
fn token_at(reference: &str) -> Result<SecretString> {
    // As any other path on a command line, it is relative to where the command runs.
    let reference = match Reference::parse(reference, Path::new("")) {
        Some(Ok(reference)) => reference,
        Some(Err(reason)) => return Err(miette!("`--token`: {reason}")),
        // It may be the token itself, which is shown nowhere.
        None => {
            return Err(miette!(
                help = "write a reference: env:NAME, file:PATH or keyring:SERVICE/USER",
                "`--token` takes the place of a token, not the token"
            ));
        }
    };
    reference
        .resolve()
        .map_err(|error| miette!(help = error.next_step(), "`--token`: {error}"))
}

/// Who has a token.
async fn caller_of(token: &SecretString, gateway: &Gateway) -> Result<Caller> {
    let caller = gateway.callers.of_token(token.expose_secret()).await;
    caller.map_err(|problem| miette!("`--token`: {}", problem.detail))
}

/// The name of a session in the audit: no two have the same, also when numbers of processes come again.
fn whoever_started_it() -> String {
    let process = std::process::id();
    // The keys of a new state are random.
    let random = RandomState::new().hash_one(process);
    format!("stdio:{process}-{random:016x}")
}
