//! From due to done: collect, convert, commit, settle, report; when, again, and by whom.
//!
//! - In: collectors, a store, plans. Out: [`Run`](schemas::datasets::runs::Run)s in the history, and what they collected
//!   in the lake.
//! - Not here: SQL text, file formats, configuration files.

pub mod alerts;
pub mod apart;
mod away;
mod changes;
pub mod error;
pub mod index;
mod landing;
pub mod originals;
pub mod reading;
pub mod rebuild;
pub mod retry;
mod rows;
pub mod run;
pub mod schedule;
mod scheduler;
pub mod service;
pub mod worker;

pub use error::{IndexError, RunError};
pub use originals::export_originals;
pub use rebuild::rebuild;
pub use run::{Log, Request, run};
