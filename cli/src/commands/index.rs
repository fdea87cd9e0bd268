//! `dkc index`: what search reads, and by which model.

mod build;
mod model;
mod optimize;
mod reader;
mod status;

pub use build::Fresh;
pub use reader::Reader;

use crate::context::Context;
use clap::{Args, Subcommand};
use miette::{Result, miette};
use pipelines::index::searchable;
use schemas::{Dataset, Search};
use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether another has let go of a [`Lock`].
pub const LOOKS: Duration = Duration::from_millis(100);

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

/// What one at a time does. Who does both takes the first first: else two might wait for each other.
#[derive(Debug, Clone, Copy)]
pub enum Lock {
    /// Lets the model read, which may take hours.
    Reading,
    /// Writes to the index.
    Index,
}

impl Lock {
    /// The file in a data directory whose lock is held meanwhile.
    fn file(self) -> &'static str {
        match self {
            Self::Reading => ".reading.lock",
            Self::Index => ".index.lock",
        }
    }
}

/// Waits until nobody else does this, and keeps others from it as long as what comes back is held; nothing comes back once
/// waiting takes longer than `patience`, or it is to stop.
///
/// # Errors
/// That the lock cannot be made.
pub async fn alone(
    context: &Context,
    lock: Lock,
    patience: Option<Duration>,
    cancel: &CancellationToken,
) -> Result<Option<File>> {
    let path = context.data.join(lock.file());
    let failed = |error: std::io::Error| miette!("cannot lock `{}`: {error}", path.display());
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        if cancel.is_cancelled() || patience.is_some_and(|patience| since.elapsed() > patience) {
            return Ok(None);
        }
        tokio::time::sleep(LOOKS).await;
    }
}
