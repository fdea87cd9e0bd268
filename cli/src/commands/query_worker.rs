//! `dkc query-worker`: the process in which a query runs (`store::query`). dkc starts it for itself.

use crate::context::Context;
use clap::Args;
use miette::{IntoDiagnostic, Result};
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use store::query::{Limits, worker};
use store::search::Models;

/// Answers queries that come on standard input.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where sorts and joins put what does not fit into memory
    pub spill: PathBuf,
    /// What the query may use
    #[arg(value_parser = read::<Limits>)]
    pub limits: Limits,
    /// Which model says what texts mean
    #[arg(value_parser = read::<Models>)]
    pub models: Models,
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(json)
}

/// Runs it. It makes its own threads, so no other may be there.
pub fn run(arguments: Arguments, context: &Context) -> Result<()> {
    worker::serve(&context.data, arguments.spill, arguments.limits, arguments.models).into_diagnostic()
}
