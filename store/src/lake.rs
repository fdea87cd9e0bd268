//! The lake: Parquet files under a DuckLake catalog.
//!
//! - In: batches of rows by dataset, units to remove, a cursor. Out: one snapshot that holds all of it.
//! - Order of a commit: data and delete files are written and fsynced, then their directories, then one
//!   transaction names them (F5). What no snapshot names is swept by whoever next opens the lake while nobody writes.
//! - Not here: SQL for readers (`query`), what the rows mean.

pub mod as_of;
pub mod catalog;
pub mod changed;
pub mod compact;
pub mod data_file;
pub mod index;
pub mod lost;
pub mod verify;
