//! The gateway: one registry of operations, served to people and programs.
//!
//! - In: a data directory, a [`Config`], requests. Out: answers, each authorised, limited and audited by one dispatcher.
//! - Reading order: [`operation`] says what an operation is, [`registry`] lists them, [`dispatcher`] is the one door,
//!   [`rest`] its face over HTTP. `lake` keeps what is hot in memory; `caller` says who asks.
//! - Not here: collecting. A run is asked for through the store.

pub mod caller;
pub mod config;
pub mod dispatcher;
mod index;
pub mod lake;
pub mod operation;
mod operations;
pub mod problem;
pub mod registry;
pub mod rest;

pub use config::Config;
pub use dispatcher::Gateway;
pub use problem::Problem;
