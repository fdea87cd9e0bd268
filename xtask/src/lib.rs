//! The workshop's own crate: it checks the tree, and imports nothing of ours.
//!
//! - Here: `tests/tidy.rs`, run by `cargo tidy` and with all other tests.
//! - Not here: anything a user runs, and any test of behaviour.
