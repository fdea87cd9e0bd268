//! From due to done: collect, convert, commit, settle, report.
//!
//! - In: a collector, a store, the name of a pipeline. Out: a [`Run`](schemas::datasets::runs::Run) in the history.
//! - Not here: SQL text, file formats, configuration files, schedules.

pub mod apart;
pub mod error;
pub mod index;
mod landing;
pub mod originals;
pub mod rebuild;
mod rows;
pub mod run;

pub use error::{IndexError, RunError};
pub use originals::export_originals;
pub use rebuild::rebuild;
pub use run::{Request, run};
