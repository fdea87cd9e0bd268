//! `dkc convert-worker`: the process in which documents are converted (`pipelines::apart`). dkc starts it for itself.

use miette::{IntoDiagnostic, Result};

/// Runs it. It needs neither configuration nor data.
pub fn run() -> Result<()> {
    pipelines::apart::serve().into_diagnostic()
}
