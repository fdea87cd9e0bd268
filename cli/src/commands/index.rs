//! `dkc index`: what search reads, and by which model.

mod build;
mod model;
mod optimize;
mod status;

pub use build::Fresh;

use crate::context::Context;
use clap::{Args, Subcommand};
use miette::Result;
use pipelines::index::searchable;
use schemas::{Dataset, Search};

/// What search reads, beside the lake.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc index status\n  dkc index build")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say how much is indexed, how far it follows the lake, and by which models
    Status(status::Arguments),
    /// Index what is new, and let the model read all that it has not read
    Build(build::Arguments),
    /// Merge small files and index words that are read one by one
    Optimize(optimize::Arguments),
    /// List the models that search by meaning can use, or install the default
    Model(model::Arguments),
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    match arguments.command {
        Command::Status(arguments) => status::run(arguments, context).await,
        Command::Build(arguments) => build::run(arguments, context).await,
        Command::Optimize(arguments) => optimize::run(arguments, context).await,
        Command::Model(arguments) => model::run(arguments, context).await,
    }
}

/// The datasets of these names that can be searched; all without one.
fn chosen(names: &[String]) -> Result<Vec<(&'static Dataset, &'static Search)>> {
    for name in names {
        super::searchable_dataset(name)?;
    }
    let is_chosen = |name: &str| names.is_empty() || names.iter().any(|chosen| chosen == name);
    Ok(searchable()
        .filter(|(dataset, _)| is_chosen(dataset.name))
        .collect())
}
