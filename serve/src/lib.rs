//! The gateway: one registry of operations, served to people and programs.
//!
//! - In: a data directory, a [`Config`], requests. Out: answers, each authorised, limited and audited by one dispatcher.
//! - Reading order: [`operation`] says what an operation is, [`registry`] lists them, [`dispatcher`] is the one door,
//!   [`rest`] its face over HTTP, [`mcp`] that for agents. `consent` lets acts happen; `lake` keeps what is hot in memory;
//!   `caller` says who asks.
//! - Not here: collecting. A run is asked for through the store.

mod blame;
mod builds;
pub mod caller;
pub mod config;
mod consent;
mod containers;
pub mod dispatcher;
mod exec;
mod github;
mod index;
mod input;
mod keeping;
pub mod lake;
mod links;
mod machines;
pub mod mcp;
pub mod operation;
mod operations;
pub mod problem;
mod projects;
pub mod registry;
mod resources;
pub mod rest;
mod roots;
mod rows;
pub mod toolset;
mod vault;

pub use config::Config;
pub use dispatcher::Gateway;
pub use problem::Problem;
