//! The commands, each in its file: its arguments, with an example, and `run`.

mod add;
mod alerts;
mod approve;
mod audit;
mod changes;
mod compact;
pub mod convert_worker;
mod cursor;
mod daemon;
mod doctor;
mod export;
mod gateway;
mod index;
mod init;
mod mcp;
mod migrate;
mod own;
mod pipelines;
pub mod query_worker;
mod reach;
mod rebuild;
mod run;
mod runs;
mod schema;
pub mod search;
mod serve;
mod service;
mod sql;
mod token;
mod verify;
mod why;

use crate::config;
use crate::context::Context;
use ::pipelines::index::searchable;
use clap::Subcommand;
use miette::{Diagnostic, Report, Result, miette};
use schemas::{Dataset, datasets};
use store::query::{Limits, Spare, Workers};
use store::search::Models;

/// Arguments that do not fit what is there: trying again helps nobody.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Misused {
    message: String,
    #[help]
    help: String,
}

/// The dataset that the user named.
///
/// # Errors
/// That there is none, with the nearest name.
pub fn dataset(name: &str) -> Result<&'static Dataset> {
    datasets::by_name(name).ok_or_else(|| {
        let names = datasets::ALL.iter().map(|dataset| dataset.name);
        miette!(
            help = config::nearest(name, names),
            "there is no dataset `{name}`"
        )
    })
}

/// The table that the user named.
///
/// # Errors
/// That there is none, with the nearest name.
pub fn table(name: &str) -> Result<&'static Dataset> {
    datasets::table(name).map_or_else(|| dataset(name), Ok)
}

/// The dataset that the user named to search it.
///
/// # Errors
/// That there is none, or that it cannot be searched, with those that can.
fn searchable_dataset(name: &str) -> Result<&'static Dataset> {
    let dataset = dataset(name)?;
    if dataset.search.is_none() {
        let can: Vec<&str> = searchable().map(|(dataset, _)| dataset.name).collect();
        return Err(Report::new(Misused {
            message: format!("`{name}` cannot be searched"),
            help: format!("these can: {}", can.join(", ")),
        }));
    }
    Ok(dataset)
}

/// Who answers queries. Make it first: its process gets ready while the store is opened.
///
/// # Errors
/// That the configuration has a mistake.
fn workers(context: &Context, spare: Spare) -> Result<Workers> {
    let program = std::env::current_exe()
        .map_err(|error| miette!("cannot tell which program I am, to start it for the query: {error}"))?;
    let (limits, models) = asking(context)?;
    Ok(Workers::start(&program, context.place()?, limits, models, spare))
}

/// What a query may use, and which models search asks.
///
/// # Errors
/// That the configuration has a mistake.
fn asking(context: &Context) -> Result<(Limits, Models)> {
    let (limits, search) = config::settings(context)?;
    Ok((limits.of_a_query(), models(context, search)?))
}

/// Which models search asks, and where they are.
///
/// # Errors
/// That there is no folder for them.
fn models(context: &Context, search: config::Search) -> Result<Models> {
    Ok(Models {
        folder: context.models()?,
        first: search.model,
        reranker: search.reranker,
    })
}

/// What dkc can be asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first configuration and make the data directory
    Init(init::Arguments),
    /// Add a pipeline to the configuration
    Add(add::Arguments),
    /// Collect what is new
    Run(run::Arguments),
    /// Collect on schedule, until it is told to stop
    Daemon(daemon::Arguments),
    /// List the pipelines, and when they are due
    Pipelines(pipelines::Arguments),
    /// List runs, tell all of one, follow, retry and cancel them
    Runs(runs::Arguments),
    /// List what is wrong, and test how you are told
    Alerts(alerts::Arguments),
    /// Find rows by their words and by what they mean
    Search(search::Arguments),
    /// Answer a question in SQL
    Sql(sql::Arguments),
    /// List the rows inserted, updated and deleted since a snapshot or a time
    Changes(changes::Arguments),
    /// Write a dataset, or the answer to a query, to a file
    Export(export::Arguments),
    /// Serve all of it over HTTP: REST with Swagger UI
    Serve(serve::Arguments),
    /// Serve all of it to an agent that starts it: MCP on standard input and output
    Mcp(mcp::Arguments),
    /// Show what a row was made from, and by which run
    Why(why::Arguments),
    /// Describe the datasets and their columns
    Schema(schema::Arguments),
    /// Show, set or clear how far a pipeline has come
    Cursor(cursor::Arguments),
    /// Make the rows of a dataset again from the originals, without network
    Rebuild(rebuild::Arguments),
    /// Merge small files, forget old snapshots, remove what nothing refers to
    Compact(compact::Arguments),
    /// Move the tables of the store to Postgres, or back into files
    Migrate(migrate::Arguments),
    /// Show, make and renew what search reads
    Index(index::Arguments),
    /// Check that everything stored is whole
    Verify(verify::Arguments),
    /// Check configuration, sources and data directory, and say what to do
    Doctor(doctor::Arguments),
    /// Make, list and revoke the tokens of programs that ask
    Token(token::Arguments),
    /// List the acts that wait for you, approve or refuse one
    Approve(approve::Arguments),
    /// Show and check the log of what was asked
    Audit(audit::Arguments),
    /// Answer queries that come on standard input, for another dkc
    #[command(hide = true)]
    QueryWorker(query_worker::Arguments),
    /// Convert documents that come on standard input, for another dkc
    #[command(hide = true)]
    ConvertWorker,
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// Whatever stopped the command, in words for the user.
    pub async fn run(self, context: &Context) -> Result<()> {
        match self {
            Self::Init(arguments) => init::run(arguments, context).await,
            Self::Add(arguments) => add::run(arguments, context).await,
            Self::Run(arguments) => run::run(arguments, context).await,
            Self::Daemon(arguments) => daemon::run(arguments, context).await,
            Self::Pipelines(arguments) => pipelines::run(arguments, context).await,
            Self::Runs(arguments) => runs::run(arguments, context).await,
            Self::Alerts(arguments) => alerts::run(arguments, context).await,
            Self::Search(arguments) => search::run(arguments, context).await,
            Self::Sql(arguments) => sql::run(arguments, context).await,
            Self::Changes(arguments) => changes::run(arguments, context).await,
            Self::Export(arguments) => export::run(arguments, context).await,
            Self::Serve(arguments) => serve::run(arguments, context).await,
            Self::Mcp(arguments) => mcp::run(arguments, context).await,
            Self::Why(arguments) => why::run(arguments, context).await,
            Self::Schema(arguments) => schema::run(arguments, context).await,
            Self::Cursor(arguments) => cursor::run(arguments, context).await,
            Self::Rebuild(arguments) => rebuild::run(arguments, context).await,
            Self::Compact(arguments) => compact::run(arguments, context).await,
            Self::Migrate(arguments) => migrate::run(arguments, context).await,
            Self::Index(arguments) => index::run(arguments, context).await,
            Self::Verify(arguments) => verify::run(arguments, context).await,
            Self::Doctor(arguments) => doctor::run(arguments, context).await,
            Self::Token(arguments) => token::run(arguments, context).await,
            Self::Approve(arguments) => approve::run(arguments, context).await,
            Self::Audit(arguments) => audit::run(arguments, context).await,
            // `main` runs them, outside of its runtime.
            Self::QueryWorker(_) | Self::ConvertWorker => Ok(()),
        }
    }
}
