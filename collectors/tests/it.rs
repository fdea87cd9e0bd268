//! The collectors against real sources, and against sources that misbehave.

mod it {
    mod imap;
}
