//! The collectors against real sources, and against sources that misbehave.

// Tests may panic, and so may what serves them.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod it {
    mod imap;
    mod misbehaving;
}
